"""Prints the sha256 of the traces of some runs: run twice under different hash seeds, it must print the same."""

from runtime.simulation import Outcome, simulate
from tests.simulation.banking import BANK_KINDS, Bank
from tests.simulation.kernel import KERNEL_KINDS, Kernel


def outcomes() -> list[Outcome]:
    """Runs that have faults, and restarts from files."""
    banks = [simulate(Bank(), seed, kinds=BANK_KINDS) for seed in (5,)]
    kernels = [simulate(Kernel(), seed, kinds=KERNEL_KINDS, seconds=20.0) for seed in range(4)]
    return banks + kernels


if __name__ == "__main__":
    print([outcome.trace_sha256 for outcome in outcomes()])
