"""The corpus of failure texts is classified well, and no text triggers an action that it should not."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from local.commands import evaluating
from local.commands.texts import judge
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


def _ci(text: str) -> str:
    return "\n".join(f"2026-03-11T08:10:0{at % 10}.4412907Z {line}" for at, line in enumerate(text.split("\n")))


DECORATIONS: dict[str, Callable[[str], str]] = {
    "nested": lambda text: json.dumps(
        {"error": {"code": "BadRequest", "details": [{"code": "UserError", "message": text}]}}
    ),
    "doubly escaped": lambda text: json.dumps(
        {"statusMessage": json.dumps({"error": {"code": "None", "message": text}})}
    ),
    "Python bytes": lambda text: f"Content: {json.dumps({'code': 'BadRequest', 'message': text}).encode()!r}",
    "a CI log": _ci,
    "quoted": lambda text: "\n".join(f"> {line}" for line in text.split("\n")),
    "colored": lambda text: f"\x1b[91m{text}\x1b[0m",
    "Windows lines": lambda text: text.replace("\n", "\r\n"),
    "told twice": lambda text: f"{text}\n{text}",
    "an SDK's exception": lambda text: f"azure.core.exceptions.HttpResponseError: {text}\nDuring handling of the above",
    "fenced": lambda text: f"Error message:\n```\n{text}\n```",
}


@pytest.mark.parametrize("name", DECORATIONS)
def test_however_a_text_was_pasted_it_is_named_alike(name: str) -> None:
    rows, _ = evaluating.read(str(CORPUS / name) for name in ("failures.jsonl", "unknown.jsonl"))
    changed: list[tuple[str, str]] = []
    for row in rows:
        labels = (row.compute, row.phase)
        plain, pasted = judge(row.message, *labels), judge(DECORATIONS[name](row.message), *labels)
        assert pasted.action in {None, plain.action}, row.id
        if pasted.cause_id != plain.cause_id:
            changed.append((plain.cause_id, pasted.cause_id))
    assert len(changed) <= 3, changed
    assert "unknown" not in {before for before, _ in changed}
