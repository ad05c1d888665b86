"""Recorded values of the trail and of evidence: what today's code has to read, whichever version wrote it."""

import json
import lzma
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from remediations import codec
from remediations.model import AuditRecord, Decision, Evidence, Incident, Outcome
from remediations.policy import Pause
from remediations.proof.checkpoint import Page
from remediations.register import Line
from remediations.situation import Declined, Situation
from remediations.storms import Groups, Member, Roll
from remediations.trail import (
    Answered,
    Effect,
    Ended,
    Intake,
    Intent,
    Joined,
    Opened,
    Question,
    Refusal,
    Result,
    Settled,
    Slot,
    Vote,
)

VALUES = Path(__file__).parent / "values"
# What lies under a name of the trail, as the table in remediations/trail.py tells; a file of lines holds one on each.
ON_THE_TRAIL: dict[str, type] = {
    r"intake/.+": Intake,
    r"incidents/[^/]+/opened": Opened,
    r"incidents/[^/]+/joined/.+": Joined,
    r"incidents/[^/]+/ended": Ended,
    r"audit/.+": AuditRecord,
    r"resources/.+": Incident,
    r"effects/.+/intent": Intent,
    r"effects/.+/outcome": Outcome,
    r"effects/.+/settled": Settled,
    r"targets/.+": Effect,
    r"(?:requests|budget)/.+": Slot,
    r"results/.+": Result,
    r"approvals/[^/]+/asked": Question,
    r"approvals/[^/]+/decided": Answered,
    r"approvals/.+/votes/.+": Vote,
    r"refused/.+": Refusal,
    r"pauses/.+": Pause,
    r"days/.+": Line,
    r"checkpoints/.+": Page,
    r"members/.+": Member,
    r"storms/.+/rolls/.+": Roll,
    r"storms/.+/groups/.+": Groups,
}
# Whose names say all that is read of them.
NAMES_ALONE = re.compile(r"storms/.+/(?:places/.+|members/.+|begun)")
# Evidence lies under its digest, so what it is shows in what it is read as without a loss.
AS_EVIDENCE: tuple[type, ...] = (Evidence, Situation, Decision, Declined)
TYPES = {type_.__name__: type_ for type_ in (*ON_THE_TRAIL.values(), *AS_EVIDENCE)}


def type_at(name: str) -> type:
    """Give the type of what lies under a name of the trail."""
    return next(type_ for pattern, type_ in ON_THE_TRAIL.items() if re.fullmatch(pattern, name))


def lost(recorded: Any, read: Any, at: str = "$") -> Iterator[str]:
    """Say what of a recorded value is not in what was read of it, written again."""
    if isinstance(recorded, dict):
        if not isinstance(read, dict):
            yield at
            return
        for key, value in recorded.items():
            if key in read:
                yield from lost(value, read[key], f"{at}.{key}")
            else:
                yield f"{at}.{key}"
    elif isinstance(recorded, list):
        if not isinstance(read, list) or len(read) != len(recorded):
            yield at
            return
        for number, (one, other) in enumerate(zip(recorded, read, strict=True)):
            yield from lost(one, other, f"{at}[{number}]")
    elif recorded != read:
        yield at


def read_as(type_: Any, plain: Any) -> Any:
    """Give a recorded value as today's code reads it and writes it again; raises ValueError if it cannot."""
    return json.loads(codec.encode(codec.decode(type_, json.dumps(plain).encode())))


def paths(plain: Any, at: str = "$") -> set[str]:
    """Give the fields of a value that hold something, and of which kind it is."""
    if isinstance(plain, dict):
        tag = f"<{plain['type']}>" if isinstance(plain.get("type"), str) else ""
        return {f"{at}{tag}"}.union(*(paths(value, f"{at}{tag}.{key}") for key, value in plain.items()))
    if isinstance(plain, list):
        return {f"{at}[]"}.union(*(paths(value, f"{at}[]") for value in plain))
    return {f"{at}:{type(plain).__name__}"}


def telling(found: Iterator[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Give of many values, each with the name of its type, those that show a field which no smaller one shows."""
    seen: dict[str, set[str]] = {}
    kept = []
    for name, plain in sorted(
        found, key=lambda one: (one[0], len(json.dumps(one[1])), json.dumps(one[1], sort_keys=True))
    ):
        shown = paths(plain)
        if not shown <= seen.setdefault(name, set()):
            seen[name] |= shown
            kept.append((name, plain))
    return kept


def of_folder(folder: Path) -> Iterator[tuple[str, Any]]:
    """Give all values in a store of this machine."""
    for path in sorted((folder / "trail").rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            name = path.relative_to(folder / "trail").as_posix()
            if not NAMES_ALONE.fullmatch(name):
                for line in path.read_bytes().splitlines():
                    yield type_at(name).__name__, json.loads(line)
    for path in sorted((folder / "evidence").rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            plain = json.loads(path.read_bytes())
            for type_ in AS_EVIDENCE:
                try:
                    again = read_as(type_, plain)
                except msgspec.MsgspecError:
                    continue
                if again == plain:
                    yield type_.__name__, plain


def read(version: int) -> list[tuple[str, Any]]:
    """Give the values that one version of the walk left."""
    lines = lzma.decompress((VALUES / f"{version}.jsonl.xz").read_bytes()).splitlines()
    return [(name, plain) for name, plain in map(json.loads, lines)]


def write(version: int, kept: list[tuple[str, Any]]) -> None:
    """Keep the values that one version of the walk left."""
    VALUES.mkdir(exist_ok=True)
    content = "".join(f"{json.dumps(one, sort_keys=True, separators=(',', ':'))}\n" for one in kept).encode()
    (VALUES / f"{version}.jsonl.xz").write_bytes(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))
