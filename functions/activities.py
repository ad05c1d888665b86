"""Few activities, so that histories stay small. Each loads what its order names, calls one stage, and dumps.

An activity may run twice, also at once: claims, intents, slots and outcomes are created, never overwritten, and records
have keys. What crosses to the orchestrator is small: ids, digests, verdicts and waits.
"""

import uuid
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from msgspec import Struct
from msgspec.structs import replace
from structlog.contextvars import bound_contextvars

from remediations import (
    codec,
    desk,
    enrichment,
    execution,
    guards,
    planning,
    preflight,
    situation,
    surroundings,
    telling,
    undone,
    verification,
)
from remediations.actions import ACTIONS
from remediations.actions.action import NotYet, Stop, Unneeded
from remediations.approval import rules
from remediations.approval.notice import Kind
from remediations.catalogue import CAUSES
from remediations.classification import classify, wanted
from remediations.enrichment import Extent
from remediations.errors import ArmThrottled
from remediations.model import (
    Absent,
    ActivityRow,
    Answer,
    Decision,
    End,
    ErrorDetail,
    Evidence,
    Found,
    Incident,
    Mode,
    NoPlan,
    Outcome,
    Plan,
    ProvisioningState,
    Reading,
    ResourceId,
    Status,
    Touch,
    Verdict,
    reading_words,
)
from remediations.ports import Reads
from remediations.services import Services, services
from remediations.situation import Situation
from remediations.trail import Answered, Ended, Intent, Question, Result, Settled, counts_as_attempt

log = structlog.get_logger()

type Order = dict[str, Any]

_MOST_POLLS = 8  # 10 s doubling to 5 min: a little more than the ceiling of 20 minutes
_PASSING = frozenset({"StoreUnavailable", "ArmThrottled"})  # the failures of a step that end by themselves
_RESUMED_FOR = timedelta(hours=6)
_POLLS_FOR_SPEC = 3  # 70 seconds
_WOULD = {Verdict.RUN: "would", Verdict.ASK: "would ask to", Verdict.DRY_RUN: "in dry run by policy; would"}
_MOST_VOIDED = 3
_SENT_ANEW = frozenset({Status.BUSY, Status.THROTTLED, Status.UNSENT, Status.NOT_DONE, Status.AGAIN})
_ENDED = {Status.FORBIDDEN: End.NOT_REPAIRED, Status.UNCLEAR: End.INCONCLUSIVE}
_TELL_AGAIN_S = 30.0
_LONGEST_TELL_S = 1800.0
_MOST_TELLS = 9  # a little more than two hours
_BUSY_WAIT_S = 30.0
_LONGEST_BUSY_WAIT_S = 300.0
_TURN_WAIT = timedelta(seconds=30)
_MOST_WAITS = 40  # 20 minutes
_DESK_HELD = "another incident works on the target"
_OPERATION_POLLS = 130  # a minute each: a little more than two hours


def open_incident(order: Order) -> bool:
    """Claim the incident; False if it is somebody else's, and this walk ends without effect."""
    own, incident = services(), _incident(order)
    with _bound(incident):
        if (
            not own.trail.open_incident(incident, order["nonce"], own.clock(), mode=own.settings.mode)
            or own.trail.ended(incident.id) is not None
        ):
            log.info("incident.duplicate")
            return False
        own.journal.opened(incident)
        log.info("incident.opened", resource=incident.resource.label, attempt=order["try"])
    return True


def collect(step: Order) -> Order:
    """One round of reads: the digest of the evidence, and whether it is enough."""
    own, incident = services(), _incident(step)
    with _bound(incident):
        try:
            closed = _closed_own(own, incident)
        except ArmThrottled:
            closed = False
        reads = own.reads()
        evidence = _evidence(own, own.trail.with_joined(incident), reads)
        polls = step["polls"]
        is_last = polls >= _MOST_POLLS
        is_enough = closed and reads.throttled() is None and enrichment.is_settled(evidence)
        settled = (is_enough and not _awaits_spec(own, evidence, polls)) or is_last
        if settled:  # what lies around is read once the failure itself is known: it tells what to look for
            asks_none = incident.is_scoring or incident.is_undo  # no action of theirs will ask for any
            areas = frozenset() if asks_none else wanted(evidence, CAUSES)
            evidence = surroundings.with_surroundings(evidence, areas, reads, policy=own.policy, own=own.own)
            is_all = surroundings.is_complete(evidence.surroundings, areas) and reads.throttled() is None
            settled = is_all or is_last
        digest = own.evidence.put(evidence)
        if settled:
            own.journal.collected(evidence, digest, polls + 1)
            log.info("evidence.collected", polls=polls + 1, complete=not is_last)
            _tell_missing(evidence.missing_permissions, "reading")
        wait = max(enrichment.next_poll(polls + 1) / step["scale"], reads.throttled() or timedelta())
    return {**step, "evidence": digest, "settled": settled, "wait_s": wait.total_seconds()}


