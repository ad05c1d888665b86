"""``medic chaos``: break everything around the app at once, and see whether its promises hold."""

import itertools
import json
import random
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table
from rich.text import Text

from local.chaos import campaign, keeping, playing, shrinking
from local.chaos.campaign import CampaignError, Lanes, Result, Totals
from local.chaos.story import Story, from_json
from local.commands import terminal
from remediations.errors import PolicyError

FOLDER = Path(".medic/chaos")
LARGEST_SEED = 2**32
_MOST_SHOWN = 10


def chaos(
    *,
    incidents: int,
    seed: int | None,
    replay: Path | None,
    folder: Path,
    lanes: int,
    shrink_s: float,
    as_json: bool,
) -> int:
    """Play a campaign, or one saved round again; 0 if every promise held, 1 if not, 130 if it was interrupted.

    Raises:
        CampaignError: the file is no story, the folder cannot be written, or a round could not be played.
    """
    story = None if replay is None else _story(replay)
    console = Console(stderr=as_json)
    chosen = random.SystemRandom().randrange(LARGEST_SEED) if seed is None else seed
    own = _own_folder(folder, f"seed-{chosen}" if story is None else f"replay-seed-{story.seed}-round-{story.number}")
    began, results = time.monotonic(), list[Result]()
    try:
        with Lanes(own, lanes if story is None else 1) as pool:
            if story is None:
                console.print(
                    f"Seed {chosen}: rounds of worlds, events and faults, until {incidents} incidents are over."
                )
            with console.status("starting") as status:
                for result in campaign.run(chosen, incidents, pool) if story is None else _again(story, pool):
                    results.append(result)
                    _show_round(console, result)
                    so_far = campaign.totals(results, seed=chosen, began=began)
                    rate = 60 * so_far.incidents / max(so_far.seconds, 1.0)
                    status.update(f"{so_far.incidents} of {incidents} incidents, {rate:.0f} a minute")
            found = campaign.totals(results, seed=chosen if story is None else None, began=began)
            if found.violations and story is None and shrink_s > 0:
                _show_shortest(console, results, pool, shrink_s)
            found = replace(found, lost_hosts=pool.lost_hosts)
    except (KeyboardInterrupt, CampaignError) as error:
        _show_stopped(console, results, own)
        if isinstance(error, CampaignError):
            raise
        return terminal.INTERRUPTED
    finally:
        with suppress(OSError):  # something was kept
            own.rmdir()
    if as_json:
        print(json.dumps({**msgspec.to_builtins(found), "upper_bound": found.bound}, indent=2))
    else:
        _show_end(console, found, own)
    return terminal.DIFFERS if found.violations else terminal.OK


def _again(story: Story, pool: Lanes) -> Iterator[Result]:
    yield campaign.again(story, pool)


def _story(path: Path) -> Story:
    try:
        story = from_json(path.read_bytes())
        playing.validate(story)
    except OSError as error:
        raise CampaignError(f"{path}: {error.strerror}. Name a file that `medic chaos` has saved.") from error
    except (ValueError, PolicyError, RecursionError) as error:
        msg = f"{path}: {str(error).rstrip('.')}. It is no round that `medic chaos` has saved."
        raise CampaignError(msg) from error
    return story


def _own_folder(within: Path, name: str) -> Path:
    """Make a folder of this run alone: what another one kept, or plays at this moment, stays as it is."""
    try:
        within.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            own = within / (name if number == 1 else f"{name}-run-{number}")
            with suppress(FileExistsError):
                own.mkdir()
                break
    except OSError as error:
        msg = f"No folder can be made at {within} ({error.strerror}). Name another one: --folder."
        raise CampaignError(msg) from error
    return own


