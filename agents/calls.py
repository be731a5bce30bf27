"""Calls for proposals and what becomes of them: from the coordinator's memory to the commands that it decides on."""

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heapreplace, nsmallest
from typing import Any

from agents.entries import AgentEntry, TaskEntry
from agents.open_tasks import OpenTasks
from agents.supply import Supply
from agents.waiting import Line
from aggregates import agent as agents
from aggregates import task as tasks
from aggregates.task import AwardTask, Candidate, ExpireLease, FailDependent, NoteStall, OpenBook, Stage, UnblockTask
from aggregates.values.ranking import BidderFacts
from runtime.records import Command

CANDIDATES_MAX = 256
"""How many agents are called for one task; the least loaded first."""
CALL_CHARACTERS_MAX = 64 * 1024
"""Fewer are called where the skills that the task needs would be longer than this for all of them together."""
OPENINGS_MAX = 32
"""How many books are opened in one step; the next step opens more."""
STALLS_MAX = 32
"""How many tasks are said to have nobody to call in one cycle."""
DEPENDENTS_MAX = 32
"""How many dependents are told in one step; what is recorded of them leads to the next."""

Decision = tuple[str, Command[Any]]


def openings(memory: OpenTasks, at: float) -> list[Decision]:
    """Calls for the waiting tasks, most urgent first: as many books as those whom they call have slots for."""
    supply = memory.supply
    offered = supply.free.keys()
    heads = [(places[0], 0, places, line) for line, places in memory.waiting.ready(at) if line.needs <= offered]
    heapify(heads)
    called = [memory.tasks[name].eligible for name in memory.books]
    chosen_by_line: dict[int, frozenset[str]] = {}
    taken: set[frozenset[str]] = set()  # who has no slot left; several lines may come to the same agents
    decisions: list[Decision] = []
    while heads and len(called) < supply.slots and len(decisions) < OPENINGS_MAX:
        place, index, places, line = heads[0]
        chosen = chosen_by_line.get(id(line))
        if chosen is None:
            chosen = chosen_by_line[id(line)] = _chosen(memory, line)
        if chosen in taken or not _has_room(supply, chosen, called):
            taken.add(chosen)
            heappop(heads)
            continue
        called.append(chosen)
        decisions.append((tasks.stream(place[2]), _call(memory, memory.tasks[place[2]], chosen)))
        if index + 1 < len(places):
            heapreplace(heads, (places[index + 1], index + 1, places, line))
        else:
            heappop(heads)
    return decisions


def _chosen(memory: OpenTasks, line: Line) -> frozenset[str]:
    able = memory.supply.able(line.needs) - line.excluded
    most = called_max(line.needs)
    if len(able) <= most:
        return frozenset(able)
    return frozenset(nsmallest(most, able, key=lambda name: (len(memory.agents[name].held), name)))


def called_max(needs: Iterable[str]) -> int:
    """How many agents are called at most for a task with these skills."""
    return min(CANDIDATES_MAX, CALL_CHARACTERS_MAX // max(1, sum(map(len, needs))))


def _has_room(supply: Supply, chosen: frozenset[str], called: Sequence[frozenset[str]]) -> bool:
    """Whether the chosen have more slots than there are books open for any of them."""
    room = sum(map(supply.slots_by_agent.__getitem__, chosen))
    if len(called) < room:
        return True
    for others in called:
        if room <= 0:
            return False
        room -= not chosen.isdisjoint(others)
    return room > 0


def award(memory: OpenTasks, task: TaskEntry) -> Decision:
    """Closes the book with the facts of those bidders that are still there."""
    found = (memory.agents.get(name) for name in sorted(task.bidders))
    bidders = tuple(_facts(task, agent) for agent in found if agent is not None and agent.stage is agents.Stage.ACTIVE)
    return (tasks.stream(task.task_id), AwardTask(task_id=task.task_id, round=task.round, bidders=bidders))


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


def stalls(memory: OpenTasks) -> list[Decision]:
    """Notes of tasks that nobody could be called for, busy or not: some at a time, and each once."""
    decisions: list[Decision] = []
    for _, line in sorted(memory.waiting.lines.items()):
        able = memory.supply.able(line.needs, free=False)
        if able - line.excluded:
            continue
        reason = "all_excluded" if able else "skills_missing"
        unsaid = [task for task in map(memory.tasks.__getitem__, line.names()) if task.stalled != reason]
        for task in unsaid[: STALLS_MAX - len(decisions)]:
            note = NoteStall(task_id=task.task_id, candidates=_candidates(memory, task, able), doers=tuple(task.doers))
            decisions.append((tasks.stream(task.task_id), note))
    return decisions


def _call(memory: OpenTasks, task: TaskEntry, chosen: frozenset[str]) -> OpenBook:
    candidates = _candidates(memory, task, chosen)
    return OpenBook(task_id=task.task_id, round=task.round + 1, candidates=candidates, doers=tuple(task.doers))


def _candidates(memory: OpenTasks, task: TaskEntry, names: Iterable[str]) -> tuple[Candidate, ...]:
    return tuple(
        Candidate(
            agent_id=agent.agent_id,
            capabilities=_needed(task.capabilities, agent.capabilities),
            slots=agent.slots,
            running=len(agent.held),
            position=agent.position,
        )
        for agent in (memory.agents[name] for name in sorted(names))
    )


def _needed(needs: Sequence[str], offered: Iterable[str]) -> tuple[str, ...]:
    """What of an agent's skills matters here: a record keeps no more."""
    known = frozenset(offered)
    return tuple(skill for skill in needs if skill in known)


def _facts(task: TaskEntry, agent: AgentEntry) -> BidderFacts:
    # One topic in which it is a specialist says as much as all of them.
    return facts_of(agent, _needed((task.task_type.value, *task.capabilities), agent.specializations)[:1])


def facts_of(agent: AgentEntry, specializations: tuple[str, ...]) -> BidderFacts:
    """An agent as rankings see it, with those of its specializations that matter."""
    return BidderFacts(
        agent_id=agent.agent_id,
        slots=agent.slots,
        running=len(agent.held),
        lease_seconds=agent.lease_seconds,
        specializations=specializations,
        recent=agent.figures.recent,
        position=agent.position,
    )
