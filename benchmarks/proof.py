"""What the proof costs: leaf hashes, tree, stored nodes and signed checkpoints, as a share of what a durable command costs."""

import sys
import tempfile
from contextlib import closing
from pathlib import Path

import trio
from msgspec.structs import force_setattr

from benchmarks.account import Clerk
from benchmarks.deposits import deposits
from benchmarks.measure import Measured, Row
from runtime.clock import SystemClock
from runtime.codec import Codec
from runtime.ids import Ids
from runtime.store.contract import Batch, Rows, Sealed
from runtime.store.sqlite import SqliteStore
from runtime.system import Role, open_system
from runtime.transparency import Signer, Tree


class Unproven(SqliteStore):
    """A journal that nobody could verify: the same without leaves, nodes and checkpoints."""

    def _seal(self, batch: Batch) -> tuple[list[Sealed], Rows, Tree]:
        stored, body_of, kinds = [], self.codec.body, self._kinds
        first_by_kind: dict[str, int] = {}
        for draft in batch.drafts:
            force_setattr(draft.meta, "recorded_at", batch.recorded_at)
            body = body_of(draft.meta, draft.data)
            stored.append(Sealed(draft.stream, draft.version, draft.kind, body))
            if draft.kind not in kinds:
                first_by_kind.setdefault(draft.kind, draft.position)
        rows = Rows(replies=batch.replies, reactions=batch.reactions, kinds=list(first_by_kind.items()))
        return stored, rows, self._tree


def merkle_share(
    rounds: int = 11, callers: int = 1000, round_seconds: float = 1.0, place: Path | None = None
) -> Measured:
    """CPU microseconds of a durable command that the proof takes, of those that it takes in all; in alternation."""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        return trio.run(_alternate, Path(folder), rounds, callers, round_seconds)


async def _alternate(folder: Path, rounds: int, callers: int, round_seconds: float) -> Measured:
    clock, codec = SystemClock(), Codec([sys.modules["benchmarks.account"]])
    ids = Ids(clock)
    names = [ids.new() for _ in range(callers)]
    proven, unproven = [], []
    with (
        closing(SqliteStore(folder / "proven.db", codec, Signer.make())) as one,
        closing(Unproven(folder / "unproven.db", codec, Signer.make())) as other,
    ):
        async with (
            open_system(one, [Role(Clerk)], clock=clock, ids=ids) as with_proof,
            open_system(other, [Role(Clerk)], clock=clock, ids=ids) as without,
        ):
            for _ in range(rounds):
                proven.append((await deposits(with_proof, names, round_seconds)).cpu_microseconds)
                unproven.append((await deposits(without, names, round_seconds)).cpu_microseconds)
    return Measured(ours=[one - other for one, other in zip(proven, unproven, strict=True)], theirs=proven)


ROWS = (
    Row(
        name="merkle_share",
        measure=merkle_share,
        peer="all of the command",
        unit="microseconds of CPU per command",
        better="less",
        goal=0.15,
        at_most=True,
    ),
)
