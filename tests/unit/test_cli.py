"""The command as a whole: its help, its version, and how it fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from local.cli import app
from local.commands import terminal
from remediations.errors import ArmForbidden, SettingsError, StoreUnavailable
from tests.commands import settle

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "demo",
    "rehearse",
    "chaos",
    "serve",
    "send",
    "scan",
    "plan",
    "classify",
    "causes",
    "evaluate",
    "report",
    "pause",
    "audit",
    "approvals",
)


def test_help_names_every_command_and_every_exit_code() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert [name for name in (*COMMANDS, "policy", "doctor") if f" {name} " not in result.output] == []
    words = " ".join(result.output.split())
    assert "Exit codes: 0 fine; 1 something was found, or is not as expected; 2 wrong usage" in words


def test_the_version_is_that_of_the_project() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, "medic 0.1.0\n")


def test_help_pays_for_nothing_that_it_does_not_show() -> None:
    costly = "{'azure', 'msgspec', 'structlog', 'httpx', 'rich', 'yaml'}"
    script = f"import sys, local.cli; print(sorted({costly} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    "arguments", [["frobnicate"], ["audit", "frobnicate"], ["causes", "--jsno"], ["plan"], ["rehearse"]]
)
def test_wrong_usage_is_exit_2_and_no_traceback(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("why", "words"),
    [
        ("no token: X", "no token: X. Sign in with `az login`, or set"),
        ("401: our identity lacks A/read", "401: our token is not accepted. Sign in to the tenant that it is of, with"),
        ("403: our identity lacks A/read", "403: our identity lacks A/read. Grant it with a role such as Reader"),
    ],
)
def test_azure_that_cannot_be_read_is_told_with_what_to_do(why, words) -> None:
    assert str(terminal.AzureUnreadable("x", why)).startswith(f"x cannot be read: {words}")


def test_a_wrong_setting_is_told_in_words(monkeypatch, tmp_path) -> None:
    settle(monkeypatch, tmp_path, MEDIC_MODE="yolo")
    result = CliRunner().invoke(app, ["audit", "list"])
    words = "medic: MEDIC_MODE is 'yolo': no such mode. Use one of off, dry-run, ask, auto.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", words)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("MEDIC_MODE", "x", "no such mode", ""), 2),
        (StoreUnavailable("folder /x", "list", "Permission denied", ""), 2),
        (StoreUnavailable("https://st.blob.core.windows.net/trail", "list", "403", ""), 3),
        (ArmForbidden("GET", "https://management.azure.com/x", "A/read"), 3),
        (terminal.AzureUnreadable("x", "no token"), 3),
        (terminal.CommandError("x"), 2),
    ],
)
def test_an_error_has_the_exit_code_of_its_kind(error, code) -> None:
    assert terminal.exit_code_of(error) == code


def test_what_steers_a_terminal_does_not_reach_it() -> None:
    assert terminal.plain("a\x1b[31mred\x07\x9b\r\nb\tc") == "a\ufffd[31mred\ufffd\ufffd\nb\tc"


@pytest.mark.parametrize("hidden", ["\u061c", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff"])
def test_what_hides_in_a_text_is_marked(hidden):
    assert terminal.plain(f"mlw{hidden}-prod") == "mlw\ufffd-prod"
    assert terminal.escaped(f'"mlw{hidden}-prod"') == f'"mlw\\u{ord(hidden):04x}-prod"'


def test_a_terminal_that_knows_only_ascii_is_no_error() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "local.cli", "classify"],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        input="caf\u00e9 \u2713 broke".encode(),
        capture_output=True,
        check=True,
    )
    assert done.stdout.splitlines()[2].rstrip() == b"error   caf? ? broke"
