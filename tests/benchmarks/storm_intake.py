"""What one delivery of a storm costs, and whether that grows: ten thousand events, failures of 200 deployments of one
workspace by 50 causes, each delivered three times, taken by the very function that Event Grid calls.

The store is a folder; of the hub only what intake asks of it stands there: whether an instance runs, and to start one.
What was taken is then called to the roll, and every delivery is looked for: as an incident with a place of its own, as
a member that a roll names or stands for, or as a duplicate of one of these.

.venv/bin/python -m tests.benchmarks.storm_intake
"""

import argparse
import asyncio
import gc
import resource
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from statistics import mean
from types import SimpleNamespace
from typing import Any

import structlog
from durabletask.client import OrchestrationStatus

from functions import events, storms
from local.rehearsal import SHIPPED_POLICY
from remediations import services, settings
from remediations.catalogue import CAUSES
from remediations.model import Caller, Disposition
from remediations.services import Services

WORKSPACE = (
    "/subscriptions/11111111-2222-4333-8444-555555555555/resourceGroups/rg-ml-prod"
    "/providers/Microsoft.MachineLearningServices/workspaces/mlw-prod"
)
WRITE = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments/write"
RESOURCES, CAUSE_COUNT = 200, 50
SAID = [
    (min(symptoms.codes, default="UserError"), f"{cause.id}: {cause.what}")
    for cause in CAUSES
    for symptoms in cause.examples[:1]
][:CAUSE_COUNT]
_WARM_UP = 60
MOST_MB, MOST_GROWTH = 500, 1.3


class Hub:
    """What intake asks of the task hub: what was started runs."""

    def __init__(self) -> None:
        self.started: Counter[str] = Counter()

    async def get_orchestration_state(self, instance_id: str, **_: object) -> Any:
        running = SimpleNamespace(runtime_status=OrchestrationStatus.RUNNING, serialized_input=None)
        return running if instance_id in self.started else None

    async def schedule_new_orchestration(self, name: str, *, instance_id: str, **_: object) -> None:
        assert name in {"mustering", "remediate"}
        self.started[instance_id] += 1


def told(number: int) -> dict[str, Any]:
    """One failure as CI tells of it: the resources in turn, and the texts of the causes in turn; below 0, of another
    workspace."""
    code, message = SAID[number % CAUSE_COUNT]
    at = datetime.now(UTC) - timedelta(seconds=60) + timedelta(milliseconds=number)
    path = f"{WORKSPACE}{'-other' if number < 0 else ''}/onlineEndpoints/e{number % RESOURCES}/deployments/green"
    return {
        "specversion": "1.0",
        "id": f"event-{number}",
        "source": "https://github.com/contoso/actions",
        "type": "com.contoso.mlops.OnlineDeploymentFailed",
        "subject": path,
        "time": at.isoformat(),
        "data": {
            "resourceUri": path,
            "operationName": WRITE,
            "status": "Failed",
            "correlationId": str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))),
            "error": {"code": code, "message": message},
        },
    }


async def taken(deliveries: Iterable[int], hub: Any) -> list[tuple[float, float]]:
    """Take them one after the other; give the seconds of each, by the clock and of this process."""
    spans: list[tuple[float, float]] = []
    for number in deliveries:
        event = told(number)
        began, used = time.perf_counter(), time.process_time()
        await events.take(event, hub)
        spans.append((time.perf_counter() - began, time.process_time() - used))
    return spans


def lost(own: Services, deliveries: list[int]) -> tuple[list[str], int]:
    """Call the rolls. Give the deliveries that have no record, or of which nothing would ever come, and how many
    incidents are judged together."""
    now = own.clock()
    records = [record for day in (now - timedelta(days=1), now) for record in own.trail.intakes(day)]
    wanted = Counter(f"event-{number}" for number in deliveries)
    found = Counter(record.event_id for record in records)
    missing = [
        f"{name}: told {count} times, recorded {found[name]}" for name, count in wanted.items() if found[name] != count
    ]
    keys = {record.storm for record in records if record.storm is not None}
    for key in keys:
        storms.muster({**events.muster_of(key, own)[1], "looks": 99})  # as many looks as it takes: it is calm
    rolls = [roll for key in keys for roll in own.trail.storms.rolls(key)]
    known = {record.incident_id for record in records if record.disposition is Disposition.INCIDENT}
    known |= {one for roll in rolls for one in roll.everybody}
    missing += [
        f"{record.event_id}: {record.disposition} of {record.incident_id}, which nothing judges"
        for record in records
        if record.incident_id not in known
    ]
    return missing, sum(len(roll.entries) for roll in rolls)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000, help="failures; each is delivered three times")
    chosen = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    # In order of the failures; each is told of again after the next 7 and the next 40: the mix stays the same.
    slots = [(number + late, number) for number in range(chosen.events) for late in (0, 7, 40)]
    deliveries = [number for _, number in sorted(slots)]
    with tempfile.TemporaryDirectory() as folder:
        env = {"MEDIC_STORE": folder, "MEDIC_POLICY": str(SHIPPED_POLICY), "MEDIC_MODE": "dry-run"}
        env |= {"MEDIC_ARM_URL": "http://127.0.0.1:9", "MEDIC_ARM_TOKEN": "none", "MEDIC_NOTICES": "off"}
        own = Services(settings.load(env))
        own._own = Caller()  # who we are is asked of Azure once, and this is about the rest
        services.use(own)
        hub = Hub()
        asyncio.run(taken(range(-_WARM_UP, 0), hub))
        gc.collect()
        spans = asyncio.run(taken(deliveries, hub))
        missing, judged = lost(own, deliveries)
    services.use(None)
    part = min(1_000, max(len(spans) // 10, 1))
    clock, cpu = zip(*spans, strict=True)
    grown = {name: mean(of[-part:]) / mean(of[:part]) for name, of in (("clock", clock), ("CPU", cpu))}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"deliveries        {len(deliveries):,} of {chosen.events:,} failures of {RESOURCES} deployments")
    print(f"orchestrations    {sum(hub.started.values())} started, {judged} incidents to judge together")
    print(f"time a delivery   {mean(clock) * 1000:.2f} ms, of which {mean(cpu) * 1000:.2f} ms CPU")
    print(f"last to first     {grown['clock']:.2f} by the clock, {grown['CPU']:.2f} by CPU: {part:,} each")
    print(f"memory            {memory:.0f} MB")
    print(f"lost              {len(missing)}")
    for words in missing[:10]:
        print(f"  {words}")
    return int(bool(missing) or memory > MOST_MB or grown["CPU"] > MOST_GROWTH)


if __name__ == "__main__":
    raise SystemExit(main())
