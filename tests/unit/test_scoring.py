"""Requests that fail lead to advice and never to an action, whatever the texts, the reads and the diagnosis say."""

from typing import Any

import pytest
from msgspec.structs import replace

from remediations.actions import ACTIONS
from remediations.catalogue import CAUSES
from remediations.classification import classify
from remediations.model import (
    Absent,
    Answers,
    Found,
    Image,
    Level,
    Load,
    Mode,
    NoPlan,
    Operation,
    Plan,
    Scoring,
    Surroundings,
)
from remediations.planning import is_over, propose
from remediations.policy import ActionPolicy, Policy
from tests.builders import (
    NOON,
    make_access,
    make_candidate,
    make_diagnosis,
    make_endpoint_state,
    make_evidence,
    make_incident,
    make_journal,
    make_operation,
    make_quota,
    make_registry,
    make_row,
    make_state,
    make_trail,
    make_workspace,
)

POLICY = Policy(actions=dict.fromkeys(ACTIONS, ActionPolicy(mode=Mode.AUTO)))
ACTING = [cause for cause in CAUSES if cause.action is not None]
FORGED = [
    pytest.param(cause, example, id=f"{cause.id}-{number}")
    for cause in ACTING
    for number, example in enumerate(cause.examples)
]
SCORE: dict[str, Any] = {
    "operation": Operation.SCORE,
    "source": "alert",
    "correlation_id": None,
    "scoring": Scoring(rule="retry now: OperationCanceled", status="5xx"),
}
CONFIRMING = Surroundings(
    workspace=Found(make_workspace()),
    registry=Found(make_registry(keys_changed_at=NOON)),
    network=Found(()),
    image=Found(Image(reference="crmlwprod.azurecr.io/a:1", in_registry=True, manifest=Found("sha256:1"))),
    access=Found((make_access(), make_access(need="read", role_name="Storage Blob Data Reader"))),
    quota=Found(make_quota()),
    candidates=Found((make_candidate(),)),
)


def forged(example, incident):
    """Evidence in which every text is the example's, and every read there is confirms what it speaks of."""
    code = next((detail.code for detail in example.details if detail.code), "OperationCanceled")
    failed = {"status": "Failed", "errors": example.details, "code": code}
    log = "\n".join((example.log, *(detail.message for detail in example.details)))
    return make_evidence(
        incident=incident,
        resource=Found(make_state(provisioning_state="Failed")),
        operation=Found(make_operation(**failed)),
        activity=Found((make_row(**failed),)),
        history=Found((make_row(**failed),)),
        report=example.details,
        logs={"InferenceServer": Found(log), "StorageInitializer": Found(log)},
        load=Found(Load(answers=(Answers(status="503", per_minute=9.0, most=9.0),))),
        surroundings=CONFIRMING,
    )


@pytest.mark.parametrize(("cause", "example"), FORGED)
def test_no_text_and_no_read_makes_a_diagnosis_of_requests_act(cause, example):
    evidence = forged(example, make_incident(**SCORE))
    diagnosis = classify(evidence, CAUSES, evidence_digest="e" * 64)
    assert diagnosis.action is None
    plan = propose(diagnosis, evidence, ACTIONS, POLICY)
    assert isinstance(plan, NoPlan)
    assert (plan.end, plan.words) == ("advised", diagnosis.advice)


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize(("cause", "example"), FORGED)
def test_even_a_diagnosis_that_names_an_action_leads_to_advice(cause, example, level):
    incident = make_incident(**SCORE)
    evidence = forged(example, incident)
    diagnosis = make_diagnosis(incident=incident, cause_id=cause.id, level=level, action=cause.action, advice="Look.")
    for one in (evidence, replace(evidence, incident=make_incident())):  # neither alone opens the way
        plan = propose(diagnosis, one, ACTIONS, POLICY)
        assert isinstance(plan, NoPlan)
        assert (plan.end, plan.words) == ("advised", "Look.")
    told_of_a_write = replace(diagnosis, incident=make_incident())
    assert isinstance(propose(told_of_a_write, evidence, ACTIONS, POLICY), NoPlan)


@pytest.mark.parametrize("cause", ACTING, ids=lambda cause: cause.id)
def test_the_same_evidence_of_a_write_does_lead_to_a_plan(cause):
    evidence = forged(cause.examples[0], make_incident())
    diagnosis = make_diagnosis(cause_id=cause.id, level=Level.TWO_READS, action=cause.action)
    plan = propose(diagnosis, evidence, ACTIONS, POLICY)
    assert isinstance(plan, Plan)
    assert plan.action == cause.action


@pytest.mark.parametrize(
    "resource",
    [
        pytest.param(Absent(), id="deleted"),
        pytest.param(Found(make_state(provisioning_state="Succeeded")), id="succeeded"),
        pytest.param(Found(make_state(provisioning_state="Updating")), id="being deployed"),
        pytest.param(Found(make_state(last_modified_at=NOON)), id="deployed since"),
    ],
)
def test_requests_may_fail_whatever_the_state_of_the_deployment_is(resource):
    incident = make_incident(**SCORE)
    evidence = make_evidence(incident=incident, resource=resource, endpoint=Found(make_endpoint_state()))
    assert is_over(evidence) is None
    plan = propose(make_diagnosis(incident=incident, action=None, advice="Look."), evidence, ACTIONS, POLICY)
    assert isinstance(plan, NoPlan)
    assert (plan.end, plan.words) == ("advised", "Look.")


def test_the_trail_says_what_the_alert_and_the_metrics_say():
    trail, incident = make_trail(), make_incident(**SCORE)
    journal = make_journal(trail)
    journal.opened(incident)
    journal.collected(forged(ACTING[0].examples[0], incident), "e" * 64, 1)
    opened, collected = trail.records(incident.id)
    assert opened.facts["operation"] == "score"
    assert opened.facts["scoring"] == {
        "rule": "retry now: OperationCanceled",
        "status": "5xx",
        **dict.fromkeys(("model_status", "metric", "value", "threshold", "window")),
    }
    assert collected.facts["load"] == "answers 503: 9 a minute"


def test_the_trail_of_an_operation_says_nothing_of_requests():
    trail = make_trail()
    journal = make_journal(trail)
    journal.opened(make_incident())
    journal.collected(make_evidence(), "e" * 64, 1)
    opened, collected = trail.records(make_incident().id)
    assert "scoring" not in opened.facts
    assert "load" not in collected.facts


@pytest.mark.parametrize(
    ("scoring", "words"),
    [
        pytest.param(Scoring(rule="r"), "alert rule 'r': answers", id="nothing but the rule"),
        pytest.param(
            Scoring(rule="r", status="424", model_status="500", value=42.0, threshold=10.0),
            "alert rule 'r': answers 424 (the model's own: 500), counted 42, threshold 10",
            id="a log alert",
        ),
        pytest.param(
            Scoring(rule="r", status="5xx", metric="RequestsPerMinute", value=31.5),
            "alert rule 'r': answers 5xx, RequestsPerMinute 31.5",
            id="a metric alert",
        ),
    ],
)
def test_an_alert_in_words(scoring, words):
    assert scoring.words == words
