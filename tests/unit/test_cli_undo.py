"""``medic undo``, against a server on loopback that plays the app's API."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from local.cli import app
from tests.commands import serving, settle

ROOT = Path(__file__).parents[2]
INCIDENT = "inc-aaa111111111111111111111"
UNDO = "inc-bbb222222222222222222222"
TARGET = "/subscriptions/s/resourceGroups/r/providers/Microsoft.MachineLearningServices/workspaces/w/onlineEndpoints/e"
CAN: dict[str, Any] = {
    "number": 1,
    "call": f"DELETE {TARGET}/deployments/old?api-version=2024-10-01",
    "action": "delete-idle",
    "at": "2026-11-23T08:00:00Z",
    "state": "can",
    "why_not": "",
    "undo_action": "undo-delete",
    "undo_incident": None,
    "resource": f"{TARGET}/deployments/old",
    "read_at": "2026-11-23T09:00:00Z",
    "effect": "create w/e/old again from its receipt, with traffic 0",
    "calls": [f"PUT {TARGET}/deployments/old?api-version=2024-10-01"],
    "words": "",
    "verdict": "ask",
    "mode_words": "policy says ask for undo-delete",
    "refusals": [],
    "touches": [{"path": f"{TARGET}/deployments/old", "says": ["It is created again."]}],
    "environment_names": ["KEY", "URL"],
    "commands": ["az ml online-deployment update --set environment_variables.KEY=VALUE"],
    "undo": "az ml online-deployment delete",
    "may_ask": None,
    "why_not_now": None,
    "comes_to": "somebody else has to approve it",
    "approvers": "whoever has the app role Medic.Approver",
    "quorum": 1,
}
CANNOT = {
    **CAN,
    "number": 2,
    "call": f"PUT {TARGET}/deployments/green?api-version=2024-10-01",
    "state": "cannot",
    "why_not": "nothing to undo: the same deployment was deployed again",
    "effect": None,
}
PAGE: dict[str, Any] = {
    "incident": INCIDENT,
    "resource": f"{TARGET}/deployments/green",
    "mode": "auto",
    "person": "o-1",
    "calls": [CAN, CANNOT],
    "antiforgery": "k1.value",
}
BEGUN = {
    "incident": UNDO,
    "of": INCIDENT,
    "words": f"the undo of call 1 is asked for as {UNDO}: somebody else has to approve it",
    "page": f"/api/incidents/{UNDO}",
    "is_new": True,
}
LINK = f"/api/incidents/{INCIDENT}/undo"


class Api:
    """Answers as the app would, or as a test wants; keeps what it was asked."""

    def __init__(self) -> None:
        self.page = PAGE
        self.listed: list[str] = [INCIDENT]
        self.instead: dict[str, tuple[int, Any]] = {}
        self.asked: list[tuple[str, str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                is_page = self.path.endswith("/undo")
                listed = {"incidents": [{"id": one} for one in outer.listed], "pages": 1}
                self.reply("page" if is_page else "list", outer.page if is_page else listed)

            def do_POST(self) -> None:
                self.reply("ask", BEGUN)

            def reply(self, kind: str, usual: Any) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                outer.asked.append((self.command, self.path, json.loads(body) if body else None))
                status, said = outer.instead.get(kind, (200, usual))
                content = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def wishes(self) -> list[Any]:
        """What was posted."""
        return [body for method, _, body in self.asked if method == "POST"]


@pytest.fixture
def api(monkeypatch, tmp_path) -> Iterator[Api]:
    settle(monkeypatch, tmp_path)
    made = Api()
    with serving(made.server):
        yield made


def medic(api: Api, *arguments: str):
    return CliRunner().invoke(app, ["undo", *arguments, "--to", api.url])


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


SHOWN = [
    INCIDENT,
    f"resource  {TARGET}/deployments/green",
    "mode      auto",
    "",
    "call 1  can be undone",
    f"sent      DELETE {TARGET}/deployments/old?api-version=2024-10-01",
    "by        delete-idle, at 2026-11-23 08:00:00 UTC",
    "would     undo-delete: create w/e/old again from its receipt, with traffic 0",
    f"call      PUT {TARGET}/deployments/old?api-version=2024-10-01",
    "supply    KEY",
    "          URL",
    "with      az ml online-deployment update --set environment_variables.KEY=VALUE",
    f"touches   {TARGET}/deployments/old",
    "          It is created again.",
    "now       no guard would refuse it",
    "why       policy says ask for undo-delete",
    "undo      az ml online-deployment delete",
    "approval  1 needed, by whoever has the app role Medic.Approver; not by who asks",
    "asking    somebody else has to approve it",
    "read at   2026-11-23 09:00:00 UTC",
    "you       may ask for it",
]


def test_a_dry_run_shows_everything_and_asks_for_nothing(api) -> None:
    result = medic(api, INCIDENT, "--dry-run")
    assert (result.exit_code, result.stderr) == (0, "")
    assert lines(result.stdout) == SHOWN
    assert api.asked == [("GET", LINK, None)]


def test_programs_get_the_page_in_a_dry_run(api) -> None:
    result = medic(api, INCIDENT, "--dry-run", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, PAGE)


def test_the_undo_is_asked_for_with_what_the_page_gave(api) -> None:
    result = medic(api, INCIDENT, "--comment", "fraud needs it", "--yes")
    assert (result.exit_code, result.stderr) == (0, "")
    assert api.wishes == [{"call": 1, "comment": "fraud needs it", "antiforgery": "k1.value"}]
    assert lines(result.stdout)[: len(SHOWN)] == SHOWN
    assert lines(result.stdout)[len(SHOWN) :] == ["", BEGUN["words"], f"look  {api.url}/api/incidents/{UNDO}"]


def test_programs_get_what_was_begun_and_people_see_the_rest_on_stderr(api) -> None:
    result = medic(api, INCIDENT, "--comment", "x", "--yes", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, BEGUN)
    assert lines(result.stderr) == SHOWN


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--yes",), "say why it is to be undone: add --comment TEXT"),
        (("--comment", "x"), "nobody is here to be asked once more: add --yes"),
        (("--comment", "x", "--yes", "--call", "7"), "it has no call 7; it has 2 calls"),
    ],
)
def test_what_is_missing_is_said_and_nothing_is_sent(arguments, says, api) -> None:
    result = medic(api, INCIDENT, *arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert api.wishes == []


def test_of_several_calls_one_has_to_be_named(api) -> None:
    api.page = {**PAGE, "calls": [CAN, {**CAN, "number": 3}]}
    result = medic(api, INCIDENT, "--comment", "x", "--yes")
    assert result.exit_code == 2
    assert "2 calls can be undone, one at a time. Name one: --call 1 for DELETE" in result.stderr
    assert medic(api, INCIDENT, "--comment", "x", "--yes", "--call", "3").exit_code == 0
    assert [wish["call"] for wish in api.wishes] == [3]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ({**CAN, "state": "undone", "why_not": "it is undone already", "undo_incident": UNDO}, "nothing that inc-aaa"),
        (CANNOT, "nothing that inc-aaa"),
    ],
)
def test_what_cannot_be_undone_is_shown_and_is_exit_1(call, says, api) -> None:
    api.page = {**PAGE, "calls": [call]}
    result = medic(api, INCIDENT, "--comment", "x", "--yes")
    assert (result.exit_code, api.wishes) == (1, [])
    assert says in result.stderr
    assert call["why_not"] in result.stdout
    named = medic(api, INCIDENT, "--comment", "x", "--yes", "--call", str(call["number"]))
    assert (named.exit_code, named.stderr) == (
        1,
        f"medic: call {call['number']} cannot be undone: {call['why_not']}.\n",
    )


def test_an_undo_under_way_is_shown(api) -> None:
    words = f"its undo is under way in {UNDO}"
    api.page = {**PAGE, "calls": [{**CAN, "state": "under-way", "why_not": words, "undo_incident": UNDO}]}
    result = medic(api, INCIDENT, "--comment", "x", "--yes")
    assert (result.exit_code, result.stderr, api.wishes) == (0, "", [])
    assert f"undo  {words}" in lines(result.stdout)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {
                "refusals": [{"guard": "gets-no-traffic", "answer": "deny", "words": "it has 5 %"}],
                "verdict": "refuse",
                "why_not_now": "it would be refused: gets-no-traffic: it has 5 %",
            },
            "now       \N{BALLOT X} gets-no-traffic: it has 5 %",
        ),
        ({"verdict": "refuse", "why_not_now": "policy says off"}, "not now   policy says off"),
        ({"effect": None, "words": "do it by hand"}, "advice    do it by hand"),
    ],
)
def test_a_dry_run_of_what_would_not_be_done_is_exit_1(changes, line, api) -> None:
    api.page = {**PAGE, "calls": [{**CAN, **changes}]}
    result = medic(api, INCIDENT, "--dry-run")
    assert result.exit_code == 1
    assert line in lines(result.stdout)


def test_what_would_be_refused_is_not_asked_for(api) -> None:
    api.page = {**PAGE, "calls": [{**CAN, "why_not_now": "it would be refused: gets-no-traffic: it has 5 %"}]}
    result = medic(api, INCIDENT, "--comment", "x", "--yes")
    assert (result.exit_code, api.wishes) == (1, [])
    assert result.stderr == "medic: it was not asked for: it would be refused: gets-no-traffic: it has 5 %.\n"
    assert "call 1  not to be undone now" in lines(result.stdout)


def test_who_may_not_ask_is_told_before_anything_is_sent(api) -> None:
    api.page = {**PAGE, "calls": [{**CAN, "may_ask": "policy does not list you"}]}
    result = medic(api, INCIDENT, "--comment", "x", "--yes")
    assert (result.exit_code, api.wishes) == (1, [])
    assert result.stderr == "medic: you may not ask for it: policy does not list you.\n"


@pytest.mark.parametrize("name", ["aaa1", "INC-AAA111", f" {INCIDENT} "])
def test_a_beginning_names_an_incident(name, api) -> None:
    assert medic(api, name, "--dry-run").exit_code == 0
    assert api.asked[-1][1] == LINK


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("inc-fff", "no incident of the last 93 days begins with 'inc-fff'"),
        ("in", "is no incident's id, nor at least three characters of one"),
        ("../etc", "is no incident's id"),
        ("aaa", "'aaa' fits 2 incidents"),
    ],
)
def test_a_name_that_is_none_or_two_is_refused(name, says, api) -> None:
    api.listed = [INCIDENT, "inc-aaa222222222222222222222"]
    result = medic(api, name, "--dry-run")
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr


@pytest.mark.parametrize(
    ("kind", "answer", "code", "says"),
    [
        ("page", (403, {"error": "You may not see this."}), 1, "refused you: You may not see this. Have the app role"),
        ("page", (404, {"error": "There is no such incident."}), 2, f"has no incident '{INCIDENT}'"),
        ("page", (404, b"Not Found"), 3, "has no /api/incidents/<id>/undo"),
        ("page", (429, {"error": "That was too often."}), 1, "answered 429: That was too often."),
        ("page", (503, {"error": "This cannot be done now"}), 3, "answered 503"),
        ("page", (401, {"error": "You are not signed in"}), 3, "takes nobody as signed in"),
        ("page", (200, {"incident": 1}), 3, "the app's answer cannot be read"),
        ("page", (200, b"x"), 3, "answered 200"),
        ("ask", (403, {"error": "policy does not list you."}), 1, "the undo was not asked for: policy does not list"),
        ("ask", (409, {"error": "call 1 cannot be undone"}), 1, "the undo was not asked for: call 1 cannot be undone."),
        ("ask", (500, b""), 3, "answered 500"),
    ],
)
def test_what_goes_wrong_is_said_with_its_exit_code(kind, answer, code, says, api) -> None:
    api.instead[kind] = answer
    result = medic(api, INCIDENT, "--comment", "x", "--yes")
    assert result.exit_code == code
    assert says in result.stderr


def test_no_app_is_said(api) -> None:
    result = CliRunner().invoke(app, ["undo", INCIDENT, "--dry-run", "--to", "http://127.0.0.1:9"])
    assert result.exit_code == 3
    assert "got no answer" in result.stderr


def test_another_machine_needs_a_sign_in(api) -> None:
    result = CliRunner().invoke(app, ["undo", INCIDENT, "--to", "https://medic.example"])
    assert result.exit_code == 2
    assert "needs a sign-in" in result.stderr


def test_texts_of_others_do_not_steer_the_terminal(api) -> None:
    hostile = "\x1b[31mred\x07\nsent     POST evil"
    api.page = {**PAGE, "calls": [{**CAN, "effect": hostile, "commands": [hostile], "environment_names": [hostile]}]}
    shown = medic(api, INCIDENT, "--dry-run").stdout
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert not any(line.startswith("sent     POST evil") for line in shown.splitlines())


def at_terminal(api: Api, keys: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, with somebody typing at its standard input."""
    main, other = pty.openpty()
    try:
        os.write(main, keys.encode())
        command = [sys.executable, "-m", "local.cli", "undo", *arguments, "--to", api.url]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            command, stdin=other, capture_output=True, text=True, timeout=60, env=environment, check=False
        )
    finally:
        os.close(main)
        os.close(other)


def test_at_a_terminal_one_is_asked_why_and_once_more(api) -> None:
    done = at_terminal(api, "the team needs it\ny\n", INCIDENT)
    assert done.returncode == 0, done.stderr
    assert [wish["comment"] for wish in api.wishes] == ["the team needs it"]
    assert "Ask for it?" in done.stderr


def test_at_a_terminal_no_sends_nothing(api) -> None:
    done = at_terminal(api, "n\n", INCIDENT, "--comment", "x")
    assert (done.returncode, api.wishes) == (1, [])
    assert "nothing was sent" in done.stderr
