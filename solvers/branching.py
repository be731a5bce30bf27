"""Branch and bound over dense problems of spins, many nodes at once, in numpy.

Spins are fixed in one order, so of a node d deep there is to know which way they went, the objective of what is fixed,
and the field g that each of the others feels. A⁻¹ (see `solvers.bounds`) stands ready for every depth: the bounds of many
nodes of one depth, `½ g'A⁻¹g` each, take one product of matrices. Fixing the next spin to v takes at least
`(v - y_0)² / (2 A⁻¹_00)` off the bound, where `y = A⁻¹g`; so most children are never made.

Nodes wait in a pool for each depth. Those of the deepest pool that fills a batch come next, or else those of the
shallowest: batches are full but at the begin and the end, and no pool ever holds more than three of them. A node takes a
third of a microsecond, a third of what it took in a compiled kernel that went from node to node, depth first.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers.bounds import improve, order_of, without_first
from solvers.matrices import PRODUCT_MAX, product

Floats = NDArray[np.float64]

LANES = 64  # numbers worked on that count as one step
BATCH_MIN, BATCH_MAX = 16, 256  # nodes
SPREAD = 0.005  # of the couplings' squares in the fields' second moment; 0.03 and 0.001 took a tenth more nodes, 0.5 twenty times
FLOOR = 1e-3  # of the mean square of a row, added to the second moments: keeps A away from being singular
NEWTON_STEPS = 20


def memory_bytes(spins: int) -> int:
    """A⁻¹ of every depth, the pools, and what Newton's method works on."""
    pools = sum(_room(spins, depth) * (8 * (spins - depth) + depth + 8) for depth in range(spins + 1))
    return 8 * spins**3 // 3 + pools + 200 * spins**2 + 2**16


