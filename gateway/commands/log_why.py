"""`gavel log why EVENT|ID [FILE]`: what led to an event, up to the request that began it; and with `--tree` what it led to."""

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlencode

import msgspec

from gateway.client import Client
from gateway.commands.answers import add_json, print_json
from gateway.commands.common import add_journal, add_settings
from gateway.commands.journal_named import open_named_journal
from gateway.commands.reach import reach
from gateway.parts import TENANT
from gateway.verdicts import FINE, Wrong
from runtime.differences import short
from runtime.why import Branch, Link, Reasons, Why, related_in

MEANING = "what led to it, up to the request that began it, and what it led to"
BEGINNINGS = {
    "request": "It began with this request of {by}.",
    "timer": "It began by itself, when time came for {by}.",
    "unknown": "What led to that, {by}, is not to be found.",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "of", metavar="EVENT|ID", help="a position, or the name of a stream, task, agent, command or correlation"
    )
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="a journal's file, live or a copy; by default a node is asked"
    )
    parser.add_argument("--tree", action="store_true", help="show what it led to, too")
    parser.add_argument("--tenant", default="", metavar="T", help="with FILE: look only at what this tenant may see")
    add_settings(parser)
    add_journal(parser)
    add_json(parser)
    parser.set_defaults(act=run)


def run(options: argparse.Namespace) -> int:
    answer = _read_file(options) if options.file is not None else reach(options, lambda client: _ask(client, options))
    if options.json:
        print_json(answer)
    else:
        for line in told(answer):
            print(line)
    return FINE


def _ask(client: Client, options: argparse.Namespace) -> Why:
    query = urlencode({"of": options.of, "tree": "true" if options.tree else "false"})
    return msgspec.convert(client.get(f"/v1/log/why?{query}"), Why)


def _read_file(options: argparse.Namespace) -> Why:
    with open_named_journal(options) as log:
        reasons = Reasons(log, related_in(log), options.tenant)
        position = reasons.find(options.of)
        if position is None and not options.tenant:
            # Agents' streams say their tenant: with none named, the first one's is tried.
            position = Reasons(log, related_in(log), TENANT).find(options.of)
        answer = reasons.why(position, tree=options.tree) if position is not None else None
    if answer is None:
        raise Wrong(f"{options.file} has no event, stream, command or correlation {options.of}")
    return answer


def told(why: Why) -> Iterator[str]:
    """A chain for a person: the event first, then what led to it; then, from the top, what it led to."""
    for link, above in zip(why.chain, [*why.chain[1:], None], strict=True):
        yield from _link(link, "")
        if above is not None:
            yield f"because of position {link.cause.removeprefix('@')}:"
    yield BEGINNINGS[why.began].format(by=why.began_by)
    if why.tree is not None:
        yield "What it led to:" if why.tree.led_to else "It led to nothing."
        yield from _branches(why.tree, "  ")


def _branches(branch: Branch, indent: str) -> Iterator[str]:
    for below in branch.led_to:
        yield from _link(below.link, indent)
        yield from _branches(below, indent + "  ")
    if branch.left_out:
        yield f"{indent}and {branch.left_out} more"


def _link(link: Link, indent: str) -> Iterator[str]:
    at = datetime.fromtimestamp(link.at, UTC).isoformat(timespec="milliseconds")
    kinds = ", ".join(f"{event.position} {event.kind}" for event in link.events)
    yield f"{indent}{kinds} of {link.stream}"
    asked = ", ".join(f"{name}={short(value)}" for name, value in link.asked.items() if value not in ("", [], {}, None))
    yield f"{indent}  {at} by {link.principal}: {link.command or 'a command that is not there'}({asked})"
