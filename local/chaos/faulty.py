"""A store that breaks where a story says so, and kills its own process there, or the trigger that it runs in.

Every process of the app has one, in front of the real store. What has been met is claimed in a folder that all of them
share, one empty file each: a fault is met so many times in all, whichever process meets it, also across kills.
"""

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from local.chaos.story import Kill, StoreFault
from remediations.adapters.folder import FolderStore
from remediations.errors import AlreadyExists, AppendConflict, StoreUnavailable

PLAN = "plan.json"
LIFTED = "lifted"
RECORDS = {
    "delivery": r"intake/.*",
    "claim": r"incidents/[^/]+/opened",
    "joined": r"incidents/[^/]+/joined/.*",
    "end": r"incidents/[^/]+/ended",
    "index": r"resources/.*",
    "target": r"targets/.*",
    "intent": r"effects/.*/intent",
    "outcome": r"effects/.*/outcome",
    "recorded": r"effects/.*/recorded",
    "settled": r"effects/.*/settled",
    "request": r"requests/.*",
    "slot": r"budget/.*",
    "result": r"results/.*",
    "question": r"approvals/[^/]+/asked",
    "answer": r"approvals/[^/]+/decided",
    "vote": r"approvals/[^/]+/votes/.*",
    "register": r"days/.*",
    "audit": r"audit/.*",
    "place": r"storms/.*/places/.*",
    "member": r"members/.*|storms/.*/members/.*|storms/.*/begun",
    "roll": r"storms/.*/rolls/.*",
    "groups": r"storms/.*/groups/.*",
}
_RECORDS = [(kind, re.compile(pattern)) for kind, pattern in RECORDS.items()]
_SHORT_S = 0.0005  # in which a process is killed that is inside of an operation: one fsync takes longer


class Plan(Struct, frozen=True, kw_only=True):
    """What the stores of a round meet."""

    faults: tuple[StoreFault, ...] = ()
    kills: tuple[Kill, ...] = ()


def record_of(container: str, name: str) -> str:
    """Give the kind of record that a name, or the beginning of one, is of."""
    if container != "trail":
        return container
    return next((kind for kind, pattern in _RECORDS if pattern.fullmatch(name)), name.partition("/")[0])


class Stopped(BaseException):
    """What runs a trigger was killed: no handler of an error goes on, and its caller gets the host's error.

    Triggers run in the host's process here, which has to live on; in Azure they run in the worker.
    """


class Meeting:
    """What of a plan this process may still meet, and the folder in which all of them keep count.

    Args:
        is_worker: Whether kills reach the process itself, as a worker's; else the trigger that runs in it.
    """

    def __init__(self, folder: Path, *, is_worker: bool) -> None:
        self._folder = folder
        plan = msgspec.json.decode((folder / PLAN).read_bytes(), type=Plan)
        self._faults = {f"fault-{number}": fault for number, fault in enumerate(plan.faults)}
        ours = "store" if is_worker else "trigger"
        self._kills = {f"kill-{number}": kill for number, kill in enumerate(plan.kills) if kill.at == ours}
        self._seen: dict[str, int] = {}
        self._lock = threading.Lock()

    @property
    def is_over(self) -> bool:
        """Whether all faults have been lifted."""
        return not (self._faults or self._kills) or (self._folder / LIFTED).exists()

    def fault(self, operation: str, record: str) -> StoreFault | None:
        """Give the fault that this operation meets, if any."""
        for key, fault in list(self._faults.items()):
            writes = operation in {"create", "append"}
            if fault.operation not in {operation, "*"} or fault.record not in {record, "*"}:
                continue
            if (fault.kind == "full" and not writes) or (fault.kind == "echoed" and not writes):
                continue
            if self._is_met(self._faults, key, fault.after, fault.times):
                return fault
        return None

    def kill(self, operation: str, record: str) -> Kill | None:
        """Give the kill that this operation meets, if any."""
        what = f"{operation} {record}"
        for key, kill in list(self._kills.items()):
            if kill.what == what and self._is_met(self._kills, key, kill.nth - 1, 1):
                return kill
        return None

    def _is_met[T](self, left: dict[str, T], key: str, after: int, times: int) -> bool:
        """Count one that fits, among all processes; whether it is hit."""
        with self._lock:
            number = self._seen.get(key, 0)
            while not _claimed(self._folder / f"{key}.{number}"):
                number += 1
            self._seen[key] = number + 1
            if number + 1 >= after + times:
                left.pop(key, None)
            return after <= number < after + times


class FaultyStore:
    """The port `Store`, in front of a folder."""

    def __init__(self, root: Path, meeting: Meeting) -> None:
        self._store = FolderStore(root)
        self._container = root.name
        self._meeting = meeting

    def create(self, name: str, content: bytes) -> None:
        self._meet("create", name, lambda: self._store.create(name, content), AlreadyExists(name))

    def append(self, name: str, content: bytes, at: int) -> None:
        conflict = AppendConflict(name, at, at + len(content))
        self._meet("append", name, lambda: self._store.append(name, content, at), conflict)

    def read(self, name: str) -> bytes:
        return self._meet("read", name, lambda: self._store.read(name), None)

    def list(self, prefix: str) -> Iterator[str]:
        return iter(self._meet("list", prefix, lambda: list(self._store.list(prefix)), None))

    def lengths(self, prefix: str) -> Iterator[tuple[str, int]]:
        return iter(self._meet("list", prefix, lambda: list(self._store.lengths(prefix)), None))

    def _meet[T](self, operation: str, name: str, do: Callable[[], T], taken: Exception | None) -> T:
        if self._meeting.is_over:
            return do()
        record = record_of(self._container, name)
        kill, fault = self._meeting.kill(operation, record), self._meeting.fault(operation, record)
        if kill is not None and kill.phase != "after":
            _strike(kill, within_s=_SHORT_S if kill.phase == "inside" else None)
        try:
            return _with(fault, operation, name, do, taken)
        finally:
            if kill is not None:  # whatever came of it
                _strike(kill)


def _with[T](fault: StoreFault | None, operation: str, name: str, do: Callable[[], T], taken: Exception | None) -> T:
    if fault is not None and fault.kind in {"refused", "full"}:
        raise _unavailable(operation, name, "the disk is full" if fault.kind == "full" else "it answers 503")
    if fault is not None and fault.kind == "slow":
        time.sleep(fault.seconds)
    done = do()
    if fault is not None and fault.kind == "lost":
        raise _unavailable(operation, name, "no answer came")
    if fault is not None and fault.kind == "echoed" and taken is not None:
        raise taken
    return done


def _unavailable(operation: str, name: str, why: str) -> StoreUnavailable:
    return StoreUnavailable("the store of the campaign", f"{operation} {name!r}", why, "It passes.")


def _claimed(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    return True


def _strike(kill: Kill, within_s: float | None = None) -> None:
    if kill.at == "trigger":
        raise Stopped(kill.point)
    _die(within_s)


def _die(within_s: float | None) -> None:
    """Kill this process: at once, or soon, while it goes on."""

    def kill() -> None:
        if within_s is not None:
            time.sleep(within_s)
        os.kill(os.getpid(), signal.SIGKILL)

    if within_s is None:
        kill()
    threading.Thread(target=kill).start()
