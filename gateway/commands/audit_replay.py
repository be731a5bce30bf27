"""`gavel audit replay [FILE]`: decides every recorded command anew and derives every fact that it carries anew, and says what differs.

Exit codes: 0 all as it was (or as a reviewed file expects), 1 not so, 2 unreadable.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.text import Text

from gateway.audit.expected import Covers, Reviewed, read_expected, review, write_draft
from gateway.audit.look_ups import LookUps
from gateway.audit.report import Replayed, replay_journal
from gateway.commands.answers import add_json, print_json, say
from gateway.commands.common import read_journal_settings
from gateway.commands.journal_named import add_named_journal, open_named_journal
from gateway.storage.folder import DataFolder
from gateway.verdicts import FINE, NO, Wrong
from runtime.differences import short
from runtime.evidence import Unreadable
from runtime.replay import Difference
from runtime.store.log import Log

if TYPE_CHECKING:
    from gateway.audit.solves import Solved

MEANING = "does every recorded command decide today what it decided then, upon facts that were so?"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_named_journal(parser)
    parser.add_argument("--from", type=int, default=1, dest="first", metavar="P", help="first position")
    parser.add_argument("--to", type=int, dest="last", metavar="Q", help="last position")
    parser.add_argument("--stream", default="", metavar="S", help="the commands of one stream")
    parser.add_argument(
        "--expected", type=Path, metavar="FILE", help="reviewed differences under newer rules, TOML or JSON"
    )
    parser.add_argument("--write-expected", type=Path, metavar="FILE", help="write a draft of that file for a reviewer")
    parser.add_argument("--solves", action="store_true", help="run the recorded solves again, too, bit for bit")
    parser.add_argument(
        "--blobs", type=Path, metavar="DIR", help="where the problems lie; by default the data folder's"
    )
    add_json(parser)
    parser.set_defaults(act=run)


def run(options: argparse.Namespace) -> int:
    known = read_expected(options.expected) if options.expected is not None else []
    if options.first < 1:
        raise Wrong("--from must be 1 or more")
    with open_named_journal(options) as log:
        newest = log.newest_position()
        last = newest if options.last is None else min(options.last, newest)
        if options.first > last and newest:
            raise Wrong(f"from {options.first} to {last} there are no records; the newest is {newest}")
        try:
            found, newer = replay_journal(log, options.first, last, options.stream)
            solved = _solves(options, log, last) if options.solves else None
        except Unreadable as error:
            raise Wrong(str(error)) from error
    if options.stream and not found.commands:
        raise Wrong(f"there are no commands of a stream {options.stream} from {options.first} to {last}")
    reviewed = review(newer, known, Covers(options.first, last, options.stream))
    if found.newer_rules > len(newer):
        reviewed.unlisted.append(f"{found.newer_rules - len(newer)} more")
    if options.write_expected is not None:
        write_draft(options.write_expected, newer, known)
        say(f"{len(newer)} differences for a reviewer in {options.write_expected}")
    if options.json:
        told = {} if solved is None else {"solves": solved}
        print_json({**msgspec.to_builtins(found), "review": reviewed, **told})
    else:
        _print(found, reviewed, solved)
    is_kept = solved is None or not solved.different
    return FINE if found.is_due_kept and reviewed.passes and is_kept else NO


def _solves(options: argparse.Namespace, log: Log, last: int) -> "Solved":
    """Loads the kernels, which nobody else waits for."""
    from gateway.audit.solves import replay_solves

    return replay_solves(LookUps(log), log.codec, _blobs(options), options.first, last, options.stream)


def _blobs(options: argparse.Namespace) -> Path:
    if options.blobs is None and options.file is not None:
        raise Wrong("--solves needs the problems: say with --blobs DIR where they lie")
    folder: Path = options.blobs or DataFolder(read_journal_settings(options).data).blobs
    if not folder.is_dir():
        raise Wrong(f"there is no folder {folder}")
    return folder


def _print(found: Replayed, reviewed: Reviewed, solved: "Solved | None") -> None:
    console = Console(highlight=False, soft_wrap=True)
    for one in found.diffs:
        console.print(difference_told(one))
    for undecided in found.undecided:
        named = f"position {undecided.position}: {undecided.command} on {undecided.stream}"
        console.print(Text(f"{named} is not decidable: {undecided.reason}", style="yellow"))
    for stray in found.strays:
        console.print(
            Text(f"position {stray.position}: {stray.kind} of {stray.stream} follows from no command", style="red")
        )
    for fact in found.false_facts:
        named = f"position {fact.position}: {fact.command} on {fact.stream} carries a false fact, {fact.fact}"
        console.print(Text(f"{named}\n  said: {short(fact.said)}\n  was:  {short(fact.was)}", style="red"))
    for title, places in (
        ("not reviewed", reviewed.unlisted),
        ("expected, and not so", reviewed.stale),
        ("expected without a note", reviewed.unnoted),
    ):
        for place in places:
            console.print(Text(f"{title}: {place}", style="red"))
    console.print(Text(_summary(found)))
    if solved is not None:
        _print_solves(console, solved)


def _print_solves(console: Console, solved: "Solved") -> None:
    for one in solved.findings:
        named = f"position {one.position}: the solve of {one.stream} is {one.verdict.replace('_', ' ')}"
        by = f" (found by {one.build})" if one.build else " (by a build that the record does not name)"
        style = "red" if one.verdict == "different" else "yellow"
        console.print(Text(f"{named}{by}: {'; '.join(one.reasons)}", style=style))
    console.print(
        Text(
            f"{solved.solves} solves run again on {solved.build}: {solved.equal} equal bit for bit, "
            f"{solved.different} different, {solved.other_build} of another build, {solved.not_decidable} not decidable"
        )
    )


def _summary(found: Replayed) -> str:
    facts = found.facts
    return (
        f"{found.commands} commands of {found.records} records decided anew in {found.seconds:.2f} s: {found.equal} equal, "
        f"{found.different} different, {found.newer_rules} different under newer rules, "
        f"{found.not_decidable} not decidable\n"
        f"{facts.checked + facts.bounded} facts: {facts.checked} derived anew, {facts.bounded} within their bounds, "
        f"{facts.false} false, {facts.unknown} that the log does not show"
    )


def difference_told(one: Difference) -> Text:
    """A difference for a person: what was asked, upon what, what came of it then and comes of it now."""
    verdict = "DIFFERENT" if one.is_due else f"different under newer rules ({one.rules_then} then, {one.rules_now} now)"
    lines = [
        f"position {one.position}: {one.command} on {one.stream} by {one.principal} is {verdict}",
        f"  command: {_line(one.asked)}",
        f"  state before: {_line(one.state_before)}",
        f"  then: {_names(one.events_then)}",
        f"  now:  {_names(one.events_now) if one.refusal is None else _refused(one.refusal)}",
    ]
    if one.refusal is None:
        lines += [f"    {change}" for change in one.changes]
    lines.append(f"  digest: {one.digest}")
    return Text("\n".join(lines), style="red" if one.is_due else "yellow")


def _names(events: Sequence[dict[str, Any]]) -> str:
    return ", ".join(event["event"] for event in events) or "nothing"


def _refused(refusal: dict[str, Any]) -> str:
    verb = "refused" if refusal["is_refusal"] else "FAILS"
    return f"{verb}: {refusal['code']} {refusal['detail']}"


def _line(values: dict[str, Any]) -> str:
    """What is not empty, in one line."""
    return ", ".join(f"{name}={short(value)}" for name, value in values.items() if value not in ("", [], {}, None))
