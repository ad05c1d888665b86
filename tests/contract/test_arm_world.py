"""The simulated Resource Manager: every failure has its cause in the world, and ends with it."""

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import msgspec
import pytest
import yaml

from local.arm import Refusal, World, WorldError, serve_in_thread
from local.arm.faults import Answer, Request
from local.arm.happenings import AnyHappening
from local.arm.hazards import Hazard, Verdict
from local.arm.resources import Error, Operation
from local.arm.routes import ROUTES, Route, Simulator

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SUBSCRIPTION = "/subscriptions/00000000-1111-2222-3333-444444444444"
GROUP = f"{SUBSCRIPTION}/resourceGroups/rg-ml-prod"
WORKSPACE = f"{GROUP}/providers/Microsoft.MachineLearningServices/workspaces/mlw-prod"
ENDPOINT = f"{WORKSPACE}/onlineEndpoints/credit-scoring"
BLUE = f"{ENDPOINT}/deployments/blue"
GREEN = f"{ENDPOINT}/deployments/green"
LOG = f"{SUBSCRIPTION}/providers/Microsoft.Insights/eventtypes/management/values"

MEDIC = "cccccccc-0000-4000-8000-000000000001"
PERSON = "cccccccc-0000-4000-8000-000000000002"
CI = "cccccccc-1111-4222-8333-dddddddddddd"

BY_PRIORITY = (
    "Operation was canceled by another operation that has a higher priority. Please see troubleshooting guide, "
    "available here: https://aka.ms/oe-tsg#error-operationcanceled"
)


class Clock:
    """Stands still until it is told how much time passes."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Bench:
    """A world without sockets, and a clock in the hand of the test."""

    def __init__(self, **world: Any) -> None:
        self.clock = Clock()
        self.world = World.from_dict(plain(**world), clock=self.clock)
        self.world.start(ticker=False)
        self.simulator = Simulator(self.world)

    def ask(self, method: str, path: str, body: Any = None, who: str = "medic", **more: Any) -> Answer:
        place, _, query = path.partition("?")
        request = Request(
            method=method,
            path=place,
            query={"api-version": "2024-10-01"} | dict(httpx.QueryParams(query)) | more.pop("query", {}),
            headers={"authorization": f"Bearer sim-{who}"} | more.pop("headers", {}),
            body=b"" if body is None else json.dumps(body).encode(),
        )
        return self.simulator.handle(request)

    def get(self, path: str, **more: Any) -> dict[str, Any]:
        answer = self.ask("GET", path, **more)
        assert answer.status == 200, answer.body
        assert answer.body is not None
        return answer.body

    def follow(self, url: str) -> Answer:
        return self.ask("GET", url.removeprefix("https://management.azure.com"))

    def deploy(self, path: str = GREEN, who: str = "medic", body: Any = None) -> dict[str, Any]:
        """PUT, let the operation's time pass, and read its record."""
        answer = self.ask("PUT", path, spec() if body is None else body, who=who)
        assert answer.status in {200, 201}, answer.body
        self.clock.advance(0.2)
        record = self.follow(answer.headers["Azure-AsyncOperation"])
        assert record.body is not None
        return record.body

    def state(self, path: str = GREEN) -> str:
        return str(self.get(path)["properties"]["provisioningState"])

    def rows(self, clause: str, **query: str) -> list[dict[str, Any]]:
        span = "eventTimestamp ge '2026-11-22T11:00:00Z' and eventTimestamp le '2026-11-22T13:00:00Z'"
        return list(self.get(LOG, query={"$filter": f"{span} and {clause}"} | query)["value"])


def plain(**changes: Any) -> dict[str, Any]:
    """A world with one endpoint, blue with all the traffic; ``deployments`` replaces those of the endpoint."""
    deployments = changes.pop("deployments", [{"name": "blue"}])
    traffic = {"blue": 100} if any(each["name"] == "blue" for each in deployments) else {}
    endpoint = {"name": "credit-scoring", "traffic": traffic, "deployments": deployments}
    return {"seed": 7, "workspaces": [{"name": "mlw-prod", "endpoints": [endpoint]}]} | changes


def spec(**properties: Any) -> dict[str, Any]:
    common = {"endpointComputeType": "Managed", "instanceType": "Standard_DS3_v2", "environmentId": "env/12"}
    return {"location": "westeurope", "sku": {"name": "Default", "capacity": 1}, "properties": common | properties}


# Operations


def test_a_create_runs_for_its_time_and_then_succeeds() -> None:
    bench = Bench()
    answer = bench.ask("PUT", GREEN, spec())
    url = answer.headers["Azure-AsyncOperation"]
    running = bench.follow(url)
    assert (answer.status, answer.headers["x-ms-async-operation-timeout"]) == (201, "PT2H")
    assert bench.state() == "Creating"
    assert running.body is not None
    assert (running.body["status"], running.headers["Retry-After"]) == ("InProgress", "1")
    bench.clock.advance(0.19)
    assert bench.state() == "Creating"
    bench.clock.advance(0.01)
    body = bench.get(GREEN)
    assert body["properties"]["provisioningState"] == "Succeeded"
    assert body["properties"]["properties"]["AzureAsyncOperationUri"] == url
    assert body["systemData"]["lastModifiedBy"] == MEDIC
    assert body["systemData"]["lastModifiedAt"] == "2026-11-22T12:00:00.000Z"


def test_polling_does_not_hurry_an_operation() -> None:
    bench = Bench()
    url = bench.ask("PUT", GREEN, spec()).headers["Azure-AsyncOperation"]
    answers = [bench.follow(url).body for _ in range(20)]
    assert {body["status"] for body in answers if body} == {"InProgress"}


def test_a_put_on_what_exists_is_an_update_that_replaces_the_spec() -> None:
    bench = Bench()
    answer = bench.ask("PUT", BLUE, spec(environmentId="env/13"))
    assert (answer.status, bench.state(BLUE)) == (200, "Updating")
    bench.clock.advance(0.2)
    properties = bench.get(BLUE)["properties"]
    assert (properties["environmentId"], properties["provisioningState"]) == ("env/13", "Succeeded")
    assert "codeConfiguration" not in properties


def test_what_the_service_owns_cannot_be_put() -> None:
    bench = Bench()
    body = spec(
        provisioningState="Succeeded", properties={"azureml.x": "y", "AzureAsyncOperationUri": "z", "mine": "kept"}
    )
    answer = bench.ask("PUT", GREEN, body | {"id": "else", "systemData": {}})
    shown = bench.get(GREEN)
    assert (shown["id"], shown["properties"]["provisioningState"]) == (GREEN, "Creating")
    assert shown["properties"]["properties"] == {
        "mine": "kept",
        "AzureAsyncOperationUri": answer.headers["Azure-AsyncOperation"],
    }


