"""What a retry does, and above all what it does not."""

from datetime import timedelta
from typing import Any

import pytest

from remediations.actions.action import Body, Changed, Proposal
from remediations.actions.rerun import fingerprint_of, landed, prepare, propose, verify
from remediations.actions.retry import RETRY
from remediations.model import (
    Absent,
    Call,
    DesiredSpec,
    End,
    Found,
    Mode,
    NoPlan,
    Operation,
    Status,
    Unknown,
)
from remediations.policy import ActionPolicy, DesiredSpecs, Policy
from remediations.spec import Spec, rebuild
from tests.builders import (
    DEPLOYMENT,
    ENDPOINT,
    FAILED_AT,
    FakeReads,
    make_call,
    make_diagnosis,
    make_evidence,
    make_incident,
    make_operation,
    make_plan,
    make_resource,
    make_row,
    make_state,
)

CONTAINER = "https://stmlops.blob.core.windows.net/desired"
SPEC_URL = f"{CONTAINER}/green.json"
DESIRED = Found(DesiredSpec(url=SPEC_URL, digest="ci-spec", differs=("properties.model",)))
POLICY = Policy(actions={"retry": ActionPolicy(mode=Mode.AUTO)}, desired_specs=DesiredSpecs(containers=(CONTAINER,)))
TRUSTING = Policy(
    actions={"retry": ActionPolicy(mode=Mode.AUTO)},
    desired_specs=DesiredSpecs(containers=(CONTAINER,), trusted=(CONTAINER,)),
)
UPDATED = {"created_at": FAILED_AT - timedelta(days=3)}


def proposed(policy=POLICY, **changes):
    evidence = make_evidence(**changes)
    return propose(make_diagnosis(incident=evidence.incident), evidence, policy)


def refused(policy=POLICY, **changes):
    answer = proposed(policy, **changes)
    assert isinstance(answer, NoPlan)
    return answer.end, answer.words


# ------------------------------------------------------------------------------------------- the failed write


def test_a_failed_create_is_put_again_with_the_body_that_get_shows():
    proposal = proposed()
    assert isinstance(proposal, Proposal)
    assert [step.call for step in proposal.steps] == [make_call()]
    assert (proposal.steps[0].target, proposal.parameters, proposal.needs_person) == (
        (DEPLOYMENT.lower(),),
        {"body": "live"},
        None,
    )


def test_a_create_is_known_by_the_activity_log_when_the_operation_is_gone():
    started = make_row(at=FAILED_AT - timedelta(minutes=3), status="Started", errors=())
    proposal = proposed(operation=Absent(), activity=Found((started, make_row())))
    assert isinstance(proposal, Proposal)
    assert proposal.needs_person is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        pytest.param({"resource": Found(make_state(**UPDATED))}, "a failed update", id="an update"),
        pytest.param(
            {"operation": Unknown(), "activity": Unknown()},
            "whether it was created or updated is not known",
            id="unknown start",
        ),
        pytest.param(
            {"operation": Found(make_operation(started_at=None)), "activity": Found((make_row(),))},
            "whether it was created or updated is not known",
            id="an operation without a start",
        ),
        pytest.param(
            {"resource": Found(make_state(created_at=None))},
            "whether it was created or updated is not known",
            id="unknown creation",
        ),
    ],
)
def test_what_may_show_the_old_spec_needs_a_person(changes, why):
    proposal = proposed(**changes)
    assert isinstance(proposal, Proposal)
    assert proposal.needs_person == f"{why}: GET may show the old spec, and CI sent none"


def test_what_we_sent_ourselves_may_be_sent_again_without_a_person():
    proposal = proposed(resource=Found(make_state(**UPDATED)), incident=make_incident(sent_digest="spec-1"))
    assert isinstance(proposal, Proposal)
    assert (proposal.parameters, proposal.needs_person) == ({"body": "live"}, None)


def test_what_is_no_longer_what_we_sent_needs_a_person():
    proposal = proposed(resource=Found(make_state(**UPDATED)), incident=make_incident(sent_digest="spec-0"))
    assert isinstance(proposal, Proposal)
    assert proposal.needs_person is not None


@pytest.mark.parametrize(
    ("policy", "needs_person"),
    [
        (POLICY, "the body comes from CI, from a container that policy lists but does not trust"),
        (TRUSTING, None),
    ],
    ids=["listed", "trusted"],
)
def test_a_failed_update_is_put_again_with_ci_s_spec(policy, needs_person):
    proposal = proposed(policy, resource=Found(make_state(**UPDATED)), desired=DESIRED)
    assert isinstance(proposal, Proposal)
    assert proposal.steps[0].call.body_digest == "ci-spec"
    assert (proposal.parameters, proposal.needs_person) == ({"body": "desired", "url": SPEC_URL}, needs_person)


