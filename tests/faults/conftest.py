"""What the tests of faults share: a journal in which everything happens soon."""

import pytest

from runtime import journal, system
from runtime.store import recorder

CHECKPOINT_PAGES, SAVE_RECORDS = 24, 10
"""So few that the log is checkpointed and begun anew, and memories are saved, several times in a short run."""

PAUSE_SECONDS = 0.0001


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs are short and memories are saved often."""
    monkeypatch.setattr(recorder, "AUTOCHECKPOINT_PAGES", CHECKPOINT_PAGES)
    monkeypatch.setattr(system, "SAVE_RECORDS", SAVE_RECORDS)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once."""
    monkeypatch.setattr(journal, "PAUSE_SECONDS_MIN", PAUSE_SECONDS)
    monkeypatch.setattr(journal, "RETRY_SECONDS", PAUSE_SECONDS)
