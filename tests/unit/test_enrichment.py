"""The ladder of reads: in order, each a value, absent or unknown, and never a secret in what is kept."""

import json
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from remediations import codec
from remediations.enrichment import activity_row, enrich, is_settled, next_poll, operation_state, resource_state
from remediations.model import Absent, Caller, ErrorDetail, Evidence, Found, Identity, Operation, Scoring, Unknown
from tests.builders import (
    CORRELATION,
    DEPLOYMENT,
    ENDPOINT,
    FAILED_AT,
    NOON,
    OPERATION_URL,
    OTHER_CORRELATION,
    SUBSCRIPTION,
    US,
    WORKSPACE,
    WRITE,
    FakeReads,
    make_evidence,
    make_incident,
    make_operation,
    make_resource,
    make_row,
    make_state,
)
from tests.undos import make_undo_incident

SOMEBODY = "cccccccc-1111-4222-8333-dddddddddddd"
SPEC_URL = "https://stmlops.blob.core.windows.net/desired/green.json"


def shown_by(who, state):
    """A deployment in a state to which somebody's write has brought it."""
    shown = shown_deployment(provisioningState=state)
    return Found(shown | {"systemData": shown["systemData"] | {"lastModifiedBy": who}})


def shown_deployment(**properties):
    return {
        "id": DEPLOYMENT,
        "location": "westeurope",
        "sku": {"name": "Default", "capacity": 2},
        "tags": {"team": "fraud"},
        "systemData": {
            "createdAt": "2026-11-22T11:52:00.1234567Z",
            "lastModifiedAt": "2026-11-22T11:52:30Z",
            "lastModifiedBy": US.oid,
        },
        "properties": {
            "endpointComputeType": "Managed",
            "provisioningState": "Failed",
            "instanceType": "Standard_DS3_v2",
            "environmentVariables": {"DB_PASSWORD": "hunter2-is-secret", "LOG_LEVEL": "chatty-value"},
            "properties": {"AzureAsyncOperationUri": OPERATION_URL},
        }
        | properties,
    }


def shown_row(**changes):
    return {
        "eventTimestamp": FAILED_AT.isoformat(),
        "operationName": {"value": WRITE},
        "status": {"value": "Failed"},
        "resourceId": DEPLOYMENT.upper(),
        "correlationId": CORRELATION,
        "caller": "ada@contoso.com",
        "properties": {"statusMessage": json.dumps({"error": {"code": "OutOfQuota", "message": "Not enough quota"}})},
    } | changes


OPERATION = {
    "status": "Failed",
    "startTime": "2026-11-22T11:52:00Z",
    "endTime": "2026-11-22T11:55:00Z",
    "error": {"code": "ServiceError", "message": "it failed", "details": [{"code": "BadArgument", "message": "image"}]},
}


def reads(**changes):
    answers = {
        DEPLOYMENT: Found(shown_deployment()),
        ENDPOINT: Found({"id": ENDPOINT, "properties": {"provisioningState": "Succeeded", "traffic": {"blue": 100}}}),
        OPERATION_URL: Found(OPERATION),
        f"log {CORRELATION}": Found((shown_row(),)),
        "log": Found((shown_row(),)),
        f"POST {DEPLOYMENT}/getLogs": Found({"content": "started\n"}),
    }
    return FakeReads(answers | changes.pop("answers", {}))


def enriched(source, incident=None, **options):
    return enrich(incident or make_incident(), source, now=NOON, own=US, **options)


# ------------------------------------------------------------------------------------------------ the ladder


def test_the_ladder_is_climbed_in_order():
    source = reads()
    enriched(source)
    assert endings(source) == [
        f"{DEPLOYMENT}?api-version=2024-10-01",
        f"{ENDPOINT}?api-version=2024-10-01",
        OPERATION_URL,
        f"correlationId eq '{CORRELATION}'",
        f"resourceUri eq '{DEPLOYMENT}'",
        f"POST {DEPLOYMENT}/getLogs?api-version=2024-10-01",
        f"POST {DEPLOYMENT}/getLogs?api-version=2024-10-01",
    ]
    assert source.bodies == [
        {"containerType": "InferenceServer", "tail": 100},
        {"containerType": "StorageInitializer", "tail": 100},
    ]


