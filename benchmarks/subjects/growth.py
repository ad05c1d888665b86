"""What one incident costs as something grows: ``python -m benchmarks.subjects.growth KIND SIZE RECORDED [FIRST]``.

``stored``: a dry run to its end, on a trail that holds so many incidents (at least those; each run adds some). The
others are judgements over answers that are there as values: ``rules`` in the policy, ``message`` is the length of what
the failed operation says, ``causes`` how many times as many as the catalogue has.
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
    from msgspec.structs import replace

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


def main() -> None:
    kind, size, recorded = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    if kind == "stored":
        seconds = stored(size, recorded, int(sys.argv[4]))
    else:
        seconds = {"rules": rules, "message": message, "causes": causes}[kind](size, recorded)
    workload.tell(ms=seconds * 1e3)


if __name__ == "__main__":
    main()
