"""The catalogue against real failures: no false trigger. Collected only when MEDIC_RESEARCH names the folder."""

import json
from collections import Counter

import pytest

from remediations.catalogue import CAUSES
from remediations.catalogue.cause import Symptoms
from remediations.classification import classify, classify_text
from remediations.messages import parse
from remediations.model import Found, Unknown
from tests.builders import make_evidence

KNOWN = {cause.id for cause in CAUSES}
# The log alone is no proof of a missing role, and nothing is deleted on a cluster: both are left to a person.
HELD_BACK = {"e038": "kubernetes-quota", "e202": "unknown"}


@pytest.fixture(scope="module")
def rows(research):
    return [json.loads(line) for line in (research / "errors/messages.jsonl").read_text().splitlines()]


def by_text(row):
    """What `medic classify` says of it."""
    texts = Symptoms(details=parse(row["message"]), log=row["message"])
    return classify_text(texts, CAUSES, compute=row["compute"])


def by_silence(row):
    """What is said of a text of which Azure itself tells nothing."""
    silent = Unknown()
    evidence = make_evidence(
        resource=silent,
        endpoint=silent,
        operation=silent,
        activity=silent,
        history=silent,
        report=parse(row["message"]),
        logs={"InferenceServer": Found(row["message"])},
    )
    return classify(evidence, CAUSES, evidence_digest="d")


def expected(row):
    return "unknown" if row["code"] == "Unknown" else row["cause"]


WAYS = pytest.mark.parametrize("way", [by_text, by_silence])


@WAYS
def test_no_real_failure_triggers_an_action_that_it_does_not_call_for(rows, way):
    quiet = [row for row in rows if row["remedy"] == "none"]
    assert len(quiet) == 125
    triggered = [(row["id"], way(row).cause_id) for row in quiet if way(row).action is not None]
    assert triggered == []


@WAYS
def test_what_calls_for_an_action_nominates_that_one_or_none(rows, way):
    acted = {row["id"]: (row["remedy"], way(row).action) for row in rows if row["remedy"] != "none"}
    assert {name for name, (remedy, action) in acted.items() if action == remedy} == set(acted) - set(HELD_BACK)
    assert all(acted[name][1] is None for name in HELD_BACK)
    assert {row["id"]: way(row).cause_id for row in rows if row["id"] in HELD_BACK} == HELD_BACK


@WAYS
def test_azure_s_other_errors_are_unknown(rows, way):
    others = [row for row in rows if row["code"] == "Unknown"]
    assert len(others) == 60
    assert [(row["id"], way(row).cause_id) for row in others if way(row).cause_id != "unknown"] == []


@WAYS
def test_what_is_called_by_a_cause_s_name_is_of_that_cause(rows, way):
    wrong = [
        (row["id"], way(row).cause_id, way(row).code)
        for row in rows
        if way(row).cause_id != "unknown" and (way(row).cause_id, way(row).code) != (row["cause"], row["code"])
    ]
    assert wrong == []


def test_what_the_catalogue_knows_it_names(rows):
    """Every row of a cause that has an entry is named, but for what its log alone cannot prove."""
    ends = Counter(
        "named" if by_text(row).cause_id == row["cause"] else row["id"] for row in rows if expected(row) in KNOWN
    )
    assert ends == Counter({"named": 28, "e202": 1})
