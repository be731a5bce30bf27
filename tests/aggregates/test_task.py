"""A task's life: every command decides, was already so, or is refused."""

from typing import Any

import pytest
from msgspec.structs import replace

from aggregates import task
from aggregates.task import (
    SPECIALISTS,
    VOID_SECONDS_MIN,
    VOIDS_MAX,
    AmendTask,
    AnswerQuestion,
    AskQuestion,
    AssignTask,
    AwardTask,
    CancelTask,
    CommitBid,
    CompleteTask,
    DeclineOffer,
    DependencyFact,
    Doer,
    DryRunEnded,
    Duty,
    EndGrace,
    EndOverrun,
    ExpireLease,
    ExpireTask,
    FailDependent,
    FailTask,
    LateReported,
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
    TaskAwarded,
    TaskCompleted,
    TaskFailed,
    TaskSubmitted,
    TaskType,
    UnblockTask,
    WithdrawBid,
)
from aggregates.task.submission import asked_digest
from aggregates.values.agent_types import AgentType
from aggregates.values.price_list import ListedPrices
from aggregates.values.ranking import AwardPolicy, Offered, in_force, terms_of
from aggregates.values.skill_terms import SkillNeed, SkillOffer
from runtime.errors import Refused
from runtime.records import Command
from tests.aggregates.outcomes import Outcome, check, named, state
from tests.examples import AT, CANDIDATES, command_by_type

SUBMIT: SubmitTask = command_by_type[SubmitTask]
UNBLOCK: UnblockTask = command_by_type[UnblockTask]
FAIL_DEPENDENT: FailDependent = command_by_type[FailDependent]
OPEN: OpenBook = command_by_type[OpenBook]
STALL: NoteStall = command_by_type[NoteStall]
BID: PlaceBid = command_by_type[PlaceBid]
WITHDRAW: WithdrawBid = command_by_type[WithdrawBid]
REFUSE: RefuseBid = command_by_type[RefuseBid]
AWARD: AwardTask = command_by_type[AwardTask]
START: StartTask = command_by_type[StartTask]
ASK: AskQuestion = command_by_type[AskQuestion]
ANSWER: AnswerQuestion = command_by_type[AnswerQuestion]
COMPLETE: CompleteTask = command_by_type[CompleteTask]
DECLINE: DeclineOffer = command_by_type[DeclineOffer]
FAIL: FailTask = command_by_type[FailTask]
EXPIRE_LEASE: ExpireLease = command_by_type[ExpireLease]
REBALANCE: RebalanceTask = command_by_type[RebalanceTask]
OVERRUN: EndOverrun = command_by_type[EndOverrun]
CANCEL: CancelTask = command_by_type[CancelTask]
STOP = replace(CANCEL, grace_seconds=30.0)
END_GRACE: EndGrace = command_by_type[EndGrace]
EXPIRE: ExpireTask = command_by_type[ExpireTask]
AMEND: AmendTask = command_by_type[AmendTask]
REQUEUE: RequeueTask = command_by_type[RequeueTask]

WAITS = replace(
    SUBMIT,
    dependencies=("t0",),
    independent_of=("t0",),
    dependency_facts=(DependencyFact(task_id="t0", stage=Stage.RUNNING, position=5),),
)
DEADLINE = replace(SUBMIT, deadline=AT + 100)
BIDDING: tuple[Command[Any], ...] = (SUBMIT, OPEN, BID, REFUSE)
AWARDED: tuple[Command[Any], ...] = (*BIDDING, AWARD)
REOPENED: tuple[Command[Any], ...] = (*AWARDED, FAIL)
EARLY = replace(AWARD, at=AT + 1)
DEAD: tuple[Command[Any], ...] = (replace(SUBMIT, attempts_max=1), OPEN, BID, REFUSE, AWARD, FAIL)
ASSIGN: AssignTask = command_by_type[AssignTask]
COMMIT, REVEAL, OPENING = command_by_type[CommitBid], command_by_type[OpenReveal], command_by_type[RevealBid]
SEALED: tuple[Command[Any], ...] = (replace(SUBMIT, award_policy=AwardPolicy.SECOND_PRICE), OPEN, COMMIT, REFUSE)

