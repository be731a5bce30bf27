"""Calls for proposals and what becomes of them: from the coordinator's memory to the commands that it decides on."""

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heapreplace, nsmallest
from typing import Any

from msgspec.structs import replace

from agents.coordinating.entries import AgentEntry, Place, TaskEntry
from agents.coordinating.keys import KeyTurns, Rank, is_full
from agents.coordinating.open_tasks import OpenTasks
from agents.coordinating.terms import AGING, Aging
from agents.coordinating.turns import WHOLE, Walk
from agents.coordinating.waiting import Line, Needs
from aggregates import agent as agents
from aggregates import task as tasks
from aggregates.task import (
    AssignTask,
    AwardTask,
    Candidate,
    ExpireLease,
    FailDependent,
    NoteStall,
    OpenBook,
    OpenReveal,
    Stage,
    UnblockTask,
)
from aggregates.values.batches import BatchShare
from aggregates.values.price_list import ListedPrices, about
from aggregates.values.ranking import BidderFacts, Offered
from aggregates.values.skill_terms import SkillNeed, evidence, serve, weight
from aggregates.values.weights import Weights
from runtime.records import Command

CANDIDATES_MAX = 512
"""How many agents are called for one task; those first whose turn it is (`turns`). As many as a tenant has websockets, and some; a call
to all of them, with a bid of each, is half a megabyte of records."""
CANDIDATES_MAX_EARLIER = 256
"""Called in books that stand in older journals."""
CALLED_MIN = 8
"""So many are called at least, if there are so many: of eight bids the best is nearly that of all, and each bid more costs as much as the
first."""
CALLED_AT_ONCE = 4096
"""So many are called by all open books together, as far as each may call CALLED_MIN: while few tasks wait each calls everybody, and the
more wait, the fewer each calls. Else what a task costs would grow with the agents that there are."""
CALL_CHARACTERS_MAX = 64 * 1024
"""Fewer are called where the skills that the task needs would be longer than this for all of them together."""
OPENINGS_MAX = 32
"""How many books are opened in one step; the next step opens more."""
PASSED_BY_MAX = 256
"""How many tasks are passed by in one step that found nobody, before their lines are left to the next."""
STALLS_MAX = 32
"""How many tasks are said to have nobody to call in one cycle."""
DEPENDENTS_MAX = 32
"""How many dependents are told in one step; what is recorded of them leads to the next."""

Decision = tuple[str, Command[Any]]
Head = tuple[Rank, int, list[Place], Line]


def servable(memory: OpenTasks, at: float) -> list[tuple[Line, list[Place]]]:
    """The lines with ready tasks that it is worth a look at."""
    return [(line, places) for line, places in memory.waiting.ready(at) if _may_be_served(memory, line)]


