"""The terms on which a task is to be done: when it may begin, what it can do without, and how it may be cancelled."""

from typing import Any

import pytest
from msgspec.structs import replace

from aggregates import task
from aggregates.task import (
    AmendTask,
    DependencyFact,
    DependencyPolicy,
    EndOverrun,
    FailDependent,
    NoteStall,
    OpenBook,
    RequeueTask,
    Stage,
    SubmitTask,
    TaskAmended,
    UnblockTask,
)
from aggregates.task.submission import asked_digest
from aggregates.values.no_bids import NoBidPolicy, NoWinner
from runtime.errors import Refused
from runtime.records import Command
from tests.aggregates.outcomes import state
from tests.aggregates.test_task import (
    AWARD,
    AWARDED,
    BID,
    CANCEL,
    COMPLETE,
    DEAD,
    END_GRACE,
    EXPIRE_LEASE,
    FAIL,
    OVERRUN,
    REFUSE,
    START,
    STOP,
    refusal,
)
from tests.examples import AT, command_by_type

SUBMIT: SubmitTask = command_by_type[SubmitTask]
OPEN: OpenBook = command_by_type[OpenBook]
STALL: NoteStall = command_by_type[NoteStall]
AMEND = AmendTask(task_id="t1", at=AT, tenant=SUBMIT.tenant)
REQUEUE: RequeueTask = command_by_type[RequeueTask]
LATER = replace(SUBMIT, not_before=AT + 50, deadline=AT + 100)


def faults(command: Command[Any], *before: Command[Any]) -> list[tuple[str, str]]:
    return [(fault.pointer, fault.code) for fault in refusal(command, *before).faults]


def test_nobody_is_called_before_a_task_may_begin_and_nothing_is_said_of_it() -> None:
    assert refusal(replace(OPEN, at=AT + 49.9), LATER).code == "not_yet"
    assert task.decide(state(task, LATER), replace(STALL, at=AT + 49.9)) == []
    assert state(task, LATER, replace(OPEN, at=AT + 50)).stage is Stage.BIDDING
    assert state(task, LATER, replace(STALL, at=AT + 50)).stalled == "skills_missing"


@pytest.mark.parametrize(
    "terms,wrong",
    [
        ({"not_before": AT + 100}, [("/not_before", "not_before_late")]),
        ({"not_before": AT + 99, "estimated_duration": 2.0}, [("/estimated_duration", "deadline_infeasible")]),
        ({"estimated_duration": 101.0}, [("/estimated_duration", "deadline_infeasible")]),
        ({"not_before": AT + 10, "deadline": AT - 1, "attempts_max": 9, "attempts_allowed": 5},
         [("/deadline", "deadline_passed"), ("/attempts_max", "attempts_too_many")]),
    ],
)  # fmt: skip
def test_a_task_that_can_never_be_done_in_time_is_refused(terms: dict[str, Any], wrong: list[tuple[str, str]]) -> None:
    assert faults(replace(SUBMIT, **({"deadline": AT + 100} | terms))) == wrong


def test_a_task_that_just_fits_or_has_no_deadline_is_taken() -> None:
    for terms in ({"deadline": AT + 100, "not_before": AT + 90, "estimated_duration": 10.0}, {"not_before": AT + 9e9}):
        assert state(task, replace(SUBMIT, **terms)).stage is Stage.SUBMITTED


def test_a_submission_without_an_earliest_start_is_known_by_the_digest_that_it_had() -> None:
    assert asked_digest(replace(SUBMIT, not_before=None)) == asked_digest(SUBMIT)
    assert asked_digest(LATER) != asked_digest(replace(LATER, not_before=None))


def amended(*before: Command[Any], **changes: Any) -> TaskAmended:
    (event,) = task.decide(state(task, *before), replace(AMEND, **changes))
    assert isinstance(event, TaskAmended)
    return event


