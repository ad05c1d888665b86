"""The local Functions host answers as Azure's does, over real HTTP, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import azure.functions as func
import httpx
import psutil
import pytest

from local.host import MAX_BODY_BYTES, Host, Schedule
from tests.workflow import sample_app

APP = "tests.workflow.sample_app"
EVENTS = "/runtime/webhooks/eventgrid?functionName=on_event"
EVENT = {
    "id": "e1",
    "topic": "/subscriptions/s",
    "subject": "deployment",
    "eventType": "Microsoft.Resources.ResourceWriteFailure",
    "eventTime": "2026-01-02T03:04:05.1234567Z",
    "data": {"status": "Failed"},
    "dataVersion": "2",
}
CLOUD_EVENT = {
    "id": "c1",
    "source": "/subscriptions/s",
    "subject": "deployment",
    "type": "Microsoft.Resources.ResourceWriteFailure",
    "time": "2026-01-02T03:04:05.1234567Z",
    "specversion": "1.0",
    "data": {"status": "Failed"},
}

# Said once a process by the codec that Azure's own worker uses, too.
pytestmark = pytest.mark.filterwarnings("ignore:azure.functions df_loads:DeprecationWarning")


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with Host(app=APP) as running:
        yield running


@pytest.fixture(scope="module")
def http(host) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=host.url, timeout=10) as client:
        yield client


@pytest.fixture(autouse=True)
def nothing_received():
    sample_app.received.clear()
    sample_app.ticks.clear()


def eventually(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 10
    while not (result := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return result


# HTTP triggers


def test_a_route_gets_its_parameters_query_headers_and_body(http):
    answer = http.post("/api/items/a%20b?q=1", content=b"abc", headers={"X-Sent": "yes"})
    assert (answer.status_code, answer.text) == (201, "POST a b 1 3")
    assert answer.headers["x-seen"] == "yes"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_routes_ignore_case_and_a_literal_wins_over_a_parameter(http):
    assert http.get("/API/Items/ALL").json() == {"all": True}
    assert http.get("/api/items/all").headers["content-type"] == "application/json"
    assert http.get("/api/items/other").text.startswith("GET other")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("DELETE", "/api/items/a", id="method"),
        pytest.param("GET", "/items/a", id="prefix"),
        pytest.param("GET", "/api/items/a/b", id="too-long"),
        pytest.param("GET", "/runtime/webhooks/other", id="webhook"),
        pytest.param("GET", "/admin/functions/tick", id="admin"),
    ],
)
def test_what_no_function_answers_is_not_found(http, method, path):
    assert http.request(method, path).status_code == 404


def test_async_and_sync_functions_get_a_durable_client(http):
    started = http.post("/api/start/web1")
    assert started.status_code == 202
    assert started.json()["id"] == "web1"
    assert http.get("/api/state/web1").text == "COMPLETED"


def test_a_failing_function_answers_500_and_tells_nothing(http, caplog):
    answer = http.get("/api/broken")
    assert (answer.status_code, answer.json()) == (500, {"error": "internal error"})
    assert [record.getMessage() for record in caplog.records if record.name == "local.host"] == [
        "function.failed name=broken error=RuntimeError('a secret of the function')"
    ]


def test_a_body_up_to_two_mebibytes_is_taken(http):
    assert http.post("/api/items/a", content=b"x" * MAX_BODY_BYTES).status_code == 201
    assert http.post("/api/items/a", content=b"x" * (MAX_BODY_BYTES + 1)).status_code == 413


def test_only_this_machine_is_served(host, http):
    assert host.url.startswith("http://127.0.0.1:")
    assert http.get("/api/items/a", headers={"Host": "evil.example"}).status_code == 400
    assert http.post(EVENTS, json=[EVENT], headers={"Origin": "https://evil.example"}).status_code == 403
    assert sample_app.received == []


# Event Grid


def test_the_event_grid_handshake_echoes_the_code(http):
    event = {
        "id": "v",
        "topic": "t",
        "subject": "",
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "eventTime": "2026-01-02T03:04:05Z",
        "data": {"validationCode": "code-1", "validationUrl": "https://example.org"},
        "dataVersion": "1",
    }
    answer = http.post(EVENTS, json=[event], headers={"aeg-event-type": "SubscriptionValidation"})
    assert (answer.status_code, answer.json()) == (200, {"validationResponse": "code-1"})
    assert sample_app.received == []
    empty = http.post(EVENTS, json=[], headers={"aeg-event-type": "SubscriptionValidation"})
    assert empty.status_code == 400


def test_the_cloud_events_handshake_allows_the_sender(http):
    answer = http.options(EVENTS, headers={"WebHook-Request-Origin": "eventgrid.azure.net"})
    assert answer.status_code == 200
    assert answer.headers["webhook-allowed-origin"] == "eventgrid.azure.net"
    assert answer.headers["webhook-allowed-rate"] == "*"
    assert answer.headers["allow"] == "POST"
    assert http.options(EVENTS).status_code == 400


def test_an_event_of_the_event_grid_schema_arrives_as_such(http):
    sent = http.post(EVENTS, json=[EVENT], headers={"aeg-event-type": "Notification"})
    assert sent.status_code == 202
    (event,) = sample_app.received
    assert isinstance(event, func.EventGridEvent)
    assert (event.id, event.event_type, event.get_json()) == ("e1", EVENT["eventType"], {"status": "Failed"})
    assert str(event.event_time).startswith("2026-01-02 03:04:05.123456")


def test_a_cloud_event_arrives_as_such(http):
    content = {"content-type": "application/cloudevents+json; charset=utf-8", "aeg-event-type": "Notification"}
    assert http.post(EVENTS, content=json.dumps(CLOUD_EVENT), headers=content).status_code == 202
    (event,) = sample_app.received
    assert isinstance(event, func.CloudEvent)
    assert (event.id, event.type, event.get_json()) == ("c1", CLOUD_EVENT["type"], {"status": "Failed"})


def test_a_batch_is_taken_event_by_event(http):
    batch = [{**CLOUD_EVENT, "id": f"c{number}"} for number in range(20)]
    content = {"content-type": "application/cloudevents-batch+json"}
    path = "/runtime/webhooks/EventGrid?functionName=on_event&code=key"
    assert http.post(path, content=json.dumps(batch), headers=content).status_code == 202
    assert {event.id for event in sample_app.received} == {f"c{number}" for number in range(20)}


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        pytest.param(EVENTS, b"{not json", 400, id="malformed"),
        pytest.param(EVENTS, b"\xff\xfe\x00", 400, id="not-text"),
        pytest.param(EVENTS, b'["text"]', 400, id="not-an-object"),
        pytest.param(EVENTS, b'{"data":' * 100_000 + b"1" + b"}" * 100_000, 400, id="nested-too-deep"),
        pytest.param("/runtime/webhooks/eventgrid?functionName=nobody", b"[]", 404, id="unknown-function"),
        pytest.param("/runtime/webhooks/eventgrid?functionName=items", b"[]", 404, id="other-trigger"),
        pytest.param("/runtime/webhooks/eventgrid", b"[]", 404, id="no-function"),
        pytest.param(EVENTS, json.dumps([EVENT, {**EVENT, "subject": "poison"}]).encode(), 500, id="function-raises"),
        pytest.param(EVENTS, json.dumps([{**EVENT, "eventTime": "tomorrow"}]).encode(), 500, id="undecodable"),
    ],
)
def test_what_cannot_be_taken_is_refused_so_that_event_grid_knows(http, path, content, status):
    answer = http.post(path, content=content, headers={"aeg-event-type": "Notification"})
    assert answer.status_code == status
    assert "Traceback" not in answer.text


# Timers


def test_a_timer_runs_at_once_when_asked(http):
    assert http.post("/admin/functions/tick", json={}).status_code == 202
    assert sample_app.ticks == [False]
    assert http.post("/admin/functions/nobody", json={}).status_code == 404


def test_a_timer_runs_by_its_schedule_which_may_be_a_setting(host):
    sample_app.seconds.clear()
    eventually(lambda: sample_app.seconds)
    assert not any(sample_app.seconds)


def test_the_host_says_that_it_runs(http):
    answer = http.get("/admin/host/status").json()
    assert answer["state"] == "Running"
    assert {"items", "on_event", "tick"} <= set(answer["functions"])


NOON = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)  # a Thursday


@pytest.mark.parametrize(
    ("expression", "due"),
    [
        pytest.param("0 */15 * * * *", datetime(2026, 1, 1, 12, 15, tzinfo=UTC), id="every quarter"),
        pytest.param("*/10 * * * * *", datetime(2026, 1, 1, 12, 0, 10, tzinfo=UTC), id="every ten seconds"),
        pytest.param("30 5,45 11,13 * * *", datetime(2026, 1, 1, 13, 5, 30, tzinfo=UTC), id="lists"),
        pytest.param("0 0 9-11 * * 1-5", datetime(2026, 1, 2, 9, tzinfo=UTC), id="ranges"),
        pytest.param("0 0 0 * * 7", datetime(2026, 1, 4, tzinfo=UTC), id="sunday is 0 and 7"),
        pytest.param("0 0 0 1 * 1", datetime(2026, 6, 1, tzinfo=UTC), id="day and weekday both match"),
        pytest.param("0 0 0 29 2 *", datetime(2028, 2, 29, tzinfo=UTC), id="leap day"),
        pytest.param("0 0 12 * * *", datetime(2026, 1, 2, 12, tzinfo=UTC), id="later than now"),
    ],
)
def test_a_schedule_tells_its_next_time(expression, due):
    assert Schedule(expression).after(NOON) == due


@pytest.mark.parametrize("expression", ["* * * * *", "60 * * * * *", "0 0 0 0 * *", "x * * * * *", "*/0 * * * * *"])
def test_a_wrong_schedule_is_refused(expression):
    with pytest.raises(ValueError, match="schedule"):
        Schedule(expression)


# Its life


def test_a_killed_worker_is_replaced_while_http_goes_on(host, http):
    victim = host.worker_pid
    host.kill_worker()
    assert http.post("/api/start/web2").status_code == 202
    assert http.get("/api/state/web2").text == "COMPLETED"
    assert host.worker_pid != victim


LIFE = """
import os, threading, time, httpx, psutil
from local.host import Host
for _ in range(2):
    with Host(app="tests.workflow.sample_app", timers=False, env={"MEDIC_SAMPLE": "1"}) as host:
        assert os.environ["MEDIC_SAMPLE"] == "1"
        assert httpx.post(f"{host.url}/api/start/here").status_code == 202
        assert httpx.get(f"{host.url}/api/state/here").text == "COMPLETED"
        assert psutil.Process(host.worker_pid).environ()["MEDIC_SAMPLE"] == "1"
    assert "MEDIC_SAMPLE" not in os.environ
    deadline = time.monotonic() + 5
    while threading.active_count() > 1 and time.monotonic() < deadline:
        time.sleep(0.01)  # gRPC ends its poller a moment later
    print(psutil.Process().children(), [thread.name for thread in threading.enumerate()])
