"""``medic policy`` and ``medic doctor``."""

import json
import socket
import threading
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from local.cli import app
from local.commands.setup import Check, _bounded
from remediations import policy
from remediations.proof import checkpoint
from tests.commands import settle

SHIPPED = Path(__file__).parents[2] / "policy.yaml"


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    settle(monkeypatch, tmp_path)


def medic(*arguments: str):
    return CliRunner().invoke(app, arguments)


def write(folder: Path, content: str) -> str:
    file = folder / "policy.yaml"
    file.write_text(content)
    return str(file)


# ----------------------------------------------------------------------------------------------- policy


def test_the_shipped_policy_is_fine() -> None:
    result = medic("policy", "check", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "file": str(SHIPPED),
        "version": policy.load(SHIPPED).version,
        "actions": {
            "retry": {"mode": "auto", "attempts": 3},
            "sync-keys": {"mode": "auto", "attempts": 1},
            "grant-roles": {"mode": "ask", "attempts": 1},
            "delete-idle": {"mode": "ask", "attempts": 1},
            "undo-delete": {"mode": "ask", "attempts": 2},
            "undo-grant": {"mode": "ask", "attempts": 4},
        },
        "warnings": [],
    }


def test_people_read_what_a_policy_says(tmp_path) -> None:
    lines = [" ".join(line.split()) for line in medic("policy", "check").stdout.splitlines()]
    assert lines[0] == f"{SHIPPED}: valid, version {policy.load(SHIPPED).version}"
    assert "retry auto 3 in 6 h 20 30 s 2 h" in lines
    assert "holds 1 protected tag" in lines


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("actions: {retyr: {mode: auto}}", "$.actions.retyr is 'retyr'"),
        ("actions: {}\nrules: [{actions: [retyr], mode: ask}]", "$.rules[0].actions is 'retyr'"),
    ],
)
def test_an_action_that_is_none_is_refused_as_the_app_refuses_it(content, place, tmp_path) -> None:
    file = write(tmp_path, content)
    result = medic("policy", "check", file)
    assert (result.exit_code, result.stdout) == (2, "")
    known = "delete-idle, grant-roles, retry, sync-keys, undo-delete, undo-grant"
    assert result.stderr == f"medic: {file}: {place}. There is no such action. Use one of {known}.\n"


def test_an_action_that_is_not_listed_is_told(tmp_path) -> None:
    result = medic("policy", "check", write(tmp_path, "actions: {}"), "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["warnings"] == [
        f"actions: {name} is not listed, so it is off. List it as 'off' if that is meant."
        for name in ("retry", "sync-keys", "grant-roles", "delete-idle", "undo-delete", "undo-grant")
    ]


@pytest.mark.parametrize(
    "content",
    [
        "actions: {retry: {mode: maybe}}",
        "actions: {retry: {mode: auto, attempst: 3}}",
        "actions: [",
        "- 1",
        "",
        "pauses: []",
    ],
)
def test_a_policy_that_cannot_be_used_is_exit_2_and_names_the_file(content, tmp_path) -> None:
    file = write(tmp_path, content)
    result = medic("policy", "check", file)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"medic: {file}: $")
    assert "Traceback" not in result.output


def test_a_policy_that_is_not_there_is_exit_2(tmp_path) -> None:
    result = medic("policy", "check", str(tmp_path / "none.yaml"))
    assert result.exit_code == 2
    assert "none.yaml" in result.stderr


def test_the_schema_takes_the_shipped_policy_and_refuses_another_word() -> None:
    result = medic("policy", "schema")
    schema = json.loads(result.stdout)
    assert (result.exit_code, schema["title"]) == (0, "Endpoint Medic policy")
    plain = yaml.safe_load(SHIPPED.read_text())
    jsonschema.validate(plain, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**plain, "acitons": {}}, schema)


# ----------------------------------------------------------------------------------------------- doctor


