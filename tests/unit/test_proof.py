"""Verify against everybody who can write to the trail: what they change is found, and the first of it is named."""

import fcntl
import multiprocessing
import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from remediations import codec
from remediations.adapters.folder import FolderCopy, FolderStore
from remediations.proof import anchoring, checking, checkpoint, merkle
from remediations.proof.checkpoint import Head, Page
from remediations.trail import Trail
from tests.builders import NOON, make_incident
from tests.trails import (
    CHECKPOINTS,
    KEY,
    MINUTE,
    OTHER_KEY,
    OTHER_PUBLIC,
    PUBLIC,
    QUARTER,
    Attacker,
    everything,
    fill,
    fill_long,
    head_of,
    line_of,
    make_record,
    memory_of,
    opened,
    pages_of,
    sealed,
    verified,
)

A, B, C = (f"audit/inc-{letter}/0000.jsonl" for letter in "abc")
LONG = tuple(f"audit/inc-long/000{number}.jsonl" for number in range(3))


@pytest.fixture(scope="module")
def genuine(tmp_path_factory):
    """A trail with other records beside, and its three checkpoints."""
    root = tmp_path_factory.mktemp("genuine") / "trail"
    store = FolderStore(root)
    trail = Trail(store)
    trail.open_incident(make_incident(id="inc-a"), "nonce", NOON)
    return root, tuple(fill(store))


@pytest.fixture
def root(genuine, tmp_path):
    return Path(shutil.copytree(genuine[0], tmp_path / "trail"))


@pytest.fixture
def attacker(root):
    return Attacker(root)


@pytest.fixture
def notes(genuine):
    return genuine[1]


def bare(root):
    """A copy as a container gives it: without hidden files."""
    return Path(shutil.copytree(root, root.parent / "copy", ignore=shutil.ignore_patterns(".*")))


def content_of(root):
    return {name: (root / name).read_bytes() for name in FolderCopy(root).list("")}


def facts_of(verdict):
    first = verdict.first_bad
    return first and (first.what.value, first.file, first.incident, first.record)


def first_of(root, **options):
    """What is found first on a tampered trail; on its folder, on a bare copy of it, and through the store the same."""
    verdict = verified(root, **options)
    for other in (verified(bare(root), **options), checking.verify(FolderStore(root), **options)):
        assert (other.ok, facts_of(other)) == (verdict.ok, facts_of(verdict))
    return facts_of(verdict)


# ------------------------------------------------------------------------------------------------ untampered


def test_a_trail_that_nobody_touched_holds_in_every_form(root, notes):
    for verdict in (
        verified(root, keys=[PUBLIC]),
        verified(bare(root), keys=[PUBLIC]),
        checking.verify(FolderStore(root), keys=[PUBLIC]),
        checking.verify(memory_of(content_of(root)), keys=[PUBLIC]),
    ):
        assert (verdict.ok, verdict.first_bad, verdict.found) == (True, None, 0)
        assert (verdict.incidents, verdict.records, verdict.anchored, verdict.after_anchor) == (3, 12, 11, 1)
        assert (verdict.checkpoints, verdict.last, verdict.keys) == (3, notes[2], (PUBLIC,))


def test_it_goes_on_from_each_checkpoint_that_was_kept_outside(root, notes):
    assert [verified(root, outside=note).ok for note in notes] == [True, True, True]


def test_nothing_holds_trivially(tmp_path):
    verdict = verified(tmp_path)
    assert (verdict.ok, verdict.incidents, verdict.records, verdict.anchored, verdict.last) == (True, 0, 0, 0, None)


def test_a_trail_without_checkpoints_is_chained_and_nothing_of_it_is_proved(attacker, root):
    attacker.remove(CHECKPOINTS)
    verdict = verified(root)
    assert (verdict.ok, verdict.records, verdict.anchored, verdict.after_anchor) == (True, 12, 0, 12)


def test_it_tells_how_many_incidents_were_read():
    files = {f"audit/inc-{number}/0000.jsonl": sealed([make_record(0, f"inc-{number}")])[0] for number in range(250)}
    told: list[int] = []
    assert checking.verify(memory_of(files), tell=told.append).incidents == 250
    assert told == [100, 200]


def write_on(root: Path, turns: int) -> None:
    """Append, create and anchor, in a process of its own."""
    store = FolderStore(root)
    trail = Trail(store)
    for turn in range(turns):
        trail.append_record(make_record(0, "inc-b", key=f"turn:{turn}", at=NOON + 4 * QUARTER))
        for number in range(5):
            store.create(f"incidents/inc-{turn}-{number}/opened", b"{}")
        if turn % 10 == 0:
            anchoring.anchor(store, KEY, NOON + 4 * QUARTER)


def test_a_trail_that_is_being_written_to_holds_at_every_moment(root):
    writer = multiprocessing.get_context("spawn").Process(target=write_on, args=(root, 150))
    writer.start()
    seen = 0
    while writer.is_alive():
        copy = FolderCopy(root)
        verdict = checking.verify(copy, torn=copy.torn())
        assert verdict.ok, verdict.findings
        seen += 1
    writer.join()
    assert (writer.exitcode, seen > 10) == (0, True)
    assert verified(root).records == 162


