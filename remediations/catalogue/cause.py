"""What a cause of failure is, and the matchers and checks that entries are made of.

A matcher looks at texts and nominates; a check looks at reads and supports or opposes. Texts are written by whoever
wrote the model, so a cause whose action writes needs at least one check that supports it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Literal

from msgspec import Struct

from remediations.catalogue.literals import literals
from remediations.model import Area, ErrorDetail, Evidence, Phase


class Symptoms(Struct, frozen=True, kw_only=True, dict=True):
    """The texts of a failure: what its errors say, and the last lines of its containers.

    Attributes:
        phase: What was being done, if that is known: it tells a container's traceback from anybody's.
        statuses: HTTP status codes, or classes such as ``5xx``, that an endpoint answers with, by an alert or a metric.
    """

    details: tuple[ErrorDetail, ...] = ()
    log: str = ""
    phase: Phase | None = None
    statuses: tuple[str, ...] = ()

    @classmethod
    def of(cls, code: str | None, message: str, log: str = "", phase: Phase | None = None) -> "Symptoms":
        """Give the symptoms of one error, for examples and tests."""
        return cls(details=(ErrorDetail(code=code, message=message, depth=0),), log=log, phase=phase)

    @cached_property
    def codes(self) -> frozenset[str]:
        """The codes of its errors, in lower case."""
        return frozenset(detail.code.lower() for detail in self.details if detail.code)

    @cached_property
    def folded(self) -> str:
        """Its messages as literals are looked for: in lower case, one blank for any white space."""
        return _folded("\0".join(detail.message for detail in self.details))

    @cached_property
    def folded_log(self) -> str:
        return _folded(self.log)

    @cached_property
    def seen(self) -> "dict[int, Groups | None]":
        """What matchers have found: many causes share one."""
        return {}


class Clue(Struct, frozen=True, kw_only=True):
    """What one read says about a cause."""

    read: str
    says: str
    supports: bool


type Groups = dict[str, str]
type Check = Callable[[Evidence], Clue | None]
type Key = tuple[Literal["text", "log", "code", "phase", "status"], str]


class Matcher(Struct, frozen=True, eq=False):
    """A pure function from symptoms to the groups that it found, or None.

    Attributes:
        needs: One of these must be there, or it cannot match; None if that cannot be said. Looked for first, in all
            matchers at once, since most of them match nothing.
    """

    find: Callable[[Symptoms], Groups | None]
    needs: frozenset[Key] | None = None

    def __call__(self, symptoms: Symptoms) -> Groups | None:
        key = id(self)
        if key not in symptoms.seen:
            symptoms.seen[key] = self.find(symptoms)
        return symptoms.seen[key]


def always(_groups: Groups) -> bool:
    """Whatever the text names, the action may help."""
    return True


class Cause(Struct, frozen=True, kw_only=True):
    """One known cause of failure.

    Attributes:
        id: Names the fault, not the remedy; never changes, since audit records keep it.
        code: The error code of the troubleshooting guide that the cause belongs to.
        also: Further codes under which it arises; the one that stands in the texts, or fits the compute, is given.
        what: What it is, in one sentence.
        matches: Nominates the cause from texts; its named groups become facts.
        hints: Nominates it too, but from texts that other causes share: then it stands only if a read supports it.
        checks: Reads that support or oppose it. One that opposes rules the cause out.
        asks: The surroundings that its checks, and the plan of its action, look at: read when the texts speak of it.
        needs_support: The texts alone do not make it stand.
        refines: Broader causes that share its texts: where it stands, they do not.
        advice: An order to a person; may name facts in braces.
        commands: What to type; names of the incident and facts stand in braces, and are quoted for a shell.
        limits: What Endpoint Medic leaves to a person, and why.
        tells: The read that would settle it against its rivals.
        action: Name of the action that it calls for.
        may_help: Whether the action could help, by the facts of a text; asked only while no read supports the cause.
        examples: Real texts, redacted; each is a test by itself.
        source: The page that documents the error.
    """

    id: str
    code: str
    what: str
    matches: Matcher
    advice: str
    source: str
    also: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    asks: tuple[Area, ...] = ()
    hints: Matcher | None = None
    needs_support: bool = False
    refines: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    limits: str = ""
    tells: str = "the status of the operation itself"
    action: str | None = None
    may_help: Callable[[Groups], bool] = always
    examples: tuple[Symptoms, ...] = ()


class Catalogue(Sequence[Cause]):
    """Causes, and an index of what each cannot match without."""

    def __init__(self, causes: Iterable[Cause]) -> None:
        self._causes = tuple(causes)
        self._always: set[int] = set()
        self._index: dict[Key, list[int]] = {}
        for number, cause in enumerate(self._causes):
            needs = [matcher.needs for matcher in (cause.matches, cause.hints) if matcher is not None]
            if any(need is None for need in needs):
                self._always.add(number)
                continue
            for key in {key for need in needs if need is not None for key in need}:
                self._index.setdefault(key, []).append(number)
        self._texts = [(text, found) for (kind, text), found in self._index.items() if kind == "text"]
        self._logs = [(text, found) for (kind, text), found in self._index.items() if kind == "log"]

    def __len__(self) -> int:
        return len(self._causes)

    def __iter__(self) -> Iterator[Cause]:
        return iter(self._causes)

    def __getitem__(self, number):  # type: ignore[no-untyped-def]
        return self._causes[number]

    def candidates(self, symptoms: Symptoms) -> list[Cause]:
        """Give the causes that could match, in order: all others cannot."""
        found = set(self._always)
        for words, places in ((symptoms.folded, self._texts), (symptoms.folded_log, self._logs)):
            if words:
                for text, numbers in places:
                    if text in words:
                        found.update(numbers)
        keys: list[Key] = [("code", code) for code in symptoms.codes]
        keys += [("status", status) for status in symptoms.statuses]
        keys += [("phase", symptoms.phase)] if symptoms.phase is not None else []
        for key in keys:
            found.update(self._index.get(key, ()))
        return [self._causes[number] for number in sorted(found)]


# ---------------------------------------------------------------------------------------------- matchers


def message(pattern: str) -> Matcher:
    """Match any error's message; the pattern is searched without case, white space matching any white space."""
    compiled = _compiled(pattern)
    wanted = literals(compiled.pattern)

    def match(symptoms: Symptoms) -> Groups | None:
        if wanted and not any(text in symptoms.folded for text in wanted):
            return None
        return _groups(next((hit for detail in symptoms.details if (hit := compiled.search(detail.message))), None))

    return Matcher(match, frozenset(("text", text) for text in wanted) or None)