@pytest.mark.parametrize(("fills", "probe"), [(True, "PT10S"), (False, None)])
def test_the_service_adds_the_settings_that_a_put_leaves_out(fills: bool, probe: str | None) -> None:
    bench = Bench(fills_defaults=fills)
    bench.deploy()
    assert bench.get(GREEN)["properties"].get("livenessProbe", {}).get("period") == probe


@pytest.mark.parametrize(("shows", "environment"), [("old", "env/12"), ("new", "env/13")])
def test_what_get_shows_after_a_failed_update_is_a_switch_of_the_world(shows: str, environment: str) -> None:
    bench = Bench(failed_update_shows=shows, hazards=[{"kind": "broken", "code": "X", "message": "y", "while": "bad"}])
    bench.deploy()
    bench.world.set_condition("bad")
    assert bench.deploy(body=spec(environmentId="env/13"))["status"] == "Failed"
    body = bench.get(GREEN)
    assert body["properties"]["environmentId"] == environment
    assert body["properties"]["provisioningState"] == "Failed"


def test_resource_ids_are_the_same_in_any_case() -> None:
    bench = Bench()
    body = bench.get(BLUE.lower().replace("blue", "BLUE"))
    assert body["id"] == BLUE


def test_a_request_without_api_version_is_refused() -> None:
    answer = Bench().ask("GET", BLUE, query={"api-version": ""})
    assert (answer.status, answer.body and answer.body["error"]["code"]) == (400, "MissingApiVersionParameter")


def test_reading_what_is_not_there_is_the_front_ends_404() -> None:
    answer = Bench().ask("GET", GREEN)
    assert answer.status == 404
    assert answer.body == {
        "error": {
            "code": "UserError",
            "message": "The specified resource was not found.",
            "details": [],
            "additionalInfo": [],
        }
    }


def test_a_delete_ends_in_nothing_and_a_second_one_says_so() -> None:
    bench = Bench()
    bench.deploy()
    answer = bench.ask("DELETE", GREEN)
    location = answer.headers["Location"]
    assert (answer.status, bench.follow(location).status, bench.state()) == (202, 202, "Deleting")
    bench.clock.advance(0.2)
    assert bench.follow(location).status == 204
    assert bench.ask("GET", GREEN).status == 404
    assert bench.ask("DELETE", GREEN).status == 204
    assert [(entry.status, entry.took_effect) for entry in bench.world.ledger[1:]] == [(202, True), (204, False)]


def test_a_deployment_with_traffic_cannot_be_deleted() -> None:
    answer = Bench().ask("DELETE", BLUE)
    assert (answer.status, answer.body and answer.body["error"]["code"]) == (409, "Conflict")


def test_traffic_names_only_deployments_that_exist() -> None:
    bench = Bench()
    body = bench.get(ENDPOINT)
    body["properties"]["traffic"] = {"green": 100}
    assert bench.ask("PUT", ENDPOINT, body).status == 400
    bench.deploy()
    assert bench.ask("PUT", ENDPOINT, body).status == 200
    bench.clock.advance(0.2)
    assert bench.get(ENDPOINT)["properties"]["traffic"] == {"green": 100}


def test_a_patch_changes_tags_and_leaves_the_rest() -> None:
    bench = Bench()
    answer = bench.ask("PATCH", BLUE, {"tags": {"medic-delete": "allow"}})
    assert answer.status == 202
    bench.clock.advance(0.2)
    done = bench.follow(answer.headers["Location"])
    assert done.body is not None
    assert (done.status, done.body["tags"]) == (200, {"medic-delete": "allow"})
    assert done.body["properties"]["instanceType"] == "Standard_DS3_v2"


def test_lists_come_in_pages_that_survive_a_deletion() -> None:
    bench = Bench(page_size=2, deployments=[{"name": name} for name in ("a", "b", "c", "d", "e")])
    first = bench.get(f"{ENDPOINT}/deployments")
    bench.world.delete_deployment("person", None, "a")
    bench.clock.advance(0.2)
    second = bench.follow(first["nextLink"]).body
    assert second is not None
    third = bench.follow(second["nextLink"]).body
    assert third is not None
    assert [row["name"] for page in (first, second, third) for row in page["value"]] == ["a", "b", "c", "d", "e"]
    assert third["nextLink"] is None


def test_workspaces_are_listed_by_subscription() -> None:
    bench = Bench(workspaces=[{"name": "one"}, {"name": "two", "subscription": "other"}, {"name": "three"}])
    path = f"{SUBSCRIPTION}/providers/Microsoft.MachineLearningServices/workspaces"
    assert [row["name"] for row in bench.get(path)["value"]] == ["one", "three"]


def test_an_operation_record_expires() -> None:
    bench = Bench(operation_record_seconds=60)
    url = bench.ask("PUT", GREEN, spec()).headers["Azure-AsyncOperation"]
    bench.clock.advance(0.2)
    assert bench.follow(url).status == 200
    bench.clock.advance(60)
    assert bench.follow(url).status == 404


def test_operation_records_can_be_missing_altogether() -> None:
    bench = Bench(operation_records_missing=True)
    url = bench.ask("PUT", GREEN, spec()).headers["Azure-AsyncOperation"]
    assert bench.follow(url).status == 404


@pytest.mark.parametrize(
    ("shown", "expected"), [("masked", {"LOG_LEVEL": "******"}), ("nulled", {"LOG_LEVEL": None}), ("absent", None)]
)
def test_environment_variables_can_come_back_hidden(shown: str, expected: Any) -> None:
    bench = Bench(environment_variables=shown)
    assert bench.get(BLUE)["properties"].get("environmentVariables") == expected


# Who may


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"authorization": "Bearer sim-nobody"}, "InvalidAuthenticationToken"),
        ({"authorization": "Basic sim-medic"}, "InvalidAuthenticationToken"),
    ],
)
def test_an_unknown_token_is_401(headers: dict[str, str], code: str) -> None:
    answer = Bench().ask("PUT", GREEN, spec(), headers=headers)
    assert (answer.status, answer.body and answer.body["error"]["code"]) == (401, code)


