"""`gavel backup FILE`: a whole copy of the journal, of a running node or a stopped one, judged before it is called good.

A plain copy of the file of a running node would lose what stands in SQLite's write-ahead log.
"""

import argparse
import sqlite3
from pathlib import Path

from gateway.commands.common import add_json, add_settings, print_json, read_settings
from gateway.folder import DataFolder
from gateway.verdicts import FINE, NO, Wrong
from runtime.evidence import Unreadable
from runtime.store.copies import copy_database
from runtime.verification import verify


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="the copy; it must not exist yet")
    add_settings(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    source = DataFolder(read_settings(options, log_level="warning").data).journal
    copy_journal(source, options.file)
    try:
        report = verify(options.file)
    except Unreadable as error:
        raise Wrong(str(error)) from error
    if options.json:
        size = options.file.stat().st_size
        answer = {"file": str(options.file), "bytes": size, "positions": report.positions, "root": report.root}
        print_json(answer | {"whole": report.whole})
    else:
        print(
            f"{options.file}: {report.positions} records, root {report.root}, {'whole' if report.whole else 'ALTERED'}"
        )
    return FINE if report.whole else NO


def copy_journal(source: Path, target: Path) -> None:
    """Copies a database. Raises Wrong where it is not there, or the target is."""
    if not source.is_file():
        raise Wrong(f"there is no journal at {source}")
    try:
        copy_database(source, target)
    except FileExistsError as error:
        raise Wrong(str(error)) from error
    except (OSError, sqlite3.Error) as error:
        raise Wrong(f"{source} can't be copied to {target}: {error}") from error
