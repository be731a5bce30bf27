"""What an agent says over its websocket: frames become commands of its own, each acknowledged when it is committed.

Frames about one task are taken in their order; those about several tasks share commits. An answer stands: what the node can't take at
the moment it tries again, and if that lasts, it ends the connection instead of answering.

Most frames are taken in the step that has read them, and acknowledged by one task for all sockets (`Acknowledger`): to wake a task for
either costs more than a bid. What has to wait, is faulty or refused, or can't be sent at once, is left to the socket's own tasks.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec
import trio
from starlette.responses import Response

from aggregates.agent import Heartbeat
from aggregates.values.roles import Principal
from gateway.api.problems import BadRequest, Fault, document_of
from gateway.feeds.frames import FrameId, Protocol, command_of
from gateway.feeds.told_frames import Ack
from gateway.feeds.translator import Frame
from runtime.actor import Reply
from runtime.delivery import Context, Delivery
from runtime.errors import Conflict, Failure, NotAnswered, Overloaded, Unreachable

if TYPE_CHECKING:
    from gateway.feeds.sockets import AgentSocket

R = TypeVar("R")

FAULTS_MAX = 20
"""Frames in which something is wrong, before the socket is closed."""

COMMANDS_AT_ONCE_MAX = 64
"""Commands of one client under way; it is not read on until one has ended."""

RETRY_SECONDS = 0.5
PATIENCE_SECONDS = 20.0
"""How long a command is tried again that the node can't take at the moment."""

ACKNOWLEDGED_IN_ROW = 64
"""After so many sockets were told at once, others get their turn."""

POLICY_VIOLATION = 1008
TRY_AGAIN_LATER = 1013

Turn = Callable[[], Awaitable[None]]
Pace = Callable[[Principal], Turn | None]
"""What to wait for until one more frame of this agent may be taken; None: it may at once."""


class Sent(NamedTuple):
    """A command that is under way, and whose frame it was."""

    command: Any
    context: Context
    frame_id: FrameId
    delivery: Delivery


class Acknowledger:
    """Tells the clients of all sockets, by one task, what has become of their commands: a commit settles those of many."""

    def __init__(self) -> None:
        self._settled: dict[Commands, None] = {}
        self._sleeper = trio.lowlevel.ParkingLot()

    def add(self, commands: "Commands") -> None:
        """A command of this client is settled."""
        self._settled[commands] = None
        if self._sleeper:
            self._sleeper.unpark()

    async def run(self) -> None:
        """Acknowledges what is settled, until cancelled."""
        while True:
            while not self._settled:
                await self._sleeper.park()
            settled, self._settled = self._settled, {}
            for count, commands in enumerate(settled, 1):
                commands.acknowledge_settled()
                if not count % ACKNOWLEDGED_IN_ROW:
                    await trio.lowlevel.checkpoint()


