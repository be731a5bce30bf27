"""A real node on a free port of loopback for each test that asks for its admin."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.clients import Client, open_client, settings_of


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[Client]:
    """The admin of a node that runs for this test alone."""
    async with open_client(settings_of(tmp_path)) as client:
        yield client
