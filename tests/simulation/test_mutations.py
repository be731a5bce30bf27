"""The simulation finds bugs: each of these is planted in the runtime, and an invariant catches it within few seeds."""

from collections.abc import Callable
from functools import cache

import pytest

from runtime.simulation import Outcome
from runtime.simulation import simulate as simulate_one
from runtime.simulation.faults import COMMIT_FAILS, DISK_FULL, TORN_COMMIT
from tests.simulation.banking import BANK_KINDS, Bank
from tests.simulation.kernel import KERNEL_KINDS, Kernel
from tests.simulation.mutations import OF_FAILED_COMMITS, OF_PROJECTIONS, OF_THE_JOURNAL, OF_THE_KERNEL, Mutation

SEEDS = range(50)


def run_bank(seed: int) -> Outcome:
    return simulate_one(Bank(), seed, kinds=BANK_KINDS)


def run_bank_with_failing_commits(seed: int) -> Outcome:
    return simulate_one(Bank(), seed, kinds=(COMMIT_FAILS._replace(often=10.0), DISK_FULL._replace(often=3.0)))


def run_bank_with_torn_commits(seed: int) -> Outcome:
    """Between two commits of read models there is nobody: only what is left of a file shows that they were two."""
    return simulate_one(Bank(), seed, kinds=(TORN_COMMIT._replace(often=8.0),))


def run_kernel(seed: int) -> Outcome:
    return simulate_one(Kernel(), seed, kinds=KERNEL_KINDS, seconds=20.0)


CASES = [
    *((mutation, run_bank) for mutation in OF_THE_JOURNAL),
    *((mutation, run_bank_with_failing_commits) for mutation in OF_FAILED_COMMITS),
    *((mutation, run_bank_with_torn_commits) for mutation in OF_PROJECTIONS),
    *((mutation, run_kernel) for mutation in OF_THE_KERNEL),
]


@cache
def holds_as_it_is(run: Callable[[int], Outcome], seed: int) -> bool:
    return run(seed).ok


@pytest.mark.parametrize("mutation, run", CASES, ids=lambda it: it.make.__name__ if isinstance(it, Mutation) else "")
def test_a_planted_bug_is_caught_by_an_invariant(mutation, run, record_property):
    for seed in SEEDS:
        with mutation.applied():
            outcome = run(seed)
        assert holds_as_it_is(run, seed), f"seed {seed} fails without the bug"
        if outcome.invariant in mutation.caught_by:
            print(f"{mutation.make.__name__}: {outcome.invariant}, seed {seed}")
            record_property("caught", f"by {outcome.invariant} with seed {seed}")
            return
    pytest.fail(f"not caught by an invariant within {len(SEEDS)} seeds")
