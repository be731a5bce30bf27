"""Addresses: each has its places and no more, whatever order they come and go in."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.door.addresses import PerAddress, canonical, key_of


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans())))
def test_places_are_counted_as_by_a_plain_list(steps: list[tuple[str, bool]]):
    places, taken = PerAddress(2, is_exempt=lambda address: address == "c"), Counter[str]()
    for address, comes in steps:
        if comes:
            place = places.enter(address)
            assert (place is None) == (address != "c" and taken[address] == 2)
            taken[address] += place is not None
        elif taken[address]:
            places.leave("" if address == "c" else address)
            taken[address] -= 1
    assert len(places) == sum(1 for address in "ab" if taken[address])


@pytest.mark.parametrize(
    "address,key",
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
    ],
)
def test_an_ipv6_client_has_its_network_to_itself(address: str, key: str):
    assert key_of(address) == key


def test_an_address_has_one_spelling():
    assert [canonical(one) for one in ("::ffff:192.0.2.7", "2001:DB8:0:0::1", "unix")] == [
        "192.0.2.7", "2001:db8::1", "unix"
    ]  # fmt: skip
