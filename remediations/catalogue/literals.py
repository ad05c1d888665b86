"""What a regular expression cannot match without: texts of which one must stand in whatever it matches."""

import re
from collections.abc import Iterable
from re import _constants as ops  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

_SHORTEST = 3


def literals(pattern: str) -> frozenset[str]:
    """Give texts in lower case, white space as one blank, of which at least one stands in every match; empty if there
    are none that would tell anything."""
    return _of(_parser.parse(pattern, re.IGNORECASE)) or frozenset()


def _of(parsed: Iterable[tuple[Any, Any]]) -> frozenset[str] | None:
    """Give the best of a sequence: the alternatives whose shortest is the longest."""
    best: frozenset[str] | None = None
    run = ""
    for operation, argument in [*parsed, (None, None)]:
        found: frozenset[str] | None = None
        match operation:
            case ops.LITERAL:
                run += chr(argument).lower()
                continue
            case ops.AT:  # a boundary takes no room
                continue
            case ops.MAX_REPEAT | ops.POSSESSIVE_REPEAT if _is_blank(argument):
                run += " "
                continue
            case ops.MAX_REPEAT | ops.MIN_REPEAT | ops.POSSESSIVE_REPEAT if argument[0] > 0:
                found = _of(argument[2])
            case ops.SUBPATTERN:
                found = _of(argument[3])
            case ops.ATOMIC_GROUP:
                found = _of(argument)
            case ops.BRANCH:
                branches = [_of(branch) for branch in argument[1]]
                known = [branch for branch in branches if branch is not None]
                found = frozenset().union(*known) if len(known) == len(branches) else None
        run = run.strip()
        best = _better(best, frozenset({run}) if len(run) >= _SHORTEST else None)
        best, run = _better(best, found), ""
    return best


def _is_blank(repeat: tuple[int, int, Any]) -> bool:
    """Whether it is the ``\\s+`` that stands for a blank in a pattern of ours."""
    least, _, inner = repeat
    return least == 1 and list(inner) == [(ops.IN, [(ops.CATEGORY, ops.CATEGORY_SPACE)])]


def _better(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda texts: min(map(len, texts)))
