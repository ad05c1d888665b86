"""``medic report``, ``medic audit`` and ``medic pause``: what the trail of this environment tells, and the one record
that a person writes to it by hand."""

import uuid
from collections.abc import Sequence
from datetime import UTC

from rich.console import Console, RenderableType
from rich.text import Text

from local import report as reporting
from local.commands import selecting, terminal
from local.commands.judged import show_diagnosis
from local.commands.selecting import Given
from local.report import Decisions, Report
from remediations import codec
from remediations.catalogue import CAUSES
from remediations.classification import classify
from remediations.headline import headline, text
from remediations.model import Actor, AuditRecord, Evidence
from remediations.policy import Pause, Scope
from remediations.services import Services
from remediations.trail import Ended, Opened, Trail

_DECIDED = {
    "run": ("would have acted", "act", "green"),
    "ask": ("would have asked", "ask", "yellow"),
    "refuse": ("would have refused", "refuse", "red"),
    "dry-run": ("dry run by policy", "dry run by policy", ""),
}
_ENDS = {"repaired": "green", "not-repaired": "red", "inconclusive": "yellow", "refused": "red", "open": "yellow"}


# ----------------------------------------------------------------------------------------------- report


def report(*, since: str, as_json: bool) -> int:
    """Tell what was and would have been done."""
    own = terminal.own_services()
    now = own.clock()
    built = reporting.build(own.trail, since=terminal.past(since, now), until=now)
    if as_json:
        terminal.say_json(built)
    else:
        _show_report(terminal.out(), built, own.settings.store)
    return terminal.DIFFERS if built.unreadable else terminal.OK


def _show_report(console: Console, built: Report, store: str) -> None:
    span = f"{terminal.moment_words(built.since)} to {terminal.moment_words(built.until)}"
    console.print(f"From {span}", style="bold")
    for lost in built.unreadable:
        console.print(Text.assemble(("left out: ", "red"), terminal.plain(lost.words)), soft_wrap=True)
    if not (built.events or built.decisions or built.ends or built.unfinished or built.done):
        console.print(f"The trail in {store} holds nothing of this time.", soft_wrap=True)
        return
    events = ", ".join(f"{count} {disposition}" for disposition, count in built.events.items())
    terminal.show(console, ("Events", events or "none"))
    _show_decisions(console, built.decisions)
    if built.done:
        console.print("What was done", style="bold")
        for one in built.done:
            head = Text.assemble(
                (one.action, "bold"), f" for {one.incident}: {one.status}, {terminal.plain(one.words)}"
            )
            call = terminal.Exact(one.call)
            terminal.show(console, (f"{one.at:%m-%d %H:%M:%S}", head), ("", call))
        console.print()
    else:
        console.print("Nothing was sent to Azure.", style="bold")
    if built.ends:
        title = "How incidents ended"
        ends = terminal.table(">Incidents", "Ended", "Cause", "Action", title=title, title_justify="left")
        for end in built.ends:
            ends.add_row(str(end.count), Text(end.end, _ENDS.get(end.end, "")), end.cause, end.action or "none")
        console.print(ends)
    for open_one in built.unfinished:
        words = f"{open_one.incident}, open since {terminal.moment_words(open_one.opened_at)}"
        console.print(Text.assemble(("not ended: ", "yellow"), terminal.plain(words)))


def _show_decisions(console: Console, decisions: tuple[Decisions, ...]) -> None:
    if not decisions:
        console.print("No repair was proposed.")
        return
    columns = (">Times", "Decision", "Cause", "Action", "Stopped by")
    decided = terminal.table(*columns, title="Decisions", title_justify="left")
    for one in decisions:
        held, real, colour = _DECIDED.get(one.would, (one.would, one.would, ""))
        guards = ", ".join(f"{guard} ({count})" for guard, count in one.guards.items())
        words = held if one.verdict == "dry-run" else real
        decided.add_row(str(one.count), Text(words, colour), one.cause, one.action, guards or "-")
    console.print(decided)
    for one in decisions:
        held, real, colour = _DECIDED.get(one.would, (one.would, one.would, ""))
        words = held if one.verdict == "dry-run" else real
        for call in one.calls if one.verdict != "run" else ():  # what ran stands below, as it was sent
            console.print(Text.assemble((f"{words}: ", colour), terminal.plain(call)), soft_wrap=True)
    console.print()


# ------------------------------------------------------------------------------------------------ audit


