"""Error bodies that somebody else wrote: what is kept of them is bounded, clean, and the same twice."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from remediations import codec
from remediations.messages import deepest, parse, parse_redacted
from remediations.model import ErrorDetail
from tests.fuzzing import ANY_JSON, ANY_TEXT, fuzzed, grafted, scratched

SECRET = "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6"
FORMS = (
    *(f"AccountKey={SECRET};", f"password={SECRET}", f"Authorization: Bearer {SECRET}", f'{{"password": "{SECRET}"}}'),
    *(f"https://h/x?sig={SECRET}&se=1", f"--registry-password {SECRET}", f"client_secret: {SECRET}"),
)
BODY: Any = {
    "error": {
        "code": "BadRequest",
        "message": "The request is invalid.",
        "details": [
            {
                "code": "InferencingClientCallFailed",
                "message": '{"errors":{"VmSize":["Not enough quota"]},"status":400}',
            },
            {"code": None, "message": "(OutOfQuota) No cores.\nCode: OutOfQuota\nMessage: No cores.", "details": []},
        ],
        "innererror": {"errors": {"field": ["is missing"]}, "title": "One or more validation errors occurred."},
        "additionalInfo": [{"type": "ComponentName", "info": {"value": "managementfrontend"}}],
    },
    "statusMessage": json.dumps({"error": {"code": "X", "message": json.dumps({"code": "Y", "message": "deep"})}}),
}
PLANTED = st.sampled_from([*FORMS, *({"message": form} for form in FORMS), *({"code": form} for form in FORMS)])


def assert_kept_well(value: object) -> tuple[ErrorDetail, ...]:
    """What holds of whatever is kept of any value."""
    kept = parse_redacted(value)
    assert kept == parse_redacted(value)
    assert len(kept) <= 100
    for detail in kept:
        assert len(detail.message) <= 4_096
        assert detail.code is None or (0 < len(detail.code) <= 80 and detail.code.isascii() and " " not in detail.code)
        assert detail.code or detail.message
    assert codec.decode(tuple[ErrorDetail, ...], codec.encode(kept)) == kept
    return kept


@fuzzed(120)
@given(st.data())
def test_no_secret_of_an_error_body_is_kept_however_it_is_wrapped(data):
    """Also as a code, in a name's place, and in JSON in JSON in JSON."""
    value = grafted(BODY, data, PLANTED | PLANTED.map(json.dumps) | ANY_JSON)
    for _ in range(data.draw(st.integers(0, 3))):
        value = data.draw(
            st.sampled_from([json.dumps(value), {"error": value}, {"message": json.dumps(value)}, [value]])
        )
    assert SECRET.encode() not in codec.encode(assert_kept_well(value))


@fuzzed(120)
@given(st.data())
def test_a_scratched_text_is_read_within_its_bounds(data):
    text = data.draw(
        st.sampled_from([json.dumps(BODY), json.dumps(json.dumps(BODY)), BODY["error"]["details"][1]["message"]])
    )
    for _ in range(data.draw(st.integers(1, 4))):
        text = scratched(text, data)
    assert_kept_well(text)
    assert_kept_well(text.encode(errors="surrogatepass"))


@fuzzed(100)
@example("\ud800")
@example("\x00(OutOfQuota) \udfff")
@example({"code": "a\x00b", "message": "\ud800"})
@example({"code": "x" * 300_000, "message": ""})
@example({"code": " ", "message": ""})
@given(ANY_JSON | ANY_TEXT | st.binary(max_size=60))
def test_anything_is_read_within_its_bounds(value):
    kept = assert_kept_well(value)
    assert (deepest(kept) is None) == (kept == ())


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_in_the_place_of_a_code_is_a_text_and_masked(form):
    for value in (
        {"error": {"code": form, "message": "it failed"}},
        json.dumps({"error": {"code": form, "message": "it failed"}}),
        f"Code: {form} Message: it failed",
        f"({form}) it failed",
        {"errors": {form: ["it failed"]}},
        {"title": form},
    ):
        kept = assert_kept_well(value)
        assert SECRET not in str(kept)
        assert "failed" in str(kept) or "title" in str(value) or "Authorization" in form  # which masks its whole line


@pytest.mark.parametrize(
    ("code", "kept"),
    [
        pytest.param("OutOfQuota", "OutOfQuota", id="a code"),
        pytest.param("409", "409", id="a number"),
        pytest.param("Azure.Ml-Error_1", "Azure.Ml-Error_1", id="marks"),
        pytest.param("not a code", None, id="words"),
        pytest.param("x" * 81, None, id="too long"),
        pytest.param("<b>Bold</b>", None, id="markup"),
        pytest.param("line\nbreak", None, id="a line break"),
    ],
)
def test_what_is_kept_as_a_code_looks_like_one_and_nothing_is_lost(code, kept):
    (detail,) = assert_kept_well({"code": code, "message": "it failed"})
    assert detail.code == kept
    assert "it failed" in detail.message
    assert kept is not None or code.split()[0] in detail.message


def test_half_a_surrogate_pair_that_json_in_a_text_holds_can_be_kept():
    for value in (
        '{"code":"Bad","message":"a\\ud800b"}',
        json.dumps({"message": '{"code":"Bad","message":"a\\udfffb"}'}),
    ):
        (detail,) = assert_kept_well(value)
        assert (detail.code, detail.message) == ("Bad", "a\ufffdb")


def test_a_million_wrappers_are_read_as_deep_as_the_bound():
    text = '{"error":' * 100_000 + '{"code":"Inner","message":"x"}' + "}" * 100_000
    assert_kept_well(text)
    nested = '{"code":"Inner","message":"deep"}'
    for _ in range(12):
        nested = json.dumps({"error": {"code": "W", "message": nested}})
    assert [detail.depth for detail in parse(nested)] == sorted((one.depth for one in parse(nested)), reverse=True)
