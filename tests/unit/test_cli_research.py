"""``medic classify --jsonl`` on real failures. Collected only when MEDIC_RESEARCH names the folder."""

import json

from typer.testing import CliRunner

from local.cli import app
from local.commands import evaluating


def test_no_real_text_nominates_an_action_that_is_not_its_own(research) -> None:
    file = research / "errors/messages.jsonl"
    rows = {row["id"]: row for row in map(json.loads, file.read_text().splitlines())}
    result = CliRunner().invoke(app, ["classify", "--jsonl", str(file)])
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert (result.exit_code, [answer["id"] for answer in answers]) == (0, list(rows))
    acting = {answer["id"]: (answer["cause"], answer["action"]) for answer in answers if answer["action"] is not None}
    assert acting == {
        name: (rows[name]["cause"], rows[name]["remedy"]) for name in acting if rows[name]["remedy"] != "none"
    }
    retries = [name for name, row in rows.items() if row["remedy"] == "retry"]
    assert [acting[name][1] for name in retries] == ["retry", "retry", "retry"]


def test_real_texts_are_classified_well_and_trigger_nothing_false(research) -> None:
    rows, bad = evaluating.read([str(research / "errors/messages.jsonl")])
    found = evaluating.measured(rows)
    assert (len(rows), bad) == (135, [])
    assert [(row.id, row.got.action) for row in found.false_triggers] == []
    assert evaluating.missed(found, {"code": 0.95, "cause": 0.90, "unknown": 0.95}) == ()
