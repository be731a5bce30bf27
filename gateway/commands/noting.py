"""Puts on record what a command does with a node's files while the node runs: what the node can't record is not done.

Where no node runs, or none answers, nobody records it, and the command says so: whoever has the files can copy them in any other way.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.client import Client, Denied, NotReached, running_node
from gateway.commands.answers import say
from gateway.connecting import trust_of
from gateway.settings import GavelSettings
from gateway.storage.folder import DataFolder
from gateway.verdicts import Wrong

ACTIONS = "/v1/audit/actions"


def add_reason(parser: argparse.ArgumentParser) -> None:
    """The option that says why."""
    parser.add_argument("--reason", default="", metavar="TEXT", help="why; it is recorded where a node runs")


@contextmanager
def on_record(settings: GavelSettings, action: str, subject: str, *, reason: str = "") -> Iterator[None]:
    """The action as long as this lasts, by the admin of the node that runs on these settings' data folder. Raises Wrong."""
    noted = _begin(settings, {"action": action, "subject": subject[:300], "reason": reason[:500]})
    if noted is None:
        yield
        return
    outcome, code = "failed", ""
    try:
        yield
        outcome = "done"
    except BaseException as error:
        code = type(error).__name__
        raise
    finally:
        _end(*noted, {"outcome": outcome, "code": code})


def _begin(settings: GavelSettings, body: dict[str, str]) -> tuple[Client, str] | None:
    client = _node(settings)
    if client is None:
        return None
    try:
        return client, client.post(ACTIONS, body)["action_id"]
    except Denied as error:
        raise Wrong(f"not done, since the node can't put it on record: {error}") from error
    except NotReached as error:
        say(f"not on record: {error}")
        return None


def _node(settings: GavelSettings) -> Client | None:
    """The node that runs. The folder of a named journal is below the node's, and its admin's key its own."""
    folder = DataFolder(settings.data)
    trust = trust_of(settings)
    if (client := running_node(folder, trust=trust)) is not None:
        return client
    above = DataFolder(folder.path.parent.parent)
    return running_node(above, folder, trust) if above.journals == folder.path.parent else None


def _end(client: Client, action_id: str, body: dict[str, str]) -> None:
    try:
        client.put(f"{ACTIONS}/{action_id}", body)
    except (Denied, NotReached) as error:
        say(f"how it ended is not on record: {error}")
