"""An agent: it registers with its skills, is heard from, suspected or lost, and leaves."""

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Annotated, get_args

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from aggregates.values.agent_types import AgentType as AgentType
from aggregates.values.capacity import UNITS_MAX
from aggregates.values.ids import AgentId, DataSubject
from aggregates.values.numbers import Instant, NonNegative, Positive, Share
from aggregates.values.price_list import Prices, unlisted_prices
from aggregates.values.reputation import Reputation
from aggregates.values.skill_terms import SkillOffer, SkillOffers, offers_in_order, unlisted
from aggregates.values.skills import Region, Skills
from aggregates.values.text import Name, Note
from aggregates.values.working_hours import ALWAYS, WorkingHours, hours_flaws
from runtime.errors import FieldFault, Refused
from runtime.records import Command, Event, House, Personal, State

RULES = 2

HOUSE_PREFIX = "house-"
PERSON_PREFIX = "person-"
"""Before the id of a user, the agent that this user is."""

LEASE_SECONDS_MIN, LEASE_SECONDS_MAX = 1.0, 3600.0
"""What an agent may ask for as its own lease where the operator does not say."""

MAX_CAPACITY = 100.0
"""How many units an agent holds at a time where neither it nor the operator says."""
CAPACITY_MAX = UNITS_MAX
"""How many it may say: as many as a task may take. Records from before there was a bound may say more."""

HOLD_SECONDS, HOLD_SECONDS_MIN, HOLD_SECONDS_MAX = 8 * 3600.0, 60.0, 7 * 86400.0
"""How long a person keeps a task without a word where neither they nor the operator say: a working day; and what they may ask for."""

Slots = Annotated[int, Meta(ge=1, le=64)]


class Stage(StrEnum):
    """Where an agent stands."""

    UNKNOWN = "unknown"
    ACTIVE = "active"
    DRAINING = "draining"
    SUSPECT = "suspect"
    LOST = "lost"
    DEREGISTERED = "deregistered"


class Agent(State, frozen=True, kw_only=True):
    """What decisions about one agent need to know."""

    stage: Stage = Stage.UNKNOWN
    stood: Stage = Stage.UNKNOWN
    """Where it stood before it was suspected, and stands again when it is heard."""
    last_heard_at: float = 0.0
    """When it had been heard last before it was suspected."""
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
    data_subject: str = ""
    skills: tuple[SkillOffer, ...] = ()
    region: str = ""
    prices: dict[str, float] = field(default_factory=dict)
    working_hours: WorkingHours = ALWAYS
    user_id: str = ""
    """The person that this agent is; empty: a program."""


initial = Agent()


class AgentAccepted(Struct, frozen=True, kw_only=True):
    """The agent stands as asked; `key_id` names the key that is its own."""

    agent_id: AgentId
    generation: int
    key_id: str


class LeaseLeft(Struct, frozen=True, kw_only=True):
    """One task that the agent holds: how long it may stay silent before it loses it, and how long the attempt may take altogether."""

    task_id: str
    token: int
    seconds_left: float
    budget_seconds_left: float = 0.0
    cancel_seconds_left: float | None = None
    """How long until the task is cancelled, where the agent is to stop."""


class HeartbeatAck(Struct, frozen=True, kw_only=True):
    """Heard: be heard again within `lease_seconds`."""

    lease_seconds: float
    leases: tuple[LeaseLeft, ...] = ()


class RegisterAgent(Command[AgentAccepted], frozen=True, kw_only=True):
    """An agent offers its services. Sent by whoever holds an enrolment, operator or admin key; and by the house for its own solver.

    The coordinator sets `lease_seconds` and the capacity of those that name none, and decides `IssueKey` for `key_id` in the same step.
    `skills` says more of some of the capabilities; with `heartbeat_timeout` it asks for a lease of its own, in seconds, which the operator
    bounds; with `working_hours`, it is called for new tasks within those alone, and the coordinator sets whether the time zone is one that
    nobody knows. The house's own agents have no key, and the ids that begin with `house-` to
    themselves. An agent that is a person says so by its `data_subject`: its name and what is said of it are encrypted then, and can be
    erased.

    The agent that a user is (`user_id`) has an id of that user's own and no key: only the user acts for it. No heartbeats are asked of a
    person; what would be the lease is how long a task stays with them without a word. Sent again, it changes what is said.
    """

    agent_id: House[AgentId]
    key_id: House[str] = ""
    key_digest: House[bytes] = b""
    lease_seconds: House[Positive] = 120.0
    max_capacity_default: House[Positive] = MAX_CAPACITY
    lease_seconds_min: House[Positive] = LEASE_SECONDS_MIN
    lease_seconds_max: House[Positive] = LEASE_SECONDS_MAX
    name: Personal[Name]
    agent_type: AgentType
    capabilities: Skills
    specializations: Skills = ()
    max_capacity: Positive | None = None
    slots: Slots = 1
    price: NonNegative = 0.0
    description: Personal[Note] = ""
    data_subject: DataSubject = ""
    skills: SkillOffers = ()
    region: Region = ""
    prices: Prices = field(default_factory=dict)
    working_hours: WorkingHours = ALWAYS
    zone_unknown: House[bool] = False
    heartbeat_timeout: Positive | None = None
    user_id: House[str] = ""


