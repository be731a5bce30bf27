"""Whether the work of a tenant is given out: an operator stops that, and lets it go on. What is held then is finished meanwhile.

Books that are settled together are settled here: see `aggregates.values.batches`.
"""

from collections.abc import Sequence
from typing import get_args

from msgspec import Struct
from msgspec.structs import replace

from aggregates.concurrency import KeyStands
from aggregates.values.agent_types import AgentType
from aggregates.values.batches import BatchBook, BatchPair, SlotPrice, places_of, prove, worth_of
from aggregates.values.ids import TaskId
from aggregates.values.numbers import Instant
from aggregates.values.ranking import BidderFacts
from aggregates.values.skill_terms import SkillNeed, SkillOffer
from aggregates.values.text import Note
from aggregates.values.weights import Weights
from runtime.errors import Refused
from runtime.records import Command, Event, House, State

RULES = 1

PROPOSAL_SECONDS_MAX = 60.0
"""How long a proposal is good for: what it waits for is the step that decides it."""


class Coordination(State, frozen=True, kw_only=True):
    """What decisions about a tenant's coordination need to know."""

    is_stopped: bool = False
    batches: int = 0
    """How many batches of books were settled; the last one has that number."""


initial = Coordination()


class CoordinationStands(Struct, frozen=True, kw_only=True):
    """Whether work is given out, since when (0: it always was), and why not."""

    running: bool
    since: float = 0.0
    reason: str = ""


class Scores(Struct, frozen=True, kw_only=True):
    """What `agents` of the active agents are worth before they bid, from 0 to the agent's share of a score."""

    agents: int
    least: float
    median: float
    most: float


class CoordinationFigures(Struct, frozen=True, kw_only=True):
    """How many agents are there by where they stand, how many open tasks, and how many have ended by their end since the journal began.

    Of open tasks, `waiting` are the queue: they wait for an agent alone. `completion_rate` is the completed among the ended; None while
    none has ended. `scores` are of at most a thousand agents; None while none is active.
    """

    agents: dict[str, int]
    tasks: dict[str, int]
    ended: dict[str, int]
    completion_rate: float | None
    scores: Scores | None


class WaitingTask(Struct, frozen=True, kw_only=True):
    """A task that waits for a book, as it stood at `position`. `urgency` is its priority with what it gained by waiting, `units`
    what it takes of an agent's capacity."""

    task_id: str
    needs: tuple[str, ...]
    topics: tuple[str, ...]
    excluded: tuple[str, ...]
    urgency: float
    position: int
    units: float = 0.0
    skills: tuple[SkillNeed, ...] = ()
    regions: tuple[str, ...] = ()
    specialist_type: AgentType | None = None
    only: str = ""
    """Who alone may be given it; empty: anybody."""


class ActiveAgent(Struct, frozen=True, kw_only=True):
    """An active agent with what its score is made of."""

    facts: BidderFacts
    capabilities: tuple[str, ...]
    skills: tuple[SkillOffer, ...] = ()
    region: str = ""


class OpenWork(Struct, frozen=True, kw_only=True):
    """What waits `at` a time, the most urgent first, and who could do it; and how many of both there are beside these."""

    at: float
    tasks: tuple[WaitingTask, ...]
    agents: tuple[ActiveAgent, ...]
    tasks_left_out: int
    agents_left_out: int
    weights: Weights | None = None


class PlacesStand(Struct, frozen=True, kw_only=True):
    """How many tasks are called for or held on the node, of all tenants, and of this one; and how many may be at most (0: no bound)."""

    taken: int = 0
    places: int = 0
    mine: int = 0
    own: int = 0

    @property
    def node_is_full(self) -> bool:
        return 0 < self.places <= self.taken

    @property
    def tenant_is_full(self) -> bool:
        return 0 < self.own <= self.mine


class Obstacles(Struct, frozen=True, kw_only=True):
    """What keeps a task from being offered now, beside agents."""

    places: PlacesStand = PlacesStand()
    key: KeyStands | None = None


class StopCoordination(Command[CoordinationStands], frozen=True, kw_only=True):
    """Nobody is called any more: books that are open are still awarded, and who holds a task keeps it. Tasks are taken, and wait. Sent by
    an operator or admin."""

    reason: Note = ""


class StartCoordination(Command[CoordinationStands], frozen=True, kw_only=True):
    """Agents are called again for what waits. Sent by an operator or admin."""


