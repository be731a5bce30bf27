"""Parallel tempering: replicas at a ladder of temperatures, which exchange their states so that each meets every one.

A sweep is a heat bath: spin i is drawn from its distribution given the others, up to down as `exp(β·objective)` says.
(Metropolis' rule in the same order of spins is faster and wrong: two spins that feel nothing would flip together for
ever.) After each sweep, neighbors on the ladder exchange with probability `min(1, exp((β_a - β_b)(E_b - E_a)))`, even and
odd pairs in turn, which is a heat bath of the whole ladder, too; so where the ladder is fixed, each rung's states are
distributed as `exp(β·objective)` says.

The ladder is found in rounds of doubling length (Syed, Bouchard-Côté, Deligiannidis, Doucet 2021): the rates at which
exchanges are refused add up to a barrier Λ along β, rungs are put at equal parts of it, and about 2Λ + 2 of them let a
state go up and down fastest.
"""

import math
from typing import Any

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

from solvers.ising import Ising
from solvers.search import AnnealingOptions, temperature_range
from solvers.seeding import seeded_state
from solvers.spins import WORK as SETTLED
from solvers.spins import _random, _randomize, _settle
from solvers.strategy import Course, Island, Start

Array = NDArray[Any]
Floats = NDArray[np.float64]

RUNGS_FIRST = 8
RUNGS_MIN = 2
RUNGS_MAX = 64
RUNGS_PER_BARRIER = 2.0
SWEEPS_FIRST = 32
TUNING_ROUNDS = 8
SWEEPS_MAX = 1 << 20  # of a round, where the doubling ends
REFUSED_MIN = 1e-3  # of a pair's rate: an easy part of the ladder keeps a little of the barrier
EXPONENT_MAX = 700.0  # what `exp` takes
BLOCK = 1024  # spins between two looks at the work count
REFRESH_SWEEPS = 256  # after which fields are summed up anew, so that floats don't drift

SWEEP, RUNG, POSITION, WORK, PARITY = range(5)  # what a cursor holds
CURSOR_SIZE = 5


