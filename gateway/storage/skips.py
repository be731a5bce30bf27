"""Which events projections pass over, as the log tells it."""

from collections.abc import Callable, Iterable

from aggregates.projection import EventSkipped, stream
from runtime.read_models import Skipped
from runtime.records import Recorded


def skipped_in(read_stream: Callable[[str], Iterable[Recorded]]) -> Skipped:
    """What a projection passes over by the journal whose streams are read so."""

    def skipped(name: str) -> frozenset[int]:
        events = (recorded.event for recorded in read_stream(stream(name)))
        return frozenset(event.position for event in events if isinstance(event, EventSkipped))

    return skipped
