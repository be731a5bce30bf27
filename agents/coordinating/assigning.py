"""What would be the best way to give out all that waits: scores of every pair, the best assignment, and why somebody is left without.

A pair's score is the agent's part of a book's ranking, with the specialist's bonus: there are no bids yet. It counts as often as the task
is urgent, 1 at least, so that a task of priority 4 is worth two of priority 2; a task that gets nobody is worth nothing.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from itertools import compress
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from agents.coordinating.placing import place
from aggregates.coordination import ActiveAgent, OpenWork, WaitingTask
from aggregates.values.capacity import fits, room
from aggregates.values.ranking import SCORE_DIGITS, SPECIALIST_BONUS, agent_terms, in_force, is_specialist
from aggregates.values.skill_terms import serve

if TYPE_CHECKING:
    from solvers.assignment import Assignment

WORK_MAX = 2_000_000_000
"""Scores looked at, a second or two; what was found until then is told with its bound."""


class UnassignedReason(StrEnum):
    """Why a task would get nobody."""

    SKILLS_MISSING = "skills_missing"
    """Nobody has the skills."""
    SKILLS_UNFIT = "skills_unfit"
    """Nobody who has them is of the versions, attributes and regions asked for."""
    ASSIGNEE_MISSING = "assignee_missing"
    """The one that it is meant for is not active."""
    ALL_EXCLUDED = "all_excluded"
    """All of the others did what it must be independent of."""
    NO_CAPACITY = "no_capacity"
    """None of the rest has the units left, beside what else it would get."""
    NO_FREE_SLOTS = "no_free_slots"
    """All of those are busy."""
    ALL_FORBIDDEN = "all_forbidden"
    """Every pair is forbidden."""
    NOT_WORTH_IT = "not_worth_it"
    """No score beats what it is worth unassigned."""
    OUTBID = "outbid"
    """Others were worth more in the slots it could have had."""
    UNFINISHED = "unfinished"
    """The work ended first."""


class Pair(Struct, frozen=True, kw_only=True):
    """A task with the agent that would get it: their score, and what that counts."""

    task_id: str
    agent_id: str
    score: float
    value: float


class Unassigned(Struct, frozen=True, kw_only=True):
    """A task that would get nobody, and the first reason why."""

    task_id: str
    reason: UnassignedReason


class Price(Struct, frozen=True, kw_only=True):
    """What a slot of the agent is worth to those that did not get one. `position`: the log's, when it last changed; 0 for an agent that the
    caller has named."""

    agent_id: str
    slots: int
    price: float
    position: int = 0


class AssignmentPreview(Struct, frozen=True, kw_only=True):
    """The best assignment within `gap`, and the prices that prove it: slots times prices, and for each task the most that a value exceeds a
    price by (or what it is worth unassigned), add up to `dual_bound`, which no assignment exceeds. Nothing was changed.

    Complete, `gap` is at most the number of tasks times `epsilon`, where no agents were held back: counted with fewer slots than are free,
    since their units would not have been enough for all that they would have got. `tasks_position` is the last position by which one of
    the tasks stands.
    """

    assignments: tuple[Pair, ...]
    unassigned: tuple[Unassigned, ...]
    value: float
    dual_bound: float
    gap: float
    epsilon: float
    complete: bool
    prices: tuple[Price, ...]
    tasks_position: int = 0
    tasks_left_out: int = 0
    agents_left_out: int = 0
    agents_held_back: int = 0


def best_for(work: OpenWork, is_stopped: Callable[[], bool]) -> AssignmentPreview:
    """For what waits now."""
    import numpy as np

    from solvers.assignment import assign

    slots = [max(0, agent.facts.slots - agent.facts.running) for agent in work.agents]
    of_score = in_force(work.weights)
    base = np.array([agent_terms(agent.facts, work.at).score(of_score) for agent in work.agents])
    rows, suited = _rows(work, base)
    weights = np.array([max(1.0, task.urgency) for task in work.tasks])
    values = rows * weights[:, np.newaxis] if len(rows) else rows
    free = np.array(slots, np.int64)
    placed = place(
        values,
        free,
        [task.units for task in work.tasks],
        [_room(agent) for agent in work.agents],
        lambda counted: assign(values, counted, work_max=WORK_MAX, is_stopped=is_stopped),
    )
    found = placed.found
    held_back = placed.slots < free
    left = held_back & (np.bincount(found.agents[found.agents >= 0], minlength=len(free)) < free)
    names = [task.task_id for task in work.tasks]
    reasons = [_why(task, work.agents, who, slots) for task, who in zip(work.tasks, suited, strict=True)]
    for number, (task, who) in enumerate(zip(work.tasks, suited, strict=True)):
        if task.units and reasons[number] is UnassignedReason.OUTBID and any(compress(who.roomy, left.tolist())):
            reasons[number] = UnassignedReason.NO_CAPACITY
    preview = _told(
        found,
        names,
        [agent.facts.agent_id for agent in work.agents],
        (rows, values, slots),
        reasons,
        positions=[agent.facts.position for agent in work.agents],
        tasks_position=max((task.position for task in work.tasks), default=0),
        tasks_left_out=work.tasks_left_out,
        agents_left_out=work.agents_left_out,
        agents_held_back=int(held_back.sum()),
    )
    return replace(preview, dual_bound=placed.dual, gap=max(0.0, placed.dual - found.value))


def _room(agent: ActiveAgent) -> float:
    facts = agent.facts
    return float("inf") if facts.max_capacity is None else room(facts.max_capacity, facts.used)


def best_of(
    tasks: Sequence[str],
    agents: Sequence[str],
    scores: Sequence[Sequence[float | None]],
    slots: Sequence[int],
    outside: float,
    epsilon: float | None,
    is_stopped: Callable[[], bool],
) -> AssignmentPreview:
    """For scores that somebody brings; None forbids a pair. Raises ValueError where epsilon is too small for them."""
    import numpy as np

    from solvers.assignment import assign

    matrix = np.array([[-np.inf if score is None else score for score in row] for row in scores], np.float64)
    matrix = matrix.reshape(len(tasks), len(agents))
    free = np.array(slots, np.int64)
    found = assign(matrix, free, outside, epsilon=epsilon, work_max=WORK_MAX, is_stopped=is_stopped)
    allowed: Any = ~np.isneginf(matrix)
    best = np.where(allowed & (free > 0), matrix, -np.inf).max(axis=1, initial=-np.inf)
    reasons: list[UnassignedReason] = []
    for some, free_best in zip(allowed.any(axis=1).tolist(), best.tolist(), strict=True):
        if not some:
            reasons.append(UnassignedReason.ALL_FORBIDDEN)
        elif free_best == -np.inf:
            reasons.append(UnassignedReason.NO_FREE_SLOTS)
        else:
            reasons.append(UnassignedReason.OUTBID if free_best > outside else UnassignedReason.NOT_WORTH_IT)
    return _told(found, tasks, agents, (matrix, matrix, slots), reasons, positions=[0] * len(agents))


class _Suited(NamedTuple):
    """For each agent, whether it has what a task asks for and is not excluded, and whether it has the units left beside that."""

    fit: list[bool]
    roomy: list[bool]


def _rows(work: OpenWork, base: Any) -> tuple[Any, list[_Suited]]:
    """The score of every pair, -inf where it can't be, and who suits each task. Tasks that need the same, but for units, share a row."""
    import numpy as np

    rows = np.full((len(work.tasks), len(work.agents)), -np.inf)
    known: dict[tuple[Any, ...], tuple[Any, list[bool]]] = {}
    offered = [frozenset(agent.capabilities) for agent in work.agents]
    suited = []
    for number, task in enumerate(work.tasks):
        terms = msgspec.msgpack.encode((task.skills, task.regions))
        key = (task.needs, task.topics, task.excluded, terms, task.specialist_type, task.only)
        if key not in known:
            needs, topics = frozenset(task.needs), frozenset(task.topics)
            fit = [
                needs <= skills and _may_have(agent, task) and _meets(agent, task)
                for agent, skills in zip(work.agents, offered, strict=True)
            ]
            bonus = [is_specialist(agent.facts, topics, task.specialist_type) for agent in work.agents]
            scores = np.round(base + np.where(bonus, SPECIALIST_BONUS, 0.0), SCORE_DIGITS)
            known[key] = (np.where(fit, scores, -np.inf), fit)
        scores, fit = known[key]
        who = _Suited(fit, _with_room(task, work.agents, fit))
        rows[number] = scores if who.roomy is fit else np.where(who.roomy, scores, -np.inf)
        suited.append(who)
    return rows, suited


