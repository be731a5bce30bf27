"""The table of routes, and the application that is made of it: bounds first, then credentials, then the route."""

from collections.abc import Mapping, Sequence
from functools import cache, partial
from importlib.metadata import version

import msgspec
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.bounds import AtOnce, BodyBounds, BodyLimit, ClearFraming
from gateway.calls import Endpoint, SocketEndpoint, answer, answer_socket
from gateway.openapi import document
from gateway.parts import Node
from gateway.routes import (
    actors,
    agents,
    audit,
    audit_proofs,
    audit_rotations,
    bids,
    blobs,
    console,
    feed,
    health,
    journals,
    keys,
    log,
    log_state,
    log_why,
    openapi,
    problems,
    projections,
    session,
    sockets,
    solves,
    status,
    subjects,
    tasks,
    tenant_health,
    trail,
    uploads,
    users,
    webhooks,
    witness,
)
from gateway.routing import Application

ENDPOINTS: tuple[Endpoint, ...] = (
    *health.routes,
    *console.routes,
    *session.routes,
    *journals.routes,
    *keys.routes,
    *users.routes,
    *subjects.routes,
    *agents.routes,
    *tasks.routes,
    *bids.routes,
    *problems.routes,
    *solves.routes,
    *uploads.routes,  # before the blobs, whose path takes any name
    *blobs.routes,
    *webhooks.routes,
    *log.routes,
    *feed.routes,
    *log_state.routes,
    *log_why.routes,
    *audit.routes,
    *trail.routes,
    *audit_proofs.routes,
    *audit_rotations.routes,
    *witness.routes,
    *projections.routes,
    *status.routes,
    *tenant_health.routes,
    *actors.routes,
    *openapi.routes,
)
SOCKETS: tuple[SocketEndpoint, ...] = (*sockets.routes, *feed.sockets)

BLOBS = "/v1/blobs/"
BLOB_SECONDS_MAX = 600.0
BYTES_PER_SECOND_MIN = 1024.0
REQUESTS_AT_ONCE_MAX = 600
SOCKETS_AT_ONCE_MAX = 600
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # a sign-in link must not travel on
    "X-Frame-Options": "DENY",
}


def make_app(node: Node) -> Application:
    """The application of one node."""
    bodies = BodyLimit(bytes_max=node.settings.request_body_bytes_max, bytes_per_second_min=BYTES_PER_SECOND_MIN)
    blobs = BodyLimit(
        bytes_max=node.settings.blob_bytes_max,
        seconds_max=BLOB_SECONDS_MAX,
        bytes_per_second_min=BYTES_PER_SECOND_MIN,
    )
    middleware = [
        Middleware(Headers, hsts_seconds=node.settings.hsts_seconds),
        Middleware(ClearFraming),
        Middleware(AtOnce, requests_max=REQUESTS_AT_ONCE_MAX, sockets_max=SOCKETS_AT_ONCE_MAX, callers=node.callers),
        Middleware(BodyBounds, limit=bodies, limit_by_prefix={BLOBS: blobs}),
    ]
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in ENDPOINTS:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    routes = {path: dict.fromkeys(by_method, partial(answer, by_method)) for path, by_method in by_path.items()}
    app = Application(routes, {line.path: partial(answer_socket, line) for line in SOCKETS}, middleware)
    app.state.node = node
    app.state.api_document = api_document
    return app


@cache
def api_document() -> bytes:
    """What this table says, as OpenAPI."""
    return msgspec.json.encode(document(ENDPOINTS, SOCKETS, version("gavel-runtime")))


class Headers:
    """Adds to each response what browsers must be told, unless the route has said it otherwise."""

    def __init__(self, app: ASGIApp, hsts_seconds: int = 0) -> None:
        self.app = app
        hsts = {"Strict-Transport-Security": f"max-age={hsts_seconds}"} if hsts_seconds else {}
        self.headers_by_scheme = {"http": _fields(HEADERS), "https": _fields(HEADERS | hsts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        told = self.headers_by_scheme.get(scope["scheme"], ())

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                said = {name for name, _ in headers}
                message["headers"] = [*headers, *(field for field in told if field[0] not in said)]
            await send(message)

        await self.app(scope, receive, send_with_headers)


def _fields(headers: Mapping[str, str]) -> Sequence[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]
