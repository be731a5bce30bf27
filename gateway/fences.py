"""One connection behind a fence: whatever its client does ends that connection, is counted and logged, and hurts nobody else.

Stock hypercorn 0.18 runs every connection in the server's nursery and lets most faults pass: one bad websocket upgrade ends
the process (its issues 225 and 177; the mend, 228, was taken back). It also shields its sends, so that a client that stops reading
outlives SIGTERM, skips the socket's shutdown when cancelled (106), and waits for ever on a handler that has not read its whole body;
that frames are compressed can't be turned off (307, see `gateway/wire.py`). Here a connection owns its stream, its deadlines and its
handlers.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from math import inf

import trio
from starlette.types import ASGIApp

from gateway.addresses import PerAddress
from gateway.arrivals import Address, Arrival
from gateway.binds import Entrance
from gateway.bounds import Bounds, Counts
from gateway.pace import Pace
from gateway.proxies import Proxies
from gateway.sparing_log import SparingLog
from gateway.tls import Certificates
from gateway.wire import Closed, Protocol, RawData, Socket, Updated, WireConfig, WireEvent, WorkerContext

RECEIVE_BYTES = 16_384  # small, because up to 2,700 empty frames fit in it and are parsed in one step
SEND_BYTES = 65_536  # a client that takes less than this in `send_seconds_max` is gone
LINGER_BYTES_MAX = 64 * 2**20


@dataclass(kw_only=True)
class House:
    """What the connections of one server share."""

    app: ASGIApp
    bounds: Bounds
    counts: Counts
    config: WireConfig
    log: SparingLog
    proxies: Proxies
    per_address: PerAddress
    certificates: Certificates | None = None
    context: WorkerContext = field(default_factory=lambda: WorkerContext(None))
    connections: "set[Connection]" = field(default_factory=set)
    idle: "OrderedDict[Connection, None]" = field(default_factory=OrderedDict)
    refusing: int = 0
    """How many clients are being told that there is no room."""


class Connection:
    """A client's stream: one reader, the handlers it started, and the deadlines of both."""

    def __init__(
        self, house: House, stream: trio.SocketStream, entrance: Entrance, addresses: tuple[Address, Address]
    ) -> None:
        self.house = house
        self.entrance = entrance
        self.addresses = addresses
        self.bounds = house.bounds
        self.counts = house.counts
        self.socket = stream
        self.stream: trio.abc.HalfCloseableStream = stream
        self.nursery: trio.Nursery
        self.protocol: Protocol
        self.has_arrived = False
        self.broken = False  # nothing can be sent any more
        self.sends = 0
        self._send_lock = trio.Lock()
        self._receiving = trio.CancelScope()
        self._deadline = inf
        self._pace = Pace(self.bounds.send_seconds_max, self.bounds.bytes_per_second_min)

    async def run(self) -> None:
        """Serves the client until either side ends it; raises nothing but cancellation."""
        try:
            await self._serve()
        except* OSError:
            pass
        except* Exception as faults:  # this is the fence
            self.counts.faults += 1
            self.house.log.warning("connection_failed", client=self.addresses[0][0], exc_info=faults)
        finally:
            self.house.idle.pop(self, None)
            await trio.aclose_forcefully(self.stream)

    def expire(self, seconds: float = 0.0) -> None:
        """Ends the reading, and so the connection, that many seconds from now."""
        self._set_deadline(min(self._deadline, trio.current_time() + seconds))

    def note(self, event: str, **said: object) -> None:
        """What a log line tells of this client, sparingly."""
        self.house.log.info(event, client=self.addresses[0][0], **said)

    def bound_reading(self, seconds: float) -> None:
        """Gives a message that has begun so long to arrive whole; with `inf`, one that has not begun for ever."""
        if not self.protocol.closing:
            self._set_deadline(trio.current_time() + seconds)

    def shut_down(self) -> None:
        """Idle: closes. Answering: closes after the answer. Sockets and event streams: cancels their handler."""
        if not self.has_arrived:
            self.expire()
            return
        stream = self.protocol.stream
        self.protocol.keep_alive_requests = self.house.config.keep_alive_max_requests  # says connection: close
        if stream is None:
            self.expire()
        elif isinstance(stream, Socket) or stream.is_endless():
            stream.task_group.leave()

    async def protocol_send(self, event: WireEvent) -> None:
        """What the protocol wants done with the stream."""
        match event:
            case RawData():
                await self._send(event.data)
            case Closed():
                self.protocol.closing = True
                self.house.idle[self] = None  # it only lingers: the first to make room
                await self.protocol.handle(Closed())
                await self._end_sending()
            case Updated():
                self._set_idle(event.idle)

    async def _serve(self) -> None:
        house = self.house
        if self.entrance.is_secure and not await self._secure():
            return
        arrival = Arrival(house.app, self.entrance.name, self.stream, self.addresses, house.proxies, house.per_address)
        self.protocol = Protocol(
            arrival,
            house.config,
            house.context,
            self,
            self.protocol_send,
            client=arrival.client,
            server=arrival.server,
        )
        self.has_arrived = True
        self._set_idle(True)
        async with trio.open_nursery() as self.nursery:
            await self._read()
            await self.protocol.handle(Closed())

    async def _secure(self) -> bool:
        """Shakes hands, idle as far as others who want in are concerned; whether there is a client to serve."""
        assert self.house.certificates is not None, "an entrance under TLS has a certificate"
        self.house.idle[self] = None
        self._set_deadline(until := trio.current_time() + self.bounds.handshake_seconds_max)
        reason = ""
        with trio.CancelScope(deadline=self._deadline) as self._receiving:
            try:
                self.stream = await self.house.certificates.secure(self.socket)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                reason = str(error.__cause__ or error)
        if self.stream is not self.socket and not self._receiving.cancel_called:
            return True
        self.counts.handshakes_failed += 1
        self.note("handshake_failed", reason=reason or ("too slow" if self._deadline == until else "cut short"))
        return False

    async def _read(self) -> None:
        drained = 0
        while data := await self._receive():
            if not self.protocol.closing:
                await self._handle(data)
            elif (drained := drained + len(data)) > LINGER_BYTES_MAX:
                return
        if self.protocol.closing or self.broken:
            return
        if not self._receiving.cancelled_caught:
            await self._handle(b"")
        elif self.protocol.has_part_of_a_head():
            await self.protocol.refuse(408)

    async def _receive(self) -> bytes:
        """The next bytes, or none at the client's end, at the deadline, and when the connection is lost."""
        with trio.CancelScope(deadline=self._deadline) as self._receiving:
            try:
                return bytes(await self.stream.receive_some(RECEIVE_BYTES))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self.broken = True
        return b""

    async def _handle(self, data: bytes) -> None:
        try:
            await self.protocol.handle(RawData(data=data))
        except* Exception as faults:  # hypercorn could not take it: say so if we can, and close
            self.counts.faults += 1
            self.house.log.warning("request_not_understood", client=self.addresses[0][0], exc_info=faults)
            await self.protocol.refuse(400)

    async def _send(self, data: bytes) -> None:
        async with self._send_lock:
            if self.broken:
                await trio.lowlevel.checkpoint()
                return
            self.sends += 1
            try:
                for start in range(0, len(data), SEND_BYTES):
                    part, began = memoryview(data)[start : start + SEND_BYTES], trio.current_time()
                    with trio.fail_at(began + self._pace.seconds_left):
                        await self.stream.send_all(part)
                    self._pace.moved(len(part), trio.current_time() - began)
                return
            except trio.Cancelled:
                self.broken = True  # perhaps half a frame is out: nothing sensible can follow
                raise
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self.broken = True
            except trio.TooSlowError:
                self.broken = True
                self.counts.stalled += 1
                self.note("client_stopped_reading")
        self.protocol.closing = True
        self.expire()
        await self.protocol.handle(Closed())

    async def _end_sending(self) -> None:
        """Says that nothing more comes, and lets the reader drain what does: a reset could cost the client our answer."""
        try:
            async with self._send_lock:  # what is being sent is still to arrive
                pass
        finally:
            self.broken = True  # a handler that still sends must not meet the end of file half way
            self.expire(self.bounds.linger_seconds_max)
            try:
                with trio.CancelScope(shield=True):  # a response may be cancelled by its own end; this waits for nobody
                    await self.stream.send_eof()
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
                self.expire()

    def _set_idle(self, idle: bool) -> None:
        if idle and not self.protocol.closing:
            self.house.idle[self] = None
            self._set_deadline(trio.current_time() + self.bounds.idle_seconds_max)
        elif not self.protocol.closing:
            self.house.idle.pop(self, None)
            self._set_deadline(inf)

    def _set_deadline(self, deadline: float) -> None:
        self._deadline = deadline
        self._receiving.deadline = deadline
