"""Where an event belongs: a new incident, a known one, behind one that is being worked on, or our own doing."""

from datetime import timedelta
from typing import cast

import msgspec
import pytest
from msgspec.structs import replace

from remediations import intake
from remediations.admission import admit
from remediations.model import Absent, Caller, Disposition, End, Found, Operation, Reception, Scoring, Status
from remediations.policy import Storms as Limits
from remediations.storms import Judged, grouped, roll_of
from remediations.trail import Answered, Asked, Ended, Question
from tests.builders import (
    CORRELATION,
    DELETE,
    DEPLOYMENT,
    ENDPOINT,
    FAILED_AT,
    NOON,
    OTHER_CORRELATION,
    SOMEBODY,
    US,
    WORKSPACE,
    WRITE,
    FakeReads,
    MemoryStore,
    make_effect,
    make_incident,
    make_intent,
    make_journal,
    make_outcome,
    make_plan,
    make_resource,
    make_trail,
)

LATER = intake.incident_id(make_resource(), OTHER_CORRELATION)


def reception(incident=None, **changes):
    fields = {
        "event_id": incident.event_id if incident else "event-1",
        "event_type": "Microsoft.Resources.ResourceWriteFailure",
        "resource": DEPLOYMENT,
        "operation_name": WRITE,
        "caller": SOMEBODY,
        "incident": incident,
    }
    return Reception(**{**fields, **changes})


def admitted(received, trail, *, own=US, reads=None, now=NOON, report=None, limits=Limits(first=0)):  # noqa: B008
    return admit(
        received,
        trail=trail,
        own=lambda: own,
        reads=lambda: reads or FakeReads(),
        now=now,
        report=report,
        limits=limits,
    )


def newer():
    return make_incident(id=LATER, correlation_id=OTHER_CORRELATION, event_id="event-2")


def ended(incident, end=End.REPAIRED):
    return Ended(at=NOON, end=end, words="over", incident=incident)


def question(incident):
    expires_at = NOON + timedelta(hours=4)
    return Question(
        at=NOON, incident_id=incident.id, expires_at=expires_at, plan="plan-1", decision="d", policy_version="v"
    )


def test_an_unknown_failure_is_an_incident():
    admission = admitted(reception(make_incident()), make_trail())
    assert admission.disposition is Disposition.INCIDENT
    assert admission.incident == make_incident()


def test_a_second_delivery_is_a_duplicate():
    trail = make_trail()
    trail.open_incident(make_incident(), "n", NOON)
    admission = admitted(reception(make_incident()), trail)
    assert (admission.disposition, admission.incident) == (Disposition.DUPLICATE, None)
    assert admission.incident_id == make_incident().id


def test_a_late_duplicate_of_a_finished_incident_starts_nothing():
    trail = make_trail()
    trail.open_incident(make_incident(), "n", NOON)
    trail.end_incident(ended(make_incident()))
    admission = admitted(reception(make_incident()), trail, now=NOON + timedelta(days=40))
    assert (admission.disposition, admission.incident) == (Disposition.DUPLICATE, None)


def test_another_event_of_the_same_failure_joins():
    trail = make_trail()
    trail.open_incident(make_incident(), "n", NOON)
    admission = admitted(reception(make_incident(event_id="alert-9", source="alert")), trail)
    assert (admission.disposition, admission.incident_id) == (Disposition.JOINED, make_incident().id)
    assert admission.words == "the failure is known from event-grid"


@pytest.mark.parametrize("first", ["event-grid", "ci"])
def test_what_ci_adds_is_kept_whoever_came_first(first):
    trail = make_trail()
    spec = "https://stmlops.blob.core.windows.net/desired/green.json"
    from_ci = make_incident(event_id="gh-1", source="ci", desired_spec_url=spec)
    order = [from_ci, make_incident()] if first == "ci" else [make_incident(), from_ci]
    for incident in order:
        admission = admitted(reception(incident), trail, report="r" * 64 if incident.source == "ci" else None)
        if admission.incident is not None:
            trail.open_incident(admission.incident, "n", NOON)
    joined = trail.with_joined(order[0])
    assert (joined.desired_spec_url, joined.report) == (spec, "r" * 64)