def test_a_denied_action_is_403_in_arms_words_and_leaves_a_trace() -> None:
    action = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments/write"
    bench = Bench(denied=[{"principal": "medic", "action": action}])
    answer = bench.ask("PUT", GREEN, spec())
    assert answer.status == 403
    assert answer.body is not None
    assert answer.body["error"]["code"] == "AuthorizationFailed"
    assert answer.body["error"]["message"] == (
        f"The client 'aaaaaaaa-0000-4000-8000-000000000001' with object id '{MEDIC}' does not have authorization to "
        f"perform action '{action}' over scope '{GREEN}' or the scope is invalid. If access was recently granted, "
        "please refresh your credentials."
    )
    assert bench.ask("PUT", GREEN, spec(), who="ci").status == 201
    bench.clock.advance(1)
    failed = [row for row in bench.rows(f"resourceUri eq '{GREEN}'") if row["status"]["value"] == "Failed"]
    assert [(row["caller"], row["properties"]["statusCode"]) for row in failed] == [(MEDIC, "Forbidden")]


def test_a_denial_can_come_and_go_and_also_concern_reading() -> None:
    action = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments/read"
    bench = Bench(denied=[{"principal": "medic", "action": action, "while": "night"}])
    assert bench.ask("GET", BLUE).status == 200
    bench.world.set_condition("night")
    assert (bench.ask("GET", BLUE).status, bench.ask("GET", BLUE, who="ci").status) == (403, 200)
    assert bench.ask("GET", ENDPOINT).status == 200


# Hazards


def test_a_higher_priority_cancels_as_many_writes_as_it_is_there_for() -> None:
    bench = Bench(hazards=[{"kind": "higher-priority", "endpoint": "credit-scoring", "remaining": 2}])
    first = bench.deploy()
    assert (first["status"], first["error"]["code"]) == ("Canceled", "OperationCanceled")
    assert first["error"]["message"] == BY_PRIORITY
    assert bench.state() == "Canceled"
    assert [bench.deploy()["status"] for _ in range(2)] == ["Canceled", "Succeeded"]


def test_a_contender_without_end_cancels_every_write() -> None:
    bench = Bench(hazards=[{"kind": "higher-priority"}])
    assert {bench.deploy()["status"] for _ in range(5)} == {"Canceled"}


def test_waiting_for_the_lock_cancels_while_its_condition_holds() -> None:
    bench = Bench(conditions=["locking"], hazards=[{"kind": "lock-confirmation", "while": "locking"}])
    record = bench.deploy()
    assert (record["status"], record["error"]["code"]) == ("Canceled", "OperationCanceled")
    assert record["error"]["message"] == (
        "Operation was canceled because the operation was waiting for lock confirmation. Please see troubleshooting "
        "guide, available here: https://aka.ms/oe-tsg#error-operationcanceled"
    )
    bench.world.clear_condition("locking")
    assert bench.deploy()["status"] == "Succeeded"


def test_a_broken_spec_fails_until_another_spec_comes() -> None:
    hazard = {
        "kind": "broken",
        "code": None,
        "message": "ResourceNotFound: gone",
        "spec": {"properties.environmentId": "*/12"},
    }
    bench = Bench(hazards=[hazard])
    for _ in range(2):
        record = bench.deploy()
        assert (record["status"], record["error"]["code"], record["error"]["message"]) == (
            "Failed",
            None,
            "ResourceNotFound: gone",
        )
    assert bench.deploy(body=spec(environmentId="env/13"))["status"] == "Succeeded"


def test_a_request_refused_at_once_leaves_nothing_to_get() -> None:
    hazard = {"kind": "broken", "code": "BadRequest", "message": "Not enough quota", "at": "request", "remaining": 1}
    bench = Bench(hazards=[hazard])
    answer = bench.ask("PUT", GREEN, spec())
    assert (answer.status, answer.body and answer.body["error"]["message"]) == (400, "Not enough quota")
    assert bench.ask("GET", GREEN).status == 404
    assert [(entry.status, entry.took_effect) for entry in bench.world.ledger] == [(400, False)]
    assert bench.ask("PUT", GREEN, spec()).status == 201


def test_a_first_provisioning_that_failed_can_only_be_deleted_and_created_anew() -> None:
    hazards = [{"kind": "unrecoverable"}, {"kind": "broken", "code": "BadArgument", "message": "no", "remaining": 1}]
    bench = Bench(hazards=hazards)
    assert bench.deploy()["status"] == "Failed"
    for _ in range(2):
        answer = bench.ask("PUT", GREEN, spec())
        assert answer.body is not None
        assert answer.status == 400
        assert (
            "Specified deployment [green] failed during initial provisioning and is in an unrecoverable state."
            in (answer.body["error"]["message"])
        )
    bench.ask("DELETE", GREEN)
    bench.clock.advance(0.2)
    assert bench.deploy()["status"] == "Succeeded"


def test_a_slow_operation_is_still_running_when_others_are_long_done() -> None:
    bench = Bench(hazards=[{"kind": "slow", "lasts": 3600}])
    assert bench.deploy()["status"] == "InProgress"
    bench.clock.advance(3598)
    assert bench.state() == "Creating"
    bench.clock.advance(2)
    assert bench.state() == "Succeeded"


def test_a_hazard_may_hit_other_actions() -> None:
    hazard = {"kind": "higher-priority", "action": "*/deployments/delete", "remaining": 1}
    bench = Bench(hazards=[hazard])
    assert bench.deploy()["status"] == "Succeeded"
    location = bench.ask("DELETE", GREEN).headers["Location"]
    bench.clock.advance(0.2)
    answer = bench.follow(location)
    assert (answer.status, answer.body and answer.body["error"]["code"]) == (409, "OperationCanceled")
    assert bench.state() == "Canceled"


def test_a_deployment_that_once_ran_recovers_from_a_failed_update() -> None:
    hazards = [{"kind": "unrecoverable"}, {"kind": "broken", "code": "X", "message": "y", "after": 1, "remaining": 1}]
    bench = Bench(hazards=hazards)
    assert [bench.deploy()["status"] for _ in range(3)] == ["Succeeded", "Failed", "Succeeded"]


class StaleKeys(Hazard, kw_only=True, tag="stale-keys"):
    """A cause that an action removes: what another world adds without touching the machinery."""

    stale: bool = True

    def verdict(self, world: World, operation: Operation) -> Verdict | None:
        return Verdict("Failed", Error(code="UserError", message="resync keys")) if self.stale else None

    def done(self, world: World, operation: Operation) -> None:
        self.stale = self.stale and not operation.name.endswith("/resynckeys/action")