def audit_list(given: Given, *, as_json: bool) -> int:
    """List the incidents of the trail that are asked for, the newest first."""
    own = terminal.own_services()
    wanted = given.wanted(own.clock())
    with terminal.progress("listing incidents") as say:
        found = list(selecting.listed(own.trail, wanted, lambda seen: say(f"{seen:,} incidents looked at")))
    found.sort(key=lambda case: case.opened.at, reverse=True)
    if as_json:
        terminal.say_json({"incidents": [_incident_json(case.opened, case.ended) for case in found]})
        return terminal.OK
    console = terminal.out()
    if not found:
        held = f" for {wanted.words}" if wanted.words else ""
        console.print(terminal.plain(f"The trail in {own.settings.store} holds no incident{held}."), soft_wrap=True)
        return terminal.OK
    listed = terminal.table("Opened (UTC)", "Incident, and how it ended", show_lines=True)
    listed.columns[0].no_wrap = True
    for case in found:
        listed.add_row(f"{case.opened.at:%Y-%m-%d %H:%M}", _told(case.opened, case.ended))
    console.print(listed)
    console.print(f"{terminal.counted(len(found), 'incident')}. `medic audit show INCIDENT` tells one in full.")
    return terminal.OK


def _told(opened: Opened, ended: Ended | None) -> Text:
    """Give an incident in three lines: its id and its end, what it is about, and why it ended so."""
    label = terminal.plain(opened.incident.label)
    about = f"requests to {label}" if opened.incident.is_scoring else label
    end = str(ended.end) if ended is not None else reporting.OPEN
    head = Text.assemble(opened.incident.id, "  ", (end, f"bold {_ENDS.get(end, '')}"), (f"\n{about}", "dim"))
    if ended is None:
        return head
    return head.append(f"\n{terminal.plain(f'{ended.cause_id or "no cause named"}: {ended.words}')}")


def _incident_json(opened: Opened, ended: Ended | None) -> dict[str, object]:
    return {
        "incident": opened.incident.id,
        "resource": opened.incident.resource.path,
        "workspace": opened.incident.resource.workspace,
        "operation": opened.incident.operation,
        "scoring": codec.dump(opened.incident.scoring),
        "source": opened.incident.source,
        "failed_at": opened.incident.failed_at,
        "opened_at": opened.at,
        "ended_at": ended.at if ended is not None else None,
        "end": ended.end if ended is not None else None,
        "words": ended.words if ended is not None else None,
        "cause": ended.cause_id if ended is not None else None,
        "action": ended.action if ended is not None else None,
        "effects": ended.effects if ended is not None else None,
    }


def audit_show(name: str, *, as_json: bool) -> int:
    """Tell one incident, record by record."""
    own = terminal.own_services()
    incident_id = incident_named(own.trail, name)
    records = own.trail.records(incident_id)
    if as_json:
        terminal.say_json({"incident": incident_id, "records": records})
        return terminal.OK
    console = terminal.out()
    opened = own.trail.opened(incident_id)
    console.print(incident_id, style="bold")
    if opened is not None:
        console.print(terminal.plain(opened.incident.resource.path), style="dim", soft_wrap=True)
    for words in dict.fromkeys(_actor_words(record.actor) for record in records if record.actor.who == "medic"):
        console.print(f"by {words}, where nobody else is named", style="dim", soft_wrap=True)
    console.print()
    for record in records:
        _show_record(console, record)
    if records:
        command = f"medic audit prove {incident_id} --record {records[-1].seq}"
        console.print(f"\nProof of a record, by its number: {command}", style="dim", soft_wrap=True)
    else:
        console.print("It has no records yet.")
    _show_advice(console, own, records)
    return terminal.OK


def _show_advice(console: Console, own: Services, records: Sequence[AuditRecord]) -> None:
    """Print what its evidence comes to, with what to type: the trail itself holds no text of logs."""
    digests = [str(record.facts.get("evidence")) for record in records if record.stage == "diagnosis"]
    evidence = own.evidence.find(Evidence, digests[-1]) if digests else None
    if evidence is not None:
        console.print()
        show_diagnosis(console, classify(evidence, CAUSES, evidence_digest=digests[-1]))


def _show_record(console: Console, record: AuditRecord) -> None:
    """Print a record: its number, when, what it says, and the beginning of its hash; below, who made it if not we."""
    stage, digest = f"{terminal.plain(record.stage):<12} ", terminal.plain(record.hash[:8])
    head = Text.assemble((stage, "bold"), terminal.plain(headline(record)), (f"  {digest}", "dim"))
    rows: list[tuple[str, RenderableType]] = [(f"{record.seq:>3}  {record.at:%m-%d %H:%M:%S}", head)]
    rows += [("", Text(f"  by {_actor_words(record.actor)}", "dim"))] if record.actor.who != "medic" else []
    rows += [("", line if isinstance(line, terminal.Exact) else Text(f"  {line}", "dim")) for line in _lines(record)]
    terminal.show(console, *rows)


def _actor_words(actor: Actor) -> str:
    named = [("", actor.oid), ("client id ", actor.appid), ("of tenant ", actor.tid)]
    ids = " ".join(f"{what}{name}" for what, name in named if name)
    return terminal.plain(f"{actor.who} {ids}" if ids else f"{actor.who}, whose id is not known")