def test_an_amendment_moves_the_start_the_duration_and_the_budget_and_leaves_the_rest() -> None:
    event = amended(LATER, not_before=AT + 20, estimated_duration=30.0, budget_seconds=40.0)
    assert (event.not_before, event.estimated_duration, event.budget_seconds) == (AT + 20, 30.0, 40.0)
    assert (event.priority, event.deadline) == (LATER.priority, LATER.deadline)
    after = task.evolve(state(task, LATER), event)
    assert (after.not_before, after.estimated_duration, after.budget_seconds) == (AT + 20, 30.0, 40.0)
    assert task.decide(after, replace(AMEND, not_before=AT + 20, budget_seconds=40.0)) == []
    assert amended(LATER, not_before=0.0).not_before == 0.0


def test_an_amendment_is_held_to_what_a_submission_is_held_to_and_told_of_what_it_names() -> None:
    assert faults(replace(AMEND, not_before=AT + 100), LATER) == [("/not_before", "not_before_late")]
    assert faults(replace(AMEND, deadline=AT + 40), LATER) == [("/deadline", "not_before_late")]
    assert faults(replace(AMEND, estimated_duration=51.0), LATER) == [("/estimated_duration", "deadline_infeasible")]
    long = replace(LATER, estimated_duration=45.0)
    assert faults(replace(AMEND, not_before=AT + 60), long) == [("/not_before", "deadline_infeasible")]
    assert faults(replace(AMEND, budget_seconds=9.0, budget_seconds_max=8.0), LATER) == [
        ("/budget_seconds", "budget_too_long")
    ]
    assert amended(long, at=AT + 90, priority=5).priority == 5  # it is too late, and that is not what this is about
    begun = (replace(SUBMIT, estimated_duration=45.0), *AWARDED[1:])
    assert amended(*begun, at=AT + 40, deadline=AT + 60).deadline == AT + 60  # of its 45 s, some are over


def test_a_longer_budget_holds_for_the_attempt_under_way() -> None:
    over = EndOverrun(task_id="t1", token=1, at=AT + 67.0, tenant=SUBMIT.tenant)
    assert len(task.decide(state(task, *AWARDED), over)) == 2
    with pytest.raises(Refused, match="within_budget"):
        task.decide(state(task, *AWARDED, replace(AMEND, budget_seconds=90.0)), over)


def test_a_dead_letter_keeps_its_earliest_start() -> None:
    dead = (*DEAD[:-1], replace(AMEND, not_before=AT + 950), DEAD[-1])
    assert faults(REQUEUE, *dead) == [("/deadline", "not_before_late")]
    again = replace(REQUEUE, deadline=AT + 1000)
    (event,) = task.decide(state(task, *dead), again)
    assert isinstance(event, task.TaskRequeued)
    assert event.not_before == AT + 950
    assert refusal(replace(OPEN, round=2, at=AT + 900), *dead, again).code == "not_yet"


WAITS = replace(
    SUBMIT,
    dependencies=("t0", "t9"),
    independent_of=("t0",),
    dependency_facts=tuple(DependencyFact(task_id=name, stage=Stage.RUNNING, position=5) for name in ("t0", "t9")),
)
ENDS: FailDependent = command_by_type[FailDependent]
MET: UnblockTask = command_by_type[UnblockTask]


def under(policy: DependencyPolicy, *more: Command[Any]) -> task.Task:
    found: task.Task = state(task, replace(WAITS, dependency_policy=policy), *more)
    return found


def test_a_dependency_that_ends_without_a_result_ends_the_task_or_is_done_without() -> None:
    assert under(DependencyPolicy.FAIL, ENDS).stage is Stage.FAILED
    (skipped,) = task.decide(under(DependencyPolicy.SKIP), ENDS)
    assert isinstance(skipped, task.TaskCancelled)
    assert skipped.reason == "dependency_failed: t0 is cancelled"
    waits = under(DependencyPolicy.RUN, ENDS)
    assert (waits.stage, waits.waiting_for, waits.unmet) == (Stage.BLOCKED, ("t9",), ("t0",))
    assert task.decide(waits, ENDS) == []
    assert under(DependencyPolicy.RUN, ENDS, replace(MET, dependency="t9")).stage is Stage.SUBMITTED
    both = under(DependencyPolicy.RUN, ENDS, replace(ENDS, dependency="t9", stage=Stage.EXPIRED))
    assert (both.stage, both.unmet) == (Stage.SUBMITTED, ("t0", "t9"))


