"""What the coordinator keeps of an agent, of an open task, and of one that has ended."""

from typing import NamedTuple

from msgspec import Struct, field

from agents.coordinating.figures import Figures
from aggregates import agent as agents
from aggregates.task import SEALED, Doer, Stage, TaskType, hold_until, over_at
from aggregates.task_type import SchemasDropped, SchemasSet
from aggregates.values.capacity import room, total
from aggregates.values.concurrency import Concurrency, Strategy
from aggregates.values.document import Document
from aggregates.values.no_bids import WAITS, NoBidPolicy
from aggregates.values.ranking import AwardPolicy, Bid
from aggregates.values.skill_terms import SkillNeed, SkillOffer, serve
from aggregates.values.working_hours import ALWAYS, WorkingHours

Place = tuple[float, int, str]
"""Where a task stands among those of its priority: since when it waits; the task's id is last."""


class Pause(NamedTuple):
    """Since when an operator holds a queue back, why, and who that is."""

    since: float
    reason: str
    paused_by: str


VERSIONS_KEPT_MAX = 32
"""How many versions of a task type's schemas are at hand."""


class SchemaVersion(Struct, kw_only=True):
    """What a version of a task type's schemas asks for; it was set at `position`."""

    version: int
    position: int
    payload: Document | None
    result: Document | None


class TypeSchemas(Struct, kw_only=True):
    """The last versions of a task type's schemas, the oldest first, and which is in force; 0 where none is."""

    in_force: int = 0
    kept: list[SchemaVersion] = field(default_factory=list)

    def take(self, event: SchemasSet | SchemasDropped, position: int) -> None:
        """Takes in a change."""
        if isinstance(event, SchemasDropped):
            self.in_force = 0
            return
        made = SchemaVersion(version=event.version, position=position, payload=event.payload, result=event.result)
        self.in_force, self.kept = event.version, [*self.kept, made][-VERSIONS_KEPT_MAX:]


class KeyRule(NamedTuple):
    """The limit of a concurrency key as an operator has set it, who that is, and when."""

    limit: int
    strategy: Strategy
    set_by: str
    since: float


class Offer(NamedTuple):
    """What decides which tasks an agent could do at all, however busy it is."""

    capabilities: frozenset[str]
    max_capacity: float
    skills: tuple[SkillOffer, ...] = ()
    region: str = ""

    def meets(self, needs: tuple[SkillNeed, ...], regions: tuple[str, ...]) -> bool:
        """Whether it is what is asked for beyond the names of skills."""
        return (not regions or self.region in regions) and serve(self.skills, needs)


class AgentEntry(Struct, kw_only=True):
    """An agent: what it offers, what it holds, and what its past adds up to. `position`: the last event that changed this."""

    agent_id: str
    key_id: str
    stage: agents.Stage
    generation: int
    capabilities: tuple[str, ...]
    specializations: tuple[str, ...]
    slots: int
    lease_seconds: float
    since: float
    position: int
    suspected_from: float = 0.0
    """When it had been heard last before it was suspected."""
    max_capacity: float = agents.MAX_CAPACITY
    skills: tuple[SkillOffer, ...] = ()
    agent_type: agents.AgentType | None = None
    region: str = ""
    offered_position: int = 0
    """Where what it offers was recorded last."""
    price: float = 0.0
    prices: dict[str, float] = field(default_factory=dict)
    working_hours: WorkingHours = ALWAYS
    held: list[str] = field(default_factory=list)
    units_by_task: dict[str, float] = field(default_factory=dict)
    """What those of the held tasks take that take anything."""
    figures: Figures = field(default_factory=Figures)
    user_id: str = ""
    """The person that it is; empty: a program."""

    @property
    def is_person(self) -> bool:
        """Whether nobody calls it, hears it or waits for it: it comes and takes."""
        return bool(self.user_id)

    @property
    def free(self) -> int:
        """The slots in which it could take a task now."""
        return max(0, self.slots - len(self.held)) if self.stage is agents.Stage.ACTIVE else 0

    @property
    def used(self) -> float:
        """The units that its tasks take."""
        return total(self.units_by_task.values()) if self.units_by_task else 0.0

    @property
    def room(self) -> float:
        """The units that are left."""
        return room(self.max_capacity, self.used)

    @property
    def offer(self) -> Offer:
        """What it offers now."""
        return Offer(frozenset(self.capabilities), self.max_capacity, self.skills, self.region)


class Taken(Struct, kw_only=True):
    """A lease that was taken from its holder, and the last number of late reports under it that was recorded."""

    token: int
    agent_id: str
    late: int = 0


