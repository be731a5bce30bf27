"""One request on its way through a route: who calls, what is asked of the node, how it is answered.

A route parses, asks and renders. What all routes do alike stands here: credentials and roles, idempotency keys, the
position that a read waits for, JSON out.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from http import HTTPStatus
from typing import Any, NamedTuple, TypeVar

import msgspec
import trio
from sqlalchemy import Connection
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from aggregates.values.ids import TENANT_NAME
from aggregates.values.roles import MACHINES, Permission, Principal, Role, roles_with
from gateway.api import conditional, fields, preferences, request_ids, sorting
from gateway.api.bodies import decode, without_secrets
from gateway.api.deprecation import Deprecated
from gateway.api.parameters import IDEMPOTENCY, check_no_body, check_parameters
from gateway.api.problems import BadRequest, Fault, document_of
from gateway.api.queries import AFTER, AFTER_POSITION, AS_OF, LIMIT, REASON, TENANT, AsOf, Header, Parameter
from gateway.api.turns import ALONE, Turn
from gateway.door.heads import said
from gateway.feeds import waiting
from gateway.identity.auth import SAFE_METHODS, authenticate, check_permission
from gateway.limits.admission import RawHeader, admit
from gateway.limits.rates import Kind
from gateway.parts import Compartment, Node, check_whole_node
from gateway.trail import Begun
from runtime.delivery import Context
from runtime.errors import Overloaded, Refused
from runtime.records import Command

R = TypeVar("R")
T = TypeVar("T")

POSITION_HEADER = "Gavel-Position"
JOURNAL_HEADER = "Gavel-Journal"
TENANT_HEADER = "X-Tenant-ID"
_JOURNAL, _TENANT = JOURNAL_HEADER.lower().encode(), TENANT_HEADER.lower().encode()
IDEMPOTENCY_HEADER = IDEMPOTENCY.name
_IDEMPOTENCY = IDEMPOTENCY_HEADER.lower().encode()
CATCH_UP_SECONDS_MAX = 5.0
JSON = "application/json"
OCTETS = "application/octet-stream"
ANSWER_HEADERS = "gavel.answer_headers"
"""In a request's scope: what is told with any answer to it, a failure too."""
HEAVY = "gavel.heavy"
"""In a request's scope: its class, where its route is heavy."""

_deterministic = msgspec.msgpack.Encoder(order="deterministic")


class Endpoint(NamedTuple):
    """A line in the table of routes, of which the API document is made. `needs` is None where no credentials are needed.

    Where an agent itself is concerned, a path's `{agent_id}` binds its own key, which is taken for that agent alone. `body` is
    `bytes` where any are taken, of the type `body_media`, and `X | None` where it may be left out. `reply` is the type of a
    JSON answer; one of another `media` type has none. `others` are further statuses that are no failures, `also` further types of a
    JSON answer. No parameter of a query is read but those in `query`; `headers` mean something here alone. Where it `acts`, this is an
    administrative action of whoever is no program: the handler puts it on record (`Call.begin`) before it does anything. It
    `is_heavy` where it reads a whole journal or makes read models anew: there is a rate of its own for that.

    A GET `rests_on` streams whose names begin so (`{…}` of the path, or the tenant): by those its answer has an ETag, which is the
    row's own position where that row changes by nothing but the records of one stream (`by_last_position`). `guards` is the stream of
    what the path names: a write is held against it where it says If-Match. One that `asks_once`, after nothing but reading its body, may be
    followed in a batch by the next as soon as it has asked. What no actor decides but the node itself does `is_kept`: its answers are,
    under their idempotency keys.
    """

    method: str
    path: str
    handle: "Callable[[Call], Awaitable[Response]]"
    needs: Permission | None
    body: Any = None
    reply: Any = None
    status: int = 200
    query: tuple[Parameter[Any], ...] = ()
    media: str = JSON
    others: tuple[int, ...] = ()
    headers: tuple[Header, ...] = ()
    body_media: str = OCTETS
    acts: bool = False
    rests_on: tuple[str, ...] = ()
    by_last_position: bool = False
    guards: str = ""
    also: tuple[Any, ...] = ()
    deprecated: Deprecated | None = None
    asks_once: bool = False
    is_heavy: bool = False
    is_kept: bool = False

    @property
    def roles(self) -> frozenset[Role]:
        """Who may."""
        return frozenset() if self.needs is None else roles_with(self.needs)

    @property
    def kind(self) -> Kind:
        """Which of a principal's rates it counts for."""
        if self.is_heavy:
            return Kind.HEAVY
        return Kind.READ if self.method in SAFE_METHODS else Kind.WRITE

    @property
    def route(self) -> str:
        """How a record names it."""
        return f"{self.method} {self.path}"

    @property
    def headers_read(self) -> tuple[Header, ...]:
        """The headers that mean something here: what is done on somebody's behalf is done once under a key."""
        is_once = self.needs is not None and self.method not in SAFE_METHODS
        return (*self.headers, IDEMPOTENCY) if is_once else self.headers

    @property
    def action(self) -> str:
        """What a record calls the action."""
        return f"{self.handle.__module__.rpartition('.')[2]}.{self.handle.__name__}"


