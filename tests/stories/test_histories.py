"""The gate: whatever was ever decided in a kept history is decided alike by the rules of today, upon facts that were so."""

from pathlib import Path

import pytest

from aggregates.catalog import AGGREGATES
from gateway.audit.report import replay_journal
from gateway.storage.journal_file import JournalFile, open_journal
from runtime.decidable import WITHHELD
from runtime.records import name_of, noun
from runtime.verification import verify
from tests.stories.histories import FOLDER, kept, unpack


@pytest.mark.parametrize("history", kept(), ids=lambda path: path.name.partition(".")[0])
def test_every_command_of_a_kept_history_is_decided_as_it_was(history: Path, tmp_path: Path) -> None:
    journal = unpack(history, tmp_path)
    assert verify(journal).whole
    with open_journal(journal) as connection:
        log = JournalFile(connection, journal)
        found, newer = replay_journal(log, 1, log.newest_position())
    assert (found.diffs, found.strays, found.false_facts, newer) == ([], [], [], [])
    # Whose keys were destroyed, or were never kept beside a history, tells nothing for or against a rule.
    assert all(one.reason == WITHHELD for one in found.undecided)
    assert 0 < found.commands == found.equal + len(found.undecided)
    assert len(found.undecided) < found.commands / 10


def test_every_command_of_every_aggregate_stands_in_a_history(tmp_path: Path) -> None:
    recorded = set[str]()
    for history in kept():
        journal = unpack(history, tmp_path)
        with open_journal(journal) as connection:
            records = JournalFile(connection, journal).read(0, 100_000)
        recorded |= {name_of(record.meta.command.name) for record in records if record.meta.command is not None}
    recorded.add(
        "archive.ArchiveStreams"
    )  # its journal is no history without the archive: gateway/upkeep/test_archiving has one replayed
    commands = {f"{noun(aggregate)}.{kind.__name__}" for aggregate in AGGREGATES for kind in aggregate.COMMANDS}
    assert sorted(commands - recorded) == [], "add them to tests/stories/life.py: python -m tests.stories.histories"


def test_the_histories_are_small() -> None:
    assert all(path.stat().st_size < 300_000 for path in FOLDER.iterdir())
