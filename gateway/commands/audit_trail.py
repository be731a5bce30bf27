"""`gavel audit trail`: who did what to whom, when, from where, why, and on whose behalf; the newest last."""

import argparse
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from gateway.client import Client, Denied, NotReached
from gateway.commands.answers import add_json, print_json
from gateway.commands.common import add_journal, add_settings
from gateway.commands.reach import reach
from gateway.verdicts import FINE, Wrong

MEANING = "who did what to whom, when, and on whose behalf?"
LIMIT = 100
PAGE = 500
OUTCOMES = ("begun", "done", "refused", "failed", "suspected")
ASKED = ("principal", "subject", "outcome", "kind", "on_behalf_of", "since", "until", "as_of")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--principal", metavar="WHO", help="what this principal did: admin:019…, agent:ann")
    parser.add_argument("--subject", metavar="WHOM", help="what was done to this: key-019…, agent-default:ann")
    parser.add_argument("--outcome", choices=OUTCOMES, help="what stands so")
    parser.add_argument("--kind", metavar="KIND", help="records of this kind: key.KeyIssued")
    parser.add_argument("--on-behalf-of", metavar="WHO", help="what was done on this one's behalf, and what it led to")
    parser.add_argument("--since", metavar="WHEN", help="what happened then or later: 2026-01-31T12:00:00Z")
    parser.add_argument("--until", metavar="WHEN", help="what happened before then")
    parser.add_argument("--as-of", metavar="WHEN", help="as it stood at this position or moment")
    parser.add_argument("--limit", type=int, default=LIMIT, metavar="N", help=f"the newest N ({LIMIT})")
    add_settings(parser)
    add_journal(parser)
    add_json(parser)
    parser.set_defaults(act=run)


def run(options: argparse.Namespace) -> int:
    if options.limit < 1:
        raise Wrong("--limit must be at least 1")
    try:
        rows = reach(options, lambda client: _read(client, options))
    except (Denied, NotReached) as error:
        raise Wrong(str(error)) from error
    if options.json:
        print_json({"trail": rows})
    else:
        for row in reversed(rows):
            print(shown(row))
    return FINE


def _read(client: Client, options: argparse.Namespace) -> list[dict[str, Any]]:
    asked = {name: getattr(options, name) for name in ASKED if getattr(options, name) is not None}
    rows: list[dict[str, Any]] = []
    after: dict[str, int] = {}
    while len(rows) < options.limit:
        query = urlencode(asked | {"limit": min(PAGE, options.limit - len(rows))} | after)
        page = client.get(f"/v1/audit/trail?{query}")
        rows += page["trail"]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    return rows


def shown(row: Mapping[str, Any]) -> str:
    """A row in one line."""
    at = datetime.fromtimestamp(row["at"], UTC).isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
    outcome = row["outcome"] + (f" ({row['code']})" if row["code"] else "")
    times = f" ({row['count']} times)" if row["count"] != 1 else ""
    words = [f"{row['position']:>6}", at, row["principal"], f"{row['action']}{times}", row["subject"] or "-", outcome]
    more = (("from", "address"), ("on behalf of", "behalf"), ("because", "reason"))
    words += [f"{name} {row[field]}" for name, field in more if row[field]]
    return "  ".join(words)
