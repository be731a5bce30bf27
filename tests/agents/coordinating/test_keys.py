"""Concurrency keys: places that are never more than the limit, turns, newcomers that push others out, and nothing that leaks."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agents.coordinating import keys
from aggregates.agent import DrainAgent
from aggregates.concurrency import DropConcurrency, FindConcurrency, KeyStands, SetConcurrency
from aggregates.coordination import FindObstacles
from aggregates.task import (
    BookOpened,
    BookVoided,
    CancelRequested,
    CancelTask,
    CompleteTask,
    FailTask,
    RequeueTask,
    TaskAwarded,
    TaskCancelled,
    TaskDeadLettered,
)
from aggregates.values.concurrency import Concurrency, Strategy
from runtime.errors import Refused
from tests.agents.crew import Crew, kinds, open_crew

KEY = Concurrency(key="press", limit=1)


def of(strategy: Strategy, limit: int = 1, group: str = "") -> Concurrency:
    return Concurrency(key="press", limit=limit, strategy=strategy, group=group)


async def press(crew: Crew) -> KeyStands:
    (one,) = (await crew.ask(FindConcurrency())).keys
    return one


async def counted(crew: Crew) -> tuple[int, int, int]:
    one = await press(crew)
    return one.taken, one.waiting, one.blocked


async def submit(crew: Crew, task_id: str, **changes: Any) -> None:
    await crew.submit(task_id, **({"dependencies": (), "independent_of": (), "bidding_seconds": 50.0} | changes))


async def finish(crew: Crew, task_id: str) -> None:
    await crew.ask(CompleteTask(task_id=task_id, agent_id="ann", token=1))


async def enter(crew: Crew) -> None:
    await crew.register("ann", slots=100, max_capacity=1e6)


async def opened(crew: Crew) -> int:
    return kinds(await crew.events()).count("BookOpened")


async def test_only_so_many_of_a_key_are_under_way_and_each_way_to_end_gives_the_place_to_the_next(
    tmp_path: Path,
) -> None:
    async with open_crew(tmp_path) as crew:
        await enter(crew)
        for number in range(6):
            await submit(crew, f"t{number}", concurrency=KEY, attempts_max=1)
        await submit(crew, "other")
        called = {(await crew.next(BookOpened)).task_id for _ in range(2)}
        assert called == {"t0", "other"}
        assert await counted(crew) == (1, 5, 0)
        told = (await crew.ask(FindObstacles(task_id="t1"))).key
        assert told is not None
        assert [one.task_id for one in told.holders] == ["t0"]
        await crew.ask(CancelTask(task_id="t0"))  # in bidding
        await crew.awarded("t1", "ann")
        await finish(crew, "t1")
        await crew.awarded("t2", "ann")
        await crew.ask(FailTask(task_id="t2", agent_id="ann", token=1))
        await crew.refuse(await crew.next(BookOpened, task_id="t3"), "ann")
        await crew.next(BookVoided)
        await crew.awarded("t4", "ann")  # while t3 rests
        assert (await counted(crew))[0] == 1
    async with open_crew(tmp_path) as crew:
        told = await press(crew)
        assert (told.taken, [one.agent_id for one in told.holders]) == (1, ["ann"])
        await finish(crew, "t4")
        assert (await crew.next(BookOpened, task_id="t5")).round == 1


async def test_a_task_that_nobody_can_do_holds_back_no_other_of_its_key(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await enter(crew)
        await crew.register("bird", capabilities=("flying",))
        await crew.ask(DrainAgent(agent_id="bird"))
        await submit(crew, "hard", concurrency=KEY, capabilities=("flying",), priority=5)
        await submit(crew, "easy", concurrency=KEY)
        assert (await crew.next(BookOpened)).task_id == "easy"


async def test_what_waits_for_a_dependency_takes_no_place_so_that_a_parent_never_waits_for_its_children(
    tmp_path: Path,
) -> None:
    async with open_crew(tmp_path) as crew:
        await enter(crew)
        await submit(crew, "child", concurrency=KEY)
        await submit(crew, "parent", concurrency=KEY, dependencies=("child",))
        assert await counted(crew) == (1, 0, 1)
        await crew.awarded("child", "ann")
        await finish(crew, "child")
        await crew.awarded("parent", "ann")
        await finish(crew, "parent")
        assert (await crew.ask(FindConcurrency())).keys == ()


async def test_groups_take_turns_however_many_tasks_one_has_and_whatever_their_priority(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await enter(crew)
        for number in range(10):
            await submit(crew, f"a{number}", concurrency=of(Strategy.ROUND_ROBIN, 2, "a"), priority=5)
        for group in "bc":
            for number in range(3):
                await submit(crew, f"{group}{number}", concurrency=of(Strategy.ROUND_ROBIN, 2, group))
        order: list[str] = []
        called = [(await crew.next(BookOpened)) for _ in range(2)]
        while len(order) < 12:
            call = called.pop(0)
            order.append(call.task_id)
            await crew.bid(call, "ann")
            await crew.next(TaskAwarded, task_id=call.task_id)
            await finish(crew, call.task_id)
            called.append(await crew.next(BookOpened))
            assert (await press(crew)).taken <= 2
        assert order[:2] == ["a0", "a1"]  # nobody else was there
        assert Counter(name[0] for name in order[2:11]) == {"a": 3, "b": 3, "c": 3}
        assert [name for name in order if name[0] == "b"] == ["b0", "b1", "b2"]


async def test_several_places_that_come_free_at_once_go_to_different_groups(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        for group in "abc":
            for number in range(3):
                asked = of(Strategy.ROUND_ROBIN, 3, group)
                await submit(crew, f"{group}{number}", concurrency=asked, priority=5 if group == "a" else 1)
        await enter(crew)
        assert {(await crew.next(BookOpened)).task_id for _ in range(3)} == {"a0", "b0", "c0"}


async def test_a_newcomer_is_cancelled_where_its_key_has_enough(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await submit(crew, "t0", concurrency=of(Strategy.CANCEL_NEWEST, 2))
        await submit(crew, "t1", concurrency=of(Strategy.CANCEL_NEWEST, 2))
        await submit(crew, "t2", concurrency=of(Strategy.CANCEL_NEWEST, 2))
        gone = await crew.next(TaskCancelled)
        assert (gone.task_id, gone.reason) == ("t2", "concurrency_limit: 2 of 2 tasks of press are open")
        await crew.ask(CancelTask(task_id="t0"))
        await crew.next(TaskCancelled, task_id="t0")
        await submit(crew, "t3", concurrency=of(Strategy.CANCEL_NEWEST, 2))
        await enter(crew)
        assert {(await crew.next(BookOpened)).task_id for _ in range(2)} == {"t1", "t3"}
        assert kinds(await crew.events()).count("TaskCancelled") == 2


async def test_a_newcomer_takes_the_place_of_the_oldest_of_its_key(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await enter(crew)
        for number in range(2):
            await submit(crew, f"t{number}", concurrency=of(Strategy.CANCEL_IN_PROGRESS, 2))
            await crew.awarded(f"t{number}", "ann")
        await submit(crew, "t2", concurrency=of(Strategy.CANCEL_IN_PROGRESS, 2))
        gone = await crew.next(TaskCancelled)
        assert (gone.task_id, gone.reason) == ("t0", "concurrency_limit: t2 takes its place in press")
        assert (await crew.next(BookOpened)).task_id == "t2"
        with pytest.raises(Refused, match="task_is_cancelled"):
            await finish(crew, "t0")
        await finish(crew, "t1")


async def test_who_is_given_grace_keeps_the_place_until_it_has_stopped(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await enter(crew)
        gentle = Concurrency(key="press", strategy=Strategy.CANCEL_IN_PROGRESS, grace_seconds=60.0)
        await submit(crew, "t0", concurrency=gentle)
        await crew.awarded("t0", "ann")
        await submit(crew, "t1", concurrency=gentle)
        asked = await crew.next(CancelRequested)
        assert (asked.task_id, asked.reason) == ("t0", "concurrency_limit: t1 takes its place in press")
        await submit(crew, "t2", concurrency=gentle)  # is newer than t1, which has not begun
        assert (await crew.next(TaskCancelled)).task_id == "t1"
        assert await opened(crew) == 1
        await crew.ask(FailTask(task_id="t0", agent_id="ann", token=1))  # has stopped
        assert (await crew.next(BookOpened)).task_id == "t2"
        assert kinds(await crew.events()).count("CancelRequested") == 1


async def test_one_that_was_unblocked_or_offered_again_is_a_newcomer_and_one_that_failed_is_not(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await enter(crew)
        newest = of(Strategy.CANCEL_NEWEST)
        await submit(crew, "first")
        await crew.awarded("first", "ann")
        await submit(crew, "blocked", dependencies=("first",), concurrency=newest)
        await submit(crew, "there", concurrency=newest, attempts_max=2)
        await crew.awarded("there", "ann")
        await crew.ask(FailTask(task_id="there", agent_id="ann", token=1))
        await crew.awarded("there", "ann")
        assert kinds(await crew.events()).count("TaskCancelled") == 0
        await finish(crew, "first")
        assert (await crew.next(TaskCancelled)).task_id == "blocked"
        await crew.ask(FailTask(task_id="there", agent_id="ann", token=2))
        await crew.next(TaskDeadLettered)
        await submit(crew, "next", concurrency=newest)
        await crew.next(BookOpened, task_id="next")
        await crew.ask(RequeueTask(task_id="there"))
        assert (await crew.next(TaskCancelled)).task_id == "there"


async def test_an_operators_limit_wins_over_what_tasks_say_and_nobody_loses_a_place_by_it(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await enter(crew)
        for number in range(4):
            await submit(crew, f"t{number}", concurrency=of(Strategy.QUEUE, 2))
        await crew.next(BookOpened)
        await crew.next(BookOpened)
        command = SetConcurrency(key="press", limit=1, strategy=Strategy.QUEUE, set_by="op")
        told = await crew.ask(command)
        assert (told.limit, told.set_by, told.taken, told.waiting) == (1, "op", 2, 2)
        assert await crew.ask(command) == told == await press(crew)
        await crew.ask(CancelTask(task_id="t0"))
        await submit(crew, "other")
        assert (await crew.next(BookOpened)).task_id == "other"
        assert await opened(crew) == 3
        raised = await crew.ask(SetConcurrency(key="press", limit=2, strategy=Strategy.QUEUE, set_by="op"))
        assert (raised.limit, raised.taken) == (2, 1)
        assert (await crew.next(BookOpened)).task_id == "t2"
    async with open_crew(tmp_path) as crew:
        crew.read = crew.system.journal.position
        assert (await press(crew)).set_by == "op"
        await crew.ask(SetConcurrency(key="press", limit=1, strategy=Strategy.CANCEL_NEWEST, set_by="op"))
        await submit(crew, "late", concurrency=of(Strategy.QUEUE, 9))
        assert (await crew.next(TaskCancelled)).task_id == "late"
        dropped = await crew.ask(DropConcurrency(key="press"))
        assert (dropped.limit, dropped.set_by) == (2, "")
        assert await crew.ask(DropConcurrency(key="press")) == dropped


async def test_no_more_keys_have_limits_than_can_be_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "RULES_MAX", 1)
    async with open_crew(tmp_path) as crew:
        await crew.ask(SetConcurrency(key="a", limit=1))
        with pytest.raises(Refused, match="concurrency_keys_too_many"):
            await crew.ask(SetConcurrency(key="b", limit=1))
        await crew.ask(SetConcurrency(key="a", limit=2))
        await crew.ask(DropConcurrency(key="a"))
        await crew.ask(SetConcurrency(key="b", limit=1))


async def test_of_a_key_that_nobody_uses_any_more_nothing_is_kept(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await enter(crew)
        for group in "ab":
            await submit(crew, group, concurrency=of(Strategy.ROUND_ROBIN, 2, group))
            await crew.awarded(group, "ann")
        (cell,) = [one for one in crew.system.cells.values() if one.role == "coordinator"]
        assert cell.actor is not None
        memory = cell.actor.memory
        assert set(memory.turns["press"]) == {"a", "b"}
        await finish(crew, "a")
        assert set(memory.turns["press"]) == {"b"}
        await finish(crew, "b")
        assert (memory.turns, memory.occupied.keys) == ({}, {})
