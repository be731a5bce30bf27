"""What is disposable may be thrown away: a node without its snapshots or read models is what it was, and adds no event."""

import shutil
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import trio

from aggregates.agent import UpdateAgent
from aggregates.solve_job import CancelSolve
from aggregates.values.roles import Role
from gateway.demo.work import analyze
from gateway.feeds.live import line
from gateway.upkeep.log_replay import digests_of, replay_copies
from runtime.delivery import Context
from runtime.errors import Refused
from runtime.read_models import Digests
from runtime.records import Recorded
from solvers.formats import write_rudy
from solvers.generators import toroidal_grid
from tests.gateway.clients import BID, AgentClient, Client, open_client, recorded, settings_of
from tests.stories.ledger import read_file

SHORT, LONG = {"lease_seconds": 2.0}, {"lease_seconds": 3600.0, "house_solver": True}
"""Leases that run out soon, though not before a busy machine has let their agent bid, and such that never do: only then a restart has
nothing to add."""
WHO = Context(tenant="default", principal="test")
"""Not over HTTP, where what an operator does is on record although it changes nothing."""
OPEN = {"bidding_seconds": 60.0}
RECORDS_MAX = 10_000


class Past(NamedTuple):
    """What a node was when it stopped."""

    records: list[Recorded]
    digests: Digests
    memories: dict[tuple[str, str], bytes]


async def answer(agent: AgentClient, task_id: str, *reports: dict[str, Any]) -> None:
    """Bids for a task alone, wins it, and reports on it."""
    bid = await agent.ask("POST", f"/v1/tasks/{task_id}/bids", BID)
    assert bid.status_code == 201, bid.text
    await held(agent, task_id)
    for report in reports:
        told = await agent.ask("PUT", f"/v1/tasks/{task_id}/status", report)
        assert told.status_code == 200, told.text


async def held(agent: AgentClient, task_id: str) -> None:
    """Waits until the log awards the task."""
    journal, position = agent.node.system.journal, 0
    while True:
        for record in await journal.read(position, RECORDS_MAX):
            position = record.position
            if record.kind == "task.TaskAwarded" and getattr(record.event, "task_id", "") == task_id:
                return
        await journal.wait_past(position)


async def lose_an_agent(folder: Path) -> None:
    """An agent wins a task and is not heard from again."""
    async with open_client(settings_of(folder, **SHORT)) as admin:
        gone = await admin.register("gone", capabilities=["vanishing"])
        await answer(gone, await admin.submit(capabilities=["vanishing"]))
        await recorded(admin, "agent.AgentLost")


async def live(folder: Path) -> None:
    """Something of everything: tasks at every stage, agents of every standing, keys, problems, and solves."""
    async with open_client(settings_of(folder, **LONG)) as admin:
        await recorded(admin, "agent.AgentRegistered")
        agents = {skill: await admin.register(skill, capabilities=[skill]) for skill in ("doing", "holding", "bidding")}
        done = await admin.submit(capabilities=["doing"])
        completed = {"status": "completed", "token": 1, "result": {"n": 1}}
        await answer(agents["doing"], done, {"status": "started", "token": 1}, completed)
        failed = await admin.submit(capabilities=["doing"], attempts_max=1)
        await answer(agents["doing"], failed, {"status": "failed", "token": 1, "reason": "too hard"})
        running = await admin.submit(capabilities=["holding"])
        await answer(agents["holding"], running, {"status": "started", "token": 1})
        await admin.submit(capabilities=["bidding"], **OPEN)
        waiting = await admin.submit(capabilities=["holding"], **OPEN)
        await admin.submit(capabilities=["doing"], dependencies=[waiting, done])
        assert (await admin.ask("DELETE", f"/v1/tasks/{waiting}")).status_code == 200
        drained = await admin.register("drained")
        assert (await drained.ask("POST", "/v1/agents/drained/drain")).status_code == 200
        left = await admin.register("left")
        assert (await left.ask("DELETE", "/v1/agents/left")).status_code == 200
        await admin.with_role(Role.AUDITOR)
        await solve(admin)
        await quiet(admin)


