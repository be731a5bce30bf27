"""Where a request comes from: the peer that the socket has, and beyond our own proxies what they say, never what a sender makes up."""

from typing import Any

import pytest
from starlette.requests import HTTPConnection

from gateway.origins import WORDS_MAX, address_of, origin_of

PROXIES = frozenset({"10.0.0.1", "10.0.0.2"})


def connection(peer: str | None, *forwarded: str, **headers: str) -> HTTPConnection:
    lines = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    lines += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope: dict[str, Any] = {"type": "http", "headers": lines, "client": (peer, 1) if peer else None}
    return HTTPConnection(scope)


@pytest.mark.parametrize(
    "peer,forwarded,address",
    [
        ("192.0.2.7", [], "192.0.2.7"),
        ("192.0.2.7", ["203.0.113.9"], "192.0.2.7"),
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["made up"], "10.0.0.1"),
        ("10.0.0.1", ["2001:DB8::1"], "2001:db8::1"),
        ("10.0.0.1", [], "10.0.0.1"),
        (None, [], "unknown"),
    ],
)
def test_an_address_is_the_last_that_is_none_of_our_proxies(peer: str | None, forwarded: list[str], address: str):
    assert address_of(connection(peer, *forwarded), PROXIES) == address


def test_what_a_sender_says_of_itself_is_cut_and_a_reason_of_the_query_wins():
    long = connection("192.0.2.7", user_agent="u" * 999, gavel_reason="header", gavel_on_behalf_of="tenant:acme")
    origin = origin_of(long, "GET /", (), reason="query")
    assert (len(origin.user_agent), origin.reason, origin.behalf) == (WORDS_MAX, "query", "tenant:acme")
    assert origin_of(long, "GET /", ()).reason == "header"