def test_the_sender_s_word_goes_with_the_incident_by_digest():
    admission = admitted(reception(make_incident(source="ci")), make_trail(), report="d" * 64)
    assert admission.incident is not None
    assert admission.incident.report == "d" * 64


# ------------------------------------------------------------------------------------------ the same resource


@pytest.mark.parametrize(
    ("outcome", "disposition"),
    [
        pytest.param(None, Disposition.PARKED, id="sent, no answer yet"),
        pytest.param(make_outcome(), Disposition.PARKED, id="accepted"),
        pytest.param(make_outcome(status=Status.BUSY), Disposition.INCIDENT, id="only busy so far"),
        pytest.param("no effect", Disposition.INCIDENT, id="nothing sent"),
    ],
)
def test_an_event_behind_a_repair_that_runs_is_parked(outcome, disposition):
    trail = make_trail()
    older = make_incident()
    trail.open_incident(older, "n", NOON)
    if outcome != "no effect":
        effect = make_effect()
        trail.open_intent(effect, make_intent(), (older.resource.key,))
        if outcome is not None:
            trail.close_intent(effect.plan, 0, 1, outcome)
    admission = admitted(reception(newer()), trail)
    assert admission.disposition is disposition
    assert admission.incident is not None
    assert admission.incident.id == LATER


def test_an_event_after_the_repair_has_ended_is_an_incident():
    trail = make_trail()
    older = make_incident()
    trail.open_incident(older, "n", NOON)
    trail.open_intent(make_effect(), make_intent(), (older.resource.key,))
    trail.end_incident(ended(older))
    assert admitted(reception(newer()), trail).disposition is Disposition.INCIDENT


def test_a_repair_of_another_deployment_of_the_endpoint_parks_nothing():
    trail = make_trail()
    blue = make_incident(resource=make_resource(f"{ENDPOINT}/deployments/blue"))
    trail.open_incident(blue, "n", NOON)
    trail.open_intent(make_effect(incident_id=blue.id), make_intent(), (blue.resource.key,))
    assert admitted(reception(make_incident()), trail).disposition is Disposition.INCIDENT


def test_how_many_others_wait_for_a_person_costs_a_new_incident_nothing():
    def cost(waiting: int) -> int:
        trail = make_trail()
        older = make_incident()
        for number in range(waiting):
            other = make_incident(id=f"inc-{number}", resource=make_resource(f"{DEPLOYMENT}-{number}"))
            trail.open_incident(other, "n", NOON)
            trail.ask(replace(question(other), plan=f"plan-of-{number}"))
        trail.open_incident(older, "n", NOON)
        trail.ask(question(older))
        make_journal(trail).asked(question(older))
        looks = cast("MemoryStore", trail.store).looks
        looks.clear()
        assert admitted(reception(newer()), trail).superseded == ((older.id, "plan-1"),)
        return len(looks)

    assert cost(30) == cost(0)


def test_a_newer_failure_supersedes_a_question_that_waits():
    trail = make_trail()
    older = make_incident()
    trail.open_incident(older, "n", NOON)
    trail.ask(question(older))
    make_journal(trail).asked(question(older))
    assert admitted(reception(newer()), trail).superseded == ((older.id, "plan-1"),)
    trail.answer(Answered(at=NOON, plan="plan-1", approved=False, words="no"))
    assert admitted(reception(newer()), trail).superseded == ()


def test_a_question_that_is_not_on_the_record_yet_is_superseded_as_well():
    trail = make_trail()
    older, plan = make_incident(), make_plan()
    trail.open_incident(older, "n", NOON)
    make_journal(trail).planned(plan)
    trail.ask(replace(question(older), plan=plan.digest))
    assert admitted(reception(newer()), trail).superseded == ((older.id, plan.digest),)


# -------------------------------------------------------------------------------------- no correlation id