def test_a_failed_create_does_not_need_ci_s_spec():
    proposal = proposed(TRUSTING, desired=DESIRED)
    assert isinstance(proposal, Proposal)
    assert proposal.parameters == {"body": "live"}


def test_what_cannot_be_rebuilt_is_not_put():
    masked = make_state(spec_digest=None, not_rebuildable="properties.environmentVariables.KEY is masked")
    assert refused(resource=Found(masked)) == (
        "advised",
        "mlw-prod/credit-scoring/green cannot be rebuilt without loss: properties.environmentVariables.KEY is masked",
    )


def test_what_cannot_be_rebuilt_is_put_with_ci_s_spec():
    masked = make_state(spec_digest=None, not_rebuildable="x is masked")
    proposal = proposed(resource=Found(masked), desired=DESIRED)
    assert isinstance(proposal, Proposal)
    assert proposal.parameters["body"] == "desired"


@pytest.mark.parametrize("reading", [Unknown("429"), Unknown("its id is not that of the failed resource")])
def test_a_spec_that_cannot_be_used_leaves_an_update_to_a_person(reading):
    proposal = proposed(TRUSTING, resource=Found(make_state(**UPDATED)), desired=reading)
    assert isinstance(proposal, Proposal)
    assert proposal.parameters == {"body": "live"}
    assert proposal.needs_person is not None


def test_the_update_of_an_endpoint_is_never_run_again():
    incident = make_incident(resource=make_resource(ENDPOINT))
    end, words = refused(incident=incident, resource=Found(make_state(path=ENDPOINT, **UPDATED)))
    assert (end, words) == (
        "advised",
        "the update of an endpoint is never run again: its traffic would be at stake",
    )


def test_an_endpoint_that_was_being_created_is_put_again():
    proposal = proposed(
        incident=make_incident(resource=make_resource(ENDPOINT)), resource=Found(make_state(path=ENDPOINT))
    )
    assert isinstance(proposal, Proposal)
    assert proposal.steps[0].target == (ENDPOINT.lower(),)


# --------------------------------------------------------------------------------------------- nothing is there


@pytest.mark.parametrize(
    ("changes", "end", "words"),
    [
        pytest.param(
            {"history": Unknown("429")},
            "advised",
            "mlw-prod/credit-scoring/green is not there, and who removed it cannot be read (unknown (429))",
            id="an unread history",
        ),
        pytest.param(
            {"history": Found((make_row(status="Accepted", errors=()),)), "desired": DESIRED, "operation": Unknown()},
            "nothing-to-do",
            "mlw-prod/credit-scoring/green had been accepted and is gone: somebody removed it",
            id="it had been accepted",
        ),
        pytest.param(
            {"history": Found(()), "desired": DESIRED},
            "nothing-to-do",
            "mlw-prod/credit-scoring/green had been accepted and is gone: somebody removed it",
            id="its operation is known",
        ),
        pytest.param(
            {"history": Found((make_row(),)), "operation": Unknown()},
            "advised",
            "mlw-prod/credit-scoring/green was rejected at once, which leaves nothing to read the spec from; "
            "let CI send its spec",
            id="no spec",
        ),
        pytest.param(
            {
                "history": Found((make_row(),)),
                "operation": Unknown(),
                "desired": Unknown("answered 403"),
                "incident": make_incident(desired_spec_url=SPEC_URL),
            },
            "advised",
            "mlw-prod/credit-scoring/green was rejected at once, which leaves nothing to read the spec from; "
            "let CI send its spec; CI's spec is unknown (answered 403), or policy does not list its container",
            id="a spec that cannot be read",
        ),
    ],
)
def test_nothing_is_created_out_of_nothing(changes, end, words):
    assert refused(TRUSTING, resource=Absent(), **changes) == (end, words)


def test_what_was_rejected_at_once_is_put_with_ci_s_spec():
    proposal = proposed(resource=Absent(), history=Found((make_row(),)), operation=Unknown(), desired=DESIRED)
    assert isinstance(proposal, Proposal)
    assert (proposal.steps[0].call.body_digest, proposal.parameters["url"]) == ("ci-spec", SPEC_URL)


# ------------------------------------------------------------------------------------------ the failed delete


def test_a_delete_is_only_ever_asked_for():
    proposal = proposed(incident=make_incident(operation=Operation.DELETE))
    assert isinstance(proposal, Proposal)
    assert proposal.steps[0].call == Call(method="DELETE", path=DEPLOYMENT, api_version="2024-10-01")
    assert proposal.needs_person == "a delete is never run again without a person"


