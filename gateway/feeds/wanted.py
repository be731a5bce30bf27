"""Which records a reader of the log wants: by stream, kind, principal and time; told apart at the node, so that no others are sent.

What is passed over costs its reader the reading and nobody else anything: a page is one read, and the cursor moves past what does not fit.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from aggregates.catalog import EVENTS_BY_NOUN, KINDS
from gateway.api.queries import AsOf, Parameter, kind, moment, words
from runtime.errors import Refused
from runtime.journal import Journal
from runtime.records import Recorded

STREAM_CHARACTERS_MAX = 300

COMMIT_SECONDS_MAX = 2.0
"""How long after its time a record may still be on its way to the disk."""

STREAM = words("stream", "Only records of this stream.", None, characters_max=STREAM_CHARACTERS_MAX)
KIND = kind(
    "Only records of this kind, `task.TaskAwarded`, or of all kinds of an aggregate, `task`.",
    "an aggregate, as task, or a kind of record, as task.TaskAwarded",
    [*EVENTS_BY_NOUN, *KINDS],
)
PRINCIPAL = words("principal", "Only records of what this principal asked for, as the log names it: `agent:ann`.", None)
SINCE = moment("since", "Only what was recorded at this time or later, or stands at this position or past it.")
UNTIL = moment("until", "Only what was recorded by this time, or stands up to this position; a feed ends there.")

FILTERS: tuple[Parameter[Any], ...] = (STREAM, KIND, PRINCIPAL, SINCE, UNTIL)


ANY = AsOf()


class Wanted(NamedTuple):
    """The records that a reader wants; what is not named does not matter. Times are in seconds since the epoch, UTC."""

    stream: str | None = None
    kind: str | None = None
    principal: str | None = None
    since: AsOf = ANY
    until: AsOf = ANY

    @property
    def is_narrow(self) -> bool:
        """Whether records between those that are wanted may be passed over."""
        return (self.stream, self.kind, self.principal) != (None, None, None)

    def fits(self, record: Recorded) -> bool:
        return (
            (self.stream is None or record.stream == self.stream)
            and (self.kind is None or self.kind in (record.kind, record.kind.partition(".")[0]))
            and (self.principal is None or record.meta.principal == self.principal)
            and not _before(record, self.since)
            and not self.is_past(record)
        )

    def is_past(self, record: Recorded) -> bool:
        """Whether nothing that is wanted can come any more, from this record on."""
        position, time = self.until
        return (position is not None and record.position > position) or (
            time is not None and record.meta.recorded_at > time
        )

    def is_over(self, position: int, at: float) -> bool:
        """Whether what is wanted has all been recorded, where the log stands at this position at this time."""
        last, time = self.until
        return (last is not None and position >= last) or (time is not None and at > time + COMMIT_SECONDS_MAX)

    def chosen(self, records: Sequence[Recorded]) -> list[Recorded]:
        return [record for record in records if self.fits(record)]

    async def start(self, journal: Journal, after: int) -> int:
        """Where to begin to read: past `after`, and where `since` begins if that is later."""
        position, time = self.since
        if time is not None:
            found: int = await journal.read_with(journal.store.position_at, math.nextafter(time, 0.0))
            return max(after, found)
        return after if position is None else max(after, position - 1)


EVERYTHING = Wanted()


def check_reached(journal: Journal, position: int) -> None:
    """Raises Refused where the log has not come to a position yet: whoever brings it has it from a log that went further, as before a
    restore, and would miss what is recorded until then."""
    if position > journal.position:
        raise Refused("position_ahead", f"the log ends at position {journal.position}", status=422)


def _before(record: Recorded, since: AsOf) -> bool:
    position, time = since
    return (position is not None and record.position < position) or (
        time is not None and record.meta.recorded_at < time
    )


def wanted(asked: Callable[[Parameter[Any]], Any]) -> Wanted:
    """The records that a query asks for: `asked` tells each of its parameters."""
    since, until = asked(SINCE) or ANY, asked(UNTIL) or ANY
    return Wanted(asked(STREAM), asked(KIND), asked(PRINCIPAL), since, until)