def test_whoever_holds_a_lock_for_ever_or_puts_a_pipe_in_its_place_stops_nothing(root):
    with (root / A).with_name(".0000.jsonl.length").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        copy = FolderCopy(root)
        assert checking.verify(copy, torn=copy.torn()).ok
    length = (root / B).with_name(".0000.jsonl.length")
    length.unlink()
    os.mkfifo(length)
    verdict = checking.verify(copy, torn=copy.torn())
    assert [(found.what, found.file) for found in verdict.findings] == [
        ("removed", B),
        ("foreign", "audit/inc-b/.0000.jsonl.length (no plain file)"),
    ]


# ---------------------------------------------------------------------------------------- every single byte


def number_of(content, place):
    return content.count(b"\n", 0, place)


@pytest.mark.parametrize("name", [A, B, C])
def test_any_flipped_byte_of_a_record_names_that_record(genuine, name):
    files = content_of(genuine[0])
    content = files[name]
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        verdict = checking.verify(memory_of({**files, name: bytes(changed)}))
        assert not verdict.ok
        what, file, incident, record = facts_of(verdict)
        assert (file, incident, record) == (name, name.split("/")[1], number_of(content, place)), place
        assert what in {"changed", "unreadable", "half-written"}


@pytest.mark.parametrize("flip", [0x01, 0x20])
def test_any_flipped_byte_of_a_checkpoint_is_found_and_its_file_named(genuine, flip):
    files = content_of(genuine[0])
    content = files[CHECKPOINTS]
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= flip
        verdict = checking.verify(memory_of({**files, CHECKPOINTS: bytes(changed)}))
        assert not verdict.ok, (place, content[place - 20 : place + 20])
        assert verdict.findings[0].file == CHECKPOINTS
        assert verdict.checkpoints == number_of(content, place)


def test_the_last_digit_of_a_signature_has_no_bits_to_spare(genuine):
    """Of base64's last digit four bits stand for nothing: 16 texts would be one signature."""
    files = content_of(genuine[0])
    *before, last = pages_of(files[CHECKPOINTS])
    signature = last.checkpoint.signature
    accepted = []
    for digit in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/":
        note = replace(last.checkpoint, signature=f"{signature[:-3]}{digit}==")
        content = b"".join(map(line_of, [*before, replace(last, checkpoint=note)]))
        if checking.verify(memory_of({**files, CHECKPOINTS: content})).ok:
            accepted.append(digit)
    assert accepted == [signature[-3]]


def test_a_flipped_byte_in_a_folder_is_found_there_too(root):
    for name in (A, CHECKPOINTS):
        path = root / name
        content = path.read_bytes()
        for place in range(0, len(content), 97):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            copy = FolderCopy(root)
            assert not checking.verify(copy, torn=copy.torn()).ok
        path.write_bytes(content)
    assert verified(root).ok


# ------------------------------------------------------------------------------------ an incident's records


def swapped(lines):
    lines[1:3] = lines[2:0:-1]


def doubled(lines):
    lines.insert(2, lines[1])


def dropped(lines):
    del lines[2]


def dropped_first(lines):
    del lines[0]


def cut(lines):
    del lines[4:]


def emptied(lines):
    lines.clear()


def inserted(lines):
    """One more in the middle, with the right number and the right hash before it."""
    before = opened(lines)[2]
    lines[3:3] = sealed([make_record(3, facts={"cause": "forged"}, at=before.at)], before.hash)


def rewritten_from(record):
    """What somebody without the key can do: all from a record on, chained anew."""

    def rewrite(lines):
        records = opened(lines)
        records[record] = replace(records[record], facts={"cause": "forged"})
        lines[record:] = sealed(records[record:], records[record].previous)

    return rewrite


def half(lines):
    lines[-1] = lines[-1][:-40]


def garbage(content):
    def write(lines):
        lines[2] = content

    return write


def twice_a_member(lines):
    lines[2] = lines[2].replace(b'"seq":2', b'"seq":2,"seq":2')


def blank(lines):
    lines.insert(2, b"\n")


def long_gap(lines):
    lines.append(b"x" * 5_000_000)


@pytest.mark.parametrize(
    ("change", "what", "record"),
    [
        pytest.param(swapped, "broken", 1, id="two swapped"),
        pytest.param(doubled, "broken", 2, id="one twice"),
        pytest.param(dropped, "broken", 2, id="one taken out of the middle"),
        pytest.param(dropped_first, "broken", 0, id="the first taken out"),
        pytest.param(cut, "cut", 4, id="the end cut"),
        pytest.param(emptied, "cut", 0, id="all cut"),
        pytest.param(inserted, "broken", 4, id="one put in"),
        pytest.param(rewritten_from(0), "rewritten", 0, id="rewritten from the first"),
        pytest.param(rewritten_from(2), "rewritten", 0, id="rewritten up to a first checkpoint"),
        pytest.param(rewritten_from(3), "rewritten", 3, id="rewritten after a first checkpoint"),
        pytest.param(rewritten_from(4), "rewritten", 3, id="rewritten up to the last checkpoint"),
        pytest.param(half, "half-written", 5, id="last line half written"),
        pytest.param(garbage(b"\xff\xfe\xfa\n"), "unreadable", 2, id="no UTF-8"),
        pytest.param(garbage(b"[" * 200_000 + b"\n"), "unreadable", 2, id="nested deep"),
        pytest.param(garbage(b'{"seq":' + b"9" * 10_000 + b"}\n"), "unreadable", 2, id="endless number"),
        pytest.param(garbage(b'{"seq":1e999}\n'), "unreadable", 2, id="huge number"),
        pytest.param(garbage(b"{}\n"), "unreadable", 2, id="an empty object"),
        pytest.param(twice_a_member, "changed", 2, id="a member twice"),
        pytest.param(blank, "unreadable", 2, id="an empty line"),
        pytest.param(long_gap, "half-written", 6, id="a very long line without an end"),
    ],
)
def test_records_that_were_tampered_with_are_found_and_the_first_is_named(attacker, root, change, what, record):
    lines = attacker.lines(A)
    change(lines)
    attacker.write(A, lines)
    assert first_of(root) == (what, A, "inc-a", record)


