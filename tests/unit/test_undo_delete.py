"""What undoing a deletion does: one PUT, with traffic 0; and above all what it never does."""

import pytest
from msgspec.structs import replace

from remediations import codec, guards, planning, undoing
from remediations.actions import ACTIONS
from remediations.actions.action import Body, Changed
from remediations.actions.undo_delete import UNDO_DELETE, commands, prepare, verify
from remediations.guards import COMMON, decide
from remediations.model import (
    Absent,
    Answer,
    End,
    Found,
    Mode,
    NoPlan,
    Plan,
    Status,
    Unknown,
    Verdict,
)
from remediations.policy import ActionPolicy, Policy
from remediations.situation import PastEffect, survey
from tests.builders import (
    DEPLOYMENT,
    ENDPOINT,
    NOON,
    US,
    FakeReads,
    make_call,
    make_endpoint_state,
    make_plan,
    make_row,
    make_state,
    make_trail,
)
from tests.undos import BODY, KEPT, NAMES, RECEIPT, make_receipt, make_undo_evidence

POLICY = Policy(actions={"undo-delete": ActionPolicy(mode=Mode.ASK)})
UNREAD = Unknown("answered 503")
READS = FakeReads()


def proposed(evidence=None):
    evidence = evidence or make_undo_evidence()
    diagnosis = undoing.diagnose(evidence, evidence_digest="e" * 64)
    return planning.propose(diagnosis, evidence, ACTIONS, POLICY)


def planned(evidence=None) -> Plan:
    plan = proposed(evidence)
    assert isinstance(plan, Plan), plan.words
    return plan


def decision(plan, evidence, policy=POLICY, ceiling=Mode.AUTO, **changes):
    prints = UNDO_DELETE.fingerprint(plan.steps, evidence)
    seen = survey(plan, evidence, prints, policy=policy, ceiling=ceiling, trail=make_trail(), own=US, now=NOON)
    return decide(plan, replace(seen, **changes), UNDO_DELETE.guards, situation_digest="s")


def refusals(evidence, **changes):
    """Which guards refuse the plan of the plain evidence in a world as this evidence says, and in which words."""
    found = decision(planned(), evidence, **changes).refusals
    return {one.guard: (str(one.answer), one.words) for one in found}


# --------------------------------------------------------------------------------------------------- the plan


def test_it_is_one_put_of_the_deployment_with_the_body_of_the_receipt():
    plan = planned()
    assert [str(call) for call in plan.calls] == [f"PUT {DEPLOYMENT}?api-version=2024-10-01"]
    assert plan.calls[0].body_digest == codec.digest_of(BODY)
    assert plan.target == (ENDPOINT.lower(), DEPLOYMENT.lower())


def test_the_effect_names_the_variables_that_a_person_must_supply_and_the_command():
    plan = planned()
    assert plan.effect == (
        "create mlw-prod/credit-scoring/green again from its receipt (2 of Standard_DS3_v2), with traffic 0; a "
        "person has to supply the environment variables FEATURE_STORE_URL, MODEL_THRESHOLD before it gets any"
    )
    assert plan.parameters["environment variables"] == "FEATURE_STORE_URL, MODEL_THRESHOLD"
    assert plan.parameters["command 1"] == (
        "az ml online-deployment update --name green --endpoint-name credit-scoring --workspace-name mlw-prod "
        "--resource-group rg-ml-prod --subscription 00000000-1111-2222-3333-444444444444 --set "
        "environment_variables.FEATURE_STORE_URL=VALUE environment_variables.MODEL_THRESHOLD=VALUE"
    )


def test_without_variables_nobody_has_to_supply_any():
    evidence = make_undo_evidence(undone={"receipt": Found(make_receipt(environment_names=()))})
    plan = planned(evidence)
    assert plan.effect.endswith("with traffic 0")
    assert (plan.parameters["environment variables"], "command 1" in plan.parameters) == ("none", False)


def test_a_name_that_set_would_read_as_a_path_is_given_in_a_file():
    (command,) = commands(planned().diagnosis.incident.resource, ("a.b", "c"))
    assert command.endswith(" --file DEPLOYMENT.yml")


@pytest.mark.parametrize("mode", [Mode.ASK, Mode.AUTO])
def test_it_is_never_done_without_a_person(mode):
    policy = Policy(actions={"undo-delete": ActionPolicy(mode=mode)})
    assert decision(planned(), make_undo_evidence(), policy).verdict is Verdict.ASK


def test_in_a_dry_run_it_says_what_it_would_do():
    made = decision(planned(), make_undo_evidence(), ceiling=Mode.DRY_RUN)
    assert (made.verdict, made.would) == (Verdict.DRY_RUN, Verdict.ASK)


