"""The sweep keeps to what is watched."""

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


def swept(**settings: Any) -> list[str]:
    """Give the workspaces whose endpoints a sweep lists."""
    empty = {f"{each}/onlineEndpoints": Found(()) for each in (ONE, TWO)}
    reads = FakeReads({f"/subscriptions/{SUBSCRIPTION}/{ML}": Found(({"id": ONE}, {"id": TWO})), **empty})
    own = SimpleNamespace(
        reads=lambda: reads,
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
