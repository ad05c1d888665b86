"""What one incident costs as something grows: ``python -m benchmarks.subjects.growth KIND SIZE RECORDED [FIRST]``.

``stored``: a dry run to its end, on a trail that holds so many incidents (at least those; each run adds some). The
others are judgements over answers that are there as values: ``rules`` in the policy, ``message`` is the length of what
the failed operation says, ``causes`` how many times as many as the catalogue has; ``deployments`` of the workspace, of
which two of each endpoint may be deleted, when the quota is short; ``assignments`` on the registry, by as many groups
of the identity that lacks a right.
"""

import json
import os
import statistics
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from benchmarks.subjects import ours, workload

EVENTS = 40
WARM = 10
LINE = "2026-11-22T12:00:00Z worker 3: pulling layer 0123456789ab of the image, attempt 2 of 5\n"


def stored(count: int, recorded: Path, first: int) -> float:
    from functions import logs

    logs.configure(in_azure=True)
    fill(Path(os.environ["MEDIC_STORE"]) / "trail", count)
    azure = workload.Azure(recorded)
    azure.install()
    walk = ours.Walk()
    taken = []
    for number in range(first, first + EVENTS + WARM):
        event = workload.event(number)
        began = time.perf_counter()
        walk.run(walk.take(event), lambda _, call: call())
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[WARM:])


def fill(root: Path, count: int) -> None:
    """Put so many incidents on a trail that have ended, over the last two months, if it has none."""
    from remediations.adapters.folder import FolderStore
    from remediations.intake import incident_id
    from remediations.model import Disposition, End, Incident, Mode, Operation, ResourceId
    from remediations.trail import Ended, Intake, Trail

    if root.exists():
        return
    trail, now = Trail(FolderStore(root)), datetime.now(UTC)
    for number in range(count):
        path = workload.path_of(f"d{number % 200}").replace(workload.ENDPOINT, f"endpoint-{number % 50}")
        at, known = now - timedelta(days=60) * (number + 1) / (count + 1), str(uuid.UUID(int=number))
        incident = Incident(
            id=incident_id(ResourceId.parse(path), known),
            resource=ResourceId.parse(path),
            operation=Operation.WRITE,
            failed_at=at,
            event_id=known,
            source="event-grid",
            correlation_id=known,
        )
        trail.open_incident(incident, known, at, mode=Mode.AUTO)
        trail.end_incident(Ended(at=at, end=End.REPAIRED, words="it stands", incident=incident, mode=Mode.AUTO))
        received = Intake(
            at=at, event_id=known, event_type="failure", disposition=Disposition.INCIDENT, words="", incident=incident
        )
        trail.record_intake(received, known[:12].replace("-", "0"))


def judged(recorded: Path) -> float:
    azure = workload.Azure(recorded)
    judging = ours.bench(lambda: ours.Known(azure))
    taken = ours.timed(azure, lambda event: ours.judge(event, judging), EVENTS)
    return statistics.median(taken)


def rules(count: int, recorded: Path) -> float:
    place = Path(os.environ["MEDIC_POLICY"])
    lines = [f"  - {{scope: {{workspace: other-{number}-*}}, mode: ask}}" for number in range(count)]
    place.write_text("\n".join([place.read_text(encoding="utf-8"), "rules:", *lines, ""]), encoding="utf-8")
    return judged(recorded)


