"""A problem made smaller without losing its optimum, and the way back from the smaller one's solutions.

Spins are taken out until no rule of `solvers.elimination` takes any more: of a tree, or a graph without a dense core,
nothing is left. Each solution of what is left lifts to one of the original with the same objective but for a constant,
spin after spin, each at its best: so the best of one is the best of the other. Of public graphs, a sparse random one
of 10,000 spins (G70) keeps 1,429 and one of 5,000 (G55) 3,707; grids of degree four, and random graphs of degree 20,
keep all.

Time and memory are linear: a million spins and four million couplings take two seconds and 400 MB.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers import elimination
from solvers.csr import row_sums
from solvers.elimination import DEGREE_MAX, NEAR_MAX
from solvers.ising import KERNEL_INTEGER_MAX, Ising

Array = NDArray[Any]
Spins = NDArray[np.int8]

PLAIN_COUPLINGS_MAX = 4000
"""Up to so many, and as many spins taken out, plain Python takes less than loading the kernels."""


@dataclass(frozen=True, eq=False)
class Reduced:
    """`problem` in fewer spins: each of its solutions lifts to one of the original whose objective differs by a constant."""

    problem: Ising
    scale: int
    """What weights were multiplied by; what they were divided by is in the problem's unit."""
    kept: NDArray[np.int64]
    """The original spins that are left, in order."""
    taken: NDArray[np.int32]
    near: NDArray[np.int32]
    pulls: Array
    """Spin `taken[k]` was coupled by `pulls[k]` to the spins `near[k]` when it was taken out, as the k-th."""

    def gained(self, twice: int) -> int:
        """By how much the original value changes where twice the reduced objective changes by so much."""
        return self.problem.unit * twice // (8 * self.scale)

    def lift(self, spins: Spins) -> Spins:
        """The original spins: the best ones that go with these."""
        lifted = np.ones(len(self.kept) + len(self.taken), np.int8)
        lifted[self.kept] = spins
        if len(self.taken) <= PLAIN_COUPLINGS_MAX:
            elimination.lift(lifted, self.taken, self.near, self.pulls)
        else:
            from solvers import elimination_kernels

            elimination_kernels.lift(lifted, self.taken, self.near, self.pulls)
        return lifted

    def restrict(self, spins: Spins) -> Spins:
        """Those of the original spins that are left."""
        return spins[self.kept]


def reduce(problem: Ising, should_stop: Callable[[], bool] | None = None) -> Reduced:
    """Takes out all spins that can be; stops early, with a problem as valid, where `should_stop` says so."""
    if np.diff(problem.indptr).min(initial=DEGREE_MAX + 1) > DEGREE_MAX:
        return unreduced(problem)  # the graph alone takes half a second for six million couplings
    scale = _scale(problem)
    kind = problem.weights.dtype.type
    graph = problem.indptr, problem.indices, problem.weights * kind(scale), problem.fields * kind(scale)
    if len(problem.indices) <= 2 * PLAIN_COUPLINGS_MAX:
        left = elimination.eliminate(*graph, should_stop)
    else:
        from solvers import elimination_kernels

        left = elimination_kernels.eliminate(*graph, should_stop)
    if len(left.taken) == 0:
        return unreduced(problem)
    weights, fields, divisor = left.weights, left.fields, 1
    if problem.is_exact:
        divisor = max(1, int(np.gcd(np.gcd.reduce(weights, initial=0), np.gcd.reduce(fields, initial=0))))
        weights, fields = weights // kind(divisor), fields // kind(divisor)
    smaller = Ising(left.indptr, left.indices, weights, fields, problem.unit * divisor)
    return Reduced(smaller, scale, left.kept, left.taken, left.near, left.pulls)


def unreduced(problem: Ising) -> Reduced:
    """All of the problem."""
    none = np.zeros((0, NEAR_MAX), np.int32)
    everything = np.arange(len(problem.fields))
    return Reduced(problem, 1, everything, none[:, 0], none, none.astype(problem.fields.dtype))


def _scale(problem: Ising) -> int:
    """Two where the star-triangle relation could make halves of whole numbers, and doubles of them fit."""
    if not problem.is_exact or len(problem.fields) == 0:
        return 1
    is_odd = (row_sums(problem.indptr, problem.weights & 1) + problem.fields) & 1
    strongest = (row_sums(problem.indptr, problem.weights, magnitudes=True) + np.abs(problem.fields)).max()
    return 2 if is_odd.any() and 2 * strongest < KERNEL_INTEGER_MAX else 1
