"""Conditional requests (RFC 9110): what an answer shows is named by the position of the journal that it was read at.

A tag is a position, what it is a position of, and what the query asked of it. It is good for as long as nothing was recorded past that
position which the answer rests on: whether that is so is seen in what the journal has in memory, without reading anything. A write that
names a tag is held against the stream in the turn that decides about it, so that nobody comes between the check and the write.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from zlib import crc32

import msgspec
from starlette.responses import Response
from starlette.types import Scope

from runtime.delivery import Unmoved

if TYPE_CHECKING:
    from gateway.api.calls import Call

RECENT_MAX = 1_000
"""So many records are looked through for what an answer rests on; past more of them the answer is read anew."""

TAG = re.compile(r'(W/)?"(\d{1,19})\.([0-9a-f]{8})([0-9a-f]{8})?"')
"""The position, what it is a position of, and where there was a query that too."""
TAGS_MAX = 100
CONTENT_CHARACTERS = 32
HEADERS = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Cookie"}


def header(scope: Scope, name: bytes) -> str:
    """A header of the request, all lines of it; empty where there is none. The name is in lower case."""
    lines = [value for key, value in scope["headers"] if key == name]
    return b",".join(lines).decode("latin-1") if lines else ""


def tag(call: "Call", position: int, *, weak: bool) -> str:
    """The name of what this request reads at a position."""
    return f'{"W/" if weak else ""}"{position}.{_asked(call)}"'


def headers_of(call: "Call", value: Any, position: int, *, weak: bool) -> dict[str, str]:
    """What an answer to a GET says of itself; nothing where a projection has stopped, since nobody knows when it will catch up."""
    if any(standing.reason for standing in call.node.projector.status()):
        return {}
    if call.endpoint.by_last_position:
        position = value["last_position"]
    elif isinstance(value, Mapping):
        position = max(position, value.get("last_position", 0))
    return HEADERS | {"ETag": tag(call, position, weak=weak)}


def reply_by_content(call: "Call", value: Any) -> Response:
    """JSON that is named by what it says, for what no record tells of; 304 where the caller has it."""
    content = msgspec.json.encode(value)
    known = f'"{sha256(content).hexdigest()[:CONTENT_CHARACTERS]}"'
    if matches(call.request.scope, known):
        return not_modified(call, known)
    return Response(content, headers=HEADERS | {"ETag": known} | call.place(), media_type="application/json")


def unchanged(call: "Call") -> Response | None:
    """304 where what the caller has still holds, as far as that is known without reading."""
    given = header(call.request.scope, b"if-none-match")
    if not given:
        return None
    asked = _asked(call)
    for is_weak, position, name in _tags(given):
        if name == asked and holds(call, position):
            return not_modified(call, tag(call, position, weak=is_weak))
    return None


def not_modified(call: "Call", known: str) -> Response:
    """304: the caller has what it would be given."""
    return Response(status_code=304, headers=HEADERS | {"ETag": known} | call.place())


def matches(scope: Scope, etag: str) -> bool:
    """Whether the caller has what has this tag, by weak comparison."""
    given = header(scope, b"if-none-match")
    if not given or not etag:
        return False
    return given.strip() == "*" or etag.removeprefix("W/") in {
        one.strip().removeprefix("W/") for one in given.split(",")
    }


def holds(call: "Call", position: int) -> bool:
    """Whether nothing was recorded past a position that the answer rests on; no where memory does not reach back that far."""
    recent = call.node.system.journal.recent(position, RECENT_MAX)
    if recent is None or any(standing.reason for standing in call.node.projector.status()):
        return False
    tenant, streams = call.tenant, rests_on(call)
    return not any(one.meta.tenant == tenant and one.stream.startswith(streams) for one in recent)


def rests_on(call: "Call") -> tuple[str, ...]:
    """The beginnings of the names of the streams that the answer rests on."""
    return tuple(_filled(name, call) for name in call.endpoint.rests_on)


def stream_of(call: "Call") -> str:
    """The stream of what the path names."""
    return _filled(call.endpoint.guards, call)


def seen(call: "Call") -> int | None:
    """The newest position of which the caller has what it asks for; None where it names none."""
    asked = _asked(call)
    positions = [position for _, position, name in _tags(header(call.request.scope, b"if-none-match")) if name == asked]
    return max(positions, default=None)


def expected(call: "Call") -> dict[str, Unmoved] | None:
    """What the caller of a write takes for the newest state of what it writes to; None where it does not say."""
    scope = call.request.scope
    given = header(scope, b"if-match")
    if header(scope, b"if-none-match").strip() == "*":
        return {stream_of(call): Unmoved(call.tenant, -1)}
    if not given or given.strip() == "*":  # there must be something, which whoever decides says anyway
        return None
    resource = _resource(call)
    positions = [position for is_weak, position, name in _tags(given) if not is_weak and name[:8] == resource]
    return {stream_of(call): Unmoved(call.tenant, max(positions, default=-1))}


def _tags(given: str) -> Iterable[tuple[bool, int, str]]:
    """The tags of ours in a header: whether each is weak, its position, and of what."""
    for found, _ in zip(TAG.finditer(given), range(TAGS_MAX), strict=False):
        yield bool(found[1]), int(found[2]), found[3] + (found[4] or "")


def _asked(call: "Call") -> str:
    """What a tag is of, and what the query asks of it."""
    query = call.request.scope["query_string"]
    return f"{_resource(call)}{crc32(query):08x}" if query else _resource(call)


def _resource(call: "Call") -> str:
    """What a tag is of: the stream where there is one, so that a tag is good at all paths of one thing; else the path."""
    name = _filled(call.endpoint.guards, call) if call.endpoint.guards else call.request.scope["path"]
    return f"{crc32(f'{_edition(call.node.store.origin)} {call.tenant} {name}'.encode()):08x}"


@cache
def _edition(origin: str) -> str:
    """Of which journal, and as which version of the program shows it."""
    return f"{origin} {version('gavel-runtime')}"


def _filled(name: str, call: "Call") -> str:
    return name.format(tenant=call.tenant, **call.path) if "{" in name else name
