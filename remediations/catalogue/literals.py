"""What a regular expression cannot match without: texts of which one must stand in whatever it matches."""

from collections.abc import Iterable
from functools import cache
from itertools import product
from operator import itemgetter
from re import _constants as ops  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

import ahocorasick

_SHORTEST = 3
_FOUND = itemgetter(1)
_MOST = 16
_BLANK = [(ops.LITERAL, ord(" ")), (ops.LITERAL, ord("\n"))]

type Texts = frozenset[str]


# What stands in most texts about online endpoints: it tells next to nothing.
_COMMON = frozenset(
    {
        *("endpoint", "endpoints", "deployment", "deployments", "online", "subscription", "workspace", "kubernetes"),
        *("resource", "compute", "container", "registry", "image", "model", "script", "scoring", "instance", "cluster"),
        *("failed", "error", "message", "request", "service", "status", "startup", "traffic", "manifest"),
    }
)


def rarity(texts: Texts) -> int:
    """Give how rarely one of some texts stands in another: the longer the shortest of them, the more rarely."""
    return min(1 if text in _COMMON else len(text) for text in texts)


@cache  # of the shipped causes' 338 patterns, 87 stand there more than once
def literals(pattern: str) -> Texts:
    """Give texts of which at least one stands in every match; empty if there are none that would tell anything.

    A class of blank and line end counts as a blank: the texts are looked for in one line.
    """
    return _needed(_parser.parse(pattern)) or frozenset()


class Literals:
    """Texts that are looked for all at once, in a time that does not grow with how many they are."""

    def __init__(self) -> None:
        self._automaton = ahocorasick.Automaton()
        self._is_ready = False

    def add(self, texts: Iterable[str]) -> None:
        for text in texts:
            self._automaton.add_word(text, text)
        self._is_ready = False

    def found_in(self, text: str) -> frozenset[str]:
        """Give those that stand in a text."""
        if not self._is_ready:
            self._automaton.make_automaton()
            self._is_ready = True
        return frozenset(map(_FOUND, self._automaton.iter(text))) if len(self._automaton) else frozenset()


def _needed(parsed: Iterable[tuple[Any, Any]]) -> Texts | None:
    """Give the best of a sequence: the alternatives whose shortest is the longest."""
    best: Texts | None = None
    run: Texts = frozenset({""})
    for operation, argument in parsed:
        strings = _strings(operation, argument)
        if strings is not None and len(run) * len(strings) <= _MOST:
            run = frozenset(map("".join, product(run, strings)))
            continue
        best = _better(_better(best, _told(run)), _inside(operation, argument))
        run = frozenset({""}) if strings is None or len(strings) > _MOST else strings
    return _better(best, _told(run))


def _strings(operation: Any, argument: Any) -> Texts | None:
    """Give all texts that a part can match, if they are few."""
    match operation:
        case ops.AT:  # a boundary takes no room
            return frozenset({""})
        case ops.LITERAL:
            return frozenset({chr(argument)})
        case ops.IN if argument == _BLANK:
            return frozenset({" "})
        case ops.IN if all(kind is ops.LITERAL for kind, _ in argument):
            return frozenset(chr(code) for _, code in argument)
        case ops.SUBPATTERN:
            return _all(argument[3])
        case ops.BRANCH:
            branches = [_all(branch) for branch in argument[1]]
            known = [branch for branch in branches if branch is not None]
            return frozenset().union(*known) if len(known) == len(branches) else None
        case ops.MAX_REPEAT | ops.MIN_REPEAT if argument[:2] == (0, 1):
            inner = _all(argument[2])
            return None if inner is None else inner | {""}
    return None


def _all(parsed: Iterable[tuple[Any, Any]]) -> Texts | None:
    """Give all texts that a sequence can match, if they are few."""
    texts: Texts = frozenset({""})
    for operation, argument in parsed:
        strings = _strings(operation, argument)
        if strings is None or len(texts) * len(strings) > _MOST:
            return None
        texts = frozenset(map("".join, product(texts, strings)))
    return texts


def _inside(operation: Any, argument: Any) -> Texts | None:
    """Give what a part cannot match without."""
    match operation:
        case ops.MAX_REPEAT | ops.MIN_REPEAT | ops.POSSESSIVE_REPEAT if argument[0] > 0:
            return _needed(argument[2])
        case ops.SUBPATTERN:
            return _needed(argument[3])
        case ops.ATOMIC_GROUP:
            return _needed(argument)
        case ops.BRANCH:
            branches = [_needed(branch) for branch in argument[1]]
            known = [branch for branch in branches if branch is not None]
            return frozenset().union(*known) if len(known) == len(branches) else None
    return None


def _told(run: Texts) -> Texts | None:
    """Give a run if each of its texts says something; blanks at its ends may be the ends of the line."""
    texts = frozenset(text.strip() for text in run)
    return texts if min(map(len, texts)) >= _SHORTEST else None


def _better(one: Texts | None, other: Texts | None) -> Texts | None:
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda texts: (rarity(texts), -len(texts)))