def judge(step: Order) -> Order:
    """Classify, propose, survey and decide, in one."""
    own = services()
    evidence = own.evidence.get(Evidence, step["evidence"])
    incident = evidence.incident
    with _bound(incident):
        diagnosis = classify(evidence, CAUSES, evidence_digest=step["evidence"])
        journal = own.journal
        if step.get("stands_for"):
            journal.stands_for(incident.id, step["stands_for"])
        journal.diagnosed(diagnosis)
        log.info("diagnosis.made", cause=diagnosis.cause_id, evidence_level=str(diagnosis.level))
        plan = planning.propose(diagnosis, evidence, ACTIONS, own.policy, try_number=step["try"])
        journal.planned(plan, declined=_declined(own, plan, step["try"]))
        judged = {**step, "cause": diagnosis.cause_id, "action": diagnosis.action}
        if isinstance(plan, NoPlan):
            end, words = _end_unplanned(own, plan, evidence)
            log.info("plan.none", end=str(end), words=words)
            return _held(own, {**judged, "verdict": "none", "end": str(end), "words": words})
        seen = _survey(own, plan, evidence)
        decision = _decide(own, plan, seen)
        if decision.verdict is Verdict.ASK:  # nobody is to approve what cannot be done
            reads = own.reads()
            seen = replace(seen, preflight=preflight.lacking(plan.calls, reads))
            _refuse_throttled(reads, incident.resource.path)
            decision = _decide(own, plan, seen)
            _tell_missing(seen.preflight.value if isinstance(seen.preflight, Found) else (), "before asking")
        if decision.verdict is Verdict.ASK and guards.is_tripped(plan, seen):
            log.warning(
                "breaker.tripped",
                action=plan.action,
                subscription=incident.resource.subscription,
                failures=seen.permission.breaker_failures,
            )
        kept = own.evidence.put(decision)
        journal.decided(decision, when="deciding", kept=kept)
        log.info("plan.decided", action=plan.action, verdict=str(decision.verdict), plan=plan.digest[:12])
        going = {
            **judged,
            "verdict": str(decision.verdict),
            "decision": kept,
            "plan": plan.digest,
            "desks": desk.keys_of(plan.target),
            "wait_s": plan.wait.total_seconds() / step["scale"],
            **end_of(decision),
        }
        if "storm" in step and decision.verdict is Verdict.ASK:
            return {**going, **_asked_of_storm(own, plan)}
        return _held(own, going)


def fold(step: Order) -> Order:
    """Look once more, after a calm, whether a storm has begun beside an incident."""
    with _bound(_incident(step)):
        return _held(services(), step)


def ask(step: Order) -> Order:
    """Put the question to people on the trail."""
    own = services()
    incident = _incident(step)
    now, window = own.clock(), own.policy.approval_window / step["scale"]
    decision = own.evidence.get(Decision, step["decision"])
    seen, evidence = own.evidence.get(Situation, decision.situation), own.evidence.get(Evidence, step["evidence"])
    callers, void = rules.callers_of(evidence), step.get("void")
    old = None if void is None else own.trail.question(void)
    old_decision = None if old is None else own.evidence.find(Decision, old.decision)
    question = Question(
        at=now,
        incident_id=incident.id,
        plan=step["plan"],
        decision=step["decision"],
        policy_version=own.policy.version,
        expires_at=min(now + window, incident.began_at + seen.permission.ceiling),
        quorum=rules.quorum_of(decision.plan.risk, seen.quorum, callers),
        approvers=seen.approvers,
        callers=callers,
        touches=ACTIONS[decision.plan.action].touches(decision.plan, seen),
        voids=void,
        differences=() if old_decision is None else rules.differences(old_decision.plan, decision.plan),
        is_undo=incident.is_undo,
    )
    return put(own, step, question)


def put(own: Services, step: Order, question: Question) -> Order:
    """Put a question on the trail, unless nobody could answer it; give how long it stays open, and its bell."""
    if why := rules.why_unanswerable(question):
        return {**step, "verdict": "end", "end": End.REFUSED, "words": why}
    own.trail.ask(question)
    kept = own.trail.question(question.plan) or question
    own.journal.asked(kept)
    log.info(
        "approval.requested",
        incident_id=kept.incident_id,
        plan=kept.plan[:12],
        expires_at=kept.expires_at.isoformat(),
    )
    is_answered = own.trail.answered(kept.plan) is not None  # while no walk could hear the bell
    left_s = 0.0 if is_answered else max(0.0, (kept.expires_at - question.at).total_seconds())
    order = telling.order(own, kept.incident_id, Kind.ASKED, plan=kept.plan)
    return {**step, "bell": kept.bell, "question_s": left_s, "tell": order}


def settle(step: Order) -> Order:
    """Read the answers from the store, also when time is up: a lost bell loses no decision."""
    own = services()
    incident = _incident(step)
    question, answered = own.trail.question(step["plan"]), own.trail.answered(step["plan"])
    if question is None:
        msg = f"the question about plan {step['plan'][:12]} is gone from the trail"
        raise ValueError(msg)
    if answered is None:
        now = max(own.clock(), question.expires_at) if step["expired"] else own.clock()
        reached = rules.outcome(question, own.trail.votes(step["plan"]), now)
        if reached is None:
            return step  # somebody rang and the answers do not suffice: the question stays open
        answered = own.trail.answer(reached)
    _prove(own, incident.id, answered)
    if answered.approved is True:
        _pass_on(own, question, answered)
        return {**step, "verdict": "run", "tell": telling.order(own, incident.id, Kind.APPROVED, plan=step["plan"])}
    if answered.approved is False:
        return {**step, "verdict": "end", "end": End.REJECTED, "words": answered.words}
    end = End.EXPIRED if rules.is_expired(answered, question) else End.SUPERSEDED
    return {**step, "verdict": "end", "end": end, "words": answered.words}


