"""The API document (OpenAPI 3.1), made of the tables of routes and websockets: what is served is what is described.

Types of bodies, answers and frames become schemas by the same library that checks them. What OpenAPI has no place for, the
websockets, stands under `x-websockets`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from types import NoneType, UnionType
from typing import Any, get_args

import msgspec

from aggregates.values.roles import Role
from gateway.bodies import MSGPACK
from gateway.calls import IDEMPOTENCY_HEADER, JSON, POSITION_HEADER, Endpoint, SocketEndpoint
from gateway.cookies import COOKIE
from gateway.problems import MEDIA_TYPE, Fault
from gateway.queries import IF_MATCH, IF_NONE_MATCH, Header, Parameter
from runtime.store.sqlite import REPLY_SECONDS

Schema = dict[str, Any]

REFERENCE = "#/components/schemas/{name}"
PATH_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
KEY_HOURS = round(REPLY_SECONDS / 3600)
SAFE_METHODS = frozenset({"GET"})
TEXT: Schema = {"type": "string"}
DESCRIPTION = """\
Agents register, bid for tasks and report what came of them; everything that happens is a record of one log.

Bodies are JSON or msgpack. Failures are problem documents (RFC 9457); a faulty body gets one that lists every fault by its
JSON pointer. A write that is sent again with the same `Idempotency-Key` is done once. The websockets stand under
`x-websockets`; their frames are described by the same schemas.
"""


class ProblemDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request failed (RFC 9457). The last part of `type` is the code to tell failures apart by."""

    type: str
    title: str
    status: int
    detail: str | msgspec.UnsetType = msgspec.UNSET
    errors: list[Fault] | msgspec.UnsetType = msgspec.UNSET
    error_id: str | msgspec.UnsetType = msgspec.UNSET
    begun: bool | msgspec.UnsetType = msgspec.UNSET
    instance: str | msgspec.UnsetType = msgspec.UNSET


def document(endpoints: Sequence[Endpoint], sockets: Sequence[SocketEndpoint], version: str) -> Schema:
    """The document of these tables."""
    kinds = [kind for line in endpoints for kind in (_body_kind(line.body), line.reply, *line.also)]
    kinds += [kind for socket in sockets for kind in (socket.hears, socket.tells)]
    wanted = [ProblemDocument, *(kind for kind in kinds if kind not in (None, bytes))]
    found, components = msgspec.json.schema_components(wanted, ref_template=REFERENCE)
    schema_by_kind = dict(zip(wanted, found, strict=True))
    paths: dict[str, Schema] = {}
    for line in endpoints:
        paths.setdefault(PATH_PARAMETER.sub(r"{\1}", line.path), {})[line.method.lower()] = _operation(
            line, schema_by_kind
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Gavel", "version": version, "description": DESCRIPTION},
        "paths": paths,
        "components": _components(components, schema_by_kind[ProblemDocument]),
        "x-websockets": [_socket(line, schema_by_kind) for line in sockets],
    }


def _components(schemas: Mapping[str, Any], problem: Schema) -> Schema:
    failure = {"description": "A failure.", "content": {MEDIA_TYPE: {"schema": problem}}}
    busy = failure | {"description": "A failure; after a 503, come again.", "headers": {"Retry-After": _retry_after()}}
    position = "The position of the log that the answer stands for: after a write, read with it as `after_position`."
    once = (
        f"What was done once under this key is not done again, and answered the same, for at least {KEY_HOURS} hours; "
        "with another request the key is refused (422, `key_reused`). What was refused or failed is not kept. "
        "A key is good for its caller, method and path."
    )
    return {
        "schemas": dict(schemas),
        "responses": {"Refused": failure, "Failed": busy},
        "headers": {
            POSITION_HEADER: {"description": position, "schema": {"type": "integer"}},
            "ETag": {"description": "What the answer shows, by name; strong where it is one thing.", "schema": TEXT},
        },
        "parameters": {
            IDEMPOTENCY_HEADER: {
                "name": IDEMPOTENCY_HEADER,
                "in": "header",
                "description": once,
                "schema": {"type": "string", "pattern": "^[!-~]{1,200}$"},
            }
        },
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer", "description": "A key: `gvl_…`."},
            "session": {
                "type": "apiKey",
                "in": "cookie",
                "name": COOKIE,
                "description": "A browser that has signed in.",
            },
        },
    }


def _retry_after() -> Schema:
    return {"description": "Seconds.", "schema": {"type": "integer"}}


