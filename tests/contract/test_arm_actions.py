"""What repairs act on in the simulated Azure: registries, roles, quota, metrics. Failures end with their cause."""

import json
import os
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.mgmt.authorization import AuthorizationManagementClient

from local.arm import World, WorldError, serve_in_thread
from local.arm.faults import Answer, Request
from local.arm.resources import Error
from local.arm.routes import Simulator

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
NUMBER = "00000000-1111-2222-3333-444444444444"
SUBSCRIPTION = f"/subscriptions/{NUMBER}"
GROUP = f"{SUBSCRIPTION}/resourceGroups/rg-ml-prod"
WORKSPACE = f"{GROUP}/providers/Microsoft.MachineLearningServices/workspaces/mlw-prod"
ENDPOINT = f"{WORKSPACE}/onlineEndpoints/credit-scoring"
BLUE = f"{ENDPOINT}/deployments/blue"
GREEN = f"{ENDPOINT}/deployments/green"
REGISTRY = f"{GROUP}/providers/Microsoft.ContainerRegistry/registries/crmlwprod"
STORAGE = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/stmlwprod"
PLACE = f"{SUBSCRIPTION}/providers/Microsoft.MachineLearningServices/locations/westeurope"
LOG = f"{SUBSCRIPTION}/providers/Microsoft.Insights/eventtypes/management/values"
ASSIGNMENTS = "/providers/Microsoft.Authorization/roleAssignments"
ACR_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
BLOB_READER = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"
REPOSITORY_READER = "b93aa761-3e63-49ed-ac28-beffa264f7ac"

RESYNC = (
    "Unauthorized error encountered while attempting to connect to the container registry. Please try running resync "
    "keys on your workspace and retry."
)
NO_PULL = (
    "Endpoint identity does not have pull permission on the registry. For System Assigned Identity case and workspace "
    "ACR, platform will wire up the permissions but if user is creating deployment with User Assigned Identity or if "
    "using non-workspace ACR, then User should grant pull permissions to identity on the registry. Please see "
    "troubleshooting guide, available here: https://aka.ms/oe-tsg#authorization-error"
)


class Bench:
    """A world without sockets, and a clock in the hand of the test."""

    def __init__(self, **world: Any) -> None:
        self.now = NOON
        self.world = World.from_dict(plain(**world), clock=lambda: self.now)
        self.world.start(ticker=False)
        self.simulator = Simulator(self.world)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.world.settle()

    def ask(self, method: str, path: str, body: Any = None, who: str = "medic", **query: str) -> Answer:
        place, _, rest = path.removeprefix("https://management.azure.com").partition("?")
        return self.simulator.handle(
            Request(
                method=method,
                path=place,
                query={"api-version": "2024-10-01"} | dict(httpx.QueryParams(rest)) | query,
                headers={"authorization": f"Bearer sim-{who}"},
                body=b"" if body is None else json.dumps(body).encode(),
            )
        )

    def get(self, path: str, **query: str) -> Any:
        answer = self.ask("GET", path, **query)
        assert answer.status == 200, answer.body
        return answer.body

    def ended(self, answer: Answer) -> tuple[str, str | None, str]:
        """How an accepted operation ended: status, code, message."""
        assert answer.status in {200, 201}, answer.body
        self.wait(0.2)
        record = self.get(answer.headers["Azure-AsyncOperation"])
        error = record.get("error") or {"code": None, "message": ""}
        return record["status"], error["code"], error["message"]

    def deploy(self, path: str = GREEN, **properties: Any) -> tuple[str, str | None, str]:
        return self.ended(self.ask("PUT", path, spec(**properties)))

    def resync(self) -> tuple[str, str | None, str]:
        answer = self.ask("POST", f"{WORKSPACE}/resyncKeys")
        self.wait(0.2)
        operation = self.world.operation(answer.headers["Location"].partition("?")[0].rpartition("/")[2])
        error = operation.error or Error()
        return operation.status, error.code, error.message

    def findings(self) -> list[dict[str, Any]]:
        answer = self.ask("POST", f"{WORKSPACE}/diagnose")
        assert answer.body is not None
        return list(answer.body["value"]["containerRegistryResults"])

    def logs(self, container: str = "InferenceServer") -> str:
        answer = self.ask("POST", f"{GREEN}/getLogs", {"containerType": container})
        assert answer.body is not None
        return str(answer.body["content"])

    def principal(self) -> str:
        (identity,) = self.get(ENDPOINT)["identity"]["userAssignedIdentities"].values()
        return str(identity["principalId"])

    def grant(self, scope: str, role: str, principal: str | None = None, name: str | None = None) -> Answer:
        path = f"{scope}{ASSIGNMENTS}/{name or uuid.uuid4()}"
        return self.ask("PUT", path, assignment(role, principal or self.principal()))

    def assignments(self, scope: str, text: str = "") -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        page = self.get(scope + ASSIGNMENTS, **({"$filter": text} if text else {}))
        while True:
            rows += page["value"]
            if page["nextLink"] is None:
                return rows
            page = self.get(page["nextLink"])

    def usage(self, name: str = "Standard DSv2 Family Cluster Dedicated vCPUs") -> tuple[int, int]:
        rows = {row["name"]["value"]: row for row in self.get(f"{PLACE}/usages")["value"]}
        return rows[name]["currentValue"], rows[name]["limit"]


def plain(**changes: Any) -> dict[str, Any]:
    """A world with one endpoint, blue with all the traffic; what it knows of workspace and endpoint is laid over."""
    deployments = changes.pop("deployments", [{"name": "blue"}])
    endpoint = {"name": "credit-scoring", "traffic": {"blue": 100}, "deployments": deployments}
    endpoint |= changes.pop("endpoint", {})
    workspace = {"name": "mlw-prod", "endpoints": [endpoint]} | changes.pop("workspace", {})
    return {"seed": 7, "workspaces": [workspace]} | changes


def spec(capacity: int = 1, **properties: Any) -> dict[str, Any]:
    common = {
        "endpointComputeType": "Managed",
        "instanceType": "Standard_DS3_v2",
        "model": f"{WORKSPACE}/models/credit/versions/7",
        "environmentId": f"{WORKSPACE}/environments/sklearn-inf/versions/12",
    }
    sku = {"name": "Default", "capacity": capacity}
    return {"location": "westeurope", "sku": sku, "properties": common | properties}


def assignment(role: str, principal: str) -> dict[str, Any]:
    definition = f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{role}"
    return {"properties": {"roleDefinitionId": definition, "principalId": principal}}


def code(answer: Answer) -> tuple[int, str]:
    assert answer.body is not None
    return answer.status, answer.body["error"]["code"]


# Registries and their keys