def execute(step: Order) -> Order:
    """Take the turn of one step: look, decide again, then create the intent and send once; or find out what an earlier
    send came to."""
    own = services()
    decision = own.evidence.get(Decision, step["decision"])
    plan, number, attempt = decision.plan, step["number"], step["attempt"]
    with _bound(plan.diagnosis.incident):
        budget: int | None = None
        try:
            passed = _found(own, plan, number, attempt) or _barred(own, plan, number, attempt)
            if passed is None:
                passed, budget = _turn(own, decision, step)
        except ArmThrottled as error:  # nothing is decided, nor closed, on what was not read for its number alone
            passed = _waits_for_azure(own, decision, step, error)
        outcome = passed or execution.execute(
            plan,
            number,
            attempt,
            action=ACTIONS[plan.action],
            reads=own.reads(),
            writes=own.writes,
            trail=own.trail,
            journal=own.journal,
            nonce=uuid.uuid4().hex,
            keep=own.evidence.put,
            decision=step["decision"],
            kept=own.evidence.reading,
            budget=budget,
            send_within=own.settings.send_within,
        )
        log.info(
            "action.executed",
            action=plan.action,
            step=number,
            attempt=attempt,
            status=str(outcome.status),
            words=outcome.words,
        )
        if outcome.status is Status.FORBIDDEN:
            call = plan.calls[number]
            _tell_missing((f"{call.operation} on {call.scope}",), "calling")
        return _after(own, step, plan, outcome)


def look(own: Services, plan: Plan) -> Situation:
    """Read the situation of a plan as it is now, before its first call."""
    return _survey(own, plan, _evidence_for(own, plan, 0))


class Foreseen(Struct, frozen=True, kw_only=True):
    """What would be planned and decided about an incident now.

    Attributes:
        decision: None where nothing would be planned; `touches` what the plan would reach.
    """

    at: datetime
    evidence: Evidence
    plan: Plan | NoPlan
    decision: Decision | None = None
    touches: tuple[Touch, ...] = ()


def foresee(own: Services, incident: Incident) -> Foreseen:
    """Give what would be planned and decided about an incident now; it writes nothing, and nothing is kept of it."""
    evidence = _evidence(own, incident, own.reads())
    at = evidence.collected_at
    diagnosis = classify(evidence, CAUSES, evidence_digest="")
    plan = planning.propose(diagnosis, evidence, ACTIONS, own.policy)
    if isinstance(plan, NoPlan):
        return Foreseen(at=at, evidence=evidence, plan=plan)
    seen = replace(_survey(own, plan, evidence), preflight=preflight.lacking(plan.calls, own.reads()))
    touches = ACTIONS[plan.action].touches(plan, seen)
    return Foreseen(at=at, evidence=evidence, plan=plan, decision=decided(plan, seen), touches=touches)


def decided(plan: Plan, seen: Situation) -> Decision:
    """Give what would be decided on a plan in a situation; nothing is kept of it."""
    return guards.decide(plan, seen, ACTIONS[plan.action].guards, situation_digest="")


def resumed(own: Services, incident: Incident) -> tuple[Incident, int]:
    """Give the incident as its interrupted walk would judge it now: by what its own last effect came to."""
    effects = own.trail.effects_of(incident)
    if not effects:
        return incident, 0
    effect, outcome = effects[-1]
    intent = own.trail.intent(effect.plan, effect.step, effect.attempt)
    sent = intent.body_digest if intent is not None else None
    # Who has written since our effect came after us.
    resumed = execution.next_failure(incident, outcome, failed_at=effect.at, sent_digest=sent)
    return resumed, len({other.plan for other, _ in effects})


def left_open() -> list[tuple[Intent, Outcome]]:
    """Give the intents that ended incidents left open or off the record, with what came of each; nothing is kept of it.

    Those of other incidents their own walks close.
    """
    own = services()
    found: list[tuple[Intent, Outcome]] = []
    for name in own.trail.open_intents():
        try:
            intent = own.trail.intent_named(name)
            if own.trail.ended(intent.incident_id) is None:
                continue
            outcome = own.trail.outcome(intent.plan, intent.step, intent.attempt) or _seen(own, intent)
        except ArmThrottled as error:
            log.warning("sweep.incomplete", why=str(error))  # the next one looks again
            break
        except ValueError as error:  # verify finds it as well
            log.error("intent.unreadable", name=name, why=str(error))  # noqa: TRY400 - the record is at fault
            continue
        found += [] if outcome is None else [(intent, outcome)]
    return found


def close_intent(intent: Intent, outcome: Outcome) -> None:
    """Keep what came of an intent, and put it on the record."""
    own = services()
    own.journal.intended(intent)  # its creator may have died before it could
    kept = execution.close(intent, outcome, trail=own.trail, journal=own.journal)
    log.warning("intent.closed", incident_id=intent.incident_id, status=str(kept.status))


