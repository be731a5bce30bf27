"""The terms of tasks at work: what the coordinator does about them, and what a restart leaves of them."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from agents.coordinating.alarms import Due
from agents.coordinating.calls import openings, stalls
from agents.coordinating.open_tasks import OpenTasks
from agents.coordinating.open_work import open_work
from agents.coordinating.timetable import all_due
from aggregates.task import AmendTask, BookOpened, TaskAmended, TaskSubmitted, TaskUnblocked
from runtime.errors import Refused
from tests.agents.coordinating.test_open_tasks import OPENED, REGISTERED, SUBMITTED, VOIDED, told
from tests.agents.crew import CALM, open_crew
from tests.examples import AT, event_by_type

AMENDED: TaskAmended = event_by_type[TaskAmended]
LATER: TaskSubmitted = replace(SUBMITTED, task_id="later", not_before=AT + 50, deadline=None)
READY = (REGISTERED, replace(REGISTERED, agent_id="bob"))


def called(memory: OpenTasks, at: float) -> list[str]:
    return [stream.removeprefix("task-") for stream, _ in openings(memory, at)]


def ready_from(memory: OpenTasks, at: float) -> None:
    """Nobody is called for it or told of it before then, and from then on somebody is."""
    assert called(memory, at - 0.1) == []
    assert called(memory, at) == ["later"]


def test_a_task_waits_for_its_time_whoever_comes_and_goes() -> None:
    memory = told([LATER, *READY])
    assert memory.tasks["later"].not_before == AT + 50
    ready_from(memory, AT + 50)
    assert called(told([replace(REGISTERED, agent_id="eve")], memory, seconds=49.9), AT + 49.9) == []
    assert called(told([replace(REGISTERED, agent_id="fay")], memory, seconds=50.0), AT + 50.0) == ["later"]
    assert memory.tasks["later"].not_before == 0.0


def test_it_stalls_for_nothing_and_is_no_open_work_before_its_time() -> None:
    memory = told([LATER])
    assert stalls(memory, AT + 49.9) == []
    assert [stream for stream, _ in stalls(memory, AT + 50)] == ["task-later"]
    assert open_work(memory, AT + 49.9).tasks == ()
    assert [one.task_id for one in open_work(memory, AT + 50).tasks] == ["later"]


def test_its_place_in_line_counts_from_then() -> None:
    earlier = replace(SUBMITTED, task_id="soon", submitted_at=AT + 49.0)
    memory = told([LATER, earlier, REGISTERED, replace(READY[1], slots=9)])
    assert called(memory, AT + 50) == ["soon", "later"]
    sooner = replace(AMENDED, task_id="later", priority=LATER.priority, deadline=None, not_before=AT + 10)
    assert called(told([sooner], memory, seconds=5.0), AT + 50) == ["later", "soon"]


def test_a_start_that_is_moved_holds_for_the_next_call() -> None:
    moved = replace(AMENDED, task_id="later", deadline=None, not_before=AT + 90)
    memory = told([LATER, *READY, moved])
    ready_from(memory, AT + 90)
    lifted = replace(moved, not_before=1.0)
    assert called(told([lifted], memory, seconds=1.0), AT + 1.0) == ["later"]
    opened, voided = replace(OPENED, task_id="later"), replace(VOIDED, task_id="later", voids=1, ranking=())
    memory = told([opened, moved, voided], memory, seconds=2.0)
    ready_from(memory, AT + 90)


def test_a_blocked_task_waits_for_both() -> None:
    blocked = replace(LATER, dependencies=("t0",), waiting_for=("t0",))
    unblocked = replace(event_by_type[TaskUnblocked], task_id="later")
    assert called(told([blocked, *READY]), AT + 99) == []
    ready_from(told([blocked, *READY, unblocked]), AT + 50)
    late = told([unblocked], told([blocked, *READY]), seconds=60.0)
    assert called(late, AT + 60.0) == ["later"]


def test_its_alarm_is_set_as_long_as_it_waits() -> None:
    memory = told([LATER])
    assert (AT + 50, Due.START) in all_due(memory.tasks["later"], 0.0)
    told([replace(OPENED, task_id="later")], memory, seconds=50.0)
    assert Due.START not in [due for _, due in all_due(memory.tasks["later"], 0.0)]


async def test_a_task_is_called_for_when_its_time_has_come_also_after_a_restart(tmp_path: Path) -> None:
    begins = AT + 100.0
    async with open_crew(tmp_path, begins_at=AT) as crew:
        await crew.register("ann", slots=3)
        await crew.submit("later", not_before=begins)
        await crew.submit("last", not_before=begins + 900.0)
        await crew.submit("now")
        assert (await crew.next(BookOpened)).task_id == "now"
    async with open_crew(tmp_path, begins_at=begins - 0.1) as crew:
        record = await crew.next_record(BookOpened, task_id="later")
        assert record.meta.at >= begins
        await crew.ask(AmendTask(task_id="last", not_before=begins))
        assert (await crew.next(BookOpened)).task_id == "last"


async def test_amending_is_bound_by_what_the_node_allows(tmp_path: Path) -> None:
    async with open_crew(tmp_path, CALM._replace(budget_seconds_max=80.0)) as crew:
        await crew.submit("t1")
        with pytest.raises(Refused, match="budget_too_long"):
            await crew.ask(AmendTask(task_id="t1", budget_seconds=80.5))
        await crew.ask(AmendTask(task_id="t1", budget_seconds=79.5))
        assert (await crew.next(TaskAmended)).budget_seconds == 79.5
