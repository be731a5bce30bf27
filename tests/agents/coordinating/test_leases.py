"""Leases of tasks that are being cancelled: what their holders are told, how they end, and what a restart leaves of that."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from agents.coordinating.alarms import Due
from agents.coordinating.leases import lease_left
from agents.coordinating.timetable import due_at
from aggregates.agent import FindReputation, Heartbeat
from aggregates.task import (
    BookOpened,
    CancelRequested,
    CancelTask,
    CompleteTask,
    FailTask,
    LeaseExpired,
    StartTask,
    TaskCancelled,
    TaskCompleted,
)
from runtime.errors import Refused
from tests.agents.coordinating.test_open_tasks import LIFE, told
from tests.agents.crew import BRISK, CALM, Crew, open_crew
from tests.examples import AT, event_by_type

STOP: CancelRequested = replace(event_by_type[CancelRequested], task_id="t1", cancel_by=AT + 30)


def test_a_lease_tells_what_is_left_of_its_grace() -> None:
    task = told(LIFE).tasks["t1"]
    assert lease_left(task, AT, AT).cancel_seconds_left is None
    task = told([*LIFE, STOP]).tasks["t1"]
    assert [lease_left(task, AT, AT + passed).cancel_seconds_left for passed in (10.0, 40.0)] == [20.0, 0.0]
    assert due_at(task, Due.GRACE, 0.0) == AT + 30


async def held(crew: Crew, task_id: str, grace_seconds: float) -> CancelRequested:
    """A task that its one agent has, and is to stop."""
    await crew.submit(task_id)
    await crew.awarded(task_id, "ann")
    await crew.ask(CancelTask(task_id=task_id, reason="enough", grace_seconds=grace_seconds))
    return await crew.next(CancelRequested, task_id=task_id)


async def test_a_holder_finishes_in_its_grace_or_gives_up_and_neither_is_held_against_it(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann")
        await held(crew, "t1", 60.0)
        [lease] = (await crew.ask(Heartbeat(agent_id="ann"))).leases
        assert lease.cancel_seconds_left is not None
        assert 0 < lease.cancel_seconds_left <= 60
        await crew.ask(StartTask(task_id="t1", agent_id="ann", token=1))
        await crew.ask(CompleteTask(task_id="t1", agent_id="ann", token=1))
        await crew.next(TaskCompleted)
        await held(crew, "t2", 60.0)
        await crew.ask(FailTask(task_id="t2", agent_id="ann", token=1, reason="as you wish"))
        assert (await crew.next(TaskCancelled)).reason == "cancel_acknowledged"
        success = (await crew.ask(FindReputation(agent_id="ann"))).figures
        assert {one.name: one.counts for one in success}["success_rate"] == {"succeeded": 1, "failed": 0, "no_shows": 0}
        await crew.submit("t3")
        assert (await crew.next(BookOpened)).task_id == "t3"  # it has its slot again


async def test_a_task_is_cancelled_at_the_end_of_its_grace_also_after_a_restart(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann")
        await held(crew, "t1", 0.2)
        assert (await crew.next(TaskCancelled)).reason == "cancel_grace_over"
        with pytest.raises(Refused, match="task_is_cancelled"):
            await crew.ask(CompleteTask(task_id="t1", agent_id="ann", token=1))
        asked = await held(crew, "t2", 0.5)
    async with open_crew(tmp_path) as crew:
        record = await crew.next_record(TaskCancelled, task_id="t2")
        assert record.meta.at >= asked.cancel_by


async def test_a_silent_holder_loses_the_task_for_good(tmp_path: Path) -> None:
    async with open_crew(tmp_path, BRISK._replace(cycle_seconds=CALM.cycle_seconds)) as crew:
        await crew.register("ann")
        await held(crew, "t1", 60.0)
        await crew.next(LeaseExpired)
        assert (await crew.next(TaskCancelled)).reason == "lease_expired"
