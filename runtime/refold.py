"""Folds a whole journal with the program of today, and names each record that can't be read or folded.

What a new program would meet on the way: the bytes of each event and command, the state of each stream, the memory of each actor, the rows
of each read model (in a place of its own). A record that fails somewhere is named and passed over there, and the rest goes on.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from runtime.codec import Codec, UnknownKind
from runtime.hearing import Projection
from runtime.read_models import ReadModels, Standing, open_database
from runtime.records import Event, Recorded, evolved, name_of
from runtime.recovery import NODE, hearers
from runtime.system import Role

PAGE = 1000
FAULTS_MAX = 1000
"""Faults that are named; those beyond are counted."""

COLUMNS = "SELECT rowid, originator_id, originator_version, topic, state FROM stored_events "
BY_POSITION = f"{COLUMNS} WHERE rowid > ? AND rowid <= ? ORDER BY rowid LIMIT {PAGE}"
BY_STREAM = (
    f"{COLUMNS} WHERE (originator_id, originator_version) > (?, ?) AND rowid <= ? "
    f"ORDER BY originator_id, originator_version LIMIT {PAGE}"
)
Row = tuple[int, str, int, str, bytes]


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A record that fails, and at what: `record`, `command`, `state`, or the memory or read model of that name."""

    position: int
    stream: str
    kind: str
    at: str
    reason: str


class Refolded(msgspec.Struct, frozen=True, kw_only=True):
    """What was found; of `faults_count` faults the first FAULTS_MAX are in `faults`. `withheld` records hold personal data that can't be
    read: their commands could not be tried."""

    records: int
    streams: int
    withheld: int
    faults_count: int
    faults: list[Fault]


class Refold:
    """One pass over a journal's file, which may be in use: up to where it stands when this begins."""

    def __init__(self, journal: sqlite3.Connection, codec: Codec) -> None:
        """`journal` is a connection without a transaction: a long one would keep the file's log from being carried over."""
        self._journal = journal
        self._codec = codec
        self._newest: int = journal.execute("SELECT COALESCE(MAX(rowid), 0) FROM stored_events").fetchone()[0]
        self._faults: list[Fault] = []
        self._faults_count = 0
        self._withheld = 0

    def run(self, roles: Sequence[Role], projections: Sequence[Projection], place: Path) -> Refolded:
        """Folds everything; the read models are made in a new database at `place`."""
        memories = _Memories(roles)
        with closing(_Models(projections, place)) as models:
            for page in self._by_position():
                read = [record for row in page if (record := self._read(row)) is not None]
                for record in read:
                    for at, error in memories.take(record):
                        self._fault(record, at, error)
                for record, at, reason in models.write(read):
                    self._fault(record, at, reason)
        streams = self._fold_streams()
        return Refolded(
            records=self._newest,
            streams=streams,
            withheld=self._withheld,
            faults_count=self._faults_count,
            faults=sorted(self._faults, key=_place),
        )

    def _by_position(self) -> Iterator[list[Row]]:
        after = 0
        while page := self._journal.execute(BY_POSITION, (after, self._newest)).fetchall():
            yield page
            after = page[-1][0]

    def _read(self, row: Row) -> Recorded | None:
        """The record, unless it can't be read; its command is only tried."""
        position, stream, version, kind, body = row
        try:
            record = self._codec.recorded(position, stream, version, kind, body)
        except Exception as error:  # noqa: BLE001 — whatever keeps a record from being read is what is looked for
            self._note(position, stream, kind, "record", error)
            return None
        if record.withheld:
            self._withheld += 1
        elif record.meta.command is not None:
            try:
                self._codec.command(record.meta.command)
            except Exception as error:  # noqa: BLE001 — as above
                self._fault(record, "command", error)
        return record

    def _fold_streams(self) -> int:
        """Stream by stream, so that one state is kept at a time; returns how many there are."""
        streams, now, state, evolve = 0, "", None, None
        after: tuple[str, int] = ("", 0)
        while page := self._journal.execute(BY_STREAM, (*after, self._newest)).fetchall():
            after = (page[-1][1], page[-1][2])
            for row in page:
                if row[1] != now:
                    streams, now = streams + 1, row[1]
                    state, evolve = self._begin(row)
                if evolve is not None:
                    state = self._evolve(evolve, state, row)
        return streams

    def _begin(self, row: Row) -> tuple[Any, Any]:
        try:
            aggregate = self._codec.aggregate_of(row[1])
        except UnknownKind:
            self._note(row[0], row[1], row[3], "state", "no aggregate of this program has such streams")
            return None, None
        return aggregate.initial, aggregate.evolve

    def _evolve(self, evolve: Any, state: Any, row: Row) -> Any:
        try:
            record = self._codec.recorded(*row)
        except Exception:  # noqa: BLE001 — it was named when the records were read in their order
            return state
        try:
            return evolved(evolve, state, record.event)
        except Exception as error:  # noqa: BLE001 — what fails to fold is what is looked for
            self._fault(record, "state", error)
            return state

    def _fault(self, record: Recorded, at: str, error: object) -> None:
        self._note(record.position, record.stream, record.kind, at, error)

    def _note(self, position: int, stream: str, kind: str, at: str, error: object) -> None:
        reason = f"{type(error).__name__}: {error}" if isinstance(error, Exception) else str(error)
        self._faults_count += 1
        if len(self._faults) < FAULTS_MAX:
            self._faults.append(Fault(position=position, stream=stream, kind=kind, at=at, reason=reason))