def message(length: int, recorded: Path) -> float:
    shown: list[dict[str, Any]] = json.loads(recorded.read_text(encoding="utf-8"))
    longer = recorded.with_name(f"message-{length}-{os.getpid()}.json")
    padding = json.dumps((LINE * (length // len(LINE) + 1))[:length])[1:-1]
    for answer in shown:
        if "mfeoperationsstatus" in answer["asked"]:
            body = json.loads(answer["body"])
            body["error"]["message"] = f"{body['error']['message']} {padding}"
            answer["body"] = json.dumps(body)
    longer.write_text(json.dumps(shown), encoding="utf-8")
    return judged(longer)


def causes(times: int, recorded: Path) -> float:
    from local import scan
    from remediations.catalogue import CAUSES
    from remediations.catalogue.index import Catalogue
    from remediations.catalogue.matchers import every
    from remediations.catalogue.matchers import message as says

    more = [
        replace(cause, id=f"{cause.id}-{number}", matches=every(says(f"word{number:05d}"), cause.matches), hints=None)
        for number in range(1, times)
        for cause in CAUSES
    ]
    known: Any = scan
    known.CAUSES = Catalogue([*CAUSES, *more])
    return judged(recorded)


class Remembered:
    """A reader that asks each thing once, and from then on has it as a value."""

    def __init__(self, reads: Any) -> None:
        self._reads = reads
        self.answers: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        ask = getattr(self._reads, name)
        if name not in {"get", "get_all", "ask"}:
            return ask

        def remembered(*rest: Any, **options: Any) -> Any:
            asked = f"{name} {rest}"
            if asked not in self.answers:
                self.answers[asked] = ask(*rest, **options)
            return self.answers[asked]

        return remembered


def deployments(count: int, _: Path) -> float:
    each, cores = min(20, count), 4  # as many as an endpoint can have
    endpoints = [
        {
            "name": f"endpoint-{number}",
            "traffic": {"d0": 100},
            "deployments": [{"name": f"d{one}", "age": 8640000, "spec": _spec(one)} for one in range(each)],
        }
        for number in range(count // each)
    ]
    used = count * 2 * cores
    usages = [
        {"name": "Standard DSv2 Family Cluster Dedicated vCPUs", "used": used, "limit": used + 2},
        {"name": "Total Cluster Dedicated Regional vCPUs", "used": used, "limit": 10 * used + 100},
    ]
    return _judged_in({"usages": usages}, endpoints, "delete-idle")


def _spec(number: int) -> dict[str, Any]:
    may_go = {"tags": {"medic-delete": "allow"}} if number in {1, 2} else {}
    return {**may_go, "properties": {"environmentVariables": None}}


def assignments(count: int, _: Path) -> float:
    groups = {str(uuid.UUID(int=10**12 + number)): ("id-credit",) for number in range(count)}
    given = [{"principal": group, "role": "Storage Blob Data Reader", "scope": "registry"} for group in groups]
    reader = {"principal": "id-credit", "role": "Storage Blob Data Reader", "scope": "storage"}
    world = {"groups": groups, "role_assignments": [reader, *given]}
    return _judged_in(world, [], "grant-roles", identities=["id-credit"])


def _judged_in(more: dict[str, Any], endpoints: list[dict[str, Any]], action: str, **failed: Any) -> float:
    """Give the seconds of a judgement of a deployment that fails in a world, once all that it reads is known."""
    from benchmarks import recording
    from local.arm.models import World
    from local.arm.server import serve_in_thread

    workspace = {
        "name": workload.WORKSPACE,
        "endpoints": [{"name": workload.ENDPOINT, **failed}, *endpoints],
    }
    world = World.from_dict({**recording.WORLD, "registries": [], "workspaces": [workspace], **more})
    with serve_in_thread(world) as server:
        world.put_deployment("ci", workload.ENDPOINT, workload.name_of(0))
        event = recording.failure_in(world)
        os.environ |= {"MEDIC_ARM_URL": server.url, "MEDIC_ARM_TOKEN": "sim-medic"}
        judging = ours.bench()
        reads, now = Remembered(judging.reads()), judging.clock()
        judging = replace(judging, reads=lambda: reads, clock=lambda: now)
        taken = []
        for _ in range(WARM + EVENTS):
            began = time.perf_counter()
            judged = ours.judge(event, judging)
            taken.append(time.perf_counter() - began)
    if judged.decision is None or judged.decision.plan.action != action:
        words = judged.plan.words if judged.decision is None else judged.plan.action
        raise ValueError(f"{judged.diagnosis.cause_id} was judged otherwise: {words}")
    return statistics.median(taken[WARM:])


def main() -> None:
    kind, size, recorded = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    if kind == "stored":
        seconds = stored(size, recorded, int(sys.argv[4]))
    else:
        kinds = {
            "rules": rules,
            "message": message,
            "causes": causes,
            "deployments": deployments,
            "assignments": assignments,
        }
        seconds = kinds[kind](size, recorded)
    workload.tell(ms=seconds * 1e3)


if __name__ == "__main__":
    main()
