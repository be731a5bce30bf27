"""Judges a journal's file from the outside: is every record the one that was sealed?

It needs neither node nor data folder, and says what holds, what does not, and what no look at the file can exclude.
"""

import sqlite3
from functools import partial
from pathlib import Path

import msgspec

from runtime.evidence import Unreadable, read_evidence
from runtime.inspection import Inspection
from runtime.store.layouts import FORMAT
from runtime.transparency import Checkpoint, NotANote, PublicKey, read_note

__all__ = ["Report", "Unreadable", "verify"]

KEYS = {
    "stored_events": ("rowid", "INTEGER"),
    "nodes": ("id", "INTEGER"),
    "checkpoints": ("size", "INTEGER"),
    "facts": ("name", "TEXT"),
}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The judgment. `first_bad` is the first position where something disagrees, or null; `root` is hex, computed from the
    records, and null where some are missing; `against` is the size of the outside checkpoint that was compared."""

    whole: bool
    positions: int
    root: str | None
    first_bad: int | None
    faults: list[str]
    holds: list[str]
    not_excluded: list[str]
    key: str
    against: int | None = None


def verify(path: str | Path, *, key: str | None = None, against: str | None = None) -> Report:
    """Judges the journal at `path`, with a public key and a checkpoint's text from elsewhere. Raises Unreadable."""
    try:
        trusted = None if key is None else PublicKey(key)
        outside = None if against is None else read_note(against)[0]
    except NotANote as error:
        raise Unreadable(str(error)) from error
    return read_evidence(Path(path), partial(_judge, key=trusted, against=against, outside=outside))


def _judge(
    connection: sqlite3.Connection, *, key: PublicKey | None, against: str | None, outside: Checkpoint | None
) -> Report:
    facts = _facts(connection)
    inspection = Inspection(connection, key or _own_key(facts), facts["origin"])
    if key is not None and facts["public_key"] != key.nameless():
        inspection.fault("the public key that the file states is another one than the one given")
    if against is not None and outside is not None:
        inspection.expect(against, outside)
    inspection.run()
    return _report(inspection, trusted=key is not None, outside=outside)


def _own_key(facts: dict[str, str]) -> PublicKey:
    try:
        return PublicKey(facts["public_key"])
    except NotANote as error:
        raise Unreadable(
            f"the journal can't be checked by the key that it states: {error}; give one with --key"
        ) from error


def _facts(connection: sqlite3.Connection) -> dict[str, str]:
    """Origin and public key of the journal. Raises Unreadable where the file is not a journal of this format."""
    for table, key in KEYS.items():
        columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
        if [(name, kind) for _, name, kind, _, _, primary in columns if primary] != [key]:
            raise Unreadable(f"the file is not a journal: no table {table} with the key {key[0]}")
    facts = dict(connection.execute("SELECT name, value FROM facts"))
    for name in ("format", "origin", "public_key"):
        if not isinstance(facts.get(name), str):
            raise Unreadable(f"the file is not a journal: it does not state its {name}")
    if facts["format"] not in {str(number) for number in range(1, FORMAT + 1)}:
        raise Unreadable(f"the journal has format {facts['format']}, this program reads formats up to {FORMAT}")
    return facts


def _report(inspection: Inspection, *, trusted: bool, outside: Checkpoint | None) -> Report:
    unnamed = inspection.faults_count - len(inspection.faults)
    return Report(
        whole=not inspection.faults,
        positions=inspection.count,
        root=None if inspection.root is None else inspection.root.hex(),
        first_bad=inspection.first_bad,
        faults=[*inspection.faults, f"… and {unnamed} more"] if unnamed else inspection.faults,
        holds=_holds(inspection),
        not_excluded=_not_excluded(trusted=trusted, outside=outside),
        key=inspection.key.vkey(inspection.origin),
        against=None if outside is None else outside.size,
    )


def _holds(inspection: Inspection) -> list[str]:
    holds = []
    if inspection.records_hold:
        by = inspection.key.vkey(inspection.origin)
        holds.append(f"records 1 to {inspection.records_hold} hash to a root that is signed by {by}")
    if inspection.outside_holds and inspection.outside is not None:
        holds.append(f"records 1 to {inspection.outside.size} are those of the given checkpoint")
    if not inspection.faults:
        holds.append(
            f"all {inspection.count} records agree with their stored nodes, without a gap in positions or versions"
        )
        holds.append(f"all {inspection.signed} stored checkpoints are signed and agree with the records")
    return holds


def _not_excluded(*, trusted: bool, outside: Checkpoint | None) -> list[str]:
    return [
        "somebody with the signing key has rewritten and signed the journal anew"
        if trusted
        else "somebody has rewritten the journal and signed it with a key of his own: the public key was read from the "
        "file itself (compare it with --key)",
        "the file was set back to an earlier signed state"
        + (
            " that holds the given checkpoint"
            if outside is not None
            else " (compare a checkpoint kept elsewhere: --against)"
        ),
        "what is not sealed was altered: replies, reactions, snapshots, the times of checkpoints, the read models",
    ]
