"""What a violation cites can be looked up in the folder of its round, under the number or name that it gives."""

import json
from datetime import UTC, datetime
from pathlib import Path

from local.arm.models import Entry
from local.chaos.drawing import draw
from local.chaos.keeping import keep
from local.chaos.played import Delivery, Lease, Round, Violation, Watched
from local.chaos.story import from_json

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
STORY = draw(5, 0)


def entry(path: str) -> Entry:
    return Entry(
        at=NOON,
        method="PUT",
        path=path,
        principal="medic",
        client_request_id="r1",
        correlation_id="c1",
        status=201,
        took_effect=True,
        body={"tags": {}},
    )


def test_what_a_violation_cites_is_kept_under_its_number(tmp_path: Path) -> None:
    worlds = [
        Watched(name=name, ledger=(entry(f"/{name}/0"), entry(f"/{name}/1")), shown=(), changes=(), principals={})
        for name in ("one", "two")
    ]
    over = Round(
        store=tmp_path,
        worlds=tuple(worlds),
        deliveries=tuple(Delivery(at=NOON, body={"id": number}, answer=202) for number in range(3)),
        mode="auto",
        policy={},
        now=NOON,
        desks=(Lease(desk="/desk/a", owner="inc-1", until=NOON),),
        texts={"history inc-1": b"it began", "history @desk@/s/1": b"{}", "page 0": b"<html>"},
    )
    broken = Violation(invariant="one-send", words="it was sent twice", records=("ledger two 1", "delivery 2"))
    keep(STORY, over, [broken])

    def lines(name: str) -> list[dict[str, object]]:
        return [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]

    assert [(line["number"], line["path"], line["status"]) for line in lines("ledger-two.jsonl")] == [
        (0, "/two/0", 201),
        (1, "/two/1", 201),
    ]
    assert len(lines("ledger-one.jsonl")) == 2
    assert lines("deliveries.jsonl")[2] == {
        "number": 2,
        "at": "2026-11-23T12:00:00Z",
        "body": {"id": 2},
        "answer": 202,
    }
    assert [line["desk"] for line in lines("desks.jsonl")] == ["/desk/a"]
    assert lines("violations.jsonl")[0]["records"] == ["ledger two 1", "delivery 2"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "texts").iterdir()} == {
        "history inc-1": b"it began",
        "history @desk@%2Fs%2F1": b"{}",
        "page 0": b"<html>",
    }
    assert from_json((tmp_path / "story.json").read_bytes()) == STORY
