"""The store of the campaign breaks where the plan says so, as often as it says, in all processes together."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from local.chaos.faulty import LIFTED, PLAN, FaultyStore, Meeting, Plan, Stopped
from local.chaos.story import Kill, StoreFault
from remediations.adapters.folder import FolderStore
from remediations.errors import AlreadyExists, AppendConflict, StoreUnavailable
from tests.conftest import ROOT

CLAIM, INTENT, AUDIT = "incidents/inc-1/opened", "effects/abc/0/1/intent", "audit/inc-1/0000.jsonl"


@pytest.fixture
def opened(tmp_path) -> Callable[..., FaultyStore]:
    (tmp_path / "met").mkdir()

    def open_(*faults: StoreFault, kills: Sequence[Kill] = ()) -> FaultyStore:
        (tmp_path / "met" / PLAN).write_bytes(msgspec.json.encode(Plan(faults=faults, kills=tuple(kills))))
        return FaultyStore(tmp_path / "trail", Meeting(tmp_path / "met", is_worker=False))

    return open_


def kept(tmp_path: Path) -> list[str]:
    return list(FolderStore(tmp_path / "trail").list(""))


def test_what_is_refused_was_not_done(opened, tmp_path):
    store = opened(StoreFault(kind="refused", operation="create", record="claim"))
    with pytest.raises(StoreUnavailable, match="503"):
        store.create(CLAIM, b"x")
    assert kept(tmp_path) == []
    store.create(CLAIM, b"x")
    assert kept(tmp_path) == [CLAIM]


def test_what_is_lost_was_done(opened, tmp_path):
    store = opened(StoreFault(kind="lost", operation="append", record="audit"))
    with pytest.raises(StoreUnavailable, match="no answer"):
        store.append(AUDIT, b"x", 0)
    assert store.read(AUDIT) == b"x"


def test_an_echo_says_of_our_own_record_that_it_is_taken(opened, tmp_path):
    store = opened(StoreFault(kind="echoed", operation="*", times=2))
    with pytest.raises(AlreadyExists):
        store.create(INTENT, b"x")
    with pytest.raises(AppendConflict):
        store.append(AUDIT, b"x", 0)
    assert kept(tmp_path) == [AUDIT, INTENT]


def test_a_full_store_is_still_read(opened, tmp_path):
    FolderStore(tmp_path / "trail").create(CLAIM, b"x")
    store = opened(StoreFault(kind="full", operation="*", times=2))
    assert store.read(CLAIM) == b"x"
    assert list(store.list("incidents/")) == [CLAIM]
    for name in (INTENT, INTENT):
        with pytest.raises(StoreUnavailable, match="full"):
            store.create(name, b"x")
    store.create(INTENT, b"x")


def test_so_many_pass_first_and_others_are_left_alone(opened, tmp_path):
    store = opened(StoreFault(kind="refused", operation="create", record="intent", after=1))
    store.create(CLAIM, b"x")
    store.create(INTENT, b"x")
    with pytest.raises(StoreUnavailable):
        store.create("effects/abc/0/2/intent", b"x")
    store.create("effects/abc/0/3/intent", b"x")


def test_all_processes_count_together(opened, tmp_path):
    fault = StoreFault(kind="refused", operation="create", record="claim", times=2)
    first = opened(fault)
    second = FaultyStore(tmp_path / "trail", Meeting(tmp_path / "met", is_worker=False))
    for store in (first, second):
        with pytest.raises(StoreUnavailable):
            store.create(CLAIM, b"x")
    second.create(CLAIM, b"x")
    first.create("incidents/inc-2/opened", b"x")


def test_nothing_breaks_any_more_once_it_is_lifted(opened, tmp_path):
    store = opened(StoreFault(kind="refused", operation="create", times=9))
    (tmp_path / "met" / LIFTED).touch()
    store.create(CLAIM, b"x")


@pytest.mark.parametrize(("phase", "is_kept"), [("before", {False}), ("inside", {False, True}), ("after", {True})])
def test_a_process_is_killed_before_inside_or_after_an_operation(opened, tmp_path, phase, is_kept):
    opened(kills=[Kill(at="store", what="create claim", phase=phase)])
    program = (
        "import sys, time; from pathlib import Path; from local.chaos.faulty import FaultyStore, Meeting; "
        f"FaultyStore(Path(sys.argv[1]) / 'trail', Meeting(Path(sys.argv[1]) / 'met', is_worker=True))"
        f".create({CLAIM!r}, b'x'); time.sleep(30)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    assert subprocess.run(command, cwd=ROOT, timeout=30, check=False).returncode == -9
    assert (kept(tmp_path) == [CLAIM]) in is_kept
    again = FaultyStore(tmp_path / "trail", Meeting(tmp_path / "met", is_worker=True))
    again.create("incidents/inc-2/opened", b"x")  # it has been met: this process lives


@pytest.mark.parametrize("phase", ["before", "after"])
def test_a_trigger_is_killed_before_or_after_an_operation_once(opened, tmp_path, phase):
    store = opened(kills=[Kill(at="trigger", what="create claim", phase=phase, nth=2)])
    store.create(CLAIM, b"x")
    other = "incidents/inc-2/opened"
    with pytest.raises(Stopped):
        store.create(other, b"x")
    assert (other in kept(tmp_path)) is (phase == "after")
    store.create("incidents/inc-3/opened", b"x")


@pytest.mark.parametrize("fault", [None, StoreFault(kind="refused", operation="create", record="claim")])
def test_a_kill_after_an_operation_comes_whatever_came_of_it(opened, tmp_path, fault):
    FolderStore(tmp_path / "trail").create(CLAIM, b"theirs")
    faults = () if fault is None else (fault,)
    store = opened(*faults, kills=[Kill(at="trigger", what="create claim", phase="after")])
    with pytest.raises(Stopped):
        store.create(CLAIM, b"x")


def test_no_handler_of_errors_goes_on_in_a_trigger_that_is_killed():
    assert not issubclass(Stopped, Exception)


@pytest.mark.parametrize(("is_worker", "at"), [(True, "trigger"), (False, "store")])
def test_a_kill_is_for_workers_or_for_triggers(tmp_path, is_worker, at):
    (tmp_path / PLAN).write_bytes(msgspec.json.encode(Plan(kills=(Kill(at=at, what="create claim"),))))
    store = FaultyStore(tmp_path / "trail", Meeting(tmp_path, is_worker=is_worker))
    store.create(CLAIM, b"x")
    assert store.read(CLAIM) == b"x"
