"""What the trail of some days tells: trail -> `Report`. Reads the trail, and nothing else.

What dry run is for: what would have been done, asked and refused, by cause, action and guard, with the exact calls;
beside it what was really done, and how incidents ended.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct

from remediations.errors import RecordUnreadable
from remediations.model import AuditRecord
from remediations.trail import Ended, Opened, Trail

OPEN = "open"


class Decisions(Struct, frozen=True, kw_only=True):
    """Decisions of one kind on one cause and action.

    Attributes:
        would: What the verdict was without the ceiling of MEDIC_MODE: ``run``, ``ask``, ``refuse``, ``dry-run``.
        verdict: What it was with it; ``dry-run`` if only that ceiling, or policy, held it back.
        count: How many; an incident that was tried twice was decided twice.
        calls: The exact calls, each once.
        guards: Guard -> how often it did not allow.
    """

    would: str
    verdict: str
    cause: str
    action: str
    count: int
    incidents: tuple[str, ...]
    calls: tuple[str, ...]
    guards: dict[str, int]


class Done(Struct, frozen=True, kw_only=True):
    """One call that was really sent, or was about to be. `status` is ``open`` while nobody knows its outcome."""

    at: datetime
    incident: str
    action: str
    call: str
    status: str
    words: str


class Ends(Struct, frozen=True, kw_only=True):
    """Incidents of one cause that ended in one way."""

    end: str
    cause: str
    action: str | None
    count: int


class Unfinished(Struct, frozen=True, kw_only=True):
    """An incident that has not ended."""

    incident: str
    resource: str
    opened_at: datetime


class Unreadable(Struct, frozen=True, kw_only=True):
    """What the report leaves out, and why: an incident, or a delivery, of which the words tell."""

    incident: str
    words: str


class Report(Struct, frozen=True, kw_only=True):
    """What happened from `since` until `until`.

    Attributes:
        events: Disposition -> delivered events.
    """

    since: datetime
    until: datetime
    events: dict[str, int]
    decisions: tuple[Decisions, ...]
    done: tuple[Done, ...]
    ends: tuple[Ends, ...]
    unfinished: tuple[Unfinished, ...]
    unreadable: tuple[Unreadable, ...] = ()


def build(trail: Trail, *, since: datetime, until: datetime) -> Report:
    """Give the report of a time; raises StoreError if the trail cannot be read."""
    records: list[AuditRecord] = []
    ends: list[Ended] = []
    unfinished: list[Unfinished] = []
    unreadable: list[Unreadable] = []
    events = _events(trail, since, until, unreadable)
    for incident_id in trail.incidents():
        try:
            ended, opened = trail.ended(incident_id), trail.opened(incident_id)
            if (ended is not None and ended.at < since) or opened is None or opened.at > until:
                continue
            records += [record for record in trail.records(incident_id) if since <= record.at <= until]
        except RecordUnreadable as error:
            unreadable.append(Unreadable(incident=incident_id, words=str(error)))
            continue
        except ValueError as error:
            words = f"how {incident_id} opened or ended cannot be read ({error}): `medic audit verify`"
            unreadable.append(Unreadable(incident=incident_id, words=f"{words} tells what was changed"))
            continue
        if ended is None:
            unfinished.append(_unfinished(incident_id, opened))
        elif ended.at <= until and opened.incident.storm is None:  # its members are counted
            ends.append(ended)
    return Report(
        since=since,
        until=until,
        events=events,
        decisions=_decisions(records),
        done=_done(records),
        ends=_ends(ends),
        unfinished=tuple(sorted(unfinished, key=lambda one: one.opened_at)),
        unreadable=tuple(unreadable),
    )


def _unfinished(incident_id: str, opened: Opened) -> Unfinished:
    return Unfinished(incident=incident_id, resource=opened.incident.resource.path, opened_at=opened.at)


def _events(trail: Trail, since: datetime, until: datetime, unreadable: list[Unreadable]) -> dict[str, int]:
    first = next(iter(trail.store.list("intake/")), None)  # names are in order of their day
    if first is None:
        return {}
    begin = max(since, datetime.fromisoformat(first.split("/")[1]).replace(tzinfo=UTC))
    days = (begin + timedelta(days=number) for number in range((until.date() - begin.date()).days + 1))
    counted: Counter[str] = Counter()
    for name in (name for day in days for name in trail.intake_names(day)):
        try:
            intake = trail.intake(name)
        except ValueError as error:
            words = f"the delivery {name} cannot be read ({error}): `medic audit verify` tells what was changed"
            unreadable.append(Unreadable(incident="", words=words))
            continue
        counted[str(intake.disposition)] += since <= intake.at <= until
    return dict((+counted).most_common())


def _decisions(records: Iterable[AuditRecord]) -> tuple[Decisions, ...]:
    groups: dict[tuple[str, str, str, str], list[AuditRecord]] = {}
    # A repeated activity may have decided twice on one plan: the last word counts.
    deciding = [record for record in records if record.stage == "decision" and record.facts.get("when") == "deciding"]
    for record in {(record.incident, record.facts.get("plan")): record for record in deciding}.values():
        facts = record.facts
        would, verdict, cause, action = (str(facts.get(name)) for name in ("would", "verdict", "cause", "action"))
        groups.setdefault((would, verdict, cause, action), []).append(record)
    return tuple(
        Decisions(
            would=would,
            verdict=verdict,
            cause=cause,
            action=action,
            count=len(group),
            incidents=tuple(dict.fromkeys(record.incident for record in group)),
            calls=tuple(dict.fromkeys(call for record in group for call in _texts(record.facts.get("calls")))),
            guards=_refusals(group),
        )
        for (would, verdict, cause, action), group in sorted(groups.items(), key=_weight)
    )


def _weight(group: tuple[tuple[str, ...], list[AuditRecord]]) -> tuple[int, int, tuple[str, ...]]:
    order = ("run", "ask", "dry-run", "refuse")
    key, records = group
    return (order.index(key[0]) if key[0] in order else len(order), -len(records), key)


def _refusals(group: Iterable[AuditRecord]) -> dict[str, int]:
    counted: Counter[str] = Counter()
    for record in group:
        answers: Any = record.facts.get("guards")
        for answer in answers if isinstance(answers, list) else []:
            if isinstance(answer, dict) and answer.get("answer") != "allow":
                counted[str(answer.get("guard"))] += 1
    return dict(counted.most_common())


def _done(records: Iterable[AuditRecord]) -> tuple[Done, ...]:
    intents: dict[tuple[str, ...], AuditRecord] = {}
    outcomes: dict[tuple[str, ...], AuditRecord] = {}
    for record in records:
        key = (record.incident, *(str(record.facts.get(name)) for name in ("plan", "step", "attempt")))
        if record.stage in {"intent", "outcome"}:
            (intents if record.stage == "intent" else outcomes)[key] = record
    found: list[Done] = []
    for pair, intent in intents.items():
        outcome = outcomes[pair].facts if pair in outcomes else {}
        found.append(
            Done(
                at=intent.at,
                incident=intent.incident,
                action=str(intent.facts.get("action")),
                call=str(intent.facts.get("call")),
                status=str(outcome.get("status", OPEN)),
                words=str(outcome.get("words", "its outcome is not on the trail")),
            )
        )
    return tuple(sorted(found, key=lambda one: one.at))


def _ends(ends: Iterable[Ended]) -> tuple[Ends, ...]:
    counted = Counter((str(ended.end), ended.cause_id or "unknown", ended.action) for ended in ends)
    return tuple(
        Ends(end=end, cause=cause, action=action, count=count) for (end, cause, action), count in counted.most_common()
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list) else ()
