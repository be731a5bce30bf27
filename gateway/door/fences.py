"""One connection behind a fence: whatever its client does ends that connection, is counted and logged, and hurts nobody else.

Stock hypercorn 0.18 runs every connection in the server's nursery and lets most faults pass: one bad websocket upgrade ends
the process (its issues 225 and 177; the mend, 228, was taken back). It also shields its sends, so that a client that stops reading
outlives SIGTERM, skips the socket's shutdown when cancelled (106), and waits for ever on a handler that has not read its whole body;
that frames are compressed can't be turned off (307, see `gateway/door/wire.py`). Here a connection owns its stream, its deadlines and its
handlers.
"""

import os
from collections import OrderedDict
from dataclasses import dataclass, field
from math import inf

import trio
from starlette.types import ASGIApp

from gateway.door import kept_lock
from gateway.door.addresses import PerAddress
from gateway.door.arrivals import Address, Arrival
from gateway.door.binds import Entrance
from gateway.door.bounds import Bounds, Counts
from gateway.door.heads import Head, read_head
from gateway.door.lane import Exchange, scope_of
from gateway.door.pace import Pace
from gateway.door.proxies import Proxies
from gateway.door.sparing_log import SparingLog
from gateway.door.switchboard import RECEIVE_BYTES, Switchboard, read
from gateway.door.tls import Certificates
from gateway.door.wire import Closed, Protocol, RawData, Socket, Updated, WireConfig, WireEvent, WorkerContext

