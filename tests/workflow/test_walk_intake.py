"""What arrives over HTTP and from Event Grid: each delivery is answered, recorded, and never with a stack trace."""

import asyncio
import base64
import json

import azure.functions as func
import httpx
import pytest

from functions import approvals
from functions import events as intake_routes
from remediations import services
from remediations.model import Mode
from remediations.services import Services
from remediations.settings import Settings
from tests.workflow.theatre import EVENT_GRID, eventually

WRITE = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments/write"


def failure(story, **changes):
    resource = f"{story.resource}/deployments/green"
    data = {
        "resourceUri": resource,
        "operationName": WRITE,
        "status": "Failed",
        "correlationId": "b5768deb-836b-41cc-803e-3f4de2f9e404",
    }
    return {
        "id": "e1",
        "topic": f"/subscriptions/{story.subscription}",
        "subject": resource,
        "eventType": "Microsoft.Resources.ResourceWriteFailure",
        "eventTime": "2026-11-22T14:05:31.2917159Z",
        "data": {**data, **changes.pop("data", {})},
        "dataVersion": "2",
        "metadataVersion": "1",
        **changes,
    }


def assert_told_nothing_else(answer):
    assert "Traceback" not in answer.text
    assert ".py" not in answer.text
    assert list(answer.json()) == ["error"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"id": "\xff"}', b"[" * 100_000, b'{"a":' * 50_000, b"NaN", b"\x00\x01\x02"],
    ids=["empty", "cut", "no-utf8", "deep-list", "deep-object", "nan", "binary"],
)
def test_what_is_no_json_is_refused_with_the_reason(tell, body):
    story = tell()
    answer = story.http.post("/api/events", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("the body is not JSON")
    assert_told_nothing_else(answer)
    assert story.incidents() == []


def test_an_event_over_one_mebibyte_is_refused(tell):
    story = tell()
    event = failure(story, padding="x" * 1_048_576)
    answer = story.http.post("/api/events", json=event)
    assert answer.status_code == 413
    assert answer.json()["error"].startswith("an event has at most 1048576 bytes; this has 10")
    assert_told_nothing_else(answer)
    assert story.incidents() == []


@pytest.mark.parametrize(
    ("event", "why"),
    [
        pytest.param(None, "it is not a JSON object", id="null"),
        pytest.param(7, "it is not a JSON object", id="number"),
        pytest.param("text", "it is not a JSON object", id="text"),
        pytest.param({}, "it is not a JSON object", id="empty"),
        pytest.param({"hello": "world"}, "neither an Event Grid event, nor a CloudEvent", id="other"),
        pytest.param({"eventType": 7, "data": []}, "tells of no failed deployment", id="wrong-types"),
        pytest.param(
            {"specversion": "1.0", "type": "x.y", "data": "text"}, "tells of no failed deployment", id="cloud"
        ),
        pytest.param(
            {"schemaId": "azureMonitorCommonAlertSchema", "data": None}, "no failed requests", id="empty-alert"
        ),
        pytest.param(
            {"schemaId": "azureMonitorCommonAlertSchema", "data": {"essentials": []}}, "an alert of ''", id="alert"
        ),
    ],
)
def test_what_is_not_ours_is_acknowledged_and_recorded_with_the_reason(tell, event, why):
    story = tell()
    answer = story.http.post("/api/events", json=[event])
    assert answer.status_code == 202
    (told,) = answer.json()["events"]
    assert (told["disposition"], told["incident"]) == ("ignored", None)
    assert why in told["words"]
    (taken,) = story.intakes(1)
    assert (str(taken.disposition), taken.words) == ("ignored", told["words"])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        pytest.param(
            {"operationName": "Microsoft.Compute/virtualMachines/write"}, "is not the write or delete", id="vm"
        ),
        pytest.param({"operationName": ["write"]}, "is not the write or delete", id="operation-a-list"),
        pytest.param({"resourceUri": "/subscriptions/s"}, "is not the ID of an online endpoint", id="no-endpoint"),
        pytest.param({"resourceUri": "../../etc/passwd"}, "is not the ID of an online endpoint", id="path"),
        pytest.param({"status": "Succeeded"}, "is not a failure", id="succeeded"),
    ],
)
def test_an_event_that_tells_of_no_failed_deployment_is_ignored(tell, changes, why):
    story = tell()
    told = story.submit(failure(story, data=changes))
    assert told["disposition"] == "ignored"
    assert why in told["words"]
    assert story.incidents() == []


