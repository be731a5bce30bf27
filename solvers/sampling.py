"""Samples of a QUBO's assignments, distributed as Boltzmann says: `p(x) ∝ exp(-beta · value(x))`, or with + where it is maximized.

Parallel tempering finds its ladder first, with `beta` at its cold end, then keeps it: from there on the distribution is
exact in the limit, and the samples lie as many sweeps apart as the energy takes to forget itself twice.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from solvers.csr import row_sums
from solvers.ising import to_ising
from solvers.qubo import MEMORY_BYTES_MAX, Qubo, check_memory
from solvers.tempering import REFRESH_SWEEPS, SWEEPS_FIRST, TUNING_ROUNDS, Ensemble, ladder

HOTTEST = 0.1  # of what flips the most strongly coupled spin: at this exponent every spin moves freely
SWEEPS_APART_MAX = 1 << 16
WINDOW = 6.0  # autocorrelation times over which a time is summed up (Sokal 1997)
APART = 2.0  # autocorrelation times between two samples
READS_MAX = 10_000_000
WORK_PER_CALL = 2_000_000  # about 20 ms


@dataclass(frozen=True, eq=False)
class Samples:
    """One row an assignment, and what shows how they were drawn."""

    assignments: NDArray[np.uint8]
    values: NDArray[np.float64]
    """Of each, in the file's terms."""
    beta: float
    rungs: int
    refused: tuple[float, ...]
    """Of each pair of neighboring temperatures, the rate at which an exchange is refused: high ones hinder mixing."""
    sweeps_apart: int
    sweeps: int
    work: int
    complete: bool
    """Whether there are as many as were asked for."""


def sample(
    qubo: Qubo,
    *,
    beta: float,
    reads: int,
    seed: int,
    sweeps_apart: int | None = None,
    seconds: float = math.inf,
    should_stop: Callable[[], bool] | None = None,
    memory_bytes_max: int = MEMORY_BYTES_MAX,
) -> Samples:
    """Blocks until all are drawn, the time is up or `should_stop` says so; asked every 20 ms or so.

    `beta` is in units of one over the value. With enough seconds the samples depend on nothing but the arguments. Raises
    ValueError for wrong arguments, and for more memory than allowed.
    """
    if not (math.isfinite(beta) and beta >= 0):
        raise ValueError(f"beta must be zero or more, not {beta}")
    if not 0 <= reads <= READS_MAX:
        raise ValueError(f"between 0 and {READS_MAX} samples are drawn, not {reads}")
    check_memory(reads * (qubo.variables + 8) + 700 * qubo.variables + 60 * qubo.couplings, memory_bytes_max)
    return _Sampling(qubo, beta, seed, seconds, should_stop).run(reads, sweeps_apart)


class _Sampling:
    def __init__(
        self, qubo: Qubo, beta: float, seed: int, seconds: float, should_stop: Callable[[], bool] | None
    ) -> None:
        self.ends_at = perf_counter() + seconds
        self.should_stop = should_stop
        self.qubo = qubo
        self.beta = beta
        problem = to_ising(qubo)
        cold = beta * abs(problem.unit) / 4 * 2.0**-problem.exponent
        strongest = float(
            (np.abs(problem.fields) + row_sums(problem.indptr, problem.weights, magnitudes=True)).max(initial=0)
        )
        hot = HOTTEST / (2 * strongest) if strongest else cold
        self.ensemble = Ensemble(problem, ladder(min(hot, cold), cold), seed)
        self.sweeps = 0

    def run(self, reads: int, sweeps_apart: int | None) -> Samples:
        ensemble, size = self.ensemble, self.qubo.variables
        is_going = self._tune() if reads else False
        apart = self._apart(sweeps_apart) if is_going else 1
        ensemble.forget()
        drawn = np.zeros((reads, size), np.uint8)
        count = 0
        while is_going and count < reads and self._sweep(apart):
            drawn[count] = ensemble.coldest() > 0
            count += 1
        drawn = drawn[:count]
        return Samples(
            assignments=drawn,
            values=np.array([self.qubo.value(one) for one in drawn], np.float64),
            beta=self.beta,
            rungs=len(ensemble.betas),
            refused=tuple(ensemble.rates.tolist()),
            sweeps_apart=apart,
            sweeps=self.sweeps,
            work=ensemble.work,
            complete=count == reads,
        )

    def _tune(self) -> bool:
        """Rounds of doubling length, a new ladder after each; then one more, so that all have come to their temperature."""
        if len(self.ensemble.betas) == 1:
            return self._sweep(SWEEPS_FIRST << TUNING_ROUNDS)
        for number in range(TUNING_ROUNDS):
            if not self._sweep(SWEEPS_FIRST << number):
                return False
            self.ensemble.tune()
        return self._sweep(SWEEPS_FIRST << TUNING_ROUNDS)

    def _apart(self, wanted: int | None) -> int:
        """As many sweeps as wanted, or as the objective's autocorrelation on the coldest rung asks for."""
        if wanted is not None:
            return max(1, wanted)
        trace = np.zeros(SWEEPS_FIRST << TUNING_ROUNDS)
        self._sweep(len(trace), trace)
        return min(SWEEPS_APART_MAX, max(1, math.ceil(APART * autocorrelation_time(trace))))

    def _sweep(self, sweeps: int, trace: NDArray[np.float64] | None = None) -> bool:
        """So many sweeps; false where there is no time for them."""
        ensemble = self.ensemble
        for begin in range(0, sweeps, REFRESH_SWEEPS):
            part = min(REFRESH_SWEEPS, sweeps - begin)
            here = np.zeros(0) if trace is None else trace[begin : begin + part]
            ensemble.begin()
            while not ensemble.sweep(part, ensemble.work + WORK_PER_CALL, here):
                if self._is_over():
                    return False
            self.sweeps += part
            if not ensemble.problem.is_exact:
                ensemble.load()
        return not self._is_over()

    def _is_over(self) -> bool:
        return perf_counter() > self.ends_at or (self.should_stop is not None and self.should_stop())


def autocorrelation_time(trace: NDArray[np.float64]) -> float:
    """`1/2 + Σ r(t)` of the correlations r, in steps, over a window of a few of itself; 1/2 where nothing is remembered."""
    away = trace - trace.mean()
    variance = float(away @ away)
    if variance == 0.0:
        return 0.5
    spectrum = np.fft.rfft(away, 2 * len(away))
    correlations = np.fft.irfft(np.abs(spectrum) ** 2)[: len(away)] / variance
    times = np.cumsum(correlations) - 0.5
    within = np.flatnonzero(np.arange(len(times)) >= WINDOW * times)
    return max(0.5, float(times[within[0] if len(within) else -1]))
