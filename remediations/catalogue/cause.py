"""What a cause of failure is, and the matchers and checks that entries are made of.

A matcher looks at texts and nominates; a check looks at reads and supports or opposes. Texts are written by whoever
wrote the model, so a cause whose action writes needs at least one check that supports it.
"""

import re
from collections.abc import Callable

from msgspec import Struct

from remediations.model import Area, ErrorDetail, Evidence


class Symptoms(Struct, frozen=True, kw_only=True):
    """The texts of a failure: what its errors say, and the last lines of its containers."""

    details: tuple[ErrorDetail, ...] = ()
    log: str = ""

    @classmethod
    def of(cls, code: str | None, message: str, log: str = "") -> "Symptoms":
        """Give the symptoms of one error, for examples and tests."""
        return cls(details=(ErrorDetail(code=code, message=message, depth=0),), log=log)


class Clue(Struct, frozen=True, kw_only=True):
    """What one read says about a cause."""

    read: str
    says: str
    supports: bool


type Facts = dict[str, str]
type Matcher = Callable[[Symptoms], Facts | None]
type Check = Callable[[Evidence], Clue | None]


def always(_facts: Facts) -> bool:
    """Whatever the text names, the action may help."""
    return True


class Cause(Struct, frozen=True, kw_only=True):
    """One known cause of failure.

    Attributes:
        id: Names the fault, not the remedy; never changes, since audit records keep it.
        code: The error code of the troubleshooting guide that the cause belongs to.
        matches: Nominates the cause from texts; its named groups become facts.
        hints: Nominates it too, but from texts that other causes share: then it stands only if a read supports it.
        checks: Reads that support or oppose it. One that opposes rules the cause out.
        asks: The surroundings that its checks, and the plan of its action, look at: read when the texts speak of it.
        needs_support: The texts alone do not make it stand.
        advice: An order to a person; may name facts in braces.
        tells: The read that would settle it against its rivals.
        action: Name of the action that it calls for.
        may_help: Whether the action could help, by the facts of a text; asked only while no read supports the cause.
        examples: Real texts, redacted; each is a test by itself.
        source: The page that documents the error.
    """

    id: str
    code: str
    matches: Matcher
    advice: str
    source: str
    checks: tuple[Check, ...] = ()
    asks: tuple[Area, ...] = ()
    hints: Matcher | None = None
    needs_support: bool = False
    tells: str = "the status of the operation itself"
    action: str | None = None
    may_help: Callable[[Facts], bool] = always
    examples: tuple[Symptoms, ...] = ()


def message(pattern: str) -> Matcher:
    """Match any error's message; the pattern is searched without case, white space matching any white space."""
    compiled = _compiled(pattern)

    def match(symptoms: Symptoms) -> Facts | None:
        return _facts(next((hit for detail in symptoms.details if (hit := compiled.search(detail.message))), None))

    return match


def log(pattern: str) -> Matcher:
    """Match the containers' logs, as `message` does."""
    compiled = _compiled(pattern)

    def match(symptoms: Symptoms) -> Facts | None:
        return _facts(compiled.search(symptoms.log))

    return match


def code(*codes: str) -> Matcher:
    """Match any error's code, without case."""
    wanted = {name.lower() for name in codes}

    def match(symptoms: Symptoms) -> Facts | None:
        return {} if any((detail.code or "").lower() in wanted for detail in symptoms.details) else None

    return match


def every(*matchers: Matcher) -> Matcher:
    """Match if all do; the facts of all."""

    def match(symptoms: Symptoms) -> Facts | None:
        facts: Facts = {}
        for matcher in matchers:
            found = matcher(symptoms)
            if found is None:
                return None
            facts |= found
        return facts

    return match


def either(*matchers: Matcher) -> Matcher:
    """Match if any does; the facts of the first that does."""

    def match(symptoms: Symptoms) -> Facts | None:
        return next((found for matcher in matchers if (found := matcher(symptoms)) is not None), None)

    return match


def without(matcher: Matcher, *others: Matcher) -> Matcher:
    """Match as the first does, if none of the others does."""

    def match(symptoms: Symptoms) -> Facts | None:
        return None if any(other(symptoms) is not None for other in others) else matcher(symptoms)

    return match


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.replace(" ", r"\s+"), re.IGNORECASE)


def _facts(hit: re.Match[str] | None) -> Facts | None:
    return None if hit is None else {name: text for name, text in hit.groupdict().items() if text is not None}
