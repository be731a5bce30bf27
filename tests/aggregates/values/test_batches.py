"""A proposal is taken at its word in nothing: it has to be possible, and as good as anything but for epsilon."""

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from aggregates import coordination
from aggregates.coordination import AssignBatch
from aggregates.values.batches import BatchBook, SlotPrice, places_of, prove, shares_of, why_lost, worth_of
from aggregates.values.ranking import Bid, BidderFacts, Ranked
from runtime.errors import Refused
from tests.examples import AT, BATCH_SHARE, SLOT_PRICES, command_by_type

GOOD: AssignBatch = command_by_type[AssignBatch]
PRICE = SLOT_PRICES[0]


@pytest.mark.parametrize(
    "changed, why",
    [
        ({"agents": {}}, "short of the best"),
        ({"agents": {"t1": "bob"}}, "no bid that could win"),
        ({"agents": {"t2": "ann"}}, "no bid that could win"),
        ({"epsilon": 0.0}, "epsilon is"),
        ({"epsilon": float("nan")}, "epsilon is"),
        ({"prices": ()}, "not one price for each"),
        ({"prices": (PRICE, PRICE)}, "not one price for each"),
        ({"prices": (replace(PRICE, price=-1.0),)}, "the price of ann"),
        ({"prices": (replace(PRICE, price=1.0),), "agents": {}}, "short of the best"),
        ({"prices": (replace(PRICE, slots=1),)}, "has 2 slots"),
        ({"prices": (replace(PRICE, free=1),)}, "has 2 slots"),
        ({"prices": (replace(PRICE, position=9),)}, "has 2 slots"),
        ({"books": GOOD.books * 2}, "named twice"),
        ({"bidders": GOOD.bidders[1:]}, "not one price for each"),
        ({"aged_at": AT + 3}, "proposed -1.0 s ago"),
        ({"aged_at": AT - 100}, "proposed 102.0 s ago"),
    ],
)
def test_what_does_not_hold_is_refused(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused, match=why):
        coordination.decide(coordination.initial, replace(GOOD, **changed))


def test_batches_are_counted_and_stopping_does_not_forget_them() -> None:
    state = coordination.initial
    for number in (1, 2):
        (event,) = coordination.decide(state, GOOD)
        assert isinstance(event, coordination.BatchAssigned)
        assert (event.number, event.value) == (number, event.dual_bound)
        state = coordination.evolve(state, event)
    assert coordination.evolve(state, coordination.CoordinationStopped(reason="")).batches == 2


def facts(name: str, **changed: Any) -> BidderFacts:
    told = BidderFacts(agent_id=name, slots=1, running=0, lease_seconds=30.0, max_capacity=10.0, position=3)
    return replace(told, **changed)


def book(name: str, bidders: dict[str, float], units: float = 0.0) -> BatchBook:
    bids = [
        Bid(agent_id=who, price=price, eta_seconds=9.0, confidence=0.5, capacity_offer=0.0, expires_at=None)
        for who, price in sorted(bidders.items())
    ]
    return replace(GOOD.books[0], task_id=name, units=units, bids=tuple(bids))


def test_units_have_to_be_enough_together_and_slots_are_held_back_only_as_far_as_they_are_not() -> None:
    books = [book(f"t{number}", {"ann": 1.0}, units=4.0) for number in range(3)]
    ann = facts("ann", slots=3)
    worth = worth_of(books, [ann], at=AT, rate=0.0, weights=None)
    places = places_of(worth, [ann])
    assert (places["ann"].free, places["ann"].safe) == (3, 2)
    free = SlotPrice(agent_id="ann", free=3, slots=3, price=0.0, position=3)
    _, fault = prove(worth, places, {one.task_id: "ann" for one in books}, [free], 0.1)
    assert fault == "ann would hold 12.0 units more, and has 10.0 left"
    value = worth[0].values["ann"]
    held_back = replace(free, slots=2, price=value)
    proof, fault = prove(worth, places, {"t0": "ann", "t1": "ann"}, [held_back], 0.1)
    assert fault == ""
    assert [proof.value, proof.dual_bound] == pytest.approx([2 * value, 3 * value])
    _, fault = prove(worth, places, {"t0": "ann"}, [replace(held_back, slots=1)], 0.1)
    assert "has 3 slots, 2 where units are short, not 1" in fault


small = st.integers(1, 3)


@given(st.data())
def test_no_proposal_is_taken_that_falls_short_of_the_best_by_more_than_it_says(data: st.DataObject) -> None:
    agents = [facts(f"a{number}", slots=data.draw(small)) for number in range(data.draw(small))]
    prices = st.floats(0.1, 9.0)
    books = [
        book(f"t{number}", data.draw(st.dictionaries(st.sampled_from([one.agent_id for one in agents]), prices)))
        for number in range(data.draw(small))
    ]
    worth = [one for one in worth_of(books, agents, at=AT, rate=0.0, weights=None) if one.values]
    places = places_of(worth, agents)
    choices = [[None, *one.values] for one in worth]
    feasible = {
        chosen: sum(one.values[name] for one, name in zip(worth, chosen, strict=True) if name is not None)
        for chosen in product(*choices)
        if all(chosen.count(name) <= place.free for name, place in places.items())
    }
    chosen = data.draw(st.sampled_from(sorted(feasible, key=str)))
    epsilon = data.draw(st.floats(0.001, 1.0))
    told = [
        SlotPrice(
            agent_id=name,
            free=one.free,
            slots=one.free,
            price=data.draw(st.sampled_from([0.0, *sorted(value for each in worth for value in each.values.values())])),
            position=3,
        )
        for name, one in places.items()
    ]
    agents_by_task = {one.book.task_id: name for one, name in zip(worth, chosen, strict=True) if name is not None}
    proof, fault = prove(worth, places, agents_by_task, told, epsilon)
    best = max(feasible.values())
    if not fault:
        assert proof.value == pytest.approx(feasible[chosen])
        assert best <= proof.dual_bound + 1e-9
        assert feasible[chosen] >= best - len(worth) * epsilon - 1e-6
    shares = shares_of(worth, 7, agents_by_task, {one.agent_id: one.price for one in told})
    assert [share.agent_id for share in shares] == [name or "" for name in chosen]


def test_why_a_bid_lost_is_told_apart() -> None:
    low, high = Ranked(agent_id="low", score=0.4), Ranked(agent_id="high", score=0.6)
    assert why_lost(Ranked(agent_id="ann", lost="slots_full"), low, BATCH_SHARE) == "slots_full"
    assert why_lost(high, low, BATCH_SHARE) == "worth_more_elsewhere"
    assert why_lost(high, None, BATCH_SHARE) == "worth_more_elsewhere"
    assert why_lost(low, high, BATCH_SHARE) == "outscored"
    assert why_lost(low, high, None) == "outscored"
