"""Judges an archive's file from the outside: is each of its records one that the journal has sealed?"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from runtime.archives import FORMAT, TABLES
from runtime.cosignatures import WitnessKey, as_utc
from runtime.evidence import Unreadable, read_evidence
from runtime.inspection import FAULTS_MAX
from runtime.proofs import NotProven, inclusion, verify_inclusion
from runtime.rotation import Keys
from runtime.transparency import Checkpoint, NotANote, NotSigned, PublicKey, leaf_hash, read_note, verify_note
from runtime.verification import Report

SCHEMA_MAX = 100
FACTS = ("format", "origin", "public_key", "checkpoint")
RECORDS = (
    "SELECT position, stream, version, kind, CASE typeof(body) WHEN 'blob' THEN body END FROM records ORDER BY position"
)


def is_archive(path: str | Path) -> bool:
    """Whether a file looks like an archive; whether it is one, `verify_archive` says."""
    try:
        address = f"{Path(path).resolve().as_uri()}?mode=ro&immutable=1"  # which makes no file where there is none
        with closing(sqlite3.connect(address, uri=True)) as file:
            row = file.execute("SELECT value FROM facts WHERE name='format'").fetchone()
    except sqlite3.Error:
        return False
    return row is not None and str(row[0]).startswith("gavel-archive/")


def verify_archive(
    path: str | Path,
    *,
    key: str | None = None,
    against: str | Sequence[str] | None = None,
    witnesses: Sequence[str] = (),
) -> Report:
    """Judges the archive at `path`, with a public key, checkpoints' texts and witnesses' keys from elsewhere. Raises Unreadable.

    Only a checkpoint of the archive's own size can be compared, and is what a witness must have cosigned.
    """
    notes = [against] if isinstance(against, str) else list(against or ())
    return read_evidence(Path(path), partial(_judge, key=key, notes=notes, witnesses=witnesses))


def _judge(file: sqlite3.Connection, *, key: str | None, notes: Sequence[str], witnesses: Sequence[str]) -> Report:
    facts = dict(file.execute("SELECT name, value FROM facts"))
    if facts.get("format") != FORMAT or not all(isinstance(facts.get(name), str) for name in FACTS):
        raise Unreadable("the file is not an archive of this program's format")
    faults = list(_schema_faults(file))
    keys, checkpoint = _signed(file, facts, key, faults)
    compared = _compared(checkpoint, notes, witnesses, faults)
    count, first_bad = _check_records(file, checkpoint, faults)
    trusted = key is not None
    return Report(
        whole=not faults,
        positions=count,
        root=checkpoint.root.hex(),
        first_bad=first_bad,
        faults=faults,
        holds=[]
        if faults
        else [
            f"all {count} records of this archive stand in {checkpoint.origin}, under its root of {checkpoint.size} records",
            *compared,
        ],
        not_excluded=[
            "somebody with the signing key has rewritten and signed the journal anew"
            if trusted
            else "somebody has made it and signed it with a key of his own: the public key was read from the file itself "
            "(compare it with --key)",
            "records of the same streams were left out, or it is another archive: the journal says which one there is, and of what",
        ],
        key=(PublicKey(key) if key is not None else keys.chain[0].key).vkey(checkpoint.origin),
        against=checkpoint.size if compared else None,
        signed_by=[one.key.vkey(checkpoint.origin) for one in keys.chain],
    )


def _signed(
    file: sqlite3.Connection, facts: Mapping[str, str], key: str | None, faults: list[str]
) -> tuple[Keys, Checkpoint]:
    rotations = file.execute("SELECT position, kind, body FROM rotations ORDER BY position").fetchall()
    try:
        keys = Keys(facts["origin"], PublicKey(facts["public_key"]), rotations)
        faults += [text for _, text in keys.faults]
        if key is not None and PublicKey(key) not in keys:
            faults.append(
                "it is signed with another key than the one given; one that the journal was given later signs no archive from before"
            )
        checkpoint = verify_note(facts["checkpoint"], keys.current)
    except (NotANote, NotSigned) as error:
        raise Unreadable(f"the archive's checkpoint does not hold: {error}") from error
    if checkpoint.origin != facts["origin"]:
        faults.append(f"its checkpoint is of another journal, {checkpoint.origin}")
    if any(position > checkpoint.size for position, _, _ in rotations):
        faults.append("a rotation of the signing key stands beyond the checkpoint")
    return keys, checkpoint


def _schema_faults(file: sqlite3.Connection) -> Iterator[str]:
    """A view, or a table that is made otherwise, could show a record twice, or another one to each who asks."""
    rows = file.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid LIMIT ?", (SCHEMA_MAX,))
    found = {str(row[0]) for row in rows}
    for statement in sorted(found ^ set(TABLES)):
        yield f"it is not made as an archive is: {'it has' if statement in found else 'it has not'} {statement:.200}"


def _compared(
    checkpoint: Checkpoint, notes: Sequence[str], witnesses: Sequence[str], faults: list[str]
) -> Sequence[str]:
    """What holds by the checkpoints that were kept elsewhere."""
    try:
        read = [read_note(note) for note in notes]
        trusted = [WitnessKey(one) for one in witnesses]
    except NotANote as error:
        raise Unreadable(str(error)) from error
    if strange := [one.origin for one, _, _ in read if one.origin != checkpoint.origin]:
        faults.append(f"the given checkpoint is of another journal, {strange[0]}")
    same = [(one, text, signatures) for one, text, signatures in read if one.size == checkpoint.size]
    if notes and not same:
        faults.append(f"of the given checkpoints none is of {checkpoint.size} records: only such a one can be compared")
    if any(one.root != checkpoint.root for one, _, _ in same):
        faults.append("the given checkpoint has another root")
    holds = ["its root is that of the given checkpoint"] if same else []
    for witness in trusted:
        seen = [time for _, text, signatures in same if (time := _seen(witness, text, signatures)) is not None]
        if not seen:
            faults.append(f"no given checkpoint of {checkpoint.size} records is cosigned by {witness.name}")
        holds += [f"its root was witnessed by {witness.name} at {as_utc(max(seen))}"] if seen else []
    return holds


def _seen(witness: WitnessKey, text: str, signatures: Sequence[tuple[str, bytes]]) -> int | None:
    try:
        return witness.check(text, signatures)
    except NotSigned:
        return None


def _check_records(file: sqlite3.Connection, checkpoint: Checkpoint, faults: list[str]) -> tuple[int, int | None]:
    def read(nodes: Sequence[int]) -> Mapping[int, bytes]:
        found: dict[int, bytes] = {}
        for node in nodes:
            row = file.execute("SELECT hash FROM nodes WHERE id=?", (node,)).fetchone()
            if row is None or not isinstance(row[0], bytes):
                raise NotProven(f"node {node} of its path is not there")
            found[node] = row[0]
        return found

    count, first_bad = 0, None
    for record in file.execute(RECORDS):
        count += 1
        if (fault := _fault_of(record, checkpoint, read)) is not None:
            first_bad = first_bad or record[0]
            if len(faults) < FAULTS_MAX:
                faults.append(f"position {record[0]}: {fault}")
    return count, first_bad


def _fault_of(record: tuple[Any, ...], checkpoint: Checkpoint, read: Any) -> str | None:
    try:
        leaf = record[0] - 1
        path = inclusion(leaf, checkpoint.size, read)
        verify_inclusion(leaf_hash(*record), leaf, checkpoint.size, checkpoint.root, path)
    except (NotProven, TypeError, UnicodeEncodeError) as error:
        return f"the record is not the one that was sealed: {error}"
    return None