def test_a_repair_takes_effect_when_its_operation_ends() -> None:
    bench = Bench()
    bench.world.hazards.append(StaleKeys())
    assert bench.deploy()["status"] == "Failed"
    bench.ask("POST", f"{WORKSPACE}/resyncKeys")
    bench.clock.advance(0.2)
    assert bench.deploy()["status"] == "Succeeded"


def test_another_part_of_azure_is_another_row_of_the_table() -> None:
    bench = Bench()
    vault = f"{GROUP}/providers/Microsoft.KeyVault/vaults/kvmlwprod"
    assert bench.ask("GET", vault).status == 404
    row = Route("GET", "vault", vault, "Microsoft.KeyVault/vaults/read", lambda ask: Answer(status=200))
    bench.simulator = Simulator(bench.world, (*ROUTES, row))
    assert bench.ask("GET", vault.lower()).status == 200
    assert bench.world.reads == {("GET", "unknown"): 1, ("GET", "vault"): 1}


# Others at work


def test_a_second_write_on_an_endpoint_meets_a_conflict() -> None:
    bench = Bench()
    bench.ask("PUT", BLUE, spec(), who="ci")
    answers = [bench.ask("PUT", path, spec()) for path in (GREEN, BLUE)] + [bench.ask("DELETE", BLUE, who="ci")]
    assert {(answer.status, answer.body["error"]["code"]) for answer in answers if answer.body} == {(409, "Conflict")}
    bench.clock.advance(0.2)
    assert bench.deploy()["status"] == "Succeeded"


def test_a_persons_delete_cancels_the_operation_and_removes_the_deployment() -> None:
    bench = Bench()
    url = bench.ask("PUT", GREEN, spec(), who="ci").headers["Azure-AsyncOperation"]
    assert bench.ask("DELETE", GREEN, who="person").status == 202
    record = bench.follow(url).body
    assert record is not None
    assert (record["status"], record["error"]["message"]) == ("Canceled", BY_PRIORITY)
    bench.clock.advance(0.2)
    assert bench.ask("GET", GREEN).status == 404
    assert [event["eventType"] for event in bench.world.raised] == ["Microsoft.Resources.ResourceWriteCancel"]


def test_a_persons_deployment_cancels_the_running_one_and_wins() -> None:
    bench = Bench()
    url = bench.ask("PUT", GREEN, spec(), who="ci").headers["Azure-AsyncOperation"]
    assert bench.ask("PUT", GREEN, spec(environmentId="env/99"), who="person").status == 200
    bench.clock.advance(0.2)
    record, body = bench.follow(url).body, bench.get(GREEN)
    assert record is not None
    assert record["status"] == "Canceled"
    assert body["properties"]["environmentId"] == "env/99"
    assert (body["systemData"]["lastModifiedBy"], body["systemData"]["createdBy"]) == (PERSON, CI)


def test_a_person_waits_like_everyone_for_the_other_deployments_of_an_endpoint() -> None:
    bench = Bench()
    url = bench.ask("PUT", GREEN, spec(), who="ci").headers["Azure-AsyncOperation"]
    assert bench.ask("PUT", BLUE, spec(), who="person").status == 409
    record = bench.follow(url).body
    assert record is not None
    assert record["status"] == "InProgress"


def test_somebody_deploys_right_after_our_second_read() -> None:
    happening = {
        "when": "get deployment by medic",
        "nth": 2,
        "do": "put",
        "deployment": "blue",
        "spec": {"tags": {"by": "hand"}},
    }
    bench = Bench(happens=[happening])
    assert [bench.get(BLUE)["tags"] for _ in range(3)] == [{}, {}, {"by": "hand"}]
    assert [(entry.principal, entry.method) for entry in bench.world.ledger] == [("person", "PUT")]


def test_things_happen_at_their_time() -> None:
    happens = [
        {"after": 1, "do": "put", "who": "ci", "deployment": "green"},
        {"after": 2, "do": "traffic", "traffic": {"green": 100}},
        {"after": 3, "do": "delete", "deployment": "blue"},
        {"after": 4, "do": "set", "condition": "night"},
        {"after": 5, "do": "clear", "condition": "night"},
    ]
    bench = Bench(happens=happens)
    bench.clock.advance(1)
    assert bench.state() == "Creating"
    bench.clock.advance(3)
    bench.world.settle()
    assert bench.world.conditions == {"night"}
    assert bench.ask("GET", BLUE).status == 404
    assert bench.get(ENDPOINT)["properties"]["traffic"] == {"green": 100}
    bench.clock.advance(1)
    bench.world.settle()
    assert bench.world.conditions == set()


def test_somebody_gives_an_endpoint_other_identities() -> None:
    bench = Bench(happens=[{"after": 1, "do": "identities", "identities": ["id-a"]}])
    bench.clock.advance(2)
    bench.world.settle()
    bench.world.put_endpoint("ci", None, {"tags": {"by": "ci"}})
    bench.clock.advance(1)
    happening = {"after": 0, "do": "identities", "identities": ["id-b"]}
    msgspec.convert(happening, AnyHappening).perform(bench.world)
    identity = bench.get(ENDPOINT)["identity"]
    assert identity["type"] == "UserAssigned"
    assert [path.rpartition("/")[2] for path in identity["userAssignedIdentities"]] == ["id-b"]
    assert bench.get(ENDPOINT)["tags"] == {"by": "ci"}


def test_reads_begin_to_fail_at_a_moment() -> None:
    fault = {"kind": "error", "status": 503, "method": "GET", "path": "*/deployments/blue", "times": 2}
    bench = Bench(happens=[{"when": "get deployment by medic", "do": "break", "fault": fault}])
    assert [bench.ask("GET", BLUE).status for _ in range(4)] == [200, 503, 503, 200]


def test_a_world_counts_who_asks_for_what_cannot_be_seen_yet() -> None:
    bench = Bench(activity_log_delay=60)
    bench.deploy(GREEN)
    since, until = "2026-11-22T11:00:00Z", "2026-11-22T13:00:00Z"
    text = f"eventTimestamp ge '{since}' and eventTimestamp le '{until}' and resourceUri eq '{GREEN}'"
    assert bench.get(LOG, query={"$filter": text})["value"] == []
    assert bench.world.log.withheld == 1
    bench.clock.advance(61)
    assert bench.get(LOG, query={"$filter": text})["value"] != []
    assert bench.world.log.withheld == 1


