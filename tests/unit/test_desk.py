"""A desk has one owner at a time, and nothing parked at it is lost."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediations import codec
from remediations.desk import Desk, claim, key_of, keys_of, park, release
from tests.builders import DEPLOYMENT, NOON

HOUR = timedelta(hours=1)
HELD = Desk(owner="inc-1", until=NOON + HOUR)
ORDER = {"incident": {"id": "inc-9"}}


@pytest.mark.parametrize(
    ("desk", "owner", "granted"),
    [
        pytest.param(Desk(), "inc-1", True, id="free"),
        pytest.param(HELD, "inc-1", True, id="renewed"),
        pytest.param(HELD, "inc-2", False, id="another's"),
        pytest.param(Desk(owner="inc-1", until=NOON), "inc-2", True, id="its lease has ended"),
        pytest.param(Desk(owner="inc-1"), "inc-2", True, id="no lease"),
    ],
)
def test_a_desk_is_claimed_when_nobody_else_holds_it(desk, owner, granted):
    claimed, answer = claim(desk, owner, NOON + 2 * HOUR, NOON)
    assert answer is granted
    assert claimed == (Desk(owner=owner, until=NOON + 2 * HOUR) if granted else desk)


def test_leaving_a_desk_frees_it_and_gives_what_was_parked():
    assert release(Desk(owner="inc-1", until=NOON + HOUR, parked=(ORDER,)), "inc-1") == (Desk(), (ORDER,))


def test_whoever_does_not_own_a_desk_changes_nothing():
    desk = Desk(owner="inc-1", until=NOON + HOUR, parked=(ORDER,))
    assert release(desk, "inc-2") == (desk, ())
    assert release(Desk(), "inc-2") == (Desk(), ())


def test_an_order_is_parked_while_somebody_works():
    assert park(HELD, ORDER, NOON) == (Desk(owner="inc-1", until=NOON + HOUR, parked=(ORDER,)), ())


def test_an_order_at_a_free_desk_starts_at_once_with_all_that_waited():
    earlier = {"incident": {"id": "inc-8"}}
    assert park(Desk(), ORDER, NOON) == (Desk(), (ORDER,))
    expired = Desk(owner="inc-1", until=NOON, parked=(earlier,))
    assert park(expired, ORDER, NOON) == (Desk(), (earlier, ORDER))


def test_who_claims_a_desk_after_a_lost_lease_keeps_what_was_parked():
    desk, granted = claim(Desk(owner="inc-1", until=NOON, parked=(ORDER,)), "inc-2", NOON + HOUR, NOON)
    assert granted
    assert release(desk, "inc-2")[1] == (ORDER,)


def test_the_key_of_a_target_is_the_same_in_any_casing_and_safe():
    assert key_of(DEPLOYMENT) == key_of(DEPLOYMENT.upper())
    assert len(key_of(DEPLOYMENT)) == 32
    assert key_of(DEPLOYMENT).isalnum()


OWNERS = st.sampled_from(["a", "b", "c"])
STEPS = st.lists(st.tuples(st.sampled_from(["claim", "release", "park"]), OWNERS, st.integers(0, 5)), max_size=30)


@given(STEPS)
def test_whatever_happens_every_order_is_parked_or_started_exactly_once(steps):
    desk, now = Desk(), NOON
    put: list[int] = []
    started: list[int] = []
    for number, (what, owner, minutes) in enumerate(steps):
        now += timedelta(minutes=minutes)
        if what == "claim":
            desk, _ = claim(desk, owner, now + timedelta(minutes=3), now)
        elif what == "release":
            desk, gone = release(desk, owner)
            started += [order["n"] for order in gone]
        else:
            put.append(number)
            desk, gone = park(desk, {"n": number}, now)
            started += [order["n"] for order in gone]
        assert codec.load(Desk, codec.dump(desk)) == desk
    assert sorted(started + [order["n"] for order in desk.parked]) == put


@given(STEPS)
def test_two_owners_never_hold_one_desk(steps):
    desk, now = Desk(), NOON
    for _, owner, minutes in steps:
        now += timedelta(minutes=minutes)
        before = desk
        desk, granted = claim(desk, owner, now + timedelta(minutes=3), now)
        assert granted is not before.is_held(now, by_other_than=owner)


def test_all_incidents_claim_desks_in_the_same_order_whatever_the_casing():
    assert keys_of(["b", "A", "c"]) == keys_of(["C", "B", "a"]) == sorted(map(key_of, "abc"))
