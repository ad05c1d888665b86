"""docs/runbook.md: commands that parse, variables that are there, sums that add up."""

import os
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from local.cli import app
from local.host import Schedule
from tests.pages import page, table, tables

ROOT = Path(__file__).parent.parent
INFRA = ROOT / "infra"
PAGE = page("docs/runbook.md")
TIMES = "\u00d7"


def commands() -> list[str]:
    """Give every `medic …` of the page with what stands behind it, from blocks and from running text."""
    blocks = re.findall(r"^ *```console\n(.*?)^ *```$", PAGE, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in re.sub(r"\\\n\s*", "", block).splitlines()]
    prose = re.sub(r"^ *```.*?^ *```$", "", PAGE, flags=re.DOTALL | re.MULTILINE)
    typed = [*lines, *re.findall(r"`([^`\n]+)`", prose)]
    parts = (part.strip() for line in typed for part in re.split(r"&&|\s\|\s|\s#\s", line.strip().removeprefix("$ ")))
    return sorted({found[1] for part in parts if (found := re.match(r"(?:[A-Z_]+=\S+ )*(medic(?: .*)?)$", part))})


@pytest.mark.parametrize("line", commands())
def test_every_medic_command_parses(line: str) -> None:
    """One that stands in running text without arguments is only named; every other one would run."""
    words = shlex.split(re.sub(r"<[^>]*>", "x", line))[1:]
    command: Any = typer.main.get_command(app)
    while isinstance(command, TyperGroup) and words and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    assert line == "medic" or command.name != "medic", f"there is no such command: {line}"
    is_only_named = not words and f"`{line}`" in PAGE
    if not is_only_named:
        command.make_context("medic", words)


def test_many_commands_are_looked_at() -> None:
    assert len(commands()) > 20
    assert {"medic pause --list", "medic doctor"} <= set(commands())


# ------------------------------------------------------------------------------------------------------ names


def variables() -> set[str]:
    """Give what the azd environment may hold: what the template reads, what it gives, and the subscription."""
    read = re.findall(r"\$\{(\w+)", (INFRA / "main.parameters.json").read_text("utf-8"))
    given = re.findall(r"^output (\w+)", (INFRA / "main.bicep").read_text("utf-8"), re.MULTILINE)
    return {*read, *given, "AZURE_SUBSCRIPTION_ID"}


def test_every_variable_that_is_named_exists() -> None:
    named = set(re.findall(r"\b(?:ENDPOINT_MEDIC|SERVICE_MEDIC|AZURE)_[A-Z_]+\b", PAGE))
    assert named <= variables()


def exports(file: Path) -> str:
    """Give the lines of a page that set what `medic` reads."""
    lines = re.findall(r"^\$ (.*\bexport .*)$", file.read_text("utf-8"), re.MULTILINE)
    return "\n".join(line.partition("     # ")[0] for line in lines)


@pytest.mark.parametrize(
    ("page", "mode"), [(ROOT / "docs" / "runbook.md", "ask"), (ROOT / "README.md", "")], ids=["runbook", "readme"]
)
def test_the_settings_of_the_app_are_taken_from_azd(page: Path, mode: str, tmp_path: Path) -> None:
    """An azd that knows each variable by its name gives doctor the app, its identity, its store and its mode."""
    outputs = set(re.findall(r"^output (\w+)", (INFRA / "main.bicep").read_text("utf-8"), re.MULTILINE))
    wanted = set(re.findall(r"azd env get-value (\w+)", exports(page)))
    assert wanted - {"ENDPOINT_MEDIC_MODE"} <= outputs
    answers = {
        "ENDPOINT_MEDIC_MODE": "ask",
        "ENDPOINT_MEDIC_STORE": "https://st",
        "SERVICE_MEDIC_URI": "https://app",
        "ENDPOINT_MEDIC_IDENTITY_PRINCIPAL_ID": "p",
    }
    assert after(exports(page), answers, tmp_path) == ["https://st", "https://app", "p", mode]


def test_a_mode_that_nobody_set_is_a_dry_run(tmp_path: Path) -> None:
    line = next(line for line in exports(ROOT / "docs" / "runbook.md").splitlines() if "MEDIC_MODE" in line)
    assert after(line, {}, tmp_path)[3] == "dry-run"


def after(script: str, answers: dict[str, str], folder: Path) -> list[str]:
    """Give what is set for `medic` after a script, with an azd that knows some values, and tells others as an error."""
    cases = "".join(f"{name}) echo '{value}';; " for name, value in answers.items())
    azd = folder / "azd"
    azd.write_text(f'#!/bin/sh\ncase "$3" in {cases}*) echo "ERROR: key not found"; exit 1;; esac\n')
    azd.chmod(0o755)
    names = ("MEDIC_STORE", "MEDIC_APP_URL", "MEDIC_PRINCIPAL_ID", "MEDIC_MODE")
    shown = "; ".join(f'echo "$(printenv {name})"' for name in names)
    uri = "URL=$(azd env get-value SERVICE_MEDIC_URI)"
    environment = {"PATH": f"{folder}:/usr/bin:/bin"}
    line = ["/bin/sh", "-c", f"{uri}\n{script}\n{shown}"]
    run = subprocess.run(line, check=False, env=environment, capture_output=True, text=True, timeout=30)
    return run.stdout.splitlines()