def test_words_say_what_it_is_and_what_it_means(attacker, root):
    lines = attacker.lines(A)
    attacker.write(A, lines[:4])
    found = verified(root).findings[0]
    assert found.words == "checkpoint 3 knows of 5 records, and there are 4: the end was cut"
    attacker.write(A, [*lines[:2], *lines[3:]])
    found = verified(root).findings[0]
    assert found.words == "it does not follow the one before it: one was put in, taken out or moved"


def test_what_comes_after_the_last_checkpoint_is_chained_alone(attacker, root):
    """Whoever can write can rewrite it until the next checkpoint: it is counted apart, and called so."""
    lines = attacker.lines(A)
    rewritten_from(5)(lines)
    attacker.write(A, lines)
    verdict = verified(root)
    assert (verdict.ok, verdict.anchored, verdict.after_anchor) == (True, 11, 1)
    attacker.write(A, lines[:5])
    verdict = verified(root)
    assert (verdict.ok, verdict.anchored, verdict.after_anchor) == (True, 11, 0)


def test_how_much_is_proved_and_how_much_comes_after_is_counted_up_to_the_first_bad_record(attacker, root):
    lines = attacker.lines(A)
    lines[4] = lines[4].replace(b"quota-cpu", b"quota-gpu")
    attacker.write(A, lines)
    verdict = verified(root)
    assert facts_of(verdict) == ("changed", A, "inc-a", 4)
    assert (verdict.records, verdict.anchored, verdict.after_anchor) == (12, 9, 1)  # 3 of inc-a, at its first head


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(b'{"seq":6,"seq":6,', id="a member twice"),
        pytest.param(b'{ "seq":6,', id="white space"),
    ],
)
def test_a_new_line_that_is_not_as_we_write_it_is_found_before_a_checkpoint_signs_it(attacker, root, forged):
    """Its hash is right: whoever reads JSON another way would read another record."""
    lines = attacker.lines(A)
    (line,) = sealed([make_record(6, at=NOON + 3 * QUARTER)], opened(lines)[-1].hash)
    body = forged + line[1:-76].replace(b'"seq":6,', b"") + b"}"
    attacker.write(A, [*lines, body[:-1] + b',"hash":"' + codec.digest(body).encode() + b'"}\n'])
    assert first_of(root) == ("unreadable", A, "inc-a", 6)
    found = anchoring.anchor(FolderStore(root), KEY, NOON + 4 * QUARTER)
    assert (found.is_new, [finding.what for finding in found.findings]) == (False, ["unreadable"])


# ------------------------------------------------------------------------------------------- whole incidents


def test_an_incident_that_was_taken_out_is_named(attacker, root):
    attacker.remove(C)
    assert first_of(root) == ("removed", None, "inc-c", None)
    shutil.rmtree(root / "audit/inc-c")
    shutil.rmtree(root.parent / "copy")
    assert first_of(root) == ("removed", None, "inc-c", None)


@pytest.mark.parametrize("incident", ["inc-b", "inc-a1", "inc-zzz"])
def test_records_under_another_incident_are_found(attacker, root, incident):
    name = f"audit/{incident}/0000.jsonl"
    attacker.write(name, attacker.lines(A))
    assert first_of(root) == ("broken", name, incident, 0)


def test_two_incidents_in_each_others_place_are_both_found(attacker, root):
    lines = attacker.lines(A), attacker.lines(B)
    attacker.write(A, lines[1])
    attacker.write(B, lines[0])
    verdict = verified(root)
    assert [(found.what, found.incident, found.record) for found in verdict.findings] == [
        ("broken", "inc-a", 0),
        ("broken", "inc-b", 0),
    ]


def test_an_incident_invented_and_dated_before_the_last_checkpoint_is_found(attacker, root):
    name = "audit/inc-new/0000.jsonl"
    attacker.write(name, sealed(make_record(number, "inc-new", at=NOON) for number in range(3)))
    assert first_of(root) == ("clock", name, "inc-new", 0)
    assert verified(root).found == 1


def test_an_incident_invented_after_the_last_checkpoint_is_one_that_nothing_proves_yet(attacker, root):
    attacker.write("audit/inc-new/0000.jsonl", sealed([make_record(0, "inc-new", at=NOON + 3 * QUARTER)]))
    verdict = verified(root)
    assert (verdict.ok, verdict.incidents, verdict.anchored, verdict.after_anchor) == (True, 4, 11, 2)


def test_a_record_added_behind_and_dated_before_the_last_checkpoint_is_found(attacker, root):
    lines = attacker.lines(C)
    attacker.write(C, lines + sealed([make_record(3, "inc-c", at=NOON + QUARTER)], opened(lines)[-1].hash))
    assert first_of(root) == ("clock", C, "inc-c", 3)


# ---------------------------------------------------------------------------------------------- several files


