"""`gavel keys create|replace|list|revoke|link`: keys of the node that runs on the data folder, or of the folder where none runs."""

import argparse
import time
from typing import Any
from urllib.parse import quote

from aggregates.key import Successors
from aggregates.values.roles import Role
from gateway.client import Client, Denied, NotReached
from gateway.commands.answers import add_json, print_json
from gateway.commands.common import add_journal, add_settings
from gateway.commands.reach import reach, running
from gateway.verdicts import FINE, Wrong

ROLES = tuple(role.value for role in Role if role is not Role.AGENT_OWN)
PAGE = 500
HOUR_SECONDS = 3600.0
DAY_SECONDS = 24 * HOUR_SECONDS


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    create = actions.add_parser("create", help="make a key; it is shown once")
    create.add_argument("--role", choices=ROLES, required=True, help="agent: enrolls agents and submits tasks")
    create.add_argument("--label", default="", help="whom it is for")
    create.add_argument(
        "--scope",
        action="append",
        default=[],
        metavar="PERMISSION",
        help="good for this alone, such as tasks:read; may be repeated (docs/roles.md)",
    )
    create.add_argument("--tenant", default="", metavar="NAME", help="a key of another tenant than the admin's own")
    create.add_argument("--expires-in", type=float, default=0.0, metavar="DAYS", help="good for so many days")
    create.set_defaults(act=_create)
    listing = actions.add_parser("list", help="show all keys, not their text, which nobody keeps")
    listing.set_defaults(act=_list)
    replace = actions.add_parser(
        "replace", help="make a key that takes the place of another, which goes on for a while"
    )
    replace.add_argument("key_id", metavar="KEY_ID")
    replace.add_argument(
        "--overlap", type=float, default=24.0, metavar="HOURS", help="how long both open, 24 by default"
    )
    replace.set_defaults(act=_replace)
    revoke = actions.add_parser("revoke", help="make a key open nothing any more")
    revoke.add_argument("key_id", metavar="KEY_ID")
    revoke.add_argument(
        "--successors",
        choices=tuple(Successors),
        default=Successors.OWN,
        help="revoke the keys that took its place, too: those that it made itself (own, the default), all, none",
    )
    revoke.set_defaults(act=_revoke)
    link = actions.add_parser(
        "link", help="print a link that signs a browser in as the admin of the node that runs, once"
    )
    link.set_defaults(act=None)
    for action in (create, replace, listing, revoke, link):
        add_settings(action)
        add_journal(action)
        add_json(action)


def run(options: argparse.Namespace) -> int:
    if options.act is None:  # a node that is opened for the question would be gone before the browser came
        answer = _link(running(options))
    else:
        answer = reach(options, lambda client: options.act(client, options))
    if options.json:
        print_json(answer)
    elif shown := answer.get("key") or answer.get("link"):
        print(shown)
    else:
        for row in answer.get("keys", [answer]):
            print("  ".join(f"{name}={value}" for name, value in row.items() if value not in (None, "")))
    return FINE


def _create(client: Client, options: argparse.Namespace) -> dict[str, Any]:
    asked: dict[str, Any] = {"role": options.role, "label": options.label}
    if options.scope:
        asked["scopes"] = options.scope
    if options.expires_in:
        asked["expires_at"] = time.time() + options.expires_in * DAY_SECONDS
    path = f"/v1/keys?tenant={quote(options.tenant)}" if options.tenant else "/v1/keys"
    made: dict[str, Any] = client.post(path, asked)
    return made | asked


def _replace(client: Client, options: argparse.Namespace) -> dict[str, Any]:
    asked = {"overlap_seconds": options.overlap * HOUR_SECONDS}
    made: dict[str, Any] = client.post(f"/v1/keys/{options.key_id}/replacement", asked)
    return made | {"replaces": options.key_id}


def _list(client: Client, options: argparse.Namespace) -> dict[str, Any]:
    keys: list[dict[str, Any]] = []
    after = ""
    while True:
        page = client.get(f"/v1/keys?limit={PAGE}{after}")
        keys += page["keys"]
        if page["next"] is None:
            return {"keys": keys}
        after = f"&after={page['next']}"


def _revoke(client: Client, options: argparse.Namespace) -> dict[str, Any]:
    done = client.delete(f"/v1/keys/{options.key_id}?successors={options.successors}")
    return {"key_id": options.key_id, "revoked": True, "also": ", ".join(done["also"])}


def _link(client: Client) -> dict[str, Any]:
    try:
        made = client.post("/session", {})
    except (Denied, NotReached) as error:
        raise Wrong(str(error)) from error
    return {"link": client.url + made["path"], "seconds": made["seconds"]}
