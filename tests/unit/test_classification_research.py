"""The catalogue against real failures: no false trigger. Collected only when MEDIC_RESEARCH names the folder."""

import json

import pytest

from remediations.catalogue import CAUSES
from remediations.catalogue.cause import Symptoms
from remediations.classification import classify, nominate
from remediations.messages import parse
from remediations.model import Unknown
from tests.builders import make_evidence

KNOWN = {cause.id for cause in CAUSES}


@pytest.fixture(scope="module")
def rows(research):
    return [json.loads(line) for line in (research / "errors/messages.jsonl").read_text().splitlines()]


def nominated(row):
    return nominate(Symptoms(details=parse(row["message"])), CAUSES)


def diagnosed(row):
    """What is said of a text of which Azure itself tells nothing."""
    silent = Unknown()
    evidence = make_evidence(
        resource=silent,
        endpoint=silent,
        operation=silent,
        activity=silent,
        history=silent,
        report=parse(row["message"]),
    )
    return classify(evidence, CAUSES, evidence_digest="d")


def test_no_real_failure_triggers_an_action_that_it_does_not_call_for(rows):
    quiet = [row for row in rows if row["remedy"] == "none"]
    assert len(quiet) == 125
    triggered = [(row["id"], cause.id) for row in quiet for cause, _ in nominated(row) if cause.action is not None]
    assert triggered == []


def test_no_real_failure_triggers_another_action_than_its_own(rows):
    wrong = [
        (row["id"], cause.id)
        for row in rows
        for cause, _ in nominated(row)
        if cause.action is not None and cause.action != row["remedy"]
    ]
    assert wrong == []


def test_what_calls_for_a_retry_is_nominated_for_one(rows):
    retried = [row for row in rows if row["remedy"] == "retry" and row["cause"] in KNOWN]
    assert [row["id"] for row in retried] == ["e032", "e065", "e175"]
    for row in retried:
        assert (row["cause"], "retry") in [(cause.id, cause.action) for cause, _ in nominated(row)], row["id"]


def test_azure_s_other_errors_are_unknown(rows):
    others = [row for row in rows if row["code"] == "Unknown"]
    assert len(others) == 60
    known = [(row["id"], diagnosis.cause_id) for row in others if (diagnosis := diagnosed(row)).cause_id != "unknown"]
    assert known == []


def test_what_is_called_by_a_cause_s_name_is_of_that_cause(rows):
    wrong = [
        (row["id"], diagnosis.cause_id)
        for row in rows
        if (diagnosis := diagnosed(row)).cause_id not in {"unknown", row["cause"]}
    ]
    assert wrong == []