def _seen(own: Services, intent: Intent) -> Outcome | None:
    """Give what the world shows of an open intent; None while its creator may still be sending."""
    if own.clock() - intent.at < 2 * own.settings.send_within:
        return None
    why, decision = "is kept no more", None
    try:
        decision = own.evidence.find(Decision, intent.decision)
    except ValueError:
        why = "cannot be read any more"
    if decision is None or decision.plan.action not in ACTIONS:
        words = f"the answer was lost, and what was planned {why}: whether {intent.call} took effect is not known"
        return Outcome(status=Status.UNCLEAR, words=words, request_id=intent.request_id)
    plan = decision.plan
    return execution.seen(intent, plan, ACTIONS[plan.action], _world(own, plan, intent.step))


def _world(own: Services, plan: Plan, number: int) -> execution.World:
    def log_of_it() -> Reading[tuple[ActivityRow, ...]]:
        began = plan.diagnosis.incident.began_at  # before any of its calls
        return enrichment.log_of(own.reads(), plan.calls[number].path, began, own.clock())

    return execution.World(evidence=partial(_evidence_for, own, plan, number), log=log_of_it)


def _found(own: Services, plan: Plan, number: int, attempt: int) -> Outcome | None:
    """Give what came of an attempt at a step that somebody has begun; None if nobody has."""
    return execution.found(
        plan,
        number,
        attempt,
        action=ACTIONS[plan.action],
        trail=own.trail,
        journal=own.journal,
        world=_world(own, plan, number),
        send_within=own.settings.send_within,
    )


def _closed_own(own: Services, incident: Incident) -> bool:
    """Close what an interrupted walk of this incident left open; False while that has to wait.

    What came of its calls is put on the record: that walk may have died before it was.
    """
    is_closed = True
    for effect, outcome in own.trail.effects_of(incident):
        intent = own.trail.intent(effect.plan, effect.step, effect.attempt)
        if intent is None or own.trail.is_recorded(effect.plan, effect.step, effect.attempt):
            continue
        found = outcome or _seen(own, intent)
        if found is None:
            is_closed = False
        else:
            close_intent(intent, found)
    return is_closed


def check(step: Order) -> Order:
    """Look whether the long-running operation of a step is over, and whether it failed."""
    own = services()
    outcome = codec.load(Outcome, step["outcome"])
    if step["polls"] >= _OPERATION_POLLS:
        return {"over": True, "failed": f"it was not over after {_OPERATION_POLLS} looks"}
    plan = own.evidence.get(Decision, step["decision"]).plan
    taken = plan.steps[step["number"]]
    reads = own.polls()
    if outcome.operation_url is not None:
        shown = reads.poll(outcome.operation_url)
        if isinstance(shown, Found) and isinstance(shown.value, dict) and "status" in shown.value:
            state = enrichment.operation_state(shown.value)
            failed = state.is_over and state.status != "Succeeded"
            return {"over": state.is_over, "failed": f"{state.status} ({state.code or 'no code'})" if failed else None}
        if taken.call.via != "arm" and (isinstance(shown, Absent) or reads.refused()):
            return {"over": True, "unread": reading_words(shown)}  # its record is gone, or not for us
    elif taken.call.via != "arm":
        return {"over": True}
    if taken.call.via != "arm":
        return {"over": False}
    match enrichment.read_resource(reads, ResourceId.parse(taken.call.path), own.own):
        case Found(resource):
            return {"over": not resource.is_running}
        case Absent():
            return {"over": True}
        case _:
            return {"over": reads.refused() != ()}


def verify(step: Order) -> Order:
    """Read afresh and tell whether a step holds: the end of the repair, or the next step's turn."""
    own = services()
    decision = own.evidence.get(Decision, step["decision"])
    plan, outcome, number = decision.plan, codec.load(Outcome, step["outcome"]), step["number"]
    with _bound(plan.diagnosis.incident):
        after = _evidence_for(own, plan, number, "result")
        digest = own.evidence.put(after)
        failed = step["seen"].get("failed")
        verified = verification.verify(plan, number, outcome, after, ACTIONS, evidence_digest=digest, failed=failed)
        own.journal.verified(plan, number, verified)
        log.info("repair.verified", step=number, end=str(verified.end), words=verified.words)
        if "unread" not in step["seen"]:
            held = Settled(at=own.clock(), held=verified.end in {None, End.REPAIRED})
            own.trail.settle(plan.digest, number, step["attempt"], held)
        if verified.end is None:
            return _next(step, plan)
        return {
            **step,
            "verdict": "verified",
            "end": str(verified.end),
            "words": verified.words,
            "failed_at": codec.dump(after.collected_at),
        }


