"""The API document (OpenAPI 3.1), made of the table of routes: what is served is what is described.

Types of bodies and answers become schemas by the same library that checks them; examples are made from the schemas; failures from the
catalogue of problem codes. The websockets and the feed have a document of their own, `gateway/api/asyncapi.py`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from types import NoneType, UnionType
from typing import Any, get_args

import msgspec

from aggregates.values.roles import Role
from gateway.api.bodies import MSGPACK
from gateway.api.calls import JSON, OCTETS, Endpoint
from gateway.api.described import (
    ANSWER_HEADERS,
    TAGS,
    answer_headers,
    is_once,
    operation_of,
    refusals,
    request_headers,
    tag_of,
)
from gateway.api.examples import TEXTS, bodies, example
from gateway.api.parameters import ANY_PART, IDEMPOTENCY, PATH_PARTS
from gateway.api.problem_codes import CODES, PARTS, URN
from gateway.api.problems import MEDIA_TYPE, Fault
from gateway.api.queries import Header, Parameter
from gateway.api.request_ids import REQUEST_ID_SENT, TRACEPARENT
from gateway.api.schemas import REFERENCE, Schema, is_nothing, schemas_of
from gateway.identity.cookies import COOKIE

PATH_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
IN_ALL = (REQUEST_ID_SENT, TRACEPARENT)
"""Headers that any request may carry."""

WITHOUT_CONTENT = frozenset({204, 303, 304})
DESCRIPTION = """\
Agents register, bid for tasks and report what came of them; everything that happens is a record of one log.

Bodies are JSON or msgpack. Failures are problem documents (RFC 9457): the last part of `type` is the code to tell them apart by, and
`errors` lists every fault, by a JSON pointer into the body, by the parameter or by the header. A write that is sent again with the same
`Idempotency-Key` is done once. Answers carry the position of the log that they stand for (`Gavel-Position`): who has written reads it
back with `after_position`.

Websockets and the feed of events are described by `/asyncapi.json`; `/reference` shows both to people.
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


def document(endpoints: Sequence[Endpoint], version: str) -> Schema:
    """The document of this table."""
    kinds = [
        kind for line in endpoints for kind in (body_kind(line.body), line.reply, *line.also) if not is_nothing(kind)
    ]
    schema_by_kind, schemas = schemas_of([ProblemDocument, *kinds])
    describing = _Describing(schema_by_kind, schemas)
    paths: dict[str, Schema] = {}
    for line in endpoints:
        paths.setdefault(PATH_PARAMETER.sub(r"{\1}", line.path), {})[line.method.lower()] = describing.operation(line)
    used = {tag_of(line) for line in endpoints}
    known = [tag.name for tag in TAGS]
    tags = [{"name": tag.name, "description": tag.meaning} for tag in TAGS if tag.name in used]
    return {
        "openapi": "3.1.0",
        "info": information("Gavel", version, DESCRIPTION),
        "servers": [{"url": "/", "description": "The node that serves this document."}],
        "tags": tags + [{"name": name} for name in sorted(used.difference(known))],
        "paths": paths,
        "components": _components(schemas, describing.failures),
        "x-problems": [
            {
                "heading": part.heading,
                "codes": [
                    {"code": code.name, "type": URN + code.name, "statuses": list(code.statuses), "title": code.title}
                    | {"meaning": code.meaning, "remedy": code.remedy}
                    for code in part.codes
                ],
            }
            for part in PARTS
        ],
    }


def information(title: str, version: str, description: str) -> Schema:
    """What both documents say of themselves first."""
    return {
        "title": title,
        "version": version,
        "summary": "Agents bid for tasks; every decision is on record.",
        "description": description,
        "contact": {"name": "Whoever operates this node"},
        "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
    }


