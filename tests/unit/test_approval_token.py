"""A link names one question, and only who has a key can make one."""

from datetime import timedelta

import pytest
from itsdangerous import URLSafeTimedSerializer

from remediations.approval.token import Token, read, sign

KEYS = {"k1": "a" * 32, "k2": "b" * 32}
TOKEN = Token(incident_id="inc-1", plan="p" * 64, policy_version="0123456789ab")
WEEK = timedelta(days=7)


def test_a_signed_token_reads_back():
    assert read(sign(TOKEN, KEYS, "k1"), KEYS, WEEK) == TOKEN


def test_a_token_of_an_older_key_is_still_accepted_and_one_of_a_key_that_is_gone_is_not():
    signed = sign(TOKEN, KEYS, "k1")
    assert read(signed, KEYS, WEEK) == TOKEN
    assert read(signed, {"k2": KEYS["k2"]}, WEEK) is None


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
    assert read(change(sign(TOKEN, KEYS, "k1")), KEYS, WEEK) is None


def test_a_token_signed_for_another_purpose_is_none():
    other = URLSafeTimedSerializer(KEYS["k1"], salt="something else").dumps(["inc-1", "p", "v"])
    assert read(f"k1.{other}", KEYS, WEEK) is None


def test_an_old_token_is_none():
    assert read(sign(TOKEN, KEYS, "k1"), KEYS, timedelta(seconds=-1)) is None


def test_without_a_key_no_token_is_read():
    assert read(sign(TOKEN, KEYS, "k1"), {}, WEEK) is None
