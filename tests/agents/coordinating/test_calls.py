"""Calls for proposals: a long queue is passed over quickly, and nobody is called who would not have been."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agents.coordinating import calls, entries
from agents.coordinating.entries import AgentEntry, TaskEntry
from agents.coordinating.folding.fold import remember
from agents.coordinating.membership import AGENTS_MAX
from agents.coordinating.open_tasks import OpenTasks
from agents.coordinating.supply import Supply
from agents.coordinating.turns import Awaited, Round, Walk, degree
from aggregates import agent as agents
from aggregates import task as tasks
from aggregates.task import AwardTask, BookOpened, Doer, NoteStall, OpenBook, Stage, TaskType
from aggregates.values.capacity import fits
from aggregates.values.skill_terms import SkillNeed, SkillOffer, serve
from aggregates.values.skills import missing
from runtime.records import Meta, Recorded
from tests.examples import event_by_type

AT = 10.0
META = Meta(id="m", cause="", correlation="m", tenant="acme", principal="test", at=AT)
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
        waits_since=0.0,
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
        entry = memory.agents[f"a{number}"] = agent(f"a{number}", skills, chance.randrange(1, 4))
        entry.max_capacity, entry.units_by_task = chance.choice((10.0, 12.3, 99.0)), {"held": chance.choice((0.5, 8.0))}
    for number in range(chance.randrange(40)):
        skills, name = tuple(sorted(chance.sample(SKILLS, chance.randrange(3)))), f"t{number:02}"
        if chance.random() < 0.1:
            eligible = tuple(one.agent_id for one in memory.agents.values() if not missing(skills, one.capabilities))
            memory.tasks[name] = task(name, number, skills, Stage.BIDDING, eligible)
            memory.books[name] = None
        else:
            memory.tasks[name] = task(name, number, skills, Stage.SUBMITTED, ())
            if chance.random() < 0.2:
                memory.tasks[name].doers.append(Doer(task_id="t0", agent_id="a0", position=1))
        memory.tasks[name].units = chance.choice((0.0, 0.0, 3.0, 9.5, 9.51, 11.75, 11.8, 80.0, 100.0))
    return memory


def plain_openings(memory: OpenTasks, at: float) -> list[str]:
    """The slow twin: asks of each waiting task anew whether those whom it would call, which is all, have a slot left."""
    free = [one for one in memory.agents.values() if one.free]
    called = [sorted(memory.tasks[name].eligible) for name in memory.books]
    opened: list[str] = []
    for waiting in sorted(memory.tasks.values(), key=lambda one: (-one.priority, one.place)):
        if waiting.stage is not Stage.SUBMITTED:
            continue
        doers = {doer.agent_id for doer in waiting.doers}
        able = [one for one in free if not missing(waiting.capabilities, one.capabilities)]
        units = waiting.units
        chosen = [one for one in able if fits(units, one.max_capacity, one.used) and one.agent_id not in doers]
        awaited = sum(Fraction(1, len(names)) for one in chosen for names in called if one.agent_id in names)
        places = len(called) < sum(one.free for one in free) and len(opened) < calls.OPENINGS_MAX
        takes = [min(one.free, int(one.room / units + 1e-9)) if units else one.free for one in chosen]
        if places and waiting.retry_at <= at and sum(takes) - awaited >= 1:
            called.append([one.agent_id for one in chosen])
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
        memory.books[f"b{number}"] = None
    for number in range(waiting):
        memory.tasks[f"w{number}"] = task(f"w{number}", number, ("cutting",), Stage.SUBMITTED, ())
    looks = walks(monkeypatch)
    assert calls.openings(memory, AT) == []
    assert len(looks) == 1


def test_tasks_that_no_free_agent_could_do_are_not_looked_at_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = OpenTasks(agents={"a": agent("a", ("cutting", "drawing"), 1), "b": agent("b", ("writing",), 64)})
    memory.agents["a"].held.append("t")
    for number in range(1000):
        needs = (SKILLS[:2], SKILLS[:1], SKILLS)[number % 3]
        memory.tasks[f"w{number}"] = task(f"w{number}", number, needs, Stage.SUBMITTED, ())
    looks = walks(monkeypatch)
    assert calls.openings(memory, AT) == []
    assert looks == []


def crowded(agents_: int, tasks_: int, slots: int = 1) -> OpenTasks:
    """So many free agents of one skill, and so many tasks that need it."""
    memory = OpenTasks()
    for name in (f"a{number:05}" for number in range(agents_)):
        memory.agents[name] = agent(name, ("cutting",), slots)
    for number in range(tasks_):
        memory.tasks[f"t{number:05}"] = task(f"t{number:05}", number, ("cutting",), Stage.SUBMITTED, ())
        memory.tasks[f"t{number:05}"].retry_at = 0.0
    return memory


def open_all(memory: OpenTasks) -> list[OpenBook]:
    """Opens books, step by step, until no more can be."""
    opened: list[OpenBook] = []
    while found := calls.openings(memory, AT):
        for _, call in found:
            eligible = tuple(one.agent_id for one in call.candidates)
            event: BookOpened = replace(event_by_type[BookOpened], task_id=call.task_id, round=1, eligible=eligible)
            remember(memory, Recorded(position=2, stream="s", version=1, kind="k", event=event, meta=META))
            opened.append(call)
    return opened


def test_books_for_alike_tasks_call_different_agents_and_as_many_are_open_as_there_are_slots() -> None:
    opened = open_all(crowded(agents_=1000, tasks_=1500))
    assert len(opened) == 1000
    assert {len(call.candidates) for call in opened} == {calls.CALLED_MIN}
    times = Counter(one.agent_id for call in opened for one in call.candidates)
    assert (len(times), min(times.values()), max(times.values())) == (1000, 8, 8)
    assert {call.passed_over for call in opened} == {True}


def test_the_more_tasks_wait_the_fewer_agents_each_calls() -> None:
    def called(waiting: int) -> int:
        (_, first), *_ = calls.openings(crowded(agents_=300, tasks_=waiting, slots=9), AT)
        return len(first.candidates)

    assert [called(waiting) for waiting in (1, 40, 300, 2000)] == [min(300, calls.CANDIDATES_MAX), 102, 13, 8]
    ((_, lonely),) = calls.openings(crowded(agents_=3, tasks_=1), AT)
    assert (len(lonely.candidates), lonely.passed_over) == (3, False)


@given(st.integers(0, 2**32))
def test_nobody_is_passed_over_who_is_less_taken_than_one_who_is_called(seed: int) -> None:
    chance = random.Random(seed)
    memory = crowded(agents_=chance.randrange(9, 40), tasks_=chance.randrange(1, 60), slots=3)
    for entry in memory.agents.values():
        entry.slots, entry.held = chance.randrange(1, 5), ["t"] * chance.randrange(5)
    awaited = Awaited()
    for call in open_all(memory):
        names = {one.agent_id for one in call.candidates}
        taken = {
            name: degree(len(one.held), one.slots, awaited.of(name)) for name, one in memory.agents.items() if one.free
        }
        most = max(taken[name] for name in names)
        left = [name for name in taken if name not in names]
        assert all(taken[name] >= most for name in left)
        assert bool(left) == call.passed_over
        awaited.add(sorted(names))


@pytest.mark.parametrize("agents_", [1_000, AGENTS_MAX])
def test_a_step_of_calls_looks_at_no_more_agents_than_it_calls(agents_: int, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = crowded(agents_=agents_, tasks_=2_000)
    memory.supply, memory.waiting  # noqa: B018 - made before anything is counted
    looked: list[str] = []
    look = Round.degree

    def counted(self: Round, name: str) -> int:
        looked.append(name)
        return look(self, name)

    monkeypatch.setattr(Round, "degree", counted)
    found = calls.openings(memory, AT)
    assert len(found) == calls.OPENINGS_MAX
    assert len(set(looked)) == calls.OPENINGS_MAX * calls.CALLED_MIN
    assert len(looked) < 4 * len(set(looked))


LONG = tuple(f"{number:02}{'x' * 62}" for number in range(64))


def test_a_call_and_an_award_carry_only_what_the_task_needs_to_know_of_the_agents() -> None:
    names = [f"a{number:03}" for number in range(600)]
    memory = OpenTasks(agents={name: agent(name, (*LONG[:63], "cutting"), 1) for name in names})
    for entry in memory.agents.values():
        entry.specializations = (*LONG[:62], "analysis", "cutting")
    memory.tasks["t1"] = task("t1", 0, ("cutting",), Stage.SUBMITTED, ())
    memory.tasks["t1"].bidders = set(names[: calls.CANDIDATES_MAX])
    ((_, call),) = calls.openings(memory, AT)
    assert isinstance(call, OpenBook)
    assert {one.capabilities for one in call.candidates} == {("cutting",)}
    (_, awarded) = calls.award(memory, memory.tasks["t1"])
    assert isinstance(awarded, AwardTask)
    assert {one.specializations for one in awarded.bidders} == {("analysis",)}
    assert (len(call.candidates), len(awarded.bidders)) == (calls.CANDIDATES_MAX, calls.CANDIDATES_MAX)
    assert len(msgspec.msgpack.encode(call)) < 128 * calls.CANDIDATES_MAX
    assert len(msgspec.msgpack.encode(awarded)) < 256 * calls.CANDIDATES_MAX


def test_a_task_that_needs_many_long_skills_calls_fewer_agents() -> None:
    memory = OpenTasks(agents={name: agent(name, LONG, 1) for name in (f"a{number:03}" for number in range(300))})
    memory.tasks["t1"] = task("t1", 0, LONG, Stage.SUBMITTED, ())
    ((_, call),) = calls.openings(memory, AT)
    assert isinstance(call, OpenBook)
    assert len(call.candidates) == 16
    assert len(msgspec.msgpack.encode(call)) < 80 * 1024


def test_a_long_queue_of_what_nobody_has_room_for_is_passed_over_and_a_smaller_task_behind_it_is_called_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = OpenTasks(agents={f"a{number}": agent(f"a{number}", ("cutting",), 64) for number in range(100)})
    for entry in memory.agents.values():
        entry.units_by_task = {"held": 40.0}
    for number in range(3000):
        memory.tasks[f"w{number}"] = task(f"w{number}", number, ("cutting",), Stage.SUBMITTED, ())
        memory.tasks[f"w{number}"].units = (60.5, 61.25, 99.0, 1000.0)[number % 4]
    memory.tasks["small"] = task("small", 9999, ("cutting",), Stage.SUBMITTED, ())
    memory.tasks["small"].units = 60.0
    looks = walks(monkeypatch)
    assert [stream for stream, _ in calls.openings(memory, AT)] == ["task-small"]
    assert len(looks) == 1


def test_a_stall_for_want_of_capacity_names_those_who_could_hold_most_and_is_told_once() -> None:
    memory = OpenTasks(agents={name: agent(name, LONG, 1) for name in (f"a{number:03}" for number in range(300))})
    for number, entry in enumerate(memory.agents.values()):
        entry.max_capacity = float(number + 1)
    for name, units in (("fits", 300.0), ("huge", 300.5), ("vast", 4e6)):
        memory.tasks[name] = task(name, len(memory.tasks), LONG, Stage.SUBMITTED, ())
        memory.tasks[name].units = units
    found = calls.stalls(memory, AT)
    assert [stream for stream, _ in found] == ["task-huge", "task-vast"]
    for _, note in found:
        assert isinstance(note, NoteStall)
        assert [one.max_capacity for one in note.candidates] == [float(size) for size in range(285, 301)]
    for name in ("huge", "vast"):
        memory.tasks[name].stalled = "capacity_missing"
    assert calls.stalls(memory, AT) == []


def test_who_serves_what_is_needed_is_found_once_and_kept_as_agents_change(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = OpenTasks(
        agents={name: agent(name, ("cutting",), 4) for name in (f"a{number:03}" for number in range(300))}
    )
    for number, entry in enumerate(memory.agents.values()):
        entry.skills = (
            SkillOffer(name="cutting", version=f"1.{number}", attributes={"os": "linux", "more": "x" * 64}),
        )
    memory.tasks["t1"] = task("t1", 0, ("cutting",), Stage.SUBMITTED, ())
    memory.tasks["t1"].skills = (SkillNeed(name="cutting", version=">=1.298", attributes={"os": "linux"}),)
    ((_, call),) = calls.openings(memory, AT)
    assert isinstance(call, OpenBook)
    assert [(one.agent_id, one.skills[0].version, one.skills[0].attributes) for one in call.candidates] == [
        ("a298", "1.298", {"os": "linux"}),
        ("a299", "1.299", {"os": "linux"}),
    ]
    memory.agents["a299"].skills = ()
    memory.agents["a007"].skills = (SkillOffer(name="cutting", version="2", attributes={"os": "linux"}),)
    memory.agents["a298"].stage = agents.Stage.LOST
    asked: list[object] = []

    def counted(offers: Sequence[SkillOffer], needs: Iterable[SkillNeed]) -> bool:
        asked.append(offers)
        return serve(offers, needs)

    monkeypatch.setattr(entries, "serve", counted)
    for name in ("a007", "a298", "a299"):
        memory.supply.update(memory.agents[name])
    ((_, call),) = calls.openings(memory, AT)
    assert isinstance(call, OpenBook)
    assert [one.agent_id for one in call.candidates] == ["a007"]
    assert len(asked) == 2  # the one that was lost offers nothing


def test_a_stall_for_want_of_a_version_names_so_many_of_the_skilled_as_fit_in_a_record() -> None:
    memory = OpenTasks(
        agents={name: agent(name, ("cutting",), 4) for name in (f"a{number:03}" for number in range(600))}
    )
    for entry in memory.agents.values():
        entry.skills = (SkillOffer(name="cutting", version="1.9"),)
    memory.tasks["t1"] = task("t1", 0, ("cutting",), Stage.SUBMITTED, ())
    memory.tasks["t1"].skills = (SkillNeed(name="cutting", version=">=2"),)
    ((_, note),) = calls.stalls(memory, AT)
    assert isinstance(note, NoteStall)
    assert (len(note.candidates), {one.skills for one in note.candidates}) == (calls.CANDIDATES_MAX, {()})
    memory.agents["a299"].skills = (SkillOffer(name="cutting", version="2"),)
    memory.supply.update(memory.agents["a299"])
    assert calls.stalls(memory, AT) == []


def test_only_who_is_in_the_region_is_called_and_whoever_has_the_skills_elsewhere_stands_in_the_stall() -> None:
    memory = OpenTasks(agents={name: agent(name, ("cutting",), 4) for name in ("ann", "bob", "eve")})
    for name, region in (("ann", "eu"), ("bob", "us")):
        memory.agents[name].region = region
    for name, regions in (("here", ("eu", "uk")), ("there", ("mars",))):
        memory.tasks[name] = task(name, len(memory.tasks), ("cutting",), Stage.SUBMITTED, ())
        memory.tasks[name].regions = regions
    ((stream, call),) = calls.openings(memory, AT)
    assert isinstance(call, OpenBook)
    assert (stream, [one.agent_id for one in call.candidates]) == ("task-here", ["ann"])
    ((stream, note),) = calls.stalls(memory, AT)
    assert isinstance(note, NoteStall)
    assert (stream, [one.region for one in note.candidates]) == ("task-there", ["eu", "us", ""])
    memory.agents["eve"].region = "mars"
    memory.supply.update(memory.agents["eve"])
    assert calls.stalls(memory, AT) == []
    assert [stream for stream, _ in calls.openings(memory, AT)] == ["task-here", "task-there"]


def walks(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A list that grows with each line and size for which agents are looked for."""
    walk = Supply.walk
    walked: list[object] = []

    def counted(self: Supply, *arguments: Any) -> Walk:
        walked.append(arguments)
        return walk(self, *arguments)

    monkeypatch.setattr(Supply, "walk", counted)
    return walked
