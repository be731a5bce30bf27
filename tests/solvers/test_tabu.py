"""Tabu search: the kernel against its slow twin, and what a run finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.generators import palubeckis, toroidal_grid
from solvers.portfolio import replay, solve
from solvers.seeding import seeded_state
from solvers.spins import TWICE, WORK
from solvers.tabu import BEST, CURSOR_SIZE, STEP, TENURE_SPREAD, _search, _shake
from tests.solvers.test_spins import csr, loaded, spin_problems
from tests.solvers.twins import obvious_gains, obvious_objective, random_word

LONG_SECONDS = 3600.0


def obvious_search(matrix, fields, spins, state, steps, tenure):
    """Tabu search with all gains computed afresh in each step; returns the best spins met."""
    best = spins.copy()
    free_at = [0] * len(spins)
    for step in range(steps):
        gains = obvious_gains(matrix, fields, spins)
        here, best_here = (2 * obvious_objective(matrix, fields, each) for each in (spins, best))
        free = [i for i in range(len(spins)) if free_at[i] <= step or here + 4 * gains[i] > best_here]
        if not free:
            continue
        chosen = max(free, key=lambda i: (gains[i], -i))
        spins[chosen] *= -1
        free_at[chosen] = step + 1 + tenure + (random_word(state) >> 32) % TENURE_SPREAD
        if obvious_objective(matrix, fields, spins) > obvious_objective(matrix, fields, best):
            best = spins.copy()
    return best


@given(
    spin_problems(),
    st.sampled_from([np.int32, np.float64]),
    st.integers(0, 2**64 - 1),
    st.integers(0, 30),
    st.integers(0, 5),
    st.lists(st.integers(1, 40), max_size=30),
)
@settings(max_examples=150, deadline=None)
def test_the_kernel_is_its_twin_however_its_calls_are_cut(problem, kind, seed, steps, tenure, stops):
    matrix, fields, spins = problem
    arrays = csr(matrix, kind)
    gains, twice = loaded(spins, arrays, fields, kind)
    state, cursor = seeded_state(seed), np.zeros(CURSOR_SIZE, np.int64)
    words, twin = [int(word) for word in state], spins.astype(int)
    sums = np.array([twice, twice], np.int64 if kind is np.int32 else np.float64)
    found, free_at = spins.copy(), np.zeros(len(spins), np.int64)
    for stop in (*stops, 2**60):
        work_stop = int(cursor[WORK]) + stop
        _search(spins, gains, *arrays, free_at, found, state, cursor, sums, steps, tenure, work_stop)
    assert cursor[STEP] == steps
    best = obvious_search(matrix, fields, twin, words, steps, tenure)
    assert spins.tolist() == twin.tolist()
    assert found.tolist() == best.tolist()
    assert [int(word) for word in state] == words
    assert gains.tolist() == obvious_gains(matrix, fields, twin).tolist()
    assert (sums[TWICE], sums[BEST]) == tuple(2 * obvious_objective(matrix, fields, each) for each in (twin, best))


@given(st.integers(1, 9), st.integers(0, 20), st.integers(0, 2**64 - 1))
def test_a_shake_turns_over_what_its_random_words_name(size, count, seed):
    spins, state = np.ones(size, np.int8), seeded_state(seed)
    words = [int(word) for word in state]
    twin = [1] * size
    for _ in range(count):
        twin[((random_word(words) >> 32) * size) >> 32] *= -1
    _shake(spins, count, state)
    assert spins.tolist() == twin


@pytest.mark.parametrize("qubo", [palubeckis(60, 50, 1), toroidal_grid(8, 8, 2)], ids=lambda qubo: qubo.name)
def test_a_run_finds_what_is_proven_to_be_the_best(qubo):
    proven = solve(qubo, seconds=LONG_SECONDS, seed=1, strategy="exact")
    found = solve(qubo, seconds=LONG_SECONDS, seed=1, work_max=20_000_000, target=proven.value, strategy="tabu")
    assert found.value == proven.value


def test_two_islands_of_it_replay_from_their_work(monkeypatch):
    monkeypatch.setattr("solvers.strategy.Island.meeting_work", 20_000)
    qubo = palubeckis(120, 50, 1)
    solution = solve(qubo, seconds=LONG_SECONDS, seed=7, threads=2, work_max=1_000_000, strategy="tabu")
    assert min(counts["meetings"] for counts in solution.counts) > 3
    again = replay(qubo, seed=7, works=solution.works, algorithm="tabu")
    assert (again.works, again.traces, again.counts) == (solution.works, solution.traces, solution.counts)


def test_it_begins_with_a_known_solution_and_starts_anew_where_nothing_is_gained():
    qubo = palubeckis(30, 100, 1)
    solution = solve(qubo, seconds=LONG_SECONDS, seed=1, work_max=2_000_000, strategy="tabu")
    assert solution.counts[0]["restarts"] > 2
    warm = solve(qubo, seconds=LONG_SECONDS, seed=2, work_max=1, strategy="tabu", warm=solution.assignment)
    assert warm.value == solution.value