def finish(step: Order) -> Order:
    """Put the end on the trail; or, after a repair that did not help, give the order of the next try."""
    own, incident = services(), _incident(step)
    with _bound(incident):
        if step["verdict"] == "void" and step.get("voided", 0) < _MOST_VOIDED:
            own.journal.voided(incident.id, step["plan"], step["words"])
            log.warning("approval.void", words=step["words"])
            return {"again": _asked_again(step), "end": "void"}
        end = End.REFUSED if step["verdict"] == "void" else End(step["end"])
        words = step["words"]
        if (
            "outcome" in step
            and step.get("action") is not None
            and end in {End.REPAIRED, End.NOT_REPAIRED, End.INCONCLUSIVE}
        ):
            result = Result(at=own.clock(), end=end, cause_id=step["cause"])
            name = f"{incident.id}-{step['try']}"
            own.trail.record_result(incident.resource.subscription, step["action"], name, result)
        if end is End.NOT_REPAIRED and step["verdict"] == "verified":
            again = _again(own, step, incident)
            log.info("repair.failed", words=words, next_try=again["try"])
            return {"again": again, "end": end}
        effects = sum(counts_as_attempt(outcome) for _, outcome in own.trail.effects_of(incident))
        if effects and end in {End.REFUSED, End.ADVISED}:  # something was tried and did not help: a person has to look
            last = f", the last of which ended so: {step['last']}" if "last" in step else ""
            end, words = End.NOT_REPAIRED, f"after {effects} call{'s' if effects > 1 else ''}{last}. Now: {words}"
        age = own.clock() - incident.began_at
        if step.get("failure") in _PASSING and effects == 0 and age < _RESUMED_FOR:
            log.warning("incident.left", words=words)  # nothing was done yet: the sweep goes on with it
            return {"again": None, "end": "left to the sweep"}
        end, words = own.journal.ended(incident.id, end, words)
        own.journal.undo_ended(incident, end, words)
        own.trail.end_incident(
            Ended(
                at=own.clock(),
                end=end,
                words=words,
                incident=incident,
                cause_id=step.get("cause"),
                action=step.get("action"),
                effects=effects,
                mode=own.settings.mode,
            )
        )
        tell = log.warning if end.is_escalated else log.info
        tell(
            "incident.ended",
            end=str(end),
            words="" if end is End.REJECTED else words,  # what somebody wrote stays on the trail
            escalated=end.is_escalated,
            cause=step.get("cause"),
            action=step.get("action"),
            mode=str(own.settings.mode),
            effects=effects,
            took_s=int(age.total_seconds()),
        )
        if incident.scoring is not None and end is End.ADVISED:
            log.info(
                "incident.advised",
                resource=incident.resource.label,
                cause=step.get("cause"),
                **codec.dump(incident.scoring),
            )
        told = None if "storm" in step else telling.of_end(own, incident.id, end)  # a member's storm tells of it
        return {"again": None, "end": str(end), "tell": told}


def tell(order: Order) -> Order:
    """Hand one message to every channel that has not taken it, once; give which have, and when to try again."""
    own = services()
    message = telling.message(own, order)
    told = {*order["told"], *telling.done(own, order)}
    if message is None:
        return {**order, "over": True}
    wait_s, is_last = 0.0, order["attempt"] + 1 >= _MOST_TELLS
    for channel in own.notifiers:
        if channel.name in told:
            continue
        delivery = channel.tell(message)
        own.journal.told(message, channel.name, delivery, attempt=order["attempt"])
        with bound_contextvars(incident_id=message.incident_id):
            log.info(
                "message.told", channel=channel.name, kind=message.kind, taken=delivery.taken, words=delivery.words
            )
            if delivery.taken is None or (delivery.taken is False and is_last):
                log.error("message.untold", channel=channel.name, kind=message.kind, words=delivery.words)
        if delivery.taken is False:
            asked = delivery.retry_after or timedelta()
            wait_s = max(wait_s, asked.total_seconds(), _TELL_AGAIN_S * 2.0 ** order["attempt"] / order["scale"])
        else:
            told.add(channel.name)
    is_over = wait_s == 0 or is_last
    return {
        **order,
        "told": sorted(told),
        "attempt": order["attempt"] + 1,
        "over": is_over,
        "wait_s": min(wait_s, _LONGEST_TELL_S),
    }


# ------------------------------------------------------------------------------------------- the parts


def _bound(incident: Incident) -> AbstractContextManager[None]:
    """Bind what every line of an activity's log carries."""
    return bound_contextvars(incident_id=incident.id, correlation_id=incident.correlation_id)


def _tell_missing(permissions: tuple[str, ...], seen: str) -> None:
    if permissions:
        log.warning("permissions.missing", permissions=permissions, seen=seen)


def _incident(order: Order) -> Incident:
    return codec.load(Incident, order["incident"])


def _evidence(own: Services, incident: Incident, reads: Reads, extent: Extent = "cause") -> Evidence:
    report = own.evidence.find(tuple[ErrorDetail, ...], incident.report) if incident.report else None
    url = incident.desired_spec_url
    evidence = enrichment.enrich(
        incident,
        reads,
        now=own.clock(),
        own=own.own,
        report=report or (),
        wants_spec=url is not None and own.policy.lists_spec(url),
        extent=extent,
    )
    if not incident.is_undo:
        return evidence
    found = undone.read(incident, own.trail, own.evidence.reading, reads, own=own.own, now=own.clock())
    return replace(evidence, undone=found, missing_permissions=reads.refused())


