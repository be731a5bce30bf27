"""Which alarms are set: by each event those of what it concerns, and all of them anew after a start, or where too many are stale."""

from collections.abc import Iterable

from agents.coordinating.alarms import Alarms, Due
from agents.coordinating.batches import Batches
from agents.coordinating.entries import AgentEntry, TaskEntry
from agents.coordinating.hearing import Hearing
from agents.coordinating.open_tasks import OpenTasks
from agents.coordinating.places import Places
from agents.coordinating.timetable import all_due
from aggregates.agent import (
    AgentCleared,
    AgentDeregistered,
    AgentRegistered,
    AgentReturned,
    AgentSuspected,
    AgentUpdated,
)
from aggregates.task import (
    BookOpened,
    BookVoided,
    CancelRequested,
    QuestionAnswered,
    RevealOpened,
    TaskAmended,
    TaskAwarded,
    TaskRebalanced,
    TaskReopened,
    TaskRequeued,
    TaskSubmitted,
)
from runtime.records import Recorded

ALARMS_SLACK = 4096


class Watch:
    """The coordinator's part that sets alarms for what stands in its memory."""

    def __init__(
        self, alarms: Alarms, hearing: Hearing, batches: Batches, places: Places, *, cycle_seconds: float
    ) -> None:
        self.alarms = alarms
        self.hearing = hearing
        self.batches = batches
        self.places = places
        self.cycle_seconds = cycle_seconds

    def follow(self, memory: OpenTasks, recorded: Recorded) -> None:
        """The alarms that an event calls for."""
        event = recorded.event
        if isinstance(event, (AgentRegistered, AgentUpdated, AgentDeregistered)):
            memory.rota.look(event.agent_id, recorded.meta.at)
            self.duty(memory)
        match event:
            case AgentRegistered() | AgentReturned() | AgentSuspected() | AgentCleared():
                self._agents([memory.agents.get(event.agent_id)])
            case (
                TaskSubmitted()
                | BookOpened()
                | RevealOpened()
                | TaskAwarded()
                | BookVoided()
                | TaskReopened()
                | TaskRebalanced()
                | CancelRequested()
                | TaskAmended()
                | TaskRequeued()
                | QuestionAnswered()
            ):
                self._tasks([memory.tasks.get(event.task_id)])
            case AgentDeregistered():
                self.hearing.forget(event.agent_id)
        if memory.batched:
            self.batches.prepare()
        if len(self.alarms) > 4 * (len(memory.tasks) + len(memory.agents)) + ALARMS_SLACK:
            self.begin(memory, recorded.meta.at)

    def begin(self, memory: OpenTasks, at: float) -> None:
        """All alarms, and no others."""
        self.alarms.clear()
        self.alarms.set(at + self.cycle_seconds, Due.CYCLE, "")
        self._agents(memory.agents.values())
        self._tasks(memory.tasks.values())
        memory.rota.reset(at)
        self.duty(memory)
        if memory.batched:
            self.batches.prepare()
            self.alarms.set(at, Due.BATCH, "")
        if self.places.are_bounded:
            self.alarms.set(at, Due.PLACES, "")  # what was waited for before is not known any more

    def duty(self, memory: OpenTasks) -> None:
        """When somebody comes on duty next, or goes off."""
        if (changes_at := memory.rota.next_change()) is not None:
            self.alarms.set(changes_at, Due.DUTY, "")

    def _agents(self, entries: Iterable[AgentEntry | None]) -> None:
        for agent in entries:
            if agent is not None and not agent.is_person:
                self.alarms.set(self.hearing.silent_at(agent), Due.SILENCE, agent.agent_id)

    def _tasks(self, entries: Iterable[TaskEntry | None]) -> None:
        for task in entries:
            if task is not None:
                for at, due in all_due(task, self.hearing.floor):
                    self.alarms.set(at, due, task.task_id)
