"""The corpus of failure texts is classified well, and no text triggers an action that it should not."""

import json
from collections import Counter
from pathlib import Path

from local.commands import evaluating
from remediations.catalogue import CAUSES

CORPUS = Path(__file__).parent / "corpus"


def test_the_corpus_is_classified_well_and_triggers_nothing_false() -> None:
    rows, bad = evaluating.read(str(CORPUS / name) for name in ("failures.jsonl", "unknown.jsonl"))
    found = evaluating.measured(rows)
    assert bad == []
    assert [(row.id, row.got.action) for row in found.false_triggers] == []
    least = {"code": 0.95, "cause": 0.90, "unknown": 0.95}
    assert evaluating.missed(found, least) == ()


def test_every_cause_has_three_texts_and_sixty_more_are_unknown() -> None:
    rows = [
        json.loads(line)
        for name in ("failures.jsonl", "unknown.jsonl")
        for line in (CORPUS / name).read_text(encoding="utf-8").splitlines()
    ]
    assert len({row["id"] for row in rows}) == len({row["message"] for row in rows}) == len(rows)
    count = Counter(row.get("of", row["cause"]) for row in rows)
    assert {cause.id: count[cause.id] for cause in CAUSES if count[cause.id] < 3} == {}
    assert {row["of"] for row in rows if "of" in row} == {cause.id for cause in CAUSES if cause.needs_support}
    assert count["unknown"] >= 60
