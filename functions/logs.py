"""structlog in one place: JSON lines in Azure, a console at home."""

import logging
import os
import sys
from typing import TextIO, cast

import structlog


class _Stderr:
    """Standard error as it is when a line is written: loggers are kept, and who redirects it means them too."""

    def write(self, text: str) -> None:
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def configure() -> None:
    """Set up logging for this process; safe to call twice."""
    in_azure = bool(os.environ.get("WEBSITE_INSTANCE_ID"))
    shown = (
        structlog.processors.JSONRenderer() if in_azure else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            shown,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Stderr())),
        cache_logger_on_first_use=True,
    )
