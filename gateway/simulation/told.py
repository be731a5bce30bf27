"""What clients have asked for and what they were told, to be held against the log."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from aggregates.task import SubmitTask
from runtime.delivery import Context
from runtime.errors import Refused
from runtime.records import Command


class Told:
    """The clients' side of a run."""

    def __init__(self, agents: Sequence[str], mortals: Sequence[str], lease_seconds: float) -> None:
        self.lease_seconds = lease_seconds
        self.agents = tuple(agents)
        self.mortals = tuple(mortals)
        """The agents that may die: one of each skill has to live."""
        self.submitted: dict[str, SubmitTask] = {}
        """The tasks that were acknowledged."""
        self.answers: list[tuple[Context, Command[Any], Any]] = []
        self.refusals: list[tuple[Context, Command[Any], Refused]] = []
        self.heard_at: defaultdict[str, list[float]] = defaultdict(list)
        """When, by the node's clock, each agent's heartbeats were answered."""
        self.paused_at: list[float] = []
        """When, by the node's clock, it had stood still for as long as it notices."""

    def asks(self, context: Context, command: Command[Any]) -> None:
        """Somebody begins to ask."""

    def answered(self, context: Context, command: Command[Any], answer: Any) -> None:
        """Somebody has an answer."""
        self.answers.append((context, command, answer))
        if isinstance(command, SubmitTask):
            self.submitted[command.task_id] = command

    def refused(self, context: Context, command: Command[Any], refusal: Refused) -> None:
        """Somebody knows that it is not to be."""
        self.refusals.append((context, command, refusal))

    def heard(self, agent: str, at: float) -> None:
        """The node has answered a heartbeat."""
        self.heard_at[agent].append(at)