def test_a_subscription_that_policy_does_not_watch_is_ignored(tell):
    story = tell(policy={"subscriptions": ["11111111-1111-1111-1111-111111111111"]})
    told = story.submit(failure(story))
    assert told["disposition"] == "ignored"
    assert told["words"] == f"subscription {story.subscription} is not one that policy watches"
    story.put()
    assert story.dispositions(2) == ["ignored", "ignored"]
    assert story.incidents() == []


def test_each_event_of_a_batch_has_its_own_end(tell):
    story = tell({"events": "none"})
    story.put()
    eventually(lambda: story.state() == "Canceled", "it was not canceled")
    event = story.world.raised[0]
    answer = story.http.post("/api/events", json=[event, {"hello": "world"}, event, None])
    assert answer.status_code == 202
    assert [one["disposition"] for one in answer.json()["events"]] == ["incident", "ignored", "duplicate", "ignored"]
    assert story.dispositions(4) == ["incident", "ignored", "duplicate", "ignored"]
    assert story.ending()[0] == "repaired"


def test_a_batch_of_more_than_event_grid_s_own_limit_is_refused(tell):
    story = tell()
    answer = story.http.post("/api/events", json=[{}] * 5_001)
    assert answer.status_code == 413
    assert answer.json()["error"] == "a batch has at most 5000 events; this has 5001"
    assert_told_nothing_else(answer)
    assert list(story.trail.store.list("intake/")) == []


def test_what_is_no_object_in_a_batch_is_one_record_with_the_count(tell):
    story = tell()
    answer = story.http.post("/api/events", json=[None, {"hello": "world"}, *[7] * 4_998])
    assert answer.status_code == 202
    words = [one["words"] for one in answer.json()["events"]]
    assert words[1:] == ["4999 items of the batch are not JSON objects"]
    assert sorted(taken.words for taken in story.intakes(2)) == sorted(words)


def test_a_handshake_in_a_batch_drops_no_other_event(tell):
    story = tell()
    validation = {
        "id": "v1",
        "data": {"validationCode": "512d38b6"},
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
    }
    answer = story.http.post("/api/events", json=[{"hello": "a"}, validation, {"hello": "b"}])
    assert answer.status_code == 200
    assert answer.json()["validationResponse"] == "512d38b6"
    assert [one["disposition"] for one in answer.json()["events"]] == ["ignored", "handshake", "ignored"]
    assert sorted(story.dispositions(3)) == ["handshake", "ignored", "ignored"]


def test_a_spec_url_with_a_signature_is_kept_nowhere_and_that_is_said(tell):
    story = tell()
    told = story.submit(
        {
            "specversion": "1.0",
            "id": "gh-1",
            "source": "ci",
            "type": "com.contoso.mlops.OnlineDeploymentFailed",
            "time": "2026-11-22T14:05:31Z",
            "data": {
                **failure(story)["data"],
                "desiredSpecUri": "https://st.blob.core.windows.net/desired/green.json?sig=c2VjcmV0",
                "error": {"code": "BadArgument", "message": "password=Pa55-w0rd-x"},
            },
        }
    )
    assert told["disposition"] == "incident"
    assert told["words"].endswith("it has a query, a fragment or a user, which may be a secret")
    kept = [story.trail.store.read(name) for name in story.trail.store.list("")]
    assert kept
    assert not any(secret in content for content in kept for secret in (b"c2VjcmV0", b"Pa55-w0rd-x"))


def test_both_handshakes_are_answered(tell):
    story = tell()
    validation = {
        "id": "v1",
        "topic": "/subscriptions/s",
        "subject": "",
        "data": {"validationCode": "512d38b6"},
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "eventTime": "2026-11-22T14:05:31Z",
        "dataVersion": "2",
    }
    answer = story.http.post("/api/events", json=[validation])
    assert (answer.status_code, answer.json()) == (200, {"validationResponse": "512d38b6"})
    answer = story.http.options("/api/events", headers={"WebHook-Request-Origin": "eventgrid.azure.net"})
    assert answer.status_code == 200
    assert answer.headers["webhook-allowed-origin"] == "eventgrid.azure.net"
    headers = {"aeg-event-type": "SubscriptionValidation"}
    answer = story.http.post(EVENT_GRID, json=[validation], headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"validationResponse": "512d38b6"})
    assert story.incidents() == []


