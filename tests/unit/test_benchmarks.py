"""Rows become JSON and a table; nothing is measured here."""

import json
from datetime import UTC, datetime

import pytest

from benchmarks import least, report
from benchmarks.bench import Bench
from benchmarks.environments import ENVIRONMENTS
from benchmarks.machine import Machine
from benchmarks.report import Result
from benchmarks.row import Row, at_least, at_most, figure, ratio
from benchmarks.rows import ROWS
from benchmarks.subjects import workload
from remediations.actions import ACTIONS

OURS = [{"s": 0.3}, {"s": 0.9}, {"s": 0.33}]
FLOOR = [{"s": 0.3}, {"s": 0.3}, {"s": 0.3}]


def machine(*, load: float) -> Machine:
    return Machine(
        at=datetime(2026, 11, 23, 12, 0, tzinfo=UTC),
        cores=2,
        memory_gib=23.5,
        processor="Some CPU",
        system="Linux 6.1",
        python="3.13.0",
        load=load,
    )


def made(name="cold-start"):
    ours = figure("ours", "process to app indexed", "s", OURS, "s", bound=at_most(0.32))
    floor = figure("the floor", "process to app indexed", "s", FLOOR, "s")
    row = Row(
        name=name,
        question="What does it cost?",
        figures=(ours, floor),
        ratios=(ratio("ours to the floor", ours, floor, at_most(1.15)),),
        notes=("Memory is not counted.",),
        left_out=("rulebook needs the command java, which is not on PATH",),
    )
    return Result(row=row, machine=machine(load=0.2), versions={"app": "(structlog 1.0; Python 3.13)"}, rounds=3)


def test_a_row_becomes_a_section_with_medians_what_was_asked_and_the_machine():
    assert report.table([made()]) == (
        "# Benchmarks\n"
        "\n"
        "Made by `make bench`. Medians, with the least and the greatest value of all rounds.\n"
        "\n"
        "## cold-start\n"
        "\n"
        "What does it cost?\n"
        "\n"
        "| subject | what | median | least to greatest | asked |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| ours | process to app indexed | 0.33 s | 0.3 to 0.9 | at most 0.32: **no** |\n"
        "| the floor | process to app indexed | 0.3 s | 0.3 to 0.3 |  |\n"
        "\n"
        "Compared round by round:\n"
        "\n"
        "| ratio | median | least to greatest | asked |\n"
        "| --- | --- | --- | --- |\n"
        "| ours to the floor | 1.1 | 1 to 3 | at most 1.15: yes |\n"
        "\n"
        "* Memory is not counted.\n"
        "* Left out: rulebook needs the command java, which is not on PATH\n"
        "\n"
        "2026-11-23 12:00 UTC, 2 cores of Some CPU, 24 GiB, Linux 6.1, Python 3.13.0, load 0.2 at the beginning. "
        "3 rounds. app (structlog 1.0; Python 3.13)\n"
    )


def test_a_row_is_kept_as_json_beside_the_others_and_the_table_holds_them_all(tmp_path):
    report.keep(made("one"), tmp_path)
    report.keep(made("another"), tmp_path)
    place = report.keep(made("one"), tmp_path)
    shown = json.loads(place.read_text())
    assert shown["machine"]["at"] == "2026-11-23T12:00:00Z"
    assert shown["row"]["figures"][0]["values"] == [0.3, 0.9, 0.33]
    assert shown["row"]["ratios"][0]["bound"] == {"sign": "at most", "value": 1.15}
    assert report.kept(tmp_path) == [made("another"), made("one")]
    table = (tmp_path / "README.md").read_text()
    assert [line for line in table.splitlines() if line.startswith("## ")] == ["## another", "## one"]


def test_figures_of_a_busy_machine_are_called_provisional():
    busy = machine(load=1.4)
    assert busy.words.endswith("load 1.4 at the beginning (others were at work: take these figures as provisional)")


@pytest.mark.parametrize(
    ("value", "words"),
    [(1606, "1,606"), (0.0004217, "0.000422"), (2.0, "2"), (61.44, "61.4"), (153.26, "153"), (0, "0")],
)
def test_a_number_is_shown_with_three_digits_that_tell(value, words):
    assert report.shown(value) == words


def test_a_bound_holds_at_its_own_value():
    assert at_most(1.15).holds(1.15)
    assert not at_most(1.15).holds(1.16)
    assert at_least(10).holds(10)
    assert not at_least(10).holds(9.9)


def test_subjects_take_turns_and_the_first_round_is_thrown_away(tmp_path):
    order = []

    def subject(name):
        def run():
            order.append(name)
            return {"number": float(len(order))}

        return run

    found = Bench(tmp_path, 2, lambda _: None).in_turns({"a": subject("a"), "b": subject("b")})
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert found == {"a": [{"number": 4.0}, {"number": 5.0}], "b": [{"number": 3.0}, {"number": 6.0}]}


def test_a_subject_gets_no_setting_of_whoever_measures(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("MEDIC_MODE", "auto")
    script = "import os; print(sorted(name for name in os.environ if name.startswith(('MEDIC_', 'PYTHON', 'BENCH_'))))"
    with Bench(tmp_path, 1, lambda _: None) as bench:
        printed = bench.run([str(bench.own_python), "-c", script])
    assert printed == "['BENCH_STARTED', 'PYTHONPATH']\n"


def test_every_row_is_named_after_its_module():
    assert {name: one.__module__.rpartition(".")[2].replace("_", "-") for name, one in ROWS.items()} == {
        name: name for name in ROWS
    }


def test_what_peers_need_is_pinned_exactly():
    for environment in ENVIRONMENTS.values():
        lines = [line.partition("#")[0].strip() for line in environment.requirements.read_text().splitlines()]
        assert [line for line in lines if line and "==" not in line] == []


def test_every_part_of_a_repair_is_written_down_with_a_reason_for_each_call():
    table = least.table()
    assert {part for repair in table.repairs.values() for part in repair.parts} == set(table.parts)
    reasons = [reason for part in table.parts.values() for call in part for reason in call.values()]
    assert min(len(reason) for reason in reasons) > len("the repair") - 1
    assert set(table.repairs) == {name for name in ACTIONS if not name.startswith("undo-")}


def test_looks_whether_operations_are_over_are_no_calls_that_a_repair_needs():
    needed = {"GET deployment": 2, "GET operation": 1}
    made = {"GET deployment": 3, "GET operation": 4, "GET operation-result": 2, "PUT deployments": 1}
    asked, polls = least.without_polls(made, needed)
    assert (dict(asked), polls) == ({"GET deployment": 3, "GET operation": 1, "PUT deployments": 1}, 5)


@pytest.mark.parametrize(
    ("call", "is_write"),
    [("PUT deployments", True), ("POST resyncKeys", True), ("POST getLogs", False), ("GET deployment", False)],
)
def test_a_call_that_changes_something_is_a_write(call, is_write):
    assert least.is_write(call) is is_write


def test_the_share_below_which_latencies_lie():
    found = workload.percentiles([number / 1000 for number in range(1, 101)])
    assert found == {"per_s": pytest.approx(19.80, abs=0.01), "p50_ms": 51.0, "p95_ms": 96.0, "p99_ms": 100.0}