def endings(source):
    return [url.split("$filter=")[-1].split(" and ")[-1] for url in source.asked]


def test_right_before_a_call_only_what_may_have_changed_is_read():
    source = reads(answers={DEPLOYMENT: shown_by(SOMEBODY, "Failed")})
    evidence = enriched(source, extent="change")
    there, above = (f"{path}?api-version=2024-10-01" for path in (DEPLOYMENT, ENDPOINT))
    assert endings(source) == [there, above, f"resourceUri eq '{DEPLOYMENT}'"]
    assert isinstance(evidence.history, Found)
    not_again = Unknown("not asked again: why the operation failed is judged")
    assert (evidence.operation, evidence.activity, dict(evidence.logs)) == (not_again, not_again, {})


def test_of_what_came_of_a_call_only_the_resource_is_read():
    source = reads(answers={DEPLOYMENT: shown_by(US.oid, "Succeeded")})
    evidence = enriched(source, extent="result")
    assert endings(source) == [f"{DEPLOYMENT}?api-version=2024-10-01"]
    assert isinstance(evidence.resource, Found)
    assert isinstance(evidence.endpoint, Unknown)
    assert isinstance(evidence.history, Unknown)


@pytest.mark.parametrize("extent", ["change", "result"])
@pytest.mark.parametrize(
    ("state", "by", "is_read"),
    [
        ("Failed", US.oid, True),
        ("Canceled", US.oid, True),
        ("Succeeded", US.oid, False),
        ("Updating", US.oid, False),
        ("Failed", SOMEBODY, False),
    ],
)
def test_the_words_of_a_call_of_ours_that_failed_are_read_each_time(extent, state, by, is_read):
    source = reads(answers={DEPLOYMENT: shown_by(by, state)})
    evidence = enriched(source, extent=extent)
    assert (OPERATION_URL in source.asked) is is_read
    assert isinstance(evidence.operation, Found) is is_read


@pytest.mark.parametrize("extent", ["change", "result"])
def test_about_an_undo_the_same_is_read_each_time(extent):
    looks = [reads(), reads()]
    undo = make_undo_incident("delete-idle")
    enriched(looks[0], undo)
    enriched(looks[1], undo, extent=extent)
    assert endings(looks[1]) == endings(looks[0])


def test_everything_that_is_there_is_found():
    evidence = enriched(reads())
    assert isinstance(evidence.resource, Found)
    state = evidence.resource.value
    assert (state.provisioning_state, state.kind, state.capacity) == ("Failed", "Managed", 2)
    assert (state.modified_by_us, state.environment_names) == (True, ("DB_PASSWORD", "LOG_LEVEL"))
    assert isinstance(evidence.endpoint, Found)
    assert evidence.endpoint.value.traffic == {"blue": 100}
    assert isinstance(evidence.operation, Found)
    assert [detail.code for detail in evidence.operation.value.errors] == ["BadArgument", "ServiceError"]
    assert isinstance(evidence.activity, Found)
    assert [detail.code for detail in evidence.activity.value[0].errors] == ["OutOfQuota"]


@pytest.mark.parametrize(("name", "is_read_once"), [({"eventDataId": "e1"}, True), ({}, False)])
def test_a_row_that_stands_in_both_lists_of_the_log_is_read_once_by_azure_s_name_for_it(name, is_read_once):
    rows = {f"log {CORRELATION}": Found((shown_row(**name),)), "log": Found((shown_row(**name),))}
    evidence = enriched(reads(answers=rows))
    assert isinstance(evidence.activity, Found)
    assert isinstance(evidence.history, Found)
    assert evidence.activity == evidence.history
    assert (evidence.activity.value[0] is evidence.history.value[0]) is is_read_once


