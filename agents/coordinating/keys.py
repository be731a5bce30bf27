"""Concurrency keys: whether a task finds a place of its key, whose turn it is, who has to go for a newcomer, and how they stand."""

from collections import Counter
from collections.abc import Iterable, Sequence
from heapq import nsmallest
from typing import NamedTuple

from msgspec.structs import replace

from agents.coordinating.entries import KeyRule, Place, TaskEntry
from agents.coordinating.open_tasks import OpenTasks
from agents.coordinating.terms import Aging
from agents.coordinating.waiting import Line
from aggregates import concurrency as concurrencies
from aggregates.concurrency import (
    ConcurrencySet,
    DropConcurrency,
    KeysStand,
    KeyStands,
    PlaceHolder,
    SetConcurrency,
)
from aggregates.task import CancelTask, Stage, stream
from aggregates.values.concurrency import Concurrency, Strategy
from runtime.actor import Effect, Reply, reply
from runtime.errors import Refused
from runtime.records import Recorded

RULES_MAX = 1_000
"""For how many keys of a tenant operators may have set limits."""
KEYS_TOLD_MAX = 1_000
HOLDERS_TOLD_MAX = 10
CANCELLED_MAX = 32
"""How many older tasks go for one newcomer: more than one only where a limit was lowered."""

Rank = tuple[float, int, int, float, int, str]
"""Where a task stands among the waiting: small comes first, its name comes last."""


class Rule(NamedTuple):
    """What holds for a task of a key."""

    limit: int
    strategy: Strategy


def rule_of(memory: OpenTasks, asked: Concurrency) -> Rule:
    """The operator's limit, where one is set; else the task's own."""
    is_set = memory.rules.get(asked.key)
    return Rule(is_set.limit, is_set.strategy) if is_set is not None else Rule(asked.limit, asked.strategy)


class KeyTurns:
    """For the books of one step: which keys have places left, and where the lines of groups stand that take turns.

    Groups stand where the most urgent task of their key does, and among themselves by their turn: whoever was called longest ago comes
    first, a new one before all.
    """

    def __init__(self, memory: OpenTasks, ready: Iterable[tuple[Line, list[Place]]], aging: Aging) -> None:
        self._memory = memory
        self._aging = aging
        self._more: Counter[str] = Counter()
        self._called: Counter[tuple[str, str]] = Counter()
        self._urgent: dict[str, float] = {}
        for line, places in ready:
            if self._takes_turns(line) and line.concurrency is not None:
                key, order = line.concurrency.key, aging.order(line.priority, places[0][0])
                self._urgent[key] = min(order, self._urgent.get(key, order))

    def rank(self, line: Line, place: Place) -> Rank:
        """Where a task of the line stands now."""
        since, position, name = place
        order = self._aging.order(line.priority, since)
        if line.concurrency is None or not self._takes_turns(line):
            return order, 0, 0, order, position, name
        key, group = line.concurrency.key, line.concurrency.group
        last = self._memory.turns.get(key, {}).get(group, 0)
        return self._urgent[key], self._called[key, group], last, order, position, name

    def is_full(self, line: Line) -> bool:
        """Whether the line's key has no place left."""
        asked = line.concurrency
        if asked is None:
            return False
        return (
            len(self._memory.occupied.of(asked.key).taken) + self._more[asked.key] >= rule_of(self._memory, asked).limit
        )

    def called(self, line: Line) -> None:
        """A task of the line is called for."""
        if line.concurrency is not None:
            self._more[line.concurrency.key] += 1
            self._called[line.concurrency.key, line.concurrency.group] += 1

    def _takes_turns(self, line: Line) -> bool:
        asked = line.concurrency
        return asked is not None and rule_of(self._memory, asked).strategy is Strategy.ROUND_ROBIN


def is_full(memory: OpenTasks, asked: Concurrency) -> bool:
    """Whether the key has no place left."""
    return len(memory.occupied.of(asked.key).taken) >= rule_of(memory, asked).limit