def uncorrelated(**changes):
    fields = {"id": "inc-raw", "correlation_id": None, "source": "alert", "event_id": "alert-1"}
    return make_incident(**{**fields, **changes})


def swept(**changes):
    """What the sweep finds: dated by the sweep, and its trouble by the last write."""
    began = FAILED_AT - timedelta(minutes=3)
    fields = {"id": "inc-swept", "correlation_id": None, "source": "sweep", "event_id": f"sweep-{began}"}
    return make_incident(**{**fields, "failed_at": NOON, "first_failed_at": began, **changes})


def world(rows=(), *, written=FAILED_AT - timedelta(minutes=3), **more):
    body = {
        "properties": {"provisioningState": "Failed"},
        "systemData": {"createdAt": written.isoformat(), "lastModifiedAt": written.isoformat()},
    }
    shown = [
        {
            "eventTimestamp": at.isoformat(),
            "operationName": {"value": name},
            "status": {"value": "Failed"},
            "resourceId": DEPLOYMENT,
            "correlationId": correlation,
            "properties": {"statusMessage": '{"error":{"code":"Conflict","message":"in progress"}}'},
            **more,
        }
        for at, name, correlation in rows
    ]
    return FakeReads({DEPLOYMENT: Found(body), "log": Found(tuple(shown))})


def test_an_event_without_a_correlation_id_gets_it_from_the_activity_log():
    reads = world([(FAILED_AT, WRITE, CORRELATION.upper())])
    admission = admitted(reception(uncorrelated()), make_trail(), reads=reads)
    assert (admission.incident_id, admission.disposition) == (make_incident().id, Disposition.INCIDENT)
    assert admission.incident is not None
    assert admission.incident.correlation_id == CORRELATION


def test_the_activity_log_s_row_must_be_of_the_same_kind_and_not_later():
    rows = [(FAILED_AT, DELETE, CORRELATION), (FAILED_AT + timedelta(hours=1), WRITE, OTHER_CORRELATION)]
    assert admitted(reception(uncorrelated()), make_trail(), reads=world(rows)).incident_id == "inc-raw"


def test_what_the_sweep_finds_is_dated_by_the_activity_log():
    found = reception(swept(), caller=Caller())
    admission = admitted(found, make_trail(), reads=world([(FAILED_AT, WRITE, CORRELATION)]))
    assert admission.incident is not None
    assert admission.incident.failed_at == FAILED_AT


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("at", "written", "belongs"),
    [
        pytest.param(FAILED_AT - timedelta(minutes=9), FAILED_AT - HOUR, True, id="a little before"),
        pytest.param(FAILED_AT + timedelta(minutes=4), FAILED_AT - HOUR, True, id="a little after"),
        pytest.param(FAILED_AT - timedelta(minutes=11), FAILED_AT - HOUR, False, id="too long before"),
        pytest.param(FAILED_AT + timedelta(minutes=6), FAILED_AT - HOUR, False, id="too long after"),
        pytest.param(FAILED_AT - timedelta(minutes=5), FAILED_AT - timedelta(minutes=3), False, id="before a write"),
    ],
)
def test_a_row_tells_of_the_failure_only_if_its_time_fits(at, written, belongs):
    reads = world([(at, WRITE, CORRELATION)], written=written)
    admission = admitted(reception(uncorrelated()), make_trail(), reads=reads)
    assert admission.incident_id == (make_incident().id if belongs else "inc-raw")


def test_ci_s_event_does_not_join_an_older_failure_that_has_ended():
    trail = make_trail()
    older = make_incident(failed_at=FAILED_AT - HOUR)
    trail.open_incident(older, "n", NOON - HOUR)
    trail.end_incident(ended(older))
    reads = world([(older.failed_at, WRITE, CORRELATION)], written=older.failed_at - HOUR)
    told = reception(uncorrelated(source="ci"), caller=Caller())
    admission = admitted(told, trail, reads=reads)
    assert (admission.disposition, admission.incident_id) == (Disposition.INCIDENT, "inc-raw")


