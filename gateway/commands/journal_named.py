"""The journal that a command's FILE names, for whoever recomputes something: a file, a database's address, or the data folder's."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from gateway.commands.common import read_journal_settings
from gateway.exports import open_journal
from gateway.journals import POSTGRES_URL, copy_from_postgres, journal_file
from gateway.replay import JournalFile
from gateway.verdicts import Wrong
from runtime.evidence import BROKEN, Unreadable


@contextmanager
def open_named_journal(options: argparse.Namespace) -> Iterator[JournalFile]:
    """The journal to read. Raises Wrong where there is none, or it can't be read.

    It may be in use: no transaction is held, which would keep the file's log from being carried over while this reads.
    """
    with _place(options) as place, open_journal(place) as connection:
        connection.execute("COMMIT")
        try:
            yield JournalFile(connection, place)
        except (*BROKEN, Unreadable) as error:
            raise Wrong(f"{place} can't be read: {error}") from error


@contextmanager
def _place(options: argparse.Namespace) -> Iterator[Path]:
    if options.file is None:
        with journal_file(read_journal_settings(options)) as journal:
            yield journal
    elif options.file.startswith(POSTGRES_URL):
        with TemporaryDirectory() as folder:
            copy = Path(folder) / "journal.db"
            copy_from_postgres(options.file, copy)
            yield copy
    else:
        yield Path(options.file)