def _evidence_for(own: Services, plan: Plan, number: int, extent: Extent = "change") -> Evidence:
    """Read afresh what a step touches and, unless only its result is looked for, the surroundings that the action of
    its plan decides on.

    Raises:
        ArmThrottled: Azure, or our own share of what it permits, held back a part of it.
    """
    reads = own.reads()
    incident, call = plan.diagnosis.incident, plan.calls[number]
    evidence = _evidence(own, incident, reads, extent)
    if call.via == "arm" and call.path.lower() != incident.resource.key:
        target = enrichment.read_resource(reads, ResourceId.parse(call.path), own.own)
        evidence = replace(evidence, target=target)
    asks = ACTIONS[plan.action].asks_before(plan.steps[number]) if extent != "result" else ()
    evidence = surroundings.with_surroundings(evidence, asks, reads, policy=own.policy, own=own.own)
    _refuse_throttled(reads, call.path)
    return evidence


def _refuse_throttled(reads: Reads, path: str) -> None:
    """Raise ArmThrottled if something could not be read only because too much is asked of Azure: a later time can."""
    if (wait := reads.throttled()) is not None:
        raise ArmThrottled("GET", path, wait, "too much is asked of Azure just now")


def _awaits_spec(own: Services, evidence: Evidence, polls: int) -> bool:
    """Tell whether CI's word may still come: without it, what was rejected at once cannot be run again."""
    incident = evidence.incident
    if not isinstance(evidence.resource, Absent) or incident.is_scoring or incident.is_undo:
        return False
    expected = bool(own.policy.desired_specs.containers) and incident.desired_spec_url is None
    return expected and polls < _POLLS_FOR_SPEC


def _survey(own: Services, plan: Plan, evidence: Evidence, *, step: int = 0, desk: str = "free") -> Situation:
    return situation.survey(
        plan,
        evidence,
        ACTIONS[plan.action].fingerprint(plan.steps[step:], evidence),
        policy=own.policy,
        ceiling=own.settings.mode,
        trail=own.trail,
        own=own.own,
        now=own.clock(),
        step=step,
        desk=desk,
    )


def _decide(own: Services, plan: Plan, seen: Situation) -> Decision:
    return guards.decide(plan, seen, ACTIONS[plan.action].guards, situation_digest=own.evidence.put(seen))


def _declined(own: Services, plan: Plan | NoPlan, try_number: int) -> str | None:
    """Keep what another policy would decide on that might plan where nothing is planned; None where none could."""
    if not isinstance(plan, NoPlan) or plan.diagnosis.action is None:
        return None
    now = own.clock()
    declined = situation.Declined(
        no_plan=plan, now=now, try_number=try_number, own=own.own, trail_pauses=own.trail.pauses(now)
    )
    return own.evidence.put(declined)


def _end_unplanned(own: Services, plan: NoPlan, evidence: Evidence) -> tuple[End, str]:
    """Give how an incident ends for which nothing is planned, in words.

    What an earlier, interrupted walk of it sent may stand by now. Of an undo its action tells, as after any send.
    """
    incident = evidence.incident
    if not incident.is_undo:
        return (End.REPAIRED if _stands_by_us(own, evidence) else End(plan.end)), plan.words
    taken = [
        effect
        for effect, outcome in own.trail.effects_of(incident)
        if outcome is not None and outcome.status is Status.ACCEPTED
    ]
    if not taken:
        return End(plan.end), plan.words
    last = taken[-1]
    intent = own.trail.intent(last.plan, last.step, last.attempt)
    decision = None if intent is None else own.evidence.find(Decision, intent.decision)
    if decision is None:
        return End.INCONCLUSIVE, f"what was planned is kept no more, so what came of it is not known. Now: {plan.words}"
    end, words = ACTIONS[last.action].verify(decision.plan, last.step, evidence)
    return (End.INCONCLUSIVE if end is None else end), words


def _stands_by_us(own: Services, evidence: Evidence) -> bool:
    """Tell whether what an earlier, interrupted walk of this incident sent has succeeded.

    That walk may have sent it after this one began: a lost hub does not stop an activity under way.
    """
    incident, state = evidence.incident, evidence.resource.value if isinstance(evidence.resource, Found) else None
    if state is None or state.provisioning_state != ProvisioningState.SUCCEEDED or state.modified_by_us is not True:
        return False
    effects = own.trail.effects_of(incident)
    intents = [own.trail.intent(effect.plan, effect.step, effect.attempt) for effect, _ in effects]
    sent = {incident.sent_digest, *(intent.body_digest for intent in intents if intent is not None)}
    return state.spec_digest is not None and state.spec_digest in sent


def end_of(decision: Decision) -> Order:
    """Give how an incident ends whose decision is not to act, in words; nothing for any other."""
    if decision.verdict is Verdict.DRY_RUN:
        return {"end": End.DRY_RUN, "words": f"{_WOULD[decision.would]} {decision.plan.effect}"}
    if decision.verdict is Verdict.REFUSE:
        return {"end": End.REFUSED, "words": _refusal(decision)}
    return {}


def _refusal(decision: Decision) -> str:
    if decision.mode is Mode.OFF:
        return decision.mode_words
    return "; ".join(f"{answer.guard}: {answer.words}" for answer in decision.refusals)


