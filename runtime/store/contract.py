"""What a journal hands to its store and gets back from it, whatever database holds it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from runtime.errors import Fenced
from runtime.records import Meta

MILESTONE_POSITIONS = 1024
"""Of the checkpoints, the newest is kept, and the last of each so many positions."""

REPLY_SECONDS = 24 * 3600.0
"""For how long an idempotency key is kept."""


class Locked(Exception):
    """Another process writes to this journal."""


class NotDurable(Exception):
    """The database would lose in a power cut what it has acknowledged."""


class Unresolved(Fenced):
    """Nobody could be asked whether the last batch stands: this node stops rather than guess. The next start reads the truth."""


class Draft(msgspec.Struct, frozen=True, gc=False):
    """A record on its way to the disk: all but the batch's time is fixed.

    Where it tells of a data subject, `secret` is what has to be sealed under that subject's key, and `told` the whole meta, as it is told
    from memory; `meta` and `data` are without what is personal. Where nothing has to be sealed, `body` is all but that time: it is made
    where all that is in it is at hand, since the writer's thread, on another processor, would have to fetch each part.
    """

    position: int
    stream: str
    version: int
    kind: str
    meta: Meta
    data: bytes
    subject: str = ""
    secret: bytes = b""
    told: Meta | None = None
    body: bytes = b""


class Sealed(msgspec.Struct, frozen=True, gc=False):
    """A record as it will stand: what the library calls a StoredEvent, which costs six times as much to make."""

    originator_id: str
    originator_version: int
    topic: str
    state: bytes


@dataclass(slots=True)
class Batch:
    """What one transaction commits: contiguous drafts, and the replies and reactions that go with them.

    A reply is (tenant, key, digest, reply, position, at), a reaction (actor, key, position).
    """

    drafts: list[Draft]
    replies: list[tuple[str, str, bytes, bytes, int, float]]
    reactions: list[tuple[str, str, int]]
    recorded_at: float
    subject_by_reply: dict[tuple[str, str], str] = field(default_factory=dict)
    """The data subject, by tenant and key, of whom a request told that is answered so: its digest would let one guess what it said."""


class Memory(NamedTuple):
    """A saved fold of one actor."""

    actor: str
    key: str
    shape: str
    position: int
    memory: bytes


class SavedState(NamedTuple):
    """A copy of a stream's state as of one of its versions. `shape` says by which program it was folded."""

    stream: str
    version: int
    position: int
    shape: str
    tenant: str
    state: bytes


class Tombstone(NamedTuple):
    """What the journal keeps of a stream whose records are in an archive: its last state."""

    archive: int
    saved: SavedState


@dataclass(slots=True)
class Rows:
    """What goes into one transaction beside the records: nodes (id, hash) with contiguous ids, the checkpoint (size, root,
    recorded_at, note), the size of the one that it supersedes, the kinds that were
    never recorded before (kind, first position), and a batch's replies and reactions."""

    nodes: Sequence[tuple[int, bytes]] = ()
    checkpoint: tuple[int, bytes, float, str] | None = None
    superseded: int | None = None
    kinds: Sequence[tuple[str, int]] = ()
    replies: Sequence[tuple[str, str, bytes, bytes, int, float]] = ()
    reactions: Sequence[tuple[str, str, int]] = field(default_factory=list)