def test_the_sweep_s_row_may_be_as_old_as_the_last_write():
    written = NOON - timedelta(hours=20)
    found = reception(swept(first_failed_at=written), caller=Caller())
    row = (written + timedelta(minutes=2), WRITE, CORRELATION)
    admission = admitted(found, make_trail(), reads=world([row], written=written))
    assert admission.incident_id == make_incident().id
    older = (written - timedelta(minutes=2), WRITE, CORRELATION)
    assert admitted(found, make_trail(), reads=world([older], written=written)).incident_id == "inc-swept"


@pytest.mark.parametrize(
    ("incident", "disposition"),
    [
        pytest.param(uncorrelated(), Disposition.INCIDENT, id="another event"),
        pytest.param(
            make_incident(id="inc-raw", correlation_id=None, source="ci"), Disposition.DUPLICATE, id="its own event"
        ),
        pytest.param(swept(), Disposition.JOINED, id="the sweep, of a state that nobody has changed"),
    ],
)
def test_an_ended_incident_is_joined_by_its_own_event_and_by_the_sweep_alone(incident, disposition):
    trail = make_trail()
    trail.open_incident(make_incident(), "n", NOON)
    trail.end_incident(ended(make_incident()))
    assert admitted(reception(incident, caller=Caller()), trail, reads=world()).disposition is disposition


# -------------------------------------------------------------------------------- the correlation id comes later


def test_an_event_with_the_correlation_id_joins_the_open_incident_that_had_none():
    trail = make_trail()
    trail.open_incident(uncorrelated(), "n", NOON)
    spec = "https://stmlops.blob.core.windows.net/desired/green.json"
    told = make_incident(source="ci", desired_spec_url=spec, failed_at=FAILED_AT + timedelta(minutes=1))
    admission = admitted(reception(told), trail, report="r" * 64)
    assert (admission.disposition, admission.incident_id, admission.incident) == (Disposition.JOINED, "inc-raw", None)
    assert admission.words == "the failure is known from alert, which did not know its correlation id"
    joined = trail.with_joined(uncorrelated())
    assert (joined.desired_spec_url, joined.report) == (spec, "r" * 64)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(uncorrelated(failed_at=FAILED_AT - timedelta(minutes=11)), id="at another time"),
        pytest.param(uncorrelated(resource=make_resource(f"{ENDPOINT}/deployments/blue")), id="of another deployment"),
        pytest.param(make_incident(id=LATER, correlation_id=OTHER_CORRELATION), id="with an id of its own"),
    ],
)
def test_what_is_not_the_same_failure_is_not_joined(other):
    trail = make_trail()
    trail.open_incident(other, "n", NOON)
    assert admitted(reception(make_incident(event_id="event-7")), trail).disposition is Disposition.INCIDENT


def test_an_uncorrelated_incident_that_has_ended_is_not_joined():
    trail = make_trail()
    trail.open_incident(uncorrelated(), "n", NOON)
    trail.end_incident(ended(uncorrelated()))
    assert admitted(reception(make_incident()), trail).disposition is Disposition.INCIDENT


def test_an_event_of_what_the_sweep_found_joins_it_though_the_sweep_dates_it_later():
    trail = make_trail()
    trail.open_incident(swept(failed_at=NOON + HOUR), "n", NOON + HOUR)
    admission = admitted(reception(make_incident()), trail, now=NOON + HOUR)
    assert (admission.disposition, admission.incident_id) == (Disposition.JOINED, "inc-swept")


def test_without_a_row_it_joins_the_incident_that_is_not_older_than_the_last_write():
    trail = make_trail()
    trail.open_incident(make_incident(), "n", NOON)
    admission = admitted(reception(uncorrelated()), trail, reads=world())
    assert (admission.disposition, admission.incident_id) == (Disposition.JOINED, make_incident().id)


def test_without_a_row_a_failure_older_than_the_last_write_is_another_one():
    trail = make_trail()
    trail.open_incident(make_incident(), "n", NOON)
    reads = world(written=FAILED_AT + timedelta(minutes=1))
    admission = admitted(reception(uncorrelated()), trail, reads=reads)
    assert (admission.disposition, admission.incident_id) == (Disposition.INCIDENT, "inc-raw")


