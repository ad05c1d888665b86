"""Every real event ends as it should. Collected only when MEDIC_RESEARCH names the research folder."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediations.admission import admit
from remediations.intake import receive, split
from remediations.model import Caller, Disposition, End, Operation, Scoring
from remediations.trail import Ended
from tests.builders import NOON, FakeReads, make_effect, make_incident, make_intent, make_resource, make_trail
from tests.fuzzing import ANY_JSON, fuzzed, grafted
from tests.unit.receiving import assert_received_well

INCIDENT, IGNORED, DUPLICATE = Disposition.INCIDENT, Disposition.IGNORED, Disposition.DUPLICATE
# What each event of a file comes to, one after the other, on an empty trail.
EXPECTED = {
    "alert_activitylog_commonschema_deployment_failed.json": [INCIDENT],
    "alert_logv2_commonschema_trafficlog.json": [INCIDENT],
    "alert_metric_commonschema_5xx.json": [INCIDENT],
    "ce_OPTIONS_handshake.json": [],  # no body: the route answers it (tests/workflow)
    "ce_ResourceWriteCancel_deployment.json": [INCIDENT],
    "ce_ResourceWriteFailure_deployment.json": [INCIDENT],
    "ce_batch_ResourceWriteFailure.json": [INCIDENT, Disposition.JOINED],
    "ce_custom_ci_DeploymentFailed.json": [INCIDENT],
    "ce_deadletter.json": [INCIDENT],
    "eg_SubscriptionValidationEvent_verbatim.json": [Disposition.HANDSHAKE],
    "eg_deadletter.json": [INCIDENT],
    "eg_duplicate_delivery.json": [INCIDENT, DUPLICATE],
    "eg_ml_ModelDeployed_verbatim.json": [IGNORED],
    "eg_ml_RunStatusChanged_verbatim.json": [IGNORED],
    "eg_rg_ResourceWriteFailure_deployment_create_lowercase.json": [INCIDENT],
    "eg_sub_ResourceActionCancel_getLogs.json": [IGNORED],
    "eg_sub_ResourceActionFailure_resyncKeys.json": [IGNORED],
    "eg_sub_ResourceDeleteFailure_deployment.json": [INCIDENT],
    "eg_sub_ResourceWriteCancel_deployment.json": [INCIDENT],
    "eg_sub_ResourceWriteFailure_armtemplate_noise.json": [IGNORED],
    "eg_sub_ResourceWriteFailure_deployment.json": [INCIDENT],
    "eg_sub_ResourceWriteFailure_endpoint.json": [INCIDENT],
    "eg_sub_ResourceWriteSuccess_deployment.json": [IGNORED],
    "eventsubscription_filter.json": [IGNORED],  # no event at all: the body that creates the subscription
}
# The identity and the request id that all these events carry.
CI = Caller(oid="cccccccc-1111-4222-8333-dddddddddddd", appid="aaaaaaaa-1111-4222-8333-bbbbbbbbbbbb")
REQUEST = "5f9a1b2c-0000-4000-8000-000000000001"


def events_of(folder: Path, name: str):
    payload = json.loads((folder / name).read_text())["payload"]
    return () if payload is None else split(payload)


def admitted(raw, trail, own=None):
    """Take one event, and open its incident as the first step of its walk does."""
    reception = receive(raw, received_at=NOON)
    admission = admit(reception, trail=trail, own=lambda: own, reads=FakeReads, now=NOON)
    if admission.incident is not None:
        assert trail.open_incident(admission.incident, "nonce-1", NOON)
    return admission


@pytest.fixture(scope="module")
def folder(research):
    return research / "azure/events"


def test_the_table_and_the_folder_agree(folder):
    assert sorted(EXPECTED) == sorted(path.name for path in folder.glob("*.json"))


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_real_event_ends_in_its_disposition(folder, name):
    trail = make_trail()
    assert [admitted(raw, trail).disposition for raw in events_of(folder, name)] == EXPECTED[name]


@pytest.mark.parametrize("name", sorted(name for name, ends in EXPECTED.items() if IGNORED in ends))
def test_every_ignored_event_says_why(folder, name):
    words = [admitted(raw, make_trail()).words for raw in events_of(folder, name)]
    assert all(len(word.split()) > 3 for word in words)


@pytest.mark.parametrize("name", sorted(name for name, ends in EXPECTED.items() if INCIDENT in ends))
def test_no_real_event_leaves_an_address_or_a_token_on_the_trail(folder, name):
    for raw in events_of(folder, name):
        kept = repr(receive(raw, received_at=NOON))
        assert "203.0.113" not in kept
        assert "{token}" not in kept


def test_the_same_failure_told_four_ways_is_one_incident(folder):
    trail = make_trail()
    names = (
        "eg_sub_ResourceWriteFailure_deployment.json",
        "ce_ResourceWriteFailure_deployment.json",
        "alert_activitylog_commonschema_deployment_failed.json",
        "ce_custom_ci_DeploymentFailed.json",
    )
    admissions = [admitted(raw, trail) for name in names for raw in events_of(folder, name)]
    assert [admission.disposition for admission in admissions] == [
        INCIDENT,
        DUPLICATE,
        Disposition.JOINED,
        Disposition.JOINED,
    ]
    assert len({admission.incident_id for admission in admissions}) == 1


def test_the_real_alerts_tell_which_answers_of_which_deployment(folder):
    told = {}
    for kind in ("metric_commonschema_5xx", "logv2_commonschema_trafficlog"):
        (raw,) = events_of(folder, f"alert_{kind}.json")
        incident = receive(raw, received_at=NOON).incident
        assert incident is not None
        assert (incident.operation, incident.resource.label) == (Operation.SCORE, "mlw-prod/credit-scoring/green")
        told[kind.split("_", maxsplit=1)[0]] = incident.scoring
    assert told == {
        "metric": Scoring(
            rule="oe-5xx",
            status="5xx",
            metric="RequestsPerMinute",
            value=31.5,
            threshold=5.0,
            window=timedelta(minutes=5),
        ),
        "logv2": Scoring(
            rule="oe-424",
            status="424",
            model_status="500",
            value=42.0,
            threshold=10.0,
            window=timedelta(minutes=10),
        ),
    }


def test_the_real_alerts_and_a_failure_of_the_same_deployment_are_three_incidents(folder):
    trail = make_trail()
    names = (
        "alert_metric_commonschema_5xx.json",
        "eg_sub_ResourceWriteFailure_deployment.json",
        "alert_logv2_commonschema_trafficlog.json",
        "alert_metric_commonschema_5xx.json",
    )
    ends = [admitted(raw, trail).disposition for name in names for raw in events_of(folder, name)]
    assert ends == [INCIDENT, INCIDENT, INCIDENT, DUPLICATE]


OWN_WRITES = ("eg_sub_ResourceActionFailure_resyncKeys.json", "eg_sub_ResourceWriteCancel_deployment.json")


@pytest.mark.parametrize("name", OWN_WRITES)
def test_an_event_of_our_own_write_is_linked_to_its_incident(folder, name):
    trail = make_trail()
    trail.open_intent(make_effect(incident_id="inc-ours"), make_intent(request_id=REQUEST), ("somewhere",))
    (raw,) = events_of(folder, name)
    admission = admitted(raw, trail, own=CI)
    assert (admission.disposition, admission.incident_id) == (Disposition.LINKED, "inc-ours")


@pytest.mark.parametrize("name", OWN_WRITES)
def test_an_event_by_our_identity_without_an_intent_is_an_alarm(folder, name):
    (raw,) = events_of(folder, name)
    admission = admitted(raw, make_trail(), own=CI)
    assert (admission.disposition, admission.incident) == (Disposition.ALARM, None)


def test_our_own_reading_of_logs_is_no_alarm(folder):
    (raw,) = events_of(folder, "eg_sub_ResourceActionCancel_getLogs.json")
    assert admitted(raw, make_trail(), own=CI).disposition is IGNORED


def test_a_model_deployed_after_our_repair_corroborates_it(folder):
    (raw,) = events_of(folder, "eg_ml_ModelDeployed_verbatim.json")
    workspace = raw["topic"].translate(str.maketrans("", "", "{}"))
    resource = make_resource(f"{workspace}/onlineEndpoints/my-sklearn-service/deployments/blue")
    incident = make_incident(resource=resource)
    trail = make_trail()
    trail.open_incident(incident, "nonce-1", NOON)
    trail.end_incident(Ended(at=NOON, end=End.REPAIRED, words="Succeeded", incident=incident))
    admission = admitted(raw | {"topic": workspace}, trail)
    assert (admission.disposition, admission.incident_id) == (Disposition.CORROBORATED, incident.id)


@fuzzed(100)
@given(data=st.data())
def test_a_real_event_with_something_else_in_it_is_received_as_one_thing_and_bounded(research, data):
    name = data.draw(st.sampled_from([name for name, ends in EXPECTED.items() if ends]))
    raw = data.draw(st.sampled_from(events_of(research / "azure/events", name)))
    for _ in range(data.draw(st.integers(0, 3))):
        raw = grafted(raw, data, ANY_JSON)
    assert_received_well(raw)
