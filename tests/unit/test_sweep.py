"""The sweep keeps to what is watched."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

from functions import timers
from remediations.model import Found
from remediations.services import Services
from remediations.settings import Settings
from tests.builders import NOON, SUBSCRIPTION, FakeReads

ML = "providers/Microsoft.MachineLearningServices/workspaces"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups"
ONE, TWO = f"{GROUP}/rg-one/{ML}/mlw", f"{GROUP}/rg-two/{ML}/mlw"


def swept(held_back: timedelta | None = None, **settings: Any) -> list[str]:
    """Give the workspaces whose endpoints a sweep lists."""
    empty = {f"{each}/onlineEndpoints": Found(()) for each in (ONE, TWO)}
    reads = FakeReads({f"/subscriptions/{SUBSCRIPTION}/{ML}": Found(({"id": ONE}, {"id": TWO})), **empty})
    reads.held_back = held_back
    own = SimpleNamespace(
        reads=lambda **_: reads,
        clock=lambda: NOON,
        policy=SimpleNamespace(subscriptions=(SUBSCRIPTION,)),
        settings=Settings(**settings),
    )
    assert list(timers._untold(cast("Services", own))) == []
    return [url.partition("/onlineEndpoints")[0] for url in reads.asked if "/onlineEndpoints" in url]


def test_without_a_setting_it_looks_at_each_workspace_of_the_subscription():
    assert swept() == [ONE, TWO]


def test_it_reads_nothing_beside_the_group_that_is_watched():
    assert swept(watch=(f"{GROUP}/RG-one".lower(),)) == [ONE]


def test_of_many_workspaces_each_has_its_turn():
    many = [f"{GROUP}/rg/{ML}/mlw-{number}" for number in range(50)]
    looked = [timers._whose_turn_it_is(many, NOON + number * timedelta(minutes=15)) for number in range(5)]
    assert [len(each) for each in looked] == [20] * 5
    assert {workspace for each in looked for workspace in each} == set(many)
    assert timers._whose_turn_it_is(many[:20], NOON) == many[:20]


def test_it_stops_at_what_is_throttled():
    assert swept(held_back=timedelta(seconds=9)) == [ONE]
