"""Tells records to many readers: the log is read once for all of them, and a record is encoded once for all that are told it alike.

A channel is what readers of one tenant with one filter are told, in one form. It keeps the newest records as bytes, the same bytes in
all channels, as far back as FANOUT_RECORDS_MAX and FANOUT_BYTES_MAX go; a reader keeps nothing but its position. One that is slow finds
all that has come meanwhile in one piece; one that has fallen further behind reads the file by itself, a page at a time, until it has
caught up. Nobody who writes waits for a reader, and however many there are, telling them takes no more than a share of the time.
"""

import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, TypeVar

import trio

from gateway.feeds import live
from gateway.feeds.wanted import Wanted
from gateway.identity.auth import REVOCATIONS
from runtime.journal import Journal
from runtime.records import Recorded

P = TypeVar("P")

FANOUT_RECORDS_MAX = 2_000
FANOUT_BYTES_MAX = 16 << 20
PIECE_BYTES_MAX = 256 << 10
"""A piece ends with the record that makes it longer: what waits for a slow reader is a piece."""

GATHER_SECONDS = 0.01
REST = 2.0
TICK_SECONDS_MAX = 0.25
"""Between two rounds lies at least GATHER_SECONDS, and REST times as long as the last one took: so a flood of records, or of readers,
leaves most of the time to everybody else. But never more than TICK_SECONDS_MAX."""


class Told(NamedTuple):
    """A record as readers are told it."""

    position: int
    stream: str
    said: bytes


class Form(NamedTuple, Generic[P]):
    """How readers are told: a record's bytes, and what is written for several of them that reach a position."""

    name: str
    encode: Callable[[Recorded], bytes]
    pack: Callable[[Sequence[Told], int], P]


class Kind(NamedTuple):
    """What makes two readers be told the same."""

    tenant: str
    wanted: Wanted
    form: str
    newest: bool = False

    def shown(self, told: Sequence[Told]) -> Sequence[Told]:
        """All of them, or the newest of each stream."""
        return _newest(told) if self.newest else told


class Channel(Generic[P]):
    """What readers of one kind are told past `base`, up to `position`."""

    def __init__(self, kind: Kind, form: Form[P], position: int) -> None:
        self.kind = kind
        self.form = form
        self.base = self.position = position
        self.readers = 0
        self.revocations = 0
        self.moved = trio.Event()
        self._told: deque[Told] = deque()
        self._packed: tuple[int, tuple[int, P | None]] | None = None

    def add(self, told: Iterable[Told], position: int, floor: int) -> None:
        """What has come, and the position that is reached by it; what lies below the floor is forgotten."""
        self._told.extend(told)
        self.position = position
        self._packed = None
        self.base = max(self.base, floor)
        while self._told and self._told[0].position <= self.base:
            self._told.popleft()

    def wake(self) -> None:
        """Has the readers look."""
        moved, self.moved = self.moved, trio.Event()
        moved.set()

    def forget(self) -> None:
        """Keeps nothing of what was told so far: whoever has not heard it reads the file."""
        self._told.clear()
        self._packed = None
        self.base = self.position

    def since(self, after: int) -> tuple[int, P | None]:
        """How far a reader comes that has come so far, and what is written for it, if anything. The same for all of them."""
        if self._packed is not None and self._packed[0] == after:
            return self._packed[1]
        told: list[Told] = []
        for one in reversed(self._told):
            if one.position <= after:
                break
            told.append(one)
        if not told:
            return max(after, self.position), None
        told.reverse()
        piece = self.piece(told, self.position)
        self._packed = (after, piece)
        return piece

    def piece(self, told: Iterable[Told], reached: int) -> tuple[int, P | None]:
        """As many of these as one piece may have, and how far that is: to the end, if it has them all."""
        taken: list[Told] = []
        size = 0
        for one in told:
            if size >= PIECE_BYTES_MAX:
                reached = taken[-1].position
                break
            taken.append(one)
            size += len(one.said)
        return reached, self.pack(taken, reached) if taken else None

    def pack(self, told: Sequence[Told], reached: int) -> P:
        """What is written for these, as far as they are shown."""
        return self.form.pack(self.kind.shown(told), reached)


def _newest(told: Sequence[Told]) -> list[Told]:
    """The last of each stream, in order."""
    last_by_stream: dict[str, Told] = {}
    for one in told:
        last_by_stream.pop(one.stream, None)
        last_by_stream[one.stream] = one
    return list(last_by_stream.values())