def test_a_runner_can_act_after_a_trigger_too() -> None:
    bench = Bench()
    bench.world.when("put */deployments/green by medic", lambda: bench.world.set_condition("seen"))
    bench.deploy(BLUE)
    assert bench.world.conditions == set()
    bench.deploy(GREEN)
    assert bench.world.conditions == {"seen"}


def test_verbs_without_http_obey_the_same_rules_and_stand_in_the_ledger() -> None:
    bench = Bench()
    bench.world.put_deployment("ci", "credit-scoring", "green")
    with pytest.raises(Refusal, match="409 Conflict"):
        bench.world.put_deployment("medic", "mlw-prod/credit-scoring", "green", client_request_id="medic-1")
    bench.clock.advance(0.2)
    green = bench.world.deployment(ENDPOINT, "green")
    assert green is not None
    assert green["properties"]["provisioningState"] == "Succeeded"
    assert [(e.principal, e.status, e.took_effect, e.client_request_id) for e in bench.world.ledger] == [
        ("ci", 201, True, None),
        ("medic", 409, False, "medic-1"),
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"colour": "red"}, "unknown field `colour`"),
        ({"hazards": [{"kind": "earthquake"}]}, "Invalid value 'earthquake' - at `$.hazards[0].kind`"),
        ({"operation_seconds": "soon"}, "Expected `float`, got `str` - at `$.operation_seconds`"),
        ({"happens": [{"do": "delete", "who": "ghost"}]}, "'ghost' is no principal"),
        ({"happens": [{"do": "delete", "when": "sometimes"}]}, "'sometimes' is not a trigger"),
        ({"happens": [{"do": "delete", "endpoint": "nowhere"}]}, "nowhere fits 0 endpoints"),
        ({"denied": [{"principal": "ghost", "action": "*"}]}, "'ghost' is no principal"),
        ({"workspaces": [{"name": "a"}, {"name": "A"}]}, "is there twice"),
    ],
)
def test_a_world_that_cannot_be_meant_is_refused_in_words(change: dict[str, Any], words: str) -> None:
    with pytest.raises(WorldError) as caught:
        World.from_dict(plain(**change))
    assert words in str(caught.value)


# The Activity Log


def test_the_log_shows_an_operation_only_after_the_delay() -> None:
    bench = Bench(activity_log_delay=20, hazards=[{"kind": "higher-priority"}])
    bench.ask(
        "PUT", GREEN, spec(), headers={"x-ms-correlation-request-id": "c0ffee", "x-ms-client-request-id": "medic-1"}
    )
    bench.clock.advance(20.1)
    assert [row["status"]["value"] for row in bench.rows("correlationId eq 'C0FFEE'")] == ["Accepted", "Started"]
    bench.clock.advance(0.1)
    rows = bench.rows("correlationId eq 'c0ffee'")
    assert [row["status"]["value"] for row in rows] == ["Canceled", "Accepted", "Started"]
    assert {row["httpRequest"]["clientRequestId"] for row in rows} == {"medic-1"}
    message = rows[0]["properties"]["statusMessage"]
    assert json.loads(message)["error"]["details"] == [{"code": "OperationCanceled", "message": BY_PRIORITY}]
    assert rows[0]["submissionTimestamp"] == "2026-11-22T12:00:20.2000000Z"


def test_the_log_of_one_subscription_is_silent_about_another() -> None:
    bench = Bench()
    bench.deploy()
    bench.clock.advance(1)
    span = "eventTimestamp ge '2026-11-22T11:00:00Z' and eventTimestamp le '2026-11-22T13:00:00Z'"
    other = LOG.replace("00000000-1111-2222-3333-444444444444", "00000000-1111-2222-3333-555555555555")
    body = bench.get(other, query={"$filter": f"{span} and resourceGroupName eq 'rg-ml-prod'"})
    assert body == {"value": []}


def test_the_log_can_stay_empty() -> None:
    bench = Bench(activity_log_missing=True)
    bench.deploy()
    bench.clock.advance(3600)
    assert bench.rows("resourceGroupName eq 'rg-ml-prod'") == []


@pytest.mark.parametrize(
    "clause",
    [
        "resourceGroupName eq 'RG-ML-PROD'",
        f"resourceUri eq '{GREEN.lower()}'",
        "resourceProvider eq 'Microsoft.MachineLearningServices'",
    ],
)
def test_the_log_is_asked_by_one_of_four_names(clause: str) -> None:
    bench = Bench()
    bench.deploy()
    bench.clock.advance(1)
    assert [row["status"]["value"] for row in bench.rows(clause)] == ["Succeeded", "Accepted", "Started"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "correlationId eq 'x'",
        "eventTimestamp ge '2026-11-22T11:00:00Z' and correlationId eq 'x'",
        "eventTimestamp ge '2026-11-22T11:00:00Z' and eventTimestamp le '2026-11-22T13:00:00Z'",
        "eventTimestamp ge '2026-11-22T11:00:00Z' and eventTimestamp le 'noon' and correlationId eq 'x'",
        "eventTimestamp ge '2026-11-22T11:00:00Z' and eventTimestamp le '2026-11-22T13:00:00Z' and status eq 'Failed'",
        "eventTimestamp ge '2026-11-22' and eventTimestamp le '2026-11-23' and caller eq 'x' and correlationId eq 'x'",
        "eventTimestamp ge '2026-11-22T11:00:00Z' and eventTimestamp le '2026-11-22T13:00:00Z' or correlationId eq 'x'",
    ],
)
def test_no_other_filter_is_understood(text: str) -> None:
    answer = Bench().ask("GET", LOG, query={"$filter": text})
    assert answer.status == 400


def test_the_log_comes_in_pages_and_in_the_fields_asked_for() -> None:
    bench = Bench(activity_log_page_size=2)
    bench.deploy()
    bench.clock.advance(1)
    span = "eventTimestamp ge '2026-11-22T11:00:00Z' and eventTimestamp le '2026-11-22T13:00:00Z'"
    first = bench.get(LOG, query={"$filter": f"{span} and resourceUri eq '{GREEN}'", "$select": "status,caller"})
    second = bench.follow(first["nextLink"]).body
    assert second is not None
    rows = first["value"] + second["value"]
    assert [row["status"]["value"] for row in rows] == ["Succeeded", "Accepted", "Started"]
    assert set(rows[0]) == {"status", "caller", "eventDataId"}
    assert "nextLink" not in second


