"""Our function app: ``python -m benchmarks.subjects.ours cold|judged|durable RECORDED [EVENTS]``.

Needs the settings of `environment`. ``cold`` is a cold start to the first decision, by the functions that Azure calls;
``judged`` events to decisions, nothing kept but one line; ``durable`` the same functions as ``cold``, with all that the
trail keeps of each.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.subjects import workload

ROOT = Path(__file__).parents[2]
ARM = "http://127.0.0.1:9"  # discard: nothing is ever sent there
WARM = 20


def environment(folder: Path) -> dict[str, str]:
    """Give the settings of a dry run over a store in a folder, whose policy puts no failures together as a storm."""
    folder.mkdir(parents=True, exist_ok=True)
    policy = folder / "policy.yaml"
    shipped = (ROOT / "policy.yaml").read_text(encoding="utf-8")
    policy.write_text(shipped.replace("storm: {from: 5,", "storm: {from: 0,"), encoding="utf-8")
    return {
        "MEDIC_MODE": "dry-run",
        "MEDIC_STORE": str(folder),
        "MEDIC_POLICY": str(policy),
        "MEDIC_ARM_URL": ARM,
        "MEDIC_ARM_TOKEN": "benchmark",
        "MEDIC_CLIENT_ID": "ffffffff-1111-4222-8333-eeeeeeeeeeee",
        "MEDIC_PRINCIPAL_ID": "dddddddd-1111-4222-8333-eeeeeeeeeeee",
        "MEDIC_NOTICES": "off",
        "MEDIC_TIME_SCALE": "100000",  # our own share of Azure's requests is no limit of a stand-in
    }


class Hub:
    """The durable client of a function: takes the order of a walk that is scheduled."""

    def __init__(self) -> None:
        self.order: dict[str, Any] = {}

    async def get_orchestration_state(self, _instance_id: str, **_: Any) -> None:
        return None

    async def schedule_new_orchestration(self, _name: str, *, input: dict[str, Any], instance_id: str) -> str:  # noqa: A002 - durabletask's own name
        self.order = input
        return instance_id


class Walk:
    """The functions of the app up to the decision, one after the other as the orchestrator calls them."""

    def __init__(self) -> None:
        import asyncio

        from functions import activities, events

        self._take, self._activities = events.take, activities
        self._runner = asyncio.Runner()

    def take(self, event: dict[str, Any]) -> dict[str, Any]:
        """Take an event; give the order of its walk."""
        hub = Hub()
        self._runner.run(self._take(event, hub))  # type: ignore[arg-type]
        return hub.order

    def decide(self, event: dict[str, Any]) -> dict[str, Any]:
        """Take an event and decide."""
        return self._judged(self.take(event), lambda _, call: call())

    def run(self, order: dict[str, Any], phase: Callable[[str, Callable[[], Any]], Any]) -> None:
        """Walk to the end of a dry run, each activity by way of `phase`."""
        judged = self._judged(order, phase)
        phase("finish", lambda: self._activities.finish(judged))

    def _judged(self, order: dict[str, Any], phase: Callable[[str, Callable[[], Any]], Any]) -> dict[str, Any]:
        if not phase("open_incident", lambda: self._activities.open_incident(order)):
            raise ValueError("the incident was opened before")
        step: dict[str, Any] = phase("collect", lambda: self._activities.collect({**order, "polls": 0}))
        if not step["settled"]:
            raise ValueError("the evidence is not enough to judge by")
        judged: dict[str, Any] = phase("judge", lambda: self._activities.judge(step))
        if judged.get("action") != "sync-keys":
            raise ValueError(f"it was judged otherwise: {judged}")
        return judged


def cold(recorded: Path) -> None:
    began = time.perf_counter()
    import function_app

    function_app.app.get_functions()
    indexed = workload.indexed(began)
    azure = workload.Azure(recorded)
    azure.install()
    Walk().decide(workload.event(0))
    workload.tell(**indexed, **workload.decided())


# ------------------------------------------------------------------------------------------- events to decisions


class Known:
    """A reader whose answers are known already, but for what goes over the wire: none, or the failed deployment."""

    def __init__(self, azure: workload.Azure, wire: Any = None) -> None:
        self._azure, self._wire = azure, wire

    def get(self, url: str) -> Any:
        from remediations.model import Absent, Found

        if self._wire is not None and url.partition("?")[0].endswith(workload.name_of(self._azure.number)):
            return self._wire.get(url)
        status, value = self._azure.value("GET", url)
        return Found(value) if status == 200 else Absent()

    def get_all(self, url: str, *, most: int) -> Any:  # noqa: ARG002 - the port's signature
        from remediations.model import Found

        return Found(tuple(self.get(url).value["value"]))

    def ask(self, url: str, _body: Any) -> Any:
        from remediations.model import Found

        return Found(self._azure.value("POST", url)[1])

    def refused(self) -> tuple[str, ...]:
        return ()

    def throttled(self) -> None:
        return None


def bench(reads: Callable[[], Any] | None = None) -> Any:
    """Give what judging needs, as the app has it."""
    from local import scan
    from remediations import settings
    from remediations.services import Services

    own = Services(settings.load(os.environ))
    return scan.Bench(
        settings=own.settings, policy=own.policy, trail=own.trail, reads=reads or own.reads, clock=own.clock
    )


def judge(event: dict[str, Any], judging: Any) -> Any:
    """Receive an event and decide on it: intake, enrich, classify, plan, survey, guards."""
    from local import scan
    from remediations import intake

    reception = intake.receive(event, received_at=datetime.now(UTC), subscriptions=judging.policy.subscriptions)
    if reception.incident is None:
        raise ValueError(f"the event is none of ours: {reception.ignored}")
    return scan.judge(reception.incident, judging)


def judged(recorded: Path, which: str, count: int) -> None:
    from remediations import settings
    from remediations.codec import encode
    from remediations.services import Services

    azure = workload.Azure(recorded)
    azure.install()
    own = Services(settings.load(os.environ))
    readers: dict[str, Callable[[], Any]] = {
        "none": lambda: Known(azure),
        "one": lambda: Known(azure, own.reads()),
        "all": own.reads,
    }
    judging = bench(readers[which])
    with tempfile.TemporaryFile() as records:

        def one(event: dict[str, Any]) -> None:
            decision = judge(event, judging).decision
            if decision is None or decision.would != "run":
                raise ValueError(f"it was decided otherwise: {decision}")
            records.write(encode(decision) + b"\n")
            records.flush()

        taken = timed(azure, one, count)
    workload.tell(**workload.percentiles(taken), calls=len(azure.calls) / (count + WARM), peak_mb=workload.peak_mb())


def durable(recorded: Path, count: int) -> None:
    from functions import logs

    logs.configure(in_azure=True)
    azure = workload.Azure(recorded)
    azure.install()
    walk = Walk()
    with counted_syncs() as syncs:
        taken = timed(azure, walk.decide, count)
    workload.tell(
        **workload.percentiles(taken),
        syncs=len(syncs) / (count + WARM),
        sync_share=sum(syncs[-len(syncs) * count // (count + WARM) :]) / sum(taken),
        peak_mb=workload.peak_mb(),
    )


def timed(azure: workload.Azure, one: Callable[[dict[str, Any]], Any], count: int) -> list[float]:
    """Give the seconds of each of so many events, after some that are not counted."""
    taken = []
    for number in range(count + WARM):
        event, azure.number = workload.event(number), number
        azure.prepare()
        began = time.perf_counter()
        one(event)
        taken.append(time.perf_counter() - began)
    return taken[WARM:]


@contextmanager
def counted_syncs() -> Iterator[list[float]]:
    """Give how long each `os.fsync` of this process took."""
    sync, seconds = os.fsync, list[float]()
    counted: Any = os

    def counting(descriptor: int) -> None:
        began = time.perf_counter()
        sync(descriptor)
        seconds.append(time.perf_counter() - began)

    counted.fsync = counting
    try:
        yield seconds
    finally:
        counted.fsync = sync


def main() -> None:
    mode, recorded, rest = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    match mode:
        case "cold":
            cold(recorded)
        case "judged":
            judged(recorded, rest[0], int(rest[1]))
        case "durable":
            durable(recorded, int(rest[0]))


if __name__ == "__main__":
    main()
