"""A crowd of agents, half of them unreliable, at a node that is killed again and again: nothing is lost, and nothing is done twice.

The agents keep a ledger of their own, outside. At the end it is held against the journal: every completed task has exactly one finish that
counts, under the token in the journal, and every finish that counts is completed there; whatever else was accepted has ended for a reason
that is told, or waits for one.
"""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import httpx2
import pytest
import trio

from aggregates.task import (
    ENDED,
    TaskAwarded,
    TaskCompleted,
    TaskStarted,
    TaskSubmitted,
)
from runtime.records import Recorded
from runtime.verification import verify
from tests.stories.crowd import HTTP_SECONDS, Member, Scale, Town
from tests.stories.ledger import check_replay, read_file
from tests.stories.nodes import serving
from tests.stories.outside import Outside, Work

SMALL = Scale(agents=30, tasks=600, kills=(0.5,), lease_seconds=3.0, budget_seconds=3.0, open_max=300)
LARGE = Scale(
    agents=500, tasks=20_000, kills=(0.1, 0.4, 0.6, 0.9), lease_seconds=15.0, budget_seconds=20.0, open_max=2_000
)
GUARD_SECONDS, LARGE_GUARD_SECONDS = 480.0, 5_400.0
BATCH = 50
LOOK_SECONDS = 0.25
OPEN = ("submitted", "blocked", "bidding", "awarded", "running")
NOWHERE = "nowhere"


class Orders:
    """What is submitted, and what became of it."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.chance = Random(f"{town.seed} orders")
        self.accepted: list[str] = []
        self.impossible: set[str] = set()
        """What nobody is allowed to do, and what waits for that."""
        self._reached: dict[int, trio.Event] = {}

    async def reach(self, count: int) -> None:
        """Waits until so many tasks are accepted."""
        if len(self.accepted) < count:
            await self._reached.setdefault(count, trio.Event()).wait()

    async def submit_all(self) -> None:
        """Many at a time, as long as there are not too many open; some are cancelled again."""
        for number in range(0, self.town.scale.tasks, BATCH):
            await until(self._has_room)
            await self._submit(number)
            for count, reached in self._reached.items():
                if len(self.accepted) >= count:
                    reached.set()

    async def _has_room(self) -> bool:
        return await self._open() <= self.town.scale.open_max

    async def _open(self) -> int:
        told = (await self.town.ask("GET", "/v1/status")).json()
        return sum(told["tasks"].get(stage, 0) for stage in OPEN)

    async def _submit(self, number: int) -> None:
        body = {"tasks": [self._task(number + place, number) for place in range(BATCH)]}
        while (answer := await self.town.ask("POST", "/v1/tasks:batch", body, f"batch-{number}")).status_code == 422:
            # There was no node for so long that a deadline has passed meanwhile; nothing was taken.
            assert {fault["code"] for fault in answer.json()["errors"]} == {"deadline_passed"}, answer.text
            for task in body["tasks"]:
                task.pop("deadline", None)
        assert answer.status_code == 202, answer.text
        id_by_ref = {one["ref"]: one["task_id"] for one in answer.json()["tasks"]}
        self.accepted += id_by_ref.values()
        for task in body["tasks"]:
            if task.get("regions") or any(id_by_ref[name] in self.impossible for name in task["dependencies"]):
                self.impossible.add(id_by_ref[task["ref"]])
        if self.chance.random() < 0.5:
            task_id = self.chance.choice(self.accepted)
            answer = await self.town.ask("DELETE", f"/v1/tasks/{task_id}?reason=no+more", key=f"cancel-{number}")
            assert answer.status_code in (200, 409), answer.text

    def _task(self, number: int, first: int) -> dict[str, Any]:
        chance = self.chance
        task: dict[str, Any] = {
            "ref": f"t{number}",
            "task_type": "analysis",
            "capabilities": [chance.choice(self.town.scale.skills)],
            "payload": {"number": number},
            "priority": chance.randint(1, 5),
            "bidding_seconds": 1.0,
            "budget_seconds": self.town.scale.budget_seconds,
            "dependencies": [f"t{chance.randrange(first, number)}"] if number > first and chance.random() < 0.1 else [],
        }
        if chance.random() < 0.005:
            task["regions"] = [NOWHERE]
        if chance.random() < 0.03:
            task["deadline"] = time.time() + chance.uniform(1, 3 * self.town.scale.lease_seconds)
        return task

    async def settle(self) -> None:
        """Waits until nothing is open but what nobody can do, and nobody has anything unsettled."""
        await until(self._is_settled)

    async def _is_settled(self) -> bool:
        if await self._open() > len(self.impossible) or self.town.outside.count_unsettled():
            return False
        rows = [row for stage in OPEN for row in await pages(self.town, f"/v1/tasks?stage={stage}")]
        return all(row["task_id"] in self.impossible for row in rows)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Looks again and again."""
    while not await holds():  # noqa: ASYNC110 — it is another process
        await trio.sleep(LOOK_SECONDS)


async def pages(town: Town, path: str) -> list[dict[str, Any]]:
    """All rows of a list of tasks."""
    rows: list[dict[str, Any]] = []
    after = ""
    while True:
        page = (await town.ask("GET", f"{path}{'&' if '?' in path else '?'}limit=500{after}")).json()
        rows += page["tasks"]
        if page["next"] is None:
            return rows
        after = f"&after={page['next']}"


