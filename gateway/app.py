"""The table of routes, and the application that is made of it: bounds first, then credentials, then the route."""

from collections.abc import Awaitable, Mapping, Sequence
from functools import cache, partial
from importlib.metadata import version

import msgspec
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api import asyncapi as asyncapi_of
from gateway.api import older_openapi, request_ids
from gateway.api import openapi as openapi_of
from gateway.api.batch import lines_of
from gateway.api.calls import ANSWER_HEADERS, HEAVY, Endpoint, SocketEndpoint, answer, answer_socket
from gateway.api.older_paths import OlderPaths, offered
from gateway.api.routing import Answer, Application
from gateway.door.bounds import AtOnce, BodyBounds, BodyLimit, ClearFraming, Counts
from gateway.identity.auth import SAFE_METHODS
from gateway.limits.rates import Kind
from gateway.limits.strangers import turned_away
from gateway.parts import Node
from gateway.routes import (
    actors,
    agents,
    assignments,
    audit,
    audit_proofs,
    audit_rotations,
    batch,
    bids,
    blobs,
    concurrency,
    console,
    coordination,
    explain,
    feed,
    health,
    inbox,
    journals,
    keys,
    leases,
    log,
    log_state,
    log_why,
    older,
    openapi,
    operations,
    problems,
    projections,
    provider,
    questions,
    queues,
    revocations,
    session,
    sockets,
    solves,
    standing,
    status,
    subjects,
    task_batch,
    task_types,
    tasks,
    tenant_health,
    trail,
    uploads,
    users,
    webhooks,
    witness,
)

ENDPOINTS: tuple[Endpoint, ...] = (
    *health.routes,
    *console.routes,
    *session.routes,
    *provider.routes,
    *journals.routes,
    *keys.routes,
    *users.routes,
    *revocations.routes,
    *subjects.routes,
    *agents.routes,
    *standing.routes,
    *tasks.routes,
    *coordination.routes,
    *queues.routes,
    *concurrency.routes,
    *task_batch.routes,
    *task_types.routes,
    *leases.routes,
    *assignments.routes,
    *bids.routes,
    *questions.routes,
    *inbox.routes,
    *explain.routes,
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
    *batch.routes,
    *operations.routes,
)
OLDER: tuple[Endpoint, ...] = older.lines(ENDPOINTS)
"""The same under older paths, and the paths that nothing answers yet. No part of a batch."""

SOCKETS: tuple[SocketEndpoint, ...] = (*sockets.routes, *feed.sockets)

BLOBS = "/v1/blobs/"
BLOB_SECONDS_MAX = 600.0
BYTES_PER_SECOND_MIN = 1024.0
REQUESTS_AT_ONCE_MAX = 600
SOCKETS_AT_ONCE_MAX = 600
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),  # a sign-in link must not travel on
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),  # what is no page is not to act as one
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),  # keys are told once, and what a tenant sees is nobody else's
)
SWITCHED = 101
"""How a websocket is accepted."""
STARTS = frozenset({"http.response.start", "websocket.http.response.start", "websocket.accept"})


def make_app(node: Node) -> Application:
    """The application of one node."""
    bodies = BodyLimit(bytes_max=node.settings.request_body_bytes_max, bytes_per_second_min=BYTES_PER_SECOND_MIN)
    blobs = BodyLimit(
        bytes_max=node.settings.blob_bytes_max,
        seconds_max=BLOB_SECONDS_MAX,
        bytes_per_second_min=BYTES_PER_SECOND_MIN,
    )
    middleware = [
        Middleware(Headers, hsts_seconds=node.settings.hsts_seconds, counts=node.counts),
        Middleware(ClearFraming),
        Middleware(AtOnce, requests_max=REQUESTS_AT_ONCE_MAX, sockets_max=SOCKETS_AT_ONCE_MAX, callers=node.callers),
        Middleware(BodyBounds, limit=bodies, limit_by_prefix={BLOBS: blobs}),
    ]
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in ENDPOINTS:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    routes: dict[str, Mapping[str, Answer]] = {
        path: dict.fromkeys(by_method, partial(answer, by_method)) for path, by_method in by_path.items()
    }
    routes |= OlderPaths(node, OLDER).routes()
    app = Application(routes, {line.path: partial(answer_socket, line) for line in SOCKETS}, middleware, turned_away)
    app.state.node = node
    app.state.lines = lines_of(ENDPOINTS)
    app.state.api_document = api_document
    app.state.older_document = partial(older_document, node.settings.phase2_enabled)
    app.state.asyncapi_document = asyncapi_document
    return app


@cache
def api_document() -> bytes:
    """What this table says, as OpenAPI."""
    return msgspec.json.encode(openapi_of.document(ENDPOINTS, version("gavel-runtime")))


@cache
def older_document(phase2: bool) -> bytes:
    """What is said of the older paths, as OpenAPI."""
    return msgspec.json.encode(older_openapi.document(offered(OLDER, phase2=phase2), version("gavel-runtime")))


@cache
def asyncapi_document() -> bytes:
    """What these tables say of websockets and feeds, as AsyncAPI."""
    return msgspec.json.encode(asyncapi_of.document(ENDPOINTS, SOCKETS, version("gavel-runtime")))


class Headers:
    """Adds to each response what browsers must be told, unless the route has said it otherwise, and what the request is called; counts
    the answers."""

    def __init__(self, app: ASGIApp, hsts_seconds: int, counts: Counts) -> None:
        self.app = app
        self.answers = counts.answers
        hsts = ((b"strict-transport-security", f"max-age={hsts_seconds}".encode()),) if hsts_seconds else ()
        self.headers_by_scheme = {"http": HEADERS, "https": (*HEADERS, *hsts)}

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "lifespan":
            return self.app(scope, receive, send)
        named = request_ids.begin(scope)
        told = self.headers_by_scheme.get(scope["scheme"], HEADERS)

        async def send_with_headers(message: Message) -> None:
            if message["type"] in STARTS:
                self.answers[_class_of(scope), message.get("status", SWITCHED)] += 1
                headers = list(message.get("headers", ()))
                names = {name for name, _ in headers}
                headers += [line for line in told if line[0] not in names]
                message["headers"] = [*headers, *named.headers, *scope.get(ANSWER_HEADERS, ())]
            await send(message)

        return self.app(scope, receive, send_with_headers)


def _class_of(scope: Scope) -> str:
    """The class of a request as it is counted: that of its route's rate, or `socket`."""
    if scope["type"] == "websocket":
        return "socket"
    return scope.get(HEAVY) or (Kind.READ if scope["method"] in SAFE_METHODS else Kind.WRITE)


def _fields(headers: Mapping[str, str]) -> Sequence[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]
