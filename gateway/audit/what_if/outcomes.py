"""What came of it: each task's end as it is on record, as it is played without the change, and with it; and where the two part."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from agents.coordinating.terms import Terms
from aggregates.task import (
    BookOpened,
    DryRunEnded,
    LeaseExpired,
    TaskAwarded,
    TaskCancelled,
    TaskCompleted,
    TaskDeadLettered,
    TaskExpired,
    TaskFailed,
    TaskRebalanced,
    TaskReopened,
    TaskRequeued,
    TaskStarted,
    TaskSubmitted,
    TaskUnblocked,
)
from gateway.audit.what_if.changes import Change, Setting
from gateway.audit.what_if.script import Script, read_records, write
from gateway.audit.what_if.stage import Happened, play
from runtime.differences import unpacked
from runtime.records import Recorded
from runtime.store.log import Log

NOTHING = Setting()
OUTCOMES_MAX = 1_000
STREAMS_MAX = 1_000

STAGE_BY_EVENT = {
    TaskSubmitted: "submitted",
    TaskUnblocked: "submitted",
    BookOpened: "bidding",
    TaskAwarded: "awarded",
    TaskStarted: "running",
    TaskCompleted: "completed",
    TaskReopened: "submitted",
    TaskRequeued: "submitted",
    TaskDeadLettered: "dead_lettered",
    TaskCancelled: "cancelled",
    TaskExpired: "expired",
    DryRunEnded: "dry_run_ended",
    LeaseExpired: "submitted",
    TaskRebalanced: "submitted",
}

ASSUMED = (
    "what somebody asked for is asked for at the time at which it was",
    "an agent answers a call, and whoever holds an attempt says of it what its holder said, as long after the call or award as then",
    "an agent is heard from until the record says it was heard from last; heartbeats are not on record",
    "the fork is a start of the node: every lease has one full term from there",
    "solver runs are not made again: what the house's solver said is said again",
    "the node allowed, where --assume does not say otherwise, what the last registration, submission and rebalancing on record "
    "say; "
    "it looked after what was left over every {cycle_seconds:g} s",
)


class TaskOutcome(msgspec.Struct, kw_only=True):
    """Where a task stands at the end; seconds count from the fork's first record."""

    stage: str = ""
    winner: str = ""
    price: float | None = None
    attempts: int = 0
    awarded_after: float | None = None
    ended_after: float | None = None

    def is_like(self, other: "TaskOutcome | None") -> bool:
        """Times aside, which differ by what a commit takes."""
        mine = (self.stage, self.winner, self.price, self.attempts)
        return other is not None and mine == (other.stage, other.winner, other.price, other.attempts)


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A task that ends otherwise with the change than without it."""

    task_id: str
    recorded: TaskOutcome | None
    without: TaskOutcome | None
    with_change: TaskOutcome | None


class Parting(msgspec.Struct, frozen=True, kw_only=True):
    """The first records that differ, without the change and with it."""

    position: int
    without: dict[str, Any] | None
    with_change: dict[str, Any] | None


class WhatIf(msgspec.Struct, kw_only=True):
    """`faithful` of `tasks` tasks end in the play without the change as they did on record: how far it can be believed."""

    at: int
    to: int
    tasks: int
    faithful: int
    changed: int
    outcomes: list[Compared]
    streams_changed: int
    streams: list[str]
    parting: Parting | None
    said: int
    refused_without: int
    refused_with: int
    records: dict[str, int]
    assumed: list[str]


def what_if(log: Log, at: int, to: int, changes: list[Change], rules: Any, assumed: Setting = NOTHING) -> WhatIf:
    """Plays what followed from a position on twice, as it was and with the changes, and compares. Blocks. Raises Wrong.

    `assumed` is what the node was set to, as far as the log does not say so.
    """
    records = read_records(log, at, to)
    script = write(log, records, ())
    other = write(log, records, changes)
    terms = _terms(script, [assumed])
    without = play(log, at, script, terms, [], {})
    settings = [assumed, *(change.settings for change in changes if change.settings is not None)]
    changed = play(log, at, other, _terms(script, settings), changes, rules)
    return _compare(at, to, records, without, changed, terms)


def _terms(script: Script, settings: Sequence[Setting]) -> Terms:
    known: dict[str, Any] = {}
    if script.presences:
        known["lease_seconds"] = max(script.presences, key=lambda one: one.since).lease_seconds
    if script.submission is not None:
        known["budget_seconds_max"] = script.submission.budget_seconds_max
        known["bidding_seconds_max"] = script.submission.bidding_seconds_max
        known["attempts_max"] = script.submission.attempts_allowed
    if script.rebalance is not None:
        known["rebalance_gain"], known["rebalance_seconds"] = script.rebalance.gain, script.rebalance.rest_seconds
    for setting in settings:
        known |= {name: value for name, value in msgspec.structs.asdict(setting).items() if value is not None}
    return Terms(**known)


def _compare(
    at: int, to: int, records: Sequence[Recorded], without: Happened, changed: Happened, terms: Terms
) -> WhatIf:
    began = records[0].meta.at if records else 0.0
    then, same, other = (outcomes(one, began) for one in (records, without.records, changed.records))
    names = sorted({*then, *same, *other})
    differing = [name for name in names if not _alike(same.get(name), other.get(name))]
    streams = sorted(_streams_changed(without.records, changed.records))
    return WhatIf(
        at=at,
        to=to,
        tasks=len(names),
        faithful=sum(_alike(then.get(name), same.get(name)) for name in names),
        changed=len(differing),
        outcomes=[
            Compared(task_id=name, recorded=then.get(name), without=same.get(name), with_change=other.get(name))
            for name in differing[:OUTCOMES_MAX]
        ],
        streams_changed=len(streams),
        streams=streams[:STREAMS_MAX],
        parting=_parting(without.records, changed.records),
        said=changed.said,
        refused_without=without.refused,
        refused_with=changed.refused,
        records={
            "recorded": len(records),
            "without": len(without.records),
            "with_change": len(changed.records),
        },
        assumed=[text.format(cycle_seconds=terms.cycle_seconds) for text in ASSUMED],
    )


def _alike(one: TaskOutcome | None, other: TaskOutcome | None) -> bool:
    return other is None if one is None else one.is_like(other)


def outcomes(records: Sequence[Recorded], began: float) -> dict[str, TaskOutcome]:
    """How each task stands at the end to which something happened; that it waits for somebody is no more than a note."""
    found: dict[str, TaskOutcome] = {}
    for record in records:
        event = record.event
        task_id = getattr(event, "task_id", None)
        stage = STAGE_BY_EVENT.get(type(event))
        if task_id is None or not record.stream.startswith("task-"):
            continue
        outcome = found.setdefault(task_id, TaskOutcome())
        seconds = round(record.meta.at - began, 3)
        if isinstance(event, TaskFailed):
            stage = "failed" if event.final else "submitted"
        if isinstance(event, TaskAwarded):
            outcome.winner, outcome.price = event.agent_id, event.price
            outcome.attempts, outcome.awarded_after = event.attempt, seconds
        outcome.stage = stage or outcome.stage
        is_end = outcome.stage in ("completed", "failed", "cancelled", "expired", "dead_lettered", "dry_run_ended")
        outcome.ended_after = seconds if is_end else None
    return {name: outcome for name, outcome in found.items() if outcome.stage}


def _streams_changed(without: Sequence[Recorded], changed: Sequence[Recorded]) -> Iterator[str]:
    """The streams to which something else happened, times aside."""
    mine, theirs = _kinds(without), _kinds(changed)
    for stream in {*mine, *theirs}:
        if mine.get(stream) != theirs.get(stream):
            yield stream


def _kinds(records: Sequence[Recorded]) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for record in records:
        agent = str(getattr(record.event, "agent_id", ""))
        found.setdefault(record.stream, []).append((record.kind, agent))
    return found


def _parting(without: Sequence[Recorded], changed: Sequence[Recorded]) -> Parting | None:
    for index in range(max(len(without), len(changed))):
        one = without[index] if index < len(without) else None
        other = changed[index] if index < len(changed) else None
        if one is None or other is None or (one.stream, one.event) != (other.stream, other.event):
            position = (one or other).position  # type: ignore[union-attr]
            return Parting(position=position, without=_told(one), with_change=_told(other))
    return None


def _told(record: Recorded | None) -> dict[str, Any] | None:
    if record is None:
        return None
    return {"stream": record.stream, "kind": record.kind, "at": record.meta.at, "data": unpacked(record.event)}
