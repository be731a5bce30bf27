"""A window into the node's process: what it has and which connections have ended, asked through a Unix socket. Runs within the node."""

import ctypes
import gc
import os
import re
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio

from gateway import app
from gateway.commands import serve
from gateway.door import bounds, server
from gateway.door.bounds import BodyLimit, Bounds
from gateway.door.fences import Connection
from gateway.node import Node, open_node

NAME = "window"
VIEW = b"view"
ENDED = b"ended"

_ended_by_port: dict[int, trio.Event] = {}
"""Of the connections that there are, by the port of the other side."""


class View(msgspec.Struct, frozen=True):
    """What is seen: the look itself costs one task and one file, always."""

    tasks: int
    files: int
    bytes: int
    bytes_max: int
    """The most that it has ever had."""
    counts: dict[str, int]


def install(folder: Path, patience_seconds: float) -> None:
    """Has the node that this process is going to serve open a window in this folder, and connections seen through it; and has it
    wait for nobody longer than this."""

    @asynccontextmanager
    async def open_with_window(*given: Any, **named: Any) -> AsyncIterator[Node]:
        async with open_node(*given, **named) as node, trio.open_nursery() as nursery:
            await nursery.start(_serve, node, folder / NAME)
            yield node
            nursery.cancel_scope.cancel()

    vars(serve)["open_node"] = open_with_window
    vars(server)["Connection"] = _Seen
    _replace(BodyLimit, partial(BodyLimit, seconds_max=patience_seconds))
    vars(app)["BLOB_SECONDS_MAX"] = patience_seconds
    waits = partial(Bounds, idle_seconds_max=patience_seconds, send_seconds_max=patience_seconds)
    _replace(Bounds, partial(waits, linger_seconds_max=patience_seconds / 2))


def _replace(kind: type, made_with: Any) -> None:
    """Whoever makes such bounds makes these."""
    for name, module in list(sys.modules.items()):
        if name.startswith("gateway.") and module is not bounds:
            vars(module).update({key: made_with for key, value in vars(module).items() if value is kind})


class _Seen(Connection):
    """A connection whose end can be waited for."""

    async def run(self) -> None:
        port = self.addresses[0][1]
        ended = _ended_by_port[port] = trio.Event()
        try:
            await super().run()
        finally:
            _ended_by_port.pop(port, None)
            ended.set()


async def _serve(node: Node, path: Path, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        await door.bind(str(path))
        door.listen()
        task_status.started()
        async with trio.open_nursery() as nursery:
            while True:
                caller, _ = await door.accept()
                nursery.start_soon(_answer, node, trio.SocketStream(caller))


async def _answer(node: Node, caller: trio.SocketStream) -> None:
    """`view` is answered with what is seen, `ended PORT` with nothing, once the connection from there has ended."""
    async with caller:
        asked, _, port = (await caller.receive_some(100)).partition(b" ")
        if asked == VIEW:
            await caller.send_all(msgspec.json.encode(_view(node)))
        elif (ended := _ended_by_port.get(int(port))) is not None:
            await ended.wait()


def _view(node: Node) -> View:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what the allocator keeps for later is not what the node holds
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return View(
        tasks=trio.lowlevel.current_statistics().tasks_living,
        files=len(os.listdir("/proc/self/fd")),
        bytes=_kilobytes("VmRSS", status) * 1024,
        bytes_max=_kilobytes("VmHWM", status) * 1024,
        counts={name: count for name, count in vars(node.counts).items() if isinstance(count, int)},
    )


def _kilobytes(name: str, status: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found
    return int(found[1])