def test_what_has_failed_before_is_no_fault_only_for_those_that_run_without_it() -> None:
    facts = (replace(WAITS.dependency_facts[0], stage=Stage.DEAD_LETTERED), WAITS.dependency_facts[1])
    late = replace(WAITS, dependency_facts=facts)
    for policy in (DependencyPolicy.FAIL, DependencyPolicy.SKIP):
        assert faults(replace(late, dependency_policy=policy)) == [("/dependencies/0", "dependency_failed")]
    waits = state(task, replace(late, dependency_policy=DependencyPolicy.RUN))
    assert (waits.stage, waits.waiting_for, waits.unmet) == (Stage.BLOCKED, ("t9",), ("t0",))
    unknown = replace(late, dependency_policy=DependencyPolicy.RUN, dependency_facts=())
    assert [code for _, code in faults(unknown)] == ["dependency_unknown", "dependency_unknown"]


def test_nobody_has_done_what_had_no_result_so_a_dead_letter_needs_no_doer_of_it() -> None:
    alone = replace(WAITS, dependencies=("t0",), dependency_facts=WAITS.dependency_facts[:1], attempts_max=1)
    dead: tuple[Command[Any], ...] = (replace(alone, dependency_policy=DependencyPolicy.RUN), ENDS, *DEAD[1:])
    assert state(task, *dead).stage is Stage.DEAD_LETTERED
    assert state(task, *dead, REQUEUE).stage is Stage.SUBMITTED
    assert faults(REQUEUE, replace(alone, attempts_max=1), MET, *DEAD[1:]) == [("", "independence_unclear")]


def test_a_submission_is_known_by_its_policy() -> None:
    assert asked_digest(replace(WAITS, dependency_policy=DependencyPolicy.RUN)) != asked_digest(WAITS)


def decided(command: Command[Any], *before: Command[Any]) -> list[tuple[str, str]]:
    events = task.decide(state(task, *before), command)  # type: ignore[arg-type]
    return [(type(event).__name__, getattr(event, "reason", "")) for event in events]


STOPPING: tuple[Command[Any], ...] = (*AWARDED, STOP)


def test_a_holder_that_is_given_grace_keeps_the_task_until_it_is_over() -> None:
    (asked,) = task.decide(state(task, *AWARDED), STOP)
    assert isinstance(asked, task.CancelRequested)
    assert (asked.agent_id, asked.token, asked.cancel_by, asked.reason) == ("ann", 1, AT + 30, "not needed")
    assert state(task, *STOPPING).stage is Stage.AWARDED
    assert state(task, *STOPPING, START).stage is Stage.RUNNING
    assert refusal(replace(END_GRACE, at=AT + 29), *STOPPING).code == "grace_ahead"
    assert decided(replace(END_GRACE, at=AT + 30), *STOPPING) == [("TaskCancelled", "cancel_grace_over")]
    assert decided(replace(END_GRACE, token=2, at=AT + 30), *STOPPING) == []


def test_what_nobody_holds_and_what_has_no_grace_is_cancelled_at_once() -> None:
    for before in ([SUBMIT], [SUBMIT, OPEN], [WAITS]):
        assert decided(STOP, *before) == [("TaskCancelled", "not needed")]
    assert decided(CANCEL, *STOPPING) == [("TaskCancelled", "not needed")]


def test_grace_can_be_made_shorter_and_never_longer() -> None:
    assert decided(replace(STOP, at=AT + 1), *STOPPING) == []
    (sooner,) = task.decide(state(task, *STOPPING), replace(STOP, at=AT + 1, grace_seconds=2.0))
    assert isinstance(sooner, task.CancelRequested)
    assert sooner.cancel_by == AT + 3


