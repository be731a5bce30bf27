"""All assignments of a small problem, in the order of a Gray code, in which neighbors differ by one spin.

Step k flips the spin whose number is that of the zeros behind k's lowest one, so each takes one look at that spin's row. Spin i is
up where bit i of `k ^ (k >> 1)` is set.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from solvers.ising import Ising

Array = NDArray[Any]
Floats = NDArray[np.float64]

SPINS_MAX = 24
REFRESH = 12  # after every 2**12 steps fields are summed up anew, so that floats don't drift


def best_of_all(problem: Ising) -> tuple[NDArray[np.int8], int | float]:
    """The first best assignment in the code's order, as spins, and twice its objective. At most `SPINS_MAX` spins."""
    couplings, fields = dense(_checked(problem))
    code, _ = _find_best(couplings, fields)
    spins = settled(couplings, fields, _spins_of(code, len(fields)).astype(np.float64))
    return spins, twice_objective(problem, spins)


def spectrum(problem: Ising) -> Floats:
    """The objective of every assignment; of that whose spin i is up where bit i of the place is set."""
    couplings, fields = dense(_checked(problem))
    objectives = np.empty(1 << len(fields))
    _list_all(couplings, fields, objectives)
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
    _settle(couplings, fields, left)
    return left.astype(np.int8)


def _checked(problem: Ising) -> Ising:
    if len(problem.fields) > SPINS_MAX:
        raise ValueError(f"{len(problem.fields)} spins: all assignments are looked at of at most {SPINS_MAX}")
    return problem


def _spins_of(code: int, size: int) -> NDArray[np.int8]:
    return np.array([1 if code >> i & 1 else -1 for i in range(size)], np.int8)


@njit(cache=True, nogil=True)
def _settle(couplings: Array, fields: Array, spins: Array) -> None:
    """Sweeps of flips that gain, a hundred at most, for rounding could make two go round."""
    for _ in range(100):
        has_changed = False
        for i in range(spins.shape[0]):
            felt = fields[i]
            for j in range(spins.shape[0]):
                felt += couplings[i, j] * spins[j]
            if spins[i] * felt < 0.0:
                spins[i] = -spins[i]
                has_changed = True
        if not has_changed:
            return


@njit(cache=True, nogil=True)
def _sum_up(couplings: Array, fields: Array, spins: Array, felt: Array) -> float:
    """The fields that the spins feel, and the objective."""
    size = fields.shape[0]
    objective = 0.0
    for i in range(size):
        felt[i] = fields[i]
        for j in range(size):
            felt[i] += couplings[i, j] * spins[j]
        objective += 0.5 * spins[i] * (felt[i] + fields[i])
    return objective


@njit(cache=True, nogil=True)
def _flip_next(couplings: Array, spins: Array, felt: Array, k: int) -> Any:
    """Goes from assignment k - 1 of the code to k: (which spin flips, what the objective gains)."""
    chosen = 0
    while k & 1 == 0:
        chosen += 1
        k >>= 1
    gain = -2.0 * spins[chosen] * felt[chosen]
    spins[chosen] = -spins[chosen]
    twice = 2.0 * spins[chosen]
    for j in range(spins.shape[0]):
        felt[j] += twice * couplings[chosen, j]
    return chosen, gain


@njit(cache=True, nogil=True)
def _find_best(couplings: Array, fields: Array) -> Any:
    """(the code of the best assignment, its objective)."""
    size = fields.shape[0]
    spins = -np.ones(size)
    felt = np.zeros(size)
    objective = _sum_up(couplings, fields, spins, felt)
    best, best_code, code = objective, 0, 0
    for k in range(1, 1 << size):
        chosen, gain = _flip_next(couplings, spins, felt, k)
        code ^= 1 << chosen
        objective += gain
        if k & ((1 << REFRESH) - 1) == 0:
            objective = _sum_up(couplings, fields, spins, felt)
        if objective > best:
            best, best_code = objective, code
    return best_code, best


@njit(cache=True, nogil=True)
def _list_all(couplings: Array, fields: Array, objectives: Array) -> None:
    size = fields.shape[0]
    spins = -np.ones(size)
    felt = np.zeros(size)
    objective = _sum_up(couplings, fields, spins, felt)
    objectives[0] = objective
    code = 0
    for k in range(1, 1 << size):
        chosen, gain = _flip_next(couplings, spins, felt, k)
        code ^= 1 << chosen
        objective += gain
        if k & ((1 << REFRESH) - 1) == 0:
            objective = _sum_up(couplings, fields, spins, felt)
        objectives[code] = objective
