"""``medic scan`` and ``medic plan`` against the simulated Resource Manager, over HTTP: what they tell, and no write."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from local.arm import Server, World, serve_in_thread
from local.cli import app
from remediations.model import End
from remediations.policy import Pause
from remediations.trail import Ended
from tests.builders import CORRELATION, DEPLOYMENT, ENDPOINT, SUBSCRIPTION, WORKSPACE, make_incident
from tests.commands import settle

MINUTE = timedelta(minutes=1)
PRIORITY = "Operation was canceled by another operation that has a higher priority."
CANCELED = {"state": "Canceled", "error": {"code": "OperationCanceled", "message": PRIORITY}, "age": 600.0}
GREEN = {"name": "green", "correlation_id": CORRELATION, **CANCELED}
CALL = f"PUT {DEPLOYMENT}?api-version=2024-10-01"
HELD = "policy says auto for retry; MEDIC_MODE permits dry-run at most"


def world(*deployments: dict[str, Any], **changes: Any) -> World:
    endpoint = {"name": "credit-scoring", "deployments": [{"name": "blue"}, *deployments]}
    workspaces = [{"name": "mlw-prod", "endpoints": [endpoint]}, *changes.pop("further", [])]
    return World.from_dict({"workspaces": workspaces, "activity_log_delay": 0, "page_size": 2, **changes})


class Bench:
    """A served world, and the command with its settings."""

    def __init__(self, server: Server, monkeypatch: pytest.MonkeyPatch, folder: Any) -> None:
        self.server, self.folder, self.monkeypatch = server, folder, monkeypatch
        self.trail = settle(monkeypatch, folder, MEDIC_ARM_URL=server.url, MEDIC_ARM_TOKEN="sim-medic")

    def medic(self, *arguments: str, **settings: str):
        settle(self.monkeypatch, self.folder, MEDIC_ARM_URL=self.server.url, MEDIC_ARM_TOKEN="sim-medic")
        for name, value in settings.items():
            self.monkeypatch.setenv(name, value)
        return CliRunner().invoke(app, arguments)

    def scan(self, *arguments: str, **settings: str) -> tuple[int, dict[str, Any]]:
        result = self.medic("scan", "--subscription", SUBSCRIPTION, "--json", *arguments, **settings)
        return result.exit_code, json.loads(result.stdout)

    def plan(self, *options: str, **settings: str):
        file = self.folder / "event.json"
        file.write_text(json.dumps({"note": {}, "payload": [event()]}))
        return self.medic("plan", str(file), *options, **settings)


@pytest.fixture
def stage(monkeypatch, tmp_path):
    @contextmanager
    def staged(made: World) -> Iterator[Bench]:
        with serve_in_thread(made) as server:
            yield Bench(server, monkeypatch, tmp_path)
            asked = {entry.path.rsplit("/", 1)[-1] for entry in server.world.ledger if entry.method == "POST"}
            assert asked <= {"getLogs", "diagnose"}
            assert [entry for entry in server.world.ledger if entry.method != "POST"] == []

    return staged


def event(**changes: Any) -> dict[str, Any]:
    """The event of the deployment's cancellation."""
    data = {
        "resourceUri": DEPLOYMENT,
        "operationName": "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments/write",
        "status": "Canceled",
        "correlationId": CORRELATION,
    }
    return {
        "id": "4db48cba-50a2-455a-93b4-de41a3b5b704",
        "eventType": "Microsoft.Resources.ResourceWriteCancel",
        "eventTime": (datetime.now(UTC) - 9 * MINUTE).isoformat(),
        "subject": DEPLOYMENT,
        "topic": f"/subscriptions/{SUBSCRIPTION}",
        "data": {**data, **changes},
    }


# ------------------------------------------------------------------------------------------------- scan


