"""Exact search: an island whose course ends, and where it has ended its best solution is an optimum.

Up to `ENUMERATED_MAX` spins, every assignment is looked at. Else a tabu search from a few random starts gives a solution
that is nearly always the best already; then branch and bound (see `solvers.branching`) shows that there is no better
one, or finds it. The spin that is fixed next is the one that the others leave the least room: greedily the smallest
diagonal element of A⁻¹. (By the strongest couplings it took three to fifty times the nodes.)

Whole numbers are proven exactly: a node is only left where no solution below it can be better by the smallest
difference that two solutions can have. Floats are proven up to a relative `TOLERANCE` of the coefficients' sum.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from solvers.branching import (
    CURSOR_SIZE,
    DEPTH,
    ENTERING,
    FOUND,
    LANES,
    NODES,
    WORK,
    _branch,
    _choose_order,
    _descend,
    _shift,
    _without_first,
)
from solvers.enumeration import best_of_all, dense, settled, twice_objective
from solvers.ising import Ising
from solvers.spins import _randomize, seeded_state
from solvers.strategy import Course, Island, Start

Floats = NDArray[np.float64]

ENUMERATED_MAX = 14  # spins of which every assignment is looked at: that takes less than finding bounds
STARTS = 8
STEPS_PER_SPIN = 10  # of tabu search, from each start
SPREAD = 1.0  # of the random fixed spins in the fields' second moment; 0.3 and 2 took three times the nodes
FLOOR = 1e-3  # of the mean square of a row, added to the second moments: keeps A away from being singular
NEWTON_STEPS = 3
NEWTON_STEPS_FIRST = 20
DEPTHS_PER_SHIFT = 6  # between two depths with a u of their own
PRECISION = 1e-3
TOLERANCE = 1e-9  # of the sum of all magnitudes: what rounding can make of a bound, by far


class ExactSearch(Island):
    """Branch and bound over one problem. Of several islands the first does it all; a tree is not worth sharing."""

    def __init__(self, start: Start) -> None:
        super().__init__(start)
        self._cursor = np.zeros(CURSOR_SIZE, np.int64)
        self._dense = np.zeros((0, 0)), np.zeros(0)

    @property
    def steps(self) -> int:
        """Vectors of numbers worked on."""
        return int(self._cursor[WORK])

    def course(self) -> Course:
        """Ends, with `parameters["proven"] = 1`, when the best is an optimum."""
        if self.start.stream > 0:
            return
        problem = self.start.problem
        size = len(problem.fields)
        if size <= ENUMERATED_MAX:
            self._cursor[WORK] += 2**size
            self.keep(*best_of_all(problem))
            self.parameters["proven"] = 1
            return
        couplings, fields = self._dense = dense(problem)
        for _ in self._begin(couplings, fields):
            yield None
        tree = _Tree(couplings, fields, self.best.astype(np.float64), self._cursor)
        for _ in tree.prepare():
            yield None
        slack = _slack(problem)
        while True:
            tree.branch(slack, self.work_stop)
            self.counts["nodes"] = int(self._cursor[NODES])
            if self._cursor[FOUND]:
                self._keep(tree.solution())
            if self._cursor[DEPTH] < 0:
                break
            yield None
        self._cursor[WORK] += 1  # a replay that ends at this count has come to the end, too
        self.parameters["proven"] = 1

    def _begin(self, couplings: Floats, fields: Floats) -> Iterator[None]:
        """Tabu search from what is known before and from random starts."""
        size = len(fields)
        state = seeded_state(self.start.seed, self.start.stream)
        drawn = np.ones(size, np.int8)
        gains, until, best = np.zeros(size), np.zeros(size, np.int64), np.zeros(size)
        steps = STEPS_PER_SPIN * size
        known = [] if self.start.warm is None else [self.start.warm]
        for number in range(STARTS + len(known)):
            _randomize(drawn, state)
            spins = (known[number] if number < len(known) else drawn).astype(np.float64)
            _descend(couplings, fields, spins, gains, until, best, steps)
            self._cursor[WORK] += 1 + (size + 2 * steps) * size // LANES
            self._keep(best)
            yield None

    def _keep(self, spins: Floats) -> None:
        whole = settled(*self._dense, spins)
        self.keep(whole, twice_objective(self.start.problem, whole))


class _Tree:
    """The search tree: an order of the spins, and what bounds each depth."""

    def __init__(self, couplings: Floats, fields: Floats, known: Floats, cursor: NDArray[np.int64]) -> None:
        size = len(fields)
        self._couplings, self._fields, self._known = couplings, fields, known
        self._cursor = cursor
        self._order = np.arange(size)
        sizes = np.arange(size, 0, -1)
        self._offsets = np.concatenate(([0], np.cumsum(sizes**2)))
        self._inverses = np.empty(int(self._offsets[-1]))
        self._halves = np.zeros(size + 1)
        self._buffers = np.zeros((5, size, size))
        self._felt = np.zeros((size + 1, size))
        self._sums, self._bounds, self._means = (np.zeros(size + 1) for _ in range(3))
        self._spins, self._product = np.zeros(size), np.zeros(size)
        self._tried = np.zeros(size + 1, np.int64)
        self._best = np.array([known @ (0.5 * couplings @ known + fields)])

    def prepare(self) -> Iterator[None]:
        """Orders the spins and finds every depth's bound, some depths between two yields."""
        size = len(self._fields)
        floor = FLOOR * (1.0 + float((self._couplings**2).sum()) / size)
        shifts = np.abs(self._couplings).sum(axis=1) + 1.0
        moments = np.outer(self._fields, self._fields) + np.diag((self._couplings**2).sum(axis=1) / 2 + floor)
        inverse = np.zeros((size, size))
        self._improve(moments, shifts, NEWTON_STEPS_FIRST, inverse)
        yield None
        order = np.empty(size, np.int64)
        _choose_order(inverse.copy(), order)
        self._reorder(order)
        shifts, before = np.ascontiguousarray(shifts[self._order]), inverse
        for depth in range(size):
            left = size - depth
            here = self._inverses[self._offsets[depth] : self._offsets[depth + 1]].reshape(left, left)
            if depth % DEPTHS_PER_SHIFT == 0:
                self._improve(self._moments(depth, floor), shifts, NEWTON_STEPS if depth else NEWTON_STEPS_FIRST, here)
                yield None
            else:
                _without_first(before, left + 1, here)
            self._halves[depth] = shifts.sum() / 2
            before, shifts = here, shifts[1:].copy()
        self._felt[0] = self._fields
        self._cursor[DEPTH], self._cursor[ENTERING] = 0, 1

    def branch(self, slack: float, work_stop: int) -> None:
        is_symmetric = not self._fields.any()
        _branch(
            self._couplings,
            self._inverses,
            self._offsets,
            self._halves,
            self._felt,
            self._sums,
            self._bounds,
            self._means,
            self._spins,
            self._tried,
            self._product,
            self._cursor,
            self._best,
            slack,
            is_symmetric,
            work_stop,
        )

    def solution(self) -> Floats:
        """The leaf that was just found, in the problem's own order."""
        spins = np.empty_like(self._spins)
        spins[self._order] = self._spins
        return spins

    def _improve(self, moments: Floats, shifts: Floats, steps: int, inverse: Floats) -> None:
        size = len(shifts)
        _shift(self._couplings, moments, shifts, size, steps, PRECISION, self._buffers, inverse)
        self._cursor[WORK] += 1 + steps * size**3 // LANES

    def _moments(self, depth: int, floor: float) -> Floats:
        """The fields' second moment where the first spins are fixed: at random, and as in the best solution known."""
        fixed = self._couplings[depth:, :depth]
        felt = self._fields[depth:] + fixed @ self._known[:depth]
        moments: Floats = np.outer(felt, felt) + SPREAD * (fixed @ fixed.T)
        moments[np.diag_indices_from(moments)] += floor
        return moments

    def _reorder(self, order: NDArray[np.int64]) -> None:
        self._order = order
        self._couplings = np.ascontiguousarray(self._couplings[np.ix_(order, order)])
        self._fields, self._known = self._fields[order], self._known[order]


def _slack(problem: Ising) -> float:
    """A node whose bound is not above the best by this much holds nothing better."""
    rounding = TOLERANCE * float(np.abs(problem.weights).sum() + np.abs(problem.fields).sum())
    if problem.is_exact:
        return 2.0 - rounding  # flipping a spin changes a sum of whole numbers by an even one
    return rounding
