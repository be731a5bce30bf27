"""Iterated tabu search (Glover 1989; for such problems Palubeckis 2006): one best flip after another, none undone soon.

A round goes so many steps on from its start, each time flipping the spin that gains most, or loses least, of those that
have not been flipped lately; one that would give the best solution so far may always be. Then the round's best is
shaken, some of its spins turned over at random, and the next round begins there; after some rounds without a gain, at
random. A step looks at all spins, so it suits a few thousand of them. On the public graphs annealing was better in
all cases: nothing is chosen for it, and it is run by name alone, as a second opinion that anneals nothing.
"""

from typing import Any

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

from solvers.seeding import seeded_state
from solvers.spins import POSITION, SEEN, SWEEP, TWICE, WORK, _load, _random, _randomize, _settle
from solvers.strategy import Course, Island, Start

Array = NDArray[Any]

STEPS_PER_SPIN, STEPS_MIN, STEPS_MAX = 10, 500, 100_000  # of a round
TENURE_MAX = 20  # steps for which a spin stays, and a tenth more of random ones
TENURE_SPREAD = 10
SHAKEN_MIN, SHAKEN_SHARE = 4, 0.1  # spins turned over before the next round
PATIENCE = 20  # rounds without a gain, after which one begins at random
LANES = 8  # spins looked at that take as long as a step of work
STEP, CURSOR_SIZE = 5, 6  # beside what `_load` keeps in a cursor
BEST = 1  # beside TWICE, in the sums


class Tabu(Island):
    """One run."""

    def __init__(self, start: Start) -> None:
        super().__init__(start)
        problem, size = start.problem, len(start.problem.fields)
        kind = problem.fields.dtype
        self._matrix = (problem.indptr, problem.indices, problem.weights)
        self._cursor = np.zeros(CURSOR_SIZE, np.int64)
        self._sums = np.zeros(2, np.int64 if problem.is_exact else np.float64)
        self._drawing = seeded_state(start.seed, start.stream)
        self._spins, self._found = np.ones(size, np.int8), np.ones(size, np.int8)
        self._gains = np.zeros(size, kind)
        self._free_at = np.zeros(size, np.int64)

    @property
    def steps(self) -> int:
        """Spins looked at, by eight, and neighbors of those that were flipped."""
        return int(self._cursor[WORK])

    def course(self) -> Course:
        """Rounds without an end."""
        size = len(self.best)
        if size == 0:
            return
        steps = min(max(STEPS_MIN, STEPS_PER_SPIN * size), STEPS_MAX)
        shaken = max(SHAKEN_MIN, int(SHAKEN_SHARE * size))
        self.parameters |= {"tenure": tenure_of(size), "steps": steps, "shaken": shaken}
        failed = 0
        if self.start.warm is None:
            _randomize(self._spins, self._drawing)
        else:
            self._spins[:] = self.start.warm
        yield from self._answer()
        while True:
            yield from self._round(steps)
            failed = 0 if self.keep(self._found, self._sums[BEST].item()) else failed + 1
            self.count("rounds")
            shown = yield from self.meet()
            if shown is not None:
                self._spins[:] = shown
            elif failed and failed % PATIENCE == 0:
                _randomize(self._spins, self._drawing)
                self.count("restarts")
            else:
                self._spins[:] = self.best if failed % 2 else self._found
            _shake(self._spins, shaken, self._drawing)

    def _answer(self) -> Course:
        """A first local optimum, soon: a step for each flip would take a large problem long."""
        self._cursor[[SWEEP, POSITION, SEEN]] = 0
        fields = self.start.problem.fields
        while not _settle(self._spins, *self._matrix, fields, self._cursor, self.work_stop):
            yield None
        yield from self._loaded(self._spins)
        self.keep(self._spins, self._sums[TWICE].item())

    def _round(self, steps: int) -> Course:
        """So many steps from the spins; the best that was met is then in `_found`, its value computed afresh."""
        yield from self._loaded(self._spins)
        self._found[:], self._sums[BEST], self._cursor[STEP] = self._spins, self._sums[TWICE], 0
        self._free_at[:] = 0
        tenure = tenure_of(len(self._spins))
        while self._cursor[STEP] < steps:
            _search(
                self._spins,
                self._gains,
                *self._matrix,
                self._free_at,
                self._found,
                self._drawing,
                self._cursor,
                self._sums,
                steps,
                tenure,
                self.work_stop,
            )
            yield None
        yield from self._loaded(self._found)
        self._sums[BEST] = self._sums[TWICE]

    def _loaded(self, spins: NDArray[np.int8]) -> Course:
        """Gains and objective of these spins: sums of floats drift from flip to flip."""
        self._cursor[POSITION], self._sums[TWICE] = 0, 0
        while self._cursor[POSITION] < len(spins):
            _load(
                spins, self._gains, *self._matrix, self.start.problem.fields, self._cursor, self._sums, self.work_stop
            )
            yield None


def tenure_of(size: int) -> int:
    """For how many steps a flipped spin stays at least: not so many that none is free."""
    return min(TENURE_MAX, size // 4)


@njit(cache=True, nogil=True)
def _shake(spins: Array, count: int, state: Array) -> None:
    """Turns over so many spins drawn at random; one that is drawn twice is back."""
    for _ in range(count):
        i = np.int64(((_random(state) >> uint64(32)) * uint64(spins.shape[0])) >> uint64(32))
        spins[i] = -spins[i]


@njit(cache=True, nogil=True)
def _search(
    spins: Array,
    gains: Array,
    indptr: Array,
    indices: Array,
    weights: Array,
    free_at: Array,
    found: Array,
    state: Array,
    cursor: Array,
    sums: Array,
    steps: int,
    tenure: int,
    work_stop: int,
) -> None:
    """Steps on from the cursor until all are done or the work reaches `work_stop`; of equals the first spin is flipped."""
    size = spins.shape[0]
    work = cursor[WORK]
    twice = sums[TWICE]
    best = sums[BEST]
    step = cursor[STEP]
    while step < steps and work < work_stop:
        chosen = -1
        for i in range(size):
            if (chosen < 0 or gains[i] > gains[chosen]) and (free_at[i] <= step or twice + 4 * gains[i] > best):
                chosen = i
        work += 1 + size // LANES
        step += 1
        if chosen < 0:  # none is free: time passes
            continue
        twice += 4 * gains[chosen]
        spin = -spins[chosen]
        spins[chosen] = spin
        gains[chosen] = -gains[chosen]
        free_at[chosen] = step + tenure + np.int64((_random(state) >> uint64(32)) % uint64(TENURE_SPREAD))
        work += indptr[chosen + 1] - indptr[chosen]
        for k in range(indptr[chosen], indptr[chosen + 1]):
            j = indices[k]
            gains[j] -= 2 * weights[k] * (spin * spins[j])
        if twice > best:
            best = twice
            found[:] = spins
            work += size // LANES
    cursor[WORK] = work
    cursor[STEP] = step
    sums[TWICE] = twice
    sums[BEST] = best