def test_nothing_that_could_not_be_read_counts_as_absent():
    evidence = enriched(FakeReads())
    readings = (evidence.resource, evidence.endpoint, evidence.operation, evidence.activity, evidence.history)
    assert all(isinstance(reading, Unknown) for reading in readings)
    assert evidence.logs == {}


def test_what_is_not_there_is_absent():
    source = FakeReads({DEPLOYMENT: Absent(), ENDPOINT: Absent(), "log": Found(())})
    evidence = enriched(source)
    assert (evidence.resource, evidence.endpoint, evidence.activity) == (Absent(), Absent(), Absent())
    assert isinstance(evidence.operation, Unknown)


def test_an_operation_on_another_host_is_the_reader_s_to_refuse():
    foreign = "https://evil.example/steal"
    source = reads(answers={DEPLOYMENT: Found(shown_deployment(properties={"AzureAsyncOperationUri": foreign}))})
    evidence = enriched(source)
    assert foreign in source.asked
    assert isinstance(evidence.operation, Unknown)


def test_a_later_operation_is_not_taken_for_the_failed_one():
    later = OPERATION | {"status": "InProgress", "startTime": "2026-11-22T11:56:00Z"}
    by_ci = shown_deployment() | {"systemData": {"lastModifiedAt": "2026-11-22T11:52:30Z", "lastModifiedBy": "ci"}}
    evidence = enriched(reads(answers={DEPLOYMENT: Found(by_ci), OPERATION_URL: Found(later)}))
    assert evidence.operation == Unknown("the resource names a later operation")


def test_our_own_repair_is_the_operation_to_judge_however_late_it_began():
    later = OPERATION | {"status": "Canceled", "startTime": "2026-11-22T11:56:00Z"}
    evidence = enriched(reads(answers={OPERATION_URL: Found(later)}))
    assert isinstance(evidence.operation, Found)
    assert evidence.operation.value.status == "Canceled"


def test_the_operation_that_the_resource_names_is_asked_before_the_one_that_the_sender_names():
    source = reads()
    enriched(source, make_incident(operation_url="/operations/by-the-sender"))
    assert OPERATION_URL in source.asked
    assert "/operations/by-the-sender" not in source.asked


def test_without_a_resource_the_sender_s_operation_is_asked():
    source = reads(answers={DEPLOYMENT: Absent(), "/operations/by-the-sender": Found(OPERATION)})
    evidence = enriched(source, make_incident(operation_url="/operations/by-the-sender"))
    assert isinstance(evidence.operation, Found)


def test_rows_of_other_resources_of_the_same_run_are_left_out():
    template = shown_row(resourceId=f"{WORKSPACE}/computes/c", properties={})
    evidence = enriched(reads(answers={f"log {CORRELATION}": Found((template, shown_row()))}))
    assert isinstance(evidence.activity, Found)
    assert [row.resource for row in evidence.activity.value] == [DEPLOYMENT.upper()]


def test_when_the_correlation_id_finds_nothing_the_resource_s_own_failure_does():
    evidence = enriched(reads(answers={f"log {CORRELATION}": Found(())}))
    assert isinstance(evidence.activity, Found)
    assert [row.correlation_id for row in evidence.activity.value] == [CORRELATION]


def test_another_operation_s_failure_never_stands_in():
    other = shown_row(correlationId=OTHER_CORRELATION)
    evidence = enriched(reads(answers={f"log {CORRELATION}": Found(()), "log": Found((other,))}))
    assert evidence.activity == Absent()


def test_a_deployment_that_is_gone_is_looked_for_in_its_endpoint_s_history_too():
    delete = shown_row(
        resourceId=ENDPOINT, operationName={"value": f"{WRITE[:-18]}/delete"}, status={"value": "Succeeded"}
    )
    source = reads(answers={DEPLOYMENT: Absent(), f"log {ENDPOINT}": Found((delete,)), "log": Found(())})
    evidence = enriched(source)
    assert isinstance(evidence.history, Found)
    assert [row.resource for row in evidence.history.value] == [ENDPOINT]


