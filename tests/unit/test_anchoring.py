"""Anchoring: what is signed, when, and by one of many; what does not hold is left out and told of."""

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from remediations.adapters.folder import FolderStore
from remediations.errors import AppendConflict, StoreUnavailable
from remediations.proof import anchoring, checking, checkpoint, proving
from remediations.trail import Trail
from tests.builders import NOON, MemoryStore
from tests.trails import (
    CHECKPOINTS,
    KEY,
    MINUTE,
    OTHER_KEY,
    PUBLIC,
    QUARTER,
    Attacker,
    fill,
    fill_long,
    make_record,
    memory_of,
    pages_of,
    sealed,
    verified,
)


@pytest.fixture(params=["memory", "folder"])
def store(request, tmp_path):
    return MemoryStore() if request.param == "memory" else FolderStore(tmp_path / "trail")


def add(store, incident, key, at=NOON):
    Trail(store).append_record(make_record(0, incident, key=key, at=at))


def signed(store, at=NOON):
    """Anchor, and give the checkpoint."""
    found = anchoring.anchor(store, KEY, at)
    assert found.checkpoint is not None, found.findings
    return found.checkpoint


def heads_in(store):
    """Which incidents each checkpoint took, and how many records of them."""
    return [[(head.incident, head.records) for head in page.heads] for page in pages_of(store.read(CHECKPOINTS))]


# ------------------------------------------------------------------------------------------------------ when


def test_nothing_is_signed_where_there_is_nothing(store):
    found = anchoring.anchor(store, KEY, NOON)
    assert (found.checkpoint, found.is_new, found.findings) == (None, False, ())
    assert list(store.list("")) == []


def test_a_checkpoint_is_taken_only_when_a_head_has_moved_and_holds_those_alone(store):
    notes = fill(store)
    late = NOON + 5 * QUARTER
    assert signed(store, late).number == 4
    length = dict(store.lengths(""))
    for _ in range(3):
        found = anchoring.anchor(store, KEY, late + QUARTER)
        assert (found.checkpoint, found.is_new) == (pages_of(store.read(CHECKPOINTS))[3].checkpoint, False)
    assert dict(store.lengths("")) == length
    assert heads_in(store) == [
        [("inc-a", 3), ("inc-b", 2)],
        [("inc-a", 5), ("inc-c", 3)],
        [("inc-b", 3)],
        [("inc-a", 6)],
    ]
    assert [(note.incidents, note.records, note.leaves) for note in notes] == [(2, 5, 2), (3, 10, 4), (3, 11, 5)]
    assert [note.previous for note in notes] == [checkpoint.FIRST, *map(checkpoint.digest_of, notes[:2])]


def test_other_records_of_the_trail_move_no_head(store):
    fill(store)
    anchoring.anchor(store, KEY, NOON + 4 * QUARTER)
    store.create("pauses/20261122T120000Z-a", b"{}")
    assert not anchoring.anchor(store, KEY, NOON + 5 * QUARTER).is_new


def test_a_file_that_was_begun_and_not_written_is_no_incident_yet(tmp_path):
    store = FolderStore(tmp_path)
    folder = tmp_path / "audit/inc-new"
    folder.mkdir(parents=True)
    for name in ("0000.jsonl", ".0000.jsonl.length"):
        (folder / name).touch()
    found = anchoring.anchor(store, KEY, NOON)
    assert (found.checkpoint, found.findings) == (None, ())


def test_a_record_that_comes_later_is_proved_by_the_next(store):
    fill(store)
    assert checking.verify(store).after_anchor == 1
    anchoring.anchor(store, KEY, NOON + 4 * QUARTER)
    assert checking.verify(store).after_anchor == 0
    add(store, "inc-a", "more", NOON + 5 * QUARTER)
    verdict = checking.verify(store)
    assert (verdict.ok, verdict.anchored, verdict.after_anchor) == (True, 12, 1)


@pytest.mark.parametrize("key", ["", "x", "AAAA", "é"])
def test_a_key_that_is_none_signs_nothing(store, key):
    add(store, "inc-a", "a")
    with pytest.raises(ValueError, match=r"."):
        anchoring.anchor(store, key, NOON)
    assert list(store.list("checkpoints/")) == []


# ------------------------------------------------------------------------------------------------- at once


