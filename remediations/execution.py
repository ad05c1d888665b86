"""Execute: Plan -> Outcome. The only module that writes to Azure.

The order is the promise: receipt, index, intent, audit record, one send, outcome. Whoever creates the intent sends,
once, and only while the intent is fresh; whoever finds it never sends, but waits until its creator cannot send any more
and then reads the world: done, not done (the next attempt may send), or unclear (a person is asked).
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from remediations import codec
from remediations.actions.action import Action, Changed, Kept, nothing_kept
from remediations.audit import Journal
from remediations.model import ActivityRow, Evidence, Found, Incident, Outcome, Plan, Reading, Status, Step
from remediations.ports import Reads, Reply, Writes
from remediations.trail import Effect, Intent, Slot, Trail

_SKEW = timedelta(minutes=1)  # between our clock and Azure's
_TAKEN = frozenset({"Started", "Accepted", "Succeeded"})


class World(Struct, frozen=True):
    """How to read what became of a call.

    Attributes:
        evidence: Gives fresh evidence of what it touches.
        log: Gives what the Activity Log has about that since the call was intended.
    """

    evidence: Callable[[], Evidence]
    log: Callable[[], Reading[tuple[ActivityRow, ...]]]


def found(
    plan: Plan,
    number: int,
    attempt: int,
    *,
    action: Action,
    trail: Trail,
    journal: Journal,
    world: World,
    send_within: timedelta,
) -> Outcome | None:
    """Give what came of an attempt at a step that somebody has begun; None if nobody has.

    Args:
        number: Of the step in the plan.
        world: Asked only when the answer was lost.
        send_within: The longest that one send may take. After twice that, the creator cannot send any more.
    """
    intent = trail.intent(plan.digest, number, attempt)
    if intent is None:
        return None
    journal.intended(intent)  # its creator may have died before it could
    outcome = trail.outcome(plan.digest, number, attempt)
    if outcome is not None:
        return close(intent, outcome, trail=trail, journal=journal)
    wait = intent.at + 2 * send_within - journal.clock()
    if wait > timedelta(0):
        words = "the call was begun a moment ago; its answer is not there"
        return Outcome(status=Status.PENDING, words=words, request_id=intent.request_id, retry_after=wait)
    return close(intent, seen(intent, plan, action, world), trail=trail, journal=journal)


def seen(intent: Intent, plan: Plan, action: Action, world: World) -> Outcome:
    """Give what the world shows of a call whose answer was lost; nothing is kept of it."""
    number, after = intent.step, world.evidence()
    status = action.landed(plan, number, after)
    words = {
        Status.ACCEPTED: "the answer was lost; Azure shows that the call took effect",
        Status.NOT_DONE: "the answer was lost; Azure shows that nothing was done",
        Status.AGAIN: "the answer was lost; sending it again does no harm",
    }.get(status, "the answer was lost, and Azure does not show whether the call took effect")
    if status is Status.ACCEPTED and plan.calls[number].method == "DELETE" and _is_anothers(intent, world.log()):
        status = Status.UNCLEAR  # what is gone tells of itself not who took it away
        words = (
            "the answer was lost, and the Activity Log shows that somebody else deleted what this call was to delete"
        )
    shown = after.resource.value if isinstance(after.resource, Found) else None
    is_shown = status is Status.ACCEPTED and plan.steps[number].is_rerun
    url = shown.operation_url if shown is not None and is_shown else None
    return Outcome(status=status, words=words, request_id=intent.request_id, operation_url=url)


def _is_anothers(intent: Intent, log: Reading[tuple[ActivityRow, ...]]) -> bool:
    """Tell whether the log has a deletion since the intent, and none of its own."""
    rows = log.value if isinstance(log, Found) else ()
    late = [row for row in rows if row.at > intent.at - _SKEW and row.status in _TAKEN]
    deletions = [row for row in late if row.operation_name.lower().endswith("/delete")]
    return bool(deletions) and all(row.client_request_id != intent.request_id for row in deletions)


def execute(
    plan: Plan,
    number: int,
    attempt: int,
    *,
    action: Action,
    reads: Reads,
    writes: Writes,
    trail: Trail,
    journal: Journal,
    nonce: str,
    keep: Callable[[object], str],
    decision: str,
    budget: int | None,
    send_within: timedelta,
    kept: Kept = nothing_kept,
) -> Outcome:
    """Take a slot of the budget, create the intent, send the call of a step once, and give what came of it.

    Args:
        number: Of the step in the plan.
        keep: Puts a receipt into the evidence store, and gives its digest.
        kept: Gives what lies there under a digest.
        decision: Digest of the decision, so that whoever finds the intent open can read back what was planned.
        budget: Repairs by this action that policy permits in one subscription and hour; None if this one has its place.
        send_within: The longest that the send may take.

    Raises:
        StoreError: the trail cannot be written; then nothing was sent, or the intent stands and is read back later.
        WriteInDryRun: there is no client that could write.
    """
    incident, step = plan.diagnosis.incident, plan.steps[number]
    if (wait := writes.ready(step.call)) is not None:
        return _held_back(plan, number, wait, "our share of the subscription's writes is used up", journal)
    now = journal.clock()
    prepared = action.prepare(plan, number, reads, kept)
    receipt = action.receipt(plan, number, reads)
    if (wait := reads.throttled()) is not None:
        return _held_back(plan, number, wait, "what the call needs cannot be read: too much is asked of Azure", journal)
    if isinstance(prepared, Changed):
        return Outcome(status=Status.REFUSED, words=prepared.words)
    if isinstance(receipt, Changed):
        return Outcome(status=Status.REFUSED, words=receipt.words)
    slot = Slot(plan=plan.digest, incident_id=incident.id)
    scope = incident.resource.subscription
    if budget is not None and not trail.take_budget(scope, plan.action, now, slot, budget):
        return Outcome(status=Status.REFUSED, words=f"the budget of {budget} repairs by {plan.action} an hour is spent")
    call = step.call
    request_id = request_id_of(plan.digest, number, attempt)
    effect = Effect(
        at=now,
        incident_id=incident.id,
        action=plan.action,
        cause_id=plan.diagnosis.cause_id,
        plan=plan.digest,
        step=number,
        attempt=attempt,
    )
    intent = Intent(
        at=now,
        nonce=nonce,
        incident_id=incident.id,
        plan=plan.digest,
        attempt=attempt,
        decision=decision,
        action=plan.action,
        call=str(call),
        request_id=request_id,
        body_digest=call.body_digest,
        step=number,
        receipt=None if receipt is None else keep({"taken_at": now, "receipt": receipt}),
    )
    targets = tuple({*step.target, incident.resource.key})  # by the resource, a walk finds what it left open
    if not trail.open_intent(effect, intent, targets):
        return Outcome(
            status=Status.PENDING,
            words="somebody else has just begun this call",
            request_id=request_id,
            retry_after=2 * send_within,
        )
    journal.intended(intent)
    if journal.clock() - now > send_within / 2:
        words = "not sent: the intent was no longer fresh"
        unsent = Outcome(status=Status.UNSENT, words=words, request_id=request_id)
        return close(intent, unsent, trail=trail, journal=journal)
    reply = writes.send(call, prepared.content, request_id=request_id)
    return _answered(intent, reply, step, action, trail=trail, journal=journal, send_within=send_within)


def _answered(
    intent: Intent,
    reply: Reply,
    step: Step,
    action: Action,
    *,
    trail: Trail,
    journal: Journal,
    send_within: timedelta,
) -> Outcome:
    """Give what came of a call that was sent; where no answer tells, that is not known yet."""
    request_id = intent.request_id
    if reply.status is None or reply.status >= 500:
        words = "no answer came" if reply.status is None else f"Azure answered {reply.status}"
        return Outcome(
            status=Status.PENDING,
            words=f"{words}: whether the call took effect is not known yet",
            request_id=request_id,
            retry_after=intent.at + 2 * send_within - journal.clock(),
        )
    outcome = outcome_of(reply, request_id, step.call.path, meaning=action.answer(step, reply))
    return close(intent, outcome, trail=trail, journal=journal)


def _held_back(plan: Plan, number: int, wait: timedelta, words: str, journal: Journal) -> Outcome:
    """Give the outcome of a call that was neither intended nor sent, only because too much is asked."""
    journal.waits(plan, number, words)
    return Outcome(status=Status.PENDING, words=f"not sent: {words}", retry_after=wait)


def outcome_of(reply: Reply, request_id: str, path: str, *, meaning: tuple[Status, str] | None = None) -> Outcome:
    """Give what an answer below 500 means for an effect.

    Args:
        path: Of the call.
        meaning: What it means for this action, where that is something of its own.
    """
    status = reply.status
    told = next((detail for detail in reply.errors if detail.code), None)
    because = f" ({told.code})" if told is not None else ""
    kinds = {
        401: (Status.FORBIDDEN, f"our identity lacks {reply.permission} on {path}"),
        403: (Status.FORBIDDEN, f"our identity lacks {reply.permission} on {path}"),
        409: (Status.BUSY, "another operation runs on the endpoint"),
        429: (Status.THROTTLED, "Azure asks us to slow down"),
    }
    if meaning is not None:
        kind, words = meaning
    elif status is not None and status < 300:
        kind, words = Status.ACCEPTED, f"Azure took the call ({status})"
    else:
        kind, words = kinds.get(status or 0, (Status.REJECTED, f"Azure rejected the call with {status}{because}"))
    return Outcome(
        status=kind,
        words=words,
        request_id=request_id,
        service_request_id=reply.service_request_id,
        correlation_id=reply.correlation_id,
        operation_url=reply.operation_url,
        retry_after=reply.retry_after,
        codes=tuple(detail.code for detail in reply.errors if detail.code),
    )


def next_failure(
    incident: Incident, outcome: Outcome | None, *, failed_at: datetime, sent_digest: str | None
) -> Incident:
    """Give the incident whose failure to judge is now that of our own repair; what began it is kept."""
    correlation_id = outcome.correlation_id if outcome is not None else None
    return replace(
        incident,
        failed_at=failed_at,
        first_failed_at=incident.began_at,
        correlation_id=correlation_id.lower() if correlation_id else None,
        operation_url=outcome.operation_url if outcome is not None else None,
        sent_digest=sent_digest,
        report=None,
    )


def request_id_of(plan: str, step: int, attempt: int) -> str:
    """Give the ``x-ms-client-request-id`` of one intent: 38 letters, digits and dashes."""
    return f"medic-{codec.digest(f'{plan}/{step}/{attempt}')[:32]}"


def close(intent: Intent, outcome: Outcome, *, trail: Trail, journal: Journal) -> Outcome:
    """Keep what came of an intent, and put it on the record; the first word stands, and is given."""
    kept = trail.close_intent(intent.plan, intent.step, intent.attempt, outcome)
    journal.came_of(intent, kept)
    trail.mark_recorded(intent.plan, intent.step, intent.attempt)
    return kept
