"""The door itself: takes connections up to a bound, serves an app on each behind its fence, and shuts down in time.

When all places are taken, the connection that has been idle longest makes room; when none is idle, the new one is refused
with 503.
Nothing here handles ASGI's lifespan: the node opens and closes its parts by itself.
"""

import errno
import socket
from contextlib import suppress
from functools import partial

import structlog
import trio
from starlette.types import ASGIApp

from gateway.bounds import Bounds, Counts
from gateway.fences import Connection, House
from gateway.problems import MEDIA_TYPE, status_document
from gateway.wire import WireConfig

__all__ = ["Bounds", "Counts", "PortTaken", "serve"]

BACKLOG = 512
REFUSAL_SECONDS_MAX = 1.0
KEEPALIVE = {
    "TCP_KEEPIDLE": 30,
    "TCP_KEEPINTVL": 10,
    "TCP_KEEPCNT": 3,
}  # a peer that vanished is noticed within a minute

log = structlog.get_logger("gateway.server")


class PortTaken(Exception):
    """Another process listens on the address already."""


async def serve(
    app: ASGIApp,
    *,
    bind: str,
    shutdown: trio.Event,
    bounds: Bounds | None = None,
    counts: Counts | None = None,
    task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves `app` on `bind` (HOST:PORT, port 0 takes a free one) until `shutdown` is set.

    Reports (host, port) through `task_status`. Raises `PortTaken`, or `ValueError` for a `bind` that is not an address.
    At shutdown idle connections close, handlers of websockets and event streams are cancelled, a response under way may
    still end, and what has not ended after `shutdown_seconds_max` is cancelled.
    """
    bounds = bounds or Bounds()
    house = House(app=app, bounds=bounds, counts=counts or Counts(), config=WireConfig(bounds))
    listener = await _listen(bind)
    host, port = listener.socket.getsockname()[:2]
    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:
            serve_listeners = partial(
                trio.serve_listeners, partial(_admit, house), [listener], handler_nursery=connections
            )
            accepting.start_soon(serve_listeners)
            accepting.start_soon(house.expire_idle)
            log.info("listening", host=host, port=port)
            task_status.started((host, port))
            await shutdown.wait()
            accepting.cancel_scope.cancel()
        connections.cancel_scope.deadline = trio.current_time() + bounds.shutdown_seconds_max
        await house.context.terminated.set()
        for connection in list(house.connections):
            connection.shut_down()
    log.info("closed", port=port)


async def _listen(bind: str) -> trio.SocketListener:
    host, port = _parse(bind)
    try:
        return (await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG))[0]
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(f"port {port} on {host} is taken by another process") from error
        raise


def _parse(bind: str) -> tuple[str, int]:
    host, _, port = bind.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError(f"not an address of the form HOST:PORT: {bind!r}")
    return host, int(port)


async def _admit(house: House, stream: trio.SocketStream) -> None:
    if len(house.connections) >= house.bounds.connections_max and not _make_room(house):
        house.counts.refused += 1
        await _refuse(stream)
        return
    house.counts.opened += 1
    connection = Connection(house, stream)
    house.connections.add(connection)
    try:
        _detect_vanished_peers(stream)
        await connection.run()
    finally:
        house.connections.discard(connection)


def _make_room(house: House) -> bool:
    if not house.idle:
        return False
    longest_idle, _ = house.idle.popitem(last=False)
    house.connections.discard(longest_idle)
    longest_idle.expire()
    house.counts.evicted += 1
    return True


async def _refuse(stream: trio.SocketStream) -> None:
    body = status_document(503)
    fields = f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\nretry-after: 1\r\nconnection: close"
    with trio.move_on_after(REFUSAL_SECONDS_MAX), suppress(OSError, trio.BrokenResourceError, trio.BusyResourceError):
        await stream.send_all(f"HTTP/1.1 503 \r\n{fields}\r\n\r\n".encode() + body)
        await stream.send_eof()
        while await stream.receive_some(65_536):
            pass
    await trio.aclose_forcefully(stream)


def _detect_vanished_peers(stream: trio.SocketStream) -> None:
    with suppress(OSError):  # the peer may be gone already
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEPALIVE.items():
            if hasattr(socket, name):
                stream.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
