"""The document of what is told as it happens (AsyncAPI 3.0): the websockets and the feed of events, made of the tables of routes.

Operations are the node's: it receives what a client says and sends what a client hears. A frame with an `id` is answered by one that
carries the same. OpenAPI has no place for this; `gateway/api/openapi.py` describes the rest.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from gateway.api.bodies import MSGPACK
from gateway.api.calls import JSON, Endpoint, SocketEndpoint
from gateway.api.examples import example
from gateway.api.openapi import PATH_PARAMETER, information, security_schemes
from gateway.api.parameters import ANY_PART, PATH_PARTS
from gateway.api.queries import Parameter
from gateway.api.schemas import Schema, schemas_of
from gateway.feeds.live import Line
from gateway.identity.cookies import COOKIE

EVENT_STREAM = "text/event-stream"
DESCRIPTION = """\
What a node tells as it happens: an agent's own websocket, and the feed of the log as a websocket or as server-sent events.

The position is the cursor: whoever comes back with the last one that it has seen misses nothing. Requests and their answers, the
problem documents among them, are described by `/openapi.json`.
"""
CHANNELS = {"/v1/agents/{agent_id}/ws": "agent", "/v1/feed": "feed"}
"""What channels are called; others by their handlers."""

ANSWERS = ("ack", "problem")
"""The types of frames that answer one of the client's."""

SERVERS = {
    "sockets": {"host": "{node}", "protocol": "ws", "description": "Websockets; wss where the node has TLS."},
    "events": {"host": "{node}", "protocol": "http", "description": "Server-sent events; https where the node has TLS."},
}  # fmt: skip
NODE = {"default": "127.0.0.1:8070", "description": "Host and port of the node."}
CORRELATION = {"description": "The `id` of the frame that is answered.", "location": "$message.payload#/id"}


def document(endpoints: Sequence[Endpoint], sockets: Sequence[SocketEndpoint], version: str) -> Schema:
    """The document of these tables."""
    feeds = [line for line in endpoints if line.media == EVENT_STREAM]
    kinds = [kind for line in sockets for kind in (*_frames(line.hears), *_frames(line.tells))]
    schema_by_kind, schemas = schemas_of([*kinds, Line])
    describing = _Describing(schema_by_kind, schemas)
    for socket in sockets:
        describing.add_socket(socket)
    for feed in feeds:
        describing.add_feed(feed)
    told = information("Gavel: as it happens", version, DESCRIPTION)
    return {
        "asyncapi": "3.0.0",
        "info": {name: told[name] for name in ("title", "version", "description", "contact")}
        | {"license": {"name": told["license"]["name"]}},
        "defaultContentType": JSON,
        "servers": {
            name: server | {"variables": {"node": NODE}, "security": _security()} for name, server in SERVERS.items()
        },
        "channels": describing.channels,
        "operations": describing.operations,
        "components": {
            "schemas": schemas,
            "messages": describing.messages,
            "correlationIds": {"frame": CORRELATION},
            "securitySchemes": security_schemes()
            | {
                "session": {"type": "httpApiKey", "in": "cookie", "name": COOKIE, "description": "A signed-in browser."}
            },
        },
    }


