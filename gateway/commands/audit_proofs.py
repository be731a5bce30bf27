"""`gavel audit prove|check|consistency`: makes a proof of one record for anybody, checks one, links two checkpoints of a log."""

import argparse
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import msgspec

from gateway.commands.answers import add_json, print_json
from gateway.commands.asking import argument_text, ask_node, is_address
from gateway.commands.common import add_journal, add_settings
from gateway.commands.journal_named import place_of
from gateway.verdicts import FINE, NO, Wrong
from runtime.archives import read_through
from runtime.cosignatures import WitnessKey, as_utc
from runtime.evidence import Unreadable, read_evidence
from runtime.proofs import NotProven, verify_consistency
from runtime.proving import PROOF_BYTES_MAX, Consistency, NotThere, Proof, check_proof, link, prove, read_proof
from runtime.transparency import NOTE_CHARACTERS_MAX, Checkpoint, NotANote, NotSigned, PublicKey, read_note
from runtime.verification import archives_of

T = TypeVar("T")

TARGET = "a journal's file, live or a copy; postgresql://…; or a node's address; by default the data folder's journal"


def arguments(questions: Any) -> None:
    making = questions.add_parser("prove", help="make a proof that a record is in the log")
    making.add_argument("position", type=int, metavar="POSITION")
    making.add_argument("target", nargs="?", metavar="FILE|URL", help=TARGET)
    making.add_argument("--out", type=Path, metavar="PROOF", help="the file to write; by default it is printed")
    making.add_argument(
        "--against", metavar="NOTE", help="a checkpoint that you kept, or a file that holds it: prove it to this one"
    )
    making.add_argument("--witnessed", action="store_true", help="of a node: prove it to a checkpoint that is cosigned")
    add_settings(making)
    add_journal(making)
    making.set_defaults(act=_prove)
    checking = questions.add_parser("check", help="check a proof, with nothing but the key that you trust")
    checking.add_argument("proof", type=Path, metavar="PROOF")
    checking.add_argument("--key", metavar="K", required=True, help="the log's public key, or a file that holds it")
    checking.add_argument(
        "--witness",
        metavar="VKEY",
        action="append",
        default=[],
        help="a witness that must have cosigned the checkpoint, or a file that holds its key; repeatable",
    )
    checking.set_defaults(act=_check)
    linking = questions.add_parser("consistency", help="does a later log begin with an earlier one?")
    linking.add_argument("old", metavar="OLD", help="a checkpoint that you kept, a file that holds it, or a size")
    linking.add_argument("new", metavar="NEW", help="the same, of the later one")
    linking.add_argument("target", nargs="?", metavar="FILE|URL", help=TARGET)
    linking.add_argument("--key", metavar="K", help="the key that both checkpoints must be signed with")
    add_settings(linking)
    add_journal(linking)
    linking.set_defaults(act=_link)
    for one in (making, checking, linking):
        add_json(one)


# ---- making


def _prove(options: argparse.Namespace) -> int:
    note = argument_text(options.against, characters_max=NOTE_CHARACTERS_MAX)
    if is_address(options.target):
        proof = _ask_node(options.target, options, note)
    elif options.witnessed:
        raise Wrong("a file holds no cosigned checkpoints: give one with --against, or ask a node")
    else:
        proof = _ask_file(options, lambda log: prove(log, options.position, note or newest_note(log)))
    if options.out is not None:
        try:
            with options.out.open("x", encoding="utf-8", newline="") as file:
                file.write(proof.proof)
        except OSError as error:
            raise Wrong(f"{options.out} can't be written: {error}") from error
    if options.json:
        print_json(proof)
    elif options.out is None:
        print(proof.proof, end="")
    return FINE


def _ask_node(url: str, options: argparse.Namespace, note: str | None) -> Proof:
    size = _own(lambda: read_note(note)[0].size) if note is not None else None
    query = {"size": size, "witnessed": "true" if options.witnessed else None}
    proof = ask_node(url, f"/v1/audit/proofs/{options.position}", query, Proof)
    _own(lambda: read_proof(proof.proof))
    return proof


