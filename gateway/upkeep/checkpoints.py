"""Keeps the journal's signed checkpoints outside it, at an interval and at the stop, and has its witnesses cosign them.

What fails here ends nothing else: the log tells of it each time, and the metrics say how far the kept checkpoints reach.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import structlog
import trio
from eventsourcing.persistence import PersistenceError

from gateway.upkeep.witnesses import NotCosigned, Witnessed
from runtime.cosignatures import cosigned
from runtime.evidence import Unreadable
from runtime.kept_checkpoints import Outside, read_kept
from runtime.store.store import Store
from runtime.threads import run_blocking
from runtime.transparency import read_note

T = TypeVar("T")

log = structlog.get_logger("gateway.upkeep.checkpoints")


class Keeper:
    """Of one journal. `kept` is the size of the newest checkpoint outside."""

    def __init__(self, store: Store, outside: Outside, witnesses: Sequence[Witnessed] = ()) -> None:
        self.store = store
        self.outside = outside
        self.witnesses = witnesses
        self.kept = 0
        self._merging = trio.Lock()

    async def run(self, seconds: float) -> None:
        """Once in so many seconds, until cancelled."""
        while True:
            await trio.sleep(seconds)
            await self.keep()

    async def keep(self) -> None:
        """Keeps the newest checkpoint, where there is a newer one, and asks the witnesses who have not seen it."""
        if self.kept == self.store.position and not any(one.seen < self.kept for one in self.witnesses):
            return
        note = await run_blocking(self.keep_now)
        if note is not None:
            async with trio.open_nursery() as nursery:
                for one in self.witnesses:
                    if one.seen < self.kept:
                        nursery.start_soon(self._ask, one, note)

    def keep_now(self) -> str | None:
        """Writes the newest checkpoint; blocks. The answer is what is kept, None where nothing is."""
        return self._guarded(self._keep_newest)

    def _keep_newest(self) -> str | None:
        note = self.store.checkpoint()
        if note is None:
            return None
        size = read_note(note)[0].size
        if size > self.kept and not self._is_kept(size, note):  # one that is there may be cosigned already
            self.outside.keep(note)
        self.kept = size
        return note

    def _is_kept(self, size: int, note: str) -> bool:
        """Whether the file of this size holds this note, whoever has cosigned it; somebody may have put another one there before."""
        try:
            text, _, lines = read_kept(self.outside.path(size)).rpartition("\n\n")
        except Unreadable:
            return False
        own_text, _, own_lines = note.rpartition("\n\n")
        return text == own_text and lines.startswith(own_lines)

    async def _ask(self, witness: Witnessed, note: str) -> None:
        both = await run_blocking(self._guarded, lambda: witness.cosign(self.store, note), abandon_on_cancel=True)
        if both is not None:
            async with self._merging:
                await run_blocking(self._guarded, lambda: self.outside.keep(self._merged(both, witness)))

    def _merged(self, both: str, witness: Witnessed) -> str:
        """Another witness may have cosigned the same checkpoint meanwhile."""
        path = self.outside.path(read_note(both)[0].size)
        if not path.exists():
            return both
        lines = both.rpartition("\n\n")[2]
        return cosigned(path.read_text(encoding="utf-8"), lines, [witness.key])

    def _guarded(self, work: Callable[[], T]) -> T | None:
        try:
            return work()
        except NotCosigned as error:
            log.error("not_cosigned", origin=self.store.origin, reason=str(error))
        except (OSError, PersistenceError, Unreadable, ValueError) as error:
            log.error("checkpoint_not_kept", origin=self.store.origin, reason=str(error))
        return None

    @contextmanager
    def at_stop(self) -> Iterator[None]:
        """Keeps what there is when all has come to its end, however it did."""
        try:
            yield
        finally:
            self.keep_now()
