"""``medic demo`` and ``medic rehearse``: play scenarios, show them live, and say whether all ended as expected."""

import json
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from local import lanes, rehearsal
from local.rehearsal import Report, Scenario
from remediations.adapters.folder import FolderStore
from remediations.headline import headline
from remediations.trail import Trail

STORE = Path(".medic/demo")
LANES = 2
_SCOPE = re.compile(r"/subscriptions/\S+?/workspaces/")


def demo(*, as_json: bool, only: Sequence[str] = ()) -> int:
    """Play the shipped scenarios, or those whose name has one of some words; 0 if all ended as expected, else 1.

    Raises:
        ScenarioError: no scenario has such a name.
    """
    files = rehearsal.shipped()
    if only:
        files = [file for file in files if any(part in f"{file.stem} {rehearsal.load(file).name}" for part in only)]
    if not files:
        names = ", ".join(file.stem for file in rehearsal.shipped())
        raise rehearsal.ScenarioError(f"No scenario is named {' or '.join(only)}. There are: {names}.")
    return rehearse(files, as_json=as_json)


def rehearse(files: Sequence[Path], *, as_json: bool) -> int:
    """Play the scenarios of some files; 0 if every one ended as expected, else 1.

    Raises:
        ScenarioError: a file cannot be used; nothing is played then.
    """
    scenarios = [rehearsal.load(file) for file in files]
    shutil.rmtree(STORE, ignore_errors=True)
    STORE.mkdir(parents=True)
    played = lanes.play(scenarios, STORE, LANES)
    if as_json:
        reports = [report for _, report, _ in sorted(played, key=lambda each: each[0])]
        print(json.dumps(as_plain(reports), indent=2))
        return _exit_code(reports)
    console = Console()
    began = time.monotonic()
    console.print(
        f"Playing {_count(len(scenarios), 'scenario')} on the function app and a simulated Azure, on this machine.\n"
    )
    reports, width = [], max(len(scenario.name) for scenario in scenarios)
    with console.status("starting") as status:
        for number, report, folder in played:
            reports.append(report)
            if number == 0:
                _show_walk(console, scenarios[0], report, folder)
            _show_line(console, report, width)
            status.update(f"{len(reports)} of {len(scenarios)}")
    _show_end(console, reports, time.monotonic() - began)
    return _exit_code(reports)


def schema() -> int:
    """Print the JSON Schema of scenario files."""
    print(json.dumps(rehearsal.schema(), indent=2))
    return 0


def as_plain(reports: Sequence[Report]) -> dict[str, object]:
    """Give the JSON form of some reports."""
    names = ("name", "expected", "actual", "as_expected", "effects", "calls", "seconds")
    plain = [{name: msgspec.to_builtins(getattr(report, name)) for name in names} for report in reports]
    return {"scenarios": plain, "as_expected": all(report.as_expected for report in reports)}


def _show_walk(console: Console, scenario: Scenario, report: Report, folder: Path) -> None:
    """Show the trail of the first scenario: the whole walk of one failure."""
    trail = Trail(FolderStore(folder / "trail"))
    console.print(Text(scenario.story, style="italic"))
    for incident_id in report.incidents:
        table = Table.grid(padding=(0, 2))
        for record in trail.records(incident_id):
            words = Text(short(headline(record)), overflow="fold")
            table.add_row(Text(f"  {record.at:%H:%M:%S.%f}"[:-4], style="dim"), Text(record.stage, style="cyan"), words)
        console.print(table)
    console.print()


def short(text: str) -> str:
    """Give a text with its resource IDs cut to what tells them apart on one machine."""
    return _SCOPE.sub("", text).replace("/onlineEndpoints/", "/").replace("/deployments/", "/")


def _show_line(console: Console, report: Report, width: int) -> None:
    mark = Text("✓", style="green") if report.as_expected else Text("✗", style="bold red")
    count = len(report.effects)
    calls = "no write" if count == 0 else _count(count, "write")
    console.print(mark, Text(f"{report.name:<{width}} {calls:>9} {report.seconds:>6.1f} s"), soft_wrap=True)
    for difference in report.differences:
        console.print(Text(f"    {difference}", style="red"))


def _show_end(console: Console, reports: Sequence[Report], seconds: float) -> None:
    good = sum(report.as_expected for report in reports)
    style = "green" if good == len(reports) else "bold red"
    console.print()
    console.print(Text(f"{good} of {len(reports)} scenarios ended as expected, in {seconds:.0f} s.", style=style))
    console.print(
        f"Their trails: MEDIC_STORE={STORE}/auto-1 medic audit list, and so on\nTheir log: {STORE}/{lanes.LOG}",
        soft_wrap=True,
    )


def _exit_code(reports: Sequence[Report]) -> int:
    return 0 if all(report.as_expected for report in reports) else 1


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