class FileLog:
    """A journal's file as it is read for proofs."""

    POSITION: ClassVar[str] = "rowid"

    def __init__(self, place: str, connection: sqlite3.Connection) -> None:
        self.place = place
        self._connection = connection

    def query(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
        return self._connection.execute(statement, parameters).fetchall()


def newest_note(log: FileLog) -> str:
    """Raises NotThere where nothing was ever signed."""
    rows = log.query("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1")
    if not rows or not isinstance(rows[0][0], str):
        raise NotThere(f"{log.place} holds no signed checkpoint")
    return rows[0][0]


def _ask_file(options: argparse.Namespace, question: Callable[[FileLog], T]) -> T:
    """Asks a journal's file; what is archived is read in the archives beside it."""
    with place_of(options.target, options) as place:

        def look(connection: sqlite3.Connection) -> T:
            with closing(read_through(connection, archives_of(place))):
                return question(FileLog(str(place), connection))

        return _own(lambda: read_evidence(place, look))


def _own(question: Callable[[], T]) -> T:
    try:
        return question()
    except (NotThere, NotProven, Unreadable, NotANote) as error:
        raise Wrong(str(error)) from error


# ---- checking


def _check(options: argparse.Namespace) -> int:
    key = argument_text(options.key, characters_max=NOTE_CHARACTERS_MAX)
    try:
        with options.proof.open(encoding="utf-8", newline="") as file:
            text = file.read(PROOF_BYTES_MAX)
        proof, checkpoint = check_proof(text, PublicKey(key or ""))
        _, signed, signatures = read_note(proof.checkpoint)
        seen = [_seen(vkey, signed, signatures) for vkey in options.witness]
    except (OSError, UnicodeDecodeError) as error:
        raise Wrong(f"{options.proof} can't be read: {error}") from error
    except (NotProven, NotANote, NotSigned) as error:
        print_json({"proven": False, "reason": str(error)}) if options.json else print(f"not proven: {error}")
        return NO
    said = _readable(proof.body)
    if options.json:
        told = {"proven": True, "proof": proof, "origin": checkpoint.origin, "size": checkpoint.size, "said": said}
        print_json(told | {"witnessed": seen})
        return FINE
    print(f"proven: record {proof.position} of the {checkpoint.size} of {checkpoint.origin}")
    for witnessed in seen:
        print(f"  {witnessed}")
    print(f"  {proof.kind}, version {proof.version} of {proof.stream}")
    print(f"  {msgspec.json.encode(said).decode()}")
    return FINE


def _seen(vkey: str, signed: str, signatures: Sequence[tuple[str, bytes]]) -> str:
    """Raises NotSigned, or NotANote where the key is none."""
    witness = WitnessKey(argument_text(vkey, characters_max=NOTE_CHARACTERS_MAX) or "")
    return f"witnessed by {witness.name} at {as_utc(witness.check(signed, signatures))}"


def _readable(body: bytes) -> Any:
    """The body for people: what it says, where it is msgpack; else its bytes."""
    try:
        said = msgspec.msgpack.decode(body)
        msgspec.json.encode(said)
        return said
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError):
        return {"bytes": body.hex()}


# ---- linking


def _link(options: argparse.Namespace) -> int:
    (old, old_note), (new, new_note) = (_size(one, options.key) for one in (options.old, options.new))
    if is_address(options.target):
        found = ask_node(options.target, "/v1/audit/consistency", {"old": old, "new": new}, Consistency)
    else:
        found = _ask_file(options, lambda log: link(log, old, new))
    try:
        roots = [bytes.fromhex(found.old_root), bytes.fromhex(found.new_root)]
        path = [msgspec.convert(one, bytes, strict=False) for one in found.path]
        verify_consistency(old, roots[0], new, roots[1], path)
        for note, root in ((old_note, roots[0]), (new_note, roots[1])):
            if note is not None and note.root != root:
                raise NotProven(f"the log of {note.size} records is not the one of the given checkpoint")
    except (NotProven, ValueError) as error:
        print_json({"consistent": False, "reason": str(error)}) if options.json else print(f"not consistent: {error}")
        return NO
    if options.json:
        print_json({"consistent": True, "proof": found})
    else:
        print(f"consistent: the log of {new} records begins with that of {old}, of root {found.old_root}")
    return FINE


def _size(argument: str, key: str | None) -> tuple[int, Checkpoint | None]:
    """The size that an argument names, and the checkpoint where it is one. Raises Wrong."""
    if argument.isascii() and argument.isdigit():
        return int(argument[:18]), None
    text = argument_text(argument, characters_max=NOTE_CHARACTERS_MAX) or ""
    try:
        checkpoint, signed, signatures = read_note(text)
        if key is not None:
            trusted = PublicKey(argument_text(key, characters_max=NOTE_CHARACTERS_MAX) or "")
            trusted.check(signed, signatures, checkpoint.origin)
    except (NotANote, NotSigned) as error:
        raise Wrong(f"{argument if chr(10) not in argument else 'the checkpoint'}: {error}") from error
    return checkpoint.size, checkpoint