class SocketEndpoint(NamedTuple):
    """A line in the table of websockets; the handler accepts. `hears` and `tells` are the types of the frames of both sides."""

    path: str
    handle: Callable[[WebSocket, Compartment, Principal], Awaitable[None]]
    needs: Permission
    query: tuple[Parameter[Any], ...] = ()
    protocols: tuple[str, ...] = ()
    hears: Any = None
    tells: Any = None
    others: bool = False
    """Whether the query may say more, which the handler looks at."""

    @property
    def roles(self) -> frozenset[Role]:
        """Who may."""
        return roles_with(self.needs)

    @property
    def route(self) -> str:
        """How a record names it."""
        return f"WS {self.path}"


class Call:
    """A request, its caller, and the caller's compartment of the node."""

    def __init__(self, request: Request, node: Compartment, principal: Principal | None, endpoint: Endpoint) -> None:
        self.request = request
        self.node = node
        self.endpoint = endpoint
        self._principal = principal
        self._asked_for: Any = None
        self._begun: Begun | None = None
        self.is_left_open = False
        """Whether the action goes on when the request has been answered."""
        self.is_repeat = False
        """Whether nothing was done, since it was done before under the same key."""
        self._read_position: int | None = None
        self.turn: Turn | None = None
        """Its place in the order of a batch."""
        self._tag_position = 0
        self.is_news = False
        """Whether something has happened for which the caller has waited: an older answer would not show it."""

    @property
    def principal(self) -> Principal:
        """Who calls; only where the endpoint asks for credentials."""
        assert self._principal is not None
        return self._principal

    @property
    def tenant(self) -> str:
        """The caller's tenant."""
        return self.principal.tenant

    @property
    def path(self) -> Mapping[str, str]:
        """The path's parameters."""
        return self.request.path_params

    # ---- in

    async def body(self, kind: type[T]) -> T:
        """The body as a value of that type."""
        value = await decode(self.request, kind, bytes_max=self.node.settings.request_body_bytes_max)
        self._asked_for = without_secrets(value)
        return value

    async def body_or(self, kind: type[T]) -> T:
        """The body as a value of that type; where there is none, the type's defaults."""
        return await self.body(kind) if self.has_body else kind()

    @property
    def has_body(self) -> bool:
        headers = self.request.headers
        return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers

    def asked(self, parameter: Parameter[T]) -> T:
        """A parameter of the query, which the endpoint must name. Raises Refused where its value makes no sense."""
        assert parameter in self.endpoint.query, f"{self.endpoint.path} does not name {parameter.name}"
        return asked_of(self.request, self.node, parameter)

    @property
    def limit(self) -> int:
        """How many rows a page may have."""
        return self.asked(LIMIT)

    @property
    def cursor(self) -> int | None:
        """Where the page goes on: what the one before told as `next`."""
        return self.asked(AFTER)

    def wish(self) -> dict[str, Any]:
        """Which page is wanted, sorted how, and what of its rows: as the `page` of a read model takes it."""
        sort = self._named(sorting.NAME)
        past = sorting.past(sort, self.asked(sorting.CURSOR))
        return {"sort": sort.keys, "past": past, "limit": self.limit, "only": self.only}

    @property
    def only(self) -> frozenset[str] | None:
        """Which fields are wanted; None: all."""
        chosen: frozenset[str] | None = self._named(fields.NAME)
        return chosen

    def _named(self, name: str) -> Any:
        """The endpoint's parameter of that name, as it was asked."""
        for one in self.endpoint.query:
            if one.name == name:
                return self.asked(one) if self.request.scope["query_string"] else one.absent
        return None

    @property
    def reason(self) -> str:
        """Why something is ended, as the query says."""
        return self.asked(REASON)

    # ---- asking

    async def begin(self, subject: str, *, action: str = "", reason: str = "", by: Principal | None = None) -> str:
        """Puts on record what is about to be done, to whom; what can't be recorded must not be done. Where the caller's role does
        here what is nobody's action, nothing is. Answers with the action's id."""
        principal = by or self.principal
        if by is None and not self._is_action(principal):
            return ""
        name = action or self.endpoint.action
        self._begun = await self.node.trail.begin(
            self.request, principal, self.endpoint.route, name, subject, reason=reason
        )
        return self._begun.action_id

    def _is_action(self, principal: Principal) -> bool:
        return self.endpoint.acts and principal.role not in MACHINES

    async def done(self) -> None:
        """The request was answered: an action that it began is done, unless it goes on."""
        if self._begun is None:
            is_action = self._principal is not None and self._is_action(self._principal)
            assert self.is_repeat or not is_action, self.endpoint.route
        elif not self.is_left_open:
            await self.node.trail.end_done(self._begun)

    async def left_open_ended(self, error: Exception | None) -> None:
        """What went on when the request had been answered has ended."""
        if self._begun is not None and error is not None:
            self.node.trail.end(self._begun, error)
        elif self._begun is not None:
            await self.node.trail.end_done(self._begun)

    def failed(self, error: BaseException) -> None:
        """The request was refused or has failed: takes down what became of the action that it began, or that it was refused."""
        trail, route = self.node.trail, self.endpoint.route
        if self._begun is not None:
            trail.end(self._begun, error)
        elif self._principal is not None and isinstance(error, Exception):
            trail.refuse(self.request, self._principal, route, error)
        elif isinstance(error, HTTPException) and error.status_code == HTTPStatus.UNAUTHORIZED:
            trail.refuse_stranger(self.request, route, error)

    async def ask(self, message: Command[R], *, tenant: str = "") -> R:
        """Asks the node on the caller's behalf, once for each idempotency key; for another tenant where one is named."""
        context = self.context()
        if tenant:
            context = msgspec.structs.replace(context, tenant=tenant)
        self._read_position = None  # what was read before is older than what is answered now
        if self.turn is not None:
            return await self._ask_in_turn(message, context, self.turn)
        return await self.node.system.ask(message, context)

    async def _ask_in_turn(self, message: Command[R], context: Context, turn: Turn) -> R:
        system = self.node.system
        await turn.take(system.place(message, context))
        delivery = system.post(message, context)
        turn.go_on()
        answer: R = await delivery.wait()
        return answer

    def context(self) -> Context:
        """On whose behalf, and why."""
        named = request_ids.of(self.request.scope)
        key = said(self.request.scope, _IDEMPOTENCY) or ""
        return Context(
            tenant=self.tenant,
            principal=self.principal.name,
            cause=self._begun.cause if self._begun else "",
            correlation=self._begun.correlation if self._begun else named.trace_id,
            traceparent=named.traceparent,
            tracestate=named.tracestate,
            key=f"{self.principal.key_id} {self.request.method} {self.request.url.path} {key}" if key else "",
            digest=self._digest() if key else b"",
            expects=conditional.expected(self) if self.endpoint.guards else None,
        )

    def _digest(self) -> bytes:
        """What an idempotency key was used for."""
        url = self.request.url
        asked_for = (self.request.method, url.path, url.query, self._asked_for)
        try:
            return sha256(_deterministic.encode(asked_for)).digest()
        except RecursionError as error:
            raise BadRequest([Fault(pointer="", detail="is nested too deep")]) from error
        except TypeError as error:  # as msgpack can have it
            raise BadRequest([Fault(pointer="", detail="has a key that is no text")]) from error
        except OverflowError as error:
            detail = "has a moment that is none in UTC, before the year 1 or past the year 9999"
            raise BadRequest([Fault(pointer="", detail=detail)]) from error

    async def read(self, question: Callable[..., T], *arguments: Any, **narrowed: Any) -> T:
        """A projection's query as of now (or of `?after_position=`): whoever has written reads it back.

        With `?as_of=` it is answered by the read models as they were then.
        """
        if self.turn is not None:
            await self.turn.take(ALONE)
        ask = partial(_ask, question, arguments, narrowed)
        as_of = self.asked(AS_OF) if AS_OF in self.endpoint.query else None
        if as_of is not None:
            self._tag_position = self._tag_position or self.node.system.journal.position
            self._read_position = await self._position_of(as_of)
            async with self.node.moments.taken(self.tenant):
                return await self.node.history.query(self._read_position, ask)
        named = self.after_position()
        newest = self.node.system.journal.position
        position = self._read_position = newest if named is None or self.is_news else named
        self._tag_position = self._tag_position or position
        await self._catch_up(position)
        return await self.node.projector.glance(ask)

    def after_position(self) -> int | None:
        """The position that the query names, which the log has come to though the read models may not have. Raises BadRequest for one past
        the log's end: whoever brings it has it from a log that went further, as before a restore, and would wait in vain."""
        named = self.asked(AFTER_POSITION) if AFTER_POSITION in self.endpoint.query else None
        newest = self.node.system.journal.position
        if named is not None and named > newest:
            detail = f"is past the end of the log, which is at position {newest}"
            raise BadRequest([Fault(parameter=AFTER_POSITION.name, detail=detail)], code="position_ahead")
        return named

    @property
    def read_position(self) -> int:
        """As of which position the read models have answered."""
        assert self._read_position is not None, "nothing was read"
        return self._read_position

    def shows(self, position: int) -> None:
        """What is answered stands at this position: for a route that puts together what it read at several."""
        self._read_position = position

    @property
    def is_of_the_past(self) -> bool:
        """Whether it is asked how things stood at some moment."""
        return AS_OF in self.endpoint.query and self.asked(AS_OF) is not None

    def rests_at(self, position: int) -> None:
        """What is answered rests on nothing past this position: for a route that reads no read models."""
        self._tag_position = position

    async def look(self, question: Callable[..., T], *arguments: Any, **narrowed: Any) -> T:
        """As `read`, for what is found by its key in a few rows of the caller's tenant: asked as soon as the read models show all that is
        recorded of that tenant, which is all that such a row is made of."""
        if self.turn is not None or self._names_parameters():
            return await self.read(question, *arguments, **narrowed)
        system, projector = self.node.system, self.node.projector
        self._read_position = system.journal.position
        self._tag_position = self._tag_position or self._read_position
        await self._catch_up(system.newest(self.tenant))
        return await projector.glance(partial(_ask, question, arguments, narrowed))

    def _names_parameters(self) -> bool:
        """Whether the query names a parameter of the route."""
        if not self.request.scope["query_string"]:
            return False
        return any(parameter.name in self.request.query_params for parameter in self.endpoint.query)

    async def _catch_up(self, position: int) -> None:
        """Waits until the read models show everything up to a position. Raises Overloaded."""
        projector = self.node.projector
        if projector.reached >= position:
            return
        with trio.move_on_after(CATCH_UP_SECONDS_MAX) as scope:
            await projector.wait_for(position)
        if scope.cancelled_caught:
            raise Overloaded(f"the read models have not reached position {position} yet")

    async def _position_of(self, as_of: AsOf) -> int:
        journal = self.node.system.journal
        if as_of.position is None:
            return min(int(await journal.read_with(journal.store.position_at, as_of.time)), journal.position)
        if as_of.position > journal.position:
            raise Refused("as_of_ahead", f"the log ends at position {journal.position}", status=422)
        return as_of.position

    # ---- out

    def page(self, name: str, rows: Sequence[Mapping[str, Any]]) -> Response:
        """A page of a read model's rows under this name, with the cursor of the page after it (null where there is none), and a link
        there."""
        after = sorting.cursor_after(self._named(sorting.NAME), rows[-1]) if len(rows) == self.limit else None
        shown = {name: fields.all_picked(rows, self.only), "next": after}
        return self.reply(shown, headers=self.link_to(after), is_page=True)

    def link_to(self, after: int | str | None) -> dict[str, str]:
        """The header that leads to the page after one; none where there is no such page."""
        if after is None:
            return {}
        scope = self.request.scope
        return {"Link": sorting.link_to(scope["path"], scope["query_string"].decode("latin-1"), after)}

    def reply(
        self, value: Any, status: int = 200, headers: Mapping[str, str] | None = None, *, is_page: bool = False
    ) -> Response:
        """JSON, with the position that was read at; after a command, the one that a reader has to wait for to see it."""
        named = self.place()
        if self.endpoint.rests_on and self._tag_position:
            named |= conditional.headers_of(self, value, self._tag_position, weak=is_page)
            if conditional.matches(self.request.scope, named.get("ETag", "")):
                return conditional.not_modified(self, named["ETag"])
        if not is_page and isinstance(value, dict):
            value = fields.picked(value, self.only)
        return Response(msgspec.json.encode(value), status, named | dict(headers or {}), JSON)

    def applied(self, preference: str) -> None:
        """Whatever the answer is, it says that this preference was followed."""
        told = self.request.scope.get(ANSWER_HEADERS, ())
        also = ((b"preference-applied", preference.encode()), (b"vary", b"Prefer"))
        self.request.scope[ANSWER_HEADERS] = [*told, *also]

    async def written(self, accepted: Any, look: Callable[[], Awaitable[Any]]) -> Response:
        """What a write answers with, as its caller prefers: what was accepted, nothing, or what `look` finds now."""
        returns = preferences.preferences(self.request.scope).returns
        if returns:
            self.applied(f"return={returns}")
        if returns == "minimal":
            return Response(status_code=204, headers=self.place())
        return self.reply(await look() if returns else accepted)

    def place(self) -> dict[str, str]:
        """The position that the answer stands for, and of which journal."""
        position = self.node.system.journal.position if self._read_position is None else self._read_position
        return {POSITION_HEADER: str(position), JOURNAL_HEADER: self.node.journal}