@pytest.fixture(scope="module")
def long_trail(tmp_path_factory):
    root = tmp_path_factory.mktemp("long") / "trail"
    store = FolderStore(root)
    fill_long(store, 20_001)
    assert anchoring.anchor(store, KEY, NOON + MINUTE).is_new
    return root


def removed_file(number):
    return lambda attacker: attacker.remove(LONG[number])


def swapped_files(attacker):
    lines = attacker.lines(LONG[0]), attacker.lines(LONG[1])
    attacker.write(LONG[0], lines[1])
    attacker.write(LONG[1], lines[0])


def moved_end(attacker):
    """The same records in the same order, and the trail would read the first file alone."""
    lines = attacker.lines(LONG[0]), attacker.lines(LONG[1])
    attacker.write(LONG[0], lines[0][:-1])
    attacker.write(LONG[1], [*lines[0][-1:], *lines[1]])


def joined_files(attacker):
    attacker.write(LONG[1], attacker.lines(LONG[1]) + attacker.lines(LONG[2]))
    attacker.remove(LONG[2])


def renumbered(attacker):
    attacker.write("audit/inc-long/00002.jsonl", attacker.lines(LONG[2]))
    attacker.remove(LONG[2])


def changed_in_last(attacker):
    attacker.write(LONG[2], [line.replace(b"quota-cpu", b"quota-gpu") for line in attacker.lines(LONG[2])])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(removed_file(0), ("removed", LONG[1], 0), id="the first removed"),
        pytest.param(removed_file(1), ("removed", LONG[2], 10_000), id="one in the middle removed"),
        pytest.param(removed_file(2), ("cut", LONG[1], 20_000), id="the last removed"),
        pytest.param(swapped_files, ("broken", LONG[0], 0), id="two swapped"),
        pytest.param(moved_end, ("broken", LONG[0], 9_999), id="a line moved to the next"),
        pytest.param(joined_files, ("broken", LONG[1], 20_001), id="two joined"),
        pytest.param(renumbered, ("cut", LONG[1], 20_000), id="one renamed"),
        pytest.param(changed_in_last, ("changed", LONG[2], 20_000), id="a record in the last"),
    ],
)
def test_the_files_of_one_incident_hold_together(long_trail, tmp_path, change, expected):
    root = Path(shutil.copytree(long_trail, tmp_path / "trail"))
    assert verified(root).ok
    change(Attacker(root))
    what, file, record = expected
    assert first_of(root) == (what, file, "inc-long", record)


# -------------------------------------------------------------------------------------------------- checkpoints


def pages_in(attacker):
    return [pages_of(line)[0] for line in attacker.lines(CHECKPOINTS)]


def write_pages(attacker, pages):
    attacker.write(CHECKPOINTS, [line_of(page) for page in pages])


def without_first(pages):
    return pages[1:]


def without_middle(pages):
    return [pages[0], pages[2]]


def reordered(pages):
    return [pages[1], pages[0], pages[2]]


def doubled_page(pages):
    return [*pages[:2], *pages[1:]]


def signed_by_another(pages):
    """All of them, each linked to the one before: whoever looks at no key finds nothing."""
    previous = checkpoint.FIRST
    made = []
    for page in pages:
        note = checkpoint.sign(replace(page.checkpoint, previous=previous), OTHER_KEY)
        previous = checkpoint.digest_of(note)
        made.append(replace(page, checkpoint=note))
    return made


def last_signed_by_another(pages):
    return [*pages[:2], replace(pages[2], checkpoint=checkpoint.sign(pages[2].checkpoint, OTHER_KEY))]


def other_head(pages):
    heads = (replace(pages[1].heads[0], hash="e" * 64), *pages[1].heads[1:])
    return [pages[0], replace(pages[1], heads=heads), pages[2]]


def longer_head(pages):
    heads = (replace(pages[1].heads[0], length=1), *pages[1].heads[1:])
    return [pages[0], replace(pages[1], heads=heads), pages[2]]


def fewer_heads(pages):
    return [pages[0], replace(pages[1], heads=pages[1].heads[:1]), pages[2]]


def more_heads(pages):
    head = Head(incident="inc-x", records=1, length=9, hash="e" * 64)
    return [pages[0], pages[1], replace(pages[2], heads=(*pages[2].heads, head))]


def turned_heads(pages):
    return [replace(pages[0], heads=pages[0].heads[::-1]), *pages[1:]]


def other_count(pages):
    """By whoever holds the key: more records than the heads come to."""
    note = checkpoint.sign(replace(pages[2].checkpoint, records=12), KEY)
    return [*pages[:2], replace(pages[2], checkpoint=note)]


def borrowed_signature(pages):
    note = replace(pages[2].checkpoint, signature=pages[1].checkpoint.signature)
    return [*pages[:2], replace(pages[2], checkpoint=note)]


def no_signature(pages):
    return [*pages[:2], replace(pages[2], checkpoint=replace(pages[2].checkpoint, signature=""))]


