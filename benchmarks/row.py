"""What is measured: a figure of a subject, a ratio of two of them, and the row that holds both."""

import statistics
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

type Sample = dict[str, float]


class Bound(Struct, frozen=True, kw_only=True):
    """What is asked of a median."""

    sign: Literal["at most", "at least"]
    value: float

    def holds(self, median: float) -> bool:
        return median <= self.value if self.sign == "at most" else median >= self.value


def at_most(value: float) -> Bound:
    return Bound(sign="at most", value=value)


def at_least(value: float) -> Bound:
    return Bound(sign="at least", value=value)


class Values(Struct, frozen=True, kw_only=True):
    """One value a round, in order."""

    values: tuple[float, ...]
    bound: Bound | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def is_met(self) -> bool | None:
        """Whether the median is as asked; None if nothing is."""
        return None if self.bound is None else self.bound.holds(self.median)


class Figure(Values, frozen=True, kw_only=True):
    """What was measured of one subject."""

    subject: str
    what: str
    unit: str


class Ratio(Values, frozen=True, kw_only=True):
    """How two figures compare, round by round."""

    name: str


class Row(Struct, frozen=True, kw_only=True):
    """The answer to one question.

    Attributes:
        notes: What a reader must know to judge the figures, each a sentence.
        left_out: Subjects that could not be measured here, each with the reason.
    """

    name: str
    question: str
    figures: tuple[Figure, ...]
    ratios: tuple[Ratio, ...] = ()
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def figure(
    subject: str, what: str, unit: str, samples: Sequence[Sample], key: str, *, bound: Bound | None = None
) -> Figure:
    """Give what some samples hold under a key."""
    values = tuple(sample[key] for sample in samples)
    return Figure(subject=subject, what=what, unit=unit, values=values, bound=bound)


def ratio(name: str, over: Figure, under: Figure, bound: Bound | None = None) -> Ratio:
    """Compare two figures of the same rounds."""
    values = tuple(one / other for one, other in zip(over.values, under.values, strict=True))
    return Ratio(name=name, values=values, bound=bound)