def test_a_history_of_which_half_cannot_be_read_is_unknown():
    source = reads(answers={DEPLOYMENT: Absent(), f"log {ENDPOINT}": Unknown("429: throttled")})
    assert enriched(source).history == Unknown("429: throttled")


@pytest.mark.parametrize("state", ["Canceled", "Succeeded", "InProgress"])
def test_logs_are_not_fetched_for_what_did_not_fail(state):
    source = reads(answers={OPERATION_URL: Found(OPERATION | {"status": state})})
    assert enriched(source).logs == {}
    assert not [url for url in source.asked if "getLogs" in url]


def test_what_azure_refused_is_named():
    source = reads()
    source.lacks = ("Microsoft.Insights/eventtypes/values/read",)
    assert enriched(source).missing_permissions == ("Microsoft.Insights/eventtypes/values/read",)


# ------------------------------------------------------------------------------------------------- CI's spec


def desired(**changes):
    return {
        "id": DEPLOYMENT.upper(),
        "location": "westeurope",
        "sku": {"name": "Default", "capacity": 2},
        "properties": {"endpointComputeType": "Managed", "instanceType": "Standard_DS4_v2"},
    } | changes


def test_ci_s_spec_is_fetched_only_if_policy_wants_it():
    source = reads(answers={f"SPEC {SPEC_URL}": Found(desired())})
    evidence = enriched(source, make_incident(desired_spec_url=SPEC_URL))
    assert evidence.desired == Absent()
    assert f"SPEC {SPEC_URL}" not in source.asked


def test_ci_s_spec_says_how_the_resource_differs():
    source = reads(answers={f"SPEC {SPEC_URL}": Found(desired())})
    evidence = enriched(source, make_incident(desired_spec_url=SPEC_URL), wants_spec=True)
    assert isinstance(evidence.desired, Found)
    assert evidence.desired.value.differs == ("properties.instanceType",)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(
            Found(desired(id=f"{ENDPOINT}/deployments/blue")), "its id is not that of the failed resource", id="other"
        ),
        pytest.param(Found(desired(id=None)), "its id is not that of the failed resource", id="no id"),
        pytest.param(Found(desired(tags={"a": None})), "it cannot be sent: tags.a is null", id="a null"),
        pytest.param(Found("text"), "its id is not that of the failed resource", id="no object"),
        pytest.param(Unknown("answered 403"), "answered 403", id="refused"),
    ],
)
def test_a_spec_that_is_not_for_this_resource_is_unknown(answer, reason):
    source = reads(answers={f"SPEC {SPEC_URL}": answer})
    evidence = enriched(source, make_incident(desired_spec_url=SPEC_URL), wants_spec=True)
    assert evidence.desired == Unknown(reason)


# --------------------------------------------------------------------------------------------------- secrets


def test_no_value_of_an_environment_variable_is_in_the_evidence():
    kept = codec.encode(enriched(reads())).decode()
    assert "DB_PASSWORD" in kept
    assert "hunter2-is-secret" not in kept
    assert "chatty-value" not in kept


def test_logs_are_redacted_and_cut():
    content = "first line\n" + "x" * 20_000 + "\npassword=hunter2\nAccountKey=abcdefgh12345678==\nlast line"
    evidence = enriched(reads(answers={f"POST {DEPLOYMENT}/getLogs": Found({"content": content})}))
    log = evidence.logs["InferenceServer"]
    assert isinstance(log, Found)
    assert len(log.value.encode()) <= 8192
    assert log.value.endswith("last line")
    assert "hunter2" not in log.value
    assert "abcdefgh12345678" not in log.value


def test_error_texts_are_redacted_and_cut():
    state = operation_state(
        {"status": "Failed", "error": {"code": "X", "message": "token=abc123def456 " + "y" * 9_000}}
    )
    assert len(state.errors[0].message) == 4_096
    assert "abc123def456" not in state.errors[0].message