async def live(folder: Path, town: Town, orders: Orders, rows: list[dict[str, Any]]) -> None:
    """One life of a node after the other; the last ends in order, when all is settled and explained."""
    settings: dict[str, Any] = {
        "lease_seconds": town.scale.lease_seconds,
        "coordination_interval_seconds": town.scale.lease_seconds / 3,
        "sockets_per_tenant_max": 590,
        "sockets_per_principal_max": 590,
        "connections_max": 2000,
        "house_solver": "false",
    }
    for share in town.scale.kills:
        async with serving(folder, **settings) as node:
            town.opens(await node.open(), node.admin_key())
            await orders.reach(int(share * town.scale.tasks))
            await node.kill()
            town.closes()
    async with serving(folder, **settings) as node:
        town.opens(await node.open(), node.admin_key())
        await orders.reach(town.scale.tasks)
        town.is_calm = True
        await orders.settle()
        rows += await pages(town, "/v1/tasks")
        await check_explained(town, orders, rows)
        assert await node.stop() == 0, node.said


async def check_explained(town: Town, orders: Orders, rows: Sequence[dict[str, Any]]) -> None:
    """Each accepted task is there; whatever is not completed tells why."""
    assert {row["task_id"] for row in rows} >= set(orders.accepted)
    for row in rows:
        if row["stage"] == "completed":
            continue
        told = (await town.ask("GET", f"/v1/tasks/{row['task_id']}/explain?limit=1")).json()
        if row["stage"] in ENDED:
            assert row["stage"] == "expired" or row["reason"], row
            assert told["summary"].startswith("ended, "), told
        else:
            assert row["task_id"] in orders.impossible, row
            reasons = {one["reason"] for one in told["waits_for"]}
            assert reasons <= {"region_missing", "dependency"}, told


def check_ledgers(town: Town, orders: Orders, records: Sequence[Recorded]) -> Counter[str]:
    """Holds the agents' own ledger against the journal."""
    done: dict[Work, str] = {}
    awarded: dict[Work, str] = {}
    started: set[Work] = set()
    kinds: Counter[str] = Counter()
    for record in records:
        event = record.event
        kinds[type(event).__name__] += 1
        match event:
            case TaskAwarded():
                work = Work(event.task_id, event.token)
                assert work not in awarded, work
                awarded[work] = event.agent_id
            case TaskStarted():
                started.add(Work(event.task_id, event.token))
            case TaskCompleted():
                done[Work(event.task_id, event.token)] = event.agent_id
    assert kinds["TaskCompleted"] == len({work.task_id for work in done}), "a task was completed twice"
    assert all(awarded[work] == agent for work, agent in done.items())
    assert town.outside.accepted() == done
    assert {work: awarded[work] for work in town.outside.starts()} == town.outside.starts()
    assert set(town.outside.starts()) <= started
    submitted = {record.event.task_id for record in records if isinstance(record.event, TaskSubmitted)}
    assert submitted == set(orders.accepted)
    return kinds


async def outlive(folder: Path, seed: int, scale: Scale, guard_seconds: float) -> Counter[str]:
    """The crowd, the orders and the node, until all is settled; then both ledgers are compared. Returns how many events of each type
    there are."""
    began = time.monotonic()
    outside = Outside(folder / "outside.db")
    rows: list[dict[str, Any]] = []
    with trio.fail_after(guard_seconds):
        async with httpx2.AsyncClient(timeout=HTTP_SECONDS) as http, trio.open_nursery() as crowd:
            town = Town(scale, seed, outside, http)
            orders = Orders(town)
            async with trio.open_nursery() as ours:
                ours.start_soon(live, folder, town, orders, rows)
                async with trio.open_nursery() as registering:
                    for number in range(scale.agents):
                        registering.start_soon(crowd.start, Member(town, number).live)
                await orders.submit_all()
            crowd.cancel_scope.cancel()
    seconds = time.monotonic() - began
    report = verify(folder / "data" / "journal.db")
    assert report.whole, report.faults
    records = await trio.to_thread.run_sync(read_file, folder / "data" / "journal.db")
    kinds = check_ledgers(town, orders, records)
    await check_replay(folder)
    stages = Counter(row["stage"] for row in rows)
    print(
        f"{scale.agents} agents, {len(orders.accepted)} tasks, {len(scale.kills)} kills in {seconds:.0f} s: {dict(stages)}"
    )
    print(f"{len(records)} records: {dict(kinds.most_common())}")
    print(f"{town.connections} connections, refused: {dict(town.refusals)}, fenced outside: {outside.fenced}")
    outside.close()
    assert kinds["TaskReopened"] > 0
    return kinds


async def test_a_small_crowd_loses_nothing_and_does_nothing_twice(tmp_path: Path, seed: int) -> None:
    print(f"seed {seed}")
    await outlive(tmp_path, seed, SMALL, GUARD_SECONDS)


@pytest.mark.soak
async def test_five_hundred_agents_lose_none_of_twenty_thousand_tasks_and_do_none_twice(
    tmp_path: Path, seed: int
) -> None:
    print(f"seed {seed}")
    kinds = await outlive(tmp_path, seed, LARGE, LARGE_GUARD_SECONDS)
    assert (
        min(kinds[name] for name in ("LeaseExpired", "LateReported", "AgentLost", "TaskExpired", "TaskCancelled")) > 0
    )