def test_the_holder_may_finish_in_time_or_give_up_without_another_attempt() -> None:
    assert decided(replace(COMPLETE, at=AT + 30), *STOPPING) == [("TaskCompleted", "")]
    assert refusal(replace(COMPLETE, at=AT + 30.1), *STOPPING).code == "deadline_passed"
    assert decided(FAIL, *STOPPING) == [("TaskCancelled", "cancel_acknowledged")]
    assert decided(EXPIRE_LEASE, *STOPPING) == [("LeaseExpired", ""), ("TaskCancelled", "lease_expired")]
    assert decided(OVERRUN, *STOPPING) == [("TaskCancelled", "over_budget")]


def without_winner(policy: NoBidPolicy, rounds: int, **submitted: Any) -> task.Task:
    """A task after so many rounds that nobody has answered."""
    pairs = [(replace(OPEN, round=n), replace(AWARD, round=n, at=AT + 90, bidders=())) for n in range(1, rounds + 1)]
    asked = replace(SUBMIT, no_bids=policy, **submitted)
    found: task.Task = state(task, asked, *(command for pair in pairs for command in pair))
    return found


def test_a_task_that_is_to_fail_fails_after_so_many_rounds_without_a_winner_and_says_why() -> None:
    at_once = NoBidPolicy(then=NoWinner.FAIL)
    assert without_winner(at_once, 1).stage is Stage.FAILED
    assert without_winner(replace(at_once, rounds_max=3), 2).stage is Stage.SUBMITTED
    assert without_winner(replace(at_once, rounds_max=3), 3).stage is Stage.FAILED
    assert without_winner(NoBidPolicy(rounds_max=2), 2).stage is Stage.FAILED
    assert without_winner(NoBidPolicy(), 9).stage is Stage.SUBMITTED
    before = (replace(SUBMIT, no_bids=at_once), OPEN, replace(REFUSE, agent_id="ann"), REFUSE)
    assert decided(AWARD, *before) == [("BookVoided", "all_refused"), ("TaskFailed", "all_refused")]


def test_a_round_that_found_all_busy_fails_nothing() -> None:
    busy = tuple(replace(facts, running=facts.slots) for facts in AWARD.bidders)
    before = (replace(SUBMIT, no_bids=NoBidPolicy(then=NoWinner.FAIL)), *AWARDED[1:-1])
    assert decided(replace(AWARD, bidders=busy), *before) == [("BookVoided", "none_fit")]


def test_each_wider_round_says_which_it_is_and_is_open_twice_as_long_up_to_the_bound() -> None:
    policy, opened = NoBidPolicy(then=NoWinner.WIDEN, call_max=3), []
    for rounds in range(5):
        (book,) = task.decide(
            without_winner(policy, rounds, bidding_seconds=2.0, bidding_seconds_max=10.0),
            replace(OPEN, round=rounds + 1),
        )
        assert isinstance(book, task.BookOpened)
        opened.append((book.widening, book.closes_at - AT, book.bidding_seconds))
    assert opened == [(0, 2.0, 0.0), (1, 4.0, 4.0), (2, 8.0, 8.0), (3, 10.0, 10.0), (4, 10.0, 10.0)]
    assert [policy.called(widening, 99) for widening in range(4)] == [3, 6, 12, 24]
    assert [NoBidPolicy(then=NoWinner.WIDEN).called(widening, 8) for widening in (0, 1, 500)] == [8, 16, 8 << 20]


def test_an_award_begins_the_widening_anew() -> None:
    wide = without_winner(NoBidPolicy(then=NoWinner.WIDEN), 2)
    assert wide.widening == 2
    for command in (replace(OPEN, round=3), replace(BID, round=3), replace(AWARD, round=3, at=AT + 90)):
        for event in task.decide(wide, command):
            wide = task.evolve(wide, event)
    assert (wide.stage, wide.widening) == (Stage.AWARDED, 0)


def test_a_policy_is_part_of_what_was_asked_for() -> None:
    assert asked_digest(replace(SUBMIT, no_bids=NoBidPolicy(call_max=3))) != asked_digest(SUBMIT)
