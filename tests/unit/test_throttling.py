"""Our share of Azure's requests: never above it, in order, by subscription and kind, closed when Azure says so."""

import threading
import time
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediations.throttling import FLOOR, LIMITS, SHARE, Flights, Kind, Throttle, kind_of

ONE, TWO = "/subscriptions/one/resourceGroups/rg", "/subscriptions/two/resourceGroups/rg"
METRIC = f"{ONE}/providers/Microsoft.Insights/metrics?api-version=1"
LEFT = "x-ms-ratelimit-remaining-subscription-"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def throttle(clock) -> Throttle:
    return Throttle(clock=clock)


def taken_at_once(throttle: Throttle, method: str = "GET", url: str = ONE, **options: bool) -> int:
    """Give how many places are free now."""
    count = 0
    while throttle.take(method, url, longest_s=0, **options) == 0:
        count += 1
    return count


@pytest.mark.parametrize(
    ("method", "url", "kind"),
    [
        ("GET", ONE, Kind.READS),
        ("HEAD", ONE, Kind.READS),
        ("PUT", ONE, Kind.WRITES),
        ("POST", f"{ONE}/resyncKeys", Kind.WRITES),
        ("DELETE", ONE, Kind.DELETES),
        ("GET", METRIC, Kind.METRICS),
        ("GET", f"{ONE}/providers/microsoft.insights/eventtypes/management/values", Kind.READS),
    ],
)
def test_requests_are_counted_as_azure_counts_them(method, url, kind):
    assert kind_of(method, url) is kind


@pytest.mark.parametrize(("method", "most"), [("GET", 62), ("PUT", 50), ("DELETE", 50)])
def test_a_quarter_of_a_bucket_is_ours_at_once_and_a_quarter_of_its_refill_after_that(throttle, clock, method, most):
    assert taken_at_once(throttle, method) == most
    clock.now += 2
    assert taken_at_once(throttle, method) == {"GET": 12, "PUT": 5, "DELETE": 5}[method]


def test_kinds_and_subscriptions_do_not_share(throttle):
    assert taken_at_once(throttle) == 62
    assert taken_at_once(throttle, "PUT") == 50
    assert taken_at_once(throttle, url=TWO) == 62
    assert throttle.take("GET", ONE.upper(), longest_s=0) > 0


def test_metrics_take_of_both(throttle):
    assert taken_at_once(throttle, url=METRIC) == 40
    assert taken_at_once(throttle) == 22
    assert throttle.take("GET", METRIC, longest_s=0) > 0


@given(st.lists(st.tuples(st.floats(0, 0.5), st.booleans()), max_size=400))
def test_no_span_of_time_ever_holds_more_than_the_share(steps):
    clock = Clock()
    throttle, sent = Throttle(clock=clock), []
    for pause, half in steps:
        clock.now += pause
        wait = throttle.take("GET", ONE, longest_s=5, leaves_half=half)
        if wait <= 5:
            sent.append(clock.now + wait)
    sent.sort()
    bucket, per_s = LIMITS[Kind.READS].bucket * SHARE, LIMITS[Kind.READS].per_s * SHARE
    for first in range(0, len(sent), 7):
        for last in range(first, len(sent), 7):
            assert last - first + 1 <= bucket + (sent[last] - sent[first]) * per_s + 1e-6


def test_places_are_given_in_order(throttle):
    waits = [throttle.take("GET", ONE, longest_s=5) for _ in range(80)]
    assert waits == sorted(waits)
    assert waits[61] == 0
    assert waits[62:64] == [pytest.approx(0.08, abs=0.1), pytest.approx(0.24, abs=0.1)]


def test_whoever_gets_no_place_is_told_a_time_of_its_own(throttle, clock):
    """All that come again when they were told to are served at the first attempt."""
    taken_at_once(throttle, "PUT")
    start = clock.now
    times = [start + throttle.take("PUT", ONE, longest_s=0) for _ in range(30)]
    assert len(set(times)) == 30
    for at in times:
        clock.now = at
        assert throttle.take("PUT", ONE, longest_s=0) == 0
    assert times[-1] - start < 30 / (10 * SHARE) + 1


def test_whoever_may_wait_leaves_half_to_those_who_may_not(throttle):
    assert taken_at_once(throttle, leaves_half=True) == 31
    assert taken_at_once(throttle) == 31


# ------------------------------------------------------------------------------------------------ what Azure says


