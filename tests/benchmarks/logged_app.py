"""The function app with its log as JSON lines, which is what Azure is billed for; `incident_cost` runs it."""

from typing import TextIO, cast

import structlog

from function_app import app
from functions.logs import _Stderr

__all__ = ["app"]

structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ],
    logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Stderr())),
    cache_logger_on_first_use=True,
)
