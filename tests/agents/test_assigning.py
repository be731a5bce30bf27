"""How waiting work would best be given out: urgent tasks to good agents, and the first reason why somebody gets nobody."""

from typing import Any

import pytest
from msgspec.structs import replace

from agents.assigning import AssignmentPreview, best_for, best_of
from aggregates.coordination import ActiveAgent, OpenWork, WaitingTask
from aggregates.values.ranking import SPECIALIST_BONUS, BidderFacts, agent_terms
from tests.examples import AT


def agent(name: str, *skills: str, **facts: Any) -> ActiveAgent:
    told = replace(BidderFacts(agent_id=name, slots=1, running=0, lease_seconds=120.0, position=7), **facts)
    return ActiveAgent(facts=told, capabilities=skills)


def task(name: str, *needs: str, urgency: float = 3.0, excluded: tuple[str, ...] = ()) -> WaitingTask:
    return WaitingTask(
        task_id=name, needs=needs, topics=("analysis", *needs), excluded=excluded, urgency=urgency, position=9
    )


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
    assert one.score == pytest.approx(agent_terms(proven.facts, AT).score + SPECIALIST_BONUS)
    assert [one.value, two.value] == pytest.approx([2.5 * one.score, two.score])
    assert found.value == pytest.approx(one.value + two.value)


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
