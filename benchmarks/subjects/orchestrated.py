"""Incidents through a task hub: ``python -m benchmarks.subjects.orchestrated trace|ours|bare|worker RECORDED …``.

``trace OUT`` walks one incident after the other in this process, writes down what each activity asks of its ports, and
tells how long it takes besides. ``ours COUNT`` lets so many through the whole app on the local host, whose worker is a
process of its own. ``bare COUNT TRACE`` lets as many through durabletask alone, in as many processes: the same number
of activities and orchestrations, which ask the same of the same adapters and judge nothing; ``worker`` is its worker.
"""

import json
import logging
import os
import socket
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.subjects import ours, workload
from remediations import services, settings
from remediations.adapters.folder import FolderStore
from remediations.errors import AlreadyExists, NotFound
from remediations.ports import Store
from remediations.services import Services

TRACED = 60
RECORDED = "BENCH_RECORDED"
PHASES = ("take", "open_incident", "collect", "judge", "finish")
EVENT_GRID = "/runtime/webhooks/eventgrid?functionName=on_deployment_failure"
BATCH = 20
PATIENCE_S = 300
THREADS = 16  # as many activities at once as our worker runs

type Operation = list[Any]


# ------------------------------------------------------------------------------------------- what is asked of ports


class Ports:
    """What was asked of all ports, and how long they took."""

    def __init__(self) -> None:
        self.asked: list[Operation] = []
        self.seconds = 0.0

    @contextmanager
    def ask(self, *operation: object) -> Iterator[None]:
        self.asked.append(list(operation))
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began


class TracedStore:
    """A store that writes down what it is asked."""

    def __init__(self, store: Store, name: str, ports: Ports) -> None:
        self._store, self._name, self._ports = store, name, ports

    def create(self, name: str, content: bytes) -> None:
        with self._ports.ask(self._name, "create", name, len(content)):
            self._store.create(name, content)

    def append(self, name: str, content: bytes, at: int) -> None:
        with self._ports.ask(self._name, "append", name, len(content), at):
            self._store.append(name, content, at)

    def read(self, name: str) -> bytes:
        with self._ports.ask(self._name, "read", name):
            return self._store.read(name)

    def list(self, prefix: str) -> Iterator[str]:
        with self._ports.ask(self._name, "list", prefix):
            return iter(list(self._store.list(prefix)))

    def lengths(self, prefix: str) -> Iterator[tuple[str, int]]:
        with self._ports.ask(self._name, "lengths", prefix):
            return iter(list(self._store.lengths(prefix)))


class TracedReads:
    """A reader that does so."""

    def __init__(self, reads: Any, ports: Ports) -> None:
        self._reads, self._ports = reads, ports

    def __getattr__(self, name: str) -> Any:
        answer = getattr(self._reads, name)
        if name not in {"get", "get_all", "ask"}:
            return answer

        def traced(url: str, *rest: Any, **options: Any) -> Any:
            with self._ports.ask("reads", name, url, *rest, options):
                return answer(url, *rest, **options)

        return traced


class TracedServices(Services):
    """The services of the app, over such ports."""

    def __init__(self) -> None:
        self.ports = Ports()
        super().__init__(settings.load(os.environ))

    def _store(self, container: str) -> Store:
        return TracedStore(super()._store(container), container, self.ports)

    def reads(self, *, is_patient: bool = False) -> Any:
        with self.ports.ask("reads", "reader"):
            reads = super().reads(is_patient=is_patient)
        return TracedReads(reads, self.ports)