def test_a_workspace_has_a_healthy_registry_and_a_storage_account_behind_it() -> None:
    bench = Bench()
    body = bench.get(REGISTRY.upper().replace("SUBSCRIPTIONS", "subscriptions"))
    assert (body["id"], body["properties"]) == (
        REGISTRY,
        {
            "loginServer": "management.azure.com",
            "provisioningState": "Succeeded",
            "adminUserEnabled": True,
            "roleAssignmentMode": "LegacyRegistryPermissions",
            "publicNetworkAccess": "Enabled",
        },
    )
    assert bench.get(STORAGE)["name"] == "stmlwprod"
    assert code(bench.ask("GET", REGISTRY + "x")) == (404, "ResourceNotFound")
    assert code(bench.ask("GET", STORAGE + "x")) == (404, "ResourceNotFound")
    assert bench.deploy()[0] == "Succeeded"


def test_a_workspace_may_have_no_registry() -> None:
    bench = Bench(workspace={"spec": {"properties": {"containerRegistry": None}}})
    assert bench.get(WORKSPACE)["properties"]["containerRegistry"] is None
    assert code(bench.ask("GET", REGISTRY)) == (404, "ResourceNotFound")
    assert bench.resync()[0] == "Succeeded"


@pytest.mark.parametrize(
    "change",
    [{"registries": [{"name": "crmlwprod", "desynchronised": True}]}, {"workspace": {"desynchronised": True}}],
    ids=["said of the registry", "said of the workspace"],
)
def test_old_keys_fail_every_build_until_they_are_synchronised(change: dict[str, Any]) -> None:
    bench = Bench(**change)
    assert [bench.deploy() for _ in range(2)] == [("Failed", "ImageBuildFailure", RESYNC)] * 2
    assert bench.resync() == ("Succeeded", None, "")
    assert bench.deploy()[0] == "Succeeded"
    assert [entry.path.rpartition("/")[2] for entry in bench.world.ledger].count("resyncKeys") == 1


def test_keys_are_synchronised_only_when_the_operation_ends() -> None:
    bench = Bench(workspace={"desynchronised": True})
    bench.ask("POST", f"{WORKSPACE}/resyncKeys")
    put = bench.ask("PUT", GREEN, spec())
    assert bench.ended(put)[0] == "Succeeded"  # the build, too, ends after the synchronisation
    bench.world.registries.regenerate_keys("person", None)
    bench.ask("POST", f"{WORKSPACE}/resyncKeys")
    bench.world.registries.regenerate_keys("person", None)
    bench.wait(0.2)
    assert bench.deploy()[0] == "Succeeded"


def test_without_an_admin_user_a_synchronisation_cures_nothing() -> None:
    bench = Bench(registries=[{"name": "crmlwprod", "admin_user": False, "desynchronised": True}])
    assert bench.get(REGISTRY)["properties"]["adminUserEnabled"] is False
    assert bench.resync() == ("Succeeded", None, "")
    assert bench.deploy()[:2] == ("Failed", "ImageBuildFailure")
    bench.world.registries.set_admin_user("person", None, enabled=True)
    assert bench.deploy()[:2] == ("Failed", "ImageBuildFailure")
    bench.resync()
    assert bench.deploy()[0] == "Succeeded"


def test_without_a_registry_a_synchronisation_fails() -> None:
    bench = Bench(registries=[{"name": "crmlwprod", "absent": True}])
    assert code(bench.ask("GET", REGISTRY)) == (404, "ResourceNotFound")
    assert bench.resync()[:2] == ("Failed", "ResourceNotFound")
    assert bench.deploy() == ("Failed", "ImageBuildFailure", RESYNC)
    assert [finding["level"] for finding in bench.findings()] == ["Error"]


def test_a_network_fault_looks_like_old_keys_and_diagnose_tells_them_apart() -> None:
    bench = Bench(registries=[{"name": "crmlwprod", "unreachable": True}])
    assert bench.deploy() == ("Failed", "ImageBuildFailure", RESYNC)
    assert bench.resync()[0] == "Succeeded"
    assert bench.deploy() == ("Failed", "ImageBuildFailure", RESYNC)
    (finding,) = bench.findings()
    assert (finding["code"], finding["level"]) == ("ContainerRegistryNetworkUnreachable", "Error")
    assert "network" in finding["message"]
    bench.world.registries.set_network("person", None, reachable=True)
    assert bench.deploy()[0] == "Succeeded"


def test_the_activity_log_tells_when_the_keys_were_regenerated() -> None:
    bench = Bench(registries=[{"name": "crmlwprod", "keys_regenerated": 1800}])
    span = "eventTimestamp ge '2026-11-22T11:00:00Z' and eventTimestamp le '2026-11-22T13:00:00Z'"
    (row,) = bench.get(LOG, **{"$filter": f"{span} and resourceUri eq '{REGISTRY.lower()}'"})["value"]
    assert row["operationName"]["value"] == "Microsoft.ContainerRegistry/registries/regenerateCredential/action"
    assert (row["status"]["value"], row["eventTimestamp"]) == ("Succeeded", "2026-11-22T11:30:00.0000000Z")
    assert row["resourceProviderName"]["value"] == "Microsoft.ContainerRegistry"
    assert (row["resourceGroupName"], row["resourceType"]["value"]) == (
        "rg-ml-prod",
        "Microsoft.ContainerRegistry/registries",
    )
    assert bench.deploy() == ("Failed", "ImageBuildFailure", RESYNC)


def test_others_do_things_to_a_registry() -> None:
    happens = [
        {"after": 1, "do": "regenerate-keys"},
        {"after": 2, "do": "admin-user", "enabled": False},
        {"after": 3, "do": "admin-user", "enabled": True, "registry": "crmlwprod"},
        {"after": 4, "do": "network", "reachable": False},
        {"after": 5, "do": "delete-registry", "who": "ci"},
    ]
    bench = Bench(happens=happens)
    bench.wait(0.5)
    assert bench.deploy()[0] == "Succeeded"
    bench.wait(1)
    assert bench.deploy()[1] == "ImageBuildFailure"
    bench.wait(10)
    assert bench.ask("GET", REGISTRY).status == 404
    others = [(each.principal, each.method) for each in bench.world.ledger if each.principal != "medic"]
    assert others == [("person", "POST"), *[("person", "PATCH")] * 3, ("ci", "DELETE")]
    span = "eventTimestamp ge '2026-11-22T11:00:00Z' and eventTimestamp le '2026-11-22T13:00:00Z'"
    rows = bench.get(LOG, **{"$filter": f"{span} and resourceUri eq '{REGISTRY}'"})["value"]
    actions = [row["operationName"]["value"].rpartition("registries/")[2] for row in rows]
    assert actions[::2] == ["delete", "write", "write", "write", "regenerateCredential/action"]
    assert bench.world.raised == [event for event in bench.world.raised if "ContainerRegistry" not in event["subject"]]


