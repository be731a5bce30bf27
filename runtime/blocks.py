"""Blocks of records, hashed a level at a time: twice as fast as one record after the other, for whoever reads a whole journal.

A block is as many records as a power of two, at a multiple of that number. Its nodes stand together in the order of their completion, so
that those of one level are picked out of them by fixed places.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from operator import itemgetter
from typing import Any

import msgspec

from runtime.transparency import Tree, stored_count, stored_index

LEVEL = 10
RECORDS = 1 << LEVEL
NODES = stored_count(RECORDS)
"""How many nodes lie within a block; those that it completes above itself come after them."""

_encode = msgspec.msgpack.Encoder().encode


def _places(level: int) -> Callable[[Sequence[bytes]], tuple[bytes, ...]]:
    """Picks the nodes of a level out of a block's."""
    places = [stored_index(level, n) for n in range(RECORDS >> level)]
    if len(places) == 1:
        return lambda nodes: (nodes[places[0]],)
    return itemgetter(*places)


_nodes_of = [_places(level) for level in range(LEVEL + 1)]


class Block:
    """The hashes over the records of one block, and the tree before it."""

    def __init__(self, before: Tree, rows: Sequence[tuple[Any, ...]]) -> None:
        """`rows` are the five columns of each record. Raises UnicodeEncodeError where one of them is no text that was ever sealed."""
        self.before = before.fork()
        level = [sha256(b"\x00" + _encode(row)).digest() for row in rows]
        self.levels = [level]
        while len(level) > 1:
            pairs = iter(level)
            level = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
            self.levels.append(level)
        self.after = before.fork()
        self.above = self.after.graft(LEVEL, level[0])

    def agrees(self, stored: Sequence[bytes]) -> bool:
        """Whether these are exactly the nodes that this block completes, in order."""
        return (
            len(stored) == NODES + len(self.above)
            and list(stored[NODES:]) == self.above
            and all(pick(stored) == tuple(computed) for pick, computed in zip(_nodes_of, self.levels, strict=True))
        )

    def root_at(self, size: int) -> bytes:
        """The root of a size within the block."""
        tree, place, rest = self.before.fork(), 0, size - self.before.size
        for level in reversed(range(LEVEL + 1)):
            if rest >> level & 1:
                tree.graft(level, self.levels[level][place >> level])
                place += 1 << level
        return tree.root()
