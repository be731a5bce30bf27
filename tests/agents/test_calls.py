"""Calls for proposals: a long queue is passed over quickly, and nobody is called who would not have been."""

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import calls
from agents.entries import AgentEntry, TaskEntry
from agents.open_tasks import OpenTasks
from aggregates import agent as agents
from aggregates import task as tasks
from aggregates.task import AwardTask, Doer, OpenBook, Stage, TaskType
from aggregates.values.skills import missing

AT = 10.0
SKILLS = ("cutting", "drawing", "writing")


def agent(name: str, capabilities: tuple[str, ...], slots: int) -> AgentEntry:
    return AgentEntry(
        agent_id=name,
        key_id="",
        stage=agents.Stage.ACTIVE,
        generation=1,
        capabilities=capabilities,
        specializations=(),
        slots=slots,
        lease_seconds=30.0,
        since=0.0,
        position=1,
    )


def task(name: str, number: int, capabilities: tuple[str, ...], stage: Stage, eligible: tuple[str, ...]) -> TaskEntry:
    return TaskEntry(
        task_id=name,
        stage=stage,
        position=1,
        order=0.0,
        submitted_position=number,
        task_type=TaskType.ANALYSIS,
        capabilities=capabilities,
        independent_of=(),
        deadline=None,
        budget_seconds=60.0,
        bidding_seconds=2.0,
        waiting_for=(),
        eligible=frozenset(eligible),
        retry_at=AT + 1 if name.endswith("7") else 0.0,
    )


def crowd(chance: random.Random) -> OpenTasks:
    """A tenant with agents of few skills, some open books, and a queue."""
    memory = OpenTasks()
    for number in range(chance.randrange(5)):
        skills = tuple(sorted(chance.sample(SKILLS, chance.randrange(1, 3))))
        memory.agents[f"a{number}"] = agent(f"a{number}", skills, chance.randrange(1, 4))
    for number in range(chance.randrange(40)):
        skills, name = tuple(sorted(chance.sample(SKILLS, chance.randrange(3)))), f"t{number:02}"
        if chance.random() < 0.1:
            eligible = tuple(one.agent_id for one in memory.agents.values() if not missing(skills, one.capabilities))
            memory.tasks[name] = task(name, number, skills, Stage.BIDDING, eligible)
            memory.books.append(name)
        else:
            memory.tasks[name] = task(name, number, skills, Stage.SUBMITTED, ())
            if chance.random() < 0.2:
                memory.tasks[name].doers.append(Doer(task_id="t0", agent_id="a0", position=1))
    return memory


def plain_openings(memory: OpenTasks, at: float) -> list[str]:
    """The slow twin: asks of each waiting task anew whether those whom it would call have a slot left."""
    free = sorted((one for one in memory.agents.values() if one.free), key=lambda one: (len(one.held), one.agent_id))
    called = [set(memory.tasks[name].eligible) for name in memory.books]
    opened: list[str] = []
    for waiting in sorted(memory.tasks.values(), key=lambda one: one.place):
        if waiting.stage is not Stage.SUBMITTED:
            continue
        doers = {doer.agent_id for doer in waiting.doers}
        able = [one for one in free if not missing(waiting.capabilities, one.capabilities)]
        chosen = [one for one in able if one.agent_id not in doers][: calls.CANDIDATES_MAX]
        names = {one.agent_id for one in chosen}
        rivals = sum(bool(names & others) for others in called)
        room = len(called) < sum(one.free for one in free) and len(opened) < calls.OPENINGS_MAX
        if room and waiting.retry_at <= at and rivals < sum(one.free for one in chosen):
            called.append(names)
            opened.append(tasks.stream(waiting.task_id))
    return opened


@given(st.integers(0, 2**32))
def test_the_same_are_called_as_if_each_waiting_task_were_looked_at_alone(seed: int) -> None:
    memory = crowd(random.Random(seed))
    assert [stream for stream, _ in calls.openings(memory, AT)] == plain_openings(memory, AT)


