"""The state of a stream as it was: as of a position of the journal, or of a time, from the nearest copy that was saved.

A time is that of recording (`recorded_at`): the state then is what a reader of the journal could know by then.
"""

from typing import Any, NamedTuple

from runtime.folding import Folder
from runtime.store.store import Store


class PastState(NamedTuple):
    """A state, and the record that it rests on last: its position and version, when it was decided and when recorded."""

    state: Any
    tenant: str
    version: int
    position: int
    at: float
    recorded_at: float


def state_at(store: Store, folder: Folder, stream: str, position: int) -> PastState | None:
    """The state of a stream as of a position; None where it had not begun. Blocks. Raises Unreadable and UnknownKind."""
    held = folder.fold(stream, position).held
    if not held.version:
        return None
    ((_, _, _, body),) = store.read_events(stream, after=held.version - 1, upto=position, limit=1)
    meta = store.codec.meta(body)
    return PastState(held.state, held.tenant, held.version, held.position, meta.at, meta.recorded_at)