def _held(own: Services, step: Order) -> Order:
    """Give what follows for an incident beside which others fail: it joins their storm once that has begun, and asks
    and tells nobody before it is calm. A walk that has sent something, or is a storm's, goes its way."""
    incident = _incident(step)
    is_free = not {"storm", "until"} & step.keys() and step["try"] == 1 and "void" not in step
    if not is_free or incident.is_undo or incident.sent_digest is not None:
        return step
    limits, now = own.policy.storm, own.clock()
    beside, storm = own.trail.storms.beside(incident, now, limits)
    if storm is not None:
        own.trail.storms.enlist(storm, incident, now)
        log.info("incident.folded", storm=storm)
        return {**step, "verdict": "folded"}
    is_told = step["verdict"] in {"none", Verdict.ASK, Verdict.REFUSE}
    if beside > 1 and is_told and "held" not in step:
        return {**step, "held": True, "hold_s": limits.calm.total_seconds() / step["scale"]}
    return step


def _asked_of_storm(own: Services, plan: Plan) -> Order:
    """Give how a member goes on for whose plan a person has to be asked: its storm has asked, about this very plan."""
    answered = own.trail.answered(plan.digest)
    if answered is not None and answered.approved is True:
        return {"verdict": "run"}
    if answered is not None:
        return {"verdict": "end", "end": End.SUPERSEDED, "words": answered.words}
    words = "a person has to approve it, and what the storm's question was about has changed since"
    return {"verdict": "end", "end": End.REFUSED, "words": words}


def _pass_on(own: Services, question: Question, answered: Answered) -> None:
    """Let an approval of a storm be one of each member's plan: whatever runs that looks for no other proof.

    A member whose resource has failed anew keeps the answer that it was superseded: it is left out.
    """
    for one in question.members:
        words = f"with storm {question.incident_id}: {answered.words}"
        kept = own.trail.answer(replace(answered, plan=one.plan, words=words))
        own.journal.answered(one.incident, kept)


def _turn(own: Services, decision: Decision, step: Order) -> tuple[Outcome | None, int | None]:
    """Ask on fresh reads whether a step is still needed, and run the guards again.

    Gives no outcome if the effect is to be, and the budget that then holds.
    """
    plan, number = decision.plan, step["number"]
    if step["desk"] == "held":  # nothing is read while another is at work: many may be waiting
        seen = own.evidence.get(Situation, decision.situation)
        return _waits(own, plan, step, replace(seen, now=own.clock()), _DESK_HELD), None
    seen = _survey(own, plan, _evidence_for(own, plan, number), step=number, desk=step["desk"])
    turn = ACTIONS[plan.action].turn(plan, number, seen)
    match turn:
        case Unneeded(words):
            own.journal.unneeded(plan, number, words)
            return Outcome(status=Status.UNNEEDED, words=words), None
        case NotYet(words) if not seen.missing_permissions:  # what Azure refuses us no waiting brings
            if step.get("waits", 0) >= _MOST_WAITS:
                return Outcome(status=Status.REFUSED, words=f"{words}, after {_MOST_WAITS} looks"), None
            return _waits(own, plan, step, seen, words), None
        case Stop(words):
            is_void = _approval(own, plan) is not None and not guards.has_begun(plan, seen)
            return Outcome(status=Status.VOID if is_void else Status.REFUSED, words=words), None
        case _:
            return _permitted(own, plan, step, seen)


def _permitted(own: Services, plan: Plan, step: Order, seen: Situation) -> tuple[Outcome | None, int | None]:
    """Run the guards right before an effect: no outcome if it is to be, and the budget that then holds."""
    again = _decide(own, plan, seen)
    is_approved = (approval := _approval(own, plan)) is not None
    if approval is not None:  # a walk that began anew may not have asked: what it goes by is to be proved all the same
        _prove(own, plan.diagnosis.incident.id, approval)
    when = f"before call {step['number'] + 1}, attempt {step['attempt']}"
    own.journal.decided(again, when=f"{when}, approved" if is_approved else when, kept=step["decision"])
    if is_approved and not guards.has_begun(plan, seen):
        if plan.policy_version != own.policy.version:
            return Outcome(status=Status.VOID, words="the policy has changed since it was approved"), None
        if rules.voids(again.refusals):
            return Outcome(status=Status.VOID, words=_refusal(again)), None
    if again.verdict is Verdict.RUN or (again.verdict is Verdict.ASK and is_approved):
        return None, None if guards.has_begun(plan, seen) else again.budget
    is_unknown = again.refusals and all(one.answer is Answer.UNKNOWN for one in again.refusals)
    if is_unknown and guards.has_begun(plan, seen) and step.get("waits", 0) < _MOST_WAITS:
        return _waits(own, plan, step, seen, _refusal(again)), None  # a plan is not left in the middle for one bad read
    if again.verdict is Verdict.REFUSE:
        return Outcome(status=Status.REFUSED, words=_refusal(again)), None
    nobody = "" if is_approved else ": nobody approved it"
    return Outcome(status=Status.REFUSED, words=f"{again.mode_words}{nobody}"), None


