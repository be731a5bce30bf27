"""What an agent's websocket tells the agent, as the API document says it; the translator makes these frames out of records.

`position` is the record's that the frame is made of, and the cursor: whoever comes back with the last one misses nothing.
`traceparent`, in W3C's form, is there where the task was submitted in a trace.
"""

from typing import Any

import msgspec

from aggregates.agent import LeaseLeft
from aggregates.task import TaskType
from aggregates.values.document import Document
from aggregates.values.ids import Digest
from aggregates.values.ranking import AwardPolicy
from aggregates.values.skill_terms import SkillNeed
from gateway.api.problems import Fault
from gateway.feeds.frames import FrameId


class Welcome(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="welcome"):
    """The first frame: from where on the log is told, how often to be heard, and what the agent holds, of which the awards follow.

    `key` is the agent's own, told to who came with an enrolment key.
    """

    agent_id: str
    position: int
    lease_seconds: float
    heartbeat_seconds: float
    leases: list[LeaseLeft]
    key: str | msgspec.UnsetType = msgspec.UNSET


class Call(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="call"):
    """A call for proposals: answer by a bid or a refusal before it closes. `schemas` leads to what the payload fits and the result has to,
    where the task's type asks for something."""

    position: int
    task_id: str
    round: int
    attempt: int
    task_type: TaskType
    capabilities: list[str]
    skills: list[SkillNeed]
    priority: int
    budget_seconds: float
    units: float
    award_policy: AwardPolicy
    price_max: float | None
    dry_run: bool
    closes_at: float
    closes_in: float
    description: str
    payload: Document
    blobs: dict[str, Digest]
    schemas: str | msgspec.UnsetType = msgspec.UNSET
    traceparent: str | msgspec.UnsetType = msgspec.UNSET


class CallReveal(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="call_reveal"):
    """All commitments are in: open the sealed bid that the agent has committed to before this closes, or it is lost."""

    position: int
    task_id: str
    round: int
    closes_at: float
    closes_in: float


class Award(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="award"):
    """The task is the agent's: report with this token. `inputs` are the results of the tasks that it depends on, by their ids; those that
    have none are named in `inputs_missing`, what was too long for a frame in `inputs_left_out`. `seconds_left` counts from when the agent
    was heard last. Told again after a welcome, it has no position."""

    position: int | msgspec.UnsetType = msgspec.UNSET
    task_id: str
    token: int
    attempt: int
    lease_seconds: float
    seconds_left: float
    budget_seconds: float
    task_type: TaskType
    description: str
    payload: Document
    blobs: dict[str, Digest]
    inputs: dict[str, Any]
    inputs_missing: list[str] | msgspec.UnsetType = msgspec.UNSET
    inputs_left_out: list[str] | msgspec.UnsetType = msgspec.UNSET
    schemas: str | msgspec.UnsetType = msgspec.UNSET
    traceparent: str | msgspec.UnsetType = msgspec.UNSET


class Lost(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="lost"):
    """The agent's bid did not win; `winner` is empty where nobody's did."""

    position: int
    task_id: str
    winner: str
    reason: str


class Cancel(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="cancel"):
    """Nobody needs the task any more. The agent may still complete it in the seconds that are left, or acknowledge by `fail`, which is not
    held against it; then it is revoked. Told again after a welcome, it has no position."""

    position: int | msgspec.UnsetType = msgspec.UNSET
    task_id: str
    token: int
    seconds_left: float
    reason: str


class Revoked(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="revoked"):
    """The task is the agent's no more: stop working on it."""

    position: int
    task_id: str
    token: int
    reason: str


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="answer"):
    """The agent's question about a task that it holds is answered: the clock of the budget goes on."""

    position: int
    task_id: str
    token: int
    number: int
    answer: str
    answered_by: str


class Ack(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="ack"):
    """A frame of the agent with this id was taken. The other members are those of the command's answer."""

    id: FrameId
    task_id: str | msgspec.UnsetType = msgspec.UNSET
    agent_id: str | msgspec.UnsetType = msgspec.UNSET
    round: int | msgspec.UnsetType = msgspec.UNSET
    lease_seconds: float | msgspec.UnsetType = msgspec.UNSET
    leases: list[LeaseLeft] | msgspec.UnsetType = msgspec.UNSET


class ProblemFrame(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="problem"):
    """A frame of the agent with this id was refused."""

    id: FrameId
    status: int
    code: str
    detail: str
    errors: list[Fault]


class Position(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="position"):
    """How far the log is told."""

    position: int


Told = Welcome | Call | CallReveal | Award | Lost | Cancel | Revoked | Answer | Ack | ProblemFrame | Position
