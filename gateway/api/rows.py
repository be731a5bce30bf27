"""The rows of the read models, as the API document tells of them. A route gives them out as the read models have them.

Times are seconds since the epoch. `first_position` and `last_position` are the positions of the events that made the row
and that changed it last; what has not happened yet is null.
"""

from typing import Literal

import msgspec

from aggregates import agent, key, session, solve_job, task, user, webhook
from aggregates.values.concurrency import Concurrency
from aggregates.values.document import Document
from aggregates.values.no_bids import NoBidPolicy
from aggregates.values.qubo import Format, Sense
from aggregates.values.ranking import AwardPolicy, Ranked
from aggregates.values.retrying import RetryPolicy
from aggregates.values.roles import Permission, Role
from aggregates.values.skill_terms import SkillNeed, SkillOffer
from aggregates.values.solving import Backend, Baseline, BaselineRun, Counts, Measures, Point, WarmStart
from aggregates.values.working_hours import WorkingHours
from projections import agent_timeline, task_types


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What all rows have."""

    tenant_id: str
    first_position: int
    last_position: int


class Agent(Row, frozen=True, kw_only=True):
    """An agent: what it offers, where it stands, how many tasks it holds (`running`) and what they take of `max_capacity`
    (`used_capacity`), and what came of its work."""

    agent_id: str
    name: str
    agent_type: agent.AgentType
    status: agent.Stage
    capabilities: list[str]
    specializations: list[str]
    skills: list[SkillOffer]
    region: str
    prices: dict[str, float]
    working_hours: WorkingHours
    max_capacity: float
    slots: int
    price: float
    description: str
    data_subject: str
    user_id: str | None
    key_id: str
    lease_seconds: float
    generation: int
    reason: str
    bids: int
    won: int
    completed: int
    failed: int
    leases_lost: int
    late_reports: int
    registered_at: float
    last_event_at: float
    last_heard_at: float
    running: int
    used_capacity: float


class AgentMoment(Row, frozen=True, kw_only=True):
    """What happened to an agent at a position. Where it was suspected or lost, it had been silent for `silent_seconds` since
    `last_heard_at`; a lease that was taken tells its task and token."""

    agent_id: str
    position: int
    what: agent_timeline.What
    at: float
    reason: str
    last_heard_at: float | None
    silent_seconds: float | None
    lease_seconds: float | None
    generation: int | None
    task_id: str | None
    token: int | None
    data_subject: str


class Bid(Row, frozen=True, kw_only=True):
    """An agent's last answer in a round, and what became of it; `terms` are what makes the score, `rank` counts from 1. Of a sealed bid
    there is its `commitment` alone until the book has closed."""

    task_id: str
    round: int
    agent_id: str
    state: Literal["placed", "sealed", "opened", "withdrawn", "refused", "won", "lost"]
    price: float | None
    eta_seconds: float | None
    confidence: float | None
    capacity_offer: float | None
    expires_at: float | None
    conditions: str | None
    placed_at: float | None
    commitment: str | None
    rank: int | None
    score: float | None
    terms: Ranked | None
    reason: str | None
    data_subject: str
    last_event_at: float


class TaskTypeSchemas(Row, frozen=True, kw_only=True):
    """A version of the JSON schemas that a task type's payloads and results have to fit; null: anything does. `ended_at` and `reason` tell
    when and why it was in force no longer."""

    task_type: task.TaskType
    version: int
    status: task_types.Status
    payload: Document | None
    result: Document | None
    set_by: str
    set_at: float
    ended_at: float | None
    reason: str


class Task(Row, frozen=True, kw_only=True):
    """A task without its long fields. `schema_version` is that of the schemas of its type by which it goes, 0 where it goes by none.
    `question` is the last that its holder has asked, `waits_for_input_since` is there while it has no `answer`.
    `agent_id` and `token` tell who holds it, or held it when it ended; `waiting` counts the
    dependencies that are not complete, the place in line counts from `waits_since`; `units` is how much of an agent's capacity it takes."""

    task_id: str
    task_type: task.TaskType
    stage: task.Stage
    description: str
    capabilities: list[str]
    units: float
    skills: list[SkillNeed]
    regions: list[str]
    award_policy: AwardPolicy
    queue: str
    concurrency: Concurrency | None
    price_max: float | None
    assign_to: str | None
    surcharge: int
    dry_run: int
    priority: int
    dependencies: list[str]
    independent_of: list[str]
    dependency_policy: task.DependencyPolicy
    unmet: list[str]
    waiting: int
    budget_seconds: float
    bidding_seconds: float
    deadline: float | None
    not_before: float | None
    estimated_duration: float | None
    schema_version: int
    attempts_max: int
    retry: RetryPolicy
    no_bids: NoBidPolicy
    widening: int
    submitted_by: str
    data_subject: str
    attempt: int
    round: int
    eligible: list[str] | None
    closes_at: float | None
    agent_id: str | None
    token: int | None
    lease_seconds: float | None
    canceling_until: float | None
    canceling_reason: str | None
    price: float | None
    price_asked: float | None
    charged: float | None
    eta_seconds: float | None
    award_reason: str | None
    assigned_by: str | None
    would_win: str | None
    reason: str | None
    seconds: float | None
    submitted_at: float
    waits_since: float
    unblocked_at: float | None
    opened_at: float | None
    reveal_opened_at: float | None
    awarded_at: float | None
    started_at: float | None
    ended_at: float | None
    late_reports: int
    questions: int
    question: str | None
    answer: str | None
    waits_for_input_since: float | None
    progress: float | None
    progress_note: str | None
    progressed_at: float | None
    last_event_at: float