def test_when_nothing_can_be_read_the_event_stands_for_itself():
    admission = admitted(reception(uncorrelated()), make_trail(), reads=FakeReads())
    assert (admission.disposition, admission.incident_id) == (Disposition.INCIDENT, "inc-raw")


def test_an_event_with_a_correlation_id_is_placed_without_a_read():
    reads = FakeReads()
    admitted(reception(make_incident()), make_trail(), reads=reads)
    assert reads.asked == []


# ---------------------------------------------------------------------------------------------- our own doing

REQUEST = "medic-0123456789abcdef0123456789abcdef"


def trail_with_effect(**changes):
    trail = make_trail()
    effect = make_effect(incident_id="inc-ours", **changes)
    trail.open_intent(effect, make_intent(request_id=REQUEST), (DEPLOYMENT.lower(),))
    return trail


@pytest.mark.parametrize(
    ("changes", "own", "disposition"),
    [
        pytest.param({"client_request_id": REQUEST, "caller": US}, US, Disposition.LINKED, id="our write"),
        pytest.param({"caller": US}, US, Disposition.LINKED, id="our first create: no request id"),
        pytest.param({"client_request_id": REQUEST}, US, Disposition.INCIDENT, id="a forged request id"),
        pytest.param(
            {"client_request_id": REQUEST, "caller": Caller()},
            US,
            Disposition.INCIDENT,
            id="a request id and no identity",
        ),
        pytest.param(
            {"client_request_id": REQUEST}, None, Disposition.LINKED, id="our request id while we do not know ourselves"
        ),
        pytest.param({}, None, Disposition.INCIDENT, id="nothing of ours while we do not know ourselves"),
        pytest.param(
            {"client_request_id": "5f9a1b2c-0000-4000-8000-000000000001", "caller": US},
            US,
            Disposition.ALARM,
            id="our identity with another request id",
        ),
    ],
)
def test_an_event_is_ours_by_identity_and_intent(changes, own, disposition):
    admission = admitted(reception(newer(), **changes), trail_with_effect(), own=own)
    assert admission.disposition is disposition
    assert admission.incident_id == {Disposition.LINKED: "inc-ours", Disposition.ALARM: None}.get(disposition, LATER)


OWN_WRITE = {"httpRequest": {"clientRequestId": REQUEST}, "caller": US.oid}


@pytest.mark.parametrize(
    ("more", "outcome", "own", "disposition"),
    [
        pytest.param(OWN_WRITE, None, US, Disposition.LINKED, id="our request id"),
        pytest.param({}, CORRELATION.upper(), US, Disposition.LINKED, id="our correlation id"),
        pytest.param({"caller": US.appid}, CORRELATION, US, Disposition.LINKED, id="our client id"),
        pytest.param(OWN_WRITE, None, None, Disposition.LINKED, id="while we do not know ourselves"),
        pytest.param({**OWN_WRITE, "caller": SOMEBODY.oid}, None, US, Disposition.INCIDENT, id="somebody's, forged"),
        pytest.param({"caller": US.oid}, OTHER_CORRELATION, US, Disposition.INCIDENT, id="of another write"),
    ],
)
def test_the_sweep_opens_nothing_for_a_failed_write_of_ours(more, outcome, own, disposition):
    trail = trail_with_effect()
    if outcome is not None:
        trail.close_intent("p" * 64, 0, 1, make_outcome(correlation_id=outcome))
    reads = world([(FAILED_AT, WRITE, CORRELATION)], **more)
    admission = admitted(reception(swept(), caller=Caller()), trail, own=own, reads=reads)
    assert admission.disposition is disposition
    assert admission.incident_id == ("inc-ours" if disposition is Disposition.LINKED else make_incident().id)


def test_an_older_failed_write_of_ours_explains_no_later_failure():
    reads = world([(FAILED_AT - HOUR, WRITE, CORRELATION)], **OWN_WRITE)
    admission = admitted(reception(swept(), caller=Caller()), trail_with_effect(), reads=reads)
    assert (admission.disposition, admission.incident_id) == (Disposition.INCIDENT, "inc-swept")