class Ensemble:
    """The replicas of one problem, and the ladder that they are on; rung 0 is the hottest.

    `betas` are in units of the objective: rung k is distributed as `exp(betas[k] · objective)`.
    """

    def __init__(self, problem: Ising, betas: Floats, seed: int, stream: int = 0) -> None:
        self.problem = problem
        self.betas = betas
        self.cursor = np.zeros(CURSOR_SIZE, np.int64)
        self.best = np.ones(len(problem.fields), np.int8)
        self.best_objective = np.array([-np.inf])
        self._state = seeded_state(seed, stream)
        self._matrix = (problem.indptr, problem.indices, problem.weights.astype(np.float64))
        self._fields = problem.fields.astype(np.float64)
        self._put(len(betas))

    def _put(self, rungs: int, old: NDArray[np.int8] | None = None) -> None:
        """Random states on so many rungs, or copies of those from before, in order."""
        size = len(self._fields)
        self.spins = np.ones((rungs, size), np.int8)
        for rung in range(rungs):
            if old is None:
                _randomize(self.spins[rung], self._state)
            else:
                self.spins[rung] = old[rung * len(old) // rungs]
        self.rungs = np.arange(rungs)  # which replica is on each
        self._felt = np.zeros((rungs, size))
        self.objectives = np.zeros(rungs)  # of each replica
        self.refused = np.zeros(max(0, rungs - 1))
        self.tried = np.zeros(max(0, rungs - 1), np.int64)
        self.load()

    @property
    def work(self) -> int:
        return int(self.cursor[WORK])

    def load(self) -> None:
        """All fields afresh."""
        for replica in range(len(self.spins)):
            self.objectives[replica] = _feel(self.spins[replica], self._felt[replica], *self._matrix, self._fields)
        self.cursor[WORK] += self.spins.size + len(self.spins) * len(self._matrix[1])

    def begin(self) -> None:
        """Before a new number of sweeps."""
        self.cursor[[SWEEP, RUNG, POSITION]] = 0

    def sweep(self, sweeps: int, work_stop: int, trace: Floats) -> bool:
        """So many sweeps of all replicas, each followed by exchanges; true when done. `trace` takes the coldest's objectives."""
        _temper(
            self.spins,
            self._felt,
            *self._matrix,
            self.rungs,
            self.betas,
            self.objectives,
            self.refused,
            self.tried,
            self._state,
            self.best,
            self.best_objective,
            trace,
            self.cursor,
            sweeps,
            work_stop,
        )
        return bool(self.cursor[SWEEP] >= sweeps)

    def coldest(self) -> NDArray[np.int8]:
        """The state on the coldest rung."""
        found: NDArray[np.int8] = self.spins[self.rungs[-1]]
        return found

    @property
    def rates(self) -> Floats:
        """Of each pair of neighbors on the ladder, how often its exchange was refused."""
        return self.refused / np.maximum(self.tried, 1)

    def forget(self) -> None:
        """Counts exchanges anew."""
        self.refused[:], self.tried[:] = 0, 0

    def tune(self) -> None:
        """A new ladder between the same ends, from what was counted on this one; states stay near their temperature."""
        barrier = np.concatenate(([0.0], np.cumsum(np.maximum(self.rates, REFUSED_MIN))))
        wanted = math.ceil(RUNGS_PER_BARRIER * barrier[-1]) + 2
        rungs = max(RUNGS_MIN, min(RUNGS_MAX, wanted, 2 * len(self.betas)))
        old = self.spins[self.rungs]
        self.betas = np.interp(np.linspace(0.0, barrier[-1], rungs), barrier, self.betas)
        self._put(rungs, old)


def ladder(hottest: float, coldest: float, rungs: int = RUNGS_FIRST) -> Floats:
    """Geometric, from inverse temperature `hottest` to `coldest`; one rung where they are one."""
    if not hottest < coldest:
        return np.array([coldest])
    ratios = np.linspace(0.0, 1.0, rungs)
    return np.asarray(hottest * (coldest / hottest) ** ratios)


class Tempering(Island):
    """Tempering to find a good solution, not to sample: the ladder is tuned all along."""

    def __init__(self, start: Start) -> None:
        super().__init__(start)
        hottest, coldest = temperature_range(start.problem, AnnealingOptions())
        # A gain, the unit of temperatures there, is half of what the objective changes by.
        betas = ladder(0.5 / hottest, 0.5 / coldest) if coldest > 0 else np.array([1.0])
        self._ensemble = Ensemble(start.problem, betas, start.seed, start.stream)
        if start.warm is not None:
            self._ensemble.spins[-1] = start.warm
            self._ensemble.load()
        self.parameters |= {"hottest": 2 * hottest, "coldest": 2 * coldest}

    @property
    def steps(self) -> int:
        """Spins visited and neighbors looked at."""
        return self._ensemble.work

    def course(self) -> Course:
        ensemble, sweeps = self._ensemble, SWEEPS_FIRST
        if len(self.best) == 0:
            return
        nothing = np.zeros(0)
        yield from self._answer(ensemble)
        while True:
            for begin in range(0, sweeps, REFRESH_SWEEPS):
                ensemble.begin()
                while not ensemble.sweep(min(REFRESH_SWEEPS, sweeps - begin), self.work_stop, nothing):
                    yield None
                self._take(ensemble)
                ensemble.load()
                yield None
            self.count("rounds")
            if len(ensemble.betas) > 1:
                ensemble.tune()
            self.parameters["rungs"] = len(ensemble.betas)
            sweeps = min(2 * sweeps, SWEEPS_MAX)

    def _answer(self, ensemble: Ensemble) -> Course:
        """A local optimum near the coldest replica's state, soon."""
        spins, cursor, is_settled = ensemble.coldest().copy(), np.zeros(CURSOR_SIZE, np.int64), False
        while not is_settled:
            begun = self.steps
            cursor[SETTLED] = begun
            is_settled = _settle(spins, *ensemble._matrix, ensemble._fields, cursor, self.work_stop)
            ensemble.cursor[WORK] += cursor[SETTLED] - begun
            if is_settled:
                self.keep(spins, _twice(self.start.problem, spins))
            yield None

    def _take(self, ensemble: Ensemble) -> None:
        """The best state met, after a descent."""
        spins = ensemble.best.astype(np.int8)
        _descend_fields(spins, *ensemble._matrix, ensemble._fields)
        self.keep(spins, _twice(self.start.problem, spins))


def _twice(problem: Ising, spins: NDArray[np.int8]) -> int | float:
    wide = spins.astype(np.int64 if problem.is_exact else np.float64)
    coupled = (np.repeat(wide, np.diff(problem.indptr)) * problem.weights * wide[problem.indices]).sum()
    total: int | float = (coupled + 2 * (wide * problem.fields).sum()).item()
    return total


@njit(cache=True, nogil=True)
def _feel(spins: Array, felt: Array, indptr: Array, indices: Array, weights: Array, fields: Array) -> float:
    """The field that each spin feels, and the objective."""
    objective = 0.0
    for i in range(spins.shape[0]):
        coupled = 0.0
        for k in range(indptr[i], indptr[i + 1]):
            coupled += weights[k] * spins[indices[k]]
        felt[i] = coupled + fields[i]
        objective += spins[i] * (0.5 * coupled + fields[i])
    return objective


@njit(cache=True, nogil=True)
def _descend_fields(spins: Array, indptr: Array, indices: Array, weights: Array, fields: Array) -> None:
    """Flips what gains by itself, ten sweeps at most."""
    for _ in range(10):
        has_changed = False
        for i in range(spins.shape[0]):
            felt = fields[i]
            for k in range(indptr[i], indptr[i + 1]):
                felt += weights[k] * spins[indices[k]]
            if spins[i] * felt < 0.0:
                spins[i] = -spins[i]
                has_changed = True
        if not has_changed:
            return


@njit(cache=True, nogil=True)
def _drawn(state: Array) -> float:
    """Between 0 and 1, never one of them."""
    return (np.float64(_random(state) >> uint64(12)) + 0.5) * 2.0**-52


@njit(cache=True, nogil=True)
def _exchange(
    rungs: Array, betas: Array, objectives: Array, refused: Array, tried: Array, parity: int, state: Array
) -> None:
    """Pairs of neighboring rungs, the even or the odd ones, exchange their replicas."""
    for rung in range(parity, rungs.shape[0] - 1, 2):
        hotter, colder = rungs[rung], rungs[rung + 1]
        exponent = (betas[rung + 1] - betas[rung]) * (objectives[hotter] - objectives[colder])
        tried[rung] += 1
        refused[rung] += 1.0 - math.exp(min(0.0, max(exponent, -EXPONENT_MAX)))
        if exponent >= 0.0 or _drawn(state) < math.exp(max(exponent, -EXPONENT_MAX)):
            rungs[rung] = colder
            rungs[rung + 1] = hotter


@njit(cache=True, nogil=True)
def _temper(
    spins: Array,
    felt: Array,
    indptr: Array,
    indices: Array,
    weights: Array,
    rungs: Array,
    betas: Array,
    objectives: Array,
    refused: Array,
    tried: Array,
    state: Array,
    best: Array,
    best_objective: Array,
    trace: Array,
    cursor: Array,
    sweeps: int,
    work_stop: int,
) -> None:
    """Sweeps on from the cursor until all are done or the work reaches `work_stop`, at a block of spins."""
    size = spins.shape[1]
    work = cursor[WORK]
    while cursor[SWEEP] < sweeps:
        while cursor[RUNG] < rungs.shape[0]:
            replica = rungs[cursor[RUNG]]
            twice = 2.0 * betas[cursor[RUNG]]
            mine, fields = spins[replica], felt[replica]
            while cursor[POSITION] < size:
                if work >= work_stop:
                    cursor[WORK] = work
                    return
                first = cursor[POSITION]
                end = min(size, first + BLOCK)
                for i in range(first, end):
                    exponent = twice * mine[i] * fields[i]
                    if exponent > 40.0:  # one in 10^17: not even the drawn number is so small
                        continue
                    if _drawn(state) * (1.0 + math.exp(max(exponent, -EXPONENT_MAX))) < 1.0:
                        change = -2.0 * mine[i]
                        objectives[replica] += change * fields[i]
                        mine[i] = -mine[i]
                        work += indptr[i + 1] - indptr[i]
                        for k in range(indptr[i], indptr[i + 1]):
                            fields[indices[k]] += change * weights[k]
                work += end - first
                cursor[POSITION] = end
            if objectives[replica] > best_objective[0]:
                best_objective[0] = objectives[replica]
                best[:] = mine
            cursor[POSITION] = 0
            cursor[RUNG] += 1
        _exchange(rungs, betas, objectives, refused, tried, cursor[PARITY], state)
        if cursor[SWEEP] < trace.shape[0]:
            trace[cursor[SWEEP]] = objectives[rungs[-1]]
        cursor[PARITY] = 1 - cursor[PARITY]
        cursor[RUNG] = 0
        cursor[SWEEP] += 1
    cursor[WORK] = work
