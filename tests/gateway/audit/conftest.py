"""Commands that run in this process leave its logs as they were."""

import pytest


@pytest.fixture(autouse=True)
def _logs_go_their_old_way_afterwards(logs_as_they_were: None) -> None:
    """For all commands."""
