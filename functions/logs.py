"""structlog in one place: JSON lines in Azure, a console at home."""

import logging
import os
import sys

import structlog


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
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
