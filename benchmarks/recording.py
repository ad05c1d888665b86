"""Record what the simulator answers to all that our walk reads of one failure: ``python -m benchmarks.recording FILE``.

What is asked in the background is recorded as answered at once, so that nobody waits in a benchmark.
"""

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import requests

from benchmarks.subjects import ours, workload
from local.arm.models import World
from local.arm.resources import Refusal
from local.arm.server import serve_in_thread

WORLD: dict[str, Any] = {
    "subscription": workload.SUBSCRIPTION,
    "workspaces": [{"name": workload.WORKSPACE, "endpoints": [{"name": workload.ENDPOINT}]}],
    "registries": [{"name": "crmlwdemo", "keys_regenerated": 3600}],
    "operation_seconds": 0.05,
    "activity_log_delay": 0.0,
}
SAYS = "Please try running resync keys on your workspace and retry."


class Recorder:
    """Notes what passes requests' adapter."""

    def __init__(self) -> None:
        self.answers: dict[str, dict[str, Any]] = {}
        self._ask = requests.adapters.HTTPAdapter.send
        self._began: str | None = None  # what was answered 202: its result is looked for elsewhere

    def install(self) -> None:
        recorder = self

        def send(self: Any, request: Any, **options: Any) -> Any:
            answer = recorder._ask(self, request, **options)
            recorder._note(request, answer)
            return answer

        adapter: Any = requests.adapters.HTTPAdapter
        adapter.send = send

    def _note(self, request: Any, answer: Any) -> None:
        asked = workload.key_of(request.method, request.url)
        if answer.status_code == 202:
            self._began = self._began or asked
            return
        self.answers[self._began or asked] = {"status": answer.status_code, "body": answer.content.decode()}
        self._began = None


def record(place: Path) -> None:
    """Write what is asked and answered."""
    world = World.from_dict(WORLD)
    with serve_in_thread(world) as server, TemporaryDirectory() as folder:
        with suppress(Refusal):
            world.put_deployment("ci", workload.ENDPOINT, workload.NAME)
        failure = failure_in(world)
        os.environ |= {**ours.environment(Path(folder)), "MEDIC_ARM_URL": server.url, "MEDIC_ARM_TOKEN": "sim-medic"}
        recorder = Recorder()
        recorder.install()
        judged = ours.judge(failure, ours.bench())
        if judged.decision is None or judged.decision.plan.action != "sync-keys":
            raise SystemExit(f"the simulator's failure was judged otherwise: {judged.diagnosis}")
        known = str(failure["data"]["correlationId"])
        answers = [
            {
                "asked": asked.replace(known, workload.CORRELATION),
                **answer,
                "body": named(answer["body"].replace(known, workload.CORRELATION).replace(server.url, ours.ARM)),
            }
            for asked, answer in recorder.answers.items()
        ]
    place.write_text(json.dumps(answers, indent=1), encoding="utf-8")


def named(body: str) -> str:
    """Let what the failed operation says name its deployment, as Azure's texts do: no two events say the same."""
    return body.replace(SAYS, f"{SAYS} Deployment: {workload.NAME}.")


def failure_in(world: World) -> dict[str, Any]:
    """Give the event of a failure that a world raises, as soon as it has."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        for event in list(world.raised):
            if isinstance(event, dict) and "Failure" in str(event.get("eventType")):
                return event
        time.sleep(0.05)
    raise SystemExit("the simulator raised no event of a failure")


if __name__ == "__main__":
    record(Path(sys.argv[1]))
