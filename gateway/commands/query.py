"""`gavel query SQL`: reads the read models of a data folder in SQL, as they stand or as they stood, whether a node runs or not."""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from gateway.api.queries import as_of
from gateway.commands.answers import add_json, print_json
from gateway.commands.common import add_journal, add_settings, read_journal_settings
from gateway.commands.noting import add_reason, on_record
from gateway.settings import GavelSettings
from gateway.storage.folder import DataFolder
from gateway.storage.journals import journal_file, read_models_place
from gateway.storage.keyrings import keys_of
from gateway.verdicts import FINE, Wrong
from runtime.errors import Overloaded, Refused
from runtime.read_models import open_database

ROWS_MAX = 10_000


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sql", metavar="SQL", help='one statement that reads, such as "SELECT status, count(*) FROM tasks GROUP BY 1"'
    )
    parser.add_argument("--as-of", metavar="WHEN", help="a position of the log, or a moment as RFC 3339 writes it")
    add_reason(parser)
    add_settings(parser)
    add_journal(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    settings = read_journal_settings(options)
    question = _Question(options.sql)
    try:
        with on_record(settings, "query", f"read models as of {options.as_of or 'now'}", reason=options.reason):
            columns, rows = _ask(settings, question, options.as_of)
    except (DBAPIError, Overloaded, Refused) as error:
        raise Wrong(str(getattr(error, "orig", None) or error)) from error
    if options.json:
        print_json({"columns": columns, "rows": rows})
    else:
        for row in [columns, *rows]:
            print("\t".join("" if value is None else str(value) for value in row))
    return FINE


def _ask(settings: GavelSettings, question: "_Question", when: str | None) -> tuple[list[str], list[list[Any]]]:
    return _ask_now(settings, question) if when is None else _ask_then(settings, question, when)


class _Question:
    """The statement, run where nothing can be written."""

    def __init__(self, sql: str) -> None:
        self.sql = sql

    def __call__(self, connection: Connection) -> tuple[list[str], list[list[Any]]]:
        is_sqlite = connection.dialect.name == "sqlite"
        connection.exec_driver_sql("PRAGMA query_only = ON" if is_sqlite else "SET TRANSACTION READ ONLY")
        found = connection.exec_driver_sql(self.sql)
        if not found.returns_rows:
            raise Wrong("the statement returns no rows")
        return list(found.keys()), [_plain(row) for row in found.fetchmany(ROWS_MAX)]


def _plain(row: Sequence[Any]) -> list[Any]:
    return [value.hex() if isinstance(value, bytes) else value for value in row]


def _ask_now(settings: GavelSettings, question: _Question) -> tuple[list[str], list[list[Any]]]:
    place = read_models_place(settings, DataFolder(settings.data))
    if isinstance(place, Path) and not place.is_file():
        raise Wrong(f"there are no read models at {place}")
    engine = open_database(place, connections_max=1)
    try:
        with engine.begin() as connection:
            return question(connection)
    finally:
        engine.dispose()


def _ask_then(settings: GavelSettings, question: _Question, when: str) -> tuple[list[str], list[list[Any]]]:
    from gateway.upkeep.log_replay import Past  # loads all aggregates

    moment = as_of(when)
    with journal_file(settings) as journal, tempfile.TemporaryDirectory() as name, keys_of(settings) as keys:
        past = Past(journal, DataFolder(settings.data).read_copies, Path(name), keys)
        return trio.run(past.query, moment, question)