def test_what_ci_says_of_our_failed_write_is_kept_with_its_incident():
    trail = trail_with_effect()
    spec = "https://stmlops.blob.core.windows.net/desired/green.json"
    told = reception(uncorrelated(source="ci", desired_spec_url=spec), caller=Caller())
    admission = admitted(told, trail, reads=world([(FAILED_AT, WRITE, CORRELATION)], **OWN_WRITE))
    assert (admission.disposition, admission.incident_id) == (Disposition.LINKED, "inc-ours")
    assert trail.with_joined(make_incident(id="inc-ours")).desired_spec_url == spec


def test_our_identity_without_any_intent_is_an_alarm_and_repairs_nothing():
    admission = admitted(reception(newer(), caller=US), make_trail())
    assert (admission.disposition, admission.incident) == (Disposition.ALARM, None)


def test_an_effect_of_last_week_explains_no_event_of_today():
    trail = trail_with_effect(at=NOON - timedelta(days=7))
    assert admitted(reception(newer(), caller=US), trail).disposition is Disposition.ALARM


def test_an_ignored_event_by_our_identity_is_an_alarm_too():
    ignored = reception(
        None, caller=US, ignored="operation is not ours", operation_name="Microsoft.KeyVault/vaults/write"
    )
    assert admitted(ignored, make_trail()).disposition is Disposition.ALARM


@pytest.mark.parametrize("name", ["onlineEndpoints/deployments/getLogs/action", "workspaces/DIAGNOSE/action"])
def test_our_own_readings_that_are_posts_raise_no_alarm(name):
    ignored = reception(
        None, caller=US, ignored="not a write", operation_name=f"Microsoft.MachineLearningServices/{name}"
    )
    assert admitted(ignored, make_trail()).disposition is Disposition.IGNORED


def test_who_we_are_is_asked_only_when_it_could_matter():
    asked = []

    def own():
        asked.append(1)
        return US

    anonymous = reception(make_incident(), caller=Caller())
    admit(anonymous, trail=make_trail(), own=own, reads=FakeReads, now=NOON)
    assert asked == []


# --------------------------------------------------------------------------------------------------- the rest


def test_a_handshake_is_no_incident():
    assert admitted(reception(handshake="code"), make_trail()).disposition is Disposition.HANDSHAKE


@pytest.mark.parametrize(
    ("end", "age", "workspace", "disposition"),
    [
        pytest.param(End.REPAIRED, timedelta(hours=1), WORKSPACE, Disposition.CORROBORATED, id="after our repair"),
        pytest.param(End.REPAIRED, timedelta(hours=25), WORKSPACE, Disposition.IGNORED, id="long after"),
        pytest.param(End.NOT_REPAIRED, timedelta(hours=1), WORKSPACE, Disposition.IGNORED, id="nothing was repaired"),
        pytest.param(End.REPAIRED, timedelta(hours=1), "/subscriptions/{x}", Disposition.IGNORED, id="no workspace"),
    ],
)
def test_a_deployed_model_corroborates_a_recent_repair_of_its_endpoint(end, age, workspace, disposition):
    trail = make_trail()
    trail.open_incident(make_incident(), "n", NOON)
    trail.end_incident(ended(make_incident(), end))
    told = reception(repaired=(workspace, "credit-scoring"), resource=None)
    assert admitted(told, trail, now=NOON + age).disposition is disposition


def test_an_event_that_was_ignored_keeps_its_reason():
    admission = admitted(reception(ignored="it reports a success"), make_trail())
    assert (admission.disposition, admission.words) == (Disposition.IGNORED, "it reports a success")


def test_an_absent_resource_is_no_reason_to_join_an_older_failure():
    trail = make_trail()
    trail.open_incident(make_incident(failed_at=NOON - timedelta(hours=5)), "n", NOON)
    reads = FakeReads({DEPLOYMENT: Absent(), "log": Found(())})
    assert admitted(reception(uncorrelated()), trail, reads=reads).incident_id == "inc-raw"