def _ask(
    question: Callable[..., T], arguments: tuple[Any, ...], narrowed: Mapping[str, Any], connection: Connection
) -> T:
    return question(connection, *arguments, **narrowed)


def found(value: T | None, what: str, name: str) -> T:
    """The value. Raises `HTTPException` 404 where there is none, be it absent or another tenant's."""
    if value is None:
        raise HTTPException(404, f"there is no {what} {name}")
    return value


def asked_of(connection: HTTPConnection, node: Compartment, parameter: Parameter[T]) -> T:
    """A parameter of the query. Raises Refused where its value makes no sense."""
    text = connection.query_params.get(parameter.name)
    if text is None:
        return parameter.absent
    return parameter.read(node.position_in(text) if parameter.is_position else text)


def tenant_in(call: Call) -> str:
    """The tenant that the query names, for whom the caller may act. Raises `HTTPException` 403 where they may not."""
    name = call.asked(TENANT)
    if name in ("", call.tenant):
        return call.tenant
    if call.principal.role is not Role.ADMIN:
        raise HTTPException(403, "for another tenant this is done by an admin of the node")
    check_whole_node(call.node, call.principal)
    if not re.match(TENANT_NAME, name):
        raise Refused("tenant_unreadable", f"a tenant's name is like {TENANT_NAME}", status=422)
    return name


