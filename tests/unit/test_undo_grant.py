"""What undoing a grant does: one DELETE of the very assignment that we created; and above all what it never does."""

import pytest
from msgspec.structs import replace

from remediations import planning, undoing
from remediations.actions import ACTIONS
from remediations.actions.action import Body
from remediations.actions.undo_grant import UNDO_GRANT
from remediations.guards import decide
from remediations.model import Absent, Answer, End, Found, Mode, NoPlan, Plan, Status, Unknown, Verdict
from remediations.policy import ActionPolicy, Policy
from remediations.situation import survey
from tests.builders import (
    DEPLOYMENT,
    NOON,
    PRINCIPAL,
    REGISTRY,
    US,
    FakeReads,
    make_call,
    make_row,
    make_state,
    make_trail,
)
from tests.undos import ASSIGNMENT, TAKEN_AT, make_assignment, make_grant, make_undo_evidence

POLICY = Policy(actions={"undo-grant": ActionPolicy(mode=Mode.ASK)})
UNREAD = Unknown("answered 503")
COMMAND = f"az role assignment delete --ids {ASSIGNMENT}"


def seen(**undone):
    return make_undo_evidence("undo-grant", undone=undone)


def proposed(evidence):
    diagnosis = undoing.diagnose(evidence, evidence_digest="e" * 64)
    return planning.propose(diagnosis, evidence, ACTIONS, POLICY)


def planned() -> Plan:
    plan = proposed(seen())
    assert isinstance(plan, Plan), plan.words
    return plan


def decision(plan, evidence, policy=POLICY, ceiling=Mode.AUTO):
    prints = UNDO_GRANT.fingerprint(plan.steps, evidence)
    found = survey(plan, evidence, prints, policy=policy, ceiling=ceiling, trail=make_trail(), own=US, now=NOON)
    return decide(plan, found, UNDO_GRANT.guards, situation_digest="s")


def refusals(evidence):
    return {one.guard: (str(one.answer), one.words) for one in decision(planned(), evidence).refusals}


# --------------------------------------------------------------------------------------------------- the plan


def test_it_is_one_delete_of_the_assignment_by_the_roles_client():
    (call,) = planned().calls
    assert (str(call), call.via, call.body_digest) == (f"DELETE {ASSIGNMENT}?api-version=2022-04-01", "roles", None)
    assert call.operation == "Microsoft.Authorization/roleAssignments/delete"
    assert planned().target == tuple(sorted((ASSIGNMENT.lower(), DEPLOYMENT.lower())))


def test_it_warns_of_what_uses_the_identity_and_tells_how_to_grant_it_again():
    plan = planned()
    assert plan.effect == (
        f"remove the assignment of AcrPull on crmlwprod to principal {PRINCIPAL}, which Endpoint Medic granted. "
        "Deployments that use this identity may fail to pull or to read at their next restart or scale-out."
    )
    assert plan.undo == (
        f"az role assignment create --assignee-object-id {PRINCIPAL} --assignee-principal-type ServicePrincipal "
        f"--role 7f951dda-4ed3-4680-a7ca-43fe172d538d --scope {REGISTRY}"
    )


@pytest.mark.parametrize("mode", [Mode.ASK, Mode.AUTO])
def test_it_is_never_done_without_a_person(mode):
    policy = Policy(actions={"undo-grant": ActionPolicy(mode=mode)})
    assert decision(planned(), seen(), policy).verdict is Verdict.ASK


@pytest.mark.parametrize(
    ("undone", "end", "says"),
    [
        pytest.param({"may_delete": Found(False)}, "advised", COMMAND, id="the undo role is not deployed"),
        pytest.param({"may_delete": UNREAD}, "advised", COMMAND, id="whether we may is unknown"),
        pytest.param({"assignment": UNREAD}, "advised", COMMAND, id="the assignment is unknown"),
        pytest.param({"assignment": Absent()}, "nothing-to-do", "is gone already", id="gone already"),
        pytest.param({"grant": UNREAD}, "advised", "what was granted is unknown (answered 503)", id="no trail of it"),
        pytest.param(
            {"may_delete": Found(False), "assignment": Found(make_assignment(condition="@x"))},
            "advised",
            "But look at it first: it has a condition, which we never set.",
            id="changed, and we may not",
        ),
    ],
)
def test_it_ends_in_words_where_it_cannot_be_done(undone, end, says):
    plan = proposed(seen(**undone))
    assert isinstance(plan, NoPlan)
    assert plan.end == end
    assert says in plan.words


# ------------------------------------------------------------------------------------------------- the guards


