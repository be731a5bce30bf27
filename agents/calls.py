"""Calls for proposals and what becomes of them: from the coordinator's memory to the commands that it decides on."""

from collections.abc import Sequence
from typing import Any

from agents.open_tasks import AgentEntry, OpenTasks, TaskEntry
from aggregates import agent as agents
from aggregates import task as tasks
from aggregates.task import AwardTask, Candidate, ExpireLease, FailDependent, OpenBook, Stage, UnblockTask
from aggregates.values.ranking import BidderFacts
from aggregates.values.skills import missing
from runtime.records import Command

CANDIDATES_MAX = 256
"""How many agents are called for one task; the least loaded first."""
OPENINGS_MAX = 32
"""How many books are opened in one step; the next step opens more."""

Decision = tuple[str, Command[Any]]


def openings(memory: OpenTasks, at: float) -> list[Decision]:
    """Calls for the waiting tasks, most urgent first: as many books as those whom they call have slots for."""
    if not memory.waiting:
        return []
    free = sorted((agent for agent in memory.agents.values() if agent.free), key=lambda a: (len(a.held), a.agent_id))
    slots = sum(agent.free for agent in free)
    called = [frozenset(memory.tasks[name].eligible) for name in memory.books]
    fitting: dict[tuple[str, ...], list[AgentEntry]] = {}
    taken: set[tuple[str, ...]] = (
        set()
    )  # skills of which no slot is left: a long queue behind them is passed over quickly
    decisions: list[Decision] = []
    for _, _, task_id in memory.waiting:
        if len(called) >= slots or len(decisions) == OPENINGS_MAX:
            break
        task = memory.tasks[task_id]
        if (task.capabilities in taken and not task.doers) or not memory.ready(task, at):
            continue
        if task.capabilities not in fitting:
            fitting[task.capabilities] = [a for a in free if not missing(task.capabilities, a.capabilities)]
        doers = {doer.agent_id for doer in task.doers}
        chosen = [agent for agent in fitting[task.capabilities] if agent.agent_id not in doers][:CANDIDATES_MAX]
        names = frozenset(agent.agent_id for agent in chosen)
        if sum(not names.isdisjoint(others) for others in called) >= sum(agent.free for agent in chosen):
            if not task.doers:
                taken.add(task.capabilities)
            continue
        called.append(names)
        decisions.append((tasks.stream(task_id), _call(task, chosen)))
    return decisions


def award(memory: OpenTasks, task: TaskEntry) -> Decision:
    """Closes the book with the facts of those bidders that are still there."""
    found = (memory.agents.get(name) for name in sorted(task.bidders))
    bidders = tuple(_facts(agent) for agent in found if agent is not None and agent.stage is agents.Stage.ACTIVE)
    return (tasks.stream(task.task_id), AwardTask(task_id=task.task_id, round=task.round, bidders=bidders))


def tell_dependents(memory: OpenTasks, task_id: str, stage: Stage, position: int) -> list[Decision]:
    """Unblocks those that wait for a task that ended well; fails those that wait for one that did not."""
    decisions: list[Decision] = []
    for name in memory.dependents.get(task_id, ()):
        command: Command[Any]
        if stage is Stage.COMPLETED:
            command = UnblockTask(task_id=name, dependency=task_id, position=position)
        else:
            command = FailDependent(task_id=name, dependency=task_id, stage=stage, position=position)
        decisions.append((tasks.stream(name), command))
    return decisions


def expire_lease(task: TaskEntry, heard_at: float, gone_position: int = 0) -> Decision:
    """Takes a task from a holder that was silent, or that is gone since `gone_position`."""
    command = ExpireLease(
        task_id=task.task_id, token=task.token, last_heard_at=heard_at, agent_gone_position=gone_position
    )
    return (tasks.stream(task.task_id), command)


def _call(task: TaskEntry, chosen: Sequence[AgentEntry]) -> OpenBook:
    candidates = tuple(
        Candidate(
            agent_id=agent.agent_id,
            capabilities=agent.capabilities,
            slots=agent.slots,
            running=len(agent.held),
            position=agent.position,
        )
        for agent in chosen
    )
    return OpenBook(task_id=task.task_id, round=task.round + 1, candidates=candidates, doers=tuple(task.doers))


def _facts(agent: AgentEntry) -> BidderFacts:
    return BidderFacts(
        agent_id=agent.agent_id,
        slots=agent.slots,
        running=len(agent.held),
        lease_seconds=agent.lease_seconds,
        specializations=agent.specializations,
        completed=agent.figures.completed,
        failed=agent.figures.failed,
        kept_sum=agent.figures.kept_sum,
        answers=agent.figures.answers,
        answer_seconds_sum=agent.figures.answer_seconds_sum,
        position=agent.position,
    )
