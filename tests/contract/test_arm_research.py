"""The simulated Resource Manager against what is known of the real one: the same keys, the same kinds of value."""

import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local.arm import World
from local.arm.events import as_cloud_event
from local.arm.faults import Answer, Request
from local.arm.routes import Simulator

AZURE = Path(os.environ["MEDIC_RESEARCH"]) / "azure"
SUBSCRIPTION = "/subscriptions/00000000-1111-2222-3333-444444444444"
WORKSPACE = f"{SUBSCRIPTION}/resourceGroups/rg-ml-prod/providers/Microsoft.MachineLearningServices/workspaces/mlw-prod"
ENDPOINT = f"{WORKSPACE}/onlineEndpoints/credit-scoring"
GREEN = f"{ENDPOINT}/deployments/green"
PLACE = f"{SUBSCRIPTION}/providers/Microsoft.MachineLearningServices/locations/westeurope"
REGISTRY = f"{SUBSCRIPTION}/resourceGroups/rg-ml-prod/providers/Microsoft.ContainerRegistry/registries/crmlwprod"
IDENTITY = (
    f"{SUBSCRIPTION}/resourceGroups/rg-ml-prod/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-credit"
)

CLIENT_REQUEST_ID = "5f9a1b2c-0000-4000-8000-000000000001"

PATTERNS = {
    "guid": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "time": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)"),
    "id": re.compile(r"/subscriptions/.+"),
    "url": re.compile(r"https?://.+"),
    "duration": re.compile(r"PT[\d.]+[SMH]"),
}


class Bench:
    """A world with the resources of the research files, and an hour that can pass at once."""

    def __init__(self, **changes: Any) -> None:
        self.now = datetime(2026, 11, 22, 12, tzinfo=UTC)
        users = {"identity": {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}}}
        endpoint = {
            "name": "credit-scoring",
            "traffic": {"blue": 100},
            "mirror_traffic": {"green": 10},
            "spec": users,
            "deployments": [{"name": "blue"}, {"name": "green"}, {"name": "old-canary"}],
        }
        self.world = World.from_dict(
            {"workspaces": [{"name": "mlw-prod", "endpoints": [endpoint]}]} | changes, clock=lambda: self.now
        )
        self.simulator = Simulator(self.world)

    def ask(self, method: str, url: str, body: Any = None, **query: str) -> Answer:
        path = url.removeprefix("https://management.azure.com").partition("?")[0]
        return self.simulator.handle(
            Request(
                method=method,
                path=path,
                query={"api-version": "2024-10-01"} | query,
                headers={"authorization": "Bearer sim-ci", "x-ms-client-request-id": CLIENT_REQUEST_ID},
                body=b"" if body is None else json.dumps(body).encode(),
            )
        )

    def fail(self, path: str = GREEN, method: str = "PUT", body: Any = None) -> Answer:
        """A write or action, and the end of its operation."""
        if method == "PUT" and body is None:
            body = self.ask("GET", path).body
        answer = self.ask(method, path, body)
        self.now += timedelta(hours=1)
        self.world.settle()
        return answer


def known(name: str, *path: str) -> Any:
    """A part of a research file."""
    found = json.loads((AZURE / name).read_text())
    for step in path:
        found = found[step]
    return found


def differences(real: Any, ours: Any, at: str = "$", *, optional: frozenset[str] = frozenset()) -> list[str]:
    """Where ours lacks a key of the real one, or has a value of another kind."""
    if isinstance(real, dict) and isinstance(ours, dict):
        found = [f"{at}.{key} is missing" for key in real if key not in ours and key not in optional]
        for key in real.keys() & ours.keys():
            found += differences(real[key], ours[key], f"{at}.{key}", optional=optional)
        return found
    if isinstance(real, list) and isinstance(ours, list):
        if bool(real) != bool(ours):
            return [f"{at} has {len(ours)} items, not {len(real)}"]
        return differences(real[0], ours[0], f"{at}[0]", optional=optional) if real else []
    if isinstance(real, str) and isinstance(ours, str):
        kinds = [name for name, pattern in PATTERNS.items() if pattern.fullmatch(real)]
        return [f"{at} is no {name}: {ours!r}" for name in kinds if not PATTERNS[name].fullmatch(ours)]
    same = type(real) is type(ours) or {type(real), type(ours)} == {int, float}
    return [] if same else [f"{at} is {type(ours).__name__}, not {type(real).__name__}"]


