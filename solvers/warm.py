"""Compiles every kernel into numba's cache, so that no user waits for it: `python -m solvers.warm`.

The cache lies beside the modules where that folder can be written, else in the user's cache folder (`NUMBA_CACHE_DIR`
overrides both), as numba has it: an installed, read-only package works, warmed once for each user.
"""

import numpy as np

from solvers.assignment import assign
from solvers.formats import parse, write
from solvers.generators import palubeckis, sparse_random
from solvers.portfolio import features_of, solve
from solvers.qubo import Convention, Qubo
from solvers.strategies import STRATEGIES

WORK = 600_000  # enough for an anneal and a crossing
LARGE = 16_000  # variables, enough for all that is done otherwise with small problems


def warm() -> None:
    """Runs each kernel once in each of its number types."""
    _warm_large()
    whole, broken = sparse_random(50, 8.0, 1), _scrambled(50, 0.25)
    real = Qubo.from_dense(np.random.default_rng(1).normal(size=(16, 16)))  # that no reduction solves
    couplings = np.triu(np.random.default_rng(1).integers(-100, 101, (60, 60)), 1)
    ones = np.eye(60, dtype=int)
    dense = [Qubo.from_dense(couplings * scale + ones) for scale in (1, 100, 10_000, 0.1)]  # rows of each type
    for strategy in STRATEGIES:
        for qubo in (whole, palubeckis(20, 50, 1), palubeckis(10, 100, 1), broken, real, *dense):
            if strategy.suits(features_of(qubo)):
                solve(qubo, seconds=60, seed=1, work_max=WORK, strategy=strategy.name)
    small = Qubo.from_dense(np.random.default_rng(1).normal(size=(10, 10)))
    for name, qubo in (("tempering", whole), ("tabu", whole), ("tabu", small), ("qaoa", small), ("hybrid_vqe", small)):
        solve(qubo, seconds=60, seed=1, work_max=WORK, strategy=name)
    found = assign(np.eye(3), [2, 0, 1], epsilon=1e-6)  # small: in rounds, which keep who is near enough
    assign(np.eye(3), [2, 0, 1], prices=np.ones(3), agents=found.agents)  # and an offer


def _warm_large() -> None:
    """What small problems do without: reading, rows and reduction by kernels, of weights of each type."""
    parse(write(sparse_random(LARGE, 3.0, 1), "rudy"))
    for factor in (1, 100_000, 10**10, 0.25):
        solve(parse(write(_scrambled(LARGE, factor), "coo")), seconds=60, seed=1, work_max=WORK)


def _scrambled(variables: int, factor: float) -> Qubo:
    """A sparse problem, made of terms in no order, each repeated the other way round; the reduction leaves little of it."""
    rows, columns, weights = sparse_random(variables, 3.0, 1).terms()
    ends, weights = (
        (np.concatenate((columns, rows)), np.concatenate((rows, columns))),
        np.concatenate((weights, weights)),
    )
    terms = (*ends, weights if factor == 1 else weights * np.array(factor))
    return Qubo.from_terms(variables, terms, convention=Convention.SPINS, sense="min")


if __name__ == "__main__":
    warm()
