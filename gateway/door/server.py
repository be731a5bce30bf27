"""The door itself: takes connections up to a bound, serves an app on each behind its fence, and shuts down in time.

When all places are taken, the connection that has been idle longest makes room; when none is idle, the new one is refused
with 503. An address that has all its places is refused with 429.
Nothing here handles ASGI's lifespan: the node opens and closes its parts by itself.
"""

import socket
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import structlog
import trio
from starlette.types import ASGIApp

from gateway.api.problems import MEDIA_TYPE, status_document
from gateway.door.addresses import PerAddress
from gateway.door.arrivals import Address, addresses_of
from gateway.door.binds import Entrance, PortTaken, open_entrances, parse
from gateway.door.bounds import Bounds, Counts
from gateway.door.fences import Connection, House
from gateway.door.listening import BusyListener
from gateway.door.proxies import Proxies
from gateway.door.sparing_log import SparingLog
from gateway.door.tls import Certificates
from gateway.door.wire import WireConfig

__all__ = ["Bounds", "Counts", "PortTaken", "serve"]

REFUSAL_SECONDS_MAX = 1.0
REFUSALS_AT_ONCE_MAX = 100
"""A refusal waits a moment for its client to read it; beyond so many, clients are left without a word."""
KEEPALIVE = {
    "TCP_KEEPIDLE": 30,
    "TCP_KEEPINTVL": 10,
    "TCP_KEEPCNT": 3,
}  # a peer that vanished is noticed within a minute

log = structlog.get_logger("gateway.door.server")


async def serve(
    app: ASGIApp,
    *,
    bind: str | Sequence[Entrance],
    shutdown: trio.Event,
    bounds: Bounds | None = None,
    counts: Counts | None = None,
    certificates: Certificates | None = None,
    proxies: Proxies | None = None,
    per_address: PerAddress | None = None,
    task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves `app` on `bind` (an address as `gateway/door/binds.py` has it, port 0 takes a free one, or open entrances, which are closed
    at the end) until `shutdown` is set.

    Reports the address of the first through `task_status`. Raises `NotBound`, or `ValueError` for a `bind` that is not an address.
    At shutdown the entrances close first; idle connections close, handlers of websockets and event streams are cancelled, a response
    under way may still end, and what has not ended after `shutdown_seconds_max` is cancelled.
    """
    bounds = bounds or Bounds()
    proxies = proxies or Proxies()
    if per_address is None:
        per_address = PerAddress(bounds.connections_per_address_max, proxies.is_near)
    house = House(
        app=app,
        bounds=bounds,
        counts=counts or Counts(),
        config=WireConfig(bounds),
        log=SparingLog("gateway.door.server"),
        proxies=proxies,
        per_address=per_address,
        certificates=certificates,
    )
    binds = [parse(bind, has_certificate=certificates is not None)] if isinstance(bind, str) else []
    entrances = await open_entrances(binds) if isinstance(bind, str) else list(bind)
    try:
        async with trio.open_nursery() as beside:
            beside.start_soon(house.log.run)
            beside.start_soon(house.switchboard.run)
            if certificates is not None:
                beside.start_soon(certificates.watch)
            await _serve(house, entrances, shutdown, task_status)
            beside.cancel_scope.cancel()
    finally:
        house.switchboard.close()
        for entrance in entrances:
            entrance.close()
    log.info("closed", binds=[entrance.name for entrance in entrances])


async def _serve(
    house: House, entrances: Sequence[Entrance], shutdown: trio.Event, task_status: trio.TaskStatus[tuple[str, int]]
) -> None:
    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:
            for entrance in entrances:
                admit = partial(_admit, house, entrance)
                listeners = [BusyListener(entrance.listener)]
                accepting.start_soon(partial(trio.serve_listeners, admit, listeners, handler_nursery=connections))
                address, port = entrance.address
                log.info("listening", bind=entrance.name, address=address, port=port, tls=entrance.is_secure)
            accepting.start_soon(house.expire_idle)
            task_status.started(entrances[0].address)
            await shutdown.wait()
            accepting.cancel_scope.cancel()
        connections.cancel_scope.deadline = trio.current_time() + house.bounds.shutdown_seconds_max
        await house.context.terminated.set()
        for connection in list(house.connections):
            connection.shut_down()


async def _admit(house: House, entrance: Entrance, stream: trio.SocketStream) -> None:
    try:
        addresses = addresses_of(stream, is_unix=entrance.is_unix)
    except OSError:  # it has left already
        await trio.aclose_forcefully(stream)
        return
    client = addresses[0][0]
    place = house.per_address.enter(client)
    if place is None:
        house.counts.crowded += 1
        house.log.warning("address_refused", client=client, connections=house.per_address.each_max)
        await _refuse(house, stream, entrance, 429)
        return
    try:
        await _serve_client(house, stream, entrance, addresses)
    finally:
        house.per_address.leave(place)


async def _serve_client(
    house: House, stream: trio.SocketStream, entrance: Entrance, addresses: tuple[Address, Address]
) -> None:
    if len(house.connections) >= house.bounds.connections_max and not _make_room(house):
        house.counts.refused += 1
        house.log.warning("connection_refused", connections=house.bounds.connections_max)
        await _refuse(house, stream, entrance, 503)
        return
    house.counts.opened += 1
    house.counts.open += 1
    connection = Connection(house, stream, entrance, addresses)
    house.connections.add(connection)
    try:
        _detect_vanished_peers(stream)
        await connection.run()
    finally:
        house.counts.open -= 1
        house.connections.discard(connection)


def _make_room(house: House) -> bool:
    if not house.idle:
        return False
    longest_idle, _ = house.idle.popitem(last=False)
    house.connections.discard(longest_idle)
    longest_idle.expire()
    house.counts.evicted += 1
    longest_idle.note("connection_made_room")
    return True


async def _refuse(house: House, stream: trio.SocketStream, entrance: Entrance, status: int) -> None:
    """Says why, where that can be said for little: nobody shakes hands to be refused."""
    if not entrance.is_secure and house.refusing < REFUSALS_AT_ONCE_MAX:
        house.refusing += 1
        try:
            await _say_refused(stream, status)
        finally:
            house.refusing -= 1
    await trio.aclose_forcefully(stream)


async def _say_refused(stream: trio.SocketStream, status: int) -> None:
    body = status_document(status)
    fields = f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\nretry-after: 1\r\nconnection: close"
    with trio.move_on_after(REFUSAL_SECONDS_MAX), suppress(OSError, trio.BrokenResourceError, trio.BusyResourceError):
        await stream.send_all(f"HTTP/1.1 {status} \r\n{fields}\r\n\r\n".encode() + body)
        await stream.send_eof()
        while await stream.receive_some(65_536):
            pass


def _detect_vanished_peers(stream: trio.SocketStream) -> None:
    with suppress(OSError):  # the peer may be gone already
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEPALIVE.items():
            if hasattr(socket, name):
                stream.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
