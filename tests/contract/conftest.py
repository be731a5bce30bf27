"""What the contract's tests share: one PostgreSQL server, and a fresh place in it for each test."""

from collections.abc import Iterator
from itertools import count

import pytest

from benchmarks.postgres_server import Server

_numbers = count(1)


@pytest.fixture(scope="session")
def _server() -> Iterator[Server]:
    server = Server()
    server.start()
    yield server
    server.close()


@pytest.fixture
def server(_server: Server) -> Server:
    """The running server; a test that stops it may leave it so."""
    _server.start()
    return _server


@pytest.fixture
def fresh_name() -> str:
    """A name that no other test has given to a journal."""
    return f"test{next(_numbers)}"