def test_a_failed_deployment_is_found_dated_diagnosed_and_planned_for(stage) -> None:
    with stage(world(GREEN)) as bench:
        code, told = bench.scan()
    assert (code, told["workspaces"], told["endpoints"], told["unread"]) == (1, 1, 1, [])
    (found,) = told["failed"]
    assert found["resource"] == DEPLOYMENT
    assert (found["state"], found["operation"], found["correlation_id"]) == ("Canceled", "write", CORRELATION)
    age = datetime.now(UTC) - datetime.fromisoformat(found["failed_at"])
    assert 10 * MINUTE <= age < 11 * MINUTE
    diagnosis = found["diagnosis"]
    assert (diagnosis["cause"], diagnosis["level"]) == ("canceled-higher-priority", "two independent reads")
    assert [finding["read"] for finding in diagnosis["for"]] == ["operation", "activity-log"]
    assert (found["would"], found["action"], found["verdict"], found["calls"]) == ("run", "retry", "dry-run", [CALL])
    assert found["mode_words"] == HELD
    assert {guard["answer"] for guard in found["guards"]} == {"allow"}


def test_nothing_failed_is_exit_0(stage) -> None:
    with stage(world()) as bench:
        code, told = bench.scan()
        people = bench.medic("scan", "--subscription", SUBSCRIPTION)
    assert (code, told) == (0, {"workspaces": 1, "endpoints": 1, "failed": [], "unread": []})
    assert (people.exit_code, people.stdout) == (0, "1 workspace, 1 endpoint: 0 failed or canceled\n")


@pytest.mark.parametrize("days", [0.5, 5, 80])
def test_an_old_failure_is_dated_by_the_activity_log_and_refused(stage, days) -> None:
    with stage(world({**GREEN, "age": days * 86_400})) as bench:
        (found,) = bench.scan()[1]["failed"]
    age = datetime.now(UTC) - datetime.fromisoformat(found["failed_at"])
    assert timedelta(days=days) <= age < timedelta(days=days) + MINUTE
    assert (found["diagnosis"]["level"], found["would"]) == ("two independent reads", "refuse")
    assert [one["guard"] for one in found["guards"] if one["answer"] != "allow"] == ["in-time"]


def test_an_endpoint_and_a_deployment_of_another_kind_are_told_with_their_error(stage) -> None:
    broken = {"state": "Failed", "error": {"code": "BadArgument", "message": "Startup \x1b[31mtask failed"}}
    further = [{"name": "mlw-lab", "endpoints": [{"name": "toy", **broken}]}]
    with stage(world({"name": "green", **broken}, further=further)) as bench:
        code, told = bench.scan()
        people = bench.medic("scan", "--subscription", SUBSCRIPTION)
    assert (code, sorted(one["resource"].rsplit("/", 1)[-1] for one in told["failed"])) == (1, ["green", "toy"])
    assert {(one["would"], one["action"], one["diagnosis"]["cause"]) for one in told["failed"]} == {
        ("advise", None, "unknown")
    }
    assert people.stdout.count("task failed") == 2
    assert "\x1b" not in people.stdout


def test_a_list_that_cannot_be_read_is_told_and_costs_nothing_else(stage) -> None:
    further = [{"name": "mlw-closed", "endpoints": [{"name": "hidden"}]}]
    endpoints = [
        {"name": "a-closed", "deployments": [{"name": "x", **CANCELED}]},
        {"name": "b-open", "deployments": [{"name": "y", **CANCELED}]},
    ]
    made = World.from_dict(
        {
            "workspaces": [*further, {"name": "mlw-prod", "endpoints": endpoints}],
            "activity_log_delay": 0,
            "denied": [
                {"principal": "medic", "action": "*/onlineEndpoints/read", "scope": "*mlw-closed*"},
                {"principal": "medic", "action": "*/deployments/read", "scope": "*a-closed*"},
            ],
        }
    )
    with stage(made) as bench:
        code, told = bench.scan()
        people = bench.medic("scan", "--subscription", SUBSCRIPTION)
    assert (code, told["workspaces"]) == (1, 1)
    assert [one["resource"].rsplit("/", 1)[-1] for one in told["failed"]] == ["y"]
    assert [words.split(" cannot be listed: ")[0].rsplit("/workspaces/", 1)[1] for words in told["unread"]] == [
        "mlw-closed/onlineEndpoints",
        "mlw-prod/onlineEndpoints/a-closed/deployments",
    ]
    assert "onlineEndpoints/deployments/read" in told["unread"][1]
    assert people.stdout.count("not read: /subscriptions/") == 2
    assert "What was not read may hold further failures." in people.stdout


