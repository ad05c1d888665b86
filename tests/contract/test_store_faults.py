"""Many writers, and a store that breaks all the time: no record is lost, none stands twice.

The writers and what must stand at the end are the same for all stores (`writing`); what breaks is not. A failure names
its seed; threads and processes take turns as they like, so that it may need more than one run to come again.
"""

import gc
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from azure.storage.blob import ExponentialRetry

from remediations.adapters.blobs import BlobStore
from remediations.adapters.folder import FolderStore
from remediations.errors import StoreUnavailable
from remediations.ports import Store
from tests.builders import MemoryStore
from tests.conftest import ROOT
from tests.contract import writing
from tests.contract.faulty_proxy import FaultyProxy, seeded
from tests.emulator import Azurite

# Of an answer to a read that is an error the SDK leaves the body unread, and its socket to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

FEW = 8  # records of a writer, where each fault lasts a second


@pytest.fixture(autouse=True)
def _sockets_of_others_are_collected_here() -> Iterator[None]:
    yield
    gc.collect()


def write_at_once(open_store: Callable[[int], Store], records: int = writing.RECORDS) -> list[str]:
    """Let all writers write in threads, each with a store of its own; give what they were told."""
    told: list[str] = []
    with ThreadPoolExecutor(writing.WRITERS) as pool:
        done = [pool.submit(writing.write, open_store(n), n, told.append, records) for n in range(writing.WRITERS)]
        for one in done:
            one.result()
    return told


def blobs(endpoint: str, container: str, azurite: Azurite, retries: int = 0) -> BlobStore:
    """A store that gives up soon: then its writer has to find out what has come of its record."""
    policy = ExponentialRetry(initial_backoff=0, increment_base=0, retry_total=retries, random_jitter_range=0)
    timeouts = {"connection_timeout": 1, "read_timeout": 0.25}
    return BlobStore(endpoint, container, azurite.credential, retry_policy=policy, **timeouts)


def test_nothing_breaks():
    store = MemoryStore()
    told = write_at_once(lambda _writer: store)
    writing.check_log(store)
    writing.check_claims(store, told)
    writing.check_names(store)
    assert len(told) == writing.RECORDS * (writing.WRITERS + 1)


@pytest.mark.parametrize("seed", ["fir", "oak"])
def test_blobs_behind_a_network_that_breaks(azurite: Azurite, seed: str):
    container = f"t{uuid.uuid4().hex}"
    with FaultyProxy(azurite.endpoint) as proxy:
        proxy.choose = seeded(seed, rate=0.25)
        told = write_at_once(lambda writer: blobs(proxy.endpoint, container, azurite, retries=writer % 3))
    store = blobs(azurite.endpoint, container, azurite, retries=9)
    writing.check_log(store)
    writing.check_claims(store, told)
    writing.check_names(store)
    assert proxy.failed == []
    assert sum(proxy.done.values()) > 60
    assert {fault.partition(": ")[0] for fault in proxy.done} >= {"append", "create", "read"}


@contextmanager
def restarted(azurite: Azurite, how: signal.Signals, seed: str) -> Iterator[None]:
    """End the emulator twice while others use it, and start it again on its port."""
    chance, stop = random.Random(seed), threading.Event()
    ended: list[signal.Signals] = []

    def restart() -> None:
        while len(ended) < 2 and not stop.wait(chance.uniform(0.05, 0.2)):
            azurite.stop(how)
            azurite.start()
            ended.append(how)

    with ThreadPoolExecutor(1) as pool:
        restarting = pool.submit(restart)
        try:
            yield
        finally:
            stop.set()
            restarting.result()
    assert ended


def test_blobs_whose_service_is_restarted(tmp_path: Path):
    with Azurite(tmp_path / "azurite") as azurite:
        blobs(azurite.endpoint, "trail", azurite, retries=9).create("before", b"")
        with restarted(azurite, signal.SIGTERM, "ash"):
            told = write_at_once(lambda writer: blobs(azurite.endpoint, "trail", azurite, retries=writer % 3), FEW)
        store = blobs(azurite.endpoint, "trail", azurite, retries=9)
        writing.check_log(store, FEW)
        writing.check_claims(store, told, FEW)


def test_blobs_whose_service_is_killed_and_has_forgotten_what_it_took_last(tmp_path: Path):
    """Azurite saves every five seconds, Azure forgets nothing: who looks again writes again, and nothing twice."""
    with Azurite(tmp_path / "azurite") as azurite:
        store = blobs(azurite.endpoint, "trail", azurite, retries=9)
        store.create("before", b"")
        azurite.stop(signal.SIGTERM)  # which saves: it would forget the container itself
        azurite.start()
        with restarted(azurite, signal.SIGKILL, "elm"):
            write_at_once(lambda writer: blobs(azurite.endpoint, "trail", azurite, retries=writer % 3), FEW)
        write_at_once(lambda _writer: store, FEW)
        writing.check_log(store, FEW, in_order=False)
        writing.check_claims(store, [], FEW)


