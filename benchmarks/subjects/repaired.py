"""Repairs in the simulator that nobody has to wait for: ``python -m benchmarks.subjects.repaired TIMES``.

Azure's operations are over at once there, and every wait of ours is cut to a hundred-thousandth: the time from the
event to the end that is left is our own share, with the simulator's answers and the local task hub in it. Needs the
settings of `ours.environment`. Tells, by action, what was asked of Azure and how long each repair took; the first of
each is not counted.
"""

import logging
import os
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from benchmarks import least
from benchmarks.subjects import workload
from local import rehearsal
from local.rehearsal import Report, Scenario, Stage

TIME_SCALE = 100_000.0
WARM = 1


def scenario_of(repair: least.Repair) -> Scenario:
    """Give the story of a repair in a world whose operations last no time."""
    scenario = rehearsal.load(rehearsal.SCENARIOS / f"{repair.story}.yaml")
    return replace(scenario, world={**scenario.world, "operation_seconds": 0.0})


def played(stage: Stage, scenario: Scenario) -> tuple[Report, float]:
    """Give how a repair went, and the seconds from its event to its end."""
    report = stage.play(scenario)
    if not report.as_expected:
        raise ValueError(f"{scenario.name}: {'; '.join(report.differences)}")
    (incident,) = report.incidents
    return report, _taken(stage, incident).total_seconds()


def _taken(stage: Stage, incident: str) -> timedelta:
    opened, ended = stage.trail.opened(incident), stage.trail.ended(incident)
    if opened is None or ended is None:
        raise ValueError(f"{incident} has not ended")
    began = [taken.at for taken in stage.trail.intakes(ended.at) if taken.event_id == opened.incident.event_id]
    return ended.at - min(began)


def measured(times: int, folder: Path) -> Iterator[tuple[str, Any]]:
    """Give what is told of each action."""
    table = least.table()
    with Stage("auto", folder, time_scale=TIME_SCALE) as stage:
        for action, repair in table.repairs.items():
            scenario, needed = scenario_of(repair), table.needed(action)
            runs = [played(stage, scenario) for _ in range(WARM + times)][WARM:]
            most = max((report.calls for report, _ in runs), key=lambda calls: calls.read)
            asked, polls = least.without_polls(most.each, needed)
            seconds = [taken for _, taken in runs]
            yield f"{action} calls", asked.total()
            yield f"{action} writes", sum(times for call, times in asked.items() if least.is_write(call))
            yield f"{action} polls", polls
            yield f"{action} least", needed.total()
            for name, value in workload.percentiles(seconds).items():
                yield f"{action} {name}", value


def main() -> None:
    logging.disable(logging.CRITICAL)
    folder = Path(os.environ["MEDIC_STORE"])
    workload.tell(**dict(measured(int(sys.argv[1]), folder)))


if __name__ == "__main__":
    main()
