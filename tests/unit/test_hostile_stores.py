"""A store whose bytes are damaged: every reader says so, or reads what was written; none believes it, none breaks."""

import shutil
import tempfile
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from remediations import codec, register
from remediations.adapters.folder import FolderStore
from remediations.desk import Desk
from remediations.errors import StoreError, StoreUnavailable
from remediations.model import AuditRecord, Caller, Disposition, End, Mode, Outcome, Unknown
from remediations.proof import anchoring, chain, checking, proving
from remediations.proof.checkpoint import Page
from remediations.register import Line, Register
from remediations.services import EvidenceStore
from remediations.trail import Answered, Ended, Intake, Opened, Question, Slot, Trail, Vote
from tests.builders import NOON, MemoryStore, make_incident, make_intent, make_outcome
from tests.fuzzing import fuzzed
from tests.trails import CHECKPOINTS, KEY, fill, make_record, memory_of

A = "audit/inc-a/0000.jsonl"
INCIDENTS = ("inc-a", "inc-b", "inc-c")
SCRATCHES = (
    *(
        "bit",
        "cut",
        "in",
        "out",
        "over",
        "twice",
        "join",
        "swap",
        "drop",
        "crlf",
        "bom",
        "utf-16",
        "pad",
        "space",
        "blank",
    ),
)


def damaged(content: bytes, data: st.DataObject) -> bytes:
    """Give bytes with one damage: of a disk, of a copy, of an editor, or of somebody's hand."""
    place = data.draw(st.integers(0, max(0, len(content) - 1)))
    end = data.draw(st.integers(place, len(content)))
    lines = content.splitlines(keepends=True) or [b""]
    line = data.draw(st.integers(0, len(lines) - 1))
    other = data.draw(st.integers(0, len(lines) - 1))
    swapped = list(lines)
    swapped[line], swapped[other] = swapped[other], swapped[line]
    some = data.draw(
        st.binary(min_size=1, max_size=6) | st.sampled_from([b"\n", b'"', b"\\", b"\0", b"\xed\xa0\x80", b"}\n{"])
    )
    return {
        "bit": content[:place] + bytes([content[place] ^ 1 << data.draw(st.integers(0, 7))]) + content[place + 1 :],
        "cut": content[:place],
        "in": content[:place] + some + content[place:],
        "out": content[:place] + content[min(end, place + 8) :],
        "over": content[:place] + some + content[place + len(some) :],
        "twice": b"".join([*lines[: line + 1], *lines[line:]]),
        "join": b"".join([*lines[:line], lines[line].rstrip(b"\n"), *lines[line + 1 :]]),
        "swap": b"".join(swapped),
        "drop": b"".join([*lines[:line], *lines[line + 1 :]]),
        "crlf": content.replace(b"\n", b"\r\n"),
        "bom": b"\xef\xbb\xbf" + content,
        "utf-16": content.decode(errors="replace").encode("utf-16"),
        "pad": content + b"\0" * 8,
        "space": content.replace(b'":', b'": ', 1),
        "blank": b"".join([*lines[:line], b"\n", *lines[line:]]),
    }[data.draw(st.sampled_from(SCRATCHES))]


@pytest.fixture(scope="module")
def genuine() -> tuple[dict[str, bytes], Any]:
    """The files of a trail, and its last checkpoint, kept elsewhere."""
    store = MemoryStore()
    notes = fill(store)
    return {name: store.read(name) for name in store.list("")}, notes[-1]


@fuzzed(120)
@given(st.data())
def test_no_damage_to_the_records_is_overlooked(genuine, data):
    files, outside = genuine
    name = data.draw(st.sampled_from(sorted(files)))
    changed = damaged(files[name], data)
    lines = files[A].splitlines(keepends=True)
    assume(
        changed != files[name] and not (name == A and changed == b"".join(lines[:-1]))
    )  # no checkpoint knows of that
    store = memory_of({**files, name: changed})

    verdict = checking.verify(store, outside=outside)
    assert not verdict.ok
    assert verdict == checking.verify(store, outside=outside)
    assert all(finding.words and "\n" not in finding.words for finding in verdict.findings)