@pytest.mark.parametrize(
    "event",
    [{}, {"eventType": "x"}, {"id": "e", "data": {"a": [None]}}, {"specversion": "1.0"}],
    ids=["empty", "type-only", "no-type", "cloud"],
)
def test_event_grid_is_never_answered_400_for_an_event_object(tell, event):
    story = tell()
    answer = story.http.post(EVENT_GRID, json=[event], headers={"aeg-event-type": "Notification"})
    assert answer.status_code in {202, 500}  # what azure-functions cannot decode, the host itself reports
    assert "Traceback" not in answer.text
    assert story.incidents() == []


def test_another_host_name_is_turned_away(tell):
    story = tell()
    for headers in ({"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example"}):
        answer = story.http.post("/api/events", json={}, headers=headers)
        assert answer.status_code == 400  # the development host's own guard, in front of the app's 403
        assert answer.text == "Invalid host header"
    assert story.trail.store is not None
    assert list(story.trail.store.list("intake/")) == []


def test_a_page_of_another_origin_cannot_reach_the_hosts_paths(tell):
    story = tell()
    for path in (EVENT_GRID, "/admin/functions/sweep"):
        answer = story.http.post(path, json=[], headers={"Origin": "https://evil.example"})
        assert answer.status_code == 403


# --------------------------------------------------------------------------------------- as in Azure, without a host


class NoClient:
    """A durable client that nothing may use."""

    def __getattr__(self, name):
        raise AssertionError(f"the durable client's {name} was used")


def asked(route, url="https://medic.example/api/events", body=b"{}", headers=None, **parameters):
    request = func.HttpRequest("POST", url, headers=headers or {}, route_params=parameters, body=body)
    return asyncio.run(route(request, NoClient()))


def principal(*roles, typ="roles"):
    claims = {"auth_typ": "aad", "claims": [{"typ": typ, "val": role} for role in roles]}
    return {"X-MS-CLIENT-PRINCIPAL": base64.b64encode(json.dumps(claims).encode()).decode()}


@pytest.fixture
def azure(tmp_path, monkeypatch):
    """Services as they are in Azure, but for the store."""
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "True")
    made = Services(Settings(mode=Mode.DRY_RUN, store=str(tmp_path), is_azure=True, arm_url="https://arm.example"))
    services.use(made)
    yield made
    services.use(None)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({}, 403, id="nobody"),
        pytest.param(principal(), 403, id="no-role"),
        pytest.param(principal("Medic.Reader", "medic.submit"), 403, id="another-role"),
        pytest.param({"X-MS-CLIENT-PRINCIPAL": "%%%"}, 403, id="no-base64"),
        pytest.param({"X-MS-CLIENT-PRINCIPAL": base64.b64encode(b"[1]").decode()}, 403, id="no-principal"),
        pytest.param(principal("Medic.Submit", typ="name"), 403, id="a-name-is-no-role"),
        pytest.param(principal("Medic.Submit"), 202, id="the-role"),
    ],
)
def test_in_azure_events_over_http_need_the_app_role(azure, headers, status):
    answer = asked(intake_routes.submit, body=b'{"hello": "world"}', headers=headers)
    assert answer.status_code == status
    assert len(list(azure.trail.store.list("intake/"))) == (1 if status == 202 else 0)


def test_in_azure_a_principal_is_not_believed_without_app_service_authentication(azure, monkeypatch):
    monkeypatch.delenv("WEBSITE_AUTH_ENABLED")
    assert asked(intake_routes.submit, headers=principal("Medic.Submit")).status_code == 403
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "false")
    assert asked(intake_routes.submit, headers=principal("Medic.Submit")).status_code == 403


def test_in_azure_a_plain_signed_post_approves_nothing(azure):
    answer = asked(
        approvals.approval, body=b'{"decision": "approve"}', headers=principal("Medic.Approver"), token="k1.x"
    )
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "url", ["http://medic.example/api/events", "http://10.0.0.7:7071/api/events", "http:///api/events", "http://[::1/x"]
)
def test_off_azure_what_does_not_come_over_loopback_is_refused(tmp_path, url):
    services.use(Services(Settings(store=str(tmp_path))))
    try:
        assert asked(intake_routes.submit, url=url).status_code == 403
        assert asked(approvals.approval, url=url, token="k1.x").status_code == 401
    finally:
        services.use(None)


def test_a_connection_that_ends_early_harms_nobody(tell):
    story = tell()
    with httpx.Client(base_url=story.host.url) as client:
        bodies = (chunk for chunk in (b'{"id": ', b'"e1"'))
        assert client.post("/api/events", content=bodies).status_code == 400
    assert story.http.get("/api/health").status_code == 200
