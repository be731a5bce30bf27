"""Which of the tasks that were not begun are to be taken back in a cycle, since somebody free would be clearly better for them now.

What decides is computed once more where the task is decided on; here it is computed so that nothing is asked in vain.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from agents.coordinating.calls import CALLED_MIN, called_max, facts_of, needed
from agents.coordinating.entries import AgentEntry, TaskEntry
from agents.coordinating.open_tasks import OpenTasks
from agents.coordinating.terms import Terms
from agents.coordinating.turns import WHOLE
from agents.coordinating.waiting import line_for
from aggregates import agent as agents
from aggregates import task as tasks
from aggregates.task import Contender, RebalanceTask, Stage
from aggregates.task.rebalancing import better, rest_until
from aggregates.values.capacity import total
from aggregates.values.ranking import Offered
from aggregates.values.skill_terms import evidence

MOVES_MAX = 32
"""How many tasks are taken back in one cycle."""
LOOKS_MAX = 512
"""How many are looked at in one cycle; the next goes on after them."""

GONE = (agents.Stage.LOST, agents.Stage.DEREGISTERED)
"""Their leases end by themselves, and that counts."""

Place = tuple[float, str]


class Rebalancing:
    """Goes round the tasks that are held and were not begun, those first that were awarded first."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._after: Place = (0.0, "")

    def moves(self, memory: OpenTasks, at: float) -> list[tuple[str, RebalanceTask]]:
        """The tasks to take back: one of each holder, and one for each who would be better, so that what is decided of one is so for all
        of them."""
        if self._terms.rebalance_gain <= 0 or memory.stopped_at or not memory.supply.slots:
            return []
        found: list[tuple[str, RebalanceTask]] = []
        busy: set[str] = set()
        for task in self._round(memory, at):
            self._after = (task.awarded_at, task.task_id)
            command = self._move(memory, task, busy, at)
            if command is not None:
                found.append((tasks.stream(task.task_id), command))
            if len(found) >= MOVES_MAX:
                break
        return found

    def _round(self, memory: OpenTasks, at: float) -> Iterator[TaskEntry]:
        holders = (agent for agent in memory.agents.values() if agent.stage not in GONE)
        held = (memory.tasks[name] for agent in holders for name in agent.held)
        ripe = sorted((task.awarded_at, task.task_id) for task in held if self._is_ripe(memory, task, at))
        later = [place for place in ripe if place > self._after]
        for _, name in [*later, *ripe[: len(ripe) - len(later)]][:LOOKS_MAX]:
            yield memory.tasks[name]

    def _is_ripe(self, memory: OpenTasks, task: TaskEntry, at: float) -> bool:
        if task.stage is not Stage.AWARDED or task.is_person or task.is_assigned or task.cancel_by or task.question_at:
            return False
        rests = at < rest_until(task.awarded_at, self._terms.rebalance_seconds, task.moves)
        return not rests and task.queue not in memory.paused

    def _move(self, memory: OpenTasks, task: TaskEntry, busy: set[str], at: float) -> RebalanceTask | None:
        terms, agent = self._terms, memory.agents[task.assignee]
        if agent.agent_id in busy:
            return None
        names = _free(memory, task, busy)
        holder = _contender(memory, task, agent)
        candidates = tuple(_contender(memory, task, memory.agents[name]) for name in sorted(names))
        found = better(holder, candidates, terms.rebalance_gain, at, terms.weights)
        if found is None:
            return None
        busy.update((agent.agent_id, found.agent_id))
        return RebalanceTask(
            task_id=task.task_id,
            token=task.token,
            holder=holder,
            candidates=candidates,
            doers=tuple(task.doers),
            duties=memory.rota.duties(names),
            gain=terms.rebalance_gain,
            rest_seconds=terms.rebalance_seconds,
            weights=terms.weights,
        )


def _free(memory: OpenTasks, task: TaskEntry, busy: set[str]) -> list[str]:
    """The least taken of those who could take it now, beside the books that call them already."""
    supply, line = memory.supply, line_for(task)
    most = min(CALLED_MIN, called_max(line.needs, line.skills))
    walk = supply.walk(line, task.units, supply.round())
    barred = busy | {task.assignee}
    return [
        name for name in walk.take(most + len(barred)) if name not in barred and supply.spare(name, task.units) >= WHOLE
    ][:most]


def _contender(memory: OpenTasks, task: TaskEntry, agent: AgentEntry) -> Contender:
    """An agent with all that it holds but for this task."""
    others = [memory.tasks[name] for name in agent.held if name != task.task_id]
    units = total(units for name, units in agent.units_by_task.items() if name != task.task_id)
    return Contender(
        facts=replace(facts_of(agent, ()), running=len(others), used=units),
        offered=Offered(
            capabilities=needed(task.capabilities, agent.capabilities),
            skills=evidence(task.skills, agent.skills),
            region=agent.region if task.regions else "",
        ),
        is_active=agent.stage is agents.Stage.ACTIVE,
        promised=tuple(sorted(task.promised_at for task in others if task.promised_at is not None)),
    )
