"""Versions, ranges and attributes of skills: what is offered serves what is needed, by rules that anybody can follow."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregates.values.skill_terms import (
    SkillNeed,
    SkillOffer,
    evidence,
    need_faults,
    needs_in_order,
    offers_in_order,
    serve,
    unlisted,
    weight,
)
from aggregates.values.versions import contains, numbers, range_faults

dotted = st.lists(st.integers(0, 12), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))


@given(dotted, dotted)
def test_versions_are_compared_number_by_number(one: str, other: str) -> None:
    padded = [tuple([*map(int, text.split(".")), 0, 0, 0, 0][:4]) for text in (one, other)]
    assert contains(f">={other}", one) == (padded[0] >= padded[1])
    assert contains(f"=={other}", one) == (padded[0] == padded[1]) == (numbers(one) == numbers(other))
    assert contains(f"<{other}", one) != contains(f">={other}", one)
    assert contains(f">{other}", one) != contains(f"<={other}", one)


@pytest.mark.parametrize(
    "wanted,within,without",
    [
        (">=2.1,<3", ["2.1", "2.1.0", "2.10", "2.99.7"], ["2", "2.0.9", "3", "3.0", ""]),
        ("!=2.5, >2", ["2.0.1", "3"], ["2.5.0", "2", "1"]),
        ("", ["", "1"], []),
        ("== 1.0", ["1", "1.0.0"], ["1.0.1"]),
    ],
)
def test_a_range_holds_what_all_its_comparisons_hold(wanted: str, within: list[str], without: list[str]) -> None:
    assert range_faults(wanted) == []
    assert all(contains(wanted, version) for version in within)
    assert not any(contains(wanted, version) for version in without)


@pytest.mark.parametrize(
    "wanted,found",
    [
        ("~2", ["has '~2', which is no comparison such as >=2.1"]),
        (">=2,,<x", ["has '', which is no comparison such as >=2.1", "has '<x', which is no comparison such as >=2.1"]),
        (">3,<2", [">3,<2 fits no version"]),
        (">2,<2", [">2,<2 fits no version"]),
        ("==1,!=1.0", ["==1,!=1.0 fits no version"]),
        (",".join([">=1"] * 9), ["has 9 comparisons; 8 is the most"]),
    ],
)
def test_every_fault_of_a_range_is_named(wanted: str, found: list[str]) -> None:
    assert range_faults(wanted) == found
    told = need_faults([SkillNeed(name="a"), SkillNeed(name="b", version=wanted)])
    assert told == [("/skills/1/version", fault) for fault in found]


@given(st.lists(st.tuples(st.sampled_from(["==", "!=", ">=", "<=", ">", "<"]), dotted), min_size=1, max_size=4), dotted)
def test_a_range_that_holds_some_version_is_never_called_empty(parts: list[tuple[str, str]], version: str) -> None:
    wanted = ",".join(f"{operator}{number}" for operator, number in parts)
    if contains(wanted, version):
        assert range_faults(wanted) == []


OFFERS = (
    SkillOffer(name="python", version="2.7", attributes={"os": "linux", "gpu": True}),
    SkillOffer(name="python", version="3.11", attributes={"os": ("linux", "mac"), "cores": 8}),
    SkillOffer(name="sql"),
)


@pytest.mark.parametrize(
    "need,is_served",
    [
        ({"name": "python"}, True),
        ({"name": "python", "version": ">=3,<4"}, True),
        ({"name": "python", "version": ">=4"}, False),
        ({"name": "sql", "version": ">=0"}, False),  # no version is told
        ({"name": "python", "attributes": {"os": "mac"}}, True),
        ({"name": "python", "attributes": {"os": ("mac", "windows"), "cores": 8.0}}, True),
        ({"name": "python", "version": "<3", "attributes": {"os": "mac"}}, False),  # the one is old, the other no mac
        ({"name": "python", "attributes": {"gpu": 1}}, False),
        ({"name": "python", "attributes": {"gpu": True}}, True),
        ({"name": "python", "attributes": {"memory": 1}}, False),
        ({"name": "rust"}, False),
    ],
)
def test_one_offer_serves_a_whole_need_and_the_evidence_shows_it(need: dict[str, Any], is_served: bool) -> None:
    wanted = (SkillNeed(**need),)
    shown = evidence(wanted, OFFERS)
    assert (serve(OFFERS, wanted), serve(shown, wanted), len(shown)) == (is_served, is_served, int(is_served))
    for one in shown:
        assert one.attributes.keys() == wanted[0].attributes.keys()


def test_offers_and_needs_stand_in_one_order_each_once() -> None:
    assert offers_in_order([OFFERS[2], OFFERS[1], OFFERS[0], OFFERS[1]]) == OFFERS
    ten = SkillOffer(name="python", version="10")
    assert offers_in_order([ten, OFFERS[0]]) == (OFFERS[0], ten)
    two, one = SkillNeed(name="b"), SkillNeed(name="a", version=">1")
    assert needs_in_order([two, one, two]) == (one, two)
    assert unlisted(OFFERS, ["python"]) == ("sql",)
    assert weight((one, two)) > weight((two,)) > 0