class UpdateAgent(Command[AgentAccepted], frozen=True, kw_only=True):
    """Changes what is given and leaves the rest. Sent by the agent itself, an operator or an admin."""

    agent_id: House[AgentId]
    name: Personal[Name | None] = None
    capabilities: Skills | None = None
    specializations: Skills | None = None
    max_capacity: Positive | None = None
    slots: Slots | None = None
    price: NonNegative | None = None
    description: Personal[Note | None] = None
    skills: SkillOffers | None = None
    region: Region | None = None
    prices: Prices | None = None
    working_hours: WorkingHours | None = None
    zone_unknown: House[bool] = False


class DrainAgent(Command[AgentAccepted], frozen=True, kw_only=True):
    """No new tasks for this agent; it finishes those it holds. Sent by the agent itself, an operator or an admin."""

    agent_id: House[AgentId]
    reason: Personal[Note] = ""


class DeregisterAgent(Command[AgentAccepted], frozen=True, kw_only=True):
    """The agent leaves; its tasks are offered again, its key is revoked. Sent by the agent itself, an operator or an admin."""

    agent_id: House[AgentId]
    reason: Personal[Note] = ""


class SuspectAgent(Command[None], frozen=True, kw_only=True):
    """The agent was not heard from for its lease term but the last `grace_share` of it: nothing new is offered to it, its leases stand.

    Sent by the coordinator alone, which brings when it was last heard.
    """

    agent_id: House[AgentId]
    last_heard_at: House[Instant]
    grace_share: House[Share]


class ClearAgent(Command[None], frozen=True, kw_only=True):
    """A suspect was heard, at `heard_at`. Sent by the coordinator alone."""

    agent_id: House[AgentId]
    heard_at: House[Instant]


class LoseAgent(Command[None], frozen=True, kw_only=True):
    """The agent was not heard from for a full lease term. Sent by the coordinator alone, which brings when it was last heard."""

    agent_id: House[AgentId]
    last_heard_at: House[Instant]


class ReturnAgent(Command[AgentAccepted], frozen=True, kw_only=True):
    """A lost agent is heard from again. Sent by the coordinator alone, when a heartbeat of a lost agent arrives."""

    agent_id: House[AgentId]


class Heartbeat(Command[HeartbeatAck], frozen=True, kw_only=True):
    """The agent is there. Sent by the agent itself. Answered by the coordinator; records nothing unless the agent was suspected or lost."""

    agent_id: House[AgentId]


class FindReputation(Command[Reputation], frozen=True, kw_only=True):
    """Somebody asks what the agent's past says of it. Answered by the coordinator; records nothing."""

    agent_id: House[AgentId]


class AgentRegistered(Event, frozen=True, kw_only=True):
    agent_id: AgentId
    key_id: str
    name: Personal[str]
    agent_type: AgentType
    capabilities: tuple[str, ...]
    specializations: tuple[str, ...]
    max_capacity: float
    slots: int
    price: float
    description: Personal[str]
    generation: int
    lease_seconds: float
    data_subject: str = ""
    skills: tuple[SkillOffer, ...] = ()
    region: str = ""
    prices: dict[str, float] = field(default_factory=dict)
    working_hours: WorkingHours = ALWAYS
    user_id: str = ""


class AgentUpdated(Event, frozen=True, kw_only=True):
    """All values as they are now, changed or not."""

    agent_id: AgentId
    name: Personal[str]
    capabilities: tuple[str, ...]
    specializations: tuple[str, ...]
    max_capacity: float
    slots: int
    price: float
    description: Personal[str]
    data_subject: str = ""
    skills: tuple[SkillOffer, ...] = ()
    region: str = ""
    prices: dict[str, float] = field(default_factory=dict)
    working_hours: WorkingHours = ALWAYS


