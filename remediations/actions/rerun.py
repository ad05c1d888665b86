"""The re-run: the failed operation once more, with the body that a GET shows or that CI says it sent.

Every plan ends with it. The functions are those of an `Action` whose only step is the re-run; actions that first remove
a cause put their own steps before it.
"""

from datetime import timedelta

from remediations import idle, spec
from remediations.actions.action import Body, Changed, Kept, Proposal, nothing_kept
from remediations.catalogue.checks import began_at
from remediations.enrichment import API_VERSION
from remediations.model import (
    Absent,
    Call,
    DesiredSpec,
    Diagnosis,
    End,
    Evidence,
    Found,
    Incident,
    Json,
    NoPlan,
    Operation,
    Plan,
    ProvisioningState,
    Reading,
    ResourceId,
    ResourceState,
    Status,
    Step,
    Touch,
    reading_words,
)
from remediations.policy import Policy
from remediations.ports import Reads
from remediations.situation import Situation

_CREATE_SLACK = timedelta(seconds=5)  # the resource is written to the directory a little before its operation starts
_MOST_DIFFERENCES = 5
_NO_UNDO = "none needed: the same deployment is deployed again"


def propose(diagnosis: Diagnosis, evidence: Evidence, policy: Policy) -> Proposal | NoPlan:
    """Give the re-run of the failed operation, or why there can be none."""
    incident = evidence.incident
    if incident.operation is Operation.DELETE:
        return _delete_again(diagnosis, evidence)
    match evidence.resource:
        case Found(state):
            return _put_again(diagnosis, evidence, state, policy)
        case Absent():
            return _put_desired(diagnosis, evidence, policy)
        case unknown:
            return _none(diagnosis, "advised", f"the state of {incident.resource.label} is {reading_words(unknown)}")


def _put_again(diagnosis: Diagnosis, evidence: Evidence, state: ResourceState, policy: Policy) -> Proposal | NoPlan:
    incident = evidence.incident
    label = incident.resource.label
    is_create = was_create(evidence, state)
    if incident.resource.deployment is None and is_create is not True:
        return _none(
            diagnosis, "advised", "the update of an endpoint is never run again: its traffic would be at stake"
        )
    is_whole = state.shows_environment and (is_create or state.spec_digest == incident.sent_digest)
    if state.spec_digest is not None and is_whole:
        return _live(incident, state.spec_digest)
    if isinstance(evidence.desired, Found):
        return _desired(incident, evidence.desired.value, policy)
    if state.spec_digest is None:
        return _none(diagnosis, "advised", f"{label} cannot be rebuilt without loss: {state.not_rebuildable}")
    if not state.shows_environment:
        why = "GET shows no environment variables, and those that there are would be lost; CI sent no spec"
        return _live(incident, state.spec_digest, needs_person=why)
    what = "a failed update" if is_create is False else "whether it was created or updated is not known"
    return _live(incident, state.spec_digest, needs_person=f"{what}: GET may show the old spec, and CI sent none")


def _put_desired(diagnosis: Diagnosis, evidence: Evidence, policy: Policy) -> Proposal | NoPlan:
    """Nothing is there, and no delete is on record: removed all the same, or rejected at once."""
    incident = evidence.incident
    label = incident.resource.label
    if not isinstance(evidence.history, Found):
        words = f"{label} is not there, and who removed it cannot be read ({reading_words(evidence.history)})"
        return _none(diagnosis, "advised", words)
    accepted = {row.correlation_id.lower() for row in evidence.history.value if row.status == "Accepted"}
    if incident.correlation_id in accepted or isinstance(evidence.operation, Found):
        return _none(diagnosis, "nothing-to-do", f"{label} had been accepted and is gone: somebody removed it")
    if isinstance(evidence.desired, Found):
        return _desired(incident, evidence.desired.value, policy)
    reason = ""
    if incident.desired_spec_url is not None:
        reason = f"; CI's spec is {reading_words(evidence.desired)}, or policy does not list its container"
    words = f"{label} was rejected at once, which leaves nothing to read the spec from; let CI send its spec{reason}"
    return _none(diagnosis, "advised", words)


