"""`gavel audit`: an auditor's questions. Here `verify FILE|URL`: judges a journal's file, or asks a node to judge its own.

Exit codes: 0 whole, 1 altered, 2 unreadable.
"""

import argparse
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import msgspec
from rich.console import Console
from rich.text import Text

from gateway.commands import audit_proofs, audit_replay, audit_rotation, audit_trail, audit_what_if, audit_witness
from gateway.commands.answers import add_json, print_json
from gateway.commands.asking import argument_text, ask_node, is_address
from gateway.commands.journal_named import place_of
from gateway.storage.journals import POSTGRES_URL
from gateway.verdicts import FINE, NO, Wrong
from runtime.archive_verification import is_archive, verify_archive
from runtime.cosignatures import WitnessKey
from runtime.evidence import Unreadable
from runtime.kept_checkpoints import notes_in
from runtime.transparency import NotANote, NotSigned, PublicKey, read_note
from runtime.verification import Report, verify

ARGUMENT_CHARACTERS_MAX = 100_000

QUESTIONS: dict[str, ModuleType] = {"trail": audit_trail, "replay": audit_replay, "what-if": audit_what_if}
"""The other questions, each with a module of its own."""

SELF_JUDGED = "the node judges itself and may not tell the truth (verify a copy of its journal)"


def arguments(parser: argparse.ArgumentParser) -> None:
    questions = parser.add_subparsers(metavar="QUESTION", required=True)
    meaning = "is every record the one that was sealed?"
    own = questions.add_parser("verify", help=meaning, description=meaning.capitalize())
    own.add_argument(
        "target",
        metavar="FILE|URL",
        help="a journal's file, live or a copy; a PostgreSQL journal, postgresql://…; or a node's address",
    )
    own.add_argument("--key", metavar="K", help="the public key that you trust, or a file that holds it")
    own.add_argument(
        "--against",
        metavar="CHECKPOINT",
        action="append",
        default=[],
        help="a checkpoint that you kept, a file that holds it, or a folder of such files; repeatable",
    )
    own.add_argument(
        "--witness",
        metavar="VKEY",
        action="append",
        default=[],
        help="a witness that must have cosigned one of these checkpoints, or a file that holds its key; repeatable",
    )
    add_json(own)
    own.set_defaults(act=_verify)
    audit_proofs.arguments(questions)
    audit_rotation.arguments(questions)
    audit_witness.arguments(questions)
    for name, module in QUESTIONS.items():
        module.arguments(questions.add_parser(name, help=module.MEANING, description=module.MEANING.capitalize()))


def run(options: argparse.Namespace) -> int:
    code: int = options.act(options)
    return code


def _verify(options: argparse.Namespace) -> int:
    """Verifies the file or the node at the target and prints the judgment. Raises Wrong where there can be none."""
    target = options.target
    try:
        trust = Trusted(
            _text(options.key) if options.key is not None else None,
            [note for one in options.against for note in _notes(one)],
            [_text(one) for one in options.witness],
        )
        if is_address(target):
            report = _ask(target, trust)
        else:
            with place_of(target, options) as place:
                report = _judge(place, trust)
    except (Unreadable, NotANote, OSError) as error:
        raise Wrong(str(error)) from error
    if options.json:
        print_json(report)
    else:
        _print(_shown(target), report)
    return FINE if report.whole else NO


def _judge(place: Path, trust: "Trusted") -> Report:
    if not is_archive(place):
        return verify(place, key=trust.key, against=trust.notes, witnesses=trust.witnesses)
    return verify_archive(place, key=trust.key, against=trust.notes, witnesses=trust.witnesses)


class Trusted(NamedTuple):
    """What the auditor brings."""

    key: str | None
    notes: list[str]
    witnesses: list[str]


def _text(argument: str) -> str:
    return argument_text(argument, characters_max=ARGUMENT_CHARACTERS_MAX) or ""


def _notes(argument: str) -> list[str]:
    if "\n" in argument or not (place := Path(argument)).exists():
        return [argument]
    return notes_in(place)


def _ask(url: str, trust: Trusted) -> Report:
    """A node compares one checkpoint: the newest. What witnesses have signed is looked at here."""
    note = max(trust.notes, key=lambda one: read_note(one)[0].size) if trust.notes else None
    report = ask_node(url, "/v1/audit/verify", {"key": trust.key, "against": note}, Report)
    return _with_doubts(url, report, trust, note)


def _with_doubts(url: str, report: Report, trust: Trusted, note: str | None) -> Report:
    """Checks here what can be checked here: that the node used the auditor's key and compared his checkpoint."""
    if report.against != (None if note is None else read_note(note)[0].size):
        raise Wrong(f"{url} did not compare the given checkpoint: verify a copy of its journal instead")
    faults = list(report.faults)
    if trust.key is not None and PublicKey(trust.key).nameless() != PublicKey(report.key).nameless():
        faults.append(f"the node's journal is signed with another key, {report.key}")
    for vkey in trust.witnesses:
        try:
            witness = WitnessKey(vkey)
            _, text, signatures = read_note(note or "")
            witness.check(text, signatures)
        except (NotANote, NotSigned) as error:
            faults.append(f"the given checkpoint: {error}")
    whole = report.whole and not faults
    doubts = [*report.not_excluded, SELF_JUDGED]
    return msgspec.structs.replace(report, whole=whole, faults=faults, not_excluded=doubts)


def _shown(target: str) -> str:
    """A database's address may hold a password."""
    return "the journal" if target.startswith(POSTGRES_URL) else target


def _print(target: str, report: Report) -> None:
    console = Console(highlight=False, soft_wrap=True)
    verdict = ("whole", "bold green") if report.whole else ("altered", "bold red")
    counted = f": {report.positions} records, root {report.root or 'none'}"
    console.print(Text.assemble(f"{target} is ", verdict, counted))
    if report.first_bad is not None:
        console.print(Text(f"First wrong position: {report.first_bad}", style="bold"))
    for title, lines, style in (
        ("Wrong", report.faults, "red"),
        ("Holds", report.holds, "green"),
        ("Not excluded", report.not_excluded, "yellow"),
    ):
        if lines:
            console.print(Text(title, style=f"bold {style}"))
        for line in lines:
            console.print(Text(f"  - {line}"))
    console.print(Text(f"Key: {report.key}"))