class AgentDraining(Event, frozen=True, kw_only=True):
    agent_id: AgentId
    reason: Personal[str]
    data_subject: str = ""


class AgentDeregistered(Event, frozen=True, kw_only=True):
    agent_id: AgentId
    reason: Personal[str]
    data_subject: str = ""


class AgentSuspected(Event, frozen=True, kw_only=True):
    """It was silent for `silent_seconds`; after `lease_seconds` of silence it is lost."""

    agent_id: AgentId
    last_heard_at: float
    silent_seconds: float
    lease_seconds: float


class AgentCleared(Event, frozen=True, kw_only=True):
    """It was heard in time, and stands as it did before."""

    agent_id: AgentId
    heard_at: float
    stage: Stage


class AgentLost(Event, frozen=True, kw_only=True):
    agent_id: AgentId
    last_heard_at: float


class AgentReturned(Event, frozen=True, kw_only=True):
    agent_id: AgentId
    generation: int


AgentCommand = (
    RegisterAgent | UpdateAgent | DrainAgent | DeregisterAgent | SuspectAgent | ClearAgent | LoseAgent | ReturnAgent
)
AgentEvent = (
    AgentRegistered
    | AgentUpdated
    | AgentDraining
    | AgentDeregistered
    | AgentSuspected
    | AgentCleared
    | AgentLost
    | AgentReturned
)
COMMANDS = get_args(AgentCommand)
EVENTS = get_args(AgentEvent)


def stream(tenant: str, agent_id: str) -> str:
    """The stream of an agent; agents may choose their ids, so that two tenants may choose the same."""
    return f"agent-{tenant}:{agent_id}"


def person_of(user_id: str) -> str:
    """The id of the agent that a user is."""
    return f"{PERSON_PREFIX}{user_id}"


def decide(agent: Agent, command: AgentCommand) -> Sequence[AgentEvent]:
    if isinstance(command, RegisterAgent):
        _check(_offer_faults(command), _capacity_faults(command), _hours_faults(command), _lease_faults(command))
    match agent.stage, command:
        case _, RegisterAgent() if command.agent_id.startswith(HOUSE_PREFIX) and command.key_id:
            raise Refused("agent_id_reserved", f"ids that begin with {HOUSE_PREFIX} are the house's", status=422)
        case _, RegisterAgent() if command.agent_id.startswith(PERSON_PREFIX) and not command.user_id:
            raise Refused("agent_id_reserved", f"ids that begin with {PERSON_PREFIX} are those of persons", status=422)
        case ((Stage.UNKNOWN | Stage.LOST | Stage.DEREGISTERED), RegisterAgent()):
            return [_registered(agent, command)]
        case Stage.ACTIVE | Stage.DRAINING, RegisterAgent() if command.user_id:
            return _told_anew(agent, command)
        case stage, RegisterAgent():
            same = command.heartbeat_timeout in (None, agent.lease_seconds)
            if same and command.key_id == agent.key_id and _profile(_as_it_stands(command, agent)) == _profile(agent):
                return []
            raise Refused("agent_exists", f"{command.agent_id} is {stage.value}; update it or deregister it")
        case Stage.UNKNOWN, _:
            raise Refused("agent_unknown", command.agent_id, status=404)
        case Stage.DEREGISTERED, DeregisterAgent():
            return []
        case Stage.DEREGISTERED, _:
            raise Refused("agent_is_deregistered", command.agent_id)
        case _, UpdateAgent():
            updated = _updated(agent, command)
            _check(_offer_faults(updated), _capacity_faults(command), _hours_faults(command))
            return [] if evolve(agent, updated) == agent else [updated]
        case Stage.LOST, DrainAgent():
            raise Refused("agent_is_lost", command.agent_id)
        case stage, DrainAgent():
            draining = AgentDraining(agent_id=command.agent_id, reason=command.reason, data_subject=agent.data_subject)
            return [] if stage is Stage.DRAINING else [draining]
        case _, DeregisterAgent():
            # Without a reason nothing in it tells of anybody: of whoever was erased, no key is made anew for it.
            subject = agent.data_subject if command.reason else ""
            return [AgentDeregistered(agent_id=command.agent_id, reason=command.reason, data_subject=subject)]
        case stage, SuspectAgent():
            return [] if stage in (Stage.SUSPECT, Stage.LOST) else [_suspected(agent, command)]
        case stage, ClearAgent():
            return [_cleared(agent, command)] if stage is Stage.SUSPECT else []
        case stage, LoseAgent():
            return [] if stage is Stage.LOST else [_lost(agent, command)]
        case stage, ReturnAgent():
            returned = AgentReturned(agent_id=command.agent_id, generation=agent.generation + 1)
            return [returned] if stage is Stage.LOST else []


