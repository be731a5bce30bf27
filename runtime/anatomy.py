"""What a journal's file is made of: its tables and indexes, word by word, and the facts that it states. Anything else is somebody's work.

A table that has the right columns may still mislead: by a collation, a default, an index that leaves rows out, a check that fails.
"""

import re
import sqlite3
from collections.abc import Iterator

from runtime.store.layouts import FORMAT
from runtime.store.recorder import TABLES

FACTS = frozenset({"format", "origin", "public_key"})
SINCE = {"kinds": 2, "states": 3, "states_position": 3, "tombstones": 4}
"""The layouts in which tables and indexes came; all others have always been there."""

NUMBERS = ("application_id", "user_version")
"""What an SQLite file may say of itself, and a journal does not."""

SCHEMA = "SELECT type, name, sql FROM sqlite_schema ORDER BY name LIMIT ?"
ENTRIES_MAX = 1000
FAULTS_MAX = 20

_NAME = re.compile(r"CREATE (?:UNIQUE )?(?:TABLE|INDEX) (\w+)")


def _plain(statement: str) -> str:
    return statement.replace("IF NOT EXISTS ", "").format(events="stored_events")


MADE_BY = {found[1]: _plain(one) for one in TABLES if (found := _NAME.match(_plain(one)))}


def schema_faults(connection: sqlite3.Connection, number: int) -> Iterator[str]:
    """What is not as a journal of this layout has it."""
    for name in NUMBERS:
        ((number_of_file,),) = connection.execute(f"PRAGMA {name}").fetchall()
        if number_of_file:
            yield f"the file has an {name.replace('_', ' ')} of {number_of_file}, and no journal has one"
    found = {}
    for kind, name, statement in connection.execute(SCHEMA, (ENTRIES_MAX,)):
        if kind not in ("table", "index") or not (name in MADE_BY or _is_sqlites_own(name)):
            yield f"the file holds a {kind} that no journal has: {name}"
        elif name in MADE_BY:
            found[name] = statement
    for name, expected in MADE_BY.items():
        if name not in found:
            if SINCE.get(name, 1) <= number:
                yield f"the file holds no {name}, which a journal of format {number} has"
        elif SINCE.get(name, 1) > number:
            yield f"the file states format {number}, and holds {name}, which came in format {SINCE[name]}"
        elif found[name] != expected:
            yield f"{name} is not made as a journal's: {found[name]}"


def fact_faults(facts: dict[str, str]) -> Iterator[str]:
    """What the file states that no journal does."""
    for name in sorted(map(str, facts)):
        if name not in FACTS:
            yield f"the file states what no journal does: {name}"
    if facts["public_key"] != facts["public_key"].strip():
        yield "the public key that the file states is written otherwise than a journal's"


def _is_sqlites_own(name: str) -> bool:
    """Only SQLite itself can make such names; what they hold is checked by its own check. Statistics for its planner are not among them:
    no program of ours makes any, and false ones would mislead it."""
    return name == "sqlite_sequence" or name.startswith("sqlite_autoindex_")


assert set(SINCE.values()) <= set(range(1, FORMAT + 1))
