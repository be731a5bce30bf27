"""Payloads and results are held against the schemas that were in force when the task came, and nothing that does not fit is recorded."""

from pathlib import Path
from typing import Any

import pytest

from agents.coordinating.entries import VERSIONS_KEPT_MAX
from aggregates.task import (
    BookOpened,
    CancelTask,
    CompleteTask,
    FailTask,
    RequeueTask,
    SubmitTask,
    SubmitTasks,
    TaskAwarded,
    TaskCompleted,
    TaskDeadLettered,
    TaskSubmitted,
)
from aggregates.task_type import DropSchemas, SchemasStand, SetSchemas
from runtime.errors import Refused
from tests.agents.crew import CALM, Crew, open_crew
from tests.examples import MISTAKES_SCHEMA, TEXT_SCHEMA, command_by_type

SUBMIT: SubmitTask = command_by_type[SubmitTask]
TASK_TYPE = SUBMIT.task_type


async def set_schemas(crew: Crew, **schemas: Any) -> SchemasStand:
    return await crew.ask(SetSchemas(task_type=TASK_TYPE, **schemas))


async def refused(crew: Crew, command: Any) -> Refused:
    before = crew.system.journal.position
    with pytest.raises(Refused) as caught:
        await crew.ask(command)
    assert crew.system.journal.position == before
    return caught.value


async def test_what_does_not_fit_is_not_recorded_and_all_of_it_is_told(tmp_path: Path) -> None:
    async with open_crew(tmp_path, CALM) as crew:
        assert await set_schemas(crew, payload=TEXT_SCHEMA) == SchemasStand(task_type=TASK_TYPE, version=1)
        with pytest.raises(Refused) as caught:
            await crew.submit("t1", payload={"text": 7, "pages": 1}, budget_seconds=1e6)
        told = [(fault.pointer, fault.code) for fault in caught.value.faults]
        assert told == [("/budget_seconds", "budget_too_long"), ("/payload/text", "payload_unfit")]
        assert caught.value.status == 422
        await crew.submit("t1", payload={"text": "seven"})
        assert (await crew.next(TaskSubmitted, task_id="t1")).schema_version == 1


async def test_of_many_tasks_each_fault_is_told_by_its_place(tmp_path: Path) -> None:
    async with open_crew(tmp_path, CALM) as crew:
        await set_schemas(crew, payload=TEXT_SCHEMA)
        await crew.submit("t0", payload={"text": "x"})
        good = crew.submission("t1", payload={"text": "x"})
        odd = crew.submission("t2", payload={"text": None})
        answer = await crew.ask(SubmitTasks(tasks=(good, odd)))
        assert [(fault.number, fault.pointer, fault.code) for fault in answer.faults] == [
            (1, "/payload/text", "payload_unfit")
        ]


async def test_a_result_that_does_not_fit_is_refused_and_may_be_mended_while_the_lease_holds(tmp_path: Path) -> None:
    async with open_crew(tmp_path, CALM) as crew:
        await set_schemas(crew, result=MISTAKES_SCHEMA)
        await crew.register("ann")
        await crew.submit("t1")
        token = (await crew.awarded("t1", "ann")).token
        done = CompleteTask(task_id="t1", agent_id="ann", token=token, result={"mistakes": -1})
        answer = await refused(crew, done)
        assert [(fault.pointer, fault.code) for fault in answer.faults] == [("/result/mistakes", "result_unfit")]
        assert (await refused(crew, CompleteTask(task_id="t1", agent_id="bob", token=token))).code == "not_the_holder"
        good = CompleteTask(task_id="t1", agent_id="ann", token=token, result={"mistakes": 3})
        await crew.ask(good)
        assert (await crew.next(TaskCompleted)).result == {"mistakes": 3}
        await crew.ask(good)


async def test_a_task_keeps_to_the_version_that_it_came_under(tmp_path: Path) -> None:
    async with open_crew(tmp_path, CALM) as crew:
        await set_schemas(crew, result=MISTAKES_SCHEMA)
        await crew.register("ann", slots=2)
        await crew.submit("old")
        await set_schemas(crew, result={"required": ["corrected"]})
        await crew.submit("new")
        await crew.ask(DropSchemas(task_type=TASK_TYPE))
        tokens = {}
        for call in [await crew.next(BookOpened, task_id=name) for name in ("old", "new")]:
            await crew.bid(call, "ann")
        for name in ("old", "new"):
            tokens[name] = (await crew.next(TaskAwarded, task_id=name)).token
        mistakes, corrected = {"mistakes": 0}, {"corrected": "text"}
        odd = CompleteTask(task_id="old", agent_id="ann", token=tokens["old"], result=corrected)
        assert (await refused(crew, odd)).code == "result_unfit"
        await crew.ask(CompleteTask(task_id="old", agent_id="ann", token=tokens["old"], result=mistakes))
        odd = CompleteTask(task_id="new", agent_id="ann", token=tokens["new"], result=mistakes)
        assert (await refused(crew, odd)).code == "result_unfit"
        await crew.ask(CompleteTask(task_id="new", agent_id="ann", token=tokens["new"], result=corrected))


async def test_a_version_by_which_open_tasks_go_is_not_let_go(tmp_path: Path) -> None:
    async with open_crew(tmp_path, CALM) as crew:
        await set_schemas(crew, result=MISTAKES_SCHEMA)
        await crew.register("ann")
        await crew.submit("t1")
        for number in range(VERSIONS_KEPT_MAX - 1):
            await set_schemas(crew, payload={"maxProperties": number})
        another = SetSchemas(task_type=TASK_TYPE, payload={"minProperties": 1})
        assert (await refused(crew, another)).code == "schema_versions_too_many"
        await crew.ask(CancelTask(task_id="t1"))
        assert (await crew.ask(another)).version == VERSIONS_KEPT_MAX + 1


async def test_a_dead_letter_comes_back_under_its_own_version_while_that_is_at_hand(tmp_path: Path) -> None:
    async with open_crew(tmp_path, CALM) as crew:
        await set_schemas(crew, result=MISTAKES_SCHEMA)
        await crew.register("ann")
        await crew.submit("t1", attempts_max=1)
        await crew.awarded("t1", "ann")
        await crew.ask(FailTask(task_id="t1", agent_id="ann", token=1))
        await crew.next(TaskDeadLettered)
        await crew.ask(RequeueTask(task_id="t1", attempts=1))
        await crew.awarded("t1", "ann")
        odd = CompleteTask(task_id="t1", agent_id="ann", token=2, result={})
        assert (await refused(crew, odd)).code == "result_unfit"
        await crew.ask(FailTask(task_id="t1", agent_id="ann", token=2))
        await crew.next(TaskDeadLettered)
        for number in range(VERSIONS_KEPT_MAX):
            await set_schemas(crew, payload={"maxProperties": number})
        assert (await refused(crew, RequeueTask(task_id="t1"))).code == "schema_gone"


async def test_all_of_it_is_known_again_after_a_restart(tmp_path: Path) -> None:
    async with open_crew(tmp_path, CALM) as crew:
        await set_schemas(crew, payload=TEXT_SCHEMA, result=MISTAKES_SCHEMA)
        await crew.register("ann")
        await crew.submit("t1", payload={"text": "x"})
        await crew.awarded("t1", "ann")
    async with open_crew(tmp_path, CALM) as crew:
        with pytest.raises(Refused, match="payload_unfit"):
            await crew.submit("t2")
        award = await crew.next(TaskAwarded)
        odd = CompleteTask(task_id="t1", agent_id="ann", token=award.token, result={})
        assert (await refused(crew, odd)).code == "result_unfit"