OUTCOMES = (
    Outcome(SUBMIT, ["TaskSubmitted"], [], [SUBMIT], "task_exists", [WAITS]),
    Outcome(UNBLOCK, ["DependencyMet", "TaskUnblocked"], [WAITS], [WAITS, UNBLOCK], "task_unknown", []),
    Outcome(FAIL_DEPENDENT, ["TaskFailed"], [WAITS], [WAITS, FAIL_DEPENDENT], "task_unknown", []),
    Outcome(OPEN, ["BookOpened"], [SUBMIT], [SUBMIT, OPEN], "nobody_eligible", [replace(SUBMIT, capabilities=("x",))]),
    Outcome(STALL, ["TaskStalled"], [SUBMIT], [SUBMIT, STALL], "task_unknown", []),
    Outcome(BID, ["BidPlaced"], [SUBMIT, OPEN], [SUBMIT, OPEN, BID], "book_closed", AWARDED),
    Outcome(WITHDRAW, ["BidWithdrawn"], BIDDING, [*BIDDING, WITHDRAW], "bid_unknown", [SUBMIT, OPEN]),
    Outcome(COMMIT, ["BidCommitted"], SEALED[:2], SEALED[:3], "bids_are_open", [SUBMIT, OPEN]),
    Outcome(REVEAL, ["RevealOpened"], SEALED, [*SEALED, REVEAL], "nothing_sealed", SEALED[:2]),
    Outcome(OPENING, ["BidRevealed"], [*SEALED, REVEAL], [*SEALED, REVEAL, OPENING], "book_closed", SEALED),
    Outcome(ASSIGN, ["TaskAwarded"], [SUBMIT], [SUBMIT, ASSIGN], "task_is_bidding", [SUBMIT, OPEN]),
    Outcome(REFUSE, ["BidRefused"], [SUBMIT, OPEN], [SUBMIT, OPEN, REFUSE], "book_closed", [SUBMIT]),
    Outcome(EARLY, ["TaskAwarded"], BIDDING, [*BIDDING, EARLY], "book_open", [SUBMIT, OPEN, BID]),
    Outcome(AMEND, ["TaskAmended"], [SUBMIT], [SUBMIT, AMEND], "task_is_cancelled", [SUBMIT, CANCEL]),
    Outcome(REQUEUE, ["TaskRequeued"], DEAD, [*DEAD, REQUEUE], "not_a_dead_letter", AWARDED),
    Outcome(START, ["TaskStarted"], AWARDED, [*AWARDED, START], "token_stale", REOPENED),
    Outcome(ASK, ["QuestionAsked"], AWARDED, [*AWARDED, ASK], "token_stale", REOPENED),
    Outcome(ANSWER, ["QuestionAnswered"], [*AWARDED, ASK], [*AWARDED, ASK, ANSWER], "question_unknown", AWARDED),
    Outcome(DECLINE, ["OfferDeclined"], [SUBMIT], [SUBMIT, DECLINE], "task_is_awarded", AWARDED),
    Outcome(COMPLETE, ["TaskCompleted"], AWARDED, [*AWARDED, COMPLETE], "token_stale", REOPENED),
    Outcome(EXPIRE_LEASE, ["LeaseExpired", "TaskReopened"], AWARDED, REOPENED, "task_unknown", []),
    Outcome(REBALANCE, ["TaskRebalanced"], AWARDED, [*AWARDED, REBALANCE], "task_unknown", []),
    Outcome(OVERRUN, ["TaskFailed", "TaskReopened"], AWARDED, REOPENED, "task_unknown", []),
    Outcome(CANCEL, ["TaskCancelled"], AWARDED, [SUBMIT, CANCEL], "task_is_completed", [*AWARDED, COMPLETE]),
    Outcome(END_GRACE, ["TaskCancelled"], [*AWARDED, STOP], AWARDED, "task_unknown", []),
    Outcome(EXPIRE, ["TaskExpired"], [DEADLINE], [DEADLINE, EXPIRE], "deadline_ahead", [SUBMIT]),
)


@pytest.mark.parametrize("outcome", OUTCOMES, ids=named)
def test_every_command_has_three_outcomes(outcome: Outcome) -> None:
    check(task, outcome)


def test_every_command_is_in_the_table() -> None:
    # A failure reported twice can't be told from a stale token, and each late report, or one of progress, is one more: two outcomes.
    others: set[type] = {FailTask, NoteLateReport, ReportProgress}
    assert {type(outcome.command) for outcome in OUTCOMES} | others == set(task.COMMANDS)


def refusal(command: Command[Any], *before: Command[Any]) -> Refused:
    with pytest.raises(Refused) as caught:
        task.decide(state(task, *before), command)  # type: ignore[arg-type]
    return caught.value


def test_a_failed_attempt_reopens_the_task_until_attempts_are_used_up() -> None:
    reopened = state(task, *REOPENED)
    assert (reopened.stage, reopened.attempt) == (Stage.SUBMITTED, 1)
    again = (replace(OPEN, round=2), replace(BID, round=2), replace(AWARD, round=2))
    dead = state(task, *REOPENED, *again, replace(FAIL, token=2))
    assert (dead.stage, dead.attempt) == (Stage.DEAD_LETTERED, 2)


def test_late_reports_are_noted_of_whom_the_lease_was_taken_from_each_time_that_they_have_doubled() -> None:
    note: NoteLateReport = command_by_type[NoteLateReport]
    assert refusal(note, *REOPENED).code == "not_the_holder"  # who has given up may say so twice
    lost = (*AWARDED, EXPIRE_LEASE)
    assert refusal(replace(note, agent_id="bob"), *lost).code == "not_the_holder"
    noted = [task.decide(state(task, *lost, *[note] * times), note)[0] for times in range(4)]
    assert [(one.count, one.more) for one in noted if isinstance(one, LateReported)] == [(1, 1), (2, 1), (4, 2), (8, 4)]


def test_a_failure_with_an_old_token_is_refused() -> None:
    assert refusal(FAIL, *REOPENED).code == "token_stale"


def test_only_the_holder_speaks_for_the_task() -> None:
    assert refusal(replace(COMPLETE, agent_id="bob"), *AWARDED).code == "not_the_holder"
    assert refusal(replace(COMPLETE, token=2), *AWARDED).code == "token_unknown"


def test_a_second_result_that_differs_is_refused() -> None:
    assert refusal(replace(COMPLETE, result={"value": 2}), *AWARDED, COMPLETE).code == "task_is_completed"


