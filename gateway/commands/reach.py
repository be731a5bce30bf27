"""A node to talk to: the one that runs on the data folder, else one that is opened for as long as the question takes."""

import argparse
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import trio
from msgspec.structs import replace

from aggregates.journal import SHARED
from gateway.client import Client, Denied, NotReached, read_admin_key, running_node
from gateway.commands.common import named_folder, read_settings
from gateway.connecting import trust_of
from gateway.settings import GavelSettings
from gateway.storage.folder import DataFolder, FolderUnusable
from gateway.verdicts import Wrong
from runtime.evidence import Unreadable
from runtime.store.contract import Locked

T = TypeVar("T")

HERE = ("http://127.0.0.1:0",)


def reach(options: argparse.Namespace, question: Callable[[Client], T]) -> T:
    """The answer to `question(client)`, asked with the admin's key of the journal that is named. Raises Wrong when there is none."""
    settings = read_settings(options, log_level="warning")
    keys = named_folder(settings, getattr(options, "journal", SHARED))
    try:
        client = running_node(DataFolder(settings.data), keys, trust=trust_of(settings))
        return question(client) if client is not None else trio.run(partial(_reach_closed, settings, keys, question))
    except (FolderUnusable, Locked, Unreadable, Denied, NotReached) as error:
        raise Wrong(str(error)) from error


def running(options: argparse.Namespace) -> Client:
    """The node that runs. Raises Wrong where none does."""
    settings = read_settings(options, log_level="warning")
    keys = named_folder(settings, getattr(options, "journal", SHARED))
    client = running_node(DataFolder(settings.data), keys, trust=trust_of(settings))
    if client is None:
        raise Wrong(f"no node runs on {settings.data}")
    return client


async def _reach_closed(settings: GavelSettings, keys: DataFolder, question: Callable[[Client], T]) -> T:
    from gateway.node import open_node  # loads every part of a node, which a running one makes unnecessary

    async with open_node(replace(settings, bind=HERE, extra_binds=()), passing=True) as node:
        client = Client(node.url, read_admin_key(keys))
        return await trio.to_thread.run_sync(question, client)
