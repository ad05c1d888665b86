"""Many incidents at once against a Resource Manager that counts: our share is never above its buckets."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from local.arm import Server, World, serve_in_thread
from remediations.adapters import arm
from remediations.model import Call, Found, Mode, Reading, Unknown
from remediations.services import Services
from remediations.settings import Settings

ONE, TWO = "00000000-1111-2222-3333-444444444444", "00000000-1111-2222-3333-555555555555"
SCALE = 40.0


def workspace(subscription: str = ONE) -> str:
    ml = "providers/Microsoft.MachineLearningServices"
    return f"/subscriptions/{subscription}/resourceGroups/rg-ml-prod/{ml}/workspaces/mlw"


def url(subscription: str = ONE) -> str:
    return f"{workspace(subscription)}?api-version=2024-10-01"


@contextmanager
def world(**changes: Any) -> Iterator[Server]:
    workspaces = [{"name": "mlw"}, {"name": "mlw", "subscription": TWO}]
    with serve_in_thread(World.from_dict({"workspaces": workspaces} | changes)) as running:
        yield running


def services_of(server: Server, folder: Path, scale: float = SCALE) -> Services:
    (folder / "policy.yaml").write_text("actions: {}\n")
    settings = Settings(
        arm_url=server.url,
        arm_token="sim-medic",
        mode=Mode.AUTO,
        store=str(folder),
        policy=str(folder / "policy.yaml"),
        time_scale=scale,
    )
    return Services(settings)


def at_once(count: int, each: Callable[[], Reading[Any]]) -> list[Reading[Any]]:
    with ThreadPoolExecutor(20) as pool:
        return list(pool.map(lambda _: each(), range(count)))


def unread(readings: list[Reading[Any]]) -> list[str]:
    return sorted({reading.reason for reading in readings if isinstance(reading, Unknown)})


JUST_ABOVE_OURS = {"reads": {"bucket": 70, "per_second": 7 * 4.0}}


def test_many_incidents_at_once_stay_below_azures_bucket_and_all_are_served(tmp_path):
    with world(limits=JUST_ABOVE_OURS) as server:
        own = services_of(server, tmp_path, scale=4.0)
        readings = at_once(120, lambda: own.reads().get(url()))
        assert unread(readings) == []
        assert server.world.limits.refused.total() == 0


def test_without_places_the_same_requests_are_too_many(tmp_path, monkeypatch):
    monkeypatch.setattr(arm._Places, "on_request", lambda *_: None)
    monkeypatch.setattr(arm, "_LONGEST_WAIT_S", 0.0)
    with world(limits=JUST_ABOVE_OURS) as server:
        own = services_of(server, tmp_path, scale=4.0)
        at_once(120, lambda: own.reads().get(url()))
        assert server.world.limits.refused[ONE, "reads"] > 0


def test_several_processes_that_know_nothing_of_each_other_heed_what_azure_has_left(tmp_path):
    with world(limits={"reads": {"bucket": 250, "per_second": 50}}) as server:
        processes = [services_of(server, tmp_path, scale=2.0) for _ in range(8)]
        with ThreadPoolExecutor(8) as pool:
            readings = list(pool.map(lambda own: [own.reads().get(url()) for _ in range(60)], processes))
        assert unread([reading for each in readings for reading in each]) == []
        assert server.world.limits.refused.total() == 0


def test_after_a_429_nobody_asks_that_subscription_until_its_time_is_over(tmp_path):
    fault = {"kind": "throttle", "path": f"*{ONE}*", "retry_after": 30}
    with world(faults=[fault]) as server:
        own = services_of(server, tmp_path)
        assert own.reads().get(url()) == Unknown("429: throttled; retry after 30 s")
        others = at_once(100, lambda: own.reads().get(url()))
        assert len(others) == len([each for each in others if isinstance(each, Unknown)])
        beginning = "throttled by our own bucket: Azure wants no more for now; retry after "
        assert all(words.startswith(beginning) for words in unread(others))
        assert server.world.reads.total() == 1
        assert isinstance(own.reads().get(url(TWO)), Found)
        assert isinstance(services_of(server, tmp_path).reads().get(url()), Found)  # a restart has forgotten, safely


def test_a_short_retry_after_is_waited_out_by_all(tmp_path):
    with world(faults=[{"kind": "throttle", "retry_after": 1}]) as server:
        own = services_of(server, tmp_path)
        began = datetime.now(UTC)
        assert unread(at_once(20, lambda: own.reads().get(url()))) == []
        assert datetime.now(UTC) - began >= timedelta(seconds=1)
        assert server.world.reads.total() <= 1 + 20 + 19  # some were under way when it came


def test_what_was_held_back_is_told_with_its_time(tmp_path):
    with world(faults=[{"kind": "throttle", "retry_after": 30}]) as server:
        own = services_of(server, tmp_path)
        first, second = own.reads(), own.reads()
        assert first.throttled() is None
        first.get(url())
        second.get(url())
        assert first.throttled() == timedelta(seconds=30)
        assert timedelta(seconds=25) < (second.throttled() or timedelta()) <= timedelta(seconds=30)


def test_one_look_is_bounded(tmp_path):
    with world() as server:
        reads = services_of(server, tmp_path, 10_000).reads()
        readings = [reads.get(url()) for _ in range(205)]
        assert sum(isinstance(reading, Found) for reading in readings) == 200
        words = "throttled by our own bucket: one look at things takes 200 requests at most"
        assert unread(readings) == [words]


def test_one_wide_look_at_a_time_comes_to_its_end(tmp_path):
    with world() as server:
        own = services_of(server, tmp_path, 10.0)
        one, two = own.reads(), own.reads()
        assert unread([one.get(url()) for _ in range(60)]) == []
        others = [two.get(url()) for _ in range(60)]
        assert sum(isinstance(reading, Found) for reading in others) == 40
        assert "another wide look at the subscription is under way" in unread(others)[0]
        assert unread([one.get(url()) for _ in range(40)]) == []


def test_polls_of_the_same_at_once_are_one_request_and_reads_are_not(tmp_path):
    with world(faults=[{"kind": "delay", "seconds": 0.3, "times": None}]) as server:
        own = services_of(server, tmp_path)
        started = threading.Barrier(8)

        def poll() -> Reading[Any]:
            reads = own.polls()
            started.wait(5)
            return reads.poll(url())

        with ThreadPoolExecutor(8) as pool:
            assert {type(each.result()) for each in [pool.submit(poll) for _ in range(8)]} == {Found}
        polled = server.world.reads.total()
        assert polled < 8
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: own.reads().get(url()), range(8)))
        assert server.world.reads.total() == polled + 8


# ------------------------------------------------------------------------------------------------------- writes

CALL = Call(method="DELETE", path=f"{workspace()}/onlineEndpoints/e/deployments/d", api_version="2024-10-01")


def test_a_write_without_a_place_is_not_ready(tmp_path):
    with world() as server:
        own = services_of(server, tmp_path, scale=1.0)
        waits = [own.writes.ready(CALL) for _ in range(51)]
        assert waits[:50] == [None] * 50
        assert timedelta() < (waits[50] or timedelta()) <= timedelta(seconds=1)


def test_a_write_is_not_sent_while_azure_wants_none(tmp_path):
    with world(faults=[{"kind": "throttle", "method": "DELETE", "retry_after": 30}]) as server:
        own = services_of(server, tmp_path)
        assert own.writes.ready(CALL) is None
        assert own.writes.ready(CALL) is None
        assert own.writes.send(CALL, None, request_id="medic-1").status == 429
        reply = own.writes.send(CALL, None, request_id="medic-2")  # it was ready before
        assert (reply.status, len(server.world.ledger)) == (429, 1)
        assert timedelta(seconds=25) < (reply.retry_after or timedelta()) <= timedelta(seconds=30)
        assert timedelta(seconds=25) < (own.writes.ready(CALL) or timedelta()) <= timedelta(seconds=31)
