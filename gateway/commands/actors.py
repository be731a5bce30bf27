"""`gavel actors`: every actor of the running node, with its mailbox and its counts."""

import argparse

from gateway.client import Denied, NotReached
from gateway.commands.common import add_json, add_settings, print_json
from gateway.commands.reach import running
from gateway.verdicts import FINE, Wrong

COLUMNS = ("actor", "key", "state", "mailbox", "mailbox_peak", "reactions", "handled", "crashes")


def arguments(parser: argparse.ArgumentParser) -> None:
    add_settings(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    try:
        rows = running(options).get("/v1/status")["actors"]
    except (Denied, NotReached) as error:
        raise Wrong(str(error)) from error
    if options.json:
        print_json({"actors": rows})
        return FINE
    print("  ".join(f"{name:>12}" for name in COLUMNS))
    for row in rows:
        print("  ".join(f"{row[name]!s:>12}" for name in COLUMNS))
    return FINE