@pytest.mark.parametrize(
    ("changes", "end", "words"),
    [
        pytest.param(
            {"resource": Found(make_state(provisioning_state="Succeeded"))},
            "nothing-to-do",
            "mlw-prod/credit-scoring/green is there, and is Succeeded: nothing is created over it",
            id="it is there",
        ),
        pytest.param(
            {"resource": Found(make_state(provisioning_state="Failed"))},
            "advised",
            "mlw-prod/credit-scoring/green is there, and is Failed: nothing is created over it. Delete it by hand "
            "first: az ml online-deployment delete --name green --endpoint-name credit-scoring "
            "--workspace-name mlw-prod --resource-group rg-ml-prod "
            "--subscription 00000000-1111-2222-3333-444444444444 --yes",
            id="it is there and failed",
        ),
        pytest.param(
            {"resource": UNREAD},
            "advised",
            "whether mlw-prod/credit-scoring/green is there is unknown (answered 503)",
            id="unknown",
        ),
        pytest.param(
            {"undone": {"receipt": Absent()}},
            "advised",
            "mlw-prod/credit-scoring/green cannot be created again: its receipt is gone: evidence is deleted after 90 "
            "days. Create it again from its pipeline",
            id="expired",
        ),
        pytest.param(
            {"undone": {"receipt": Unknown("it was changed")}},
            "advised",
            "the receipt of mlw-prod/credit-scoring/green is unknown (it was changed)",
            id="a receipt that was changed",
        ),
    ],
)
def test_nothing_is_planned_where_it_cannot_be(changes, end, words):
    plan = proposed(make_undo_evidence(**changes))
    assert isinstance(plan, NoPlan)
    assert (plan.end, plan.words) == (end, words)


# ------------------------------------------------------------------------------------------------- the guards


def test_all_guards_allow_what_is_as_it_should_be():
    assert refusals(make_undo_evidence()) == {}


@pytest.mark.parametrize(
    ("changes", "guard", "answer"),
    [
        pytest.param({"resource": Found(make_state())}, "deployment-is-absent", "deny", id="it is there"),
        pytest.param({"resource": UNREAD}, "deployment-is-absent", "unknown", id="whether it is there is unknown"),
        pytest.param({"endpoint": Absent()}, "endpoint-is-there", "deny", id="no endpoint"),
        pytest.param({"endpoint": UNREAD}, "endpoint-is-there", "unknown", id="endpoint unknown"),
        pytest.param(
            {"endpoint": Found(make_endpoint_state(provisioning_state="Deleting"))},
            "endpoint-is-there",
            "deny",
            id="the endpoint is being deleted",
        ),
        pytest.param({"undone": {"weights": Found((1, 0))}}, "gets-no-traffic", "deny", id="traffic"),
        pytest.param({"undone": {"weights": Found((0, 5))}}, "gets-no-traffic", "deny", id="mirrored traffic"),
        pytest.param({"undone": {"weights": UNREAD}}, "gets-no-traffic", "unknown", id="traffic unknown"),
        pytest.param({"undone": {"receipt": Absent()}}, "receipt-is-kept", "deny", id="receipt expired"),
        pytest.param({"undone": {"receipt": UNREAD}}, "receipt-is-kept", "unknown", id="receipt unknown"),
        pytest.param(
            {"undone": {"receipt": Found(make_receipt(digest="d" * 64))}},
            "receipt-is-kept",
            "deny",
            id="another receipt",
        ),
        pytest.param(
            {"undone": {"receipt": Found(make_receipt(body_digest="d" * 64))}},
            "receipt-is-kept",
            "deny",
            id="another body",
        ),
        pytest.param({"undone": {"rewritten": UNREAD}}, "receipt-is-last-state", "unknown", id="since unknown"),
        pytest.param(
            {"history": Found((make_row(at=NOON.replace(minute=1), status="Succeeded", correlation_id="x"),))},
            "nobody-intervened",
            "deny",
            id="somebody else wrote since",
        ),
        pytest.param({"history": UNREAD}, "nobody-intervened", "unknown", id="who wrote is unknown"),
        pytest.param(
            {"endpoint": Found(make_endpoint_state(tags={"medic": "off"}))}, "not-protected", "deny", id="protected"
        ),
        pytest.param(
            {"undone": {"receipt": Found(make_receipt(tags={"medic": "off"}))}},
            "not-protected",
            "deny",
            id="protected by the tags that it had",
        ),
        pytest.param({"missing_permissions": ("x/write",)}, "permitted-by-azure", "deny", id="no right"),
    ],
)
def test_it_is_refused(changes, guard, answer):
    assert refusals(make_undo_evidence(**changes))[guard][0] == answer


