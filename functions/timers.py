"""Timers: the sweep for what no event told of and what was left unfinished, and the purge of finished histories."""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import NamedTuple

import azure.durable_functions as df
import structlog
from durabletask.client import OrchestrationStatus

from functions import activities, storms
from functions.events import is_running, muster_of, order_of, ring, schedule, start
from functions.logs import in_thread
from remediations import admission, codec, discovery, telling
from remediations.approval import rules
from remediations.approval.notice import Kind
from remediations.model import Disposition, End, Incident, Json, Outcome, Reception, Status
from remediations.proof import anchoring
from remediations.services import Services, services
from remediations.trail import Intake, Intent, Opened, Question, asked_about

log = structlog.get_logger()

_KEEP_HISTORIES = timedelta(days=30)
_TOLD_WITHIN, _TELLS_ITSELF = timedelta(hours=6), timedelta(minutes=5)
_INTAKE_GRACE = timedelta(minutes=5)
_EVERY = timedelta(minutes=15)  # how often the sweep runs: triggers.py
_MOST_WORKSPACES = 20  # that one sweep looks at in a subscription: all have been looked at long before a day is over
_SWEPT_WITHIN = timedelta(days=1)  # a sweep that could not run for a while still finds what ended meanwhile
_LAST_CALL = timedelta(hours=3)  # one that was sent right before the ceiling is followed for two hours and some minutes
_FINISHED = [OrchestrationStatus.COMPLETED, OrchestrationStatus.FAILED, OrchestrationStatus.TERMINATED]


async def sweep(client: df.DurableFunctionsClient) -> None:
    """Start what was claimed and not ended, what was acknowledged and not claimed, and what no event told of."""
    own = await in_thread(services)
    open_ids = await in_thread(own.trail.unended)
    running_ids = [one for one in open_ids if await is_running(client, one)]
    await in_thread(_tell_stuck, own, running_ids)
    idle_ids = sorted({*open_ids} - {*running_ids})
    unfinished = await in_thread(lambda: dict(_unfinished(own, idle_ids)))
    restarted = [
        instance for instance, order in unfinished.items() if await schedule(client, instance, order, _name_of(order))
    ]
    closed = await _close_intents(own, client)
    found = await in_thread(lambda: list(_unseen(own)))
    started = 0
    for reception, admitted in found:
        if admitted.incident is not None:
            done = await start(admitted, admitted.incident, client, own)
            started += done.disposition is Disposition.INCIDENT
            await in_thread(_record, own, reception, done)
    unheard = await in_thread(lambda: list(_unheard(own, open_ids)))
    for incident_id, plan in unheard:
        await ring(client, incident_id, plan)
    ends = await in_thread(lambda: list(_ends(own, open_ids)))
    untold = await in_thread(lambda: list(_untold(own, ends)))
    told = [key for key, order in untold if await schedule(client, key, order, name="notify")]
    log.info(
        "sweep.done",
        restarted=len(restarted),
        closed=closed,
        started=started,
        rung=len(unheard),
        listed=sum(not one.was_listed for one in ends),
        told=len(told),
    )


async def purge(client: df.DurableFunctionsClient) -> None:
    """Forget the histories of what finished 30 days ago: they hold texts. The trail stays."""
    own = await in_thread(services)
    until = own.clock() - _KEEP_HISTORIES
    purged = await client.purge_orchestrations_by(created_time_to=until, runtime_status=_FINISHED)
    log.info("histories.purged", count=purged.deleted_instance_count)


def anchor() -> None:
    """Sign the state of the trail, if it has grown, and let the signed checkpoint leave the house."""
    own = services()
    if own.settings.anchor_key is None:
        log.warning("checkpoint.skipped", why="MEDIC_ANCHOR_KEY is not set: nothing proves the trail")
        return
    anchored = anchoring.anchor(own.trail.store, own.settings.anchor_key, own.clock())
    for finding in anchored.findings:
        log.error("trail.broken", **codec.dump(finding))
    if anchored.checkpoint is not None and anchored.is_new:
        log.info("checkpoint.written", **codec.dump(anchored.checkpoint))  # the log is kept elsewhere: so is this
        told = None if own.witness is None else own.witness.keep(anchored.checkpoint)
        if told is not None and not told.taken:
            log.error("checkpoint.untold", number=anchored.checkpoint.number, why=told.words)


def _tell_stuck(own: Services, running_ids: Iterable[str]) -> None:
    """Tell of the incidents whose walks run and should long be over."""
    for incident_id in running_ids:
        with _unreadable_is_told("incident.unreadable", incident_id):
            opened = own.trail.opened(incident_id)
            if opened is not None:
                _tell_if_stuck(opened, own.policy.longest_ceiling, own.clock())