# ------------------------------------------------------------------------------------------ requests that fail


def alerted(**changes):
    fields = {
        "id": "inc-score",
        "operation": Operation.SCORE,
        "correlation_id": None,
        "source": "alert",
        "event_id": "alert-7",
        "caller": Caller(),
        "scoring": Scoring(rule="oe-5xx", status="5xx"),
    }
    return make_incident(**{**fields, **changes})


def told_of(incident):
    return reception(incident, event_type="alert: Platform", operation_name=None, caller=incident.caller)


def never():
    raise AssertionError("nobody is to be asked")


def test_an_alert_about_requests_is_an_incident_and_nothing_is_read_for_it():
    admission = admit(told_of(alerted()), trail=make_trail(), own=never, reads=never, now=NOON)
    assert (admission.disposition, admission.incident) == (Disposition.INCIDENT, alerted())


@pytest.mark.parametrize("is_over", [False, True])
def test_a_second_delivery_of_a_firing_is_a_duplicate(is_over):
    trail = make_trail()
    trail.open_incident(alerted(), "n", NOON)
    if is_over:
        trail.end_incident(ended(alerted(), End.ADVISED))
    admission = admit(told_of(alerted()), trail=trail, own=never, reads=never, now=NOON)
    assert (admission.disposition, admission.incident, admission.incident_id) == (
        Disposition.DUPLICATE,
        None,
        "inc-score",
    )


def test_another_firing_is_another_incident():
    trail = make_trail()
    trail.open_incident(alerted(), "n", NOON)
    admission = admitted(told_of(alerted(id="inc-score-2")), trail)
    assert (admission.disposition, admission.superseded) == (Disposition.INCIDENT, ())


@pytest.mark.parametrize("work", ["asked", "sent", "uncorrelated"])
def test_it_neither_waits_for_nor_ends_an_incident_of_its_deployment(work):
    trail = make_trail()
    known = make_incident(correlation_id=None, id="inc-raw") if work == "uncorrelated" else make_incident()
    trail.open_incident(known, "n", NOON)
    if work == "sent":
        trail.open_intent(make_effect(incident_id=known.id), make_intent(), (DEPLOYMENT.lower(),))
    if work == "asked":
        trail.ask(question(known))
    admission = admitted(told_of(alerted()), trail)
    assert (admission.disposition, admission.incident_id, admission.superseded) == (
        Disposition.INCIDENT,
        "inc-score",
        (),
    )
    assert list(trail.open_questions()) == ([question(known)] if work == "asked" else [])


@pytest.mark.parametrize("source", ["event-grid", "sweep", "alert"])
@pytest.mark.parametrize("has_correlation", [True, False])
@pytest.mark.parametrize("is_over", [True, False])
def test_no_failure_of_its_deployment_joins_waits_for_or_ends_it(source, has_correlation, is_over):
    trail = make_trail()
    trail.open_incident(alerted(failed_at=FAILED_AT), "n", NOON)
    if is_over:
        trail.end_incident(ended(alerted(), End.ADVISED))
    failure = make_incident(
        id="inc-new", source=source, event_id="event-9", correlation_id=OTHER_CORRELATION if has_correlation else None
    )
    for reads in (FakeReads({DEPLOYMENT: Absent(), ENDPOINT: Absent(), "log": Found(())}), FakeReads()):
        admission = admitted(reception(failure), trail, reads=reads)
        assert (admission.disposition, admission.incident_id) == (Disposition.INCIDENT, "inc-new")
        assert admission.superseded == ()


def test_our_own_identity_in_an_alert_about_requests_is_no_write_of_ours():
    trail = make_trail()
    trail.open_intent(make_effect(), make_intent(), (DEPLOYMENT.lower(),))
    admission = admitted(told_of(alerted(caller=US)), trail)
    assert admission.disposition is Disposition.INCIDENT


# ------------------------------------------------------------------------------------------------ storms