def test_a_refusal_and_an_action_leave_rows_of_their_own() -> None:
    bench = Bench(deployments=[{"name": "green", "logs": {"InferenceServer": "one\ntwo\nthree\n"}}])
    answer = bench.ask("POST", f"{GREEN}/getLogs", {"containerType": "InferenceServer", "tail": 2})
    assert (answer.status, answer.body) == (200, {"content": "two\nthree\n"})
    bench.ask("PUT", ENDPOINT + "-other/deployments/x", spec())
    bench.clock.advance(1)
    rows = bench.rows("resourceProvider eq 'Microsoft.MachineLearningServices'")
    assert [
        (row["operationName"]["value"].rpartition("/onlineEndpoints/")[2], row["status"]["value"]) for row in rows
    ] == [
        ("deployments/write", "Failed"),
        ("deployments/write", "Started"),
        ("deployments/getLogs/action", "Succeeded"),
        ("deployments/getLogs/action", "Started"),
    ]
    assert rows[0]["properties"]["statusCode"] == "NotFound"
    assert json.loads(rows[0]["properties"]["statusMessage"])["error"]["code"] == "ParentResourceNotFound"


def test_a_failure_from_before_the_beginning_is_on_record() -> None:
    error = {"code": "OperationCanceled", "message": BY_PRIORITY}
    green = {"name": "green", "state": "Canceled", "error": error, "age": 1800, "correlation_id": "old"}
    bench = Bench(deployments=[green])
    body = bench.get(GREEN)
    record = bench.follow(body["properties"]["properties"]["AzureAsyncOperationUri"]).body
    assert record is not None
    assert (body["properties"]["provisioningState"], record["error"]["message"]) == ("Canceled", BY_PRIORITY)
    assert [row["status"]["value"] for row in bench.rows("correlationId eq 'old'")] == [
        "Canceled",
        "Accepted",
        "Started",
    ]
    assert bench.world.raised == []


# Actions


def test_container_types_of_the_sdk_are_not_those_of_rest() -> None:
    assert Bench().ask("POST", f"{BLUE}/getLogs", {"containerType": "inference-server"}).status == 400


def test_resync_keys_runs_and_harms_nothing() -> None:
    bench = Bench()
    answer = bench.ask("POST", f"{WORKSPACE}/resyncKeys")
    assert (answer.status, bench.follow(answer.headers["Location"]).status) == (202, 202)
    bench.clock.advance(0.2)
    assert bench.follow(answer.headers["Location"]).status == 200
    assert bench.world.raised == []


@pytest.mark.parametrize("later", [False, True])
def test_diagnose_answers_the_nine_lists(later: bool) -> None:
    row = {"code": "CustomDNSInUse", "level": "Warning", "message": "A dns server of your own is in use."}
    world = {"name": "mlw-prod", "diagnose": {"dnsResolutionResults": [row]}}
    bench = Bench(workspaces=[world], diagnose_is_async=later)
    answer = bench.ask("POST", f"{WORKSPACE}/diagnose", {"value": {"dnsResolution": {}}})
    if later:
        bench.clock.advance(0.2)
        answer = bench.follow(answer.headers["Location"])
    assert answer.status == 200
    assert answer.body is not None
    assert len(answer.body["value"]) == 9
    assert answer.body["value"]["dnsResolutionResults"] == [row]


# Events


def test_a_failed_create_raises_an_event_without_http_request_and_a_failed_update_one_with_it() -> None:
    bench = Bench(hazards=[{"kind": "broken", "code": "BadArgument", "message": "secret text"}])
    for number in (1, 2):
        bench.ask("PUT", GREEN, spec(), headers={"x-ms-client-request-id": f"medic-{number}"})
        bench.clock.advance(0.2)
        bench.world.settle()
    create, update = (event["data"] for event in bench.world.raised)
    assert "httpRequest" not in create
    assert update["httpRequest"]["clientRequestId"] == "medic-2"
    assert (create["status"], create["operationName"].rpartition("/")[2]) == ("Failed", "write")
    assert update["claims"]["http://schemas.microsoft.com/identity/claims/objectidentifier"] == MEDIC
    assert update["claims"]["appid"] == "aaaaaaaa-0000-4000-8000-000000000001"
    assert "secret text" not in json.dumps(bench.world.raised)


@pytest.mark.parametrize(("settings", "count"), [({}, 1), ({"refusals": False}, 0)])
def test_a_refusal_raises_an_event_if_the_world_says_so(settings: dict[str, Any], count: int) -> None:
    bench = Bench(events=settings, hazards=[{"kind": "broken", "code": "X", "message": "y", "at": "request"}])
    bench.ask("PUT", GREEN, spec())
    assert [event["eventType"] for event in bench.world.raised] == ["Microsoft.Resources.ResourceWriteFailure"] * count


def _received(**world: Any) -> list[dict[str, Any]]:
    """What a subscriber gets from two failures, 0.2 s apart."""
    bench = Bench(hazards=[{"kind": "higher-priority"}], **world)
    got: list[dict[str, Any]] = []
    bench.world.subscribe(got.append)
    for path in (BLUE, GREEN):
        bench.deploy(path)
    for _ in range(10):
        bench.clock.advance(1)
        bench.world.settle()
    assert bench.world.wait_until_quiet(1)
    bench.world.close()
    return got


def _subjects(events: list[dict[str, Any]]) -> list[str]:
    return [event["subject"].rpartition("/")[2] for event in events]


def test_events_arrive_in_order_unless_the_world_says_otherwise() -> None:
    assert _subjects(_received()) == ["blue", "green"]


def test_events_can_be_doubled_and_out_of_order() -> None:
    assert _subjects(_received(events={"deliveries": 2})) == ["blue", "blue", "green", "green"]
    assert _subjects(_received(events={"shuffle": 5})) == ["green", "blue"]


def test_events_can_be_lost_while_the_failure_stays_to_be_found() -> None:
    assert _received(events="none") == []
    bench = Bench(events="none", hazards=[{"kind": "higher-priority"}])
    bench.deploy()
    assert (bench.state(), len(bench.world.raised)) == ("Canceled", 1)


def test_events_can_write_ids_in_lower_case_and_come_from_the_group() -> None:
    event = _received(events={"lower_case_ids": True, "topic": "resource-group"})[0]
    assert (event["subject"], event["topic"]) == (BLUE.lower(), GROUP)


def test_a_subscriber_that_stumbles_is_tried_again() -> None:
    bench = Bench(hazards=[{"kind": "higher-priority"}])
    tries: list[str] = []

    def stumble(event: dict[str, Any]) -> None:
        tries.append(event["id"])
        if len(tries) < 3:
            raise RuntimeError("not yet")

    subscription = bench.world.subscribe(stumble, backoff=0.001)
    bench.deploy()
    assert bench.world.wait_until_quiet(1)
    bench.world.close()
    assert (len(tries), len(set(tries)), subscription.undelivered) == (3, 1, [])