def test_a_subscription_that_cannot_be_read_is_told_beside_those_that_can(stage) -> None:
    other = "00000000-1111-2222-3333-555555555555"
    denied = [{"principal": "medic", "action": "*/workspaces/read", "scope": f"*{other}*"}]
    with stage(world(GREEN, denied=denied)) as bench:
        file = bench.folder / "policy.yaml"
        file.write_text(f"actions: {{retry: {{mode: auto}}}}\nsubscriptions: [{other}, {SUBSCRIPTION}]\n")
        result = bench.medic("scan", "--json", MEDIC_POLICY=str(file))
    told = json.loads(result.stdout)
    assert (result.exit_code, [one["resource"] for one in told["failed"]]) == (1, [DEPLOYMENT])
    (unread,) = told["unread"]
    assert unread.startswith(f"/subscriptions/{other}/providers/Microsoft.MachineLearningServices/workspaces cannot")


@pytest.mark.parametrize("kind", ["workspaces", "workspaces/onlineEndpoints"])
def test_nothing_read_is_exit_3_and_names_the_permission(stage, kind) -> None:
    permission = f"Microsoft.MachineLearningServices/{kind}/read"
    with stage(world(GREEN, denied=[{"principal": "medic", "action": permission}])) as bench:
        result = bench.medic("scan", "--subscription", SUBSCRIPTION)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("medic: /subscriptions/")
    assert f"cannot be read: 403: our identity lacks {permission}. Grant it" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "options",
    [
        ["--workspace", WORKSPACE],
        ["--workspace", "MLW-PROD", "--subscription", SUBSCRIPTION],
        ["--workspace", "mlw-prod", "--resource-group", "rg-ml-prod", "--subscription", SUBSCRIPTION],
        ["--resource-group", "RG-ML-PROD", "--subscription", SUBSCRIPTION],
    ],
)
def test_one_workspace_is_named_in_any_way(stage, options) -> None:
    further = [{"name": "mlw-lab", "resource_group": "rg-lab", "endpoints": [{"name": "toy", "state": "Failed"}]}]
    with stage(world(GREEN, further=further)) as bench:
        result = bench.medic("scan", "--json", *options)
    told = json.loads(result.stdout)
    assert (told["workspaces"], [one["resource"] for one in told["failed"]]) == (1, [DEPLOYMENT])


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ([], 2, "there is no subscription to scan. Name one with --subscription"),
        (["--subscription", "prod"], 2, "subscription 'prod' is not a GUID"),
        (["--workspace", "/x/y"], 2, "'/x/y' is not the ID of a workspace"),
        (["--workspace", "nope", "--subscription", SUBSCRIPTION], 2, "there is no workspace 'nope' in subscription"),
        (["--workspace", WORKSPACE + "x"], 3, "workspaces/mlw-prodx/onlineEndpoints cannot be read: absent"),
    ],
)
def test_what_cannot_be_scanned_is_told_in_words(stage, options, code, words) -> None:
    with stage(world(GREEN)) as bench:
        result = bench.medic("scan", *options)
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr
    assert "Traceback" not in result.output


# ------------------------------------------------------------------------------------------------- plan


def test_a_plan_tells_diagnosis_calls_and_every_guard(stage) -> None:
    with stage(world(GREEN)) as bench:
        result = bench.plan("--json")
    (told,) = json.loads(result.stdout)["events"]
    assert (result.exit_code, told["event"], told["ignored"]) == (0, "4db48cba-50a2-455a-93b4-de41a3b5b704", None)
    assert (told["incident"], told["diagnosis"]["cause"]) == (make_incident().id, "canceled-higher-priority")
    assert (told["would"], told["verdict"], told["calls"]) == ("run", "dry-run", [CALL])
    assert told["undo"] == "none needed: the same deployment is deployed again"
    assert len(told["guards"]) >= 14
    assert sorted(told["guards"][0]) == ["answer", "guard", "words"]


