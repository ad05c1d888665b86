"""``medic evaluate``: labelled texts, figures, and how far these can be trusted."""

import json
import math
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from typer.testing import CliRunner

from local.cli import app
from local.commands.evaluating import Share, upper_bound
from tests.commands import settle

ROOT = Path(__file__).parents[2]
PRIORITY = "Operation was canceled by another operation that has a higher priority"
QUOTA = "Not enough quota available for Standard_DS2_v2 Current usage/limit: 4/6. Additional needed: 4"
CANCELED = {"code": "OperationCanceled", "cause": "canceled-higher-priority", "action": "retry"}
CPU = {"code": "OutOfQuota", "cause": "quota-cpu", "action": "delete-idle"}
UNKNOWN = {"code": "Unknown", "cause": "unknown", "action": None}


@pytest.fixture
def evaluate(monkeypatch, tmp_path):
    settle(monkeypatch, tmp_path)

    def run(rows, *options: str):
        lines = [row if isinstance(row, str) else json.dumps({"id": n, **row}) for n, row in enumerate(rows)]
        (tmp_path / "rows.jsonl").write_text("\n".join(lines))
        return CliRunner().invoke(app, ["evaluate", "rows.jsonl", *options])

    return run


def rows(*, right=0, abstained=0, unknown=0, triggered=0, mistaken=0):
    """Give rows that are right, should have a cause and get none, are rightly unknown, trigger wrongly, ..."""
    return [
        *[{"message": PRIORITY, **CANCELED}] * right,
        *[{"message": "no idea", **CPU, "action": None}] * abstained,
        *[{"message": "no idea", **UNKNOWN}] * unknown,
        *[{"message": PRIORITY, **UNKNOWN}] * triggered,
        *[{"message": QUOTA, **CPU, "cause": "quota-memory"}] * mistaken,
    ]


def test_the_figures_are_counted_for_programs(evaluate) -> None:
    result = evaluate(rows(right=3, abstained=2, unknown=4, mistaken=1), "--json")
    answer = json.loads(result.stdout)
    assert result.exit_code == 0
    assert answer["rows"] == {"all": 10, "failures": 6, "unknown": 4}
    assert {name: one["failures"]["count"] for name, one in answer["accuracy"].items()} == {
        "action": 6,
        "cause": 3,
        "code": 4,
    }
    assert answer["accuracy"]["cause"]["unknown"] == {"count": 4, "of": 4, "share": 1.0}
    assert answer["recall"] == {"count": 4, "of": 4, "share": 1.0}
    assert answer["false_triggers"]["count"] == 0
    assert answer["false_triggers"]["at_most_95"] == pytest.approx(1 - 0.05 ** (1 / 6))
    assert (answer["abstentions"]["count"], answer["wrong_names"]["count"]) == (2, 1)
    assert answer["confusion"] == [
        {"expected": "quota-cpu", "got": "unknown", "count": 2},
        {"expected": "quota-memory", "got": "quota-cpu", "count": 1},
    ]
    assert [one["id"] for one in answer["differing"]] == [3, 4, 9]
    assert (answer["not_in_catalogue"], answer["missed"]) == ([], [])


def test_people_read_the_figures_and_the_rows_that_differ(evaluate) -> None:
    result = evaluate(rows(right=3, abstained=1, unknown=2), "--rows")
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert (result.exit_code, lines[0]) == (0, "6 rows: 4 failures with a cause, 2 that should be unknown")
    assert " action    6 of 6, 100 %    4 of 4, 100 %   2 of 2, 100 %" in lines
    assert " cause    5 of 6, 83.3 %   3 of 4, 75.0 %   2 of 2, 100 %" in lines
    bound = "false triggers     0 of 3 that call for none; at most 63.16 % with 95 %"
    assert any(line.startswith(bound) for line in lines)
    assert "recall of actions  3 of 3, 100 %" in lines
    assert "abstentions        1 of 4, 25.0 %" in lines
    assert [line.split() for line in lines if "expected" in line][1:] == [["expected", "quota-cpu,", "OutOfQuota"]]
    assert "  given     unknown, Unknown" in lines
    assert max(map(len, lines)) <= 80


def test_a_false_trigger_is_exit_1_and_named(evaluate) -> None:
    result = evaluate(rows(right=1, triggered=1))
    assert result.exit_code == 1
    assert "1: retry by canceled-higher-priority" in result.stdout
    other = evaluate([{"message": PRIORITY, **CANCELED, "action": "sync-keys"}], "--json")
    assert (other.exit_code, json.loads(other.stdout)["false_triggers"]["ids"]) == (1, [0])


def test_an_action_that_is_missed_is_no_false_trigger(evaluate) -> None:
    result = evaluate([{"message": "no idea", **CPU}], "--json")
    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["false_triggers"]["count"], answer["recall"]["share"]) == (0, 0, 0.0)


@pytest.mark.parametrize(
    ("least", "missed"),
    [
        ("cause=0.75", []),
        ("cause=0.76", ["cause is 3 of 4, 75.0 %; at least 0.76 is asked for"]),
        ("unknown=1", []),
        ("recall=1", []),
        ("code=0.8", ["code is 3 of 4, 75.0 %; at least 0.8 is asked for"]),
        ("action=1", []),
    ],
)
def test_a_share_below_what_is_asked_for_is_exit_1(evaluate, least, missed) -> None:
    result = evaluate(rows(right=3, abstained=1, unknown=2), "--json", "--at-least", least)
    assert (result.exit_code, json.loads(result.stdout)["missed"]) == (1 if missed else 0, missed)


