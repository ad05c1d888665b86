"""What the trail of some days tells."""

from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from local.report import Decisions, Done, Ends, Report, Unfinished, build
from remediations.model import Answer, Decision, Disposition, End, GuardAnswer, Mode, Status, Verdict
from remediations.trail import Ended, Intake
from tests.builders import (
    DEPLOYMENT,
    NOON,
    make_diagnosis,
    make_incident,
    make_intent,
    make_journal,
    make_outcome,
    make_plan,
    make_trail,
)

CALL = f"PUT {DEPLOYMENT}?api-version=2024-10-01"
WEEK = timedelta(days=7)
CAUSE = "canceled-higher-priority"


def judged(incident, *, verdict=Verdict.DRY_RUN, would=Verdict.RUN, refusing=()) -> Decision:
    answers = [GuardAnswer(guard="not-paused", answer=Answer.ALLOW, words="no pause holds")]
    answers += [GuardAnswer(guard=guard, answer=Answer.DENY, words="a test says so") for guard in refusing]
    return Decision(
        plan=make_plan(diagnosis=make_diagnosis(incident=incident)),
        verdict=verdict,
        would=would,
        mode=Mode.DRY_RUN,
        mode_words="a test says so",
        answers=tuple(answers),
        situation="s" * 64,
    )


def ended(incident, end, at=NOON) -> Ended:
    return Ended(at=at, end=end, words="", incident=incident, cause_id=CAUSE, action="retry")


def opened(trail, name, at=NOON):
    incident = make_incident(id=name)
    trail.open_incident(incident, f"nonce-{name}", at)
    return incident


def report_of(trail) -> Report:
    return build(trail, since=NOON - WEEK, until=NOON)


def test_an_empty_trail_tells_nothing() -> None:
    assert report_of(make_trail()) == Report(
        since=NOON - WEEK, until=NOON, events={}, decisions=(), done=(), ends=(), unfinished=()
    )


def test_decisions_are_counted_by_what_would_have_been_done_cause_action_and_guard() -> None:
    trail = make_trail()
    journal = make_journal(trail)
    for name in ("inc-1", "inc-2"):
        journal.decided(judged(opened(trail, name)), when="deciding")
    refused: dict[str, Any] = {"verdict": Verdict.REFUSE, "would": Verdict.REFUSE}
    journal.decided(judged(opened(trail, "inc-3"), refusing=("in-time", "not-frozen"), **refused), when="deciding")
    journal.decided(judged(opened(trail, "inc-4"), refusing=("in-time",), **refused), when="deciding")
    journal.decided(judged(opened(trail, "inc-5"), would=Verdict.ASK), when="deciding")
    kind: dict[str, Any] = {"cause": CAUSE, "action": "retry", "calls": (CALL,)}
    held: dict[str, Any] = {"verdict": "dry-run", "guards": {}, **kind}
    assert report_of(trail).decisions == (
        Decisions(would="run", count=2, incidents=("inc-1", "inc-2"), **held),
        Decisions(would="ask", count=1, incidents=("inc-5",), **held),
        Decisions(
            would="refuse",
            verdict="refuse",
            count=2,
            incidents=("inc-3", "inc-4"),
            guards={"in-time": 2, "not-frozen": 1},
            **kind,
        ),
    )


def test_the_guards_second_look_is_no_second_decision() -> None:
    trail = make_trail()
    journal = make_journal(trail)
    decision = judged(opened(trail, "inc-1"), verdict=Verdict.RUN)
    journal.decided(decision, when="deciding")
    journal.decided(decision, when="before effect 1")
    assert [one.count for one in report_of(trail).decisions] == [1]


def test_what_was_sent_stands_with_its_outcome_and_what_has_none_is_open() -> None:
    trail = make_trail()
    journal = make_journal(trail)
    incident = opened(trail, "inc-1")
    plan = make_plan(diagnosis=make_diagnosis(incident=incident))
    intent = make_intent(incident_id="inc-1", plan=plan.digest, attempt=1, decision="d" * 64)
    journal.intended(intent)
    journal.came_of(intent, make_outcome(status=Status.BUSY, words="another operation runs on the endpoint"))
    journal.intended(replace(intent, attempt=2))
    sent: dict[str, Any] = {"at": NOON, "incident": "inc-1", "action": "retry", "call": CALL}
    assert report_of(trail).done == (
        Done(status="busy", words="another operation runs on the endpoint", **sent),
        Done(status="open", words="its outcome is not on the trail", **sent),
    )


def test_ends_are_counted_and_what_has_not_ended_is_named() -> None:
    trail = make_trail()
    for name, end in (("inc-1", End.DRY_RUN), ("inc-2", End.DRY_RUN), ("inc-3", End.REPAIRED)):
        trail.end_incident(ended(opened(trail, name), end))
    opened(trail, "inc-4", NOON - timedelta(hours=1))
    report = report_of(trail)
    assert report.ends == (
        Ends(end="dry-run", cause=CAUSE, action="retry", count=2),
        Ends(end="repaired", cause=CAUSE, action="retry", count=1),
    )
    assert report.unfinished == (
        Unfinished(incident="inc-4", resource=DEPLOYMENT, opened_at=NOON - timedelta(hours=1)),
    )


def test_events_are_counted_by_how_they_ended_inside_the_time() -> None:
    trail = make_trail()
    ages = (
        (Disposition.DUPLICATE, timedelta(0)),
        (Disposition.DUPLICATE, WEEK),
        (Disposition.INCIDENT, timedelta(days=3)),
        (Disposition.IGNORED, WEEK + timedelta(seconds=1)),
        (Disposition.IGNORED, timedelta(days=400)),
    )
    for number, (disposition, age) in enumerate(ages):
        intake = Intake(at=NOON - age, event_id=f"event-{number}", event_type="x", disposition=disposition)
        trail.record_intake(intake, "nonce")
    assert report_of(trail).events == {"duplicate": 2, "incident": 1}


def test_a_delivery_that_cannot_be_read_is_told_and_the_others_are_counted() -> None:
    trail = make_trail()
    intake = Intake(at=NOON, event_id="event-1", event_type="x", disposition=Disposition.IGNORED)
    trail.record_intake(intake, "nonce")
    trail.store.create(f"intake/{NOON:%Y-%m-%d}/0-broken", b"{")
    report = report_of(trail)
    assert report.events == {"ignored": 1}
    (lost,) = report.unreadable
    assert lost.words.startswith(f"the delivery intake/{NOON:%Y-%m-%d}/0-broken cannot be read (")


def test_what_is_older_or_later_is_not_told() -> None:
    trail = make_trail()
    old = opened(trail, "inc-old", NOON - 2 * WEEK)
    make_journal(trail, lambda: NOON - 2 * WEEK).decided(judged(old), when="deciding")
    trail.end_incident(ended(old, End.DRY_RUN, NOON - 2 * WEEK))
    opened(trail, "inc-later", NOON + timedelta(seconds=1))
    report = report_of(trail)
    assert (report.decisions, report.ends, report.unfinished) == ((), (), ())