ONE = Limits(first=1)
PATHS = [f"{WORKSPACE}/onlineEndpoints/e{number}/deployments/green" for number in range(3)]


def nth(number, **changes):
    fields = {"id": f"inc-{number}", "resource": make_resource(PATHS[number]), "event_id": f"event-{number}"}
    return make_incident(**{**fields, **changes})


def test_a_failure_without_a_place_is_parked_and_judged_with_others():
    trail = make_trail()
    first, second = (admitted(reception(nth(number)), trail, limits=ONE) for number in (0, 1))
    assert (first.disposition, first.storm) == (Disposition.INCIDENT, None)
    assert (second.disposition, second.incident) == (Disposition.PARKED, nth(1))
    assert second.words == "one of many failures in workspace mlw-prod; judged together with them"
    assert trail.storms.listed(second.storm) == {"inc-1"}


def test_a_member_that_is_told_of_again_is_known_and_its_storm_is_named():
    trail = make_trail()
    for number in (0, 1):
        storm = admitted(reception(nth(number)), trail, limits=ONE).storm
    again = admitted(reception(nth(1)), trail, limits=ONE)
    other = admitted(reception(nth(1), event_id="event-of-the-sweep"), trail, limits=ONE)
    assert [(one.disposition, one.incident, one.incident_id, one.storm) for one in (again, other)] == [
        (Disposition.DUPLICATE, None, "inc-1", storm),
        (Disposition.JOINED, None, "inc-1", storm),
    ]


def test_a_member_that_has_been_opened_is_an_incident_like_any_other():
    trail = make_trail()
    for number in (0, 1):
        admitted(reception(nth(number)), trail, limits=ONE)
    trail.open_incident(nth(1), "n", NOON)
    assert admitted(reception(nth(1)), trail, limits=ONE).storm is None


def test_an_alert_about_requests_takes_a_place_and_joins_a_storm_like_any_failure():
    trail = make_trail()
    fired = [
        nth(number, operation=Operation.SCORE, scoring=Scoring(rule="424"), correlation_id=None) for number in (0, 1)
    ]
    found = [admitted(reception(one), trail, limits=ONE) for one in [*fired, fired[1]]]
    assert [one.disposition for one in found] == [Disposition.INCIDENT, Disposition.PARKED, Disposition.DUPLICATE]


def test_what_waits_at_a_desk_takes_no_place():
    trail = make_trail()
    working = nth(0)
    trail.open_incident(working, "n", NOON)
    trail.open_intent(make_effect(incident_id=working.id), make_intent(), (working.resource.key,))
    newer_one = nth(1, resource=working.resource, correlation_id=OTHER_CORRELATION)
    parked = admitted(reception(newer_one), trail, limits=ONE)
    assert (parked.disposition, parked.storm) == (Disposition.PARKED, None)
    assert admitted(reception(nth(2)), trail, limits=ONE).disposition is Disposition.INCIDENT


def test_a_newer_failure_of_a_member_supersedes_its_plan_and_no_other_of_its_storm():
    trail = make_trail()
    key = "scope/window"
    roll = trail.storms.call(key, 1, roll_of((trail.storms.enlist(key, nth(n), NOON) for n in (0, 1)), NOON))
    alike = {"cause": "canceled", "action": "retry", "verdict": "ask", "evidence": "e", "decision": "d"}
    judged = [Judged(incident=nth(n), plan=f"plan-{n}", **alike) for n in (0, 1)]
    storm = trail.storms.group(key, 1, grouped(judged, key, 1, roll.at)).storms[0].incident
    for one in (storm, nth(0), nth(1)):
        trail.open_incident(one, "n", NOON)
    members = tuple(Asked(incident=f"inc-{number}", plan=f"plan-{number}", decision="d") for number in (0, 1))
    asked = msgspec.structs.replace(question(storm), members=members)
    trail.ask(asked)
    make_journal(trail).asked(asked)
    newer_one = nth(2, resource=nth(1).resource, correlation_id=OTHER_CORRELATION)
    assert admitted(reception(newer_one), trail).superseded == (("inc-1", "plan-1"),)
