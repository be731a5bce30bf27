"""What the log means to one agent: records in, frames for its websocket out.

Frames are made of records alone, never of read models, which may lag: what a record does not carry (a task's payload, the
results that it builds on, who held it) is read from the streams as of that record.
"""

from collections import OrderedDict
from collections.abc import Iterable
from functools import partial
from typing import Any

import msgspec

from aggregates import task as tasks
from aggregates.key import KeyRevoked
from aggregates.task import (
    HELD,
    BidCommitted,
    BidPlaced,
    BidRefused,
    BidRevealed,
    BidWithdrawn,
    BookOpened,
    BookVoided,
    CancelRequested,
    DryRunEnded,
    LeaseExpired,
    QuestionAnswered,
    RevealOpened,
    Task,
    TaskAwarded,
    TaskCancelled,
    TaskCompleted,
    TaskDeadLettered,
    TaskExpired,
    TaskFailed,
    TaskRebalanced,
    TaskSubmitted,
)
from aggregates.task.sealing import bidders
from aggregates.values.batches import why_lost
from runtime.journal import Journal
from runtime.records import Event, Recorded, evolved
from runtime.trace import of_record

TASKS_KEPT_MAX = 500
STATES_KEPT_MAX = 500
BIDS = (BidPlaced, BidCommitted, BidRevealed, BidWithdrawn, BidRefused)
"""Of these a task may have hundreds for each call: whoever looks for something else need not read them."""

INPUT_BYTES_MAX = 512 * 1024
"""What the results in one award may take together, below the bound that clients commonly set on a message."""

Frame = dict[str, Any]


