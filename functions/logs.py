"""structlog in one place: to Application Insights in Azure, to the console at home.

In Azure a line is one record of `logging`, with its level, and with JSON for a message: the worker hands records to the
host, and the host to Application Insights. The host drops a record that belongs to no invocation, and the worker knows
only tasks and its own threads. So what is logged in a thread that an asynchronous function began waits for its task:
see `in_thread`.
"""

import asyncio
import logging
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import TextIO, cast

import structlog

_LOGGER = logging.getLogger("endpoint_medic")
_WAITING: ContextVar[list[logging.LogRecord] | None] = ContextVar("waiting_records", default=None)
# At level INFO they tell of each request: two records for a call to the store, each of them billed.
_TALKATIVE = ("azure.core", "azure.durable_functions", "azure.identity")


class _Stderr:
    """Standard error as it is when a line is written: loggers are kept, and who redirects it means them too."""

    def write(self, text: str) -> None:
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def configure(*, in_azure: bool) -> None:
    """Set up logging for this process; safe to call twice."""
    if in_azure:
        _LOGGER.setLevel(logging.INFO)
        _LOGGER.addFilter(_is_for_now)
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
    colors = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer() if in_azure else structlog.dev.ConsoleRenderer(colors=colors),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=_forwarder if in_azure else structlog.PrintLoggerFactory(cast("TextIO", _Stderr())),
        cache_logger_on_first_use=True,
    )


async def in_thread[**P, T](call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a call in a thread; what it logs is told by a task that waits for it, as soon as it is over.

    That task belongs to the same invocation as the one that made it. It waits even if that one is cancelled: nothing
    stops a thread, and what it then logs is told too.
    """

    async def wait() -> T:
        records: list[logging.LogRecord] = []
        _WAITING.set(records)  # in this task alone, and in its thread
        try:
            return await asyncio.to_thread(call, *args, **kwargs)
        finally:
            _WAITING.set(None)
            for record in records:
                _LOGGER.handle(record)

    return await asyncio.shield(asyncio.create_task(wait()))


def _forwarder(*_: object) -> logging.Logger:
    return _LOGGER


def _is_for_now(record: logging.LogRecord) -> bool:
    """Tell whether a record can be handed on; one of a thread that a task waits for is kept for that task."""
    waiting = _WAITING.get()
    if waiting is not None:
        waiting.append(record)
    return waiting is None
