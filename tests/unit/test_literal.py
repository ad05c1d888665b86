"""Whatever others wrote is shown as one line that hides nothing."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediations.literal import literal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("mlw-prod/credit-scoring", "mlw-prod/credit-scoring", id="a name"),
        pytest.param("größer 日本 ✓", "größer 日本 ✓", id="letters of any script"),
        pytest.param("[x](https://evil.example) **b** <b>", "[x](https://evil.example) **b** <b>", id="markup"),
        pytest.param("one\ntwo\r\n\tthree\u2028four\u00a0five", "one two   three four five", id="line breaks"),
        pytest.param("a\x00b\x1b[31mc\x7fd\x9be", "ab[31mcde", id="control"),
        pytest.param("\u202egpj.exe\u202c \u2066x\u2069 \u200e\u200f\u061c", "gpj.exe x ", id="direction"),
        pytest.param("ze\u200bro\u200d\ufeff\u00ad\u2060", "zero", id="zero width"),
        pytest.param("a\ud800b\udfff", "ab", id="lone surrogates"),
        pytest.param("a\ue000b\U000e0041c\ufffe", "abc", id="private, tags and none"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_only_what_can_be_seen_is_left(text, shown):
    assert literal(text, most=100) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("x" * 10, "x" * 10, id="fits"),
        pytest.param("x" * 11, "x" * 9 + "…", id="too long"),
        pytest.param("xxxxxxxx yz", "xxxxxxxx…", id="no space before the ellipsis"),
        pytest.param("\u200b" * 10_000 + "x", "…", id="nothing that can be seen for long"),
        pytest.param("x" * 10 + "\u200b" * 20, "x" * 10, id="what is cut off cannot be seen"),
        pytest.param("日" * 10, "日" * 10, id="three bytes each"),
        pytest.param("😀" * 10, "😀" * 7 + "…", id="four bytes each"),
    ],
)
def test_what_is_too_long_ends_in_an_ellipsis(text, shown):
    assert literal(text, most=10) == shown


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=300), st.integers(2, 60))
def test_any_text_is_one_line_of_bounded_length(text, most):
    shown = literal(text, most=most)
    assert len(shown) <= most
    assert len(shown.encode()) <= most * 3 + 3
    assert not {unicodedata.category(one) for one in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