def test_a_result_after_the_deadline_is_refused() -> None:
    assert refusal(replace(COMPLETE, at=AT + 101), DEADLINE, OPEN, BID, REFUSE, AWARD).code == "deadline_passed"


@pytest.mark.parametrize(
    "result, fault",
    [
        ({"a": "x" * 70_000}, "takes 70"),
        ({"a": float("nan")}, "result/a is not a finite number"),
        ({"a": [1, 2**70]}, "result/a/1 does not fit in 64 bits"),
        ({"a": b"raw"}, "result/a is a bytes"),
        ({1: 2}, "has the key 1"),
    ],
)
def test_a_result_that_cannot_be_recorded_is_refused(result: dict[Any, Any], fault: str) -> None:
    refused = refusal(replace(COMPLETE, result=result), *AWARDED)
    assert (refused.code, refused.status) == ("result_unfit", 422)
    assert fault in refused.detail


def test_documents_are_not_nested_for_ever() -> None:
    deep: dict[str, Any] = {}
    for _ in range(40):
        deep = {"a": deep}
    assert "nested" in refusal(replace(SUBMIT, payload=deep)).detail
    assert refusal(replace(SUBMIT, payload=deep), SUBMIT).code == "task_exists"


def test_a_submission_names_all_its_faults() -> None:
    wrong = replace(
        SUBMIT,
        dependencies=("gone", "lost"),
        independent_of=("elsewhere",),
        dependency_facts=(
            DependencyFact(task_id="gone", stage=Stage.UNKNOWN, position=0),
            DependencyFact(task_id="lost", stage=Stage.EXPIRED, position=4),
        ),
        skills_never_offered=("qubo",),
        skills=(SkillNeed(name="qubo", version="~2"),),
        requirements={"resources": {"cpu": -1}},
        payload={"a/b": [float("nan")]},
        deadline=AT - 5,
        budget_seconds=4000.0,
        budget_seconds_max=3600.0,
        bidding_seconds=10.0,
        bidding_seconds_max=5.0,
        attempts_max=6,
        attempts_allowed=5,
    )
    refused = refusal(wrong)
    assert (refused.code, refused.status) == ("dependency_unknown", 422)
    assert [(fault.pointer, fault.code) for fault in refused.faults] == [
        ("/dependencies/0", "dependency_unknown"),
        ("/dependencies/1", "dependency_failed"),
        ("/independent_of/0", "independence_unclear"),
        ("/capabilities/0", "skill_unknown"),
        ("/skills/0/version", "range_unfit"),
        ("/deadline", "deadline_passed"),
        ("/budget_seconds", "budget_too_long"),
        ("/bidding_seconds", "bidding_too_long"),
        ("/attempts_max", "attempts_too_many"),
        ("/payload/a~1b/0", "payload_unfit"),
        ("/requirements/resources/cpu", "resources_unfit"),
    ]
    assert all(f"{fault.code}: {fault.detail}" in refused.detail for fault in refused.faults)


def test_a_task_that_waits_for_itself_is_refused() -> None:
    refused = refusal(replace(SUBMIT, dependencies=(SUBMIT.task_id,)))
    assert [(one.pointer, one.code) for one in refused.faults] == [("/dependencies/0", "dependency_cycle")]


def test_a_bid_names_all_its_faults() -> None:
    wrong = replace(BID, expires_at=BID.at - 1, eta_seconds=1e6, price=None, listed=None)
    refused = refusal(wrong, DEADLINE, OPEN)
    assert [(one.pointer, one.code) for one in refused.faults] == [
        ("/expires_at", "bid_expired"),
        ("/eta_seconds", "eta_past_deadline"),
        ("/price", "price_missing"),
    ]


def test_what_a_submission_leaves_open_the_node_decides() -> None:
    asked = replace(SUBMIT, budget_seconds=None, bidding_seconds=None, attempts_max=None)
    told = replace(asked, budget_seconds_max=50.0, bidding_seconds_max=1.0, attempts_allowed=7)
    [submitted] = task.decide(task.initial, told)
    assert isinstance(submitted, TaskSubmitted)
    assert (submitted.budget_seconds, submitted.bidding_seconds, submitted.attempts_max) == (50.0, 1.0, 7)
    assert task.decide(state(task, asked), told) == []


def test_a_completed_dependency_does_not_block() -> None:
    done = replace(WAITS, dependency_facts=(DependencyFact(task_id="t0", stage=Stage.COMPLETED, position=5),))
    assert state(task, done).stage is Stage.SUBMITTED
    assert state(task, WAITS).stage is Stage.BLOCKED


def test_whoever_did_what_it_must_be_independent_of_is_not_called() -> None:
    doer = replace(OPEN.doers[0], agent_id="ann")
    assert state(task, WAITS, UNBLOCK, replace(OPEN, doers=(doer,))).eligible == ("bob",)


def test_who_has_nobody_to_call_says_why_until_somebody_is_called() -> None:
    waits = state(task, WAITS, UNBLOCK, STALL)
    assert waits.stalled == "skills_missing"
    excluded = replace(STALL, candidates=OPEN.candidates[:1], doers=(replace(OPEN.doers[0], agent_id="ann"),))
    (stalled,) = task.decide(waits, excluded)
    assert isinstance(stalled, task.TaskStalled)
    assert stalled.reason == "all_excluded"
    assert refusal(replace(excluded, doers=()), WAITS, UNBLOCK).code == "somebody_fits"
    assert state(task, WAITS, UNBLOCK, STALL, OPEN).stalled == ""


