"""The words by which a matcher matches, as people are shown them."""

import pytest

from remediations.catalogue import CAUSES
from remediations.catalogue.matchers import Symptoms, anywhere, code, during, either, every, log, message, without
from remediations.messages import parse

TEXT = Symptoms.of("OutOfQuota", "Not Enough\n quota for CPU", log="line 1\nKilled by signal 9", phase="start")


@pytest.mark.parametrize(
    ("matcher", "words"),
    [
        (message("not enough quota"), ("Not Enough\n quota",)),
        (message("memory"), ()),
        (log("killed by"), ("Killed by",)),
        (code("outofquota"), ("OutOfQuota",)),
        (during("start"), ()),
        (anywhere("signal 9"), ("signal 9",)),
        (either(message("memory"), log("killed"), message("cpu")), ("Killed",)),
        (every(code("OutOfQuota"), message("for cpu"), log("line 1")), ("OutOfQuota", "for CPU", "line 1")),
        (without(message("cpu"), message("memory")), ("CPU",)),
    ],
)
def test_a_matcher_gives_its_words_as_they_stand_in_the_text(matcher, words) -> None:
    assert matcher.words(TEXT) == words


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.id)
def test_the_words_of_a_cause_stand_in_its_examples(cause) -> None:
    for example in cause.examples:
        if cause.matches(example) is None:
            continue
        said = [detail.message for detail in example.details] + [detail.code for detail in example.details]
        words = cause.matches.words(example)
        assert words or example.statuses or example.phase
        assert all(any(word in text for text in (*said, example.log) if text) for word in words)


def test_the_words_of_a_parsed_text_are_those_of_its_errors() -> None:
    text = '{"error": {"code": "Conflict", "message": "Another \\"operation\\" is in progress."}}'
    symptoms = Symptoms(details=parse(text), log=text)
    assert message('another "operation"').words(symptoms) == ('Another "operation"',)
