"""The coordinator's memory: it survives its snapshot, stays within bounds, and forgets what has ended."""

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from agents import open_tasks
from agents.open_tasks import RETRY_SECONDS_MAX, OpenTasks, remember
from aggregates import agent, task
from aggregates.values.ranking import Ranked
from runtime.records import Event, Meta, Recorded
from tests.examples import AT, event_by_type

REGISTERED: agent.AgentRegistered = event_by_type[agent.AgentRegistered]
SUBMITTED: task.TaskSubmitted = replace(event_by_type[task.TaskSubmitted], waiting_for=(), dependencies=())
OPENED: task.BookOpened = event_by_type[task.BookOpened]
BID: task.BidPlaced = event_by_type[task.BidPlaced]
AWARDED: task.TaskAwarded = event_by_type[task.TaskAwarded]
COMPLETED: task.TaskCompleted = event_by_type[task.TaskCompleted]
VOIDED: task.BookVoided = event_by_type[task.BookVoided]
LIFE: tuple[Event, ...] = (REGISTERED, SUBMITTED, OPENED, BID, AWARDED)


def told(events: Iterable[Event], memory: OpenTasks | None = None) -> OpenTasks:
    folded = memory or OpenTasks()
    for position, event in enumerate(events, 1):
        meta = Meta(id="m", cause="", correlation="m", tenant="acme", principal="test", at=AT)
        record = Recorded(position=position, stream="s", version=1, kind="k", event=event, meta=meta)
        folded = remember(folded, record)
    return folded


@pytest.mark.parametrize("length", range(len(LIFE) + 1))
def test_memory_survives_its_snapshot_at_every_step(length: int) -> None:
    memory = told(LIFE[:length])
    data = msgspec.msgpack.encode(memory, order="deterministic")
    again = msgspec.msgpack.decode(data, type=OpenTasks)
    assert again == memory
    assert told(LIFE[length:], again).tasks == told(LIFE[length:], memory).tasks


@pytest.mark.parametrize("event", [*agent.EVENTS, *task.EVENTS], ids=lambda event: event.__name__)
def test_an_event_of_one_who_is_not_known_is_taken(event: type[Event]) -> None:
    told([event_by_type[event]])


def test_an_award_takes_a_slot_and_the_end_gives_it_back() -> None:
    memory = told(LIFE)
    assert (memory.agents["ann"].held, memory.agents["ann"].free) == (["t1"], 1)
    memory = told([COMPLETED], memory)
    assert (memory.agents["ann"].held, memory.agents["ann"].figures.completed, memory.tasks) == ([], 1, {})
    assert memory.ended["t1"].agent_id == "ann"


def test_a_promise_kept_counts_whole_and_a_broken_one_in_part() -> None:
    late = replace(COMPLETED, seconds=20.0)
    assert told([*LIFE, COMPLETED]).agents["ann"].figures.kept_sum == 1.0
    assert told([*LIFE, late]).agents["ann"].figures.kept_sum == 0.25


def test_who_leaves_and_comes_back_brings_its_past(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_tasks, "PAST_MAX", 2)
    left, expired = event_by_type[agent.AgentDeregistered], event_by_type[task.LeaseExpired]
    memory = told([*LIFE, left, expired])
    assert memory.agents == {}
    assert memory.departed["ann"].failed == 1
    back = told([REGISTERED], msgspec.msgpack.decode(msgspec.msgpack.encode(memory), type=OpenTasks))
    assert (back.agents["ann"].figures.failed, back.departed) == (1, {})
    for name in ("bob", "eve", "zoe", "newcomer"):
        told([replace(REGISTERED, agent_id=name)], memory)
        memory.agents[name].figures.failed = 0 if name == "newcomer" else 1
        told([replace(left, agent_id=name)], memory)
    assert sorted(memory.departed) == memory.departed_order == ["eve", "zoe"]


def test_pauses_between_books_grow_to_a_bound() -> None:
    waits = []
    for voids in (1, 2, 3, 50):
        memory = told([REGISTERED, SUBMITTED, OPENED, replace(VOIDED, voids=voids)])
        waits.append(memory.tasks["t1"].retry_at - AT)
    assert waits == [1.0, 2.0, 4.0, RETRY_SECONDS_MAX]


def test_who_found_all_busy_is_ready_when_a_slot_is_free() -> None:
    busy = replace(VOIDED, ranking=(Ranked(agent_id="ann", lost="slots_full"),))
    memory = told([REGISTERED, SUBMITTED, OPENED, busy])
    assert not memory.ready(memory.tasks["t1"], AT)
    memory.slot_position = 99
    assert memory.ready(memory.tasks["t1"], AT)


def test_only_the_newest_ended_tasks_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_tasks, "ENDED_MAX", 3)
    events: list[Any] = []
    for number in range(5):
        name = f"t{number}"
        events += [replace(SUBMITTED, task_id=name), task.TaskCancelled(task_id=name, reason="")]
    memory = told(events)
    assert memory.ended_order == ["t2", "t3", "t4"]
    assert sorted(memory.ended) == memory.ended_order
    assert (memory.waiting, memory.dependents) == ([], {})


def test_waiting_tasks_stand_by_priority_and_then_by_age() -> None:
    steps = [("old", 3, 0.0), ("urgent", 5, 10.0), ("new", 3, 20.0), ("aged", 1, -6000.0)]
    events = [replace(SUBMITTED, task_id=n, priority=p, submitted_at=AT + age) for n, p, age in steps]
    assert [name for _, _, name in told(events).waiting] == ["aged", "urgent", "old", "new"]