def test_all_guards_allow_the_assignment_as_we_created_it():
    assert refusals(seen()) == {}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"created_by_us": False}, "somebody else created it", id="someone else's"),
        pytest.param({"updated_at": NOON}, "somebody changed it since", id="updated"),
        pytest.param({"updated_at": None}, "somebody changed it since", id="no time of an update"),
        pytest.param({"created_at": None, "updated_at": None}, "when it was created is not shown", id="no time"),
        pytest.param({"condition": "@Resource[x]"}, "it has a condition, which we never set", id="a condition"),
        pytest.param({"principal": "p-2"}, "it is for principal p-2", id="another principal"),
        pytest.param({"role": "r-2"}, "it gives role r-2", id="another role"),
        pytest.param({"scope": "/subscriptions/s"}, "it holds on /subscriptions/s", id="another scope"),
        pytest.param({"name": "n-2"}, "it is named n-2, which is no name of ours", id="another name"),
    ],
)
def test_no_other_assignment_is_ever_deleted(changes, words):
    assert refusals(seen(assignment=Found(make_assignment(**changes))))["assignment-is-ours"] == ("deny", words)


def test_a_name_that_is_not_ours_to_give_is_refused_whatever_the_trail_says():
    path = ASSIGNMENT.replace(ASSIGNMENT[-12:], "0" * 12)
    evidence = seen(grant=Found(make_grant(path=path)))
    plan = proposed(evidence)
    assert isinstance(plan, Plan)
    answers = {one.guard: one.words for one in decision(plan, evidence).refusals}
    assert answers["assignment-is-ours"] == "its name is not one of ours"


@pytest.mark.parametrize(
    ("undone", "guard", "answer"),
    [
        pytest.param({"assignment": Absent()}, "assignment-is-ours", "deny", id="gone"),
        pytest.param({"assignment": UNREAD}, "assignment-is-ours", "unknown", id="unknown"),
        pytest.param({"grant": UNREAD}, "assignment-is-ours", "unknown", id="no trail of it"),
        pytest.param(
            {"assignment": Found(make_assignment(created_by_us=None))}, "assignment-is-ours", "unknown", id="who we are"
        ),
        pytest.param({"may_delete": Found(False)}, "may-delete-it", "deny", id="no right"),
        pytest.param({"may_delete": UNREAD}, "may-delete-it", "unknown", id="whether there is a right"),
        pytest.param({"assignment": Absent()}, "target-unchanged", "deny", id="it changed since the plan"),
    ],
)
def test_what_is_not_known_or_not_so_is_refused(undone, guard, answer):
    assert refusals(seen(**undone))[guard][0] == answer


def test_who_writes_to_the_deployment_meanwhile_changes_nothing():
    row = make_row(at=NOON.replace(minute=1), status="Succeeded", correlation_id="x")
    evidence = replace(seen(), history=Found((row,)), resource=Found(make_state(provisioning_state="Updating")))
    assert refusals(evidence) == {}


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(make_call(method="PUT", path=ASSIGNMENT, via="roles", body_digest=None), id="a grant"),
        pytest.param(make_call(method="DELETE", path=DEPLOYMENT, via="roles", body_digest=None), id="a deployment"),
        pytest.param(make_call(method="DELETE", path=ASSIGNMENT, via="arm", body_digest=None), id="another client"),
        pytest.param(make_call(method="DELETE", path=f"{ASSIGNMENT}x", via="roles", body_digest=None), id="another"),
    ],
)
def test_no_other_call_is_let_through(call):
    plan = planned()
    forged = replace(plan, steps=(replace(plan.steps[0], call=call),))
    assert {one.guard: one.answer for one in decision(forged, seen()).answers}["within-grant"] is Answer.DENY


# ----------------------------------------------------------------------------------------------- what came of it


@pytest.mark.parametrize(
    ("assignment", "end", "landed"),
    [
        pytest.param(Absent(), End.REPAIRED, Status.ACCEPTED, id="gone"),
        pytest.param(Found(make_assignment()), End.NOT_REPAIRED, Status.NOT_DONE, id="still there"),
        pytest.param(UNREAD, End.INCONCLUSIVE, Status.UNCLEAR, id="unknown"),
    ],
)
def test_it_is_done_when_the_assignment_is_gone(assignment, end, landed):
    after = seen(assignment=assignment)
    assert UNDO_GRANT.verify(planned(), 0, after)[0] is end
    assert UNDO_GRANT.landed(planned(), 0, after) is landed


def test_a_deletion_has_no_body():
    assert UNDO_GRANT.prepare(planned(), 0, FakeReads(), lambda _: Absent()) == Body(None)


def test_the_moment_of_creation_is_told():
    answers = {one.guard: one.words for one in decision(planned(), seen()).answers}
    assert answers["assignment-is-ours"] == f"created by us at {TAKEN_AT:%Y-%m-%d %H:%M:%S} UTC, and not changed since"
