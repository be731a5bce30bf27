"""`gavel audit verify FILE|URL` and further questions: judges a journal's file, or asks a node to judge its own, and says what holds.

Exit codes: 0 whole, 1 altered, 2 unreadable.
"""

import argparse
import os
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, cast
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPRedirectHandler, Request, build_opener

import msgspec
from rich.console import Console
from rich.text import Text

from gateway.commands import audit_replay, audit_what_if, trail
from gateway.commands.common import add_json, print_json
from gateway.journals import POSTGRES_URL, copy_from_postgres
from gateway.verdicts import FINE, NO, Wrong
from runtime.evidence import Unreadable
from runtime.transparency import NotANote, PublicKey, read_note
from runtime.verification import Report, verify

ANSWER_SECONDS_MAX = 600.0
ANSWER_BYTES_MAX = 1_000_000
ARGUMENT_CHARACTERS_MAX = 100_000

QUESTIONS: dict[str, ModuleType] = {"replay": audit_replay, "what-if": audit_what_if}
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
    own.add_argument("--against", metavar="CHECKPOINT", help="a checkpoint that you kept, or a file that holds it")
    add_json(own)
    own.set_defaults(act=_verify)
    meaning = "who did what to whom, when, and on whose behalf?"
    trail.arguments(questions.add_parser("trail", help=meaning, description=meaning.capitalize()))
    for name, module in QUESTIONS.items():
        module.arguments(questions.add_parser(name, help=module.MEANING, description=module.MEANING.capitalize()))


def run(options: argparse.Namespace) -> int:
    code: int = options.act(options)
    return code


def _verify(options: argparse.Namespace) -> int:
    return verify_command(options.target, options.key, options.against, options.json)


def verify_command(target: str, key: str | None, against: str | None, as_json: bool) -> int:
    """Verifies the file or the node at `target` and prints the judgment. Raises Wrong where there can be none."""
    try:
        key, against = _text(key), _text(against)
        if target.startswith(("http://", "https://")):
            report = _with_doubts(target, _ask(target, key, against), key, against)
        elif target.startswith(POSTGRES_URL):
            report = _verify_copy(target, key, against)
        else:
            report = verify(target, key=key, against=against)
    except (Unreadable, NotANote) as error:
        raise Wrong(str(error)) from error
    if as_json:
        print_json(report)
    else:
        _print(_shown(target), report)
    return FINE if report.whole else NO


def _verify_copy(address: str, key: str | None, against: str | None) -> Report:
    """Judges a PostgreSQL journal by a copy of one moment."""
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "journal.db"
        copy_from_postgres(address, copy)
        return verify(copy, key=key, against=against)


def _text(argument: str | None) -> str | None:
    """The argument itself, or what the file of that name holds."""
    if argument is None or "\n" in argument:
        return argument
    try:
        path = Path(argument)
        if not path.is_file():
            return argument
        with path.open(encoding="utf-8") as file:
            return file.read(ARGUMENT_CHARACTERS_MAX)
    except (OSError, UnicodeDecodeError) as error:
        raise Wrong(f"{argument} can't be read: {error}") from error


class _NoRedirection(HTTPRedirectHandler):
    """A redirection would carry the credentials elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _ask(url: str, key: str | None, against: str | None) -> Report:
    query = urlencode({name: text for name, text in (("key", key), ("against", against)) if text is not None})
    try:
        request = Request(f"{url.rstrip('/')}/v1/audit/verify{'?' if query else ''}{query}")
        if credentials := os.environ.get("GAVEL_KEY"):
            request.add_header("Authorization", f"Bearer {credentials}")
        with build_opener(_NoRedirection).open(request, timeout=ANSWER_SECONDS_MAX) as answer:
            raw = cast(bytes, answer.read(ANSWER_BYTES_MAX))
        return msgspec.json.decode(raw, type=Report)
    except HTTPError as error:
        with error:
            detail = error.read(ANSWER_BYTES_MAX).decode("utf-8", "replace").strip()
        raise Wrong(f"{url} answers {error.code} {error.reason}: {detail}") from error
    except msgspec.MsgspecError as error:
        raise Wrong(f"{url} does not answer with a report: {error}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise Wrong(f"{url} does not answer: {error}") from error


def _with_doubts(url: str, report: Report, key: str | None, against: str | None) -> Report:
    """Checks here what can be checked here: that the node used the auditor's key and compared his checkpoint."""
    if report.against != (None if against is None else read_note(against)[0].size):
        raise Wrong(f"{url} did not compare the given checkpoint: verify a copy of its journal instead")
    faults = list(report.faults)
    if key is not None and PublicKey(key).nameless() != PublicKey(report.key).nameless():
        faults.append(f"the node's journal is signed with another key, {report.key}")
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
