"""`gavel log export FILE`: the log as a stream of msgpack values with its proof, or (`--check`) whether such a file holds.

Exit codes of a check: 0 it holds, 1 it does not, 2 there is nothing to check.
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from aggregates.catalog import KINDS
from gateway.commands.answers import add_json, print_json, say
from gateway.commands.asking import argument_text
from gateway.commands.common import add_journal, add_settings, read_journal_settings
from gateway.commands.noting import add_reason, on_record
from gateway.verdicts import FINE, NO, Wrong
from runtime.export_reading import BadExport, Checked, ExportReader
from runtime.exports import FORMAT

READ_BYTES = 1 << 20
KEY_CHARACTERS_MAX = 1000


def add_export(actions: Any) -> None:
    """The action and its options."""
    parser: argparse.ArgumentParser = actions.add_parser(
        "export",
        help=f"write the log, or what you choose of it, as a stream of msgpack values with its proof ({FORMAT})",
    )
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE", help="by default stdout")
    parser.add_argument("--from", type=_position, dest="first", metavar="P", help="those from this position on")
    parser.add_argument("--to", type=_position, dest="last", metavar="P", help="those up to this position")
    parser.add_argument("--from-time", metavar="T", help="those recorded at this time or later: 2026-01-31T12:00:00Z")
    parser.add_argument("--to-time", metavar="T", help="those recorded up to this time")
    for name, what in (("tenant", "of this tenant"), ("stream", "of this stream"), ("kind", "of this kind")):
        parser.add_argument(f"--{name}", action="append", default=[], metavar="NAME", help=f"those {what}; repeatable")
    parser.add_argument("--check", action="store_true", help="check FILE instead of writing it")
    parser.add_argument(
        "--key", metavar="K", help="the public key that you trust, for --check, or a file that holds it"
    )
    add_reason(parser)
    parser.set_defaults(act=_export)
    add_settings(parser)
    add_journal(parser)
    add_json(parser)


def _position(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:20]) <= 2**62):
        raise argparse.ArgumentTypeError(f"{text!r} is no position: they count from 1")
    return int(text)


def _export(options: argparse.Namespace) -> int:
    if options.check:
        return _check(options)
    from gateway.upkeep.exports import Filters, write_export

    settings = read_journal_settings(options)
    if options.file is None and options.json:
        raise Wrong("with --json stdout holds the answer: name a FILE for the records")
    if options.key is not None:
        raise Wrong("--key is for --check: what is written carries the key of its journal")
    if unknown := sorted(set(options.kind) - KINDS):
        raise Wrong(f"no record is of the kind {', '.join(unknown)}; kinds are named as task.TaskAwarded")
    filters = Filters(
        first=options.first,
        last=options.last,
        from_time=options.from_time,
        to_time=options.to_time,
        tenants=options.tenant,
        streams=options.stream,
        kinds=options.kind,
    )
    what = ", ".join(f"{name} {value}" for name, value in filters.told().items()) or "all"
    with on_record(settings, "export", what, reason=options.reason), _opened(options.file) as file:
        written = write_export(settings, filters, file)
    if options.json:
        facts = msgspec.structs.asdict(written) | {"root": written.root.hex()}
        print_json({"file": str(options.file), "format": FORMAT, **facts, "sha256": _digest(options.file)})
    else:
        what = "all" if written.whole else f"{written.records} of"
        say(f"{what} {written.size} records, under the root {written.root.hex()}")
    return FINE


@contextmanager
def _opened(path: Path | None) -> Iterator[BinaryIO]:
    """Where the stream goes. A file appears when it is complete and on disk."""
    if path is None:
        with open("/dev/stdout", "wb") as file:
            yield file
        return
    if path.exists():
        raise Wrong(f"{path} exists")
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise Wrong(f"{path} can't be written: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(options: argparse.Namespace) -> int:
    if options.file is None:
        raise Wrong("name the FILE to check, - for stdin")
    key = argument_text(options.key, characters_max=KEY_CHARACTERS_MAX)
    try:
        with opened_export(options.file) as file:
            checked = ExportReader(file, key=key).check()
    except BadExport as error:
        if options.json:
            print_json({"file": str(options.file), "holds": False, "reason": str(error)})
        else:
            print(f"{options.file} does not hold: {error}")
        return NO
    if options.json:
        print_json({"file": str(options.file), "holds": True, **msgspec.structs.asdict(checked)})
    else:
        _print(options.file, checked)
    return FINE


@contextmanager
def opened_export(path: Path) -> Iterator[BinaryIO]:
    """An export to be read; `-` is stdin. Raises Wrong where there is none."""
    if str(path) == "-":
        yield sys.stdin.buffer
        return
    try:
        with path.open("rb", buffering=READ_BYTES) as file:
            yield file
    except OSError as error:
        raise Wrong(f"{path} can't be read: {error.strerror or error}") from error


def _print(path: Path, checked: Checked) -> None:
    what = "all" if checked.whole else f"{checked.records} of"
    print(f"{path} holds: {what} {checked.size} records of {checked.origin}, root {checked.root}")
    if not checked.whole:
        print(f"  chosen by {checked.filters}, at positions {checked.first} to {checked.last}, each with its proof")
    for name, count in checked.rows.items():
        print(f"  {name}: {count}")
    for doubt in checked.not_excluded:
        print(f"Not excluded: {doubt}")
    print(f"Key: {checked.key}")
