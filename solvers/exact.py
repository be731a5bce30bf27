"""Exact search: an island whose course ends, and where it has ended its best solution is an optimum.

Up to `ENUMERATED_MAX` spins, every assignment is looked at. Else a tabu search from a few random starts gives a solution
that is nearly always the best already; then branch and bound (see `solvers.branching`) shows that there is no better
one, or finds it. All of it is numpy: what compiled kernels would save on problems of this size, loading them costs ten
times over.

Whole numbers are proven exactly: a node is only left where no solution below it can be better by the smallest
difference that two solutions can have. Floats are proven up to a relative `TOLERANCE` of the coefficients' sum.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from solvers.branching import LANES, Tree
from solvers.csr import row_sums
from solvers.enumeration import best_of_all, dense, settled, twice_objective
from solvers.ising import Ising
from solvers.seeding import random_signs
from solvers.strategy import Course, Island, Start
from solvers.tabu_rows import TabuRows

Floats = NDArray[np.float64]

ENUMERATED_MAX = 14  # spins of which every assignment is looked at: that takes less than finding bounds
STARTS = 16
ROUNDS_PER_SPIN = 2  # a round is half as many flips as there are spins
PATIENCE = 3  # rounds that bring nothing, after which tabu search has done its part
TOLERANCE = 1e-9  # of the sum of all magnitudes: what rounding can make of a bound, by far


class ExactSearch(Island):
    """Branch and bound over one problem. Of several islands the first does it all; a tree is not worth sharing."""

    def __init__(self, start: Start) -> None:
        super().__init__(start)
        self._work = 0
        self._dense = np.zeros((0, 0)), np.zeros(0)

    @property
    def steps(self) -> int:
        """Groups of numbers worked on."""
        return self._work

    def course(self) -> Course:
        """Ends, with `parameters["proven"] = 1`, when the best is an optimum."""
        if self.start.stream > 0:
            return
        problem = self.start.problem
        size = len(problem.fields)
        if size <= ENUMERATED_MAX:
            self._work += 2**size
            self.keep(*best_of_all(problem))
            self.parameters["proven"] = 1
            return
        self._dense = dense(problem)
        for _ in self._begin():
            yield None
        tree = Tree(*self._dense, self.best.astype(np.float64), _slack(problem))
        before = self._work
        for _ in tree.prepare():
            self._work = before + tree.work
            yield None
        while not tree.done:
            better = tree.branch(self.work_stop - before)
            self._work = before + tree.work
            self.counts["nodes"] = tree.nodes
            if better is not None:
                self._keep(better)
            if not tree.done:
                yield None
        self._work += 1  # a replay that ends at this count has come to the end, too
        self.parameters["proven"] = 1

    def _begin(self) -> Iterator[None]:
        """Tabu search from what is known before and from random starts, until a few rounds bring nothing."""
        size = len(self._dense[1])
        starts = random_signs((STARTS, size), self.start.seed, self.start.stream)
        if self.start.warm is not None:
            starts[0] = self.start.warm
        steps = size // ROUNDS_PER_SPIN
        tabu = TabuRows(*self._dense, starts)
        rounds = gained = 0
        while rounds < gained + PATIENCE:
            tabu.run(steps)
            self._work += 1 + STARTS * steps * size // LANES
            rounds += 1
            if self._keep(tabu.bests[tabu.best_objectives.argmax()]):
                gained = rounds
            yield None

    def _keep(self, spins: Floats) -> bool:
        whole = settled(*self._dense, spins)
        return self.keep(whole, twice_objective(self.start.problem, whole))


def _slack(problem: Ising) -> float:
    """A node whose bound is not above the best by this much holds nothing better.

    Flipping a spin changes the objective by twice the field that it feels. Around a spin of whole couplings, that is the
    sum of all of them but for the double of some: so twice the common divisor of these divides every change.
    """
    rounding = TOLERANCE * float(np.abs(problem.weights).sum() + np.abs(problem.fields).sum())
    if not problem.is_exact:
        return rounding
    sums = row_sums(problem.indptr, problem.weights) + problem.fields
    divisor = np.gcd(np.gcd.reduce(sums, initial=0), 2 * np.gcd.reduce(problem.weights.astype(np.int64), initial=0))
    return 2.0 * max(1, int(divisor)) - rounding
