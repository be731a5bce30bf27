"""All assignments of a small problem, listed: spin i is up where bit i of the place is set."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.ising import Ising

Array = NDArray[Any]
Floats = NDArray[np.float64]

SPINS_MAX = 24
SETTLING_FLIPS_MAX = 100  # of each spin, for rounding could make two go round


def best_of_all(problem: Ising) -> tuple[NDArray[np.int8], int | float]:
    """The first best assignment listed, as spins, and twice its objective. At most `SPINS_MAX` spins."""
    couplings, fields = dense(problem)
    place = int(spectrum(problem).argmax())
    spins = settled(couplings, fields, np.array([1.0 if place >> i & 1 else -1.0 for i in range(len(fields))]))
    return spins, twice_objective(problem, spins)


def spectrum(problem: Ising) -> Floats:
    """The objective of every assignment. At most `SPINS_MAX` spins.

    Each spin doubles the list: what it adds is the field that it feels from the spins before it, down or up.
    """
    if len(problem.fields) > SPINS_MAX:
        raise ValueError(f"{len(problem.fields)} spins: all assignments are looked at of at most {SPINS_MAX}")
    couplings, fields = dense(problem)
    objectives = np.zeros(1)
    for i in range(len(fields)):
        felt = fields[i : i + 1]
        for j in range(i):
            felt = np.concatenate((felt - couplings[i, j], felt + couplings[i, j]))
        objectives = np.concatenate((objectives - felt, objectives + felt))
    return objectives


def dense(problem: Ising) -> tuple[Floats, Floats]:
    """The symmetric matrix of couplings and the fields, as floats: exact, for whole numbers are within an int32 or rounded before."""
    size = len(problem.fields)
    couplings = np.zeros((size, size))
    rows = np.repeat(np.arange(size), np.diff(problem.indptr))
    couplings[rows, problem.indices] = problem.weights
    return couplings, problem.fields.astype(np.float64)


def twice_objective(problem: Ising, spins: NDArray[np.int8]) -> int | float:
    """`Σ_ij J_ij s_i s_j + 2 Σ_i h_i s_i`, whole where the problem is."""
    wide = spins.astype(np.int64 if problem.is_exact else np.float64)
    rows = np.repeat(wide, np.diff(problem.indptr))
    coupled = (rows * problem.weights * wide[problem.indices]).sum()
    total: int | float = (coupled + 2 * (wide * problem.fields).sum()).item()
    return total


def settled(couplings: Floats, fields: Floats, spins: Floats) -> NDArray[np.int8]:
    """A local optimum at least as good: what a single flip gains can be too little to show in a sum of floats."""
    left = spins.copy()
    for _ in range(SETTLING_FLIPS_MAX * len(left)):
        losing = np.flatnonzero(left * (couplings @ left + fields) < 0.0)
        if len(losing) == 0:
            break
        left[losing[0]] *= -1.0
    return left.astype(np.int8)
