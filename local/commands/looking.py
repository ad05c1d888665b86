"""``medic scan`` and ``medic plan``: what failed, why, and what would be done. Nothing is written anywhere."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from textwrap import shorten

from msgspec.structs import replace
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text

from local.commands import judged as shown
from local.commands import terminal
from local.commands.payload import events_in
from local.scan import (
    Bench,
    Judged,
    ReadOnlyStore,
    Seen,
    checked_workspace,
    correlated,
    dated,
    judge,
    look,
    workspace_path,
)
from local.scan import workspaces_named as named
from remediations import discovery, intake
from remediations import settings as environment
from remediations.enrichment import API_VERSION
from remediations.model import Found, Incident, NoPlan, Reception, load_words, reading_words
from remediations.services import Services
from remediations.settings import Settings
from remediations.trail import Trail

_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_MOST_ERROR = 240  # characters of an error in a table; --json has all of it


def bench_of(own: Services) -> Bench:
    """Give what judging needs, of this environment; the trail is looked at once, so that a bad one is told first."""
    trail = Trail(ReadOnlyStore(own.trail.store))
    next(iter(trail.store.list("pauses/")), None)
    terminal.own_reads(own)
    return Bench(
        settings=own.settings, policy=own.policy, trail=trail, reads=lambda: own.reads(is_patient=True), clock=own.clock
    )


# ------------------------------------------------------------------------------------------------- plan


def plan(file: str, *, as_json: bool, arm_url: str | None) -> int:
    """Tell what would be done about the events in a file."""
    events = events_in(file)
    own = terminal.own_services()
    if arm_url is not None:
        own = Services(_at(own.settings, arm_url))
    bench = bench_of(own)
    answers: list[tuple[Reception, Judged | None, str]] = []
    for event in events:
        reception = intake.receive(event, received_at=bench.clock(), subscriptions=bench.policy.subscriptions)
        incident = reception.incident
        if incident is None:
            answers.append((reception, None, _set_aside(reception)))
            continue
        _refuse_unreadable(incident, bench)
        incident = bench.trail.with_joined(correlated(incident, bench))
        answers.append((reception, judge(incident, bench, report=reception.report), _known(incident, bench)))
    if as_json:
        terminal.say_json({"events": [_event_json(*answer) for answer in answers]})
    else:
        console = terminal.out()
        for number, answer in enumerate(answers):
            if number:
                console.rule(style="dim")
            _show_event(console, *answer)
    return terminal.OK


def _at(settings: Settings, arm_url: str) -> Settings:
    """Give the settings with another Resource Manager, as strictly read as the environment's own."""
    checked = environment.load({"MEDIC_ARM_URL": arm_url, "MEDIC_ARM_TOKEN": settings.arm_token or ""})
    return replace(settings, arm_url=checked.arm_url, arm_scope=checked.arm_scope, arm_token=checked.arm_token)


def _refuse_unreadable(incident: Incident, bench: Bench) -> None:
    """One read first: without it nothing else would tell anything, and slowly."""
    path = incident.resource.workspace_path
    reading = bench.reads().get(f"{path}?api-version={API_VERSION}")
    if not isinstance(reading, Found):
        raise terminal.AzureUnreadable(f"workspace {path}", reading_words(reading))


def _set_aside(reception: Reception) -> str:
    if reception.handshake is not None:
        return "a subscription handshake: it would be answered"
    if reception.repaired is not None:
        return "it reports a deployed model: it can corroborate a repair, and starts none"
    return f"ignored: {reception.ignored}"


def _known(incident: Incident, bench: Bench) -> str:
    ended = bench.trail.ended(incident.id)
    if ended is not None:
        return f"on the trail, ended {terminal.moment_words(ended.at)}: {ended.end}; a further event is a duplicate"
    return "on the trail, not ended" if bench.trail.opened(incident.id) is not None else ""


def _event_json(reception: Reception, judged: Judged | None, words: str) -> dict[str, object]:
    event = {"event": reception.event_id, "type": reception.event_type}
    if judged is None:
        return {**event, "ignored": words, "incident": None}
    return {**event, "ignored": None, **shown.as_json(judged)}


def _show_event(console: Console, reception: Reception, judged: Judged | None, words: str) -> None:
    rows = [("Event", terminal.plain(f"{reception.event_type} {reception.event_id}"))]
    if judged is None:
        terminal.show(console, *rows, ("Incident", terminal.plain(f"none: {words}")))
        return
    incident = judged.incident
    rows += [
        ("Incident", incident.id),
        ("  resource", incident.resource.label),
        ("  failed", f"{incident.operation}, {shown.when_words(judged)}"),
        ("  state", judged.state),
    ]
    if incident.scoring is not None:
        load = load_words(judged.evidence.load)
        rows += [("  alert", terminal.plain(incident.scoring.words)), ("  metrics", terminal.plain(load))]
    rows += [("  known", words)] if words else []
    rows += [("  we lack", name) for name in judged.evidence.missing_permissions]
    terminal.show(console, *rows)
    console.print()
    shown.show_diagnosis(console, judged.diagnosis)
    console.print()
    shown.show_plan(console, judged.plan)
    if judged.decision is not None:
        console.print()
        shown.show_decision(console, judged.decision)
        console.print()
        console.print(shown.verdict_words(judged.decision), style="bold")


# ------------------------------------------------------------------------------------------------- scan