def _may_have(agent: ActiveAgent, task: WaitingTask) -> bool:
    """Whether it did nothing that the task must be independent of, and the task is not meant for another."""
    name = agent.facts.agent_id
    return name not in task.excluded and task.only in ("", name)


def _meets(agent: ActiveAgent, task: WaitingTask) -> bool:
    """Whether it is of the versions, attributes and regions asked for."""
    return (not task.regions or agent.region in task.regions) and serve(agent.skills, task.skills)


def _with_room(task: WaitingTask, agents: Sequence[ActiveAgent], fit: list[bool]) -> list[bool]:
    """Who of them has as many units left as this task takes, whatever else comes."""
    if not task.units:
        return fit
    facts = (agent.facts for agent in agents)
    return [
        suits and fits(task.units, one.max_capacity, one.used or 0.0) for suits, one in zip(fit, facts, strict=True)
    ]


def _why(task: WaitingTask, agents: Sequence[ActiveAgent], who: _Suited, slots: Sequence[int]) -> UnassignedReason:
    """The first reason for which the task would get nobody, if it gets none."""
    if any(compress(slots, who.roomy)):
        return UnassignedReason.OUTBID
    if any(who.fit):
        return UnassignedReason.NO_FREE_SLOTS if any(who.roomy) else UnassignedReason.NO_CAPACITY
    needs = frozenset(task.needs)
    if task.only:
        agents = [agent for agent in agents if agent.facts.agent_id == task.only]
        if not agents:
            return UnassignedReason.ASSIGNEE_MISSING
    skilled = [agent for agent in agents if needs <= frozenset(agent.capabilities)]
    if any(_meets(agent, task) for agent in skilled):
        return UnassignedReason.ALL_EXCLUDED
    return UnassignedReason.SKILLS_UNFIT if skilled else UnassignedReason.SKILLS_MISSING


