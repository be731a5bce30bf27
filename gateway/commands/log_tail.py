"""`gavel log tail [FILE]`: the newest records, all or those that are wanted, and with `--follow` whatever comes."""

import argparse
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import msgspec

from gateway.api.queries import as_of
from gateway.client import Client, Denied, NotReached
from gateway.commands.answers import add_json, print_json, say
from gateway.commands.common import add_journal, add_settings
from gateway.commands.journal_named import open_named_journal
from gateway.commands.reach import reach, running
from gateway.feeds.live import line
from gateway.feeds.wanted import ANY, KIND, Wanted
from gateway.storage.journal_file import JournalFile
from gateway.verdicts import FINE, NO, Wrong
from runtime.errors import Refused

MEANING = "show the newest records, all or some, and those that come"
TAIL = 20
PAGE = 500
STRIDE_FIRST = 1_000
"""How far back the newest records that are wanted are looked for at first; four times as far each time that they are too few."""

LOOK_SECONDS = 1.0
"""How often a file is looked at that is followed."""

FILTERS = ("stream", "kind", "principal", "since", "until")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="a journal's file, live or a copy; by default a node is asked"
    )
    parser.add_argument("--after", type=int, metavar="N", help=f"those past this position (default: the newest {TAIL})")
    parser.add_argument("--follow", action="store_true", help="go on as records come, until Ctrl-C")
    parser.add_argument(
        "--tenant",
        metavar="T",
        help="those of a tenant; read from the journal's file, as a node tells each tenant its own",
    )
    parser.add_argument("--stream", metavar="S", help="those of a stream")
    parser.add_argument("--kind", metavar="K", help="those of a kind, task.TaskAwarded, or of an aggregate, task")
    parser.add_argument("--principal", metavar="P", help="what somebody asked for, as the log names them: agent:ann")
    parser.add_argument("--since", metavar="WHEN", help="from a time on, 2026-01-31T12:00:00Z, or from a position on")
    parser.add_argument("--until", metavar="WHEN", help="up to a time or a position")
    add_settings(parser)
    add_journal(parser)
    add_json(parser)
    parser.set_defaults(act=run)


def run(options: argparse.Namespace) -> int:
    if options.follow and options.json:
        raise Wrong("--follow has no end, --json writes one object: use one of them")
    if options.file is not None or options.tenant is not None:
        return _tail_file(options)
    asked = {name: value for name in FILTERS if (value := getattr(options, name)) is not None}
    if options.follow:
        return _follow(running(options), options.after, asked)
    return _show(options, reach(options, lambda client: _read_node(client, options.after, asked)))


def _show(options: argparse.Namespace, answer: dict[str, Any]) -> int:
    if options.json:
        print_json(answer)
    else:
        for record in answer["records"]:
            print(shown(record))
    return FINE


def shown(record: dict[str, Any]) -> str:
    """A record in one line."""
    at = time.strftime("%H:%M:%S", time.localtime(record["at"]))
    data = msgspec.json.encode(record["data"]).decode()
    return f"{record['position']:>6} {at} {record['stream']} {record['kind']} by {record['principal']} {data}"


# ---- of a node


def _read_node(client: Client, after: int | None, asked: dict[str, str]) -> dict[str, Any]:
    position = client.get("/v1/log?limit=1")["position"]

    def pages(after: int, upto: int) -> Iterator[dict[str, Any]]:
        while after < upto:
            page = client.get(f"/v1/log?{urlencode({'after': after, 'limit': PAGE, **asked})}")
            yield from (record for record in page["records"] if record["position"] <= upto)
            if page["next"] <= after:
                return
            after = page["next"]

    return {"records": list(_records(pages, after, position)), "position": position}


def _records(
    pages: Callable[[int, int], Iterator[dict[str, Any]]], after: int | None, position: int
) -> Iterator[dict[str, Any]]:
    """All that is wanted past a position; without one, the newest TAIL of it, which are looked for from the end backwards."""
    if after is not None:
        yield from pages(after, position)
        return
    found: deque[dict[str, Any]] = deque()
    upto, stride = position, STRIDE_FIRST
    while upto > 0 and len(found) < TAIL:
        first = max(0, upto - stride)
        found.extendleft(reversed(list(deque(pages(first, upto), TAIL))))
        upto, stride = first, 4 * stride
    yield from list(found)[-TAIL:]


def _follow(client: Client, after: int | None, asked: dict[str, str]) -> int:
    """Reads the node's server-sent events, a line at a time."""
    if after is None and "since" not in asked:
        after = max(0, client.get("/v1/log?limit=1")["position"] - TAIL)
    query = urlencode(({} if after is None else {"after": after}) | asked)
    try:
        with urlopen(Request(f"{client.url}/v1/feed?{query}", headers=client.headers)) as feed:
            for text in feed:
                if text.startswith(b"data: {"):
                    print(shown(msgspec.json.decode(text[6:])), flush=True)
    except (Denied, NotReached, OSError) as error:
        raise Wrong(f"the feed ended: {error}") from error
    if "until" in asked:
        return FINE
    say("the node has closed the feed")
    return NO


# ---- of a file


def _tail_file(options: argparse.Namespace) -> int:
    wanted = _wanted(options)
    with open_named_journal(options) as log:
        after = options.after
        if wanted.since.position is not None:
            after = max(after or 0, wanted.since.position - 1)
        position = log.newest_position()

        def pages(after: int, upto: int) -> Iterator[dict[str, Any]]:
            return _lines(log, wanted, options.tenant, after, upto)

        answer = {"records": list(_records(pages, after, position)), "position": position}
        _show(options, answer)
        while options.follow and not wanted.is_over(position, time.time()):
            time.sleep(LOOK_SECONDS)
            newest = log.newest_position()
            for record in _lines(log, wanted, options.tenant, position, newest):
                print(shown(record), flush=True)
            position = newest
    return FINE


def _wanted(options: argparse.Namespace) -> Wanted:
    try:
        since = ANY if options.since is None else as_of(options.since, "--since")
        until = ANY if options.until is None else as_of(options.until, "--until")
        kind = None if options.kind is None else KIND.read(options.kind)
    except Refused as refused:
        raise Wrong(str(refused)) from refused
    return Wanted(options.stream, kind, options.principal, since, until)


def _lines(log: JournalFile, wanted: Wanted, tenant: str | None, after: int, upto: int) -> Iterator[dict[str, Any]]:
    while after < upto:
        page = log.read(after, PAGE)
        for record in wanted.chosen([one for one in page if one.position <= upto]):
            if tenant in (None, record.meta.tenant):
                told: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(line(record)))
                yield told
        if not page or wanted.is_past(page[-1]):
            return
        after = page[-1].position
