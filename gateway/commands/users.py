"""`gavel users list|add|disable|enable|remove|unlock|password`: people who sign in at the node of the data folder, running or not.

A password is read from the terminal, or from standard input where that is none: arguments are seen by everybody on the machine.
"""

import argparse
import getpass
import sys
from typing import Any
from urllib.parse import quote

import msgspec

from aggregates.values.roles import MACHINES, Role
from gateway.client import Client
from gateway.commands.answers import add_json, print_json
from gateway.commands.common import add_journal, add_settings
from gateway.commands.reach import reach
from gateway.identity.passwords import CHARACTERS_MAX
from gateway.verdicts import FINE, Wrong

ROLES = tuple(role.value for role in Role if role not in MACHINES)
PAGE = 500


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="show all users")
    listing.set_defaults(act=_list)
    add = actions.add_parser("add", help="register a person; the password is asked for, or read from standard input")
    add.add_argument("username", metavar="NAME")
    add.add_argument("email", metavar="EMAIL")
    add.add_argument("--role", choices=ROLES, default=Role.READ_ONLY.value, help="read_only by default")
    add.add_argument("--name", default="", help="the person's own name")
    add.add_argument("--tenant", default="", metavar="NAME", help="of another tenant than the admin's own")
    add.add_argument("--no-password", action="store_true", help="without one, until an admin sets it")
    add.set_defaults(act=_add)
    password = actions.add_parser("password", help="set another password; the person's sessions end")
    password.set_defaults(act=_password)
    disable = actions.add_parser("disable", help="let the person in by nothing any more, and end their sessions")
    disable.set_defaults(act=_disable)
    enable = actions.add_parser("enable", help="let a disabled person in again")
    enable.set_defaults(act=_enable)
    unlock = actions.add_parser("unlock", help="look at the person's passwords again, after too many wrong ones")
    unlock.set_defaults(act=_unlock)
    remove = actions.add_parser(
        "remove", help="have the person leave for good; `gavel subject erase` erases their data"
    )
    remove.set_defaults(act=_remove)
    for action in (password, disable, enable, unlock, remove):
        action.add_argument("user", metavar="USER", help="the user's id, name or e-mail address")
    for action in (disable, remove):
        action.add_argument("--reason", default="", help="why; it is recorded")
    for action in (listing, add, password, disable, enable, unlock, remove):
        add_settings(action)
        add_journal(action)
        add_json(action)


def run(options: argparse.Namespace) -> int:
    asks = options.act is _password or (options.act is _add and not options.no_password)
    options.secret = _secret() if asks else ""  # before a node is opened for the question
    answer = reach(options, lambda client: options.act(client, options))
    if options.json:
        print_json(answer)
        return FINE
    for row in answer.get("users", [answer]):
        print("  ".join(f"{name}={value}" for name, value in row.items() if value not in (None, "")))
    return FINE


def _secret() -> str:
    """The password, of which the terminal shows nothing. Raises Wrong."""
    if not sys.stdin.isatty():
        return sys.stdin.readline(CHARACTERS_MAX + 2).rstrip("\r\n")
    given = getpass.getpass("Password: ")
    if getpass.getpass("The same again: ") != given:
        raise Wrong("these are two passwords")
    return given


def _list(client: Client, options: argparse.Namespace) -> dict[str, Any]:
    return {"users": _all(client)}


def _all(client: Client) -> list[dict[str, Any]]:
    users: list[dict[str, Any]] = []
    after = ""
    while True:
        page = client.get(f"/v1/users?limit={PAGE}{after}")
        users += page["users"]
        if page["next"] is None:
            return users
        after = f"&after={page['next']}"


def _add(client: Client, options: argparse.Namespace) -> dict[str, Any]:
    asked = {"username": options.username, "email": options.email, "role": options.role, "name": options.name}
    path = f"/v1/users?tenant={quote(options.tenant)}" if options.tenant else "/v1/users"
    made: dict[str, Any] = client.post(path, asked | ({"password": options.secret} if options.secret else {}))
    return made | asked


def _path(client: Client, options: argparse.Namespace) -> str:
    """The path of the user who is named. Raises Wrong where there is none, or more than one who has not left."""
    name = options.user.casefold()
    users = _all(client)
    found = [
        row["user_id"]
        for row in users
        if options.user == row["user_id"]
        or (row["status"] != "removed" and name in (row["username"].casefold(), row["email"].casefold()))
    ]
    if len(found) != 1:
        raise Wrong(f"{'several users are' if found else 'no user is'} called {options.user}")
    return f"/v1/users/{found[0]}"


def _password(client: Client, options: argparse.Namespace) -> dict[str, Any]:
    path = _path(client, options)
    told: dict[str, Any] = client.put(f"{path}/password", {"password": options.secret})
    return told


def _disable(client: Client, options: argparse.Namespace) -> dict[str, Any]:
    return _told(client, "POST", f"{_path(client, options)}/disable", options.reason)


def _enable(client: Client, options: argparse.Namespace) -> dict[str, Any]:
    return _told(client, "POST", f"{_path(client, options)}/enable")


def _unlock(client: Client, options: argparse.Namespace) -> dict[str, Any]:
    path = _path(client, options)
    return {"user_id": path.rpartition("/")[2]} | _told(client, "POST", f"{path}/unlock")


def _remove(client: Client, options: argparse.Namespace) -> dict[str, Any]:
    return _told(client, "DELETE", _path(client, options), options.reason)


def _told(client: Client, method: str, path: str, reason: str = "") -> dict[str, Any]:
    told: dict[str, Any] = msgspec.json.decode(
        client.send(method, f"{path}?reason={quote(reason)}" if reason else path)
    )
    return told
