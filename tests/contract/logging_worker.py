"""Run functions in Azure's own worker library and tell, as JSON, which invocation each line of the log belongs to.

The worker's handler looks for it in this order: the task that is running, which the worker marks; the variable that the
library sets in its threads. A record of neither is dropped by the Functions host.
"""

import asyncio
import json
import logging
import sys
from types import SimpleNamespace
from typing import Any

import azure_functions_runtime  # type: ignore[import-untyped]
import azure_functions_runtime.handle_event as worker  # type: ignore[import-untyped]

from local.worker import client_config
from tests.contract import indexing

MARK = "invocation"


class MarkedTask(asyncio.Task[Any]):
    """A task that belongs to the invocation of the one that made it, as the worker's own tasks do."""

    def __init__(self, coroutine: Any, **options: Any) -> None:
        super().__init__(coroutine, **options)
        maker = asyncio.current_task(options.get("loop"))
        setattr(self, MARK, getattr(maker, MARK, None))


class Told(logging.Handler):
    """Keeps each line with the invocation that it belongs to."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str | None]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "endpoint_medic":
            self.lines.append((json.loads(record.getMessage())["event"], self._invocation()))

    @staticmethod
    def _invocation() -> str | None:
        try:
            task = asyncio.current_task()
        except RuntimeError:  # a thread
            task = None
        marked = getattr(task, MARK, None)
        return marked if marked is not None else azure_functions_runtime.invocation_id_cv.get()


async def main() -> None:
    told = Told()
    logging.getLogger().addHandler(told)
    loop = asyncio.get_running_loop()
    loop.set_task_factory(lambda loop, coroutine, **options: MarkedTask(coroutine, loop=loop, **options))
    init = SimpleNamespace(capabilities={}, function_app_directory=sys.argv[1])
    await worker.worker_init_request(indexing.request(worker_init_request=init))
    from functions import logs

    logs.configure(in_azure=True)
    metadata = await worker.functions_metadata_request(indexing.request())
    ids = {each.name: each.function_id for each in metadata.function_metadata_results}
    client = indexing.TypedData(string=client_config("127.0.0.1:1"))
    timer = indexing.TypedData(json=json.dumps({"IsPastDue": False, "Schedule": {}, "ScheduleStatus": {}}))
    order = dict(indexing.calls())["open_incident"]

    async def invoke(name: str, **inputs: Any) -> None:
        setattr(asyncio.current_task(), MARK, name)
        done = await indexing.invoke(ids[name], **inputs)
        assert done.result.status == indexing.StatusResult.Success, done.result.exception.message

    await asyncio.create_task(invoke("sweep", timer=timer, client=client))
    await asyncio.create_task(invoke("open_incident", **order))
    await asyncio.create_task(invoke("anchor", timer=timer))
    sys.stdout.write(json.dumps(told.lines))


if __name__ == "__main__":
    asyncio.run(main())