def _show_round(console: Console, result: Result) -> None:
    mark = Text("✗", style="bold red") if result.violations else Text("✓", style="green")
    figures = result.figures
    words = (
        f"round {result.story.number:>3} {result.story.mode:<8}{figures['incidents']:>4} incidents "
        f"{figures['deliveries']:>4} events {figures['effects']:>4} effects {sum(result.kills.values()):>2} kills "
        f"{sum(result.met.values()):>4} faults {result.seconds:>5.0f} s"
    )
    console.print(mark, Text(words), soft_wrap=True)
    for violation in result.violations[:_MOST_SHOWN]:
        console.print(Text(f"    {violation.invariant}: {violation.words}", style="red"), soft_wrap=True)


def _show_stopped(console: Console, results: list[Result], own: Path) -> None:
    """Say in a line what a campaign came to that was stopped."""
    incidents = sum(int(result.figures["incidents"]) for result in results)
    violations = sum(len(result.violations) for result in results)
    kept = f" What shows them lies in {own}." if violations else ""
    words = (
        f"Stopped after {terminal.counted(len(results), 'round')}, {terminal.counted(incidents, 'incident')} "
        f"and {terminal.counted(violations, 'violation')}.{kept}"
    )
    console.print(Text(words), soft_wrap=True)


def _show_shortest(console: Console, results: list[Result], pool: Lanes, within_s: float) -> None:
    """Shorten the first round that broke something, and tell it."""
    broken = next(result for result in results if result.violations)
    console.print(f"\nLooking for the shortest history that shows it, for at most {within_s:.0f} s.")
    with console.status("playing parts of it again"):
        best, played = shrinking.shrink(
            broken,
            pool,
            within_s=within_s,
            tell=lambda shorter: console.print(f"  {shrinking.size(shorter)} things left", soft_wrap=True),
        )
    console.print(Text(f"\nAfter {played} more rounds, the shortest history seen to break it:", style="bold"))
    for line in shrinking.described(best.story):
        console.print(Text(f"  {line}"), soft_wrap=True)
    for violation in best.violations[:_MOST_SHOWN]:
        console.print(Text(f"  {violation.invariant}: {violation.words}", style="red"), soft_wrap=True)
        console.print(Text(f"    see {', '.join(violation.records)}", style="dim"), soft_wrap=True)
    console.print(
        f"What shows it: {best.folder}\nPlay it again: medic chaos --replay {best.folder / keeping.STORY}",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )


def _show_end(console: Console, found: Totals, own: Path) -> None:
    console.print()
    table = Table("kind of fault", "laid", "met", box=None, pad_edge=False)
    for kind in sorted({*found.faults, *found.laid}):
        table.add_row(kind, str(found.laid.get(kind, "")), str(found.faults.get(kind, 0)))
    console.print(table)
    hit = sum(count > 0 for count in found.kill_points.values())
    of = terminal.counted(hit, "kind") if found.seed is None else f"{hit} of {len(found.kill_points)} kinds"
    console.print(
        f"\nWorkers and triggers were killed {terminal.counted(found.kills, 'time')}, at {of} of points"
        + (f", and the worker ended {terminal.counted(found.crashes, 'time')} by itself" if found.crashes else "")
        + "."
        + (" --json lists those at which none ever was." if found.seed is not None else "")
    )
    ends = ", ".join(f"{name} {count}" for name, count in found.ends.items())
    console.print(f"Incidents ended: {ends or 'none'}.", soft_wrap=True)
    console.print(
        f"{found.incidents} incidents, {found.events} events, {found.effects} effects, "
        f"{terminal.counted(found.rounds, 'round')} in {found.seconds:.0f} s."
    )
    if found.violations:
        console.print(Text(f"{terminal.counted(len(found.violations), 'violation')}.", style="bold red"))
    elif not found.incidents:
        console.print(Text("No incident was opened.", style="bold red"))
    else:
        bound = "" if found.bound is None else f": at 95 %, at most {found.bound:.2%} of such incidents have one"
        console.print(Text(f"No violation{bound}.", style="bold green"))
    if found.lost_hosts:
        words = (
            f"But a process that played rounds ended {terminal.counted(found.lost_hosts, 'time')} by itself. "
            f"Its rounds were played again; what they left lies in {own}: see {campaign.HOST_LOG} there."
        )
        console.print(Text(words, style="bold red"), soft_wrap=True)
