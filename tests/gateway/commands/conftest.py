"""Commands that run in this process leave its logs as they were."""

import pytest

from gateway.commands import common


@pytest.fixture(autouse=True)
def _loggers_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger that is kept would write to where this test's errors went, long after that is closed."""
    monkeypatch.setattr(common, "configure", lambda *_: None)


@pytest.fixture(autouse=True)
def _logs_go_their_old_way_afterwards(logs_as_they_were: None) -> None:
    """For all commands."""