def openings(
    memory: OpenTasks, at: float, aging: Aging = AGING, most: int = OPENINGS_MAX
) -> list[tuple[str, OpenBook]]:
    """Calls for the waiting tasks, most urgent first: as many books as those whom they call have slots for, and no more than `most`."""
    supply = memory.supply
    most = min(most, supply.slots - len(memory.books))
    if most <= 0:
        return []
    ready = servable(memory, at)
    turns = KeyTurns(memory, ready, aging)
    heads = [_head(line, places, 0, turns) for line, places in ready]
    heapify(heads)
    to_come = min(supply.slots, len(memory.books) + sum(len(places) for _, places in ready))
    calling = _Calling(memory, CALLED_AT_ONCE // max(1, to_come))
    decisions: list[tuple[str, OpenBook]] = []
    passed_by = 0
    while heads and len(decisions) < most:
        (*_, name), index, places, line = heads[0]
        if line.concurrency is not None and _has_moved(heads, turns):
            continue
        if (call := calling.call(line, memory.tasks[name])) is not None:
            decisions.append((tasks.stream(name), call))
            turns.called(line)
        elif len(line.sizes) == 1 and (calling.is_over(line, memory.tasks[name]) or passed_by >= PASSED_BY_MAX):
            heappop(heads)
            continue
        else:
            passed_by += 1
        if index + 1 < len(places):
            heapreplace(heads, _head(line, places, index + 1, turns))
        else:
            heappop(heads)
    return decisions


def _head(line: Line, places: list[Place], index: int, turns: KeyTurns) -> Head:
    """Where the line's task of this number stands among those of all lines."""
    return turns.rank(line, places[index]), index, places, line


def _has_moved(heads: list[Head], turns: KeyTurns) -> bool:
    """Whether the first line is out, since its key is full now, or comes later, since its group has had its turn in this step."""
    rank, index, places, line = heads[0]
    if turns.is_full(line):
        heappop(heads)
        return True
    head = _head(line, places, index, turns)
    if head[0] == rank:
        return False
    heapreplace(heads, head)
    return True


def _may_be_served(memory: OpenTasks, line: Line) -> bool:
    """Whether it is worth a look: its skills are about, and so is room for the smallest of its tasks; its queue is not
    held back, and its key has places."""
    supply = memory.supply
    if line.queue in memory.paused or (line.concurrency is not None and is_full(memory, line.concurrency)):
        return False
    return supply.has_free(line) and (not line.has_units or min(line.sizes) <= supply.most_room)


class _Calling:
    """The calls of one step: what earlier ones ask of the agents counts for those that follow."""

    def __init__(self, memory: OpenTasks, many: int) -> None:
        self._memory = memory
        self._many = max(CALLED_MIN, many)
        self._round = memory.supply.round()
        self._walks: dict[tuple[Needs, float], Walk | None] = {}
        """For what is needed and each size; None where nobody is left for it."""

    def call(self, line: Line, task: TaskEntry) -> OpenBook | None:
        """Calls those whose turn it is, if they have a slot left beside the books that call them already."""
        key = (line.asks, task.units)
        if key not in self._walks:
            self._walks[key] = self._memory.supply.walk(line, task.units, self._round)
        walk = self._walks[key]
        if walk is None:
            return None
        many = task.no_bids.called(task.widening, self._many)
        chosen = walk.take(min(many, called_max(line.needs, line.skills)))
        if not self._has_room(chosen, task.units):
            if chosen and task.no_bids.call_max is not None:
                walk.put_back(chosen)  # these few have none; to call more might find one
            else:
                self._walks[key] = None
            return None
        found = call_for(self._memory, task, chosen, passed_over=walk.has_more())
        self._round.call(chosen)
        walk.put_back(chosen)
        return found

    def is_over(self, line: Line, task: TaskEntry) -> bool:
        """Whether nobody is left for tasks of this size of the line."""
        return self._walks[line.asks, task.units] is None

    def _has_room(self, chosen: Iterable[str], units: float) -> bool:
        """Whether one more book finds a slot among the chosen, and the room for what it takes."""
        supply, more = self._memory.supply, self._round.more
        return sum(supply.spare(name, units) - more.get(name, 0) for name in chosen) >= WHOLE


def close_book(memory: OpenTasks, task: TaskEntry, weights: Weights | None = None) -> Decision:
    """What follows where all have answered, or the time is up: sealed bids are to be opened first."""
    if task.is_sealed and task.bidders and not task.is_revealing:
        return (tasks.stream(task.task_id), OpenReveal(task_id=task.task_id, round=task.round))
    return award(memory, task, weights)


def award(
    memory: OpenTasks, task: TaskEntry, weights: Weights | None = None, batch: BatchShare | None = None
) -> Decision:
    """Closes the book with the facts of those bidders that are still there."""
    found = (memory.agents.get(name) for name in sorted(task.bidders))
    bidders = tuple(_facts(task, agent) for agent in found if agent is not None and agent.stage is agents.Stage.ACTIVE)
    command = AwardTask(task_id=task.task_id, round=task.round, bidders=bidders, weights=weights, batch=batch)
    return (tasks.stream(task.task_id), command)


def assignment(memory: OpenTasks, command: AssignTask) -> AssignTask:
    """With what the agent is and asks, where it is active."""
    task, agent = memory.tasks.get(command.task_id), memory.agents.get(command.agent_id)
    if task is None or agent is None or agent.stage is not agents.Stage.ACTIVE:
        return command
    (candidate,) = candidates(memory, task, [agent.agent_id])
    memory.rota.turn(command.at)
    return replace(
        command,
        candidate=candidate,
        listed=listed_prices(task, agent),
        lease_seconds=agent.lease_seconds,
        doers=tuple(task.doers),
        duties=memory.rota.duties([agent.agent_id]),
        is_person=agent.is_person,
    )


def tell_dependents(memory: OpenTasks, position: int | None = None) -> list[Decision]:
    """Unblocks those that wait for a task that ended well, fails those that wait for one that did not: a page of each task's.

    `position` is of the event that this follows: the end of the task, or what became of the last dependent of a page.
    """
    decisions: list[Decision] = []
    for task_id, ended in sorted(memory.owing.items()):
        if position not in (None, ended.told_position):
            continue
        for name in memory.dependents[task_id][:DEPENDENTS_MAX]:
            command: Command[Any]
            if ended.stage is Stage.COMPLETED:
                command = UnblockTask(task_id=name, dependency=task_id, position=ended.position)
            else:
                command = FailDependent(task_id=name, dependency=task_id, stage=ended.stage, position=ended.position)
            decisions.append((tasks.stream(name), command))
    return decisions


def expire_lease(task: TaskEntry, heard_at: float, gone_position: int = 0) -> Decision:
    """Takes a task from a holder that was silent, or that is gone since `gone_position`."""
    command = ExpireLease(
        task_id=task.task_id, token=task.token, last_heard_at=heard_at, agent_gone_position=gone_position
    )
    return (tasks.stream(task.task_id), command)


def stalls(memory: OpenTasks, at: float) -> list[Decision]:
    """Notes of tasks that nobody could be called for, busy or not: some at a time, and each once."""
    memory.rota.turn(at)
    decisions: list[Decision] = []
    for _, line in sorted(memory.waiting.lines.items()):
        supply, fitting = memory.supply, memory.supply.fitting(line)
        largest, on_duty = supply.largest(line), supply.largest(line, on_duty=True)
        if on_duty >= max(line.sizes):
            continue
        skilled = supply.skilled(line)
        able = skilled if fitting is None else skilled & fitting
        lacking = "capacity_missing" if largest >= 0 else _lacking(memory, line, skilled, able)
        stalled = (task for task in map(memory.tasks.__getitem__, line.names(at)) if task.units > on_duty)
        unsaid = [task for task in stalled if task.stalled != (lacking if task.units > largest else "off_hours")]
        for task in unsaid[: STALLS_MAX - len(decisions)]:
            names = _nearest(memory, skilled, able, line)
            note = NoteStall(
                task_id=task.task_id,
                candidates=candidates(memory, task, names),
                doers=tuple(task.doers),
                duties=memory.rota.duties(names),
            )
            decisions.append((tasks.stream(task.task_id), note))
    return decisions


def _lacking(memory: OpenTasks, line: Line, skilled: set[str], able: set[str]) -> str:
    """Why none of those with the skills will do."""
    if line.only and not skilled:
        return "assignee_missing"
    if not any(line.needs.issubset(memory.agents[name].capabilities) for name in skilled):
        return "skills_missing"
    if able:
        return "all_excluded"
    serves = any(serve(memory.agents[name].skills, line.skills) for name in skilled)
    return "region_missing" if serves else "skills_unfit"


def called_max(needs: Iterable[str], skills: Iterable[SkillNeed]) -> int:
    """How many agents a command names at most that tells what each has of these skills."""
    return min(CANDIDATES_MAX, CALL_CHARACTERS_MAX // max(1, sum(map(len, needs)) + weight(skills)))


def called_min(needs: Iterable[str], skills: Iterable[SkillNeed]) -> int:
    """How many agents are called at least, where there are so many."""
    return min(CALLED_MIN, called_max(needs, skills))


def are_all_that_may_be_called(count: int, needs: Iterable[str], skills: Iterable[SkillNeed]) -> bool:
    """Whether no more agents would have been named in a command with so many, however many there were: of calls that don't say so."""
    most = called_max(needs, skills)
    return count >= most or count == min(CANDIDATES_MAX_EARLIER, most)


def _nearest(memory: OpenTasks, skilled: set[str], able: set[str], line: Line) -> Iterable[str]:
    """Those of the skilled that come nearest to what is asked for: where not even they can do it, the others can't."""
    most = called_max(line.needs, line.skills)
    if len(skilled) <= most:
        return skilled
    return nsmallest(
        most,
        skilled,
        key=lambda name: (*_distance(memory.agents[name], line, meets=name in able), name),
    )


def _distance(agent: AgentEntry, line: Line, *, meets: bool) -> tuple[bool, bool, bool, float]:
    return distance(meets, serve(agent.skills, line.skills), agent.agent_id in line.excluded, agent.max_capacity)


def distance(meets: bool, serves: bool, excluded: bool, max_capacity: float) -> tuple[bool, bool, bool, float]:
    """How far somebody with the skills is from being one who could do a task: small is near."""
    return (not meets, not serves, excluded, -max_capacity)


def call_for(memory: OpenTasks, task: TaskEntry, chosen: Iterable[str], *, passed_over: bool) -> OpenBook:
    """The call of these for a task; `passed_over` says whether others could have been called, too."""
    return OpenBook(
        task_id=task.task_id,
        round=task.round + 1,
        candidates=candidates(memory, task, chosen),
        doers=tuple(task.doers),
        duties=memory.rota.duties(chosen),
        passed_over=passed_over,
    )


def candidates(memory: OpenTasks, task: TaskEntry, names: Iterable[str]) -> tuple[Candidate, ...]:
    """These agents as they stand, as far as that matters for a task."""
    return tuple(
        Candidate(
            agent_id=agent.agent_id,
            capabilities=needed(task.capabilities, agent.capabilities),
            slots=agent.slots,
            running=len(agent.held),
            max_capacity=agent.max_capacity,
            used=agent.used,
            skills=evidence(task.skills, agent.skills),
            region=agent.region if task.regions else "",
            position=agent.position,
        )
        for agent in (memory.agents[name] for name in sorted(names))
    )


def needed(needs: Sequence[str], offered: Iterable[str]) -> tuple[str, ...]:
    """What of an agent's skills matters here: a record keeps no more."""
    known = frozenset(offered)
    return tuple(skill for skill in needs if skill in known)


def listed_prices(task: TaskEntry, agent: AgentEntry) -> ListedPrices:
    """What of an agent's price list is about a task."""
    return ListedPrices(base=agent.price, prices=about(agent.prices, task.topics), position=agent.position)


def _facts(task: TaskEntry, agent: AgentEntry) -> BidderFacts:
    # One topic in which it is a specialist says as much as all of them.
    facts = facts_of(agent, needed(task.topics, agent.specializations)[:1] if agent.specializations else ())
    changed = changed_offer(task, agent)
    return facts if changed is None else replace(facts, changed=changed)


def changed_offer(task: TaskEntry, agent: AgentEntry) -> Offered | None:
    """What of an agent's offer matters for a task; None where it is as it was when the agent was called."""
    if agent.offered_position <= task.opened_position:
        return None
    return Offered(
        capabilities=needed(task.capabilities, agent.capabilities),
        skills=evidence(task.skills, agent.skills),
        region=agent.region if task.regions else "",
    )


def facts_of(agent: AgentEntry, specializations: tuple[str, ...]) -> BidderFacts:
    """An agent as rankings see it, with those of its specializations that matter."""
    return BidderFacts(
        agent_id=agent.agent_id,
        slots=agent.slots,
        running=len(agent.held),
        lease_seconds=agent.lease_seconds,
        agent_type=agent.agent_type,
        specializations=specializations,
        recent=agent.figures.recent,
        max_capacity=agent.max_capacity,
        used=agent.used,
        is_person=agent.is_person,
        position=agent.position,
    )
