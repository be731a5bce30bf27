"""Saves copies of the states of long streams, where that pays, so that nobody has to fold them from their beginning.

It pays where folding what came since the newest copy takes FOLD_SECONDS_MIN at least, and PAYS times as long as making a state of a copy
takes; both are measured. States are looked at when the cache measures them or they were fetched, a few at a time, once in SAVE_SECONDS;
packed on a reader's thread, and written between batches, a little at a time. Of each stream COPIES_MAX are kept, spread over its past for
those who ask for an earlier state; all together take BYTES_MAX, then the oldest go. None of them is needed: see `runtime/folding.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import structlog
import trio
from eventsourcing.persistence import PersistenceError

from runtime.folding import Folded
from runtime.states import Held, States
from runtime.store.contract import SavedState

if TYPE_CHECKING:
    from runtime.journal import Journal

log = structlog.get_logger()

EVENTS_MIN = 256
"""A stream to which less has come since its newest copy is not looked at."""

FOLD_SECONDS_MIN = 0.002
PAYS = 4
READ_SECONDS = 1e-4
"""What reading a copy takes beside making a state of it."""

SAVE_SECONDS = 1.0
AT_ONCE = 64
DUE_MAX = 4096
COPIES_MAX = 8
COPY_BYTES_MAX = 4 * 2**20
WRITE_BYTES = 256 * 2**10
"""As much is written at a time, or one copy, so that a batch waits for no more than that."""

BYTES_MAX = 2**30
OLDEST = 256


class Snapshots:
    """Which streams of a journal are due, and the saving of their states. Made by the journal, run by the system."""

    def __init__(self, journal: "Journal", states: States) -> None:
        self._journal = journal
        self._states = states
        self._due: dict[str, None] = {}
        self._wanted = trio.Event()
        self._bytes: int | None = None

    def loaded(self, stream: str, folded: Folded) -> None:
        """A state was made from the copy of this version."""
        self._states.copied[stream] = folded.copied
        self.look_at(stream, folded.held)

    def look_at(self, stream: str, held: Held) -> None:
        """Notes a stream that has become longer."""
        if held.version - self._states.copied.get(stream, 0) >= EVENTS_MIN and len(self._due) < DUE_MAX:
            self._due[stream] = None
            self._wanted.set()

    async def run(self) -> None:
        """Saves what is due, until cancelled."""
        while True:
            await self._wanted.wait()
            await self.save()
            if not self._due:
                self._wanted = trio.Event()
            await trio.sleep(SAVE_SECONDS)

    async def save(self) -> None:
        """Saves the states of some streams that are due, where it pays."""
        journal = self._journal
        held_by_stream = self._take()
        # What is provisional is saved once it is committed, or not at all.
        if not held_by_stream or not await journal.settled():
            return
        try:
            copies, gone = await journal.read_with(self._copy_all, held_by_stream)
            for some in _in_turns(copies):
                await journal.write_with(journal.store.save_states, some, gone)
                gone = []
        except PersistenceError as error:
            self._bytes = None
            log.warning("states not saved", reason=str(error))
            return
        for copy in copies:
            if copy.stream in self._states:
                self._states.copied[copy.stream] = copy.version

    def _take(self) -> dict[str, Held]:
        taken: dict[str, Held] = {}
        while self._due and len(taken) < AT_ONCE:
            stream = next(iter(self._due))
            del self._due[stream]
            if (held := self._states.get(stream)) is not None:
                taken[stream] = held
        return taken

    def _copy_all(self, held_by_stream: Mapping[str, Held]) -> tuple[list[SavedState], list[tuple[str, int]]]:
        """What to save, and which copies go for it."""
        copies: list[SavedState] = []
        gone: dict[tuple[str, int], int] = {}
        for stream, held in held_by_stream.items():
            kept = self._journal.store.saved_versions(stream)
            copy = self._copy(stream, held, max((version for version, *_ in kept), default=0))
            if copy is not None:
                copies.append(copy)
                gone.update(_outdated(copy, kept))
        if copies:
            self._make_room(sum(len(copy.state) for copy in copies), gone)
        return copies, list(gone)

    def _copy(self, stream: str, held: Held, copied: int) -> SavedState | None:
        """A copy of the state, where that pays."""
        folder = self._journal.folder
        seconds = (held.version - copied) * folder.event_seconds(stream)
        if seconds < FOLD_SECONDS_MIN:
            return None
        packed = folder.pack(stream, held)
        if packed is None or len(packed[0].state) > COPY_BYTES_MAX:
            return None
        return packed[0] if seconds >= PAYS * (packed[1] + READ_SECONDS) else None

    def _make_room(self, coming: int, gone: dict[tuple[str, int], int]) -> None:
        store = self._journal.store
        if self._bytes is None:
            self._bytes = store.saved_bytes()
        self._bytes += coming - sum(gone.values())
        if self._bytes <= BYTES_MAX:
            return
        for stream, version, size in store.oldest_states(OLDEST):
            if self._bytes <= BYTES_MAX:
                break
            if (stream, version) not in gone:
                gone[stream, version] = size
                self._bytes -= size


def _in_turns(copies: Sequence[SavedState]) -> Iterator[list[SavedState]]:
    """The copies, as many at a time as may be written before a batch has its turn."""
    some: list[SavedState] = []
    size = 0
    for copy in copies:
        if some and size + len(copy.state) > WRITE_BYTES:
            yield some
            some, size = [], 0
        some.append(copy)
        size += len(copy.state)
    if some:
        yield some


def _outdated(copy: SavedState, kept: list[tuple[int, str, int]]) -> dict[tuple[str, int], int]:
    """The copies of a stream that go for a new one: those of other programs, and, of too many, the one that is missed least."""
    gone = {(copy.stream, version): size for version, shape, size in kept if shape != copy.shape}
    same = [(version, size) for version, shape, size in kept if shape == copy.shape and version < copy.version]
    if len(same) >= COPIES_MAX:
        ends = [0, *(version for version, _ in same), copy.version]
        least = min(range(len(same)), key=lambda index: ends[index + 2] - ends[index])
        version, size = same[least]
        gone[copy.stream, version] = size
    return gone
