"""Queues of tasks: held back and let go on, one by one, and told with what they hold."""

from pathlib import Path

import pytest

from agents.coordinating import queues
from aggregates.queue import FindQueues, PauseQueue, ResumeQueue
from aggregates.task import (
    BookOpened,
    CompleteTask,
    FailTask,
    RequeueTask,
    TaskAwarded,
    TaskDeadLettered,
    TaskReopened,
)
from aggregates.task.commands import SubmitTask
from aggregates.task.submission import asked_digest
from runtime.errors import Refused
from tests.agents.crew import Crew, kinds, open_crew
from tests.examples import command_by_type


async def counted(crew: Crew, name: str) -> tuple[int, int, int, int, bool]:
    (one,) = [one for one in (await crew.ask(FindQueues())).queues if one.name == name]
    return one.waiting, one.bidding, one.held, one.blocked, one.paused


async def test_only_the_tasks_of_a_paused_queue_wait_and_what_is_held_or_offered_goes_on(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann", slots=9)
        await crew.submit("t1", queue="reports")
        await crew.awarded("t1", "ann")
        await crew.submit("t2", queue="reports")
        call = await crew.next(BookOpened, task_id="t2")
        await crew.submit("after", dependencies=("t1",), queue="reports")
        assert await counted(crew, "reports") == (0, 1, 1, 1, False)
        paused = await crew.ask(PauseQueue(queue="reports", reason="maintenance", paused_by="op"))
        assert (paused.paused, paused.reason, paused.paused_by) == (True, "maintenance", "op")
        again = await crew.ask(PauseQueue(queue="reports", reason="again", paused_by="other"))
        assert (again.since, again.reason, again.paused_by) == (paused.since, "maintenance", "op")
        await crew.submit("t3", queue="reports")
        await crew.bid(call, "ann")
        await crew.next(TaskAwarded, task_id="t2")
        await crew.ask(CompleteTask(task_id="t1", agent_id="ann", token=1))
        await crew.ask(FailTask(task_id="t2", agent_id="ann", token=1))
        await crew.next(TaskReopened, task_id="t2")
        await crew.submit("elsewhere")  # in the queue of its type
        assert (await crew.next(BookOpened)).task_id == "elsewhere"
        assert await counted(crew, "reports") == (3, 0, 0, 0, True)
    async with open_crew(tmp_path) as crew:
        await crew.register("bob", slots=9)
        assert await counted(crew, "reports") == (3, 0, 0, 0, True)
        assert kinds(await crew.events()).count("BookOpened") == 3
        crew.read = crew.system.journal.position
        resumed = await crew.ask(ResumeQueue(queue="reports"))
        assert (resumed.paused, resumed.waiting) == (False, 3)
        called = {(await crew.next(BookOpened)).task_id for _ in range(3)}
        assert called == {"t2", "t3", "after"}


async def test_a_dead_letter_that_is_offered_again_is_in_its_queue_still(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann", slots=9)
        await crew.submit("t1", queue="reports", attempts_max=1)
        await crew.awarded("t1", "ann")
        await crew.ask(FailTask(task_id="t1", agent_id="ann", token=1))
        await crew.next(TaskDeadLettered, task_id="t1")
        await crew.ask(PauseQueue(queue="reports", paused_by="op"))
        await crew.ask(RequeueTask(task_id="t1"))
        await crew.submit("elsewhere")
        assert (await crew.next(BookOpened)).task_id == "elsewhere"
        assert await counted(crew, "reports") == (1, 0, 0, 0, True)


async def test_no_more_queues_are_paused_than_can_be_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "PAUSED_MAX", 2)
    monkeypatch.setattr(queues, "QUEUES_TOLD_MAX", 1)
    async with open_crew(tmp_path) as crew:
        for name in ("a", "b"):
            await crew.ask(PauseQueue(queue=name, paused_by="op"))
        with pytest.raises(Refused, match="queues_too_many"):
            await crew.ask(PauseQueue(queue="c", paused_by="op"))
        await crew.ask(PauseQueue(queue="b", paused_by="op"))
        told = await crew.ask(FindQueues())
        assert ([one.name for one in told.queues], told.left_out) == (["a"], 1)
        await crew.ask(ResumeQueue(queue="a"))
        await crew.ask(PauseQueue(queue="c", paused_by="op"))


def test_what_was_asked_for_before_there_were_queues_is_known_again() -> None:
    submit: SubmitTask = command_by_type[SubmitTask]
    fields = {name: getattr(submit, name) for name in submit.__struct_fields__ if name != "queue"}
    assert asked_digest(SubmitTask(**fields, queue="")) == asked_digest(submit)
    assert asked_digest(SubmitTask(**fields, queue="reports")) != asked_digest(submit)