@pytest.mark.parametrize(("verb", "did"), [("write", "written"), ("delete", "deleted")])
def test_a_receipt_that_is_not_the_last_state_brings_nothing_back(verb, did):
    row = make_row(at=NOON, operation_name=f"Microsoft.MachineLearningServices/x/deployments/{verb}")
    assert refusals(make_undo_evidence(undone={"rewritten": Found((row,))}))["receipt-is-last-state"] == (
        "deny",
        f"it was {did} again at 2026-11-22 12:00:00 UTC, after we deleted it: its receipt is not its last state",
    )


def test_traffic_that_came_since_voids_an_approval():
    found = refusals(make_undo_evidence(undone={"weights": Found((10, 0))}))
    assert found["target-unchanged"] == ("deny", "changed since the plan was made: traffic")


def test_a_deletion_a_moment_ago_does_not_keep_it_from_being_undone():
    effect = PastEffect(
        at=NOON,
        incident_id="inc-other",
        action="delete-idle",
        cause_id="quota-cpu",
        plan="a" * 64,
        counts=True,
        is_open=False,
        targets=(DEPLOYMENT.lower(),),
        status=Status.ACCEPTED,
    )
    assert refusals(make_undo_evidence(), effects=(effect,)) == {}
    assert [guard for guard in COMMON if guard not in UNDO_DELETE.guards] == [guards.cooled_down]


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(make_call(method="DELETE"), id="a deletion"),
        pytest.param(make_call(path=f"{ENDPOINT}/deployments/blue"), id="another deployment"),
        pytest.param(make_call(path=ENDPOINT), id="the endpoint"),
        pytest.param(make_call(via="roles"), id="another client"),
    ],
)
def test_no_other_call_is_let_through(call):
    plan = planned()
    forged = replace(plan, steps=(replace(plan.steps[0], call=call),))
    answers = {one.guard: one.answer for one in decision(forged, make_undo_evidence()).answers}
    assert answers["within-receipt"] is Answer.DENY


def test_no_second_call_is_let_through():
    plan = planned()
    answers = decision(replace(plan, steps=plan.steps * 2), make_undo_evidence()).answers
    assert {one.guard: one.answer for one in answers}["within-receipt"] is Answer.DENY


# --------------------------------------------------------------------------------------------------- the body


def test_the_body_is_read_from_the_evidence_store_right_before():
    assert prepare(planned(), 0, READS, {RECEIPT: Found(KEPT)}.__getitem__) == Body(BODY)
    assert b"environmentVariables" not in codec.encode(BODY)


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        pytest.param(Absent(), "the receipt is absent", id="expired"),
        pytest.param(Unknown("it was changed"), "the receipt is unknown (it was changed)", id="changed"),
        pytest.param(
            Found({"receipt": {"body": {**BODY, "location": "elsewhere"}}}),
            "the receipt does not hold the body that was planned",
            id="another body",
        ),
        pytest.param(Found({}), "the receipt does not hold the body that was planned", id="no receipt"),
    ],
)
def test_nothing_is_sent_of_a_receipt_that_is_not_the_planned_one(kept, words):
    assert prepare(planned(), 0, READS, lambda _: kept) == Changed(words)


# ----------------------------------------------------------------------------------------------- what came of it


def after(**changes):
    state = make_state(provisioning_state="Succeeded", modified_by_us=True)
    return make_undo_evidence(**{"resource": Found(state), **changes})


