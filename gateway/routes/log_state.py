"""What a stream had become, now or at any moment of the past: for auditors, from the log and not from a read model."""

from functools import partial
from typing import Any

import msgspec
from starlette.responses import Response

from aggregates.values.roles import Permission
from gateway.api.calls import Call, Endpoint, found
from gateway.api.queries import AsOf, moment, words
from gateway.feeds.wanted import STREAM_CHARACTERS_MAX
from runtime.codec import UnknownKind
from runtime.journal import Journal
from runtime.past import PastState, state_at

STREAM = words("stream", "The stream's name.", "", characters_max=STREAM_CHARACTERS_MAX)
AT = moment("at", "As of this position of the log, or as of what was recorded by this time; without it, now.")


class StreamState(msgspec.Struct, frozen=True, kw_only=True):
    """The state after the stream's record at `position`, which was decided `at` and recorded at `recorded_at`; its `version`
    counts the stream's records."""

    stream: str
    version: int
    position: int
    at: float
    recorded_at: float
    state: dict[str, Any]


async def state(call: Call) -> Response:
    """The state of a stream of the tenant, by the rules of today."""
    stream, at, journal = call.asked(STREAM), call.asked(AT), call.node.system.journal
    past = await journal.read_with(partial(_look, journal, stream, journal.position, at))
    seen = found(
        past if past is not None and past.tenant == call.tenant else None, "stream by then that is called", stream
    )
    return call.reply(
        StreamState(
            stream=stream,
            version=seen.version,
            position=seen.position,
            at=seen.at,
            recorded_at=seen.recorded_at,
            state=msgspec.to_builtins(seen.state, order="deterministic"),
        )
    )


def _look(journal: Journal, stream: str, newest: int, at: AsOf | None) -> PastState | None:
    if at is None:
        position = newest
    else:
        position = journal.store.position_at(at.time) if at.time is not None else at.position or 0
    try:
        return state_at(journal.store, journal.folder, stream, min(position, newest))
    except UnknownKind:
        return None


routes = (Endpoint("GET", "/v1/log/state", state, Permission.AUDIT_READ, reply=StreamState, query=(STREAM, AT)),)
