"""The corpus of failure texts is classified well, and no text triggers an action that it should not."""

from pathlib import Path

from local.commands import evaluating

CORPUS = Path(__file__).parent / "corpus"


def test_the_corpus_is_classified_well_and_triggers_nothing_false() -> None:
    rows, bad = evaluating.read(str(CORPUS / name) for name in ("failures.jsonl", "unknown.jsonl"))
    found = evaluating.measured(rows)
    assert bad == []
    assert [(row.id, row.got.action) for row in found.false_triggers] == []
    least = {"code": 0.95, "cause": 0.90, "unknown": 0.95}
    assert evaluating.missed(found, least) == ()