class Tree:
    """One search: `prepare` it, then `branch` until it is `done`."""

    def __init__(self, couplings: Floats, fields: Floats, known: Floats, slack: float) -> None:
        """A node is left where its bound is below the best objective, first that of the known spins, and the slack."""
        self._couplings, self._fields = couplings, fields
        self._slack = slack
        self._order = np.arange(len(fields))
        self._inverses: list[Floats] = []
        self._constants: list[float] = []
        """Of each depth: `½ Σu`."""
        self._pools: list[_Pool] = []
        self._wanted = float(known @ (0.5 * couplings @ known + fields)) + slack
        """What a bound has to reach."""
        self._depth = 0
        """Where nodes were worked on last."""
        self.work = 0
        self.nodes = 0
        self.done = False

    def prepare(self) -> Iterator[None]:
        """Finds the root's bound, then every other depth's, of the same u."""
        size = len(self._fields)
        squares = (self._couplings**2).sum(axis=1)
        spread = SPREAD * squares + FLOOR * (1.0 + float(squares.mean()))
        moments = np.outer(self._fields, self._fields) + np.diag(spread)
        root = improve(self._couplings, moments, np.abs(self._couplings).sum(axis=1) + 1.0, NEWTON_STEPS)
        self.work += 1 + NEWTON_STEPS * size**3 // LANES
        yield None
        self._order = order_of(root.inverse)
        self._couplings = np.ascontiguousarray(self._couplings[np.ix_(self._order, self._order)])
        self._fields = self._fields[self._order]
        inverse = np.ascontiguousarray(root.inverse[np.ix_(self._order, self._order)])
        shifts = root.shifts[self._order]
        for depth in range(size):
            self._inverses.append(inverse)
            self._constants.append(float(shifts[depth:].sum()) / 2)
            inverse = without_first(inverse)
        self.work += 1 + size**3 // LANES
        self._pools = [_Pool(size, depth) for depth in range(size + 1)]
        self._pools[0].add_root(self._fields)
        yield None

    def branch(self, work_stop: int) -> Floats | None:
        """Batch after batch until the work is done, or the tree (it is `done` then), or better spins are found: these."""
        while self.work < work_stop:
            self._depth = self._next_depth()
            if self._depth < 0:
                self.done = True
                break
            self._branch_at(self._depth)
            better = self._best_leaf()
            if better is not None:
                return better
        return None

    def _next_depth(self) -> int:
        """-1 where no nodes are left. Nodes were added last one below the depth that was worked on; deeper, no pool is full."""
        for depth in range(min(self._depth + 1, len(self._fields)), -1, -1):
            if self._pools[depth].count >= self._pools[depth].batch:
                return depth
        return next((depth for depth, pool in enumerate(self._pools) if pool.count), -1)

    def _branch_at(self, depth: int) -> None:
        """Makes the children that are worth it of a batch of this depth."""
        left = len(self._fields) - depth
        inverse = self._inverses[depth]
        nodes = self._pools[depth].take(self._pools[depth].batch)
        self.nodes += len(nodes.sums)
        self.work += 1 + len(nodes.sums) * (1 + left * left // LANES)
        pulled = product(nodes.felt, inverse)
        over = 0.5 * np.einsum("ij,ij->i", pulled, nodes.felt) + nodes.sums + (self._constants[depth] - self._wanted)
        away, scale = pulled[:, 0], 0.5 / inverse[0, 0]
        is_mirrored = depth == 0 and not self._fields.any()  # then only one of both halves of the tree is looked at
        children, row = self._pools[depth + 1], self._couplings[depth, depth + 1 :]
        for spin in (1.0,) if is_mirrored else (1.0, -1.0):
            chosen = np.flatnonzero(over >= scale * (spin - away) ** 2)
            children.add(nodes, chosen, spin, row)

    def _best_leaf(self) -> Floats | None:
        """The best spins of the leaves that were just made, if they are better than those known."""
        leaves = self._pools[-1].take(self._pools[-1].count)
        if len(leaves.sums) == 0:
            return None
        first = int(leaves.sums.argmax())
        if leaves.sums[first] + self._slack <= self._wanted:
            return None
        self._wanted = float(leaves.sums[first]) + self._slack
        spins = np.empty(len(self._fields))
        spins[self._order] = leaves.fixed[first]
        return spins


class _Nodes(NamedTuple):
    """Of some nodes of one depth, a row each."""

    fixed: NDArray[np.int8]
    felt: Floats
    sums: Floats
    """The objective of the spins that are fixed."""


class _Pool:
    """The nodes of one depth that wait."""

    def __init__(self, spins: int, depth: int) -> None:
        room = _room(spins, depth)
        self._nodes = _Nodes(np.empty((room, depth), np.int8), np.empty((room, spins - depth)), np.empty(room))
        self.batch = _batch(spins - depth)
        self.count = 0

    def add_root(self, fields: Floats) -> None:
        self._nodes.felt[0], self._nodes.sums[0] = fields, 0.0
        self.count = 1

    def take(self, count: int) -> _Nodes:
        """At most so many, the last ones first; they stand until nodes are added."""
        end, self.count = self.count, max(0, self.count - count)
        fixed, felt, sums = self._nodes
        return _Nodes(fixed[self.count : end], felt[self.count : end], sums[self.count : end])

    def add(self, parents: _Nodes, chosen: NDArray[np.intp], spin: float, row: Floats) -> None:
        """Children of the chosen parents whose next spin goes that way; `row` is what couples it to the others."""
        here = slice(self.count, self.count + len(chosen))
        self.count = here.stop
        fixed, felt, sums = self._nodes
        fixed[here, :-1] = parents.fixed[chosen]
        fixed[here, -1] = spin
        np.add(parents.felt[chosen, 1:], spin * row, out=felt[here])
        sums[here] = parents.sums[chosen] + spin * parents.felt[chosen, 0]


def _batch(left: int) -> int:
    """Nodes with so many spins left that are worked on together."""
    return min(BATCH_MAX, max(BATCH_MIN, PRODUCT_MAX // max(1, left) ** 2))


def _room(spins: int, depth: int) -> int:
    """Of a pool: a batch less one, and the children of one of the pool above."""
    above = 2 * _batch(spins - depth + 1) if depth else 0
    return _batch(spins - depth) + above