@fuzzed(100)
@given(st.data())
def test_records_are_read_as_they_were_written_or_not_at_all(genuine, data):
    files, _ = genuine
    changed = damaged(files[A], data)
    trail = Trail(memory_of({**files, A: changed}))
    whole = [codec.decode(AuditRecord, line) for line in files[A].splitlines()]
    try:
        checked = trail.records("inc-a", is_checked=True)
    except ValueError:
        assert changed != files[A]
    else:
        assert list(checked) == whole[: len(checked)]
    try:
        read = trail.records("inc-a")
    except ValueError:
        return
    assert all(isinstance(record, AuditRecord) for record in read)


@fuzzed(60)
@given(st.data())
def test_a_record_is_added_behind_what_can_be_read_or_not_at_all(genuine, data):
    files, _ = genuine
    changed = damaged(files[A], data)
    store = memory_of({**files, A: changed})
    try:
        Trail(store).append_record(make_record(99, "inc-a", key="step:99"))
    except (ValueError, StoreError):
        assert list(store.list("audit/inc-a")) == ([A] if changed else [])
        assert not changed or store.read(A) == changed
        return
    added = store.read(A).removeprefix(changed)
    assert store.read(A) == changed + added
    assert chain.is_whole(added.removesuffix(b"\n"))


@fuzzed(60)
@given(st.data())
def test_what_is_damaged_is_not_signed_and_not_proved(genuine, data):
    files, outside = genuine
    name = data.draw(st.sampled_from([A, CHECKPOINTS]))
    store = memory_of({**files, name: damaged(files[name], data)})
    held = checking.verify(store, outside=outside).ok
    anchoring.anchor(store, KEY, NOON + timedelta(hours=2))
    assert checking.verify(store, outside=outside).ok is held
    for record in (0, 4):
        proof = proving.prove(store, "inc-a", record)
        line = files[A].splitlines()[record].decode()
        assert isinstance(proof, str) or (proof.lines[0] == line and proving.why_unproved(proof) is None)


# ------------------------------------------------------------------------------------------- single records

QUESTION = Question(
    at=NOON,
    incident_id="inc-a",
    plan="p" * 64,
    decision="d" * 64,
    policy_version="0123456789ab",
    expires_at=NOON + timedelta(hours=1),
)
VALUES: tuple[Any, ...] = (
    Opened(at=NOON, nonce="n", incident=make_incident()),
    Intake(at=NOON, event_id="e", event_type="t", disposition=Disposition.INCIDENT, incident=make_incident()),
    Ended(at=NOON, end=End.REPAIRED, words="it is", incident=make_incident(), mode=Mode.AUTO),
    make_intent(),
    make_outcome(retry_after=timedelta(seconds=5)),
    QUESTION,
    Vote(at=NOON, plan="p" * 64, by=Caller(oid="o", tid="t"), approves=True),
    Answered(at=NOON, plan="p" * 64, approved=True, words="yes"),
    Slot(plan="p" * 64, incident_id="inc-a"),
    Desk(owner="inc-a", until=NOON, parked=({"incident": {"id": "inc-b"}},)),
    make_record(0),
    Line(at=NOON, kind=register.Kind.OPENED, incident="inc-a", resource="/r"),
)


@fuzzed(200)
@given(st.data())
def test_a_record_that_can_be_read_is_a_value_that_can_be_kept(data):
    value = data.draw(st.sampled_from(VALUES))
    changed = damaged(codec.encode(value), data)
    try:
        read = codec.decode(type(value), changed)
    except ValueError:
        return
    assert codec.decode(type(value), codec.encode(read)) == read