@pytest.mark.parametrize(
    ("evidence", "end", "words"),
    [
        pytest.param(
            after(),
            End.REPAIRED,
            "mlw-prod/credit-scoring/green is Succeeded as its receipt says, with traffic 0. Before it gets any, a "
            "person has to supply the environment variables FEATURE_STORE_URL, MODEL_THRESHOLD",
            id="as it was",
        ),
        pytest.param(
            after(undone={"receipt": Found(make_receipt(environment_names=()))}),
            End.REPAIRED,
            "mlw-prod/credit-scoring/green is Succeeded as its receipt says, with traffic 0",
            id="without variables",
        ),
        pytest.param(
            after(undone={"receipt": Found(make_receipt(differs=("sku.capacity",)))}),
            End.INCONCLUSIVE,
            "mlw-prod/credit-scoring/green is Succeeded, but differs from its receipt: sku.capacity",
            id="another spec",
        ),
        pytest.param(
            after(undone={"weights": Found((5, 0))}),
            End.INCONCLUSIVE,
            "mlw-prod/credit-scoring/green is Succeeded as its receipt says, but it gets 5 % of the traffic, without "
            "the environment variables FEATURE_STORE_URL, MODEL_THRESHOLD, which a person has to supply",
            id="it got traffic",
        ),
        pytest.param(
            after(undone={"weights": Found((10, 3)), "receipt": Found(make_receipt(environment_names=()))}),
            End.INCONCLUSIVE,
            "mlw-prod/credit-scoring/green is Succeeded as its receipt says, but it gets 10 % of the traffic and 3 % "
            "of the mirrored traffic",
            id="it got both",
        ),
        pytest.param(
            after(undone={"weights": UNREAD}),
            End.INCONCLUSIVE,
            "mlw-prod/credit-scoring/green is Succeeded as its receipt says, and what traffic it gets is unknown "
            "(answered 503)",
            id="its traffic is unknown",
        ),
        pytest.param(
            after(resource=Found(make_state(provisioning_state="Failed", modified_by_us=True))),
            End.NOT_REPAIRED,
            "mlw-prod/credit-scoring/green was created again, and is Failed",
            id="it failed",
        ),
        pytest.param(
            after(resource=Found(make_state(provisioning_state="Creating", modified_by_us=True))),
            End.INCONCLUSIVE,
            "mlw-prod/credit-scoring/green is still Creating",
            id="it takes too long",
        ),
        pytest.param(
            after(resource=Found(make_state(provisioning_state="Succeeded", modified_by_us=False))),
            End.INCONCLUSIVE,
            "mlw-prod/credit-scoring/green is Succeeded, but somebody else wrote it since",
            id="somebody else's",
        ),
        pytest.param(
            after(resource=Absent()), End.INCONCLUSIVE, "mlw-prod/credit-scoring/green is absent", id="gone again"
        ),
    ],
)
def test_it_is_verified_by_what_azure_shows(evidence, end, words):
    assert verify(planned(), 0, evidence) == (end, words)


@pytest.mark.parametrize(
    ("resource", "status"),
    [
        pytest.param(Absent(), Status.NOT_DONE, id="nothing is there"),
        pytest.param(Found(make_state(modified_by_us=True)), Status.ACCEPTED, id="ours is there"),
        pytest.param(Found(make_state(modified_by_us=False)), Status.UNCLEAR, id="somebody's is there"),
        pytest.param(UNREAD, Status.UNCLEAR, id="unknown"),
    ],
)
def test_a_lost_answer_is_told_by_the_world(resource, status):
    assert UNDO_DELETE.landed(planned(), 0, make_undo_evidence(resource=resource)) is status


def test_who_approves_reads_what_comes_back_and_what_is_missing():
    plan, evidence = planned(), make_undo_evidence()
    prints = UNDO_DELETE.fingerprint(plan.steps, evidence)
    seen = survey(plan, evidence, prints, policy=POLICY, ceiling=Mode.AUTO, trail=make_trail(), own=US, now=NOON)
    told = {touch.path: touch.says for touch in UNDO_DELETE.touches(plan, seen)}
    assert told[DEPLOYMENT][:3] == (
        "It is created again as it was at 2026-11-22 09:00:00 UTC (2 of Standard_DS3_v2).",
        "It counts against the quota again: if that is used up by now, it fails, and stays as Failed.",
        (
            "It comes back without the environment variables FEATURE_STORE_URL, MODEL_THRESHOLD: a person has to "
            "supply the values, which were never kept."
        ),
    )
    assert told[DEPLOYMENT][3].endswith("environment_variables.MODEL_THRESHOLD=VALUE (VALUE stands for each value).")
    assert told[ENDPOINT][0] == "How its traffic is split stays as it is."


def test_names_that_no_option_takes_are_to_be_written_into_a_file():
    evidence = make_undo_evidence(undone={"receipt": Found(make_receipt(environment_names=("a.b",)))})
    plan = planned(evidence)
    prints = UNDO_DELETE.fingerprint(plan.steps, evidence)
    seen = survey(plan, evidence, prints, policy=POLICY, ceiling=Mode.AUTO, trail=make_trail(), own=US, now=NOON)
    says = {touch.path: touch.says for touch in UNDO_DELETE.touches(plan, seen)}[DEPLOYMENT]
    assert says[3].startswith(
        "To supply them, write them with their values into DEPLOYMENT.yml, under environment_variables; then: az ml "
    )
    assert says[3].endswith(" --file DEPLOYMENT.yml")
    assert not any("VALUE" in words for words in says)


def test_no_plan_of_it_holds_the_body():
    plain = codec.encode(make_plan(parameters=planned().parameters))
    assert all(name.encode() in plain for name in NAMES)
    assert b"endpointComputeType" not in codec.encode(planned())
