"""The coordinator's memory: it survives its snapshot, stays within bounds, and forgets what has ended."""

import random
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agents.coordinating.folding import agents as folding_agents
from agents.coordinating.folding import tasks as folding_tasks
from agents.coordinating.folding.books import RETRY_SECONDS_MAX
from agents.coordinating.folding.fold import remember
from agents.coordinating.occupied import Occupied
from agents.coordinating.open_tasks import OpenTasks
from agents.coordinating.open_work import open_work
from agents.coordinating.supply import Supply
from agents.coordinating.terms import Aging
from agents.coordinating.waiting import Waiting
from aggregates import agent, task
from aggregates.values.concurrency import Concurrency
from aggregates.values.ranking import Ranked
from runtime.records import Event, Meta, Recorded
from tests.examples import AT, event_by_type
from tests.projections import stories

REGISTERED: agent.AgentRegistered = event_by_type[agent.AgentRegistered]
SUBMITTED: task.TaskSubmitted = replace(event_by_type[task.TaskSubmitted], waiting_for=(), dependencies=())
OPENED: task.BookOpened = event_by_type[task.BookOpened]
BID: task.BidPlaced = event_by_type[task.BidPlaced]
AWARDED: task.TaskAwarded = event_by_type[task.TaskAwarded]
COMPLETED: task.TaskCompleted = event_by_type[task.TaskCompleted]
VOIDED: task.BookVoided = event_by_type[task.BookVoided]
LIFE: tuple[Event, ...] = (REGISTERED, SUBMITTED, OPENED, BID, AWARDED)


def told(
    events: Iterable[Event], memory: OpenTasks | None = None, seconds: float = 0.0, position: int = 1
) -> OpenTasks:
    folded = memory or OpenTasks()
    for place, event in enumerate(events, position):
        meta = Meta(id="m", cause="", correlation="m", tenant="acme", principal="test", at=AT + seconds)
        record = Recorded(position=place, stream="s", version=1, kind="k", event=event, meta=meta)
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
    assert (memory.agents["ann"].held, memory.agents["ann"].figures.counts.succeeded, memory.tasks) == ([], 1, {})
    assert memory.ended["t1"].agent_id == "ann"


def test_a_promise_kept_counts_whole_and_a_broken_one_in_part() -> None:
    late = replace(COMPLETED, seconds=20.0)
    assert told([*LIFE, COMPLETED]).agents["ann"].figures.counts.kept == 1.0
    assert told([*LIFE, late]).agents["ann"].figures.counts.kept == 0.25


def test_who_leaves_and_comes_back_brings_its_past(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding_agents, "PAST_MAX", 2)
    left, expired = event_by_type[agent.AgentDeregistered], event_by_type[task.LeaseExpired]
    memory = told([*LIFE, left, expired])
    assert memory.agents == {}
    assert memory.departed["ann"].counts.failed == 1
    back = told([REGISTERED], msgspec.msgpack.decode(msgspec.msgpack.encode(memory), type=OpenTasks))
    assert (back.agents["ann"].figures.counts.failed, back.departed) == (1, {})
    for name in ("bob", "eve", "zoe", "newcomer"):
        told([replace(REGISTERED, agent_id=name)], memory)
        if name != "newcomer":
            memory.agents[name].figures.gain(0.0, 1, failed=1)
        told([replace(left, agent_id=name)], memory)
    assert sorted(memory.departed) == memory.departed_order == ["eve", "zoe"]


def test_pauses_between_books_grow_to_a_bound() -> None:
    waits = []
    for voids in (1, 2, 3, 50):
        memory = told([REGISTERED, SUBMITTED, OPENED, replace(VOIDED, voids=voids)])
        waits.append(memory.tasks["t1"].retry_at - AT)
    assert waits == [1.0, 2.0, 4.0, RETRY_SECONDS_MAX]


def resting(memory: OpenTasks) -> bool:
    """Whether t1 waits for the end of its pause."""
    (line,) = memory.waiting.lines.values()
    return "t1" in line.resting


