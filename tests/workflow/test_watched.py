"""Each alert fires on lines that the app really logs: the query of infra/kql runs over what a story left in the log."""

import logging
import re
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import structlog

from functions import logs
from functions.timers import is_stuck
from tests.builders import make_incident
from tests.infra.queries import Workspace, texts
from tests.workflow.theatre import Theatre, eventually

QUERIES = texts()
HOUR = timedelta(hours=1)


class Gone(BaseHTTPRequestHandler):
    """A channel that is there no more."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(410)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def gone() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gone)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/gone"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def theatre(tmp_path_factory, gone) -> Iterator[Theatre]:
    folder = tmp_path_factory.mktemp("watched")
    env = {"MEDIC_TEAMS_URL": gone}
    with Theatre(folder, app="tests.workflow.azure_logged", scale=400, env=env) as opened:
        yield opened


class Log(logging.Handler):
    """What the app has logged in a story: in this process, where triggers run, and in the worker's."""

    def __init__(self, theatre: Theatre) -> None:
        super().__init__()
        self._output = theatre.output
        self._begin = theatre.output.stat().st_size
        self._here: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._here.append(record.getMessage())

    def messages(self) -> list[str]:
        there = self._output.read_bytes()[self._begin :].decode()
        return self._here + re.findall(r"^endpoint_medic [A-Z]+ (.*)$", there, re.MULTILINE)

    def answer(self, name: str, ago: timedelta = timedelta()) -> list[dict[str, Any]]:
        """What a query gives of it."""
        with Workspace() as workspace:
            return workspace.log(*self.messages(), ago=ago).rows(QUERIES[name])

    def fires(self, name: str) -> list[dict[str, Any]]:
        """What an alert's query gives, once it gives something."""
        return eventually(lambda: self.answer(name), lambda: f"{name} does not fire on\n" + "\n".join(self.messages()))


@pytest.fixture
def log(theatre, monkeypatch) -> Iterator[Log]:
    before = structlog.get_config()
    ours = logging.getLogger("endpoint_medic")
    level, handler = ours.level, Log(theatre)
    logs.configure(in_azure=True)
    structlog.configure(cache_logger_on_first_use=False)
    for name, module in list(sys.modules.items()):
        if name.startswith(("functions.", "remediations.")) and hasattr(module, "log"):
            monkeypatch.setattr(module, "log", structlog.get_logger())  # a logger keeps the settings of its first use
    ours.addHandler(handler)
    yield handler
    ours.removeHandler(handler)
    ours.setLevel(level)
    structlog.configure(**before)


def test_a_failure_that_no_event_told_of(tell, log):
    story = tell({"events": "none"})
    story.theatre.write_policy({"subscriptions": [story.subscription]})
    story.put()
    eventually(lambda: story.sweep() or story.incidents(), "the sweep did not find it")
    assert [row["started"] for row in log.fires("missed-events")] == [1]
    assert log.answer("no-sweep") == []
    assert story.ending()[0] == "repaired"
    story.sweep()
    assert len(log.answer("missed-events")) == 1


def test_an_incident_that_does_not_end(tell, log):
    story = tell()
    incident = make_incident(id="inc-old")
    story.trail.open_incident(incident, "n1", datetime.now(UTC) - timedelta(hours=12))
    story.sweep()
    (row,) = log.fires("stuck-incidents")
    assert (row["incident_id"], row["resource"], row["open_minutes"]) == ("inc-old", incident.resource.label, 720)


@pytest.mark.parametrize(
    ("action", "mode", "found"),
    [
        pytest.param("read", "auto", ("{}/read", "reading"), id="a read"),
        pytest.param("write", "auto", ("{}/write on {workspace}", "calling"), id="a call"),
        pytest.param("write", "ask", ("{}/write on {workspace}", "before asking"), id="what a person would approve"),
    ],
)
def test_a_permission_that_azure_refuses_us(tell, log, action, mode, found):
    denied = {"principal": "medic", "action": f"*/deployments/{action}"}
    story = tell({"denied": [denied]}, policy={"actions": {"retry": {"mode": mode}}})
    story.put()
    story.ending()
    deployments = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments"
    workspace = story.resource.removesuffix("/onlineEndpoints/credit-scoring")
    permission, seen = (text.format(deployments, workspace=workspace) for text in found)
    rows = {(row["permission"], row["seen"]) for row in log.fires("lacking-permissions")}
    assert rows == {(permission, seen)}


def test_a_list_that_the_sweep_may_not_read(tell, log):
    story = tell({"denied": [{"principal": "medic", "action": "*/workspaces/read"}]})
    story.theatre.write_policy({"subscriptions": [story.subscription]})
    story.sweep()
    (row,) = log.fires("lacking-permissions")
    assert "our identity lacks Microsoft.MachineLearningServices/workspaces/read" in row["permission"]
    assert log.answer("impaired") == []


def test_a_list_that_the_sweep_cannot_read_for_another_reason(tell, log):
    failing = {"kind": "error", "method": "GET", "path": "*/workspaces", "status": 500, "times": None}
    story = tell({"faults": [failing]})
    story.theatre.write_policy({"subscriptions": [story.subscription]})
    story.sweep()
    assert [row["event"] for row in log.fires("impaired")] == ["sweep.incomplete"]
    assert log.answer("lacking-permissions") == []