def _node(connection: HTTPConnection) -> Node:
    node: Node = connection.app.state.node
    return node


async def _whose(connection: HTTPConnection, line: Endpoint | SocketEndpoint) -> tuple[Compartment, Principal]:
    """Who calls, and the compartment that is theirs; a stranger is taken down and turned away, and who has too much under way."""
    node = _node(connection)
    try:
        found = await authenticate(connection, node)
    except HTTPException as error:
        node.trail.refuse_stranger(connection, line.route, error)
        raise
    node.callers.enter(connection.scope, found[1].tenant, found[1].name)
    return found


def _check(connection: HTTPConnection, compartment: Compartment, principal: Principal, needs: Permission) -> None:
    """Raises `HTTPException` 403 unless this endpoint is for the caller, and Refused where he expects another journal or tenant."""
    for name, value in connection.scope["headers"]:
        if name == _JOURNAL:
            compartment.check_journal(value.decode("latin-1"))
        elif name == _TENANT and value != principal.tenant.encode():
            raise Refused("tenant_differs", f"this key is of another tenant than {TENANT_HEADER} says", status=403)
    check_permission(compartment, principal, needs, connection.path_params.get("agent_id"))


async def answer(endpoints: Mapping[str, Endpoint], request: Request) -> Response:
    """Runs the endpoint of the request's method."""
    endpoint = _begun(endpoints, request)
    if endpoint.needs is None:
        call = Call(request, _node(request), None, endpoint)
    else:
        call = Call(request, *await _whose(request, endpoint), endpoint)
    return await run(call)


