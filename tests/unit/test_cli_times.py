"""Times as people write them."""

from datetime import UTC, datetime, timedelta

import pytest
import typer

from local.commands.terminal import duration, future, past, span_words

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("7d", timedelta(days=7)),
        ("24h", timedelta(hours=24)),
        ("30m", timedelta(minutes=30)),
        ("1h30m", timedelta(minutes=90)),
        (" 2 W ", timedelta(weeks=2)),
        ("0.5h", timedelta(minutes=30)),
    ],
)
def test_a_duration_is_read(text, span) -> None:
    assert duration(text) == span


@pytest.mark.parametrize("text", ["", "7", "d", "7x", "h7", "-7d", "7d ago", "99999999999999999999d"])
def test_what_is_no_duration_is_refused(text) -> None:
    with pytest.raises(typer.BadParameter, match="duration"):
        duration(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("7d", datetime(2026, 11, 15, 12, tzinfo=UTC)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T08:00+01:00", datetime(2026, 11, 20, 7, tzinfo=UTC)),
        ("900000d", datetime.min.replace(tzinfo=UTC)),
    ],
)
def test_a_past_time_is_read(text, moment) -> None:
    assert past(text, NOON) == moment


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_past_time_that_utc_cannot_name_is_refused(text) -> None:
    with pytest.raises(typer.BadParameter, match="lies outside the years 1 to 9999 of UTC"):
        past(text, NOON)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("+2h", datetime(2026, 11, 22, 14, tzinfo=UTC)),
        ("2026-11-23T08:00Z", datetime(2026, 11, 23, 8, tzinfo=UTC)),
        ("2026-11-23T08:00+01:00", datetime(2026, 11, 23, 7, tzinfo=UTC)),
    ],
)
def test_a_future_time_is_read(text, moment) -> None:
    assert future(text, NOON) == moment


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2h", "is no time"),
        ("+2", "is no duration"),
        ("2026-11-23T08:00", "names no time zone"),
        ("2026-11-22T11:59Z", "is over"),
        ("+9000000d", "too far ahead"),
        ("9999-12-31T23:59:59-14:00", "lies outside the years 1 to 9999 of UTC"),
    ],
)
def test_what_is_no_future_time_is_refused_with_the_reason(text, words) -> None:
    with pytest.raises(typer.BadParameter, match=words):
        future(text, NOON)


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(days=3, hours=5), "3 d"),
        (timedelta(hours=4, minutes=59), "4 h"),
        (timedelta(minutes=12), "12 min"),
        (timedelta(seconds=30), "30 s"),
        (timedelta(seconds=-1), "0 s"),
    ],
)
def test_a_span_is_told_in_its_largest_unit(span, words) -> None:
    assert span_words(span) == words