class Commands:
    """The commands of one socket's client."""

    def __init__(self, socket: "AgentSocket") -> None:
        self._socket = socket
        self._system = socket.sockets.system
        self._is_listening = True
        self._faults = 0
        self._turn: Turn | None = None
        """What to wait for until the frame may be taken that comes next."""
        self._places = trio.lowlevel.ParkingLot()
        self._tasks_under_way: set[str] = set()
        self._sent: deque[Sent] = deque()
        self._answerer = trio.lowlevel.ParkingLot()
        self._nursery: trio.Nursery

    async def run(self) -> None:
        """Takes what the client says until it leaves, and answers all of it."""
        line = self._socket.line
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._answer)
            if line is not None:
                line.take_now = self._take_now
            await self._listen()
            self._is_listening = False
            self._answerer.unpark_all()

    # ---- taking

    def _take_now(self, said: bytes | str) -> bool:
        """Takes a message here and now, as `_take` would without a wait; whether it has."""
        socket, protocol = self._socket, self._socket.protocol
        if (
            socket.is_ending
            or not self._is_listening
            or self._turn is not None
            or not (socket.is_heard or socket.beat_now())
        ):
            return False
        if isinstance(said, str) is not protocol.is_text:
            return False
        frame = protocol.read_valid(said.encode() if isinstance(said, str) else said)
        if frame is None:
            return False
        command: Any = command_of(frame, socket.principal.agent_id)
        if isinstance(command, Heartbeat) or not self._has_place(command):
            return False
        if socket.sockets.pace is not None:
            self._turn = socket.sockets.pace(socket.principal)
            if self._turn is not None:
                return False
        self._post(command, frame)
        return True

    async def _listen(self) -> None:
        socket, line = self._socket, self._socket.line
        while not socket.is_ending:  # what waits to be read need not pass a point where it could be cancelled
            message = line.receive_now() if line is not None else None
            if message is None:
                message = await socket.websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            turn, self._turn = self._turn, None
            if turn is None and socket.sockets.pace is not None:
                turn = socket.sockets.pace(socket.principal)
            if turn is not None:
                await turn()
            await self._take(message)

    async def _take(self, message: Any) -> None:
        frame_id: FrameId = None
        try:
            if not self._socket.is_heard:
                await self._insist(self._socket.beat)
            frame_id, frame = _read(self._socket.protocol, message)
            if isinstance(frame, BadRequest):
                raise frame
        except (Failure, BadRequest) as error:
            await self._refuse(frame_id, error, "frame")
            return
        command: Any = command_of(frame, self._socket.principal.agent_id)
        if isinstance(command, Heartbeat):
            await self._beat(frame_id)
            return
        while not self._has_place(command):
            await self._places.park()
        self._post(command, frame)

    async def _beat(self, frame_id: FrameId) -> None:
        try:
            await self._insist(self._socket.beat)
        except Failure as error:
            await self._refuse(frame_id, error, "frame")
        else:
            await self._acknowledge(frame_id, self._socket.left())

    def _has_place(self, command: Any) -> bool:
        """Whether it may be under way beside the others."""
        return command.task_id not in self._tasks_under_way and len(self._tasks_under_way) < COMMANDS_AT_ONCE_MAX

    def _post(self, command: Any, frame: Any) -> None:
        self._tasks_under_way.add(command.task_id)
        context = self._socket.in_trace(frame.traceparent) if frame.traceparent else self._socket.context
        try:
            delivery = self._system.post(command, context)
        except Failure:
            self._nursery.start_soon(self._ask, command, context, frame.id)
            return
        self._sent.append(Sent(command, context, frame.id, delivery))
        delivery.when_settled(self._on_settled)

    def _end(self, command: Any) -> None:
        """The next frame about the same task may be taken."""
        self._tasks_under_way.remove(command.task_id)
        if self._places:
            self._places.unpark()

    # ---- answering, in the order of the frames

    def _on_settled(self) -> None:
        self._socket.sockets.acknowledger.add(self)

    def acknowledge_settled(self) -> None:
        """Tells the client of the commands that were taken, all in one piece; the socket's own task tells of all that goes otherwise."""
        if not self._answerer:
            return  # it is at it
        taken = []
        for sent in self._sent:
            reply = sent.delivery.result
            if type(reply) is not Reply:
                break
            taken.append(_acknowledgement(sent.frame_id, reply.value))
        if taken and self._socket.say_now(taken):
            for _ in taken:
                self._end(self._sent.popleft().command)
        if not self._is_listening or (self._sent and self._sent[0].delivery.result is not None):
            self._answerer.unpark_all()

    async def _answer(self) -> None:
        """Tells the client what can't be told at once."""
        try:
            while self._is_listening or self._sent:
                if not self._sent or self._sent[0].delivery.result is None:
                    await self._answerer.park()
                    continue
                sent = self._sent[0]
                try:
                    reply = sent.delivery.answer()
                except (Conflict, Overloaded, NotAnswered):
                    self._nursery.start_soon(self._ask, sent.command, sent.context, sent.frame_id)
                except Failure as error:
                    self._end(sent.command)
                    await self._refuse(sent.frame_id, error, type(sent.command).__name__)
                else:
                    self._end(sent.command)
                    await self._acknowledge(sent.frame_id, reply)
                self._sent.popleft()
        finally:
            for sent in self._sent:
                sent.delivery.leave("its caller has left")

    async def _ask(self, command: Any, context: Context, frame_id: FrameId) -> None:
        """Asks as long as there is hope."""
        try:
            reply = await self._insist(partial(self._system.ask, command, context))
        except Failure as error:
            await self._refuse(frame_id, error, type(command).__name__)
        else:
            await self._acknowledge(frame_id, reply)
        finally:
            self._end(command)

    async def _insist(self, ask: Callable[[], Awaitable[R]]) -> R:
        """The answer, as soon as there is one: commands are idempotent."""
        until = trio.current_time() + PATIENCE_SECONDS
        while True:
            try:
                return await ask()
            except (Conflict, Overloaded, NotAnswered):
                if trio.current_time() >= until:
                    raise
            await trio.sleep(RETRY_SECONDS)

    async def _acknowledge(self, frame_id: FrameId, reply: Any) -> None:
        await self._socket.send(msgspec.to_builtins(_acknowledgement(frame_id, reply)))

    async def _refuse(self, frame_id: FrameId, error: Exception, what: str) -> None:
        socket = self._socket
        if socket.sockets.note is not None:
            socket.sockets.note(socket.websocket, socket.principal, f"WS {what}", error)
        if isinstance(error, (Conflict, Overloaded, Unreachable)):
            socket.end(TRY_AGAIN_LATER, "the node can't take it at the moment; say it again")
            return
        await socket.send(await self._problem(frame_id, error))
        self._faults += isinstance(error, BadRequest)
        if self._faults >= FAULTS_MAX:
            socket.end(POLICY_VIOLATION, f"{FAULTS_MAX} faulty frames")

    async def _problem(self, frame_id: FrameId, error: Exception) -> Frame:
        """The problem document of a failure, as a frame."""
        response: Response = await document_of(error, self._socket.websocket)
        members = msgspec.json.decode(response.body)
        return {
            "type": "problem",
            "id": frame_id,
            "status": members["status"],
            "code": members["type"].rpartition(":")[2],
            "detail": members.get("detail", members["title"]),
            "errors": members.get("errors", []),
        }


def _acknowledgement(frame_id: FrameId, reply: Any) -> Ack:
    return Ack(id=frame_id, **msgspec.structs.asdict(reply))


def _read(protocol: Protocol, message: Any) -> tuple[FrameId, Any]:
    raw = message.get("text") if protocol.is_text else message.get("bytes")
    if raw is None:
        wanted = "text" if protocol.is_text else "binary"
        raise BadRequest([Fault(pointer="", detail=f"{protocol.name} takes {wanted} frames")])
    return protocol.read(raw.encode() if isinstance(raw, str) else raw)
