"""`gavel projections list|rebuild|skip|retry`: the read models of the node that runs on the data folder, or of the folder alone."""

import argparse
import time
from typing import Any
from urllib.parse import quote

from gateway.client import Client
from gateway.commands.answers import add_json, print_json, say
from gateway.commands.common import add_journal, add_settings
from gateway.commands.reach import reach
from gateway.verdicts import FINE, NO

LOOK_SECONDS = 0.25


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="show where each stands, which has stopped and why")
    listing.set_defaults(act=_list)
    rebuild = actions.add_parser(
        "rebuild", help="make tables anew from the log, beside those that are served, and wait for that"
    )
    rebuild.add_argument("names", nargs="*", metavar="NAME", help="such as tasks (default: all)")
    rebuild.set_defaults(act=_rebuild)
    skip = actions.add_parser("skip", help="let one go on without the event that stopped it; that is recorded")
    skip.add_argument("name", metavar="NAME")
    skip.add_argument("position", type=int, metavar="POSITION", help="of the event, as the list shows it")
    skip.add_argument("--reason", required=True, help="why, for those who read the log later")
    skip.set_defaults(act=_skip)
    retry = actions.add_parser("retry", help="let one that has stopped try again")
    retry.add_argument("name", metavar="NAME")
    retry.set_defaults(act=_retry)
    for action in (listing, rebuild, skip, retry):
        add_settings(action)
        add_journal(action)
        add_json(action)


def run(options: argparse.Namespace) -> int:
    answer = reach(options, lambda client: options.act(client, options))
    if options.json:
        print_json(answer)
    else:
        for one in answer["projections"]:
            print(shown(one, answer["position"]))
    return NO if any(one["reason"] or _fault(one) for one in answer["projections"]) else FINE


def shown(one: dict[str, Any], position: int) -> str:
    """A read model in one line."""
    parts = [f"{one['name']}: at {one['position']} of {position}"]
    if one["reason"]:
        parts.append(f"STOPPED at {one['stopped_at']}: {one['reason']}")
    if one["skipped"]:
        parts.append(f"passes over {', '.join(map(str, one['skipped']))}")
    if (anew := one["rebuild"]) is not None:
        how = "made anew" if anew["ended"] else "is made anew"
        parts.append(f"{how}: {anew['position']} of {anew['goal']}, {anew['events_per_second']:,.0f} events/s")
        parts += [f"NOT made anew: {anew['reason']}"] if anew["reason"] else []
    return "; ".join(parts)


def _fault(one: dict[str, Any]) -> str:
    return one["rebuild"]["reason"] if one["rebuild"] is not None else ""


def _list(client: Client, options: argparse.Namespace) -> Any:
    return client.get("/v1/projections")


def _rebuild(client: Client, options: argparse.Namespace) -> Any:
    """Waits, since a node that is opened for the question would be gone before the tables are there."""
    answer = client.post("/v1/projections/rebuild", {"projections": options.names})
    while not all(one["rebuild"]["ended"] for one in _rebuilt(answer)):
        say(
            "; ".join(
                f"{one['name']} {one['rebuild']['position']}/{one['rebuild']['goal']}" for one in _rebuilt(answer)
            )
        )
        time.sleep(LOOK_SECONDS)
        answer = client.get("/v1/projections")
    return answer | {"projections": _rebuilt(answer)}


def _rebuilt(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in answer["projections"] if one["rebuild"] is not None]


def _skip(client: Client, options: argparse.Namespace) -> Any:
    body = {"position": options.position, "reason": options.reason}
    client.post(f"/v1/projections/{quote(options.name, safe='')}/skips", body)
    return client.get("/v1/projections")


def _retry(client: Client, options: argparse.Namespace) -> Any:
    client.post(f"/v1/projections/{quote(options.name, safe='')}/retry", {})
    return client.get("/v1/projections")