def _components(schemas: Mapping[str, Any], failures: Mapping[str, Any]) -> Schema:
    return {
        "schemas": dict(schemas),
        "responses": dict(failures),
        "headers": {
            header.name: {"description": header.meaning, "schema": dict(header.schema)} for header in ANSWER_HEADERS
        },
        "parameters": {header.name: _header(header) for header in (IDEMPOTENCY, *IN_ALL)},
        "examples": {
            _example_name(status, code.name): {"summary": code.meaning, "value": problem_example(status, code.name)}
            for code in CODES.values()
            for status in code.statuses
        },
        "securitySchemes": security_schemes(),
    }


def security_schemes() -> Schema:
    """How one says who calls."""
    return {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "A key, `gvl_…`, or a token (JWT) of an identity provider that the node trusts.",
        },
        "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "A browser that has signed in."},
    }


def problem_example(status: int, name: str) -> Schema:
    """A problem document of this code."""
    found = {"type": URN + name, "title": CODES[name].title, "status": status}
    match name:
        case "body_invalid":
            return found | {"errors": [{"pointer": "/price", "detail": "must be at least 0"}]}
        case "query_invalid":
            return found | {"errors": [{"parameter": "limit", "detail": "must be an integer from 1 to 500"}]}
        case "header_invalid":
            return found | {"errors": [{"header": IDEMPOTENCY.name, "detail": "must match ^[!-~]{1,200}$"}]}
        case "body_unreadable":
            return found | {"errors": [{"pointer": "", "detail": "can't be read: Input data was truncated"}]}
        case "crashed":
            return found | {"detail": "The log has it under this error id.", "error_id": "9f86d081884c7d65"}
        case "not_answered":
            return found | {"detail": "coordinator/default took longer than 5 s", "begun": True}
    return found


def _example_name(status: int, code: str) -> str:
    return code if len(CODES[code].statuses) == 1 and CODES[code].statuses[0] == status else f"{code}_{status}"


class _Describing:
    """Makes operations of routes."""

    def __init__(self, schema_by_kind: Mapping[Any, Schema], schemas: Mapping[str, Schema]) -> None:
        self.schema_by_kind = schema_by_kind
        self.schemas = schemas
        self.failures: dict[str, Schema] = {}
        """What several operations fail with alike, by name."""

    def operation(self, line: Endpoint) -> Schema:
        words = " ".join((line.handle.__doc__ or "").split())
        operation: Schema = {
            "operationId": operation_of(line).name,
            "tags": [tag_of(line)],
            "summary": re.split(r"(?<=[.;:]) ", words)[0].rstrip(".;:"),
            "description": words + (f"\n\nFor {_names(line.roles)}." if line.needs is not None else ""),
            "parameters": self._named(parameters(line.path, line.query, request_headers(line))),
            "responses": self._responses(line),
            "security": [],
        }
        if line.needs is not None:
            operation |= {"security": [{"bearer": []}, {"session": []}], "x-roles": sorted(line.roles)}
        if line.deprecated is not None:
            operation["deprecated"] = True
            operation["description"] += f"\n\n{line.deprecated.sentence}"
        shared = (*((IDEMPOTENCY,) if is_once(line) else ()), *IN_ALL)
        operation["parameters"] += [{"$ref": f"#/components/parameters/{header.name}"} for header in shared]
        if line.body is not None:
            operation["requestBody"] = self._request_body(line)
        return operation

    def _named(self, described: list[Schema]) -> list[Schema]:
        """Choices that are a type of ours are told by its name."""
        names = {tuple(schema["enum"]): name for name, schema in self.schemas.items() if "enum" in schema}
        for parameter in described:
            if name := names.get(tuple(sorted(parameter["schema"].get("enum", ())))):
                parameter["schema"] = {"$ref": REFERENCE.format(name=name)}
        return described

    def _request_body(self, line: Endpoint) -> Schema:
        kind = body_kind(line.body)
        if kind is bytes:
            return {"required": True, "content": {line.body_media: {"schema": {}}}}
        schema = self.schema_by_kind[kind]
        named = bodies(schema["$ref"].rpartition("/")[2], schema, self.schemas)
        shown = {name: {"value": value} for name, value in named.items()}
        content = {JSON: {"schema": schema, "examples": shown}, MSGPACK: {"schema": schema}}
        return {"required": kind is line.body, "content": content}

    def _responses(self, line: Endpoint) -> Schema:
        unchanged = (304,) if line.rests_on else ()
        answers = {status: self._answer(line, status) for status in (line.status, *line.others, *unchanged)}
        for status, answer in answers.items():
            _add_headers(answer, line, status)
        for status, codes in refusals(line).items():
            if status in answers:  # an answer and a failure by one status
                answers[status]["content"] |= _failure(status, codes)["content"]
            else:
                answers[status] = self._shared_failure(line, status, codes)
        return {str(status): answers[status] for status in sorted(answers)}

    def _answer(self, line: Endpoint, status: int) -> Schema:
        answer: Schema = {"description": HTTPStatus(status).phrase}
        if status in WITHOUT_CONTENT:
            return answer
        if line.reply is not None:
            schema = self.schema_by_kind[line.reply]
            shown = {"schema": schema, "example": example(schema, self.schemas)}
            if line.also:
                shown["schema"] = {"anyOf": [schema, *(self.schema_by_kind[kind] for kind in line.also)]}
        else:
            shown = {"schema": {"type": "string"}} if line.media != OCTETS else {"schema": {}}
            shown |= {"example": TEXTS[line.action]} if line.action in TEXTS else {}
        return answer | {"content": dict.fromkeys(operation_of(line).media or (line.media,), shown)}

    def _shared_failure(self, line: Endpoint, status: int, codes: Sequence[str]) -> Schema:
        """A reference to the failure, under a name that tells the status; the same one is written once."""
        failure = _failure(status, codes)
        _add_headers(failure, line, status)
        phrase = HTTPStatus(status).phrase.title().replace(" ", "").replace("-", "")
        taken = [name for name in self.failures if name.rstrip("0123456789") == phrase]
        name = next((name for name in taken if self.failures[name] == failure), f"{phrase}{len(taken) or ''}")
        self.failures[name] = failure
        return {"$ref": f"#/components/responses/{name}"}