def test_a_pause_ends_with_time_or_with_an_offer_of_what_was_wanting_but_with_no_other() -> None:
    memory = told([REGISTERED, SUBMITTED, OPENED, VOIDED])
    assert resting(memory)
    told([replace(REGISTERED, agent_id="eve", capabilities=("other",))], memory)
    other: agent.AgentUpdated = replace(event_by_type[agent.AgentUpdated], agent_id="eve")
    told([replace(other, capabilities=("other",), price=9.0), replace(other, capabilities=("more", "other"))], memory)
    told([replace(other, agent_id="ann", price=9.0)], memory)
    assert resting(memory)
    assert not resting(told([replace(other, capabilities=("other", "qubo"))], memory))
    for event in (REGISTERED, agent.AgentReturned(agent_id="ann", generation=2)):
        assert not resting(told([event], told([REGISTERED, SUBMITTED, OPENED, VOIDED])))
    assert resting(told([task.TaskUnblocked(task_id="t2")], told([SUBMITTED, OPENED, VOIDED]), 0.9))
    assert not resting(told([task.TaskUnblocked(task_id="t2")], told([SUBMITTED, OPENED, VOIDED]), 1.0))


def test_who_found_all_busy_is_ready_when_a_slot_is_free() -> None:
    one = replace(REGISTERED, slots=1)
    won = [replace(SUBMITTED, task_id="t2"), replace(OPENED, task_id="t2"), replace(AWARDED, task_id="t2")]
    busy = replace(VOIDED, ranking=(Ranked(agent_id="ann", lost="slots_full"),))
    memory = told([one, *won, SUBMITTED, OPENED, busy])
    assert resting(memory)
    assert not resting(told([replace(COMPLETED, task_id="t2")], memory))
    assert resting(told([one, *won, SUBMITTED, OPENED, VOIDED, replace(COMPLETED, task_id="t2")]))


def test_who_found_those_busy_whom_it_called_is_called_for_at_once_where_others_are_free() -> None:
    two = [replace(REGISTERED, slots=1), replace(REGISTERED, agent_id="bob", slots=1)]
    won = [replace(SUBMITTED, task_id="t2"), replace(OPENED, task_id="t2"), replace(AWARDED, task_id="t2")]
    full, other = Ranked(agent_id="ann", lost="slots_full"), Ranked(agent_id="bob", lost="bid_expired")
    for ranking, rests in (((full,), False), ((full, other), True), ((), True)):
        memory = told([*two, *won, SUBMITTED, OPENED, replace(VOIDED, ranking=ranking)])
        assert resting(memory) is rests


def test_who_found_no_room_is_ready_when_as_many_units_are_free_and_no_sooner() -> None:
    held = [
        event
        for name, units in (("t2", 30.0), ("t3", 60.0))
        for event in (
            replace(SUBMITTED, task_id=name, units=units),
            replace(OPENED, task_id=name),
            replace(AWARDED, task_id=name),
        )
    ]
    busy = replace(VOIDED, ranking=(Ranked(agent_id="ann", lost="capacity_full"),))
    first = [replace(REGISTERED, slots=9), *held, replace(SUBMITTED, units=50.0), OPENED, busy]
    memory = told(first)
    assert (memory.agents["ann"].used, memory.agents["ann"].room) == (90.0, 10.0)
    assert resting(told([replace(COMPLETED, task_id="t2")], memory))
    assert memory.agents["ann"].room == 40.0
    assert not resting(told([replace(COMPLETED, task_id="t3")], memory))
    assert (memory.agents["ann"].used, memory.agents["ann"].units_by_task) == (0.0, {})
    more: agent.AgentUpdated = replace(event_by_type[agent.AgentUpdated], capabilities=REGISTERED.capabilities, slots=9)
    assert resting(told([replace(more, max_capacity=139.0)], told(first)))
    assert not resting(told([replace(more, max_capacity=140.0)], told(first)))


