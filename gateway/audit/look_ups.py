"""Looks up in one journal what an auditor needs: its records in order, and what stands elsewhere, with a memory of the last answers."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from runtime.decidable import UNDECIDABLE
from runtime.records import Recorded, evolved
from runtime.replay import PAGE, Row
from runtime.store.log import Log

LOOK_UPS_MAX = 4_096
"""How many records and states that were looked up are kept at hand."""


class LookUps:
    """Reads one journal, on one thread."""

    def __init__(self, journal: Log) -> None:
        self._journal = journal
        self._records: OrderedDict[int, Recorded | None] = OrderedDict()

    def rows(self, after: int, upto: int, limit: int) -> Sequence[Row]:
        return self._journal.rows(after, upto, limit)

    def read_events(self, stream: str, *, after: int, upto: int, limit: int) -> Sequence[tuple[int, int, str, bytes]]:
        return self._journal.read_events(stream, after=after, upto=upto, limit=limit)

    def record_at(self, position: int) -> Recorded | None:
        """The record at a position; None where there is none that can be read."""
        if position in self._records:
            self._records.move_to_end(position)
            return self._records[position]
        found: Recorded | None = None
        for row in self._journal.rows(position - 1, position, 1):
            try:
                found = self._journal.codec.recorded(*row)
            except UNDECIDABLE:
                found = None
        self._records[position] = found
        if len(self._records) > LOOK_UPS_MAX:
            self._records.popitem(last=False)
        return found

    def stood_at(self, stream: str, before: int, aside: tuple[type[Any], ...] = ()) -> tuple[int, Any, str] | None:
        """Newest position, state and tenant of a stream before a position; None where there is none, or it can't be folded.

        Events that are `aside` only note something on the stream: it stands since the one before.
        """
        codec, version, newest, tenant = self._journal.codec, 0, 0, ""
        try:
            aggregate = codec.aggregate_of(stream)
            state = aggregate.initial
            while rows := self.read_events(stream, after=version, upto=before - 1, limit=PAGE):
                for position, found, kind, body in rows:
                    if found != version + 1:
                        return None
                    meta, event = codec.open(kind, body)
                    state, version, tenant = evolved(aggregate.evolve, state, event), found, meta.tenant
                    newest = newest if isinstance(event, aside) else position
        except UNDECIDABLE:
            return None
        return (newest, state, tenant) if version else None
