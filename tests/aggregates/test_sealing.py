"""Sealed bids and the second price: what is committed to, opened and paid, and that nobody gains by asking anything but its cost."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from aggregates import task
from aggregates.task import (
    AwardTask,
    BidCommitted,
    BidRevealed,
    BookVoided,
    Candidate,
    CommitBid,
    OpenBook,
    OpenReveal,
    PlaceBid,
    RefuseBid,
    RevealBid,
    RevealOpened,
    SubmitTask,
    Task,
    TaskAwarded,
    TaskEvent,
    WithdrawBid,
)
from aggregates.values.ranking import AwardPolicy, BidderFacts
from aggregates.values.sealed_bids import commitment_of, sealed_text
from runtime.errors import Refused
from tests.examples import AT, command_by_type

SALT = "0b" * 16
SUBMIT: SubmitTask = replace(command_by_type[SubmitTask], award_policy=AwardPolicy.SECOND_PRICE)


def called(*names: str) -> OpenBook:
    candidates = tuple(
        Candidate(agent_id=name, capabilities=("qubo",), slots=1, running=0, position=1) for name in names
    )
    return OpenBook(task_id="t1", round=1, candidates=candidates, at=AT)


def opening(agent_id: str, price: float, **changes: Any) -> RevealBid:
    made = RevealBid(task_id="t1", agent_id=agent_id, price=price, eta_seconds=5.0, salt=SALT, at=AT + 2)
    return replace(made, **changes)


def commitment(bid: RevealBid) -> CommitBid:
    said = {name: getattr(bid, name) for name in ("price", "eta_seconds", "confidence", "capacity_offer", "salt")}
    sealed = commitment_of(sealed_text(task_id="t1", round=1, agent_id=bid.agent_id, **said))
    return CommitBid(task_id="t1", agent_id=bid.agent_id, commitment=sealed, at=AT + 1)


REVEAL = OpenReveal(task_id="t1", round=1, at=AT + 2)


def award(*names: str, full: tuple[str, ...] = ()) -> AwardTask:
    bidders = tuple(
        BidderFacts(agent_id=name, slots=1, running=int(name in full), lease_seconds=30.0, position=1) for name in names
    )
    return AwardTask(task_id="t1", round=1, bidders=bidders, at=AT + 9)


def after(*commands: Any) -> Task:
    state = task.initial
    for command in commands:
        for event in task.decide(state, command):
            state = task.evolve(state, event)
    return state


def events(command: Any, *before: Any) -> list[TaskEvent]:
    return list(task.decide(after(*before), command))


def refusal(command: Any, *before: Any) -> Refused:
    with pytest.raises(Refused) as refused:
        task.decide(after(*before), command)
    return refused.value


ANN, BOB = opening("ann", 2.0), opening("bob", 3.0)
OPEN = (SUBMIT, called("ann", "bob"))
SEALED = (*OPEN, commitment(ANN), commitment(BOB))
REVEALING = (*SEALED, REVEAL)


def ended(*openings: RevealBid, submit: SubmitTask = SUBMIT, full: tuple[str, ...] = ()) -> TaskAwarded | BookVoided:
    """What comes of a book in which all these were committed to and opened."""
    names = [one.agent_id for one in openings]
    state = after(submit, called(*names), *map(commitment, openings), REVEAL, *openings)
    (event,) = task.decide(state, award(*names, full=full))
    assert isinstance(event, TaskAwarded | BookVoided)
    return event


def won(event: TaskAwarded | BookVoided) -> TaskAwarded:
    assert isinstance(event, TaskAwarded)
    return event


def test_the_lowest_price_wins_and_is_paid_the_second_lowest() -> None:
    event = won(ended(ANN, BOB, opening("cat", 5.0)))
    assert (event.agent_id, event.price, event.price_asked) == ("ann", 3.0, 2.0)
    assert event.reason == "ann offered a price of 2, bob a price of 3; it is paid 3"
    assert [(one.agent_id, one.price) for one in event.opened] == [("ann", 2.0), ("bob", 3.0), ("cat", 5.0)]
    for one in event.opened:  # whoever has the record alone can check it
        said = {name: getattr(one, name) for name in ("price", "eta_seconds", "confidence", "capacity_offer", "salt")}
        text = sealed_text(task_id="t1", round=1, agent_id=one.agent_id, **said)
        assert commitment_of(text) == one.commitment


def test_who_bids_alone_is_paid_what_the_task_allows_or_else_its_own_price() -> None:
    assert won(ended(ANN, submit=replace(SUBMIT, price_max=9.0))).price == 9.0
    alone = won(ended(ANN))
    assert (alone.price, alone.price_asked) == (2.0, None)
    # The second lowest is of those that could win.
    assert won(ended(ANN, BOB, opening("cat", 5.0), full=("bob",))).price == 5.0


def test_no_bid_over_the_budget_wins_whatever_the_policy() -> None:
    event = won(ended(ANN, BOB, submit=replace(SUBMIT, price_max=2.5)))
    assert ([one.lost for one in event.ranking], event.price) == (["", "price_over_budget"], 2.5)
    assert isinstance(ended(ANN, BOB, submit=replace(SUBMIT, price_max=1.0)), BookVoided)
    usual = replace(SUBMIT, award_policy=AwardPolicy.WEIGHTED_SCORE, price_max=2.0)
    bids = [
        PlaceBid(task_id="t1", agent_id=name, price=price, eta_seconds=5.0, at=AT)
        for name, price in (("ann", 2.5), ("bob", 2.0))
    ]
    (found,) = events(award("ann", "bob"), usual, called("ann", "bob"), *bids)
    assert isinstance(found, TaskAwarded)
    assert (found.agent_id, found.ranking[1].lost, found.price) == ("bob", "price_over_budget", 2.0)


def test_what_is_not_opened_or_opened_otherwise_loses_by_name() -> None:
    other = replace(ANN, price=1.0)
    (revealed,) = events(other, *REVEALING)
    assert isinstance(revealed, BidRevealed)
    assert not revealed.matches
    (event,) = events(award("ann", "bob"), *REVEALING, other)
    assert isinstance(event, BookVoided)
    assert {one.agent_id: one.lost for one in event.ranking} == {"ann": "commitment_mismatch", "bob": "not_revealed"}
    assert (event.reason, [one.agent_id for one in event.opened]) == ("none_fit", ["ann"])
    for changed in ({"salt": "0c" * 16}, {"eta_seconds": 5.5}, {"confidence": 0.5}, {"capacity_offer": 1.0}):
        (one,) = events(replace(ANN, **changed), *REVEALING)
        assert isinstance(one, BidRevealed)
        assert not one.matches


def test_a_commitment_is_replaced_or_taken_back_until_bids_are_opened() -> None:
    better = commitment(replace(ANN, price=1.5))
    (event,) = events(better, *SEALED)
    assert isinstance(event, BidCommitted)
    assert events(commitment(ANN), *SEALED) == []
    assert [one.agent_id for one in after(*SEALED, WithdrawBid(task_id="t1", agent_id="ann", at=AT)).sealed] == ["bob"]
    assert after(*SEALED, RefuseBid(task_id="t1", agent_id="ann", at=AT)).refused == ("ann",)
    for late in (
        better,
        WithdrawBid(task_id="t1", agent_id="ann", at=AT),
        RefuseBid(task_id="t1", agent_id="bob", at=AT),
    ):
        assert refusal(replace(late, at=AT + 3), *REVEALING).code == "bids_are_opened"


def test_each_phase_takes_its_own_words_alone() -> None:
    open_bid = PlaceBid(task_id="t1", agent_id="ann", price=1.0, eta_seconds=5.0, at=AT)
    usual = (replace(SUBMIT, award_policy=AwardPolicy.LOWEST_COST), called("ann", "bob"))
    assert refusal(open_bid, *OPEN).code == "bids_are_sealed"
    assert refusal(commitment(ANN), *usual).code == "bids_are_open"
    assert refusal(ANN, *SEALED).code == "bids_are_sealed"
    assert refusal(ANN, *OPEN).code == "commitment_unknown"
    assert refusal(award("ann", "bob"), *SEALED).code == "bids_are_sealed"
    assert refusal(replace(REVEAL, at=AT + 1), *OPEN, commitment(ANN)).code == "book_open"
    assert refusal(replace(REVEAL, at=AT + 9), *OPEN).code == "nothing_sealed"
    assert refusal(replace(ANN, at=AT + 30), *REVEALING).code == "book_closed"
    assert refusal(replace(award("ann", "bob"), at=AT + 3), *REVEALING, ANN).code == "book_open"
    assert refusal(replace(ANN, price=1.0), *REVEALING, ANN).code == "bid_is_opened"
    assert events(ANN, *REVEALING, ANN) == events(REVEAL, *REVEALING) == []
    pressing = (replace(SUBMIT, deadline=AT + 6), *REVEALING[1:])
    assert refusal(replace(ANN, at=AT + 3), *pressing).code == "eta_past_deadline"


def test_the_time_to_open_bids_is_that_for_the_commitments_and_ends_when_all_are_open() -> None:
    (opened,) = events(REVEAL, *SEALED)
    assert opened == RevealOpened(task_id="t1", round=1, committed=("ann", "bob"), closes_at=AT + 4)
    early = replace(award("ann", "bob"), at=AT + 2.5)
    assert isinstance(events(early, *REVEALING, ANN, BOB)[0], TaskAwarded)
    voided = events(replace(award(), at=AT + 3), *OPEN)
    assert isinstance(voided[0], BookVoided)
    again = after(*REVEALING, award("ann", "bob"), replace(called("ann"), round=2))
    assert (again.sealed, again.bids, again.is_revealing) == ((), (), False)


# ---- laws

prices = st.one_of(st.sampled_from([0.0, 1.0, 2.0, 3.0]), st.floats(0, 1e6))
rivals = st.lists(prices, max_size=5)


def utility(cost: float, asked: float, others: list[float], price_max: float | None) -> float:
    """What an agent with this cost gains by asking so much, beside what the others ask."""
    openings = [opening(f"r{number}", price) for number, price in enumerate(others)]
    event = ended(opening("me", asked), *openings, submit=replace(SUBMIT, price_max=price_max))
    return event.price - cost if isinstance(event, TaskAwarded) and event.agent_id == "me" else 0.0


@given(prices, prices, rivals, prices)
def test_nobody_gains_by_asking_anything_but_its_cost(
    cost: float, other: float, others: list[float], most: float
) -> None:
    honest = utility(cost, cost, others, most)
    assert honest >= 0
    assert honest >= utility(cost, other, others, most)


@given(prices, prices, st.lists(prices, min_size=1, max_size=5))
def test_nor_without_a_reserve_where_somebody_else_could_win(cost: float, other: float, others: list[float]) -> None:
    assert utility(cost, cost, others, None) >= utility(cost, other, others, None)


@given(st.lists(prices, min_size=1, max_size=6), st.none() | prices)
def test_the_winner_is_paid_no_less_than_it_asked_and_no_more_than_the_others_asked(
    asked: list[float], most: float | None
) -> None:
    openings = [opening(f"r{number}", price) for number, price in enumerate(asked)]
    event = ended(*openings, submit=replace(SUBMIT, price_max=most))
    fit = sorted(price for price in asked if most is None or price <= most)
    if not fit:
        assert isinstance(event, BookVoided)
        return
    event = won(event)
    own = event.price if event.price_asked is None else event.price_asked
    assert own == fit[0] <= event.price
    assert event.price == (fit[1] if len(fit) > 1 else own if most is None else most)
    assert most is None or event.price <= most


@given(st.lists(prices, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_the_order_in_which_bids_are_committed_to_and_opened_plays_no_part(asked: list[float], random: Any) -> None:
    openings = [opening(f"r{number}", price) for number, price in enumerate(asked)]
    commitments = [commitment(one) for one in openings]
    names = [one.agent_id for one in openings]
    first, second = list(commitments), list(openings)
    random.shuffle(first)
    random.shuffle(second)
    ordered = after(SUBMIT, called(*names), *commitments, REVEAL, *openings)
    shuffled = after(SUBMIT, called(*names), *first, REVEAL, *second)
    assert ordered == shuffled
    assert task.decide(ordered, award(*names)) == task.decide(shuffled, award(*reversed(names)))