def test_a_happening_follows_a_request_to_a_registry() -> None:
    bench = Bench(happens=[{"when": "get registry by medic", "do": "delete-registry"}])
    assert [bench.ask("GET", REGISTRY).status for _ in range(2)] == [200, 404]


# The data plane


def pull(client: httpx.Client, repository: str, reference: str, who: str = "medic") -> httpx.Response:
    """Ask for a manifest as a client of the registry does: challenge, exchange, token, HEAD."""
    challenge = client.get("/v2/")
    assert challenge.status_code == 401
    assert challenge.headers["www-authenticate"].startswith(f'Bearer realm="{client.base_url}'.rstrip("/"))
    form = {"grant_type": "access_token", "service": "crmlwprod", "access_token": f"sim-{who}"}
    exchanged = client.post("/oauth2/exchange", data=form)
    if exchanged.status_code != 200:
        return exchanged
    form = {"grant_type": "refresh_token", "service": "crmlwprod", "scope": f"repository:{repository}:pull"}
    form |= {"refresh_token": exchanged.json()["refresh_token"]}
    token = client.post("/oauth2/token", data=form)
    if token.status_code != 200:
        return token
    headers = {"authorization": f"Bearer {token.json()['access_token']}"}
    return client.head(f"/v2/{repository}/manifests/{reference}", headers=headers)


def test_the_data_plane_tells_which_images_are_there() -> None:
    images = {"sklearn-inf": ["12"], "team/nested/inf": ["1", "2"]}
    world = World.from_dict(plain(registries=[{"name": "crmlwprod", "images": images}]))
    with serve_in_thread(world) as server, httpx.Client(base_url=server.url) as client:
        found = pull(client, "sklearn-inf", "12")
        digest = found.headers["docker-content-digest"]
        assert (found.status_code, pull(client, "sklearn-inf", digest).status_code) == (200, 200)
        assert pull(client, "team/nested/inf", "2").status_code == 200
        assert [pull(client, *each).status_code for each in (("sklearn-inf", "13"), ("other", "1"))] == [404, 404]
        assert client.head("/v2/sklearn-inf/manifests/12").status_code == 401
        assert client.head("/v2/x/manifests/1", headers={"authorization": "Bearer sim-medic"}).status_code == 401
        refused = pull(client, "sklearn-inf", "12", who="person")
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (401, "UNAUTHORIZED")
        assert pull(client, "sklearn-inf", "12", who="nobody").status_code == 401
        login = client.get(REGISTRY, params={"api-version": "1"}, headers={"authorization": "Bearer sim-medic"})
        assert f"http://{login.json()['properties']['loginServer']}" == server.url
    assert world.ledger == []
    assert world.reads["POST", "registry-token"] == 6
    assert world.reads["HEAD", "manifest"] == 7


def test_a_registry_of_which_the_file_says_nothing_has_the_images_in_use() -> None:
    world = World.from_dict(plain(workspace={"environments": {"mine/3": {"image": "{registry}/team/mine:3.1"}}}))
    with serve_in_thread(world) as server, httpx.Client(base_url=server.url) as client:
        asked = [("sklearn-inf", "12"), ("team/mine", "3.1"), ("team/mine", "3"), ("nonsense", "12")]
        assert [pull(client, *each).status_code for each in asked] == [200, 200, 404, 404]


def test_the_data_plane_can_be_broken_slow_to_tell_or_out_of_reach() -> None:
    faults = [
        {"kind": "error", "status": 500, "path": "/v2/*/manifests/*"},
        {"kind": "reset", "path": "/v2/*/manifests/*"},
    ]
    world = World.from_dict(plain(faults=faults))
    with serve_in_thread(world) as server, httpx.Client(base_url=server.url) as client:
        assert pull(client, "sklearn-inf", "12").status_code == 500
        with pytest.raises(httpx.TransportError):
            pull(client, "sklearn-inf", "12")
        assert pull(client, "sklearn-inf", "12").status_code == 200
        world.registries.set_network("person", None, reachable=False)
        assert client.get("/v2/").status_code == 403
        world.registries.delete("person", None)
        with pytest.raises(httpx.TransportError):
            client.get("/v2/")


# Environments, images and models


def test_an_environment_names_its_image_or_its_conda_file() -> None:
    environments = {
        "mine/3": {"image": "{registry}/team/mine:3"},
        "made/1": {"conda": True},
        "gone/1": {"missing": True},
    }
    bench = Bench(workspace={"environments": environments})
    shown = bench.get(f"{WORKSPACE}/environments/sklearn-inf/versions/12")
    assert shown["properties"]["image"] == "management.azure.com/sklearn-inf:12"
    mine = bench.get(f"{WORKSPACE}/environments/mine/versions/3")["properties"]
    assert (mine["image"], "condaFile" in mine) == ("management.azure.com/team/mine:3", False)
    made = bench.get(f"{WORKSPACE}/environments/made/versions/1")["properties"]
    assert made["image"].startswith("mcr.microsoft.com/")
    assert "dependencies" in made["condaFile"]
    assert code(bench.ask("GET", f"{WORKSPACE}/environments/gone/versions/1")) == (404, "UserError")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("not-found", "manifest for management.azure.com/sklearn-inf:12 not found: manifest unknown"),
        ("pull-permission", "does not have pull permission"),
    ],
)
def test_a_missing_tag_fails_the_deployment_until_it_is_pushed(text: str, says: str) -> None:
    registry = {"name": "crmlwprod", "images": {"sklearn-inf": ["11"]}, "absent_tag_text": text}
    happens = [{"after": 10, "do": "image", "image": "sklearn-inf:12"}]
    bench = Bench(registries=[registry], happens=happens)
    status, error, message = bench.deploy()
    assert (status, error) == ("Failed", "BadArgument")
    assert says in message
    assert "ImagePullFailed" in bench.logs()
    bench.wait(10)
    assert bench.deploy()[0] == "Succeeded"
    assert bench.logs() == ""


def test_a_missing_model_fails_the_deployment() -> None:
    bench = Bench(workspace={"missing_models": ["credit/7"]})
    assert code(bench.ask("GET", f"{WORKSPACE}/models/credit/versions/7")) == (404, "UserError")
    assert bench.get(f"{WORKSPACE}/models/credit/versions/8")["name"] == "8"
    status, error, message = bench.deploy()
    assert (status, error) == ("Failed", "ResourceNotFound")
    assert "Model 'credit:7' was not found" in message
    assert bench.deploy(model=f"{WORKSPACE}/models/credit/versions/8")[0] == "Succeeded"


# Roles


def uai(**world: Any) -> Bench:
    """A world whose endpoint has an identity of its own, ``id-credit``; roles are enforced."""
    return Bench(endpoint={"identities": ["id-credit"]}, **{"role_assignments": []} | world)


BOTH = [
    {"principal": "id-credit", "role": "AcrPull", "scope": "registry"},
    {"principal": "id-credit", "role": "Storage Blob Data Reader", "scope": "storage"},
]


