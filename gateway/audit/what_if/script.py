"""Who says what when, as far as the record tells: everything that somebody asked for from the fork on, and when agents were silent.

What an agent answers to a call or an award is said as long after that call or award as it was then: by the agent that was called, and by
whoever holds that attempt now. All else is said at the time at which it was said. Commands that the coordinator decided by itself are not
in the script: what follows is what is asked about.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from agents.roster import ROSTER
from aggregates.agent import (
    AgentDeregistered,
    AgentLost,
    AgentRegistered,
    AgentReturned,
    ClearAgent,
    Heartbeat,
    ReturnAgent,
)
from aggregates.task import (
    AskQuestion,
    BookOpened,
    CommitBid,
    CompleteTask,
    FailTask,
    OpenBook,
    PlaceBid,
    RebalanceTask,
    RefuseBid,
    ReportProgress,
    RevealBid,
    RevealOpened,
    StartTask,
    SubmitTask,
    TakeTask,
    TaskAwarded,
    TaskRebalanced,
    WithdrawBid,
)
from aggregates.values.weights import Weights
from gateway.audit.what_if.changes import Change, changed, inserted
from gateway.verdicts import Wrong
from runtime.codec import Codec
from runtime.decidable import UNDECIDABLE, why_not
from runtime.delivery import Context
from runtime.records import Command, Meta, Recorded
from runtime.store.log import Log

RECORDS_MAX = 200_000
"""How many records from the fork on are looked at; who asks for more asks about a shorter time."""

PAGE = 1_000
RECORDED = ("actor:solver",)
"""Actors whose words are taken from the record: their kernels are not run again."""

TAKEN = frozenset(kind for role in ROSTER for kind in role.actor.takes)
Trigger = tuple[str, str, int]
"""`book`, `reveal` or `award`, the task, and the round or token."""


class Line(NamedTuple):
    """Something that is said: at a time, or so long after a trigger. `position` is where it stands on record; 0 if nowhere."""

    at: float
    message: Command[Any]
    context: Context
    position: int = 0
    trigger: Trigger | None = None


class Presence(NamedTuple):
    """When an agent was there, as far as the record tells: from its registration or return until it was last heard from."""

    tenant: str
    agent_id: str
    since: float
    until: float
    lease_seconds: float


class Script(NamedTuple):
    """All lines, those without a trigger in the order of their times; and who was there when."""

    lines: Sequence[Line]
    answers: dict[Trigger, list[Line]]
    presences: Sequence[Presence]
    owing: dict[tuple[str, str], int]
    """Up to where actors had reacted at the fork, where they had not to everything."""
    ends_at: float
    submission: SubmitTask | None
    """The last submission before the end: it tells what the node allowed."""
    rebalance: RebalanceTask | None
    """The last that took a task back."""
    weights: Weights | None
    """By which the last award was made."""


def read_records(log: Log, first: int, last: int) -> list[Recorded]:
    """The records from the fork on. Raises Wrong where they are too many, or can't be read."""
    if last - first >= RECORDS_MAX:
        raise Wrong(f"from {first} to {last} there are more than {RECORDS_MAX} records: name an end with --to")
    found: list[Recorded] = []
    after = first - 1
    while rows := log.rows(after, last, PAGE):
        for row in rows:
            try:
                found.append(log.codec.recorded(*row))
            except UNDECIDABLE as error:
                raise Wrong(f"the record at position {row[0]} {why_not(error)}") from error
        after = rows[-1][0]
    return found


def write(log: Log, records: Sequence[Recorded], changes: Sequence[Change]) -> Script:
    """The script from the records after the fork, with what is to be otherwise. Raises Wrong where a change fits nothing."""
    lines = list(_lines(log.codec, records))
    lines = [*_changed(lines, changes), *_inserted(changes, records)]
    answers: defaultdict[Trigger, list[Line]] = defaultdict(list)
    for line in lines:
        if line.trigger is not None:
            answers[line.trigger].append(line)
    spoken = sorted((line for line in lines if line.trigger is None), key=lambda line: line.at)
    ends_at = max((record.meta.at for record in records), default=0.0)
    submissions = [line.message for line in lines if isinstance(line.message, SubmitTask)]
    return Script(
        lines=spoken,
        answers=dict(answers),
        presences=list(_presences(log, ends_at)),
        owing=_owing(records),
        ends_at=max([ends_at, *(line.at for line in spoken)]),
        submission=submissions[-1] if submissions else None,
        rebalance=_rebalance(log.codec, records),
        weights=next((one.event.weights for one in reversed(records) if isinstance(one.event, TaskAwarded)), None),
    )


def _rebalance(codec: Codec, records: Sequence[Recorded]) -> RebalanceTask | None:
    for record in reversed(records):
        if isinstance(record.event, TaskRebalanced) and record.meta.command is not None:
            command = codec.command(record.meta.command)
            return command if isinstance(command, RebalanceTask) else None
    return None


