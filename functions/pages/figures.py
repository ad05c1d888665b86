"""Cases of the register -> the two plots of the overview, as places on a drawing. Pure; a template draws them."""

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from statistics import median

from msgspec import Struct

from remediations.model import End
from remediations.register import Case

WIDTH, HEIGHT = 760, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 8, 10, 26
_INNER = HEIGHT - _TOP - _BOTTOM
# From the ground up: what was repaired, what a person has to look at, and what ended without an effect.
GROUPS: tuple[tuple[str, str, frozenset[End | None]], ...] = (
    ("repaired", "repaired", frozenset({End.REPAIRED})),
    ("failed", "not repaired, inconclusive", frozenset({End.NOT_REPAIRED, End.INCONCLUSIVE})),
    ("advised", "advised, nothing to do", frozenset({End.ADVISED, End.NOTHING_TO_DO})),
    (
        "refused",
        "refused, rejected, expired, superseded",
        frozenset({End.REFUSED, End.REJECTED, End.EXPIRED, End.SUPERSEDED}),
    ),
    ("dry", "dry run", frozenset({End.DRY_RUN})),
    ("open", "not ended", frozenset({None})),
)
_SCALE_S = (1, 10, 60, 600, 3600, 6 * 3600, 86400, 7 * 86400)
_SCALE_WORDS = ("1 s", "10 s", "1 min", "10 min", "1 h", "6 h", "1 d", "7 d")


class Box(Struct, frozen=True):
    """A bar's part, and what it says."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    says: str


class Tick(Struct, frozen=True):
    """A mark of an axis."""

    at: float
    label: str


class Bars(Struct, frozen=True, kw_only=True):
    """Incidents per day, stacked by how they ended; `rows` are the same numbers."""

    boxes: tuple[Box, ...]
    heights: tuple[Tick, ...]
    days: tuple[Tick, ...]
    rows: tuple[tuple[str, tuple[int, ...], int], ...]
    total: int


class Mark(Struct, frozen=True):
    """The median of one day, and how far up its 95th percentile is."""

    kind: str
    x: float
    y: float
    top: float
    says: str


class Span(Struct, frozen=True, kw_only=True):
    """How long something took, of so many."""

    count: int
    middle: timedelta
    most: timedelta


class Spans(Struct, frozen=True, kw_only=True):
    """Time from failure to diagnosis and to repair; `rows` are the numbers of each day, `whole` those of all days."""

    marks: tuple[Mark, ...]
    heights: tuple[Tick, ...]
    days: tuple[Tick, ...]
    rows: tuple[tuple[str, Span | None, Span | None], ...]
    whole: tuple[Span | None, Span | None]


def days_until(now: datetime, count: int) -> tuple[date, ...]:
    """Give the last days, today's last."""
    today = now.astimezone(UTC).date()
    return tuple(today - timedelta(days=back) for back in range(count - 1, -1, -1))


def ends(cases: Iterable[Case], days: Sequence[date]) -> Bars:
    """Give the incidents of each day by how they ended."""
    group_of = {end: number for number, (_, _, ends) in enumerate(GROUPS) for end in ends}
    counts = {day: [0] * len(GROUPS) for day in days}
    for case in cases:
        day = case.opened_at.astimezone(UTC).date()
        if day in counts:
            counts[day][group_of[case.end]] += 1
    top = _round_up(max((sum(numbers) for numbers in counts.values()), default=0))
    boxes: list[Box] = []
    for (day, numbers), x in zip(counts.items(), _places(days), strict=True):
        ground = 0
        for (kind, label, _), number in zip(GROUPS, numbers, strict=True):
            if number:
                high, base = number / top * _INNER, HEIGHT - _BOTTOM - ground / top * _INNER
                width = _step(days) * 0.8
                boxes.append(
                    Box(
                        kind,
                        round(x - width / 2, 1),
                        round(base - high, 1),
                        round(width, 1),
                        round(high, 1),
                        f"{day}: {number} {label}",
                    )
                )
                ground += number
    heights = tuple(Tick(round(HEIGHT - _BOTTOM - part / 4 * _INNER, 1), f"{top * part // 4}") for part in range(5))
    rows = tuple((f"{day}", tuple(numbers), sum(numbers)) for day, numbers in reversed(counts.items()))
    return Bars(
        boxes=tuple(boxes), heights=heights, days=_day_ticks(days), rows=rows, total=sum(row[2] for row in rows)
    )