@pytest.mark.parametrize(
    ("file", "path"),
    [
        ("workspace_get.json", WORKSPACE),
        ("endpoint_get_uai.json", ENDPOINT),
        ("deployment_get_failed.json", GREEN),
        ("deployment_list.json", f"{ENDPOINT}/deployments"),
        ("vmsizes_list.json", f"{PLACE}/vmSizes"),
        ("spec_usages_list.json", f"{PLACE}/usages"),
        ("acr_get_role_mode.json", REGISTRY),
    ],
)
def test_reads_have_the_shape_of_azures(file: str, path: str) -> None:
    answer = Bench().ask("GET", path)
    assert answer.status == 200
    assert differences(known(f"responses/{file}", "responses", "200", "body"), answer.body) == []


@pytest.mark.parametrize(
    ("shape", "requests"),
    [
        ("200_with_traffic", None),
        ("200_idle_no_series", "none"),
        ("200_idle_empty_points", "no-points"),
        ("200_idle_zero", "zero"),
    ],
)
def test_metrics_have_the_shape_of_azures(shape: str, requests: str | None) -> None:
    deployment = {"name": "blue", "metrics": {"requests": requests}}
    endpoint = {"name": "credit-scoring", "traffic": {"blue": 100}, "deployments": [deployment]}
    bench = Bench(workspaces=[{"name": "mlw-prod", "endpoints": [endpoint]}])
    query = known("responses/metrics_requests_by_deployment.json", "request", "query")
    answer = bench.ask("GET", f"{ENDPOINT}/providers/Microsoft.Insights/metrics", **query)
    real = known("responses/metrics_requests_by_deployment.json", "responses", shape, "body")
    assert answer.status == 200
    assert differences(real, answer.body) == []


def test_a_role_assignment_has_the_shape_of_azures() -> None:
    bench = Bench()
    request = known("responses/roleassignment_create.json", "request")
    path = request["url"].removeprefix("https://management.azure.com")
    made, again = (bench.ask("PUT", path, request["body"]) for _ in range(2))
    other = bench.ask("PUT", path[:-1] + "0", request["body"])
    real = known("responses/roleassignment_create.json", "responses")
    assert (made.status, again.status, other.status) == (201, 200, 409)
    assert made.body is not None
    properties = made.body["properties"]
    assert differences(real["201"]["body"], made.body | {"properties": properties | {"createdBy": None}}) == []
    assert other.body is not None
    assert other.body["error"]["code"] == real["409_RoleAssignmentExists"]["body"]["error"]["code"]


def test_a_deployment_that_is_not_there_is_missed_in_azures_words() -> None:
    real = known("responses/deployment_get_failed.json", "responses", "404", "body")
    assert Bench().ask("GET", f"{ENDPOINT}/deployments/none").body == real


def test_a_put_is_accepted_as_azure_accepts_it() -> None:
    bench = Bench()
    body = bench.ask("GET", GREEN).body
    answer = bench.ask("PUT", f"{ENDPOINT}/deployments/red", body)
    real = known("responses/deployment_put_429_409.json", "responses", "201")
    assert answer.status == 201
    assert differences(real["body"], answer.body) == []
    assert set(real["headers"]) <= set(answer.headers)
    assert answer.body is not None
    assert answer.body["properties"]["provisioningState"] == real["body"]["properties"]["provisioningState"]


def test_a_conflict_and_a_throttling_have_the_known_shape() -> None:
    bench = Bench(faults=[{"kind": "throttle", "after": 2}])
    body = bench.ask("GET", GREEN).body
    bench.ask("PUT", GREEN, body)
    throttled = bench.ask("PUT", GREEN, body)
    conflict = bench.ask("PUT", GREEN, body)
    real = known("responses/deployment_put_429_409.json", "responses")
    assert differences(real["429"]["body"], throttled.body) == []
    assert set(real["429"]["headers"]) <= set(throttled.headers)
    assert differences(real["409"]["body"], conflict.body) == []
    assert conflict.body is not None
    assert conflict.body["error"]["code"] == "Conflict"


def test_a_delete_is_accepted_as_azure_accepts_it() -> None:
    answer = Bench().ask("DELETE", f"{ENDPOINT}/deployments/old-canary")
    real = known("responses/deployment_delete.json", "responses", "202", "headers")
    assert (answer.status, answer.body) == (202, None)
    assert set(real) <= set(answer.headers)
    assert "/mfeOperationResults/od:" in answer.headers["Location"]


