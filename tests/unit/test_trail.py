"""What lies on the trail, and that of any number of callers one wins."""

from datetime import timedelta

import pytest

from remediations.errors import AlreadyExists, AppendConflict, NotFound, StoreUnavailable, UnsafeName
from remediations.model import Actor, AuditRecord, Disposition, End, Mode, Status
from remediations.policy import Pause
from remediations.trail import (
    Answered,
    Ended,
    Intake,
    Joined,
    Question,
    Result,
    Settled,
    Slot,
    Trail,
    counts_as_attempt,
)
from tests.builders import (
    DEPLOYMENT,
    ENDPOINT,
    NOON,
    SUBSCRIPTION,
    MemoryStore,
    make_effect,
    make_incident,
    make_intent,
    make_journal,
    make_outcome,
    make_resource,
    make_trail,
    store_of,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
KEY = DEPLOYMENT.lower()


def record(key="incident:opened", **changes):
    fields = {
        "seq": 0,
        "at": NOON,
        "incident": make_incident().id,
        "stage": "incident",
        "key": key,
        "actor": Actor(),
        "mode": Mode.AUTO,
        "policy_version": "v",
        "facts": {"a": 1},
        "previous": "",
    }
    return AuditRecord(**{**fields, **changes})


# ------------------------------------------------------------------------------------------------- incidents


def test_an_incident_is_claimed_by_one_nonce_and_stays_its_own():
    trail = make_trail()
    answers = [trail.open_incident(make_incident(), nonce, NOON) for nonce in ("a", "b", "a")]
    assert answers == [True, False, True]
    opened = trail.opened(make_incident().id)
    assert opened is not None
    assert (opened.nonce, opened.incident) == ("a", make_incident())


def test_an_incident_is_found_by_its_deployment_and_by_its_endpoint_in_any_casing():
    trail = make_trail()
    trail.open_incident(make_incident(), "n", NOON)
    for key in (DEPLOYMENT.lower(), ENDPOINT.lower(), DEPLOYMENT.upper()):
        assert [incident.id for incident in trail.incidents_of(key)] == [make_incident().id]
    assert list(trail.incidents_of(f"{KEY}-2")) == []
    assert list(trail.incidents()) == [make_incident().id]


def test_the_first_end_of_an_incident_stands():
    trail = make_trail()
    for end in (End.REPAIRED, End.NOT_REPAIRED):
        trail.end_incident(Ended(at=NOON, end=end, words="x", incident=make_incident()))
    ended = trail.ended(make_incident().id)
    assert ended is not None
    assert ended.end is End.REPAIRED
    assert trail.ended("inc-other") is None


def test_what_is_joined_fills_only_what_is_missing():
    trail = make_trail()
    incident = make_incident(operation_url="/mine")
    trail.join(
        incident.id, Joined(event_id="ci-1", source="ci", operation_url="/theirs", desired_spec_url="https://a/b")
    )
    trail.join(incident.id, Joined(event_id="ci-1", source="ci", desired_spec_url="https://second/delivery"))
    joined = trail.with_joined(incident)
    assert (joined.operation_url, joined.desired_spec_url) == ("/mine", "https://a/b")


def test_every_delivery_leaves_its_own_record():
    trail = make_trail()
    for nonce in ("a", "b"):
        trail.record_intake(
            Intake(at=NOON, event_id="../../e 1", event_type="t", disposition=Disposition.IGNORED), nonce
        )
    assert [intake.event_id for intake in trail.intakes(NOON)] == ["../../e 1", "../../e 1"]
    assert list(trail.intakes(NOON + DAY)) == []
    assert [trail.intake(name).event_id for name in trail.intake_names(NOON)] == ["../../e 1", "../../e 1"]


def test_an_incident_is_worked_on_from_its_first_call_that_azure_took_to_its_end():
    trail, incident = make_trail(), make_incident()
    seen = []
    trail.open_incident(incident, "n", NOON)
    seen.append(trail.is_worked_on(incident))
    trail.open_intent(make_effect(), make_intent(), (KEY,))
    seen.append(trail.is_worked_on(incident))
    trail.close_intent(make_effect().plan, 0, 1, make_outcome())
    seen += [trail.is_worked_on(incident), trail.is_worked_on(make_incident(id="inc-other"))]
    trail.end_incident(Ended(at=NOON, end=End.REPAIRED, words="", incident=incident))
    seen.append(trail.is_worked_on(incident))
    assert seen == [False, True, True, False, False]


# --------------------------------------------------------------------------------------------------- records


def test_records_are_numbered_and_the_same_key_is_kept_once():
    trail = make_trail()
    for key in ("a", "b", "a", "c"):
        trail.append_record(record(key))
    assert [(one.seq, one.key) for one in trail.records(make_incident().id)] == [(0, "a"), (1, "b"), (2, "c")]
    assert trail.records("inc-other") == ()


def test_only_the_records_of_some_stages_are_read_whatever_their_facts_say():
    trail = make_trail()
    journal = make_journal(trail)
    journal.record("inc-1", "intent", "a", of={"stage": "decision"})
    journal.record("inc-1", "decision", "b", words='"stage":"intent"', of={"stage": "intent"})
    assert [(record.stage, record.seq) for record in trail.records("inc-1", ("decision", "plan"))] == [("decision", 1)]
    content = trail.store.read("audit/inc-1/0000.jsonl")
    trail.store.append("audit/inc-1/0000.jsonl", b'{"not": "a record","stage":"told"}\n', len(content))
    assert len(trail.records("inc-1", ("decision",))) == 1
    with pytest.raises(ValueError, match="missing required field"):
        trail.records("inc-1")


def test_a_record_gives_way_to_one_that_came_between():
    trail = make_trail()
    store = store_of(trail)
    between = [record("between")]

    def interrupt(name):
        if between:
            Trail(store).append_record(between.pop())  # as another process does
        return False

    store.fails = interrupt
    trail.append_record(record("mine"))
    assert [one.key for one in trail.records(make_incident().id)] == ["between", "mine"]


def test_a_record_that_never_finds_its_place_is_an_error():
    class Busy(MemoryStore):
        def append(self, name, content, at):
            raise AppendConflict(name, at, at + 1)

    trail = make_trail()
    trail.store = Busy()
    with pytest.raises(AppendConflict):
        trail.append_record(record())


# --------------------------------------------------------------------------------------------------- effects


def test_one_intent_wins_and_is_found_by_target_and_by_request():
    trail = make_trail()
    assert trail.open_intent(make_effect(), make_intent(), (KEY,)) is True
    assert trail.open_intent(make_effect(), make_intent(nonce="other"), (KEY,)) is False
    intent = trail.intent("p" * 64, 0, 1)
    assert intent is not None
    assert intent.nonce == "nonce-1"
    assert trail.effects_on(KEY.upper()) == ((make_effect(), None),)
    assert trail.request(make_intent().request_id) == make_incident().id
    assert [one for one, _ in trail.intents()] == [make_intent()]


def test_an_index_without_its_intent_counts_for_nothing():
    trail = make_trail()
    store_of(trail).fails = lambda name: name.endswith("/intent")
    with pytest.raises(StoreUnavailable):
        trail.open_intent(make_effect(), make_intent(), (KEY,))
    assert trail.effects_on(KEY) == ()
    assert list(trail.intents()) == []


def test_the_first_outcome_stands():
    trail = make_trail()
    trail.open_intent(make_effect(), make_intent(), (KEY,))
    first, second = make_outcome(status=Status.UNCLEAR), make_outcome()
    assert trail.close_intent("p" * 64, 0, 1, first) == first
    assert trail.close_intent("p" * 64, 0, 1, second) == first
    assert trail.effects_on(KEY) == ((make_effect(), first),)


def test_an_intent_is_open_until_a_record_tells_what_came_of_it():
    trail = make_trail()
    trail.open_intent(make_effect(), make_intent(), (KEY,))
    trail.close_intent("p" * 64, 0, 1, make_outcome())
    assert len(trail.open_intents()) == 1
    assert not trail.is_recorded("p" * 64, 0, 1)
    trail.mark_recorded("p" * 64, 0, 1)
    trail.mark_recorded("p" * 64, 0, 1)
    assert trail.is_recorded("p" * 64, 0, 1)
    assert trail.open_intents() == ()


def test_how_an_operation_came_out_is_kept_once_and_no_word_is_not_a_good_one():
    trail = make_trail()
    assert trail.settled("p" * 64, 0, 1) is None
    first = Settled(at=NOON, held=False)
    trail.settle("p" * 64, 0, 1, first)
    trail.settle("p" * 64, 0, 1, Settled(at=NOON, held=True))
    assert trail.settled("p" * 64, 0, 1) == first
    assert trail.settled("p" * 64, 1, 1) is None
    assert list(trail.open_intents()) == []


def test_effects_come_oldest_first():
    trail = make_trail()
    for attempt, at in ((1, NOON), (2, NOON - HOUR), (3, NOON - DAY)):
        trail.open_intent(make_effect(attempt=attempt, at=at), make_intent(request_id=f"medic-{attempt}"), (KEY,))
    assert [effect.attempt for effect, _ in trail.effects_on(KEY)] == [3, 2, 1]


@pytest.mark.parametrize("request_id", ["", "-", "a/b", "../x", "x" * 65, "ü", "a b", "."])
def test_a_request_id_that_is_no_name_belongs_to_nobody(request_id):
    assert make_trail().request(request_id) is None


@pytest.mark.parametrize(
    ("status", "counts"),
    [
        (None, True),
        (Status.ACCEPTED, True),
        (Status.UNCLEAR, True),
        (Status.REJECTED, True),
        (Status.FORBIDDEN, True),
        (Status.BUSY, False),
        (Status.THROTTLED, False),
        (Status.NOT_DONE, True),
        (Status.UNSENT, False),
        (Status.REFUSED, False),
    ],
)
def test_an_effect_counts_unless_nothing_was_done(status, counts):
    assert counts_as_attempt(None if status is None else make_outcome(status=status)) is counts


# ------------------------------------------------------------------------------------------- budgets, results


def slot(name):
    return Slot(plan=name, incident_id="inc-1")


def taken(trail, name, *, limit=2, now=NOON, scope=SUBSCRIPTION, action="retry"):
    return trail.take_budget(scope, action, now, slot(name), limit)


def test_a_budget_is_taken_slot_by_slot_and_a_repeat_finds_its_own():
    trail = make_trail()
    assert [taken(trail, name) for name in ("a", "b", "a", "c", "b")] == [True, True, True, False, True]


def test_a_budget_is_of_one_hour_one_action_and_one_subscription():
    trail = make_trail()
    assert taken(trail, "a", limit=1)
    assert not taken(trail, "b", limit=1)
    assert taken(trail, "b", limit=1, now=NOON + HOUR)
    assert taken(trail, "b", limit=1, action="other")
    assert taken(trail, "b", limit=1, scope="another")
    assert not taken(trail, "b", limit=1, scope=SUBSCRIPTION.upper())


def test_no_budget_is_no_slot():
    assert not taken(make_trail(), "a", limit=0)


def test_a_plan_s_own_slot_is_not_used_against_it():
    trail = make_trail()
    taken(trail, "a")
    taken(trail, "b")
    assert [trail.budget_used(SUBSCRIPTION, "retry", NOON, name) for name in ("a", "c")] == [1, 2]
    assert trail.budget_used(SUBSCRIPTION, "retry", NOON + HOUR, "c") == 0


def test_results_are_of_one_action_and_scope_since_a_time_and_in_order():
    trail = make_trail()

    def keep(number, ago, *, scope=SUBSCRIPTION, action="retry"):
        trail.record_result(
            scope, action, f"inc-{number}-1", Result(at=NOON - ago, end=End.REPAIRED, cause_id=str(number))
        )

    for number, ago in enumerate((timedelta(0), HOUR, 25 * HOUR, 3 * DAY)):
        keep(number, ago)
    keep(8, HOUR, scope="another")
    keep(9, HOUR, action="other")
    since_two_days = trail.results(SUBSCRIPTION.upper(), "retry", NOON - 2 * DAY, NOON)
    assert [result.cause_id for result in since_two_days] == ["2", "1", "0"]
    assert [result.cause_id for result in trail.results(SUBSCRIPTION, "retry", NOON - HOUR, NOON)] == ["1", "0"]


def test_the_result_of_one_try_is_kept_once():
    trail = make_trail()
    for end in (End.NOT_REPAIRED, End.REPAIRED):
        trail.record_result(SUBSCRIPTION, "retry", "inc-1-1", Result(at=NOON, end=end, cause_id="c"))
    assert [result.end for result in trail.results(SUBSCRIPTION, "retry", NOON - HOUR, NOON)] == [End.NOT_REPAIRED]


def test_only_pauses_that_hold_are_given():
    trail = make_trail()
    for number, until in enumerate((NOON, NOON + HOUR)):
        trail.pause(Pause(until=until, reason=f"r{number}"), f"n{number}")
    assert [pause.reason for pause in trail.pauses(NOON)] == ["r1"]


# ------------------------------------------------------------------------------------------------- questions


def question(plan="plan-1"):
    return Question(at=NOON, incident_id="inc-1", plan=plan, decision="d", policy_version="v", expires_at=NOON + HOUR)


def test_the_first_answer_stands_and_closes_the_question():
    trail = make_trail()
    trail.ask(question())
    assert [one.plan for one in trail.open_questions()] == ["plan-1"]
    yes, no = (Answered(at=NOON, plan="plan-1", approved=approved, words="w") for approved in (True, False))
    assert trail.answer(yes) == yes
    assert trail.answer(no) == yes
    assert trail.answered("plan-1") == yes
    assert list(trail.open_questions()) == []


@pytest.mark.parametrize("plan", ["", "../../x", "unknown"])
def test_a_question_that_nobody_asked_is_none(plan):
    assert make_trail().question(plan) is None


def test_asking_again_keeps_the_first_deadline():
    trail = make_trail()
    trail.ask(question())
    trail.ask(
        Question(at=NOON, incident_id="inc-1", plan="plan-1", decision="d", policy_version="v", expires_at=NOON + DAY)
    )
    kept = trail.question("plan-1")
    assert kept is not None
    assert kept.expires_at == NOON + HOUR


# ----------------------------------------------------------------------------------- the store of these tests


def test_the_store_in_memory_keeps_the_port_s_word():
    store = MemoryStore()
    store.create("a/b", b"1")
    with pytest.raises(AlreadyExists):
        store.create("a/b", b"1")
    store.append("c", b"12", 0)
    with pytest.raises(AppendConflict) as conflict:
        store.append("c", b"3", 1)
    assert (conflict.value.at, conflict.value.length) == (1, 2)
    with pytest.raises(NotFound):
        store.read("a")
    with pytest.raises(UnsafeName):
        store.create("../a", b"1")
    assert list(store.list("a")) == ["a/b"]


def test_every_name_on_the_trail_is_safe_whatever_the_resource_is_called():
    trail = make_trail()
    odd = make_resource(f"{ENDPOINT}/deployments/a (b) c")
    incident = make_incident(resource=odd)
    assert trail.open_incident(incident, "n", NOON)
    assert [one.resource.deployment for one in trail.incidents_of(odd.key)] == ["a (b) c"]
