"""What waits and who could do it, from the coordinator's memory: for whoever asks how it would best be given out."""

from heapq import nsmallest

from agents.coordinating.calls import facts_of
from agents.coordinating.entries import TaskEntry
from agents.coordinating.open_tasks import OpenTasks
from agents.coordinating.terms import AGING, Aging
from aggregates import agent as agents
from aggregates.coordination import ActiveAgent, OpenWork, WaitingTask
from aggregates.task import SPECIALISTS, Stage
from aggregates.values.weights import Weights

TASKS_TOLD_MAX = 1000
AGENTS_TOLD_MAX = 1000


def open_work(memory: OpenTasks, at: float, weights: Weights | None = None, aging: Aging = AGING) -> OpenWork:
    """The most urgent tasks that wait, and the active agents with most free slots; ties by place and by name."""

    def place(task: TaskEntry) -> tuple[float, int, str]:
        return (aging.order(task.priority, task.waits_since), task.submitted_position, task.task_id)

    waiting = [task for task in memory.tasks.values() if task.stage is Stage.SUBMITTED and task.not_before <= at]
    active = [
        agent
        for agent in memory.agents.values()
        if agent.stage is agents.Stage.ACTIVE
        and not agent.is_person
        and not memory.rota.duty(agent.agent_id).is_off(at)
    ]
    tasks = tuple(
        WaitingTask(
            task_id=task.task_id,
            needs=task.capabilities,
            topics=(task.task_type.value, *task.capabilities),
            excluded=tuple(sorted({doer.agent_id for doer in task.doers})),
            urgency=aging.urgency(task.priority, task.waits_since, at),
            position=task.position,
            units=task.units,
            skills=task.skills,
            regions=task.regions,
            specialist_type=SPECIALISTS[task.task_type],
            only=task.assign_to,
        )
        for task in nsmallest(TASKS_TOLD_MAX, waiting, key=place)
    )
    told = tuple(
        ActiveAgent(
            facts=facts_of(agent, agent.specializations),
            capabilities=agent.capabilities,
            skills=agent.skills,
            region=agent.region,
        )
        for agent in nsmallest(AGENTS_TOLD_MAX, active, key=lambda agent: (-agent.free, agent.agent_id))
    )
    return OpenWork(
        at=at,
        tasks=tasks,
        agents=told,
        tasks_left_out=len(waiting) - len(tasks),
        agents_left_out=len(active) - len(told),
        weights=weights,
    )
