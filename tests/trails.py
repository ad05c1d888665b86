"""Trails for tests: three incidents and a long one, written and signed as the product does; and whoever tampers."""

import base64
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from remediations import codec, rolls
from remediations.adapters.folder import FolderCopy
from remediations.model import Actor, AuditRecord, Checkpoint, Mode
from remediations.ports import Store
from remediations.proof import anchoring, chain, checking, checkpoint
from remediations.proof.checkpoint import Head, Page
from remediations.trail import Trail, audit_folder
from tests.builders import NOON, MemoryStore

KEY, OTHER_KEY = (base64.b64encode(bytes([digit]) * 32).decode() for digit in (1, 2))
PUBLIC, OTHER_PUBLIC = checkpoint.public_of(KEY), checkpoint.public_of(OTHER_KEY)
MINUTE = timedelta(minutes=1)
QUARTER = timedelta(minutes=15)
CHECKPOINTS = "checkpoints/0000.jsonl"


def make_record(number: int, incident: str = "inc-a", **changes: Any) -> AuditRecord:
    fields: dict[str, Any] = {
        "seq": number,
        "at": NOON + timedelta(seconds=number),
        "incident": incident,
        "stage": "diagnosis",
        "key": f"step:{number}",
        "actor": Actor(),
        "mode": Mode.AUTO,
        "policy_version": "0123456789ab",
        "facts": {"cause": "quota-cpu", "number": number},
        "previous": "",
    }
    return AuditRecord(**{**fields, **changes})


def sealed(records: Iterable[AuditRecord], previous: str = chain.FIRST) -> list[bytes]:
    """Give the lines of records, each chained to the one before."""
    lines = []
    for record in records:
        line, previous = chain.seal(record, previous)
        lines.append(line)
    return lines


def opened(lines: Iterable[bytes]) -> list[AuditRecord]:
    return [codec.decode(AuditRecord, line) for line in lines]


def fill(store: Store, *, key: str = KEY, said: str = "quota-cpu", said_of: int = 0) -> list[Checkpoint]:
    """Write the trail of these tests: three checkpoints, and one record after them.

    Args:
        said, said_of: What inc-a's record of that number says.
    """
    trail = Trail(store)

    def add(incident: str, numbers: range, at: datetime) -> None:
        for number in numbers:
            cause = said if (incident, number) == ("inc-a", said_of) else "quota-cpu"
            trail.append_record(make_record(number, incident, at=at, facts={"cause": cause, "number": number}))

    notes = []
    for turn, added in enumerate(
        (
            (("inc-a", range(3)), ("inc-b", range(2))),
            (("inc-a", range(3, 5)), ("inc-c", range(3))),
            (("inc-b", range(2, 3)),),
        )
    ):
        at = NOON + turn * QUARTER
        for incident, numbers in added:
            add(incident, numbers, at)
        found = anchoring.anchor(store, key, at + MINUTE)
        assert found.checkpoint is not None, found
        assert (found.is_new, found.findings) == (True, ())
        notes.append(found.checkpoint)
    add("inc-a", range(5, 6), NOON + 3 * QUARTER)
    return notes


def fill_long(store: Store, records: int, incident: str = "inc-long") -> None:
    """Write an incident of several files, each file at once."""
    lines = sealed(make_record(number, incident, at=NOON) for number in range(records))
    for number in range(0, records, rolls.MOST_LINES):
        name = rolls.file_of(audit_folder(incident), number // rolls.MOST_LINES)
        store.append(name, b"".join(lines[number : number + rolls.MOST_LINES]), 0)


def memory_of(files: dict[str, bytes]) -> MemoryStore:
    """Give a store that holds these files."""
    store = MemoryStore()
    for name, content in files.items():
        if content:
            store.append(name, content, 0)
    return store


def pages_of(content: bytes) -> list[Page]:
    return [codec.decode(Page, line) for line in content.splitlines()]


def line_of(page: Page) -> bytes:
    return codec.encode(page) + b"\n"


def head_of(lines: list[bytes], incident: str) -> Head:
    """Give the head that a checkpoint takes of some lines."""
    return Head(
        incident=incident,
        records=len(lines),
        length=sum(map(len, lines)),
        hash=codec.decode(AuditRecord, lines[-1]).hash,
    )


def everything(root: Path) -> dict[str, tuple[bytes | str, int]]:
    """Give all that lies in a folder, hidden or not, with the time of its last change."""
    found: dict[str, tuple[bytes | str, int]] = {}
    for path in sorted(root.rglob("*")):
        content = path.read_bytes() if path.is_file() else "no file"
        found[str(path.relative_to(root))] = content, path.lstat().st_mtime_ns
    return found


def verified(root: Path, **options: Any) -> checking.Verdict:
    """Verify a folder as it lies there, as the command does; it must change nothing there."""
    before = everything(root)
    copy = FolderCopy(root)
    verdict = checking.verify(copy, torn=copy.torn(), **options)
    assert everything(root) == before
    return verdict


class Attacker:
    """Somebody who can write what they like to a folder, and sets the hidden lengths right behind them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def lines(self, name: str) -> list[bytes]:
        return (self.root / name).read_bytes().splitlines(keepends=True)

    def write(self, name: str, lines: list[bytes]) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(lines))
        self.length_file(name).write_bytes(b"%020d" % path.stat().st_size)

    def remove(self, name: str) -> None:
        (self.root / name).unlink()
        self.length_file(name).unlink()

    def length_file(self, name: str) -> Path:
        path = self.root / name
        return path.with_name(f".{path.name}.length")