@pytest.mark.parametrize(
    ("change", "what", "number", "holds"),
    [
        pytest.param(without_first, "broken", 2, 0, id="the first taken out"),
        pytest.param(without_middle, "broken", 3, 1, id="one taken out of the middle"),
        pytest.param(reordered, "broken", 2, 0, id="reordered"),
        pytest.param(doubled_page, "broken", 2, 2, id="one twice"),
        pytest.param(signed_by_another, "key", 1, 0, id="all signed by another key"),
        pytest.param(last_signed_by_another, "key", 3, 2, id="the last signed by another key"),
        pytest.param(other_head, "changed", 2, 1, id="a head's hash"),
        pytest.param(longer_head, "changed", 2, 1, id="a head's length"),
        pytest.param(fewer_heads, "changed", 2, 1, id="a head taken out"),
        pytest.param(more_heads, "changed", 3, 2, id="a head put in"),
        pytest.param(turned_heads, "changed", 1, 0, id="heads in another order"),
        pytest.param(other_count, "changed", 3, 2, id="another count, signed"),
        pytest.param(borrowed_signature, "signature", 3, 2, id="the signature of another"),
        pytest.param(no_signature, "signature", 3, 2, id="no signature"),
    ],
)
def test_checkpoints_that_were_tampered_with_are_found(root, change, what, number, holds):
    attacker = Attacker(root)
    write_pages(attacker, change(pages_in(attacker)))
    assert first_of(root, keys=[PUBLIC]) == (what, CHECKPOINTS, None, number)
    assert verified(root, keys=[PUBLIC]).checkpoints == holds


@pytest.mark.parametrize(
    ("line", "what"),
    [
        pytest.param(b"{}\n", "unreadable", id="an empty object"),
        pytest.param(b"\xff\n", "unreadable", id="no UTF-8"),
        pytest.param(b"\n", "unreadable", id="an empty line"),
        pytest.param(b'{"checkpoint":' + b"[" * 200_000 + b"\n", "unreadable", id="nested deep"),
        pytest.param(
            b'{"checkpoint":{"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}}\n", "unreadable", id="deep inside"
        ),
        pytest.param(b'{"checkpoint":{"at":"2026-11', "half-written", id="half written"),
        pytest.param(b"x" * 5_000_000, "half-written", id="a very long line"),
    ],
)
def test_a_line_that_is_no_checkpoint_is_found_and_those_before_it_hold(attacker, root, line, what):
    attacker.write(CHECKPOINTS, [*attacker.lines(CHECKPOINTS), line])
    assert first_of(root) == (what, CHECKPOINTS, None, None)
    assert verified(root).checkpoints == 3


def test_a_checkpoint_is_taken_byte_for_byte(attacker, root):
    """White space, a member twice or one more: the same values to a reader, and other bytes than were written."""
    lines = attacker.lines(CHECKPOINTS)
    for change in (
        (b'"heads":', b'"heads": '),
        (b'"heads":', b'"heads":[],"heads":'),
        (b'{"checkpoint":', b'{"a":1,"checkpoint":'),
        (b"00Z", b"00z"),
        (b"00Z", b"00+00:00"),
        (b"T12", b" 12"),
    ):
        attacker.write(CHECKPOINTS, [*lines[:2], lines[2].replace(*change)])
        assert lines[2] != attacker.lines(CHECKPOINTS)[2], change
        assert facts_of(verified(root)) == ("unreadable", CHECKPOINTS, None, None), change


