"""Undo: which calls of an incident can be undone, by our own trail; and the incident and the diagnosis of an undo.

An undo walks like a repair: its incident names the call, the evidence shows what it rests on, people approve it, and
the guards judge it again right before its one call. What it would do, the two actions say.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from remediations import intake
from remediations.model import (
    Absent,
    AuditRecord,
    Caller,
    Diagnosis,
    End,
    Evidence,
    Finding,
    Found,
    Incident,
    Json,
    Level,
    Operation,
    Person,
    Reading,
    ResourceId,
    Status,
    Undoes,
)
from remediations.policy import Policy
from remediations.trail import Intent, Trail, counts_as_attempt
from remediations.undone import CREATED_NOTHING, RECEIPT_GONE

CAUSE, CODE, SOURCE = "undo-requested", "UndoRequested", "undo"
ACTION_FOR = {"delete-idle": "undo-delete", "grant-roles": "undo-grant"}
_NO_RECEIPT = "its deletion kept no receipt. Create it again from its pipeline"
_BY_HAND_FIRST = "If a failed deployment of that name is there, it has to be deleted by hand first"
_CHANGED = "its receipt was changed since it was taken: nothing is created from it. Create it again from its pipeline"
_SOURCES = {
    "delete-idle": "https://learn.microsoft.com/azure/machine-learning/how-to-deploy-online-endpoints",
    "grant-roles": "https://learn.microsoft.com/azure/role-based-access-control/role-assignments-remove",
}
_ADVICE = {
    "delete-idle": "If this undo is not done: create the deployment again from its pipeline, without traffic.",
    "grant-roles": "If this undo is not done: remove the role assignment by hand, if nothing needs it any more.",
}
_WHAT = {
    "delete-idle": "A deployment that Endpoint Medic deleted is to be there again.",
    "grant-roles": "A role that Endpoint Medic granted is to be taken away again.",
}

type State = Literal["can", "cannot", "under-way", "undone"]


class Sent(Struct, frozen=True, kw_only=True):
    """One call that an incident sent, and whether it can be undone.

    Attributes:
        number: 1 for the first call of the incident.
        action: What sent it; `undo_action` what would undo it, None if nothing does.
        words: Why it cannot be undone, or where that is under way or done; or how the last undo of it failed.
        resource: What the undo would be about.
        undo: Id of the incident of the undo: the one to come, the one that runs, or the one that did it.
    """

    number: int
    call: str
    action: str
    at: datetime
    state: State
    words: str = ""
    undo_action: str | None = None
    resource: ResourceId | None = None
    undoes: Undoes | None = None
    undo: str | None = None


def sent(
    trail: Trail, original: Incident, records: Iterable[AuditRecord], kept: Callable[[str], Reading[Json]]
) -> tuple[Sent, ...]:
    """Give the calls that an incident sent, in order, each with what undoing it would be.

    What Azure was too busy for, or what was never sent, is no call.

    Args:
        records: Of the incident.
        kept: Gives what lies in the evidence store under a digest.
    """
    named = [
        (str(record.facts.get("plan")), record.facts.get("step"), record.facts.get("attempt"))
        for record in records
        if record.stage == "intent"
    ]
    intents = [
        intent
        for plan, step, attempt in named
        if isinstance(step, int)
        and isinstance(attempt, int)
        and counts_as_attempt(trail.outcome(plan, step, attempt))
        and (intent := trail.intent(plan, step, attempt))
    ]
    has_ended = trail.ended(original.id) is not None
    return tuple(
        _sent(trail, original, number, intent, kept, has_ended=has_ended)
        for number, intent in enumerate(intents, start=1)
    )


def incident_of(one: Sent, *, by: Caller, comment: str, at: datetime) -> Incident:
    """Give the incident of an undo that somebody asks for; raises ValueError if the call cannot be undone."""
    if one.state != "can" or one.resource is None or one.undoes is None or one.undo is None:
        msg = f"call {one.number} cannot be undone: {one.words}"
        raise ValueError(msg)
    return Incident(
        id=one.undo,
        resource=one.resource,
        operation=Operation.WRITE,
        failed_at=at,
        event_id=one.undo,
        source=SOURCE,
        caller=by,
        undoes=replace(one.undoes, comment=comment),
    )


def why_not_approver(policy: Policy, sent: Sent, person: Person, tags: dict[str, str]) -> str | None:
    """Give why somebody is no approver of an undo by policy; None if they are."""
    if sent.undo_action is None or sent.resource is None:
        return "nothing undoes it"
    permission = policy.permission(sent.undo_action, sent.resource, tags)
    if person.is_app or not permission.approvers.include(person):
        return f"policy does not list you as an approver of {sent.undo_action} there"
    return None


def diagnose(evidence: Evidence, *, evidence_digest: str) -> Diagnosis:
    """Give the diagnosis of an undo: that it was asked for, and what it rests on; raises ValueError for any other."""
    incident, undoes = evidence.incident, evidence.incident.undoes
    if undoes is None:
        msg = f"incident {incident.id} undoes nothing"
        raise ValueError(msg)
    asked = Finding(read="who asked for it", says=undoes.comment or "no reason was given")
    found = (asked, *_found(evidence))
    return Diagnosis(
        incident=incident,
        evidence=evidence_digest,
        cause_id=CAUSE,
        code=CODE,
        level=(Level.TEXT_ONLY, Level.TEXT_AND_READ, Level.TWO_READS)[min(len(found) - 1, 2)],
        advice=_ADVICE.get(undoes.action, "Undo it by hand."),
        source=_SOURCES.get(undoes.action, _SOURCES["delete-idle"]),
        what=f"{_WHAT.get(undoes.action, 'A call is to be undone.')} It was call {undoes.step + 1} of a plan of "
        f"{undoes.incident}, by {undoes.action}.",
        supporting=found,
        action=ACTION_FOR.get(undoes.action),
    )


def _found(evidence: Evidence) -> Iterable[Finding]:
    """Give what was read: of the trail and the evidence store, then of Azure."""
    undone = evidence.undone
    if undone is None:
        return
    if isinstance(undone.receipt, Found):
        at = f"{undone.receipt.value.taken_at:%Y-%m-%d %H:%M:%S} UTC"
        yield Finding(read="receipt", says=f"Endpoint Medic deleted it, and took its receipt at {at}")
        if isinstance(undone.weights, Found):
            traffic, mirrored = undone.weights.value
            says = f"it gives a deployment of that name {traffic} % of its traffic, and mirrors {mirrored} % to it"
            yield Finding(read="endpoint", says=says)
    if isinstance(undone.grant, Found):
        grant = undone.grant.value
        says = f"Endpoint Medic granted role {grant.role} to principal {grant.principal} on {grant.scope}"
        yield Finding(read="trail", says=says)
        if isinstance(undone.assignment, Found):
            created = undone.assignment.value.created_at
            at = "" if created is None else f", created at {created:%Y-%m-%d %H:%M:%S} UTC"
            yield Finding(read="role assignment", says=f"it is there{at}")


# ------------------------------------------------------------------------------------------- the parts


def _sent(
    trail: Trail,
    original: Incident,
    number: int,
    intent: Intent,
    kept: Callable[[str], Reading[Json]],
    *,
    has_ended: bool,
) -> Sent:
    method, _, path = intent.call.partition("?")[0].partition(" ")
    plain = Sent(number=number, call=intent.call, action=intent.action, at=intent.at, state="cannot")
    why = _why_nothing(intent, method, path)
    outcome = trail.outcome(intent.plan, intent.step, intent.attempt)
    if why is None and (outcome is None or outcome.status is not Status.ACCEPTED):
        came = "what came of it is not known" if outcome is None else outcome.words
        why = f"it is not known to have been done: {came}"
    if why is None and outcome is not None and CREATED_NOTHING in outcome.codes:
        why = f"nothing of ours was created there: {outcome.words}"
    if why is not None:
        return replace(plain, words=why)
    resource = ResourceId.parse(path) if intent.action == "delete-idle" else original.resource
    undoes = Undoes(
        incident=original.id,
        plan=intent.plan,
        step=intent.step,
        attempt=intent.attempt,
        action=intent.action,
        path=path,
        receipt=intent.receipt,
    )
    known = replace(plain, undo_action=ACTION_FOR[intent.action], resource=resource, undoes=undoes)
    earlier = [other for other in trail.incidents_on(resource.key) if _is_of(other.undoes, undoes)]
    ended, before = 0, ""
    for other in earlier:
        if trail.opened(other.id) is None:
            continue  # nobody claimed it: it never began
        end = trail.ended(other.id)
        if end is None:
            return replace(known, state="under-way", words=f"its undo is under way in {other.id}", undo=other.id)
        if end.end is End.REPAIRED:
            words = f"it is undone already, by {other.id} at {end.at:%Y-%m-%d %H:%M:%S} UTC"
            return replace(known, state="undone", words=words, undo=other.id)
        ended += 1
        failed = end.end is End.NOT_REPAIRED and intent.action == "delete-idle"
        before = f"{other.id} ended as {end.end}: {end.words}. {_BY_HAND_FIRST}" if failed else ""
    if not has_ended:
        return replace(known, words="its incident has not ended yet")
    if intent.action == "delete-idle" and (why := _why_no_receipt(intent, kept)) is not None:
        return replace(known, words=why)
    named = f"undo {original.id} {intent.plan} {intent.step} {intent.attempt} {ended}"
    return replace(known, state="can", words=before, undo=intake.incident_id(resource, named))


def _why_no_receipt(intent: Intent, kept: Callable[[str], Reading[Json]]) -> str | None:
    """Give why a deletion's receipt brings nothing back; None if it does."""
    if intent.receipt is None:
        return _NO_RECEIPT
    match kept(intent.receipt):
        case Found():
            return None
        case Absent():
            return RECEIPT_GONE
        case _:
            return _CHANGED


def _is_of(other: Undoes | None, undoes: Undoes) -> bool:
    """Tell whether an undo was about the same call."""
    if other is None:
        return False
    same = (undoes.incident, undoes.plan, undoes.step, undoes.attempt)
    return (other.incident, other.plan, other.step, other.attempt) == same


def _why_nothing(intent: Intent, method: str, path: str) -> str | None:
    """Give why a kind of call has no undo; None if it has one."""
    if intent.action == "delete-idle" and method == "DELETE":
        return None
    if "/providers/Microsoft.Authorization/roleAssignments/" in path and (intent.action, method) == (
        "grant-roles",
        "PUT",
    ):
        return None
    if intent.action in ACTION_FOR.values():
        return "it is an undo itself: what it did is undone by hand, as its plan says"
    if path.lower().endswith("/resynckeys"):
        return "nothing to undo: the workspace has the keys that its registry and storage account have now"
    if method == "DELETE":
        return "nothing to undo: it was asked for, and run again"
    return "nothing to undo: the same deployment was deployed again"