class Translator:
    """Shared by all agents' websockets of a node: what one of them has read, the next need not read again."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._submitted: OrderedDict[str, TaskSubmitted] = OrderedDict()
        self._states: OrderedDict[int, Task] = OrderedDict()

    async def frames(self, recorded: Recorded, agent_id: str) -> list[Frame]:
        """What the record has to say to this agent: mostly nothing."""
        event = recorded.event
        match event:
            case BookOpened() if agent_id in event.eligible:
                return [await self._call(recorded, event)]
            case TaskAwarded() if event.agent_id == agent_id:
                return [await self.award(recorded, event)]
            case TaskAwarded() | BookVoided() | DryRunEnded():
                return _lost(recorded, event, agent_id)
            case RevealOpened() if agent_id in event.committed:
                return [self._call_reveal(recorded, event)]
            case QuestionAnswered() if event.agent_id == agent_id:
                return [_answer(recorded, event)]
            case LeaseExpired() if event.agent_id == agent_id:
                return [_revoked(recorded, event.task_id, event.token, "lease_expired")]
            case TaskRebalanced() if event.agent_id == agent_id:
                return [_revoked(recorded, event.task_id, event.token, "rebalanced")]
            case TaskFailed() if event.agent_id == agent_id and recorded.meta.principal != f"agent:{agent_id}":
                return [_revoked(recorded, event.task_id, event.token, event.reason)]
            case CancelRequested() if event.agent_id == agent_id:
                return [self._cancel(recorded, event)]
            case TaskCancelled() if recorded.meta.principal == f"agent:{agent_id}":
                return []
            case TaskCancelled():
                return await self._ended(recorded, event.task_id, agent_id, "task_cancelled")
            case TaskExpired():
                return await self._ended(recorded, event.task_id, agent_id, "task_expired")
            case TaskDeadLettered():
                return await self._ended(recorded, event.task_id, agent_id, "task_dead_lettered")
        return []

    def addressees(self, recorded: Recorded) -> Iterable[str] | None:
        """The agents for which `frames` may have something; None: any of the tenant. Keeps what calls will need soon."""
        event = recorded.event
        match event:
            case BidPlaced():  # what comes most, and is news to nobody
                return ()
            case TaskSubmitted():
                _keep(self._submitted, event.task_id, event, TASKS_KEPT_MAX)
            case BookOpened():
                return event.eligible
            case RevealOpened():
                return event.committed
            case TaskAwarded() if event.assigned_by:
                return (event.agent_id,)
            case TaskAwarded() | BookVoided() | DryRunEnded():
                return [ranked.agent_id for ranked in event.ranking]
            case LeaseExpired() | TaskRebalanced() | TaskFailed() | CancelRequested() | QuestionAnswered():
                return (event.agent_id,)
            case TaskCancelled() | TaskExpired() | TaskDeadLettered() | KeyRevoked():
                return None
        return ()

    async def lease(self, task_id: str, token: int) -> Frame | None:
        """The award that gave a lease, as it was told; None where the log has no such award."""
        for recorded in await self._read(task_id, without=BIDS):
            if isinstance(recorded.event, TaskAwarded) and recorded.event.token == token:
                return await self.award(recorded, recorded.event)
        return None

    async def cancel(self, task_id: str, token: int) -> Frame | None:
        """That the holder of a lease is to stop, as it was told last; None where it was not."""
        told = [one for one in await self._read(task_id, without=BIDS) if isinstance(one.event, CancelRequested)]
        if not told or not isinstance(event := told[-1].event, CancelRequested) or event.token != token:
            return None
        return self._cancel(told[-1], event)

    def _cancel(self, recorded: Recorded, event: CancelRequested) -> Frame:
        return {
            "type": "cancel",
            "position": recorded.position,
            "task_id": event.task_id,
            "token": event.token,
            "seconds_left": max(0.0, round(event.cancel_by - self._journal.clock.now(), 3)),
            "reason": event.reason,
        }

    async def award(self, recorded: Recorded, event: TaskAwarded) -> Frame:
        """The frame that tells the winner."""
        task = await self._task(event.task_id)
        inputs, missing, left_out = await self._inputs(task)
        frame = {
            "type": "award",
            "position": recorded.position,
            "task_id": event.task_id,
            "token": event.token,
            "attempt": event.attempt,
            "lease_seconds": event.lease_seconds,
            "budget_seconds": event.budget_seconds,
            "task_type": task.task_type,
            "description": task.description,
            "payload": task.payload,
            "blobs": task.blobs,
            "inputs": inputs,
        }
        odd = {"inputs_missing": missing, "inputs_left_out": left_out}
        return frame | {name: names for name, names in odd.items() if names} | _schemas(task) | _traced(recorded)

    def call_at_hand(self, recorded: Recorded, event: BookOpened) -> Frame | None:
        """The frame of a call for a task that was submitted lately; None where that has to be read first."""
        task = self._submitted.get(event.task_id)
        return None if task is None else self._called(recorded, event, task)

    async def _call(self, recorded: Recorded, event: BookOpened) -> Frame:
        return self._called(recorded, event, await self._task(event.task_id))

    def _called(self, recorded: Recorded, event: BookOpened, task: TaskSubmitted) -> Frame:
        return {
            "type": "call",
            "position": recorded.position,
            "task_id": event.task_id,
            "round": event.round,
            "attempt": event.attempt,
            "task_type": event.task_type,
            "capabilities": event.capabilities,
            "skills": task.skills,
            "priority": event.priority,
            "budget_seconds": event.budget_seconds,
            "units": event.units,
            "award_policy": event.award_policy.value,
            "price_max": task.price_max,
            "dry_run": task.dry_run,
            "closes_at": event.closes_at,
            "closes_in": self._left(event.closes_at),
            "description": task.description,
            "payload": task.payload,
            "blobs": task.blobs,
            **_schemas(task),
        } | _traced(recorded)

    def _call_reveal(self, recorded: Recorded, event: RevealOpened) -> Frame:
        return {
            "type": "call_reveal",
            "position": recorded.position,
            "task_id": event.task_id,
            "round": event.round,
            "closes_at": event.closes_at,
            "closes_in": self._left(event.closes_at),
        }

    def _left(self, closes_at: float) -> float:
        return max(0.0, round(closes_at - self._journal.clock.now(), 3))

    async def _inputs(self, task: TaskSubmitted) -> tuple[dict[str, Any], list[str], list[str]]:
        """The results of the dependencies, the names of those that have none, and of those that would have made the frame too long."""
        inputs: dict[str, Any] = {}
        missing: list[str] = []
        left_out: list[str] = []
        size = 0
        for name in task.dependencies:
            result = await self._result(name)
            if result is None:
                missing.append(name)
                continue
            size += len(msgspec.json.encode(result))
            if size <= INPUT_BYTES_MAX:
                inputs[name] = result
            else:
                left_out.append(name)
        return inputs, missing, left_out

    async def _result(self, task_id: str) -> Any:
        records = await self._read(task_id, without=BIDS)
        completed = [record.event for record in records if isinstance(record.event, TaskCompleted)]
        return completed[-1].result if completed else None

    async def _ended(self, recorded: Recorded, task_id: str, agent_id: str, reason: str) -> list[Frame]:
        """An end that names no agent: told to whoever held the task or had a bid on it."""
        state = await self._before(recorded, task_id)
        if state.stage in HELD and state.assignee == agent_id:
            return [_revoked(recorded, task_id, state.attempt, reason)]
        if agent_id in bidders(state):
            return [_no_winner(recorded, task_id, reason)]
        return []

    async def _before(self, recorded: Recorded, task_id: str) -> Task:
        """The task's state before this record."""
        state = self._states.get(recorded.position)
        if state is None:
            state = tasks.initial
            for record in await self._read(task_id):
                if record.version < recorded.version:
                    state = evolved(tasks.evolve, state, record.event)
            _keep(self._states, recorded.position, state, STATES_KEPT_MAX)
        return state

    async def _task(self, task_id: str) -> TaskSubmitted:
        task = self._submitted.get(task_id)
        if task is None:
            first = (await self._read(task_id, without=BIDS))[0].event
            assert isinstance(first, TaskSubmitted)
            task = first
            _keep(self._submitted, task_id, task, TASKS_KEPT_MAX)
        return task

    async def _read(self, task_id: str, without: Iterable[type[Event]] = ()) -> list[Recorded]:
        store = self._journal.store
        read = partial(store.read_stream, tasks.stream(task_id), without=store.codec.kinds(without))
        records: list[Recorded] = await self._journal.read_with(read)
        return records