def trace(recorded: Path, place: Path) -> None:
    """Write down what is asked in each phase of one incident, and tell how long each takes besides."""
    from functions import logs

    logs.configure(in_azure=True)
    workload.Azure(recorded).install()
    own = TracedServices()
    services.use(own)
    walk = ours.Walk()
    own_ms: dict[str, list[float]] = defaultdict(list)
    phases: dict[str, list[Operation]] = {}

    def phase[T](name: str, call: Callable[[], T]) -> T:
        own.ports.asked, own.ports.seconds = [], 0.0
        began = time.perf_counter()
        answer = call()
        own_ms[name].append((time.perf_counter() - began - own.ports.seconds) * 1e3)
        phases[name] = own.ports.asked
        return answer

    incident = order = None
    for number in range(TRACED):
        event = workload.event(number)
        order = phase("take", lambda event=event: walk.take(event))  # type: ignore[misc]
        incident = order["incident"]["id"]
        walk.run(order, phase)
    _from_nothing(phases)
    place.write_text(json.dumps({"incident": incident, "order": order, "phases": phases}), encoding="utf-8")
    medians = {f"{name}_ms": statistics.median(taken[TRACED // 6 :]) for name, taken in own_ms.items()}
    activities = [medians[f"{name}_ms"] for name in PHASES[1:]]
    asked = {f"{name}_asks": float(len(operations)) for name, operations in phases.items()}
    workload.tell(**medians, **asked, activity_ms=statistics.mean(activities), most_ms=max(activities))


def _from_nothing(phases: dict[str, list[Operation]]) -> None:
    """Let every record that is appended to begin empty, also one to which other incidents had added."""
    bases: dict[str, int] = {}
    for name in PHASES:
        for operation in phases[name]:
            if operation[1] == "append":
                operation[4] -= bases.setdefault(operation[2], operation[4])


# ------------------------------------------------------------------------------------------- ours


def whole(recorded: Path, count: int) -> None:
    import httpx

    from local.backend import Backend
    from local.host import Host
    from remediations.intake import incident_id
    from remediations.model import ResourceId

    ran: list[str] = []
    env = {name: value for name, value in os.environ.items() if name.startswith("MEDIC_")}
    backend = Backend(on_hand_out=lambda kind, _name, _id: ran.append(kind))
    with Host(
        app="benchmarks.subjects.hosted",
        env={**env, RECORDED: str(recorded)},
        timers=False,
        backend=backend,
        worker_output=subprocess.DEVNULL,
    ) as host:
        http = httpx.Client(base_url=host.url, timeout=PATIENCE_S)

        def play(first: int, many: int) -> float:
            numbers = range(first, first + many)
            events = [workload.event(number) for number in numbers]
            paths = [workload.path_of(workload.name_of(number)) for number in numbers]
            ids = [
                incident_id(ResourceId.parse(path), workload.correlation_of(number))
                for path, number in zip(paths, numbers, strict=True)
            ]
            began = time.perf_counter()
            for at in range(0, many, BATCH):
                headers = {"aeg-event-type": "Notification"}
                http.post(EVENT_GRID, json=events[at : at + BATCH], headers=headers).raise_for_status()
            for one in ids:
                state = host.client.wait_for_orchestration_completion(one, timeout=PATIENCE_S)
                _check(state, '"dry-run"')
            return time.perf_counter() - began

        play(0, BATCH)
        ran.clear()
        seconds = play(BATCH, count)
        http.close()
    activities, turns = (ran.count(kind) / count for kind in ("activity", "orchestration"))
    workload.tell(per_s=count / seconds, activities=activities, orchestrations=turns)


def _check(state: Any, wanted: str) -> None:
    if state is None or state.runtime_status.name != "COMPLETED" or wanted not in str(state.serialized_output):
        raise ValueError(f"an incident did not end as it should: {state and state.to_json()}")


# ------------------------------------------------------------------------------------------- bare


class Replayed:
    """Asks of the same adapters what was written down, for another incident."""

    def __init__(self, traced: dict[str, Any]) -> None:
        own = Services(settings.load(os.environ))
        self._incident, self._phases, self._reads = traced["incident"], traced["phases"], own.reads
        root = Path(own.settings.store)
        self._stores = {name: FolderStore(root / name) for name in ("trail", "evidence")}

    def __call__(self, phase: str, number: int) -> None:
        reads: Any = None
        for port, what, *rest in self._phases[phase]:
            if port == "reads":
                if what == "reader":
                    reads = self._reads()
                else:
                    *given, options = rest
                    url = workload.named(workload.anonymous(given[0])[0], number)
                    getattr(reads, what)(url, *given[1:], **options)
                continue
            store, name = self._stores[port], self._name(rest[0], number, is_prefix=what in {"list", "lengths"})
            with suppress(AlreadyExists, NotFound):
                match what:
                    case "create":
                        store.create(name, b"x" * rest[1])
                    case "append":
                        store.append(name, b"x" * rest[1], rest[2])
                    case "read":
                        store.read(name)
                    case "list":
                        list(store.list(name))
                    case "lengths":
                        list(store.lengths(name))

    def _name(self, name: str, number: int, *, is_prefix: bool) -> str:
        if self._incident in name:
            return name.replace(self._incident, f"inc-{number:024d}")
        return name if is_prefix else f"{name}-{number}"


def bare(recorded: Path, count: int, place: Path) -> None:
    from durabletask import client
    from durabletask.testing import create_test_backend

    logging.disable(logging.CRITICAL)
    traced = json.loads(place.read_text(encoding="utf-8"))
    ask = Replayed(traced)
    workload.Azure(recorded).install()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    backend = create_test_backend(port=port)
    module = [sys.executable, "-m", "benchmarks.subjects.orchestrated", "worker", str(recorded), str(place), str(port)]
    worker = subprocess.Popen(module, stdout=subprocess.PIPE, text=True)
    try:
        if worker.stdout is None or "ready" not in worker.stdout.readline():
            raise ValueError("the worker did not start")
        hub = client.TaskHubGrpcClient(host_address=f"localhost:{port}", emit_trace_spans=False)

        def begin(number: int) -> str:
            ask("take", number)
            given = {**traced["order"], "number": number}
            return hub.schedule_new_orchestration("remediate", input=given, instance_id=f"inc-{number}")

        def play(first: int, many: int) -> float:
            began = time.perf_counter()
            with ThreadPoolExecutor(BATCH) as pool:  # as the host takes a batch
                ids = list(pool.map(begin, range(first, first + many)))
            for one in ids:
                _check(hub.wait_for_orchestration_completion(one, timeout=PATIENCE_S), "done")
            return time.perf_counter() - began

        play(0, BATCH)
        seconds = play(BATCH, count)
    finally:
        worker.terminate()
        worker.wait()
        backend.stop()
    workload.tell(per_s=count / seconds)


def bare_worker(recorded: Path, place: Path, port: str) -> None:
    from durabletask.worker import ConcurrencyOptions, TaskHubGrpcWorker

    logging.disable(logging.CRITICAL)
    workload.Azure(recorded).install()
    ask = Replayed(json.loads(place.read_text(encoding="utf-8")))

    def remediate(ctx: Any, order: Any) -> Any:
        yield ctx.call_activity("open_incident", input=order)
        step = yield ctx.call_sub_orchestrator("gather", input=order)
        step = yield ctx.call_activity("judge", input=step)
        yield ctx.call_activity("finish", input=step)
        return "done"

    def gather(ctx: Any, order: Any) -> Any:
        step = yield ctx.call_activity("collect", input=order)
        return step

    def activity(phase: str) -> Callable[[Any, Any], Any]:
        def run(_context, order):  # type: ignore[no-untyped-def]
            ask(phase, order["number"])
            return order

        run.__name__ = phase
        return run

    options = ConcurrencyOptions(maximum_thread_pool_workers=THREADS)
    worker = TaskHubGrpcWorker(host_address=f"localhost:{port}", concurrency_options=options, emit_trace_spans=False)
    worker.add_orchestrator(remediate)
    worker.add_orchestrator(gather)
    for name in PHASES[1:]:
        worker.add_activity(activity(name))
    worker.start()  # type: ignore[no-untyped-call]
    print("ready", flush=True)
    while True:
        time.sleep(60)


def main() -> None:
    mode, recorded, *rest = sys.argv[1:]
    match mode:
        case "trace":
            trace(Path(recorded), Path(rest[0]))
        case "ours":
            whole(Path(recorded), int(rest[0]))
        case "bare":
            bare(Path(recorded), int(rest[0]), Path(rest[1]))
        case "worker":
            bare_worker(Path(recorded), Path(rest[0]), rest[1])


if __name__ == "__main__":
    main()
