"""Keep what a violation cites that lies nowhere else, beside the store of its round: in lines of JSON, and as texts."""

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from local.chaos.played import Round, Violation
from local.chaos.story import Story, as_json

STORY = "story.json"


def keep(story: Story, round_: Round, violations: Iterable[Violation]) -> None:
    """Write the story of a round, what broke, and what its records name, each under the number that they give it."""
    folder = round_.store
    (folder / STORY).write_bytes(as_json(story))
    _write(folder / "violations.jsonl", violations)
    for world in round_.worlds:
        _write(folder / f"ledger-{quote(world.name, safe='')}.jsonl", world.ledger)
    _write(folder / "deliveries.jsonl", round_.deliveries)
    _write(folder / "desks.jsonl", round_.desks)
    texts = folder / "texts"
    texts.mkdir()
    for name, content in round_.texts.items():
        (texts / quote(name, safe=" @")).write_bytes(content)


def _write(path: Path, items: Iterable[Struct]) -> None:
    lines = [msgspec.json.encode({"number": number, **asdict(item)}) for number, item in enumerate(items)]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
