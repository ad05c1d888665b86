"""What a plan reaches, said to who approves it: exactly as far as the reads go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from remediations import codec
from remediations.actions import ACTIONS
from remediations.model import (
    Absent,
    Caller,
    DesiredSpec,
    Found,
    Operation,
    Plan,
    Surroundings,
    Unknown,
)
from tests.builders import (
    DEPLOYMENT,
    ENDPOINT,
    IDENTITY,
    PRINCIPAL,
    REGISTRY,
    STORAGE,
    WORKSPACE,
    make_access,
    make_call,
    make_candidate,
    make_endpoint_state,
    make_incident,
    make_plan,
    make_quota,
    make_resource,
    make_situation,
    make_state,
    make_workspace,
)
from tests.notices import plan_for, seen_for, situation_for

OLD = f"{ENDPOINT}/deployments/old"
UNREAD = Unknown("answered 403")


def touches(plan, **changes):
    """What a plan touches by a situation: path -> what is said."""
    situation = replace(situation_for(plan), **changes)
    return {touch.path: touch.says for touch in ACTIONS[plan.action].touches(plan, situation)}


def around(plan, **changes):
    """The plan's surroundings with some changes."""
    return {"surroundings": replace(situation_for(plan).surroundings, **changes)}


# ------------------------------------------------------------------------------------------------- every action


@pytest.mark.parametrize("name", ACTIONS)
def test_all_that_a_plan_touches_is_told(name):
    plan = plan_for(name)
    told = [path.lower() for path in touches(plan)]
    assert set(plan.target) <= set(told)
    assert len(told) == len(set(told))


@pytest.mark.parametrize("name", ACTIONS)
def test_what_cannot_be_read_any_more_breaks_nothing_and_leaves_nothing_out(name):
    plan = plan_for(name)
    unread = {"resource": UNREAD, "endpoint": UNREAD, "surroundings": Surroundings()}
    told = touches(plan, **unread)
    assert set(plan.target) <= {path.lower() for path in told}
    assert any("unknown (answered 403)" in words for says in told.values() for words in says)


@pytest.mark.parametrize("name", ACTIONS)
def test_every_plan_ends_with_the_resource_that_failed(name):
    assert list(touches(plan_for(name)))[-1] == DEPLOYMENT


@pytest.mark.parametrize("name", ACTIONS)
def test_what_is_told_is_sentences(name):
    for says in touches(plan_for(name)).values():
        assert says
        assert all(not words[0].islower() and words.endswith(".") for words in says)


# ------------------------------------------------------------------------------------------------- the re-run


def said(plan=None, **changes):
    plan = plan or make_plan()
    (touch,) = ACTIONS["retry"].touches(plan, make_situation(**changes))
    assert touch.path == plan.diagnosis.incident.resource.path
    return touch.says


OTHERS = "The re-run touches no other deployment of its endpoint."


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({}, "0 % of its endpoint's traffic goes to it now, and 0 % is mirrored to it.", id="none"),
        pytest.param(
            {"endpoint": Found(make_endpoint_state(traffic={"Green": 10, "blue": 90}, mirror_traffic={"green": 5}))},
            "10 % of its endpoint's traffic goes to it now, and 5 % is mirrored to it.",
            id="some",
        ),
        pytest.param({"endpoint": Absent()}, "Its endpoint is not there: no traffic goes to it.", id="no endpoint"),
        pytest.param(
            {"endpoint": UNREAD},
            "How much of its endpoint's traffic goes to it is unknown (answered 403).",
            id="unread",
        ),
    ],
)
def test_a_re_run_tells_the_share_of_the_traffic(changes, words):
    assert said(**changes) == ("It is sent again with the body that GET shows.", "It is Canceled now.", words, OTHERS)


@pytest.mark.parametrize(
    ("resource", "words"),
    [
        pytest.param(Found(make_state(provisioning_state="Failed")), "It is Failed now.", id="failed"),
        pytest.param(Absent(), "It is not there now.", id="absent"),
        pytest.param(UNREAD, "What state it is in now is unknown (answered 403).", id="unread"),
    ],
)
def test_a_re_run_tells_what_the_resource_is_now(resource, words):
    assert said(resource=resource)[1] == words


