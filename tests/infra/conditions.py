"""Evaluates the conditions of role assignments that infra/rbac has: as much of Azure's grammar as they need.

    condition  = conjunct { "OR" conjunct }          AND binds before OR
    conjunct   = negation { "AND" negation }
    negation   = "!" negation | "(" condition ")" | action | comparison
    action     = "ActionMatches" "{" text "}"
    comparison = ("@Request" | "@Resource") "[" attribute "]" operator "{" value { "," value } "}"
    operator   = "ForAnyOfAnyValues:GuidEquals" | "ForAnyOfAnyValues:StringEqualsIgnoreCase"

Whatever else Azure may know is refused here: a condition that is not understood proves nothing.
https://learn.microsoft.com/azure/role-based-access-control/conditions-format
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

_TOKEN = re.compile(
    r"\s*(?:"
    r"(?P<word>AND\b|OR\b|ActionMatches\b)"
    r"|(?P<attribute>@(?P<source>\w+)\[(?P<name>[\w./]+:\w+)\])"
    r"|(?P<operator>[A-Za-z]+:[A-Za-z]+)"
    r"|(?P<text>'[^'\n]*')"
    r"|(?P<guid>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"
    r"|(?P<mark>[(){},!])"
    r")"
)


class Attempt(NamedTuple):
    """Something that somebody wants to do to a role assignment; an attribute that is not known is not in it."""

    action: str
    request: Mapping[str, str] = {}
    resource: Mapping[str, str] = {}


type Test = Callable[[Attempt], bool]


class NotUnderstoodError(ValueError):
    """A condition that is not of the grammar above."""


def parse(condition: str) -> Test:
    """Give what tells whether a condition is true of an attempt; raises NotUnderstoodError."""
    parser = _Parser(condition)
    test = parser.condition()
    parser.end()
    return test


def _equal_guids(value: str, wanted: str) -> bool:
    return _guid(value) == _guid(wanted)


def _guid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


_OPERATORS: dict[str, tuple[str, Callable[[str, str], bool]]] = {
    "ForAnyOfAnyValues:GuidEquals": ("guid", _equal_guids),
    "ForAnyOfAnyValues:StringEqualsIgnoreCase": ("text", lambda value, wanted: value.lower() == wanted.lower()),
}


class _Parser:
    def __init__(self, condition: str) -> None:
        self._condition = condition
        self._at = 0
        self._next: re.Match[str] | None = None
        self._advance()

    def condition(self) -> Test:
        tests = [self._conjunct()]
        while self._takes("OR"):
            tests.append(self._conjunct())
        return lambda attempt: any(test(attempt) for test in tests)

    def end(self) -> None:
        if self._next is not None:
            raise self._wrong("the end")

    def _conjunct(self) -> Test:
        tests = [self._negation()]
        while self._takes("AND"):
            tests.append(self._negation())
        return lambda attempt: all(test(attempt) for test in tests)

    def _negation(self) -> Test:
        if self._takes("!"):
            inner = self._negation()
            return lambda attempt: not inner(attempt)
        if self._takes("("):
            inner = self.condition()
            self._needs(")")
            return inner
        if self._takes("ActionMatches"):
            self._needs("{")
            action = self._needs_kind("text").strip("'").lower()
            self._needs("}")
            return lambda attempt: attempt.action.lower() == action
        return self._comparison()

    def _comparison(self) -> Test:
        found = self._next
        if found is None or found["source"] not in {"Request", "Resource"}:
            raise self._wrong("a comparison")
        source, name = found["source"].lower(), found["name"].lower()
        self._advance()
        operator = self._needs_kind("operator")
        if operator not in _OPERATORS:
            raise NotUnderstoodError(f"{operator} is no operator that is known here")
        kind, equal = _OPERATORS[operator]
        self._needs("{")
        wanted = [self._needs_kind(kind).strip("'")]
        while self._takes(","):
            wanted.append(self._needs_kind(kind).strip("'"))
        self._needs("}")

        def holds(attempt: Attempt) -> bool:
            known: Mapping[str, Any] = getattr(attempt, source)
            value = next((value for key, value in known.items() if key.lower() == name), None)
            return value is not None and any(equal(value, each) for each in wanted)

        return holds

    def _takes(self, token: str) -> bool:
        if self._next is None or self._next[0].strip() != token:
            return False
        self._advance()
        return True

    def _needs(self, token: str) -> None:
        if not self._takes(token):
            raise self._wrong(repr(token))

    def _needs_kind(self, kind: str) -> str:
        found = self._next
        if found is None or found[kind] is None:
            raise self._wrong(f"a {kind}")
        self._advance()
        return found[kind]

    def _advance(self) -> None:
        rest = self._condition[self._at :]
        self._next = _TOKEN.match(rest)
        if self._next is None and rest.strip():
            raise NotUnderstoodError(f"{rest.strip()[:40]!r} is nothing that is known here")
        self._at += self._next.end() if self._next else len(rest)

    def _wrong(self, wanted: str) -> NotUnderstoodError:
        there = "the end" if self._next is None else repr(self._next[0].strip())
        return NotUnderstoodError(f"there is {there} where {wanted} has to be")
