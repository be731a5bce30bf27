"""Structured logs: one line an event, on stderr, as JSON or for a person's eyes; never on stdout, which belongs to answers."""

import logging
import sys
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import FilteringBoundLogger

LogFormat = Literal["json", "console"]


def configure(log_format: LogFormat = "json", level: str = "info", stream: TextIO | None = None) -> None:
    """Sends all logs to `stream` (default: stderr), from `level` (debug, info, warning, error) upwards."""
    number = logging.getLevelNamesMapping()[level.upper()]
    target = stream or sys.stderr
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if log_format == "console":
        # Plain tracebacks: structlog's own show every local variable, keys and passwords among them.
        plain = structlog.dev.plain_traceback
        renderer = structlog.dev.ConsoleRenderer(colors=target.isatty(), exception_formatter=plain)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if log_format == "console" else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(target),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(stream=target, level=max(number, logging.WARNING), format="%(message)s", force=True)


def logger(level: str | None = None, **values: Any) -> FilteringBoundLogger:
    """A logger that writes from `level` upwards, whatever holds for the others (None: as they do), with these values in each line."""
    if level is None:
        found: FilteringBoundLogger = structlog.get_logger(**values)
        return found
    wrapper = structlog.make_filtering_bound_logger(level)
    made: FilteringBoundLogger = structlog.wrap_logger(None, wrapper_class=wrapper, **values)
    return made