@pytest.mark.parametrize(("hazard", "shape"), [("broken", "200_failed"), ("higher-priority", "200_canceled")])
def test_an_operation_that_ended_badly_reads_like_azures(hazard: str, shape: str) -> None:
    more = {"code": "BadArgument", "message": "x"} if hazard == "broken" else {}
    bench = Bench(hazards=[{"kind": hazard} | more])
    answer = bench.fail()
    url = answer.headers["Azure-AsyncOperation"]
    record = bench.ask("GET", url).body
    real = known("responses/async_operation_status_failed.json", "responses", shape, "body")
    assert differences(real, record) == []
    assert record is not None
    assert record["status"] == real["status"]
    if hazard == "higher-priority":
        assert record["error"]["code"] == real["error"]["code"]
        assert record["error"]["message"] == real["error"]["message"]
    form = known("responses/async_operation_status_failed.json", "request", "url")
    assert re.sub(r"[0-9a-f-]{36}", "*", url.partition("?")[0]) == re.sub(r"(?<=:)[0-9a-f-]{36}", "*", form).replace(
        "00000000-1111-2222-3333-444444444444", "*"
    )


def test_a_running_operation_says_when_to_come_back() -> None:
    bench = Bench()
    answer = bench.ask("PUT", GREEN, bench.ask("GET", GREEN).body)
    running = bench.ask("GET", answer.headers["Azure-AsyncOperation"])
    real = known("responses/async_operation_status_failed.json", "responses", "200_running")
    assert differences(real["body"], running.body) == []
    assert set(real["headers"]) <= set(running.headers)


def test_a_service_error_has_the_envelope_of_the_front_end() -> None:
    real = known("responses/real_error_texts.json", "responses", "service_500", "body")
    bench = Bench(hazards=[{"kind": "broken", "code": "ServiceError", "message": "InternalServerError"}])
    record = bench.ask("GET", bench.fail().headers["Azure-AsyncOperation"]).body
    assert record is not None
    assert differences(real["error"], record["error"]) == []
    ours = [each["type"] for each in record["error"]["additionalInfo"]]
    assert ours == [each["type"] for each in real["error"]["additionalInfo"]]


def test_the_activity_log_has_azures_rows() -> None:
    bench = Bench(hazards=[{"kind": "broken", "code": "BadArgument", "message": "x"}])
    answer = bench.fail()
    request = known("responses/activitylog_by_correlation_failed_deployment.json", "request", "query")
    text = request["$filter"].replace(
        "b5768deb-836b-41cc-803e-3f4de2f9e401", answer.headers["x-ms-correlation-request-id"]
    )
    text = text.replace("12:05:31Z", "11:00:00Z")
    bench.now += timedelta(hours=2)
    body = bench.ask(
        "GET", f"{SUBSCRIPTION}/providers/Microsoft.Insights/eventtypes/management/values", **{"$filter": text}
    )
    real = known("responses/activitylog_by_correlation_failed_deployment.json", "responses", "200", "body", "value")
    assert body.body is not None
    ours = body.body["value"]
    assert [row["status"]["value"] for row in ours] == [row["status"]["value"] for row in real]
    for expected, row in zip(real, ours, strict=True):
        given = differences(expected, row)
        assert [each for each in given if "serviceRequestId" not in each] == []
        assert row["eventName"]["value"] == expected["eventName"]["value"]
        assert row["operationName"] == expected["operationName"]
        assert row["level"] == expected["level"]
    message = json.loads(ours[0]["properties"]["statusMessage"])
    assert differences(json.loads(real[0]["properties"]["statusMessage"]), message) == []
    assert set(real[0]["authorization"]) == set(ours[0]["authorization"])


def test_the_activity_log_fits_the_published_example() -> None:
    bench = Bench(hazards=[])
    bench.fail()
    filters = "eventTimestamp ge '2026-11-22T11:00:00Z' and eventTimestamp le '2026-11-22T13:00:00Z' and "
    url = f"{SUBSCRIPTION}/providers/Microsoft.Insights/eventtypes/management/values"
    body = bench.ask("GET", url, **{"$filter": filters + "resourceGroupName eq 'rg-ml-prod'"}).body
    real = known("responses/spec_activitylog_list.json", "responses", "200", "body", "value")[0]
    assert body is not None
    absent = {
        "role",
        "claims",
        "description",
        "id",
        "statusCode",
    }  # role and claims need the directory; the rest is derived
    given = differences(real, body["value"][0], optional=frozenset(absent))
    assert given == []


@pytest.mark.parametrize("name", ["getLogs", "diagnose"])
def test_actions_answer_as_azure_does(name: str) -> None:
    file, path = (
        ("deployment_getLogs.json", GREEN) if name == "getLogs" else ("spec_workspace_diagnose.json", WORKSPACE)
    )
    answer = Bench().ask("POST", f"{path}/{name}", {})
    real = known(f"responses/{file}", "responses", "200", "body")
    assert answer.body is not None
    assert answer.status == 200
    assert set(real) == set(answer.body)
    if name == "diagnose":
        assert set(real["value"]) == set(answer.body["value"])