class _Describing:
    """Collects the parts of the document."""

    def __init__(self, schema_by_kind: Mapping[Any, Schema], schemas: Mapping[str, Schema]) -> None:
        self.schema_by_kind = schema_by_kind
        self.schemas = schemas
        self.channels: dict[str, Schema] = {}
        self.operations: dict[str, Schema] = {}
        self.messages: dict[str, Schema] = {}

    def add_socket(self, line: SocketEndpoint) -> None:
        name = CHANNELS.get(line.path) or line.handle.__name__
        heard, told = _frames(line.hears), _frames(line.tells)
        for kind in (*heard, *told):
            self._add_frame(name, kind, line.protocols)
        self._add_channel(name, line.path, line, "sockets", [_tag(kind) for kind in (*heard, *told)])
        self.channels[name]["bindings"] = {"ws": _handshake(line)}
        answers = [_tag(kind) for kind in told if _tag(kind) in ANSWERS]
        for kind in heard:
            self._add_operation(f"{name}_{_tag(kind)}", "receive", name, [_tag(kind)], _words(kind))
            self.operations[f"{name}_{_tag(kind)}"]["reply"] = {
                "channel": _channel(name),
                "messages": [_of_channel(name, answer) for answer in answers],
            }
        said = [_tag(kind) for kind in told if _tag(kind) not in ANSWERS]
        self._add_operation(f"{name}_tell", "send", name, said, _words(line.handle))

    def add_feed(self, line: Endpoint) -> None:
        name = f"{CHANNELS.get(line.path) or line.action.replace('.', '_')}_events"
        fields = {
            "id": {"type": "string", "description": "The position, which is what to come back with: `Last-Event-ID`."}
        }
        record = self.schema_by_kind[Line]
        for tag, payload, words in (
            ("record", record, "A record. The event's name is its kind."),
            ("position", {"type": "integer"}, "How far the feed is. The event's name is `position`."),
        ):
            names = {"type": "string", "const": "position"} if tag == "position" else {"type": "string"}
            self.messages[f"{name}_{tag}"] = {
                "name": tag,
                "title": tag,
                "summary": words,
                "contentType": JSON,
                "headers": {"type": "object", "properties": fields | {"event": names}, "required": ["id", "event"]},
                "payload": payload,
                "examples": [
                    {
                        "headers": {"id": "4711", "event": "position" if tag == "position" else "task.TaskSubmitted"},
                        "payload": 4711 if tag == "position" else example(record, self.schemas),
                    }
                ],
            }
        self._add_channel(name, line.path, line, "events", ["record", "position"])
        self._add_operation(f"{name}_tell", "send", name, ["record", "position"], _words(line.handle))
        query = _query(line.query)
        self.operations[f"{name}_tell"]["bindings"] = {
            "http": {"method": "GET", "query": query, "bindingVersion": "0.3.0"}
        }

    def _add_frame(self, channel: str, kind: Any, protocols: Sequence[str]) -> None:
        schema = self.schema_by_kind[kind]
        has_id = "id" in kind.__struct_fields__
        self.messages[f"{channel}_{_tag(kind)}"] = {
            "name": _tag(kind),
            "title": _tag(kind),
            "summary": _words(kind),
            "contentType": JSON,
            "payload": schema,
            "examples": [{"payload": example(schema, self.schemas) | ({"id": 1} if has_id else {})}],
            **({"correlationId": {"$ref": "#/components/correlationIds/frame"}} if has_id else {}),
            **({"x-content-types": [JSON, MSGPACK]} if protocols else {}),
        }

    def _add_channel(
        self, name: str, path: str, line: Endpoint | SocketEndpoint, server: str, messages: Iterable[str]
    ) -> None:
        parts = {part: {"description": PATH_PARTS.get(part, ANY_PART).meaning} for part in PATH_PARAMETER.findall(path)}
        self.channels[name] = {
            "address": path,
            "title": name.replace("_", " "),
            "description": _words(line.handle),
            "servers": [{"$ref": f"#/servers/{server}"}],
            "messages": {tag: {"$ref": f"#/components/messages/{name}_{tag}"} for tag in messages},
            "x-roles": sorted(line.roles),
            **({"parameters": parts} if parts else {}),
        }

    def _add_operation(self, name: str, action: str, channel: str, messages: Sequence[str], summary: str) -> None:
        self.operations[name] = {
            "action": action,
            "channel": _channel(channel),
            "summary": summary,
            "security": _security(),
            "messages": [_of_channel(channel, tag) for tag in messages],
        }


def _frames(union: Any) -> tuple[Any, ...]:
    """The types of frames of one side."""
    return () if union is None else get_args(union) or (union,)


def _tag(kind: Any) -> str:
    """How a frame names its type."""
    return str(kind.__struct_config__.tag)


def _words(documented: Any) -> str:
    return " ".join((documented.__doc__ or "").split())


def _channel(name: str) -> Schema:
    return {"$ref": f"#/channels/{name}"}


def _of_channel(name: str, tag: str) -> Schema:
    return {"$ref": f"#/channels/{name}/messages/{tag}"}


def _security() -> list[Schema]:
    return [{"$ref": f"#/components/securitySchemes/{name}"} for name in ("bearer", "session")]


def _query(query: Iterable[Parameter[Any]]) -> Schema:
    described = {parameter.name: {"description": parameter.meaning, **parameter.schema} for parameter in query}
    return {"type": "object", "properties": described}


def _handshake(line: SocketEndpoint) -> Schema:
    """What the request that opens the socket says."""
    protocol = {"type": "string", "enum": list(line.protocols), "default": next(iter(line.protocols), "")}
    named = {"Sec-WebSocket-Protocol": protocol} if line.protocols else {}
    headers = {"Authorization": {"type": "string", "description": "Bearer KEY"}, **named}
    return {
        "method": "GET",
        "query": _query(line.query),
        "headers": {"type": "object", "properties": headers},
        "bindingVersion": "0.1.0",
    }
