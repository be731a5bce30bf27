"""Proxies: beyond our own they say who sent a request; what a sender makes up is never believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.door.proxies import UNIX, Client, Names, Proxies, forwarded

OURS = ("10.0.0.1", "10.0.0.2", "2001:db8::aa")


def lines(name: str, *values: str) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1")) for value in values]


@pytest.mark.parametrize(
    "peer,told,address",
    [
        ("192.0.2.7", [], "192.0.2.7"),
        ("192.0.2.7", ["203.0.113.9"], "192.0.2.7"),
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["made up"], "10.0.0.1"),
        ("10.0.0.1", ["2001:DB8::1"], "2001:db8::1"),
        ("10.0.0.1", ["[2001:db8::1]:443"], "2001:db8::1"),
        ("10.0.0.1", ["203.0.113.9:5123"], "203.0.113.9"),
        ("10.0.0.1", ["::ffff:203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9, "], "10.0.0.1"),
    ],
)
def test_an_address_is_the_last_that_is_none_of_our_proxies(peer: str, told: list[str], address: str):
    assert Proxies(OURS).client_of(peer, lines("x-forwarded-for", *told)).address == address


@pytest.mark.parametrize(
    "header,client",
    [
        ("for=203.0.113.9;proto=https;by=10.0.0.1", Client("203.0.113.9", "https")),
        ('For="[2001:db8::1]:4711";Proto=http', Client("2001:db8::1", "http")),
        ("for=198.51.100.1, for=203.0.113.9;proto=https, for=10.0.0.2;proto=http", Client("203.0.113.9", "https")),
        ('for="never closed, for=203.0.113.9;proto=https', Client("203.0.113.9", "https")),
        ("for=_hidden;proto=https", Client("10.0.0.1", "https")),
        ("for=unknown", Client("10.0.0.1")),
        ("nonsense", Client("10.0.0.1")),
        ("for=203.0.113.9;proto=gopher", Client("203.0.113.9")),
    ],
)
def test_the_standard_header_is_read_from_its_end(header: str, client: Client):
    assert Proxies(OURS, "Forwarded").client_of("10.0.0.1", lines("forwarded", header)) == client


@pytest.mark.parametrize(
    "hops,schemes,scheme",
    [
        ("203.0.113.9", "https", "https"),
        ("203.0.113.9, 10.0.0.2", "https, http", "https"),
        ("198.51.100.1, 203.0.113.9", "http, https", "https"),
        ("203.0.113.9, 10.0.0.2", "https", "https"),
        ("203.0.113.9", "javascript", ""),
        ("203.0.113.9", "", ""),
    ],
)
def test_the_scheme_is_what_the_proxy_nearest_to_the_client_tells(hops: str, schemes: str, scheme: str):
    told = lines("x-forwarded-for", hops) + lines("x-forwarded-proto", schemes)
    assert Proxies(OURS).client_of("10.0.0.1", told) == Client("203.0.113.9", scheme)


def test_the_header_that_is_not_agreed_on_is_ignored():
    both = lines("x-forwarded-for", "203.0.113.9") + lines("forwarded", "for=198.51.100.1")
    assert Proxies(OURS).client_of("10.0.0.1", both).address == "203.0.113.9"
    assert Proxies(OURS, "Forwarded").client_of("10.0.0.1", both).address == "198.51.100.1"


def test_peers_by_unix_socket_are_proxies_only_by_a_word():
    told = lines("x-forwarded-for", "203.0.113.9")
    assert Proxies().client_of(UNIX, told).address == UNIX
    assert Proxies([UNIX]).client_of(UNIX, told).address == "203.0.113.9"


@pytest.mark.parametrize("address", ["10.0.0.0/8", "proxy.example", "", "unix:/run/x"])
def test_a_proxy_is_named_by_its_exact_address(address: str):
    with pytest.raises(ValueError, match="no address of a proxy"):
        Proxies([address])


def test_whoever_is_near_is_named_by_one_rule():
    ours = Proxies(OURS)
    assert [ours.is_near(one) for one in ("127.0.0.1", "::1", UNIX, "10.0.0.1", "10.0.0.3", "192.0.2.7")] == [
        True, True, True, True, False, False
    ]  # fmt: skip


@given(header=st.text(st.characters(max_codepoint=255)), name=st.sampled_from(["X-Forwarded-For", "Forwarded"]))
def test_whatever_a_sender_writes_the_hop_that_our_proxy_added_is_the_client(header: str, name: Names):
    added = "203.0.113.9" if name == "X-Forwarded-For" else "for=203.0.113.9"
    told = lines(name.lower(), f"{header},{added}")
    assert Proxies(OURS, name).client_of("10.0.0.1", told).address == "203.0.113.9"
    assert all(isinstance(hop, dict) for hop in forwarded(header))
