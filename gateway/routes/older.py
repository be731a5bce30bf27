"""What answers the older paths: lines of the table under another name, answers in the older words, and 501 where nothing does."""

from collections.abc import Iterable
from enum import StrEnum

import msgspec
from starlette.requests import HTTPConnection
from starlette.responses import Response

from aggregates.agent import Stage as AgentStage
from aggregates.task import Stage
from aggregates.values.roles import Permission
from gateway.api.aliases import ALIAS_BY_ROUTE, ALIASES, Alias, Service
from gateway.api.calls import Call, Endpoint, found
from gateway.api.problems import MEDIA_TYPE
from gateway.api.queries import READ, integer
from gateway.routes.health import refuse_unready
from gateway.routes.older_solves import OPTIMIZE
from gateway.routes.status import counts_of
from runtime.errors import Refused

WHOLE_NODE = "gavel"
HOURS_MAX = 24 * 366


class HealthStatus(StrEnum):
    """What `/health` may say; a node that is not ready answers 503 instead."""

    HEALTHY = "healthy"


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The node is alive and does its work. `service` is whose address was asked, `gavel` where it is nobody's in particular;
    `not_served` are its paths that nothing answers yet."""

    status: HealthStatus
    service: str
    not_served: list[str]


class CoordinationStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How many agents and tasks of the tenant stand where: pending are tasks that nobody holds yet, running those that somebody does."""

    active_agents: int
    draining_agents: int
    suspect_agents: int
    lost_agents: int
    pending_tasks: int
    running_tasks: int
    completed_tasks: int
    failed_tasks: int


PENDING = (Stage.SUBMITTED, Stage.BLOCKED, Stage.BIDDING)
RUNNING = (Stage.AWARDED, Stage.RUNNING)
FAILED = (Stage.FAILED, Stage.EXPIRED, Stage.DEAD_LETTERED)


def service_at(connection: HTTPConnection) -> Service | None:
    """Whose address the client came in by; None where it is nobody's in particular."""
    name = connection.scope.get("state", {}).get("bind", "")
    return Service(name) if name in set(Service) else None


async def health(call: Call) -> Response:
    """The node is alive and ready; the answer tells whose address was asked."""
    if (unready := refuse_unready(call)) is not None:
        return unready
    service = service_at(call.request)
    missing = [one.route for one in ALIASES if not one.is_served and service in (None, one.service)]
    return call.reply(Health(status=HealthStatus.HEALTHY, service=service or WHOLE_NODE, not_served=missing))


async def coordination(call: Call) -> Response:
    """How many agents there are, and how many tasks wait for one."""
    agents, tasks = await call.read(counts_of, call.tenant)
    return call.reply(
        CoordinationStatus(
            active_agents=agents.get(AgentStage.ACTIVE, 0),
            draining_agents=agents.get(AgentStage.DRAINING, 0),
            suspect_agents=agents.get(AgentStage.SUSPECT, 0),
            lost_agents=agents.get(AgentStage.LOST, 0),
            pending_tasks=sum(tasks.get(stage, 0) for stage in PENDING),
            running_tasks=sum(tasks.get(stage, 0) for stage in RUNNING),
            completed_tasks=tasks.get(Stage.COMPLETED, 0),
            failed_tasks=sum(tasks.get(stage, 0) for stage in FAILED),
        )
    )


async def not_served(call: Call) -> Response:
    """Nothing answers this path yet; the failure says what comes nearest to it. Another tenant's name is not there."""
    name = call.path.get("tenant_id", call.tenant)
    found(name if name == call.tenant else None, "tenant", name)
    raise Refused("not_served", ALIAS_BY_ROUTE[call.endpoint.route].sentence, status=501)


OWN = {
    "GET /health": Endpoint("GET", "/health", health, None, reply=Health),
    "GET /coordination/status": Endpoint(
        "GET", "/coordination/status", coordination, Permission.STATUS_READ, reply=CoordinationStatus, query=READ
    ),
    OPTIMIZE.route: OPTIMIZE,
}
HOURS = integer("hours", "Patterns of so many hours.", 24, least=1, most=HOURS_MAX)
QUERIES = {"GET /learning/patterns": (HOURS,)}


def lines(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """The lines of the older paths, beside those of the table."""
    line_by_route = {line.route: line for line in endpoints}
    return tuple(_line(alias, line_by_route) for alias in ALIASES)


def _line(alias: Alias, line_by_route: dict[str, Endpoint]) -> Endpoint:
    if alias.is_served:
        line = line_by_route[alias.leads_to] if alias.leads_to else OWN[alias.route]
        return line._replace(method=alias.method, path=alias.path, deprecated=alias.deprecated)
    query = QUERIES.get(alias.route, ())
    return Endpoint(alias.method, alias.path, not_served, alias.needs, status=501, media=MEDIA_TYPE, query=query)
