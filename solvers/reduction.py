"""A problem made smaller without losing its optimum, and the way back from the smaller one's solutions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solvers.ising import Ising

Spins = NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Reduced:
    """`problem` in fewer spins: each of its solutions lifts to one of the original whose objective differs by a constant."""

    problem: Ising

    def gained(self, twice: int) -> int:
        """By how much the original value changes where twice the reduced objective changes by so much."""
        return self.problem.unit * twice // 8

    def lift(self, spins: Spins) -> Spins:
        """The original spins: the best ones that go with these."""
        return spins

    def restrict(self, spins: Spins) -> Spins:
        """Those of the original spins that are left."""
        return spins


def reduce(problem: Ising) -> Reduced:
    return Reduced(problem)