@pytest.mark.parametrize("at", ["2026-11-22T12:31:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_checkpoint_that_is_signed_for_a_time_that_is_none_of_ours_is_unreadable(attacker, root, at):
    *before, last = pages_in(attacker)
    note = codec.load(type(last.checkpoint), {**codec.dump(last.checkpoint), "at": at})
    write_pages(attacker, [*before, replace(last, checkpoint=checkpoint.sign(note, KEY))])
    assert first_of(root) == ("unreadable", CHECKPOINTS, None, None)


def test_checkpoints_cut_from_the_end_prove_less_and_one_from_outside_finds_them(attacker, root, notes):
    """Without one from outside they cannot be told from checkpoints that were never taken."""
    write_pages(attacker, pages_in(attacker)[:2])
    verdict = verified(root)
    assert (verdict.checkpoints, verdict.anchored, verdict.after_anchor) == (2, 10, 2)
    assert first_of(root, outside=notes[2]) == ("cut", None, None, 3)
    attacker.remove(CHECKPOINTS)
    assert facts_of(verified(root, outside=notes[0])) == ("cut", None, None, 1)


@pytest.fixture(scope="module")
def many_checkpoints():
    """1,003 of them, of one incident: two files, by hand, as taking each in turn would last minutes."""
    tree, last, lines, records = (
        merkle.Tree(),
        None,
        [],
        sealed(make_record(number, at=NOON) for number in range(1_003)),
    )
    for number in range(1, 1_004):
        head = head_of(records[:number], "inc-a")
        tree.add(checkpoint.leaf_of(head))
        note = anchoring._following(last, tree, 1, number, NOON + number * MINUTE)
        last = checkpoint.sign(note, KEY)
        lines.append(line_of(Page(checkpoint=last, heads=(head,))))
    return {A: b"".join(records), CHECKPOINTS: b"".join(lines[:1000]), "checkpoints/0001.jsonl": b"".join(lines[1000:])}


def test_checkpoints_go_on_in_a_next_file(many_checkpoints):
    store = memory_of(many_checkpoints)
    assert checking.verify(store).checkpoints == 1_003
    trail = Trail(store)
    trail.append_record(make_record(0, key="new", at=NOON + 1_003 * MINUTE))
    assert anchoring.anchor(store, KEY, NOON + 1_004 * MINUTE).is_new
    verdict = checking.verify(store)
    assert (verdict.ok, verdict.checkpoints, verdict.anchored) == (True, 1_004, 1_004)
    assert store.read("checkpoints/0001.jsonl").count(b"\n") == 4


@pytest.mark.parametrize(
    ("change", "what", "file"),
    [
        pytest.param(
            lambda files: {"checkpoints/0001.jsonl": files[CHECKPOINTS], CHECKPOINTS: files["checkpoints/0001.jsonl"]},
            "broken",
            CHECKPOINTS,
            id="swapped",
        ),
        pytest.param(lambda _: {CHECKPOINTS: b""}, "removed", "checkpoints/0001.jsonl", id="the first removed"),
        pytest.param(
            lambda files: {"checkpoints/0002.jsonl": files["checkpoints/0001.jsonl"], "checkpoints/0001.jsonl": b""},
            "removed",
            "checkpoints/0002.jsonl",
            id="one in the middle gone",
        ),
        pytest.param(
            lambda files: {
                CHECKPOINTS: b"".join(files[CHECKPOINTS].splitlines(keepends=True)[:-1]),
                "checkpoints/0001.jsonl": files[CHECKPOINTS].splitlines(keepends=True)[-1]
                + files["checkpoints/0001.jsonl"],
            },
            "broken",
            CHECKPOINTS,
            id="a line moved to the next",
        ),
    ],
)
def test_the_files_of_checkpoints_hold_together(many_checkpoints, change, what, file):
    store = memory_of({**many_checkpoints, **change(many_checkpoints)})
    found = checking.verify(store).first_bad
    assert found is not None
    assert (found.what, found.file) == (what, file)
    before = dict(store.lengths(""))
    anchored = anchoring.anchor(store, KEY, NOON + 2_000 * MINUTE)  # and nothing is written behind them
    assert (anchored.is_new, dict(store.lengths(""))) == (False, before)


# --------------------------------------------------------------------------------------- who holds the key


@pytest.fixture
def rewritten(tmp_path):
    """The whole trail made anew by whoever holds the key: one record says something else."""

    def make(said_of):
        root = tmp_path / f"rewritten-{said_of}"
        fill(FolderStore(root), said="forged", said_of=said_of)
        return root

    return make


def test_a_trail_rewritten_with_all_its_checkpoints_is_found_by_each_of_them_from_outside(rewritten, notes):
    root = rewritten(0)
    assert verified(root, keys=[PUBLIC]).ok
    for note in notes:
        assert facts_of(verified(root, keys=[PUBLIC], outside=note)) == ("rewritten", None, None, note.number)


def test_what_was_rewritten_after_the_checkpoint_from_outside_a_later_one_finds(rewritten, notes):
    """Record 3 came with the second checkpoint: the first says nothing of it."""
    root = rewritten(3)
    assert [verified(root, outside=note).ok for note in notes] == [True, False, False]


def test_a_trail_rewritten_with_another_key_is_found_by_the_right_one(tmp_path):
    root = tmp_path / "forged"
    fill(FolderStore(root), key=OTHER_KEY)
    assert verified(root).keys == (OTHER_PUBLIC,)
    assert first_of(root, keys=[PUBLIC]) == ("key", CHECKPOINTS, None, 1)
    assert verified(root, keys=[PUBLIC, OTHER_PUBLIC]).ok


def test_a_key_that_was_changed_needs_both(root):
    store = FolderStore(root)
    Trail(store).append_record(make_record(0, key="new", at=NOON + 4 * QUARTER))
    assert anchoring.anchor(store, OTHER_KEY, NOON + 4 * QUARTER + MINUTE).is_new
    assert verified(root, keys=[PUBLIC, OTHER_PUBLIC]).keys == (PUBLIC, OTHER_PUBLIC)
    assert first_of(root, keys=[OTHER_PUBLIC]) == ("key", CHECKPOINTS, None, 1)
    assert first_of_again(root, keys=[PUBLIC]) == ("key", CHECKPOINTS, None, 4)


def first_of_again(root, **options):
    shutil.rmtree(root.parent / "copy")
    return first_of(root, **options)


def test_a_checkpoint_that_takes_records_back_is_found(attacker, root, notes):
    """By whoever holds the key: all checkpoints stand, and one more says that two records never were."""
    lines = attacker.lines(A)[:3]
    pages = pages_in(attacker)
    tree = merkle.Tree()
    head = head_of(lines, "inc-a")
    for one in (*(head for page in pages for head in page.heads), head):
        tree.add(checkpoint.leaf_of(one))
    note = anchoring._following(notes[2], tree, 3, 9, NOON + 3 * QUARTER)
    write_pages(attacker, [*pages, Page(checkpoint=checkpoint.sign(note, KEY), heads=(head,))])
    attacker.write(A, lines)
    assert first_of(root, outside=notes[2]) == ("rewritten", CHECKPOINTS, None, 4)


def test_checkpoints_signed_anew_over_the_same_heads_are_not_the_one_from_outside(attacker, root, notes):
    """By whoever holds the key, to move the times of checkpoints."""
    previous, made = checkpoint.FIRST, []
    for page in pages_in(attacker):
        note = replace(page.checkpoint, previous=previous, at=page.checkpoint.at + timedelta(minutes=1))
        signed = checkpoint.sign(note, KEY)
        previous = checkpoint.digest_of(signed)
        made.append(replace(page, checkpoint=signed))
    write_pages(attacker, made)
    assert verified(root).ok
    assert first_of(root, outside=notes[1]) == ("rewritten", None, None, 2)


def test_a_checkpoint_from_outside_is_itself_checked(root, notes):
    forged = replace(notes[0], root="e" * 64)
    other = checkpoint.sign(notes[0], OTHER_KEY)
    assert facts_of(verified(root, outside=forged)) == ("signature", None, None, 1)
    assert facts_of(verified(root, outside=other, keys=[PUBLIC])) == ("key", None, None, 1)
    assert facts_of(verified(root, outside=other)) == ("rewritten", None, None, 1)
    ahead = checkpoint.sign(replace(notes[2], number=4), KEY)
    assert facts_of(verified(root, outside=ahead)) == ("cut", None, None, 4)


# --------------------------------------------------------------------------------------------------- clocks


def test_records_whose_clock_ran_backwards_are_told_and_stay_one_chain(tmp_path):
    store = FolderStore(tmp_path)
    trail = Trail(store)
    for number, minutes in enumerate((0, 10, 7, 12)):
        trail.append_record(make_record(number, at=NOON + minutes * MINUTE))
    found = anchoring.anchor(store, KEY, NOON + QUARTER)
    assert (found.is_new, [(one.what, one.record) for one in found.findings]) == (True, [("clock", 2)])
    verdict = verified(tmp_path)
    assert (verdict.ok, verdict.found, verdict.anchored) == (False, 1, 4)
    assert facts_of(verdict) == ("clock", A, "inc-a", 2)
    assert "2026-11-22 12:10:00 UTC" in verdict.findings[0].words


def test_clocks_may_differ_by_two_minutes(tmp_path):
    trail = Trail(FolderStore(tmp_path))
    for number, minutes in enumerate((2, 0)):
        trail.append_record(make_record(number, at=NOON + minutes * MINUTE))
    assert verified(tmp_path).ok


def test_a_checkpoint_whose_clock_ran_backwards_is_told_and_the_trail_goes_on(root):
    store = FolderStore(root)
    trail = Trail(store)
    for number, at in enumerate((NOON - QUARTER, NOON + 5 * QUARTER)):
        trail.append_record(make_record(0, "inc-b", key=f"new:{number}", at=NOON + 4 * QUARTER))
        assert anchoring.anchor(store, KEY, at).is_new
    verdict = verified(root)
    assert (verdict.ok, verdict.checkpoints, verdict.anchored, verdict.records) == (False, 5, 14, 14)
    assert facts_of(verdict) == ("clock", CHECKPOINTS, None, 4)
    assert verdict.findings[0].words == (
        "checkpoint 4 was taken at 2026-11-22 11:45:00 UTC, before the one it follows: a clock was wrong"
    )


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00+14:00"])
def test_a_time_at_the_end_of_all_times_stops_nothing(attacker, root, at):
    lines = attacker.lines(C)
    moments = (
        codec.load(type(make_record(0)), {**codec.dump(make_record(3, "inc-c")), "at": at}),
        make_record(4, "inc-c"),
    )
    attacker.write(C, lines + sealed(moments, opened(lines)[-1].hash))
    what, file, incident, record = first_of(root)
    assert (what, file, incident) == ("clock", C, "inc-c")
    assert record in {3, 4}


def test_a_time_without_a_zone_is_none(attacker, root):
    lines = attacker.lines(C)
    record = make_record(3, "inc-c", at=NOON.replace(tzinfo=None))
    attacker.write(C, lines + sealed([record], opened(lines)[-1].hash))
    assert first_of(root) == ("unreadable", C, "inc-c", 3)


# ------------------------------------------------------------------------------------------ crashes and lengths


def test_a_last_line_that_was_half_written_names_the_record(root):
    with (root / A).open("ab") as file:
        file.write(b'{"actor":{"appid"')
    verdict = verified(root)
    assert facts_of(verdict) == ("half-written", A, "inc-a", 6)
    assert [found.what for found in verdict.findings] == ["half-written", "half-written"]
    assert verdict.findings[1].words.startswith("17 bytes at its end no writer has confirmed")
    assert facts_of(verified(bare(root))) == ("half-written", A, "inc-a", 6)
    assert checking.verify(FolderStore(root)).ok  # what was never confirmed is not on the trail


def test_a_whole_line_that_no_writer_confirmed_is_told(root):
    path = root / A
    (line,) = sealed([make_record(6, at=NOON + 4 * QUARTER)], opened(path.read_bytes().splitlines())[-1].hash)
    path.write_bytes(path.read_bytes() + line)
    assert facts_of(verified(root)) == ("half-written", A, None, None)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        pytest.param(b"%020d" % 100, "half-written", id="shorter"),
        pytest.param(b"", "half-written", id="empty"),
        pytest.param(b"%020d" % 99_999, "cut", id="longer"),
        pytest.param(b"%020d" % -5, "removed", id="negative"),
        pytest.param(b"999", "removed", id="too few digits"),
        pytest.param(b"9" * 5_000, "removed", id="too many digits"),
        pytest.param(b"12 cats and a dogs  ", "removed", id="no number"),
        pytest.param(b"\xff" * 20, "removed", id="no text"),
        pytest.param(None, "removed", id="gone"),
    ],
)
@pytest.mark.parametrize("name", [A, CHECKPOINTS])
def test_a_forged_length_is_told(attacker, root, content, what, name):
    if content is None:
        attacker.length_file(name).unlink()
    else:
        attacker.length_file(name).write_bytes(content)
    if (what, name) == ("half-written", A):
        what = "changed"  # a checkpoint proves the bytes that it hides
    verdict = verified(root)
    assert (verdict.ok, verdict.found, facts_of(verdict)) == (False, 1, (what, name, None, None))
    assert verified(bare(root)).ok


