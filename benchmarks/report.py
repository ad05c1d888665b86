"""Rows on disk: a JSON file each, and one Markdown table of all that are there."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from benchmarks.machine import Machine
from benchmarks.row import Bound, Row, Values

RESULTS = Path(__file__).parent / "results"
TABLE = "README.md"


class Result(Struct, frozen=True, kw_only=True):
    """A row, and what it was measured on.

    Attributes:
        versions: By subject, what was installed of it.
    """

    row: Row
    machine: Machine
    versions: dict[str, str]
    rounds: int


def keep(result: Result, folder: Path = RESULTS) -> Path:
    """Write a result, in place of an earlier one of the same row, and the table anew."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{result.row.name}.json"
    place.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    (folder / TABLE).write_text(table(kept(folder)), encoding="utf-8")
    return place


def kept(folder: Path = RESULTS) -> list[Result]:
    """Give the results that are there, by name."""
    return [msgspec.json.decode(path.read_bytes(), type=Result) for path in sorted(folder.glob("*.json"))]


def table(results: Iterable[Result]) -> str:
    """Give Markdown: a section a row."""
    begin = "# Benchmarks\n\nMade by `make bench`. Medians, with the least and the greatest value of all rounds.\n"
    return "\n".join([begin, *(_section(result) for result in results)])


def _section(result: Result) -> str:
    row, machine = result.row, result.machine
    lines = [f"## {row.name}", "", row.question, ""]
    lines += _table(
        ("subject", "what", "median", "least to greatest", "asked"),
        [
            (one.subject, one.what, f"{shown(one.median)} {one.unit}".rstrip(), _span(one), _asked(one))
            for one in row.figures
        ],
    )
    if row.ratios:
        lines += ["", "Compared round by round:", ""]
        lines += _table(
            ("ratio", "median", "least to greatest", "asked"),
            [(one.name, shown(one.median), _span(one), _asked(one)) for one in row.ratios],
        )
    lines += [""] * bool(row.notes or row.left_out)
    lines += [f"* {note}" for note in row.notes]
    lines += [f"* Left out: {why}" for why in row.left_out]
    versions = ", ".join(f"{subject} {version}" for subject, version in sorted(result.versions.items()))
    lines += ["", f"{machine.words}. {result.rounds} rounds. {versions}", ""]
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _span(one: Values) -> str:
    return f"{shown(min(one.values))} to {shown(max(one.values))}"


def _asked(one: Values) -> str:
    return "" if one.bound is None else f"{_words(one.bound)}: {'yes' if one.is_met else '**no**'}"


def _words(bound: Bound) -> str:
    return f"{bound.sign} {shown(bound.value)}"


def shown(value: float) -> str:
    """Give a number with three digits that tell, and thousands apart."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"
