"""`gavel requeue`: has dead letters of the running node offered again."""

import argparse
from typing import Any
from urllib.parse import quote

from gateway.client import Denied, NotReached
from gateway.commands.answers import add_json, print_json, say
from gateway.commands.common import add_journal, add_settings
from gateway.commands.reach import running
from gateway.verdicts import FINE, NO, Wrong


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", metavar="TASK_ID", nargs="+", help="a task that is dead_lettered")
    parser.add_argument(
        "--attempts", type=int, metavar="N", help="how many more; by default as many as the node allows"
    )
    parser.add_argument("--deadline", metavar="WHEN", help="a new deadline, such as 2030-01-31T12:00:00Z")
    parser.add_argument("--reason", default="", help="why, for the record")
    add_settings(parser)
    add_journal(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    node = running(options)
    given = {"attempts": options.attempts, "deadline": options.deadline, "reason": options.reason}
    body = {name: value for name, value in given.items() if value}
    told: list[dict[str, Any]] = []
    for task_id in options.task:
        try:
            told.append(node.post(f"/v1/tasks/{quote(task_id, safe='')}/requeue", body))
        except Denied as error:
            told.append({"task_id": task_id, "denied": str(error)})
        except NotReached as error:
            raise Wrong(str(error)) from error
    denied = [one for one in told if "denied" in one]
    if options.json:
        print_json({"requeued": [one["task_id"] for one in told if "denied" not in one], "denied": denied})
    else:
        for one in told:
            say(f"{one['task_id']}: {one.get('denied', 'offered again')}")
    return NO if denied else FINE