class TaskEntry(Struct, kw_only=True):
    """An open task. It waits since then, but for what was done about it meanwhile."""

    task_id: str
    stage: Stage
    position: int
    waits_since: float
    submitted_position: int
    task_type: TaskType
    capabilities: tuple[str, ...]
    independent_of: tuple[str, ...]
    deadline: float | None
    budget_seconds: float
    bidding_seconds: float
    no_bids: NoBidPolicy = WAITS
    widening: int = 0
    """How often its rounds were widened, since it was offered first or came back."""
    waiting_for: tuple[str, ...]
    priority: int = 3
    queue: str = ""
    award_policy: AwardPolicy = AwardPolicy.WEIGHTED_SCORE
    concurrency: Concurrency | None = None
    entered: int = 0
    """The position since when it waits for no other task; 0 while it does."""
    units: float = 0.0
    skills: tuple[SkillNeed, ...] = ()
    regions: tuple[str, ...] = ()
    schema_version: int = 0
    doers: list[Doer] = field(default_factory=list)
    round: int = 0
    eligible: frozenset[str] = frozenset()
    opened_at: float = 0.0
    opened_position: int = 0
    closes_at: float = 0.0
    bidders: set[str] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)
    not_before: float = 0.0
    """Nobody is called before then; 0 once that has passed."""
    asked_at: float = 0.0
    """When it was submitted, or offered again as a dead letter."""
    is_sealed: bool = False
    is_revealing: bool = False
    """Of a book with sealed bids: they are to be opened now."""
    revealed: set[str] = field(default_factory=set)
    bids: dict[str, Bid] = field(default_factory=dict)
    """What the bidders offer, where books are settled together."""
    price_max: float | None = None
    assign_to: str = ""
    """Who alone is called for it."""
    complete_at: float = 0.0
    """Since when all have answered that were called, where books are settled together; 0 while that is not so."""
    retry_at: float = 0.0
    """When the pause after a book without winner ends; 0 when there is none."""
    wants_slot: bool = False
    """Its last book found somebody busy: without a slot, or without the units."""
    stalled: str = ""
    cancel_by: float = 0.0
    """When it is cancelled, whoever holds it; 0 where nobody has asked for that."""
    assignee: str = ""
    token: int = 0
    awarded_at: float = 0.0
    moves: int = 0
    """How often it was taken from a holder for a better one."""
    question_at: float = 0.0
    """When the open question of its holder was asked; 0 where none is."""
    input_seconds: float = 0.0
    lease_seconds: float = 0.0
    eta_seconds: float = 0.0
    confidence: float = 1.0
    """As the holder stated it."""
    price: float = 0.0
    """What was agreed with the holder."""
    is_assigned: bool = False
    """The holder has not bid for it, and has stated nothing."""
    is_person: bool = False
    """Its holder is a person, who has it for `lease_seconds` without a word, counted from `held_since`."""
    held_since: float = 0.0
    declined: set[str] = field(default_factory=set)
    """The people who will not take it."""
    dry_run: bool = False
    estimated_duration: float | None = None
    taken: list[Taken] = field(default_factory=list)

    @property
    def rests_until(self) -> float:
        """Until when no book is opened, 0 when one may be at once."""
        return max(self.not_before, self.retry_at)

    @property
    def topics(self) -> tuple[str, ...]:
        """What a specialist of it would name: its type, and its skills."""
        return (self.task_type.value, *self.capabilities)

    @property
    def is_batched(self) -> bool:
        """Whether its book is settled together with others."""
        return self.award_policy is AwardPolicy.BATCH_OPTIMAL

    @property
    def over_at(self) -> float:
        """When its attempt is over its budget; a person's, when it is taken back."""
        if self.is_person:
            return self.hold_until
        return over_at(self.awarded_at, self.budget_seconds, self.input_seconds, is_waiting=self.question_at > 0)

    @property
    def is_takeable(self) -> bool:
        """Whether people may take it: nobody is given a dry run, and nobody bids in the open where bids are sealed."""
        return not self.dry_run and self.award_policy not in SEALED

    @property
    def hold_until(self) -> float:
        """Until when the person who holds it has it without a word."""
        return hold_until(self.held_since, self.lease_seconds, is_waiting=self.question_at > 0)

    @property
    def promised_at(self) -> float | None:
        """When its holder has promised to be done; None where it has promised nothing, or waits for an answer."""
        if self.is_assigned or self.question_at:
            return None
        return self.awarded_at + self.eta_seconds + self.input_seconds

    @property
    def place(self) -> Place:
        """Where it stands among those of its priority."""
        return (self.waits_since, self.submitted_position, self.task_id)


class EndedTask(Struct, kw_only=True):
    """How a task ended, and who did it. `told_position`: where the last of its dependents to hear of it was noted, or it ended. `doers`
    are those of a dead letter, which may be offered again."""

    stage: Stage
    agent_id: str
    position: int
    told_position: int
    doers: list[Doer] = field(default_factory=list)
    at: float
    token: int = 0
    taken: list[Taken] = field(default_factory=list)
    award_policy: AwardPolicy = AwardPolicy.WEIGHTED_SCORE
    estimated_duration: float | None = None