def test_a_re_run_tells_that_the_body_is_ci_s():
    assert said(make_plan(parameters={"body": "desired"}))[0] == "It is sent again with the body that CI says it sent."


def test_a_deletion_that_is_run_again_is_told_as_one():
    says = said(make_plan(calls=(make_call(method="DELETE", body_digest=None),)))
    assert says[0] == "It is deleted, as was asked before the operation was canceled; nothing of it is kept."


def test_an_endpoint_has_no_traffic_yet():
    plan = make_plan()
    incident = make_incident(resource=make_resource(ENDPOINT))
    says = said(replace(plan, diagnosis=replace(plan.diagnosis, incident=incident)))
    assert says[2:] == ("No deployment of it and no traffic is touched: it was being created.",)


@pytest.mark.parametrize(
    ("differs", "words"),
    [
        pytest.param((), "the body that CI says it sent", id="nothing"),
        pytest.param(
            ("properties.model", "sku.capacity"),
            "the body that CI says it sent, which differs from what GET shows in properties.model, sku.capacity",
            id="two",
        ),
        pytest.param(
            tuple(f"p{number}" for number in range(7)),
            "the body that CI says it sent, which differs from what GET shows in p0, p1, p2, p3, p4 and 2 more",
            id="seven",
        ),
    ],
)
def test_the_effect_names_what_ci_s_body_changes(differs, words):
    desired = Found(DesiredSpec(url="https://ci.example/green.json", digest="ci-spec", differs=differs))
    evidence = seen_for("retry", resource=Found(make_state(spec_digest=None)), desired=desired)
    assert plan_for("retry", evidence).effect == f"deploy mlw-prod/credit-scoring/green again with {words}"


# ------------------------------------------------------------------------------------------------- sync-keys


def test_a_sync_tells_which_keys_are_fetched_and_what_uses_them():
    assert touches(plan_for("sync-keys"))[WORKSPACE] == (
        "It fetches anew the keys that it holds: of its registry, its storage account and its Application Insights.",
        f"Its registry: {REGISTRY}.",
        f"Its storage account: {STORAGE}.",
        "Every deployment and job of the workspace that uses these keys uses the fetched ones from then on.",
        "No key is changed where it comes from, and nothing is taken away.",
    )


@pytest.mark.parametrize(
    ("workspace", "words"),
    [
        pytest.param(Found(make_workspace(storage=None)), "Its storage account: none is named.", id="none"),
        pytest.param(UNREAD, "Its storage account: unknown (answered 403).", id="unread"),
        pytest.param(Absent(), "Its storage account: absent.", id="absent"),
    ],
)
def test_a_storage_account_that_is_not_known_is_not_named(workspace, words):
    plan = plan_for("sync-keys")
    assert touches(plan, **around(plan, workspace=workspace))[WORKSPACE][2] == words


# ------------------------------------------------------------------------------------------------ grant-roles


def granted(plan=None, **changes):
    """What is said of each grant, in order."""
    plan = plan or plan_for("grant-roles")
    return [says for path, says in touches(plan, **changes).items() if "/roleAssignments/" in path]


def test_a_grant_tells_what_it_opens_to_whom_and_who_asked():
    pull, read = granted()
    rest = (
        f"It is given to {IDENTITY}, principal {PRINCIPAL}, who does not have it.",
        "Every deployment that uses this identity gains it, and so does whatever else signs in with it.",
        (
            "The operation that failed asks for it; that was started by "
            "object id cccccccc-1111-4222-8333-dddddddddddd, application id aaaaaaaa-1111-4222-8333-bbbbbbbbbbbb."
        ),
        "The assignment stays until somebody deletes it.",
    )
    assert pull == ("AcrPull: whoever holds it can pull every image of the registry crmlwprod.", *rest)
    words = "whoever holds it can read every blob, not only the model, of the storage account stmlwprod."
    assert read == (f"Storage Blob Data Reader: {words}", *rest)


