"""A plan says exactly what would be done, and its digest is the name of just that."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from remediations.actions import ACTIONS
from remediations.model import Absent, Found, Level, Mode, NoPlan, Operation, Plan, Risk, Unknown
from remediations.planning import backoff, plan_digest, propose
from remediations.policy import ActionPolicy, Policy, Rule, Scope
from tests.builders import (
    DELETE,
    DEPLOYMENT,
    FAILED_AT,
    OTHER_CORRELATION,
    make_call,
    make_diagnosis,
    make_evidence,
    make_incident,
    make_plan,
    make_row,
    make_state,
)

POLICY = Policy(actions={"retry": ActionPolicy(mode=Mode.AUTO)})


def proposed(evidence=None, *, policy=POLICY, actions=ACTIONS, try_number=1, **diagnosis):
    evidence = evidence or make_evidence()
    told = make_diagnosis(incident=evidence.incident, **diagnosis)
    return propose(told, evidence, actions, policy, try_number=try_number)


def test_a_confirmed_cause_with_an_action_gives_a_plan():
    plan = proposed()
    assert isinstance(plan, Plan)
    assert (plan.action, plan.risk, plan.target) == ("retry", Risk.REPEATABLE, (DEPLOYMENT.lower(),))
    assert plan.calls == (make_call(),)
    assert plan.policy_version == POLICY.version
    assert plan.digest == plan_digest(plan)


@pytest.mark.parametrize(
    ("diagnosis", "actions", "words"),
    [
        pytest.param(
            {"action": None, "cause_id": "unknown", "advice": "Read the logs."},
            ACTIONS,
            "Read the logs.",
            id="only advice helps",
        ),
        pytest.param(
            {"action": "resize", "advice": "Take a larger machine."},
            ACTIONS,
            "Take a larger machine. (no action resize here)",
            id="an action that is not here",
        ),
        pytest.param(
            {"level": Level.TEXT_ONLY, "advice": "Run it again."},
            ACTIONS,
            "the text speaks of canceled-higher-priority, and no read of Azure confirms it. Run it again.",
            id="the text alone",
        ),
    ],
)
def test_what_gives_no_plan_gives_advice(diagnosis, actions, words):
    plan = proposed(actions=actions, **diagnosis)
    assert isinstance(plan, NoPlan)
    assert (plan.end, plan.words) == ("advised", words)


LATER = FAILED_AT + timedelta(minutes=2)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        pytest.param({"provisioning_state": "Succeeded"}, "is Succeeded", id="it succeeded since"),
        pytest.param({"provisioning_state": "Creating"}, "is Creating", id="it is being created"),
        pytest.param({"provisioning_state": "Updating"}, "is Updating", id="it is being updated"),
        pytest.param({"provisioning_state": "Scaling"}, "is Scaling", id="it is being scaled"),
        pytest.param({"provisioning_state": "Deleting"}, "is being deleted", id="it is being deleted"),
        pytest.param(
            {"last_modified_at": LATER}, "was deployed again at 11:57:00 UTC, not by us", id="a person's write"
        ),
        pytest.param(
            {"last_modified_at": LATER, "modified_by_us": None},
            "was deployed again at 11:57:00 UTC, not by us",
            id="whose is unknown",
        ),
    ],
)
@pytest.mark.parametrize("action", ["retry", None])
def test_a_failure_that_is_over_leaves_nothing_to_do(state, words, action):
    plan = proposed(make_evidence(resource=Found(make_state(**state))), action=action)
    assert isinstance(plan, NoPlan)
    assert plan.end == "nothing-to-do"
    assert words in plan.words


def test_what_somebody_deleted_since_is_not_created_again():
    delete = make_row(operation_name=DELETE, status="Succeeded", correlation_id=OTHER_CORRELATION, at=LATER, errors=())
    plan = proposed(make_evidence(resource=Absent(), history=Found((make_row(), delete))))
    assert isinstance(plan, NoPlan)
    assert (plan.end, plan.words) == (
        "nothing-to-do",
        "mlw-prod/credit-scoring/green was deleted since: nothing is created again",
    )


def test_a_target_that_cannot_be_read_gives_no_plan():
    plan = proposed(make_evidence(resource=Unknown("429")))
    assert isinstance(plan, NoPlan)
    assert (plan.end, plan.words) == ("advised", "the state of mlw-prod/credit-scoring/green is unknown (429)")


# ------------------------------------------------------------------------------------------------- the digest


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"action": "other"}, id="action"),
        pytest.param({"target": ("another",)}, id="target"),
        pytest.param({"parameters": {"body": "desired"}}, id="parameters"),
        pytest.param({"calls": (make_call(method="DELETE"),)}, id="method"),
        pytest.param({"calls": (make_call(path=DEPLOYMENT + "x"),)}, id="path"),
        pytest.param({"calls": (make_call(body_digest="other"),)}, id="body"),
        pytest.param({"calls": (make_call(api_version="2025-01-01"),)}, id="api version"),
        pytest.param({"calls": ()}, id="no call"),
        pytest.param({"calls": (make_call(), make_call())}, id="one call more"),
        pytest.param({"steps": (replace(make_plan().steps[0], wait=timedelta(minutes=2)),)}, id="a wait between calls"),
        pytest.param({"policy_version": "another"}, id="policy version"),
        pytest.param({"fingerprint": {"state": "Failed"}}, id="fingerprint"),
        pytest.param({"try_number": 2}, id="which try it is"),
        pytest.param({"diagnosis": make_diagnosis(incident=make_incident(id="inc-other"))}, id="another failure"),
    ],
)
def test_a_plan_that_would_do_something_else_has_another_digest(changes):
    assert make_plan(**changes).digest != make_plan().digest


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"digest": "x"}, id="itself"),
        pytest.param({"diagnosis": make_diagnosis(advice="other", evidence="f" * 64)}, id="the diagnosis"),
        pytest.param({"diagnosis": make_diagnosis(incident=make_incident(event_id="other"))}, id="the event"),
        pytest.param({"effect": "other words"}, id="its words"),
        pytest.param({"undo": "other words"}, id="how it is undone"),
        pytest.param({"wait": timedelta(minutes=9)}, id="how long it waits"),
        pytest.param({"needs_person": "why"}, id="who decides"),
    ],
)
def test_a_plan_that_would_do_the_same_has_the_same_digest(changes):
    assert plan_digest(replace(make_plan(), **changes)) == make_plan().digest


def test_the_same_evidence_gives_the_same_plan():
    assert proposed() == proposed()


@pytest.mark.parametrize(
    "state",
    [
        {"last_modified_at": FAILED_AT - timedelta(minutes=2)},
        {"spec_digest": "spec-2"},
        {"operation_url": "/other"},
        {"provisioning_state": "Failed"},
    ],
    ids=["last modified", "spec", "operation", "state"],
)
def test_a_target_that_changed_gives_another_digest(state):
    first, second = proposed(), proposed(make_evidence(resource=Found(make_state(**state))))
    assert isinstance(first, Plan)
    assert isinstance(second, Plan)
    assert first.digest != second.digest


# ------------------------------------------------------------------------------------------------ the backoff

FIRST, MOST = timedelta(seconds=30), timedelta(minutes=10)


@given(st.text(min_size=1, max_size=30), st.integers(1, 10_000))
def test_the_wait_doubles_within_a_fifth_and_below_the_most(incident_id, try_number):
    wait = backoff(incident_id, try_number, FIRST, MOST)
    plain = min(30.0 * 2 ** min(try_number - 1, 20), 600.0)
    assert 0.8 * plain - 0.001 <= wait.total_seconds() <= 1.2 * plain + 0.001


@given(st.text(max_size=30), st.integers(1, 50))
def test_the_wait_is_the_same_whenever_it_is_asked_for(incident_id, try_number):
    assert backoff(incident_id, try_number, FIRST, MOST) == backoff(incident_id, try_number, FIRST, MOST)


def test_a_storm_of_incidents_is_spread():
    waits = {round(backoff(f"inc-{number}", 1, FIRST, MOST).total_seconds()) for number in range(200)}
    assert min(waits) == 24
    assert max(waits) == 36
    assert len(waits) == 13


def test_no_wait_stays_no_wait():
    assert backoff("inc-1", 3, timedelta(0), MOST) == timedelta(0)


def test_the_wait_is_that_of_the_rule_that_holds():
    rule = Rule(scope=Scope(workspace="mlw-*"), backoff=timedelta(minutes=5))
    plan = proposed(policy=Policy(actions=POLICY.actions, rules=(rule,)), try_number=2)
    assert isinstance(plan, Plan)
    assert timedelta(minutes=8) <= plan.wait <= timedelta(minutes=12)
    assert plan.try_number == 2


def test_a_failed_delete_is_not_called_over_by_a_succeeded_deployment():
    evidence = make_evidence(
        incident=make_incident(operation=Operation.DELETE), resource=Found(make_state(provisioning_state="Succeeded"))
    )
    assert isinstance(proposed(evidence), Plan)
