"""``medic replay``: what another policy, or another ceiling, would have decided on the incidents of the trail."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from local.commands import terminal
from local.scan import ReadOnlyStore
from remediations import codec
from remediations import policy as policies
from remediations import settings as environment
from remediations.actions import ACTIONS
from remediations.model import GuardAnswer, Mode, ResourceId
from remediations.ports import Store
from remediations.replay import GuardChange, Kind, Replayed, Side, WhatIf, totals
from remediations.replay import replay as replay_one
from remediations.services import EvidenceStore, Services
from remediations.trail import Trail

_MOST_SHOWN = 5  # decisions of a group, without --all
_VERDICTS = {"run": "green", "ask": "yellow", "refuse": "red"}
_PLAIN = {"advised": "advice", "nothing-to-do": "nothing to do", "not-reached": "not reached"}
_NOT_TOLD = {
    Kind.EXPIRED: "What has expired",
    Kind.OLDER: "What an older version recorded",
    Kind.UNREADABLE: "What cannot be read",
}
_ARROW = "\N{RIGHTWARDS ARROW}"
_ROOMS = ("audit", "incidents")  # of a trail

type _Group = tuple[str, ...]


def replay(
    file: str, *, mode: Mode | None, since: str, until: str | None, store: str | None, as_json: bool, is_all: bool
) -> int:
    """Decide again on what was decided, and tell what comes out otherwise."""
    path = Path(file)
    policy = policies.load(path, "Name a readable file with --policy.")
    policies.refuse_unknown_actions(policy, ACTIONS, str(path))
    own = _at(terminal.own_services(), store)
    _refuse_without_trail(own.settings.store)
    now = own.clock()
    asked = WhatIf(
        policy=policy,
        actions=ACTIONS,
        since=terminal.past(since, now),
        until=now if until is None else terminal.past(until, now),
        mode=mode,
    )
    found = replayed(asked, own.trail.store, own.evidence.store)
    if as_json:
        shown = [one for one in found if is_all or one.kind not in {Kind.SAME, Kind.REWORDED}]
        terminal.say_json(
            {
                "policy": {"file": str(path), "version": policy.version},
                "mode": mode,
                "store": own.settings.store,
                "since": asked.since,
                "until": asked.until,
                "totals": totals(found),
                "decisions": [{**codec.dump(one), "by": list(one.by)} for one in shown],
            }
        )
    else:
        _show(terminal.out(), found, asked, path, own.settings.store, is_all=is_all)
    is_same = all(one.kind in {Kind.SAME, Kind.REWORDED} for one in found)
    return terminal.OK if found and is_same else terminal.DIFFERS


def _at(own: Services, store: str | None) -> Services:
    """Give the services over another store, as strictly read as the environment's own."""
    if store is None:
        return own
    if not store.startswith("http") and not Path(store).is_dir():
        fix = "Name the folder, or the blob endpoint, that MEDIC_STORE names where the app runs."
        raise terminal.CommandError(f"--store {store!r} is no folder. {fix}")
    return Services(replace(own.settings, store=environment.load({"MEDIC_STORE": store}).store))


def _refuse_without_trail(store: str) -> None:
    """Raise CommandError if a folder holds no trail, or a trail without what its decisions rest on."""
    folder = Path(store)
    if store.startswith("http") or any((folder / "trail" / room).is_dir() for room in _ROOMS):
        return
    if any((folder / room).is_dir() for room in _ROOMS):
        words = f"{store} is a copy of the container trail, and the evidence that its decisions rest on is missing"
        fix = "Name a folder that holds copies of both containers: trail and evidence."
        raise terminal.CommandError(f"{words}. {fix}")
    words = f"no trail lies in {store}. Name the folder that MEDIC_STORE names, or one with copies of both containers"
    raise terminal.CommandError(f"{words}: trail and evidence.")


