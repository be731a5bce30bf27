"""`gavel journals open|list`: isolates a tenant strictly, in a journal of its own; shows how the named journals are."""

import argparse
from typing import Any

from gateway.client import Client
from gateway.commands.answers import add_json, print_json
from gateway.commands.common import add_settings
from gateway.commands.reach import reach
from gateway.verdicts import FINE


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    opening = actions.add_parser(
        "open",
        help="give a tenant that has no records yet a journal of its own, and show its first admin key; or open one again",
    )
    opening.add_argument("name", metavar="NAME", help="the tenant, and so its journal")
    opening.set_defaults(act=_open)
    listing = actions.add_parser("list", help="show all named journals")
    listing.set_defaults(act=_list)
    for action in (opening, listing):
        add_settings(action)
        add_json(action)


def run(options: argparse.Namespace) -> int:
    answer = reach(options, lambda client: options.act(client, options))
    if options.json:
        print_json(answer)
    elif "key" in answer:
        print(answer["key"] or f"{answer['name']} is open again")
    else:
        for row in answer["journals"]:
            print("  ".join(f"{name}={value}" for name, value in row.items() if value not in (None, "", [])))
    return FINE


def _open(client: Client, options: argparse.Namespace) -> dict[str, Any]:
    made: dict[str, Any] = client.post("/v1/journals", {"name": options.name})
    return made


def _list(client: Client, options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/v1/journals")
    return found