def test_a_task_that_ended_is_owing_until_the_last_dependent_has_been_told() -> None:
    blocked = [replace(SUBMITTED, task_id=name, dependencies=("t1",), waiting_for=("t1",)) for name in ("d1", "d2")]
    memory = told([*LIFE, *blocked, COMPLETED])
    assert list(memory.owing) == ["t1"]
    told([task.DependencyMet(task_id="d1", dependency="t1")], memory)
    assert list(memory.owing) == ["t1"]
    assert told([task.TaskCancelled(task_id="d2", reason="")], memory).owing == {}


@given(st.integers(0, 2**32))
def test_the_indexes_are_what_they_would_be_if_they_were_made_anew(seed: int) -> None:
    chance, memory = random.Random(seed), OpenTasks()
    for number in range(60):
        told([some_event(chance, memory, number)], memory, number / 4, number + 1)
        books = (memory.tasks[name].eligible for name in memory.books)
        assert contents(memory.supply) == contents(Supply(memory.agents.values(), books))
        assert lined_up(memory.waiting) == lined_up(Waiting(memory.tasks.values()))
        assert occupied(memory.occupied) == occupied(Occupied(memory.tasks.values()))
        groups = {(one.concurrency.key, one.concurrency.group) for one in memory.tasks.values() if one.concurrency}
        assert groups >= {(key, group) for key, turns in memory.turns.items() for group in turns}


def lined_up(waiting: Waiting) -> dict[str, Any]:
    """All that it knows, with each line as what it knows."""
    lines = {key: vars(line) for key, line in waiting.lines.items()}
    spots = {name: spot._replace(line=lines[spot.line.key]) for name, spot in waiting._spot_by_task.items()}  # type: ignore[arg-type]
    return vars(waiting) | {"lines": lines, "_spot_by_task": spots}


def occupied(places: Occupied) -> dict[str, Any]:
    """All that it knows; a count of none is none."""
    keys = {key: vars(one) | {"groups": +one.groups} for key, one in places.keys.items()}
    return vars(places) | {"keys": keys}


def contents(supply: Supply) -> dict[str, Any]:
    """All that it knows, but for the order in which those were called who are equally taken."""
    queues = {skill: sorted(queue) for skill, queue in supply.free.items()}
    return vars(supply) | {"free": queues, "_awaited": vars(supply._awaited)}


def some_event(chance: random.Random, memory: OpenTasks, number: int) -> Event:
    """Something that may happen now: to an agent, to a task, or to a new one."""
    if chance.random() < 0.3:
        return some_event_of_an_agent(chance, memory)
    names = sorted(memory.tasks)
    if not names or chance.random() < 0.3:
        return replace(
            SUBMITTED,
            task_id=f"t{number}",
            capabilities=some_skills(chance),
            submitted_at=AT + number,
            units=chance.choice([0.0, 30.0, 90.0, 120.0]),
            concurrency=chance.choice([None, *(Concurrency(key=key, group=group) for key in "kl" for group in "ab")]),
        )
    entry = memory.tasks[chance.choice(names)]
    name, holder = entry.task_id, {"task_id": entry.task_id, "agent_id": entry.assignee}
    match entry.stage:
        case task.Stage.SUBMITTED:
            return chance.choice([replace(OPENED, task_id=name), task.TaskCancelled(task_id=name, reason="")])
        case task.Stage.BIDDING:
            voided = replace(
                VOIDED,
                task_id=name,
                ranking=(Ranked(agent_id="ann", lost=chance.choice(["", "slots_full", "capacity_full"])),),
            )
            return chance.choice([voided, replace(AWARDED, task_id=name, agent_id=chance.choice(["ann", "bob"]))])
        case task.Stage.AWARDED if entry.assignee:
            expired: task.LeaseExpired = replace(event_by_type[task.LeaseExpired], **holder)
            return chance.choice([replace(COMPLETED, **holder), expired])
        case _:
            return task.TaskReopened(task_id=name, attempt=2, reason="")