def test_a_log_that_cannot_be_read_is_unknown():
    evidence = enriched(reads(answers={f"POST {DEPLOYMENT}/getLogs": Unknown("answered 500")}))
    assert evidence.logs == {"InferenceServer": Unknown("answered 500"), "StorageInitializer": Unknown("answered 500")}


@pytest.mark.parametrize(
    ("caller", "kept"),
    [
        pytest.param("cccccccc-1111-4222-8333-DDDDDDDDDDDD", "cccccccc-1111-4222-8333-dddddddddddd", id="an object id"),
        pytest.param("ada@contoso.com", "person-f6ca951caced", id="an address"),
        pytest.param("jdoe", "person-d30a5f57532a", id="a short name"),
        pytest.param("", None, id="nobody"),
    ],
)
def test_a_person_becomes_a_digest(caller, kept):
    row = activity_row(shown_row(caller=caller))
    assert row is not None
    assert row.caller == kept


def test_the_same_person_is_the_same_digest_and_another_is_not():
    callers = [activity_row(shown_row(caller=text)) for text in ("Ada@contoso.com", "ada@contoso.com", "Ada Lovelace")]
    names = [row.caller for row in callers if row is not None]
    assert names[0] == names[1] != names[2]
    assert names[2] is not None
    assert "lovelace" not in names[2]


# ------------------------------------------------------------------------------------------------- the parts


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2026-11-22T12:00:00Z", "2026-11-22T12:00:00+00:00"),
        ("2026-11-22T12:00:00.1234567Z", "2026-11-22T12:00:00.123456+00:00"),
        ("2026-11-22T14:00:00+02:00", "2026-11-22T12:00:00+00:00"),
        ("2026-11-22T12:00:00", "2026-11-22T12:00:00+00:00"),
        ("0001-01-01T00:00:00", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("soon", None),
        (None, None),
        (12, None),
    ],
)
def test_a_time_of_the_wire_is_read_or_is_none(text, iso):
    read = codec.moment(text)
    assert (read and read.isoformat()) == iso


@pytest.mark.parametrize(
    ("modified_by", "own", "ours"),
    [
        pytest.param(US.oid, US, True, id="object id"),
        pytest.param((US.appid or "").upper(), US, True, id="client id in capitals"),
        pytest.param("ada@contoso.com", US, False, id="a person"),
        pytest.param(None, US, None, id="Azure does not say"),
        pytest.param(US.oid, None, None, id="we do not know who we are"),
        pytest.param("", Caller(), False, id="nobody is not us"),
    ],
)
def test_who_wrote_last_is_known_or_is_not(modified_by, own, ours):
    shown = shown_deployment() | {"systemData": {"lastModifiedBy": modified_by}}
    assert resource_state(shown, make_resource(), own).modified_by_us is ours


def test_an_endpoint_shows_its_identities_and_where_its_traffic_goes():
    path = f"/subscriptions/{SUBSCRIPTION}/resourcegroups/RG-ml-prod/providers/Microsoft.ManagedIdentity/x/Id-Credit"
    shown: Any = {
        "identity": {
            "type": "SystemAssigned, UserAssigned",
            "userAssignedIdentities": {path: {"principalId": "44444444-aaaa-4bbb-8ccc-000000000001"}, "/bare": None},
        },
        "properties": {"traffic": {"blue": 100}, "mirrorTraffic": {"green": 10, "odd": "x"}},
    }
    state = resource_state(shown, make_resource(ENDPOINT), US)
    assert state.identity == "SystemAssigned, UserAssigned"
    assert state.identities == (
        Identity(path=path, principal_id="44444444-aaaa-4bbb-8ccc-000000000001"),
        Identity(path="/bare"),
    )
    assert (state.traffic, state.mirror_traffic) == ({"blue": 100}, {"green": 10})


