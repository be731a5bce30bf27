"""The journal that a command names, for whoever recomputes something: a file, a database's address, or the data folder's."""

import argparse
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

from gateway.commands.common import add_journal, add_settings, read_journal_settings
from gateway.storage.journal_file import JournalFile, open_journal
from gateway.storage.journals import POSTGRES_URL, copy_from_postgres, journal_file
from gateway.storage.keyrings import keys_of
from gateway.verdicts import Wrong
from runtime.evidence import BROKEN, Unreadable
from runtime.keyring import Keyring


def add_named_journal(parser: argparse.ArgumentParser) -> None:
    """The options that name it."""
    parser.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help="a journal's file, live or a copy, or postgresql://…; by default the data folder's",
    )
    add_settings(parser)
    add_journal(parser)


@contextmanager
def open_named_journal(options: argparse.Namespace) -> Iterator[JournalFile]:
    """The journal to read. Raises Wrong where there is none, or it can't be read.

    It may be in use: no transaction is held, which would keep the file's log from being carried over while this reads.
    """
    with place_of(options.file, options) as place, _keys(options) as keys, open_journal(place) as connection:
        connection.execute("COMMIT")
        try:
            yield JournalFile(connection, place, keys)
        except (*BROKEN, Unreadable) as error:
            raise Wrong(f"{place} can't be read: {error}") from error


def _keys(options: argparse.Namespace) -> AbstractContextManager[Keyring | None]:
    """The keys of personal data: those of the data folder that is named, and none for a file from elsewhere."""
    if options.file is not None and options.data is None:
        return nullcontext()
    return keys_of(read_journal_settings(options))


@contextmanager
def place_of(target: str | None, options: argparse.Namespace) -> Iterator[Path]:
    """The file of a journal that is named by its path or its database's address (which is copied first), or is the data folder's."""
    if target is None:
        with journal_file(read_journal_settings(options)) as journal:
            yield journal
    elif target.startswith(POSTGRES_URL):
        with TemporaryDirectory() as folder:
            copy = Path(folder) / "journal.db"
            copy_from_postgres(target, copy)
            yield copy
    else:
        yield Path(target)
