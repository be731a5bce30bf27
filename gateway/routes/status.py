"""How the node is: one answer for the console and the command line, and the same in numbers for Prometheus."""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version

import msgspec
from sqlalchemy import Connection
from starlette.responses import Response

from gateway import rows
from gateway.auth import EVERYBODY, WATCHERS
from gateway.calls import Call, Endpoint
from gateway.parts import Node
from projections import agents, tasks
from runtime.read_models import Standing
from runtime.recovery import NODE
from runtime.transparency import read_note


class Seal(msgspec.Struct, frozen=True):
    """What the newest checkpoint signs."""

    origin: str
    size: int
    root: str


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The node at a glance. `actors` is for those who watch the node; others see an empty list."""

    version: str
    uptime_seconds: float
    ready: bool
    faults: list[str]
    position: int
    waiting: int
    commits: int
    commit_failures: int
    last_commit_failure: str
    checkpoint: Seal | None
    agents: dict[str, int]
    tasks: dict[str, int]
    projections: list[Standing]
    actors: list[rows.Actor]


async def status(call: Call) -> Response:
    """What stands where, now."""
    node, journal = call.node, call.node.system.journal
    counts = await node.projector.query(lambda connection: _counts(connection, call.tenant))
    note = await journal.read_with(node.store.checkpoint)
    faults = node.faults()
    return call.reply(
        Status(
            version=_version(),
            uptime_seconds=round(node.system.clock.now() - node.started_at, 1),
            ready=not faults,
            faults=faults,
            position=journal.position,
            waiting=journal.backlog,
            commits=journal.commits,
            commit_failures=journal.failures,
            last_commit_failure=journal.last_failure,
            checkpoint=_seal(note) if note else None,
            agents=counts[0],
            tasks=counts[1],
            projections=list(node.projector.status()),
            actors=_actors(node, call.tenant) if call.principal.role in WATCHERS else [],
        )
    )


@cache
def _version() -> str:
    return version("gavel-runtime")


def _actors(node: Node, tenant: str) -> list[rows.Actor]:
    """The actors that serve this tenant; those of the node serve all."""
    tree = msgspec.convert(node.system.tree(), list[rows.Actor])
    return [actor for actor in tree if actor.key in (tenant, NODE)]


def _counts(connection: Connection, tenant: str) -> tuple[dict[str, int], dict[str, int]]:
    return agents.count_by_status(connection, tenant), tasks.count_by_stage(connection, tenant)


def _seal(note: str) -> Seal:
    checkpoint = read_note(note)[0]
    return Seal(checkpoint.origin, checkpoint.size, checkpoint.root.hex())


async def metrics(call: Call) -> Response:
    """The Prometheus text format."""
    return Response("".join(_metrics(call.node)), media_type="text/plain; version=0.0.4; charset=utf-8")


def _metrics(node: Node) -> Iterator[str]:
    journal = node.system.journal
    yield from _metric("gavel_ready", "gauge", "Whether the node is ready.", {"": float(not node.faults())})
    yield from _metric("gavel_journal_position", "counter", "Committed records.", {"": journal.position})
    yield from _metric("gavel_journal_waiting", "gauge", "Proposals that wait for a commit.", {"": journal.backlog})
    yield from _metric("gavel_journal_commits_total", "counter", "Commits.", {"": journal.commits})
    yield from _metric("gavel_journal_failures_total", "counter", "Commits that failed.", {"": journal.failures})
    standings = {f'{{projection="{one.name}"}}': one.position for one in node.projector.status()}
    yield from _metric("gavel_projection_position", "gauge", "How far a read model is.", standings)
    tree = node.system.tree()
    for name, kind, meaning in ACTOR_METRICS:
        sums: dict[str, float] = {}
        for row in tree:
            label = f'{{actor="{row["actor"]}"}}'
            sums[label] = sums.get(label, 0) + row[name]
        yield from _metric(f"gavel_actor_{name}{'_total' if kind == 'counter' else ''}", kind, meaning, sums)


ACTOR_METRICS = (
    ("mailbox", "gauge", "Messages that wait, over all keys."),
    ("reactions", "gauge", "Reactions that wait, over all keys."),
    ("handled", "counter", "Steps taken, over all keys."),
    ("crashes", "gauge", "Failures within the restart window, over all keys."),
)


def _metric(name: str, kind: str, meaning: str, values: Mapping[str, float]) -> Iterator[str]:
    yield f"# HELP {name} {meaning}\n# TYPE {name} {kind}\n"
    for label, value in values.items():
        yield f"{name}{label} {value}\n"


routes = (
    Endpoint("GET", "/v1/status", status, EVERYBODY, reply=Status),
    Endpoint("GET", "/metrics", metrics, WATCHERS, media="text/plain"),
)
