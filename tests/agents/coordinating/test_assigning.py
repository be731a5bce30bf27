"""How waiting work would best be given out: urgent tasks to good agents, and the first reason why somebody gets nobody."""

import random
from collections import Counter
from typing import Any

import pytest
from msgspec.structs import replace

from agents.coordinating.assigning import AssignmentPreview, best_for, best_of
from aggregates.coordination import ActiveAgent, OpenWork, WaitingTask
from aggregates.values.agent_types import AgentType
from aggregates.values.capacity import fits
from aggregates.values.ranking import SPECIALIST_BONUS, BidderFacts, agent_terms, in_force
from aggregates.values.reputation import Recent, tick_of
from aggregates.values.skill_terms import SkillNeed, SkillOffer
from tests.examples import AT


def agent(name: str, *skills: str, **facts: Any) -> ActiveAgent:
    told = replace(BidderFacts(agent_id=name, slots=1, running=0, lease_seconds=120.0, position=7), **facts)
    return ActiveAgent(facts=told, capabilities=skills)


def task(name: str, *needs: str, urgency: float = 3.0, excluded: tuple[str, ...] = ()) -> WaitingTask:
    return WaitingTask(
        task_id=name, needs=needs, topics=("analysis", *needs), excluded=excluded, urgency=urgency, position=9
    )


def test_what_an_agent_is_and_has_left_counts_as_it_does_in_a_book():
    need = (SkillNeed(name="cut", version=">=2"),)
    agents = [
        replace(agent("old", "cut"), skills=(SkillOffer(name="cut", version="1.9"),), region="eu"),
        replace(agent("new", "cut", slots=2), skills=(SkillOffer(name="cut", version="2.1"),), region="us"),
        agent("full", "dig", max_capacity=10.0, used=8.0),
        agent("qa", "sew", slots=2, agent_type=AgentType.QA_AUTOMATION),
    ]
    tasks = [
        replace(task("new", "cut"), skills=need),
        replace(task("there", "cut"), skills=need, regions=("eu",)),
        replace(task("large", "dig"), units=3.0),
        replace(task("tested", "sew"), specialist_type=AgentType.QA_AUTOMATION),
        task("sewn", "sew"),
    ]
    found = best(tasks, agents)
    scores = {pair.task_id: (pair.agent_id, pair.score) for pair in found.assignments}
    assert {name: who for name, (who, _) in scores.items()} == {"new": "new", "tested": "qa", "sewn": "qa"}
    assert scores["tested"][1] - scores["sewn"][1] == pytest.approx(SPECIALIST_BONUS)
    assert {left.task_id: left.reason for left in found.unassigned} == {"there": "skills_unfit", "large": "no_capacity"}


def best(tasks: list[WaitingTask], agents: list[ActiveAgent]) -> AssignmentPreview:
    work = OpenWork(at=AT, tasks=tuple(tasks), agents=tuple(agents), tasks_left_out=4, agents_left_out=5)
    return best_for(work, lambda: False)


def test_the_first_reason_is_told_for_whoever_gets_nobody():
    agents = [
        agent("ann", "cut"),
        agent("bob", "sew", running=1),
        agent("eve", "fly"),
        agent("joe", "dig", running=3, slots=2),
    ]
    tasks = [
        task("won", "cut", urgency=5.0),
        task("late", "cut", urgency=1.0),
        task("busy", "sew"),
        task("less", "dig"),
        task("same", "fly", excluded=("eve",)),
        task("none", "cut", "sew"),
    ]
    found = best(tasks, agents)
    assert [(pair.task_id, pair.agent_id) for pair in found.assignments] == [("won", "ann")]
    assert {left.task_id: left.reason for left in found.unassigned} == {
        "late": "outbid",
        "busy": "no_free_slots",
        "less": "no_free_slots",
        "same": "all_excluded",
        "none": "skills_missing",
    }
    assert (found.tasks_position, found.tasks_left_out, found.agents_left_out) == (9, 4, 5)
    assert [(price.slots, price.position) for price in found.prices] == [(1, 7), (0, 7), (1, 7), (0, 7)]


