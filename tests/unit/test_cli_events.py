"""``medic events replay``: each dead letter once more, in order, and what became of it."""

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from typer.testing import CliRunner

from local.cli import app
from local.commands import events
from tests.commands import serving

SUBJECT = (
    "/subscriptions/s/resourceGroups/rg/providers/Microsoft.MachineLearningServices/workspaces/w/onlineEndpoints/e"
)


def letter(hour: int, **changes: Any) -> dict[str, Any]:
    """An event as Event Grid gives it up."""
    return {
        "id": f"event-{hour}",
        "eventType": "Microsoft.Resources.ResourceWriteFailure",
        "eventTime": f"2026-11-20T{hour:02}:00:00Z",
        "subject": SUBJECT,
        "data": {},
        "deadLetterReason": "MaxDeliveryAttemptsExceeded",
        **changes,
    }


def cloud(hour: int) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"cloud-{hour}",
        "type": "Microsoft.Resources.ResourceWriteFailure",
        "source": "/subscriptions/s",
        "subject": SUBJECT,
        "time": f"2026-11-20T{hour:02}:30:00Z",
        "data": {},
        "deadletterreason": "TimeToLiveExceeded",
    }


class Host:
    """Keeps what is posted, and answers as the app does; or with the statuses that it is given, first."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.disposition = "incident"
        self.posts: list[dict[str, Any]] = []
        self.paths: set[str] = set()
        self.times: list[float] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                status = outer.statuses.pop(0) if outer.statuses else 202
                if status == 202:
                    outer.posts.append(body)
                outer.paths.add(self.path)
                outer.times.append(time.monotonic())
                told = {"disposition": outer.disposition, "incident": "inc-1", "words": "said so"}
                answer = json.dumps({"events": [told]} if status == 202 else {"error": "not now"}).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    with serving(made.server):
        yield made


@pytest.fixture
def folder(tmp_path):
    """Dead letters as they lie in the container: arrays and single events, below folders of dates."""
    below = tmp_path / "MEDIC" / "2026" / "11" / "20" / "5"
    below.mkdir(parents=True)
    (below / "a.json").write_text(json.dumps([letter(9), letter(3)]))
    (below / "b.json").write_text(json.dumps(cloud(5)))
    (below / "notes.txt").write_text("no letter")
    return tmp_path


def replay(source: Any, *options: str) -> Any:
    return CliRunner().invoke(app, ["events", "replay", str(source), "--rate", "100", *options])


def test_each_is_sent_once_and_alone_in_the_order_in_which_it_happened(host, folder) -> None:
    result = replay(folder, "--to", host.url)
    assert result.exit_code == 0
    assert [post["id"] for post in host.posts] == ["event-3", "cloud-5", "event-9"]
    assert host.posts[0] == letter(3)
    assert host.paths == {"/api/events"}
    first, *_, last = result.stdout.splitlines()
    assert first.startswith(
        "1/3 2026-11-20 03:00:00 UTC Microsoft.MachineLearningServices/workspaces/w/onlineEndpoints/e"
    )
    assert first.endswith("a.json, event 2): incident inc-1: said so")
    assert last == "3 events: 3 incident."


def test_json_tells_all_of_each(host, folder) -> None:
    host.disposition = "duplicate"
    told = json.loads(replay(folder, "--to", host.url, "--json").stdout)
    assert (told["counts"], told["unread"], told["passed_over"]) == ({"duplicate": 3}, [], 0)
    assert told["events"][1] == {
        "file": "MEDIC/2026/11/20/5/b.json",
        "number": 1,
        "id": "cloud-5",
        "type": "Microsoft.Resources.ResourceWriteFailure",
        "subject": SUBJECT,
        "at": "2026-11-20T05:30:00Z",
        "reason": "TimeToLiveExceeded",
        "disposition": "duplicate",
        "words": "said so",
        "incident": "inc-1",
    }


def test_a_dry_run_sends_nothing(host, folder) -> None:
    result = replay(folder, "--to", host.url, "--dry-run")
    assert (result.exit_code, host.posts) == (0, [])
    assert result.stdout.endswith("3 events: 3 would be sent.\n")


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (["--since", "2026-11-20T05:30"], ["cloud-5", "event-9"]),
        (["--until", "2026-11-20T05:30"], ["event-3"]),
        (["--since", "2026-11-20T04:00", "--until", "2026-11-20T06:00"], ["cloud-5"]),
    ],
)
def test_only_what_happened_in_that_time_is_sent(options, ids, host, folder) -> None:
    result = replay(folder, "--to", host.url, *options)
    assert [post["id"] for post in host.posts] == ids
    assert f"; {3 - len(ids)} outside that time." in result.stdout


def test_what_is_no_event_is_told_and_stops_nothing(host, folder) -> None:
    (folder / "cut.json").write_text('[{"id": "x"')
    (folder / "empty.json").write_text("[]")
    (folder / "odd.json").write_text(json.dumps([7, letter(1, eventTime="never")]))
    (folder / "binary.json").write_bytes(b"\xff\xfe")
    result = replay(folder, "--to", host.url)
    assert result.exit_code == 1
    assert [post["id"] for post in host.posts] == ["event-3", "cloud-5", "event-9", "event-1"]
    lost = [line for line in result.stdout.splitlines() if line.startswith("no event: ")]
    assert [line.split(": ")[1] for line in lost] == ["binary.json", "cut.json", "empty.json", "odd.json"]
    assert "item 1 is no JSON object" in lost[-1]


def test_a_passing_failure_is_tried_again(host, folder, monkeypatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    host.statuses = [503, 500]
    assert replay(folder, "--to", host.url).exit_code == 0
    assert len(host.posts) == 3


def test_what_is_not_taken_is_exit_1_and_stops_nothing(host, folder) -> None:
    host.statuses = [413]
    result = replay(folder, "--to", host.url)
    assert (result.exit_code, len(host.posts)) == (1, 2)
    assert "not taken: 413: not now" in result.stdout
    assert result.stdout.endswith("3 events: 2 incident, 1 not taken.\n")


def test_an_app_that_goes_away_leaves_the_rest_unsent_and_says_which(host, folder, monkeypatch) -> None:
    real = events._deliver

    def deliver(api: Any, one: Any) -> Any:
        if one.id == "cloud-5":
            host.server.shutdown()
            host.server.server_close()
        return real(api, one)

    monkeypatch.setattr(events, "_deliver", deliver)
    told = json.loads(replay(folder, "--to", host.url, "--json").stdout)
    assert [one["disposition"] for one in told["events"]] == ["incident", "not taken", "not taken"]
    assert told["events"][2]["words"] == "not sent"


def test_it_is_never_faster_than_asked(host, folder) -> None:
    CliRunner().invoke(app, ["events", "replay", str(folder), "--to", host.url, "--rate", "10"])
    assert min(later - one for one, later in zip(host.times, host.times[1:], strict=False)) > 0.09


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        (["nowhere"], 2, "nowhere does not exist."),
        (["https://x.blob.core.windows.net/dead?sig=secret"], 2, "has no query, fragment or user"),
        (["http://x.blob.core.windows.net/dead"], 2, "is not https."),
        (["https://x.blob.core.windows.net"], 2, "names no container."),
        ([".", "--to", "https://example.com"], 2, "needs a sign-in. Name the app's scope"),
        ([".", "--to", "http://127.0.0.1:1"], 3, "got no answer"),
        ([".", "--since", "soon"], 2, "soon"),
    ],
)
def test_what_cannot_be_done_is_told(given, code, words, folder, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    result = replay(*given)
    assert result.exit_code == code
    assert words in result.stderr
    assert "secret" not in result.output.replace("secrets", "")
    assert "Traceback" not in result.output


@pytest.mark.parametrize("status", [401, 403])
def test_who_may_not_submit_is_told_the_role(status, host, folder) -> None:
    host.statuses = [status]
    result = replay(folder, "--to", host.url)
    assert result.exit_code == 3
    assert ("Medic.Submit" in result.stderr) is (status == 403)
