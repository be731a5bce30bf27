"""What a request is called: by the id that its sender gave it, or one of ours; told in its answer, its problems, the log and the trail.

The trace that it belongs to (W3C trace context) is told in the same places, and handed back with the answer.
"""

import re
import secrets
from contextvars import ContextVar
from itertools import count
from typing import NamedTuple

from starlette.types import Scope
from structlog.contextvars import bind_contextvars, unbind_contextvars

from gateway.api.queries import Header
from runtime.trace import parsed

REQUEST_ID_HEADER = "X-Request-Id"
REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+=-]{0,127}")
"""An id that is taken as it comes; whoever sends another is given one of ours."""
TRACESTATE_CHARACTERS_MAX = 512

_PREFIX = secrets.token_hex(5)
_numbers = count(1)

REQUEST_ID_SENT = Header(
    REQUEST_ID_HEADER,
    "What the request is to be called: up to 128 letters, digits and `. _ : @ / + = -`. Without it, and for any other text, the node "
    "finds a name; the answer tells it.",
    {"type": "string"},
)
TRACEPARENT = Header(
    "traceparent",
    "The trace that the request belongs to (W3C trace context): the log, the trail and what follows from the request name it. One that is "
    "not valid is passed over.",
    {"type": "string", "examples": ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"]},
)

RawHeader = tuple[bytes, bytes]


class Named(NamedTuple):
    """A request's id, and of its trace what came with it: both empty where that was no valid `traceparent`."""

    request_id: str
    traceparent: str = ""
    tracestate: str = ""

    @property
    def trace_id(self) -> str:
        """The trace that it belongs to; empty where it belongs to none."""
        return self.traceparent[3:35]

    @property
    def headers(self) -> list[RawHeader]:
        """What the answer says of it."""
        told = [(b"x-request-id", self.request_id.encode())]
        if self.traceparent:
            told.append((b"traceparent", self.traceparent.encode()))
        if self.tracestate:
            told.append((b"tracestate", self.tracestate.encode()))
        return told


current: ContextVar[Named | None] = ContextVar("request", default=None)
"""The request that this task answers."""


def begin(scope: Scope) -> Named:
    """Names the request of this scope, for the task that answers it and for each line that it logs."""
    given, traceparent, tracestate = b"", b"", b""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value
        elif name == b"traceparent":
            traceparent = value
        elif name == b"tracestate":
            tracestate = tracestate + b"," + value if tracestate else value
    request_id = taken(given.decode("latin-1")) if given else new_id()
    named = _traced(request_id, traceparent, tracestate) if traceparent else Named(request_id)
    adopt(named)
    return named


def adopt(named: Named) -> None:
    """From now on this task answers that request."""
    before = current.get()
    current.set(named)
    bind_contextvars(request_id=named.request_id)
    if named.traceparent:
        bind_contextvars(trace_id=named.trace_id)
    elif before is not None and before.traceparent:
        unbind_contextvars("trace_id")  # a task may answer one request after another


def of(scope: Scope) -> Named:
    """What the request of this scope is called."""
    return current.get() or begin(scope)


def part(number: int) -> Named:
    """The name of one of several requests that came in one, and in its trace."""
    whole = current.get() or Named(new_id())
    return whole._replace(request_id=f"{whole.request_id}.{number}")


def new_id() -> str:
    """An id that no other request of this process has, and none of another."""
    return f"{_PREFIX}{next(_numbers):06x}"


def taken(text: str) -> str:
    """The id that a sender gives, or one of ours where it is none."""
    return text if REQUEST_ID.fullmatch(text) else new_id()


def request_id() -> str:
    """The id of the request that this task answers; empty where it answers none."""
    named = current.get()
    return named.request_id if named is not None else ""


def _traced(request_id: str, traceparent: bytes, tracestate: bytes) -> Named:
    found = parsed(traceparent.decode("latin-1"))
    if found is None:
        return Named(request_id)
    state = tracestate.decode("latin-1")
    return Named(request_id, found[0], state if _is_state(state) else "")


def _is_state(text: str) -> bool:
    return len(text) <= TRACESTATE_CHARACTERS_MAX and text.isascii() and text.isprintable()