def test_people_read_the_plan_and_its_call_in_one_piece(stage) -> None:
    with stage(world(GREEN)) as bench:
        result = bench.plan()
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert "Cause     canceled-higher-priority  OperationCanceled, two independent reads" in lines
    assert f"call  {CALL}" in lines
    assert "not-paused          \N{CHECK MARK} no pause holds" in lines
    assert lines[-1] == "Nothing would be done: MEDIC_MODE is dry-run."


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("auto", "The app would act now."),
        ("ask", "The app would ask a person now."),
        ("off", "Nothing would be done: policy says auto for retry; MEDIC_MODE permits off at most."),
    ],
)
def test_the_last_line_follows_the_mode(stage, mode, words) -> None:
    with stage(world(GREEN)) as bench:
        result = bench.plan(MEDIC_MODE=mode)
    assert " ".join(result.stdout.split()).endswith(words)


def test_a_pause_on_the_trail_refuses_and_nothing_is_put_there(stage) -> None:
    with stage(world(GREEN)) as bench:
        bench.trail.pause(Pause(until=datetime.now(UTC) + timedelta(hours=1), reason="game day"), "nonce")
        before = list(bench.trail.store.list(""))
        (told,) = json.loads(bench.plan("--json", MEDIC_MODE="auto").stdout)["events"]
        after = list(bench.trail.store.list(""))
    assert (told["verdict"], told["guards"][0]["answer"]) == ("refuse", "deny")
    assert told["guards"][0]["words"].endswith("game day")
    assert before == after


def test_an_incident_that_is_on_the_trail_is_said_to_be(stage) -> None:
    incident, now = make_incident(), datetime.now(UTC)
    with stage(world(GREEN)) as bench:
        bench.trail.open_incident(incident, "nonce", now)
        assert "on the trail, not ended" in bench.plan().stdout
        bench.trail.end_incident(Ended(at=now, end=End.DRY_RUN, words="", incident=incident))
        assert "dry-run; a further event is a duplicate" in " ".join(bench.plan().stdout.split())


def test_an_event_without_a_correlation_id_gets_it_from_the_activity_log(stage) -> None:
    with stage(world(GREEN)) as bench:
        file = bench.folder / "event.json"
        file.write_text(json.dumps(event(correlationId="")))
        (told,) = json.loads(bench.medic("plan", str(file), "--json").stdout)["events"]
    assert (told["correlation_id"], told["incident"]) == (CORRELATION, make_incident().id)


def test_what_is_not_ours_is_told_without_a_read(stage) -> None:
    with stage(world(GREEN)) as bench:
        file = bench.folder / "event.json"
        file.write_text(json.dumps([{"eventType": "Contoso.Thing", "id": "1"}, 7]))
        result = bench.medic("plan", str(file), "--json")
        assert dict(bench.server.world.reads) == {}
    assert result.exit_code == 0
    assert [one["ignored"] for one in json.loads(result.stdout)["events"]] == [
        "ignored: 'Contoso.Thing' tells of no failed deployment",
        "ignored: it is not a JSON object",
    ]


def test_another_resource_manager_can_be_named(stage) -> None:
    with stage(world(GREEN)) as bench:
        url = bench.server.url
        unset = {"MEDIC_ARM_URL": "https://management.azure.com", "MEDIC_ARM_TOKEN": ""}
        refused = bench.plan("--arm-url", url, **unset)
        plain = bench.plan("--arm-url", "http://example.com")
        read = bench.plan("--arm-url", url, MEDIC_ARM_URL="http://127.0.0.1:1")
    assert (refused.exit_code, refused.stderr.split(":")[1]) == (2, " MEDIC_ARM_TOKEN is not set")
    assert (plain.exit_code, "neither https nor on loopback" in plain.stderr) == (2, True)
    assert (read.exit_code, "canceled-higher-priority" in read.stdout) == (0, True)


