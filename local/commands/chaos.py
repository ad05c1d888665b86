"""``medic chaos``: break everything around the app at once, and see whether its promises hold."""

import json
import random
import shutil
import time
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from local.chaos import campaign, shrinking, story
from local.chaos.campaign import CampaignError, Lanes, Result, Totals
from local.chaos.story import Story, from_json

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
    """Play a campaign, or one saved round again; 0 if every promise held, else 1.

    Raises:
        CampaignError: the file is no story, the folder cannot be written, or a round could not be played.
    """
    stories = None if replay is None else [_story(replay)]
    _prepare(folder)
    console = Console(stderr=as_json)
    chosen = random.SystemRandom().randrange(LARGEST_SEED) if seed is None else seed
    began, results = time.monotonic(), []
    with Lanes(folder, lanes if stories is None else 1) as pool:
        if stories is None:
            console.print(f"Seed {chosen}: rounds of worlds, events and faults, until {incidents} incidents are over.")
        with console.status("starting") as status:
            rounds = campaign.run(chosen, incidents, pool) if stories is None else _again(stories, pool)
            for result in rounds:
                results.append(result)
                _show_round(console, result)
                so_far = campaign.totals(results, seed=chosen, began=began)
                rate = 60 * so_far.incidents / max(so_far.seconds, 1.0)
                status.update(f"{so_far.incidents} of {incidents} incidents, {rate:.0f} a minute")
        if pool.renewed:
            console.print(f"A process that played rounds ended {pool.renewed} times by itself; they were played again.")
        found = campaign.totals(results, seed=None if replay else chosen, began=began)
        if found.violations and replay is None and shrink_s > 0:
            _show_shortest(console, results, pool, folder, shrink_s)
    if as_json:
        print(json.dumps({**msgspec.to_builtins(found), "upper_bound": found.bound}, indent=2))
    else:
        _show_end(console, found)
    return 1 if found.violations else 0


def _again(stories: list[Story], pool: Lanes) -> list[Result]:
    return [pool.play(each, f"replay-{each.seed}-{each.number}").result() for each in stories]


def _story(path: Path) -> Story:
    try:
        return from_json(path.read_bytes())
    except OSError as error:
        raise CampaignError(f"{path}: {error.strerror}. Name a file that `medic chaos` has saved.") from error
    except ValueError as error:
        raise CampaignError(f"{path}: {error}. It is no round that `medic chaos` has saved.") from error


def _prepare(folder: Path) -> None:
    """Empty what an earlier campaign left, and see that there is a place to write."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.iterdir():
            if left.is_dir() and (left / "met").is_dir():
                shutil.rmtree(left)
        probe = folder / "probe"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise CampaignError(f"{folder}: {error.strerror}. Name a folder that can be written: --folder.") from error


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


def _show_shortest(console: Console, results: list[Result], pool: Lanes, folder: Path, within_s: float) -> None:
    """Shorten the first round that broke something, tell it, and save it."""
    broken = next(result for result in results if result.violations)
    console.print(f"\nLooking for the shortest history that shows it, for at most {within_s:.0f} s.")
    with console.status("playing parts of it again"):
        best, played = shrinking.shrink(
            broken,
            pool,
            within_s=within_s,
            tell=lambda shorter: console.print(f"  {shrinking.size(shorter)} things left", soft_wrap=True),
        )
    path = folder / f"seed-{broken.story.seed}-round-{broken.story.number}.json"
    path.write_bytes(story.as_json(best.story))
    console.print(Text(f"\nAfter {played} more rounds, the shortest history seen to break it:", style="bold"))
    for line in shrinking.described(best.story):
        console.print(Text(f"  {line}"), soft_wrap=True)
    for violation in best.violations[:_MOST_SHOWN]:
        console.print(Text(f"  {violation.invariant}: {violation.words}", style="red"), soft_wrap=True)
        console.print(Text(f"    see {', '.join(violation.records)}", style="dim"), soft_wrap=True)
    console.print(
        f"Its store and logs: {best.folder}\nPlay it again: medic chaos --replay {path}", soft_wrap=True, markup=False
    )


def _show_end(console: Console, found: Totals) -> None:
    console.print()
    table = Table("kind of fault", "laid", "met", box=None, pad_edge=False)
    for kind in sorted({*found.faults, *found.laid}):
        table.add_row(kind, str(found.laid.get(kind, "")), str(found.faults.get(kind, 0)))
    console.print(table)
    hit = sum(count > 0 for count in found.kill_points.values())
    console.print(
        f"\nThe worker was killed {found.kills} times, at {hit} of {len(found.kill_points)} kinds of points"
        + (f", and ended {found.crashes} times by itself" if found.crashes else "")
        + "."
    )
    missed = [point for point, count in found.kill_points.items() if not count]
    if missed:
        console.print(f"Never at: {'; '.join(missed)}.", soft_wrap=True, highlight=False)
    ends = ", ".join(f"{name} {count}" for name, count in found.ends.items())
    console.print(f"Incidents ended: {ends or 'none'}.", soft_wrap=True)
    console.print(
        f"{found.incidents} incidents, {found.events} events, {found.effects} effects, {found.rounds} rounds "
        f"in {found.seconds:.0f} s."
    )
    if found.bound is None:
        words = f"{len(found.violations)} violations." if found.violations else "No incident was opened."
        console.print(Text(words, style="bold red"))
    else:
        words = f"No violation: at 95 %, at most {found.bound:.2%} of such incidents have one."
        console.print(Text(words, style="bold green"))
