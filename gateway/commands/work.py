"""`gavel work`: does one task of the demo, as the program of an agent: the award's JSON on stdin, the result's JSON on stdout."""

import argparse
import os
import sys
from contextlib import suppress

import msgspec

from gateway.client import Client, Denied, NotReached
from gateway.commands.answers import print_json, say
from gateway.demo.work import Undoable, do
from gateway.verdicts import FINE, NO, Wrong

NICENESS = 5
"""Below the node and the agents, whose heartbeats must not wait for a solver."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=0, help="the solver's seed")
    parser.add_argument("--share", type=float, default=1.0, help="the share of the granted seconds that a solver uses")


def run(options: argparse.Namespace) -> int:
    url, key = os.environ.get("GAVEL_URL"), os.environ.get("GAVEL_KEY")
    if not url or not key:
        raise Wrong("GAVEL_URL and GAVEL_KEY must say where the node is, and with which key to ask")
    try:
        task = msgspec.json.decode(sys.stdin.buffer.read(), type=dict)
    except msgspec.DecodeError as error:
        raise Wrong(f"stdin holds no task: {error}") from error
    with suppress(OSError):
        os.nice(NICENESS)
    try:
        print_json(do(task, Client(url, key), seed=options.seed, share=options.share))
    except (Undoable, Denied, NotReached) as error:
        say(f"gavel: {error}")
        return NO
    return FINE
