"""Places of a node: never more are given than there are, nobody waits for more than a turn, and what is not used comes back."""

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agents.coordinating.allotment import Allotment, Seat


def takes(seat: Seat, level: int = 0, wants: int = 32) -> int:
    """Claims and uses all that it gets, as a coordinator does."""
    given = seat.claim(level, wants)
    seat.settle(given)
    seat.report(seat.taken + given)
    return given


WEIGHTS = st.lists(st.sampled_from([0.25, 0.5, 1.0, 1.5, 2.0, 3.0]), min_size=2, max_size=5)


@given(weights=WEIGHTS, places=st.integers(1, 7), ends=st.lists(st.integers(0, 10**6), min_size=1, max_size=120))
def test_of_those_who_wait_all_the_time_nobody_lags_by_more_than_a_turn(weights: Any, places: int, ends: Any) -> None:
    """The bound of deficit round robin for costs of one: a quantum, and what is less than one place."""
    allotment = Allotment(places, weights={f"t{number}": weight for number, weight in enumerate(weights)})
    seats = [allotment.seat(f"t{number}") for number in range(len(weights))]
    served: Counter[str] = Counter()
    for seat in seats:
        served[seat.tenant] += takes(seat)
    first = Counter(served)  # whoever came first found all places free
    for end in ends:
        held = [seat for seat in seats if seat.taken]
        done = held[end % len(held)]
        done.report(done.taken - 1)
        for seat in seats:
            served[seat.tenant] += takes(seat)
            assert sum(one.used for one in seats) <= places
        turns = [(served[one.tenant] - first[one.tenant]) / one.quantum for one in seats]
        margins = [1 / one.quantum for one in seats]
        for turn, margin in zip(turns, margins, strict=True):
            assert max(turns) - turn <= 1 + margin + max(margins)


@given(st.data())
def test_no_more_places_are_given_than_there_are_whatever_is_said(data: st.DataObject) -> None:
    places, own = data.draw(st.integers(1, 5)), data.draw(st.integers(0, 3))
    allotment = Allotment(places, own)
    seats = [allotment.seat(name) for name in "abc"]
    held = dict.fromkeys("abc", 0)
    for _ in range(data.draw(st.integers(1, 40))):
        seat = data.draw(st.sampled_from(seats))
        match data.draw(st.sampled_from(["claim", "end", "rest", "refused"])):
            case "claim" | "refused" as said:
                given = seat.claim(data.draw(st.integers(0, 2)), data.draw(st.integers(1, 4)))
                opened = data.draw(st.integers(0, given))
                seat.settle(opened)
                held[seat.tenant] += opened if said == "claim" else 0
                seat.report(held[seat.tenant])
            case "end" if held[seat.tenant]:
                held[seat.tenant] -= 1
                seat.report(held[seat.tenant])
            case "rest":
                seat.rest()
        assert sum(held.values()) + sum(one.granted for one in seats) <= places
        assert not own or max(held.values()) <= own
        assert allotment.free == 0 or not any(one.wants for one in seats)  # nobody waits beside a free place


def test_a_higher_level_comes_first_whatever_others_have_waited() -> None:
    allotment = Allotment(1)
    low, high = allotment.seat("low"), allotment.seat("high")
    assert takes(low, level=3) == 1
    assert takes(low, level=3) == takes(high, level=4) == 0
    low.report(0)
    assert (low.granted, high.granted) == (0, 1)


def test_who_gets_places_that_it_waits_for_is_roused_and_no_one_else() -> None:
    allotment, roused = Allotment(2), []
    seats = [allotment.seat(name) for name in "abc"]
    for seat in seats:
        seat.rouse = lambda seat=seat: roused.append(seat.tenant)  # type: ignore[misc]
    a, b, c = seats
    assert (takes(a, wants=2), takes(b, wants=1), takes(c, wants=1)) == (2, 0, 0)
    assert roused == []
    a.report(0)
    assert roused == ["b", "c"]


def test_a_grant_that_is_not_used_goes_to_the_next_who_waits() -> None:
    allotment = Allotment(1)
    a, b, c = (allotment.seat(name) for name in "abc")
    assert [takes(seat, wants=1) for seat in (a, b, c)] == [1, 0, 0]
    a.report(0)
    assert (b.granted, c.granted) == (1, 0)
    assert b.claim(0, 1) == 1
    b.settle(0)  # its task was cancelled meanwhile
    assert (b.used, c.granted) == (0, 1)


def test_who_stops_waiting_gives_back_what_it_was_granted() -> None:
    allotment = Allotment(1)
    a, b, c = (allotment.seat(name) for name in "abc")
    assert [takes(seat, wants=1) for seat in (a, b, c)] == [1, 0, 0]
    a.report(0)
    b.rest()
    assert (b.used, c.granted) == (0, 1)


def test_what_was_never_opened_comes_back_with_the_next_report() -> None:
    allotment = Allotment(1)
    a, b = allotment.seat("a"), allotment.seat("b")
    assert a.claim(0, 1) == 1
    a.settle(1)
    assert b.claim(0, 1) == 0
    a.report(0)  # the decision was refused
    assert b.granted == 1


def test_more_may_be_taken_than_there_are_places_after_a_start_and_then_nothing_is_given_until_fewer_are() -> None:
    allotment = Allotment(2)
    a, b = allotment.seat("a"), allotment.seat("b")
    a.report(4)
    assert takes(b, wants=1) == 0
    a.report(2)
    assert b.granted == 0
    a.report(1)
    assert b.granted == 1


def test_a_tenant_has_a_bound_of_its_own_where_the_node_has_none() -> None:
    allotment = Allotment(own=2)
    a, b = allotment.seat("a"), allotment.seat("b")
    assert (takes(a), takes(a), takes(b, wants=1)) == (2, 0, 1)
    told = allotment.stands("a")
    assert (told.mine, told.own, told.taken, told.places) == (2, 2, 3, 0)
    assert (told.tenant_is_full, told.node_is_full) == (True, False)
    assert not allotment.stands("b").tenant_is_full
