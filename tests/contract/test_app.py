"""Azure's own worker library indexes the function app and invokes it; azure-functions decodes what Event Grid sends."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest
from azure.functions.eventgrid import EventGridEventInConverter
from azure.functions.meta import Datum

from functions.events import _plain
from remediations import intake
from remediations.adapters.folder import FolderStore
from remediations.model import Caller
from remediations.trail import Trail
from tests.conftest import ROOT

NOW = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)
SUBSCRIPTION = "/subscriptions/00000000-1111-2222-3333-444444444444"
DEPLOYMENT = (
    f"{SUBSCRIPTION}/resourceGroups/rg-ml-prod/providers/Microsoft.MachineLearningServices/workspaces/mlw-prod"
    "/onlineEndpoints/credit-scoring/deployments/green"
)
DATA = {
    "resourceUri": DEPLOYMENT,
    "operationName": "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments/write",
    "status": "Failed",
    "correlationId": "b5768deb-836b-41cc-803e-3f4de2f9e404",
    "claims": {"appid": "aaaaaaaa-1111-4222-8333-bbbbbbbbbbbb", "name": "CI"},
    "httpRequest": {"clientRequestId": "medic-1", "method": "PUT"},
}
GRID = {
    "id": "e1",
    "topic": SUBSCRIPTION,
    "subject": DEPLOYMENT,
    "eventType": "Microsoft.Resources.ResourceWriteFailure",
    "eventTime": "2026-11-22T14:05:31.2917159Z",
    "data": DATA,
    "dataVersion": "2",
    "metadataVersion": "1",
}
CLOUD = {
    "specversion": "1.0",
    "id": "e1",
    "source": SUBSCRIPTION,
    "subject": DEPLOYMENT,
    "type": "Microsoft.Resources.ResourceWriteFailure",
    "time": "2026-11-22T14:05:31.2917159Z",
    "data": DATA,
}


def told_by(module: str, store: Path) -> Any:
    """Give what a module beside this one tells of the app at its end, in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MEDIC_")}
    done = subprocess.run(
        [sys.executable, "-m", f"tests.contract.{module}", str(ROOT)],
        cwd=ROOT,
        env={**kept, "MEDIC_STORE": str(store)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    """What the worker library makes of the app, in a process of its own."""
    store = tmp_path_factory.mktemp("store")
    told = told_by("indexing", store)
    assert "failed" not in told, told["failed"]
    return told, Trail(FolderStore(store / "trail"))


def test_the_worker_library_indexes_every_function(indexed):
    told, _ = indexed
    triggers = {
        name: [binding["type"] for binding in function["bindings"] if binding["type"].endswith("Trigger")]
        for name, function in told["functions"].items()
        if not name.startswith("BuiltIn__")  # Durable's own
    }
    assert triggers == {
        "on_deployment_failure": ["eventGridTrigger"],
        "submit": ["httpTrigger"],
        "approval": ["httpTrigger"],
        "questions": ["httpTrigger"],
        "overview": ["httpTrigger"],
        "listed": ["httpTrigger"],
        "shown": ["httpTrigger"],
        "records": ["httpTrigger"],
        "undo": ["httpTrigger"],
        "asset": ["httpTrigger"],
        "health": ["httpTrigger"],
        "sweep": ["timerTrigger"],
        "anchor": ["timerTrigger"],
        "purge": ["timerTrigger"],
        "remediate": ["orchestrationTrigger"],
        "gather": ["orchestrationTrigger"],
        "repair": ["orchestrationTrigger"],
        "follow": ["orchestrationTrigger"],
        "notify": ["orchestrationTrigger"],
        "mustering": ["orchestrationTrigger"],
        "ramp": ["orchestrationTrigger"],
        "open_incident": ["activityTrigger"],
        "collect": ["activityTrigger"],
        "judge": ["activityTrigger"],
        "fold": ["activityTrigger"],
        "ask": ["activityTrigger"],
        "settle": ["activityTrigger"],
        "execute": ["activityTrigger"],
        "check": ["activityTrigger"],
        "verify": ["activityTrigger"],
        "finish": ["activityTrigger"],
        "tell": ["activityTrigger"],
        "muster": ["activityTrigger"],
        "assemble": ["activityTrigger"],
        "ask_members": ["activityTrigger"],
        "wave": ["activityTrigger"],
        "disband": ["activityTrigger"],
        "desk": ["entityTrigger"],
    }
    assert told["default_indexing"] is False


def test_each_line_of_the_log_belongs_to_an_invocation_or_the_host_would_drop_it(tmp_path):
    broken = f"intake/{datetime.now(UTC):%Y-%m-%d}/0-broken"
    FolderStore(tmp_path / "trail").create(broken, b"{")
    assert told_by("logging_worker", tmp_path) == [
        ["intake.unreadable", "sweep"],  # logged in a thread of the sweep
        ["sweep.done", "sweep"],
        ["incident.opened", "i-1"],  # logged in a thread of the worker
        ["checkpoint.skipped", "i-1"],
    ]


def test_routes_schedules_and_clients_are_as_deployed(indexed):
    bindings = {name: function["bindings"] for name, function in indexed[0]["functions"].items()}

    def trigger(name, *keys):
        found = next(binding for binding in bindings[name] if binding["type"].endswith("Trigger"))
        return [found[key] for key in keys]

    assert trigger("submit", "route", "methods", "authLevel") == ["events", ["POST", "OPTIONS"], "ANONYMOUS"]
    answered = ["approvals/{token}", ["GET", "HEAD", "POST"], "ANONYMOUS"]
    assert trigger("approval", "route", "methods", "authLevel") == answered
    undone = ["incidents/{id}/undo", ["GET", "HEAD", "POST"], "ANONYMOUS"]
    assert trigger("undo", "route", "methods", "authLevel") == undone
    for name, route in (
        ("questions", "approvals"),
        ("overview", "overview"),
        ("listed", "incidents"),
        ("shown", "incidents/{id}"),
        ("records", "incidents/{id}/records"),
        ("asset", "assets/{name}"),
    ):
        assert trigger(name, "route", "methods", "authLevel") == [route, ["GET", "HEAD"], "ANONYMOUS"]
    assert trigger("health", "route", "methods", "authLevel") == ["health", ["GET"], "ANONYMOUS"]
    assert trigger("sweep", "schedule", "runOnStartup") == ["0 */15 * * * *", False]
    assert trigger("purge", "schedule", "runOnStartup") == ["0 30 3 * * *", False]
    assert trigger("desk", "entityName") == ["desk"]
    assert {
        name for name, found in bindings.items() if any(binding["type"] == "durableClient" for binding in found)
    } == {"on_deployment_failure", "submit", "approval", "undo", "sweep", "purge"}


def test_the_first_turn_of_each_orchestration_schedules_its_first_step(indexed):
    results = indexed[0]["results"]
    assert results["remediate"] == [[["scheduleTask", "open_incident"]]] * 2
    assert results["gather"] == [[["scheduleTask", "collect"]]] * 2
    assert results["follow"] == [[["scheduleTask", "check"]]] * 2
    assert results["repair"] == [[["sendEntityMessage", ""]]] * 2
    assert results["notify"] == [[["scheduleTask", "tell"]]] * 2


def test_activities_run_in_the_workers_hands(indexed):
    told, trail = indexed
    assert told["results"]["open_incident"] == [True]
    assert trail.opened("inc-1").nonce == "n1"
    (tried,) = told["results"]["tell"]
    assert (tried["over"], tried["told"]) == (True, [])  # nobody was asked anything


def test_events_of_both_schemas_reach_the_trail(indexed):
    told, trail = indexed
    assert told["results"]["on_deployment_failure"] == [None, None]
    taken = {(one.event_id, str(one.disposition), one.words) for one in trail.intakes(datetime.now(UTC))}
    assert taken == {("grid-1", "ignored", "it reports a success"), ("cloud-1", "ignored", "it reports a success")}


def decoded(event):
    return EventGridEventInConverter.decode(Datum(type="json", value=json.dumps(event)), trigger_metadata=None)


@pytest.mark.parametrize(
    ("event", "type_"),
    [pytest.param(GRID, func.EventGridEvent, id="event-grid"), pytest.param(CLOUD, func.CloudEvent, id="cloud-events")],
)
def test_a_decoded_event_is_the_same_failure_as_the_raw_one(event, type_):
    seen = decoded(event)
    assert type(seen) is type_
    reception = intake.receive(_plain(seen), received_at=NOW)
    assert reception == intake.receive(event, received_at=NOW)
    assert reception.client_request_id == "medic-1"
    assert reception.caller == Caller(appid="aaaaaaaa-1111-4222-8333-bbbbbbbbbbbb")
    incident = reception.incident
    assert incident is not None
    assert incident.resource.path == DEPLOYMENT
    assert incident.failed_at == datetime(2026, 11, 22, 14, 5, 31, 291715, tzinfo=UTC)
    assert incident.source == "event-grid"


def test_a_dead_letter_keeps_its_mark_when_decoded():
    event = {**CLOUD, "deadletterreason": "MaxDeliveryAttemptsExceeded"}
    incident = intake.receive(_plain(decoded(event)), received_at=NOW).incident
    assert incident is not None
    assert incident.source == "dead-letter"


@pytest.mark.parametrize("event", [GRID, CLOUD], ids=["event-grid", "cloud-events"])
@pytest.mark.parametrize("data", [None, {}, [], "text", 7], ids=["none", "empty", "list", "text", "number"])
def test_an_event_without_proper_data_is_decoded_and_ignored(event, data):
    reception = intake.receive(_plain(decoded({**event, "data": data})), received_at=NOW)
    assert reception.incident is None
    assert reception.ignored