@pytest.mark.parametrize("content", [b"%020d" % -5, b"1_0", b"x" * 20, b"9" * 21])
def test_a_store_neither_reads_nor_writes_behind_a_length_that_is_none(attacker, root, content):
    attacker.length_file(A).write_bytes(content)
    before = everything(root)
    trail = Trail(FolderStore(root))
    with pytest.raises(Exception, match="its length reads"):
        trail.records("inc-a")
    with pytest.raises(Exception, match="its length reads"):
        trail.append_record(make_record(0, key="new"))
    assert everything(root) == before


def test_a_file_that_is_gone_and_left_its_length_behind_was_taken_out(root):
    """Of records that no checkpoint knows of, the length alone tells."""
    store = FolderStore(root)
    Trail(store).append_record(make_record(0, "inc-new", at=NOON + 4 * QUARTER))
    (root / "audit/inc-new/0000.jsonl").unlink()
    assert facts_of(verified(root)) == ("cut", "audit/inc-new/0000.jsonl", None, None)


@pytest.mark.parametrize("name", [".0000.jsonl.length", ".0123456789abcdef"])
def test_what_a_writer_leaves_that_died_before_it_wrote_is_no_fault(root, name):
    folder = root / "audit/inc-new"
    folder.mkdir()
    (folder / name).touch()
    assert verified(root).ok
    (folder / "0000.jsonl").touch()
    (folder / ".0000.jsonl.length").touch()
    verdict = verified(root)
    assert (verdict.ok, verdict.incidents, verdict.records) == (True, 4, 12)