def test_the_full_are_not_called() -> None:
    full = replace(OPEN.candidates[0], running=2)
    assert state(task, SUBMIT, replace(OPEN, candidates=(full, OPEN.candidates[1]))).eligible == ("bob",)


def test_a_bid_of_one_who_was_not_called_is_refused() -> None:
    assert refusal(replace(BID, agent_id="eve"), SUBMIT, OPEN).code == "agent_not_eligible"


def test_a_bid_for_another_round_or_after_its_end_is_refused() -> None:
    assert refusal(replace(BID, round=2), SUBMIT, OPEN).code == "book_closed"
    assert refusal(replace(BID, at=AT + 2.1), SUBMIT, OPEN).code == "book_closed"


def test_a_bid_that_cannot_hold_is_refused() -> None:
    assert refusal(replace(BID, expires_at=AT), SUBMIT, OPEN).code == "bid_expired"
    assert refusal(replace(BID, eta_seconds=101.0), DEADLINE, OPEN).code == "eta_past_deadline"
    assert refusal(replace(BID, expires_at=AT + 101), DEADLINE, OPEN).code == "bid_outlasts_task"
    assert task.decide(state(task, DEADLINE, OPEN), replace(BID, expires_at=AT + 100))


def test_a_bid_under_other_conditions_is_another_bid() -> None:
    before = state(task, SUBMIT, OPEN, BID)
    assert task.decide(before, BID) == []
    (placed,) = task.decide(before, replace(BID, conditions="texts in English"))
    assert isinstance(placed, task.BidPlaced)
    assert placed.conditions == "texts in English"


def test_a_second_bid_replaces_the_first_and_a_refusal() -> None:
    after = state(task, SUBMIT, OPEN, REFUSE, replace(BID, agent_id="bob"), BID, replace(BID, price=0.5))
    assert [(bid.agent_id, bid.price) for bid in after.bids] == [("ann", 0.5), ("bob", 1.0)]
    assert after.refused == ()


def test_a_book_without_winner_is_void_for_a_reason() -> None:
    late = replace(AWARD, at=AT + 3)
    for before, reason in (
        ([], "no_bids"),
        ([REFUSE, replace(REFUSE, agent_id="ann")], "all_refused"),
        ([replace(BID, eta_seconds=61.0)], "none_fit"),
    ):
        (voided,) = task.decide(state(task, SUBMIT, OPEN, *before), late)
        assert isinstance(voided, task.BookVoided)
        assert (voided.reason, voided.voids) == (reason, 1)


def without_winner(rounds: int, seconds: float) -> Any:
    """A task of which so many books in a row found no winner, one each so many seconds."""
    pairs = [
        (replace(OPEN, round=n, at=AT + n * seconds), replace(AWARD, round=n, at=AT + n * seconds + 3))
        for n in range(1, rounds + 1)
    ]
    return state(task, SUBMIT, *(command for pair in pairs for command in pair))


def test_a_task_that_nobody_ever_takes_is_given_up() -> None:
    assert without_winner(VOIDS_MAX - 1, 60.0).stage is Stage.SUBMITTED
    assert without_winner(VOIDS_MAX, 60.0).stage is Stage.DEAD_LETTERED


def test_a_task_that_nobody_took_for_a_moment_is_not_given_up() -> None:
    rounds = int(VOID_SECONDS_MIN / 5.0)
    assert without_winner(rounds, 5.0).stage is Stage.SUBMITTED
    assert without_winner(rounds + 1, 5.0).stage is Stage.DEAD_LETTERED


def test_an_award_begins_the_count_of_books_without_winner_anew() -> None:
    after = state(task, SUBMIT, OPEN, replace(AWARD, at=AT + 3), replace(OPEN, round=2), replace(BID, round=2))
    won = replace(AWARD, round=2, at=AT + 3)
    assert (after.voids, after.voids_since) == (1, AT + 3)
    for event in task.decide(after, won):
        after = task.evolve(after, event)
    assert (after.stage, after.voids, after.voids_since) == (Stage.AWARDED, 0, 0.0)


def test_a_book_that_found_all_busy_says_nothing_against_the_task() -> None:
    busy = tuple(replace(facts, running=facts.slots) for facts in AWARD.bidders)
    (voided,) = task.decide(state(task, *BIDDING), replace(AWARD, bidders=busy))
    assert isinstance(voided, task.BookVoided)
    assert (voided.voids, voided.ranking[0].lost) == (0, "slots_full")


def test_a_lease_that_was_renewed_does_not_expire_unless_its_holder_is_gone() -> None:
    heard = replace(EXPIRE_LEASE, last_heard_at=AT + 10)
    assert refusal(heard, *AWARDED).code == "lease_held"
    assert len(task.decide(state(task, *AWARDED), replace(heard, agent_gone_position=9))) == 2


def test_an_attempt_within_its_budget_goes_on() -> None:
    assert refusal(replace(OVERRUN, at=AT + 66.9), *AWARDED).code == "within_budget"