@pytest.mark.parametrize(
    ("path", "resource", "end", "words"),
    [
        pytest.param(
            ENDPOINT, Found(make_state()), "advised", "the delete of an endpoint is never run again", id="endpoint"
        ),
        pytest.param(
            DEPLOYMENT,
            Absent(),
            "nothing-to-do",
            "mlw-prod/credit-scoring/green is gone: the delete is over",
            id="gone",
        ),
        pytest.param(
            DEPLOYMENT,
            Unknown("500"),
            "advised",
            "the state of mlw-prod/credit-scoring/green is unknown (500)",
            id="unknown",
        ),
        pytest.param(
            DEPLOYMENT,
            Found(make_state(provisioning_state="Deleting")),
            "nothing-to-do",
            "mlw-prod/credit-scoring/green is Deleting: it is being changed already",
            id="being deleted",
        ),
    ],
)
def test_a_delete_that_is_over_or_unclear_is_not_asked_for(path, resource, end, words):
    incident = make_incident(operation=Operation.DELETE, resource=make_resource(path))
    assert refused(incident=incident, resource=resource) == (end, words)


# -------------------------------------------------------------------------------- right before and after the send

SHOWN: dict[str, Any] = {
    "id": DEPLOYMENT,
    "location": "westeurope",
    "sku": {"name": "Default", "capacity": 1},
    "properties": {
        "endpointComputeType": "Managed",
        "instanceType": "Standard_DS3_v2",
        "provisioningState": "Failed",
        "environmentVariables": {"A": "secret"},
    },
}


def rebuilt(shown=None) -> Spec:
    body = rebuild(shown or SHOWN, is_endpoint=False)
    assert isinstance(body, Spec)
    return body


def planned(shown=None, **changes):
    return make_plan(calls=(make_call(body_digest=rebuilt(shown).digest),), **changes)


def test_the_body_is_read_again_and_is_the_one_that_was_planned():
    reads = FakeReads({DEPLOYMENT: Found(SHOWN)})
    assert prepare(planned(), 0, reads) == Body(rebuilt().body)


def test_the_desired_body_is_fetched_again():
    reads = FakeReads({f"SPEC {SPEC_URL}": Found(SHOWN), DEPLOYMENT: Absent()})
    assert prepare(planned(parameters={"body": "desired", "url": SPEC_URL}), 0, reads) == Body(rebuilt().body)
    assert reads.asked == [f"SPEC {SPEC_URL}"]


@pytest.mark.parametrize(
    ("reading", "words"),
    [
        pytest.param(
            Found(SHOWN | {"location": "northeurope"}), "the body is not the one that was planned", id="changed"
        ),
        pytest.param(Found(SHOWN | {"location": None}), "location is missing", id="no longer whole"),
        pytest.param(Found("text"), "location is missing", id="no object"),
        pytest.param(Unknown("429"), "the body is unknown (429)", id="unknown"),
        pytest.param(Absent(), "the body is absent", id="gone"),
    ],
)
def test_a_body_that_is_not_as_planned_is_not_sent(reading, words):
    assert prepare(planned(), 0, FakeReads({DEPLOYMENT: reading})) == Changed(words)


def test_a_delete_has_no_body():
    reads = FakeReads()
    assert prepare(make_plan(calls=(make_call(method="DELETE", body_digest=None),)), 0, reads) == Body(None)
    assert reads.asked == []


DELETING = make_plan(calls=(make_call(method="DELETE", body_digest=None),), parameters={"body": "none"})
NEW = make_plan(fingerprint={"state": "absent"})
CHANGED = {"provisioning_state": "Creating", "last_modified_at": FAILED_AT + timedelta(minutes=6)}


@pytest.mark.parametrize(
    ("plan", "resource", "status"),
    [
        pytest.param(make_plan(), Found(make_state()), Status.NOT_DONE, id="as it was"),
        pytest.param(
            make_plan(), Found(make_state(**CHANGED, modified_by_us=True)), Status.ACCEPTED, id="written by us"
        ),
        pytest.param(
            make_plan(), Found(make_state(**CHANGED, modified_by_us=False)), Status.UNCLEAR, id="written by another"
        ),
        pytest.param(
            make_plan(), Found(make_state(**CHANGED, modified_by_us=None)), Status.UNCLEAR, id="written by whom"
        ),
        pytest.param(make_plan(), Absent(), Status.UNCLEAR, id="gone"),
        pytest.param(make_plan(), Unknown(), Status.UNCLEAR, id="unknown"),
        pytest.param(NEW, Absent(), Status.NOT_DONE, id="still not there"),
        pytest.param(NEW, Found(make_state(modified_by_us=True)), Status.ACCEPTED, id="there now, by us"),
        pytest.param(NEW, Found(make_state(modified_by_us=False)), Status.UNCLEAR, id="there now, by another"),
        pytest.param(NEW, Unknown(), Status.UNCLEAR, id="unknown whether there"),
        pytest.param(DELETING, Absent(), Status.ACCEPTED, id="deleted"),
        pytest.param(DELETING, Found(make_state(provisioning_state="Deleting")), Status.ACCEPTED, id="being deleted"),
        pytest.param(DELETING, Found(make_state()), Status.NOT_DONE, id="not deleted"),
        pytest.param(DELETING, Unknown(), Status.UNCLEAR, id="unknown whether deleted"),
    ],
)
def test_a_lost_answer_is_read_off_the_world(plan, resource, status):
    assert landed(plan, 0, make_evidence(resource=resource)) is status