def _operation(line: Endpoint, schema_by_kind: Mapping[Any, Schema]) -> Schema:
    tag = line.handle.__module__.rpartition(".")[2]
    words = " ".join((line.handle.__doc__ or "").split())
    operation: Schema = {
        "operationId": f"{tag}_{line.handle.__name__}",
        "tags": [tag],
        "summary": re.split(r"(?<=[.;:]) ", words)[0].rstrip(".;:"),
        "description": words + (f"\n\nFor {_names(line.roles)}." if line.needs is not None else ""),
        "parameters": [*_path_parameters(line.path), *map(_query_parameter, line.query), *map(_header, _headers(line))],
        "responses": _responses(line, schema_by_kind),
    }
    if line.deprecated is not None:
        operation |= {"deprecated": True}
        operation["description"] += f"\n\n{line.deprecated.sentence}"
    if line.needs is not None:
        operation |= {"security": [{"bearer": []}, {"session": []}], "x-roles": sorted(line.roles)}
        if line.method not in SAFE_METHODS:
            operation["parameters"].append({"$ref": f"#/components/parameters/{IDEMPOTENCY_HEADER}"})
    if line.body is not None:
        operation["requestBody"] = _request_body(line, schema_by_kind)
    return operation


def _names(who: Iterable[Role]) -> str:
    return "keys of the roles " + ", ".join(sorted(f"`{role.value}`" for role in who))


def _path_parameters(path: str) -> list[Schema]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in PATH_PARAMETER.findall(path)
    ]


def _query_parameter(parameter: Parameter[Any]) -> Schema:
    schema = dict(parameter.schema)
    return {"name": parameter.name, "in": "query", "description": parameter.meaning, "schema": schema}


def _header(header: Header) -> Schema:
    described = {"name": header.name, "in": "header", "description": header.meaning, "schema": dict(header.schema)}
    return described | ({"required": True} if header.required else {})


def _headers(line: Endpoint) -> list[Header]:
    """What the route reads itself, and what is read for all routes of its kind."""
    is_read = line.method in SAFE_METHODS
    conditions = [IF_NONE_MATCH] if line.rests_on and is_read else [IF_MATCH] if line.guards and not is_read else []
    return [*line.headers, *conditions]


def _body_kind(body: Any) -> Any:
    """The type of a body that may be left out (`X | None`) or must be there."""
    return next(kind for kind in get_args(body) if kind is not NoneType) if isinstance(body, UnionType) else body


def _request_body(line: Endpoint, schema_by_kind: Mapping[Any, Schema]) -> Schema:
    kind = _body_kind(line.body)
    if kind is bytes:
        return {"required": True, "content": {line.body_media: {"schema": {}}}}
    content = {"schema": schema_by_kind[kind]}
    return {"required": kind is line.body, "content": {JSON: content, MSGPACK: content}}


def _responses(line: Endpoint, schema_by_kind: Mapping[Any, Schema]) -> Schema:
    responses: Schema = {}
    for status in (line.status, *line.others):
        answer: Schema = {"description": HTTPStatus(status).phrase}
        if status not in (204, 303, 304):
            schema = schema_by_kind[line.reply] if line.reply is not None else {}
            if line.also:
                schema = {"anyOf": [schema, *(schema_by_kind[kind] for kind in line.also)]}
            answer["content"] = {line.media: {"schema": schema}}
        if line.reply is not None and line.needs is not None:
            answer["headers"] = {POSITION_HEADER: {"$ref": f"#/components/headers/{POSITION_HEADER}"}}
        responses[str(status)] = answer
    if line.rests_on:
        responses[str(line.status)]["headers"] |= {"ETag": {"$ref": "#/components/headers/ETag"}}
        responses["304"] = {"description": "What the caller has still holds."}
    refused = {"$ref": "#/components/responses/Refused"}
    return responses | {"4XX": refused, "5XX": {"$ref": "#/components/responses/Failed"}}


def _socket(line: SocketEndpoint, schema_by_kind: Mapping[Any, Schema]) -> Schema:
    described: Schema = {
        "path": line.path,
        "description": " ".join((line.handle.__doc__ or "").split()),
        "x-roles": sorted(line.roles),
        "parameters": [*_path_parameters(line.path), *map(_query_parameter, line.query)],
        "subprotocols": list(line.protocols),
    }
    sides = (("client", line.hears), ("server", line.tells))
    return described | {f"{side}_frames": schema_by_kind[kind] for side, kind in sides if kind is not None}