def _barred(own: Services, plan: Plan, number: int, attempt: int) -> Outcome | None:
    """Give why an attempt may not be made whatever else holds: an order of the hub is not proof, the trail is."""
    incident = plan.diagnosis.incident
    before = own.trail.outcome(plan.digest, number, attempt - 1) if attempt > 1 else None
    if planning.plan_digest(plan) != plan.digest:
        words = "the plan is not the one that its digest names"
    elif own.trail.ended(incident.id) is not None:
        words = "the incident has ended"
    elif attempt > 1 and (before is None or before.status not in _SENT_ANEW):
        words = f"nothing on the trail permits attempt {attempt}"
    else:
        return None
    log.error("order.barred", plan=plan.digest[:12], step=number, attempt=attempt, why=words)
    return Outcome(status=Status.REFUSED, words=words)


def _approval(own: Services, plan: Plan) -> Answered | None:
    """Give people's approval of this very plan; None without one. The trail says so, not the hub."""
    answered = own.trail.answered(plan.digest)
    return answered if answered is not None and answered.approved is True else None


def _prove(own: Services, incident_id: str, answered: Answered) -> None:
    """Put an answer and its votes on the incident's record: whoever kept one may have died before it was there."""
    for vote in own.trail.votes(answered.plan):
        own.journal.voted(incident_id, vote)
    own.journal.answered(incident_id, answered)


def _waits(own: Services, plan: Plan, step: Order, seen: Situation, words: str) -> Outcome:
    """Give the outcome of a step whose turn has not come, as long as there is time."""
    own.journal.waits(plan, step["number"], words)
    late = guards.in_time(plan, seen)
    if late.answer is not Answer.ALLOW:
        return Outcome(status=Status.REFUSED, words=f"{words}, and {late.words}")
    return Outcome(status=Status.PENDING, words=words, retry_after=_TURN_WAIT / step["scale"])


def _waits_for_azure(own: Services, decision: Decision, step: Order, error: ArmThrottled) -> Outcome:
    """Give the outcome of a step about which nothing could be read, since too much is asked of Azure."""
    seen = replace(own.evidence.get(Situation, decision.situation), now=own.clock())
    outcome = _waits(own, decision.plan, step, seen, error.why)
    is_longer = outcome.retry_after is not None and error.retry_after > outcome.retry_after
    return replace(outcome, retry_after=error.retry_after) if is_longer else outcome


def _next(step: Order, plan: Plan) -> Order:
    """Give the order for the turn of the next step of a plan."""
    number = step["number"] + 1
    return {
        **step,
        "verdict": "run",
        "number": number,
        "attempt": 1,
        "waits": 0,
        "sent": False,
        "desks": desk.keys_of(plan.target_from(number)),
        "wait_s": plan.steps[number].wait.total_seconds() / step["scale"],
    }


def _after(own: Services, step: Order, plan: Plan, outcome: Outcome) -> Order:
    """Give the order that follows an outcome: wait and look or try again, verify, go on, or end."""
    asked = outcome.retry_after.total_seconds() if outcome.retry_after is not None else 0.0
    busy_s = max(min(_BUSY_WAIT_S * 2.0 ** min(step["attempt"] - 1, 8), _LONGEST_BUSY_WAIT_S) / step["scale"], asked)
    done = {**step, "outcome": codec.dump(outcome), "sent": False, "wait_s": 0.0}
    match outcome.status:
        case Status.PENDING:
            waits = step.get("waits", 0) + (step["desk"] == "ours")
            return {**done, "wait_s": max(asked, 0.1), "waits": waits}
        case Status.UNNEEDED:
            return _next(done, plan)
        case status if status in _SENT_ANEW:
            return {**done, "attempt": step["attempt"] + 1, "wait_s": max(busy_s, 0.1)}
        case Status.ACCEPTED:
            return {**done, "sent": True}
        case Status.REJECTED:
            failed_at = codec.dump(own.clock())
            end = {"verdict": "verified", "end": End.NOT_REPAIRED, "words": outcome.words, "failed_at": failed_at}
            return {**done, **end}
        case Status.VOID:
            return {**done, "verdict": "void", "words": outcome.words}
        case _:
            ended = _ENDED.get(outcome.status, End.REFUSED)
            return {**done, "verdict": "end", "end": ended, "words": outcome.words}


def _again(own: Services, step: Order, incident: Incident) -> Order:
    """Give the order of the next try: the failure to judge is now that of our own re-run, if it came to one."""
    decision = own.evidence.get(Decision, step["decision"])
    plan, outcome = decision.plan, codec.load(Outcome, step["outcome"])
    if plan.steps[step["number"]].is_rerun:
        failed_at, sent = codec.load(datetime, step["failed_at"]), plan.rerun.body_digest
        incident = execution.next_failure(incident, outcome, failed_at=failed_at, sent_digest=sent)
    return {**_kept(step), "incident": codec.dump(incident), "try": step["try"] + 1, "last": step["words"]}


def _asked_again(step: Order) -> Order:
    """Give the order that judges the incident anew after an approval became void: the same try, another question."""
    voided = step.get("voided", 0) + 1
    return {**_kept(step), "incident": step["incident"], "try": step["try"], "void": step["plan"], "voided": voided}


def _kept(step: Order) -> Order:
    """Give what stays the same through all tries of an incident, and what the last one came to."""
    return {name: step[name] for name in ("walk", "nonce", "scale", "last", "storm") if name in step}