def test_a_breaker_that_holds_an_action(tell, log):
    story = tell(policy={"actions": {"retry": {"breaker_failures": 2}}})
    story.failed_before(2)
    story.put()
    asked = story.question()
    (row,) = log.fires("breaker-open")
    assert (row["action"], row["subscription"]) == ("retry", story.subscription)
    assert story.answer(asked).status_code == 200
    assert story.ending()[0] == "repaired"


def test_an_open_breaker_alerts_nobody_where_nobody_is_asked(tell, log):
    pause = {"until": "2099-01-01T00:00:00Z", "reason": "release"}
    story = tell(policy={"actions": {"retry": {"breaker_failures": 2}}, "pauses": [pause]})
    story.failed_before(2)
    story.put()
    assert story.ending()[0] == "refused"
    (record,) = story.records(stage="decision")
    assert "a person decides: the last 2 repairs by retry did not help" in str(record.facts)
    eventually(lambda: any("incident.ended" in line for line in log.messages()), "the end was not logged")
    assert log.answer("breaker-open") == []


def test_a_trail_that_nobody_signs(tell, log):
    story = tell()
    story.put()
    assert story.ending()[0] == "repaired"
    story.http.post("/admin/functions/anchor", json={}).raise_for_status()
    assert [row["what"] for row in log.fires("no-checkpoint")] == ["checkpoint.skipped"]


def test_an_end_that_was_followed_by_no_checkpoint(tell, log):
    story = tell()
    story.put()
    assert story.ending()[0] == "repaired"
    eventually(lambda: log.answer("incidents"), "its end was not logged")
    assert log.answer("no-checkpoint") == []
    (row,) = log.answer("no-checkpoint", ago=2 * HOUR)
    assert row["what"] == "nothing was signed since an incident ended"


def test_a_repair_that_did_not_help_and_a_message_that_reaches_nobody(tell, log):
    story = tell({"denied": [{"principal": "medic", "action": "*/deployments/write"}]})
    story.put()
    assert story.ending()[0] == "not-repaired"
    incident = story.incident()
    eventually(lambda: len(log.answer("needs-person")) == 2, "one of the two was not logged")
    rows = {row["event"]: (row["incident_id"], row["words"][:12]) for row in log.answer("needs-person")}
    assert rows == {
        "incident.ended": (incident, "our identity"),
        "message.untold": (incident, "answered 410"),
    }


def test_a_write_by_our_identity_that_we_did_not_intend(tell, log):
    story = tell()
    story.put(who="medic", client_request_id="medic-0123456789")
    assert str(story.intakes(1)[0].disposition) == "alarm"
    (row,) = log.fires("needs-person")
    assert (row["event"], row["words"][:24]) == ("event.handled", "our identity caused it, ")


def test_what_is_there_and_cannot_be_read(tell, log):
    story = tell()
    story.trail.store.create(f"intake/{datetime.now(UTC):%Y-%m-%d}/0-broken", b"{")
    story.sweep()
    story.theatre.policy_file.write_text("actions: [")
    story.sweep()
    assert {row["event"] for row in log.fires("impaired")} == {"intake.unreadable", "policy.refused"}


def test_a_repair_is_in_the_figures(tell, log):
    story = tell(policy={"actions": {"retry": {"mode": "ask"}}})
    story.put()
    asked = story.question()
    waiting = eventually(lambda: log.answer("approvals-waiting"), "the question was not logged")
    assert [row["incident_id"] for row in waiting] == [asked.incident_id]
    assert story.answer(asked).status_code == 200
    assert story.ending()[0] == "repaired"
    (row,) = eventually(lambda: log.answer("incidents"), "its end was not logged")
    assert row == {
        "cause": "canceled-higher-priority",
        "action": "retry",
        "end": "repaired",
        "mode": "auto",
        "incidents": 1,
    }
    assert [row["repairs"] for row in log.answer("time-to-repair")] == [1]
    assert [(row["answers"], row["approved"]) for row in log.answer("approval-latency")] == [(1, True)]
    assert log.answer("approvals-waiting") == []
    assert [row["disposition"] for row in log.answer("deliveries")] == ["incident"]


def test_what_somebody_wrote_when_they_rejected_it_stays_on_the_trail(tell, log):
    story = tell(policy={"actions": {"retry": {"mode": "ask"}}})
    story.put()
    asked = story.question()
    assert story.answer(asked, "reject", comment="planted words of a person").status_code == 200
    end, words = story.ending()
    assert (end, "planted words of a person" in words) == ("rejected", True)
    eventually(lambda: log.answer("incidents"), "its end was not logged")
    said = "\n".join(log.messages())
    assert "planted words" not in said
    assert story.approver not in said


@pytest.mark.parametrize(
    ("hours", "answer"),
    [pytest.param(5, False, id="its ceiling and its last call"), pytest.param(5.1, True, id="after that")],
)
def test_an_incident_is_stuck_when_nothing_of_it_can_still_be_under_way(hours, answer):
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert is_stuck(now - hours * HOUR, 2 * HOUR, now) is answer