@pytest.mark.parametrize(
    ("schema", "statuses", "posts", "kind"),
    [
        ("event-grid", [503, 200], 2, "application/json; charset=utf-8"),
        ("cloud-events", [200], 1, "application/cloudevents+json; charset=utf-8"),
        ("event-grid", [400], 1, "application/json; charset=utf-8"),
    ],
)
def test_a_webhook_is_spoken_to_as_event_grid_does(schema: Any, statuses: list[int], posts: int, kind: str) -> None:
    seen: list[tuple[dict[str, str], Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(statuses[min(len(seen), len(statuses)) - 1])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    bench = Bench(hazards=[{"kind": "higher-priority"}])
    try:
        subscription = bench.world.subscribe(
            f"http://127.0.0.1:{server.server_port}/hook", schema=schema, backoff=0.001
        )
        bench.deploy()
        assert bench.world.wait_until_quiet(2)
    finally:
        bench.world.close()
        server.shutdown()
        thread.join()
        server.server_close()
    headers, body = seen[-1]
    event = body if schema == "cloud-events" else body[0]
    assert (len(seen), headers["content-type"], headers["aeg-event-type"]) == (posts, kind, "Notification")
    assert event["subject"] == GREEN
    assert event.get("type", event.get("eventType")) == "Microsoft.Resources.ResourceWriteCancel"
    assert len(subscription.undelivered) == (1 if statuses == [400] else 0)


# Faults on the wire


def test_a_throttled_write_did_not_happen() -> None:
    bench = Bench(faults=[{"kind": "throttle", "method": "PUT", "retry_after": 17}])
    answer = bench.ask("PUT", GREEN, spec())
    assert (answer.status, answer.headers["Retry-After"]) == (429, "17")
    assert answer.headers["x-ms-ratelimit-remaining-subscription-writes"] == "0"
    assert bench.ask("GET", GREEN).status == 404
    assert [(entry.status, entry.took_effect) for entry in bench.world.ledger] == [(429, False)]


def test_a_throttled_answer_may_not_say_how_long() -> None:
    bench = Bench(faults=[{"kind": "throttle", "retry_after": None}])
    answer = bench.ask("PUT", GREEN, spec())
    assert (answer.status, "Retry-After" in answer.headers) == (429, False)


def test_a_silent_service_did_nothing_and_hangs_up_late() -> None:
    bench = Bench(faults=[{"kind": "silent", "method": "PUT", "seconds": 3}])
    answer = bench.ask("PUT", GREEN, spec())
    assert (answer.wire, answer.delay) == ("cut", 3.0)
    assert [(entry.status, entry.took_effect) for entry in bench.world.ledger] == [("lost", False)]
    assert bench.ask("GET", GREEN).status == 404


def test_what_would_never_end_can_be_ended() -> None:
    bench = Bench(hazards=[{"kind": "slow", "lasts": 100_000}])
    bench.ask("PUT", GREEN, spec())
    assert not bench.world.is_quiet_for(100_001)
    assert bench.world.is_quiet_for(3)
    bench.world.end_operations()
    body = bench.ask("GET", GREEN).body
    assert body is not None
    assert body["properties"]["provisioningState"] == "Succeeded"


def test_what_nobody_took_is_delivered_once_more() -> None:
    bench = Bench(hazards=[{"kind": "higher-priority"}], operation_seconds=0)
    taken: list[Any] = []
    is_well = threading.Event()

    def deliver(event: Any) -> None:
        if not is_well.is_set():
            raise ConnectionError("not now")
        taken.append(event)

    subscription = bench.world.subscribe(deliver, retries=1, backoff=0.0)
    bench.ask("PUT", GREEN, spec())
    assert bench.world.wait_until_quiet()
    assert (len(subscription.undelivered), taken) == (1, [])
    is_well.set()
    bench.world.redeliver()
    assert bench.world.wait_until_quiet()
    assert (len(subscription.undelivered), len(taken)) == (0, 1)
    bench.world.close()


def test_a_fault_counts_only_what_it_is_meant_for() -> None:
    fault = {
        "kind": "error",
        "status": 503,
        "path": "*/deployments/green",
        "principal": "medic",
        "after": 1,
        "times": 2,
    }
    bench = Bench(faults=[fault], deployments=[{"name": "blue"}, {"name": "green"}])
    asked = [(GREEN, "medic"), (BLUE, "medic"), (GREEN, "ci"), (GREEN, "medic"), (GREEN, "medic"), (GREEN, "medic")]
    assert [bench.ask("GET", path, who=who).status for path, who in asked] == [200, 200, 200, 503, 503, 200]


def test_a_list_of_faults_is_a_sequence() -> None:
    kinds: list[dict[str, Any]] = [{"kind": "error", "status": 502}, {"kind": "throttle"}, {"kind": "lost"}]
    bench = Bench(faults=kinds)
    answers = [bench.ask("GET", BLUE) for _ in range(4)]
    assert [(answer.status, answer.wire) for answer in answers] == [
        (502, "whole"),
        (429, "whole"),
        (200, "cut"),
        (200, "whole"),
    ]


def test_a_later_page_can_fail_and_a_page_can_be_empty_but_not_the_last() -> None:
    faults = [{"kind": "error", "query": "*skipToken=*"}, {"kind": "empty-page", "path": "*/deployments"}]
    bench = Bench(page_size=1, faults=faults, deployments=[{"name": "a"}, {"name": "b"}])
    empty = bench.get(f"{ENDPOINT}/deployments")
    assert (empty["value"], bench.follow(empty["nextLink"]).status) == ([], 500)
    again = bench.follow(empty["nextLink"]).body
    assert again is not None
    assert [row["name"] for row in again["value"]] == ["b"]


def test_a_stale_read_shows_what_was() -> None:
    bench = Bench(faults=[{"kind": "stale", "path": "*/green", "method": "GET", "after": 1, "times": 2, "versions": 1}])
    bench.deploy()
    assert [bench.state() for _ in range(3)] == ["Succeeded", "Creating", "Creating"]
    bench.world.delete_deployment("person", None, "green")
    bench.clock.advance(0.2)
    assert bench.ask("GET", GREEN).status == 404


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("reset", httpx.TransportError),
        ("lost", httpx.TransportError),
        ("truncated", httpx.RemoteProtocolError),
    ],
)
def test_a_broken_connection_tells_the_caller_nothing(fault: str, error: type[Exception]) -> None:
    world = World.from_dict(plain(faults=[{"kind": fault, "method": "PUT"}], operation_seconds=60))
    with serve_in_thread(world) as server, httpx.Client(base_url=server.url) as client:
        client.params = httpx.QueryParams({"api-version": "2024-10-01"})
        client.headers["authorization"] = "Bearer sim-medic"
        with pytest.raises(error):
            client.put(GREEN, json=spec())
        happened = fault != "reset"
        assert client.get(GREEN).status_code == (200 if happened else 404)
        assert client.put(GREEN, json=spec()).status_code == (409 if happened else 201)
    assert [(entry.status, entry.took_effect) for entry in world.ledger] == [
        ("lost", happened),
        (409 if happened else 201, not happened),
    ]