@pytest.mark.parametrize(
    ("file", "hazard", "method", "path"),
    [
        ("eg_sub_ResourceWriteFailure_deployment", "broken", "PUT", GREEN),
        ("eg_sub_ResourceWriteCancel_deployment", "higher-priority", "PUT", GREEN),
        ("eg_sub_ResourceWriteFailure_endpoint", "broken", "PUT", ENDPOINT),
        ("eg_sub_ResourceDeleteFailure_deployment", "broken", "DELETE", f"{ENDPOINT}/deployments/old-canary"),
        ("eg_sub_ResourceActionFailure_resyncKeys", "broken", "POST", f"{WORKSPACE}/resyncKeys"),
        ("eg_sub_ResourceWriteSuccess_deployment", None, "PUT", GREEN),
    ],
)
def test_events_are_those_of_event_grid(file: str, hazard: str | None, method: str, path: str) -> None:
    more = {"code": "BadArgument", "message": "x"} if hazard == "broken" else {}
    hazards = [{"kind": hazard, "action": "*"} | more] if hazard else []
    bench = Bench(hazards=hazards, events={"successes": True})
    bench.fail(path, method)
    real = known(f"events/{file}.json", "payload")[0]
    (ours,) = bench.world.raised
    assert differences(real, ours) == []
    assert differences(ours, real) == []
    assert ours["eventType"] == real["eventType"]
    for name in ("operationName", "status", "resourceProvider", "subscriptionId", "tenantId"):
        assert ours["data"][name] == real["data"][name], name
    if path in {GREEN, ENDPOINT}:
        assert (ours["subject"], ours["topic"]) == (real["subject"], real["topic"])
        identity = "http://schemas.microsoft.com/identity/claims/objectidentifier"
        for claim in ("appid", identity):
            assert ours["data"]["claims"][claim] == real["data"]["claims"][claim]


@pytest.mark.parametrize(
    ("file", "hazard"),
    [("ce_ResourceWriteFailure_deployment", "broken"), ("ce_ResourceWriteCancel_deployment", "lock-confirmation")],
)
def test_cloud_events_are_those_of_event_grid(file: str, hazard: str) -> None:
    more = {"code": "BadArgument", "message": "x"} if hazard == "broken" else {}
    bench = Bench(hazards=[{"kind": hazard} | more])
    bench.fail()
    real = known(f"events/{file}.json", "payload")
    (raised,) = bench.world.raised
    ours = as_cloud_event(raised)
    assert differences(real, ours) == []
    assert differences(ours, real) == []
    assert (ours["type"], ours["source"], ours["specversion"]) == (real["type"], real["source"], "1.0")


def test_a_failed_create_from_the_group_topic_is_lower_case_and_without_http_request() -> None:
    settings = {"topic": "resource-group", "lower_case_ids": True}
    hazards = [{"kind": "broken", "code": "BadArgument", "message": "x"}]
    bench = Bench(hazards=hazards, events=settings)
    body = bench.ask("GET", GREEN).body
    bench.ask("DELETE", f"{ENDPOINT}/deployments/old-canary")
    bench.now += timedelta(seconds=1)
    bench.fail(f"{ENDPOINT}/deployments/old-canary", body=body)
    real = known("events/eg_rg_ResourceWriteFailure_deployment_create_lowercase.json", "payload")[0]
    (ours,) = bench.world.raised
    assert differences(real, ours) == []
    assert differences(ours, real) == []
    assert ours["topic"] == real["topic"]
    assert ours["subject"] == real["subject"].replace("/green", "/old-canary")


@pytest.mark.parametrize(
    ("kind", "file", "rule"),
    [
        ("metric", "alert_metric_commonschema_5xx.json", {"status": "5xx"}),
        ("log", "alert_logv2_commonschema_trafficlog.json", {"status": "500", "model_status": "500"}),
    ],
)
def test_an_alert_has_the_shape_of_azures(kind: str, file: str, rule: dict[str, str]) -> None:
    load = {"answers": [{"status": "500", "model_status": "500", "per_minute": 31.5}]}
    endpoint = {"name": "credit-scoring", "deployments": [{"name": "green", "metrics": load}]}
    happens = [{"do": "alert", "kind": kind, "rule": "oe", "deployment": "green", **rule}]
    bench = Bench(workspaces=[{"name": "mlw-prod", "endpoints": [endpoint]}], happens=happens)
    bench.world.start(ticker=False)
    (ours,) = bench.world.raised
    real = known(f"events/{file}", "payload")
    assert differences(real, ours) == []
    assert ours.keys() == real.keys()
    assert ours["data"]["essentials"].keys() == real["data"]["essentials"].keys()
    assert ours["data"]["alertContext"].keys() == real["data"]["alertContext"].keys()