"""


def test_it_ends_cleanly_and_starts_again_in_the_same_process():
    # In a process of its own: other hosts of this one come and go with their threads.
    environment = {name: value for name, value in os.environ.items() if name != "MEDIC_SAMPLE"}
    command = [sys.executable, "-W", "error", "-c", LIFE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["[] ['MainThread']"] * 2, done.stderr
    assert done.stderr == ""


def test_an_app_that_cannot_be_imported_is_an_error_and_leaves_nothing():
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    with pytest.raises(ModuleNotFoundError, match="no_such_app"), Host(app="no_such_app"):
        pass
    assert {child.pid for child in psutil.Process().children(recursive=True)} == children


def test_a_schedule_that_names_a_missing_setting_is_an_error_and_leaves_nothing(monkeypatch):
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    monkeypatch.delenv("SAMPLE_SCHEDULE")
    with pytest.raises(ValueError, match="SAMPLE_SCHEDULE, which is not set"), Host(app=APP):
        pass
    assert {child.pid for child in psutil.Process().children(recursive=True)} == children


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_command_serves_until_told_to_end_and_takes_its_worker_along(number):
    command = [sys.executable, "-m", "local.host", "--app", APP, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        while not lines[-1].startswith("ready"):
            assert lines[-1], process.stderr.read() if process.stderr else ""
            lines.append(process.stdout.readline())
        assert any("/api/items/{id}" in line for line in lines)
        assert any("functionName=on_event" in line for line in lines)
        (worker,) = psutil.Process(process.pid).children()
        resident = psutil.Process(process.pid).memory_info().rss + worker.memory_info().rss
        assert resident < 250 * 2**20
        process.send_signal(number)
        process.communicate(timeout=15)
    assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 0)
    eventually(lambda: not worker.is_running())
