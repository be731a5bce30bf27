"""The document of websockets and feeds: of the form that AsyncAPI 3.0 asks for, complete, and true of what is sent.

The form is checked by a schema of those parts of AsyncAPI that we use; `documented.check_frame` holds each frame that a test sees against
the document.
"""

from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from gateway.app import ENDPOINTS, SOCKETS
from gateway.feeds.frames import PROTOCOLS
from tests.gateway import documented
from tests.gateway.clients import Client

TEXT = {"type": "string", "minLength": 1}
REFERENCE = {"type": "object", "properties": {"$ref": TEXT}, "required": ["$ref"], "additionalProperties": False}
REFERENCES = {"type": "array", "items": REFERENCE, "uniqueItems": True}


def closed(required: str, **parts: Any) -> dict[str, Any]:
    """An object of these parts, and extensions."""
    extensions: dict[str, Any] = {"^x-[\\w-]+$": {}}
    return {
        "type": "object",
        "properties": parts,
        "patternProperties": extensions,
        "required": required.split(),
        "additionalProperties": False,
    }


def by_name(part: Any) -> dict[str, Any]:
    return {"type": "object", "patternProperties": {r"^[\w.-]+$": part}, "additionalProperties": False}


MESSAGE = closed(
    "payload name",
    name=TEXT,
    title=TEXT,
    summary=TEXT,
    contentType={"const": "application/json"},
    headers={"type": "object"},
    payload={"type": "object"},
    correlationId=REFERENCE,
    examples={"type": "array", "items": closed("payload", payload={}, headers={"type": "object"}), "minItems": 1},
)
SOCKET_BINDING = closed(
    "bindingVersion",
    method={"enum": ["GET", "POST"]},
    query={"type": "object"},
    headers={"type": "object"},
    bindingVersion={"const": "0.1.0"},
)
CHANNEL = closed(
    "address messages",
    address=TEXT,
    title=TEXT,
    description=TEXT,
    servers=REFERENCES,
    messages=by_name(REFERENCE),
    parameters=by_name(closed("description", description=TEXT)),
    bindings=closed("", ws=SOCKET_BINDING),
)
OPERATION = closed(
    "action channel",
    action={"enum": ["send", "receive"]},
    channel=REFERENCE,
    summary=TEXT,
    security=REFERENCES,
    messages=REFERENCES,
    reply=closed("channel messages", channel=REFERENCE, messages=REFERENCES),
    bindings=closed("", http=closed("", method=TEXT, query={"type": "object"}, bindingVersion={"const": "0.3.0"})),
)
SERVER = closed(
    "host protocol",
    host=TEXT,
    protocol=TEXT,
    description=TEXT,
    variables=by_name(closed("", default=TEXT, description=TEXT)),
    security=REFERENCES,
)
BEARER = closed("type scheme", type={"const": "http"}, scheme={"const": "bearer"}, description=TEXT)
COOKIE = closed("type name in", type={"const": "httpApiKey"}, name=TEXT, description=TEXT) | {}
COOKIE["properties"]["in"] = {"const": "cookie"}
CORRELATION = closed("location", location={"pattern": r"^\$message\.(header|payload)#(/[\w]+)*$"}, description=TEXT)
COMPONENTS = closed(
    "",
    schemas=by_name({"type": "object"}),
    messages=by_name(MESSAGE),
    correlationIds=by_name(CORRELATION),
    securitySchemes=by_name({"oneOf": [BEARER, COOKIE]}),
)
INFO = closed(
    "title version",
    title=TEXT,
    version=TEXT,
    description=TEXT,
    contact=closed("", name=TEXT),
    license=closed("name", name=TEXT),
)
ASYNCAPI = closed(
    "asyncapi info",
    asyncapi={"const": "3.0.0"},
    info=INFO,
    defaultContentType=TEXT,
    servers=by_name(SERVER),
    channels=by_name(CHANNEL),
    operations=by_name(OPERATION),
    components=COMPONENTS,
)