def _check(*faults: Iterable[FieldFault]) -> None:
    """Raises Refused with everything that is wrong."""
    if found := [fault for some in faults for fault in some]:
        raise Refused.of(found)


def _offer_faults(said: RegisterAgent | AgentUpdated) -> Iterator[FieldFault]:
    """Whether all that is said of capabilities is said of what is one."""
    if skills := unlisted(said.skills, said.capabilities):
        text = f"skills that are no capabilities: {', '.join(skills)}"
        yield FieldFault("/skills", "skills_unlisted", text)
    if priced := unlisted_prices(said.prices, said.capabilities):
        text = f"prices of neither a task type nor a capability: {', '.join(priced)}"
        yield FieldFault("/prices", "prices_unlisted", text)


def _capacity_faults(command: RegisterAgent | UpdateAgent) -> Iterator[FieldFault]:
    if (command.max_capacity or 0.0) > CAPACITY_MAX:
        text = f"{CAPACITY_MAX:g} units are the most, not {command.max_capacity:g}"
        yield FieldFault("/max_capacity", "capacity_too_large", text)


def _hours_faults(command: RegisterAgent | UpdateAgent) -> Iterator[FieldFault]:
    for flaw in hours_flaws(command.working_hours or ALWAYS, zone_unknown=command.zone_unknown):
        yield FieldFault(flaw.pointer, "working_hours_unfit", flaw.words)


def _lease_faults(command: RegisterAgent) -> Iterator[FieldFault]:
    least, most = command.lease_seconds_min, command.lease_seconds_max
    if command.heartbeat_timeout is not None and not least <= command.heartbeat_timeout <= most:
        text = f"it may be from {least:g} to {most:g} s, not {command.heartbeat_timeout:g}"
        if command.user_id:
            yield FieldFault("/hold_seconds", "hold_seconds_unfit", text)
        else:
            yield FieldFault("/heartbeat_timeout", "heartbeat_timeout_unfit", text)


def _told_anew(agent: Agent, command: RegisterAgent) -> Sequence[AgentEvent]:
    """What a person says of themselves now. Who was leaving is back; what they hold, they keep."""
    asked = _as_it_stands(command, agent)
    seconds = command.heartbeat_timeout or command.lease_seconds
    stays = agent.stage is Stage.ACTIVE and agent.agent_type is command.agent_type and agent.lease_seconds == seconds
    if not stays or agent.data_subject != command.data_subject:
        return [_registered(agent, asked)]
    told = {name: getattr(asked, name) for name in OFFERED}
    updated = _updated(agent, UpdateAgent(agent_id=command.agent_id, **told))
    return [] if evolve(agent, updated) == agent else [updated]


OFFERED = (
    *("name", "description", "capabilities", "specializations", "skills", "region"),
    *("max_capacity", "slots", "price", "prices", "working_hours"),
)
"""What an agent may say anew without registering again."""


def _profile(source: RegisterAgent | Agent) -> tuple[object, ...]:
    """What an agent says of itself, in one order, so that two registrations can be compared."""
    skills = (tuple(sorted(set(source.capabilities))), tuple(sorted(set(source.specializations))))
    offers = offers_in_order(source.skills)
    figures = (_capacity(source), source.slots, source.price)
    return (
        source.name,
        source.agent_type,
        *skills,
        *figures,
        source.description,
        source.data_subject,
        offers,
        source.region,
        source.prices,
        source.working_hours,
    )


def _as_it_stands(command: RegisterAgent, agent: Agent) -> RegisterAgent:
    """The registration, with the capacity that the agent was given where it names none: the operator's default may be another now."""
    return replace(command, max_capacity=agent.max_capacity) if command.max_capacity is None else command


def _capacity(source: RegisterAgent | Agent) -> float:
    if isinstance(source, RegisterAgent) and source.max_capacity is None:
        return source.max_capacity_default
    return source.max_capacity or 0.0