def _delete_again(diagnosis: Diagnosis, evidence: Evidence) -> Proposal | NoPlan:
    incident = evidence.incident
    label = incident.resource.label
    if incident.resource.deployment is None:
        return _none(diagnosis, "advised", "the delete of an endpoint is never run again")
    if isinstance(evidence.resource, Absent):
        return _none(diagnosis, "nothing-to-do", f"{label} is gone: the delete is over")
    if not isinstance(evidence.resource, Found):
        return _none(diagnosis, "advised", f"the state of {label} is {reading_words(evidence.resource)}")
    if evidence.resource.value.is_running:
        state = evidence.resource.value.provisioning_state
        return _none(diagnosis, "nothing-to-do", f"{label} is {state}: it is being changed already")
    call = Call(method="DELETE", path=incident.resource.path, api_version=API_VERSION)
    return Proposal(
        steps=(Step(call=call, target=(incident.resource.key,), is_rerun=True),),
        parameters={"body": "none"},
        effect=f"delete {label}, as was asked before the operation was canceled",
        undo="deploy it again from its pipeline",
        needs_person="a delete is never run again without a person",
    )


def _live(incident: Incident, digest: str, *, needs_person: str | None = None) -> Proposal:
    return _put(incident, digest, {"body": "live"}, "the body that GET shows", needs_person)


def _desired(incident: Incident, desired: DesiredSpec, policy: Policy) -> Proposal:
    trusted = policy.trusts_spec(desired.url)
    why = None if trusted else "the body comes from CI, from a container that policy lists but does not trust"
    body = f"the body that CI says it sent{_differs(desired)}"
    return _put(incident, desired.digest, {"body": "desired", "url": desired.url}, body, why)


def _differs(desired: DesiredSpec) -> str:
    """Give where the resource is not as CI's body says, for who approves it."""
    if not desired.differs:
        return ""
    more = len(desired.differs) - _MOST_DIFFERENCES
    paths = f"{', '.join(desired.differs[:_MOST_DIFFERENCES])}{f' and {more} more' if more > 0 else ''}"
    return f", which differs from what GET shows in {paths}"


def _put(incident: Incident, digest: str, parameters: dict[str, str], body: str, needs_person: str | None) -> Proposal:
    call = Call(method="PUT", path=incident.resource.path, api_version=API_VERSION, body_digest=digest)
    return Proposal(
        steps=(Step(call=call, target=(incident.resource.key,), is_rerun=True),),
        parameters=parameters,
        effect=f"deploy {incident.resource.label} again with {body}",
        undo=_NO_UNDO,
        needs_person=needs_person,
    )


def was_create(evidence: Evidence, state: ResourceState) -> bool | None:
    """Tell whether the failed write created the resource; None if that cannot be told."""
    began = began_at(evidence)
    return None if state.created_at is None or began is None else state.created_at >= began - _CREATE_SLACK


def _none(diagnosis: Diagnosis, end: str, words: str) -> NoPlan:
    return NoPlan(diagnosis=diagnosis, end=end, words=words)


def fingerprint(_steps: tuple[Step, ...], evidence: Evidence) -> dict[str, str]:
    """Give what must not change of the failed resource between the plan and the effect."""
    return fingerprint_of(evidence.resource)


def fingerprint_of(resource: Reading[ResourceState]) -> dict[str, str]:
    """Give what identifies a state of a resource; nothing if it cannot be read."""
    if isinstance(resource, Absent):
        return {"state": "absent"}
    if not isinstance(resource, Found):
        return {}
    state = resource.value
    return {
        "state": state.provisioning_state,
        "last modified": state.last_modified_at.isoformat() if state.last_modified_at else "unknown",
        "operation": state.operation_url or "none",
        "spec": state.spec_digest or "not rebuildable",
    }


def prepare(plan: Plan, _number: int, reads: Reads, _kept: Kept = nothing_kept) -> Body | Changed:
    """Give the body of the PUT, read again; it must be the one that was planned."""
    call = plan.rerun
    if call.method == "DELETE":
        return Body(None)
    desired_url = plan.parameters.get("url")
    reading = (
        reads.get(f"{call.path}?api-version={call.api_version}")
        if desired_url is None
        else reads.fetch_spec(desired_url)
    )
    if not isinstance(reading, Found):
        return Changed(f"the body is {reading_words(reading)}")
    shown: dict[str, Json] = reading.value if isinstance(reading.value, dict) else {}
    resource = plan.diagnosis.incident.resource
    rebuilt = spec.rebuild(shown, is_endpoint=resource.deployment is None)
    if isinstance(rebuilt, spec.NotRebuildable):
        return Changed(rebuilt.words)
    if rebuilt.digest != call.body_digest:
        return Changed("the body is not the one that was planned")
    return Body(rebuilt.body)


