"""What an agent's websocket carries: the frames that agents send, each the body of a command, and the bytes of both protocols."""

from functools import reduce
from operator import or_
from typing import Annotated, Any, NamedTuple

import msgspec

from aggregates.agent import Heartbeat
from aggregates.task import (
    AskQuestion,
    CommitBid,
    CompleteTask,
    FailTask,
    PlaceBid,
    RefuseBid,
    RevealBid,
    StartTask,
    WithdrawBid,
)
from aggregates.values.document import faults
from aggregates.values.ids import TaskId
from aggregates.values.numbers import Token
from aggregates.values.text import Note
from gateway.api.bodies import JSON, MSGPACK, NO_NUL, body_type, glance, parse, parse_valid
from gateway.api.problems import BadRequest, Fault
from gateway.door import ws_frames
from runtime.records import Command

FrameId = str | int | None
REASON_CHARACTERS_MAX = 2000

COMMAND_BY_TYPE: dict[str, type[Command[Any]]] = {
    "bid": PlaceBid,
    "commit": CommitBid,
    "reveal": RevealBid,
    "withdraw": WithdrawBid,
    "refuse": RefuseBid,
    "start": StartTask,
    "complete": CompleteTask,
    "fail": FailTask,
    "ask": AskQuestion,
    "heartbeat": Heartbeat,
}


def _frame(name: str, command: type[Command[Any]]) -> type[msgspec.Struct]:
    """The frame of a command: its body, with `type`, an `id` that the answer carries again, and the trace that it belongs to."""
    return msgspec.defstruct(
        f"{command.__name__}Frame",
        [("id", FrameId, None), ("traceparent", str, "")],
        bases=(body_type(command),),
        namespace={"__doc__": command.__doc__},
        module=__name__,
        tag_field="type",
        tag=name,
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )


class Finish(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="finish", forbid_unknown_fields=True):
    """The agent's program has ended: exit code 0 and a JSON object as its output complete the task, all else is a failed attempt."""

    id: FrameId = None
    task_id: TaskId
    token: Token
    output: str
    exit_code: int = 0
    traceparent: str = ""


class Decline(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="decline", forbid_unknown_fields=True):
    """The agent gives back what it has won and not begun; the task is offered again while it has attempts left."""

    id: FrameId = None
    task_id: TaskId
    token: Token
    reason: Annotated[Note, NO_NUL] = ""
    traceparent: str = ""


FRAME_BY_TYPE: dict[str, type[msgspec.Struct]] = {
    **{name: _frame(name, command) for name, command in COMMAND_BY_TYPE.items()},
    "finish": Finish,
    "decline": Decline,
}
ANY_FRAME: Any = reduce(or_, FRAME_BY_TYPE.values())
_COMMAND_BY_FRAME: dict[type[msgspec.Struct], Any] = {
    FRAME_BY_TYPE[name]: command for name, command in COMMAND_BY_TYPE.items()
}


class Tag(msgspec.Struct, frozen=True):
    """What is read of a frame first: whose answer it wants, and which type it is."""

    type: Any = None
    id: Any = None


class Protocol(NamedTuple):
    """A websocket subprotocol."""

    name: str
    media_type: str

    @property
    def is_text(self) -> bool:
        """Whether its messages are text."""
        return self.media_type == JSON

    def encode(self, frame: Any) -> bytes:
        """The bytes of a frame that the house sends."""
        return msgspec.json.encode(frame) if self.is_text else msgspec.msgpack.encode(frame)

    def said(self, frame: Any) -> bytes:
        """The same as it goes over the wire, a whole websocket frame."""
        return ws_frames.frame(ws_frames.TEXT if self.is_text else ws_frames.BINARY, self.encode(frame))

    def read(self, raw: bytes) -> tuple[FrameId, Any]:
        """A frame's id, and the frame or the `BadRequest` that says what is wrong with it."""
        frame = self.read_valid(raw)
        return self._read_again(raw) if frame is None else (frame.id, frame)

    def read_valid(self, raw: bytes) -> Any | None:
        """The frame; None where `read` has to look again, which holds up everybody else for longer the longer it is."""
        return parse_valid(raw, ANY_FRAME, media_type=self.media_type)

    def _read_again(self, raw: bytes) -> tuple[FrameId, Any]:
        """Of a frame in which something is wrong: whose answer it wants, and what is wrong with the type that it says to be. To hold it
        against all types would take a dozen times as long."""
        try:
            tag = glance(raw, Tag, media_type=self.media_type) or parse(raw, Tag, media_type=self.media_type)
        except BadRequest as fault:
            return None, fault
        frame_id = _frame_id(tag.id)
        kind = FRAME_BY_TYPE.get(tag.type) if isinstance(tag.type, str) else None
        if kind is None:
            known = ", ".join(FRAME_BY_TYPE)
            return frame_id, BadRequest([Fault(pointer="/type", detail=f"must be one of {known}")])
        try:
            frame: Any = parse(raw, kind, media_type=self.media_type)
        except BadRequest as fault:
            return frame_id, fault
        return frame.id, frame


def _frame_id(said: Any) -> FrameId:
    """What can be said again of an id."""
    is_short = type(said) is int and -(2**63) <= said < 2**64
    return said if is_short or isinstance(said, str) else None


PROTOCOLS = (Protocol("gavel.v1.json", JSON), Protocol("gavel.v1.msgpack", MSGPACK))


def command_of(frame: msgspec.Struct, agent_id: str) -> Command[Any]:
    """The command that a frame is."""
    if isinstance(frame, Finish):
        return _outcome(frame, agent_id)
    if isinstance(frame, Decline):
        return FailTask(task_id=frame.task_id, agent_id=agent_id, token=frame.token, reason=frame.reason, declined=True)
    fields = msgspec.structs.asdict(frame)
    del fields["id"], fields["traceparent"]
    made: Command[Any] = _COMMAND_BY_FRAME[type(frame)](agent_id=agent_id, **fields)
    return made


def _outcome(frame: Finish, agent_id: str) -> Command[Any]:
    """What a program's end means: an output that is no result must not leave the task waiting for one."""
    result, wrong = _result(frame)
    if wrong:
        reason = "; ".join(wrong)[:REASON_CHARACTERS_MAX].replace("\0", "\ufffd")  # of names in the program's output
        return FailTask(task_id=frame.task_id, agent_id=agent_id, token=frame.token, reason=reason)
    return CompleteTask(task_id=frame.task_id, agent_id=agent_id, token=frame.token, result=result)


def _result(frame: Finish) -> tuple[dict[str, Any], list[str]]:
    """The result, and what is wrong with it."""
    if frame.exit_code:
        return {}, [f"the program ended with {frame.exit_code}"]
    try:
        result: dict[str, Any] = parse(frame.output.encode(errors="replace"), dict[str, Any])
    except BadRequest as error:
        return {}, [f"the program's output {fault['pointer']} {fault['detail']}" for fault in error.faults]
    return result, [str(flaw) for flaw in faults("result", result)]
