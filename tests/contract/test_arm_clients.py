"""The simulated Resource Manager as the real clients of Azure see it, over HTTP."""

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import (
    HttpResponseError,
    ResourceNotFoundError,
    ServiceResponseError,
)
from azure.core.pipeline.policies import HeadersPolicy, RequestIdPolicy, RetryPolicy, SansIOHTTPPolicy
from azure.core.polling import LROPoller
from azure.core.rest import HttpRequest, HttpResponse
from azure.mgmt.core import ARMPipelineClient
from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy
from azure.mgmt.core.polling.arm_polling import ARMPolling

from local.arm import Server, World, serve_in_thread

SUBSCRIPTION = "00000000-1111-2222-3333-444444444444"
WORKSPACE = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-ml-prod"
    "/providers/Microsoft.MachineLearningServices/workspaces/mlw-prod"
)
GREEN = f"{WORKSPACE}/onlineEndpoints/credit-scoring/deployments/green"
VERSION = "?api-version=2024-10-01"


class Credential:
    """A token of a principal of the world."""

    def __init__(self, name: str) -> None:
        self.name = name

    def get_token(self, *scopes: str, **kwargs: Any) -> AccessToken:
        return AccessToken(f"sim-{self.name}", int(time.time()) + 3600)


class PlainHttp(SansIOHTTPPolicy):
    """Sends the token over http, which the SDK's own policy refuses."""

    def on_request(self, request: Any) -> None:
        request.context.options.pop("enforce_https", None)
        request.http_request.headers["Authorization"] = "Bearer sim-medic"


class Arm:
    """The thin gateway that API.md D advises."""

    def __init__(self, url: str, who: str = "medic", retries: int = 0) -> None:
        policy = ARMChallengeAuthenticationPolicy(Credential(who), f"{url}/.default")
        policies = [
            RequestIdPolicy(),
            HeadersPolicy(),
            RetryPolicy(retry_total=retries, retry_backoff_factor=0),
            policy,
        ]
        self.client: ARMPipelineClient[Any, Any] = ARMPipelineClient(base_url=url, policies=policies)

    def send(self, method: str, path: str, body: Any = None) -> HttpResponse:
        request = HttpRequest(method, self.client.format_url(path + VERSION), json=body)
        response: HttpResponse = self.client.send_request(request, enforce_https=False)
        response.raise_for_status()
        return response

    def run(self, method: str, path: str, body: Any = None) -> Any:
        """Send and poll to the end, as the generated clients do."""
        request = HttpRequest(method, self.client.format_url(path + VERSION), json=body)
        first = self.client._pipeline.run(request, enforce_https=False)
        if first.http_response.status_code >= 400:
            raise HttpResponseError(response=first.http_response)
        method_of_polling = ARMPolling(timeout=0.02, enforce_https=False)
        poller = LROPoller(self.client, first, lambda done: done.http_response.json(), method_of_polling)
        return poller.result()


def world(**changes: Any) -> World:
    blue = {"name": "blue", "logs": {"InferenceServer": "one\ntwo\n", "StorageInitializer": "fetched\n"}}
    endpoint = {"name": "credit-scoring", "traffic": {"blue": 100}, "deployments": [blue, {"name": "green"}]}
    workspaces = [{"name": "mlw-prod", "endpoints": [endpoint]}]
    return World.from_dict({"workspaces": workspaces, "operation_seconds": 0.05, "retry_after": 0} | changes)


@pytest.fixture
def server() -> Iterator[Server]:
    with serve_in_thread(world()) as running:
        yield running


def test_the_arm_client_reads_puts_and_polls_to_the_end(server: Server) -> None:
    arm = Arm(server.url)
    body = arm.send("GET", GREEN).json()
    body["tags"] = {"again": "yes"}
    result = arm.run("PUT", GREEN, body)
    assert (result["properties"]["provisioningState"], result["tags"]) == ("Succeeded", {"again": "yes"})
    assert [(entry.principal, entry.status) for entry in server.world.ledger] == [("medic", 200)]
    assert server.world.ledger[0].client_request_id is not None


@pytest.mark.parametrize(
    ("hazard", "code", "text"),
    [
        ({"kind": "higher-priority"}, "OperationCanceled", "higher priority"),
        (
            {"kind": "broken", "code": "BadArgument", "message": "Startup task failed"},
            "BadArgument",
            "Startup task failed",
        ),
    ],
)
def test_the_arm_poller_tells_a_cancellation_from_a_failure_by_its_code(hazard: Any, code: str, text: str) -> None:
    with serve_in_thread(world(hazards=[hazard])) as server:
        arm = Arm(server.url)
        with pytest.raises(HttpResponseError, match=text) as caught:
            arm.run("PUT", GREEN, arm.send("GET", GREEN).json())
    assert caught.value.error is not None
    assert caught.value.error.code == code


def test_the_arm_client_deletes_by_location(server: Server) -> None:
    arm = Arm(server.url)
    request = HttpRequest("DELETE", arm.client.format_url(GREEN + VERSION))
    first = arm.client._pipeline.run(request, enforce_https=False)
    polling = ARMPolling(timeout=0.02, enforce_https=False)
    assert LROPoller(arm.client, first, lambda done: None, polling).result() is None
    with pytest.raises(HttpResponseError) as caught:
        arm.send("GET", GREEN)
    assert caught.value.error is not None
    assert (caught.value.status_code, caught.value.error.code) == (404, "UserError")