def test_an_identity_without_roles_fails_until_both_are_granted() -> None:
    bench = uai()
    assert bench.deploy() == ("Failed", "BadArgument", NO_PULL)
    logs = bench.logs()
    assert logs.startswith("Instance status:\nSystemSetup: Succeeded\nUserContainerImagePull: InProgress\n")
    assert "Name: ImagePullFailed, Type: Warning" in logs
    assert "Name: DownloadFailed, Type: Warning" in logs
    assert "AuthorizationPermissionMismatch" in bench.logs("StorageInitializer")
    assert bench.grant(REGISTRY, ACR_PULL).status == 201
    status, error, message = bench.deploy()
    assert (status, error) == ("Failed", "BadArgument")
    assert message.startswith("Startup task failed due to authorization error. Unable to download user model")
    assert message.endswith("https://aka.ms/oe-tsg#authorization-error")
    assert bench.grant(STORAGE, BLOB_READER).status == 201
    assert bench.deploy()[0] == "Succeeded"
    assert bench.logs("StorageInitializer") == ""


def test_roles_concern_only_worlds_that_speak_of_them_and_identities_of_the_users() -> None:
    assert Bench(endpoint={"identities": ["id-credit"]}).deploy()[0] == "Succeeded"
    assert uai(enforce_roles=False).deploy()[0] == "Succeeded"
    assert Bench(enforce_roles=True).deploy()[0] == "Succeeded"
    assert uai(role_assignments=BOTH).deploy()[0] == "Succeeded"


def _pulls(assigned: dict[str, Any], **world: Any) -> bool:
    seeds = [{"principal": "id-credit", "scope": "registry"} | assigned, BOTH[1]]
    return uai(role_assignments=seeds, **world).deploy()[2] != NO_PULL


@pytest.mark.parametrize(
    ("role", "legacy", "abac"),
    [
        ("AcrPull", True, False),
        ("AcrPush", True, False),
        ("Reader", True, False),
        ("Contributor", True, False),
        ("Owner", True, False),
        ("Container Registry Repository Reader", False, True),
        ("Container Registry Repository Writer", False, True),
        ("Container Registry Repository Contributor", False, True),
        ("Storage Blob Data Owner", False, False),
        ("mine", True, False),
        ("aaaaaaaa-0000-4000-8000-00000000000a", True, False),
    ],
)
def test_which_roles_pull_depends_on_the_mode_of_the_registry(role: str, legacy: bool, abac: bool) -> None:
    pulls = "Microsoft.ContainerRegistry/registries/pull/read"
    own = {"name": "mine", "guid": "aaaaaaaa-0000-4000-8000-00000000000a", "actions": [pulls]}
    for mode, expected in (("legacy", legacy), ("abac", abac)):
        registries = [{"name": "crmlwprod", "role_mode": mode}]
        assert _pulls({"role": role}, custom_roles=[own], registries=registries) is expected, mode


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("registry", True),
        ("resource-group", True),
        ("subscription", True),
        ("/", True),
        ("storage", False),
        (f"{SUBSCRIPTION}/resourceGroups/rg-ml", False),
        ("/subscriptions/00000000-1111-2222-3333-555555555555", False),
    ],
)
def test_a_role_is_inherited_from_above(scope: str, expected: bool) -> None:
    assert _pulls({"role": "AcrPull", "scope": scope}) is expected


def test_a_role_comes_by_groups_of_groups_and_a_condition_may_not_fit() -> None:
    groups = {"inner": ["id-credit"], "outer": ["inner"], "others": ["person"]}
    assert _pulls({"role": "AcrPull", "principal": "outer"}, groups=groups)
    assert not _pulls({"role": "AcrPull", "principal": "others"}, groups=groups)
    assert _pulls({"role": "AcrPull", "condition": "@Resource[x] StringEquals 'y'"})
    assert not _pulls({"role": "AcrPull", "condition": "@Resource[x] StringEquals 'y'", "condition_fits": False})


def test_a_registry_elsewhere_is_a_scope_as_it_is() -> None:
    group = "/subscriptions/other/resourceGroups/rg-shared"
    far = f"{group}/providers/Microsoft.ContainerRegistry/registries/crshared"
    workspace = {"spec": {"properties": {"containerRegistry": far}}}
    bench = Bench(workspace=workspace, endpoint={"identities": ["id-credit"]}, role_assignments=BOTH[1:])
    assert bench.deploy()[2] == NO_PULL
    bench.grant(REGISTRY, ACR_PULL)
    bench.grant(GROUP, ACR_PULL)
    assert bench.deploy()[2] == NO_PULL
    answer = bench.grant(far, ACR_PULL)
    assert answer.body is not None
    assert answer.body["properties"]["roleDefinitionId"].startswith("/subscriptions/other/providers/")
    assert bench.deploy()[0] == "Succeeded"
    assert len(bench.assignments(far)) == 1


def test_an_assignment_takes_effect_later_than_it_is_listed() -> None:
    bench = uai(role_propagation_seconds=600, role_assignments=BOTH[1:])
    bench.grant(REGISTRY, ACR_PULL)
    assert len(bench.assignments(REGISTRY, f"principalId eq '{bench.principal()}'")) == 1
    assert bench.deploy()[2] == NO_PULL
    bench.wait(600)
    assert bench.deploy()[0] == "Succeeded"


@pytest.mark.parametrize(("digit", "ended"), [("4", "Succeeded"), ("5", "Failed")])
def test_of_assignments_that_propagate_in_part_every_other_one_is_slow(digit: str, ended: str) -> None:
    bench = uai(role_propagation_seconds=600, role_propagation_is_partial=True, role_assignments=BOTH[1:])
    bench.grant(REGISTRY, ACR_PULL, name=f"00000000-0000-4000-8000-00000000000{digit}")
    assert bench.deploy()[0] == ended


def test_a_put_is_idempotent_and_conflicts_as_azure_does() -> None:
    bench = uai()
    name, other = str(uuid.uuid4()), str(uuid.uuid4())
    assert [bench.grant(REGISTRY, ACR_PULL, name=name).status for _ in range(2)] == [201, 200]
    exists = bench.grant(REGISTRY.lower(), ACR_PULL, name=other)
    assert code(exists) == (409, "RoleAssignmentExists")
    assert exists.body is not None
    assert name.replace("-", "") in exists.body["error"]["message"]
    moved = bench.grant(REGISTRY, ACR_PULL, principal=other, name=name)
    assert code(moved) == (400, "RoleAssignmentUpdateNotPermitted")
    assert code(bench.grant(REGISTRY, other)) == (400, "RoleDefinitionDoesNotExist")
    assert code(bench.grant(REGISTRY, ACR_PULL, name="mine")) == (400, "InvalidRoleAssignmentId")
    assert code(bench.ask("PUT", f"{REGISTRY}{ASSIGNMENTS}/{other}", {"properties": {}})) == (
        400,
        "InvalidRequestContent",
    )
    path = f"{REGISTRY}{ASSIGNMENTS}/{name}"
    assert bench.get(path)["properties"]["updatedBy"] == "cccccccc-0000-4000-8000-000000000001"
    assert [bench.ask("DELETE", path).status for _ in range(2)] == [200, 204]
    assert code(bench.ask("GET", path)) == (404, "RoleAssignmentNotFound")
    puts = [(each.status, each.took_effect) for each in bench.world.ledger if each.method == "PUT"]
    assert puts[:3] == [(201, True), (200, True), (409, False)]