async def answer_as(principal: Principal, endpoints: Mapping[str, Endpoint], request: Request) -> Response:
    """Runs the endpoint of the request's method for somebody of the shared journal who is known without a key."""
    endpoint, node = _begun(endpoints, request), _node(request)
    if endpoint.needs is None:
        return await run(Call(request, node, None, endpoint))
    node.callers.enter(request.scope, principal.tenant, principal.name)
    return await run(Call(request, node, principal, endpoint))


def _begun(endpoints: Mapping[str, Endpoint], request: Request) -> Endpoint:
    """The endpoint of the request's method; whatever its answer is, it will say whether it is on its way out."""
    endpoint = endpoints["GET" if request.method == "HEAD" else request.method]
    if endpoint.deprecated is not None:
        request.scope[ANSWER_HEADERS] = endpoint.deprecated.headers(request.path_params)
    if endpoint.is_heavy:
        request.scope[HEAVY] = Kind.HEAVY
    return endpoint


async def run(call: Call) -> Response:
    """Answers a call: checks whether its caller may, runs the endpoint, and takes down what must be on record."""
    endpoint, request = call.endpoint, call.request
    standing: Sequence[RawHeader] = ()
    try:
        if endpoint.needs is not None:
            _check(request, call.node, call.principal, endpoint.needs)
            standing = await admit(call.node.visitors, call.principal, endpoint.kind)
        check_parameters(request, endpoint.query, endpoint.headers_read, call.asked, others=endpoint.needs is None)
        if endpoint.body is None and endpoint.method not in SAFE_METHODS and endpoint.deprecated is None:
            check_no_body(request)
        known = await _known(call) if endpoint.rests_on else None
        if known is not None:
            response = known
        elif endpoint.is_kept:
            response = await call.node.kept.once(call, endpoint.handle)
        else:
            response = await endpoint.handle(call)
        response.raw_headers.extend(standing)
    except BaseException as error:
        if standing:
            request.scope[ANSWER_HEADERS] = [*request.scope.get(ANSWER_HEADERS, ()), *standing]
        call.failed(error)
        raise
    await call.done()
    return response


