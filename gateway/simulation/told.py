"""What clients have asked for and what they were told, to be held against the log."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from aggregates.agent import PERSON_PREFIX
from aggregates.task import CompleteTask, FailTask, StartTask, SubmitTask
from aggregates.values.capacity import units_of
from runtime.delivery import Context
from runtime.errors import Refused
from runtime.records import Command
from runtime.simulation.ledger import Ledger

UNITS_MAX = 200.0
"""How much an agent says at most that it can hold."""


def is_impossible(task: SubmitTask) -> bool:
    """Whether nobody is where the task may be done, or could hold as much."""
    return bool(task.regions) or units_of(task.requirements) > UNITS_MAX


def is_person(agent_id: str) -> bool:
    """Whether it is a user: nobody waits to hear of one."""
    return agent_id.startswith(PERSON_PREFIX)


class Hearing(NamedTuple):
    """Since when a node could hear, and whom it heard, in one life: `floor` says when it was up, and when it had stood still."""

    position: int
    floor: list[float]
    by_agent: defaultdict[str, list[float]]


class Told:
    """The clients' side of a run."""

    def __init__(
        self,
        ledger: Ledger,
        agents: Sequence[str],
        mortals: Sequence[str],
        lease_seconds: float,
        suspect_seconds: float,
    ) -> None:
        self.ledger = ledger
        self.lease_seconds = lease_seconds
        self.suspect_seconds = suspect_seconds
        self.agents = tuple(agents)
        self.mortals = tuple(mortals)
        """The agents that may die: one of each skill has to live."""
        self.submitted: dict[str, SubmitTask] = {}
        """The tasks that were acknowledged."""
        self.answers: list[Command[Any]] = []
        """The commands that were acknowledged."""
        self.reports: list[tuple[StartTask | CompleteTask | FailTask, int]] = []
        """What agents have said of their tasks and was taken, and where the journal stood before."""
        self.erased: set[str] = set()
        """The tasks whose person was erased after they were acknowledged."""
        self.hearings: list[Hearing] = []
        """One for each life of the node."""

    def answered(self, context: Context, command: Command[Any], answer: Any, position: int) -> None:
        """Somebody has an answer to what it asked when the journal had come to this position, or later."""
        self.answers.append(command)
        if isinstance(command, StartTask | CompleteTask | FailTask):
            self.reports.append((command, position))
        if context.key:
            self.ledger.acknowledged(context, answer)
        if isinstance(command, SubmitTask):
            self.submitted[command.task_id] = command

    def may_wait(self, task_id: str) -> bool:
        """Whether nobody can ever do this task, or one that it waits for."""
        asked = self.submitted[task_id]
        return is_impossible(asked) or any(self.may_wait(name) for name in asked.dependencies)

    def refused(self, context: Context, refusal: Refused) -> None:
        """Somebody knows that it is not to be."""
        if context.key:
            self.ledger.refused(context, refusal)

    def starts(self, position: int, at: float) -> None:
        """A node is up, at this position of its journal and this time by its clock."""
        self.hearings.append(Hearing(position, [at], defaultdict(list)))

    def paused(self, at: float) -> None:
        """The node had stood still until now."""
        self.hearings[-1].floor.append(at)

    def heard(self, life: int, agent: str, at: float) -> None:
        """The node has answered a heartbeat, in this of its lives."""
        self.hearings[life].by_agent[agent].append(at)

    def silent_since(self, agent: str, position: int, at: float) -> float:
        """Since when the node, as of this record, can't have heard of the agent: by the clock of that life, as another's may differ."""
        hearing = [one for one in self.hearings if one.position < position][-1]
        return max(one for one in (*hearing.floor, *hearing.by_agent[agent]) if one <= at)
