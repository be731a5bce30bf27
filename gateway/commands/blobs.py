"""`gavel blobs usage|collect`: what the tenant's blobs take up; deletes those that no record refers to, or lists them."""

import argparse
from typing import Any

from gateway.client import Client
from gateway.commands.answers import add_json, print_json
from gateway.commands.common import add_journal, add_settings
from gateway.commands.reach import reach
from gateway.verdicts import FINE


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    usage = actions.add_parser("usage", help="show how many blobs there are, and of how many bytes how many are taken")
    usage.set_defaults(act=_usage)
    collect = actions.add_parser("collect", help="delete blobs that no record refers to and that nobody used for long")
    collect.add_argument("--dry-run", action="store_true", help="delete nothing, and list what would be")
    collect.set_defaults(act=_collect)
    for action in (usage, collect):
        add_settings(action)
        add_journal(action)
        add_json(action)


def run(options: argparse.Namespace) -> int:
    answer = reach(options, lambda client: options.act(client, options))
    if options.json:
        print_json(answer)
    else:
        for digest in answer["blobs"] if isinstance(answer["blobs"], list) else ():
            print(digest)
        print("  ".join(f"{name}={value}" for name, value in answer.items() if not isinstance(value, list)))
    return FINE


def _usage(client: Client, options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/v1/blobs")
    return found


def _collect(client: Client, options: argparse.Namespace) -> dict[str, Any]:
    asked = "?dry_run=true" if options.dry_run else ""
    found: dict[str, Any] = client.post(f"/v1/blobs/collection{asked}", {})
    return found
