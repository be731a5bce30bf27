"""Sixty-four replicas as bits of words, and the one best solution that they are crossed into.

Each piece of work goes on from the cursor until a count is reached. How replicas are swept is a part of its own: by
adders of words where weights are small and whole (`solvers.sparse.counters`), in vectors of floats where they are
anything (`solvers.sparse.lanes`).
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from solvers.ising import Ising
from solvers.sparse.crossing import _cross_lanes
from solvers.sparse.words import _put, _random_words, _spread
from solvers.spins import CROSSED, CURSOR_SIZE, POSITION, SEEN, SWEEP, TWICE, WORK, _load, _settle
from solvers.strategy import Number

Array = NDArray[Any]
Spins = NDArray[np.int8]


class Sweeper(Protocol):
    """Anneals all replicas of the words, from the cursor on until the work is reached; true when done."""

    order: NDArray[np.int32]
    """Row r of the words is spin `order[r]`."""

    def prepare(self, hottest: float, coldest: float, sweeps: int, cursor: Array) -> None:
        """Of the next anneal."""
        ...

    def anneal(self, words: Array, cursor: Array, work_stop: int) -> bool:
        """So many sweeps, cooler and cooler."""
        ...

    def descend(self, words: Array, cursor: Array, work_stop: int) -> bool:
        """A few sweeps that never lose."""
        ...


class Replicas:
    """The arrays of a run. `begin` comes before each piece of work; a piece is called again until it says that it is done."""

    def __init__(self, problem: Ising, sweeper: Sweeper, state: NDArray[np.uint64]) -> None:
        size = len(problem.fields)
        self.cursor = np.zeros(CURSOR_SIZE, np.int64)
        self.best = np.ones(size, np.int8)
        self.best_twice: Number = 0
        self._sweeper = sweeper
        self._order = sweeper.order
        self._matrix = (problem.indptr, problem.indices, problem.weights, problem.fields)
        self._symmetric = problem.is_symmetric
        self._state = state
        self._words = np.zeros(size + 1, np.uint64)  # the last is for the sweeper: all of its replicas point up
        self._row = np.empty(size, np.int8)
        self._sums = np.zeros(3, np.int64 if problem.is_exact else np.float64)
        self._mark = np.zeros(size, np.uint8)
        self._stack = np.zeros(size, np.int32)

    @property
    def steps(self) -> int:
        """Words visited and neighbors' words looked at so far, or what takes as long."""
        return int(self.cursor[WORK])

    @property
    def _spins(self) -> Array:
        return self._words[:-1]

    def begin(self) -> None:
        self.cursor[:WORK] = 0
        self.cursor[SEEN] = -1

    def randomize(self) -> None:
        _random_words(self._spins, self._state)

    def spread(self, spins: Spins) -> None:
        """All replicas begin from these."""
        np.take(spins, self._order, out=self._row)
        _spread(self._row, self._words)

    def put(self, spins: Spins, lane: int) -> None:
        """One replica takes these spins."""
        np.take(spins, self._order, out=self._row)
        _put(self._row, lane, self._words)

    def prepare(self, hottest: float, coldest: float, sweeps: int) -> None:
        """So many sweeps are next, from the hottest to the coldest temperature."""
        self._sweeper.prepare(hottest, coldest, sweeps, self.cursor)

    def anneal(self, work_stop: int) -> bool:
        """What was prepared; true when done."""
        return self._sweeper.anneal(self._words, self.cursor, work_stop)

    def descend(self, work_stop: int) -> bool:
        """Sweeps that never lose; true when done."""
        return self._sweeper.descend(self._words, self.cursor, work_stop)

    def settle(self, work_stop: int) -> bool:
        """`best` goes down to a local optimum; true when done."""
        if self.cursor[SEEN] < 0:
            self.cursor[SEEN] = 0
        return bool(_settle(self.best, *self._matrix, self.cursor, work_stop))

    def load(self, work_stop: int) -> bool:
        """Twice the objective of `best`, computed afresh; true when done."""
        if self.cursor[POSITION] == 0:
            self._sums[TWICE] = 0
        gains = np.empty(len(self.best), self._matrix[-1].dtype)
        _load(self.best, gains, *self._matrix, self.cursor, self._sums, work_stop)
        self.best_twice = self._sums[TWICE].item()
        return bool(self.cursor[POSITION] == len(self.best))

    def cross(self, first: int, end: int, work_stop: int) -> bool:
        """`best` is improved by the better parts of these replicas, one after the other; true when done."""
        self._sums[CROSSED] = 0
        lanes = (self.best, self._spins, self._order, first, end)
        arrays = (self._mark, self._stack, self.cursor, self._sums)
        _cross_lanes(*lanes, *self._matrix, self._symmetric, *arrays, work_stop)
        self.best_twice += 4 * self._sums[CROSSED].item()
        return bool(self.cursor[SWEEP] == end - first)
