"""An agent's own websocket: records become frames for it, its frames become commands of its own.

The log is the queue: a socket reads it at its client's pace, one page at a time, from the position that the client names.
So a slow client costs little memory, a client that comes back misses nothing, and an answer that was lost on the way is in
the log. Every frame of the client counts as a heartbeat, its answer to our pings too, which any client library gives by
itself. What becomes of its commands stands in `gateway/feeds/commands.py`.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from functools import partial
from typing import NamedTuple

import msgspec
import trio
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from aggregates.agent import Heartbeat, HeartbeatAck
from aggregates.key import KeyRevoked
from aggregates.values.roles import Principal
from gateway.api.queries import is_number
from gateway.door.handlers import Line
from gateway.feeds.announcer import Announcer
from gateway.feeds.commands import POLICY_VIOLATION, Acknowledger, Commands, Pace
from gateway.feeds.frames import PROTOCOLS, Protocol
from gateway.feeds.post_office import PostOffice
from gateway.feeds.told_frames import Ack
from gateway.feeds.translator import Frame, Translator
from runtime.actor import Reply
from runtime.delivery import Context, Delivery
from runtime.errors import Failure, Refused
from runtime.records import Recorded
from runtime.system import System
from runtime.trace import parsed

POSITION_SECONDS = 5.0
"""How often the client is told how far it has come when nothing else tells it."""

HEARTBEAT_SECONDS_MIN = 1.0
"""Heartbeats that come faster are answered without asking."""

BEATS_IN_TERM = 16
"""How often in a lease's term an agent is noted as heard that bids, reports and asks: the coordinator hears it by each of these too, but
whom it has lost comes back by a heartbeat alone."""

HEARTBEATS_IN_TERM = 4
"""How many heartbeats a client is told to send in a lease's term."""

GOODBYE_SECONDS_MAX = 1.0
REPLACED = 4409


class Still(NamedTuple):
    """What a connection was opened with, asked again. `check` raises `HTTPException` where it opens nothing any more; `holds_now` tells
    whether it is seen without a wait that it does."""

    check: Callable[[], Awaitable[object]]
    holds_now: Callable[[], bool]


Note = Callable[[HTTPConnection, Principal, str, Exception], None]
"""Takes down that something was refused: on which connection, to whom, what it was, and why."""


