"""The post office loses nothing, whatever the pace of the one who collects."""

from pathlib import Path

import pytest
import trio

from aggregates.task import SubmitTask, TaskType
from aggregates.values.roles import Principal, Role
from gateway.feeds import post_office
from gateway.feeds.post_office import PostOffice
from gateway.node import Node, open_node
from runtime.delivery import Context
from runtime.records import Recorded
from tests.gateway.clients import GUARD_SECONDS, settings_of

ANN = Principal(name="agent:ann", tenant="t1", role=Role.AGENT_OWN, key_id="k", agent_id="ann")
TASKS = 30


async def submit(node: Node, tenant: str = "t1") -> None:
    command = SubmitTask(task_id=node.system.ids.new(), task_type=TaskType.ANALYSIS)
    await node.system.ask(command, Context(tenant=tenant, principal="test"))


@pytest.mark.parametrize("box_max", [1, 3, 1000])
@pytest.mark.parametrize("start", [0, 5])
@pytest.mark.parametrize("told_row", [1, 64])
async def test_every_record_of_the_tenant_arrives_once_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, box_max: int, start: int, told_row: int
) -> None:
    monkeypatch.setattr(post_office, "BOX_RECORDS_MAX", box_max)
    monkeypatch.setattr(post_office, "TOLD_IN_ROW", told_row)
    seen: list[int] = []

    def tell_now(recorded: Recorded) -> bool:
        can = bool(recorded.position % 3)
        seen.extend([recorded.position] if can else [])
        return can

    async def collect(office: PostOffice) -> None:
        collected = office.collect(ANN, 0, 0.01, tell_now)
        async for position, records in collected:
            seen.extend(record.position for record in records)
            assert all(number <= position for number in seen)
            for _ in range(len(seen) % 4):
                await trio.lowlevel.checkpoint()
            if len(seen) >= start + TASKS:
                break
        await collected.aclose()

    with trio.fail_after(GUARD_SECONDS):
        async with open_node(settings_of(tmp_path), door=False) as node:
            office = PostOffice(node.system.journal, lambda recorded: None)
            for _ in range(start):
                await submit(node)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(office.run)
                async with trio.open_nursery() as collecting:
                    collecting.start_soon(collect, office)
                    for _ in range(TASKS):
                        await submit(node)
                        await submit(node, tenant="t2")
                nursery.cancel_scope.cancel()
            theirs = node.store.read(0, 1000)
    assert seen == [record.position for record in theirs if record.meta.tenant == "t1"]


async def test_a_record_goes_only_into_the_boxes_of_those_whom_it_concerns(tmp_path: Path) -> None:
    with trio.fail_after(GUARD_SECONDS):
        async with open_node(settings_of(tmp_path), door=False) as node:
            office = PostOffice(node.system.journal, lambda recorded: ("ann",) if recorded.position % 2 else ("bob",))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(office.run)
                collected = office.collect(ANN, node.system.journal.position, 0.01)
                assert (await anext(collected))[1] == []
                for _ in range(4):
                    await submit(node)
                found: list[int] = []
                while len(found) < 2:
                    found += [record.position for record in (await anext(collected))[1]]
                assert all(position % 2 for position in found)
                await collected.aclose()
                nursery.cancel_scope.cancel()
