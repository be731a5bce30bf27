"""How the node is: one answer for the console and the command line, and the same in numbers for Prometheus."""

from collections import Counter
from functools import cache
from importlib.metadata import version

import msgspec
from eventsourcing.persistence import PersistenceError
from sqlalchemy import Connection
from starlette.responses import Response

from aggregates.values.roles import Permission
from gateway.api.calls import Call, Endpoint
from gateway.api.queries import integer
from gateway.metrics import lines as metrics_of
from gateway.parts import Compartment, whole_node
from gateway.routes.journals import JournalRow
from gateway.routes.journals import row as journal_row
from projections import agents, tasks
from runtime.read_models import Standing
from runtime.recovery import NODE
from runtime.transparency import read_note
from runtime.tree import ROWS_MAX, ActorRow, KindRow, Tree, tree

ACTORS = integer("actors", "How many actors are listed at most.", 100, most=ROWS_MAX)


class Seal(msgspec.Struct, frozen=True):
    """What the newest checkpoint signs."""

    origin: str
    size: int
    root: str


class Webhooks(msgspec.Struct, frozen=True, kw_only=True):
    """How the tenant's webhooks fare: how many there are in each status and of how many deliveries fail now, and how many records the one
    that is furthest behind has yet to look at."""

    count_by_status: dict[str, int]
    failing: int
    lag: int


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The node at a glance, as far as it concerns this journal. `actors`, those `actors_more` that are not listed, and `kinds` are for
    those who watch the node, `journals` (the named ones) for those of them who look after all of it; others see empty lists. With
    `open_loopback`, programs of its machine work as an operator of the default tenant without a key."""

    version: str
    journal: str
    uptime_seconds: float
    ready: bool
    faults: list[str]
    open_loopback: bool
    position: int
    waiting: int
    commits: int
    commit_failures: int
    last_commit_failure: str
    disk_free_bytes: int
    checkpoint: Seal | None
    journals: list[JournalRow]
    agents: dict[str, int]
    tasks: dict[str, int]
    projections: list[Standing]
    webhooks: Webhooks
    actors: list[ActorRow]
    actors_more: int
    kinds: list[KindRow]


async def status(call: Call) -> Response:
    """What stands where, now."""
    node, journal = call.node, call.node.system.journal
    await node.projector.catch_up()
    counts = await node.projector.query(lambda connection: counts_of(connection, call.tenant))
    faults = node.faults()
    try:
        note = await journal.read_with(node.store.checkpoint)
    except PersistenceError as error:  # this is where people look when it is away
        note, faults = None, [*faults, f"the journal can't be read: {error}"]
    seen = (
        _tree(node, call.tenant, call.asked(ACTORS))
        if Permission.NODE_READ in call.principal.permissions
        else NOTHING_SEEN
    )
    return call.reply(
        Status(
            version=_version(),
            journal=node.journal,
            uptime_seconds=round(node.system.clock.now() - node.started_at, 1),
            ready=not faults,
            faults=faults,
            open_loopback=node.settings.open_loopback,
            position=journal.position,
            waiting=journal.backlog,
            commits=journal.commits,
            commit_failures=journal.failures,
            last_commit_failure=journal.last_failure,
            disk_free_bytes=node.room.left,
            checkpoint=_seal(note) if note else None,
            journals=_journals(call),
            agents=counts[0],
            tasks=counts[1],
            projections=list(node.projector.status()),
            webhooks=_webhooks(node, call.tenant),
            actors=seen.actors,
            actors_more=seen.more,
            kinds=seen.kinds,
        )
    )


@cache
def _version() -> str:
    return version("gavel-runtime")


def _journals(call: Call) -> list[JournalRow]:
    """The named journals, for those who look after the node."""
    node = whole_node(call.node, call.principal) if Permission.NODE_READ in call.principal.permissions else None
    return [journal_row(berth) for berth in node.isolated] if node is not None else []


def _webhooks(node: Compartment, tenant: str) -> Webhooks:
    own = [courier for courier in node.webhooks if courier.facts.tenant == tenant]
    return Webhooks(
        count_by_status=dict(Counter(courier.facts.stage.value for courier in own)),
        failing=sum(courier.failing_since > 0 for courier in own),
        lag=max((courier.lag for courier in own), default=0),
    )


NOTHING_SEEN = Tree(actors=[], more=0, kinds=[])


def _tree(node: Compartment, tenant: str, rows_max: int) -> Tree:
    """The actors that serve this tenant; those of the node serve all."""
    keys = (tenant, NODE, "")
    return tree(node.system, rows_max=rows_max, wanted=lambda cell: getattr(cell, "key", "") in keys)


def counts_of(connection: Connection, tenant: str) -> tuple[dict[str, int], dict[str, int]]:
    """A tenant's agents by status, and its tasks by stage."""
    return agents.count_by_status(connection, tenant), tasks.count_by_stage(connection, tenant)


def _seal(note: str) -> Seal:
    checkpoint = read_note(note)[0]
    return Seal(checkpoint.origin, checkpoint.size, checkpoint.root.hex())


async def metrics(call: Call) -> Response:
    """The Prometheus text format."""
    return Response(
        "".join(metrics_of(call.node, whole_node(call.node, call.principal), tenant=call.tenant)),
        media_type="text/plain; version=0.0.4; charset=utf-8",
    )


routes = (
    Endpoint("GET", "/v1/status", status, Permission.STATUS_READ, reply=Status, query=(ACTORS,)),
    Endpoint("GET", "/metrics", metrics, Permission.NODE_READ, media="text/plain"),
)