def test_a_task_is_awarded_as_it_asks_for() -> None:
    cheap, quick = replace(BID, price=0.5, eta_seconds=9.0), replace(BID, agent_id="bob", price=0.9, eta_seconds=3.0)
    facts = {facts.agent_id: facts for facts in AWARD.bidders}
    bidders = tuple(
        replace(facts["ann"], agent_id=name, running=load, slots=4) for name, load in (("ann", 2), ("bob", 1))
    )

    def awarded(policy: AwardPolicy, *bids: PlaceBid) -> tuple[str, str]:
        before = state(task, replace(SUBMIT, award_policy=policy), OPEN, *bids)
        (event,) = task.decide(before, replace(AWARD, bidders=bidders))
        assert isinstance(event, TaskAwarded)
        return event.agent_id, event.reason

    assert awarded(AwardPolicy.LOWEST_COST, cheap, quick) == ("ann", "ann offered a price of 0.5, bob a price of 0.9")
    assert awarded(AwardPolicy.QUICKEST_FINISH, cheap, quick) == ("bob", "bob offered 3 s, ann 9 s")
    assert awarded(AwardPolicy.LEAST_LOAD, cheap, quick) == ("bob", "bob offered a load of 25%, ann a load of 50%")
    assert awarded(AwardPolicy.LOWEST_COST, cheap)[1] == "ann offered a price of 0.5; no other bid could win"
    alike = replace(quick, price=0.5)
    assert "both offered a price of 0.5; the score decided" in awarded(AwardPolicy.LOWEST_COST, cheap, alike)[1]
    assert state(task, replace(SUBMIT, award_policy=AwardPolicy.LEAST_LOAD)).digest != state(task, SUBMIT).digest


def test_the_weights_that_the_command_brings_make_the_ranking_and_stand_in_the_award() -> None:
    cheap, quick = replace(BID, price=0.5, eta_seconds=9.0), replace(BID, agent_id="bob", price=0.9, eta_seconds=3.0)
    facts = next(facts for facts in AWARD.bidders if facts.agent_id == "ann")
    bidders = tuple(replace(facts, agent_id=name) for name in ("ann", "bob"))
    before = state(task, SUBMIT, OPEN, cheap, quick)

    def winner(**weights: float) -> str:
        told = replace(in_force(None), agent_share=0.0, **weights)
        (event,) = task.decide(before, replace(AWARD, bidders=bidders, weights=told))
        assert isinstance(event, TaskAwarded)
        assert event.weights == told
        for one in event.ranking:
            assert sum(term.value * term.weight for term in terms_of(one, told)) == pytest.approx(one.score, abs=1e-6)
        return event.agent_id

    assert winner(price=1.0, speed=0.0, confidence=0.0) == "ann"
    assert winner(price=0.0, speed=1.0, confidence=0.0) == "bob"


def test_the_award_says_why() -> None:
    (alone,) = task.decide(state(task, *BIDDING), AWARD)
    assert isinstance(alone, TaskAwarded)
    assert "no other bid could win" in alone.reason
    (beaten,) = task.decide(state(task, SUBMIT, OPEN, BID, replace(BID, agent_id="bob", price=9.0)), AWARD)
    assert isinstance(beaten, TaskAwarded)
    assert beaten.reason.startswith("ann scored 0.")


def happens(command: Command[Any], *before: Command[Any]) -> list[str]:
    decided = task.decide(state(task, *before), command)  # type: ignore[arg-type]
    return [type(event).__name__ for event in decided]


def test_a_task_is_amended_while_it_has_not_ended_and_not_into_the_past() -> None:
    assert happens(AMEND, *AWARDED) == ["TaskAmended"]
    assert (state(task, SUBMIT, AMEND).priority, state(task, SUBMIT, AMEND).deadline) == (5, AT + 90)
    later = replace(AMEND, priority=None, deadline=AT + 200)
    assert (state(task, SUBMIT, AMEND, later).priority, state(task, SUBMIT, AMEND, later).deadline) == (5, AT + 200)
    assert refusal(replace(AMEND, deadline=AT - 1), SUBMIT).code == "deadline_passed"
    assert happens(EXPIRE, DEADLINE, AMEND) == ["TaskExpired"]
    with pytest.raises(Refused, match="deadline_ahead"):
        happens(EXPIRE, DEADLINE, later)


def test_a_dead_letter_is_offered_again_with_new_attempts_and_its_tokens_go_on() -> None:
    again = state(task, *DEAD, REQUEUE)
    assert (again.stage, again.attempt, again.attempts_max, again.deadline) == (Stage.SUBMITTED, 1, 3, AT + 900)
    book = (replace(OPEN, round=2), replace(BID, round=2), replace(REFUSE, round=2), replace(AWARD, round=2))
    assert state(task, *DEAD, REQUEUE, *book).attempt == 2
    assert refusal(FAIL, *DEAD, REQUEUE, *book).code == "token_stale"
    assert refusal(REQUEUE, *DEAD, REQUEUE, *book).code == "not_a_dead_letter"
    assert state(task, *DEAD, replace(REQUEUE, attempts=None)).attempts_max == 1 + REQUEUE.attempts_allowed


def test_all_that_keeps_a_dead_letter_from_being_offered_again_is_told_at_once() -> None:
    done = DependencyFact(task_id="t0", stage=Stage.COMPLETED, position=5)
    alone = replace(SUBMIT, attempts_max=1, dependencies=("t0",), independent_of=("t0",), dependency_facts=(done,))
    dead = (alone, *DEAD[1:])
    wrong = replace(REQUEUE, attempts=9, attempts_allowed=4, deadline=AT)
    told = refusal(wrong, *dead)
    assert (told.code, told.status) == ("deadline_passed", 422)
    assert all(code in told.detail for code in ("attempts_too_many: 4", "independence_unclear: it is not at hand"))
    who = Doer(task_id="t0", agent_id="cid", position=5)
    assert happens(replace(REQUEUE, doers=(who,)), *dead) == ["TaskRequeued"]