def _registered(agent: Agent, command: RegisterAgent) -> AgentRegistered:
    return AgentRegistered(
        agent_id=command.agent_id,
        key_id=command.key_id,
        name=command.name,
        agent_type=command.agent_type,
        capabilities=tuple(sorted(set(command.capabilities))),
        specializations=tuple(sorted(set(command.specializations))),
        max_capacity=_capacity(command),
        slots=command.slots,
        price=command.price,
        description=command.description,
        generation=agent.generation + 1,
        lease_seconds=command.heartbeat_timeout or command.lease_seconds,
        data_subject=command.data_subject,
        skills=offers_in_order(command.skills),
        region=command.region,
        prices=command.prices,
        working_hours=command.working_hours,
        user_id=command.user_id,
    )


def _updated(agent: Agent, command: UpdateAgent) -> AgentUpdated:
    capabilities = agent.capabilities if command.capabilities is None else command.capabilities
    specializations = agent.specializations if command.specializations is None else command.specializations
    return AgentUpdated(
        agent_id=command.agent_id,
        name=agent.name if command.name is None else command.name,
        capabilities=tuple(sorted(set(capabilities))),
        specializations=tuple(sorted(set(specializations))),
        max_capacity=agent.max_capacity if command.max_capacity is None else command.max_capacity,
        slots=agent.slots if command.slots is None else command.slots,
        price=agent.price if command.price is None else command.price,
        description=agent.description if command.description is None else command.description,
        data_subject=agent.data_subject,
        skills=agent.skills if command.skills is None else offers_in_order(command.skills),
        region=agent.region if command.region is None else command.region,
        prices=agent.prices if command.prices is None else command.prices,
        working_hours=agent.working_hours if command.working_hours is None else command.working_hours,
    )


def _suspected(agent: Agent, command: SuspectAgent) -> AgentSuspected:
    seconds = suspect_after(agent.lease_seconds, command.grace_share)
    if command.last_heard_at + seconds > command.at:
        raise Refused("agent_was_heard", f"{command.agent_id} was heard within {seconds:g} s")
    return AgentSuspected(
        agent_id=command.agent_id,
        last_heard_at=command.last_heard_at,
        silent_seconds=command.at - command.last_heard_at,
        lease_seconds=agent.lease_seconds,
    )


def suspect_after(lease_seconds: float, grace_share: float) -> float:
    """How long an agent may be silent before it is suspected."""
    return lease_seconds * (1 - grace_share)


def _cleared(agent: Agent, command: ClearAgent) -> AgentCleared:
    if command.heard_at <= agent.last_heard_at:
        raise Refused("agent_not_heard", f"{command.agent_id} was not heard since it is suspected")
    return AgentCleared(agent_id=command.agent_id, heard_at=command.heard_at, stage=agent.stood)


def _lost(agent: Agent, command: LoseAgent) -> AgentLost:
    if command.last_heard_at + agent.lease_seconds > command.at:
        raise Refused("agent_was_heard", f"{command.agent_id} was heard within its {agent.lease_seconds:g} s")
    return AgentLost(agent_id=command.agent_id, last_heard_at=command.last_heard_at)


def evolve(agent: Agent, event: AgentEvent) -> Agent:
    match event:
        case AgentRegistered():
            return Agent(
                stage=Stage.ACTIVE,
                generation=event.generation,
                key_id=event.key_id,
                lease_seconds=event.lease_seconds,
                name=event.name,
                agent_type=event.agent_type,
                capabilities=event.capabilities,
                specializations=event.specializations,
                max_capacity=event.max_capacity,
                slots=event.slots,
                price=event.price,
                description=event.description,
                data_subject=event.data_subject,
                skills=event.skills,
                region=event.region,
                prices=event.prices,
                working_hours=event.working_hours,
                user_id=event.user_id,
            )
        case AgentUpdated():
            return replace(
                agent,
                name=event.name,
                capabilities=event.capabilities,
                specializations=event.specializations,
                max_capacity=event.max_capacity,
                slots=event.slots,
                price=event.price,
                description=event.description,
                skills=event.skills,
                region=event.region,
                prices=event.prices,
                working_hours=event.working_hours,
            )
        case AgentDraining():
            return replace(agent, stage=Stage.DRAINING)
        case AgentDeregistered():
            return replace(agent, stage=Stage.DEREGISTERED)
        case AgentSuspected():
            return replace(agent, stage=Stage.SUSPECT, stood=agent.stage, last_heard_at=event.last_heard_at)
        case AgentCleared():
            return replace(agent, stage=event.stage)
        case AgentLost():
            return replace(agent, stage=Stage.LOST)
        case AgentReturned():
            return replace(agent, stage=Stage.ACTIVE, generation=event.generation)
