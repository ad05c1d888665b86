"""The register tells of each incident what the trail does, whatever the order, the day and the writer of its lines."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from remediations import register as module
from remediations.adapters.folder import FolderStore
from remediations.errors import AppendConflict, StoreUnavailable
from remediations.model import Actor, AuditRecord, End, Mode, Operation
from remediations.register import Kind, Line, Register, State
from remediations.trail import Answered, Ended, Question, Trail
from tests.builders import DEPLOYMENT, FAILED_AT, NOON, MemoryStore, make_incident, make_trail, store_of

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MIDNIGHT = NOON - timedelta(hours=12)
PLAN = "a" * 64


def opened(**changes):
    fields = {
        "at": NOON,
        "kind": Kind.OPENED,
        "incident": "inc-1",
        "resource": DEPLOYMENT,
        "operation": Operation.WRITE,
        "failed_at": FAILED_AT,
        "mode": Mode.AUTO,
    }
    return Line(**{**fields, **changes})


def later(kind, at, **changes):
    fields = {
        "at": at,
        "kind": kind,
        "incident": "inc-1",
        "resource": DEPLOYMENT,
        "operation": Operation.WRITE,
        "failed_at": FAILED_AT,
        "opened_at": NOON,
    }
    return Line(**{**fields, **changes})


def asked(at=NOON + MINUTE, **changes):
    return later(Kind.ASKED, at, **{"plan": PLAN, "expires_at": at + 4 * HOUR, "cause_id": "quota-cpu", **changes})


def answered(at=NOON + HOUR, **changes):
    return later(Kind.ANSWERED, at, **{"plan": PLAN, "approved": True, **changes})


def ended(at=NOON + 2 * HOUR, **changes):
    return later(Kind.ENDED, at, **{"end": End.REPAIRED, "action": "retry", "effects": 1, **changes})


def noted(*lines, store=None):
    register = Register(MemoryStore() if store is None else store)
    for line in lines:
        register.note(line)
    return register


def cases(register, until=NOON + DAY, since=NOON - DAY):
    return register.cases(since, until)


# ---------------------------------------------------------------------------------------------------- one case


def test_a_case_is_what_its_lines_say_together():
    (case,) = cases(noted(opened(), asked(diagnosed_at=NOON), answered(), ended(mode=Mode.ASK)))
    assert (case.id, case.resource.label, case.operation) == ("inc-1", "mlw-prod/credit-scoring/green", "write")
    assert (case.failed_at, case.opened_at, case.diagnosed_at, case.ended_at) == (
        FAILED_AT,
        NOON,
        NOON,
        NOON + 2 * HOUR,
    )
    assert (case.state, case.end, case.effects) == (State.ENDED, End.REPAIRED, 1)
    assert (case.cause, case.action, case.mode, case.approved) == ("quota-cpu", "retry", Mode.ASK, True)
    assert (case.plan, case.expires_at) == (None, None)


@pytest.mark.parametrize(
    ("lines", "until", "state"),
    [
        pytest.param([opened()], NOON, State.RUNNING, id="opened"),
        pytest.param([opened(), asked()], NOON + 2 * MINUTE, State.WAITING, id="asked"),
        pytest.param([opened(), asked()], NOON, State.RUNNING, id="before it was asked"),
        pytest.param([opened(), asked()], NOON + MINUTE + 4 * HOUR, State.RUNNING, id="its time is over"),
        pytest.param([opened(), asked(), answered()], NOON + HOUR, State.RUNNING, id="answered"),
        pytest.param(
            [opened(), asked(), answered(), asked(NOON + HOUR, plan="b" * 64)], NOON + HOUR, State.WAITING, id="again"
        ),
        pytest.param([opened(), asked(), ended()], NOON + 2 * HOUR, State.ENDED, id="ended with its question open"),
        pytest.param([opened(), asked(), ended()], NOON + HOUR, State.WAITING, id="as it stood before its end"),
    ],
)
def test_the_state_is_that_of_the_time_that_is_asked_about(lines, until, state):
    (case,) = cases(noted(*lines), until)
    assert case.state is state
    assert (case.plan is not None) is (state is State.WAITING)


def test_the_first_line_of_a_kind_stands():
    (case,) = cases(noted(opened(), ended(), ended(NOON + 3 * HOUR, end=End.REFUSED), opened()))
    assert (case.end, case.ended_at) == (End.REPAIRED, NOON + 2 * HOUR)


def test_the_newest_incident_comes_first():
    lines = [opened(incident=f"inc-{hour}", at=NOON - hour * HOUR) for hour in (3, 1, 2)]
    assert [case.id for case in cases(noted(*lines))] == ["inc-1", "inc-2", "inc-3"]


def test_what_began_before_and_went_on_is_there_and_what_was_over_is_not():
    old = opened(incident="inc-old", at=NOON - 3 * DAY)
    lines = [
        old,
        ended(NOON - HOUR, incident="inc-old", opened_at=old.at),
        opened(incident="inc-gone", at=NOON - 3 * DAY),
        ended(NOON - 2 * DAY, incident="inc-gone"),
    ]
    (case,) = cases(noted(*lines), NOON)
    assert (case.id, case.opened_at, case.resource.key) == ("inc-old", old.at, DEPLOYMENT.lower())


def test_an_incident_around_midnight_is_one():
    begin = MIDNIGHT - 10 * MINUTE
    lines = [opened(at=begin), asked(MIDNIGHT - MINUTE, opened_at=begin), ended(MIDNIGHT + MINUTE, opened_at=begin)]
    store = MemoryStore()
    (case,) = cases(noted(*lines, store=store), NOON)
    assert list(store.list("days/")) == ["days/2026-11-21/0000", "days/2026-11-22/0000"]
    assert (case.opened_at, case.cause, case.end) == (begin, "quota-cpu", End.REPAIRED)


def test_a_line_of_the_same_day_does_not_repeat_what_failed():
    store = MemoryStore()
    noted(opened(), ended(), ended(NOON + DAY), store=store)
    whole, short = store.read("days/2026-11-22/0000").splitlines()
    assert DEPLOYMENT.encode() in whole
    assert DEPLOYMENT.encode() not in short
    assert DEPLOYMENT.encode() in store.read("days/2026-11-23/0000")


# ----------------------------------------------------------------------------------------------------- writing


def test_a_line_is_noted_where_it_is_written_not_where_it_happened():
    store = MemoryStore()
    Register(store).note(opened(at=NOON - 2 * DAY), NOON)
    assert list(store.list("days/")) == ["days/2026-11-22/0000"]


def test_a_full_file_is_followed_by_the_next(monkeypatch):
    monkeypatch.setattr(module, "_LARGEST", 1000)
    store = MemoryStore()
    lines = [opened(incident=f"inc-{number}") for number in range(9)]
    noted(*lines[:5], store=store)
    late = noted(*lines[5:], store=store)  # a process that knows nothing of the first
    names = list(store.list("days/"))
    assert len(names) > 2
    assert all(len(store.read(name)) <= 1000 for name in names)
    assert len(cases(late)) == 9


def test_a_file_ends_before_an_append_blob_does():
    shortest = Line(at=NOON, kind=Kind.ENDED, incident="inc-" + "0" * 24)
    line = Register(store := MemoryStore())
    line.note(shortest)
    assert module._LARGEST / len(store.read("days/2026-11-22/0000")) < 25_000


def test_a_writer_goes_on_where_another_one_ended():
    store = MemoryStore()
    first, second = Register(store), Register(store)
    for number in range(6):
        (first, second)[number % 2].note(opened(incident=f"inc-{number}"))
    assert len(cases(first)) == 6
    assert store.calls.count("append days/2026-11-22/0000") <= 12


def test_a_line_that_never_finds_its_place_is_an_error():
    class Busy(MemoryStore):
        def append(self, name, content, at):
            self.calls.append(name)
            raise AppendConflict(name, at, at + 1)

    store = Busy()
    with pytest.raises(AppendConflict):
        Register(store).note(opened())
    assert len(store.calls) == 20
    assert len(set(store.calls)) > 1, "after some tries it goes to another file"


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_writers_at_once_lose_no_line(kind, tmp_path: Path):
    store = MemoryStore() if kind == "memory" else FolderStore(tmp_path)
    registers = [Register(store) for _ in range(2)]
    failed = []

    def write(writer):
        try:
            for number in range(40):
                registers[writer % 2].note(opened(incident=f"inc-{writer}-{number}"))
        except Exception as error:  # noqa: BLE001 - a thread's error is the test's
            failed.append(error)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(cases(Register(store))) == 160


# ----------------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize(
    "broken",
    [
        b"{",
        b"\xff\xfe",
        b'{"kind":"opened"}',
        b'{"at":"2026-11-22T12:00:00","kind":"ended","incident":"i"}',
        b"[" * 5000,
    ],
)
def test_a_line_that_cannot_be_read_is_passed_over_and_counted(broken):
    store = MemoryStore()
    register = noted(opened(), store=store)
    name = "days/2026-11-22/0000"
    store.append(name, broken + b"\n", len(store.read(name)))
    register.note(opened(incident="inc-2"))
    listing = register.listing(NOON - DAY, NOON)
    assert ({case.id for case in listing.cases}, listing.unreadable) == ({"inc-1", "inc-2"}, 1)


def test_an_incident_of_which_no_line_tells_the_resource_is_counted():
    listing = noted(Line(at=NOON, kind=Kind.ANSWERED, incident="inc-9")).listing(NOON - DAY, NOON)
    assert (listing.cases, listing.unreadable) == ((), 1)


def test_days_that_are_over_are_read_once():
    class Counted(MemoryStore):
        reads = 0

        def read(self, name):
            self.reads += 1
            return super().read(name)

    store = Counted()
    register = noted(*(opened(incident=f"inc-{day}", at=NOON - day * DAY) for day in range(5)), store=store)
    assert [len(cases(register, NOON, NOON - 9 * DAY)) for _ in range(3)] == [5, 5, 5]
    assert store.reads == 5 + 1 + 1, "today's file alone is read again"
    just_after = noted(opened(at=MIDNIGHT - MINUTE), store=(fresh := Counted()))
    for _ in range(2):
        cases(just_after, MIDNIGHT + MINUTE)
    assert fresh.reads == 2, "a day that is just over may still get a line"


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "_KEPT_LINES", 3)
    register = noted(*(opened(incident=f"inc-{day}", at=NOON - day * DAY) for day in range(9)))
    for _ in range(2):
        assert len(cases(register, NOON, NOON - 9 * DAY)) == 9
    assert sum(file.lines for file in register._read.values()) <= 3


def test_a_store_that_does_not_answer_is_an_error():
    store = MemoryStore()
    store.fails = lambda name: True
    with pytest.raises(StoreUnavailable):
        Register(store).note(opened())


# ------------------------------------------------------------------------------------- any order, any repeat

HOURS = st.integers(0, 20)
QUESTIONS = st.lists(st.tuples(HOURS, st.none() | HOURS), max_size=3)
STORIES = st.tuples(*(st.tuples(QUESTIONS, st.none() | HOURS) for _ in range(3)))


def lines_of(number, story):
    """An incident that is opened, asked about, each question after the one before, answered or not, ended or not."""
    questions, end_after = story
    fields = {"incident": f"inc-{number}", "opened_at": NOON - DAY}
    at, last = NOON - DAY, NOON - DAY
    lines = [opened(incident=f"inc-{number}", at=at)]
    for plan, (asked_after, answered_after) in enumerate(questions):
        at += asked_after * HOUR + MINUTE
        lines.append(asked(at, plan=str(plan) * 64, **fields))
        last = max(last, at)
        if answered_after is not None:
            last = max(last, at + answered_after * HOUR)
            lines.append(answered(at + answered_after * HOUR, plan=str(plan) * 64, **fields))
    if end_after is not None:
        lines.append(ended(last + end_after * HOUR, **fields))
    return lines


@settings(max_examples=250)
@given(stories=STORIES, data=st.data(), until=st.integers(0, 90), back=st.integers(0, 72))
def test_cases_of_any_interleaving_are_those_of_the_model(stories, data, until, back):
    lines = [line for number, story in enumerate(stories) for line in lines_of(number, story)]
    repeated = data.draw(st.lists(st.sampled_from(lines), max_size=4))
    written = data.draw(st.permutations(lines + repeated))
    store = MemoryStore()
    writers = [Register(store), Register(store)]
    for number, line in enumerate(written):
        writers[number % 2].note(line)
    now = NOON - DAY + until * HOUR
    since = now - back * HOUR
    for reader in (Register(store), writers[0], writers[0]):
        found = {case.id: case for case in reader.cases(since, now)}
        assert found.keys() == {line.incident for line in lines if since <= line.at <= now}
        for name, case in found.items():
            own = [line for line in lines if line.incident == name and line.at <= now]
            ends = [line for line in own if line.kind is Kind.ENDED]
            done = {line.plan for line in own if line.kind is Kind.ANSWERED}
            open_ones = [
                line for line in own if line.kind is Kind.ASKED and line.plan not in done and line.expires_at > now
            ]
            state = State.ENDED if ends else State.WAITING if open_ones else State.RUNNING
            assert case.state is state
            assert case.ended_at == (ends[0].at if ends else None)
            if state is State.WAITING:
                assert (case.expires_at, case.plan) in {(line.expires_at, line.plan) for line in open_ones}
                assert case.expires_at == max(line.expires_at for line in open_ones)


# --------------------------------------------------------------------------------------------- through the trail


def record(stage, facts, at):
    return AuditRecord(
        seq=0,
        at=at,
        incident=make_incident().id,
        stage=stage,
        key=f"{stage}:{at}",
        actor=Actor(),
        mode=Mode.ASK,
        policy_version="v",
        facts=facts,
        previous="",
    )


def question(**changes):
    fields = {
        "at": NOON + 2 * MINUTE,
        "incident_id": make_incident().id,
        "plan": PLAN,
        "decision": "d",
        "policy_version": "v",
        "expires_at": NOON + HOUR,
    }
    return Question(**{**fields, **changes})


def walked(trail):
    incident = make_incident()
    trail.open_incident(incident, "n", NOON, mode=Mode.ASK)
    trail.append_record(record("diagnosis", {"cause": "quota-cpu", "action": "delete-idle"}, NOON + MINUTE))
    trail.append_record(record("diagnosis", {"cause": "unknown", "action": None}, NOON + 3 * MINUTE))
    return incident


def test_the_trail_notes_what_is_opened_asked_answered_and_ended():
    trail = make_trail()
    incident = walked(trail)
    seen = [cases(trail.register, NOON)[0].state]
    trail.ask(question())
    (waiting,) = cases(trail.register, NOON + 2 * MINUTE)
    assert (waiting.state, waiting.plan, waiting.expires_at) == (State.WAITING, PLAN, NOON + HOUR)
    trail.answer(Answered(at=NOON + 3 * MINUTE, plan=PLAN, approved=False, words="no"))
    seen.append(cases(trail.register, NOON + 3 * MINUTE)[0].state)
    trail.end_incident(
        Ended(at=NOON + 4 * MINUTE, end=End.REJECTED, words="no", incident=incident, cause_id="quota-cpu")
    )
    (case,) = cases(trail.register, NOON + 4 * MINUTE)
    assert seen == [State.RUNNING, State.RUNNING]
    assert (case.end, case.cause, case.mode, case.approved) == (End.REJECTED, "quota-cpu", Mode.ASK, False)
    assert case.diagnosed_at == NOON + MINUTE, "the first diagnosis counts"
    kept = trail.ended(incident.id)
    assert kept is not None
    assert kept.diagnosed_at == NOON + MINUTE


def test_the_trail_notes_what_stands_not_what_came_second():
    trail = make_trail()
    incident = walked(trail)
    trail.ask(question())
    trail.ask(question(expires_at=NOON + 9 * HOUR))
    trail.answer(Answered(at=NOON + 3 * MINUTE, plan=PLAN, approved=True, words="yes"))
    trail.answer(Answered(at=NOON + 3 * MINUTE, plan=PLAN, approved=False, words="no"))
    for end in (End.REPAIRED, End.REFUSED):
        trail.end_incident(Ended(at=NOON + 4 * MINUTE, end=end, words="", incident=incident))
    (case,) = cases(trail.register)
    assert (case.end, case.approved) == (End.REPAIRED, True)
    lines = store_of(trail).read("days/2026-11-22/0000")
    assert lines.count(b'"end":"repaired"') == 2
    assert b"21:00" not in lines


def test_who_lost_the_claim_notes_nothing_and_who_holds_it_may_note_again():
    trail = make_trail()
    assert [trail.open_incident(make_incident(), nonce, NOON) for nonce in ("a", "b", "a")] == [True, False, True]
    assert len(store_of(trail).read("days/2026-11-22/0000").splitlines()) == 2
    assert len(cases(trail.register)) == 1


def test_a_claim_whose_line_was_not_written_gets_it_when_it_is_claimed_again():
    trail = make_trail()
    store_of(trail).fails = lambda name: name.startswith("days/")
    with pytest.raises(StoreUnavailable):
        trail.open_incident(make_incident(), "a", NOON)
    store_of(trail).fails = lambda name: False
    assert trail.open_incident(make_incident(), "a", NOON + DAY)
    (case,) = cases(trail.register, NOON + DAY)
    assert case.opened_at == NOON


def test_an_answer_stands_though_the_register_cannot_be_written():
    trail = make_trail()
    walked(trail)
    trail.ask(question())
    store_of(trail).fails = lambda name: name.startswith("days/")
    yes = Answered(at=NOON + 3 * MINUTE, plan=PLAN, approved=True, words="yes")
    assert trail.answer(yes) == yes
    assert trail.answered(PLAN) == yes


def test_the_failure_that_counts_is_the_first_not_that_of_our_own_try():
    trail = make_trail()
    incident = replace(make_incident(), failed_at=NOON, first_failed_at=FAILED_AT)
    trail.end_incident(Ended(at=NOON + MINUTE, end=End.REPAIRED, words="", incident=incident))
    (case,) = cases(Trail(trail.store).register)
    assert (case.failed_at, case.opened_at) == (FAILED_AT, FAILED_AT)