def test_a_429_closes_that_kind_in_that_subscription_until_its_time_is_over(throttle, clock):
    throttle.learn("GET", ONE, 429, {}, timedelta(seconds=17))
    assert throttle.take("GET", ONE, longest_s=5) == pytest.approx(17)
    assert throttle.closed_s("GET", ONE) == pytest.approx(17)
    assert throttle.take("GET", TWO, longest_s=0) == 0
    assert throttle.take("PUT", ONE, longest_s=0) == 0
    clock.now += 16.9
    assert throttle.take("GET", ONE, longest_s=0) > 0
    clock.now += 0.2
    assert (throttle.closed_s("GET", ONE), throttle.take("GET", ONE, longest_s=0)) == (0, 0)


def test_a_throttled_metric_closes_metrics_and_not_reads(throttle):
    throttle.learn("GET", METRIC, 429, {}, timedelta(seconds=17))
    assert throttle.take("GET", METRIC, longest_s=0) > 16
    assert throttle.take("GET", ONE, longest_s=0) == 0


def test_a_later_and_shorter_retry_after_opens_nothing_earlier(throttle):
    throttle.learn("GET", ONE, 429, {}, timedelta(seconds=17))
    throttle.learn("GET", ONE, 429, {}, timedelta(seconds=1))
    assert throttle.closed_s("GET", ONE) == pytest.approx(17)


@pytest.mark.parametrize(("retry_after", "closed"), [(None, 5), (timedelta(days=9), 3600), (timedelta(0), 0)])
def test_a_429_without_a_usable_time_closes_for_a_bounded_one(throttle, retry_after, closed):
    throttle.learn("GET", ONE, 429, {}, retry_after)
    assert throttle.closed_s("GET", ONE) == pytest.approx(closed)


@pytest.mark.parametrize(("left", "free"), [("249", 61), ("200", 61), ("80", 30), ("51", 1)])
def test_no_more_is_taken_than_azure_has_left_above_its_floor(throttle, left, free):
    assert throttle.take("GET", ONE, longest_s=0) == 0
    throttle.learn("GET", ONE, 200, {f"{LEFT}reads": left}, None)
    assert taken_at_once(throttle) == free


def test_below_the_floor_nobody_asks_until_azure_has_had_time_to_fill_up(throttle, clock):
    throttle.learn("GET", ONE, 200, {f"{LEFT}reads": "10"}, None)
    closed = (LIMITS[Kind.READS].bucket * FLOOR - 10) / LIMITS[Kind.READS].per_s
    assert throttle.closed_s("GET", ONE) == pytest.approx(closed)
    assert throttle.take("PUT", ONE, longest_s=0) == 0
    clock.now += closed
    assert throttle.take("GET", ONE, longest_s=0.2) <= 0.2


@pytest.mark.parametrize("left", ["", "-3", "lots", "1.5", "999999999999", "²"])
def test_a_header_that_says_nothing_changes_nothing(throttle, left):
    throttle.learn("GET", ONE, 200, {f"{LEFT}reads": left}, None)
    assert taken_at_once(throttle) == 62


def test_time_is_scaled_off_azure(clock):
    throttle = Throttle(scale=100, clock=clock)
    assert taken_at_once(throttle) == 62
    clock.now += 0.11
    assert taken_at_once(throttle) == 62


# -------------------------------------------------------------------------------------------- lanes and flights


def test_one_at_a_time_looks_widely_at_a_subscription(throttle, clock):
    one, two = object(), object()
    assert throttle.lane(ONE, one) == 0
    assert throttle.lane(ONE, two) == 20
    assert throttle.lane(TWO, two) == 0
    clock.now += 19
    assert throttle.lane(ONE, one) == 0  # it still asks
    clock.now += 19
    assert throttle.lane(ONE, two) == 1
    clock.now += 1
    assert throttle.lane(ONE, two) == 0


def test_the_same_question_at_once_is_asked_once():
    flights, is_asked, go = Flights(), threading.Event(), threading.Event()
    asked: Counter[str] = Counter()

    class Question:
        def __hash__(self) -> int:
            asked["looks"] += 1
            return 1

    question = Question()

    def ask() -> str:
        asked["x"] += 1
        is_asked.set()
        assert go.wait(5)
        return "answer"

    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(flights.share(question, ask))) for _ in range(5)]
    threads[0].start()
    assert is_asked.wait(5)
    for thread in threads[1:]:
        thread.start()
    assert flights.share("other", lambda: "other") == "other"
    while asked["looks"] < 2 + 4:  # who asks looks twice, each other once
        time.sleep(0.001)
    go.set()
    for thread in threads:
        thread.join()
    assert (answers, asked["x"]) == (["answer"] * 5, 1)
    assert flights.share(question, lambda: "later") == "later"


def test_a_question_that_fails_fails_for_all_and_is_asked_again():
    flights = Flights()
    with pytest.raises(ZeroDivisionError):
        flights.share("q", lambda: 1 // 0)
    assert flights.share("q", lambda: "later") == "later"
