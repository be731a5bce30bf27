"""What the contract's tests share: one PostgreSQL server, and a fresh place in it for each test."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from benchmarks.postgres_server import Server
from runtime.store import postgres_recorder
from runtime.store.store import Store
from tests.contract.places import Place, PostgresPlace, SqlitePlace

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


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """On each database, for tests that have no place of their own. The server is there; where the machine is busy it may take its time."""
    if request.param == "sqlite":
        return SqlitePlace(tmp_path)
    monkeypatch.setattr(postgres_recorder, "POOL_SECONDS", 60.0)
    return PostgresPlace(request.getfixturevalue("server").address, request.getfixturevalue("fresh_name"))


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    opened = place.open()
    yield opened
    opened.close()