def test_what_was_submitted_is_recorded_in_one_order() -> None:
    (submitted,) = task.decide(task.initial, replace(SUBMIT, capabilities=("b", "a", "a")))
    assert isinstance(submitted, TaskSubmitted)
    assert submitted.capabilities == ("a", "b")


BIG = replace(SUBMIT, requirements={"resources": {"cpu": 20.0, "memory": 50.0}})


def test_an_agent_without_room_is_not_called_and_does_not_win() -> None:
    full = tuple(replace(one, used=40.0) for one in OPEN.candidates)
    assert refusal(replace(OPEN, candidates=full), BIG).code == "nobody_eligible"
    half = (replace(OPEN.candidates[0], used=30.0), full[1])
    assert state(task, BIG, replace(OPEN, candidates=half)).eligible == ("ann",)
    assert state(task, SUBMIT, replace(OPEN, candidates=full)).eligible == ("ann", "bob")
    crowded = replace(AWARD, bidders=tuple(replace(one, used=40.0, max_capacity=100.0) for one in AWARD.bidders))
    (voided,) = task.decide(state(task, BIG, *BIDDING[1:]), crowded)
    assert isinstance(voided, task.BookVoided)
    assert (voided.ranking[0].lost, voided.voids, voided.reason) == ("capacity_full", 0, "none_fit")


def test_who_needs_more_than_anybody_could_ever_hold_stalls_for_that() -> None:
    huge = replace(SUBMIT, requirements={"resources": {"memory": 100.5}})
    able = replace(STALL, candidates=tuple(replace(one, used=0.0) for one in OPEN.candidates))
    (stalled,) = task.decide(state(task, huge), able)
    assert stalled == task.TaskStalled(task_id="t1", reason="capacity_missing")
    busy = replace(able, candidates=(replace(OPEN.candidates[0], max_capacity=101.0, used=101.0),))
    assert refusal(busy, huge).code == "somebody_fits"  # later, when there is room
    assert refusal(able, BIG).code == "somebody_fits"


def test_who_could_do_it_and_is_off_duty_stalls_it_before_all_else() -> None:
    ann, bob = OPEN.candidates
    until = (STALL.at + 60, STALL.at + 120)
    duties = tuple(Duty(agent_id=one.agent_id, since=until[0], until=until[1]) for one in (ann, bob))
    resting = replace(STALL, candidates=(ann, replace(bob, capabilities=())), duties=duties)
    (stalled,) = task.decide(state(task, SUBMIT), resting)
    assert stalled == task.TaskStalled(task_id="t1", reason="off_hours")
    assert task.decide(state(task, SUBMIT, resting), resting) == []
    assert refusal(replace(resting, at=until[0]), SUBMIT).code == "somebody_fits"


def test_who_alone_is_meant_for_a_task_is_called_and_nobody_else_however_able() -> None:
    meant = replace(SUBMIT, assign_to="bob")
    assert asked_digest(SUBMIT) == asked_digest(replace(SUBMIT, assign_to=None)) != asked_digest(meant)
    assert state(task, meant, OPEN).eligible == ("bob",)
    assert refusal(replace(OPEN, candidates=OPEN.candidates[:1]), meant).code == "nobody_eligible"
    unknown = refusal(replace(meant, assignee_unknown=True, deadline=AT - 5))
    assert {fault.code for fault in unknown.faults} == {"assignee_unknown", "deadline_passed"}
    assert task.decide(state(task, meant), replace(ASSIGN))  # an operator has the last word


def test_a_task_whose_one_agent_is_not_there_or_lacks_a_skill_stalls_for_that() -> None:
    meant = replace(SUBMIT, assign_to="bob")
    ann, bob = OPEN.candidates
    for candidates, reason in (
        ((), "assignee_missing"),
        ((ann,), "assignee_missing"),
        ((ann, replace(bob, capabilities=())), "skills_missing"),
        ((replace(bob, max_capacity=0.5),), "capacity_missing"),
    ):
        before = state(task, replace(BIG, assign_to="bob"))
        (stalled,) = task.decide(before, replace(STALL, candidates=candidates))
        assert isinstance(stalled, task.TaskStalled)
        assert stalled.reason == reason
    assert refusal(replace(STALL, candidates=(bob,)), meant).code == "somebody_fits"


def test_what_is_wrong_with_resources_is_told_with_all_else() -> None:
    wrong = replace(SUBMIT, requirements={"resources": {"cpu": -1, "gpu": "many"}}, deadline=AT - 5)
    found = refusal(wrong)
    assert (found.code, found.status) == ("deadline_passed", 422)
    assert "cpu is negative" in found.detail
    assert "gpu is no number" in found.detail


PYTHON = (SkillNeed(name="qubo", version=">=2,<3", attributes={"os": ("linux", "mac")}),)
VERSED = replace(SUBMIT, skills=PYTHON)


