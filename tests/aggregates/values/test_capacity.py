"""Units: resources add up to them, and an agent has room for so many."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregates.values.capacity import RESOURCES_MAX, UNITS_MAX, fits, resource_faults, room, total, units_of

amounts = st.floats(0, 1000).map(lambda units: round(units, 3))


def test_a_task_takes_the_sum_of_its_resources_and_none_where_it_names_none() -> None:
    assert units_of({"complexity": "high", "resources": {"cpu": 2.0, "memory": 4}}) == 6.0
    assert units_of({}) == units_of({"resources": {}}) == 0.0


@pytest.mark.parametrize(
    "resources,found",
    [
        (
            {"cpu": -1.0, "gpu": "many", "memory": True, "disk": 2e9, "net": 1},
            ["cpu is negative (-1)", "gpu is no number", "memory is no number", "disk is more than 1e+09"],
        ),
        ({"cpu": UNITS_MAX, "memory": UNITS_MAX}, [" take more than 1e+09 units together"]),
        ({"cpu": float("inf")}, ["cpu is no number"]),
        (["cpu"], [" is no object of numbers"]),
        (None, [" is no object of numbers"]),
        (dict.fromkeys(map(str, range(RESOURCES_MAX + 1)), 1), [" names 33; 32 is the most"]),
        ({"cpu": 0, "memory": UNITS_MAX}, []),
    ],
)
def test_every_fault_of_the_resources_is_named(resources: Any, found: list[str]) -> None:
    start = "requirements/resources"
    expected = [f"{start}{fault}" if fault.startswith(" ") else f"{start}/{fault}" for fault in found]
    assert [str(fault) for fault in resource_faults({"resources": resources})] == expected


@given(st.lists(amounts, max_size=20), amounts, st.randoms())
def test_what_is_used_is_the_same_in_any_order_and_what_fits_is_never_more_than_the_capacity(
    held: list[float], units: float, chance: Any
) -> None:
    other = held[:]
    chance.shuffle(other)
    assert total(held) == total(other)
    assert fits(units, 1000.0, total(held)) == (not units or total([*held, units]) <= 1000.0)


def test_tenths_add_up() -> None:
    assert fits(0.2, 0.3, total([0.1]))
    assert room(0.3, total([0.1, 0.2])) == 0.0
    assert not fits(0.000001, 0.3, 0.3)
    assert fits(0.0, 0.3, 5.0)  # who needs nothing has room anywhere
    assert fits(9.0, None, 0.0)  # as it was before units were counted
