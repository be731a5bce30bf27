"""Judges a journal's file from the outside: is every record the one that was sealed?

It needs neither node nor data folder, and says what holds, what does not, and what no look at the file can exclude.
"""

import sqlite3
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from runtime.anatomy import SINCE, fact_faults, schema_faults
from runtime.archives import FOLDER
from runtime.cosignatures import WitnessKey
from runtime.evidence import Unreadable, read_evidence
from runtime.inspection import Inspection, Stop
from runtime.rotation import ROTATIONS, ROTATIONS_MAX, STREAM, Keys
from runtime.store.layouts import FORMAT
from runtime.transparency import NotANote, PublicKey, read_note

__all__ = ["Report", "Unreadable", "verify"]

KEYS = {
    "stored_events": ("rowid", "INTEGER"),
    "nodes": ("id", "INTEGER"),
    "checkpoints": ("size", "INTEGER"),
    "facts": ("name", "TEXT"),
}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The judgment. `first_bad` is the first position where something disagrees, or null; `root` is hex, computed from the
    records, and null where some are missing; `against` is the size of the largest outside checkpoint that was compared; `key` is the
    one that was trusted, `signed_by` all that have signed, one after the other."""

    whole: bool
    positions: int
    root: str | None
    first_bad: int | None
    faults: list[str]
    holds: list[str]
    not_excluded: list[str]
    key: str
    against: int | None = None
    signed_by: list[str] = []


class Trust(NamedTuple):
    """What the auditor brings: a key, checkpoints that were kept elsewhere, and the witnesses that must have cosigned one of them."""

    key: PublicKey | None = None
    against: Sequence[str] = ()
    witnesses: Sequence[WitnessKey] = ()


def verify(
    path: str | Path,
    *,
    key: str | None = None,
    against: str | Sequence[str] | None = None,
    witnesses: Sequence[str] = (),
    archives: Path | None = None,
) -> Report:
    """Judges the journal at `path`, with a public key, checkpoints' texts and witnesses' keys from elsewhere. Raises Unreadable.

    Its archives lie beside it, or in the folder `archives`; one that is not there is named.
    """
    notes = [against] if isinstance(against, str) else list(against or ())
    try:
        trust = Trust(None if key is None else PublicKey(key), notes, [WitnessKey(one) for one in witnesses])
        for note in notes:
            read_note(note)
    except NotANote as error:
        raise Unreadable(str(error)) from error
    return read_evidence(Path(path), partial(_judge, trust=trust, archives=archives or archives_of(Path(path))))


def archives_of(path: Path) -> Path:
    """Where the archives of a journal's file, or of a backup's, lie."""
    beside = path.with_name(f"{path.name}.{FOLDER}")
    return beside if beside.is_dir() else path.parent / FOLDER


def _judge(connection: sqlite3.Connection, *, trust: Trust, archives: Path) -> Report:
    facts = _facts(connection)
    origin = facts["origin"]
    keys = _keys(connection, origin, _own_key(facts) if trust.key is None else _stated_key(facts))
    is_of_chain = trust.key is None or (keys is not None and trust.key in keys)
    if trust.key is not None and (keys is None or not is_of_chain):
        keys = _keys(connection, origin, trust.key)
    assert keys is not None
    inspection = Inspection(connection, keys, origin, archives)
    if not is_of_chain:
        inspection.fault("the public key that the file states is another one than the one given")
    for note in trust.against:
        inspection.expect(note, trust.witnesses)
    for witness in trust.witnesses:
        if not any(seen.startswith(f"{witness.name} at ") for stop in inspection.outside for seen in stop.witnessed):
            inspection.fault(f"no given checkpoint is cosigned by {witness.name}")
    made_otherwise = [*schema_faults(connection, int(facts["format"])), *fact_faults(facts)]
    for fault in made_otherwise:
        inspection.fault(fault)
    inspection.run()
    if int(facts["format"]) >= SINCE["kinds"] and not made_otherwise:  # the list may not be there
        inspection.check_kinds()
    if int(facts["format"]) >= SINCE["tombstones"] and not made_otherwise:
        inspection.check_last_states()
    return _report(inspection, trust)


def signing_keys(connection: sqlite3.Connection) -> Keys:
    """The keys that have signed a journal, from the one that it states on. Raises Unreadable where it is none."""
    facts = _facts(connection)
    return _keys_from(connection, facts["origin"], _own_key(facts))


def _keys(connection: sqlite3.Connection, origin: str, first: PublicKey | None) -> Keys | None:
    return None if first is None else _keys_from(connection, origin, first)


def _keys_from(connection: sqlite3.Connection, origin: str, first: PublicKey) -> Keys:
    rows = connection.execute(ROTATIONS.format(position="rowid"), (STREAM, ROTATIONS_MAX))
    return Keys(origin, first, [(at, kind, body) for at, kind, body in rows if isinstance(at, int)])


def _stated_key(facts: dict[str, str]) -> PublicKey | None:
    try:
        return PublicKey(facts["public_key"])
    except NotANote:
        return None


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


def _report(inspection: Inspection, trust: Trust) -> Report:
    unnamed = inspection.faults_count - len(inspection.faults)
    keys, origin = inspection.keys, inspection.origin
    return Report(
        whole=not inspection.faults,
        positions=inspection.count,
        root=None if inspection.root is None else inspection.root.hex(),
        first_bad=inspection.first_bad,
        faults=[*inspection.faults, f"… and {unnamed} more"] if unnamed else inspection.faults,
        holds=_holds(inspection),
        not_excluded=_not_excluded(inspection, trust),
        key=(trust.key or keys.chain[0].key).vkey(origin),
        against=max((read_note(note)[0].size for note in trust.against), default=None),
        signed_by=[one.key.vkey(origin) for one in keys.chain],
    )


def _holds(inspection: Inspection) -> list[str]:
    holds = []
    if inspection.records_hold:
        by = inspection.keys.at(inspection.records_hold).vkey(inspection.origin)
        holds.append(f"records 1 to {inspection.records_hold} hash to a root that is signed by {by}")
    held = inspection.outside_held
    holds += [f"records 1 to {stop.size} are those of the given checkpoint" for stop in _largest(held)]
    holds += [
        f"records 1 to {stop.size} were witnessed by {', '.join(stop.witnessed)}"
        for stop in _largest([stop for stop in held if stop.witnessed])
    ]
    holds.extend(inspection.keys.told())
    if not inspection.faults:
        holds.append(
            f"all {inspection.count} records agree with their stored nodes, without a gap in positions or versions"
        )
        if inspection.stubs.count:
            holds.append(
                f"{inspection.stubs.count} of them stand in archives, as sealed records say, under their own leaves"
            )
        holds.append(f"all {inspection.signed} stored checkpoints are signed and agree with the records")
        if len(inspection.outside_held) > 1:
            holds.append(f"all {len(inspection.outside_held)} given checkpoints agree with the records")
    return holds


def _largest(stops: Sequence[Stop]) -> Sequence[Stop]:
    return [max(stops, key=lambda stop: stop.size)] if stops else []


def _not_excluded(inspection: Inspection, trust: Trust) -> list[str]:
    witnessed = max((stop.size for stop in inspection.outside_held if stop.witnessed), default=0)
    held = max((stop.size for stop in inspection.outside_held), default=0)
    return [
        _rewritten(trusted=trust.key is not None, witnessed=witnessed),
        f"the file was set back to an earlier signed state that holds the {held} records of the given checkpoint"
        if held
        else "the file was set back to an earlier signed state (compare a checkpoint kept elsewhere: --against)",
        "what is not sealed was altered: replies, reactions, copies of states, the read models, "
        "unused room of the file" + ("" if inspection.timed == inspection.signed else ", the times of checkpoints"),
        "a checkpoint before the newest was removed from the file: it proves nothing that the newest does not",
        *(
            f"what the archive {name} should hold can't be read any more: it is not at hand"
            for name in inspection.stubs.missing(inspection.archives)
        ),
    ]


def _rewritten(*, trusted: bool, witnessed: int) -> str:
    if not trusted:
        return (
            "somebody has rewritten the journal and signed it with a key of his own: the public key was read from the "
            "file itself (compare it with --key)"
        )
    if witnessed:
        return (
            f"somebody with the signing key has rewritten what came after the {witnessed} records that were witnessed"
        )
    return "somebody with the signing key has rewritten and signed the journal anew (compare what a witness has cosigned: --witness)"
