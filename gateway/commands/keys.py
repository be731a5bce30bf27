"""`gavel keys create|list|revoke|link`: keys of the node that runs on the data folder, or of the folder where none runs."""

import argparse
from typing import Any

from gateway.client import Client, Denied, NotReached
from gateway.commands.common import add_journal, add_json, add_settings, print_json
from gateway.commands.reach import reach, running
from gateway.verdicts import FINE, Wrong

ROLES = ("agent", "operator", "auditor", "admin")
PAGE = 500


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    create = actions.add_parser("create", help="make a key; it is shown once")
    create.add_argument("--role", choices=ROLES, required=True, help="agent: enrolls agents and submits tasks")
    create.add_argument("--label", default="", help="whom it is for")
    create.set_defaults(act=_create)
    listing = actions.add_parser("list", help="show all keys, not their text, which nobody keeps")
    listing.set_defaults(act=_list)
    revoke = actions.add_parser("revoke", help="make a key open nothing any more")
    revoke.add_argument("key_id", metavar="KEY_ID")
    revoke.set_defaults(act=_revoke)
    link = actions.add_parser(
        "link", help="print a link that signs a browser in as the admin of the node that runs, once"
    )
    link.set_defaults(act=None)
    for action in (create, listing, revoke, link):
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
    made: dict[str, Any] = client.post("/v1/keys", {"role": options.role, "label": options.label})
    return made | {"role": options.role, "label": options.label}


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
    client.send("DELETE", f"/v1/keys/{options.key_id}")
    return {"key_id": options.key_id, "revoked": True}


def _link(client: Client) -> dict[str, Any]:
    try:
        made = client.post("/session", {})
    except (Denied, NotReached) as error:
        raise Wrong(str(error)) from error
    return {"link": client.url + made["path"], "seconds": made["seconds"]}
