"""Every shape of an event gives one reception; nothing raises, and no personal data stays."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediations import codec
from remediations.intake import incident_id, is_ours, left_out, receive, receive_strays, split
from remediations.model import Caller, Operation, Reception
from tests.builders import (
    CORRELATION,
    DELETE,
    DEPLOYMENT,
    ENDPOINT,
    NOON,
    SOMEBODY,
    SUBSCRIPTION,
    US,
    WRITE,
    make_resource,
)
from tests.fuzzing import ANY_JSON, fuzzed, grafted, scratched
from tests.unit.receiving import assert_received_well

LOCATION = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.MachineLearningServices/locations/westeurope"
OPERATION = f"https://management.azure.com{LOCATION}/mfeOperationsStatus/od:1:2"
SPEC = "https://stmlops.blob.core.windows.net/desired/green.json"
CLAIMS = {
    "appid": "aaaaaaaa-1111-4222-8333-bbbbbbbbbbbb",
    "http://schemas.microsoft.com/identity/claims/objectidentifier": "cccccccc-1111-4222-8333-dddddddddddd",
    "http://schemas.microsoft.com/identity/claims/tenantid": "99999999-8888-7777-6666-555555555555",
    "name": "Ada Lovelace",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn": "ada@contoso.com",
    "ipaddr": "203.0.113.77",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname": "Ada",
}


def event_grid(**changes):
    data = {
        "claims": CLAIMS,
        "correlationId": CORRELATION,
        "httpRequest": {"clientRequestId": "5f9a1b2c-0000-4000-8000-000000000001", "clientIpAddress": "203.0.113.10"},
        "resourceUri": DEPLOYMENT,
        "operationName": WRITE,
        "status": "Failed",
    } | changes.pop("data", {})
    return {
        "id": "event-1",
        "topic": f"/subscriptions/{SUBSCRIPTION}",
        "subject": DEPLOYMENT,
        "eventType": "Microsoft.Resources.ResourceWriteFailure",
        "eventTime": "2026-11-22T11:55:00.1234567Z",
        "data": data,
    } | changes


def cloud(**changes):
    plain = event_grid(data=changes.pop("data", {}))
    return {
        "specversion": "1.0",
        "id": "event-1",
        "source": plain["topic"],
        "type": "Microsoft.Resources.ResourceWriteFailure",
        "subject": DEPLOYMENT,
        "time": "2026-11-22T11:55:00.1234567Z",
        "data": plain["data"],
    } | changes


def ci(**changes):
    data = {
        "resourceUri": DEPLOYMENT,
        "operationName": WRITE,
        "status": "Failed",
        "correlationId": CORRELATION,
        "asyncOperationUri": f"{OPERATION}?api-version=2023-04-01-preview",
        "error": {"code": "BadArgument", "message": "the image cannot be pulled"},
        "desiredSpecUri": SPEC,
    } | changes.pop("data", {})
    return {
        "specversion": "1.0",
        "id": "gh-1",
        "source": "https://github.com/contoso/actions/1",
        "type": "com.contoso.mlops.OnlineDeploymentFailed",
        "subject": DEPLOYMENT,
        "time": "2026-11-22T11:55:40Z",
        "data": data,
    } | changes


def alert(essentials=None, context=None):
    return {
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": {
            "essentials": {
                "alertId": "/subscriptions/x/alerts/1",
                "monitoringService": "Activity Log - Administrative",
                "monitorCondition": "Fired",
                "firedDateTime": "2026-11-22T11:58:12.2462230Z",
            }
            | (essentials or {}),
            "alertContext": {
                "authorization": {"action": WRITE, "scope": DEPLOYMENT},
                "claims": json.dumps(CLAIMS),
                "correlationId": CORRELATION,
                "eventTimestamp": "2026-11-22T11:55:31.2917159+00:00",
                "operationName": WRITE,
                "status": "Failed",
            }
            | (context or {}),
        },
    }


def received(raw, **options):
    return receive(raw, received_at=NOON, **options)


# ------------------------------------------------------------------------------------------ what is taken


@pytest.mark.parametrize(
    ("raw", "source", "event_id"),
    [
        pytest.param(event_grid(), "event-grid", "event-1", id="Event Grid"),
        pytest.param(
            event_grid(eventType="Microsoft.Resources.ResourceWriteCancel"), "event-grid", "event-1", id="cancel"
        ),
        pytest.param(cloud(), "event-grid", "event-1", id="CloudEvents"),
        pytest.param(
            event_grid(deadLetterReason="MaxDeliveryAttemptsExceeded"), "dead-letter", "event-1", id="dead letter"
        ),
        pytest.param(
            cloud(deadletterreason="MaxDeliveryAttemptsExceeded"),
            "dead-letter",
            "event-1",
            id="CloudEvents dead letter",
        ),
        pytest.param(ci(), "ci", "gh-1", id="CI"),
        pytest.param(alert(), "alert", "/subscriptions/x/alerts/1", id="activity-log alert"),
    ],
)
def test_every_schema_of_one_failure_gives_the_same_incident(raw, source, event_id):
    incident = received(raw).incident
    assert incident is not None
    assert (incident.id, incident.source, incident.event_id) == (
        incident_id(make_resource(), CORRELATION),
        source,
        event_id,
    )
    assert (incident.operation, incident.correlation_id) == (Operation.WRITE, CORRELATION)


@pytest.mark.parametrize(
    ("raw", "failed_at"),
    [
        pytest.param(event_grid(), datetime(2026, 11, 22, 11, 55, 0, 123456, UTC), id="seven digits of a second"),
        pytest.param(alert(), datetime(2026, 11, 22, 11, 55, 31, 291715, UTC), id="an alert with an offset"),
        pytest.param(
            event_grid(eventTime="2026-11-22T13:55:00+02:00"),
            datetime(2026, 11, 22, 11, 55, tzinfo=UTC),
            id="another zone",
        ),
        pytest.param(
            event_grid(eventTime="2026-11-22T11:55:00"), datetime(2026, 11, 22, 11, 55, tzinfo=UTC), id="no zone"
        ),
        pytest.param(event_grid(eventTime="yesterday"), NOON, id="no time"),
        pytest.param(event_grid(eventTime=None), NOON, id="null"),
        pytest.param(event_grid(eventTime=7), NOON, id="a number"),
        pytest.param(event_grid(eventTime="0001-01-01T00:00:00"), NOON, id="a time that .NET never set"),
        pytest.param(event_grid(eventTime="0001-01-01T00:00:00+14:00"), NOON, id="before the first day"),
        pytest.param(event_grid(eventTime="9999-12-31T23:59:59-14:00"), NOON, id="after the last day"),
        pytest.param(event_grid(eventTime="2026-11-22T12:00:01Z"), NOON, id="yet to come"),
        pytest.param(
            alert(context={"eventTimestamp": None}),
            datetime(2026, 11, 22, 11, 58, 12, 246223, UTC),
            id="only the firing",
        ),
    ],
)
def test_the_failure_is_dated_by_azure_and_never_in_the_future(raw, failed_at):
    incident = received(raw).incident
    assert incident is not None
    assert incident.failed_at == failed_at


def test_two_deliveries_of_a_future_event_are_one_incident():
    raw = event_grid(eventTime="2027-01-01T00:00:00Z", data={"correlationId": None})
    first, second = (receive(raw, received_at=NOON + timedelta(minutes=minute)).incident for minute in (0, 1))
    assert first is not None
    assert second is not None
    assert first.id == second.id


def test_casing_of_a_resource_id_makes_no_other_incident():
    lower = event_grid(data={"resourceUri": DEPLOYMENT.lower(), "correlationId": CORRELATION.upper()})
    incident = received(lower).incident
    assert incident is not None
    assert incident.id == incident_id(make_resource(), CORRELATION)
    assert incident.resource.path == (
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-ml-prod/providers/Microsoft.MachineLearningServices"
        "/workspaces/mlw-prod/onlineEndpoints/credit-scoring/deployments/green"
    )


def test_an_incident_id_can_name_an_orchestration_and_a_blob():
    identifier = incident_id(make_resource(), CORRELATION)
    assert identifier == "inc-" + identifier[4:]
    assert len(identifier) == 28
    assert identifier[4:].isalnum()


@pytest.mark.parametrize(
    ("name", "uri", "operation", "deployment"),
    [
        pytest.param(WRITE, DEPLOYMENT, Operation.WRITE, "green", id="write"),
        pytest.param(WRITE.upper(), DEPLOYMENT, Operation.WRITE, "green", id="in capitals"),
        pytest.param(DELETE, DEPLOYMENT, Operation.DELETE, "green", id="delete"),
        pytest.param(
            "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/write",
            ENDPOINT,
            Operation.WRITE,
            None,
            id="write of an endpoint",
        ),
    ],
)
def test_writes_and_deletes_are_ours(name, uri, operation, deployment):
    incident = received(event_grid(data={"operationName": name, "resourceUri": uri})).incident
    assert incident is not None
    assert (incident.operation, incident.resource.deployment) == (operation, deployment)


def test_a_correlation_id_that_is_none_is_unknown():
    texts = ("", "not-a-guid", "../../etc", None, 7, {"a": 1})
    incidents = [received(event_grid(data={"correlationId": text})).incident for text in texts]
    assert [incident and incident.correlation_id for incident in incidents] == [None] * 6
    assert len({incident.id for incident in incidents if incident}) == 1


def test_ci_brings_its_own_word_and_where_its_spec_lies():
    reception = received(ci())
    assert reception.incident is not None
    assert [detail.code for detail in reception.report] == ["BadArgument"]
    assert reception.incident.desired_spec_url == SPEC
    assert reception.incident.operation_url == f"{OPERATION}?api-version=2023-04-01-preview"
    assert left_out(ci(), reception) == ""


def test_only_ci_may_name_a_spec_an_operation_or_an_error():
    data = {
        "desiredSpecUri": "https://x.blob.core.windows.net/a/b",
        "asyncOperationUri": "https://x/",
        "error": {"code": "X"},
    }
    reception = received(event_grid(data=data))
    assert reception.incident is not None
    assert (reception.incident.desired_spec_url, reception.incident.operation_url, reception.report) == (None, None, ())


def test_a_url_longer_than_any_real_one_is_dropped():
    reception = received(ci(data={"desiredSpecUri": "https://x/" + "a" * 5_000, "asyncOperationUri": ["https://x/"]}))
    assert reception.incident is not None
    assert (reception.incident.desired_spec_url, reception.incident.operation_url) == (None, None)


def test_secrets_in_ci_s_own_word_are_not_kept():
    secret = "Pa55-w0rd-of-the-registry"
    message = f"docker login failed: password={secret} for ada@contoso.com"
    reception = received(ci(data={"error": {"code": "BadArgument", "message": message + " x" * 5_000}}))
    kept = codec.encode(reception).decode()
    assert secret not in kept
    assert "ada@contoso.com" not in kept
    assert len(reception.report[0].message) == 4_096


@pytest.mark.parametrize(
    "url",
    [
        pytest.param(f"{SPEC}?sv=2024-08-04&sig=c2VjcmV0LXNlY3JldA%3D%3D", id="a signature"),
        pytest.param(f"{SPEC}?", id="an empty query"),
        pytest.param(f"{SPEC}#part", id="a fragment"),
        pytest.param("https://ada:secret@stmlops.blob.core.windows.net/desired/green.json", id="a user"),
    ],
)
def test_a_spec_url_that_may_carry_a_secret_is_left_out_and_that_is_said(url):
    raw = ci(data={"desiredSpecUri": url})
    reception = received(raw)
    assert reception.incident is not None
    assert reception.incident.desired_spec_url is None
    assert left_out(raw, reception) == (
        "desiredSpecUri was left out: it has a query, a fragment or a user, which may be a secret"
    )


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        pytest.param(OPERATION, OPERATION, id="no query"),
        pytest.param(
            f"{OPERATION}?t=1&api-version=2024-10-01&sig=c2VjcmV0",
            f"{OPERATION}?api-version=2024-10-01",
            id="all but the API version goes",
        ),
        pytest.param(f"{OPERATION}?api-version=c2VjcmV0", OPERATION, id="an API version that is none"),
        pytest.param(OPERATION.upper(), OPERATION.upper(), id="in capitals"),
        pytest.param(
            f"http://127.0.0.1:7072{LOCATION}/mfeOperationsStatus/od:1",
            f"http://127.0.0.1:7072{LOCATION}/mfeOperationsStatus/od:1",
            id="a simulator",
        ),
    ],
)
def test_an_operation_url_is_kept_with_its_api_version_alone(url, kept):
    incident = received(ci(data={"asyncOperationUri": url})).incident
    assert incident is not None
    assert incident.operation_url == kept


@pytest.mark.parametrize(
    ("url", "words"),
    [
        pytest.param(OPERATION.replace("https", "http"), "it is not https", id="http"),
        *(
            pytest.param(url, "it is not the status of an operation in the incident's own subscription", id=name)
            for name, url in {
                "another path": "https://management.azure.com/operations/1",
                "the resource": f"https://management.azure.com{DEPLOYMENT}",
                "another subscription": OPERATION.replace(SUBSCRIPTION, "99999999-0000-0000-0000-000000000000"),
                "another provider": OPERATION.replace("MachineLearningServices", "KeyVault"),
                "another collection": OPERATION.replace("mfeOperationsStatus", "quotas"),
                "dots": OPERATION.replace("od:1:2", "../../../secrets"),
                "something below": f"{OPERATION}/listKeys",
                "a user": OPERATION.replace("https://", "https://ada:secret@"),
                "a fragment": f"{OPERATION}#x",
                "a broken host": OPERATION.replace("management.azure.com", "[::2"),
                "a path alone": OPERATION.removeprefix("https://management.azure.com"),
                "too long": f"{OPERATION}{'1' * 3_000}",
            }.items()
        ),
    ],
)
def test_an_operation_url_of_anything_else_is_left_out_and_that_is_said(url, words):
    raw = ci(data={"asyncOperationUri": url})
    reception = received(raw)
    assert reception.incident is not None
    assert reception.incident.operation_url is None
    assert left_out(raw, reception) == f"asyncOperationUri was left out: {words}"


@pytest.mark.parametrize(
    ("count", "words"),
    [
        pytest.param(1, "it is not a JSON object", id="one"),
        pytest.param(4_999, "4999 items of the batch are not JSON objects", id="many"),
    ],
)
def test_what_is_no_object_in_a_batch_is_ignored_in_one_go(count, words):
    assert receive_strays(count).ignored == words


def test_model_deployed_names_what_it_corroborates():
    raw = {
        "id": "m-1",
        "topic": "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w",
        "subject": "endpoints/credit-scoring",
        "eventType": "Microsoft.MachineLearningServices.ModelDeployed",
        "eventTime": "2026-11-22T11:55:00Z",
        "data": {"ServiceName": "credit-scoring"},
    }
    assert received(raw).repaired == (raw["topic"], "credit-scoring")


def test_a_handshake_gives_its_code():
    raw = {
        "id": "h-1",
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "data": {"validationCode": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"},
    }
    assert received(raw).handshake == "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"


# ----------------------------------------------------------------------------------------- what is ignored


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        pytest.param(None, "it is not a JSON object", id="null"),
        pytest.param([], "it is not a JSON object", id="a list"),
        pytest.param("event", "it is not a JSON object", id="a string"),
        pytest.param({}, "it is not a JSON object", id="empty"),
        pytest.param(
            {"foo": 1}, "it is neither an Event Grid event, nor a CloudEvent, nor a common alert", id="another schema"
        ),
        pytest.param({"eventType": ["x"]}, "'' tells of no failed deployment", id="a type of a wrong type"),
        pytest.param(
            event_grid(eventType="Microsoft.Resources.ResourceWriteSuccess"), "it reports a success", id="a success"
        ),
        pytest.param(
            event_grid(eventType="Microsoft.MachineLearningServices.RunStatusChanged"),
            "'Microsoft.MachineLearningServices.RunStatusChanged' tells of no failed deployment",
            id="a job",
        ),
        pytest.param(
            event_grid(data={"operationName": "Microsoft.Resources/deployments/write"}),
            "operation 'Microsoft.Resources/deployments/write' is not the write or delete of an endpoint or deployment",
            id="a template",
        ),
        pytest.param(
            event_grid(data={"operationName": None}),
            "operation None is not the write or delete of an endpoint or deployment",
            id="no operation",
        ),
        pytest.param(event_grid(data={"status": "Succeeded"}), "status 'Succeeded' is not a failure", id="succeeded"),
        pytest.param(
            event_grid(data={"resourceUri": "/subscriptions/x/resourceGroups/y"}),
            "'/subscriptions/x/resourceGroups/y' is not the ID of an online endpoint or of one of its deployments",
            id="another resource",
        ),
        pytest.param(
            alert({"monitoringService": "ServiceHealth"}),
            "an alert of 'ServiceHealth' tells of no failed deployment and of no failed requests",
            id="an alert of another service",
        ),
        pytest.param(
            alert({"monitorCondition": "Resolved"}),
            "the alert is not fired: it reports a recovery",
            id="a resolved alert",
        ),
        pytest.param(event_grid(id="\ud800"), "it holds text that is no Unicode", id="half a surrogate pair"),
        pytest.param(
            ci(data={"error": {"message": "\udfff"}}), "it holds text that is no Unicode", id="the other half"
        ),
    ],
)
def test_what_is_not_ours_is_ignored_with_the_reason(raw, words):
    reception = received(raw)
    assert (reception.ignored, reception.incident) == (words, None)


def test_a_foreign_subscription_is_ignored_when_policy_watches_others():
    watched = received(event_grid(), subscriptions=("99999999-0000-0000-0000-000000000000",))
    assert watched.incident is None
    assert watched.ignored == f"subscription {SUBSCRIPTION} is not one that policy watches"
    assert received(event_grid(), subscriptions=(SUBSCRIPTION.upper(),)).incident is not None


@pytest.mark.parametrize(
    "path",
    [
        f"{ENDPOINT}/deployments/green/extra",
        f"{ENDPOINT}/deployments/../../x",
        f"{ENDPOINT}/deployments/gr%2fen",
        f"{ENDPOINT}/deployments/green\n",
        f"{ENDPOINT}/deployments/gr'een",
        f"{ENDPOINT}/deployments/{'a' * 200}",
        f"{ENDPOINT}/deployments/#",
        "https://management.azure.com" + DEPLOYMENT,
    ],
)
def test_a_hostile_resource_id_makes_no_incident(path):
    assert received(event_grid(data={"resourceUri": path})).incident is None


def test_what_a_sender_writes_is_cut():
    long = "x" * 100_000
    reception = received(
        event_grid(id=long, eventType=f"Microsoft.{long}", data={"resourceUri": long, "operationName": long})
    )
    assert len(codec.encode(reception)) < 3_000


# ------------------------------------------------------------------------------------------------- people


@pytest.mark.parametrize("claims", [CLAIMS, json.dumps(CLAIMS)], ids=["an object", "a JSON string"])
def test_of_the_claims_only_three_ids_are_kept(claims):
    reception = received(event_grid(data={"claims": claims}))
    assert reception.caller == SOMEBODY
    dumped = codec.encode(reception).decode().lower()
    for personal in ("ada", "lovelace", "contoso", "203.0.113", "upn", "givenname"):
        assert personal not in dumped


def test_an_id_in_the_claims_that_is_no_guid_is_not_kept():
    reception = received(event_grid(data={"claims": {"oid": "ada@contoso.com", "appid": 7, "tid": None}}))
    assert reception.caller == Caller()


@pytest.mark.parametrize("claims", ["{", "[1]", "x" * 1000, 5, None, [], "[" * 100_000])
def test_broken_claims_say_nothing(claims):
    assert received(event_grid(data={"claims": claims})).caller == Caller()


@pytest.mark.parametrize(
    ("caller", "own", "ours"),
    [
        pytest.param(US, US, True, id="both ids"),
        pytest.param(Caller(oid=US.oid), US, True, id="object id"),
        pytest.param(Caller(appid=(US.appid or "").upper()), US, True, id="client id in capitals"),
        pytest.param(SOMEBODY, US, False, id="somebody else"),
        pytest.param(Caller(tid=US.tid), US, False, id="only the tenant"),
        pytest.param(Caller(), Caller(), False, id="nobody is nobody"),
        pytest.param(US, None, False, id="we do not know who we are"),
    ],
)
def test_an_event_is_ours_by_identity_alone(caller, own, ours):
    assert is_ours(Reception(event_id="e", event_type="t", caller=caller), own) is ours


def test_an_ignored_event_still_says_which_operation_it_was():
    raw = event_grid(
        eventType="Microsoft.Resources.ResourceActionSuccess", data={"operationName": f"{WRITE[:-6]}/getLogs/action"}
    )
    reception = received(raw)
    assert reception.operation_name == f"{WRITE[:-6]}/getLogs/action"
    assert reception.client_request_id == "5f9a1b2c-0000-4000-8000-000000000001"


# --------------------------------------------------------------------------------------------------- laws

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
KNOWN = st.sampled_from(
    [
        "Microsoft.Resources.ResourceWriteFailure",
        "com.x.OnlineDeploymentFailed",
        WRITE,
        DEPLOYMENT,
        CORRELATION,
        "Failed",
    ]
)
FIELDS = st.sampled_from(
    ["eventType", "type", "specversion", "schemaId", "id", "data", "eventTime", "time", "topic", "source", "subject"]
)
DATA = st.dictionaries(
    st.sampled_from(["resourceUri", "operationName", "status", "correlationId", "claims", "httpRequest", "error"]),
    KNOWN | JSON,
)


HOSTILE = st.sampled_from(
    [
        *("x" * 100_000, "\0", "\ud800", "[" * 3_000, "9999-12-31T23:59:59-23:59", "0001-01-01", "2026-11-22T11:55:00"),
        *(
            DEPLOYMENT + "/../x",
            DEPLOYMENT.upper(),
            f"{DEPLOYMENT}?x",
            DEPLOYMENT.replace("green", "é"),
            10**300,
            -1,
            [],
        ),
    ]
)


@given(JSON)
def test_no_json_makes_intake_raise(raw):
    assert assert_received_well(raw).ignored is not None


@given(st.dictionaries(FIELDS, KNOWN | DATA | JSON))
def test_every_event_ends_as_exactly_one_thing_that_can_be_kept(raw):
    assert_received_well(raw)


MODEL_DEPLOYED = {
    "id": "event-1",
    "topic": f"{ENDPOINT.partition('/onlineEndpoints')[0]}",
    "eventType": "Microsoft.MachineLearningServices.ModelDeployed",
    "data": {"ServiceName": "credit-scoring", "ModelIds": "m:1"},
}
HANDSHAKE = {"id": "1", "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": "c"}}
OWN = (event_grid(), cloud(), ci(), alert(), event_grid(data={"claims": json.dumps(CLAIMS)}), MODEL_DEPLOYED, HANDSHAKE)


@fuzzed(200)
@given(st.data())
def test_an_event_with_something_else_in_it_is_received_as_one_thing_and_bounded(data):
    raw = data.draw(st.sampled_from(OWN))
    for _ in range(data.draw(st.integers(1, 3))):
        raw = grafted(raw, data, ANY_JSON | KNOWN | HOSTILE)
    assert_received_well(raw)


@fuzzed(100)
@given(st.data())
def test_a_scratched_event_is_no_json_or_received_as_one_thing(data):
    text = codec.encode(data.draw(st.sampled_from(OWN))).decode()
    for _ in range(data.draw(st.integers(1, 3))):
        text = scratched(text, data)
    try:
        raw = codec.parse_json(text.encode(errors="surrogatepass"))
    except ValueError:
        return
    for event in split(raw):
        assert_received_well(event)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(event_grid(eventTime="0001-01-01T00:00:00Z"), id="the first year"),
        pytest.param(event_grid(eventTime="9999-12-31T23:59:59.9999999-23:59"), id="the last second, further west"),
        pytest.param(event_grid(eventTime="2026-11-22T11:55:00+99:99"), id="a zone that is none"),
        pytest.param(event_grid(data={"correlationId": "{" + CORRELATION + "}"}), id="a GUID in braces"),
        pytest.param(event_grid(data={"resourceUri": DEPLOYMENT + "/" * 5_000}), id="slashes"),
        pytest.param(event_grid(data={"resourceUri": DEPLOYMENT.replace("green", ".." + "%2f")}), id="dots"),
        pytest.param(event_grid(data={"resourceUri": DEPLOYMENT.replace("green", "gr\u202een")}), id="a turned name"),
        pytest.param(event_grid(data={"resourceUri": DEPLOYMENT.replace("green", "İ" * 3)}), id="a letter that grows"),
        pytest.param(event_grid(id="x" * 100_000), id="a long id"),
        pytest.param(event_grid(eventType="Microsoft.Resources.Resource" + "Write" * 9_000), id="a long type"),
        pytest.param(event_grid(data={"claims": "[" * 5_000}), id="claims nested deep"),
        pytest.param(event_grid(data={"claims": '{"oid":"\\ud800"}'}), id="half a pair in the claims"),
        pytest.param(ci(data={"error": {"code": "x" * 300_000, "message": "\\ud800"}}), id="a long code"),
        pytest.param(ci(data={"error": '{"code":"a","message":"\\ud800"}'}), id="half a pair in a text"),
        pytest.param(ci(data={"desiredSpecUri": "https://[::1"}), id="half an address"),
        pytest.param(alert(essentials={"monitoringService": "Platform", "alertTargetIDs": [None, 1]}), id="no targets"),
    ],
)
def test_an_event_that_is_made_to_break_a_reader_is_received_as_one_thing(raw):
    assert_received_well(raw)


@pytest.mark.parametrize(
    ("body", "count"),
    [([{"a": 1}, {"b": 2}], 2), ({"a": 1}, 1), ([], 0), ("text", 1)],
    ids=["batch", "one", "none", "odd"],
)
def test_a_delivery_is_split_into_its_events(body, count):
    assert len(split(body)) == count


def test_an_event_of_a_megabyte_and_one_nested_deep_are_read():
    assert received(event_grid(data={"padding": "x" * 1_000_000})).incident is not None
    nested = json.loads('{"a":' * 400 + "1" + "}" * 400)
    assert received(event_grid(data={"padding": nested})).incident is not None
