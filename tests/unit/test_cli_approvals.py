"""``medic approvals``, against a server on loopback that plays the app's API."""

import json
import os
import pty
import subprocess
import sys
import threading
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
PLAN = "f" * 64
TARGET = "/subscriptions/s/resourceGroups/r/providers/Microsoft.MachineLearningServices/workspaces/w/onlineEndpoints/e"
SUMMARY = {
    "incident": INCIDENT,
    "resource": f"{TARGET}/deployments/green",
    "asked_at": "2026-11-23T08:00:00Z",
    "expires_at": "2026-11-23T12:00:00Z",
    "plan": PLAN,
    "cause": "quota-cpu",
    "action": "delete-idle",
    "effect": "delete w/e/old (8 cores), idle for 30 days",
    "calls": [f"DELETE {TARGET}/deployments/old?api-version=2024-10-01"],
    "undo": "re-create from the receipt, with traffic 0",
    "quorum": 2,
    "approvals": 1,
    "link": "https://medic.example/api/approvals/k1.abc-_DEF.g",
}
PAGE: dict[str, Any] = {
    **{name: SUMMARY[name] for name in ("incident", "resource", "cause", "action", "effect", "calls", "undo")},
    "state": "open",
    "words": "",
    "read_at": "2026-11-23T09:00:00Z",
    "unread": None,
    "changes": [{"name": "state", "then": "Failed", "now": "Succeeded"}, {"name": "tag", "then": None, "now": "x"}],
    "refusals": [{"guard": "target-unchanged", "answer": "deny", "words": "state has changed"}],
    "may_approve": None,
    "may_reject": None,
    "to_type": ["old"],
    "antiforgery": "k1.value",
    "why": "policy says ask for delete-idle",
    "guards": [
        {"guard": "not-paused", "answer": "allow", "words": "no pause holds"},
        {"guard": "still-idle", "answer": "unknown", "words": "no metrics"},
    ],
    "question": {
        "at": "2026-11-23T08:00:00Z",
        "incident_id": INCIDENT,
        "plan": PLAN,
        "decision": "d" * 64,
        "policy_version": "v1",
        "expires_at": "2026-11-23T12:00:00Z",
        "quorum": 2,
        "approvers": [{"role": "Medic.Approver", "users": [], "groups": [], "from a later version": 1}],
        "touches": [{"path": f"{TARGET}/deployments/old", "says": ["it has 0 % of the traffic", "it is deleted"]}],
        "voids": "e" * 64,
        "differences": ["no longer: PUT x", "state: was Failed, is Canceled"],
    },
    "votes": [
        {
            "at": "2026-11-23T08:30:00Z",
            "plan": PLAN,
            "by": {"oid": "o-1", "tid": "t-1", "appid": None},
            "approves": True,
            "comment": "go on",
        }
    ],
}
HTML = {"Content-Type": "text/html"}
LINK = "/api/approvals/k1.abc-_DEF.g"


class Api:
    """Answers as the app would, or as a test wants; keeps what it was asked."""

    def __init__(self) -> None:
        self.summaries: list[dict[str, Any]] = [SUMMARY]
        self.page = PAGE
        self.taken: dict[str, Any] = {"words": "approved by o-2 and o-1", "state": "approved"}
        self.instead: dict[str, tuple[int, dict[str, str], Any]] = {}
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                kind = "list" if self.path == "/api/approvals" else "page"
                usual = {"questions": outer.summaries} if kind == "list" else outer.page
                self.reply(kind, usual)

            def do_POST(self) -> None:
                self.reply("answer", outer.taken)

            def reply(self, kind: str, usual: Any) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.asked.append((self.command, self.path, headers, json.loads(body) if body else None))
                status, extra, said = outer.instead.get(kind, (200, {}, usual))
                content = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **extra}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def answers(self) -> list[Any]:
        """What was posted."""
        return [body for method, _, _, body in self.asked if method == "POST"]


@pytest.fixture
def api(monkeypatch, tmp_path) -> Iterator[Api]:
    settle(monkeypatch, tmp_path)
    made = Api()
    with serving(made.server):
        yield made


def medic(api: Api, *arguments: str):
    return CliRunner().invoke(app, ["approvals", *arguments, "--to", api.url])