@pytest.mark.parametrize("page", ["docs/runbook.md", "tests/live/README.md", "README.md"])
def test_one_role_is_looked_up_in_the_subscription_that_has_it(page: str) -> None:
    lines = re.findall(r"az role definition list [^\n]*\| \[0\]", (ROOT / page).read_text("utf-8"))
    assert [line for line in lines if "--scope" not in line] == []


def test_a_wrong_setting_ends_the_start_and_the_runbook_says_so() -> None:
    environment = {**os.environ, "MEDIC_MODE": "yolo"}
    started = subprocess.run(
        [sys.executable, "-c", "import function_app"],
        check=False,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert started.returncode == 1
    assert "SettingsError: MEDIC_MODE is 'yolo'" in started.stderr
    steps = PAGE.partition("### Alert: no-sweep\n")[2].partition("\n### ")[0]
    assert "503 with `misconfigured` in JSON says that the policy cannot be used" in steps
    assert "(`SettingsError`)" in steps


def test_every_container_that_is_named_exists() -> None:
    modules = "\n".join(file.read_text("utf-8") for file in sorted((INFRA / "modules").glob("*.bicep")))
    for container in ("trail", "evidence", "deadletters"):
        assert f"name: '{container}'" in modules


def test_the_periods_are_those_of_the_template() -> None:
    records = (INFRA / "modules" / "records.bicep").read_text("utf-8")
    days = dict(re.findall(r"^param (\w+)Days int = (\d+)", records, re.MULTILINE))
    assert days == {"trail": "365", "evidence": "90", "deadLetter": "30"}
    assert "for 30 days" in PAGE.partition("## Dead letters")[2]
    assert "younger than 365 days" in PAGE


# ------------------------------------------------------------------------------------------------------- costs


def number(text: str) -> float:
    """Give a number, or what a product or sum of some comes to."""
    plain = text.strip("* ").replace(",", "").replace(TIMES, "*")
    assert re.fullmatch(r"[\d.*+() ]+", plain), text
    return float(eval(plain))  # digits, points, brackets, * and + alone


def used() -> dict[str, list[int]]:
    """Give what each kind of incident uses, by row of the first table."""
    rows = table(PAGE, "what one incident uses")
    return {row[0]: [int(number(cell)) for cell in row[1:]] for row in rows}


def sums() -> list[list[list[str]]]:
    return tables(PAGE, "what", "quantity")


def test_executions_are_all_that_is_counted_above_them() -> None:
    rows = list(used().items())
    at = next(place for place, (name, _) in enumerate(rows) if name.startswith("**executions"))
    assert rows[at][1] == [sum(column) for column in zip(*(values for _, values in rows[:at]), strict=True)]


@pytest.mark.parametrize("which", [0, 1])
def test_each_row_is_its_product_and_the_sum_is_that_of_the_rows(which: int) -> None:
    *rows, last = sums()[which]
    for what, quantity, price, per, comes_to in rows:
        assert f"{number(quantity) * number(price) / number(per):.4f}" == comes_to, what
    assert last[0] == "**sum**"
    assert f"{sum(number(row[4]) for row in rows):.4f}" == last[4].strip("*")


def test_prices_are_those_of_the_table_of_prices() -> None:
    listed = {(float(row[1]), number(row[2].split()[0])) for row in table(PAGE, "what", "USD")}
    for rows in sums():
        for what, _, price, per, _ in rows[:-1]:
            unit = 1.0 if number(per) == 1_000_000_000 else number(per)
            assert (float(price), unit) in listed, what


def test_the_first_sum_is_of_the_incidents_that_retry_repairs() -> None:
    repaired = {name: values[1] for name, values in used().items()}
    numbers = {int(one) for row in sums()[0] for one in re.findall(r"\d+", row[1].replace(",", ""))}
    assert set(repaired.values()) - {1, 0} <= numbers


def test_timers_and_alerts_are_as_many_as_there_are() -> None:
    source = (ROOT / "functions" / "triggers.py").read_text("utf-8")
    day = datetime(2026, 11, 2, tzinfo=UTC)
    counts = []
    for text in re.findall(r'timer_trigger\(schedule="([^"]+)"', source):
        schedule, at, count = Schedule(text), day - timedelta(seconds=1), 0
        while (at := schedule.after(at)) < day + timedelta(days=1):
            count += 1
        counts.append(count)
    assert sorted(counts) == [1, 96, 96]
    alerts = (INFRA / "modules" / "alerts.bicep").read_text("utf-8")
    rows = {row[0]: row[1] for row in sums()[1]}
    assert rows["log alerts"] == str(len(re.findall(r"^    query: load", alerts, re.MULTILINE)))
    assert rows["metric alerts, one topic"] == str(len(re.findall(r"'Microsoft\.Insights/metricAlerts@", alerts)))