def test_an_assignment_tells_who_created_and_who_changed_it_and_may_be_kept_from_deletion() -> None:
    denied = [{"principal": "medic", "action": "Microsoft.Authorization/roleAssignments/delete"}]
    bench, name = uai(denied=denied), str(uuid.uuid4())
    bench.grant(REGISTRY, ACR_PULL, name=name)
    path = f"{REGISTRY}{ASSIGNMENTS}/{name}"
    shown = bench.get(path)["properties"]
    assert shown["updatedOn"] == shown["createdOn"]
    bench.wait(5)
    bench.grant(REGISTRY, ACR_PULL, name=name)
    changed = bench.get(path)["properties"]
    assert changed["createdOn"] == shown["createdOn"] < changed["updatedOn"]
    assert code(bench.ask("DELETE", path)) == (403, "AuthorizationFailed")
    assert bench.get(path)["name"] == name


def test_an_assignment_can_be_refused_for_lack_of_rights_room_or_a_directory_that_knows() -> None:
    denied = [{"principal": "medic", "action": "Microsoft.Authorization/roleAssignments/write"}]
    assert code(uai(denied=denied).grant(REGISTRY, ACR_PULL)) == (403, "AuthorizationFailed")
    full = uai(assignments_used=3999)
    assert full.grant(REGISTRY, ACR_PULL).status == 201
    assert code(full.grant(STORAGE, BLOB_READER)) == (400, "RoleAssignmentLimitExceeded")
    young = uai(unreplicated={"id-credit": 60})
    assert code(young.grant(REGISTRY, ACR_PULL)) == (400, "PrincipalNotFound")
    young.wait(60)
    assert young.grant(REGISTRY, ACR_PULL).status == 201
    gone = uai(registries=[{"name": "crmlwprod", "absent": True}])
    assert code(gone.grant(REGISTRY, ACR_PULL)) == (404, "ResourceNotFound")


def test_a_refused_assignment_stands_in_the_activity_log_and_raises_no_event() -> None:
    bench = uai(assignment_limit=0)
    name = str(uuid.uuid4())
    bench.grant(REGISTRY, ACR_PULL, name=name)
    bench.wait(1)
    span = "eventTimestamp ge '2026-11-22T11:00:00Z' and eventTimestamp le '2026-11-22T13:00:00Z'"
    rows = bench.get(LOG, **{"$filter": f"{span} and resourceUri eq '{REGISTRY}{ASSIGNMENTS}/{name}'"})["value"]
    assert [(row["status"]["value"], row["operationName"]["value"]) for row in rows] == [
        ("Failed", "Microsoft.Authorization/roleAssignments/write"),
        ("Started", "Microsoft.Authorization/roleAssignments/write"),
    ]
    assert bench.world.raised == []


def test_assignments_are_listed_at_above_and_below_a_scope() -> None:
    seeds = [
        {"principal": "id-credit", "role": "Reader", "scope": "subscription"},
        {"principal": "id-credit", "role": "AcrPull", "scope": "registry"},
        {"principal": "team", "role": "Contributor", "scope": "resource-group"},
        {"principal": "person", "role": "Owner", "scope": "storage"},
    ]
    bench = uai(role_assignments=seeds, groups={"team": ["id-credit"]}, page_size=2)
    me = bench.principal()

    def roles(scope: str, text: str = "") -> set[str]:
        guids = (row["properties"]["roleDefinitionId"].rpartition("/")[2] for row in bench.assignments(scope, text))
        place = f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/"
        return {bench.get(place + guid)["properties"]["roleName"] for guid in guids}

    assert roles(GROUP) == {"Reader", "AcrPull", "Contributor", "Owner"}
    assert roles(GROUP, "atScope()") == {"Reader", "Contributor"}
    assert roles(GROUP, f"principalId eq '{me}'") == {"Reader", "AcrPull"}
    assert roles(REGISTRY, f"assignedTo('{me}')") == {"Reader", "AcrPull", "Contributor"}
    assert roles(GROUP, f"atScope() and assignedTo('{me}')") == {"Reader", "Contributor"}
    assert bench.ask("GET", GROUP + ASSIGNMENTS, **{"$filter": "roleName eq 'x'"}).status == 400


def test_a_role_definition_shows_its_permissions() -> None:
    bench = Bench()
    path = f"/providers/Microsoft.Authorization/roleDefinitions/{BLOB_READER}"
    (permissions,) = bench.get(SUBSCRIPTION + path)["properties"]["permissions"]
    assert permissions["dataActions"] == ["Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"]
    assert bench.get(path)["properties"]["roleName"] == "Storage Blob Data Reader"
    assert code(bench.ask("GET", path[:-1] + "0")) == (404, "RoleDefinitionDoesNotExist")


def test_a_person_may_assign_and_take_away_meanwhile() -> None:
    granted = {"principal": "id-credit", "role": "AcrPull", "scope": "registry"}
    happens = [
        {"when": "get role-assignments by medic", "do": "assign-role"} | granted,
        {"after": 10, "do": "unassign-role"} | granted,
    ]
    bench = uai(role_assignments=BOTH[1:], happens=happens)
    assert bench.assignments(REGISTRY) == []
    assert code(bench.grant(REGISTRY, ACR_PULL)) == (409, "RoleAssignmentExists")
    assert bench.deploy()[0] == "Succeeded"
    bench.wait(10)
    assert bench.deploy()[2] == NO_PULL


def test_an_identity_can_be_read_by_itself() -> None:
    bench = uai()
    (identity,) = bench.get(ENDPOINT)["identity"]["userAssignedIdentities"]
    assert bench.get(identity)["properties"]["principalId"] == bench.principal()
    assert code(bench.ask("GET", identity + "x")) == (404, "ResourceNotFound")


class Credential:
    """A token of medic."""

    def get_token(self, *scopes: str, **kwargs: Any) -> AccessToken:
        return AccessToken("sim-medic", int(time.time()) + 3600)


class PlainHttp(SansIOHTTPPolicy):
    """Sends the token over http, which the SDK's own policy refuses."""

    def on_request(self, request: Any) -> None:
        request.context.options.pop("enforce_https", None)
        request.http_request.headers["Authorization"] = "Bearer sim-medic"


