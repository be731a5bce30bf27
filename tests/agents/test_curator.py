"""The curator takes down which events projections pass over."""

from pathlib import Path

from aggregates.projection import EventSkipped, SkipAccepted, SkipEvent, stream
from gateway.storage.skips import skipped_in
from tests.agents.crew import open_crew

SKIP = SkipEvent(projection="tasks/1", position=3, reason="written by a faulty release", failure="no digest")


async def test_a_skip_is_on_record_once_with_who_asked_and_why(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        for _ in range(2):
            assert await crew.ask(SKIP) == SkipAccepted(projection="tasks/1", position=3)
        (recorded,) = crew.system.journal.store.read_stream(stream("tasks/1"))
        assert isinstance(recorded.event, EventSkipped)
        assert (recorded.event.reason, recorded.meta.tenant) == (SKIP.reason, "acme")
        skipped = skipped_in(crew.system.journal.store.read_stream)
        assert (skipped("tasks/1"), skipped("tasks/2")) == (frozenset({3}), frozenset())