@fuzzed(40)
@given(st.data())
def test_evidence_is_what_its_name_says_or_nothing(data):
    store = MemoryStore()
    evidence = EvidenceStore(store)
    digest = evidence.put(make_outcome())
    (name,) = store.list("")
    content = store.read(name)
    changed = damaged(content, data)
    assume(changed not in (content, b""))
    scratched = EvidenceStore(memory_of({name: changed}))
    with pytest.raises(ValueError, match="it was changed"):
        scratched.get(Outcome, digest)
    assert isinstance(scratched.reading(digest), Unknown)


# ------------------------------------------------------------------------------------------- the register


@fuzzed(60)
@given(st.data())
def test_a_register_with_damage_lists_what_it_can_and_counts_the_rest(data):
    store = MemoryStore()
    trail = Trail(store)
    for number, letter in enumerate("abc"):
        incident = make_incident(id=f"inc-{letter}")
        trail.open_incident(incident, "nonce", NOON + timedelta(minutes=number))
        trail.end_incident(Ended(at=NOON + timedelta(minutes=9), end=End.REPAIRED, words="x", incident=incident))
    (name,) = store.list("days/")
    content = store.read(name)
    span = (NOON - timedelta(hours=1), NOON + timedelta(hours=1))
    whole = Register(store).listing(*span)
    assert (len(whole.cases), whole.unreadable) == (3, 0)

    changed = damaged(content, data)
    seen = Register(memory_of({name: changed})).listing(*span)
    assert seen == Register(memory_of({name: changed})).listing(*span)
    lines = [line for line in changed.split(b"\n") if line]
    assert len(seen.cases) + seen.unreadable <= len(lines)
    if sorted(lines) == sorted(line for line in content.split(b"\n") if line):
        assert {case.id for case in seen.cases} == {case.id for case in whole.cases}
    untouched = {case.id for case in whole.cases if all(line in lines for line in _of(content, case.id))}
    assert untouched <= {case.id for case in seen.cases}


def _of(content: bytes, incident: str) -> list[bytes]:
    return [line for line in content.splitlines() if f'"{incident}"'.encode() in line]


# ------------------------------------------------------------------------------------------- the folder


@fuzzed(50)
@given(st.data())
def test_an_appended_file_is_read_as_far_as_was_confirmed_or_not_at_all(data):
    folder = Path(tempfile.mkdtemp())
    try:
        store = FolderStore(folder)
        store.append("days/a", b"one\n", 0)
        store.append("days/a", b"two\n", 4)
        hidden = folder / "days" / ".a.length"
        hidden.write_bytes(damaged(hidden.read_bytes(), data))
        with suppress(StoreUnavailable):
            assert b"one\ntwo\n".startswith(store.read("days/a"))
        try:
            store.append("days/a", b"three\n", 8)
        except StoreError:
            assert (folder / "days" / "a").read_bytes() == b"one\ntwo\n"
        else:
            assert store.read("days/a") == b"one\ntwo\nthree\n"
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("length", [b"0" * 19 + b"80", b"%020d8" % 8, b"%020d\n" % 8, b"8", b"-" * 20, b" " * 20])
def test_a_length_that_is_none_lets_nobody_read_or_append(tmp_path, length):
    store = FolderStore(tmp_path)
    store.append("days/a", b"one\ntwo\n", 0)
    (tmp_path / "days" / ".a.length").write_bytes(length)
    with pytest.raises(StoreUnavailable, match="its length reads"):
        store.read("days/a")
    with pytest.raises(StoreUnavailable, match="its length reads"):
        store.append("days/a", b"three\n", 8)


@pytest.mark.parametrize(
    "content", [b"{}", b"[]", b"null", b"", b"\xff", b'{"checkpoint":{}}', b'{"checkpoint":null,"heads":[]}']
)
def test_what_is_no_checkpoint_is_told_and_never_raises(genuine, content):
    files, _ = genuine
    verdict = checking.verify(memory_of({**files, CHECKPOINTS: files[CHECKPOINTS] + content + b"\n"}))
    assert verdict.first_bad is not None
    assert verdict.first_bad.file == CHECKPOINTS
    with pytest.raises(ValueError):  # noqa: PT011 - whichever kind
        codec.decode(Page, content)
