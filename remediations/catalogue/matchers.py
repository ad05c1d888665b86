"""Matchers: pure functions that look for a cause in texts, and the texts as they look at them.

Most texts are about none of most causes. So a text is folded once, a matcher knows of which literals it cannot do
without one, and what several causes share is looked for once.
"""

import re
from collections.abc import Callable, Iterable
from functools import cached_property

from msgspec import Struct

from remediations import messages
from remediations.catalogue.literals import Literals, literals, rarity
from remediations.model import ErrorDetail, Phase

_LITERALS = Literals()

type Groups = dict[str, str]


class Folded(Struct, frozen=True, dict=True):
    """Texts in lower case, with one blank or line end for any white space: what most searches can be quick in."""

    raw: tuple[str, ...]

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Each of them, its line ends kept."""
        return tuple([_folded(text) for text in self.raw])

    @cached_property
    def flat(self) -> str:
        """All of them in one line."""
        return "\0".join(self.texts).replace("\n", " ")

    @cached_property
    def literals(self) -> frozenset[str]:
        """Of all that any matcher cannot do without, what stands in that line."""
        return _LITERALS.found_in(self.flat)


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
    def anchors(self) -> frozenset[str]:
        """The sections of the troubleshooting guides that its texts link to, as ``error-outofquota``."""
        texts = (*(detail.message for detail in self.details), self.log)
        return frozenset(name for text in texts for name in messages.anchors(text))

    @cached_property
    def told(self) -> Folded:
        """Its messages, as they are searched."""
        return Folded(tuple(detail.message for detail in self.details))

    @cached_property
    def logged(self) -> Folded:
        """Its log, as it is searched."""
        is_told = len(self.details) == 1 and self.details[0].message == self.log
        return self.told if is_told else Folded((self.log,))

    @cached_property
    def signs(self) -> frozenset[str]:
        """All of what matchers need that is there."""
        codes = (f"code={code}" for code in self.codes)
        statuses = (f"status={status}" for status in self.statuses)
        return self.told.literals.union(self.logged.literals, codes, statuses, (f"phase={self.phase}",))

    @cached_property
    def seen(self) -> "dict[Matcher, Groups | None]":
        """What matchers have found: many causes share one."""
        return {}


class Pattern(Struct, frozen=True, eq=False, dict=True):
    """A regular expression in which a blank stands for any white space, and case does not matter.

    Compiled when it is first needed: most never are, and a start has to be quick.
    """

    text: str

    @cached_property
    def exact(self) -> re.Pattern[str]:
        """For texts as they are."""

        def spaced(part: re.Match[str]) -> str:
            return r"(?:\s+)" if part[0] == " " else part[0].replace(" ", r"\s") if part[0][0] == "[" else part[0]

        return re.compile(_PART.sub(spaced, self.text), re.IGNORECASE | re.ASCII)

    @cached_property
    def quick(self) -> re.Pattern[str]:
        """For folded texts: without a flag for the case, a search can skip to its first letters."""
        return re.compile(self.folded, re.ASCII)

    @cached_property
    def folded(self) -> str:
        parts: list[str] = []
        done = 0
        for part in _PART.finditer(self.text):
            kept = part[0]
            if kept == " ":
                kept = r"[ \n]"
            elif kept[0] == "[":
                kept = _IN_CLASS.sub(lambda one: r"\s" if one[0] == " " else _lower(one[0]), kept)
            parts += (self.text[done : part.start()].lower(), kept)
            done = part.end()
        return "".join((*parts, self.text[done:].lower()))


_PART = re.compile(r"\\.|\(\?P[<=>]\w+|\[\^?(?:\\.|[^\]\\])+\]| ", re.DOTALL)
_IN_CLASS = re.compile(r"\\.|[A-Z ]")


def _lower(text: str) -> str:
    return text if text[0] == "\\" else text.lower()


def _no_words(_symptoms: Symptoms) -> tuple[str, ...]:
    return ()


class Matcher(Struct, frozen=True, eq=False):
    """A pure function from symptoms to the groups that it found, or None.

    Attributes:
        needs: Of each of these sets one has to be there, or it cannot match: literals of its patterns, and signs as
            ``code=outofquota``. Looked for before anything else, as most matchers match nothing.
        words: Gives the words, as they stand in the texts, by which it matches; for people, so it looks once more.
        patterns: Every pattern in it.
    """

    find: Callable[[Symptoms], Groups | None]
    needs: tuple[frozenset[str], ...] = ()
    words: Callable[[Symptoms], tuple[str, ...]] = _no_words
    patterns: frozenset[Pattern] = frozenset()

    def __call__(self, symptoms: Symptoms) -> Groups | None:
        seen = symptoms.seen
        if self not in seen:
            seen[self] = self.find(symptoms)
        return seen[self]


# ------------------------------------------------------------------------------------------- what is looked for


def message(pattern: str) -> Matcher:
    """Match any error's message; the pattern is searched without case, white space matching any white space."""
    wanted = Pattern(pattern)

    def search(symptoms: Symptoms) -> re.Match[str] | None:
        return next((hit for detail in symptoms.details if (hit := wanted.exact.search(detail.message))), None)

    return _searching(wanted, search, lambda symptoms: symptoms.told)