def at_terminal(api: Api, keys: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, with somebody typing at its standard input."""
    main, other = pty.openpty()
    try:
        os.write(main, keys.encode())
        command = [sys.executable, "-m", "local.cli", "approvals", *arguments, "--to", api.url]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            command, stdin=other, capture_output=True, text=True, timeout=60, env=environment, check=False
        )
    finally:
        os.close(main)
        os.close(other)


# ------------------------------------------------------------------------------------------------- to read


@pytest.mark.parametrize("command", [[], ["list"]])
def test_the_open_questions_are_listed(command, api) -> None:
    result = medic(api, *command)
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.rstrip() for line in result.stdout.splitlines()] == [
        INCIDENT,
        f"resource   {TARGET}/deployments/green",
        "cause      quota-cpu",
        "would      delete-idle: delete w/e/old (8 cores), idle for 30 days",
        f"call       DELETE {TARGET}/deployments/old?api-version=2024-10-01",
        "undo       re-create from the receipt, with traffic 0",
        "until      2026-11-23 12:00:00 UTC",
        "approvals  1 of 2",
        f"look       medic approvals show {INCIDENT} --to {api.url}",
        "",
        "1 open question.",
    ]
    ((method, path, headers, _),) = api.asked
    assert (method, path, headers["accept"]) == ("GET", "/api/approvals", "application/json")
    assert "authorization" not in headers


ASKED_FOR = {
    "incident": "inc-ccc333333333333333333333",
    "action": "delete-idle",
    "path": f"{TARGET}/deployments/old",
    "comment": "fraud needs it\x1b[2J",
    "by": "o-7",
    "at": "2026-11-23T07:00:00Z",
}


@pytest.mark.parametrize("command", ["list", "show"])
def test_who_asked_for_an_undo_of_what_and_why_is_shown(command, api) -> None:
    api.summaries = [{**SUMMARY, "asked_for": ASKED_FOR}]
    api.page = {**PAGE, "asked_for": ASKED_FOR}
    result = medic(api, command, *([INCIDENT] if command == "show" else []))
    assert (result.exit_code, result.stderr) == (0, "")
    shown = [line.rstrip() for line in result.stdout.splitlines()]
    assert shown[2:5] == [
        "asked by   o-7, at 2026-11-23 07:00:00 UTC",
        "because    fraud needs it\N{REPLACEMENT CHARACTER}[2J",
        f"undoes     delete-idle in inc-ccc333333333333333333333: {TARGET}/deployments/old",
    ]
    assert "asked by" not in medic_of_a_repair(api)


def medic_of_a_repair(api: Api) -> str:
    api.summaries = [{**SUMMARY, "asked_for": None}]
    return medic(api, "list").stdout


def test_a_path_in_front_of_the_api_is_kept(api) -> None:
    medic(api, "list", "--to", f"{api.url}/behind/")
    CliRunner().invoke(app, ["approvals", "list", "--to", f"{api.url}/behind/"])
    assert api.asked[-1][1] == "/behind/api/approvals"


def test_no_question_is_said(api) -> None:
    api.summaries = []
    assert medic(api).stdout == "No question is open.\n"


def test_all_that_a_person_needs_to_decide_is_shown(api) -> None:
    result = medic(api, "show", INCIDENT)
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.rstrip() for line in result.stdout.splitlines()] == [
        INCIDENT,
        f"resource   {TARGET}/deployments/green",
        "cause      quota-cpu",
        "would      delete-idle: delete w/e/old (8 cores), idle for 30 days",
        f"call       DELETE {TARGET}/deployments/old?api-version=2024-10-01",
        f"digest     {PLAN}",
        f"touches    {TARGET}/deployments/old",
        "           it has 0 % of the traffic",
        "           it is deleted",
        "instead    of the approved plan eeeeeeeeeeee, which is void, since",
        "           no longer: PUT x",
        "           state: was Failed, is Canceled",
        "guards     \N{CHECK MARK} not-paused: no pause holds",
        "           ? still-idle: no metrics",
        "since      state: was Failed, is Succeeded",
        "           tag: was not there, is x",
        "           read at 2026-11-23 09:00:00 UTC",
        "           an approval would be void when it comes to the effect",
        "now        \N{BALLOT X} target-unchanged: state has changed",
        "why        policy says ask for delete-idle",
        "until      2026-11-23 12:00:00 UTC",
        "approvals  1 of 2",
        "           approved by o-1 at 2026-11-23 08:30:00 UTC: go on",
        "undo       re-create from the receipt, with traffic 0",
        "to type    old",
        "you        may approve or reject it",
        "",
        f"approve  medic approvals approve {INCIDENT} --to {api.url}",
        f"reject   medic approvals reject {INCIDENT} --to {api.url} --reason '…'",
    ]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"changes": [], "refusals": []}, "since      nothing has changed, read at 2026-11-23 09:00:00 UTC"),
        ({"changes": [], "refusals": []}, "now        no guard would refuse it"),
        ({"changes": [], "unread": "the target is unknown (403)"}, "since      the target is unknown (403)"),
        ({"changes": [], "refusals": [], "read_at": None}, "since      unknown: the target was not read"),
        ({"may_approve": "you started it"}, "you        may not approve it: you started it; may reject it"),
        (
            {"action": None, "may_approve": "it cannot be read"},
            "would      what would be done cannot be read any more; do not approve it",
        ),
        (
            {"state": "rejected", "words": "rejected by o-3: no"},
            "you        nobody can answer any more: it is rejected: rejected by o-3: no",
        ),
    ],
)
def test_how_things_stand_is_said(changes, line, api) -> None:
    api.page = PAGE | changes
    result = medic(api, "show", INCIDENT)
    assert result.exit_code == 0
    assert line in [shown.rstrip() for shown in result.stdout.splitlines()]


def test_who_may_not_answer_is_shown_what_is_listed(api) -> None:
    api.summaries = [SUMMARY | {"link": None}]
    result = medic(api, "show", INCIDENT)
    assert result.exit_code == 1
    assert "DELETE" in result.stdout
    assert "it is not yours: policy does not list you as an approver" in result.stderr
    assert len(api.asked) == 1
    assert "look" not in medic(api).stdout


@pytest.mark.parametrize(
    "name", [INCIDENT, "inc-aaa1", "AAA1", " aaa111111111111111111111 ", PLAN, "ffffff"], ids=lambda name: name[:12]
)
def test_a_beginning_names_a_question(name, api) -> None:
    api.summaries = [SUMMARY | {"incident": "inc-bbb1", "plan": "1" * 64, "link": "/api/approvals/other"}, SUMMARY]
    assert medic(api, "show", name).exit_code == 0
    assert api.asked[-1][:2] == ("GET", LINK)


@pytest.mark.parametrize("name", ["inc-aaa11", "aaa", "inc-aaa"])
@pytest.mark.parametrize("command", [["show"], ["approve", "--yes"], ["reject", "--reason", "x", "--yes"]])
def test_a_beginning_of_two_is_refused(command, name, api) -> None:
    api.summaries = [SUMMARY, SUMMARY | {"incident": "inc-aaa112", "plan": "1" * 64}]
    result = medic(api, *command, name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"fits 2 open questions: {INCIDENT} (plan ffffffffffff), inc-aaa112 (plan 111111111111)" in result.stderr
    assert [method for method, *_ in api.asked] == ["GET"]


@pytest.mark.parametrize("name", ["inc-", "inc-aa", "i", "1", ""])
def test_a_beginning_that_could_be_any_is_refused_even_if_it_fits_one(name, api) -> None:
    result = medic(api, "approve", "--yes", name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "write at least 3 characters of its id" in result.stderr
    assert [method for method, *_ in api.asked] == ["GET"]


def test_without_a_terminal_an_approval_needs_yes(api) -> None:
    result = medic(api, "approve", "aaa", "--type", "old")
    assert result.exit_code == 2
    assert result.stderr.endswith("add --yes to approve it.\n")
    assert api.answers == []


def test_an_id_that_begins_another_is_itself(api) -> None:
    api.summaries = [SUMMARY | {"incident": "inc-a"}, SUMMARY | {"incident": "inc-ab", "plan": "1" * 64}]
    assert medic(api, "show", "inc-a").exit_code == 0


def test_two_questions_of_an_incident_are_told_apart_by_their_plans(api) -> None:
    api.summaries = [SUMMARY, SUMMARY | {"plan": "1" * 64, "link": "/api/approvals/other"}]
    assert medic(api, "show", INCIDENT).exit_code == 2
    assert medic(api, "show", "1111").exit_code == 0
    assert api.asked[-1][1] == "/api/approvals/other"


@pytest.mark.parametrize("name", ["inc-zzz", " ", "", "-aaa"])
def test_a_question_that_is_not_there_is_said(name, api) -> None:
    result = medic(api, "show", "--", name) if name.startswith("-") else medic(api, "show", name)
    assert (result.exit_code, result.stdout) == (2, "")


# ----------------------------------------------------------------------------------------------- to answer


def test_an_approval_is_sent_with_what_the_page_gave(api) -> None:
    result = medic(api, "approve", "aaa", "--yes", "--type", "old", "--comment", "fine by me")
    assert result.exit_code == 0
    method, path, headers, body = api.asked[-1]
    assert (method, path, headers["content-type"]) == ("POST", LINK, "application/json")
    assert body == {"decision": "approve", "comment": "fine by me", "antiforgery": "k1.value", "typed": ["old"]}
    assert result.stdout.startswith(f"{INCIDENT}\nresource ")
    assert result.stdout.endswith(f"\n\n{INCIDENT}: approved by o-2 and o-1\n")


def test_a_rejection_is_sent_with_its_reason(api) -> None:
    assert medic(api, "reject", "aaa", "--reason", "not at night").exit_code == 0
    expected = {"decision": "reject", "comment": "not at night", "antiforgery": "k1.value", "typed": []}
    assert api.answers == [expected]


def test_a_rejection_needs_a_reason(api) -> None:
    assert medic(api, "reject", "aaa").exit_code == 2
    assert api.asked == []


def test_names_that_have_to_be_typed_and_nobody_to_type_them(api) -> None:
    api.page = PAGE | {"to_type": ["old", "od d"]}
    result = medic(api, "approve", "aaa", "--yes")
    assert result.exit_code == 2
    assert result.stderr.endswith("have to be typed: add --type old --type 'od d'.\n")
    assert api.answers == []


@pytest.mark.parametrize(
    ("command", "changes", "words"),
    [
        ("approve", {"may_approve": "you started the operation that failed"}, "you cannot approve it: you started"),
        ("reject", {"may_reject": "you rejected it"}, "you cannot reject it: you rejected it."),
        ("approve", {"state": "expired", "words": "its time ended"}, "cannot approve it: it is expired: its time"),
        ("reject", {"state": "superseded", "words": "its incident ended"}, "it is superseded: its incident ended."),
    ],
)
def test_what_a_person_may_not_do_is_not_sent(command, changes, words, api) -> None:
    api.page = PAGE | changes
    result = medic(api, command, "aaa", *(["--type", "old"] if command == "approve" else ["--reason", "x"]))
    assert result.exit_code == 1
    assert words in result.stderr
    assert api.answers == []


@pytest.mark.parametrize("command", [["approve"], ["reject", "--reason", "x"]])
def test_who_has_no_link_sends_nothing(command, api) -> None:
    api.summaries = [SUMMARY | {"link": None}]
    result = medic(api, *command, "aaa")
    assert (result.exit_code, len(api.asked)) == (1, 1)
    assert f"you cannot {command[0]} what {INCIDENT} asks: it is not yours" in result.stderr


def test_on_a_terminal_names_are_asked_for_and_then_whether_it_is_meant(api) -> None:
    api.page = PAGE | {"to_type": ["old", "older"]}
    done = at_terminal(api, "old\nolder\ny\n", "approve", "aaa")
    assert done.returncode == 0, done.stderr
    assert api.answers[0]["typed"] == ["old", "older"]
    assert "Type the name of what will be deleted, 2 of 2:" in done.stderr
    assert "Approve it? [y/N]:" in done.stderr


@pytest.mark.parametrize(
    ("keys", "command", "code"),
    [
        pytest.param("n\n", ["reject", "--reason", "x"], 1, id="no"),
        pytest.param("\n", ["approve", "--type", "old"], 1, id="nothing typed"),
        pytest.param("\x04", ["approve"], 130, id="closed"),
    ],
)
def test_on_a_terminal_it_can_be_left_unsaid(keys, command, code, api) -> None:
    done = at_terminal(api, keys, *command, "aaa")
    assert done.returncode == code
    assert api.answers == []


def test_on_a_terminal_a_program_can_say_that_it_is_meant(api) -> None:
    done = at_terminal(api, "", "reject", "aaa", "--reason", "x", "--yes", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, api.taken)
    assert len(api.answers) == 1


# ----------------------------------------------------------------------------------------------- for programs


@pytest.mark.parametrize("command", [[], ["list"]])
def test_the_apis_list_is_given_as_it_is(command, api) -> None:
    api.summaries = [SUMMARY | {"of a later version": [1, None, {"x": "ü"}]}]
    result = medic(api, *command, "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"questions": api.summaries})


def test_the_apis_page_is_given_as_it_is(api) -> None:
    api.page = PAGE | {"of a later version": 1}
    assert json.loads(medic(api, "show", "aaa", "--json").stdout) == api.page


def test_the_apis_answer_is_given_as_it_is_and_the_question_beside_it(api) -> None:
    result = medic(api, "approve", "aaa", "--yes", "--type", "old", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, api.taken)
    assert "to type    old" in result.stderr


# ------------------------------------------------------------------------------------------------ what fails


LOGIN = {"Location": "https://login.microsoftonline.com/x", **HTML}


@pytest.mark.parametrize(
    ("kind", "instead", "code", "words"),
    [
        ("list", (401, {}, {"error": "Sign in to see this page."}), 3, "it answered 401. Start it with `medic serve`"),
        ("list", (302, LOGIN, b"<html>"), 3, "nobody as signed in; it answered 302, to login.microsoftonline.com. "),
        ("list", (302, {"Location": "http://[::"}, b""), 3, "got no answer: Invalid URL in location header"),
        ("list", (401, HTML, b"<html>"), 3, "nobody as signed in; it answered 401 and a page for people. "),
        ("list", (200, HTML, b"<html>"), 3, "nobody as signed in; it answered 200 and a page for people. "),
        ("list", (403, {}, {"error": "The app role X is needed."}), 1, "refused you: The app role X is needed. Have"),
        ("list", (404, {}, {"error": "no function has this route"}), 3, "has no /api/approvals. Name the base URL"),
        ("list", (429, {}, {"error": "That was too often. Try again in a minute."}), 1, "answered 429: That was too"),
        ("list", (500, {}, {"error": "internal error"}), 3, "answered 500 (application/json): internal error. Look"),
        ("list", (503, HTML, b"<html>"), 3, "answered 503 (text/html): Service Unavailable. Look whether --to"),
        ("list", (200, {}, b"{"), 3, "answered 200 (application/json). Look whether --to is right"),
        ("list", (200, {}, b"[" * 100_000), 3, "answered 200 (application/json). Look whether --to is right"),
        ("list", (200, {}, []), 3, "the app's answer cannot be read: Expected `object`"),
        ("list", (200, {}, {"questions": [{}]}), 3, "cannot be read: Object missing required field `incident`"),
        ("page", (401, {}, {"error": "Sign in to see this page."}), 3, "takes nobody as signed in; it answered 401"),
        ("page", (404, {}, {"error": "No open question."}), 1, "No open question. It is over, or not yours to answer."),
        ("page", (429, {}, {"error": "too often."}), 1, "answered 429: too often."),
        ("page", (200, {}, {"incident": INCIDENT}), 3, "cannot be read: Object missing required field `question`"),
        ("answer", (401, {}, {"error": "Sign in."}), 3, "takes nobody as signed in; it answered 401"),
        ("answer", (302, LOGIN, b""), 3, "it answered 302, to login.microsoftonline.com."),
        ("answer", (400, {}, {"error": "type the name: old"}), 1, "the answer was not taken: type the name: old.\n"),
        (
            "answer",
            (403, {}, {"error": "somebody else has to"}),
            1,
            "the answer was not taken: somebody else has to.\n",
        ),
        ("answer", (404, {}, {"error": "No open question."}), 1, "not taken: No open question. It is over, or not"),
        (
            "answer",
            (409, {}, {"error": "it is expired"}),
            1,
            "it is expired. `medic approvals list` shows what is open",
        ),
        ("answer", (429, {}, {"error": "too often"}), 1, "the answer was not taken: too often.\n"),
        ("answer", (500, {}, b""), 3, "answered 500 (application/json): Internal Server Error. Look"),
    ],
)
def test_each_answer_that_is_none_is_told_in_words(kind, instead, code, words, api) -> None:
    api.instead[kind] = instead
    result = medic(api, "approve", "aaa", "--yes", "--type", "old")
    assert result.exit_code == code
    assert result.stderr.startswith("medic: ")
    assert words in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--to", "http://127.0.0.1:1"], 3, "GET http://127.0.0.1:1/api/approvals got no answer: "),
        (["--to", "http://example.com"], 2, "is plain http to another machine"),
        (["--to", "https://medic.example"], 2, "needs a sign-in. Name the app's scope: --scope 'api://<client id"),
        (["--to", "https://u:p@medic.example"], 2, "is no base URL"),
        (["--to", "http://127.0.0.1:7071/?x=1"], 2, "is no base URL"),
        (["--to", "http://127.0.0.1:7071#x"], 2, "is no base URL"),
        (["--to", "http://127.0.0.1:7071@evil.example"], 2, "is plain http to another machine"),
        (["--to", "http://["], 2, "is no URL"),
        (["--to", "ftp://x"], 2, "is no URL"),
        (["list", "--to", "localhost:7071"], 2, "is no URL"),
        (["--to", "http://127.0.0.1:1", "list"], 2, "write the options behind list, not before it."),
        (["--json", "show", "x"], 2, "write the options behind show, not before it."),
    ],
)
def test_what_cannot_be_asked_is_told(options, code, words, api) -> None:
    result = CliRunner().invoke(app, ["approvals", *options])
    assert result.exit_code == code
    assert words in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.output


# ----------------------------------------------------------------------------------------------- the sign-in


@pytest.fixture
def signed_in(monkeypatch, tmp_path) -> None:
    """The Azure CLI, with somebody signed in who gets tokens for one scope."""
    made = tmp_path / "bin" / "az"
    made.parent.mkdir()
    token = {"accessToken": "a-token", "expires_on": 2**31, "expiresOn": "2038-01-19 03:14:08.000000"}
    made.write_text(
        "#!/bin/sh\n"
        f"case \"$*\" in *api://ok*) echo '{json.dumps(token)}'; exit;; esac\n"
        "echo 'ERROR: no such scope' >&2; exit 1\n"
    )
    made.chmod(0o755)
    monkeypatch.setenv("PATH", f"{made.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "AzureCliCredential")


def test_a_scope_signs_in_as_whoever_uses_the_azure_cli(signed_in, api) -> None:
    result = medic(api, "approve", "aaa", "--yes", "--type", "old", "--scope", "api://ok/.default")
    assert result.exit_code == 0, result.stderr
    assert [headers["authorization"] for _, _, headers, _ in api.asked] == ["Bearer a-token"] * 3
    assert "a-token" not in result.output


def test_what_to_type_next_names_the_scope(signed_in, api) -> None:
    result = medic(api, "show", "aaa", "--scope", "api://ok/.default")
    assert f"approve {INCIDENT} --to {api.url} --scope api://ok/.default\n" in result.stdout


def test_a_token_that_is_not_taken_names_what_to_check(signed_in, api) -> None:
    api.instead["list"] = (401, {}, b"")
    result = medic(api, "--scope", "api://ok/.default")
    assert result.exit_code == 3
    assert "--scope has to be 'api://<client id of the app's registration>/.default', and `az login`" in result.stderr


def test_no_token_is_exit_3_with_what_to_type(signed_in, api) -> None:
    result = medic(api, "--scope", "api://other/.default")
    assert (result.exit_code, api.asked) == (3, [])
    assert result.stderr.endswith("Sign in with `az login --scope api://other/.default`.\n")


@pytest.mark.parametrize(
    "link",
    [
        "{other}/api/approvals/k1.x",
        "{other}/api/approvals/k1.x?y=1",
        "//{host}/k1.x",
        "@{host}/k1.x",
        "k1.x@{host}",
        "{other}",
        "{other}/",
        "{other}\\k1.x",
        "",
    ],
)
def test_no_other_host_is_asked_whatever_a_link_names(link, signed_in, api) -> None:
    other = Api()
    thread = threading.Thread(target=other.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        host = other.url.removeprefix("http://")
        api.summaries = [SUMMARY | {"link": link.format(other=other.url, host=host)}]
        for status, headers in ((200, {}), (302, {"Location": f"{other.url}/api/approvals/k1.x"})):
            api.instead["answer"] = (status, headers, {"words": "x"})
            medic(api, "approve", "aaa", "--yes", "--type", "old", "--scope", "api://ok/.default")
        api.instead["page"] = (307, {"Location": f"{other.url}/api/approvals/k1.x"}, b"")
        assert medic(api, "show", "aaa", "--scope", "api://ok/.default").exit_code == 3
    finally:
        other.server.shutdown()
        other.server.server_close()
        thread.join(10)
    assert other.asked == []
    assert {path for _, path, _, _ in api.asked} <= {"/api/approvals", "/api/approvals/k1.x"} | {
        f"/api/approvals/{host}"  # what stands behind the last slash, and it is asked of the app itself
    }


# ------------------------------------------------------------------------------------------------ hostile texts


HOSTILE = "\x1b[2J\x9b31m\u202e\x07\r\n\nFORGED by \x1b]0;x\x07"
KEPT = {"answer", "at", "asked_at", "expires_at", "read_at", "link", "state", "antiforgery"}
STEERING = ("\x1b", "\x9b", "\u202e", "\x07", "\r")


def spoiled(plain: Any, name: str = "") -> Any:
    """The same, with what steers a terminal in every text that others can have written."""
    if isinstance(plain, dict):
        return {key: spoiled(value, key) for key, value in plain.items()}
    if isinstance(plain, list):
        return [spoiled(value, name) for value in plain]
    return f"{plain}{HOSTILE}" if isinstance(plain, str) and name not in KEPT else plain


@pytest.mark.parametrize(
    "command",
    [
        ["list"],
        ["show", "aaa"],
        ["approve", "aaa"],
        ["approve", "aaa", "--yes", "--type", "old"],
        ["reject", "aaa", "--reason", "x"],
        ["show", "zzz"],
        ["show", "aaa", "--json"],
        ["reject", "aaa", "--reason", "x", "--json"],
    ],
)
@pytest.mark.parametrize(
    ("kind", "instead"),
    [
        ("none", None),
        ("two", None),
        ("page", {"may_approve": f"no{HOSTILE}", "may_reject": f"no{HOSTILE}"}),
        ("page", {"state": f"gone{HOSTILE}", "words": f"by{HOSTILE}"}),
        ("page", {"unread": f"no{HOSTILE}", "antiforgery": HOSTILE}),
        ("link", None),
        ("list", (403, {}, {"error": HOSTILE})),
        ("page", (404, {}, {"error": HOSTILE})),
        ("answer", (409, {}, {"error": HOSTILE})),
        ("answer", (500, {"Content-Type": "te\x1b[2Jxt"}, b"")),
        ("list", (302, {"Location": "http://a\x1b[2J\x9b.example/"}, b"")),
    ],
)
def test_no_text_of_others_steers_the_terminal(command, kind, instead, api) -> None:
    api.summaries, api.page, api.taken = [spoiled(SUMMARY)], spoiled(PAGE), spoiled(api.taken)
    if kind == "two":
        api.summaries *= 2
    elif kind == "link":
        api.summaries = [{**spoiled(SUMMARY), "link": f"/api/{HOSTILE}"}]
    elif isinstance(instead, dict):
        api.page = api.page | instead
    elif instead is not None:
        api.instead[kind] = instead
    result = medic(api, *command)
    assert [code for code in STEERING if code in result.stdout + result.stderr] == []
    lines = (result.stdout + result.stderr).splitlines()
    assert [line for line in lines if line.startswith("FORGED")] == []
    assert "Traceback" not in result.output


# ------------------------------------------------------------------------------------------------------ help


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ([], ["list", "show", "approve", "reject", "--to", "--scope", "--json"]),
        (["list"], ["--to", "--scope", "--json"]),
        (["show"], ["INCIDENT", "--to", "--scope", "--json"]),
        (["approve"], ["INCIDENT", "--comment", "--type", "--to", "--scope", "--yes", "--json"]),
        (["reject"], ["INCIDENT", "--reason", "--to", "--scope", "--yes", "--json"]),
    ],
)
def test_help_names_what_there_is(command, options) -> None:
    result = CliRunner().invoke(app, ["approvals", *command, "--help"])
    assert result.exit_code == 0
    assert [option for option in options if option not in result.output] == []
