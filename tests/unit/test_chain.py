"""One line of the trail, and what anybody can check of it with a few lines of their own."""

import hashlib
import json

import pytest

from remediations import codec
from remediations.model import Actor
from remediations.proof import chain
from tests.builders import NOON, make_trail
from tests.trails import make_record, opened, sealed

ZEROS = "0" * 64


def first_bad(content: bytes) -> int | None:
    """A reader of somebody else's: it knows the form alone, and nothing of ours."""
    previous = "0" * 64
    for number, line in enumerate(content.splitlines()):
        record = json.loads(line)
        digest = hashlib.sha256(line[:-75] + b"}").hexdigest()
        if (record.get("seq"), record.get("previous"), record.get("hash")) != (number, previous, digest):
            return number
        previous = digest
    return None


def test_a_line_is_canonical_json_with_its_hash_behind_it():
    line, digest = chain.seal(make_record(0, actor=Actor(), at=NOON), ZEROS)
    body = line[:-76] + b"}"
    assert line.endswith(b',"hash":"' + digest.encode() + b'"}\n')
    assert body == json.dumps(json.loads(body), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert json.loads(body)["previous"] == ZEROS
    assert hashlib.sha256(body).hexdigest() == digest


def test_a_line_reads_as_the_record_that_was_sealed():
    record = make_record(3, facts={"what": 'Ünïcode "quoted" \\ \u2028', "nested": {"b": [1, None, 2.5], "a": True}})
    (line,) = sealed([record], previous="f" * 64)
    (read,) = opened([line])
    assert (read.seq, read.facts, read.previous) == (3, record.facts, "f" * 64)
    assert chain.is_canonical(line[:-1])


def test_ten_plain_lines_of_anybody_agree_about_every_byte():
    trail = make_trail()
    for number in range(4):
        trail.append_record(make_record(number, facts={"said": f'"hash":"{number}"', "ü": number}))
    content = trail.record_lines("inc-a")
    assert first_bad(content) is None
    starts = [0]
    for line in content.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 1
        number = next(number for number, start in enumerate(starts[1:]) if place < start)
        try:
            found = first_bad(bytes(changed))
        except ValueError:
            continue  # it is no JSON any more
        assert found == number


def test_the_hash_of_a_line_covers_what_only_looks_like_a_hash():
    inner = {"hash": "a" * 64}
    (line,) = sealed([make_record(0, facts=inner)])
    read = chain.link(line[:-1])
    assert read is not None
    assert read.hash == hashlib.sha256(line[:-76] + b"}").hexdigest()
    assert chain.link(line[:-1].replace(b"a" * 64, b"b" * 64)) is None


LINE = sealed([make_record(0)])[0][:-1]


def resealed(body: bytes) -> bytes:
    """A line with a right hash over whatever stands in it."""
    return body[:-1] + b',"hash":"' + hashlib.sha256(body).hexdigest().encode() + b'"}'


BODY = LINE[:-75] + b"}"


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="list"),
        pytest.param(LINE[:-1], id="cut"),
        pytest.param(LINE + b" ", id="space behind"),
        pytest.param(LINE + LINE, id="twice"),
        pytest.param(BODY, id="no hash"),
        pytest.param(BODY[:-1] + b',"hash":"x","z":"' + b"0" * 64 + b'"}', id="hash not last"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, id="nested deep"),
        pytest.param(BODY[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="nested deep inside"),
        pytest.param(resealed(BODY.replace(b'"seq":0', b'"seq":1e400')), id="huge number"),
        pytest.param(resealed(BODY.replace(b'"seq":0', b'"seq":"0"')), id="number as text"),
        pytest.param(resealed(BODY.replace(b'"seq":0', b'"seq":' + b"9" * 5000)), id="endless number"),
        pytest.param(resealed(BODY.replace(b"12:00:00Z", b"12:00:00")), id="time without a zone"),
        pytest.param(b"\xff\xfe" + LINE, id="no UTF-8"),
    ],
)
def test_what_is_no_line_is_refused(line):
    with pytest.raises(ValueError, match=r"."):
        chain.link(line)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(LINE.replace(b"quota-cpu", b"quota-gpu"), id="another fact"),
        pytest.param(LINE[:-3] + (b"0" if LINE[-3:-2] != b"0" else b"1") + b'"}', id="another hash"),
        pytest.param(LINE[:-66] + LINE[-66:].upper(), id="hash in capitals"),
        pytest.param(b" " + LINE, id="space before"),
        pytest.param(LINE.replace(b'"seq":0', b'"seq": 0'), id="space inside"),
    ],
)
def test_a_line_whose_bytes_are_not_those_of_its_hash_is_told_from_one_that_is_none(line):
    assert chain.link(line) is None


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(BODY.replace(b'"seq":0', b'"seq":0,"seq":0'), id="a member twice"),
        pytest.param(b'{"zzz":1,' + BODY[1:], id="out of order"),
        pytest.param(BODY.replace(b'"seq":0', b'"seq": 0'), id="white space"),
        pytest.param(BODY.replace(b"quota-cpu", b"quota-\\u0063pu"), id="an escape that needs none"),
        pytest.param(BODY.replace(b"quota-cpu", b"quota-\xff"), id="no UTF-8 in a fact"),
    ],
)
def test_a_line_that_holds_and_is_not_as_we_write_it_is_told(body):
    line = resealed(body)
    assert chain.link(line) is not None
    assert not chain.is_canonical(line)


def test_json_that_is_nested_too_deep_is_malformed_for_every_reader():
    with pytest.raises(ValueError, match="nested too deep"):
        codec.decode(dict, b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