def crowded_out(memory: OpenTasks, task_id: str) -> list[tuple[str, CancelTask]]:
    """Who has to go for a newcomer to its key: it, or older ones; nobody where it may wait.

    All count that wait for no other task, whether they have a place or not: else one that was cancelled for a newcomer and one that
    was not would differ by when an agent was free.
    """
    task = memory.tasks.get(task_id)
    if task is None or task.concurrency is None or task.stage is Stage.BLOCKED:
        return []
    limit, strategy = rule_of(memory, task.concurrency)
    if strategy in (Strategy.QUEUE, Strategy.ROUND_ROBIN):
        return []
    of_key = memory.occupied.of(task.concurrency.key)
    since = of_key.since()
    older = since[: since.index(task_id)]
    if len(older) < limit:
        return []
    if strategy is Strategy.CANCEL_NEWEST:
        return [_cancel(task_id, f"{len(older)} of {limit} tasks of {task.concurrency.key} are open")]
    gone = older[: min(CANCELLED_MAX, len(older) - limit + 1)]
    grace = task.concurrency.grace_seconds
    return [_cancel(name, f"{task_id} takes its place in {task.concurrency.key}", grace) for name in gone]


def _cancel(task_id: str, detail: str, grace_seconds: float = 0.0) -> tuple[str, CancelTask]:
    reason = f"concurrency_limit: {detail}"
    return stream(task_id), CancelTask(task_id=task_id, reason=reason, grace_seconds=grace_seconds)


# ---- how they stand


def key_of(memory: OpenTasks, task_id: str) -> KeyStands | None:
    """How the key of an open task stands, as far as that one is concerned; None where it has none."""
    task = memory.tasks.get(task_id)
    return _stands(memory, task.concurrency.key, task) if task is not None and task.concurrency is not None else None


def all_keys(memory: OpenTasks) -> KeysStand:
    """Those that have open tasks or a limit that was set, by name."""
    names = memory.occupied.keys.keys() | memory.rules.keys()
    told = nsmallest(KEYS_TOLD_MAX, names)
    return KeysStand(
        keys=tuple(_stands(memory, key, _newest(memory, key)) for key in told), left_out=len(names) - len(told)
    )


def set_or_drop(memory: OpenTasks, tenant: str, command: SetConcurrency | DropConcurrency) -> Effect:
    """Raises Refused where too many limits are set already."""
    stood = memory.rules.get(command.key)
    if isinstance(command, SetConcurrency) and stood is None and len(memory.rules) >= RULES_MAX:
        raise Refused("concurrency_keys_too_many", f"{RULES_MAX} keys have limits")
    asked = _as_asked(memory, command.key, _newest(memory, command.key))

    def answer(recorded: Sequence[Recorded]) -> Reply:
        if not recorded:
            return reply(command, _with(asked, stood))
        event, at = recorded[0].event, recorded[0].meta.at
        rule = KeyRule(event.limit, event.strategy, event.set_by, at) if isinstance(event, ConcurrencySet) else None
        return reply(command, _with(asked, rule))

    return Effect([(concurrencies.stream(tenant, command.key), command)], answer)


def _newest(memory: OpenTasks, key: str) -> TaskEntry | None:
    found = (memory.tasks[name] for name in memory.occupied.of(key).open)
    return max(found, key=lambda task: task.submitted_position, default=None)


def _stands(memory: OpenTasks, key: str, task: TaskEntry | None) -> KeyStands:
    return _with(_as_asked(memory, key, task), memory.rules.get(key))


def _as_asked(memory: OpenTasks, key: str, task: TaskEntry | None) -> KeyStands:
    """As it stands by what this task says."""
    of_key = memory.occupied.of(key)
    holders = nsmallest(HOLDERS_TOLD_MAX, map(_holder, map(memory.tasks.__getitem__, sorted(of_key.taken))), key=_since)
    asked = task.concurrency if task is not None else None
    return KeyStands(
        key=key,
        limit=asked.limit if asked is not None else 0,
        strategy=asked.strategy if asked is not None else Strategy.QUEUE,
        taken=len(of_key.taken),
        waiting=len(of_key.entered_by_task) - len(of_key.taken),
        blocked=len(of_key.open) - len(of_key.entered_by_task),
        holders=tuple(holders),
    )


def _with(told: KeyStands, rule: KeyRule | None) -> KeyStands:
    if rule is None:
        return told
    return replace(told, limit=rule.limit, strategy=rule.strategy, set_by=rule.set_by, since=rule.since)


def _holder(task: TaskEntry) -> PlaceHolder:
    is_called = task.stage is Stage.BIDDING
    since = task.opened_at if is_called else task.awarded_at
    return PlaceHolder(task_id=task.task_id, agent_id="" if is_called else task.assignee, since=since)


def _since(holder: PlaceHolder) -> tuple[float, str]:
    return holder.since, holder.task_id