def test_the_sdk_sends_again_when_an_answer_is_lost_and_not_when_told_not_to() -> None:
    faults = [{"kind": "lost", "method": "DELETE", "times": 1}]
    for retries, deletes in ((0, 1), (3, 2)):
        with serve_in_thread(world(faults=faults, operation_seconds=60)) as server:
            arm = Arm(server.url, retries=retries)
            with pytest.raises((ServiceResponseError, HttpResponseError)):
                arm.send("DELETE", GREEN)
        assert [entry.status for entry in server.world.ledger] == ["lost", 409][:deletes]
        assert [entry.took_effect for entry in server.world.ledger] == [True, False][:deletes]


def test_the_sdk_waits_as_long_as_a_throttling_says() -> None:
    faults = [{"kind": "throttle", "method": "GET", "retry_after": 0, "times": 2}]
    with serve_in_thread(world(faults=faults)) as server:
        assert Arm(server.url, retries=3).send("GET", GREEN).json()["name"] == "green"
    assert server.world.reads == {("GET", "deployment"): 3}


@pytest.fixture
def ml(server: Server, monkeypatch: pytest.MonkeyPatch) -> Any:
    from azure.ai.ml import MLClient

    monkeypatch.setenv("AZUREML_CURRENT_CLOUD", "AzureCloud")  # construction changes it for the whole process
    url = server.url + "/"
    names = ("azure_portal", "active_directory", "aml_resource_id", "storage_endpoint", "registry_discovery_endpoint")
    metadata = dict.fromkeys(names, url) | {"resource_manager": url}
    cloud = f"Sim{server.url.rpartition(':')[2]}"  # clouds are remembered by name for the whole process
    client = MLClient(
        Credential("medic"),
        SUBSCRIPTION,
        "rg-ml-prod",
        "mlw-prod",
        cloud=cloud,
        cloud_metadata=metadata,
        authentication_policy=PlainHttp(),
        polling_interval=0,
        logging_enable=False,
        enable_telemetry=False,
    )
    assert os.environ["AZUREML_CURRENT_CLOUD"] == cloud
    return client


def test_the_ml_client_reads_deployments(ml: Any, server: Server) -> None:
    green = ml.online_deployments.get("green", "credit-scoring")
    assert (green.name, green.provisioning_state, green.instance_type) == ("green", "Succeeded", "Standard_DS3_v2")
    assert [each.name for each in ml.online_deployments.list("credit-scoring")] == ["blue", "green"]
    with pytest.raises(ResourceNotFoundError) as caught:
        ml.online_deployments.get("red", "credit-scoring")
    assert caught.value.error is not None
    assert caught.value.error.code == "UserError"
    assert ml.online_endpoints.get("credit-scoring").traffic["blue"] == 100
    assert server.world.ledger == []


def test_the_ml_client_reads_logs(ml: Any, server: Server) -> None:
    assert ml.online_deployments.get_logs("blue", "credit-scoring", lines=1) == "two\n"
    kind = "storage-initializer"
    assert ml.online_deployments.get_logs("blue", "credit-scoring", lines=9, container_type=kind) == "fetched\n"
    assert [entry.body for entry in server.world.ledger] == [
        {"tail": 1},
        {"containerType": "StorageInitializer", "tail": 9},
    ]


def test_the_ml_client_syncs_keys(ml: Any, server: Server) -> None:
    assert ml.workspaces.begin_sync_keys().result() is None
    assert [(entry.method, entry.path.rpartition("/")[2], entry.status) for entry in server.world.ledger] == [
        ("POST", "resyncKeys", 202)
    ]
    assert ml.workspaces.get("mlw-prod").storage_account.endswith("/storageAccounts/stmlwprod")


def test_the_ml_client_deletes_a_deployment(ml: Any, server: Server) -> None:
    ml.online_deployments.begin_delete("green", "credit-scoring").result()
    assert server.world.deployment(None, "green") is None


def test_the_sdk_names_what_the_simulator_refuses() -> None:
    denied = [{"principal": "medic", "action": "*/deployments/write"}]
    with serve_in_thread(world(denied=denied)) as server:
        arm = Arm(server.url)
        body = arm.send("GET", GREEN).json()
        with pytest.raises(HttpResponseError) as forbidden:
            arm.send("PUT", GREEN, body)
        server.world.put_deployment("ci", None, "green")
        server.world.denied.clear()
        with pytest.raises(HttpResponseError) as conflict:
            arm.send("PUT", GREEN, body)
        with pytest.raises(HttpResponseError) as unknown:
            Arm(server.url, who="nobody").send("GET", GREEN)
    codes = [
        (each.value.status_code, each.value.error and each.value.error.code) for each in (forbidden, conflict, unknown)
    ]
    assert codes == [(403, "AuthorizationFailed"), (409, "Conflict"), (401, "InvalidAuthenticationToken")]
