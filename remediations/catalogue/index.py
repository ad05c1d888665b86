"""The causes together, and which of them could match some texts at all."""

from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from remediations.catalogue.cause import Cause
from remediations.catalogue.literals import rarity
from remediations.catalogue.matchers import Symptoms


class Catalogue(Sequence[Cause]):
    """Causes, and an index of what each cannot match without.

    Attributes:
        hinted: By id, each as it is where texts only hint at it: it needs a read that supports it.
    """

    def __init__(self, causes: Iterable[Cause]) -> None:
        self._causes = tuple(causes)
        self.hinted = {
            cause.id: replace(cause, needs_support=True) for cause in self._causes if cause.hints is not None
        }
        self._always: set[int] = set()
        self._by_sign: dict[str, list[tuple[int, tuple[frozenset[str], ...]]]] = {}
        for number, cause in enumerate(self._causes):
            for matcher in (cause.matches, cause.hints):
                if matcher is None:
                    continue
                first, *others = sorted(matcher.needs, key=rarity, reverse=True) or [frozenset[str]()]
                if not first:
                    self._always.add(number)
                for sign in first:
                    self._by_sign.setdefault(sign, []).append((number, tuple(others)))

    def __len__(self) -> int:
        return len(self._causes)

    def __iter__(self) -> Iterator[Cause]:
        return iter(self._causes)

    def __getitem__(self, number):  # type: ignore[no-untyped-def]
        return self._causes[number]

    def candidates(self, symptoms: Symptoms) -> list[Cause]:
        """Give the causes that could match, in order: all others cannot."""
        signs = symptoms.signs
        found = set(self._always)
        for sign in signs & self._by_sign.keys():
            for number, others in self._by_sign[sign]:
                if number not in found and not any(map(signs.isdisjoint, others)):
                    found.add(number)
        return [self._causes[number] for number in sorted(found)]