def test_who_has_a_skill_in_another_version_or_with_other_attributes_is_not_called() -> None:
    ann = replace(OPEN.candidates[0], skills=(SkillOffer(name="qubo", version="2.5", attributes={"os": "mac"}),))
    bob = replace(OPEN.candidates[1], skills=(SkillOffer(name="qubo", version="2.5", attributes={"os": "beos"}),))
    assert state(task, VERSED, replace(OPEN, candidates=(ann, bob))).eligible == ("ann",)
    assert refusal(OPEN, VERSED).code == "nobody_eligible"
    (stalled,) = task.decide(state(task, VERSED), replace(STALL, candidates=(bob,)))
    assert stalled == task.TaskStalled(task_id="t1", reason="skills_unfit")
    assert refusal(replace(STALL, candidates=(ann, bob)), VERSED).code == "somebody_fits"


def test_the_skills_that_are_needed_in_a_version_are_among_those_that_are_needed() -> None:
    assert state(task, replace(VERSED, capabilities=("cutting",))).capabilities == ("cutting", "qubo")
    assert refusal(VERSED, SUBMIT).code == "task_exists"
    wrong = (SkillNeed(name="a", version="two"), SkillNeed(name="b", version=">3,<2"))
    found = refusal(replace(SUBMIT, skills=wrong))
    assert (found.code, found.status) == ("range_unfit", 422)
    assert "skills/0/version has 'two'" in found.detail
    assert "skills/1/version >3,<2 fits no version" in found.detail


def test_each_kind_of_work_has_one_type_of_specialists_and_each_type_is_specialist_of_some() -> None:
    assert SPECIALISTS.keys() == set(TaskType)
    assert set(SPECIALISTS.values()) == set(AgentType)
    # The eight types of tasks that everybody knows, and the house's own verification.
    assert len(SPECIALISTS) == len(AgentType) + 1
    kinds = (AgentType.SECURITY, SPECIALISTS[SUBMIT.task_type])
    bidders = tuple(
        replace(one, agent_type=kind, specializations=()) for one, kind in zip(AWARD.bidders, kinds, strict=True)
    )
    (awarded,) = task.decide(
        state(task, SUBMIT, OPEN, BID, replace(BID, agent_id="bob")), replace(AWARD, bidders=bidders)
    )
    assert isinstance(awarded, TaskAwarded)
    assert {one.agent_id: one.specialist for one in awarded.ranking} == {"ann": False, "bob": True}
    assert awarded.agent_id == "bob"


def test_a_task_that_asks_for_regions_is_offered_there_alone() -> None:
    local = replace(SUBMIT, regions=("eu", "uk"))
    ann, bob = (replace(one, region=region) for one, region in zip(OPEN.candidates, ("us", "eu"), strict=True))
    assert state(task, local, replace(OPEN, candidates=(ann, bob))).eligible == ("bob",)
    (stalled,) = task.decide(state(task, local), replace(STALL, candidates=(ann,)))
    assert stalled == task.TaskStalled(task_id="t1", reason="region_missing")
    assert refusal(replace(STALL, candidates=(ann, bob)), local).code == "somebody_fits"
    assert refusal(local, SUBMIT).code == "task_exists"


def test_a_dead_letter_needs_what_it_needed_when_it_is_offered_again() -> None:
    asked = replace(SUBMIT, regions=("eu",), skills=PYTHON, requirements=BIG.requirements)
    events = task.decide(replace(state(task, asked), stage=Stage.DEAD_LETTERED), REQUEUE)
    (again,) = events
    assert isinstance(again, task.TaskRequeued)
    assert (again.regions, again.skills, again.units) == (("eu",), PYTHON, 70.0)


def test_a_bid_without_a_price_takes_that_of_the_list_at_the_time() -> None:
    listed = ListedPrices(base=2.0, prices={"qubo": 3.5, "optimization": 7.25, "sewing": 99.0}, position=3)
    for prices, price in ((listed.prices, 7.25), ({"qubo": 0.0}, 0.0), ({"sewing": 9.0}, 2.0), ({}, 2.0)):
        bid = replace(BID, price=None, listed=replace(listed, prices=prices))
        (placed,) = task.decide(state(task, SUBMIT, OPEN), bid)
        assert isinstance(placed, task.BidPlaced)
        assert placed.price == price
    named = replace(BID, price=1.0, listed=listed)
    assert state(task, SUBMIT, OPEN, named).bids[0].price == 1.0
    found = refusal(replace(BID, price=None), SUBMIT, OPEN)
    assert (found.code, found.status) == ("price_missing", 422)


def test_who_was_called_and_offers_something_else_by_then_can_not_win() -> None:
    need = SkillNeed(name="qubo", version=">=2")
    asked = replace(SUBMIT, skills=(need,), regions=("eu",))
    had = SkillOffer(name="qubo", version="2.1")
    candidates = tuple(replace(one, capabilities=("qubo",), skills=(had,), region="eu") for one in CANDIDATES)
    before = state(task, asked, replace(OPEN, candidates=candidates), BID, replace(BID, agent_id="bob", price=9.0))
    same = Offered(capabilities=("qubo",), skills=(had,), region="eu")
    for changed, fault in (
        (replace(same, capabilities=()), "skill_missing"),
        (replace(same, skills=()), "skill_unfit"),
        (replace(same, region="us"), "region_elsewhere"),
        (same, ""),
        (None, ""),
    ):
        ann, bob = AWARD.bidders
        (event,) = task.decide(before, replace(AWARD, bidders=(replace(ann, changed=changed), bob)))
        assert isinstance(event, TaskAwarded)
        assert {one.agent_id: one.lost for one in event.ranking} == {"ann": fault, "bob": ""}
        assert event.agent_id == ("bob" if fault else "ann")