def test_the_authorization_client_creates_lists_and_meets_a_conflict() -> None:
    world = World.from_dict(plain(endpoint={"identities": ["id-credit"]}, role_assignments=BOTH, page_size=1))
    principal = world.roles.principal("id-credit")
    with serve_in_thread(world) as server:
        client = AuthorizationManagementClient(
            Credential(), NUMBER, base_url=server.url, authentication_policy=PlainHttp()
        )
        body: Any = assignment(REPOSITORY_READER, principal)
        body["properties"]["principalType"] = "ServicePrincipal"
        name = str(uuid.uuid4())
        made = client.role_assignments.create(REGISTRY, name, body)
        assert made.name == name
        listed = list(client.role_assignments.list_for_scope(GROUP, filter=f"principalId eq '{principal}'"))
        assert len(listed) == 3
        assert {each.principal_id for each in listed} == {principal}
        with pytest.raises(ResourceExistsError) as caught:
            client.role_assignments.create(REGISTRY, str(uuid.uuid4()), body)
        assert caught.value.error is not None
        assert caught.value.error.code == "RoleAssignmentExists"
        definition = client.role_definitions.get(SUBSCRIPTION, REPOSITORY_READER)
        assert definition.role_name == "Container Registry Repository Reader"
        client.role_assignments.delete(REGISTRY, name)
        with pytest.raises(HttpResponseError, match="not found"):
            client.role_assignments.get(REGISTRY, name)


def test_the_ml_client_heals_a_workspace_with_old_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    from azure.ai.ml import MLClient

    monkeypatch.setenv("AZUREML_CURRENT_CLOUD", "AzureCloud")  # construction changes it for the whole process
    world = World.from_dict(plain(workspace={"desynchronised": True}, operation_seconds=0.05, retry_after=0))
    with serve_in_thread(world) as server:
        names = ("azure_portal", "active_directory", "aml_resource_id", "storage_endpoint")
        metadata = dict.fromkeys((*names, "registry_discovery_endpoint", "resource_manager"), server.url + "/")
        ml = MLClient(
            Credential(),
            NUMBER,
            "rg-ml-prod",
            "mlw-prod",
            cloud=f"Sim{server.url.rpartition(':')[2]}",
            cloud_metadata=metadata,
            authentication_policy=PlainHttp(),
            polling_interval=0,
            logging_enable=False,
            enable_telemetry=False,
        )
        assert world.registries.refuses(world.places()[0].target)
        assert ml.workspaces.begin_sync_keys().result() is None
        assert not world.registries.refuses(world.places()[0].target)
    assert os.environ["AZUREML_CURRENT_CLOUD"] != "AzureCloud"


# Quota


def dsv2(used: int, limit: int, **more: Any) -> dict[str, Any]:
    return {"name": "Standard DSv2 Family Cluster Dedicated vCPUs", "used": used, "limit": limit} | more


IDLE = [{"name": "blue"}, {"name": "idle"}]


def test_a_create_beyond_the_quota_fails_until_something_is_deleted() -> None:
    bench = Bench(deployments=IDLE, usages=[dsv2(20, 24)])
    text = (
        f"Not enough quota available for Standard_DS3_v2 in SubscriptionId {NUMBER}. Current usage/limit: 20/24. "
        "Additional needed: 8 Please see troubleshooting guide, available here: https://aka.ms/oe-tsg#error-outofquota"
    )
    assert [bench.deploy() for _ in range(2)] == [("Failed", "OutOfQuota", text)] * 2
    assert bench.usage() == (20, 24)
    bench.ask("DELETE", f"{ENDPOINT}/deployments/idle")
    bench.wait(0.2)
    assert bench.usage() == (12, 24)
    assert bench.deploy()[0] == "Succeeded"
    assert bench.usage() == (20, 24)
    assert bench.deploy()[0] == "Succeeded", "what it holds it need not be given again"


def test_a_create_beyond_the_quota_can_be_refused_at_once() -> None:
    bench = Bench(usages=[dsv2(20, 24)], quota_refuses="request")
    answer = bench.ask("PUT", GREEN, spec())
    assert code(answer) == (400, "BadRequest")
    assert answer.body is not None
    (inner,) = answer.body["error"]["details"]
    assert inner["code"] == "InferencingClientCreateDeploymentFailed"
    assert '{"errors":{"VmSize":["Not enough quota available for Standard_DS3_v2 in SubscriptionId' in inner["message"]
    assert bench.ask("GET", GREEN).status == 404


def test_cores_are_reserved_with_a_fifth_on_top_and_counted_while_a_deployment_is_created() -> None:
    bench = Bench(usages=[dsv2(8, 100), {"name": "Total Cluster Dedicated Regional vCPUs", "used": 9, "limit": 200}])
    bench.ask("PUT", GREEN, spec(capacity=5))
    assert bench.usage() == (8 + 24, 100)
    assert bench.usage("Total Cluster Dedicated Regional vCPUs") == (9 + 24, 200)
    bench.wait(0.2)
    answer = bench.ask("PATCH", GREEN, {"sku": {"name": "Default", "capacity": 10}})
    assert answer.status == 202
    bench.wait(0.2)
    assert bench.usage() == (8 + 48, 100)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        pytest.param({"usages": [dsv2(20, -1)]}, "Succeeded", id="no limit of its own"),
        pytest.param({}, "Succeeded", id="a world that does not speak of quota"),
        pytest.param({"enforce_quota": True}, "Succeeded", id="the default rows have room"),
        pytest.param({"usages": []}, "Succeeded", id="no row, no limit"),
        pytest.param({"usages": [dsv2(24, 24, location="northeurope")]}, "Succeeded", id="another region"),
        pytest.param(
            {"usages": [dsv2(8, -1), {"name": "Total Cluster Dedicated Regional vCPUs", "used": 98, "limit": 100}]},
            "Failed",
            id="the total of the region",
        ),
        pytest.param(
            {"usages": [{"name": "Standard FSv2 Family Cluster Dedicated vCPUs", "used": 6, "limit": 6}]},
            "Succeeded",
            id="another family",
        ),
        pytest.param({"usages": [dsv2(20, 24)], "usages_missing_families": True}, "Failed", id="a row not shown"),
    ],
)
def test_quota_is_a_matter_of_family_and_region(change: dict[str, Any], status: str) -> None:
    assert Bench(**change).deploy()[0] == status


def test_the_rows_of_families_can_be_missing_from_the_answer() -> None:
    bench = Bench(usages_missing_families=True)
    names = [row["name"]["value"] for row in bench.get(f"{PLACE}/usages")["value"]]
    assert names == ["Total Cluster Dedicated Regional vCPUs"]


