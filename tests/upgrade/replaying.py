"""Recorded histories of the walk, and how today's code replays them.

A file is the histories of one orchestrator, one JSON object a line, compressed: what a worker was given, turn by turn,
and what it asked for. `tests/upgrade/record.py` writes them when a version of the walk is released; afterwards they
are never written again, since instances with such histories are what an upgrade meets.
"""

import json
import logging
import lzma
import types
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb
from azure.durable_functions.internal.compat.orchestration_context import wrap_orchestrator
from azure.durable_functions.internal.serialization import DEFAULT_FUNCTIONS_DATA_CONVERTER
from durabletask.worker import _OrchestrationExecutor, _Registry
from google.protobuf.json_format import MessageToDict, ParseDict  # type: ignore[import-untyped]
from msgspec import Struct

from functions import orchestrators

HISTORIES = Path(__file__).parent / "histories"
WALKERS = ("remediate", "gather", "repair", "follow", "notify", "mustering", "ramp")

type Plain = dict[str, Any]


class Turn(Struct, frozen=True):
    """One call of the worker.

    Attributes:
        past: How many events of the history came before those of the turn.
        new: How many came with it.
        actions: What the worker asked for.
    """

    past: int
    new: int
    actions: list[Plain]


class History(Struct, frozen=True, kw_only=True, dict=True):
    """One execution of one orchestrator: until it ends, or continues as new."""

    scenario: str
    instance: str
    orchestrator: str
    events: list[Plain]
    turns: list[Turn]

    @cached_property
    def messages(self) -> list[pb.HistoryEvent]:
        """Its events, as the engine takes them."""
        return [ParseDict(event, pb.HistoryEvent()) for event in self.events]

    @property
    def input(self) -> Any:
        """The order that it was started with."""
        started = next(event["executionStarted"] for event in self.events if "executionStarted" in event)
        return json.loads(started["input"])

    @property
    def shape(self) -> str:
        """What tells it from others of the same walk: the kinds and names of its events and actions, turn by turn."""
        seen = [
            (*map(_kind, self.events[turn.past : turn.past + turn.new]), *map(_kind, turn.actions))
            for turn in self.turns
        ]
        return json.dumps([self.orchestrator, seen])


def versions() -> list[int]:
    """The versions of the walk that have histories."""
    return sorted(int(folder.name) for folder in HISTORIES.iterdir() if folder.is_dir())


def read(version: int) -> Iterator[History]:
    """Give the histories of one version of the walk."""
    for file in sorted((HISTORIES / str(version)).glob("*.jsonl.xz")):
        for line in lzma.decompress(file.read_bytes()).splitlines():
            plain = json.loads(line)
            yield History(**{**plain, "turns": [Turn(*turn) for turn in plain["turns"]]})


def write(version: int, histories: Sequence[History]) -> None:
    """Keep the histories of one version of the walk."""
    folder = HISTORIES / str(version)
    folder.mkdir(parents=True, exist_ok=True)
    for name in WALKERS:
        lines = []
        for one in histories:
            if one.orchestrator == name:
                turns = [[turn.past, turn.new, turn.actions] for turn in one.turns]
                plain = {"scenario": one.scenario, "instance": one.instance, "orchestrator": name, "events": one.events}
                lines.append(json.dumps({**plain, "turns": turns}, sort_keys=True, separators=(",", ":")))
        content = "".join(f"{line}\n" for line in lines).encode()
        (folder / f"{name}.jsonl.xz").write_bytes(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))


def walk_of(module: Any = orchestrators) -> _Registry:
    """Give a module's orchestrators as the engine calls them: through the wrapper of azure-functions-durable."""
    registry = _Registry()
    for name in WALKERS:
        registry.add_named_orchestrator(name, wrap_orchestrator(getattr(module, name)))
    return registry


def changed(*edits: tuple[str, str]) -> types.ModuleType:
    """Give the module of orchestrators with some of its text replaced."""
    source = Path(orchestrators.__file__).read_text("utf-8")
    for old, new in edits:
        assert source.count(old) == 1, f"{old!r} stands {source.count(old)} times in orchestrators.py"
        source = source.replace(old, new)
    module = types.ModuleType("changed_orchestrators")
    exec(compile(source, "changed_orchestrators.py", "exec"), vars(module))
    return module


def actions_of(registry: _Registry, history: History, turn: Turn) -> list[Plain]:
    """Give what today's code asks for in one turn, after it has replayed all that came before."""
    past, end = turn.past, turn.past + turn.new
    executor = _OrchestrationExecutor(registry, _quiet(), DEFAULT_FUNCTIONS_DATA_CONVERTER)
    result = executor.execute(history.instance, history.messages[:past], history.messages[past:end])
    return [plain(action) for action in result.actions]


def plain(message: Any) -> Plain:
    """Give a message of the engine as JSON; traces of the stack are of one machine, and nobody compares them."""
    given: Plain = MessageToDict(message)
    _strip(given)
    return given


def differences(registry: _Registry, history: History) -> list[str]:
    """Say in which turns today's code asks for something else than what was asked for, or cannot replay at all."""
    found = []
    for number, turn in enumerate(history.turns, 1):
        given = actions_of(registry, history, turn)
        if given != turn.actions:
            where = f"{history.orchestrator} of {history.scenario}, turn {number}"
            found.append(f"{where}: asked for {_shown(turn.actions)}, now for {_shown(given)}")
    return found


def _kind(message: Plain) -> str:
    kind = next((key for key in message if key not in {"eventId", "timestamp", "id"}), "")
    body: Any = message.get(kind) or {}
    inner = body.get("entityOperationCalled", body.get("entityOperationSignaled", body))
    name = inner.get("name") or inner.get("operation") or body.get("orchestrationStatus") or ""
    result = json.loads(body.get("result") or "null")
    end = result["end"] if isinstance(result, dict) and list(result) == ["end"] else ""  # of a walk: where it went
    return f"{kind}:{name.partition(':')[0]}{end}"


def _shown(actions: Sequence[Plain]) -> str:
    return json.dumps(actions)[:400] if actions else "nothing"


def _strip(value: Any) -> None:
    if isinstance(value, dict):
        value.pop("stackTrace", None)
        for inner in value.values():
            _strip(inner)
    elif isinstance(value, list):
        for inner in value:
            _strip(inner)


def _quiet() -> logging.Logger:
    logger = logging.getLogger("replaying")
    logger.setLevel(logging.CRITICAL)
    return logger