def replayed(asked: WhatIf, trail_store: Store, evidence_store: Store) -> tuple[Replayed, ...]:
    """Replay every incident, oldest decision first; the stores can only be read."""
    trail, evidence = Trail(ReadOnlyStore(trail_store)), EvidenceStore(ReadOnlyStore(evidence_store))
    console = terminal.err()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with (
        _no_search_for_cycles(),
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars,
    ):
        incidents = bars.track(tuple(trail.incidents()), description="replaying")
        found = [one for incident in incidents for one in replay_one(incident, asked, trail, evidence)]
    return tuple(sorted(found, key=lambda one: one.at))


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """Values of the trail are trees, and go when nothing names them; to search them all for cycles takes its time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


# ------------------------------------------------------------------------------------------- for people


def _show(
    console: Console, found: tuple[Replayed, ...], asked: WhatIf, path: Path, store: str, *, is_all: bool
) -> None:
    span = f"{terminal.moment_words(asked.since)} to {terminal.moment_words(asked.until)}"
    if not found:
        console.print(f"The trail in {store} holds no decision from {span}.", soft_wrap=True)
        return
    counted = totals(found)
    changed = counted.kinds[Kind.CHANGED]
    of = f"{terminal.counted(counted.decisions, 'decision')} in {terminal.counted(counted.incidents, 'incident')}"
    console.print(f"{changed} of {of} would change", style="bold")
    stays = f"{counted.kinds[Kind.SAME]} to the letter"
    if counted.kinds[Kind.REWORDED]:
        stays += f", {counted.kinds[Kind.REWORDED]} in other words"
    missed = ", ".join(f"{counted.kinds[kind]} {kind}" for kind in _NOT_TOLD if counted.kinds[kind])
    terminal.show(
        console,
        ("policy", Text(f"{terminal.plain(str(path))}, version {asked.policy.version}")),
        ("ceiling", "as recorded" if asked.mode is None else f"MEDIC_MODE={asked.mode}"),
        ("decided", span),
        ("stay", stays),
        ("not told", missed or "none"),
    )
    _show_changes(console, [one for one in found if one.kind is Kind.CHANGED], is_all=is_all)
    for kind, title in _NOT_TOLD.items():
        _show_lost(console, title, [one for one in found if one.kind is kind], is_all=is_all)
    if is_all:
        _show_same(console, [one for one in found if one.kind in {Kind.SAME, Kind.REWORDED}])


def _show_changes(console: Console, changed: list[Replayed], *, is_all: bool) -> None:
    groups: dict[_Group, list[Replayed]] = {}
    for one in changed:
        groups.setdefault(_group(one), []).append(one)
    ordered = sorted(groups.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    if not ordered:
        return
    console.print()
    listed = terminal.table(">Times", "Was", "Would be", "Action", "By", title="What changes", title_justify="left")
    for (was, would_be, action, *by), group in ordered:
        listed.add_row(str(len(group)), _coloured(was), _coloured(would_be), action, ", ".join(by))
    console.print(listed)
    for (was, would_be, action, *_), group in ordered:
        head = Text.assemble((f"{action}: ", "bold"), _coloured(was), f" {_ARROW} ", _coloured(would_be))
        console.print(head)
        alike: dict[tuple[str, ...], list[Replayed]] = {}  # before each call the same is decided once more
        for one in group:
            alike.setdefault((one.incident, *_lines(one)), []).append(one)
        shown = list(alike.items()) if is_all else list(alike.items())[:_MOST_SHOWN]
        for (_, *lines), ones in shown:
            _show_one(console, ones[0], [Text(terminal.plain(words)) for words in lines], times=len(ones))
        if len(alike) > len(shown):
            console.print(f"{len(alike) - len(shown)} more; --all shows them", style="dim")
        console.print()


def _show_lost(console: Console, title: str, lost: list[Replayed], *, is_all: bool) -> None:
    if not lost:
        return
    console.print(title, style="bold")
    shown = lost if is_all else lost[:_MOST_SHOWN]
    for one in shown:
        _show_one(console, one, [Text(terminal.plain(one.words))])
    if len(lost) > len(shown):
        console.print(f"{len(lost) - len(shown)} more; --all shows them", style="dim")
    console.print()


def _show_same(console: Console, same: list[Replayed]) -> None:
    if not same:
        return
    console.print("What stays", style="bold")
    for one in same:
        verdict = "" if one.before is None else _words(one.before)
        reworded = [Text(terminal.plain(words), "dim") for words in _lines(one)]
        _show_one(console, one, [Text.assemble(f"{one.action or 'no action'}: ", _coloured(verdict)), *reworded])


def _show_one(console: Console, one: Replayed, lines: list[Text], *, times: int = 1) -> None:
    when = "" if one.when == "deciding" else f", {one.when}"
    when += f", and again before {terminal.counted(times - 1, 'call')}" if times > 1 else ""
    head = Text.assemble(one.incident, (f"  {_label(one.resource)}{terminal.plain(when)}", "dim"))
    rows: list[tuple[str, RenderableType]] = [(f"{one.at:%m-%d %H:%M:%S}", head)]
    terminal.show(console, *rows, *(("", line) for line in lines))


def _group(one: Replayed) -> _Group:
    was = "" if one.before is None else _words(one.before)
    would_be = "" if one.after is None else _words(one.after)
    return (was, would_be, one.action or "none", *one.by)


def _words(side: Side) -> str:
    """Give a verdict for people; one that a dry run held back, with what it would have been."""
    if side.verdict == "dry-run" and side.would not in {None, "dry-run"}:
        return f"dry run, would {side.would}"
    return _PLAIN.get(side.verdict, side.verdict)


def _coloured(words: str) -> Text:
    return Text(words, _VERDICTS.get(words.rpartition(" ")[2], ""))


def _lines(one: Replayed) -> Iterator[str]:
    """Give what is otherwise in a decision: the plan, who is asked, the mode, and each guard's words then and now."""
    yield from one.plan
    yield from one.asks
    if one.after is not None and one.after.verdict == "not-reached":
        yield one.after.words
    if one.before is not None and one.after is not None and one.before.mode_words != one.after.mode_words:
        yield f"mode: {one.before.mode_words or 'nothing planned'} {_ARROW} {one.after.mode_words or 'nothing planned'}"
    yield from (f"{change.guard}: {_change_words(change)}" for change in one.guards if _is_told(one, change))


def _is_told(one: Replayed, change: GuardChange) -> bool:
    """Tell whether a guard's change is worth a line: in a changed decision, other words for the same are not."""
    return change.is_another or one.kind is Kind.REWORDED


def _change_words(change: GuardChange) -> str:
    if not change.is_another and change.before is not None and change.after is not None:
        return f"{change.before.words} {_ARROW} {change.after.words}"
    return f"{_answer_words(change.before)} {_ARROW} {_answer_words(change.after)}"


def _answer_words(answer: GuardAnswer | None) -> str:
    return "not asked" if answer is None else f"{answer.answer} ({answer.words})"


def _label(path: str) -> str:
    """Give a resource for people: as it stands, if it is no resource ID that we know."""
    try:
        return terminal.plain(ResourceId.parse(path).label)
    except ValueError:
        return terminal.plain(path)