class Fanout:
    """The channels of a journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._position = journal.position
        self._floor = self._position
        self._channels: dict[Kind, Channel[Any]] = {}
        self._kept: deque[tuple[int, int]] = deque()
        self._kept_bytes = 0
        self._joined = trio.Event()
        self._beat_at = 0.0

    @property
    def readers(self) -> int:
        """How many there are."""
        return sum(channel.readers for channel in self._channels.values())

    # ---- telling

    async def run(self) -> None:
        """Reads the log while somebody wants to be told of it, until cancelled."""
        while True:
            await self._joined.wait()
            while self._channels:
                await self._round()
            self._joined = trio.Event()

    async def _round(self) -> None:
        rest = self._beat_at + live.KEEP_ALIVE_SECONDS / 2 - trio.current_time()
        if await self._journal.wait_past(self._position, max(0.0, rest)) > self._position:
            self._spread(await self._journal.read(self._position, live.PAGE))
        if trio.current_time() >= self._beat_at + live.KEEP_ALIVE_SECONDS / 2:
            self._beat_at = trio.current_time()
            for channel in self._channels.values():
                channel.wake()
        began = trio.current_time()
        for _ in range(2):  # readers run between the two: each is woken at once
            await trio.lowlevel.checkpoint()
        spent = trio.current_time() - began
        await trio.sleep(min(max(GATHER_SECONDS, REST * spent), TICK_SECONDS_MAX))

    def _spread(self, page: Sequence[Recorded]) -> None:
        """Gives a page to all channels, each record encoded once in each form that anybody wants it in."""
        if not page or page[0].position <= self._position:
            return
        self._position = page[-1].position
        own_by_tenant: dict[str, list[Recorded]] = {}
        for record in page:
            own_by_tenant.setdefault(record.meta.tenant, []).append(record)
        told: dict[tuple[str, int], Told] = {}
        chosen_by_kind = {
            kind: [
                self._told(channel.form, record, told)
                for record in kind.wanted.chosen(own_by_tenant.get(kind.tenant, ()))
            ]
            for kind, channel in self._channels.items()
        }
        self._keep(told.values())
        for kind, channel in self._channels.items():
            is_revoked = any(isinstance(record.event, REVOCATIONS) for record in own_by_tenant.get(kind.tenant, ()))
            channel.revocations += is_revoked
            channel.add(chosen_by_kind[kind], self._position, self._floor)
            if chosen_by_kind[kind] or is_revoked:
                channel.wake()

    def _told(self, form: Form[Any], record: Recorded, told: dict[tuple[str, int], Told]) -> Told:
        name = (form.name, record.position)
        if name not in told:
            told[name] = Told(record.position, record.stream, form.encode(record))
        return told[name]

    def _keep(self, told: Iterable[Told]) -> None:
        """Moves the floor so that no more is kept than may be."""
        for one in told:
            self._kept.append((one.position, len(one.said)))
            self._kept_bytes += len(one.said)
        while len(self._kept) > FANOUT_RECORDS_MAX or self._kept_bytes > FANOUT_BYTES_MAX:
            position, size = self._kept.popleft()
            self._kept_bytes -= size
            self._floor = max(self._floor, position)

    def forget(self) -> None:
        """Keeps nothing of what was told: somebody was erased."""
        self._kept.clear()
        self._kept_bytes = 0
        self._floor = self._position
        for channel in self._channels.values():
            channel.forget()

    # ---- being told

    async def tell(
        self,
        kind: Kind,
        form: Form[P],
        after: int,
        is_welcome: Callable[[], Awaitable[bool]],
        write: Callable[[P], Awaitable[None]],
        every_seconds: float = 0.0,
    ) -> None:
        """Writes what a reader may know past a position, until it is not welcome any more: in each piece all that has come, at most one
        in so many seconds. Where for `KEEP_ALIVE_SECONDS` there was nothing, a piece without records says how far that is.
        """
        with self._join(kind, form) as channel:
            revocations, told_at = channel.revocations, trio.current_time()
            asked_at = -math.inf  # what was revoked before it has joined is nobody's news
            while True:
                if after < channel.base:
                    found = await self._read(channel, after)
                    reached, packed = found
                else:
                    if channel.position <= after:
                        await channel.moved.wait()
                    if after < channel.base:
                        continue
                    reached, packed = channel.since(after)
                after = reached
                now = trio.current_time()
                if channel.revocations != revocations or now >= asked_at + live.KEEP_ALIVE_SECONDS:
                    revocations, asked_at = channel.revocations, now
                    if not await is_welcome():
                        return
                if packed is None and now >= told_at + live.KEEP_ALIVE_SECONDS:
                    packed = channel.pack((), after)
                if packed is not None:
                    told_at = now
                    await write(packed)
                    if every_seconds:
                        await trio.sleep(every_seconds)

    @contextmanager
    def _join(self, kind: Kind, form: Form[P]) -> Iterator[Channel[P]]:
        if not self._channels:
            self.forget()
            self._position = self._floor = self._journal.position
            self._joined.set()
        channel = self._channels.get(kind)
        if channel is None:
            channel = self._channels[kind] = Channel(kind, form, self._position)
        channel.readers += 1
        try:
            yield channel
        finally:
            channel.readers -= 1
            if not channel.readers:
                del self._channels[kind]

    async def _read(self, channel: Channel[P], after: int) -> tuple[int, P | None]:
        """A page from where the reader stands, and how far that goes."""
        kind, form = channel.kind, channel.form
        page = await self._journal.read(after, live.PAGE)
        own = [record for record in page if record.meta.tenant == kind.tenant]
        told = (Told(record.position, record.stream, form.encode(record)) for record in kind.wanted.chosen(own))
        return channel.piece(told, page[-1].position if page else after)
