"""A journal's records as they are committed, for the agents of a benchmark that live in the node's own process."""

from collections.abc import AsyncGenerator

from runtime.journal import Journal
from runtime.records import Recorded

PAGE = 500


async def follow(journal: Journal, after: int) -> AsyncGenerator[list[Recorded], None]:
    """Pages of what is recorded past a position, for ever."""
    while True:
        await journal.wait_past(after)
        page = await journal.read(after, PAGE)
        after = page[-1].position
        yield page