def _lines(codec: Codec, records: Sequence[Recorded]) -> Iterator[Line]:
    began: dict[Trigger, float] = {}
    rounds: dict[str, int] = {}
    step: tuple[object, ...] = ()
    for record in records:
        event, meta = record.event, record.meta
        if isinstance(event, BookOpened):
            began["book", event.task_id, event.round] = meta.at
            rounds[event.task_id] = event.round
        elif isinstance(event, RevealOpened):
            began["reveal", event.task_id, event.round] = meta.at
        elif isinstance(event, TaskAwarded):
            began["award", event.task_id, event.token] = meta.at
        if meta.command is None or (meta.principal.startswith("actor:") and meta.principal not in RECORDED):
            continue
        before, step = step, (meta.at, meta.cause, meta.correlation, meta.principal, meta.tenant)
        try:
            command = codec.command(meta.command)
        except UNDECIDABLE as error:
            if record.withheld:  # of somebody who was erased
                continue
            raise Wrong(f"the command at position {record.position} {why_not(error)}") from error
        if getattr(command, "data_subject", ""):
            command = replace(command, data_subject="")
        if isinstance(command, ClearAgent | ReturnAgent):  # what was said was that it is there
            command = Heartbeat(agent_id=command.agent_id)
        if isinstance(command, OpenBook) and command.taker:  # what a person said was that they take it
            command = TakeTask(task_id=command.task_id, agent_id=command.taker)
        if type(command) in TAKEN and (before != step or meta.principal in RECORDED):
            yield _line(record.position, meta, command, began, rounds)


def _line(
    position: int, meta: Meta, command: Command[Any], began: dict[Trigger, float], rounds: dict[str, int]
) -> Line:
    context = Context(tenant=meta.tenant, principal=meta.principal, correlation=meta.correlation)
    match command:
        case RevealBid():
            number = command.round or rounds.get(command.task_id, 0)
            trigger: Trigger | None = ("reveal", command.task_id, number)
            command = replace(command, round=number)
        case PlaceBid() | CommitBid() | WithdrawBid() | RefuseBid():
            number = command.round or rounds.get(command.task_id, 0)
            trigger = ("book", command.task_id, number)
            command = replace(command, round=number)
        case StartTask() | CompleteTask() | FailTask() | AskQuestion() | ReportProgress():
            trigger = ("award", command.task_id, command.token)
        case _:
            trigger = None
    if trigger is None or trigger not in began:
        return Line(meta.at, command, context, position)
    return Line(meta.at - began[trigger], command, context, position, trigger)


def _changed(lines: Sequence[Line], changes: Sequence[Change]) -> Iterator[Line]:
    by_position = {change.position: change for change in changes if change.position}
    for line in lines:
        change = by_position.pop(line.position, None)
        if change is None:
            yield line
        elif not change.drop:
            yield line._replace(message=changed(line.message, change))
    if by_position:
        places = ", ".join(map(str, sorted(by_position)))
        raise Wrong(f"--change: nobody asked for anything at position {places} of the log from the fork on")


def _inserted(changes: Sequence[Change], records: Sequence[Recorded]) -> Iterator[Line]:
    for change in changes:
        if change.insert is not None:
            message = inserted(change.insert)
            if type(message) not in TAKEN:
                raise Wrong(
                    f"--change: nobody may ask for {change.insert.command}: the coordinator decides it by itself"
                )
            if records and change.insert.at < records[0].meta.at:
                raise Wrong(f"--change: {change.insert.at} is before the fork, at {records[0].meta.at}")
            context = Context(tenant=change.insert.tenant, principal=change.insert.principal)
            yield Line(change.insert.at, message, context)


def _presences(log: Log, ends_at: float) -> Iterator[Presence]:
    """From all of the log: who was there at the fork had registered before."""
    there: dict[tuple[str, str], tuple[float, float]] = {}
    for record in _of_agents(log):
        event, meta = record.event, record.meta
        name = (meta.tenant, getattr(event, "agent_id", ""))
        match event:
            case AgentRegistered():
                there[name] = (meta.at, event.lease_seconds)
            case AgentReturned():
                there[name] = (meta.at, there.get(name, (0.0, 120.0))[1])
            case AgentLost() | AgentDeregistered() if name in there:
                since, lease_seconds = there[name]
                until = event.last_heard_at if isinstance(event, AgentLost) else meta.at
                yield Presence(*name, since, until, lease_seconds)
                if isinstance(event, AgentDeregistered):
                    del there[name]
                else:
                    there[name] = (ends_at, lease_seconds)
    for name, (since, lease_seconds) in sorted(there.items()):
        yield Presence(*name, since, ends_at, lease_seconds)


def _of_agents(log: Log) -> Iterator[Recorded]:
    after = 0
    while rows := log.query(
        f"SELECT {log.POSITION}, originator_id, originator_version, topic, state FROM stored_events"
        f" WHERE {log.POSITION}>? AND topic LIKE 'agent.%' ORDER BY {log.POSITION} LIMIT ?",
        (after, PAGE),
    ):
        for row in rows:
            try:
                yield log.codec.recorded(*row)
            except UNDECIDABLE as error:
                raise Wrong(f"the record at position {row[0]} {why_not(error)}") from error
        after = rows[-1][0]


def _owing(records: Sequence[Recorded]) -> dict[tuple[str, str], int]:
    """An actor that reacts after the fork to what was before it had not reacted to that then."""
    owing: dict[tuple[str, str], int] = {}
    first = records[0].position if records else 0
    for record in records:
        cause, principal = record.meta.cause, record.meta.principal
        if principal.startswith("actor:") and cause.startswith("@") and int(cause[1:]) < first:
            place = (principal.removeprefix("actor:"), record.meta.tenant)
            owing[place] = min(owing.get(place, first), int(cause[1:]) - 1)
    return owing
