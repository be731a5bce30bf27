"""The state machine of a task: every command at every stage, and which stage may follow which."""

from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from aggregates import task
from aggregates.task import (
    ENDED,
    HELD,
    AmendTask,
    AnswerQuestion,
    AskQuestion,
    AssignTask,
    AwardTask,
    CancelTask,
    CommitBid,
    CompleteTask,
    DeclineOffer,
    DependencyPolicy,
    EndGrace,
    EndOverrun,
    ExpireLease,
    ExpireTask,
    FailDependent,
    FailTask,
    NoteLateReport,
    NoteStall,
    OpenBook,
    OpenReveal,
    PlaceBid,
    RebalanceTask,
    RefuseBid,
    ReportProgress,
    RequeueTask,
    RevealBid,
    Stage,
    StartTask,
    SubmitTask,
    UnblockTask,
    WithdrawBid,
)
from aggregates.values.no_bids import NoBidPolicy, NoWinner
from runtime.errors import Refused
from runtime.records import Command
from tests.aggregates import test_task as given
from tests.aggregates.outcomes import state
from tests.examples import AT, command_by_type

S = Stage
Commands = tuple[Command[Any], ...]
OPEN = (S.BLOCKED, S.SUBMITTED, S.BIDDING, S.AWARDED, S.RUNNING)

WAITS = replace(given.WAITS, deadline=AT + 100)
AWARDED: Commands = (given.DEADLINE, *given.AWARDED[1:])
RUNNING: Commands = (*AWARDED, given.START)
BEFORE: dict[Stage, Commands] = {
    S.UNKNOWN: (),
    S.BLOCKED: (WAITS,),
    S.SUBMITTED: (given.DEADLINE,),
    S.BIDDING: (given.DEADLINE, *given.BIDDING[1:]),
    S.AWARDED: AWARDED,
    S.RUNNING: RUNNING,
    S.COMPLETED: (*RUNNING, given.COMPLETE),
    S.FAILED: (WAITS, given.FAIL_DEPENDENT),
    S.CANCELLED: (given.DEADLINE, given.CANCEL),
    S.EXPIRED: (given.DEADLINE, given.EXPIRE),
    S.DEAD_LETTERED: given.DEAD,
    S.DRY_RUN_ENDED: (replace(given.DEADLINE, dry_run=True), *given.BIDDING[1:], given.AWARD),
}
"""A short way to each stage; of the agents, ann has bid and bob has refused."""


class Row(NamedTuple):
    """What a command does at each stage: it `decides` these events, there is `nothing` to decide, and elsewhere it is `refused`, for a
    reason of its own at `some`. Where there is no such task it is `task_unknown`."""

    decides: dict[Stage, str]
    nothing: tuple[Stage, ...] = ()
    refused: str = ""
    some: dict[Stage, str] = {}


def where(stages: tuple[Stage, ...], events: str) -> dict[Stage, str]:
    return dict.fromkeys(stages, events)


def others(*stages: Stage) -> tuple[Stage, ...]:
    """All stages of a task that there is, but for these."""
    return tuple(stage for stage in Stage if stage not in (S.UNKNOWN, *stages))


NO_TOKEN = where(
    (S.BLOCKED, S.SUBMITTED, S.BIDDING, S.FAILED, S.CANCELLED, S.EXPIRED, S.DRY_RUN_ENDED), "token_unknown"
)
"""Nobody has held a task that stands there by the short way."""
TABLE: dict[type[Command[Any]], Row] = {
    SubmitTask: Row({S.UNKNOWN: "TaskSubmitted"}, refused="task_exists"),
    UnblockTask: Row({S.BLOCKED: "DependencyMet TaskUnblocked"}, others(S.BLOCKED)),
    FailDependent: Row({S.BLOCKED: "TaskFailed"}, others(S.BLOCKED)),
    OpenBook: Row({S.SUBMITTED: "BookOpened"}, others(S.SUBMITTED)),
    NoteStall: Row({S.SUBMITTED: "TaskStalled"}, others(S.SUBMITTED)),
    PlaceBid: Row({}, (S.BIDDING,), "book_closed"),
    WithdrawBid: Row({S.BIDDING: "BidWithdrawn"}, refused="book_closed"),
    RefuseBid: Row({}, (S.BIDDING,), "book_closed"),
    CommitBid: Row({}, refused="book_closed", some={S.BIDDING: "bids_are_open"}),
    RevealBid: Row({}, refused="book_closed"),
    OpenReveal: Row({}, others(S.BIDDING), some={S.BIDDING: "nothing_sealed"}),
    AwardTask: Row({S.BIDDING: "TaskAwarded"}, others(S.BIDDING)),
    AssignTask: Row({S.SUBMITTED: "TaskAwarded"}, HELD, "task_is_{stage}"),
    StartTask: Row({S.AWARDED: "TaskStarted"}, (S.RUNNING,), "task_is_{stage}", NO_TOKEN),
    CompleteTask: Row(where(HELD, "TaskCompleted"), (S.COMPLETED,), "task_is_{stage}", NO_TOKEN),
    FailTask: Row(where(HELD, "TaskFailed TaskReopened"), (), "task_is_{stage}", NO_TOKEN),
    AskQuestion: Row(where(HELD, "QuestionAsked"), (), "task_is_{stage}", NO_TOKEN),
    ReportProgress: Row(
        {S.AWARDED: "TaskStarted TaskProgressed", S.RUNNING: "TaskProgressed"}, (), "task_is_{stage}", NO_TOKEN
    ),
    DeclineOffer: Row(where((S.BLOCKED, S.SUBMITTED, S.BIDDING), "OfferDeclined"), (), "task_is_{stage}"),
    AnswerQuestion: Row({}, refused="question_unknown"),
    ExpireLease: Row(where(HELD, "LeaseExpired TaskReopened"), others(*HELD)),
    RebalanceTask: Row({S.AWARDED: "TaskRebalanced"}, others(S.AWARDED)),
    EndOverrun: Row(where(HELD, "TaskFailed TaskReopened"), others(*HELD)),
    EndGrace: Row({}, others()),
    NoteLateReport: Row({}, refused="not_the_holder"),
    CancelTask: Row(where(OPEN, "TaskCancelled"), (S.CANCELLED,), "task_is_{stage}"),
    AmendTask: Row(where(OPEN, "TaskAmended"), (), "task_is_{stage}"),
    RequeueTask: Row({S.DEAD_LETTERED: "TaskRequeued"}, (), "not_a_dead_letter"),
    ExpireTask: Row(where(OPEN, "TaskExpired"), (S.EXPIRED,), "task_is_{stage}"),
}


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("kind", task.COMMANDS, ids=lambda kind: kind.__name__)
def test_every_command_at_every_stage(kind: type[Command[Any]], stage: Stage) -> None:
    before, row = state(task, *BEFORE[stage]), TABLE[kind]
    assert before.stage is stage
    try:
        events = task.decide(before, command_by_type[kind])
    except Refused as refused:
        assert stage not in row.decides
        assert stage not in row.nothing
        unknown = "task_unknown" if stage is S.UNKNOWN else row.refused.format(stage=stage.value)
        assert refused.code == row.some.get(stage, unknown)
    else:
        assert [type(event).__name__ for event in events] == row.decides.get(stage, "").split()
        assert stage in row.decides or stage in row.nothing