class FindOpenWork(Command[OpenWork], frozen=True, kw_only=True):
    """What could be given to whom now. Answered by the coordinator; records nothing."""


class FindObstacles(Command[Obstacles], frozen=True, kw_only=True):
    """What stands between a task and a call for it now. Answered by the coordinator; records nothing."""

    task_id: House[TaskId]


class FindCoordination(Command[CoordinationStands], frozen=True, kw_only=True):
    """How it stands. Answered by the coordinator; records nothing."""


class FindFigures(Command[CoordinationFigures], frozen=True, kw_only=True):
    """The tenant's work in numbers. Answered by the coordinator; records nothing."""


class AssignBatch(Command[None], frozen=True, kw_only=True):
    """Settles books together: who gets what so that it is worth the most, and the prices that prove it. Sent by the coordinator alone.

    The books stand as the log has them, and so do the bidders; `agents` has the proposal, by task. What the bids are worth, whether the
    proposal is possible, and that nothing is worth more (but for `epsilon` a book) is computed here.
    """

    books: House[tuple[BatchBook, ...]]
    bidders: House[tuple[BidderFacts, ...]]
    aged_at: House[Instant]
    """When the proposal was made: urgencies and reputations are those of then."""
    aging_rate: House[float]
    """What a task's urgency gains in a second."""
    agents: House[dict[str, str]]
    prices: House[tuple[SlotPrice, ...]]
    epsilon: House[float]
    weights: House[Weights | None] = None


class BatchAssigned(Event, frozen=True, kw_only=True):
    """Books were settled together: each has its award, or is void, right after this, and refers to its `number`.

    The `pairs` are worth `value`, and no assignment of these books is worth more than `dual_bound`: slots times prices, and for each book
    the most that a bid is worth beyond a price. `left` are the books that got nobody, by task.
    """

    number: int
    pairs: tuple[BatchPair, ...]
    left: tuple[str, ...]
    prices: tuple[SlotPrice, ...]
    value: float
    dual_bound: float
    epsilon: float


class CoordinationStopped(Event, frozen=True, kw_only=True):
    reason: str


class CoordinationStarted(Event, frozen=True, kw_only=True):
    """Work is given out again."""


CoordinationCommand = StopCoordination | StartCoordination | AssignBatch
CoordinationEvent = CoordinationStopped | CoordinationStarted | BatchAssigned
COMMANDS = get_args(CoordinationCommand)
EVENTS = get_args(CoordinationEvent)


def stream(tenant: str) -> str:
    """The stream of a tenant's coordination."""
    return f"coordination-{tenant}"


def decide(state: Coordination, command: CoordinationCommand) -> Sequence[CoordinationEvent]:
    match command:
        case StopCoordination():
            return [] if state.is_stopped else [CoordinationStopped(reason=command.reason)]
        case StartCoordination():
            return [CoordinationStarted()] if state.is_stopped else []
        case AssignBatch():
            return [_assigned(state, command)]


def _assigned(state: Coordination, command: AssignBatch) -> BatchAssigned:
    if not command.at - PROPOSAL_SECONDS_MAX <= command.aged_at <= command.at:
        raise Refused("batch_stale", f"proposed {command.at - command.aged_at:.1f} s ago")
    worth = worth_of(
        command.books, command.bidders, at=command.aged_at, rate=command.aging_rate, weights=command.weights
    )
    places = places_of(worth, command.bidders)
    proof, fault = prove(worth, places, command.agents, command.prices, command.epsilon)
    if fault:
        raise Refused("batch_unproven", fault)
    pairs = [
        BatchPair(
            task_id=one.book.task_id,
            round=one.book.round,
            agent_id=name,
            score=one.scores[name],
            value=one.values[name],
        )
        for one in worth
        if (name := command.agents.get(one.book.task_id))
    ]
    return BatchAssigned(
        number=state.batches + 1,
        pairs=tuple(pairs),
        left=tuple(one.book.task_id for one in worth if one.book.task_id not in command.agents),
        prices=command.prices,
        value=proof.value,
        dual_bound=proof.dual_bound,
        epsilon=command.epsilon,
    )


def evolve(state: Coordination, event: CoordinationEvent) -> Coordination:
    match event:
        case CoordinationStopped():
            return replace(state, is_stopped=True)
        case CoordinationStarted():
            return replace(state, is_stopped=False)
        case BatchAssigned():
            return replace(state, batches=event.number)
