"""One contract, kept by every store."""

import multiprocessing
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import ServiceResponseError
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import ExponentialRetry

from remediations.adapters.blobs import BlobStore
from remediations.adapters.folder import FolderStore
from remediations.errors import AlreadyExists, AppendConflict, NotFound, StoreUnavailable, UnsafeName
from remediations.ports import Store
from tests.builders import MemoryStore

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["memory", "folder", "blob"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        return MemoryStore()
    if request.param == "folder":
        return FolderStore(tmp_path / "trail")
    azurite = request.getfixturevalue("azurite")
    return BlobStore(azurite.endpoint, f"t{uuid.uuid4().hex}", azurite.credential)


def wins(store: Store, name: str, content: bytes) -> bool:
    try:
        store.create(name, content)
    except AlreadyExists:
        return False
    return True


def append_somewhere(store: Store, name: str, content: bytes) -> None:
    at = 0
    while True:
        try:
            store.append(name, content, at)
        except AppendConflict as conflict:
            at = conflict.length
        else:
            return


class TestEveryStore:
    def test_keeps_what_was_created(self, store: Store):
        store.create("incidents/a1/opened", b"nonce \x00\xff")
        assert store.read("incidents/a1/opened") == b"nonce \x00\xff"

    def test_keeps_an_empty_record(self, store: Store):
        store.create("marks/empty", b"")
        assert store.read("marks/empty") == b""

    @pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 300_000])
    def test_keeps_a_large_record_whole(self, store: Store, size: int):
        content = bytes(range(251)) * (size // 251 + 1)
        store.create("large/one", content[:size])
        assert store.read("large/one") == content[:size]

    def test_refuses_to_create_twice_and_keeps_the_first(self, store: Store):
        store.create("claim", b"first")
        with pytest.raises(AlreadyExists) as refusal:
            store.create("claim", b"second")
        assert (refusal.value.name, store.read("claim")) == ("claim", b"first")

    def test_refuses_to_create_twice_even_the_same_content(self, store: Store):
        store.create("claim", b"same")
        with pytest.raises(AlreadyExists):
            store.create("claim", b"same")

    def test_lets_one_of_many_creators_win(self, store: Store):
        with ThreadPoolExecutor(12) as pool:
            for turn in range(8):
                answers = list(pool.map(lambda n, turn=turn: wins(store, f"race/{turn}", b"%d" % n), range(12)))
                assert answers.count(True) == 1
                assert store.read(f"race/{turn}") == b"%d" % answers.index(True)

    def test_appends_in_order(self, store: Store):
        store.append("audit/log", b"one\n", 0)
        store.append("audit/log", b"two\n", 4)
        assert store.read("audit/log") == b"one\ntwo\n"

    @pytest.mark.parametrize("at", [0, 3, 5, 400])
    def test_refuses_to_append_elsewhere_and_tells_the_true_length(self, store: Store, at: int):
        store.append("audit/log", b"one\n", 0)
        with pytest.raises(AppendConflict) as conflict:
            store.append("audit/log", b"two\n", at)
        assert (conflict.value.at, conflict.value.length) == (at, 4)
        assert store.read("audit/log") == b"one\n"

    def test_refuses_to_append_beyond_a_record_that_is_not_there(self, store: Store):
        with pytest.raises(AppendConflict) as conflict:
            store.append("audit/log", b"two\n", 4)
        assert conflict.value.length == 0

    def test_refuses_to_append_nothing(self, store: Store):
        with pytest.raises(ValueError, match="nothing to append"):
            store.append("audit/log", b"", 0)

    @pytest.mark.parametrize("at", [0, 5])
    def test_does_not_append_to_a_created_record(self, store: Store, at: int):
        store.create("claim", b"whole")
        with pytest.raises(AlreadyExists):
            store.append("claim", b"more", at)
        assert store.read("claim") == b"whole"

    def test_does_not_create_over_an_appended_record(self, store: Store):
        store.append("audit/log", b"one\n", 0)
        with pytest.raises(AlreadyExists):
            store.create("audit/log", b"two\n")
        assert store.read("audit/log") == b"one\n"

    def test_a_name_is_created_or_appended_to_and_never_both(self, store: Store):
        start, answers = Barrier(2), set()

        def race(write: Callable[[], None]) -> bool:
            start.wait()
            try:
                write()
            except AlreadyExists:
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            for turn in range(60):
                name = f"race/{turn}"
                created = pool.submit(race, partial(store.create, name, b"created"))
                appended = pool.submit(race, partial(store.append, name, b"appended", 0))
                answers.add((created.result(), appended.result(), store.read(name)))
        assert answers <= {(True, False, b"created"), (False, True, b"appended")}

    def test_never_mixes_appends_of_many_writers(self, store: Store):
        records = [f"{n:03}".encode() * 40 + b"\n" for n in range(40)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda record: append_somewhere(store, "audit/log", record), records))
        assert sorted(store.read("audit/log").splitlines(keepends=True)) == records

    def test_says_that_a_record_is_missing(self, store: Store):
        store.create("there/it-is", b"")
        with pytest.raises(NotFound) as missing:
            store.read("there/it-was")
        assert missing.value.name == "there/it-was"

    def test_says_that_a_record_is_missing_in_an_empty_store(self, store: Store):
        with pytest.raises(NotFound):
            store.read("nothing")

    def test_below_a_record_there_is_nothing_to_list(self, store: Store):
        store.create("a/b", b"x")
        assert [list(store.list(prefix)) for prefix in ("a/b/", "a/b/c", "a/b/c/d", "a/c/")] == [[], [], [], []]

    def test_lists_in_lexical_order_under_a_prefix(self, store: Store):
        names = ["a/b/2", "a-b/1", "a.b/1", "a/b/10", "B/1", "a=b", "a/c", "aa", "a/b-c/1"]
        for name in names:
            store.create(name, b"x")
        store.append("a/b/1", b"x", 0)
        everything = ["B/1", "a-b/1", "a.b/1", "a/b-c/1", "a/b/1", "a/b/10", "a/b/2", "a/c", "a=b", "aa"]
        assert list(store.list("")) == everything
        assert list(store.list("a/b/")) == ["a/b/1", "a/b/10", "a/b/2"]
        assert list(store.list("a/b/1")) == ["a/b/1", "a/b/10"]
        assert list(store.list("a")) == everything[1:]
        assert list(store.list("a/b/c/")) == []

    def test_lists_nothing_when_empty(self, store: Store):
        assert list(store.list("")) == []
        assert list(store.lengths("")) == []

    def test_tells_the_length_of_each_record_in_lexical_order(self, store: Store):
        store.create("a/empty", b"")
        store.create("a-b/whole", b"12345")
        store.append("a/log", b"one\n", 0)
        store.append("a/log", b"two\n", 4)
        store.append("b/long", b"x" * 70_000, 0)
        assert list(store.lengths("")) == [("a-b/whole", 5), ("a/empty", 0), ("a/log", 8), ("b/long", 70_000)]
        assert list(store.lengths("a/")) == [("a/empty", 0), ("a/log", 8)]
        assert list(store.lengths("a/log")) == [("a/log", 8)]
        assert list(store.lengths("c")) == []

    @pytest.mark.parametrize(
        "name",
        [
            "",
            "/etc/passwd",
            "../out",
            "a/../../out",
            "a//b",
            "a/",
            "a/.",
            ".hidden",
            "a\\b",
            "a b",
            "a\x00b",
            "a\nb",
            "é",
            "a:b",
            "a%2Fb",
            "a#b",
            "a?b",
            "x" * 201,
            "/".join(["x" * 100] * 10),
        ],
    )
    def test_refuses_names_that_escape(self, store: Store, name: str):
        for attempt in (
            lambda: store.create(name, b"x"),
            lambda: store.append(name, b"x", 0),
            lambda: store.read(name),
        ):
            with pytest.raises(UnsafeName):
                attempt()
        assert list(store.list("")) == []

    @pytest.mark.parametrize("prefix", ["../", "/", "a//", ".", "a/../b", "a b"])
    def test_refuses_prefixes_that_escape(self, store: Store, prefix: str):
        for attempt in (store.list, store.lengths):
            with pytest.raises(UnsafeName):
                list(attempt(prefix))