def _place(fault: Fault) -> tuple[int, str]:
    return fault.position, fault.at


class _Memories:
    """What all actors remember, as a node's start folds it from nothing."""

    def __init__(self, roles: Sequence[Role]) -> None:
        self._role_by_name = {role.name: role for role in roles}
        self._names_by_event: dict[type[Event], tuple[str, ...]] = hearers(roles)
        self._memories: dict[tuple[str, str], Any] = {}

    def take(self, record: Recorded) -> Iterable[tuple[str, Exception]]:
        """Folds a record; whose memory it fails at, and why."""
        for name in self._names_by_event.get(type(record.event), ()):
            role = self._role_by_name[name]
            whose = (name, record.meta.tenant if role.key == "tenant" else NODE)
            memory = self._memories[whose] if whose in self._memories else role.actor.fresh()
            try:
                self._memories[whose] = role.actor.remember(memory, record)
            except Exception as error:  # noqa: BLE001 — what fails to fold is what is looked for
                yield f"memory {name}", error


class _Models:
    """Read models in a new database; a projection goes on behind what it fails at."""

    def __init__(self, projections: Sequence[Projection], place: Path) -> None:
        self._engine = open_database(place, connections_max=1)
        self._models = ReadModels(self._engine, projections)
        self._models.open(0)
        self._faults_count = 0

    def write(self, batch: Sequence[Recorded]) -> Iterator[tuple[Recorded, str, str]]:
        """Writes a batch; what fails, at which read model, and why. Past FAULTS_MAX, whatever has stopped stays so."""
        if not batch:
            return
        self._pass_over(batch[0].position)
        record_by_position = {record.position: record for record in batch}
        self._models.write(batch)
        while self._faults_count < FAULTS_MAX and (stopped := self._stopped()):
            for standing in stopped:
                self._faults_count += 1
                self._models.standings[standing.name] = Standing(name=standing.name, position=standing.stopped_at)
                yield record_by_position[standing.stopped_at], f"read model {name_of(standing.name)}", standing.reason
            self._models.write(batch)

    def _pass_over(self, first: int) -> None:
        """Read models wait for what they have not seen; but what is missing before a batch is named already, and never comes."""
        for name, standing in self._models.standings.items():
            if not standing.reason:
                self._models.standings[name] = Standing(name=name, position=first - 1)

    def _stopped(self) -> list[Standing]:
        return [standing for standing in self._models.standings.values() if standing.reason]

    def close(self) -> None:
        self._engine.dispose()
