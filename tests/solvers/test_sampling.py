"""Sampling: distributed as Boltzmann says, shown against enumeration.

Each chi-square test raises a false alarm at one in `1 / ALARM` sets of independent samples; the seeds are fixed, so a
test that passes goes on passing. That the same test finds a temperature that is wrong by a tenth is shown, too.
"""

import numpy as np
import pytest
from scipy import stats

from solvers.enumeration import spectrum
from solvers.generators import palubeckis, sparse_random, toroidal_grid
from solvers.ising import to_ising
from solvers.qubo import Convention, Qubo
from solvers.sampling import Samples, autocorrelation_time, sample
from solvers.tempering import Ensemble

ALARM = 1e-4
READS = 20_000
EXPECTED_MIN = 8.0  # of a bin of the test: rarer assignments are put together


def alarm(qubo, samples, beta):
    """The probability that samples of this distribution are as far from it as these."""
    sign = -beta if qubo.sense == "min" else beta
    size = qubo.variables
    everyone = (np.arange(2**size)[:, None] >> np.arange(size)) & 1
    exponents = sign * np.array([qubo.value(x) for x in everyone])
    weights = np.exp(exponents - exponents.max())
    expected = READS * weights / weights.sum()
    counts = np.bincount(samples.assignments @ (1 << np.arange(size)), minlength=2**size)
    common = expected >= EXPECTED_MIN
    observed = np.append(counts[common], counts[~common].sum())
    wanted = np.append(expected[common], expected[~common].sum())
    if wanted[-1] < EXPECTED_MIN:
        observed[-2:], wanted[-2:] = observed[-2:].sum(), wanted[-2:].sum()
        observed, wanted = observed[:-1], wanted[:-1]
    return stats.chisquare(observed, wanted * observed.sum() / wanted.sum()).pvalue


def drawn(qubo, beta, seed=1, **options):
    return sample(qubo, beta=beta, reads=READS, seed=seed, **options)


FRUSTRATED = toroidal_grid(3, 3, 5)
WITH_FIELDS = palubeckis(8, 60, 3)
FREE = Qubo.from_terms(4, ([0], [1], [3]), convention=Convention.SPINS, sense="min")  # two spins feel nothing
FLOATS = Qubo.from_dense(np.random.default_rng(2).normal(size=(7, 7)) / 3)


@pytest.mark.parametrize(
    ("qubo", "beta"),
    [
        (FRUSTRATED, 0.3),
        (FRUSTRATED, 1.5),
        (WITH_FIELDS, 0.003),
        (WITH_FIELDS, 0.02),
        (FREE, 0.4),
        (FLOATS, 2.0),
        (FLOATS.negated(), 2.0),
        (FLOATS, 0.0),
    ],
)
def test_samples_are_distributed_as_boltzmann_says(qubo, beta):
    samples = drawn(qubo, beta)
    assert samples.complete
    assert alarm(qubo, samples, beta) > ALARM
    assert [qubo.value(x) for x in samples.assignments[:50]] == samples.values[:50].tolist()


@pytest.mark.parametrize(("qubo", "beta"), [(FRUSTRATED, 1.5), (WITH_FIELDS, 0.003), (FLOATS, 2.0)])
def test_a_temperature_that_is_wrong_by_a_tenth_is_found_out(qubo, beta):
    assert alarm(qubo, drawn(qubo, 1.1 * beta), beta) < ALARM


def test_every_rung_of_the_ladder_is_distributed_by_its_own_temperature():
    problem = to_ising(FRUSTRATED)
    ensemble = Ensemble(problem, np.array([0.05, 0.3, 0.8]), 7)
    listed = spectrum(problem)
    counts = np.zeros((3, len(listed)))
    for _ in range(READS):
        ensemble.begin()
        assert ensemble.sweep(3, 2**62, np.zeros(0))
        places = (ensemble.spins[ensemble.rungs] > 0) @ (1 << np.arange(9))
        counts[np.arange(3), places] += 1
    for rung, beta in enumerate(ensemble.betas):
        weights = np.exp(beta * (listed - listed.max()))
        expected = READS * weights / weights.sum()
        common = expected >= EXPECTED_MIN
        observed = np.append(counts[rung][common], counts[rung][~common].sum() + 1e-9)
        wanted = np.append(expected[common], expected[~common].sum() + 1e-9)
        kept = wanted > EXPECTED_MIN / 2
        total = observed[kept].sum() / wanted[kept].sum()
        # Neighboring samples of a rung are not quite independent: a hundredth of the rate.
        assert stats.chisquare(observed[kept], wanted[kept] * total).pvalue > ALARM / 100


def same(one: Samples, other: Samples) -> bool:
    return (one.assignments == other.assignments).all() and one.work == other.work and one.rungs == other.rungs


def test_a_seed_gives_the_same_samples_and_another_one_others():
    one, again, other = (sample(WITH_FIELDS, beta=0.02, reads=100, seed=seed) for seed in (1, 1, 2))
    assert same(one, again)
    assert not (one.assignments == other.assignments).all()


def test_a_ladder_is_found_that_states_climb():
    grid = toroidal_grid(12, 12, 1)
    samples = sample(grid, beta=2.0, reads=20, seed=1)
    assert max(samples.refused) < 0.75
    assert samples.values.mean() > 0.9 * samples.values.max()


def test_sampling_ends_when_it_is_told_to():
    samples = sample(sparse_random(200, 4.0, 1), beta=1.0, reads=1000, seed=1, should_stop=lambda: True)
    assert (len(samples.assignments), samples.complete) == (0, False)
    assert not sample(sparse_random(200, 4.0, 1), beta=1.0, reads=1000, seed=1, seconds=0.0).complete


@pytest.mark.parametrize("variables", [0, 1])
def test_nothing_and_a_single_variable_are_sampled_too(variables):
    qubo = Qubo.from_terms(variables, ([], [], []), convention=Convention.COUNTED_ONCE, sense="min")
    samples = sample(qubo, beta=1.0, reads=2000, seed=1)
    assert samples.assignments.shape == (2000, variables)
    if variables:
        assert 850 < samples.assignments.sum() < 1150


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"beta": -1.0}, "beta"),
        ({"beta": float("nan")}, "beta"),
        ({"reads": -1}, "samples"),
        ({"reads": 10**9}, "samples"),
    ],
)
def test_wrong_arguments_are_refused(options, reason):
    with pytest.raises(ValueError, match=reason):
        sample(FREE, **{"beta": 1.0, "reads": 1, "seed": 1} | options)
    with pytest.raises(ValueError, match="bytes of memory"):
        sample(FREE, beta=1.0, reads=1000, seed=1, memory_bytes_max=5000)


def test_the_autocorrelation_time_of_a_known_process():
    rng = np.random.default_rng(1)
    memory, trace = 0.9, np.zeros(200_000)
    for step in range(1, len(trace)):
        trace[step] = memory * trace[step - 1] + rng.normal()
    assert autocorrelation_time(trace) == pytest.approx(0.5 * (1 + memory) / (1 - memory), rel=0.1)
    assert autocorrelation_time(rng.normal(size=10_000)) == pytest.approx(0.5, abs=0.1)
    assert autocorrelation_time(np.ones(10)) == 0.5