def landed(plan: Plan, number: int, evidence: Evidence) -> Status:
    """Tell by the world whether a call whose answer was lost took effect."""
    before = plan.fingerprint
    if plan.rerun.method == "DELETE":
        if isinstance(evidence.resource, Absent):
            return Status.ACCEPTED
        if not isinstance(evidence.resource, Found):
            return Status.UNCLEAR
        is_deleting = evidence.resource.value.provisioning_state == ProvisioningState.DELETING
        return Status.ACCEPTED if is_deleting else Status.NOT_DONE
    if isinstance(evidence.resource, Absent):
        return Status.NOT_DONE if before.get("state") == "absent" else Status.UNCLEAR
    if not isinstance(evidence.resource, Found):
        return Status.UNCLEAR
    shown = fingerprint_of(evidence.resource)
    if all(before.get(name) == value for name, value in shown.items()):
        return Status.NOT_DONE
    if any(step.is_rerun for step in plan.steps[:number]):
        return Status.UNCLEAR  # an earlier re-run of ours changed it too
    return Status.ACCEPTED if evidence.resource.value.modified_by_us is True else Status.UNCLEAR


def verify(plan: Plan, _number: int, after: Evidence) -> tuple[End, str]:
    """Tell whether the deployment now stands, with the very spec that was sent."""
    label = plan.diagnosis.incident.resource.label
    if plan.rerun.method == "DELETE":
        return (End.REPAIRED, f"{label} is gone") if isinstance(after.resource, Absent) else _inconclusive(label, after)
    if not isinstance(after.resource, Found):
        return _inconclusive(label, after)
    state = after.resource.value
    if state.modified_by_us is False:
        return End.INCONCLUSIVE, f"{label} is {state.provisioning_state}, but somebody else wrote it since"
    if state.provisioning_state in {ProvisioningState.FAILED, ProvisioningState.CANCELED}:
        return End.NOT_REPAIRED, f"{label} is {state.provisioning_state} again"
    if state.provisioning_state != ProvisioningState.SUCCEEDED:
        return End.INCONCLUSIVE, f"{label} is still {state.provisioning_state}"
    if plan.parameters.get("body") == "desired":
        differs = after.desired.value.differs if isinstance(after.desired, Found) else ("CI's spec cannot be read",)
    else:
        differs = () if state.spec_digest == plan.rerun.body_digest else ("its spec",)
    if differs:
        return End.INCONCLUSIVE, f"{label} is Succeeded, but differs from what was sent: {', '.join(differs[:5])}"
    return End.REPAIRED, f"{label} is Succeeded with the spec that was sent"


def _inconclusive(label: str, after: Evidence) -> tuple[End, str]:
    return End.INCONCLUSIVE, f"{label} is {reading_words(after.resource)}"


# ------------------------------------------------------------------------------------------- the blast radius


def touches(plan: Plan, situation: Situation) -> tuple[Touch, ...]:
    """Give what the re-run reaches: the failed resource, and nothing beside it."""
    resource = plan.diagnosis.incident.resource
    sent = (_sent_words(plan), state_words(situation.resource))
    if resource.deployment is None:
        around: tuple[str, ...] = ("No deployment of it and no traffic is touched: it was being created.",)
    else:
        around = (
            traffic_words(resource, situation.endpoint),
            "The re-run touches no other deployment of its endpoint.",
        )
    return (Touch(path=resource.path, says=(*sent, *around)),)


def traffic_words(resource: ResourceId, endpoint: Reading[ResourceState]) -> str:
    """Give the share of its endpoint's traffic that a deployment has, in a sentence."""
    match endpoint:
        case Found(state):
            share, mirrored = (idle.weight_of(resource, one) for one in (state.traffic, state.mirror_traffic))
            return f"{share} % of its endpoint's traffic goes to it now, and {mirrored} % is mirrored to it."
        case Absent():
            return "Its endpoint is not there: no traffic goes to it."
        case unread:
            return f"How much of its endpoint's traffic goes to it is {reading_words(unread)}."


def _sent_words(plan: Plan) -> str:
    if plan.rerun.method == "DELETE":
        return "It is deleted, as was asked before the operation was canceled; nothing of it is kept."
    count = sum(step.is_rerun for step in plan.steps)
    times = "" if count == 1 else f", up to {count} times,"
    body = "the body that CI says it sent" if plan.parameters.get("body") == "desired" else "the body that GET shows"
    return f"It is sent again{times} with {body}."


def state_words(resource: Reading[ResourceState]) -> str:
    """Give what state a resource is in now, in a sentence."""
    match resource:
        case Found(state):
            return f"It is {state.provisioning_state} now."
        case Absent():
            return "It is not there now."
        case unread:
            return f"What state it is in now is {reading_words(unread)}."