@pytest.mark.parametrize("waiting", [10, 10_000])
def test_a_queue_behind_taken_slots_is_looked_at_once(waiting: int, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = OpenTasks(agents={"a": agent("a", ("cutting",), 8), "b": agent("b", ("drawing",), 1)})
    for number in range(8):
        memory.tasks[f"b{number}"] = task(f"b{number}", number, ("cutting",), Stage.BIDDING, ("a",))
        memory.books.append(f"b{number}")
    for number in range(waiting):
        memory.tasks[f"w{number}"] = task(f"w{number}", number, ("cutting",), Stage.SUBMITTED, ())
    looks = count(monkeypatch, "_chosen")
    assert calls.openings(memory, AT) == []
    assert len(looks) == 1


def test_tasks_that_no_free_agent_could_do_are_not_looked_at_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = OpenTasks(agents={"a": agent("a", ("cutting", "drawing"), 1), "b": agent("b", ("writing",), 64)})
    memory.agents["a"].held.append("t")
    for number in range(1000):
        needs = (SKILLS[:2], SKILLS[:1], SKILLS)[number % 3]
        memory.tasks[f"w{number}"] = task(f"w{number}", number, needs, Stage.SUBMITTED, ())
    looks = count(monkeypatch, "_chosen")
    assert calls.openings(memory, AT) == []
    assert looks == []


def test_lines_that_come_to_the_same_agents_are_compared_with_the_books_once(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = OpenTasks(agents={"a": agent("a", SKILLS, 1), "b": agent("b", ("painting",), 5)})
    memory.tasks["book"] = task("book", 0, (), Stage.BIDDING, ("a",))
    memory.books.append("book")
    for number, needs in enumerate([SKILLS[:1], SKILLS[1:2], SKILLS[2:], SKILLS]):
        memory.tasks[f"w{number}"] = task(f"w{number}", number, needs, Stage.SUBMITTED, ())
    looks = count(monkeypatch, "_has_room")
    assert calls.openings(memory, AT) == []
    assert len(looks) == 1


LONG = tuple(f"{number:02}{'x' * 62}" for number in range(64))


def test_a_call_and_an_award_carry_only_what_the_task_needs_to_know_of_the_agents() -> None:
    names = [f"a{number:03}" for number in range(300)]
    memory = OpenTasks(agents={name: agent(name, (*LONG[:63], "cutting"), 1) for name in names})
    for entry in memory.agents.values():
        entry.specializations = (*LONG[:62], "analysis", "cutting")
    memory.tasks["t1"] = task("t1", 0, ("cutting",), Stage.SUBMITTED, ())
    memory.tasks["t1"].bidders = names[: calls.CANDIDATES_MAX]
    ((_, call),) = calls.openings(memory, AT)
    assert isinstance(call, OpenBook)
    assert {one.capabilities for one in call.candidates} == {("cutting",)}
    (_, awarded) = calls.award(memory, memory.tasks["t1"])
    assert isinstance(awarded, AwardTask)
    assert {one.specializations for one in awarded.bidders} == {("analysis",)}
    assert (len(call.candidates), len(awarded.bidders)) == (calls.CANDIDATES_MAX, calls.CANDIDATES_MAX)
    assert len(msgspec.msgpack.encode(call)) < 32 * 1024
    assert len(msgspec.msgpack.encode(awarded)) < 64 * 1024


def test_a_task_that_needs_many_long_skills_calls_fewer_agents() -> None:
    memory = OpenTasks(agents={name: agent(name, LONG, 1) for name in (f"a{number:03}" for number in range(300))})
    memory.tasks["t1"] = task("t1", 0, LONG, Stage.SUBMITTED, ())
    ((_, call),) = calls.openings(memory, AT)
    assert isinstance(call, OpenBook)
    assert len(call.candidates) == 16
    assert len(msgspec.msgpack.encode(call)) < 80 * 1024


def count(monkeypatch: pytest.MonkeyPatch, name: str) -> list[object]:
    """A list that grows with each call of this function of `calls`."""
    function = getattr(calls, name)
    called: list[object] = []

    def counted(*arguments: object) -> object:
        called.append(arguments)
        return function(*arguments)

    monkeypatch.setattr(calls, name, counted)
    return called
