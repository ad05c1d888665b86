"""Propose: Diagnosis + Evidence -> Plan, or why there is none. Pure."""

from collections.abc import Mapping
from datetime import timedelta

from msgspec.structs import replace

from remediations import advising, codec
from remediations.actions.action import Action
from remediations.catalogue.checks import deletion
from remediations.model import Absent, Diagnosis, Evidence, Found, Level, NoPlan, Operation, Plan, ProvisioningState
from remediations.policy import Policy
from remediations.situation import known_tags


def propose(
    diagnosis: Diagnosis,
    evidence: Evidence,
    actions: Mapping[str, Action],
    policy: Policy,
    *,
    try_number: int = 1,
) -> Plan | NoPlan:
    """Give the plan that a diagnosis calls for; the text alone never makes one, and requests that fail never do."""
    if evidence.incident.is_scoring or diagnosis.incident.is_scoring:
        size = advising.sizing(diagnosis.cause_id, evidence)
        words = diagnosis.advice if size is None else f"{diagnosis.advice} {size}"
        return NoPlan(diagnosis=diagnosis, end="advised", words=words)
    over = None if evidence.incident.is_undo else is_over(evidence)
    if over is not None:
        return NoPlan(diagnosis=diagnosis, end="nothing-to-do", words=over)
    if diagnosis.action is None:
        return NoPlan(diagnosis=diagnosis, end="advised", words=diagnosis.advice)
    action = actions.get(diagnosis.action)
    if action is None:
        return NoPlan(
            diagnosis=diagnosis, end="advised", words=f"{diagnosis.advice} (no action {diagnosis.action} here)"
        )
    proposal = action.propose(diagnosis, evidence, policy)
    if isinstance(proposal, NoPlan):
        return proposal
    if diagnosis.level is Level.TEXT_ONLY:
        words = f"the text speaks of {diagnosis.cause_id}, and no read of Azure confirms it. {diagnosis.advice}"
        return NoPlan(diagnosis=diagnosis, end="advised", words=words)
    permission = policy.permission(action.name, diagnosis.incident.resource, known_tags(evidence))
    plan = Plan(
        diagnosis=diagnosis,
        action=action.name,
        risk=action.risk,
        digest="",
        policy_version=policy.version,
        parameters=proposal.parameters,
        steps=proposal.steps,
        fingerprint=action.fingerprint(proposal.steps, evidence),
        effect=proposal.effect,
        undo=proposal.undo,
        needs_person=proposal.needs_person,
        try_number=try_number,
        wait=backoff(diagnosis.incident.id, try_number, permission.backoff, permission.backoff_most)
        + proposal.steps[0].wait,
    )
    return replace(plan, digest=plan_digest(plan))


def is_over(evidence: Evidence) -> str | None:
    """Give why there is nothing left to repair, whatever the cause was; None if there is."""
    incident = evidence.incident
    label = incident.resource.label
    if incident.operation is not Operation.WRITE:
        return None
    if isinstance(evidence.resource, Absent) and deletion(evidence) is not None:
        return f"{label} was deleted since: nothing is created again"
    if not isinstance(evidence.resource, Found):
        return None
    state = evidence.resource.value
    if state.provisioning_state == ProvisioningState.SUCCEEDED:
        return f"{label} is Succeeded: the failure is over"
    if state.provisioning_state == ProvisioningState.DELETING:
        return f"{label} is being deleted: nothing is created again"
    if state.is_running:
        return f"{label} is {state.provisioning_state}: it is being deployed again"
    modified = state.last_modified_at
    if modified is not None and modified > incident.failed_at and state.modified_by_us is not True:
        return f"{label} was deployed again at {modified:%H:%M:%S} UTC, not by us"
    return None


def plan_digest(plan: Plan) -> str:
    """Give what an approval names: the failure and the try, action, steps, parameters, policy version and fingerprint.
    An answer to one failure is none to the next, however alike they are."""
    failure = [plan.diagnosis.incident.id, plan.try_number]
    parts = [plan.action, plan.steps, plan.parameters, plan.policy_version, plan.fingerprint, failure]
    return codec.digest_of(parts)


def backoff(incident_id: str, try_number: int, first: timedelta, most: timedelta) -> timedelta:
    """Give the wait before a repair: doubled with each try, 20 % more or less by the incident's id.

    The jitter is the same whenever it is asked for, and spreads a storm of incidents.
    """
    share = int(codec.digest(f"{incident_id} {try_number}")[:8], 16) / 0xFFFFFFFF
    return min(first * float(2 ** min(try_number - 1, 20)), most) * (0.8 + 0.4 * share)