def led_by(pattern: str, *codes: str) -> Matcher:
    """Match an error that begins with the pattern, if no error in the texts has a code but these, or one of a wrapper.

    A sentence of the service's own stands so; one that a container, a tag or a person repeats does not.
    """
    allowed = {name.lower() for name in (*codes, *messages.WRAPPER_CODES, "UserError", "None")}
    begins = message(
        rf"\A(?:(?:error|message|activity failed|(?:deployment|endpoint) [\w-]{{1,64}}): |the |your )?(?:{pattern})"
    )

    def match(symptoms: Symptoms) -> Groups | None:
        return begins(symptoms) if symptoms.codes <= allowed else None

    return Matcher(match, begins.needs, begins.words, begins.patterns)


def log(pattern: str) -> Matcher:
    """Match the containers' logs, as `message` does."""
    wanted = Pattern(pattern)
    return _searching(wanted, lambda symptoms: wanted.exact.search(symptoms.log), lambda symptoms: symptoms.logged)


def anywhere(pattern: str) -> Matcher:
    """Match any error's message or the containers' logs: what a container writes comes by either way."""
    return either(message(pattern), log(pattern))


def code(*codes: str) -> Matcher:
    """Match any error's code, without case."""
    wanted = frozenset(name.lower() for name in codes)

    def match(symptoms: Symptoms) -> Groups | None:
        return {} if wanted & symptoms.codes else None

    def words(symptoms: Symptoms) -> tuple[str, ...]:
        return tuple(detail.code for detail in symptoms.details if detail.code and detail.code.lower() in wanted)

    return Matcher(match, _signs("code", wanted), words)


def anchor(*names: str) -> Matcher:
    """Match a link to one of these sections of a guide: weak evidence, since the service links generously."""
    wanted = frozenset(names)
    _LITERALS.add(wanted)

    def match(symptoms: Symptoms) -> Groups | None:
        if wanted.isdisjoint(symptoms.told.literals) and wanted.isdisjoint(symptoms.logged.literals):
            return None
        return None if wanted.isdisjoint(symptoms.anchors) else {}

    return Matcher(match, (wanted,))


def during(*phases: Phase) -> Matcher:
    """Match if it is known that this was being done."""

    def match(symptoms: Symptoms) -> Groups | None:
        return {} if symptoms.phase in phases else None

    return Matcher(match, _signs("phase", phases))


def answered(*statuses: str) -> Matcher:
    """Match if an alert or a metric says that the endpoint answered with one of these."""
    wanted = frozenset(statuses)

    def match(symptoms: Symptoms) -> Groups | None:
        return {} if wanted & set(symptoms.statuses) else None

    return Matcher(match, _signs("status", wanted))


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

    def words(symptoms: Symptoms) -> tuple[str, ...]:
        return tuple(word for matcher in matchers for word in matcher.words(symptoms))

    return Matcher(match, tuple(need for matcher in matchers for need in matcher.needs), words, _patterns(*matchers))


def either(*matchers: Matcher) -> Matcher:
    """Match if any does; the groups of the first that does."""

    def match(symptoms: Symptoms) -> Groups | None:
        for matcher in matchers:
            if (found := matcher(symptoms)) is not None:
                return found
        return None

    def words(symptoms: Symptoms) -> tuple[str, ...]:
        return next((matcher.words(symptoms) for matcher in matchers if matcher(symptoms) is not None), ())

    needs = [max(matcher.needs, key=rarity) for matcher in matchers if matcher.needs]
    is_known = len(needs) == len(matchers)  # one that needs nothing may match whatever there is
    return Matcher(match, (frozenset().union(*needs),) if is_known else (), words, _patterns(*matchers))


def without(matcher: Matcher, *others: Matcher) -> Matcher:
    """Match as the first does, if none of the others does."""

    def match(symptoms: Symptoms) -> Groups | None:
        found = matcher(symptoms)
        if found is None:
            return None
        for other in others:
            if other(symptoms) is not None:
                return None
        return found

    return Matcher(match, matcher.needs, matcher.words, _patterns(matcher, *others))


def _patterns(*matchers: Matcher) -> frozenset[Pattern]:
    return frozenset(pattern for matcher in matchers for pattern in matcher.patterns)


def _folded(text: str) -> str:
    lines = [" ".join(line.split()) for line in text.lower().split("\n")]
    return "\n".join(filter(None, lines)) if len(lines) > 1 else lines[0]


def _signs(kind: str, names: Iterable[str]) -> tuple[frozenset[str]]:
    return (frozenset(f"{kind}={name}" for name in names),)


def _searching(
    pattern: Pattern,
    search: Callable[[Symptoms], re.Match[str] | None],
    folded: Callable[[Symptoms], Folded],
) -> Matcher:
    """Match a pattern: first its literals, then its lower-case form, and as it stands only for its groups."""
    wanted = literals(pattern.folded)
    _LITERALS.add(wanted)

    def find(symptoms: Symptoms) -> Groups | None:
        where = folded(symptoms)
        if wanted and wanted.isdisjoint(where.literals):
            return None
        quick = pattern.quick
        for text in where.texts:
            if quick.search(text) is not None:
                return _groups(search(symptoms)) if quick.groups else {}
        return None

    def words(symptoms: Symptoms) -> tuple[str, ...]:
        hit = search(symptoms)
        return () if hit is None else (hit[0],)

    return Matcher(find, (wanted,) if wanted else (), words, frozenset((pattern,)))


def _groups(hit: re.Match[str] | None) -> Groups | None:
    return None if hit is None else {name: text for name, text in hit.groupdict().items() if text is not None}