def incident_named(trail: Trail, name: str) -> str:
    """Give the id of the incident that begins so; raises CommandError unless exactly one does."""
    wanted = selecting.beginning(name)
    if wanted in {"inc-", "inc-inc"}:
        words = f"{name!r} names no incident. Give its id, or its beginning with a character or more after inc-"
        raise terminal.CommandError(f"{words}: `medic audit list` shows them.")
    found = [incident_id for incident_id in trail.incidents() if incident_id.startswith(wanted)]
    if wanted in found:
        return wanted
    if len(found) > 1:
        shown = ", ".join(found[:5])
        raise terminal.CommandError(f"{name!r} is the beginning of {len(found)} incidents: {shown}. Write more of it.")
    if not found:
        raise terminal.CommandError(f"no incident on the trail begins with {name!r}. `medic audit list` shows them.")
    return found[0]


def _lines(record: AuditRecord) -> list[str]:
    """Give the further lines of a record: evidence for and against, calls, and every guard's answer."""
    facts = record.facts
    lines: list[str] = []
    if record.stage == "diagnosis":
        for name, mark in (("supporting", "for"), ("opposing", "against")):
            lines += [f"{mark} {one.get('read')}: {one.get('says')}" for one in _dicts(facts.get(name))]
        lines += [f"rivals {text(facts['rivals'])}; to tell them apart: {facts.get('would_tell')}"] * bool(
            facts.get("rivals")
        )
    if record.stage == "plan" and "none" not in facts:
        lines += [terminal.Exact(f"  {call}") for call in _items(facts.get("calls"))]
        lines += [f"undo {facts.get('undo')}"]
        lines += [f"person {facts['needs_person']}"] if facts.get("needs_person") else []
    if record.stage == "intent":
        lines += [terminal.Exact(f"  {facts.get('call')}")]
        lines += [terminal.Exact(f"  receipt {facts['receipt']} in the evidence store")] if facts.get("receipt") else []
    if record.stage == "decision":
        lines += _guard_lines(_dicts(facts.get("guards")), is_repeat=facts.get("when") != "deciding")
    if record.stage == "evidence":
        lines += [f"Azure refused us {name}" for name in _items(facts.get("missing_permissions"))]
    if record.stage == "members":
        lines += [f"{one.get('incident')}: {one.get('resource')}" for one in _dicts(facts.get("members"))]
    return [line if isinstance(line, terminal.Exact) else terminal.plain(line) for line in lines]


def _guard_lines(answers: list[dict[str, object]], *, is_repeat: bool) -> list[str]:
    """Give every guard's answer; where all allow again, right before the effect, only that."""
    marks = {"allow": "\N{CHECK MARK}", "deny": "\N{BALLOT X}"}
    if is_repeat and all(one.get("answer") == "allow" for one in answers):
        return [f"{marks['allow']} all {len(answers)} guards allow it again, on fresh reads"]
    return [f"{marks.get(str(one.get('answer')), '?')} {one.get('guard')}: {one.get('words')}" for one in answers]


def _items(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else []


def _dicts(value: object) -> list[dict[str, object]]:
    return [item for item in _items(value) if isinstance(item, dict)]


# ------------------------------------------------------------------------------------------------ pause


def pause(*, until: str, reason: str, scope: Scope) -> int:
    """Write a pause to the trail: until then nothing is done in its scope."""
    own = terminal.own_services()
    if not 1 <= len(reason.strip()) <= 500:
        raise terminal.CommandError("--reason is empty or longer than 500 characters. Say why, for those who wonder.")
    made = Pause(until=terminal.future(until, own.clock()), reason=reason.strip(), scope=scope)
    own.trail.pause(made, uuid.uuid4().hex[:12])
    words = f"Paused until {terminal.moment_words(made.until)}: {made.scope}."
    terminal.out().print(terminal.plain(words), style="bold", soft_wrap=True)
    terminal.out().print("It holds at once, for every instance that reads this trail, and ends by itself.")
    return terminal.OK


def pauses(*, as_json: bool) -> int:
    """List the pauses that hold now, those of the policy too."""
    own = terminal.own_services()
    now = own.clock()
    held = [("policy", one) for one in own.policy.pauses if one.until > now]
    held += [("trail", one) for one in own.trail.pauses(now)]
    held.sort(key=lambda pair: pair[1].until)
    if as_json:
        terminal.say_json({"pauses": [{"from": source, **codec.dump(one)} for source, one in held]})
        return terminal.OK
    console = terminal.out()
    if not held:
        console.print("No pause holds.")
        return terminal.OK
    listed = terminal.table("Until (UTC)", "Scope", "Reason", "From")
    for source, one in held:
        scope, reason = terminal.plain(str(one.scope)), terminal.plain(one.reason)
        listed.add_row(f"{one.until.astimezone(UTC):%Y-%m-%d %H:%M}", scope, reason, source)
    console.print(listed)
    return terminal.OK