@pytest.mark.parametrize("odd", [None, [], "x", {"userAssignedIdentities": ["x"]}, {"type": 3}])
def test_an_endpoint_without_a_readable_identity_shows_none(odd):
    state = resource_state({"identity": odd}, make_resource(ENDPOINT), US)
    assert (state.identity, state.identities) == (None, ())


def test_a_deployment_shows_its_model():
    model = f"{WORKSPACE}/models/credit/versions/7"
    assert resource_state(shown_deployment(model=model), make_resource(), US).model == model
    assert resource_state(shown_deployment(model={"id": model}), make_resource(), US).model is None


def test_a_resource_of_odd_types_is_read_as_far_as_it_goes():
    odd: dict[str, Any] = {"properties": [], "sku": "x", "tags": {"a": 1, "b": "c"}, "systemData": None}
    state = resource_state(odd, make_resource(), US)
    assert (state.provisioning_state, state.capacity, state.tags, state.spec_digest) == (
        "Unknown",
        None,
        {"b": "c"},
        None,
    )
    assert state.not_rebuildable == "location is missing"


@pytest.mark.parametrize("status", ["Canceled", "Cancelled"])
def test_both_spellings_of_canceled_are_one(status):
    assert operation_state({"status": status}).status == "Canceled"
    row = activity_row(shown_row(status={"value": status}))
    assert row is not None
    assert row.status == "Canceled"


@pytest.mark.parametrize(
    "message",
    [
        '{"status":"Failed","error":{"code":"ResourceDeploymentFailure","message":"","details":[{"code":"OutOfQuota"}]}}',
        '{"error":{"code":"OutOfQuota","message":"Not enough quota"}}',
        '{"Code":"OutOfQuota","Message":"Not enough quota","Target":null,"Details":[],"Innererror":null}',
        json.dumps(
            {"error": {"code": "BadRequest", "message": '{"error":{"code":"OutOfQuota","message":"Not enough"}}'}}
        ),
        {"error": {"code": "OutOfQuota", "message": "Not enough quota"}},
    ],
    ids=["async", "sync", "PascalCase", "JSON in JSON", "decoded"],
)
def test_every_shape_of_a_status_message_gives_the_deepest_code(message):
    row = activity_row(shown_row(properties={"statusMessage": message}))
    assert row is not None
    assert row.errors[0].code == "OutOfQuota"


def test_a_row_without_a_time_is_no_row():
    assert activity_row(shown_row(eventTimestamp=None)) is None


# ------------------------------------------------------------------------------------------------- settled?

NOTHING = {"operation": Unknown(), "activity": Absent()}
TOLD = (ErrorDetail(code="X", message="y", depth=0),)


@pytest.mark.parametrize(
    ("changes", "settled"),
    [
        pytest.param({}, True, id="the operation has ended and says why"),
        pytest.param({"operation": Found(make_operation(errors=()))}, False, id="ended without a word"),
        pytest.param({"operation": Found(make_operation(status="Succeeded", errors=()))}, True, id="it succeeded"),
        pytest.param({"operation": Found(make_operation(status="InProgress"))}, False, id="it still runs"),
        pytest.param({"operation": Unknown()}, True, id="only the Activity Log tells"),
        pytest.param(NOTHING, False, id="nothing tells"),
        pytest.param({**NOTHING, "activity": Found((make_row(errors=()),))}, False, id="a row without its detail"),
        pytest.param({"history": Unknown("429")}, False, id="who else did something is not known"),
        pytest.param({**NOTHING, "missing_permissions": ("x/read",)}, True, id="it will never be told"),
        pytest.param({**NOTHING, "report": TOLD}, False, id="the sender's word does not settle it"),
        pytest.param(
            {"resource": Found(make_state(provisioning_state="Updating", modified_by_us=True))},
            False,
            id="our own write runs",
        ),
        pytest.param(
            {"resource": Found(make_state(provisioning_state="Updating", modified_by_us=False))},
            True,
            id="a person's runs",
        ),
    ],
)
def test_evidence_is_settled_when_azure_has_said_what_it_will_say(changes, settled):
    assert is_settled(make_evidence(**changes)) is settled