# ---------------------------------------------------------------------------------------------- foreign files

FOREIGN = (
    "notes.txt",
    ".hidden",
    ".length",
    "audit/notes.txt",
    "audit/inc-a/notes.txt",
    "audit/inc-a/.0000.jsonl.swp",
    "audit/inc-a/0000.jsonl.bak",
    "audit/inc-a/000.jsonl",
    "audit/inc-a/0000.json",
    "audit/inc-a/deeper/0000.jsonl",
    "audit/inc a/0000.jsonl",
    "audit/ínc/0000.jsonl",
    "audit/inc-a/\u0660\u0660\u0660\u0660.jsonl",
    f"audit/{'x' * 201}/0000.jsonl",
    "checkpoints/notes",
    "checkpoints/0000.jsonl~",
    "incidents/inc-a/secret",
    "intake/today/x",
    "intake/\uff12\uff1026-11-22/x",
    "x" * 255,
    "x" * 250 + ".y",
    "-rf",
    "a\x1b[2Jb",
    "line\nThe trail holds",
)


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_named_wherever_it_lies(root, name):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"whatever\n")
    verdict = verified(root)
    assert (verdict.ok, verdict.found, facts_of(verdict)) == (False, 1, ("foreign", name, None, None))
    assert (verdict.records, verdict.anchored) == (12, 11)


def test_a_name_that_is_no_text_is_shown_with_escapes(root):
    (Path(os.fsencode(root).decode()) / os.fsdecode(b"bad-\xff-name")).write_bytes(b"")
    verdict = verified(root)
    assert facts_of(verdict) == ("foreign", "bad-\\xff-name", None, None)
    assert codec.encode(verdict)


@pytest.mark.parametrize("name", ["links", "audit/inc-a/0001.jsonl", "checkpoints/0001.jsonl", "audit/inc-new"])
@pytest.mark.parametrize("target", ["file", "folder", "nothing", "itself"])
def test_a_link_is_foreign_and_not_followed(root, name, target):
    aside = root.parent / "aside"
    aside.mkdir()
    (aside / "0000.jsonl").write_bytes((root / A).read_bytes())
    targets = {"file": aside / "0000.jsonl", "folder": aside, "nothing": aside / "none", "itself": root}
    (root / name).symlink_to(targets[target])
    copy = FolderCopy(root)
    verdict = checking.verify(copy, torn=copy.torn())
    assert (verdict.found, facts_of(verdict)) == (1, ("foreign", f"{name} (no plain file)", None, None))


def test_a_pipe_in_the_place_of_records_is_foreign_and_not_waited_for(root):
    (root / A).unlink()
    os.mkfifo(root / A)
    copy = FolderCopy(root)
    verdict = checking.verify(copy, torn=copy.torn())
    assert [found.what for found in verdict.findings] == ["removed", "cut", "foreign"]
    assert verdict.findings[2].file == f"{A} (no plain file)"


def test_a_folder_in_the_place_of_records_is_a_file_that_is_gone(root):
    (root / A).unlink()
    (root / A).mkdir()
    verdict = verified(root)
    assert [(found.what, found.incident) for found in verdict.findings] == [("removed", "inc-a"), ("cut", None)]


def test_a_hundred_findings_are_kept_and_all_are_counted_and_foreign_files_hide_no_record(attacker, root):
    for number in range(150):
        (root / f"0-foreign-{number:03d}").touch()
    verdict = verified(root)
    assert (len(verdict.findings), verdict.found) == (100, 150)
    attacker.write(A, attacker.lines(A)[1:])
    verdict = verified(root)
    assert (len(verdict.findings), verdict.found, facts_of(verdict)) == (100, 151, ("broken", A, "inc-a", 0))