def _unfinished(own: Services, idle_ids: Iterable[str]) -> Iterator[tuple[str, dict[str, Json]]]:
    """Give the walks to start again: a claimed one goes on under its own nonce, and one that runs by now refuses."""
    for incident_id in idle_ids:
        with _unreadable_is_told("incident.unreadable", incident_id):
            yield from _claimed(own, incident_id)
    musters: set[str] = set()
    now = own.clock()
    for day in (now - timedelta(days=1), now):
        for name in own.trail.starting_names(day):
            with _unreadable_is_told("intake.unreadable", name):
                record = own.trail.intake(name)
                if record.storm is None:
                    yield from _unclaimed(own, record, now)
                elif record.storm not in musters:
                    musters.add(record.storm)
                    if storms.is_unfinished(own, record.storm):
                        yield muster_of(record.storm, own)


def _claimed(own: Services, incident_id: str) -> Iterator[tuple[str, dict[str, Json]]]:
    opened = own.trail.opened(incident_id)
    if opened is None:
        return
    _tell_if_stuck(opened, own.policy.longest_ceiling, own.clock())
    walk = storms.to_restart(own, opened)
    if walk is not None:
        yield walk


def _name_of(order: dict[str, Json]) -> str:
    return "remediate" if "incident" in order else "mustering"