def checks(*arguments: str) -> tuple[int, dict[str, str], dict[str, str]]:
    result = medic("doctor", "--json", *arguments)
    answer = json.loads(result.stdout)
    assert answer["ok"] is (result.exit_code == 0)
    assert all(sorted(check) == ["fix", "name", "state", "words"] for check in answer["checks"])
    states = {check["name"]: check["state"] for check in answer["checks"]}
    return result.exit_code, states, {check["name"]: f"{check['words']} {check['fix']}" for check in answer["checks"]}


@pytest.fixture
def nobody_listens(monkeypatch) -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("MEDIC_ARM_URL", url)
    monkeypatch.setenv("MEDIC_ARM_TOKEN", "sim-medic")
    return url


def test_what_cannot_be_reached_fails_and_the_rest_is_looked_at(nobody_listens, tmp_path) -> None:
    code, states, words = checks()
    assert code == 1
    assert states == {
        "settings": "ok",
        "policy": "ok",
        "store": "ok",
        "azure": "fail",
        "approvals": "ok",
        "signing": "warn",
        "channels": "ok",
    }
    assert words["settings"] == "MEDIC_MODE is dry-run: nothing is written to Azure "
    assert words["azure"].startswith(f"{nobody_listens} cannot be read: no answer: ServiceRequestError.")
    assert words["store"] == f"folder {tmp_path / 'store'}: it can be listed; no incident is in it "


def test_a_wrong_setting_ends_the_looking(monkeypatch) -> None:
    monkeypatch.setenv("MEDIC_MOED", "auto")
    code, states, words = checks()
    assert (code, states) == (1, {"settings": "fail"})
    assert words["settings"].startswith("MEDIC_MOED is 'auto': no such setting. Did you mean MEDIC_MODE?")


def test_a_bad_policy_fails_alone(nobody_listens, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("MEDIC_POLICY", write(tmp_path, "actions: {retry: {mode: maybe}}"))
    code, states, _ = checks()
    assert (code, states["policy"], states["store"]) == (1, "fail", "ok")


def test_a_mode_that_asks_needs_keys(nobody_listens, monkeypatch) -> None:
    monkeypatch.setenv("MEDIC_MODE", "ask")
    assert checks()[1]["approvals"] == "warn"
    monkeypatch.setattr("remediations.services._services", None)
    monkeypatch.setenv("MEDIC_APPROVAL_KEYS", json.dumps({"k1": "x" * 43}))
    _, states, words = checks()
    assert (states["approvals"], words["approvals"]) == ("ok", "1 key; k1 signs ")


def test_a_key_for_checkpoints_is_told_by_its_public_part(nobody_listens, monkeypatch) -> None:
    private = checkpoint.new_key()
    monkeypatch.setenv("MEDIC_ANCHOR_KEY", private)
    _, states, words = checks()
    assert states["signing"] == "ok"
    assert words["signing"].split() == [
        *["the", "trail", "is", "signed", "with", "the", "key", "whose", "public", "part", "is"],
        checkpoint.public_of(private),
    ]
    assert private not in str(words)


def test_a_simulator_without_a_token_is_told_what_to_set(nobody_listens, monkeypatch) -> None:
    monkeypatch.delenv("MEDIC_ARM_TOKEN")
    _, states, words = checks()
    assert states["settings"] == "fail"
    assert words["settings"].startswith("MEDIC_ARM_TOKEN is not set: a simulator on loopback knows no sign-in.")


def test_people_read_a_line_a_check(nobody_listens) -> None:
    result = medic("doctor")
    assert result.exit_code == 1
    lines = [line.split(maxsplit=2)[:2] for line in result.stdout.splitlines() if line[:1] != " "]
    assert lines == [
        ["ok", "settings"],
        ["ok", "policy"],
        ["ok", "store"],
        ["fail", "azure"],
        ["ok", "approvals"],
        ["warn", "signing"],
        ["ok", "channels"],
    ]


def test_a_check_that_hangs_is_given_up() -> None:
    never = threading.Event()

    def hang() -> Check:
        never.wait(10)
        return Check(name="azure", state="ok", words="")

    check = _bounded("azure", hang, timedelta(milliseconds=20))
    never.set()
    assert (check.state, check.words) == ("fail", "no answer in 0 s")
