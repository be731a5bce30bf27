"""An agent: it registers with its skills, is heard from or lost, and leaves."""

from collections.abc import Sequence
from enum import Enum
from typing import Annotated, get_args

from msgspec import Meta, Struct
from msgspec.structs import replace

from aggregates.values.ids import AgentId, KeyId
from aggregates.values.numbers import Count, Instant, NonNegative, Positive
from aggregates.values.skills import Skills
from aggregates.values.text import Label, Name, Note
from runtime.errors import Refused
from runtime.records import Command, Event, House, State

RULES = 1

Slots = Annotated[int, Meta(ge=1, le=64)]


class AgentType(str, Enum):
    """The eight kinds of agents; the kind says what an agent is for, its skills say what it can do."""

    DECISION_ENGINE = "decision_engine"
    QA_AUTOMATION = "qa_automation"
    TRANSFORMATION = "transformation"
    BUG_FIXING = "bug_fixing"
    MONITORING = "monitoring"
    OPERATIONS = "operations"
    SECURITY = "security"
    PERFORMANCE = "performance"


class Stage(str, Enum):
    """Where an agent stands."""

    UNKNOWN = "unknown"
    ACTIVE = "active"
    DRAINING = "draining"
    LOST = "lost"
    DEREGISTERED = "deregistered"


class Agent(State, frozen=True, kw_only=True):
    """What decisions about one agent need to know."""

    stage: Stage = Stage.UNKNOWN
    generation: int = 0
    key_id: str = ""
    lease_seconds: float = 0.0
    name: str = ""
    agent_type: AgentType = AgentType.OPERATIONS
    capabilities: tuple[str, ...] = ()
    specializations: tuple[str, ...] = ()
    max_capacity: float = 0.0
    slots: int = 1
    price: float = 0.0
    description: str = ""


initial = Agent()


class AgentAccepted(Struct, frozen=True, kw_only=True):
    """The agent stands as asked; `key_id` names the key that is its own."""

    agent_id: AgentId
    generation: int
    key_id: str


class LeaseLeft(Struct, frozen=True, kw_only=True):
    """One task that the agent holds, and how long it may stay silent before it loses it."""

    task_id: str
    token: int
    seconds_left: float


class HeartbeatAck(Struct, frozen=True, kw_only=True):
    """Heard: be heard again within `lease_seconds`."""

    lease_seconds: float
    leases: tuple[LeaseLeft, ...] = ()


class RegisterAgent(Command[AgentAccepted], frozen=True, kw_only=True):
    """An agent offers its services. Sent by whoever holds an enrolment, operator or admin key; and by the house for its own solver.

    The coordinator sets `lease_seconds`, and decides `IssueKey` for `key_id` in the same step.
    """

    agent_id: House[AgentId]
    key_id: House[KeyId]
    key_digest: House[bytes]
    lease_seconds: House[Positive] = 120.0
    name: Name
    agent_type: AgentType
    capabilities: Skills
    specializations: Skills = ()
    max_capacity: Positive = 100.0
    slots: Slots = 1
    price: NonNegative = 0.0
    description: Note = ""


class UpdateAgent(Command[AgentAccepted], frozen=True, kw_only=True):
    """Changes what is given and leaves the rest. Sent by the agent itself, an operator or an admin."""

    agent_id: House[AgentId]
    name: Name | None = None
    capabilities: Skills | None = None
    specializations: Skills | None = None
    max_capacity: Positive | None = None
    slots: Slots | None = None
    price: NonNegative | None = None
    description: Note | None = None


class DrainAgent(Command[AgentAccepted], frozen=True, kw_only=True):
    """No new tasks for this agent; it finishes those it holds. Sent by the agent itself, an operator or an admin."""

    agent_id: House[AgentId]
    reason: Note = ""


class DeregisterAgent(Command[AgentAccepted], frozen=True, kw_only=True):
    """The agent leaves; its tasks are offered again, its key is revoked. Sent by the agent itself, an operator or an admin."""

    agent_id: House[AgentId]
    reason: Note = ""


