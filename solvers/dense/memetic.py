"""A memetic search on dense rows: anneals from random states fill a pool of elites, whose crossings are annealed at low heat.

An era fills a new pool and breeds in it until it brings nothing new; the next era has anneals twice as long. The best
of each era is a champion; champions are elites of a last pool of their own, bred at the end of each era.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solvers.dense.kernels import CURSOR_SIZE, POSITION, WORK, _anneal, _fill, _flip_all, _halve, _load
from solvers.dense.pool import Pool
from solvers.dense.problem import Dense, Point
from solvers.dense.sizes import ELITES
from solvers.search import AnnealingOptions, schedule, temperatures
from solvers.seeding import seeded_state
from solvers.spins import _random, _randomize
from solvers.strategy import Course, Island, Start
from solvers.vectors import LOGS

HOLD_SPINS = 4096  # looked at between two temperatures: their thresholds are as many
SWEEPS_MAX = 1 << 20


@dataclass(frozen=True)
class MemeticOptions:
    """Temperatures are fractions of what is measured in the problem; nothing here depends on its size or name."""

    annealing: AnnealingOptions = AnnealingOptions(hottest=0.35, coldest_field=0.03)  # noqa: RUF009, it is frozen
    breeding: float = 0.12 / 0.35  # where the anneal of a child begins, of the hottest temperature
    sweeps_fresh: int = 200
    sweeps_child: int = 100
    elites: int = ELITES
    patience: int = 10  # children for each elite without a better best, after which an era may end
    overtime: float = 1.0  # and so many times the children that the best has taken


class Memetic(Island):
    """One run. Memory: the rows, which all islands of a run fill and read as one, and the points of both pools."""

    def __init__(self, start: Start, options: MemeticOptions | None = None) -> None:
        super().__init__(start)
        self.options = options or MemeticOptions()
        self._state = seeded_state(start.seed, start.stream)
        self._cursor = np.zeros(CURSOR_SIZE, np.int64)
        self._dense = Dense(start.problem, start.shared)
        self._chosen = np.zeros(self._dense.size, np.int64)
        self._spare = Point.of(self._dense)
        self._champions = self._pool()

    @property
    def steps(self) -> int:
        """Chunks of spins looked at and of slopes changed so far."""
        return int(self._cursor[WORK])

    def course(self) -> Course:
        """Eras without an end; the first begins with a known solution where there is one."""
        if self._dense.size == 0:
            return
        yield from self._finish(self._fill_rows)
        self._hottest, self._coldest = temperatures(*self._dense.strengths(), self.options.annealing)
        self.parameters |= {"hottest": self._hottest, "coldest": self._coldest, "elites": self.options.elites}
        if self.start.warm is not None:
            yield from self._take_known(self.start.warm, self._champions)
        yield from self._fresh(self._champions, 0)  # a first answer, soon
        growth = 1
        while True:
            pool = self._pool()
            for _ in range(self.options.elites):
                yield from self._fresh(pool, growth * self.options.sweeps_fresh)
            yield from self._breed(pool, growth * self.options.sweeps_child)
            self._crown(pool)
            if len(self._champions.points) > 2:
                yield from self._breed(self._champions, growth * self.options.sweeps_child)
            self.count("eras")
            growth = min(2 * growth, SWEEPS_MAX // self.options.sweeps_fresh)
            self.parameters["growth"] = growth

    def _pool(self) -> Pool:
        return Pool(self.options.elites, symmetric=self.start.problem.is_symmetric)

    def _fresh(self, pool: Pool, sweeps: int) -> Course:
        """A random state, annealed from the hottest temperature."""
        _randomize(self._spare.solution, self._state)
        yield from self._finish(self._load)
        yield from self._anneal_spare(self._hottest, sweeps, pool)
        self.count("fresh")
        yield from self._meet(pool)

    def _breed(self, pool: Pool, sweeps: int) -> Course:
        """Children until the best of the pool has not risen for long."""
        options = self.options
        best = max(point.twice for point in pool.points)
        children = last = 0
        while children < (1 + options.overtime) * last + options.patience * len(pool.points):
            if len(pool.points) < 2:
                return
            yield from self._child(pool, sweeps)
            children += 1
            now = max(point.twice for point in pool.points)
            if now > best:
                best, last = now, children
            yield from self._meet(pool)

    def _child(self, pool: Pool, sweeps: int) -> Course:
        """Uniform crossover: what two elites agree on stays, and half of the rest is the other's; annealed at low heat."""
        one = self._below(len(pool.points))
        other = (one + 1 + self._below(len(pool.points) - 1)) % len(pool.points)
        mother, father = pool.points[one], pool.points[other]
        self._spare.become(mother)
        mirrored = self.start.problem.is_symmetric
        count = _halve(mother.solution, father.solution, mirrored, self._state, self._chosen)
        if count:
            yield from self._finish(lambda stop: self._flip(count, stop))
        yield from self._anneal_spare(self._hottest * self.options.breeding, sweeps, pool)
        self.count("children")

    def _anneal_spare(self, heat: float, sweeps: int, pool: Pool) -> Course:
        """Down to a local optimum, which the pool may take."""
        hold = max(1, min(HOLD_SPINS // self._dense.size, sweeps // 16))
        falling = schedule(max(heat, self._coldest), self._coldest, max(1, sweeps // hold))
        yield from self._finish(lambda stop: self._anneal(falling, hold, stop))
        yield from self._offer(pool)

    def _offer(self, pool: Pool) -> Course:
        if not pool.would_take(self._spare.twice) and not self._spare.twice > self.best_twice:
            return
        if not self._dense.is_whole:
            yield from self._finish(self._load)  # sums of floats drift
        self.keep(self._spare.solution, self._spare.twice)
        left = pool.take(self._spare)
        self._spare = Point.of(self._dense) if left is None else left

    def _crown(self, pool: Pool) -> None:
        """The best of a pool becomes a champion."""
        best = max(pool.points, key=lambda point: point.twice)
        self._spare.become(best)
        left = self._champions.take(self._spare)
        self._spare = Point.of(self._dense) if left is None else left

    def _meet(self, pool: Pool) -> Course:
        """What another island has found may become an elite."""
        shown = yield from self.meet()
        if shown is not None:
            yield from self._take_known(shown, pool)

    def _take_known(self, spins: NDArray[np.int8], pool: Pool) -> Course:
        """A solution from outside."""
        self._spare.solution[:] = spins
        yield from self._finish(self._load)
        yield from self._anneal_spare(0.0, 0, pool)

    def _below(self, bound: int) -> int:
        """A random number from 0 to below the bound."""
        return (int(_random(self._state)) >> 32) * bound >> 32

    def _fill_rows(self, work_stop: int) -> bool:
        problem, rows = self.start.problem, self._dense.rows
        _fill(rows, problem.indptr, problem.indices, problem.weights, self._cursor, work_stop)
        return bool(self._cursor[POSITION] == len(rows))

    def _load(self, work_stop: int) -> bool:
        dense, point = self._dense, self._spare
        if self._cursor[POSITION] == 0:
            point.sums[:] = 0
        _load(dense.rows, dense.fields, point.spins, point.slopes, self._cursor, point.sums, work_stop)
        return bool(self._cursor[POSITION] == dense.size)

    def _flip(self, count: int, work_stop: int) -> bool:
        point = self._spare
        chosen = self._chosen[:count]
        _flip_all(self._dense.rows, point.spins, point.slopes, chosen, self._cursor, point.sums, work_stop)
        return bool(self._cursor[POSITION] == count)

    def _anneal(self, temperatures: NDArray[np.float32], hold: int, work_stop: int) -> bool:
        dense, point = self._dense, self._spare
        arrays = (dense.rows, point.spins, point.slopes, temperatures, hold, dense.is_whole, LOGS, dense.thresholds)
        return bool(_anneal(*arrays, self._state, self._cursor, point.sums, work_stop))

    def _finish(self, step: Callable[[int], bool]) -> Course:
        """A kernel to its end, left after each call."""
        self._cursor[:WORK] = 0
        done = False
        while not done:
            done = step(self.work_stop)
            yield None
