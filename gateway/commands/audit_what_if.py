"""`gavel audit what-if [FILE] --at P`: forks the log at a position into the simulator, changes something, and compares what follows."""

import argparse
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.commands.answers import add_json, print_json
from gateway.commands.journal_named import add_named_journal, open_named_journal
from gateway.verdicts import FINE, Wrong
from runtime.differences import short

if TYPE_CHECKING:
    from gateway.audit.what_if.outcomes import TaskOutcome, WhatIf

MEANING = "what would have followed, had something been said or decided otherwise?"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_named_journal(parser)
    parser.add_argument("--at", type=int, required=True, metavar="P", help="the first position that is played anew")
    parser.add_argument("--to", type=int, metavar="Q", help="the last position that is played anew")
    parser.add_argument(
        "--change",
        action="append",
        default=[],
        metavar="JSON|FILE",
        help="what is otherwise: a command's fields, a command less or more, a setting, ranking weights; repeatable",
    )
    parser.add_argument(
        "--rules",
        action="append",
        default=[],
        metavar="NOUN=FILE",
        help="a Python file with an aggregate's other decide",
    )
    parser.add_argument(
        "--assume",
        default="{}",
        metavar="JSON",
        help='what the node was set to and the log does not say: {"cycle_seconds": 5}',
    )
    add_json(parser)
    parser.set_defaults(act=run)


def run(options: argparse.Namespace) -> int:
    from gateway.audit.what_if.changes import read_changes, read_rules, read_setting
    from gateway.audit.what_if.outcomes import what_if

    changes = [change for text in options.change for change in read_changes(text)]
    rules, assumed = read_rules(options.rules), read_setting(options.assume)
    with open_named_journal(options) as log:
        newest = log.newest_position()
        last = newest if options.to is None else min(options.to, newest)
        if not 1 <= options.at <= last:
            raise Wrong(f"--at must be between 1 and {last}")
        answer = what_if(log, options.at, last, changes, rules, assumed)
    if options.json:
        print_json(answer)
    else:
        _print(answer)
    return FINE


def _print(answer: "WhatIf") -> None:
    console = Console(highlight=False)
    console.print(
        f"From position {answer.at} to {answer.to}: {answer.changed} of {answer.tasks} tasks end otherwise, "
        f"something else happens to {answer.streams_changed} streams."
    )
    if answer.outcomes:
        table = Table("task", "on record", "without the change", "with it", box=None, pad_edge=False)
        for one in answer.outcomes:
            table.add_row(one.task_id, _told(one.recorded), _told(one.without), _told(one.with_change))
        console.print(table)
    if answer.parting is not None:
        console.print(f"The first difference, at position {answer.parting.position}:")
        for title, record in (("without", answer.parting.without), ("with", answer.parting.with_change)):
            shown = "nothing" if record is None else f"{record['kind']} of {record['stream']} {short(record['data'])}"
            console.print(Text(f"  {title}: {shown}"), soft_wrap=True)
    console.print(
        f"Without the change, {answer.faithful} of {answer.tasks} tasks end as they did on record. "
        f"{answer.said} words were said; {answer.refused_without} were refused without the change, {answer.refused_with} with it."
    )
    console.print("It was assumed that:")
    for text in answer.assumed:
        console.print(Text(f"  - {text}"), soft_wrap=True)


def _told(outcome: "TaskOutcome | None") -> str:
    if outcome is None:
        return "nothing"
    by = f" by {outcome.winner} for {outcome.price:g}" if outcome.winner and outcome.price is not None else ""
    after = f", {outcome.ended_after:g} s" if outcome.ended_after is not None else ""
    return f"{outcome.stage}{by}, attempt {outcome.attempts}{after}" if outcome.attempts else f"{outcome.stage}{after}"