def spans(cases: Iterable[Case], days: Sequence[date]) -> Spans:
    """Give how long it took from failure to diagnosis, and from failure to repair, for incidents that came so far."""
    diagnosed: dict[date, list[timedelta]] = {day: [] for day in days}
    repaired: dict[date, list[timedelta]] = {day: [] for day in days}
    for case in cases:
        day = case.opened_at.astimezone(UTC).date()
        if day not in diagnosed:
            continue
        if case.diagnosed_at is not None:
            diagnosed[day].append(case.diagnosed_at - case.failed_at)
        if case.end is End.REPAIRED and case.ended_at is not None:
            repaired[day].append(case.ended_at - case.failed_at)
    marks: list[Mark] = []
    rows: list[tuple[str, Span | None, Span | None]] = []
    shift = min(_step(days) / 5, 8)
    for day, x in zip(days, _places(days), strict=True):
        first, second = _span(diagnosed[day]), _span(repaired[day])
        rows.append((f"{day}", first, second))
        for kind, found, place in (("diagnosis", first, x - shift), ("repair", second, x + shift)):
            if found is not None:
                words = f"median {_seconds(found.middle)}, 95 % within {_seconds(found.most)}, of {found.count}"
                marks.append(
                    Mark(
                        kind, round(place, 1), _height(found.middle), _height(found.most), f"{day}, to {kind}: {words}"
                    )
                )
    heights = tuple(
        Tick(_height(timedelta(seconds=seconds)), words) for seconds, words in zip(_SCALE_S, _SCALE_WORDS, strict=True)
    )
    whole = (
        _span([one for found in diagnosed.values() for one in found]),
        _span([one for found in repaired.values() for one in found]),
    )
    return Spans(marks=tuple(marks), heights=heights, days=_day_ticks(days), rows=tuple(reversed(rows)), whole=whole)


def _span(found: list[timedelta]) -> Span | None:
    if not found:
        return None
    ordered = sorted(found)
    middle = timedelta(seconds=median(one.total_seconds() for one in ordered))
    return Span(count=len(ordered), middle=middle, most=ordered[math.ceil(len(ordered) * 0.95) - 1])


def _seconds(duration: timedelta) -> str:
    return f"{duration.total_seconds():.0f} s"


def _height(duration: timedelta) -> float:
    """Give the place of a duration on the logarithmic axis."""
    seconds = min(max(duration.total_seconds(), _SCALE_S[0]), _SCALE_S[-1])
    part = math.log(seconds / _SCALE_S[0]) / math.log(_SCALE_S[-1] / _SCALE_S[0])
    return round(HEIGHT - _BOTTOM - part * _INNER, 1)


def _step(days: Sequence[date]) -> float:
    return (WIDTH - _LEFT - _RIGHT) / max(1, len(days))


def _places(days: Sequence[date]) -> tuple[float, ...]:
    return tuple(_LEFT + _step(days) * (number + 0.5) for number in range(len(days)))


def _day_ticks(days: Sequence[date]) -> tuple[Tick, ...]:
    """Give a label for every fifth day, today's among them."""
    places = _places(days)
    return tuple(
        Tick(round(x, 1), f"{day:%m-%d}")
        for number, (day, x) in enumerate(zip(days, places, strict=True))
        if (len(days) - 1 - number) % 5 == 0
    )


def _round_up(count: int) -> int:
    """Give the number at the top of the axis: a multiple of four."""
    if count <= 4:
        return 4
    unit: int = 10 ** (len(str(count)) - 1)
    steps = (unit // 5, unit // 2, unit, unit * 2, unit * 5 // 2, unit * 4)
    return 4 * next(step for step in steps if step * 4 >= count)