async def _known(call: Call) -> Response | None:
    """304 where the caller has what it asks for, and waits no longer for something else."""
    if preferences.WAIT in call.endpoint.headers and preferences.preferences(call.request.scope).wait:
        named = call.after_position()
        position = conditional.seen(call)
        position = named if position is None else position
        if position is not None and await waiting.changed(call, position):
            call.is_news = True
            return None
    return conditional.unchanged(call)


async def answer_socket(endpoint: SocketEndpoint, websocket: WebSocket) -> None:
    """Runs a websocket's handler; what fails before it accepts is told as a problem document instead of the handshake."""
    try:
        compartment, principal = await _whose(websocket, endpoint)
        try:
            _check(websocket, compartment, principal, endpoint.needs)
            await admit(compartment.visitors, principal, Kind.WRITE)
            read = partial(asked_of, websocket, compartment)
            check_parameters(websocket, endpoint.query, (), read, others=endpoint.others)
            await endpoint.handle(websocket, compartment, principal)
        except Exception as error:
            compartment.trail.refuse(websocket, principal, endpoint.route, error)
            raise
    except Exception as error:
        if not _can_be_denied(websocket):
            raise
        await websocket.send_denial_response(await document_of(await websocket.app.told(websocket, error), websocket))


def _can_be_denied(websocket: WebSocket) -> bool:
    return websocket.application_state.name == "CONNECTING" and websocket.client_state.name == "CONNECTING"
