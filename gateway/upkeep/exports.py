"""Exports of a node's journal: whole, or what somebody asks for. Their form is `runtime/exports.py`'s."""

from collections.abc import Sequence
from math import inf, nextafter
from typing import Any, BinaryIO

import msgspec

from gateway.api.queries import as_of
from gateway.settings import GavelSettings
from gateway.storage.journal_file import JournalFile, open_journal
from gateway.storage.journals import journal_file
from gateway.storage.keyrings import keys_of
from gateway.verdicts import Wrong
from runtime.errors import Refused
from runtime.exports import POSITION_MAX, Choice, Unproven, Written, write_chosen, write_whole


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants of a log: all that fits. Times have a zone, as ISO 8601 writes them."""

    first: int | None = None
    last: int | None = None
    from_time: str | None = None
    to_time: str | None = None
    tenants: Sequence[str] = ()
    streams: Sequence[str] = ()
    kinds: Sequence[str] = ()

    def told(self) -> dict[str, Any]:
        """What is asked for, without what is not."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value}


def write_export(settings: GavelSettings, filters: Filters, file: BinaryIO) -> Written:
    """Writes the log to a stream: whole where nothing is filtered. Raises Wrong, also where the journal was altered."""
    try:
        with journal_file(settings) as path, open_journal(path) as connection:
            if not filters.told():
                return write_whole(connection, file)
            with keys_of(settings) as keys:  # whose a record is, and when it was made, may be encrypted at rest
                return write_chosen(connection, file, _choice(JournalFile(connection, path, keys), filters))
    except Unproven as error:
        raise Wrong(str(error)) from error


def _choice(log: JournalFile, filters: Filters) -> Choice:
    first, last = filters.first or 1, filters.last or POSITION_MAX
    if filters.from_time is not None:
        first = max(first, log.position_at(nextafter(_time(filters.from_time, "from_time"), -inf)) + 1)
    if filters.to_time is not None:
        last = min(last, log.position_at(_time(filters.to_time, "to_time")))
    if filters.first is not None and first > last:
        raise Wrong(f"from {first} to {last} there are no records")
    return Choice(
        first=first,
        last=last,
        streams=filters.streams,
        kinds=filters.kinds,
        tenants=filters.tenants,
        tenant_of=lambda body: log.codec.meta(body).tenant,
        filters=filters.told(),
    )


def _time(text: str, name: str) -> float:
    wanted = f"--{name.replace('_', '-')} is a time with its zone, as in 2026-01-31T12:00:00Z; --from and --to take positions"
    try:
        moment = as_of(text)
    except Refused as error:
        raise Wrong(wanted) from error
    if moment.time is None:
        raise Wrong(wanted)
    return moment.time
