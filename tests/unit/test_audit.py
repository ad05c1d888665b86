"""Records say what happened, once, and never what a log or an error said."""

from datetime import timedelta

import pytest

from remediations.actions.retry import RETRY
from remediations.errors import StoreUnavailable
from remediations.guards import decide
from remediations.model import (
    Caller,
    End,
    ErrorDetail,
    Facts,
    Found,
    Mode,
    NoPlan,
    Operation,
    Status,
    Surroundings,
    Unknown,
    Verification,
)
from remediations.trail import Answered, Question
from tests.builders import (
    CORRELATION,
    DEPLOYMENT,
    NOON,
    SOMEBODY,
    make_diagnosis,
    make_evidence,
    make_incident,
    make_intent,
    make_journal,
    make_operation,
    make_outcome,
    make_plan,
    make_row,
    make_situation,
    make_state,
    make_trail,
    store_of,
)

SECRET = "the model's author wrote this text, with a k3y"
TOLD = (ErrorDetail(code="OperationCanceled", message=SECRET, depth=0),)


def record_all(journal):
    """Every record that a walk can write, with a text of the outside in every place that can carry one."""
    row = make_row(errors=TOLD)
    evidence = make_evidence(
        operation=Found(make_operation(errors=TOLD)),
        activity=Found((row,)),
        history=Found((row,)),
        report=TOLD,
        logs={"InferenceServer": Found(SECRET)},
        resource=Found(make_state(tags={"note": SECRET}, environment=SECRET)),
        surroundings=Surroundings(network=Found((SECRET,))),
    )
    diagnosis = make_diagnosis(message=SECRET, facts=Facts(module=SECRET))
    plan = make_plan(diagnosis=diagnosis)
    decision = decide(plan, make_situation(tags={"note": SECRET}), RETRY.guards, situation_digest="s" * 64)
    journal.opened(make_incident())
    journal.collected(evidence, "e" * 64, 2)
    journal.diagnosed(diagnosis)
    journal.planned(plan)
    journal.planned(NoPlan(diagnosis=diagnosis, end="advised", words="Read the logs."))
    journal.decided(decision, when="deciding")
    journal.decided(decision, when="before effect 1")
    question = Question(
        at=NOON, incident_id=make_incident().id, plan=plan.digest, decision="d", policy_version="v", expires_at=NOON
    )
    journal.asked(question)
    journal.answered(make_incident().id, Answered(at=NOON, plan=plan.digest, approved=True, words="ok", by=SOMEBODY))
    journal.waits(plan, 0, "another incident works on the target")
    journal.waits(plan, 0, "another incident works on the target")
    journal.unneeded(plan, 0, "the keys were synced by another incident")
    journal.intended(make_intent())
    journal.came_of(make_intent(), make_outcome(codes=("BadRequest",), status=Status.REJECTED))
    journal.verified(plan, 0, Verification(end=End.REPAIRED, words="green is Succeeded", evidence="e" * 64))
    journal.linked(make_incident().id, "event-1", "Microsoft.Resources.ResourceWriteFailure")
    journal.ended(make_incident().id, End.REPAIRED, "green is Succeeded")


def records(trail):
    return trail.records(make_incident().id)


def test_every_stage_leaves_its_record_in_order():
    trail = make_trail()
    record_all(make_journal(trail))
    assert [(record.seq, record.stage) for record in records(trail)] == list(
        enumerate(
            [
                "incident",
                "evidence",
                "diagnosis",
                "plan",
                "plan",
                "decision",
                "decision",
                "question",
                "answer",
                "wait",
                "unneeded",
                "intent",
                "outcome",
                "verification",
                "linked-event",
                "end",
            ]
        )
    )


def test_recording_all_of_it_twice_leaves_it_once():
    trail = make_trail()
    journal = make_journal(trail)
    record_all(journal)
    before = records(trail)
    record_all(journal)
    assert records(trail) == before


def test_no_text_of_an_error_a_log_or_a_tag_is_in_any_record():
    trail = make_trail()
    record_all(make_journal(trail))
    content = trail.store.read(f"audit/{make_incident().id}/0000.jsonl").decode()
    assert "k3y" not in content
    assert "OperationCanceled" in content


def test_of_a_person_only_ids_are_in_a_record():
    trail = make_trail()
    make_journal(trail).opened(make_incident())
    (record,) = records(trail)
    assert record.facts["caller"] == {
        "oid": "cccccccc-1111-4222-8333-dddddddddddd",
        "appid": "aaaaaaaa-1111-4222-8333-bbbbbbbbbbbb",
        "tid": "99999999-8888-7777-6666-555555555555",
    }


def test_a_record_says_when_in_which_mode_and_under_which_policy():
    trail = make_trail()
    make_journal(trail, lambda: NOON + timedelta(seconds=5)).opened(make_incident(operation=Operation.DELETE))
    (record,) = records(trail)
    assert (record.at, record.mode, record.policy_version) == (NOON + timedelta(seconds=5), Mode.AUTO, "0123456789ab")
    assert (record.facts["operation"], record.facts["resource"]) == ("delete", DEPLOYMENT)
    assert record.facts["correlation_id"] == CORRELATION


def test_what_could_not_be_read_is_recorded_as_unknown_with_the_reason():
    trail = make_trail()
    evidence = make_evidence(
        resource=Unknown("429: throttled"), operation=Unknown("nothing names it"), activity=Unknown()
    )
    make_journal(trail).collected(evidence, "e" * 64, 1)
    (record,) = records(trail)
    assert record.facts["resource"] == "unknown (429: throttled)"
    assert record.facts["operation"] == "unknown (nothing names it)"
    assert record.facts["activity"] == "unknown (not read)"


def test_a_decision_names_every_guard_with_its_words():
    trail = make_trail()
    decision = decide(make_plan(), make_situation(history=Unknown("429")), RETRY.guards, situation_digest="s" * 64)
    make_journal(trail).decided(decision, when="deciding")
    (record,) = records(trail)
    guards = record.facts["guards"]
    assert isinstance(guards, list)
    assert len(guards) == 14
    assert {
        "guard": "nobody-intervened",
        "answer": "unknown",
        "words": "the Activity Log of the resource cannot be read",
    } in guards
    assert record.facts["calls"] == [f"PUT {DEPLOYMENT}?api-version=2024-10-01"]


def test_another_decision_is_another_record():
    trail = make_trail()
    journal = make_journal(trail)
    for digest in ("s" * 64, "t" * 64, "s" * 64):
        journal.decided(
            decide(make_plan(), make_situation(), RETRY.guards, situation_digest=digest), when="before effect 1"
        )
    assert [record.facts["situation"] for record in records(trail)] == ["s" * 64, "t" * 64]


def test_a_record_that_cannot_be_kept_is_an_error_and_nothing_else():
    trail = make_trail()
    store_of(trail).fails = lambda _: True
    with pytest.raises(StoreUnavailable):
        make_journal(trail).opened(make_incident(caller=Caller()))
    assert records(trail) == ()


def test_the_end_that_is_on_the_record_is_the_end_also_if_the_walk_that_wrote_it_died():
    trail = make_trail()
    journal = make_journal(trail)
    assert journal.ended("inc-1", End.INCONCLUSIVE, "nobody can tell") == (End.INCONCLUSIVE, "nobody can tell")
    assert journal.ended("inc-1", End.NOT_REPAIRED, "it failed again") == (End.INCONCLUSIVE, "nobody can tell")
    (record,) = trail.records("inc-1", ("end",))
    assert record.facts["end"] == "inconclusive"
