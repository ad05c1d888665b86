"""Lines in files that follow one another, and the trail's records in them."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from remediations import rolls
from remediations.adapters.folder import FolderStore
from remediations.errors import AppendConflict, StoreUnavailable
from remediations.rolls import Place
from remediations.trail import Trail
from tests.builders import MemoryStore
from tests.trails import fill_long, make_record


@pytest.fixture(params=["memory", "folder"])
def store(request, tmp_path):
    return MemoryStore() if request.param == "memory" else FolderStore(tmp_path / "trail")


def seen(trail, incident="inc-a"):
    """Each record's number and key; they follow one another, or this fails."""
    records = trail.records(incident)
    for before, after in pairwise(records):
        assert (after.seq, after.previous) == (before.seq + 1, before.hash)
    return [(record.seq, record.key) for record in records]


# --------------------------------------------------------------------------------------------------- lines


def test_a_full_file_is_followed_by_the_next(store):
    place = Place()
    for number in range(7):
        place = rolls.append(store, "log", b"%d\n" % number, place, most=3)
    assert place == Place(2, 1, 2)
    assert [(name, store.read(name)) for name in store.list("")] == [
        ("log/0000.jsonl", b"0\n1\n2\n"),
        ("log/0001.jsonl", b"3\n4\n5\n"),
        ("log/0002.jsonl", b"6\n"),
    ]
    assert rolls.read(store, "log", most=3) == (b"0\n1\n2\n3\n4\n5\n6\n", place)


@pytest.mark.parametrize(("lines", "place"), [(0, Place()), (2, Place(0, 2, 4)), (3, Place(1)), (6, Place(2))])
def test_where_the_next_line_goes_its_files_tell(store, lines, place):
    grown = Place()
    for _ in range(lines):
        grown = rolls.append(store, "log", b"x\n", grown, most=3)
    assert grown == place
    assert rolls.read(store, "log", most=3) == (b"x\n" * lines, place)


def test_a_line_at_a_place_that_is_taken_is_refused_also_where_the_file_is_full(store):
    for place in (Place(0, 0, 0), Place(0, 1, 2)):
        rolls.append(store, "log", b"x\n", place, most=2)
    for taken in (Place(), Place(0, 1, 2)):
        with pytest.raises(AppendConflict):
            rolls.append(store, "log", b"y\n", taken, most=2)
    assert rolls.read(store, "log", most=2) == (b"x\nx\n", Place(1))


def test_no_line_is_lost_where_many_write_at_once(store):
    def write(writer):
        for number in range(6):
            while True:
                try:
                    rolls.append(store, "log", b"%d-%d\n" % (writer, number), rolls.read(store, "log", 4)[1], most=4)
                except AppendConflict:
                    continue
                break

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    lines = rolls.read(store, "log", 4)[0].splitlines()
    assert sorted(lines) == sorted(b"%d-%d" % (writer, number) for writer in range(4) for number in range(6))
    assert [store.read(name).count(b"\n") for name in store.list("log/")] == [4] * 6


# -------------------------------------------------------------------------------------------------- records


def test_records_go_on_in_the_next_file_and_stay_one_chain(store):
    fill_long(store, 9_999)
    trail = Trail(store)
    for number in (9_999, 10_000, 10_001):
        trail.append_record(make_record(0, "inc-long", key=f"step:{number}"))
    assert [store.read(name).count(b"\n") for name in store.list("audit/")] == [10_000, 2]
    assert seen(trail, "inc-long")[-2:] == [(10_000, "step:10000"), (10_001, "step:10001")]


def test_a_key_of_an_earlier_file_is_not_added_again(store):
    fill_long(store, 10_001)
    lengths = dict(store.lengths(""))
    for trail in (Trail(store), Trail(store)):
        for key in ("step:0", "step:9999", "step:10000"):
            trail.append_record(make_record(0, "inc-long", key=key))
    assert dict(store.lengths("")) == lengths


def test_two_writers_at_the_end_of_a_file_leave_one_chain(store):
    fill_long(store, 9_995)
    writers = Trail(store), Trail(store)

    def write(number):
        writers[number % 2].append_record(make_record(0, "inc-long", key=f"new:{number // 2}"))  # each key twice

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(24)))
    numbered = seen(writers[0], "inc-long")
    assert [number for number, _ in numbered] == list(range(10_007))
    assert sorted(key for _, key in numbered[9_995:]) == sorted(f"new:{number}" for number in range(12))
    assert [store.read(name).count(b"\n") for name in store.list("audit/")] == [10_000, 7]


def test_what_others_added_since_is_found_whatever_this_process_remembers(store):
    mine, other = Trail(store), Trail(store)
    mine.append_record(make_record(0, key="a"))
    for key in ("b", "c"):
        other.append_record(make_record(0, key=key))
    mine.append_record(make_record(0, key="b"))
    mine.append_record(make_record(0, key="d"))
    other.append_record(make_record(0, key="d"))
    other.append_record(make_record(0, key="e"))
    assert seen(mine) == [(0, "a"), (1, "b"), (2, "c"), (3, "d"), (4, "e")]


def test_a_record_that_the_store_did_not_take_leaves_nothing_and_may_be_tried_again():
    store = MemoryStore()
    trail = Trail(store)
    trail.append_record(make_record(0, key="a"))
    store.fails = lambda name: name.startswith("audit/")
    with pytest.raises(StoreUnavailable):
        trail.append_record(make_record(0, key="b"))
    store.fails = lambda _: False
    trail.append_record(make_record(0, key="c"))
    trail.append_record(make_record(0, key="b"))
    assert seen(trail) == [(0, "a"), (1, "c"), (2, "b")]


class Silent(MemoryStore):
    """Takes what it is given, and then does not answer."""

    is_silent = False

    def append(self, name, content, at):
        super().append(name, content, at)
        if self.is_silent:
            raise StoreUnavailable("memory", f"append to {name!r}", "the answer was lost", "Try again.")


def test_a_record_whose_answer_was_lost_is_there_once():
    store = Silent()
    trail = Trail(store)
    trail.append_record(make_record(0, key="a"))
    store.is_silent = True
    with pytest.raises(StoreUnavailable):
        trail.append_record(make_record(0, key="b"))
    store.is_silent = False
    trail.append_record(make_record(0, key="b"))
    trail.append_record(make_record(0, key="c"))
    assert seen(trail) == [(0, "a"), (1, "b"), (2, "c")]


def test_records_that_cannot_be_read_are_not_written_after():
    store = MemoryStore()
    store.append("audit/inc-a/0000.jsonl", b"no record\n", 0)
    with pytest.raises(ValueError, match="malformed"):
        Trail(store).append_record(make_record(0))
    assert store.read("audit/inc-a/0000.jsonl") == b"no record\n"