class Sockets:
    """The agents' websockets of a node, one for each agent: the newest is the good one."""

    def __init__(
        self,
        system: System,
        position_in: Callable[[str], str] = str,
        note: Note | None = None,
        pace: Pace | None = None,
    ) -> None:
        """`position_in` tells the position in a cursor, or refuses one of another journal; `note` takes down what is refused; `pace`
        keeps a client waiting that sends too much."""
        self.system = system
        self.note = note
        self.pace = pace
        self._position_in = position_in
        self.translator = Translator(system.journal)
        self.announcer = Announcer(self.translator)
        self.office = PostOffice(system.journal, self.translator.addressees)
        self.acknowledger = Acknowledger()
        self._socket_by_agent: dict[tuple[str, str], AgentSocket] = {}

    def __len__(self) -> int:
        return len(self._socket_by_agent)

    async def run(self) -> None:
        """Brings the sockets what concerns them, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.acknowledger.run)
            await self.office.run()

    def end(self, code: int, reason: str) -> None:
        """Ends all of them."""
        for socket in list(self._socket_by_agent.values()):
            socket.end(code, reason)

    async def serve(self, websocket: WebSocket, principal: Principal, still: Still, key: str = "") -> None:
        """Serves an agent until either side ends; `still` says whether it may go on, `key` is its own where it has yet to be told.

        Raises, before it accepts, what the client has to be told.
        """
        protocol = _chosen(websocket)
        named = self._position_in(websocket.query_params.get("after", ""))
        after = _after(named, self.system.journal.position)
        socket = AgentSocket(self, websocket, principal, protocol, after, still)
        beat = await socket.beat()
        await websocket.accept(subprotocol=protocol.name if websocket.scope["subprotocols"] else None)
        name = (principal.tenant, principal.agent_id)
        if (earlier := self._socket_by_agent.get(name)) is not None:
            earlier.end(REPLACED, "another socket of this agent was opened")
        self._socket_by_agent[name] = socket
        try:
            await socket.run(beat, key)
        finally:
            if self._socket_by_agent.get(name) is socket:
                del self._socket_by_agent[name]


class AgentSocket:
    """One connection of one agent."""

    def __init__(
        self,
        sockets: Sockets,
        websocket: WebSocket,
        principal: Principal,
        protocol: Protocol,
        after: int,
        still: Still,
    ) -> None:
        self.sockets = sockets
        self.websocket = websocket
        self.principal = principal
        self.protocol = protocol
        self.position = after
        self._still = still
        self._now = trio.lowlevel.current_clock().current_time  # asked for at every frame: without the way round
        self.context = self.in_trace(websocket.headers.get("traceparent", ""))
        self.line: Line | None = websocket.scope.get("state", {}).get("line")
        self._scope = trio.CancelScope()
        self._ending: tuple[int, str] | None = None
        self._is_gone = False
        self._told_at = 0.0
        self._opened_at = sockets.system.journal.position
        self._told_again: set[tuple[str, int]] = set()
        self._beat: HeartbeatAck | None = None
        self._beat_at = self._noted_at = 0.0
        self._heard_at = -math.inf

    def in_trace(self, traceparent: str) -> Context:
        """The context of what the agent says in a trace."""
        parent, trace_id = parsed(traceparent) or ("", "")
        who = self.principal
        return Context(tenant=who.tenant, principal=who.name, correlation=trace_id, traceparent=parent)

    @property
    def is_ending(self) -> bool:
        """Whether `end` was called."""
        return self._ending is not None

    def end(self, code: int, reason: str) -> None:
        """Ends the connection with a close frame that says why."""
        self._ending = self._ending or (code, reason)
        self._scope.cancel()

    async def run(self, beat: HeartbeatAck, key: str) -> None:
        """Welcomes the agent, then speaks and listens until the client leaves or `end` is called."""
        with self._scope:
            await self._welcome(beat, key)
            async with trio.open_nursery() as telling:
                telling.start_soon(self._tell)
                if self.line is not None:
                    telling.start_soon(self._ping, self.line, beat.lease_seconds / HEARTBEATS_IN_TERM)
                    telling.start_soon(self._feel, self.line)
                await Commands(self).run()
                telling.cancel_scope.cancel()
        if self._ending is not None and not self._is_gone:
            # The client may have gone at the same moment.
            with trio.move_on_after(GOODBYE_SECONDS_MAX), suppress(WebSocketDisconnect, WebSocketDisconnected):
                await self.websocket.close(*self._ending)

    async def beat(self) -> HeartbeatAck:
        """The agent was heard, and what it came with still lets it in: else the connection ends. Raises what the coordinator refuses
        it for."""
        now = trio.current_time()
        if self._beat is None or now >= self._beat_at + HEARTBEAT_SECONDS_MIN:
            if self._beat is not None:
                await self._check_still()
            heartbeat = Heartbeat(agent_id=self.principal.agent_id)
            self._beat = await self.sockets.system.ask(heartbeat, self.context)
            self._beat_at = self._noted_at = self._heard_at = now
        return self._beat

    @property
    def is_heard(self) -> bool:
        """Whether it was looked at so lately whether the agent may be heard that it need not be looked at again."""
        return self._now() < self._heard_at + HEARTBEAT_SECONDS_MIN

    def beat_now(self) -> bool:
        """As `beat`, for what the coordinator is asked next, which needs no answer to this; whether it could be done here and now."""
        assert self._beat is not None, "who opens a socket is heard first"
        if not self._still.holds_now():
            return False
        self._heard_at = now = trio.current_time()
        if now < self._noted_at + self._beat.lease_seconds / BEATS_IN_TERM:
            return True
        try:
            asked = self.sockets.system.post(Heartbeat(agent_id=self.principal.agent_id), self.context)
        except Failure:
            return False
        self._noted_at = now
        asked.when_settled(partial(self._take_beat, asked, now))
        return True

    def _take_beat(self, asked: Delivery, at: float) -> None:
        if type(asked.result) is Reply:
            self._beat, self._beat_at = asked.result.value, at
        else:
            self._heard_at = self._beat_at = -math.inf  # the next frame is told

    def left(self) -> HeartbeatAck:
        """What the agent was told last when it was heard, as much later as it is."""
        assert self._beat is not None, "who opens a socket is heard first"
        ago = trio.current_time() - self._beat_at
        leases = tuple(
            msgspec.structs.replace(
                lease,
                seconds_left=_less(lease.seconds_left, ago),
                budget_seconds_left=_less(lease.budget_seconds_left, ago),
                cancel_seconds_left=lease.cancel_seconds_left and _less(lease.cancel_seconds_left, ago),
            )
            for lease in self._beat.leases
        )
        return msgspec.structs.replace(self._beat, leases=leases)

    async def _check_still(self) -> None:
        """The log tells of a key that was revoked, and not of one that has expired; and who reads slowly hears of either late."""
        try:
            await self._still.check()
        except HTTPException as error:
            self.end(POLICY_VIOLATION, error.detail[:120])
            await trio.lowlevel.checkpoint()

    async def _ping(self, line: Line, seconds: float) -> None:
        while True:
            await trio.sleep(seconds)
            await line.ping()

    async def _feel(self, line: Line) -> None:
        while True:
            await line.next()
            with suppress(Failure):  # the next frame is told
                await self.beat()

    # ---- what the log has for it

    async def _welcome(self, beat: HeartbeatAck, key: str) -> None:
        welcome = {
            "type": "welcome",
            "agent_id": self.principal.agent_id,
            "position": self.position,
            "lease_seconds": beat.lease_seconds,
            "heartbeat_seconds": beat.lease_seconds / HEARTBEATS_IN_TERM,
            "leases": self.left().leases,
        }
        await self.send(welcome | ({"key": key} if key else {}))
        for lease in beat.leases:
            award = await self.sockets.translator.lease(lease.task_id, lease.token)
            if award is not None:
                self._told_again.add((lease.task_id, lease.token))
                del award["position"]  # which may be past what the client has yet to be told
                await self.send(self._timed(award))
            if lease.cancel_seconds_left is not None:
                cancel = await self.sockets.translator.cancel(lease.task_id, lease.token)
                if cancel is not None:
                    del cancel["position"]
                    await self.send(cancel)

    async def _tell(self) -> None:
        collected = self.sockets.office.collect(self.principal, self.position, POSITION_SECONDS, self._tell_now)
        async with aclosing(collected) as pages:
            async for position, records in pages:
                for recorded in records:
                    if isinstance(recorded.event, KeyRevoked) and recorded.event.key_id == self.principal.key_id:
                        self.end(POLICY_VIOLATION, f"the key was revoked: {recorded.event.reason}"[:120])
                    for frame in await self.sockets.translator.frames(recorded, self.principal.agent_id):
                        if not self._is_idle(frame):
                            await self.send(self._timed(frame))
                self.position = position
                if trio.current_time() >= self._told_at + POSITION_SECONDS:
                    await self.send({"type": "position", "position": position})

    def _tell_now(self, recorded: Recorded) -> bool:
        """Sends what others are told too, without a step of this socket's task; whether that was possible."""
        if self.line is None or self._is_gone or recorded.position <= self._opened_at:
            return False
        said = self.sockets.announcer.said(recorded, self.principal.agent_id, self.protocol)
        if said is None or not (self.line.write_now(said) or self.line.send_now(said)):
            return False
        self.position = recorded.position
        self._told_at = self.sockets.announcer.told_at
        return True

    def _timed(self, frame: Frame) -> Frame:
        """An award with the seconds that are left of its lease: since the agent was heard, here or later elsewhere."""
        if frame["type"] != "award":
            return frame
        return frame | {"seconds_left": _less(frame["lease_seconds"], trio.current_time() - self._heard_at)}

    def _is_idle(self, frame: Frame) -> bool:
        """Whether it is an award or a cancel that was told with the welcome, or was over by then; or a call that nobody can answer any
        more: who reads slowly would only fall further behind."""
        is_old: bool = frame["position"] <= self._opened_at
        match frame["type"]:
            case "award":
                return is_old or (frame["task_id"], frame["token"]) in self._told_again
            case "cancel":
                return is_old
            case "call":
                return not is_old and not frame["closes_in"]
            case _:
                return False

    def say_now(self, frames: Sequence[Ack]) -> bool:
        """Whether these could be sent at once, in one piece; nothing follows them in this turn of the loop."""
        if self.line is None or self._is_gone:
            return False
        said = b"".join(map(self.protocol.said, frames))
        return self.line.write_now(said) or self.line.send_now(said)

    async def send(self, frame: Frame) -> None:
        """Sends a frame, unless the client has left: what is under way for it still ends."""
        if "position" in frame:
            self._told_at = trio.current_time()
        if self._is_gone:
            await trio.lowlevel.checkpoint()
            return
        if self.line is not None and self.line.send_now(self.protocol.said(frame)):
            return
        encoded = self.protocol.encode(frame)
        try:
            if self.protocol.is_text:
                await self.websocket.send_text(encoded.decode())
            else:
                await self.websocket.send_bytes(encoded)
        except (WebSocketDisconnect, WebSocketDisconnected):
            self._is_gone = True


def _less(seconds: float, ago: float) -> float:
    return round(max(0.0, seconds - ago), 3)


def _chosen(websocket: WebSocket) -> Protocol:
    """The first of our protocols that the client offers; one that names none speaks JSON."""
    offered = websocket.scope["subprotocols"]
    if not offered:
        return PROTOCOLS[0]
    for protocol in PROTOCOLS:
        if protocol.name in offered:
            return protocol
    raise HTTPException(400, f"this socket speaks {' or '.join(protocol.name for protocol in PROTOCOLS)}")


def _after(text: str, newest: int) -> int:
    """The position from which the client goes on; now, where it names none."""
    if not text:
        return newest
    if not (is_number(text) and int(text) <= newest):
        raise Refused("position_unknown", f"after must be a position of this journal, 0 to {newest}", status=422)
    return int(text)
