"""A node that runs in a thread of its own, for clients that know nothing of Trio."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trio

from aggregates.values.roles import Role
from tests.gateway.clients import Client, open_client, settings_of

START_SECONDS_MAX = 60
GUARD_SECONDS = 3600


@contextmanager
def node_in_thread(folder: Path, **changed: Any) -> Iterator[tuple[Client, dict[Role, str]]]:
    """The admin of a node, and a key of each role; that of an agent is of `a1`."""
    ready, made, failed = threading.Event(), [], []
    stop = trio.Event()
    tokens: list[trio.lowlevel.TrioToken] = []

    async def serve() -> None:
        async with open_client(settings_of(folder, **changed), guard_seconds=GUARD_SECONDS) as admin:
            keys = {Role.ADMIN: admin.key, Role.AGENT_OWN: (await admin.register("a1")).key}
            for role in frozenset(Role) - keys.keys():
                keys[role] = (await admin.with_role(role)).key
            made.append((admin, keys))
            tokens.append(trio.lowlevel.current_trio_token())
            ready.set()
            await stop.wait()

    def run() -> None:
        try:
            trio.run(serve)
        except BaseException as error:
            failed.append(error)
            raise
        finally:
            ready.set()

    node = threading.Thread(target=run)
    node.start()
    try:
        assert ready.wait(START_SECONDS_MAX)
        assert not failed, failed
        yield made[0]
    finally:
        if tokens:
            trio.from_thread.run_sync(stop.set, trio_token=tokens[0])
        node.join()