def test_a_score_is_the_agents_part_of_a_books_ranking_and_counts_as_often_as_the_task_is_urgent():
    proven = agent("ann", "cut", completed=8, kept_sum=8.0, answers=1, specializations=("analysis",))
    found = best([task("one", "cut", urgency=2.5), task("two", urgency=-4.0)], [proven, agent("bob")])
    one, two = found.assignments
    assert one.agent_id == "ann"
    assert one.score == pytest.approx(agent_terms(proven.facts, AT).score(in_force(None)) + SPECIALIST_BONUS)
    assert [one.value, two.value] == pytest.approx([2.5 * one.score, two.score])
    assert found.value == pytest.approx(one.value + two.value)


def test_units_are_enough_for_all_that_an_agent_would_get_and_the_bound_tells_what_that_costs():
    agents = [agent("ann", "cut", slots=4, max_capacity=10.0, used=1.0), agent("bob", "cut", max_capacity=4.0)]
    tasks = [replace(task(f"t{number}", "cut", urgency=5.0 - number), units=4.0) for number in range(5)]
    found = best(tasks, agents)
    taken = Counter(pair.agent_id for pair in found.assignments)
    assert taken == {"ann": 2, "bob": 1}
    assert {left.task_id: left.reason for left in found.unassigned} == {"t3": "no_capacity", "t4": "no_capacity"}
    assert (found.agents_held_back, found.complete) == (1, True)
    # With all slots of ann and no thought of units, all of the tasks would have been given out.
    relaxed = best([replace(one, units=0.0) for one in tasks], agents)
    assert (len(relaxed.assignments), relaxed.agents_held_back) == (5, 0)
    assert found.value < relaxed.value <= found.dual_bound + 1e-9
    assert found.gap == pytest.approx(found.dual_bound - found.value)


@pytest.mark.parametrize("seed", range(5))
def test_nobody_would_get_more_units_than_are_left_whatever_is_asked_for(seed: int):
    chance = random.Random(seed)
    agents = [
        agent(f"a{number}", slots=chance.randrange(1, 6), max_capacity=chance.uniform(1.0, 20.0)) for number in range(6)
    ]
    tasks = [
        replace(task(f"t{number}", urgency=chance.uniform(1.0, 6.0)), units=chance.choice([0.0, 0.5, 3.0, 7.0]))
        for number in range(20)
    ]
    work = OpenWork(at=AT, tasks=tuple(tasks), agents=tuple(agents), tasks_left_out=0, agents_left_out=0)
    units = {one.task_id: one.units for one in tasks}
    for is_stopped in (bool, lambda: True):
        found = best_for(work, is_stopped)
        for one in agents:
            mine = [units[pair.task_id] for pair in found.assignments if pair.agent_id == one.facts.agent_id]
            assert len(mine) <= one.facts.slots
            assert fits(sum(mine), one.facts.max_capacity, 0.0)
        assert found.value <= found.dual_bound + 1e-9


def test_nothing_waits_and_nobody_is_there():
    for found in (best([], []), best([], [agent("ann")]), best_of([], [], [], [], 0.0, None, lambda: False)):
        assert (found.assignments, found.unassigned, found.value, found.complete) == ((), (), 0.0, True)


def test_what_is_stopped_says_so():
    found = best_of(["t"], ["a"], [[1.0]], [1], 0.0, None, lambda: True)
    assert (found.complete, found.unassigned[0].reason, found.value, found.dual_bound) == (
        False,
        "unfinished",
        0.0,
        1.0,
    )


def test_scores_are_made_as_the_operator_has_set_it():
    busy = agent("busy", running=1, slots=2, recent=Recent(tick=tick_of(AT), succeeded=40.0, kept=40.0))
    idle = agent("idle", slots=2, recent=Recent(tick=tick_of(AT), failed=3.0))
    work = OpenWork(at=AT, tasks=(task("one"),), agents=(busy, idle), tasks_left_out=0, agents_left_out=0)
    (usual,) = best_for(work, lambda: False).assignments
    loads = replace(in_force(None), load=1.0, performance=0.0, success=0.0, response=0.0)
    (other,) = best_for(replace(work, weights=loads), lambda: False).assignments
    assert (usual.agent_id, other.agent_id, other.score) == ("busy", "idle", 1.0)