def test_a_reader_of_repositories_reads_all_of_them():
    reader = make_access(role="b93aa761-3e63-49ed-ac28-beffa264f7ac", role_name="Container Registry Repository Reader")
    evidence = seen_for("grant-roles")
    evidence = replace(evidence, surroundings=replace(evidence.surroundings, access=Found((reader,))))
    ((words, *_),) = granted(plan_for("grant-roles", evidence))
    assert words == (
        "Container Registry Repository Reader: whoever holds it can pull every image of every repository of the "
        "registry crmlwprod."
    )


@pytest.mark.parametrize(
    ("access", "words"),
    [
        pytest.param(
            Found((make_access(held=True, words="assignment 7 gives it"),)),
            f"It is given to {IDENTITY}, principal {PRINCIPAL}, who has this right already: assignment 7 gives it.",
            id="held by now",
        ),
        pytest.param(
            Found((make_access(held=None, words="a group cannot be read"),)),
            f"It is given to {IDENTITY}, principal {PRINCIPAL}; whether it has this right already is not known: "
            "a group cannot be read.",
            id="unclear",
        ),
        pytest.param(
            Found(()), f"It is given to principal {PRINCIPAL}, which the endpoint needs no more.", id="needless"
        ),
        pytest.param(
            UNREAD,
            f"It is given to principal {PRINCIPAL}; what the endpoint's identities are and may do is "
            "unknown (answered 403).",
            id="unread",
        ),
    ],
)
def test_a_grant_tells_its_holder_as_far_as_it_is_known(access, words):
    plan = plan_for("grant-roles")
    assert granted(plan, **around(plan, access=access))[0][1] == words


@pytest.mark.parametrize(
    ("caller", "words"),
    [
        pytest.param(Caller(), "The operation that failed asks for it; who started that is not known.", id="nobody"),
        pytest.param(
            Caller(oid="o-1"), "The operation that failed asks for it; that was started by object id o-1.", id="person"
        ),
        pytest.param(
            Caller(appid="a-1"),
            "The operation that failed asks for it; that was started by application id a-1.",
            id="app",
        ),
    ],
)
def test_a_grant_tells_who_asked_for_it(caller, words):
    evidence = seen_for("grant-roles", incident=make_incident(caller=caller))
    assert granted(plan_for("grant-roles", evidence))[0][3] == words


def test_the_re_runs_after_a_grant_are_counted():
    says = touches(plan_for("grant-roles"))[DEPLOYMENT]
    assert says[0] == "It is sent again, up to 3 times, with the body that GET shows."


# ------------------------------------------------------------------------------------------------ delete-idle


def deleted(**changes):
    """What is said of a victim that a plan deletes, when it has changed since."""
    plan = plan_for("delete-idle")
    return touches(plan, **around(plan, candidates=Found((make_candidate(**changes),))))[OLD]


def test_a_deletion_tells_what_is_lost():
    assert touches(plan_for("delete-idle"))[OLD] == (
        "It is deleted.",
        "0 % of its endpoint's traffic goes to it now, and 0 % is mirrored to it.",
        "No request reached it in the last 30 days, by its endpoint's metrics and its own.",
        "8 cores become free, with the 20 % reserve.",
        (
            "To create it again, somebody has to give its environment variables their values: FEATURE_STORE_URL, "
            "MODEL_THRESHOLD."
        ),
    )


def not_proved(why):
    return f"That it was idle for the last 30 days is not proved: {why}."


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"requests": Found(True)}, not_proved("requests reached it inside the window"), id="used"),
        pytest.param(
            {"requests": UNREAD}, not_proved("whether requests reached it is unknown (answered 403)"), id="unread"
        ),
        pytest.param({"requests": Absent()}, not_proved("whether requests reached it is absent"), id="absent"),
        pytest.param(
            {"alive": UNREAD}, not_proved("whether its metrics are alive is unknown (answered 403)"), id="not alive"
        ),
        pytest.param(
            {"alive": Absent()}, not_proved("its metrics have gaps: no requests there proves nothing"), id="gaps"
        ),
    ],
)
def test_what_does_not_prove_that_it_is_idle_is_not_said_to(changes, words):
    assert deleted(**changes)[2] == words


@pytest.mark.parametrize(
    ("state", "words"),
    [
        pytest.param({}, "It has no environment variables: its receipt is enough to create it again.", id="none"),
        pytest.param(
            {"shows_environment": False},
            "Whether it has environment variables is not shown; to create it again, somebody has to know them.",
            id="not shown",
        ),
    ],
)
def test_a_deletion_tells_what_its_receipt_lacks(state, words):
    assert deleted(state=replace(make_candidate().state, **state))[4] == words