def some_event_of_an_agent(chance: random.Random, memory: OpenTasks) -> Event:
    name, skills, slots = chance.choice(["ann", "bob", "eve"]), some_skills(chance), chance.randrange(1, 4)
    if name not in memory.agents:
        return replace(REGISTERED, agent_id=name, capabilities=skills, slots=slots, max_capacity=some_capacity(chance))
    changes: tuple[type[Event], ...] = tuple(kind for kind in agent.EVENTS if kind is not agent.AgentRegistered)
    event: Event = replace(event_by_type[chance.choice(changes)], agent_id=name)
    if isinstance(event, agent.AgentUpdated):
        event = replace(event, capabilities=skills, slots=slots, max_capacity=some_capacity(chance))
    return event


def some_capacity(chance: random.Random) -> float:
    return chance.choice([50.0, 100.0, 150.0])


def some_skills(chance: random.Random) -> tuple[str, ...]:
    return tuple(sorted(chance.sample(["cutting", "drawing", "writing"], chance.randrange(3))))


def test_only_the_newest_ended_tasks_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding_tasks, "ENDED_MAX", 3)
    events: list[Any] = []
    for number in range(5):
        name = f"t{number}"
        events += [replace(SUBMITTED, task_id=name), task.TaskCancelled(task_id=name, reason="")]
    memory = told(events)
    assert memory.ended_order == ["t2", "t3", "t4"]
    assert sorted(memory.ended) == memory.ended_order
    assert (len(memory.waiting), memory.dependents) == (0, {})


def test_waiting_tasks_stand_by_priority_and_then_by_age() -> None:
    steps = [("old", 3, 0.0), ("urgent", 5, 10.0), ("new", 3, 20.0), ("aged", 1, -6000.0)]
    events = [replace(SUBMITTED, task_id=n, priority=p, submitted_at=AT + age) for n, p, age in steps]
    memory = told(events)
    lines = {line.priority: [name for _, _, name in places] for line, places in memory.waiting.ready(AT)}
    assert lines == {1: ["aged"], 3: ["old", "new"], 5: ["urgent"]}
    assert [task.task_id for task in open_work(memory, AT).tasks] == ["aged", "urgent", "old", "new"]
    assert [task.task_id for task in open_work(memory, AT, aging=Aging(0.0)).tasks] == ["urgent", "old", "new", "aged"]


@pytest.mark.parametrize("seed", range(6))
def test_a_memory_that_was_saved_anywhere_in_between_is_the_one_that_was_not(seed: int):
    straight, saved = OpenTasks(), OpenTasks()
    heard = {*agent.EVENTS, *task.EVENTS}
    for record in stories.told(seed, 800).records:
        if record.meta.tenant != stories.TENANTS[0] or type(record.event) not in heard:
            continue
        straight = remember(straight, record)
        saved = remember(msgspec.msgpack.decode(msgspec.msgpack.encode(saved), type=OpenTasks), record)
    assert straight.ended
    pack = msgspec.msgpack.Encoder(order="deterministic").encode  # a set that was read has another order
    assert pack(saved) == pack(straight)


def test_a_book_that_found_all_busy_does_not_bring_forward_when_its_task_may_begin() -> None:
    names = [replace(REGISTERED, agent_id=name, capabilities=SUBMITTED.capabilities) for name in ("ann", "bob")]
    later = task.TaskAmended(task_id=SUBMITTED.task_id, priority=3, deadline=None, not_before=AT + 3600)
    busy = replace(VOIDED, ranking=(Ranked(agent_id="ann", lost="slots_full"),))
    memory = told([*names, SUBMITTED, replace(OPENED, eligible=("ann",)), later, busy])
    assert memory.tasks[SUBMITTED.task_id].not_before == AT + 3600


def test_what_an_agent_could_ever_hold_is_counted_to_the_millionth_as_its_room_is() -> None:
    ann = replace(REGISTERED, capabilities=SUBMITTED.capabilities, max_capacity=1.0000006, skills=())
    large = replace(SUBMITTED, units=1.000001)
    memory = told([ann, large])
    (line,) = memory.waiting.lines.values()
    assert memory.supply.largest(line) >= 1.000001