def test_an_azure_that_does_not_answer_is_exit_3(stage) -> None:
    with stage(world(GREEN)) as bench:
        result = bench.plan(MEDIC_ARM_URL="http://127.0.0.1:1")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith(f"medic: workspace {WORKSPACE} cannot be read: no answer: ServiceRequestError.")


def test_an_endpoint_event_is_judged_by_the_endpoint(stage) -> None:
    operation = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/write"
    with stage(world(GREEN)) as bench:
        file = bench.folder / "event.json"
        file.write_text(json.dumps(event(resourceUri=ENDPOINT, operationName=operation)))
        (told,) = json.loads(bench.medic("plan", str(file), "--json").stdout)["events"]
    assert (told["resource"], told["state"], told["calls"]) == (ENDPOINT, "Succeeded", [])


# ------------------------------------------------------------------------------------------ requests that fail


def overloaded(**changes: Any) -> dict[str, Any]:
    load = {"answers": [{"status": "200", "per_minute": 480}, {"status": "429", "per_minute": 720}], "latency_ms": 700}
    settings = {"maxConcurrentRequestsPerInstance": 4, "requestTimeout": "PT10S"}
    return {"name": "green", "metrics": load, "spec": {"properties": {"requestSettings": settings}}, **changes}


def alert() -> dict[str, Any]:
    criterion = {
        "metricName": "RequestsPerMinute",
        "metricValue": 720.0,
        "threshold": "5",
        "dimensions": [{"name": "deployment", "value": "green"}, {"name": "statusCode", "value": "429"}],
    }
    essentials = {
        "alertId": "/subscriptions/s/alerts/1",
        "alertRule": "oe-429",
        "monitorCondition": "Fired",
        "monitoringService": "Platform",
        "alertTargetIDs": [ENDPOINT.lower()],
        "firedDateTime": datetime.now(UTC).isoformat(),
    }
    context = {"condition": {"windowSize": "PT5M", "allOf": [criterion]}}
    return {
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": {"essentials": essentials, "alertContext": context},
    }


def planned(bench: Bench, *options: str) -> Any:
    file = bench.folder / "alert.json"
    file.write_text(json.dumps(alert()))
    return bench.medic("plan", str(file), *options)


def test_an_alert_about_requests_is_diagnosed_and_never_planned_for(stage) -> None:
    with stage(world(overloaded())) as bench:
        result = planned(bench, "--json")
        reads = dict(bench.server.world.reads)
    assert result.exit_code == 0
    (told,) = json.loads(result.stdout)["events"]
    assert (told["operation"], told["state"], told["would"], told["action"]) == ("score", "Succeeded", "advise", None)
    assert (told["scoring"]["rule"], told["scoring"]["status"], told["scoring"]["value"]) == ("oe-429", "429", 720.0)
    assert told["load"] == "answers 429: 720 a minute, 200: 480 a minute; 95 % within 0.7 s"
    assert told["diagnosis"]["cause"] == "invoke-overloaded"
    # 20 requests a second x 0.7 s / 70 % / 4 at once
    assert [note for note in told["diagnosis"]["notes"] if "needs 5 instances; it has 1" in note]
    assert ("GET", "activity-log") not in reads
    assert reads["GET", "endpoint-metrics"] == 2


def test_people_read_what_the_alert_and_the_metrics_say(stage) -> None:
    with stage(world(overloaded())) as bench:
        words = " ".join(planned(bench).stdout.split())
    assert "score, " in words
    assert "alert rule 'oe-429': answers 429, RequestsPerMinute 720, threshold 5, over 5 min" in words
    assert "answers 429: 720 a minute, 200: 480 a minute" in words
    assert "needs 5 instances" in words


def test_a_scan_finds_failed_deployments_and_no_failing_requests(stage) -> None:
    with stage(world(overloaded())) as bench:
        code, told = bench.scan()
    assert (code, told["failed"]) == (0, [])