def log(pattern: str) -> Matcher:
    """Match the containers' logs, as `message` does."""
    compiled = _compiled(pattern)
    wanted = literals(compiled.pattern)

    def match(symptoms: Symptoms) -> Groups | None:
        if wanted and not any(text in symptoms.folded_log for text in wanted):
            return None
        return _groups(compiled.search(symptoms.log))

    return Matcher(match, frozenset(("log", text) for text in wanted) or None)


def anywhere(pattern: str) -> Matcher:
    """Match any error's message or the containers' logs: what a container writes comes by either way."""
    return either(message(pattern), log(pattern))


def code(*codes: str) -> Matcher:
    """Match any error's code, without case."""
    wanted = frozenset(name.lower() for name in codes)

    def match(symptoms: Symptoms) -> Groups | None:
        return {} if wanted & symptoms.codes else None

    return Matcher(match, frozenset(("code", name) for name in wanted))


def during(*phases: Phase) -> Matcher:
    """Match if it is known that this was being done."""

    def match(symptoms: Symptoms) -> Groups | None:
        return {} if symptoms.phase in phases else None

    return Matcher(match, frozenset(("phase", phase) for phase in phases))


def answered(*statuses: str) -> Matcher:
    """Match if an alert or a metric says that the endpoint answered with one of these."""
    wanted = frozenset(statuses)

    def match(symptoms: Symptoms) -> Groups | None:
        return {} if wanted & set(symptoms.statuses) else None

    return Matcher(match, frozenset(("status", status) for status in wanted))


def every(*matchers: Matcher) -> Matcher:
    """Match if all do; the groups of all."""

    def match(symptoms: Symptoms) -> Groups | None:
        groups: Groups = {}
        for matcher in matchers:
            found = matcher(symptoms)
            if found is None:
                return None
            groups |= found
        return groups

    return Matcher(match, _rarest([matcher.needs for matcher in matchers]))


def either(*matchers: Matcher) -> Matcher:
    """Match if any does; the groups of the first that does."""

    def match(symptoms: Symptoms) -> Groups | None:
        return next((found for matcher in matchers if (found := matcher(symptoms)) is not None), None)

    needs = [matcher.needs for matcher in matchers]
    known = [need for need in needs if need is not None]
    return Matcher(match, frozenset().union(*known) if len(known) == len(needs) else None)


def without(matcher: Matcher, *others: Matcher) -> Matcher:
    """Match as the first does, if none of the others does."""

    def match(symptoms: Symptoms) -> Groups | None:
        found = matcher(symptoms)
        return None if found is None or any(other(symptoms) is not None for other in others) else found

    return Matcher(match, matcher.needs)


def _rarest(needs: "list[frozenset[Key] | None]") -> "frozenset[Key] | None":
    """Give the needs that are met least often: all have to be, so any one will do. A phase is met often, a long text
    hardly ever."""
    known = [need for need in needs if need is not None]
    return max(known, key=lambda need: min(0 if kind == "phase" else len(text) for kind, text in need), default=None)


def _folded(text: str) -> str:
    return " ".join(text.lower().split())


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.replace(" ", r"\s+"), re.IGNORECASE)


def _groups(hit: re.Match[str] | None) -> Groups | None:
    return None if hit is None else {name: text for name, text in hit.groupdict().items() if text is not None}