def _traced(recorded: Recorded) -> Frame:
    """The trace of what led here, for the agent to go on with: W3C's header as a member."""
    traceparent = of_record(recorded.meta.correlation, recorded.position)
    return {"traceparent": traceparent} if traceparent else {}


def reasons_lost(event: TaskAwarded | BookVoided | DryRunEnded) -> dict[str, str]:
    """Why each bid did not win; those who made none are not in it."""
    if isinstance(event, DryRunEnded):
        other = {event.winner: "dry_run"}
        return {one.agent_id: one.lost or other.get(one.agent_id, "outscored") for one in event.ranking}
    winner = event.ranking[0] if isinstance(event, TaskAwarded) and event.ranking else None
    return {one.agent_id: why_lost(one, winner, event.batch) for one in event.ranking if one is not winner}


def told_lost(recorded: Recorded, event: TaskAwarded | BookVoided | DryRunEnded, reason: str) -> Frame:
    """That a bid did not win, for this reason."""
    lost = _no_winner(recorded, event.task_id, reason)
    if isinstance(event, DryRunEnded):
        return lost | {"winner": event.winner}
    return lost | {"winner": event.agent_id} if isinstance(event, TaskAwarded) else lost


def _schemas(task: TaskSubmitted) -> Frame:
    """Where the schemas stand by which the task goes."""
    if not task.schema_version:
        return {}
    return {"schemas": f"/v1/task-types/{task.task_type.value}/schemas?version={task.schema_version}"}


def _lost(recorded: Recorded, event: TaskAwarded | BookVoided | DryRunEnded, agent_id: str) -> list[Frame]:
    reason = reasons_lost(event).get(agent_id)
    return [told_lost(recorded, event, reason)] if reason else []


def _no_winner(recorded: Recorded, task_id: str, reason: str) -> Frame:
    return {"type": "lost", "position": recorded.position, "task_id": task_id, "winner": "", "reason": reason}


def _answer(recorded: Recorded, event: QuestionAnswered) -> Frame:
    return {
        "type": "answer",
        "position": recorded.position,
        "task_id": event.task_id,
        "token": event.token,
        "number": event.number,
        "answer": event.answer,
        "answered_by": event.answered_by,
    }


def _revoked(recorded: Recorded, task_id: str, token: int, reason: str) -> Frame:
    return {"type": "revoked", "position": recorded.position, "task_id": task_id, "token": token, "reason": reason}


def _keep(cache: OrderedDict[Any, Any], name: Any, value: Any, kept_max: int) -> None:
    cache[name] = value
    while len(cache) > kept_max:
        cache.popitem(last=False)
