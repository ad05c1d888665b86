"""Writers that keep records as a trail does, whatever breaks meanwhile, and what must stand when they are done.

As a program it writes into a folder by processes that it kills: python -m tests.contract.writing FOLDER TOLD SEED KILLS
"""

import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from remediations.adapters.folder import FolderStore
from remediations.errors import AlreadyExists, AppendConflict, NotFound, StoreUnavailable
from remediations.ports import Store

LOG = "audit/log"
WRITERS = 4
RECORDS = 24
_LONGEST_S = 45
_PAUSE_S = 0.01

Told = Callable[[str], object]


def record_of(writer: int, number: int) -> bytes:
    """Give a record: its id, and a filling of which a missing piece would be seen."""
    size = random.Random(f"{writer} {number}").choice((0, 40, 700, 700, 700, 9_000))
    return f"{writer}:{number}:{'0123456789' * (size // 10)}.\n".encode()


def write(store: Store, writer: int, told: Told, records: int = RECORDS) -> None:
    """Add this writer's records to the log that all share, in order, and claim as many names as the others do."""
    for number in range(records):
        keep(store, LOG, record_of(writer, number))
        told(f"kept {writer} {number}")
        if claim(store, f"claims/{number:02d}", f"writer {writer}".encode()):
            told(f"claimed {number} {writer}")


def keep(store: Store, name: str, record: bytes) -> None:
    """Append a record, unless it stands there: look, append at the end, and look again if that did not come off."""
    until = time.monotonic() + _LONGEST_S
    while time.monotonic() < until:
        try:
            content = store.read(name)
        except NotFound:
            content = b""
        except StoreUnavailable:
            time.sleep(_PAUSE_S)
            continue
        if record in content.splitlines(keepends=True):
            return
        with suppress(AppendConflict, StoreUnavailable):
            store.append(name, record, len(content))
            return
    raise TimeoutError(f"{record[:20]!r} was not kept in {_LONGEST_S} s")


def claim(store: Store, name: str, content: bytes) -> bool:
    """Create a record; True for the caller that was told so."""
    until = time.monotonic() + _LONGEST_S
    while time.monotonic() < until:
        try:
            store.create(name, content)
        except AlreadyExists:
            return False
        except StoreUnavailable:
            time.sleep(_PAUSE_S)
            continue
        return True
    raise TimeoutError(f"{name} was not claimed in {_LONGEST_S} s")


def check_log(store: Store, records: int = RECORDS, *, in_order: bool = True) -> None:
    """Check that each record stands once and whole, and in the order of its writer."""
    expected = [record_of(writer, number) for writer in range(WRITERS) for number in range(records)]
    found = store.read(LOG).splitlines(keepends=True)
    assert [line[:30] for line in found if line not in expected] == [], "no record is torn"
    assert [line[:30] for line, times in Counter(found).items() if times > 1] == [], "none stands twice"
    assert [line[:30] for line in expected if line not in found] == [], "none is lost"
    for writer in range(WRITERS if in_order else 0):
        own = [int(line.split(b":")[1]) for line in found if line.startswith(b"%d:" % writer)]
        assert own == sorted(own), f"writer {writer} wrote in another order"


def check_claims(store: Store, told: list[str], records: int = RECORDS) -> None:
    """Check that each name has one content, that of the one writer who was told so if anybody was."""
    won: dict[str, list[str]] = {}
    for words in told:
        if words.startswith("claimed "):
            _, claimed, writer = words.split()
            won.setdefault(f"claims/{int(claimed):02d}", []).append(f"writer {writer}")
    for number in range(records):
        name = f"claims/{number:02d}"
        content = store.read(name).decode()
        assert content in {f"writer {writer}" for writer in range(WRITERS)}
        assert won.get(name, [content]) == [content]


def check_names(store: Store) -> None:
    """Check that nothing stands there besides, and that lengths are told as they are read."""
    names = [LOG, *(f"claims/{number:02d}" for number in range(RECORDS))]
    assert list(store.list("")) == names
    assert list(store.lengths("")) == [(name, len(store.read(name))) for name in names]


def write_and_be_killed(folder: Path, told: Path, seed: str, kills: int) -> int:
    """Have processes write, kill them at random moments, start them again; give how many were killed."""
    chance, killed = random.Random(seed), 0
    running = {_started(folder, told, writer): writer for writer in range(WRITERS)}
    while running:
        chosen = -1
        if killed < kills:
            time.sleep(chance.uniform(0, 0.002))
            chosen = chance.choice(list(running))
            os.kill(chosen, signal.SIGKILL)
        process, status = os.waitpid(chosen, 0)
        writer = running.pop(process)
        if os.WIFSIGNALED(status):
            killed += 1
            running[_started(folder, told, writer)] = writer
        elif status:
            raise ChildProcessError(f"writer {writer} ended with {os.waitstatus_to_exitcode(status)}")
    return killed


def _started(folder: Path, told: Path, writer: int) -> int:
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        words = os.open(told, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        write(FolderStore(folder), writer, lambda said: os.write(words, f"{said}\n".encode()))
        status = 0
    finally:
        os._exit(status)


if __name__ == "__main__":
    print(write_and_be_killed(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))  # noqa: T201
