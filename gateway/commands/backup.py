"""`gavel backup FILE`: a whole copy of all journals and their blobs, of a running node or a stopped one, judged before it is called good.

A plain copy of the file of a running node would lose what stands in SQLite's write-ahead log.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import msgspec

from gateway.commands.answers import add_json, print_json
from gateway.commands.common import add_settings, read_settings
from gateway.commands.noting import add_reason, on_record
from gateway.upkeep.backups import Copied, back_up
from gateway.verdicts import FINE, NO


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="the copy; it must not exist yet")
    add_reason(parser)
    add_settings(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    settings = read_settings(options, log_level="warning")
    with on_record(settings, "backup", str(options.file), reason=options.reason):
        copied = back_up(settings, options.file)
    print_copied(copied, as_json=options.json)
    return FINE if all(one.whole for one in copied) else NO


def print_copied(copied: Sequence[Copied], *, as_json: bool) -> None:
    """What was backed up or restored: the shared journal first, named ones below it."""
    whole = all(one.whole for one in copied)
    if as_json:
        shared, *named = (msgspec.to_builtins(one) for one in copied)
        print_json(shared | {"journals": named, "whole": whole})
        return
    for one in copied:
        verdict = "whole" if one.whole else "NOT WHOLE"
        print(f"{one.file}: {one.positions} records, root {one.root}, {one.blobs} blobs, {verdict}")
        for fault in one.faults:
            print(f"  {fault}")
        for name in one.archives_missing:
            print(f"  the archive {name} is not at hand, and not in it: keep it elsewhere")
        for digest in one.blobs_altered:
            print(f"  blob {digest} was altered")
        if one.blobs_unchecked:
            print(f"  {len(one.blobs_unchecked)} blobs are sealed under keys that are not at hand: copied, not checked")