def follow(reference: str) -> Any:
    found: Any = documented.asyncapi()
    for step in reference.removeprefix("#/").split("/"):
        found = found[step.replace("~1", "/")]
    return found


def references(part: Any) -> set[str]:
    if isinstance(part, dict):
        own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return own.union(*map(references, part.values()))
    return set().union(*map(references, part)) if isinstance(part, list) else set()


def test_the_document_is_of_the_form_that_asyncapi_asks_for() -> None:
    Draft202012Validator(ASYNCAPI).validate(documented.asyncapi())
    with pytest.raises(ValidationError):
        Draft202012Validator(ASYNCAPI).validate(documented.asyncapi() | {"paths": {}})


def test_all_that_is_referred_to_is_there() -> None:
    for reference in references(documented.asyncapi()):
        assert follow(reference), reference


def test_every_socket_and_every_feed_has_a_channel_with_all_its_frames() -> None:
    channels = {
        channel["address"]: channel for channel in documented.asyncapi()["channels"].values() if "bindings" in channel
    }
    assert channels.keys() == {line.path for line in SOCKETS}
    for line in SOCKETS:
        kinds = [
            kind for union in (line.hears, line.tells) if union is not None for kind in get_args(union) or (union,)
        ]
        tags = {str(kind.__struct_config__.tag) for kind in kinds}
        assert channels[line.path]["messages"].keys() == tags
        assert channels[line.path]["x-roles"] == sorted(line.roles)
        asked = channels[line.path]["bindings"]["ws"]["query"]["properties"]
        assert list(asked) == [parameter.name for parameter in line.query]
    feeds = {channel["address"] for channel in documented.asyncapi()["channels"].values() if "bindings" not in channel}
    assert feeds == {line.path for line in ENDPOINTS if line.media == "text/event-stream"}


def test_every_message_is_said_by_somebody_and_has_an_example_of_its_schema() -> None:
    document = documented.asyncapi()
    for name, message in document["components"]["messages"].items():
        for example in message["examples"]:
            Draft202012Validator(document | message["payload"]).validate(example["payload"])
            Draft202012Validator(message.get("headers", {})).validate(example.get("headers", {}))
        assert message["summary"], name
    said = {follow(reference)["$ref"] for reference in references(document["operations"]) if "/messages/" in reference}
    assert said == {f"#/components/messages/{name}" for name in document["components"]["messages"]}


def test_what_an_agent_says_is_answered_under_its_id() -> None:
    operations = documented.asyncapi()["operations"]
    bid = operations["agent_bid"]
    assert [reply["$ref"].rpartition("/")[2] for reply in bid["reply"]["messages"]] == ["ack", "problem"]
    for tag in ("bid", "ack", "problem"):
        message = documented.asyncapi()["components"]["messages"][f"agent_{tag}"]
        assert message["correlationId"] == {"$ref": "#/components/correlationIds/frame"}


def test_both_protocols_are_named() -> None:
    channel = documented.asyncapi()["channels"]["agent"]
    offered = channel["bindings"]["ws"]["headers"]["properties"]["Sec-WebSocket-Protocol"]["enum"]
    assert offered == [protocol.name for protocol in PROTOCOLS]
    spoken = documented.asyncapi()["components"]["messages"]["agent_bid"]["x-content-types"]
    assert spoken == [protocol.media_type for protocol in PROTOCOLS]


def test_a_frame_that_is_not_described_is_found() -> None:
    path = "/v1/agents/a1/ws?after=3"
    documented.check_frame(path, {"type": "position", "position": 3})
    with pytest.raises(ValidationError):
        documented.check_frame(path, {"type": "position", "position": "three"})
    with pytest.raises(KeyError):
        documented.check_frame(path, {"type": "bid", "task_id": "t1"})


async def test_everybody_may_read_it(admin: Client) -> None:
    answer = await admin.http.get(f"{admin.node.url}/asyncapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == documented.asyncapi()
