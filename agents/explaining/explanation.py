"""What an explanation says, and the facts that it is made of."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from msgspec import Struct, field

from agents.coordinating.terms import AGING, Aging
from agents.explaining.story import Outcome
from aggregates.agent import Agent
from aggregates.agent import Stage as AgentStage
from aggregates.coordination import Obstacles
from aggregates.task import Stage
from aggregates.values.batches import BatchShare
from aggregates.values.ranking import AwardPolicy, Bid
from aggregates.values.skill_terms import SkillOffer
from aggregates.values.working_hours import ALWAYS, WorkingHours


class WaitReason(StrEnum):
    """What a task can wait for."""

    DEPENDENCY = "dependency"
    NOT_YET = "not_yet"
    RETRY_DELAY = "retry_delay"
    STOPPED = "stopped"
    QUEUE_PAUSED = "queue_paused"
    PAUSE = "pause"
    CONCURRENCY_FULL = "concurrency_full"
    NODE_FULL = "node_full"
    TENANT_FULL = "tenant_full"
    ASSIGNEE_MISSING = "assignee_missing"
    SKILLS_MISSING = "skills_missing"
    SKILLS_UNFIT = "skills_unfit"
    REGION_MISSING = "region_missing"
    OFF_HOURS = "off_hours"
    ALL_EXCLUDED = "all_excluded"
    CAPACITY_MISSING = "capacity_missing"
    ALL_BUSY = "all_busy"
    TAKER = "taker"
    """Only people could do it, who take it when they like."""
    IN_LINE = "in_line"
    BOOK_OPEN = "book_open"
    CANCEL = "cancel"
    START = "start"
    RESULT = "result"
    INPUT = "input"


class VerdictReason(StrEnum):
    """Why an agent does not have a task, in the order in which it is asked; or that it has `won`, or that `nothing` speaks against it."""

    NOT_REGISTERED = "not_registered"
    DEREGISTERED = "deregistered"
    LOST = "lost"
    DRAINING = "draining"
    MEANT_FOR_ANOTHER = "meant_for_another"
    SKILL_MISSING = "skill_missing"
    SKILL_UNFIT = "skill_unfit"
    REGION_ELSEWHERE = "region_elsewhere"
    OFF_HOURS = "off_hours"
    EXCLUDED = "excluded"
    DECLINED = "declined"
    CAPACITY_SMALL = "capacity_small"
    SLOTS_FULL = "slots_full"
    CAPACITY_FULL = "capacity_full"
    NOT_CALLED = "not_called"
    OTHERS_LESS_LOADED = "others_less_loaded"
    AWAITED = "awaited"
    NO_BID = "no_bid"
    BID_PLACED = "bid_placed"
    BID_SEALED = "bid_sealed"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    AGENT_GONE = "agent_gone"
    BID_EXPIRED = "bid_expired"
    ETA_OVER_BUDGET = "eta_over_budget"
    PRICE_OVER_BUDGET = "price_over_budget"
    NOT_REVEALED = "not_revealed"
    COMMITMENT_MISMATCH = "commitment_mismatch"
    OUTSCORED = "outscored"
    OUTRANKED = "outranked"
    WORTH_MORE_ELSEWHERE = "worth_more_elsewhere"
    BOOK_ENDED = "book_ended"
    GIVEN_TO_ANOTHER = "given_to_another"
    WON = "won"
    GIVEN = "given"
    NOTHING = "nothing"


# ---- facts


class AgentFacts(Struct, kw_only=True):
    """An agent as it stands; `since` is the time of the last event of its own stream."""

    agent_id: str
    name: str
    stage: AgentStage
    capabilities: tuple[str, ...]
    slots: int
    running: int
    since: float
    position: int
    max_capacity: float | None = None
    used: float = 0.0
    skills: tuple[SkillOffer, ...] = ()
    region: str = ""
    working_hours: WorkingHours = ALWAYS
    is_person: bool = False
    """Whom nobody calls: they take what waits."""


class DependencyFacts(Struct, kw_only=True):
    """Another task: where it stands, since when, and who does it or did it."""

    task_id: str
    stage: Stage
    since: float
    agent_id: str


class HeldTask(Struct, frozen=True, kw_only=True):
    """A task that an agent holds, since its award."""

    agent_id: str
    task_id: str
    since: float


class Facts(Struct, kw_only=True):
    """All that an explanation looks at beside the task's own records.

    `agents` are those that it is to speak of, `then` how they were when the last book was opened (None: not registered; absent: unknown),
    `able` those who have all the skills, whatever else speaks against them; `skills_offered` are the needed skills that some active agent
    has; `assignee` is the agent that the task is meant for, where it is meant for one. `ahead` counts the waiting tasks that come first,
    `ahead_alike` those of them with the same skills; `open_books` counts those that may take the free slots before it does. `stopped_at`
    is since when no work of the tenant is given out, for that reason; 0 while it is. So is `queue_paused_at` of the task's queue alone.
    `obstacles` are those of now.
    """

    at: float
    dependencies: Mapping[str, DependencyFacts] = field(default_factory=dict)
    agents: Sequence[AgentFacts] = ()
    then: Mapping[str, Agent | None] = field(default_factory=dict)
    able: Sequence[AgentFacts] = ()
    assignee: AgentFacts | None = None
    skills_offered: frozenset[str] = frozenset()
    held: Sequence[HeldTask] = ()
    ahead: int = 0
    ahead_alike: int = 0
    open_books: int = 0
    stopped_at: float = 0.0
    stop_reason: str = ""
    obstacles: Obstacles = Obstacles()
    queue_paused_at: float = 0.0
    queue_paused_by: str = ""
    queue_pause_reason: str = ""
    aging: Aging = AGING


# ---- what is said


class Wait(Struct, frozen=True, kw_only=True):
    """One thing that the task waits for, since when, and until when at the latest where that is known. What it names depends on the
    reason: a task with its stage, agents, skills."""

    reason: WaitReason
    detail: str
    since: float
    until: float | None = None
    task_id: str = ""
    stage: Stage | None = None
    agents: tuple[str, ...] = ()
    skills: tuple[str, ...] = ()
    held: tuple[HeldTask, ...] = ()


class PlaceInLine(Struct, frozen=True, kw_only=True):
    """Where a task that waits stands among the others: its priority, what it has gained by waiting, and how many come first, all and
    those that need the same skills."""

    priority: int
    waited_seconds: float
    gained: float
    effective_priority: float
    ahead: int
    ahead_alike: int


class ScoreTerm(Struct, frozen=True, kw_only=True):
    """A part of a score: `points` is its value, from 0 to 1, times its weight."""

    name: str
    value: float
    weight: float
    points: float


class Shortfall(Struct, frozen=True, kw_only=True):
    """A term in which a loser was behind the winner (or ahead of it, below 0), and by how many points."""

    name: str
    points: float


class Behind(Struct, frozen=True, kw_only=True):
    """By whom a bid was outscored and by how much, the largest difference first; equal scores are told apart by `tie_break`."""

    agent_id: str
    points: float
    terms: tuple[Shortfall, ...]
    tie_break: str = ""


class RankedBid(Struct, frozen=True, kw_only=True):
    """A bid's place in a ranking as it was recorded; `sum` is computed anew from the terms. Where it `lost` by a fault, it has no score."""

    rank: int
    agent_id: str
    score: float
    sum: float
    terms: tuple[ScoreTerm, ...]
    lost: str
    bid: Bid | None


