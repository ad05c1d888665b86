"""Matchers are quick because most of them never run; what they find is the same as if all did, and nothing is slow."""

import json
import re
from pathlib import Path
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remediations import advising, facts
from remediations.catalogue import CAUSES
from remediations.catalogue.index import Catalogue
from remediations.catalogue.literals import literals
from remediations.catalogue.matchers import Pattern, Symptoms, anywhere, code, during, either, every, message, without
from remediations.messages import parse

CORPUS = Path(__file__).parent.parent / "corpus"
TEXTS = [
    json.loads(line)["message"]
    for name in ("failures.jsonl", "unknown.jsonl")
    for line in (CORPUS / name).read_text(encoding="utf-8").splitlines()
]
MATCHERS = [matcher for cause in CAUSES for matcher in (cause.matches, cause.hints) if matcher is not None]
SOURCES = sorted({pattern.text for matcher in MATCHERS for pattern in matcher.patterns})
PATTERNS = [compiled for text in SOURCES for compiled in (Pattern(text).exact, Pattern(text).quick)]
OTHERS = [value for module in (facts, advising) for value in vars(module).values() if isinstance(value, re.Pattern)]
OTHERS += [pattern for _, pattern in facts._PATTERNS]


# ----------------------------------------------------------------------------------------------- the index


def symptoms_of(text, phase=None):
    return Symptoms(details=parse(text), log=text, phase=phase)


@pytest.mark.parametrize("phase", [None, "start", "build", "invoke", "create"])
def test_what_the_index_leaves_out_would_match_nothing(phase):
    for text in TEXTS:
        symptoms = symptoms_of(text, phase)
        likely = {cause.id for cause in CAUSES.candidates(symptoms)}
        for cause in CAUSES:
            if cause.id not in likely:
                found = (cause.matches(symptoms), cause.hints and cause.hints(symptoms))
                assert found == (None, None), (cause.id, text)


def test_few_causes_are_looked_at():
    looked = [len(CAUSES.candidates(symptoms_of(text))) for text in TEXTS]
    assert sum(looked) / len(looked) < len(CAUSES) / 8


def test_a_matcher_that_needs_nothing_is_always_tried():
    cause = CAUSES[0]
    blunt = type(cause)(id="x", code="X", what="x", matches=message(r"\d"), advice="x", source="x")
    assert [one.id for one in Catalogue((blunt,)).candidates(symptoms_of("7"))] == ["x"]


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [
        pytest.param("user container", {"user container"}, id="plain"),
        pytest.param(r"cancell?ed by", {"canceled by", "cancelled by"}, id="an optional letter"),
        pytest.param(r"pip (?:returned|failed)", {"pip returned", "pip failed"}, id="alternatives in the middle"),
        pytest.param(r"one thing|another", {"one thing", "another"}, id="alternatives"),
        pytest.param(r"[0-9]{1,3} nodes are[^\n]{0,9}x", {"nodes are"}, id="the longest run"),
        pytest.param(r"(?P<n>\d+)|word", set(), id="one alternative says nothing"),
        pytest.param(r"\bSKU\b(?! x)", {"sku"}, id="no room for boundaries"),
        pytest.param(r"(?:ab)?", set(), id="nothing has to be there"),
        pytest.param(r"(?:word){2,3}", {"word"}, id="at least once"),
    ],
)
def test_the_literals_of_a_pattern(pattern, texts):
    matcher = message(pattern)
    assert set().union(*matcher.needs) == texts


@given(st.text(alphabet="aAbB \n\t.", max_size=40))
@settings(max_examples=300, deadline=None)
def test_a_quick_search_finds_what_an_exact_one_does(text):
    matcher = message("ab (?P<rest>A|b)")
    hit = re.search(r"ab\s+(?P<rest>A|b)", text, re.IGNORECASE)
    assert matcher(Symptoms.of(None, text)) == (None if hit is None else {"rest": hit["rest"]})


@pytest.mark.parametrize(
    ("matcher", "words"),
    [
        pytest.param(message("not ENOUGH"), ("Not  enough",), id="as they stand"),
        pytest.param(anywhere("6 of"), ("6 of",), id="the message first"),
        pytest.param(code("outofquota"), ("OutOfQuota",), id="a code"),
        pytest.param(every(code("OutOfQuota"), message("quota")), ("OutOfQuota", "quota"), id="every"),
        pytest.param(either(message("plenty"), message("quota")), ("quota",), id="the one that matched"),
        pytest.param(without(message("quota"), message("plenty")), ("quota",), id="without"),
        pytest.param(during("start"), (), id="no text"),
    ],
)
def test_the_words_that_matched(matcher, words):
    assert matcher.words(Symptoms.of("OutOfQuota", "Not  enough\nquota: 6 of 6")) == words


# ------------------------------------------------------------------------------------------- hostile strings

_HOSTILE = ("a", " ", "\n", "1", "'", "(", "x y ", "no such file ", "status code ", "operation ", "model ", "a.b-c/")


def seconds(pattern, text):
    began = process_time()
    pattern.search(text)
    return process_time() - began


def seeds_of(pattern):
    """What a pattern begins to match over and over: its own literals, whole and without their ends."""
    own = sorted(literals(pattern.pattern))[:4]
    return (*_HOSTILE, *own, *(text[:-1] for text in own), *(f"{text} x" for text in own))


@pytest.mark.parametrize("pattern", [*PATTERNS, *OTHERS], ids=lambda pattern: pattern.pattern[:60])
def test_no_pattern_is_slow(pattern):
    """Four times the text takes about four times as long, whatever stands in it; sixteen times would be quadratic."""
    for seed in seeds_of(pattern):
        short, long = ((seed * (size // len(seed) + 1))[:size] for size in (25_000, 100_000))
        quick = slow = 9.0
        for _ in range(3):  # what else the machine does only adds to a time: the least of a few tries counts
            quick, slow = min(quick, seconds(pattern, short)), min(slow, seconds(pattern, long))
            if is_linear := slow < 0.002 or slow / max(quick, 0.0005) < 10:
                break
        assert is_linear, (seed, quick, slow)
