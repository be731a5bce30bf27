"""The words in which tasks are spoken of: stages, bounds, facts that the house reads, and what is answered."""

from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Meta, Struct

from aggregates.values.agent_types import AgentType
from aggregates.values.ids import AgentId, TaskId
from aggregates.values.ranking import BidderFacts, Offered
from aggregates.values.skill_terms import SkillOffer
from aggregates.values.task_types import TaskType as TaskType

VOIDS_MAX = 50
"""How many books in a row may find no winner before the task is given up."""

VOID_SECONDS_MIN = 1800.0
"""How long they must have found none: a crowd of agents that come and go can void fifty books in a second."""

BIDDING_SECONDS = 2.0
"""How long a book is open where the submission does not say."""

BUDGET_GRACE_SECONDS = 5.0
"""How long over its budget an attempt may run before it fails."""

INPUT_SECONDS_MAX = 86400.0 * 7
"""How long an attempt may wait for answers altogether before the clock of its budget goes on."""

QUESTIONS_MAX = 20
"""How many questions may be asked about a task."""

PROGRESS_MAX = 1000
"""How often may be told how far an attempt is."""

DECLINED_MAX = 256
"""How many people may say of a task that they will not take it."""

RELEASES_MAX = 20
"""How often a task may be given back by people without an attempt being counted: nobody takes and gives back for ever."""

HOLD_OVER = "hold_over"
"""Why a task was taken back from a person who kept it too long without a word."""

SECONDS_MAX = 86400.0 * 7
Seconds = Annotated[float, Meta(gt=0, le=SECONDS_MAX)]
Grace = Annotated[float, Meta(ge=0, le=SECONDS_MAX)]
BIDDING_SECONDS_MAX = 60.0
BiddingSeconds = Annotated[float, Meta(ge=0.05, le=BIDDING_SECONDS_MAX)]
ATTEMPTS_MAX = 100
Attempts = Annotated[int, Meta(ge=1, le=ATTEMPTS_MAX)]
Links = Annotated[tuple[TaskId, ...], Meta(max_length=64)]
Round = Annotated[int, Meta(ge=0, le=2**31)]
"""A book's number within its task, from 1; 0 in a command stands for the book that is open now."""


SPECIALISTS = {
    TaskType.ANALYSIS: AgentType.DECISION_ENGINE,
    TaskType.TESTING: AgentType.QA_AUTOMATION,
    TaskType.TRANSFORMATION: AgentType.TRANSFORMATION,
    TaskType.BUG_FIX: AgentType.BUG_FIXING,
    TaskType.MONITORING: AgentType.MONITORING,
    TaskType.DEPLOYMENT: AgentType.OPERATIONS,
    TaskType.SECURITY_SCAN: AgentType.SECURITY,
    TaskType.OPTIMIZATION: AgentType.PERFORMANCE,
    TaskType.VERIFICATION: AgentType.QA_AUTOMATION,
}
"""Agents of which type are specialists of a kind of work without saying so; whoever has the skills may bid."""


def over_at(awarded_at: float, budget_seconds: float, input_seconds: float, *, is_waiting: bool) -> float:
    """When an attempt is over its budget: later by what it has waited for input, or may wait at most while a question is open."""
    waited = INPUT_SECONDS_MAX if is_waiting else min(input_seconds, INPUT_SECONDS_MAX)
    return awarded_at + budget_seconds + BUDGET_GRACE_SECONDS + waited


def hold_until(held_since: float, hold_seconds: float, *, is_waiting: bool) -> float:
    """Until when a person keeps a task without a word: later by what may be waited for an answer, while a question is open."""
    return held_since + hold_seconds + (INPUT_SECONDS_MAX if is_waiting else 0.0)


def held_after_answer(held_since: float, asked_at: float, waited_seconds: float) -> float:
    """From when on the hold counts once a question is answered: what was waited for it is no part of it."""
    return held_since + max(0.0, min(waited_seconds, asked_at + waited_seconds - held_since))


class Stage(StrEnum):
    """Where a task stands."""

    UNKNOWN = "unknown"
    SUBMITTED = "submitted"
    BLOCKED = "blocked"
    BIDDING = "bidding"
    AWARDED = "awarded"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    DEAD_LETTERED = "dead_lettered"
    DRY_RUN_ENDED = "dry_run_ended"
    """It was only to be seen who would have won."""


