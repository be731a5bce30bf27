"""The dense strategy: optima of small problems, no matter how variables are named or which values they have."""

from functools import partial
from statistics import median

import numpy as np
import pytest

from solvers.dense.memetic import Memetic
from solvers.dense.sizes import memory_bytes
from solvers.generators import palubeckis
from solvers.ising import to_ising
from solvers.islands import Exchange, Runner
from solvers.portfolio import solve
from solvers.qubo import Qubo
from solvers.strategy import Start
from tests.solvers.twins import brute_force

LONG_SECONDS = 3600.0
solve_dense = partial(solve, seconds=LONG_SECONDS, strategy="dense")


def symmetric(size, seed, kind):
    """A random matrix with an empty diagonal."""
    drawn = np.random.default_rng(seed).normal(size=(size, size))
    matrix = np.triu(np.rint(drawn * 50) if kind is np.int64 else drawn, 1)
    return (matrix + matrix.T).astype(kind)


@pytest.mark.parametrize("kind", [np.int64, np.float64])
@pytest.mark.parametrize("size", [1, 2, 3, 13])
def test_small_problems_are_solved_to_the_optimum(size, kind):
    for seed in range(5):
        qubo = Qubo.from_dense(symmetric(size, seed, kind), sense="max")
        assert solve_dense(qubo, seed=seed, work_max=50_000).value == pytest.approx(brute_force(qubo))


@pytest.mark.parametrize("weight", [1, 1000, 1_000_000, 0.1])
def test_rows_of_every_type_lead_to_the_same_optimum(weight):
    matrix = symmetric(120, 1, np.int64)
    matrix[np.abs(matrix) > 120] = 120
    best = solve_dense(Qubo.from_dense(matrix), seed=1, work_max=2_000_000).value
    matrix[0, 1] = matrix[1, 0] = matrix[0, 1] + 1  # or all had a common divisor
    near = solve_dense(Qubo.from_dense(matrix * weight), seed=1, work_max=2_000_000).value
    assert near / weight == pytest.approx(best, abs=2.1)


def changed(qubo, rng):
    """The same problem under other names, with some of its values exchanged: x → 1 - x."""
    upper = qubo.to_dense()
    linear = np.diag(upper)
    couplings = upper + upper.T - 2 * np.diag(linear)
    exchanged = rng.integers(0, 2, qubo.variables)
    signs = 1 - 2 * exchanged
    other = np.triu(couplings * np.outer(signs, signs)) + np.diag((linear + couplings @ exchanged) * signs)
    names = rng.permutation(qubo.variables)
    return Qubo.from_dense(other[np.ix_(names, names)], sense="max", offset=int(exchanged @ upper @ exchanged))


def test_names_and_signs_of_variables_don_t_matter_to_the_median_value():
    qubo = palubeckis(400, 60, 7)
    rng = np.random.default_rng(1)
    work = 60_000  # too little for the optimum: it would hide a difference
    values = [
        [solve_dense(each, seed=seed, work_max=work).value for seed in range(9)] for each in (qubo, changed(qubo, rng))
    ]
    assert len(set(values[0])) > 1
    assert median(values[0]) == pytest.approx(median(values[1]), rel=2e-3)


def test_objectives_are_those_of_the_spins():
    qubo = palubeckis(200, 80, 3)
    problem = to_ising(qubo)
    island = Memetic(Start(problem, 1))
    island.work_max = 5_000_000
    kept = []
    island.on_keep = lambda: kept.append((island.best.copy(), island.best_twice))
    run = Runner(island, 0, Exchange(1))
    while run.run_slice():
        pass
    matrix = island._dense.rows[:, :200].astype(np.int64)
    assert kept
    for spins, twice in kept:
        assert spins @ matrix @ spins.astype(np.int64) + 2 * int(problem.fields @ spins) == twice
    assert island.counts["children"] > 100


def test_memory_grows_with_the_type_of_the_rows():
    sizes = [memory_bytes(1000, weight, whole) for weight, whole in ((1, True), (1000, True), (1e6, True), (1, False))]
    assert sizes == sorted(set(sizes))
    assert 1000**2 < sizes[0] < 1.5 * 1000**2


def test_islands_that_share_rows_find_what_each_finds_alone():
    problem = to_ising(palubeckis(300, 80, 5))
    exchange = Exchange(2)
    shared: dict[str, np.ndarray] = {}

    def island(stream, rows):
        made = Memetic(Start(problem, 1, stream, 2, shared=rows))
        made.work_per_call, made.work_max = 100, 1_000_000
        return made

    def found(made):
        return made.best.tolist(), made.best_twice, made.work

    together = [island(stream, shared) for stream in range(2)]
    assert together[0]._dense.rows is together[1]._dense.rows
    runs = [Runner(each, stream, exchange) for stream, each in enumerate(together)]
    going = runs
    while going:  # in turn, so that both fill the rows at the same time
        going = [run for run in going if run.run_slice(1e-3)]
    for stream, each in enumerate(together):
        alone = island(stream, {})
        run = Runner(alone, 0, Exchange(1))
        while run.run_slice():
            pass
        assert found(alone) == found(each)