def test_polls_grow_from_ten_seconds_to_five_minutes():
    assert [next_poll(polls).total_seconds() for polls in range(1, 9)] == [10, 20, 40, 80, 160, 300, 300, 300]


def test_the_activity_log_is_asked_with_one_filter_and_a_time_range():
    source = reads()
    enriched(source, make_incident(failed_at=NOON - timedelta(hours=1)))
    log = next(url for url in source.asked if "correlationId" in url)
    assert log == (
        f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Insights/eventtypes/management/values?api-version=2015-04-01"
        "&$filter=eventTimestamp ge '2026-11-22T08:00:00Z' and eventTimestamp le '2026-11-22T14:00:00Z'"
        f" and correlationId eq '{CORRELATION}'"
    )


def test_evidence_survives_its_own_encoding():
    evidence = enriched(reads())
    assert codec.decode(Evidence, codec.encode(evidence)) == evidence


# ------------------------------------------------------------------------------------------ requests that fail


def alerted(path=DEPLOYMENT):
    fields = {"operation": Operation.SCORE, "correlation_id": None, "scoring": Scoring(rule="oe-5xx", status="5xx")}
    return make_incident(resource=make_resource(path), **fields)


def test_of_requests_that_fail_resource_endpoint_metrics_and_logs_are_read_and_nothing_else():
    source = reads()
    evidence = enriched(source, alerted())
    assert [url.partition("?")[0] for url in source.asked] == [
        DEPLOYMENT,
        ENDPOINT,
        f"{ENDPOINT}/providers/Microsoft.Insights/metrics",
        f"POST {DEPLOYMENT}/getLogs",
        f"POST {DEPLOYMENT}/getLogs",
    ]
    not_asked = Unknown("not asked: requests fail, and no operation did")
    assert (evidence.operation, evidence.activity, evidence.history) == (not_asked,) * 3
    assert evidence.load == Unknown("no answer in this test")
    assert evidence.logs["InferenceServer"] == Found("started\n")
    assert is_settled(evidence)


def test_no_log_is_asked_for_without_a_deployment_or_one_that_is_gone():
    source = reads(answers={DEPLOYMENT: Absent()})
    for incident in (alerted(ENDPOINT), alerted()):
        evidence = enriched(source, incident)
        assert evidence.logs == {}
        assert is_settled(evidence)
    assert not [url for url in source.asked if url.startswith("POST")]


@pytest.mark.parametrize("unread", [DEPLOYMENT, ENDPOINT])
def test_requests_are_judged_once_deployment_and_endpoint_are_known(unread):
    evidence = enriched(reads(answers={unread: Unknown("503")}), alerted())
    assert not is_settled(evidence)
    assert is_settled(replace(evidence, missing_permissions=("Microsoft.Insights/metrics/read",)))


def test_a_running_deployment_does_not_hold_up_what_its_requests_tell():
    shown = shown_deployment(provisioningState="Updating")
    assert is_settled(enriched(reads(answers={DEPLOYMENT: Found(shown)}), alerted()))


@pytest.mark.parametrize(
    ("settings", "concurrent", "timeout"),
    [
        pytest.param(
            {"maxConcurrentRequestsPerInstance": 4, "requestTimeout": "PT5S"}, 4, timedelta(seconds=5), id="both"
        ),
        pytest.param({"maxConcurrentRequestsPerInstance": True, "requestTimeout": 5}, None, None, id="of wrong types"),
        pytest.param(
            {"maxConcurrentRequestsPerInstance": 0, "requestTimeout": "PT0S"}, None, None, id="that cannot be"
        ),
        pytest.param(None, None, None, id="none"),
        pytest.param([], None, None, id="no object"),
    ],
)
def test_what_one_instance_takes_is_read_from_the_request_settings(settings, concurrent, timeout):
    state = resource_state(shown_deployment(requestSettings=settings), make_resource(), US)
    assert (state.concurrent_requests, state.request_timeout) == (concurrent, timeout)