def race_in_process(root: str, start: Any, wins_of: Any) -> None:
    store = FolderStore(Path(root))
    start.wait()
    wins_of.put([turn for turn in range(100) if wins(store, f"race/{turn}", b"x")])


def append_in_process(root: str, start: Any, writer: int) -> None:
    store = FolderStore(Path(root))
    start.wait()
    for turn in range(20):
        append_somewhere(store, "audit/log", b"%d:%02d\n" % (writer, turn) * 50)


WRITE_FOR_EVER = """
import sys, pathlib
from remediations.adapters.folder import FolderStore
store, run = FolderStore(pathlib.Path(sys.argv[1])), sys.argv[2]
log = "audit/log"
try:
    at = len(store.read(log))
except Exception:
    at = 0
print("ready", flush=True)
for n in range(10**9):
    store.create(f"records/{run}-{n}", b"%09d" % n * 30_000)
    record = b"%09d" % n * 30_000
    store.append(log, record, at)
    at += len(record)
"""


class TestFolder:
    def test_lets_one_of_many_processes_win(self, tmp_path: Path):
        context = multiprocessing.get_context("spawn")
        start, wins_of = context.Barrier(4), context.Queue()
        processes = [context.Process(target=race_in_process, args=(str(tmp_path), start, wins_of)) for _ in range(4)]
        for process in processes:
            process.start()
        won = sorted(turn for _ in processes for turn in wins_of.get(timeout=60))
        for process in processes:
            process.join()
        assert won == list(range(100))

    def test_never_mixes_appends_of_many_processes(self, tmp_path: Path):
        context = multiprocessing.get_context("spawn")
        start = context.Barrier(3)
        processes = [context.Process(target=append_in_process, args=(str(tmp_path), start, n)) for n in range(3)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        lines = FolderStore(tmp_path).read("audit/log").splitlines()
        assert sorted(lines[::50]) == sorted(b"%d:%02d" % (n, turn) for n in range(3) for turn in range(20))
        assert all(lines[n : n + 50] == [lines[n]] * 50 for n in range(0, len(lines), 50))

    def test_a_killed_writer_leaves_no_half_record(self, tmp_path: Path):
        store = FolderStore(tmp_path)
        for run in range(6):
            command = [sys.executable, "-c", WRITE_FOR_EVER, str(tmp_path), str(run)]
            with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as writer:
                assert writer.stdout is not None
                assert writer.stdout.readline() == b"ready\n"
                time.sleep(0.11 + run * 0.017)  # long enough to be inside some write
                writer.send_signal(signal.SIGKILL)
            records = [store.read(name) for name in store.list("records/")]
            assert records
            assert all(record == record[:9] * 30_000 for record in records)
            log = store.read("audit/log")
            assert len(log) % 270_000 == 0
            parts = (log[at : at + 270_000] for at in range(0, len(log), 270_000))
            assert all(part == part[:9] * 30_000 for part in parts)
        append_somewhere(store, "audit/log", b"the log goes on")
        assert store.read("audit/log").endswith(b"the log goes on")

    def test_a_long_record_is_read_nearly_as_fast_as_any_file(self, tmp_path: Path):
        store = FolderStore(tmp_path)
        store.create("long", bytes(64_000_000))

        def took(read: Callable[[], bytes]) -> float:
            begun = time.process_time()
            assert len(read()) == 64_000_000
            return time.process_time() - begun

        bare = min(took((tmp_path / "long").read_bytes) for _ in range(3))
        assert took(lambda: store.read("long")) < 20 * bare  # 200 times, if each part copied all those before it

    def test_a_torn_append_is_neither_read_nor_kept(self, tmp_path: Path):
        store = FolderStore(tmp_path)
        store.append("log", b"whole", 0)
        with (tmp_path / "log").open("ab") as file:
            file.write(b"to")  # what a writer leaves that dies before it commits
        assert store.read("log") == b"whole"
        assert list(store.lengths("")) == [("log", 5)]
        store.append("log", b"!", 5)
        assert store.read("log") == (tmp_path / "log").read_bytes() == b"whole!"

    def test_a_beginning_whose_writer_died_is_an_empty_record(self, tmp_path: Path):
        store = FolderStore(tmp_path)
        (tmp_path / ".log.length").touch()  # it died before it made the record itself
        with pytest.raises(AlreadyExists):
            store.create("log", b"created")
        assert list(store.list("")) == []
        (tmp_path / "log").touch()  # or just after
        assert (store.read("log"), list(store.lengths(""))) == (b"", [("log", 0)])
        with pytest.raises(AlreadyExists):
            store.create("log", b"created")
        store.append("log", b"one\n", 0)
        assert store.read("log") == b"one\n"

    def test_a_record_that_something_else_cut_is_neither_read_nor_filled_up(self, tmp_path: Path):
        store = FolderStore(tmp_path)
        store.append("log", b"one\ntwo\n", 0)
        (tmp_path / "log").write_bytes(b"one\n")
        for attempt in (lambda: store.read("log"), lambda: store.append("log", b"x", 8)):
            with pytest.raises(StoreUnavailable, match=r"has 4 of the record's 8 bytes\. Something else than"):
                attempt()
        assert (tmp_path / "log").read_bytes() == b"one\n"
        (tmp_path / ".log.length").write_bytes(b"garbage")
        for call in (lambda: store.read("log"), lambda: store.append("log", b"x", 4), lambda: [*store.lengths("")]):
            with pytest.raises(StoreUnavailable, match="its length reads b'garbage'"):
                call()

    def test_a_name_is_not_also_a_folder(self, tmp_path: Path):
        store = FolderStore(tmp_path)
        store.create("a/b", b"x")
        with pytest.raises(UnsafeName):
            store.create("a", b"x")
        with pytest.raises(UnsafeName):
            store.append("a", b"x", 0)
        with pytest.raises(StoreUnavailable):
            store.create("a/b/c", b"x")
        with pytest.raises(NotFound):
            store.read("a")

    def test_says_what_to_do_when_the_folder_cannot_be_used(self, tmp_path: Path):
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(StoreUnavailable, match="Check that the folder can be written"):
            FolderStore(tmp_path / "file").create("a", b"x")


class LosesAnswers(RequestsTransport):
    """Lets the next writes through and loses their answers, as a dropped connection does."""

    to_lose = 0

    def send(self, request, **kwargs):
        response = super().send(request, **kwargs)
        if request.method == "PUT" and self.to_lose > 0 and "restype=container" not in request.url:
            self.to_lose -= 1
            raise ServiceResponseError("the connection was closed")
        return response


class TestBlobsWhoseAnswersAreLost:
    @pytest.fixture
    def transport(self):
        return LosesAnswers()

    @pytest.fixture
    def blobs(self, azurite, transport) -> BlobStore:
        store = BlobStore(
            azurite.endpoint,
            f"t{uuid.uuid4().hex}",
            azurite.credential,
            transport=transport,
            retry_policy=ExponentialRetry(initial_backoff=0, increment_base=0, retry_total=4, random_jitter_range=0),
        )
        assert list(store.list("")) == []
        return store

    def test_a_create_whose_answer_was_lost_is_ours(self, blobs, transport):
        transport.to_lose = 1
        blobs.create("claim", b"mine")
        assert blobs.read("claim") == b"mine"
        with pytest.raises(AlreadyExists):
            blobs.create("claim", b"mine")

    def test_a_create_that_came_second_is_not_ours_though_its_answer_was_lost(self, blobs, transport):
        blobs.create("claim", b"same")
        transport.to_lose = 1
        with pytest.raises(AlreadyExists):
            blobs.create("claim", b"same")

    def test_an_append_whose_answer_was_lost_stands_once(self, blobs, transport):
        blobs.append("log", b"one\n", 0)
        transport.to_lose = 1
        blobs.append("log", b"two\n", 4)
        assert blobs.read("log") == b"one\ntwo\n"

    def test_a_beginning_whose_answers_were_lost_stands_once(self, blobs, transport):
        transport.to_lose = 1
        blobs.append("log", b"one\n", 0)
        assert blobs.read("log") == b"one\n"

    @pytest.mark.parametrize("other", [b"one\n", b"o", b"other text\n"])
    def test_an_append_that_came_second_is_refused_though_its_answer_was_lost(self, blobs, transport, other):
        blobs.append("log", other, 0)
        transport.to_lose = 2
        with pytest.raises(AppendConflict) as conflict:
            blobs.append("log", b"two\n", 0)
        assert (conflict.value.length, blobs.read("log")) == (len(other), other)

    def test_a_crash_before_the_first_append_does_not_wedge_the_record(self, blobs):
        blobs._container.get_blob_client("log").create_append_blob()
        assert blobs.read("log") == b""
        blobs.append("log", b"one\n", 0)
        assert blobs.read("log") == b"one\n"

    def test_says_that_the_service_does_not_answer(self, blobs, transport):
        transport.to_lose = 99
        with pytest.raises(StoreUnavailable, match="Check the account's URL and network"):
            blobs.create("claim", b"mine")

    def test_a_container_that_is_missing_in_azure_is_not_made(self, azurite):
        store = BlobStore(azurite.endpoint, "missing", azurite.credential)
        store._on_emulator = False
        for attempt in (
            lambda: store.create("a", b"x"),
            lambda: store.append("a", b"x", 0),
            lambda: store.append("a", b"x", 5),
            lambda: store.read("a"),
            lambda: list(store.list("")),
            lambda: list(store.lengths("")),
        ):
            with pytest.raises(StoreUnavailable, match=r"Create the container: deploy infra/ again\."):
                attempt()

    def test_a_list_makes_no_container(self, azurite):
        store = BlobStore(azurite.endpoint, "unmade", azurite.credential)
        assert (list(store.list("")), list(store.lengths("a/"))) == ([], [])
        assert not store._client.exists()
        store.create("a/b", b"x")
        assert (list(store.list("")), list(store.lengths("a/"))) == (["a/b"], [("a/b", 1)])

    def test_a_refusal_names_the_role_that_is_missing(self, azurite):
        stranger = AzureNamedKeyCredential("medictest", "bm90IHRoZSBrZXk=")
        with pytest.raises(StoreUnavailable, match="Give our identity the role Endpoint Medic Store"):
            BlobStore(azurite.endpoint, "trail", stranger).read("a")
