"""What a request says beside its body: the parts of its path, its query, its headers. All that is wrong with them is told at once.

A part of the path that can be no such name is answered as one that is not there (404); a wrong header by 400; a wrong query by 422.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

from starlette.requests import HTTPConnection, Request

from aggregates.values.task_types import TaskType
from gateway.api.problems import BadRequest, Fault
from gateway.api.queries import DIGITS_MAX, ONE_LINE, POSITION_MAX, Header, Parameter, is_number
from runtime.errors import Refused
from runtime.store.sqlite import REPLY_SECONDS

FAULTS_MAX = 100
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""What ids look like; the patterns here are matched whole."""
ANY_WORD = {"type": "string", "pattern": ONE_LINE}

KEY_HOURS = round(REPLY_SECONDS / 3600)
IDEMPOTENCY = Header(
    "Idempotency-Key",
    f"What was done once under this key is not done again, and answered the same, for at least {KEY_HOURS} hours; "
    "with another request the key is refused (422, `key_reused`). What was refused or failed is not kept. "
    "A key is good for its caller, method and path.",
    {"type": "string", "pattern": "^[!-~]{1,200}$"},
    is_single=True,
)


class PathPart(NamedTuple):
    """A part of a path that names something."""

    meaning: str
    schema: Mapping[str, Any]


def _id(meaning: str) -> PathPart:
    return PathPart(meaning, {"type": "string", "minLength": 1, "maxLength": 100, "pattern": NAME_PATTERN})


PATH_PARTS: dict[str, PathPart] = {
    "action_id": _id("The action's id."),
    "agent_id": _id("The agent's id."),
    "data_subject": PathPart("The id that the tenant has given to the person.", ANY_WORD),
    "job_id": _id("The solve's id."),
    "key": _id("The concurrency key."),
    "key_id": _id("The key's id."),
    "name": PathPart("The read model's name, with or without the number of its shape.", ANY_WORD),
    "number": PathPart(
        "The number of the dead letter, or of the task's question.",
        {"type": "integer", "minimum": 0, "maximum": POSITION_MAX},
    ),
    "operation_id": _id("The operation's id."),
    "origin_hash": PathPart("The SHA-256 of the log's origin, in hexadecimal digits.", ANY_WORD),
    "path": PathPart("The rest of the path.", ANY_WORD),
    "position": PathPart("A position of the log.", {"type": "integer", "minimum": 1, "maximum": POSITION_MAX}),
    "problem_id": _id("The problem's id."),
    "queue": PathPart(
        "The queue's name.", {"type": "string", "minLength": 1, "maxLength": 64, "pattern": NAME_PATTERN}
    ),
    "sha256": PathPart(
        "The SHA-256 of the blob's bytes, in hexadecimal digits.", {"type": "string", "pattern": "^[0-9a-f]{64}$"}
    ),
    "session_id": _id("The session's id."),
    "task_id": _id("The task's id."),
    "task_type": PathPart("The task type.", {"type": "string", "enum": list(TaskType)}),
    "upload_id": _id("The upload's id."),
    "user_id": _id("The user's id."),
    "webhook_id": _id("The webhook's id."),
}
"""What is not listed is any text without control characters: a NUL in a name would be one that PostgreSQL can't store."""

ANY_PART = PathPart("", ANY_WORD)


def check_parameters(
    request: HTTPConnection,
    query: Sequence[Parameter[Any]],
    headers: Iterable[Header],
    read: Callable[[Parameter[Any]], Any],
    *,
    others: bool,
) -> None:
    """Raises BadRequest that names each fault. `read` reads a parameter of the query and raises Refused; `others` tells whether the
    query may hold what nobody reads."""
    in_path = list(_path_faults(request.path_params)) if request.path_params else []
    in_headers = list(_header_faults(request, headers))
    is_asked = request.scope["query_string"] or any(parameter.is_required for parameter in query)
    in_query = list(_query_faults(request, query, read, others)) if is_asked else []
    if not (in_path or in_headers or in_query):
        return
    faults = list(islice((*in_path, *in_headers, *in_query), FAULTS_MAX))
    if in_path:
        raise BadRequest(faults, status=404, code="not_found")
    if in_headers:
        raise BadRequest(faults, status=400, code="header_invalid")
    if in_query:
        raise BadRequest(faults, status=422, code="query_invalid")


def check_no_body(request: Request) -> None:
    """Raises BadRequest where a route that takes no body is sent one with something in it, which would be passed over in silence."""
    length = request.headers.get("content-length", "0")
    if length.isascii() and length.isdigit() and int(length[:DIGITS_MAX]) > len("{}"):
        raise BadRequest(
            [Fault(pointer="", detail="is not taken here: what can be said stands in the path and the query")]
        )


def _path_faults(parts: Mapping[str, str]) -> Iterator[Fault]:
    for name, text in parts.items():
        if detail := _fault(text, PATH_PARTS.get(name, ANY_PART).schema):
            yield Fault(parameter=name, detail=detail)


def _header_faults(request: HTTPConnection, headers: Iterable[Header]) -> Iterator[Fault]:
    names = {name for name, _ in request.scope["headers"]}
    for header in headers:
        if _sent_as(header.name) not in names:  # as nearly all: to look for one among all that was sent costs more
            if header.required:
                yield Fault(header=header.name, detail="is missing")
        elif header.is_single and len(request.headers.getlist(header.name)) > 1:
            yield Fault(header=header.name, detail="stands twice")
        elif detail := _fault(request.headers[header.name], header.schema):
            yield Fault(header=header.name, detail=detail)


@cache
def _sent_as(name: str) -> bytes:
    return name.lower().encode()


def _query_faults(
    request: HTTPConnection, query: Iterable[Parameter[Any]], read: Callable[[Parameter[Any]], Any], others: bool
) -> Iterator[Fault]:
    known = {parameter.name: parameter for parameter in query}
    sent = [name for name, _ in request.query_params.multi_items()]
    for parameter in known.values():
        if parameter.is_required and parameter.name not in sent:
            yield Fault(parameter=parameter.name, detail="is missing")
    for name in dict.fromkeys(sent):
        if name not in known:
            if not others:
                yield Fault(parameter=name[:FAULTS_MAX], detail="is not a known parameter")
        elif sent.count(name) > 1:
            yield Fault(parameter=name, detail="stands twice")
        else:
            yield from _value_faults(known[name], read)


def _value_faults(parameter: Parameter[Any], read: Callable[[Parameter[Any]], Any]) -> Iterator[Fault]:
    """What is refused with a code of its own, as a position of another journal, the route will say."""
    try:
        read(parameter)
    except Refused as error:
        if error.code == "query_invalid":
            yield Fault(parameter=parameter.name, detail=error.detail.removeprefix(f"{parameter.name} "))


def _fault(text: str, schema: Mapping[str, Any]) -> str:
    """In what a text differs from a simple schema; empty where it does not."""
    if schema["type"] == "integer":
        least, most = schema.get("minimum", 0), schema.get("maximum", POSITION_MAX)
        return "" if is_number(text) and least <= int(text) <= most else f"must be an integer from {least} to {most}"
    if len(text) > schema.get("maxLength", len(text)):
        return f"must have at most {schema['maxLength']} characters"
    if "enum" in schema and text not in schema["enum"]:
        return f"must be one of {', '.join(schema['enum'])}"
    pattern = schema.get("pattern")
    return "" if pattern is None or _compiled(pattern).fullmatch(text) else f"must match {pattern}"


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
