"""A real node on a free port of loopback for each test that asks for its admin; logs as they were, for tests of commands."""

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from tests.gateway.clients import Client, open_client, settings_of


@pytest.fixture
def logs_as_they_were() -> Iterator[None]:
    """Commands that run in this process leave its logs as they were."""
    before, handlers, level = structlog.get_config(), logging.root.handlers[:], logging.root.level
    yield
    structlog.configure(**before)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[Client]:
    """The admin of a node that runs for this test alone."""
    async with open_client(settings_of(tmp_path)) as client:
        yield client
