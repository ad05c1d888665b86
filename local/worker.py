"""The process that runs orchestrators, activities and entities of a function app, as Azure's own worker does.

It is a process of its own so that it can be killed: ``python -m local.worker --app function_app --backend HOST:PORT``.
"""

import argparse
import asyncio
import functools
import importlib
import inspect
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, override

import durabletask.internal.orchestrator_service_pb2 as pb
from azure.durable_functions.constants import (
    ACTIVITY_TRIGGER,
    DURABLE_CLIENT,
    ENTITY_TRIGGER,
    ORCHESTRATION_TRIGGER,
)
from azure.durable_functions.internal.compat.entity_context import wrap_entity
from azure.durable_functions.internal.compat.orchestration_context import wrap_orchestrator
from azure.durable_functions.internal.serialization import DEFAULT_FUNCTIONS_DATA_CONVERTER
from azure.functions.decorators.function_app import Function
from durabletask.grpc_options import GrpcWorkerResiliencyOptions
from durabletask.worker import ConcurrencyOptions, TaskHubGrpcWorker

TASK_HUB = "Local"
WORKER_THREADS = 16
PARENT_POLL_S = 0.5
DRAIN_S = 5.0


@functools.cache
def load_functions(app: str) -> tuple[Function, ...]:
    """The functions of the module's ``app``; cached, since an app can be indexed only once a process."""
    module = importlib.import_module(app)
    return tuple(module.app.get_functions())


def trigger_of(function: Function) -> Any:
    """The function's trigger: its kind is ``get_binding_name()``, its parameter ``name``."""
    trigger = function.get_trigger()
    if trigger is None:
        raise ValueError(f"function {function.get_function_name()!r} has no trigger")
    return trigger


def client_config(backend: str, url: str = "") -> str:
    """What the Functions host passes for a durable client binding."""
    webhooks = f"{url}/runtime/webhooks/durabletask"
    query = f"taskHub={TASK_HUB}&connection=Storage"
    instance = f"{webhooks}/instances/INSTANCEID"
    return json.dumps(
        {
            "taskHubName": TASK_HUB,
            "connectionName": "Storage",
            "creationUrls": {"createNewInstancePostUri": f"{webhooks}/orchestrators/{{functionName}}?{query}"},
            "managementUrls": {
                "id": "INSTANCEID",
                "statusQueryGetUri": f"{instance}?{query}",
                "sendEventPostUri": f"{instance}/raiseEvent/{{eventName}}?{query}",
                "terminatePostUri": f"{instance}/terminate?reason={{text}}&{query}",
                "purgeHistoryDeleteUri": f"{instance}?{query}",
            },
            "baseUrl": webhooks,
            "requiredQueryStringParameters": query,
            "rpcBaseUrl": f"http://{backend}",
            "httpBaseUrl": webhooks,
            "useForwardedHost": False,
            "maxGrpcMessageSizeInBytes": 0,
            "grpcHttpClientTimeout": "00:01:40",
        }
    )


def client_arguments(function: Function, config: str) -> dict[str, str]:
    """The arguments for a function's durable client bindings."""
    return {
        str(binding.name): config for binding in function.get_bindings() if binding.get_binding_name() == DURABLE_CLIENT
    }


class Worker(TaskHubGrpcWorker):
    """A worker that knows how many activities it runs, so that it can leave when their results are delivered."""

    def __init__(self, backend: str) -> None:
        super().__init__(
            host_address=backend,
            data_converter=DEFAULT_FUNCTIONS_DATA_CONVERTER,
            emit_trace_spans=False,
            logger=_quiet_logger(),
            concurrency_options=ConcurrencyOptions(maximum_thread_pool_workers=WORKER_THREADS),
            resiliency_options=GrpcWorkerResiliencyOptions(
                # The hub sends no health pings: an idle worker would drop its stream, and with it what it holds.
                silent_disconnect_timeout_seconds=0,
                reconnect_backoff_base_seconds=0.2,
                reconnect_backoff_cap_seconds=1.0,
            ),
        )
        self._running = 0
        self._changed = threading.Condition()

    def register(self, functions: Sequence[Function], config: str, loop: asyncio.AbstractEventLoop) -> None:
        """Register the durable functions under the names that Azure would use."""
        for function in functions:
            trigger = trigger_of(function)
            kind, name, call = (
                trigger.get_binding_name(),
                str(function.get_function_name()),
                function.get_user_function(),
            )
            if kind == ORCHESTRATION_TRIGGER:
                orchestrator = wrap_orchestrator(vars(call)["orchestrator_function"])
                self._registry.add_named_orchestrator(trigger.orchestration or name, orchestrator)
            elif kind == ENTITY_TRIGGER:
                self._registry.add_named_entity(trigger.entity_name or name, wrap_entity(vars(call)["entity_function"]))
            elif kind == ACTIVITY_TRIGGER:
                self._registry.add_named_activity(trigger.activity or name, activity(function, config, loop))

    def drain(self, timeout_s: float) -> bool:
        """Wait until no activity runs."""
        with self._changed:
            return self._changed.wait_for(lambda: self._running == 0, timeout_s)

    @override
    def _on_activity_execution_started(self, req: pb.ActivityRequest) -> None:
        with self._changed:
            self._running += 1

    @override
    def _on_activity_execution_completed(self, req: pb.ActivityRequest) -> None:
        with self._changed:
            self._running -= 1
            self._changed.notify_all()


def activity(function: Function, config: str, loop: asyncio.AbstractEventLoop) -> Callable[[Any, Any], Any]:
    """The function as durabletask calls it.

    Without annotations on purpose: with them the engine would rebuild types that Azure's binding leaves as plain JSON.
    """
    call = function.get_user_function()
    input_name = str(trigger_of(function).name)
    clients = client_arguments(function, config)

    def run(_context, value):  # type: ignore[no-untyped-def]
        result = call(**{input_name: value}, **clients)
        if inspect.iscoroutine(result):
            # One loop for all, as on Azure: a durable client closes itself on the loop it was made on.
            result = asyncio.run_coroutine_threadsafe(result, loop).result()
        return result

    return run


def _quiet_logger() -> logging.Logger:
    logger = logging.getLogger("durabletask-worker")
    logger.setLevel(logging.ERROR)  # it warns of every reconnection
    return logger


def main(argv: Sequence[str] | None = None) -> None:
    """Run until told to end, or until the host is gone."""
    parser = argparse.ArgumentParser(prog="local.worker", description="Run the durable functions of an app.")
    parser.add_argument("--app", required=True, help="module whose `app` is the function app")
    parser.add_argument("--backend", required=True, help="task hub, as host:port")
    parser.add_argument("--parent", type=int, default=os.getppid(), help="end when this process is no longer ours")
    options = parser.parse_args(argv)

    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the host too, which ends us in order

    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="activities", daemon=True).start()
    worker = Worker(options.backend)
    worker.register(load_functions(options.app), client_config(options.backend), loop)
    worker.start()  # type: ignore[no-untyped-call]
    while os.getppid() == options.parent and not ended.wait(PARENT_POLL_S):
        pass
    worker.drain(DRAIN_S)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not worker.stop(): it waits a second or for ever. What is unfinished goes to the next worker, as after any kill.
    os._exit(0)


if __name__ == "__main__":
    main()
