"""What the coordinator keeps at hand: agents with their loads, open tasks, and who did what lately. `folding` makes it of the journal."""

from collections.abc import Iterable
from functools import cached_property

from msgspec import Struct, field

from agents.coordinating.entries import AgentEntry, EndedTask, KeyRule, Pause, TaskEntry, TypeSchemas
from agents.coordinating.figures import Figures
from agents.coordinating.hours import Rota
from agents.coordinating.occupied import Occupied
from agents.coordinating.supply import Supply
from agents.coordinating.waiting import Waiting
from aggregates.task import Stage


class OpenTasks(Struct, kw_only=True, dict=True):
    """The coordinator's memory of one tenant. Dicts are for look-ups; nothing depends on their order.

    `supply` and `waiting` say once more, by skill, what stands in `agents` and `tasks`; they are no part of a snapshot.
    """

    agents: dict[str, AgentEntry] = field(default_factory=dict)
    tasks: dict[str, TaskEntry] = field(default_factory=dict)
    books: dict[str, None] = field(default_factory=dict)
    """The open ones, in the order in which they were opened."""
    batched: dict[str, None] = field(default_factory=dict)
    """The open books that are settled together with others."""
    batches: int = 0
    """How many batches were settled."""
    slot_prices: dict[str, float] = field(default_factory=dict)
    """What a slot of each agent was worth in the last batch: where the next one starts from."""
    dependents: dict[str, list[str]] = field(default_factory=dict)
    owing: dict[str, EndedTask] = field(default_factory=dict)
    """The ended tasks of which some dependents have not been told yet."""
    ended: dict[str, EndedTask] = field(default_factory=dict)
    ended_order: list[str] = field(default_factory=list)
    ended_by_stage: dict[str, int] = field(default_factory=dict)
    """How many tasks have ended so, all together; a dead letter that was offered again has not ended."""
    departed: dict[str, Figures] = field(default_factory=dict)
    """The figures of agents that left, so that none comes back as a newcomer; the last PAST_MAX to leave."""
    departed_order: list[str] = field(default_factory=list)
    skills: dict[str, int] = field(default_factory=dict)
    """Every skill that an agent has ever offered, with the position of its first offer."""
    stopped_at: float = 0.0
    """Since when no work is given out; 0 while it is."""
    started_at: float = 0.0
    """Since when it is given out again, where it was stopped before."""
    stop_reason: str = ""
    paused: dict[str, Pause] = field(default_factory=dict)
    """The queues that are held back."""
    rules: dict[str, KeyRule] = field(default_factory=dict)
    """The limits that operators have set, by concurrency key."""
    turns: dict[str, dict[str, int]] = field(default_factory=dict)
    """Where a task of a group was called for last, by key and group, as long as some of that group is open."""
    schemas: dict[str, TypeSchemas] = field(default_factory=dict)
    """What payloads and results have to fit, by task type."""
    moved_position: int = 0
    """The last event after which a book might be opened that could not be opened before."""

    @cached_property
    def supply(self) -> Supply:
        """The agents by skill."""
        return Supply(self.agents.values(), (self.tasks[name].eligible for name in self.books))

    @cached_property
    def rota(self) -> Rota:
        """Who is on duty; whoever has a clock turns it."""
        return Rota(self.agents, self.supply)

    @cached_property
    def waiting(self) -> Waiting:
        """The tasks that wait for a book, by what they need."""
        return Waiting(self.tasks.values())

    def is_wanted(self, task: TaskEntry) -> bool:
        """Whether somebody could take a waiting task now."""
        return self.supply.walk(self.waiting.line_of(task.task_id), task.units, self.supply.round()).has_more()

    @cached_property
    def occupied(self) -> Occupied:
        """The tasks that are called for or held."""
        return Occupied(self.tasks.values())

    def note(self, task: TaskEntry) -> None:
        """Takes in for all look-ups that a task waits now, or waits no longer."""
        self.waiting.update(task)
        self.occupied.update(task)

    def end_pauses(self, names: Iterable[str], position: int) -> None:
        """These tasks rest no longer: books may be opened for them."""
        for name in names:
            task = self.tasks[name]
            task.retry_at = task.not_before = 0.0
            self.note(task)
            self.moved_position = position

    def complete(self, task: TaskEntry) -> bool:
        """Whether all that were called have answered."""
        if task.is_revealing:
            return task.stage is Stage.BIDDING and task.bidders == task.revealed
        return task.stage is Stage.BIDDING and task.eligible == task.answered