DONE = {"provisioning_state": "Succeeded", "modified_by_us": True}
DESIRED_PLAN = make_plan(parameters={"body": "desired", "url": SPEC_URL}, calls=(make_call(body_digest="ci-spec"),))
SAME = Found(DesiredSpec(url=SPEC_URL, digest="ci-spec"))


@pytest.mark.parametrize(
    ("plan", "changes", "end", "words"),
    [
        pytest.param(
            make_plan(), {"resource": Found(make_state(**DONE))}, End.REPAIRED, "is Succeeded with the spec", id="done"
        ),
        pytest.param(
            make_plan(),
            {"resource": Found(make_state(**DONE, spec_digest="x"))},
            End.INCONCLUSIVE,
            "differs from what was sent: its spec",
            id="other spec",
        ),
        pytest.param(
            make_plan(),
            {"resource": Found(make_state(**DONE, spec_digest=None))},
            End.INCONCLUSIVE,
            "differs",
            id="unreadable spec",
        ),
        pytest.param(
            make_plan(),
            {"resource": Found(make_state(provisioning_state="Failed", modified_by_us=True))},
            End.NOT_REPAIRED,
            "is Failed again",
            id="failed",
        ),
        pytest.param(
            make_plan(),
            {"resource": Found(make_state(provisioning_state="Canceled", modified_by_us=None))},
            End.NOT_REPAIRED,
            "is Canceled again",
            id="canceled",
        ),
        pytest.param(
            make_plan(),
            {"resource": Found(make_state(provisioning_state="Succeeded", modified_by_us=False))},
            End.INCONCLUSIVE,
            "somebody else wrote it",
            id="another's",
        ),
        pytest.param(
            make_plan(),
            {"resource": Found(make_state(provisioning_state="Updating", modified_by_us=True))},
            End.INCONCLUSIVE,
            "is still Updating",
            id="still running",
        ),
        pytest.param(make_plan(), {"resource": Unknown("500")}, End.INCONCLUSIVE, "is unknown (500)", id="unknown"),
        pytest.param(make_plan(), {"resource": Absent()}, End.INCONCLUSIVE, "is absent", id="gone"),
        pytest.param(
            DESIRED_PLAN,
            {"resource": Found(make_state(**DONE)), "desired": SAME},
            End.REPAIRED,
            "is Succeeded",
            id="CI's spec",
        ),
        pytest.param(
            DESIRED_PLAN,
            {"resource": Found(make_state(**DONE)), "desired": DESIRED},
            End.INCONCLUSIVE,
            "properties.model",
            id="not CI's spec",
        ),
        pytest.param(
            DESIRED_PLAN,
            {"resource": Found(make_state(**DONE)), "desired": Unknown()},
            End.INCONCLUSIVE,
            "CI's spec cannot be read",
            id="no CI spec",
        ),
        pytest.param(DELETING, {"resource": Absent()}, End.REPAIRED, "is gone", id="deleted"),
        pytest.param(DELETING, {"resource": Found(make_state())}, End.INCONCLUSIVE, "is found", id="not deleted"),
    ],
)
def test_a_repair_is_verified_by_state_and_spec(plan, changes, end, words):
    verdict, said = verify(plan, 0, make_evidence(**changes))
    assert verdict is end
    assert words in said


def test_a_fingerprint_is_of_what_was_read():
    assert fingerprint_of(Unknown()) == {}
    assert fingerprint_of(Absent()) == {"state": "absent"}
    assert fingerprint_of(Found(make_state(last_modified_at=None, operation_url=None, spec_digest=None))) == {
        "state": "Canceled",
        "last modified": "unknown",
        "operation": "none",
        "spec": "not rebuildable",
    }


def test_a_retry_is_guarded_by_all_that_is_common_and_by_its_blast_radius():
    names = [guard.__name__ for guard in RETRY.guards]
    assert len(names) == len(set(names)) == 14
    assert "within_incident" in names
