"""Where a request comes from, as a record holds it: the client, whom the door has found, and what the sender says of itself."""

from typing import Any

from starlette.requests import HTTPConnection

from gateway.origins import NOBODY, WORDS_MAX, address_of, origin_of


def connection(peer: str | None, **headers: str) -> HTTPConnection:
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope: dict[str, Any] = {"type": "http", "headers": lines, "client": (peer, 1) if peer else None}
    return HTTPConnection(scope)


def test_an_address_is_the_clients_and_no_header_of_the_sender_changes_it():
    assert address_of(connection("192.0.2.7", x_forwarded_for="203.0.113.9")) == "192.0.2.7"
    assert address_of(connection(None)) == NOBODY


def test_what_a_sender_says_of_itself_is_cut_and_a_reason_of_the_query_wins():
    long = connection("192.0.2.7", user_agent="u" * 999, gavel_reason="header", gavel_on_behalf_of="tenant:acme")
    origin = origin_of(long, "GET /", reason="query")
    assert (len(origin.user_agent), origin.reason, origin.behalf) == (WORDS_MAX, "query", "tenant:acme")
    assert origin_of(long, "GET /").reason == "header"