FOLLOWS: dict[Stage, set[Stage]] = {
    S.UNKNOWN: {S.SUBMITTED, S.BLOCKED},
    S.BLOCKED: {S.SUBMITTED, S.FAILED, S.CANCELLED, S.EXPIRED},
    S.SUBMITTED: {S.BIDDING, S.AWARDED, S.CANCELLED, S.EXPIRED},
    S.BIDDING: {S.AWARDED, S.SUBMITTED, S.FAILED, S.DEAD_LETTERED, S.CANCELLED, S.EXPIRED, S.DRY_RUN_ENDED},
    S.AWARDED: {S.RUNNING, S.COMPLETED, S.SUBMITTED, S.DEAD_LETTERED, S.CANCELLED, S.EXPIRED},
    S.RUNNING: {S.COMPLETED, S.SUBMITTED, S.DEAD_LETTERED, S.CANCELLED, S.EXPIRED},
    **{stage: set() for stage in ENDED},
    S.DEAD_LETTERED: {S.SUBMITTED},
}
"""Which stage may follow which: of those that a task ends at, only a dead letter has another chance."""


def _lives() -> list[tuple[Commands, Command[Any]]]:
    """The ways that the short ones do not show: what was asked for decides what follows, or how often it was tried."""
    alone = replace(given.AWARD, bidders=(), at=AT + 99)
    once, stop = replace(given.DEADLINE, attempts_max=1), given.STOP
    fails = replace(given.DEADLINE, no_bids=NoBidPolicy(then=NoWinner.FAIL))
    worn: list[Command[Any]] = []
    for n in range(1, task.VOIDS_MAX + 1):
        worn += [replace(given.OPEN, round=n), replace(given.AWARD, round=n, bidders=(), at=AT + 60.0 * n)]
    return [
        ((), WAITS),
        ((replace(WAITS, dependency_policy=DependencyPolicy.SKIP),), given.FAIL_DEPENDENT),
        ((replace(WAITS, dependency_policy=DependencyPolicy.RUN),), given.FAIL_DEPENDENT),
        ((given.SUBMIT, given.OPEN), alone),
        ((replace(given.SUBMIT, dry_run=True), given.OPEN), alone),
        ((fails, given.OPEN), alone),
        ((given.SUBMIT, *worn[:-1]), worn[-1]),
        ((once, *AWARDED[1:]), given.FAIL),
        ((once, *RUNNING[1:]), given.FAIL),
        ((*AWARDED, stop), given.FAIL),
        ((*RUNNING, stop), given.END_GRACE),
    ]


def test_a_stage_is_followed_by_those_that_may_and_by_no_other() -> None:
    seen: dict[Stage, set[Stage]] = {stage: set() for stage in Stage}
    ways = [(before, command_by_type[kind]) for before in BEFORE.values() for kind in task.COMMANDS]
    for before, command in (*ways, *_lives()):
        then = state(task, *before)
        try:
            events = task.decide(then, command)
        except Refused:
            continue
        after = then
        for event in events:
            after = task.evolve(after, event)
        if after.stage is not then.stage:
            seen[then.stage].add(after.stage)
    assert seen == FOLLOWS