SEND_BYTES = 65_536  # a client that takes less than this in `send_seconds_max` is gone
SENDS_IN_ROW = 16
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
    switchboard: Switchboard = field(default_factory=Switchboard)
    context: WorkerContext = field(default_factory=lambda: WorkerContext(None))
    connections: "set[Connection]" = field(default_factory=set)
    idle: "OrderedDict[Connection, float]" = field(default_factory=OrderedDict)
    """Those between two requests, the longest first, with the time since when."""
    refusing: int = 0
    """How many clients are being told that there is no room."""

    async def expire_idle(self) -> None:
        """Ends connections that have been idle too long: one watch over all, since a deadline of its own costs each request two moves."""
        while True:
            now, rest = trio.current_time(), self.bounds.idle_seconds_max
            while self.idle:
                connection, since = next(iter(self.idle.items()))
                rest = since + self.bounds.idle_seconds_max - now
                if rest > 0:
                    break
                del self.idle[connection]
                connection.expire()
                rest = self.bounds.idle_seconds_max
            await trio.sleep(rest)


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
        self.exchange: Exchange | None = None  # what is answered on the short way
        self.has_arrived = False
        self.broken = False  # nothing can be sent any more
        self.sends = 0
        self._number = stream.socket.fileno()
        """The descriptor that its bytes go to as they are; below 0 once it is closed, since it may be another's then."""
        self._send_lock = trio.Lock()
        self._receiving = trio.CancelScope()
        self._deadline = inf
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._is_flushing = False
        self._gatherers = trio.lowlevel.ParkingLot()
        self._app: ASGIApp = house.app
        self._is_plain = False  # whether its bytes go to the socket as they are
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
            self._number = -1
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
        if self.exchange is not None:
            self.exchange.closes = True
            if self.exchange.is_endless():
                self.exchange.leaving = True
                self._receiving.cancel()
        elif stream is None:
            self.expire()
        elif isinstance(stream, Socket) or stream.is_endless():
            stream.task_group.leave()

    async def protocol_send(self, event: WireEvent) -> None:
        """What the protocol wants done with the stream."""
        match event:
            case RawData():
                await self.send(event.data)
            case Closed():
                await self._flush()
                self.protocol.closing = True
                self.house.idle[self] = trio.current_time()  # it only lingers: the first to make room
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
        self._app = arrival
        self._is_plain = self.stream is self.socket
        self._set_idle(True)
        async with trio.open_nursery() as self.nursery:
            await self._read()
            await self.protocol.handle(Closed())

    async def _secure(self) -> bool:
        """Shakes hands, idle as far as others who want in are concerned; whether there is a client to serve."""
        assert self.house.certificates is not None, "an entrance under TLS has a certificate"
        self.house.idle[self] = trio.current_time()
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
        while True:
            data = b""
            with trio.CancelScope(deadline=self._deadline) as self._receiving:
                data = await self._serve_common()
            if self.exchange is not None:
                await self._end_exchange(self.exchange)
            if not data:
                break
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

    async def _serve_common(self) -> bytes:
        """Answers requests of the common kind; returns what is none, or nothing at the client's end and when the connection is lost.

        One scope is around all of them, since each costs as much as reading a head: an idle connection that expires is cancelled here,
        and a handler whose client is lost, or that has to leave.
        """
        data = await self.receive_more()
        while data and not self.protocol.closing and self.protocol.is_between():
            head = read_head(data, self.bounds.header_bytes_max)
            if head is None:
                break
            data = await self._answer(head, data[head.size :]) or await self.receive_more()
        return data

    async def _answer(self, head: Head, rest: bytes) -> bytes:
        """Answers a request on the short way; what the client has said after it."""
        house, protocol = self.house, self.protocol
        house.idle.pop(self, None)
        protocol.keep_alive_requests += 1
        is_last = protocol.keep_alive_requests > house.config.keep_alive_max_requests
        exchange = self.exchange = Exchange(self, head, rest, house.config.response_headers("h11"), closes=is_last)
        await exchange.run(self._app, scope_of(head, rest, *self.addresses))
        if exchange.closes or self.broken or house.context.terminated.is_set():
            self.exchange = None
            await self.protocol_send(Closed())
            return b""
        self.exchange = None
        house.idle[self] = trio.current_time()
        if exchange.rest:
            await trio.lowlevel.checkpoint()  # who asks on and on must not stop the world
        return exchange.rest

    async def _end_exchange(self, exchange: Exchange) -> None:
        """The handler was cancelled: its client is lost, or has to be told good-bye."""
        self.exchange = None
        if exchange.leaving and not self.broken:
            await exchange.say_goodbye()
            await self.protocol_send(Closed())
        else:
            self.broken = True

    async def receive_more(self) -> bytes:
        """The next bytes, or none at the client's end and when the connection is lost."""
        try:
            if not self._is_plain:
                return bytes(await self.stream.receive_some(RECEIVE_BYTES))
            number, stream = self._number, self.protocol.stream
            if isinstance(stream, Socket) and stream.may_be_heard() and not self.protocol.closing:
                return await self.house.switchboard.listen(number, stream.hear)
            return await read(number)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            self.broken = True
        return b""

    async def _handle(self, data: bytes) -> None:
        try:
            await self.protocol.handle(RawData(data=data))
        except* Exception as faults:  # hypercorn could not take it: say so if we can, and close
            self.counts.faults += 1
            self.house.log.warning("request_not_understood", client=self.addresses[0][0], exc_info=faults)
            await self.protocol.refuse(400)

    async def send(self, data: bytes) -> None:
        """Sends all of it, in time; what can't be sent any more is dropped."""
        self.sends += 1
        has_begun = False
        if self._is_plain and not self.broken and not self._send_lock.locked():
            try:
                sent = os.write(self._number, data)
            except OSError:
                sent = 0  # the longer way finds out why
            if sent == len(data):
                if self.sends % SENDS_IN_ROW == 0:
                    await trio.lowlevel.checkpoint()  # who sends on and on must not stop the world
                return
            data, has_begun = data[sent:], sent > 0
        try:
            await self._send_patiently(data)
        except trio.Cancelled:
            self.broken = self.broken or has_begun  # half of it is out, even where it never came to wait with the rest
            raise

    async def gather(self, data: bytes) -> None:
        """Sends together with what else is gathered in this turn of the loop: a system call for each frame costs more than the frame.

        Waits while SEND_BYTES are gathered already, or on their way.
        """
        while self._gathered_bytes >= SEND_BYTES and not self.broken:
            await self._gatherers.park()
        if self.broken:
            await trio.lowlevel.checkpoint()
            return
        was_flushing = self._is_flushing
        self._gather(data)
        if was_flushing and self.sends % SENDS_IN_ROW == 0:
            await trio.lowlevel.checkpoint()

    def gather_now(self, data: bytes) -> bool:
        """As `gather`, where that has neither to wait nor to make way; whether it was done."""
        if self.broken or self._gathered_bytes >= SEND_BYTES or (self.sends + 1) % SENDS_IN_ROW == 0:
            return False
        self._gather(data)
        return True

    def write_now(self, data: bytes) -> bool:
        """Sends what nothing follows in this turn of the loop, where it goes out at once: a task that gathers costs as much as the system
        call. Whether it was done. Who writes to one after the other makes way for others by itself."""
        if not self._is_plain or self.broken or self._gathered or self._is_flushing or self._send_lock.locked():
            return False
        try:
            sent = kept_lock.write(self._number, data)
        except OSError:
            return False  # the longer way finds out why
        if sent < len(data):
            self._gather(data[sent:])
        else:
            self.sends += 1
        return True

    def _gather(self, data: bytes) -> None:
        self._gathered.append(data)
        self._gathered_bytes += len(data)
        self.sends += 1
        if not self._is_flushing:
            self._is_flushing = True
            self.nursery.start_soon(self._flush_soon)

    async def _flush_soon(self) -> None:
        """Trio runs what is started now in the next turn of its loop."""
        try:
            await self._flush()
        finally:
            self._is_flushing = False

    async def _flush(self) -> None:
        while self._gathered:
            data, self._gathered = b"".join(self._gathered), []
            try:
                await self.send(data)
            finally:
                self._gathered_bytes -= len(data)
                self._gatherers.unpark_all()

    async def _send_patiently(self, data: bytes) -> None:
        async with self._send_lock:
            if self.broken:
                await trio.lowlevel.checkpoint()
                return
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
        if self.protocol.closing:
            return
        self._set_deadline(inf)
        if idle:
            self.house.idle[self] = trio.current_time()
        else:
            self.house.idle.pop(self, None)

    def _set_deadline(self, deadline: float) -> None:
        self._deadline = deadline
        self._receiving.deadline = deadline