def _told(
    found: "Assignment",
    tasks: Sequence[str],
    agents: Sequence[str],
    figures: tuple[Any, Any, Sequence[int]],
    reasons: Sequence[UnassignedReason],
    positions: Sequence[int],
    **more: int,
) -> AssignmentPreview:
    scores, values, slots = figures
    places = found.agents.tolist()
    pairs = tuple(
        Pair(task_id=tasks[i], agent_id=agents[j], score=float(scores[i, j]), value=float(values[i, j]))
        for i, j in enumerate(places)
        if j >= 0
    )
    left = tuple(
        Unassigned(
            task_id=tasks[i],
            reason=UnassignedReason.UNFINISHED
            if reasons[i] == UnassignedReason.OUTBID and not found.complete
            else reasons[i],
        )
        for i, j in enumerate(places)
        if j < 0
    )
    prices = tuple(
        Price(agent_id=name, slots=many, price=price, position=position)
        for name, many, price, position in zip(agents, slots, found.prices.tolist(), positions, strict=True)
    )
    return AssignmentPreview(
        assignments=pairs,
        unassigned=left,
        value=found.value,
        dual_bound=found.dual,
        gap=found.gap,
        epsilon=found.epsilon,
        complete=found.complete,
        prices=prices,
        **more,
    )