OVER_BUDGET = "over_budget"
"""Why an attempt failed that the house has ended."""

TAKEN_MAX = 100
"""Of how many leases that were taken is known whose they were: the last ones."""

HELD = (Stage.AWARDED, Stage.RUNNING)
"""An agent holds the task's lease."""
ENDED = (Stage.COMPLETED, Stage.FAILED, Stage.CANCELLED, Stage.EXPIRED, Stage.DEAD_LETTERED, Stage.DRY_RUN_ENDED)
"""Nothing follows any more."""


class DependencyPolicy(StrEnum):
    """What becomes of a task when one that it depends on ends without a result: it fails, is cancelled, or runs without that input."""

    FAIL = "fail"
    SKIP = "skip"
    RUN = "run"


VoidReason = Literal["no_bids", "all_refused", "none_fit", "outbid"]
"""Nobody has bid; all would not; no bid could win; or, in a batch, whoever could win it is worth more elsewhere."""
StallReason = Literal[
    "skills_missing",
    "all_excluded",
    "capacity_missing",
    "skills_unfit",
    "region_missing",
    "off_hours",
    "assignee_missing",
]
"""Nobody has the skills, or none in such a version or with such attributes, or none in the regions; or all who have them did what the task
must be independent of; or none of them could ever hold as many units; or all who could do it are off duty; or the one that it is
meant for is not there."""


class TaskAccepted(Struct, frozen=True, kw_only=True):
    """The task stands as asked."""

    task_id: TaskId


class TaskFault(Struct, frozen=True, kw_only=True):
    """What is wrong with one of many tasks, by its place among them; `pointer` leads on from there."""

    number: int
    pointer: str
    code: str
    detail: str


class TasksAnswered(Struct, frozen=True, kw_only=True):
    """All tasks stand as asked; or there are `faults`, and none does."""

    task_ids: tuple[TaskId, ...] = ()
    faults: tuple[TaskFault, ...] = ()


class BidAccepted(Struct, frozen=True, kw_only=True):
    """The answer to the call is in the book of this round."""

    task_id: TaskId
    agent_id: AgentId
    round: int


class LeaseStanding(Struct, frozen=True, kw_only=True):
    """How a token stands: good is the newest one, while its task is held. `seconds_left` is how long its holder may stay silent now,
    `position` the last event that changed the task."""

    task_id: TaskId
    token: int
    is_good: bool = False
    newest_token: int
    agent_id: str = ""
    stage: Stage
    seconds_left: float = 0.0
    position: int


class DependencyFact(Struct, frozen=True, kw_only=True):
    """Where another task stood at `position` of the log; `unknown` when there is none, or it ended too long ago to be at hand."""

    task_id: TaskId
    stage: Stage
    position: int


class SchemaFact(Struct, frozen=True, kw_only=True):
    """The version of the task type's schemas that was in force; it was set at `position` of the log."""

    version: int
    position: int


class Candidate(Struct, frozen=True, kw_only=True):
    """An active agent that may be offered a task, as it stood at `position` of the log."""

    agent_id: AgentId
    capabilities: tuple[str, ...]
    slots: int
    running: int
    max_capacity: float | None = None
    """None in records from before units were counted."""
    used: float = 0.0
    skills: tuple[SkillOffer, ...] = ()
    """What shows that it has the skills that the task needs in a version or with attributes."""
    region: str = ""
    """Told where the task asks for some."""
    position: int


class Contender(Struct, frozen=True, kw_only=True):
    """Who holds a task, or might: as an agent would be that holds all that it holds but for this task."""

    facts: BidderFacts
    offered: Offered
    is_active: bool = True
    """Suspects and those that leave hold what they have, and are worth nothing for more."""
    promised: tuple[float, ...] = ()
    """When it has promised to be done with what else it holds, the soonest first."""


class Duty(Struct, frozen=True, kw_only=True):
    """An agent with working hours: its interval on duty that holds the moment, or else the next one. Who is not named is always on duty."""

    agent_id: AgentId
    since: float
    until: float


class Doer(Struct, frozen=True, kw_only=True):
    """Who completed another task; read at `position` of the log."""

    task_id: TaskId
    agent_id: AgentId
    position: int