class BookTold(Struct, frozen=True, kw_only=True):
    """The last call for proposals: how it ended and why, how many were called and have answered, and the ranking of the bids. It was the
    `widening`th that called more than the one before, and for longer; `batch` is the one that it was settled in, with what a slot of each
    agent was worth to all tasks in there."""

    round: int
    position: int
    opened_at: float
    closes_at: float
    ended_at: float | None
    outcome: Outcome
    reason: str
    called: int
    answered: int
    widening: int
    ranking: tuple[RankedBid, ...]
    batch: BatchShare | None = None


class AttemptTold(Struct, frozen=True, kw_only=True):
    """The last award, and how it went: `over_reason` says why its holder lost it. It is paid `price`, and asked `price_asked`."""

    agent_id: str
    attempt: int
    attempts_max: int
    awarded_at: float
    started_at: float | None
    price: float
    price_asked: float
    eta_seconds: float
    reason: str
    over_at: float | None
    over_reason: str


class Verdict(Struct, frozen=True, kw_only=True):
    """The first reason why an agent was not called or did not win, in the book of that `round`, or as things stand where that is 0."""

    agent_id: str
    name: str
    reason: VerdictReason
    detail: str
    round: int
    skills: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    behind: Behind | None = None


class Explanation(Struct, frozen=True, kw_only=True):
    """Why a task is where it is, as of the position that the answer names; `at` is the moment from which ages are counted.

    `summary` says it in a sentence. A task that has not ended tells what it `waits_for`, and its place in the `line` while it could be
    offered; payload and result go by that version of the schemas of its type (0: by none); `agents` is a page of all of the tenant, the
    last registered first.
    """

    task_id: str
    stage: Stage
    since: float
    at: float
    summary: str
    waits_for: tuple[Wait, ...]
    line: PlaceInLine | None
    award_policy: AwardPolicy
    schema_version: int
    book: BookTold | None
    attempt: AttemptTold | None
    ended_reason: str
    agents: tuple[Verdict, ...]
    next: int | None
