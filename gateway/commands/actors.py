"""`gavel actors`: every actor of the running node with what it does and what waits for it, how long each kind takes, log levels, and
messages that nobody handled."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from gateway.client import Client, Denied, NotReached
from gateway.commands.answers import add_json, print_json
from gateway.commands.common import add_journal, add_settings
from gateway.commands.reach import running
from gateway.verdicts import FINE, Wrong

LIMIT = 100
LEVELS = ("debug", "info", "warning", "error", "critical")
USUAL = "usual"

COLUMNS = (
    ("actor", "path"),
    ("state", "state"),
    ("mailbox", "mailbox"),
    ("peak", "mailbox_peak"),
    ("oldest s", "oldest_seconds"),
    ("parked", "parked"),
    ("reactions", "reactions"),
    ("handled", "handled"),
    ("failures", "failures"),
    ("restarts", "restarts"),
)
TIMES = ("p50", "p99", "max")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tree", action="store_true", help="show parents with their children, and what each does")
    parser.add_argument("--limit", type=int, default=LIMIT, metavar="N", help=f"list N actors at most ({LIMIT})")
    parser.add_argument(
        "--log-level",
        metavar="PATH=LEVEL",
        action="append",
        default=[],
        type=_level,
        help=f"write lines about an actor, all below it, or all of a kind from LEVEL on ({', '.join(LEVELS)}; {USUAL}: as for the "
        "others), until the node ends; repeatable",
    )
    parser.add_argument(
        "--dead-letters", action="store_true", help="list the messages that nobody handled, newest first"
    )
    parser.add_argument(
        "--send-again",
        metavar="N",
        action="append",
        default=[],
        type=int,
        help="tell a dead letter to its actor once more, by its number; repeatable",
    )
    add_settings(parser)
    add_journal(parser)
    add_json(parser)


def _level(text: str) -> tuple[str, str | None]:
    path, _, level = text.rpartition("=")
    if not path or level not in (*LEVELS, USUAL):
        raise argparse.ArgumentTypeError(f"{text!r} is not PATH=LEVEL with one of {', '.join(LEVELS)}, {USUAL}")
    return path, None if level == USUAL else level


def run(options: argparse.Namespace) -> int:
    node = running(options)
    try:
        if options.log_level:
            return _set_levels(node, options)
        if options.send_again:
            return _send_again(node, options)
        if options.dead_letters:
            return _letters(node, options)
        status = node.get(f"/v1/status?actors={options.limit}")
    except (Denied, NotReached) as error:
        raise Wrong(str(error)) from error
    if options.json:
        print_json({name: status[name] for name in ("actors", "actors_more", "kinds")})
        return FINE
    lines = _tree(status["actors"]) if options.tree else _table(status["actors"])
    more = [f"and {status['actors_more']} more"] if status["actors_more"] else []
    for line in (*lines, *more, "", *_times(status["kinds"])):
        print(line)
    return FINE


def _set_levels(node: Client, options: argparse.Namespace) -> int:
    for path, level in options.log_level:
        node.put(f"/v1/actors/{quote(path)}/log-level", {"level": level})
    if options.json:
        print_json({"log_levels": dict(options.log_level)})
    return FINE


def _letters(node: Client, options: argparse.Namespace) -> int:
    told = node.get(f"/v1/dead-letters?limit={options.limit}")
    if options.json:
        print_json(told)
        return FINE
    titles = ["actor", "number", "message", "reason", "principal"]
    for line in _aligned([titles, *([str(letter[title]) for title in titles] for letter in told["dead_letters"])]):
        print(line)
    counts = ", ".join(f"{reason}: {count}" for reason, count in told["counts"].items())
    print(f"\nsince the start: {counts or 'none'}")
    return FINE


def _send_again(node: Client, options: argparse.Namespace) -> int:
    sent = [node.post(f"/v1/dead-letters/{number}/send-again", {}) for number in options.send_again]
    if options.json:
        print_json({"sent_again": sent})
    return FINE


def _table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield from _aligned(
        [[title for title, _ in COLUMNS], *([_shown(row[name]) for _, name in COLUMNS] for row in rows)]
    )


def _tree(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for row in rows:
        name = row["path"] if row["depth"] == 0 else row["path"].rpartition("/")[2]
        yield f"{'  ' * row['depth']}{name}  {', '.join(_facts(row))}"


def _facts(row: Mapping[str, Any]) -> Iterator[str]:
    """What is worth telling of an actor."""
    yield row["state"] + (f" on {row['message']}" if row["message"] else "")
    if row["waiting_seconds"] is not None:
        yield f"since {row['waiting_seconds']:.1f} s"
    if row["waits_for"]:
        yield f"for {' and '.join(row['waits_for'])}"
    if row["mailbox"]:
        age = f", the oldest for {row['oldest_seconds']:.1f} s" if row["oldest_seconds"] is not None else ""
        yield f"{row['mailbox']} of {row['mailbox_max']} messages{age}"
    for name in ("parked", "stash", "reactions", "timers", "failures", "restarts"):
        if row[name]:
            yield f"{name} {row[name]}"
    yield f"handled {row['handled']}"
    if row["log_level"]:
        yield f"logs from {row['log_level']}"


def _times(kinds: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """How long handlers take and messages wait, by kind, in milliseconds."""
    titles = ["kind", "actors", *(f"handler {one} ms" for one in TIMES), *(f"waiting {one} ms" for one in TIMES)]
    yield from _aligned(
        [
            titles,
            *(
                [kind["kind"], str(kind["actors"])]
                + [_milliseconds(kind[times][one]) for times in ("handler_seconds", "waiting_seconds") for one in TIMES]
                for kind in kinds
            ),
        ]
    )


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.3g}"


def _shown(value: object) -> str:
    return "-" if value is None else str(value)


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows as columns, the first to the left."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *others = [
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join([first, *others]).rstrip()