def test_no_more_is_charged_than_was_agreed_unless_the_task_allows_it() -> None:
    def charged(amount: float | None, **terms: Any) -> float | None:
        before = state(task, replace(SUBMIT, **terms), OPEN, replace(BID, price=1.0), REFUSE, AWARD)
        (event,) = task.decide(before, replace(COMPLETE, charged=amount))
        assert isinstance(event, TaskCompleted)
        return event.charged

    assert (charged(None), charged(0.0), charged(1.0)) == (None, 0.0, 1.0)
    assert (charged(3.0, surcharge=True, price_max=3.0), charged(99.0, surcharge=True)) == (3.0, 99.0)
    unpaid: tuple[dict[str, Any], ...] = ({}, {"price_max": 9.0}, {"surcharge": True, "price_max": 1.25})
    for terms in unpaid:
        with pytest.raises(Refused) as caught:
            charged(1.5, **terms)
        assert (caught.value.code, caught.value.faults[0].pointer) == ("charge_too_high", "/charged")
    assert list(task.decide(state(task, *AWARDED, COMPLETE), COMPLETE)) == []
    assert refusal(replace(COMPLETE, charged=0.5), *AWARDED, COMPLETE).code == "task_is_completed"


def test_who_has_won_declines_before_it_begins() -> None:
    declined = replace(FAIL, declined=True)
    failed, reopened = task.decide(state(task, *AWARDED), declined)
    assert isinstance(failed, TaskFailed)
    assert (failed.declined, type(reopened).__name__) == (True, "TaskReopened")
    assert refusal(declined, *AWARDED, START).code == "task_is_running"
    assert refusal(declined, *AWARDED, declined).code == "token_stale"


def test_who_is_given_a_task_could_have_been_called_for_it() -> None:
    (given,) = task.decide(state(task, SUBMIT), ASSIGN)
    assert isinstance(given, TaskAwarded)
    assert (given.agent_id, given.token, given.price, given.ranking) == ("ann", 1, 1.5, ())
    assert (given.assigned_by, given.reason) == ("operator:k0", "ann was given it by operator:k0")
    ann = CANDIDATES[0]
    for changed, why in (
        (None, (409, "agent_not_active")),
        (replace(ann, capabilities=()), (422, "skill_missing")),
        (replace(ann, max_capacity=1.0), (422, "capacity_small")),
        (replace(ann, running=2), (409, "slots_full")),
        (replace(ann, used=99.0), (409, "capacity_full")),
    ):
        refused = refusal(replace(ASSIGN, candidate=changed), SUBMIT)
        assert (refused.status, refused.code) == why
    assert refusal(ASSIGN, replace(SUBMIT, price_max=1.0)).code == "price_over_budget"
    off_duty = replace(ASSIGN, duties=(Duty(agent_id="ann", since=ASSIGN.at + 60, until=ASSIGN.at + 120),))
    refused = refusal(off_duty, SUBMIT)
    assert (refused.status, refused.code, "ann can't be given it: off duty until 20" in refused.detail) == (
        409,
        "off_hours",
        True,
    )
    (despite,) = task.decide(state(task, SUBMIT), replace(off_duty, override=True))
    assert isinstance(despite, TaskAwarded)
    assert despite.reason == "ann was given it by operator:k0 although it is off duty"
    assert list(task.decide(state(task, SUBMIT), replace(ASSIGN, override=True))) == [given]
    doers = (Doer(task_id="t0", agent_id="ann", position=9),)
    met = (WAITS, UNBLOCK)
    assert refusal(replace(ASSIGN, doers=doers), *met).code == "excluded"
    assert refusal(ASSIGN, WAITS).code == "task_is_blocked"
    assert refusal(ASSIGN, SUBMIT, CANCEL).code == "task_is_cancelled"
    again = state(task, SUBMIT, ASSIGN, replace(FAIL, declined=True))
    assert (again.stage, again.assignee, again.attempt) == (Stage.SUBMITTED, "", 1)


def test_a_dry_run_ends_with_who_would_have_won_and_nobody_has_it() -> None:
    tried = (replace(SUBMIT, dry_run=True), *BIDDING[1:])
    (ended,) = task.decide(state(task, *tried), AWARD)
    (real,) = task.decide(state(task, *BIDDING), AWARD)
    assert isinstance(ended, DryRunEnded)
    assert isinstance(real, TaskAwarded)
    assert (ended.winner, ended.price, ended.ranking, ended.reason) == ("ann", 1.0, real.ranking, real.reason)
    after = state(task, *tried, AWARD)
    assert (after.stage, after.attempt, after.assignee, after.bids) == (Stage.DRY_RUN_ENDED, 0, "", ())
    assert refusal(CANCEL, *tried, AWARD).code == "task_is_dry_run_ended"
    assert list(task.decide(after, AWARD)) == []
    (nobody,) = task.decide(state(task, *tried), replace(AWARD, bidders=()))
    assert isinstance(nobody, DryRunEnded)
    assert (nobody.winner, nobody.price, nobody.reason) == ("", None, "none_fit")
    assert refusal(ASSIGN, replace(SUBMIT, dry_run=True)).code == "task_is_dry_run"
