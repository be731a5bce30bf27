"""Judges an archive's file from the outside: is each of its records one that the journal has sealed?"""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from runtime.archives import FORMAT
from runtime.evidence import Unreadable, read_evidence
from runtime.inspection import FAULTS_MAX
from runtime.proofs import NotProven, inclusion, verify_inclusion
from runtime.rotation import Keys
from runtime.transparency import Checkpoint, NotANote, NotSigned, PublicKey, leaf_hash, read_note, verify_note
from runtime.verification import Report

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


def verify_archive(path: str | Path, *, key: str | None = None, against: Sequence[str] = ()) -> Report:
    """Judges the archive at `path`, with a public key and checkpoints' texts from elsewhere. Raises Unreadable."""
    return read_evidence(Path(path), partial(_judge, key=key, against=against))


def _judge(file: sqlite3.Connection, *, key: str | None, against: Sequence[str]) -> Report:
    facts = dict(file.execute("SELECT name, value FROM facts"))
    if facts.get("format") != FORMAT or not all(isinstance(facts.get(name), str) for name in FACTS):
        raise Unreadable("the file is not an archive of this program's format")
    faults: list[str] = []
    keys, checkpoint = _signed(file, facts, key, faults)
    _compare(checkpoint, against, faults)
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
        else [f"all {count} records stand in {checkpoint.origin}, under its root of {checkpoint.size} records"],
        not_excluded=[
            "somebody with the signing key has rewritten and signed the journal anew"
            if trusted
            else "somebody has made it and signed it with a key of his own: the public key was read from the file itself "
            "(compare it with --key)",
            "records of the same streams were left out: the journal says how many there are, and which",
        ],
        key=(PublicKey(key) if key is not None else keys.chain[0].key).vkey(checkpoint.origin),
        against=checkpoint.size if against else None,
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
            faults.append("it is signed with another key than the one given")
        checkpoint = verify_note(facts["checkpoint"], keys.current)
    except (NotANote, NotSigned) as error:
        raise Unreadable(f"the archive's checkpoint does not hold: {error}") from error
    if checkpoint.origin != facts["origin"]:
        faults.append(f"its checkpoint is of another journal, {checkpoint.origin}")
    if any(position > checkpoint.size for position, _, _ in rotations):
        faults.append("a rotation of the signing key stands beyond the checkpoint")
    return keys, checkpoint


def _compare(checkpoint: Checkpoint, against: Sequence[str], faults: list[str]) -> None:
    """Only a checkpoint of the same size can be compared: an archive leads to no other root."""
    try:
        others = [read_note(note)[0] for note in against]
    except NotANote as error:
        raise Unreadable(str(error)) from error
    same = [other for other in others if (other.origin, other.size) == (checkpoint.origin, checkpoint.size)]
    if others and not same:
        faults.append(
            f"no given checkpoint is of {checkpoint.size} records of {checkpoint.origin}: only such a one can be compared"
        )
    if any(other.root != checkpoint.root for other in same):
        faults.append("the given checkpoint has another root")


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
