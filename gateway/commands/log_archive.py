"""`gavel log archive --before WHEN`: moves closed streams of a stopped node's journal into archives, which prove themselves.

The journal keeps their leaves and last states. An archive is read in their place while its file lies in `archives/` of the data folder.
"""

import argparse
from typing import Any

import msgspec

from gateway.commands.answers import add_json, print_json
from gateway.commands.common import add_journal, add_settings, read_journal_settings
from gateway.verdicts import FINE


def add_archive(actions: Any) -> None:
    """The action and its options."""
    parser: argparse.ArgumentParser = actions.add_parser(
        "archive", help="move closed streams into archives, with no node running: tasks and solves that have ended"
    )
    parser.add_argument(
        "--before", required=True, metavar="T", help="those of which nothing was recorded since: 2026-01-31T12:00:00Z"
    )
    parser.set_defaults(act=_archive)
    add_settings(parser)
    add_journal(parser)
    add_json(parser)


def _archive(options: argparse.Namespace) -> int:
    from gateway.upkeep.archiving import archive_streams

    made = archive_streams(read_journal_settings(options), options.before)
    if options.json:
        print_json({"archives": [msgspec.structs.asdict(one) for one in made]})
        return FINE
    for one in made:
        print(f"{one.name}: {one.records} records of {one.streams} streams, positions {one.first} to {one.last}")
    if not made:
        print("no stream is closed that was not recorded in since")
    return FINE