async def solve(admin: Client) -> None:
    """A job for the house's solver, and a task that it wins."""
    content = write_rudy(toroidal_grid(12, 12, 1))
    digest = sha256(content).hexdigest()
    headers = {"Authorization": f"Bearer {admin.key}"}
    stored = await admin.http.put(f"{admin.node.url}/v1/blobs/{digest}", content=content, headers=headers)
    assert stored.status_code == 201, stored.text
    problem = (await admin.ask("POST", "/v1/problems", {"name": "grid", "blob": digest})).json()["problem_id"]
    payload = {"problem_id": problem, "seconds": 0.05}
    job = await admin.ask("POST", "/v1/solves", payload | {"seed": 1})
    assert job.status_code == 202, job.text
    task_id = await admin.submit(task_type="optimization", capabilities=["qubo"], payload=payload)
    journal, position, done = admin.node.system.journal, 0, set[str]()
    while not {job.json()["job_id"], task_id} <= done:
        for record in await journal.read(position, RECORDS_MAX):
            position = record.position
            if record.kind in ("solve_job.SolveCompleted", "task.TaskCompleted"):
                done.add(record.stream.partition("-")[2])
        if not {job.json()["job_id"], task_id} <= done:
            await journal.wait_past(position)


async def quiet(admin: Client) -> None:
    """Waits until all actors have done what they owe: an actor takes a message after its reactions.

    Twice in turn, since a reaction of one may tell the other something.
    """
    jobs = (await admin.get("/v1/solves"))["solves"]
    agents = (await admin.get("/v1/agents"))["agents"]
    position = admin.node.system.journal.position
    for _ in range(2):
        for job in jobs:  # to cancel what has ended changes nothing
            with suppress(Refused):
                await admin.node.system.ask(CancelSolve(job_id=job["job_id"]), WHO)
        for agent in agents:
            with suppress(Refused):
                await admin.node.system.ask(UpdateAgent(agent_id=agent["agent_id"]), WHO)
    assert admin.node.system.journal.backlog == 0
    assert admin.node.system.reactions_waiting == 0
    await admin.node.projector.wait_for(position)


async def look(folder: Path, expected: int | None = None) -> Past:
    """Starts the node, lets it come to rest, and stops it; what it was then."""
    async with open_client(settings_of(folder, **LONG)) as admin:
        await quiet(admin)
        assert (await admin.ask("GET", "/readyz")).status_code == 200
        system, position = admin.node.system, admin.node.system.journal.position
        if expected is not None:
            assert position == expected
        memories = {
            name: system.journal.codec.pack(cell.actor.memory) for name, cell in system.cells.items() if cell.actor
        }
        digests = await admin.node.projector.digests()
    records = read_file(folder / "data" / "journal.db")
    assert len(records) == position
    return Past(records, digests, memories)


def forget(folder: Path, tables: Sequence[str], files: Iterable[str]) -> None:
    """Empties tables of a stopped node's journal, and removes files of its folder."""
    with closing(sqlite3.connect(folder / "data" / "journal.db")) as connection:
        for table in tables:
            connection.execute(f"DELETE FROM {table}")
        connection.commit()
    for file in files:
        (folder / "data" / file).unlink()


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Past]:
    """A folder with a past, stopped and started once since, and what it was then."""
    folder = tmp_path_factory.mktemp("past")

    async def make() -> Past:
        await lose_an_agent(folder)
        await live(folder)
        return await look(folder)

    return folder, trio.run(make)


@pytest.mark.parametrize(
    ("tables", "files"),
    [
        ((), ()),
        (("snapshots",), ()),
        (("snapshots", "reactions"), ()),
        ((), ("read.db",)),
        (("snapshots", "reactions"), ("read.db",)),
    ],
    ids=["nothing", "snapshots", "snapshots and reactions", "read models", "all"],
)
async def test_a_restart_without_it_adds_no_event_and_changes_nothing(
    past: tuple[Path, Past], tmp_path: Path, tables: tuple[str, ...], files: tuple[str, ...]
) -> None:
    before, known = past
    shutil.copytree(before / "data", tmp_path / "data")
    forget(tmp_path, tables, files)
    now = await look(tmp_path, expected=len(known.records))
    assert now.records == known.records
    assert now.digests == known.digests
    assert now.memories == known.memories


def test_the_past_holds_something_of_everything_and_its_decisions_come_out_again(past: tuple[Path, Past]) -> None:
    folder, known = past
    kinds = {record.kind for record in known.records}
    assert {"agent.AgentLost", "task.LeaseExpired", "task.TaskReopened", "task.TaskDeadLettered"} <= kinds
    assert {"agent.AgentDraining", "agent.AgentDeregistered", "key.KeyRevoked", "task.TaskFailed"} <= kinds
    assert {"solve_job.SolveCompleted", "qubo_problem.ProblemRegistered", "task.TaskStarted"} <= kinds
    lines = [msgspec.json.decode(msgspec.json.encode(line(record, commands=True))) for record in known.records]
    told = analyze(iter(lines), 1)
    assert told["different"] == []
    assert told["commands"] == told["equal"] > 30
    again = replay_copies(
        folder / "data" / "journal.db", digests_of(folder / "data" / "read.db"), folder / "rebuilt.db"
    )
    assert again.equal, again