class LoseAgent(Command[None], frozen=True, kw_only=True):
    """The agent was not heard from for a full lease term. Sent by the coordinator alone, which brings when it was last heard."""

    agent_id: House[AgentId]
    last_heard_at: House[Instant]


class ReturnAgent(Command[AgentAccepted], frozen=True, kw_only=True):
    """A lost agent is heard from again. Sent by the coordinator alone, when a heartbeat of a lost agent arrives."""

    agent_id: House[AgentId]


class Heartbeat(Command[HeartbeatAck], frozen=True, kw_only=True):
    """The agent is there. Sent by the agent itself. Answered by the coordinator; records nothing unless the agent was lost."""

    agent_id: House[AgentId]


class AgentRegistered(Event, frozen=True, kw_only=True):
    agent_id: AgentId
    key_id: str
    name: str
    agent_type: AgentType
    capabilities: tuple[str, ...]
    specializations: tuple[str, ...]
    max_capacity: float
    slots: int
    price: float
    description: str
    generation: int
    lease_seconds: float


class AgentUpdated(Event, frozen=True, kw_only=True):
    """All values as they are now, changed or not."""

    agent_id: AgentId
    name: str
    capabilities: tuple[str, ...]
    specializations: tuple[str, ...]
    max_capacity: float
    slots: int
    price: float
    description: str


class AgentDraining(Event, frozen=True, kw_only=True):
    agent_id: AgentId
    reason: str


class AgentDeregistered(Event, frozen=True, kw_only=True):
    agent_id: AgentId
    reason: str


class AgentLost(Event, frozen=True, kw_only=True):
    agent_id: AgentId
    last_heard_at: float


class AgentReturned(Event, frozen=True, kw_only=True):
    agent_id: AgentId
    generation: int


AgentCommand = RegisterAgent | UpdateAgent | DrainAgent | DeregisterAgent | LoseAgent | ReturnAgent
AgentEvent = AgentRegistered | AgentUpdated | AgentDraining | AgentDeregistered | AgentLost | AgentReturned
COMMANDS = get_args(AgentCommand)
EVENTS = get_args(AgentEvent)


def stream(tenant: str, agent_id: str) -> str:
    """The stream of an agent; agents may choose their ids, so that two tenants may choose the same."""
    return f"agent-{tenant}:{agent_id}"


def decide(agent: Agent, command: AgentCommand) -> Sequence[AgentEvent]:
    match agent.stage, command:
        case (Stage.UNKNOWN | Stage.LOST | Stage.DEREGISTERED), RegisterAgent():
            return [_registered(agent, command)]
        case _, RegisterAgent() if _registered(replace(agent, generation=agent.generation - 1), command) == _now(agent, command):
            return []
        case stage, RegisterAgent():
            raise Refused("agent_exists", f"{command.agent_id} is {stage.value}; update it, or deregister it first")
        case Stage.UNKNOWN, _:
            raise Refused("agent_unknown", command.agent_id, status=404)
        case Stage.DEREGISTERED, DeregisterAgent():
            return []
        case Stage.DEREGISTERED, _:
            raise Refused("agent_is_deregistered", command.agent_id)
        case _, UpdateAgent():
            updated = _updated(agent, command)
            return [] if evolve(agent, updated) == agent else [updated]
        case Stage.DRAINING, DrainAgent():
            return []
        case Stage.ACTIVE, DrainAgent():
            return [AgentDraining(agent_id=command.agent_id, reason=command.reason)]
        case _, DrainAgent():
            raise Refused("agent_is_lost", command.agent_id)
        case _, DeregisterAgent():
            return [AgentDeregistered(agent_id=command.agent_id, reason=command.reason)]
        case Stage.LOST, LoseAgent():
            return []
        case _, LoseAgent():
            if command.last_heard_at + agent.lease_seconds > command.at:
                raise Refused("agent_was_heard", f"{command.agent_id} was heard within its {agent.lease_seconds} s")
            return [AgentLost(agent_id=command.agent_id, last_heard_at=command.last_heard_at)]
        case Stage.LOST, ReturnAgent():
            return [AgentReturned(agent_id=command.agent_id, generation=agent.generation + 1)]
        case _, ReturnAgent():
            return []
    raise AssertionError(f"no row for {command}")
