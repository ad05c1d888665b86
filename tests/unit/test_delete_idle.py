"""What a deletion of idle deployments does, and above all what it never does."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from remediations import codec, planning
from remediations.actions.action import Body, Changed, Go, NotYet, Stop, Unneeded
from remediations.actions.delete_idle import (
    DELETE_IDLE,
    answer,
    fingerprint,
    landed,
    prepare,
    quota_is_curable,
    receipt,
    turn,
    verify,
    victims_are_idle,
    within_quota,
)
from remediations.enrichment import resource_state
from remediations.guards import decide
from remediations.model import (
    Absent,
    Answer,
    Area,
    Call,
    Candidate,
    DesiredSpec,
    End,
    ErrorDetail,
    Facts,
    Found,
    Json,
    Mode,
    NoPlan,
    Operation,
    Plan,
    Quota,
    Risk,
    Status,
    Step,
    Surroundings,
    Unknown,
    Verdict,
)
from remediations.policy import ActionPolicy, Idle, Policy
from remediations.ports import Reply
from remediations.situation import PastEffect, survey
from remediations.spec import Spec, rebuild
from remediations.trail import Settled
from tests.builders import (
    DEPLOYMENT,
    ENDPOINT,
    NOON,
    SUBSCRIPTION,
    US,
    WORKSPACE,
    FakeReads,
    make_diagnosis,
    make_endpoint_state,
    make_evidence,
    make_incident,
    make_resource,
    make_state,
    make_trail,
)

ALLOW, DENY, UNKNOWN = Answer.ALLOW, Answer.DENY, Answer.UNKNOWN
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
POLICY = Policy(actions={"delete-idle": ActionPolicy(mode=Mode.AUTO)})
QUOTA_KEY = f"quota:{SUBSCRIPTION}/westeurope/standarddsv2family"


def make_quota(**changes):
    """Eight cores are needed, and every one of the family is in use."""
    fields = {
        "location": "westeurope",
        "family": "standardDSv2Family",
        "instance_type": "Standard_DS3_v2",
        "cores_each": 4,
        "needed": 8,
        "used": 24,
        "limit": 24,
    }
    return Quota(**{**fields, **changes})


FREE = make_quota(used=16)


def make_candidate(path="old/blue", *, cores=8, siblings=("live",), state=None, endpoint=None, **changes):
    """An idle deployment that is opted in: nothing keeps it, unless a test changes it."""
    above, _, name = path.partition("/")
    resource = make_resource(f"{WORKSPACE}/onlineEndpoints/{above}/deployments/{name}")
    written = NOON - 60 * DAY
    shown = {"provisioning_state": "Succeeded", "created_at": written, "last_modified_at": written}
    return Candidate(
        resource=resource,
        state=make_state(path=resource.path, tags={"medic-delete": "allow"}, **{**shown, **(state or {})}),
        endpoint=make_endpoint_state(path=resource.endpoint_path, **{"traffic": {"live": 100}, **(endpoint or {})}),
        cores=cores,
        siblings=siblings,
        **{"requests": Found(False), "alive": Found(True), **changes},
    )


def make_seen(*candidates, quota=None, **changes):
    """Evidence of a failure for quota; the candidates are one idle deployment, unless a test names others."""
    quota = Found(make_quota()) if quota is None else quota
    shown = candidates or (make_candidate(),)
    found = changes.pop("candidates", Found(shown))
    return make_evidence(surroundings=Surroundings(quota=quota, candidates=found), **changes)


def proposed(evidence, policy=POLICY):
    diagnosis = make_diagnosis(incident=evidence.incident, cause_id="out-of-cpu-quota", action="delete-idle")
    return planning.propose(diagnosis, evidence, {"delete-idle": DELETE_IDLE}, policy)


def planned(*candidates, policy=POLICY, **changes):
    plan = proposed(make_seen(*candidates, **changes), policy)
    assert isinstance(plan, Plan), plan.words
    return plan


def refused(*candidates, policy=POLICY, **changes):
    none = proposed(make_seen(*candidates, **changes), policy)
    assert isinstance(none, NoPlan)
    return none.end, none.words


def surveyed(plan, *candidates, step=0, policy=POLICY, now=NOON, effects=(), **changes):
    evidence = make_seen(*candidates, **changes)
    seen = survey(
        plan,
        evidence,
        fingerprint(plan.steps[step:], evidence),
        policy=policy,
        ceiling=Mode.AUTO,
        trail=make_trail(),
        own=US,
        now=now,
        step=step,
    )
    return replace(seen, effects=tuple(effects))


def deleted(plan, /, *, step=0, ago=MINUTE, **changes):
    """A deletion of this very plan that Azure took."""
    fields = {
        "at": NOON - ago,
        "incident_id": plan.diagnosis.incident.id,
        "action": "delete-idle",
        "cause_id": plan.diagnosis.cause_id,
        "plan": plan.digest,
        "counts": True,
        "is_open": False,
        "step": step,
        "targets": plan.steps[step].target,
        "status": Status.ACCEPTED,
    }
    return PastEffect(**{**fields, **changes})


BLUE = f"{WORKSPACE}/onlineEndpoints/old/deployments/blue"
LARGE, SMALL = make_candidate("old/large", cores=8), make_candidate("old/small", cores=4)
TWO = (SMALL, LARGE)
TWELVE = Found(make_quota(needed=12))


# ---------------------------------------------------------------------------------------------- the proposal


def test_the_fewest_are_deleted_and_then_the_failed_one_is_put_again():
    plan = planned()
    assert plan.steps == (
        Step(
            call=Call(method="DELETE", path=BLUE, api_version="2024-10-01"),
            target=(BLUE.lower(), BLUE.rpartition("/deployments/")[0].lower(), QUOTA_KEY),
        ),
        Step(
            call=Call(method="PUT", path=DEPLOYMENT, api_version="2024-10-01", body_digest="spec-1"),
            target=(DEPLOYMENT.lower(), QUOTA_KEY),
            is_rerun=True,
        ),
    )
    assert plan.parameters == {
        "body": "live",
        "family": "standardDSv2Family",
        "location": "westeurope",
        "needed": "8",
        "used": "24",
        "limit": "24",
        "missing": "8",
        "victims": "mlw-prod/old/blue (8 cores)",
        "why": "the fewest deletions that free 8 cores; 1 deployment may be deleted in all",
    }
    assert plan.effect == (
        "delete mlw-prod/old/blue (8 cores), idle for 30 days, to free 8 cores of standardDSv2Family in westeurope, "
        "where 8 are missing, then deploy mlw-prod/credit-scoring/green again with the body that GET shows"
    )
    assert (plan.undo, plan.needs_person) == ("re-create from the receipt, with traffic 0", None)
    assert plan.risk is Risk.DESTRUCTIVE
    assert DELETE_IDLE.asks == (Area.QUOTA, Area.IDLE)


def test_the_largest_goes_first_so_that_the_rest_may_turn_out_unneeded():
    plan = planned(*TWO, quota=TWELVE)
    assert [call.path.rpartition("/")[2] for call in plan.calls] == ["large", "small", "green"]
    assert plan.parameters["victims"] == "mlw-prod/old/large (8 cores), mlw-prod/old/small (4 cores)"
    assert "mlw-prod/old/large (8 cores) and mlw-prod/old/small (4 cores)" in plan.effect


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param(
            {"quota": Unknown("throttled")},
            "nothing is deleted while the quota is unknown (throttled)",
            id="unknown quota",
        ),
        pytest.param({"quota": Absent()}, "nothing is deleted while the quota is absent", id="no such quota"),
        pytest.param(
            {"candidates": Unknown("throttled")},
            "8 cores of standardDSv2Family needed in westeurope with the 20 % reserve, 24 of 24 used, 8 missing; "
            "nothing is deleted while what uses the quota is unknown (throttled)",
            id="unknown candidates",
        ),
        pytest.param(
            {"quota": Found(FREE)},
            "8 cores of standardDSv2Family needed in westeurope with the 20 % reserve, 16 of 24 used, 0 missing: "
            "there is quota for it now: run it again",
            id="enough is free by now",
        ),
        pytest.param(
            {"quota": Found(make_quota(used=0, limit=6))},
            "no deletion can ever free enough: 8 needed, the limit is 6. Ask for more quota of standardDSv2Family in "
            "westeurope, or a smaller machine",
            id="0 of 6",
        ),
        pytest.param(
            {"quota": Found(make_quota(limit=None, total_used=5, total_limit=7))},
            "no deletion can ever free enough: 8 needed, the limit of the region is 7. Ask for more quota of "
            "standardDSv2Family in westeurope, or a smaller machine",
            id="the region's limit",
        ),
        pytest.param(
            {"quota": Found(make_quota(used=4, limit=100, total_used=100, total_limit=100))},
            "8 cores of standardDSv2Family needed in westeurope with the 20 % reserve, 4 of 100 used, 100 of 100 in "
            "the region, 8 missing: no deletion can ever free enough, only 4 are used",
            id="other families use the region",
        ),
        pytest.param(
            {"resource": Found(make_state(kind="Kubernetes"))},
            "nothing is deleted: mlw-prod/credit-scoring/green is Kubernetes, which no managed deployment takes cores "
            "from",
            id="Kubernetes",
        ),
        pytest.param(
            {"incident": make_incident(operation=Operation.DELETE)},
            "nothing is deleted: the failed operation is no write of mlw-prod/credit-scoring/green",
            id="a delete failed",
        ),
        pytest.param(
            {"incident": make_incident(resource=make_resource(ENDPOINT)), "resource": Found(make_state(path=ENDPOINT))},
            "nothing is deleted: mlw-prod/credit-scoring is an endpoint, which needs no cores",
            id="an endpoint",
        ),
        pytest.param(
            {"resource": Unknown("throttled")},
            "the state of mlw-prod/credit-scoring/green is unknown (throttled); a deletion alone repairs nothing",
            id="nothing can be run again",
        ),
        pytest.param(
            {"candidates": Found(())},
            "8 cores of standardDSv2Family needed in westeurope with the 20 % reserve, 24 of 24 used, 8 missing; none "
            "of the deployments that use it may be deleted",
            id="nobody uses it",
        ),
    ],
)
def test_without_proof_that_it_helps_nothing_is_deleted(changes, words):
    assert refused(**changes) == ("advised", words)


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        pytest.param(make_candidate(requests=Found(True)), "requests reached it inside the window", id="by header"),
        pytest.param(make_candidate(requests=Unknown()), "whether requests reached it is unknown", id="no metrics"),
        pytest.param(make_candidate(alive=Absent()), "its metrics have gaps", id="gaps"),
        pytest.param(make_candidate(siblings=()), "no other deployment that is Succeeded", id="the last good one"),
        pytest.param(make_candidate(endpoint={"traffic": {"blue": 5}}), "5 % of its endpoint's traffic", id="traffic"),
        pytest.param(make_candidate(state={"kind": "Kubernetes"}), "it is Kubernetes, not Managed", id="Kubernetes"),
        pytest.param(make_candidate(endpoint={"tags": {"medic": "off"}}), "tag medic=off protects it", id="protected"),
        pytest.param(
            make_candidate(state={"spec_digest": None, "not_rebuildable": "properties.model is masked"}),
            "no receipt could bring it back: properties.model is masked",
            id="no receipt",
        ),
    ],
)
def test_what_keeps_the_only_candidate_is_said(candidate, reason):
    end, words = refused(candidate)
    assert end == "advised"
    assert "; none of the deployments that use it may be deleted. Kept: " in words
    assert f"{candidate.resource.label}: " in words
    assert reason in words


def test_the_failed_one_itself_is_no_reason_that_helps():
    _, words = refused(make_candidate("credit-scoring/green"))
    assert words.endswith("; none of the deployments that use it may be deleted")


@pytest.mark.parametrize("changes", [{"created_at": NOON - 9 * DAY}, {"created_at": None}], ids=["update", "unknown"])
def test_for_an_update_nothing_is_deleted_since_what_it_holds_already_is_not_shown(changes):
    assert refused(resource=Found(make_state(**changes))) == (
        "advised",
        (
            "nothing is deleted: mlw-prod/credit-scoring/green was not being created, and the cores that it holds "
            "already are not shown"
        ),
    )


def test_what_the_safe_ones_would_free_is_said_and_not_every_reason():
    used = [make_candidate(f"busy{number}/blue", requests=Found(True)) for number in range(7)]
    _, words = refused(SMALL, *used)
    assert "1 deployment of 4 cores may be deleted; no 3 deletions or fewer that leave every endpoint one" in words
    assert words.count("requests reached it") == 5
    assert words.endswith("; and 2 more")


def test_two_victims_never_empty_their_endpoint():
    pair = (make_candidate("old/x", cores=4, siblings=("y",)), make_candidate("old/y", cores=4, siblings=("x",)))
    _, words = refused(*pair)
    assert "2 deployments of 8 cores may be deleted; no 3 deletions or fewer that leave every endpoint one" in words


def test_policy_bounds_how_many_are_deleted_for_one_failure():
    policy = replace(POLICY, idle=Idle(most=1))
    assert refused(*TWO, quota=TWELVE, policy=policy)[0] == "advised"
    assert len(planned(*TWO, quota=TWELVE).steps) == 3


@pytest.mark.parametrize(
    ("state", "needs_person"),
    [
        pytest.param({}, None, id="none"),
        pytest.param(
            {"environment_names": ("API_KEY",)},
            "mlw-prod/old/blue has environment variables, which the receipt names and does not hold",
            id="some",
        ),
        pytest.param(
            {"shows_environment": False},
            "whether mlw-prod/old/blue has environment variables is not shown, and the receipt would not hold them",
            id="not shown",
        ),
    ],
)
def test_a_victim_with_environment_variables_needs_a_person(state, needs_person):
    assert planned(make_candidate(state=state)).needs_person == needs_person


def test_a_re_run_that_needs_a_person_still_does():
    candidate = make_candidate(state={"environment_names": ("API_KEY",)})
    spec = DesiredSpec(url="https://st.blob.core.windows.net/desired/green.json", digest="ci-spec")
    plan = planned(candidate, resource=Absent(), operation=Unknown(), desired=Found(spec))
    assert plan.needs_person == (
        "the body comes from CI, from a container that policy lists but does not trust; "
        "mlw-prod/old/blue has environment variables, which the receipt names and does not hold"
    )


# --------------------------------------------------------------------------------------------- its fingerprint


def test_the_fingerprint_is_of_the_failed_one_and_of_every_victim():
    plan = planned(*TWO, quota=TWELVE)
    victims = {"deployment rg-ml-prod/mlw-prod/old/large", "deployment rg-ml-prod/mlw-prod/old/small"}
    assert plan.fingerprint.keys() == {"state", "last modified", "operation", "spec", *victims}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"candidates": Found((make_candidate(state={"spec_digest": "spec-2"}),))}, id="spec"),
        pytest.param({"candidates": Found((make_candidate(state={"last_modified_at": NOON}),))}, id="written"),
        pytest.param({"candidates": Found((make_candidate(state={"provisioning_state": "Failed"}),))}, id="state"),
        pytest.param({"candidates": Found((make_candidate(endpoint={"traffic": {"Blue": 1}}),))}, id="traffic"),
        pytest.param({"candidates": Found((make_candidate(endpoint={"mirror_traffic": {"blue": 1}}),))}, id="mirror"),
        pytest.param({"candidates": Found(())}, id="gone"),
        pytest.param({"candidates": Unknown()}, id="unknown"),
    ],
)
def test_a_victim_that_changed_or_cannot_be_read_is_not_deleted(changes):
    plan = planned()
    now = fingerprint(plan.steps, make_seen(**changes))
    assert {name for name in now if now[name] != plan.fingerprint[name]} == {"deployment rg-ml-prod/mlw-prod/old/blue"}
    decision = decide(plan, surveyed(plan, **changes), DELETE_IDLE.guards, situation_digest="s")
    assert decision.verdict is Verdict.REFUSE
    assert "target-unchanged" in {refusal.guard for refusal in decision.refusals}


def test_what_moves_elsewhere_on_its_endpoint_changes_no_victim():
    plan = planned()
    moved = make_candidate(endpoint={"traffic": {"live": 50, "next": 50}, "last_modified_at": NOON})
    assert fingerprint(plan.steps, make_seen(moved)) == plan.fingerprint


# --------------------------------------------------------------------------------------------------- each turn


@pytest.mark.parametrize(
    ("step", "seen", "answered"),
    [
        pytest.param(0, {}, Go(), id="as planned"),
        pytest.param(
            0,
            {"quota": Found(make_quota(needed=12, used=12)), "candidates": Unknown()},
            Unneeded(
                "enough is free: 12 cores of standardDSv2Family needed in westeurope with the 20 % reserve, "
                "12 of 24 used, 0 missing"
            ),
            id="enough is free by now",
        ),
        pytest.param(0, {"quota": Unknown("throttled")}, NotYet("the quota is unknown (throttled)"), id="no quota"),
        pytest.param(
            0,
            {"candidates": Unknown("throttled")},
            NotYet("what uses the quota is unknown (throttled)"),
            id="no candidates",
        ),
        pytest.param(
            0,
            {"candidates": Found((SMALL,))},
            Stop("mlw-prod/old/large is gone or has changed: Azure shows it no more among those that use the quota"),
            id="gone",
        ),
        pytest.param(
            0,
            {"candidates": Found((LARGE,))},
            Stop(
                "nothing was deleted and Azure still shows 12 cores missing, and the rest of the plan frees only 8: "
                "a person has to look"
            ),
            id="the next one is gone, and the first alone is not enough",
        ),
        pytest.param(
            0,
            {"quota": Found(make_quota(needed=12, used=30))},
            Stop(
                "nothing was deleted and Azure still shows 18 cores missing, and the rest of the plan frees only 12: "
                "a person has to look"
            ),
            id="more is missing than was",
        ),
        pytest.param(2, {"quota": Found(make_quota(needed=12, used=12))}, Go(), id="the re-run has its cores"),
        pytest.param(2, {"quota": Unknown("throttled")}, NotYet("the quota is unknown (throttled)"), id="unknown"),
        pytest.param(
            2,
            {},
            Stop("nothing was deleted and Azure still shows 12 cores missing: a person has to look"),
            id="nothing was deleted for the re-run",
        ),
    ],
)
def test_each_step_asks_again_whether_it_is_needed_and_enough(step, seen, answered):
    plan = planned(*TWO, quota=TWELVE)
    assert turn(plan, step, surveyed(plan, *TWO, step=step, **{"quota": TWELVE, **seen})) == answered


HALF = Found(make_quota(needed=12, used=16))


@pytest.mark.parametrize(
    ("seen", "ago", "answered"),
    [
        pytest.param({"quota": HALF}, MINUTE, Go(), id="what is still missing the second one frees"),
        pytest.param({}, 9 * MINUTE, NotYet("8 cores are not shown as free yet"), id="not shown yet"),
        pytest.param(
            {},
            11 * MINUTE,
            Stop(
                "mlw-prod/old/large was deleted and Azure still shows 12 cores missing, and the rest of the plan frees "
                "only 4: a person has to look"
            ),
            id="never shown",
        ),
        pytest.param(
            {"quota": Found(make_quota(needed=12, used=12)), "candidates": Unknown()},
            MINUTE,
            Unneeded(
                "enough is free: 12 cores of standardDSv2Family needed in westeurope with the 20 % reserve, "
                "12 of 24 used, 0 missing"
            ),
            id="somebody freed the rest",
        ),
    ],
)
def test_nothing_more_is_deleted_before_the_first_deletion_shows(seen, ago, answered):
    plan = planned(*TWO, quota=TWELVE)
    situation = surveyed(plan, SMALL, step=1, effects=[deleted(plan, ago=ago)], **{"quota": TWELVE, **seen})
    assert turn(plan, 1, situation) == answered


@pytest.mark.parametrize(
    ("effects", "answered"),
    [
        pytest.param([{}], NotYet("8 cores are not shown as free yet"), id="a moment ago"),
        pytest.param([{"ago": 9 * MINUTE}], NotYet("8 cores are not shown as free yet"), id="9 minutes ago"),
        pytest.param(
            [{"ago": 30 * MINUTE, "settled": Settled(at=NOON - MINUTE, held=True)}],
            NotYet("8 cores are not shown as free yet"),
            id="begun long ago, over since a minute",
        ),
        pytest.param(
            [{"ago": 10 * MINUTE}],
            Stop("mlw-prod/old/blue was deleted and Azure still shows 8 cores missing: a person has to look"),
            id="10 minutes ago",
        ),
        pytest.param(
            [{"status": Status.BUSY}],
            Stop("nothing was deleted and Azure still shows 8 cores missing: a person has to look"),
            id="not taken",
        ),
        pytest.param(
            [{"plan": "another-plan"}],
            Stop("nothing was deleted and Azure still shows 8 cores missing: a person has to look"),
            id="another plan's",
        ),
    ],
)
def test_the_re_run_waits_for_what_was_deleted_to_be_free_and_not_for_ever(effects, answered):
    plan = planned()
    made = [deleted(plan, **effect) for effect in effects]
    assert turn(plan, 1, surveyed(plan, candidates=Found(()), step=1, effects=made)) == answered


def test_both_deletions_are_named_when_they_did_not_help():
    plan = planned(*TWO, quota=TWELVE)
    made = [deleted(plan, step=step, ago=30 * MINUTE) for step in (0, 1)]
    assert turn(plan, 2, surveyed(plan, step=2, quota=TWELVE, effects=made)) == Stop(
        "mlw-prod/old/large and mlw-prod/old/small were deleted and Azure still shows 12 cores missing: "
        "a person has to look"
    )


def test_a_step_that_this_plan_has_done_is_not_done_again():
    plan = planned()
    gone = surveyed(plan, candidates=Found(()), effects=[deleted(plan)])
    assert turn(plan, 0, gone) == Unneeded("mlw-prod/old/blue was deleted")
    assert turn(plan, 0, surveyed(plan, effects=[deleted(plan)])) == NotYet("mlw-prod/old/blue is still shown")


# -------------------------------------------------------------------------------------------------- the guards


def test_everything_permits_what_was_just_planned():
    plan = planned(*TWO, quota=TWELVE)
    decision = decide(plan, surveyed(plan, *TWO, quota=TWELVE), DELETE_IDLE.guards, situation_digest="s")
    assert (decision.verdict, decision.refusals) == (Verdict.RUN, ())
    after = surveyed(plan, step=2, quota=Found(make_quota(needed=12, used=12)), candidates=Unknown())
    assert decide(plan, after, DELETE_IDLE.guards, situation_digest="s").refusals == ()


@pytest.mark.parametrize(
    ("candidates", "given_answer", "words"),
    [
        pytest.param(Found((make_candidate(),)), ALLOW, "idle for 30 days: mlw-prod/old/blue", id="still idle"),
        pytest.param(
            Found((make_candidate(requests=Found(True)),)),
            DENY,
            "mlw-prod/old/blue: requests reached it inside the window",
            id="a request just before the effect",
        ),
        pytest.param(
            Found((make_candidate(requests=Unknown("throttled")),)),
            UNKNOWN,
            "mlw-prod/old/blue: whether requests reached it is unknown (throttled)",
            id="unknown requests",
        ),
        pytest.param(
            Found((make_candidate(alive=Absent()),)),
            UNKNOWN,
            "mlw-prod/old/blue: its metrics have gaps: no requests there proves nothing",
            id="gaps",
        ),
        pytest.param(
            Found((make_candidate(endpoint={"traffic": {"blue": 1}}),)),
            DENY,
            "mlw-prod/old/blue: 1 % of its endpoint's traffic goes to it",
            id="traffic",
        ),
        pytest.param(
            Found((make_candidate(siblings=()),)),
            DENY,
            "mlw-prod/old/blue: its endpoint has no other deployment that is Succeeded",
            id="the last good one by now",
        ),
        pytest.param(
            Found((make_candidate(state={"spec_digest": None}),)),
            DENY,
            "mlw-prod/old/blue: no receipt could bring it back: its spec cannot be rebuilt",
            id="no receipt",
        ),
        pytest.param(Found(()), DENY, "mlw-prod/old/blue is not among those that use the quota", id="gone"),
        pytest.param(
            Unknown("throttled"), UNKNOWN, "what uses the quota is unknown (throttled)", id="unknown candidates"
        ),
        pytest.param(Absent(), UNKNOWN, "what uses the quota is absent", id="no candidates"),
    ],
)
def test_victims_must_be_idle_by_what_was_just_read(candidates, given_answer, words):
    plan = planned()
    said = victims_are_idle(plan, surveyed(plan, candidates=candidates))
    assert (said.answer, said.words) == (given_answer, words)


def test_victims_are_judged_by_the_policy_that_holds_now():
    plan = planned()
    strict = replace(POLICY, idle=Idle(tag={"other": "tag"}))
    assert victims_are_idle(plan, surveyed(plan, policy=strict)).answer is DENY


def test_victims_that_became_the_only_ones_of_their_endpoint_stay():
    pair = [make_candidate(f"old/{name}", cores=6, siblings=("x", "y", "live")) for name in ("x", "y")]
    plan = planned(*pair, quota=TWELVE)
    alone = [replace(one, siblings=("x", "y")) for one in pair]
    said = victims_are_idle(plan, surveyed(plan, *alone, quota=TWELVE))
    assert (said.answer, said.words) == (DENY, "mlw-prod/old/x: nothing Succeeded would be left of its endpoint")


def test_what_is_done_already_is_judged_no_more():
    plan = planned(*TWO, quota=TWELVE)
    assert victims_are_idle(plan, surveyed(plan, SMALL, step=1, quota=HALF)).words == (
        "idle for 30 days: mlw-prod/old/small"
    )
    assert victims_are_idle(plan, surveyed(plan, step=2, candidates=Unknown())).words == "nothing more is deleted"


@pytest.mark.parametrize(
    ("quota", "given_answer"),
    [
        pytest.param(Found(make_quota()), ALLOW, id="as planned"),
        pytest.param(Found(make_quota(family="STANDARDDSV2FAMILY")), ALLOW, id="in capitals"),
        pytest.param(Found(make_quota(family="standardFSv2Family")), DENY, id="another family"),
        pytest.param(Found(make_quota(location="northeurope")), DENY, id="another region"),
        pytest.param(Found(make_quota(limit=6)), DENY, id="the limit was lowered"),
        pytest.param(Unknown("throttled"), UNKNOWN, id="unknown"),
        pytest.param(Absent(), UNKNOWN, id="absent"),
    ],
)
def test_the_quota_must_be_the_planned_one_and_curable(quota, given_answer):
    plan = planned()
    assert quota_is_curable(plan, surveyed(plan, quota=quota)).answer is given_answer


def with_steps(plan, *steps):
    return replace(plan, steps=steps)


def deletion(path, *keys, method="DELETE", **changes):
    call = Call(method=method, path=path, api_version="2024-10-01")
    return Step(call=call, target=keys or (path.lower(), QUOTA_KEY), **changes)


ELSEWHERE = BLUE.replace(SUBSCRIPTION, "99999999-1111-2222-3333-444444444444")


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([], id="no deletion"),
        pytest.param([deletion(f"{BLUE}{number}") for number in range(4)], id="too many"),
        pytest.param([deletion(BLUE), deletion(BLUE.upper().replace("/DEPLOYMENTS/", "/deployments/"))], id="twice"),
        pytest.param([deletion(DEPLOYMENT)], id="the failed one itself"),
        pytest.param([deletion(BLUE.rpartition("/deployments/")[0])], id="a whole endpoint"),
        pytest.param([deletion(WORKSPACE)], id="a workspace"),
        pytest.param([deletion(ELSEWHERE)], id="another subscription"),
        pytest.param([deletion(BLUE, method="PUT")], id="a write"),
        pytest.param([deletion(BLUE, is_rerun=True)], id="a delete that would be a re-run"),
        pytest.param([deletion(BLUE, BLUE.lower())], id="without its quota"),
        pytest.param([deletion(BLUE, BLUE.lower(), "quota:westeurope/standardfsv2family")], id="another family"),
    ],
)
def test_nothing_but_a_few_deletions_under_one_quota_is_within_it(steps):
    plan = planned()
    situation = surveyed(plan)
    assert within_quota(plan, situation).answer is ALLOW
    assert within_quota(with_steps(plan, *steps, plan.steps[-1]), situation).answer is DENY


@pytest.mark.parametrize(
    "last",
    [
        pytest.param(deletion(DEPLOYMENT, is_rerun=True), id="a delete"),
        pytest.param(deletion(BLUE, method="PUT", is_rerun=True), id="of another"),
        pytest.param(deletion(DEPLOYMENT, method="PUT"), id="no re-run"),
        pytest.param(deletion(DEPLOYMENT, BLUE.lower(), method="PUT", is_rerun=True), id="that touches another"),
    ],
)
def test_the_last_call_is_the_put_of_the_failed_one(last):
    plan = planned()
    assert within_quota(with_steps(plan, plan.steps[0], last), surveyed(plan)).answer is DENY


# ------------------------------------------------------------------------------------------- receipt and body


def shown(**changes: Any) -> dict[str, Json]:
    properties: dict[str, Json] = {
        "endpointComputeType": "Managed",
        "instanceType": "Standard_DS3_v2",
        "model": "azureml:credit:7",
        "environmentVariables": {"API_KEY": "hunter2-secret"},
        "provisioningState": "Succeeded",
        **changes,
    }
    return {
        "id": BLUE,
        "location": "westeurope",
        "kind": "Managed",
        "tags": {"medic-delete": "allow"},
        "sku": {"name": "Default", "capacity": 1},
        "properties": properties,
        "systemData": {"createdAt": "2026-09-20T12:00:00Z", "lastModifiedAt": "2026-09-20T12:00:00Z"},
    }


def above(**traffic: Json) -> dict[str, Json]:
    properties: dict[str, Json] = {"provisioningState": "Succeeded", "traffic": traffic}
    return {"id": BLUE.rpartition("/deployments/")[0], "properties": properties}


ABOVE = above(live=100)


def read_candidate():
    """The candidate that those reads give."""
    resource = make_resource(BLUE)
    return replace(
        make_candidate(),
        state=resource_state(shown(), resource, None),
        endpoint=resource_state(ABOVE, resource.endpoint_id, None),
    )


def reads_of(deployment, endpoint):
    above = BLUE.rpartition("/deployments/")[0]
    return FakeReads({BLUE: deployment, above: endpoint, f"{above}/deployments": Found((LIVE,))})


LIVE = {"id": BLUE.replace("/blue", "/live"), "properties": {"provisioningState": "Succeeded"}}


@pytest.mark.parametrize(
    ("listed", "is_kept"),
    [
        pytest.param(Found((LIVE,)), False, id="another is Succeeded"),
        pytest.param(Found(()), True, id="there is no other"),
        pytest.param(Found(({"id": BLUE.upper(), "properties": LIVE["properties"]},)), True, id="only itself"),
        pytest.param(Found(({**LIVE, "properties": {"provisioningState": "Failed"}},)), True, id="the other failed"),
        pytest.param(Unknown("429"), True, id="unknown"),
        pytest.param(Absent(), True, id="no list"),
    ],
)
def test_a_last_look_finds_whether_the_endpoint_keeps_a_good_deployment(listed, is_kept):
    reads = reads_of(Found(shown()), Found(ABOVE))
    reads.answers[f"{BLUE.rpartition('/deployments/')[0]}/deployments".lower()] = listed
    kept = receipt(planned(read_candidate()), 0, reads)
    words = "no other deployment of the endpoint of mlw-prod/old/blue is shown to be Succeeded"
    assert (kept == Changed(words)) is is_kept


@pytest.mark.parametrize(("told", "is_planned"), [(8, True), (4, False), (16, False), (None, True)])
def test_where_azure_counts_otherwise_nothing_is_deleted(told, is_planned):
    diagnosis = make_diagnosis(cause_id="quota-cpu", action="delete-idle", facts=Facts(needed=told))
    proposal = DELETE_IDLE.propose(diagnosis, make_seen(), Policy(actions={}))
    assert isinstance(proposal, NoPlan) is not is_planned
    assert not isinstance(proposal, NoPlan) or f"Azure says that {told} are needed" in proposal.words


def test_two_that_would_empty_one_endpoint_meet_at_its_desk():
    assert BLUE.rpartition("/deployments/")[0].lower() in planned().steps[0].target


def test_a_receipt_brings_the_victim_back_but_for_the_values_of_its_environment_variables():
    plan = planned(read_candidate())
    kept = receipt(plan, 0, reads_of(Found(shown()), Found(ABOVE)))
    assert kept == {
        "id": BLUE,
        "body": {
            "location": "westeurope",
            "kind": "Managed",
            "tags": {"medic-delete": "allow"},
            "sku": {"name": "Default", "capacity": 1},
            "properties": {
                "endpointComputeType": "Managed",
                "instanceType": "Standard_DS3_v2",
                "model": "azureml:credit:7",
            },
        },
        "environment_variables": ["API_KEY"],
        "traffic": {"live": 100},
    }
    assert b"hunter2" not in codec.encode(kept)
    assert isinstance(kept, dict)
    assert isinstance(rebuild(codec.mapping(kept["body"]), is_endpoint=False), Spec)


@pytest.mark.parametrize(
    ("deployment", "endpoint", "words"),
    [
        pytest.param(
            Absent(), Found(ABOVE), "mlw-prod/old/blue is absent: there is nothing to make a receipt of", id="gone"
        ),
        pytest.param(
            Unknown("throttled"),
            Found(ABOVE),
            "mlw-prod/old/blue is unknown (throttled): there is nothing to make a receipt of",
            id="unknown",
        ),
        pytest.param(
            Found(shown()),
            Unknown("throttled"),
            "the endpoint of mlw-prod/old/blue is unknown (throttled): its traffic is not known",
            id="unknown traffic",
        ),
        pytest.param(
            Found(shown(model="***")),
            Found(ABOVE),
            "no receipt could bring mlw-prod/old/blue back: properties.model is masked",
            id="masked",
        ),
        pytest.param(
            Found(shown(model="azureml:credit:8")),
            Found(ABOVE),
            "mlw-prod/old/blue is no longer as it was when the plan was made",
            id="another spec",
        ),
        pytest.param(
            Found(shown()),
            Found(above(blue=1, live=99)),
            "mlw-prod/old/blue is no longer as it was when the plan was made",
            id="traffic since",
        ),
        pytest.param(
            Found(shown()),
            Found(above(blue="1", live=99)),
            "the traffic of the endpoint of mlw-prod/old/blue cannot be read",
            id="a weight that is no number",
        ),
    ],
)
def test_without_a_receipt_of_what_was_planned_nothing_is_deleted(deployment, endpoint, words):
    plan = planned(read_candidate())
    assert receipt(plan, 0, reads_of(deployment, endpoint)) == Changed(words)


def test_a_deletion_has_no_body_and_a_re_run_no_receipt():
    plan, reads = planned(), FakeReads({DEPLOYMENT: Absent()})
    assert prepare(plan, 0, reads) == Body(None)
    assert receipt(plan, 1, reads) is None
    assert reads.asked == []
    assert prepare(plan, 1, reads) == Changed("the body is absent")


# -------------------------------------------------------------------------------------------- what came of it


@pytest.mark.parametrize(
    ("target", "status"),
    [
        pytest.param(Found(make_state(provisioning_state="Succeeded")), Status.NOT_DONE, id="it is there"),
        pytest.param(Found(make_state(provisioning_state="Deleting")), Status.ACCEPTED, id="being deleted"),
        pytest.param(Absent(), Status.ACCEPTED, id="it is not there"),
        pytest.param(Unknown(), Status.UNCLEAR, id="unknown"),
    ],
)
def test_a_lost_answer_is_read_off_the_world(target, status):
    assert landed(planned(), 0, make_evidence(target=target)) is status


def test_a_lost_answer_of_the_re_run_is_the_re_run_s_own():
    assert landed(planned(), 1, make_seen()) is Status.NOT_DONE


@pytest.mark.parametrize(
    ("number", "status", "message", "means"),
    [
        pytest.param(0, 400, "The deployment has a Non-Zero traffic weight.", True, id="refused for its traffic"),
        pytest.param(0, 400, "The deployment is not there.", False, id="refused for something else"),
        pytest.param(0, 202, "non-zero traffic weight", False, id="taken"),
        pytest.param(0, None, "non-zero traffic weight", False, id="no answer"),
        pytest.param(1, 400, "non-zero traffic weight", False, id="not a deletion"),
    ],
)
def test_azure_s_word_that_it_has_traffic_ends_it(number, status, message, means):
    reply = Reply(status=status, errors=(ErrorDetail(code="BadRequest", message=message, depth=0),))
    refusal = (Status.REFUSED, "Azure refused to delete mlw-prod/old/blue: it has traffic; nothing more is deleted")
    assert answer(planned().steps[number], reply) == (refusal if means else None)


@pytest.mark.parametrize(
    ("target", "end", "words"),
    [
        pytest.param(Absent(), None, "mlw-prod/old/blue was deleted; what that freed is read", id="it is gone"),
        pytest.param(
            Found(make_state(provisioning_state="Failed")),
            End.NOT_REPAIRED,
            "mlw-prod/old/blue was to be deleted, and is Failed",
            id="it is still there",
        ),
        pytest.param(
            Unknown("429"), End.INCONCLUSIVE, "whether mlw-prod/old/blue was deleted is unknown", id="unknown"
        ),
    ],
)
def test_a_deletion_is_over_once_what_it_deletes_is_gone(target, end, words):
    verdict, said = verify(planned(), 0, make_evidence(target=target))
    assert (verdict, words in said) == (end, True)


@pytest.mark.parametrize(
    ("state", "end"),
    [
        ({"provisioning_state": "Succeeded", "modified_by_us": True}, End.REPAIRED),
        ({"provisioning_state": "Failed", "modified_by_us": True}, End.NOT_REPAIRED),
    ],
    ids=["stands", "failed again"],
)
def test_the_re_run_tells_whether_it_helped(state, end):
    assert verify(planned(), 1, make_evidence(resource=Found(make_state(**state))))[0] is end


# ---------------------------------------------------------------------------------------------------- the laws

READINGS = st.sampled_from([Found(False), Found(True), Absent(), Unknown()])


@given(
    candidates=st.lists(
        st.builds(
            make_candidate,
            st.sampled_from(["a/x", "a/y", "b/x", "credit-scoring/green"]),
            cores=st.integers(1, 12),
            siblings=st.sampled_from([(), ("live",), ("x", "y")]),
            requests=READINGS,
            alive=READINGS,
        ),
        unique_by=lambda one: one.resource.key,
        max_size=4,
    ),
    used=st.integers(0, 30),
)
def test_what_is_planned_is_what_the_guards_permit_and_is_enough(candidates, used):
    seen = {"quota": Found(make_quota(used=used)), "candidates": Found(tuple(candidates))}
    plan = proposed(make_seen(**seen))
    if isinstance(plan, NoPlan):
        return
    victims = [one for one in candidates if one.resource.key in plan.target_from(0)]
    proved = {one.resource.key for one in candidates if (one.requests, one.alive) == (Found(False), Found(True))}
    deletions = {step.call.path.lower() for step in plan.steps[:-1]}
    assert deletions <= proved - {DEPLOYMENT.lower()}
    assert sum(one.cores for one in victims if one.resource.key in deletions) >= int(plan.parameters["missing"]) > 0
    situation = surveyed(plan, **seen)
    assert turn(plan, 0, situation) == Go()
    assert decide(plan, situation, DELETE_IDLE.guards, situation_digest="s").verdict is Verdict.RUN


@given(requests=READINGS, alive=READINGS)
def test_an_unknown_state_never_leads_to_a_deletion(requests, alive):
    plan = planned()
    situation = surveyed(plan, make_candidate(requests=requests, alive=alive))
    decision = decide(plan, situation, DELETE_IDLE.guards, situation_digest="s")
    is_proved = (requests, alive) == (Found(False), Found(True))
    assert decision.verdict is (Verdict.RUN if is_proved else Verdict.REFUSE)