def test_an_answer_can_be_late_or_no_json() -> None:
    faults = [{"kind": "delay", "seconds": 0.3, "method": "PUT"}, {"kind": "malformed", "method": "GET"}]
    world = World.from_dict(plain(faults=faults))
    with serve_in_thread(world) as server, httpx.Client(base_url=server.url, timeout=0.1) as client:
        client.params = httpx.QueryParams({"api-version": "2024-10-01"})
        client.headers["authorization"] = "Bearer sim-medic"
        with pytest.raises(httpx.ReadTimeout):
            client.put(GREEN, json=spec())
        answer = client.get(GREEN)
        with pytest.raises(json.JSONDecodeError):
            answer.json()
    assert [(entry.status, entry.took_effect) for entry in world.ledger] == [(201, True)]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", GREEN, []),
        ("PUT", GREEN, {"location": "westeurope"}),
        ("PUT", GREEN, {"properties": {}}),
        ("PUT", GREEN, {"location": "westeurope", "properties": {}, "identity": "me"}),
        ("PUT", ENDPOINT, {"location": "westeurope", "properties": {"traffic": ["blue"]}}),
        ("PATCH", BLUE, "tags"),
        ("POST", f"{BLUE}/getLogs", [1]),
        ("POST", f"{BLUE}/getLogs", {"tail": "ten"}),
    ],
)
def test_a_body_that_makes_no_sense_is_a_400(method: str, path: str, body: Any) -> None:
    assert Bench().ask(method, path, body).status == 400


def test_nothing_is_written_to_the_blobs_unseen() -> None:
    bench = Bench(blobs={"specs/green.json": {}})
    assert bench.ask("PUT", "/blobs/specs/green.json", {}).status == 404
    assert [(entry.method, entry.took_effect) for entry in bench.world.ledger] == [("PUT", False)]


EXAMPLE = """
seed: 7
operation_seconds: 0.2
activity_log_delay: 2
workspaces:
  - name: mlw-prod
    endpoints:
      - name: credit-scoring
        traffic: {blue: 100}
        deployments:
          - {name: blue}
          - name: green
            spec: {tags: {team: risk}, properties: {instanceType: Standard_F4s_v2}}
            logs: {InferenceServer: "Instance status: ..."}
events: {deliveries: 2, delay: 0.1, shuffle: 0.5}
hazards:
  - {kind: higher-priority, endpoint: credit-scoring, remaining: 2}
  - {kind: broken, code: BadArgument, message: Startup task failed, while: image-gone}
faults:
  - {kind: lost, method: PUT, path: "*/deployments/green", principal: medic}
happens:
  - {after: 0.5, do: set, condition: image-gone}
  - {when: get deployment by medic, nth: 3, who: person, do: delete, deployment: green}
denied:
  - {principal: medic, action: "*/deployments/delete"}
blobs: {specs/green.json: {location: westeurope}}
"""


def test_a_world_can_be_written_in_yaml() -> None:
    world = World.from_dict(yaml.safe_load(EXAMPLE))
    green = world.deployment("credit-scoring", "green")
    assert green is not None
    assert (green["tags"], green["properties"]["instanceType"]) == ({"team": "risk"}, "Standard_F4s_v2")
    assert (len(world.hazards), len(world.faults), world.seed.happens[1].when) == (2, 1, "get deployment by medic")


# Over HTTP


def test_every_answer_carries_its_ids_and_the_callers_correlation() -> None:
    with serve_in_thread(World.from_dict(plain())) as server, httpx.Client(base_url=server.url) as client:
        answer = client.get(BLUE, headers={"x-ms-correlation-request-id": "mine"})
    assert answer.status_code == 401
    assert answer.headers["x-ms-correlation-request-id"] == "mine"
    assert len(answer.headers["x-ms-request-id"]) == 36
    assert answer.headers["x-ms-ratelimit-remaining-subscription-reads"] == "249"


def test_an_operation_ends_and_tells_without_anyone_asking() -> None:
    world = World.from_dict(plain(operation_seconds=0.05, hazards=[{"kind": "lock-confirmation"}]))
    told = threading.Event()
    world.subscribe(lambda event: told.set())
    with serve_in_thread(world):
        world.put_deployment("ci", None, "green")
        assert told.wait(2)
    assert world.reads == {}


def test_the_desired_spec_is_served_and_a_redirect_is_a_redirect() -> None:
    world = World.from_dict(
        plain(blobs={"specs/a/green.json": {"id": GREEN}}, redirects={"specs/b": "http://evil.test/"})
    )
    with serve_in_thread(world) as server, httpx.Client(base_url=server.url) as client:
        assert client.get("/blobs/specs/a/green.json").json() == {"id": GREEN}
        answer = client.get("/blobs/specs/b")
        assert (answer.status_code, answer.headers["location"]) == (302, "http://evil.test/")
        assert client.get("/blobs/specs/c").status_code == 404
    assert world.reads == {("GET", "blob"): 3}


def test_many_writers_make_one_operation() -> None:
    world = World.from_dict(plain(operation_seconds=60))
    statuses: list[int] = []
    simulator = Simulator(world)

    def put() -> None:
        headers = {"authorization": "Bearer sim-medic"}
        query = {"api-version": "2024-10-01"}
        request = Request(method="PUT", path=GREEN, query=query, headers=headers, body=json.dumps(spec()).encode())
        statuses.append(simulator.handle(request).status)

    threads = [threading.Thread(target=put) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201, 409, 409, 409, 409, 409, 409, 409]


def test_a_seeded_world_makes_the_same_ids_every_time() -> None:
    first, second = (Bench().ask("PUT", GREEN, spec()).headers["Azure-AsyncOperation"] for _ in range(2))
    assert first == second