@pytest.mark.parametrize("seed", ["fir", "oak"])
def test_a_folder_whose_writers_are_killed(tmp_path: Path, seed: str):
    folder, told = tmp_path / "trail", tmp_path / "told"
    command = [sys.executable, "-m", "tests.contract.writing", str(folder), str(told), seed, "300"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as killing:
        try:
            killed, _ = killing.communicate(timeout=60)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(killing.pid, signal.SIGKILL)  # the writers, if there are any left
    assert killing.returncode == 0
    store = FolderStore(folder)
    writing.check_log(store)
    writing.check_claims(store, told.read_text().splitlines())
    writing.check_names(store)
    assert int(killed) >= 30  # as many as a busy machine has time for
    assert [path for path in folder.rglob(".*") if path.suffix != ".length"] != [], "some died while they created"


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond some bytes: what is written up to there is written, as on a full disk."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def test_a_folder_on_a_disk_that_is_full_again_and_again(tmp_path: Path):
    store, done, refused = FolderStore(tmp_path), threading.Event(), []
    chance = random.Random("yew")

    class Counted(FolderStore):
        def append(self, name: str, content: bytes, at: int) -> None:
            try:
                super().append(name, content, at)
            except StoreUnavailable as error:
                refused.append(error.why)
                raise

    def fill() -> None:
        log = tmp_path / writing.LOG
        while not done.is_set():
            size = log.stat().st_size if log.exists() else 0
            with largest_file(size + chance.randrange(800)):
                time.sleep(chance.uniform(0.001, 0.01))
            time.sleep(chance.uniform(0.001, 0.01))

    with ThreadPoolExecutor(1) as pool:
        filling = pool.submit(fill)
        try:
            told = write_at_once(lambda _writer: Counted(tmp_path))
        finally:
            done.set()
        filling.result()
    writing.check_log(store)
    writing.check_claims(store, told)
    writing.check_names(store)
    assert "File too large" in refused


def test_a_folder_on_a_full_disk_says_so_and_keeps_what_it_had(tmp_path: Path):
    store = FolderStore(tmp_path)
    store.append("log", b"x" * 50_000, 0)
    with largest_file(60_000):
        with pytest.raises(StoreUnavailable, match=r"File too large\. Check that the folder .* has space"):
            store.append("log", b"y" * 20_000, 50_000)
        with pytest.raises(StoreUnavailable, match="has space"):
            store.append("new", b"y" * 70_000, 0)
        with pytest.raises(StoreUnavailable, match="has space"):
            store.create("claim", b"y" * 70_000)
        assert store.read("log") == b"x" * 50_000
        assert list(store.lengths("")) == [("log", 50_000), ("new", 0)]
    store.append("log", b"y" * 20_000, 50_000)
    store.append("new", b"y", 0)
    store.create("claim", b"y")
    assert list(store.lengths("")) == [("claim", 1), ("log", 70_000), ("new", 1)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".log.length", ".new.length", "claim", "log", "new"]


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Take away the right to write: a root user becomes nobody for a while, since modes do not bind it."""
    folder.chmod(0o555)
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if was == 0:
            os.seteuid(was)
        folder.chmod(0o755)


def test_a_folder_that_cannot_be_written_says_so_and_can_be_read():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = FolderStore(folder)
        store.create("claim", b"mine")
        store.append("log", b"one\n", 0)
        for file in folder.iterdir():
            file.chmod(0o444)
        with read_only(folder):
            for attempt in (
                lambda: store.create("other", b"x"),
                lambda: store.append("other", b"x", 0),
                lambda: store.append("log", b"two\n", 4),
                lambda: store.create("a/b", b"x"),
            ):
                with pytest.raises(StoreUnavailable, match=r"Permission denied\. Check that the folder can be written"):
                    attempt()
            assert (store.read("claim"), store.read("log")) == (b"mine", b"one\n")
            assert list(store.lengths("")) == [("claim", 4), ("log", 4)]
        for file in folder.iterdir():
            file.chmod(0o644)
        store.append("log", b"two\n", 4)
        assert store.read("log") == b"one\ntwo\n"


@pytest.fixture(params=["memory", "folder", "blob"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        return MemoryStore()
    if request.param == "folder":
        return FolderStore(tmp_path / "trail")
    azurite = request.getfixturevalue("azurite")
    return BlobStore(azurite.endpoint, f"t{uuid.uuid4().hex}", azurite.credential)


def test_a_listing_while_others_write_misses_nothing_that_stood_before(store: Store):
    before = [f"a/{number:02d}" for number in range(20)]
    for name in before:
        store.create(name, b"before")
    done = threading.Event()

    def add() -> None:
        for number in range(10_000):
            if done.is_set():
                return
            store.create(f"a/{number % 20:02d}-{number}", b"added")
            with suppress(StoreUnavailable):
                store.append(f"b/{number}", b"added", 0)

    with ThreadPoolExecutor(1) as pool:
        adding = pool.submit(add)
        try:
            for _ in range(8):
                names = list(store.list(""))
                assert names == sorted(set(names))
                assert [name for name in names if name in before] == before
                lengths = dict(store.lengths(""))
                assert {lengths[name] for name in before} == {6}
                assert {lengths[name] for name in lengths if name not in before} <= {0, 5}
        finally:
            done.set()
        adding.result()


def test_an_append_whose_answer_is_unknown_is_found_by_looking(store: Store):
    writing.keep(store, "log", b"one\n")
    writing.keep(store, "log", b"two\n")
    writing.keep(store, "log", b"one\n")
    assert store.read("log") == b"one\ntwo\n"
