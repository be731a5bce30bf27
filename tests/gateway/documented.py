"""Holds each answer and each frame that a test sees against the API document."""

import re
from functools import cache
from typing import Any

import httpx2
import msgspec
from jsonschema import Draft202012Validator

from gateway.app import api_document

exercised: set[tuple[str, str]] = set()
"""The operations that have answered with JSON as documented: method and path, as the document writes it."""


@cache
def document() -> dict[str, Any]:
    served: dict[str, Any] = msgspec.json.decode(api_document())
    return served


@cache
def _matchers() -> list[tuple[re.Pattern[str], str]]:
    """The document's paths; those without parameters first."""
    paths = sorted(document()["paths"], key=lambda path: (path.count("{"), path))
    return [(_pattern(path), path) for path in paths]


def _pattern(path: str) -> re.Pattern[str]:
    whole = re.escape(path).replace(r"\{path\}", ".+")
    return re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", whole))


@cache
def validator(pointer: str) -> Draft202012Validator:
    """For the schema at this place of the document."""
    formats = Draft202012Validator.FORMAT_CHECKER
    return Draft202012Validator(document() | {"$ref": f"#{pointer}"}, format_checker=formats)


def check(answer: httpx2.Response) -> None:
    """Fails where the answer is none of those that the document gives to the request."""
    method, path = answer.request.method, answer.request.url.path
    found = next((template for pattern, template in _matchers() if pattern.fullmatch(path)), None)
    item = document()["paths"].get(found, {})
    name = "get" if method == "HEAD" else method.lower()
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if found is None or name not in item:
        assert answer.status_code in (404, 405), answer
        return
    status = str(answer.status_code)
    if status not in item[name]["responses"]:
        assert status[0] in "45", (method, path, answer.status_code)
        status = f"{status[0]}XX"
        assert kind == "application/problem+json" or method == "HEAD", answer.headers
        if method != "HEAD":
            validator("/components/schemas/ProblemDocument").validate(answer.json())
        return
    contents = item[name]["responses"][status].get("content", {})
    assert kind in contents or "*/*" in contents or not contents, (method, path, kind)
    if kind == "application/json" and method != "HEAD":
        place = f"/paths/{found.replace('/', '~1')}/{name}/responses/{status}/content/application~1json/schema"
        validator(place).validate(answer.json())
        exercised.add((method, found))


def check_frame(path: str, frame: Any) -> None:
    """Fails where the frame is none of those that the document gives to the websocket at this path."""
    path = path.partition("?")[0]
    sockets = document()["x-websockets"]
    place = next(i for i, socket in enumerate(sockets) if _pattern(socket["path"]).fullmatch(path))
    validator(f"/x-websockets/{place}/server_frames").validate(frame)
