"""A link names one question, and only who has a key can make one."""

import hashlib
import time
from datetime import timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from itsdangerous import TimestampSigner, URLSafeTimedSerializer

from remediations.approval.token import Token, form_value, is_form_value, read, sign
from remediations.model import Person
from tests.builders import NOON
from tests.fuzzing import ANY_TEXT, fuzzed, scratched

KEYS = {"k1": "a" * 32, "k2": "b" * 32}
TOKEN = Token(incident_id="inc-1", plan="p" * 64, policy_version="0123456789ab", expires_at=NOON)
SHA256 = {"digest_method": hashlib.sha256}


def test_a_signed_token_reads_back():
    assert read(sign(TOKEN, KEYS, "k1"), KEYS) == TOKEN


def test_a_token_of_an_older_key_is_still_accepted_and_one_of_a_key_that_is_gone_is_not():
    signed = sign(TOKEN, KEYS, "k1")
    assert read(signed, KEYS) == TOKEN
    assert read(signed, {"k2": KEYS["k2"]}) is None


def test_a_token_says_which_key_signed_it():
    assert sign(TOKEN, KEYS, "k2").startswith("k2.")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: "", id="empty"),
        pytest.param(lambda text: "k1", id="a key alone"),
        pytest.param(lambda text: "k1.", id="no signature"),
        pytest.param(lambda text: text[3:], id="no key"),
        pytest.param(lambda text: "k2" + text[2:], id="another key"),
        pytest.param(lambda text: text[:-1], id="cut"),
        pytest.param(lambda text: text + "A", id="longer"),
        pytest.param(lambda text: text.replace(".", "..", 1), id="another dot"),
        pytest.param(lambda text: text[:5] + ("A" if text[5] != "A" else "B") + text[6:], id="another payload"),
        pytest.param(lambda text: "k1." + "x" * 100_000, id="a long one"),
        pytest.param(lambda text: "k1.\x00\udcff", id="no text"),
    ],
)
def test_a_token_that_was_touched_is_none(change):
    assert read(change(sign(TOKEN, KEYS, "k1")), KEYS) is None


@fuzzed(150)
@given(st.data())
def test_no_scratch_on_a_token_or_a_form_is_overlooked(data):
    """Also none that a lenient reader of base64 would: a space, a foreign character, bits that hold nothing."""
    for signed in (sign(TOKEN, KEYS, "k1"), form_value(ANNA, PLAN, KEYS, "k1")):
        changed = scratched(signed, data)
        assume(changed != signed)
        assert read(changed, KEYS) is None
        assert is_form_value(changed, ANNA, PLAN, KEYS) is False


@pytest.mark.parametrize("junk", ["!", " ", "\n", "=", "=="])
def test_a_signature_is_written_in_one_way_only(junk):
    signed = sign(TOKEN, KEYS, "k1")
    for place in (len(signed), len(signed) - 1, len(signed) - 10):
        assert read(signed[:place] + junk + signed[place:], KEYS) is None


def test_the_bits_of_a_signature_that_hold_nothing_are_zero():
    signed = sign(TOKEN, KEYS, "k1")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    others = {signed[:-1] + letter for letter in letters} - {signed}
    assert {read(other, KEYS) for other in others} == {None}


@fuzzed(60)
@given(ANY_TEXT | st.builds("k1.{}".format, ANY_TEXT) | st.builds("k1.{}.{}.{}".format, ANY_TEXT, ANY_TEXT, ANY_TEXT))
def test_what_nobody_signed_is_none(text):
    assert read(text, KEYS) is None
    assert is_form_value(text, ANNA, PLAN, KEYS) is False


@pytest.mark.parametrize("moment", [10**18, -(10**18), 2**63, 0, -1])
def test_a_signed_time_that_is_none_is_refused_as_well(moment):
    payload = ["inc-1", "p", "v", moment]
    forged = URLSafeTimedSerializer(KEYS["k1"], salt="endpoint-medic approval v2", signer_kwargs=SHA256).dumps(payload)
    assert read(f"k1.{forged}", KEYS) is None


def test_a_token_signed_for_another_purpose_is_none():
    other = URLSafeTimedSerializer(KEYS["k1"], salt="something else", signer_kwargs=SHA256)
    assert read(f"k1.{other.dumps(['inc-1', 'p', 'v', 1])}", KEYS) is None


def signed_at(moment: float, monkeypatch) -> str:
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: int(moment))
    signed = sign(TOKEN, KEYS, "k1")
    monkeypatch.undo()
    return signed


@pytest.mark.parametrize(
    ("shift", "is_read"),
    [
        pytest.param(timedelta(days=-92), True, id="weeks old: it tells how the question ended"),
        pytest.param(timedelta(days=-94), False, id="months old"),
        pytest.param(timedelta(minutes=5), False, id="from the future"),
    ],
)
def test_a_token_is_read_for_some_months_and_never_before_it_was_signed(monkeypatch, shift, is_read):
    signed = signed_at(time.time() + shift.total_seconds(), monkeypatch)
    assert (read(signed, KEYS) == TOKEN) is is_read


def test_without_a_key_no_token_is_read():
    assert read(sign(TOKEN, KEYS, "k1"), {}) is None


@pytest.mark.parametrize(
    "payload",
    [[], ["inc-1", "p", "v"], ["inc-1", "p", "v", "1"], {"plan": "p"}, "text", [None, "p", "v", 1]],
    ids=str,
)
def test_a_payload_of_another_form_is_none(payload):
    forged = URLSafeTimedSerializer(KEYS["k1"], salt="endpoint-medic approval v2", signer_kwargs=SHA256).dumps(payload)
    assert read(f"k1.{forged}", KEYS) is None


# ------------------------------------------------------------------------------------------ the value of a form

ANNA = Person(oid="00000000-0000-4000-8000-000000000001", tid="t1")
PLAN = "p" * 64


@pytest.mark.parametrize(
    ("person", "plan", "holds"),
    [
        pytest.param(ANNA, PLAN, True, id="sent back"),
        pytest.param(Person(oid="00000000-0000-4000-8000-000000000002", tid="t1"), PLAN, False, id="by another"),
        pytest.param(Person(oid=ANNA.oid, tid="t2"), PLAN, False, id="from another tenant"),
        pytest.param(ANNA, "q" * 64, False, id="about another plan"),
    ],
)
def test_a_form_is_one_persons_and_about_one_plan(person, plan, holds):
    assert is_form_value(form_value(ANNA, PLAN, KEYS, "k1"), person, plan, KEYS) is holds


def test_the_value_of_a_form_is_no_link_and_a_link_no_value_of_a_form():
    assert read(form_value(ANNA, PLAN, KEYS, "k1"), KEYS) is None
    assert is_form_value(sign(TOKEN, KEYS, "k1"), ANNA, PLAN, KEYS) is False


@pytest.mark.parametrize("text", ["", "k1.", "k1.x", "k3.x", "x" * 5000])
def test_what_is_no_value_of_a_form_is_none(text):
    assert is_form_value(text, ANNA, PLAN, KEYS) is False
