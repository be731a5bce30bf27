"""What becomes of tasks whose dependencies end without a result, down the line and over restarts."""

from pathlib import Path

from aggregates.task import (
    BookOpened,
    CancelTask,
    CompleteTask,
    DependencyPolicy,
    DependencyUnmet,
    TaskCancelled,
    TaskFailed,
    TaskUnblocked,
)
from tests.agents.crew import open_crew

FAIL, SKIP, RUN = DependencyPolicy


async def test_each_task_goes_by_its_own_policy_when_a_dependency_ends_without_a_result(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.submit("t1")
        await crew.submit("skips", dependencies=("t1",), dependency_policy=SKIP)
        await crew.submit("fails", dependencies=("skips",), dependency_policy=FAIL)
        await crew.submit("runs", dependencies=("t1", "fails"), dependency_policy=RUN)
        await crew.ask(CancelTask(task_id="t1", reason="enough"))
        assert (await crew.next(TaskCancelled, task_id="skips")).reason == "dependency_failed: t1 is cancelled"
        assert (await crew.next(TaskFailed, task_id="fails")).reason == "dependency_failed: skips is cancelled"
        await crew.next(TaskUnblocked, task_id="runs")
        unmet = [event.unmet for event in await crew.events() if isinstance(event, DependencyUnmet)]
        assert unmet == [("t1",), ("fails", "t1")]
        await crew.register("ann")
        assert (await crew.next(BookOpened)).task_id == "runs"


async def test_what_runs_without_a_result_keeps_out_only_those_who_did_something(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann", slots=5)
        await crew.submit("t1")
        await crew.awarded("t1", "ann")
        await crew.ask(CancelTask(task_id="t1"))
        await crew.submit("t2")
        await crew.awarded("t2", "ann")
        await crew.ask(CompleteTask(task_id="t2", agent_id="ann", token=1))
        both = {"dependencies": ("t1", "t2"), "dependency_policy": RUN}
        await crew.submit("t3", **both, independent_of=("t2",))
        await crew.submit("t4", **both, independent_of=("t1",))
        assert (await crew.next(BookOpened)).task_id == "t4"
    async with open_crew(tmp_path) as crew:
        await crew.register("bob")
        assert (await crew.next(BookOpened, task_id="t3")).eligible == ("bob",)