def test_a_deletion_tells_the_share_of_the_traffic():
    shares = make_endpoint_state(traffic={"old": 3, "blue": 97}, mirror_traffic={"OLD": 20})
    assert deleted(endpoint=shares)[1] == "3 % of its endpoint's traffic goes to it now, and 20 % is mirrored to it."


@pytest.mark.parametrize(
    ("candidates", "why"),
    [
        pytest.param(UNREAD, "what uses the quota is unknown (answered 403)", id="unread"),
        pytest.param(Found(()), "it is no longer shown among those that use the quota", id="gone"),
    ],
)
def test_a_victim_that_is_not_shown_is_told_as_not_known(candidates, why):
    plan = plan_for("delete-idle")
    told = touches(plan, **around(plan, candidates=candidates))
    assert told[OLD] == ("It is deleted.", f"Its traffic, its last request and its cores are not known: {why}.")
    assert told[ENDPOINT][1] == f"Which of its deployments stay is not known: {why}."
    assert told[plan.target[-1]][0] == (
        "0 cores of standardDSv2Family in westeurope become free, and those of 1 deployment that cannot be read."
    )


def test_the_endpoint_of_a_victim_tells_what_stays():
    plan = plan_for("delete-idle")
    shown = make_candidate(siblings=("blue", "canary"))
    assert touches(plan, **around(plan, candidates=Found((shown,))))[ENDPOINT] == (
        "The endpoint stays, and so does how its traffic is split.",
        "Of its deployments that are Succeeded, these stay: blue, canary.",
    )


def test_two_victims_of_one_endpoint_are_not_said_to_stay():
    older = replace(make_candidate(), resource=make_resource(f"{ENDPOINT}/deployments/older"), siblings=("old", "blue"))
    evidence = seen_for("delete-idle")
    seen = replace(
        evidence.surroundings,
        candidates=Found((make_candidate(siblings=("older", "blue")), older)),
        quota=Found(make_quota(used=24, limit=24, needed=16)),
    )
    evidence = replace(evidence, surroundings=seen)
    plan = plan_for("delete-idle", evidence)
    told = {touch.path: touch.says for touch in ACTIONS["delete-idle"].touches(plan, situation_for(plan, evidence))}
    assert {OLD, older.resource.path} <= told.keys()
    assert told[ENDPOINT][1] == "Of its deployments that are Succeeded, these stay: blue."
    assert told[plan.target[-1]][0] == "16 cores of standardDSv2Family in westeurope become free."


def test_the_quota_is_told_freed_against_needed():
    plan = plan_for("delete-idle")
    assert touches(plan)[plan.target[-1]] == (
        "8 cores of standardDSv2Family in westeurope become free.",
        (
            "8 cores of standardDSv2Family needed in westeurope with the 20 % reserve, 24 of 24 used, "
            "24 of 100 in the region, 8 missing."
        ),
    )
    assert touches(plan, **around(plan, quota=UNREAD))[plan.target[-1]][1] == (
        "How much of it is used now is unknown (answered 403); when the plan was made: "
        "needed 8, used 24, limit 24, missing 8."
    )


@given(st.data())
def test_no_reading_breaks_it(data):
    plan = plan_for(data.draw(st.sampled_from(sorted(ACTIONS))))
    readings = st.sampled_from([Absent(), UNREAD])
    fields = ("workspace", "registry", "image", "access", "quota", "candidates")
    around = Surroundings(**{name: data.draw(readings) for name in fields})
    told = touches(plan, resource=data.draw(readings), endpoint=data.draw(readings), surroundings=around)
    assert set(plan.target) <= {path.lower() for path in told}
    assert codec.encode(told)


def test_a_delete_that_failed_reaches_the_deployment_alone():
    incident = make_incident(operation=Operation.DELETE)
    evidence = seen_for("retry", incident=incident)
    plan = plan_for("retry", evidence)
    assert isinstance(plan, Plan)
    assert list(touches(plan)) == [DEPLOYMENT]