def _tell_if_stuck(opened: Opened, ceiling: timedelta, now: datetime) -> None:
    if is_stuck(opened.at, ceiling, now):
        minutes = int((now - opened.at).total_seconds() // 60)
        log.warning(
            "incident.stuck",
            incident_id=opened.incident.id,
            resource=opened.incident.resource.label,
            open_minutes=minutes,
        )


def is_stuck(opened_at: datetime, ceiling: timedelta, now: datetime) -> bool:
    """Tell whether an open incident should long be over: nothing is begun after the longest ceiling of all actions."""
    return now - opened_at > ceiling + _LAST_CALL


def _unclaimed(own: Services, record: Intake, now: datetime) -> Iterator[tuple[str, dict[str, Json]]]:
    """Give the walk of an event that had its time; a parked one waits as long as another works on its resource."""
    incident = record.incident
    is_old = now - record.at > _INTAKE_GRACE / own.settings.time_scale
    if incident is None or not is_old or own.trail.opened(incident.id) is not None:
        return
    if record.disposition is Disposition.PARKED:
        others = own.trail.incidents_on(incident.resource.key)
        if any(other.id != incident.id and own.trail.is_worked_on(other) for other in others):
            return
    yield incident.id, order_of(incident, own)


@contextmanager
def _unreadable_is_told(event: str, name: str) -> Iterator[None]:
    """Get past a record that cannot be read: it keeps its own walk from going on, and no other."""
    try:
        yield
    except ValueError as error:
        log.error(event, name=name, why=str(error))  # noqa: TRY400 - the record is at fault, no line of ours


def _unseen(own: Services) -> Iterator[tuple[Reception, admission.Admission]]:
    """Give the failures of the watched subscriptions that no event told of, old enough for one to have come.

    Of many workspaces some have their turn, others at the next sweep; a subscription that is throttled has its own
    again then.
    """
    now = own.clock()
    for subscription in own.policy.subscriptions:
        reads = own.reads(is_patient=True)
        listed = _listed(lambda: discovery.workspaces(reads, subscription))  # noqa: B023 - called at once
        for workspace in _whose_turn_it_is(list(filter(own.settings.watches, listed)), now):
            reads = own.reads(is_patient=True)
            for incident, age in _listed(lambda: discovery.failed(reads, workspace, source="sweep", now=now)):  # noqa: B023
                if discovery.is_due(age, own.settings.time_scale):
                    with _unreadable_is_told("trail.unreadable", incident.resource.key):
                        yield _admitted(own, incident)
            if reads.throttled() is not None:
                break


def _whose_turn_it_is(workspaces: list[str], now: datetime) -> list[str]:
    """Give the workspaces that this sweep looks at: as many as it may, from where the last one ended."""
    if len(workspaces) <= _MOST_WORKSPACES:
        return workspaces
    first = int(now.timestamp() / _EVERY.total_seconds()) * _MOST_WORKSPACES % len(workspaces)
    log.info("sweep.partial", workspaces=_MOST_WORKSPACES, of=len(workspaces))
    return [*workspaces, *workspaces][first : first + _MOST_WORKSPACES]


def _unheard(own: Services, open_ids: Collection[str]) -> Iterator[tuple[str, str]]:
    """Give the questions that people have answered, for walks that have not heard of it.

    Most questions wait for their first answer, and are not read for it.
    """
    voted = own.trail.voted() if open_ids else frozenset()
    for incident_id in open_ids if voted else ():
        with _unreadable_is_told("incident.unreadable", incident_id):
            records = own.trail.records(incident_id, {"question", "answer"})
            heard = {record.key for record in records if record.stage == "answer"}
            for question in (own.trail.question(plan) for plan in asked_about(records) if plan in voted):
                if question is not None and f"answer:{question.plan}" not in heard and _is_answered(own, question):
                    yield incident_id, question.plan


def _is_answered(own: Services, question: Question) -> bool:
    votes = own.trail.votes(question.plan)
    return own.trail.answered(question.plan) is not None or rules.outcome(question, votes, own.clock()) is not None


class _Over(NamedTuple):
    """That an incident is over, and whether the register knew it."""

    incident: str
    end: End
    at: datetime
    was_listed: bool = True


def _ends(own: Services, open_ids: Collection[str]) -> Iterator[_Over]:
    """Give how incidents of the last days ended, and put into the register the ends that it does not know.

    Whoever wrote such a line died, or the store refused it, and the walk was lost with the hub: the incident stood as
    running, and nobody was told.
    """
    now = own.clock()
    longest = own.policy.longest_ceiling + own.policy.approval_window
    for case in own.trail.register.cases(now - longest - _SWEPT_WITHIN, now):
        if case.end is not None and case.ended_at is not None:
            yield _Over(case.id, case.end, case.ended_at)
        elif case.id not in open_ids:
            with _unreadable_is_told("incident.unreadable", case.id):
                ended = own.trail.ended(case.id)
                if ended is not None:
                    own.trail.end_incident(ended, now)
                    yield _Over(case.id, ended.end, ended.at, was_listed=False)


def _untold(own: Services, ends: Iterable[_Over]) -> Iterator[tuple[str, dict[str, Json]]]:
    """Give what some channel still has to be told of ends of the last hours: it was lost with the hub."""
    now = own.clock()
    since, until = now - _TOLD_WITHIN, now - _TELLS_ITSELF / own.settings.time_scale
    for one in ends if own.notifiers else ():
        order = telling.of_end(own, one.incident, one.end) if since < one.at < until else None
        if order is not None and {channel.name for channel in own.notifiers} - telling.done(own, order):
            yield f"tell-{order['key']}", order


async def _close_intents(own: Services, client: df.DurableFunctionsClient) -> int:
    """Close what ended incidents left open; give how many. Who has to look is told before: a sweep that dies in
    between finds the intent open, and tells again."""
    found = await in_thread(activities.left_open)
    for intent, outcome in found:
        order = await in_thread(_unclear, own, intent, outcome)
        if order is not None:
            await schedule(client, f"tell-{order['key']}", order, name="notify")
        await in_thread(activities.close_intent, intent, outcome)
    return len(found)


def _unclear(own: Services, intent: Intent, outcome: Outcome) -> dict[str, Json] | None:
    """Give what people are to be told of an effect that the world does not show; None if they know that it is so."""
    order = telling.order(own, intent.incident_id, Kind.INCONCLUSIVE) if outcome.status is Status.UNCLEAR else None
    if order is None or not {channel.name for channel in own.notifiers} - telling.done(own, order):
        return None
    return {**order, "since": outcome.words}


def _listed[T](items: Callable[[], Iterable[T]]) -> Iterator[T]:
    """Give the items up to where a list cannot be read; what that one would have shown, another sweep will."""
    try:
        yield from items()
    except discovery.NotListed as error:
        log.warning("sweep.incomplete", why=str(error))


def _admitted(own: Services, incident: Incident) -> tuple[Reception, admission.Admission]:
    reception = Reception(
        event_id=incident.event_id, event_type="sweep", resource=incident.resource.path, incident=incident
    )
    admitted = admission.admit(
        reception, trail=own.trail, own=lambda: own.own, reads=own.reads, now=own.clock(), limits=own.policy.storm
    )
    return reception, admitted


def _record(own: Services, reception: Reception, admitted: admission.Admission) -> None:
    record = Intake(
        at=own.clock(),
        event_id=reception.event_id,
        event_type=reception.event_type,
        disposition=admitted.disposition,
        resource=reception.resource,
        incident=admitted.incident,
        incident_id=admitted.incident_id,
        storm=admitted.storm if admitted.incident is not None else None,
    )
    own.trail.record_intake(record, record.incident.id[-12:] if record.incident is not None else "sweep")
