"""The catalogue against real failures: no false trigger. Collected only when MEDIC_RESEARCH names the folder."""

import json

import pytest

from remediations.catalogue import CAUSES
from remediations.catalogue.matchers import Symptoms
from remediations.classification import classify, classify_text
from remediations.messages import parse
from remediations.model import Found, Unknown
from tests.builders import make_evidence

KNOWN = {cause.id for cause in CAUSES}
# The log alone is no proof of a missing role, and nothing is deleted on a cluster: both are left to a person.
HELD_BACK = {"e038": "kubernetes-quota", "e202": "identity-missing-roles"}
# The guide has a section on CORS, and its own text in it: it is named, though the row asks for no name.
NAMED_ALL_THE_SAME = {"e102": "cors-blocked"}
# The words of a service that the scoring script called: they say nothing of an endpoint.
NOT_NAMED = {"e189"}
PHASES = {"create", "build", "start", "delete", "invoke"}


@pytest.fixture(scope="module")
def rows(research):
    return [json.loads(line) for line in (research / "errors/messages.jsonl").read_text().splitlines()]


def by_text(row):
    """What `medic classify` says of it."""
    phase = row["phase"] if row["phase"] in PHASES else None
    texts = Symptoms(details=parse(row["message"]), log=row["message"], phase=phase)
    return classify_text(texts, CAUSES, compute=row["compute"])


def by_report(row, **changes):
    """What is said of a text of which Azure itself tells nothing."""
    silent = Unknown()
    fields = dict.fromkeys(("resource", "endpoint", "operation", "activity", "history"), silent)
    evidence = make_evidence(**{**fields, "report": parse(row["message"]), **changes})
    return classify(evidence, CAUSES, evidence_digest="d")


def by_log(row):
    """What is said if a deployment's own container wrote it."""
    return by_report(row, report=(), logs={"InferenceServer": Found(row["message"])})


def is_other(row):
    """Whether it is no failure of an online endpoint; the mark decides, as one such row has a code beside it."""
    return row["code"] == "Unknown" or row.get("negative", False)


@pytest.mark.parametrize("way", [by_text, by_report, by_log])
def test_no_real_failure_triggers_an_action_that_it_does_not_call_for(rows, way):
    quiet = [row for row in rows if row["remedy"] == "none"]
    assert len(quiet) == 125
    triggered = [(row["id"], way(row).cause_id) for row in quiet if way(row).action is not None]
    assert triggered == []


@pytest.mark.parametrize("way", [by_text, by_report])
def test_what_calls_for_an_action_nominates_that_one_or_none(rows, way):
    acted = {row["id"]: (row["remedy"], way(row).action) for row in rows if row["remedy"] != "none"}
    assert {name for name, (remedy, action) in acted.items() if action == remedy} == set(acted) - set(HELD_BACK)
    assert all(acted[name][1] is None for name in HELD_BACK)


def test_what_is_held_back_is_named(rows):
    assert {row["id"]: by_text(row).cause_id for row in rows if row["id"] in HELD_BACK} == HELD_BACK


@pytest.mark.parametrize("way", [by_text, by_report])
def test_azure_s_other_errors_are_unknown(rows, way):
    others = [row for row in rows if is_other(row)]
    assert len(others) == 61
    named = {row["id"]: way(row).cause_id for row in others if way(row).cause_id != "unknown"}
    assert named == NAMED_ALL_THE_SAME


@pytest.mark.parametrize("way", [by_text, by_report])
def test_what_is_called_by_a_cause_s_name_is_of_that_cause(rows, way):
    wrong = [
        (row["id"], way(row).cause_id)
        for row in rows
        if way(row).cause_id != "unknown" and row["id"] not in NAMED_ALL_THE_SAME and way(row).cause_id != row["cause"]
    ]
    assert wrong == []


def test_what_the_catalogue_knows_it_names(rows):
    failures = [row for row in rows if not is_other(row)]
    assert len(failures) == 74
    assert {row["cause"] for row in failures} <= KNOWN
    ends = {row["id"]: (by_text(row).cause_id, by_text(row).code) for row in failures}
    wrong = {row["id"] for row in failures if ends[row["id"]] != (row["cause"], row["code"])}
    assert wrong == NOT_NAMED
