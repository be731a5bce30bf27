"""What is told where a file of the data folder can't be written: the disk is full, or the folder is not there any more."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from gateway.storage.folder import FolderUnusable
from runtime.errors import Refused

log = structlog.get_logger("gateway.api.file_faults")


@contextmanager
def refused_where_unwritable(what: str) -> Iterator[None]:
    """Raises Refused (507) where `what` can't be written. Its place is for the log alone."""
    try:
        yield
    except (OSError, sqlite3.Error, FolderUnusable) as error:
        log.error("not_written", what=what, reason=str(error))
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise Refused("insufficient_storage", f"{what} could not be written: {reason}", status=507) from error
