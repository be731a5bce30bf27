"""Tasks that were not begun move to who is clearly better, and never back and forth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from aggregates import task
from aggregates.task import CompleteTask, Contender, RebalanceTask, Stage, TaskRebalanced
from aggregates.task.rebalancing import better, rest_until
from aggregates.values.ranking import BidderFacts, Offered
from aggregates.values.retrying import RetryPolicy
from runtime.errors import Refused
from tests.aggregates.outcomes import state
from tests.aggregates.test_task import (
    ASK,
    ASSIGN,
    AWARD,
    AWARDED,
    BID,
    FAIL,
    OPEN,
    REBALANCE,
    REFUSE,
    START,
    STOP,
    SUBMIT,
)
from tests.examples import AT

HOLDER, (OTHER,) = REBALANCE.holder, REBALANCE.candidates


def rebalanced(command: RebalanceTask = REBALANCE, *before: object) -> list[TaskRebalanced]:
    return [*task.decide(state(task, *(before or AWARDED)), command)]  # type: ignore[arg-type,list-item]


def test_it_waits_again_with_an_attempt_more_and_the_old_token_is_stale() -> None:
    (moved,) = rebalanced()
    assert (moved.agent_id, moved.token, moved.better) == ("ann", 1, "bob")
    assert moved.better_score - moved.score > REBALANCE.gain
    then = state(task, *AWARDED, REBALANCE)
    assert (then.stage, then.assignee, then.attempts_max, then.moves) == (
        Stage.SUBMITTED,
        "",
        state(task, *AWARDED).attempts_max + 1,
        1,
    )
    with pytest.raises(Refused, match="token_stale"):
        task.decide(then, CompleteTask(task_id="t1", agent_id="ann", token=1, at=AT + 65))
    anew = (replace(OPEN, round=2), replace(BID, round=2), replace(REFUSE, round=2), replace(AWARD, round=2))
    assert state(task, *AWARDED, REBALANCE, *anew).attempt == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"gain": 0.4},
        {"gain": 0.0},
        {"at": AT + 50},
        {"token": 2},
        {"candidates": ()},
        {"candidates": (replace(OTHER, is_active=False),)},
        {"candidates": (replace(OTHER, promised=(AT, AT + 999)),)},
        {"candidates": (replace(OTHER, facts=replace(OTHER.facts, running=1)),)},
        {"candidates": (replace(OTHER, facts=replace(OTHER.facts, agent_id="ann")),)},
        {"candidates": (replace(OTHER, offered=Offered(capabilities=())),)},
        {"holder": replace(HOLDER, facts=replace(HOLDER.facts, agent_id="cid"))},
    ],
)
def test_it_stays_where_it_is(changed: dict[str, object]) -> None:
    assert rebalanced(replace(REBALANCE, **changed)) == []


@pytest.mark.parametrize(
    "before",
    [(*AWARDED, START), (*AWARDED, ASK), (*AWARDED, STOP), (SUBMIT, ASSIGN)],
    ids=["begun", "asks", "ends", "given"],
)
def test_what_is_begun_or_asked_about_or_cancelled_or_was_given_by_hand_stays(before: tuple[object, ...]) -> None:
    assert rebalanced(REBALANCE, *before) == []


def test_a_suspect_is_worth_nothing() -> None:
    kept = replace(REBALANCE, holder=replace(HOLDER, promised=()))
    assert rebalanced(kept) == []
    (moved,) = rebalanced(replace(kept, holder=replace(kept.holder, is_active=False)))
    assert moved.score == 0.0


def test_each_move_doubles_the_time_to_the_next() -> None:
    assert [rest_until(AT, 60.0, moves) - AT for moves in range(4)] == [60.0, 120.0, 240.0, 480.0]
    anew = (replace(OPEN, round=2), replace(BID, round=2), replace(REFUSE, round=2), replace(AWARD, round=2))
    again = (*AWARDED, REBALANCE, *anew)
    since = state(task, *again).awarded_at
    second = replace(REBALANCE, token=2)
    assert rebalanced(replace(second, at=since + 119.0), *again) == []
    assert rebalanced(replace(second, at=since + 120.0), *again)


def test_a_move_is_no_attempt_for_the_delay_before_the_next() -> None:
    patient = replace(SUBMIT, retry=RetryPolicy(delay_seconds=10.0, factor=2.0))
    anew = (replace(OPEN, round=2), replace(BID, round=2), replace(REFUSE, round=2), replace(AWARD, round=2))
    *_, first = task.decide(state(task, patient, *AWARDED[1:]), FAIL)
    *_, moved = task.decide(state(task, patient, *AWARDED[1:], REBALANCE, *anew), replace(FAIL, token=2))
    assert isinstance(first, task.TaskReopened)
    assert isinstance(moved, task.TaskReopened)
    assert first.not_before == moved.not_before == FAIL.at + 10.0


def agent(name: str, running: int, slots: int, promised: list[float]) -> Contender:
    facts = BidderFacts(agent_id=name, slots=slots, running=running, lease_seconds=30.0, position=3)
    return Contender(facts=facts, offered=Offered(capabilities=("qubo",)), promised=tuple(sorted(promised)))


LOADS = st.tuples(st.integers(0, 8), st.integers(1, 8), st.lists(st.floats(AT - 9, AT + 9), max_size=4)).map(
    lambda one: (min(one[0], one[1]), *one[1:])
)


@given(LOADS, st.floats(0.01, 0.9))
def test_two_who_are_alike_never_exchange_a_task(load: tuple[int, int, list[float]], gain: float) -> None:
    one, other = agent("ann", *load), agent("bob", *load)
    assert better(one, [other], gain, AT, None) is None
    assert better(other, [one], gain, AT, None) is None


@given(LOADS, LOADS, st.floats(0.01, 0.9))
def test_what_has_moved_would_not_move_back(
    mine: tuple[int, int, list[float]], theirs: tuple[int, int, list[float]], gain: float
) -> None:
    """Each is measured without the task: that it has moved changes neither number."""
    one, other = agent("ann", *mine), agent("bob", *theirs)
    assert not (better(one, [other], gain, AT, None) and better(other, [one], gain, AT, None))
