"""Kept journals, and ways to alter a copy of one, as somebody would who has the files."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from tests.stories.histories import lives, unpack

Plain = dict[str, Any]


def history(folder: Path) -> Path:
    """The newest kept life."""
    return unpack(lives()[-1], folder)


def find(journal: Path, command: str, where: Callable[[Plain], bool] = lambda said: True) -> int:
    """The position of the first command of this name that says so."""
    with closing(sqlite3.connect(journal)) as connection:
        for position, body in connection.execute("SELECT rowid, state FROM stored_events ORDER BY rowid"):
            told = msgspec.msgpack.decode(body)["meta"]["command"]
            if told is not None and told["name"] == command and where(told["data"]):
                return int(position)
    raise AssertionError(f"no {command} says so")


def alter(journal: Path, position: int, change: Callable[[Plain], None]) -> None:
    """Changes what a record's body says."""
    with closing(sqlite3.connect(journal)) as connection, connection:
        (body,) = connection.execute("SELECT state FROM stored_events WHERE rowid=?", (position,)).fetchone()
        said = msgspec.msgpack.decode(body)
        change(said)
        packed = msgspec.msgpack.encode(said)
        connection.execute("UPDATE stored_events SET state=? WHERE rowid=?", (packed, position))


def execute(journal: Path, statement: str, *parameters: object) -> None:
    """Runs a statement on the journal."""
    with closing(sqlite3.connect(journal)) as connection, connection:
        connection.execute(statement, parameters)