def test_two_at_once_leave_one_line_of_checkpoints(store):
    ready = threading.Barrier(4)

    def work(number):
        for turn in range(4):
            ready.wait()
            add(store, f"inc-{number}", f"step:{turn}", NOON + turn * MINUTE)
            anchoring.anchor(store, KEY, NOON + turn * MINUTE)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    anchoring.anchor(store, KEY, NOON + 4 * MINUTE)
    verdict = checking.verify(store, keys=[PUBLIC])
    assert (verdict.ok, verdict.records, verdict.anchored, verdict.found) == (True, 16, 16, 0)


def work_alone(root: Path, number: int) -> None:
    """Add and anchor, in a process of its own."""
    store = FolderStore(root)
    for turn in range(5):
        add(store, "inc-shared", f"{number}-{turn}", NOON)
        add(store, f"inc-{number}", f"{turn}", NOON)
        anchoring.anchor(store, KEY, NOON + turn * MINUTE / 4)


def test_two_processes_at_once_leave_one_line_of_checkpoints(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=work_alone, args=(tmp_path, number)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    verdict = verified(tmp_path)
    assert (verdict.ok, verdict.records, verdict.anchored) == (True, 30, 30)


class Read(MemoryStore):
    """Lets somebody else do something right after each read."""

    other: Callable[[MemoryStore], None] = staticmethod(lambda _: None)

    def read(self, name):
        content = super().read(name)
        self.other(self)
        return content


class Interrupted(MemoryStore):
    """Lets somebody else do something right before a checkpoint is added."""

    others: tuple[Callable[[Any], object], ...] = ()

    def append(self, name, content, at):
        if name == CHECKPOINTS and self.others:
            *left, other = self.others
            self.others = tuple(left)
            other(self)
        super().append(name, content, at)


def test_a_checkpoint_that_comes_while_the_last_ones_are_read_is_not_written_over_or_beside():
    """Each read that anchoring does is a moment in which somebody else may be done."""
    for moment in range(12):
        store, left = Read(), [moment]
        add(store, "inc-a", "a")
        signed(store)
        add(store, "inc-a", "b")

        def other(store, left=left):
            left[0] -= 1
            if left[0] == -1:
                add(store, "inc-b", "b")
                anchoring.anchor(store, KEY, NOON)

        store.other = other
        anchoring.anchor(store, KEY, NOON)
        verdict = checking.verify(store)
        assert (verdict.ok, verdict.found) == (True, 0), (moment, verdict.findings)


def test_whoever_comes_second_goes_on_from_the_first():
    store = Interrupted()
    add(store, "inc-a", "a")

    def other(store):
        add(store, "inc-b", "b")
        anchoring.anchor(store, OTHER_KEY, NOON)

    store.others = (other,)
    found = anchoring.anchor(store, KEY, NOON)
    assert (len(heads_in(store)), found.is_new) == (1, False)  # the other one took all that there is
    assert checking.verify(store).ok
    add(store, "inc-a", "c")
    store.others = (other, lambda store: add(store, "inc-a", "d"))
    assert signed(store).records == 3  # what came in between waits for the next
    assert signed(store).records == 4
    assert checking.verify(store).ok


def test_a_store_that_always_has_another_end_is_an_error():
    class Moving(MemoryStore):
        def append(self, name, content, at):
            if name == CHECKPOINTS:
                raise AppendConflict(name, at, at + 1)
            super().append(name, content, at)

    store = Moving()
    add(store, "inc-a", "a")
    with pytest.raises(AppendConflict):
        anchoring.anchor(store, KEY, NOON)


# -------------------------------------------------------------------------------------------- what does not hold


def test_an_incident_that_does_not_hold_is_left_out_and_told_of_while_others_are_signed(tmp_path):
    store = FolderStore(tmp_path)
    fill(store)
    attacker = Attacker(tmp_path)
    name = "audit/inc-c/0000.jsonl"
    attacker.write(name, [line.replace(b"quota-cpu", b"quota-gpus") for line in attacker.lines(name)])
    add(store, "inc-b", "new", NOON + 4 * QUARTER)
    found = anchoring.anchor(store, KEY, NOON + 5 * QUARTER)
    assert found.is_new
    assert [(one.what, one.incident, one.record) for one in found.findings] == [("changed", "inc-c", 0)]
    assert heads_in(store)[3] == [("inc-a", 6), ("inc-b", 4)]
    assert [one.incident for one in anchoring.anchor(store, KEY, NOON + 6 * QUARTER).findings] == ["inc-c"]


@pytest.mark.parametrize("length", [200, 0])
def test_an_incident_that_was_cut_is_not_signed_shorter(tmp_path, length):
    store = FolderStore(tmp_path)
    fill(store)
    attacker = Attacker(tmp_path)
    name = "audit/inc-c/0000.jsonl"
    attacker.write(name, attacker.lines(name)[: length // 100])
    found = anchoring.anchor(store, KEY, NOON + 5 * QUARTER)
    assert [(one.what, one.incident) for one in found.findings] == [("cut", "inc-c")]
    assert heads_in(store)[3] == [("inc-a", 6)]


def test_incidents_that_were_taken_out_are_told_of_in_order(tmp_path):
    store = FolderStore(tmp_path)
    fill(store)
    for name in ("audit/inc-c/0000.jsonl", "audit/inc-a/0000.jsonl"):
        Attacker(tmp_path).remove(name)
    found = anchoring.anchor(store, KEY, NOON + 5 * QUARTER)
    assert (found.is_new, [(one.what, one.incident) for one in found.findings]) == (
        False,
        [("removed", "inc-a"), ("removed", "inc-c")],
    )


def test_a_foreign_file_beside_the_records_keeps_nothing_from_being_signed_and_moves_nothing(tmp_path):
    store = FolderStore(tmp_path)
    fill(store)
    (tmp_path / "audit/inc-a/notes.txt").write_text("foreign")
    (tmp_path / "audit/stray").write_text("foreign")
    found = anchoring.anchor(store, KEY, NOON + 5 * QUARTER)
    assert (found.is_new, found.findings) == (True, ())
    assert heads_in(store)[3] == [("inc-a", 6)]
    assert not anchoring.anchor(store, KEY, NOON + 6 * QUARTER).is_new


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        pytest.param(lambda lines: lines[1:], "broken", id="the first gone"),
        pytest.param(
            lambda lines: [*lines[:2], lines[2].replace(b'"records":11', b'"records":12')], "signature", id="changed"
        ),
        pytest.param(lambda lines: [*lines, b"{}\n"], "unreadable", id="no checkpoint"),
        pytest.param(lambda lines: [*lines, b'{"checkpoint":'], "half-written", id="half written"),
    ],
)
def test_checkpoints_that_do_not_hold_are_not_gone_on_with(tmp_path, spoil, what):
    store = FolderStore(tmp_path)
    fill(store)
    attacker = Attacker(tmp_path)
    attacker.write(CHECKPOINTS, spoil(attacker.lines(CHECKPOINTS)))
    before = (tmp_path / CHECKPOINTS).read_bytes()
    found = anchoring.anchor(store, KEY, NOON + 5 * QUARTER)
    assert (found.is_new, [(one.what, one.file) for one in found.findings]) == (False, [(what, CHECKPOINTS)])
    assert (tmp_path / CHECKPOINTS).read_bytes() == before


def test_a_half_written_line_of_a_writer_that_died_is_written_over_by_the_next(tmp_path):
    """It was never confirmed: the store does not read it, and verify says that it is there as long as it is."""
    store = FolderStore(tmp_path)
    fill(store)
    for name in ("audit/inc-a/0000.jsonl", CHECKPOINTS):
        with (tmp_path / name).open("ab") as file:
            file.write(b'{"half')
    assert [one.what for one in verified(tmp_path).findings] == ["half-written"] * 4
    add(store, "inc-a", "new", NOON + 4 * QUARTER)
    found = anchoring.anchor(store, KEY, NOON + 5 * QUARTER)
    assert (found.is_new, found.findings) == (True, ())
    assert verified(tmp_path).ok


def test_a_clock_that_ran_backwards_between_checkpoints_is_no_alarm_for_ever(store):
    for turn, at in enumerate((NOON + QUARTER, NOON, NOON + 2 * QUARTER)):
        add(store, "inc-a", f"step:{turn}", NOON + QUARTER)
        found = anchoring.anchor(store, KEY, at)
        assert (found.is_new, found.findings) == (True, ())
    assert [(one.what, one.record) for one in checking.verify(store).findings] == [("clock", 2)]


# --------------------------------------------------------------------------------------------------- many, crashes


def many(count):
    return {
        f"audit/inc-{number:05d}/0000.jsonl": sealed([make_record(0, f"inc-{number:05d}")])[0]
        for number in range(count)
    }


def test_more_heads_than_one_line_takes_make_more_lines():
    store = memory_of(many(5_003))
    note = signed(store)
    assert (note.number, note.leaves, note.incidents) == (2, 5_003, 5_003)
    assert [len(heads) for heads in heads_in(store)] == [5_000, 3]
    verdict = checking.verify(store)
    assert (verdict.ok, verdict.checkpoints, verdict.anchored) == (True, 2, 5_003)


def test_a_crash_between_two_lines_leaves_what_was_signed_and_the_next_goes_on():
    store = memory_of(many(5_003))
    store.calls.clear()
    store.fails = lambda _: len(store.calls) > 1
    with pytest.raises(StoreUnavailable):
        anchoring.anchor(store, KEY, NOON)
    store.fails = lambda _: False
    verdict = checking.verify(store)
    assert (verdict.ok, verdict.checkpoints, verdict.anchored, verdict.after_anchor) == (True, 1, 5_000, 3)
    assert anchoring.anchor(store, KEY, NOON).is_new
    assert (checking.verify(store).anchored, [len(heads) for heads in heads_in(store)]) == (5_003, [5_000, 3])


class Silent(MemoryStore):
    """Takes what it is given, and then does not answer."""

    is_silent = True

    def append(self, name, content, at):
        super().append(name, content, at)
        if name == CHECKPOINTS and self.is_silent:
            raise StoreUnavailable("memory", f"append to {name!r}", "the answer was lost", "Try again.")


def test_a_checkpoint_whose_answer_was_lost_is_gone_on_from():
    store = Silent()
    add(store, "inc-a", "a")
    with pytest.raises(StoreUnavailable):
        anchoring.anchor(store, KEY, NOON)
    store.is_silent = False
    found = anchoring.anchor(store, KEY, NOON)
    assert (len(heads_in(store)), found.is_new) == (1, False)
    add(store, "inc-a", "b")
    assert signed(store).number == 2
    assert checking.verify(store).ok


def test_anchoring_during_appends_signs_what_was_there(store):
    ended = threading.Event()

    def write():
        trail = Trail(store)
        for number in range(60):
            trail.append_record(make_record(0, f"inc-{number % 3}", key=f"step:{number}"))
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not ended.is_set():
        assert anchoring.anchor(store, KEY, NOON).findings == ()
    writer.join()
    anchoring.anchor(store, KEY, NOON)
    verdict = checking.verify(store)
    assert (verdict.ok, verdict.records, verdict.anchored) == (True, 60, 60)


def test_an_incident_of_several_files_is_one_head(store):
    fill_long(store, 10_002)
    assert signed(store).records == 10_002
    add(store, "inc-long", "new")
    assert signed(store).records == 10_003
    assert heads_in(store) == [[("inc-long", 10_002)], [("inc-long", 10_003)]]


# ---------------------------------------------------------------------------------------------------- proofs


def test_every_signed_record_is_proved_and_no_other(store):
    fill(store)
    for incident, records in (("inc-a", 5), ("inc-b", 3), ("inc-c", 3)):
        for record in range(records):
            proof = proving.prove(store, incident, record)
            assert not isinstance(proof, str), proof
            assert proving.why_unproved(proof) is None
            assert len(proof.lines) == records - record
    assert proving.prove(store, "inc-a", 5) == (
        "checkpoint 3 knows of records 0 to 4 of inc-a alone; `medic audit anchor` takes the next one"
    )
    assert proving.prove(store, "inc-x", 0) == "no checkpoint knows of inc-x yet: `medic audit anchor` takes one"


def test_a_proof_goes_through_a_clock_that_ran_backwards(store):
    add(store, "inc-a", "a")
    anchoring.anchor(store, KEY, NOON)
    add(store, "inc-a", "b")
    anchoring.anchor(store, KEY, NOON - QUARTER)
    proof = proving.prove(store, "inc-a", 1)
    assert not isinstance(proof, str), proof
    assert proving.why_unproved(proof) is None