def test_what_cannot_be_measured_misses_what_is_asked_for(evaluate) -> None:
    result = evaluate(rows(right=1), "--at-least", "unknown=0")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (
        1,
        "missed: unknown is none to measure; at least 0 is asked for",
    )


@pytest.mark.parametrize("least", ["cause", "cause=", "cause=x", "cause=95", "cause=-1", "cause=nan", "luck=0.5"])
def test_a_threshold_that_cannot_be_read_is_wrong_usage(evaluate, least) -> None:
    result = evaluate(rows(right=1), "--at-least", least)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"--at-least {least!r} cannot be read" in result.stderr


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("{bad", "JSON is malformed"),
        ("[]", "Expected `object`, got `array`"),
        ({"message": PRIORITY}, "Object missing required field `code`"),
        ({"message": 1, **CPU}, "Expected `str`, got `int`"),
        ({"message": "x", "code": "OutOfQuota", "cause": "quota-cpu"}, "it has no `action`; null expects none"),
        ({"message": "x", **CPU, "action": "reboot"}, "there is no action 'reboot'; there are "),
        ({"message": "x", **UNKNOWN, "action": "retry"}, "it expects retry, and an unknown cause"),
        ({"message": "x", **CPU, "negative": True}, "it expects delete-idle, and an unknown cause"),
    ],
)
def test_a_bad_row_is_named_by_its_line_and_nothing_is_measured(evaluate, row, why) -> None:
    result = evaluate([*rows(right=1), row, *rows(right=1)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"medic: rows.jsonl, line 2 is no row: {why}")


def test_many_bad_rows_are_counted(evaluate) -> None:
    result = evaluate(["{"] * 30)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 21)
    assert result.stderr.splitlines()[-1] == "medic: 10 further rows cannot be read either."


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_nothing_to_evaluate_is_wrong_usage(evaluate, options) -> None:
    result = evaluate([""], *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "there is nothing to evaluate" in result.stderr


def test_a_file_that_is_not_there_is_named(evaluate) -> None:
    result = evaluate(rows(right=1), "none.jsonl")
    assert result.exit_code == 2
    assert "none.jsonl cannot be read: No such file or directory" in result.stderr


@pytest.mark.parametrize(
    "row",
    [
        {"code": "Unknown", "cause": "what-people-call-it", "remedy": "none"},
        {"code": "BadRequest", "cause": "what-people-call-it", "remedy": "none", "negative": True},
        {"code": "Unknown", "cause": "unknown", "action": None, "remedy": "retry", "negative": None},
        {"code": "X", "cause": "unknown", "action": "none", "compute": "edge", "phase": "other", "more": []},
    ],
)
def test_unknown_is_expected_of_what_a_row_calls_so(evaluate, row) -> None:
    result = evaluate([{"message": "no idea", **row}], "--json", "--at-least", "unknown=1")
    assert (result.exit_code, json.loads(result.stdout)["rows"]["unknown"]) == (0, 1)


def test_causes_that_are_not_in_the_catalogue_are_named(evaluate) -> None:
    result = evaluate([{"message": "no idea", "code": "X", "cause": "gremlins", "action": None}])
    assert "not in catalogue   gremlins" in [line.rstrip() for line in result.stdout.splitlines()]


def test_the_command_evaluates_several_files_and_stdin(tmp_path) -> None:
    (tmp_path / "one.jsonl").write_text(json.dumps({"id": "one", "message": PRIORITY, **CANCELED}))
    done = subprocess.run(
        [sys.executable, "-m", "local.cli", "evaluate", str(tmp_path / "one.jsonl"), "-", "--json"],
        cwd=ROOT,
        input=json.dumps({"id": "two", "message": "no idea", **UNKNOWN}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["rows"] == {"all": 2, "failures": 1, "unknown": 1}


# ------------------------------------------------------------------------------------------------ the bound


@pytest.mark.parametrize("of", [1, 10, 59, 135, 571, 100_000])
def test_none_of_many_bounds_as_the_rule_of_three_does(of) -> None:
    assert upper_bound(0, of) == pytest.approx(1 - 0.05 ** (1 / of), rel=1e-9)


# One-sided at 95 % is the upper end of the two-sided interval at 90 %.
@pytest.mark.parametrize(
    ("count", "of", "bound"), [(1, 10, 0.3942), (5, 10, 0.7776), (2, 50, 0.1206), (10, 10, 1.0), (9, 10, 0.9949)]
)
def test_the_bound_is_that_of_tables(count, of, bound) -> None:
    assert upper_bound(count, of) == pytest.approx(bound, abs=5e-5)


@pytest.mark.parametrize(("count", "of"), [(0, 7), (1, 135), (3, 571), (40, 60), (999, 1000)])
def test_at_the_bound_so_few_are_seen_in_one_of_twenty_samples(count, of) -> None:
    share = Fraction(upper_bound(count, of))
    chance = sum(math.comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(count + 1))
    assert float(chance) == pytest.approx(0.05, rel=1e-6)


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (Share(count=0, of=0), "none to measure"),
        (Share(count=3, of=3), "3 of 3, 100 %"),
        (Share(count=9999, of=10_000), "9999 of 10000, 99.9 %"),
        (Share(count=0, of=3), "0 of 3, 0.0 %"),
    ],
)
def test_a_share_is_never_rounded_up_to_all(share, words) -> None:
    assert share.words == words
