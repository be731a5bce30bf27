"""Commands that run in this process leave its logs as they were."""

import logging
from collections.abc import Iterator

import pytest
import structlog

from gateway.commands import common


@pytest.fixture(autouse=True)
def _loggers_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger that is kept would write to where this test's errors went, long after that is closed."""
    monkeypatch.setattr(common, "configure", lambda *_: None)


@pytest.fixture(autouse=True)
def _logs_go_their_old_way_afterwards() -> Iterator[None]:
    before, handlers, level = structlog.get_config(), logging.root.handlers[:], logging.root.level
    yield
    structlog.configure(**before)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
