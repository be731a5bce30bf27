"""Structured logs: one line an event, on stderr, as JSON or for a person's eyes; never on stdout, which belongs to answers.

A log that can't be written, for a full disk or a reader that has gone, ends nothing: what is said then is lost, and the first line that can
be written again tells how much.
"""

import logging
import sys
import threading
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import FilteringBoundLogger

LogFormat = Literal["json", "console"]


def configure(log_format: LogFormat = "json", level: str = "info", stream: TextIO | None = None) -> None:
    """Sends all logs to `stream` (default: stderr), from `level` (debug, info, warning, error) upwards."""
    number = logging.getLevelNamesMapping()[level.upper()]
    target = stream or sys.stderr
    lines = _Lines(target)
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
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(stream=target, level=max(number, logging.WARNING), format="%(message)s", force=True)


class _Lines:
    """Where lines go, from any thread."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._lost = 0

    def line(self, text: str) -> None:
        """Writes a line, if that can be done."""
        with self._lock:
            try:
                self._stream.write(text + "\n")
                self._stream.flush()
            except (OSError, ValueError):  # full, gone, closed, or of an encoding that does not have it
                self._lost += 1
                return
            lost, self._lost = self._lost, 0
        if lost:
            structlog.get_logger().warning("log_lines_lost", lines=lost)

    debug = info = warning = error = critical = line


def logger(level: str | None = None, **values: Any) -> FilteringBoundLogger:
    """A logger that writes from `level` upwards, whatever holds for the others (None: as they do), with these values in each line."""
    if level is None:
        found: FilteringBoundLogger = structlog.get_logger(**values)
        return found
    wrapper = structlog.make_filtering_bound_logger(level)
    made: FilteringBoundLogger = structlog.wrap_logger(None, wrapper_class=wrapper, **values)
    return made