def _failure(status: int, codes: Sequence[str]) -> Schema:
    named = [_example_name(status, code) for code in codes]
    shown = {name: {"$ref": f"#/components/examples/{name}"} for name in named}
    schema = {"$ref": REFERENCE.format(name="ProblemDocument")}
    content = {MEDIA_TYPE: {"schema": schema, "examples": shown}}
    return {"description": f"{HTTPStatus(status).phrase}: {', '.join(codes)}.", "content": content}


def _add_headers(answer: Schema, line: Endpoint, status: int) -> None:
    if names := answer_headers(line, status):
        answer["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _names(who: Iterable[Role]) -> str:
    return "keys of the roles " + ", ".join(sorted(f"`{role.value}`" for role in who))


def parameters(path: str, query: Iterable[Parameter[Any]], headers: Iterable[Header]) -> list[Schema]:
    """What a request says beside its body."""
    return [*map(_path_parameter, PATH_PARAMETER.findall(path)), *map(_query_parameter, query), *map(_header, headers)]


def _path_parameter(name: str) -> Schema:
    part = PATH_PARTS.get(name, ANY_PART)
    described = {"description": part.meaning} if part.meaning else {}
    return {"name": name, "in": "path", "required": True, **described, "schema": dict(part.schema)}


def _query_parameter(parameter: Parameter[Any]) -> Schema:
    schema = dict(parameter.schema)
    described = {"name": parameter.name, "in": "query", "description": parameter.meaning}
    return described | ({"required": True} if parameter.is_required else {}) | {"schema": schema}


def _header(header: Header) -> Schema:
    described = {"name": header.name, "in": "header", "description": header.meaning, "schema": dict(header.schema)}
    return described | ({"required": True} if header.required else {})


def body_kind(body: Any) -> Any:
    """The type of a body that may be left out (`X | None`) or must be there."""
    return next(kind for kind in get_args(body) if kind is not NoneType) if isinstance(body, UnionType) else body