def test_a_deleted_deployment_frees_its_cores_only_after_a_lag() -> None:
    bench = Bench(deployments=IDLE, usages=[dsv2(24, 24)], usages_lag=60)
    bench.ask("DELETE", f"{ENDPOINT}/deployments/idle")
    bench.wait(30)
    assert (bench.usage(), bench.deploy()[1]) == ((24, 24), "OutOfQuota")
    bench.wait(31)
    assert (bench.usage(), bench.deploy()[0]) == ((16, 24), "Succeeded")


def test_an_update_beyond_the_quota_holds_what_it_held_whatever_is_shown() -> None:
    for shown in ("old", "new"):
        bench = Bench(deployments=IDLE, usages=[dsv2(16, 24)], failed_update_shows=shown)
        larger = bench.get(BLUE) | {"sku": {"name": "Default", "capacity": 5}}
        bench.ask("PUT", BLUE, larger)
        bench.wait(0.2)
        assert (bench.get(BLUE)["properties"]["provisioningState"], bench.usage()) == ("Failed", (16, 24))
        bench.ask("DELETE", f"{ENDPOINT}/deployments/idle")
        bench.wait(0.2)
        bench.ask("PUT", BLUE, larger)
        bench.wait(0.2)
        assert (bench.get(BLUE)["properties"]["provisioningState"], bench.usage()) == ("Succeeded", (24, 24))


def test_a_deployment_that_never_ran_holds_nothing() -> None:
    failed = {"name": "green", "state": "Failed", "error": {"code": "OutOfQuota", "message": "x"}}
    bench = Bench(deployments=[{"name": "blue"}, failed], usages=[dsv2(16, 24)])
    bench.ask("DELETE", GREEN)
    bench.wait(0.2)
    assert bench.usage() == (16, 24)


def test_a_deployment_with_traffic_is_not_deleted() -> None:
    answer = Bench().ask("DELETE", BLUE)
    assert code(answer) == (409, "Conflict")
    assert answer.body is not None
    assert answer.body["error"]["message"] == "Can't delete deployment [blue] with non-zero traffic weight"


def test_a_deployment_may_have_no_environment_variables() -> None:
    bare = {"name": "bare", "spec": {"properties": {"environmentVariables": None}}}
    bench = Bench(deployments=[{"name": "blue"}, bare])
    shown = [bench.get(f"{ENDPOINT}/deployments/{name}")["properties"] for name in ("blue", "bare")]
    assert [each["environmentVariables"] for each in shown] == [{"LOG_LEVEL": "INFO"}, {}]


# Metrics


def metrics(bench: Bench, path: str = ENDPOINT, **query: str) -> Any:
    asked = {
        "metricnames": "RequestsPerMinute",
        "aggregation": "Average",
        "interval": "P1D",
        "timespan": "2026-10-23T12:00:00Z/2026-11-22T12:00:00Z",
    }
    if path == ENDPOINT:
        asked["$filter"] = "deployment eq '*'"
    return bench.get(f"{path}/providers/Microsoft.Insights/metrics", **asked | query)


def series(body: Any, number: int = 0) -> dict[str, list[Any]]:
    """Deployment -> what its points say; None where there is no value."""
    return {
        each["metadatavalues"][0]["value"] if each["metadatavalues"] else "": [
            point.get("average") for point in each["data"]
        ]
        for each in body["value"][number]["timeseries"]
    }


def idle(**said: Any) -> Bench:
    return Bench(deployments=[{"name": "blue"}, {"name": "idle", "age": 90 * 86400, "metrics": said}])


def test_idleness_has_three_looks() -> None:
    for said, expected in (("none", None), ("zero", [0.0] * 30), ("no-points", [None] * 30)):
        found = series(metrics(idle(requests=said)))
        assert found.get("idle") == expected, said
        assert found["blue"] == [12.0] * 30
    assert "idle" not in series(metrics(idle()))


def test_requests_can_be_said_by_the_day_and_capacity_proves_that_telemetry_is_alive() -> None:
    bench = idle(requests=[{"days_ago": 29, "average": 0.5}, {"days_ago": 0, "average": 0.0}])
    assert series(metrics(bench))["idle"] == [0.5, *[None] * 28, 0.0]
    names = {"metricnames": "RequestsPerMinute,DeploymentCapacity", "aggregation": "Average,Maximum"}
    body = metrics(bench, f"{ENDPOINT}/deployments/idle", **names)
    assert series(body, 1) == {"": [1.0] * 30}
    assert body["value"][1]["timeseries"][0]["data"][0] == {
        "timeStamp": "2026-10-23T12:00:00Z",
        "average": 1.0,
        "maximum": 1.0,
    }
    silent = idle(capacity="silent")
    assert metrics(silent, f"{ENDPOINT}/deployments/idle", metricnames="DeploymentCapacity")["value"][0] | {
        "id": ""
    } == body["value"][1] | {"id": "", "timeseries": []}


def test_one_request_is_seen_at_its_time_only() -> None:
    happens = [{"after": 3600, "do": "request", "deployment": "idle"}]
    bench = Bench(deployments=IDLE, happens=happens)
    span = {"interval": "PT1H", "timespan": "2026-11-22T12:00:00Z/2026-11-22T15:00:00Z"}
    assert "idle" not in series(metrics(bench, **span))
    bench.wait(3600)
    assert series(metrics(bench, **span))["idle"] == [None, 1 / 60, None]
    span |= {"interval": "PT1M", "timespan": "2026-11-22T13:00:00Z/2026-11-22T13:02:00Z"}
    assert series(metrics(bench, **span))["idle"] == [1.0, None]


def test_metrics_begin_with_the_deployment_and_end_with_now() -> None:
    bench = Bench(deployments=[{"name": "blue", "age": 2 * 86400}])
    assert series(metrics(bench))["blue"] == [*[None] * 28, 12.0, 12.0]
    later = series(metrics(bench, timespan="2026-11-21T12:00:00Z/2026-11-24T12:00:00Z"))["blue"]
    assert later == [12.0, None, None]


def test_metrics_can_be_of_another_dimension_or_no_success() -> None:
    assert set(series(metrics(idle(requests="zero", dimension="other")))) == {"blue", "other"}
    row = metrics(idle(error_code="InternalError"))["value"][0]
    assert (row["errorCode"], row["timeseries"]) == ("InternalError", [])


def test_without_a_filter_an_endpoint_has_one_series_and_with_it_ten() -> None:
    names = [{"name": f"d{number:02}", "metrics": {"requests": "zero"}} for number in range(12)]
    bench = Bench(deployments=[{"name": "blue"}, *names])
    assert series(metrics(bench, **{"$filter": "", "timespan": "P1D"})) == {"": [12.0]}
    assert len(series(metrics(bench))) == 10
    assert len(series(metrics(bench, top="20"))) == 13
    assert list(series(metrics(bench, **{"$filter": "deployment eq 'd03'"}))) == ["d03"]