def scan(*, subscription: str | None, workspace: str | None, group: str | None, as_json: bool) -> int:
    """Diagnose every failed or canceled deployment and endpoint."""
    own = terminal.own_services()
    bench = bench_of(own)
    missed: list[str] = []
    with _progress() as (looking, judging):
        seen = look(bench, _targets(bench, subscription, workspace, group, missed), step=looking)
        seen = replace(seen, unread=(*missed, *seen.unread))
        if not seen.workspaces and seen.unread:
            first = seen.unread[0]
            raise terminal.AzureUnreadable(*first.split(" cannot be listed: ", 1))
        failures = []
        for number, (incident, since) in enumerate(seen.broken):
            judging(incident.resource.label, number, len(seen.broken))
            failures.append(judge(dated(incident, since, bench), bench))
    failures.sort(key=lambda one: one.incident.failed_at, reverse=True)
    if as_json:
        terminal.say_json(
            {
                "workspaces": seen.workspaces,
                "endpoints": seen.endpoints,
                "failed": [shown.as_json(one) for one in failures],
                "unread": seen.unread,
            }
        )
    else:
        _show_scan(seen, failures, bench)
    return terminal.DIFFERS if failures or seen.unread else terminal.OK


def _targets(
    bench: Bench, subscription: str | None, workspace: str | None, group: str | None, missed: list[str]
) -> Iterator[str]:
    """Give the workspaces to look at; what lists could not be read is added to `missed`."""
    try:
        if workspace is not None and workspace.startswith("/"):
            yield checked_workspace(workspace)
            return
        subscriptions = (subscription,) if subscription else bench.policy.subscriptions
        if workspace is not None and group is not None and len(subscriptions) == 1:
            yield workspace_path(subscriptions[0], group, workspace)
            return
    except ValueError as error:
        fix = "Copy it from the workspace's JSON view, or give its name with --subscription."
        raise terminal.CommandError(f"{error}. {fix}") from error
    if not subscriptions:
        fix = "Name one with --subscription, list some in policy.yaml, or give a workspace's whole ID."
        raise terminal.CommandError(f"there is no subscription to scan. {fix}")
    for one in subscriptions:
        if not _GUID.fullmatch(one):
            raise terminal.CommandError(f"subscription {one!r} is not a GUID. `az account list` shows the IDs.")
    found = 0
    for one in subscriptions:
        try:
            paths = named(bench.reads(), one, name=workspace, group=group)
        except discovery.NotListed as error:
            missed.append(str(error))
            continue
        found += len(paths)
        yield from paths
    if not found and not missed and (workspace or group):
        parts = [f"workspace {workspace!r}"] if workspace else ["workspace"]
        parts += [f"resource group {group!r}"] if group else []
        where = f"subscription {', '.join(subscriptions)}"
        words = f"there is no {' in '.join(parts)} in {where}. Check the names, or that you may read it."
        raise terminal.CommandError(words)


@contextmanager
def _progress() -> Iterator[tuple[Callable[[str], None], Callable[[str, int, int], None]]]:
    console = terminal.err()
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        lists = bars.add_task("listing", total=None)
        failures = bars.add_task("diagnosing", total=None, visible=False)

        def looking(workspace: str) -> None:
            bars.update(lists, description=terminal.plain(f"listing {workspace}"), advance=1)

        def judging(resource: str, done: int, total: int) -> None:
            words = terminal.plain(f"diagnosing {resource}")
            bars.update(failures, description=words, completed=done, total=total, visible=True)

        yield looking, judging


def _show_scan(seen: Seen, failures: list[Judged], bench: Bench) -> None:
    console = terminal.out()
    if failures:
        listed = terminal.table("Failed", "Cause", "What would be done", show_lines=True)
        for one in failures:
            listed.add_row(*_row(one))
        console.print(listed)
    where = f"{terminal.counted(seen.workspaces, 'workspace')}, {terminal.counted(seen.endpoints, 'endpoint')}"
    console.print(f"{where}: {len(failures)} failed or canceled", style="bold")
    for words in seen.unread:
        what, _, why = words.partition(" cannot be listed: ")
        said = terminal.plain(f"{what}: {terminal.reason_of(why)}")
        console.print(Text.assemble(("not read: ", "yellow"), said), soft_wrap=True)
    if seen.unread:
        console.print("What was not read may hold further failures.")
    if any(one.decision is not None for one in failures):
        words = f"Judged by {bench.settings.policy} of this machine; the app may have another policy."
        console.print(words, style="dim", soft_wrap=True)


def _row(one: Judged) -> tuple[Text, Text, Text]:
    incident, diagnosis, plan = one.incident, one.diagnosis, one.plan
    age = terminal.span_words(one.evidence.collected_at - incident.failed_at)
    resource = Text.assemble(terminal.plain(incident.resource.label), (f"\n{one.state}, {age} ago", "dim"))
    cause = Text.assemble((diagnosis.cause_id, "bold"), (f"\n{diagnosis.level}", "dim"))
    if isinstance(plan, NoPlan):
        told = shorten(terminal.plain(diagnosis.message), _MOST_ERROR, placeholder=" \N{HORIZONTAL ELLIPSIS}")
        return resource, cause, Text.assemble((f"{told}\n" if told else "", "dim"), terminal.plain(plan.words))
    done = Text.assemble((f"{plan.action}: ", "bold"), terminal.plain(plan.effect))
    if one.decision is not None:
        done.append("\nwould ", "dim").append_text(shown.would_words(one.would))
        refused = "; ".join(terminal.plain(answer.words) for answer in one.decision.refusals)
        done.append(f": {refused}" if refused else "", "dim")
    return resource, cause, done
