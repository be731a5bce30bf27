"""Holds each answer and each frame that a test sees against the API document."""

import re
from functools import cache
from typing import Any

import httpx2
import msgspec
from jsonschema import Draft202012Validator

from gateway.api.problem_codes import CODES, URN
from gateway.api.problems import MEDIA_TYPE
from gateway.app import api_document, asyncapi_document

exercised: set[tuple[str, str]] = set()
"""The operations that have answered with JSON as documented: method and path, as the document writes it."""


@cache
def document() -> dict[str, Any]:
    served: dict[str, Any] = msgspec.json.decode(api_document())
    return served


HEADERS_OF_FAILURES = ("Retry-After", "WWW-Authenticate")
"""By what a client goes on: where the document names them, they have to be there."""


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
    responses = item[name]["responses"]
    assert status in responses, (
        f"{method} {path} answers {status}; gateway/api/described.py does not say so: {answer.text}"
    )
    if answer.status_code >= 400 and kind != "text/x.tlog.size":
        _check_problem(answer, resolved(responses[status]), f"{method} {path}")
        return
    contents = responses[status].get("content", {})
    assert kind in contents or "*/*" in contents or not contents, (method, path, kind)
    if kind == "application/json" and method != "HEAD":
        place = f"/paths/{found.replace('/', '~1')}/{name}/responses/{status}/content/application~1json/schema"
        validator(place).validate(answer.json())
        exercised.add((method, found))


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    """The part of the document itself, where it is referred to."""
    if "$ref" not in part:
        return part
    found: Any = document()
    for step in part["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return dict(found)


def _check_problem(answer: httpx2.Response, response: dict[str, Any], what: str) -> None:
    """Fails where a failure is none of those that the operation names."""
    assert answer.headers["content-type"] == MEDIA_TYPE, answer.headers
    if answer.request.method == "HEAD":
        return
    promised = [name for name in HEADERS_OF_FAILURES if name in response.get("headers", {})]
    assert [name for name in promised if name not in answer.headers] == [], (what, answer.status_code, answer.headers)
    problem = answer.json()
    validator("/components/schemas/ProblemDocument").validate(problem)
    code = problem["type"].removeprefix(URN)
    names = {name.rstrip("_0123456789") for name in response["content"][MEDIA_TYPE]["examples"]}
    assert code in names, f"{what} answers {answer.status_code} {code}; gateway/api/described.py does not say so"
    assert (problem["status"], problem["title"]) == (answer.status_code, CODES[code].title)


@cache
def asyncapi() -> dict[str, Any]:
    served: dict[str, Any] = msgspec.json.decode(asyncapi_document())
    return served


@cache
def frame_validator(path: str, action: str) -> dict[str, Draft202012Validator]:
    """For each type of the frames that the node sends or receives at this path."""
    channels = asyncapi()["channels"].items()
    names = [
        name for name, channel in channels if _pattern(channel["address"]).fullmatch(path) and "events" not in name
    ]
    answered = (
        [operation.get("reply", {}) for operation in asyncapi()["operations"].values()] if action == "send" else []
    )
    spoken = [one for one in asyncapi()["operations"].values() if one["action"] == action]
    tags = {
        message["$ref"].rpartition("/")[2]
        for part in (*spoken, *answered)
        if part and part["channel"]["$ref"].rpartition("/")[2] == names[0]
        for message in part["messages"]
    }
    formats = Draft202012Validator.FORMAT_CHECKER
    messages = asyncapi()["components"]["messages"]
    return {
        tag: Draft202012Validator(asyncapi() | messages[f"{names[0]}_{tag}"]["payload"], format_checker=formats)
        for tag in tags
    }


def check_frame(path: str, frame: Any, action: str = "send") -> None:
    """Fails where the frame is none of those that the document gives to the websocket at this path."""
    frame_validator(path.partition("?")[0], action)[frame["type"]].validate(frame)


def check_event(name: str, data: Any) -> None:
    """Fails where a server-sent event is none of those that the document gives to the feed."""
    messages = asyncapi()["components"]["messages"]
    message = messages["feed_events_position" if name == "position" else "feed_events_record"]
    Draft202012Validator(asyncapi() | message["payload"]).validate(data)