class WholeTask(Task, frozen=True, kw_only=True):
    """A task with all that is known of it, and its newest bids; `ranking` says why the holder won."""

    requirements: Document
    payload: Document
    blobs: dict[str, str]
    ranking: list[Ranked] | None
    result: Document | None
    bids: list[Bid]


class Problem(Row, frozen=True, kw_only=True):
    """A file of couplings that is known by a name."""

    problem_id: str
    name: str
    format: Format
    blob: str
    variables: int
    couplings: int
    sense: Sense
    best_known: float | None
    registered_at: float


class Solve(Row, frozen=True, kw_only=True):
    """A run of the node's solver. `seconds` is what was asked for, `seconds_taken` what it took; `value` is the best so far, in
    the file's own terms; `problem` the problem's name. `strategy` is what was asked for (null: what suits the problem), `algorithm`
    what ran, on as many islands as there are `works`, with the `features` measured and the `parameters` that it set itself; `counts`
    is what all islands together did.
    `degraded` says why it did not run where it was asked to (`asked_backend`, `asked_strategy`). `gap` is how far the value is from the
    proved `bound`; `quantum_advantage` how many times as long the baseline took to the best value that both reached."""

    job_id: str
    problem_id: str
    problem: str
    blob: str
    format: Format
    sense: Sense
    variables: int
    seconds: float
    seed: int
    target: float | None
    work_max: int | None
    stagnation_work: int | None
    tolerance: float
    threads: int
    strategy: str | None
    backend: Backend
    asked_backend: Backend | None
    asked_strategy: str | None
    degraded: str | None
    warm_start: WarmStart | None
    baseline: Baseline | None
    task_id: str | None
    token: int | None
    stage: solve_job.Stage
    value: float | None
    work: int | None
    seconds_taken: float | None
    algorithm: str | None
    features: Measures | None
    parameters: Measures | None
    memory_bytes: int | None
    build: str | None
    island: int | None
    works: list[int] | None
    counts: Counts | None
    bound: float | None
    gap: float | None
    input_digest: str | None
    quantum_advantage: float | None
    reason: str | None
    queued_at: float
    started_at: float | None
    ended_at: float | None
    last_event_at: float


class WholeSolve(Solve, frozen=True, kw_only=True):
    """A run with its result: `assignment` is the packed bits of the variables in base64, `trace` the best value of the island that
    found it over work and time: at most 128 points, the first and the last among them. `baseline_run` is how the baseline went."""

    assignment: str | None
    trace: list[Point] | None
    baseline_run: BaselineRun | None


class Key(Row, frozen=True, kw_only=True):
    """A key, without its token."""

    key_id: str
    role: Role
    status: key.Stage
    agent_id: str | None
    label: str
    data_subject: str
    reason: str | None
    expires_at: float | None
    issued_at: float
    revoked_at: float | None
    scopes: list[Permission]
    successor_id: str | None


class User(Row, frozen=True, kw_only=True):
    """A person who may sign in; `issuer` is the identity provider that vouches for them, where one does."""

    user_id: str
    username: str
    email: str
    name: str
    role: Role
    status: user.Stage
    issuer: str | None
    data_subject: str
    reason: str | None
    registered_at: float
    password_set_at: float | None
    last_event_at: float


class Session(Row, frozen=True, kw_only=True):
    """A browser's session, of a user or a key; `ends_at` is when its time is up, `ended_at` when it was ended before that."""

    session_id: str
    way: session.Way
    user_id: str | None
    key_id: str | None
    reason: str | None
    opened_at: float
    ends_at: float
    ended_at: float | None


class Webhook(Row, frozen=True, kw_only=True):
    """A webhook, without its secret. `position`, `delivered` and `failed` (attempts) stand as they were recorded last; `error` and
    `failing_since` are there while attempts fail, `reason` where it was paused or deleted."""

    webhook_id: str
    url: str
    kinds: list[str]
    stream: str
    principal: str
    status: webhook.Stage
    reason: str | None
    position: int
    delivered: int
    failed: int
    error: str | None
    failing_since: float | None
    generation: int
    overlap_until: float | None
    created_at: float
    delivered_at: float | None
    deleted_at: float | None