@pytest.mark.parametrize(
    "query",
    [
        {"timespan": "yesterday"},
        {"timespan": "2026-11-22T12:00:00Z/2026-11-21T12:00:00Z"},
        {"timespan": "2026-11-22T12:00:00Z/then"},
        {"interval": "P2D"},
        {"metricnames": "Happiness"},
        {"aggregation": "Median"},
        {"$filter": "colour eq '*'"},
    ],
)
def test_a_question_about_metrics_that_makes_no_sense_is_a_400(query: dict[str, str]) -> None:
    assert Bench().ask("GET", f"{ENDPOINT}/providers/Microsoft.Insights/metrics", **query).status == 400


def test_metrics_of_nothing_are_404() -> None:
    assert Bench().ask("GET", f"{ENDPOINT}/deployments/none/providers/Microsoft.Insights/metrics").status == 404


# World files


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"role_assignments": [{"principal": "ghost", "role": "AcrPull", "scope": "registry"}]}, "'ghost' is no"),
        ({"role_assignments": [{"principal": "medic", "role": "Boss", "scope": "registry"}]}, "'Boss' is no role"),
        ({"role_assignments": [{"principal": "medic", "role": "AcrPull", "scope": "moon"}]}, "'moon' is no scope"),
        ({"happens": [{"do": "delete-registry", "registry": "nowhere"}]}, "Registry nowhere fits 0 registries"),
        (
            {"happens": [{"do": "assign-role", "principal": "medic", "role": "Boss", "scope": "registry"}]},
            "'Boss' is no role",
        ),
        ({"registries": [{"name": "a"}, {"name": "A"}]}, "is there twice"),
        ({"registries": [{"name": "a", "colour": "red"}]}, "unknown field `colour`"),
    ],
)
def test_a_world_that_cannot_be_meant_is_refused_in_words(change: dict[str, Any], words: str) -> None:
    with pytest.raises(WorldError) as caught:
        World.from_dict(plain(**change))
    assert words in str(caught.value)


def test_a_large_world_begins_at_once_and_is_listed_in_pages() -> None:
    endpoints = [
        {"name": f"e{number:02}", "deployments": [{"name": f"d{each:02}"} for each in range(20)]}
        for number in range(25)
    ]
    seeds = [{"principal": str(uuid.uuid4()), "role": "Reader", "scope": "resource-group"} for _ in range(4000)]
    began = time.monotonic()
    bench = Bench(workspace={"endpoints": endpoints}, role_assignments=seeds, usages=[dsv2(4000, 5000)])
    assert time.monotonic() - began < 2
    assert len(bench.assignments(REGISTRY)) == 4000
    assert bench.usage() == (4000, 5000)
    assert code(bench.grant(REGISTRY, ACR_PULL, principal=str(uuid.uuid4()))) == (400, "RoleAssignmentLimitExceeded")


# Answers, and alerts about them

LOADED = {
    "answers": [
        {"status": "200", "per_minute": 40},
        {"status": "424", "model_status": "500", "per_minute": 6},
        {"status": "424", "model_status": "400", "per_minute": 2},
    ],
    "latency_ms": 250,
}


def loaded(**world: Any) -> Bench:
    return Bench(deployments=[{"name": "blue", "metrics": LOADED}, {"name": "other"}], **world)


def split(bench: Bench, condition: str, **query: str) -> dict[tuple[str, ...], set[float]]:
    """Values of the dimensions -> the values of the points."""
    hour = {"interval": "PT1M", "timespan": "2026-11-22T11:00:00Z/2026-11-22T12:00:00Z"}
    shown = metrics(bench, **{"$filter": condition}, **hour, **query)["value"][0]["timeseries"]
    return {
        tuple(each["value"] for each in one["metadatavalues"]): {point["average"] for point in one["data"]}
        for one in shown
    }


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("statusCode eq '*'", {("200",): {40.0}, ("424",): {8.0}}),
        ("deployment eq 'blue' and statusCodeClass eq '4xx'", {("blue", "4xx"): {8.0}}),
        (
            "deployment eq 'BLUE' and statusCode eq '424' and modelStatusCode eq '*'",
            {("blue", "424", "500"): {6.0}, ("blue", "424", "400"): {2.0}},
        ),
        ("modelStatusCode eq '400'", {("400",): {2.0}}),
        ("statusCode eq '503'", {}),
        ("deployment eq '*'", {("blue",): {48.0}}),
        ("", {(): {48.0}}),
    ],
)
def test_answers_are_split_by_the_dimensions_that_are_asked_for(condition: str, expected: Any) -> None:
    assert split(loaded(), condition) == expected


def test_the_deployment_s_own_metric_has_its_answers_too() -> None:
    span = {"interval": "PT1H", "timespan": "2026-11-22T11:00:00Z/2026-11-22T12:00:00Z"}
    path = f"{ENDPOINT}/deployments/blue"
    assert series(metrics(loaded(), path, **span)) == {"": [48.0]}
    by_code = metrics(loaded(), path, **span, **{"$filter": "envoy_response_code eq '*'"})
    assert series(by_code) == {"200": [40.0], "424": [8.0]}


def test_latency_is_in_milliseconds_by_deployment() -> None:
    name = {"metricnames": "RequestLatency_P95"}
    assert split(loaded(), "deployment eq '*'", **name) == {("blue",): {250.0}}
    assert metrics(loaded(), **name)["value"][0]["unit"] == "MilliSeconds"


def raised(**rule: Any) -> list[Any]:
    bench = loaded(happens=[{"do": "alert", "after": 60, "rule": "oe", **rule}])
    got: list[Any] = []
    bench.world.subscribe_alerts(got.append)
    bench.world.start(ticker=False)
    bench.wait(60)
    assert bench.world.wait_until_quiet()
    return got


def test_an_alert_rule_fires_by_what_the_endpoint_answers() -> None:
    (alert,) = raised(deployment="blue", status="4xx", threshold=7)
    condition = alert["data"]["alertContext"]["condition"]
    (criterion,) = condition["allOf"]
    assert (criterion["metricValue"], criterion["threshold"], condition["windowSize"]) == (8.0, "7", "PT5M")
    assert [each["name"] for each in criterion["dimensions"]] == ["deployment", "statusCodeClass"]
    assert alert["data"]["essentials"]["alertTargetIDs"] == [ENDPOINT.lower()]
    assert raised(deployment="blue", status="4xx", threshold=8) == []
    assert raised(deployment="other", status="4xx") == []


def test_a_rule_on_the_log_counts_rows_over_its_window_and_may_be_delivered_twice() -> None:
    alert, again = raised(kind="log", status="424", model_status="500", minutes=10, threshold=59, times=2)
    assert alert == again
    (criterion,) = alert["data"]["alertContext"]["condition"]["allOf"]
    assert criterion["metricValue"] == 60.0
    named = {each["name"]: each["value"] for each in criterion["dimensions"]}
    assert named == {"ResponseCode": "424", "ModelStatusCode": "500"}
    assert "rows" not in criterion
