"""Our solvers as a sampler of D-Wave's Ocean: whoever has a `dimod.Sampler` changes one line.

Needs the extra `dimod` (`pip install gavel-runtime[dimod]`); nothing else in the package imports this module.
"""

import math
import secrets
from collections.abc import Callable, Mapping
from importlib import import_module
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.formats.bqm import whole_where_possible
from solvers.portfolio import SEED_MAX, Solution, features_of, solve
from solvers.qubo import Convention, Qubo
from solvers.sampling import sample
from solvers.strategies import STRATEGIES, choose, named

try:
    dimod: Any = import_module("dimod")  # typed in part, which is worse than not at all
except ImportError as missing:
    raise ImportError("solvers.ocean needs dimod: install gavel-runtime[dimod]") from missing

Sampler: Any = dimod.Sampler

READS_MAX = 100_000
SECONDS = 1.0
SECONDS_PER_TERM = 1e-5  # beyond which a large problem gets more than a second

Rows = NDArray[np.uint8]


class GavelSampler(Sampler):  # type: ignore[misc]
    """Minimizes, or with `beta` samples, any binary quadratic model.

    Parameters of `sample`, `sample_ising` and `sample_qubo`, all optional:

    - `num_reads`: how many runs, each a row of the answer; 1, or as many as there are initial states.
    - `seed`: makes the answer repeatable; the runs are then bounded by counted work, not by the clock.
    - `time_limit`: seconds for all reads together; a second, more for over 100,000 terms. With a seed, a second is
      what the strategy counts on a slow machine. A run ends before where its answer is proven to be the best.
    - `initial_states`: where runs begin, anything that dimod takes for samples; the answers are at least as good.
    - `beta`: samples of `exp(-beta · energy)` instead of minima, without a time limit unless one is given.
    - `strategy`: one of `properties["strategies"]` instead of the one that suits.
    - `threads`: so many islands a read.
    - `interrupt_function`: asked every few milliseconds; true ends the run with what it has.

    Others are passed over with dimod's own warning. `info` tells the strategy, the seed, the trace of the best run and
    whether its energy is proven to be the least.
    """

    def __init__(self) -> None:
        self._parameters: dict[str, list[str]] = {
            "num_reads": [],
            "seed": [],
            "time_limit": [],
            "initial_states": [],
            "beta": [],
            "strategy": ["strategies"],
            "threads": [],
            "interrupt_function": [],
        }

    @property
    def parameters(self) -> dict[str, Any]:
        return self._parameters

    @property
    def properties(self) -> dict[str, Any]:
        return {
            "category": "software",
            "supported_problem_types": ["ising", "qubo"],
            "strategies": [strategy.name for strategy in STRATEGIES],
            "num_reads_max": READS_MAX,
        }

    def sample(self, bqm: Any, **parameters: Any) -> Any:
        """A `dimod.SampleSet` with a row for each read. Raises ValueError for wrong parameters."""
        began_at = perf_counter()
        told = _Told(bqm, self.remove_unknown_kwargs(**parameters))
        if told.beta is not None:
            rows, info = _sampled(told)
        else:
            rows, info = _minimized(told)
        info |= {"seed": told.seed, "timing": {"run_seconds": perf_counter() - began_at}}
        values = 2 * rows.astype(np.int8) - 1 if bqm.vartype is dimod.SPIN else rows.astype(np.int8)
        return dimod.SampleSet.from_samples_bqm((values, told.labels), bqm, info=info)


class _Told:
    """The problem as ours, and the parameters, checked."""

    def __init__(self, bqm: Any, parameters: Mapping[str, Any]) -> None:
        self.labels = list(bqm.variables)
        self.qubo = _qubo(bqm, self.labels)
        known = parameters.get("initial_states")
        self.starts = None if known is None else _starts(known, self.labels)
        reads = parameters.get("num_reads")
        self.reads = int(reads) if reads is not None else (1 if self.starts is None else len(self.starts))
        if not 1 <= self.reads <= READS_MAX:
            raise ValueError(f"num_reads should be between 1 and {READS_MAX}, not {reads}")
        seed = parameters.get("seed")
        self.is_repeatable = seed is not None
        self.seed = int(seed) if seed is not None else secrets.randbits(32)
        if not 0 <= self.seed <= SEED_MAX:
            raise ValueError(f"seed should be between 0 and {SEED_MAX}, not {seed}")
        limit = parameters.get("time_limit")
        self.seconds = None if limit is None else float(limit)
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise ValueError(f"time_limit should be above 0 seconds, not {limit}")
        self.beta: float | None = parameters.get("beta")
        self.strategy: str | None = parameters.get("strategy")
        self.threads = int(parameters.get("threads") or 1)
        self.should_stop: Callable[[], bool] | None = parameters.get("interrupt_function")

    def warm(self, read: int) -> Rows | None:
        return None if self.starts is None else self.starts[read % len(self.starts)]


def _qubo(bqm: Any, labels: list[Any]) -> Qubo:
    """Whole numbers where all biases are, for which solvers are exact."""
    vectors = bqm.to_numpy_vectors(variable_order=labels)
    diagonal = np.arange(len(labels))
    rows, columns, biases = vectors.quadratic
    weights, offset = whole_where_possible(np.concatenate((vectors.linear_biases, biases)), float(vectors.offset))
    return Qubo.from_terms(
        len(labels),
        (np.concatenate((diagonal, rows)), np.concatenate((diagonal, columns)), weights),
        convention=Convention.SPINS if bqm.vartype is dimod.SPIN else Convention.COUNTED_ONCE,
        sense="min",
        offset=offset,
    )


def _starts(known: Any, labels: list[Any]) -> Rows:
    """Initial states in the order of the model's variables; up is what is above 0, for bits and for spins."""
    values, named_by = dimod.as_samples(known)
    place = {label: column for column, label in enumerate(named_by)}
    missing = [label for label in labels if label not in place]
    if missing or not len(values):
        raise ValueError(f"initial_states should have a row at least, and say something of {missing or labels!r}")
    chosen = np.asarray(values)[:, [place[label] for label in labels]]
    return (chosen > 0).astype(np.uint8)


def _minimized(told: _Told) -> tuple[Rows, dict[str, Any]]:
    terms = told.qubo.variables + told.qubo.couplings
    seconds = told.seconds if told.seconds is not None else max(SECONDS, SECONDS_PER_TERM * terms)
    each = seconds / told.reads
    work_max = None
    if told.is_repeatable:
        strategy = named(told.strategy) if told.strategy is not None else choose(features_of(told.qubo))
        work_max = max(1, int(each * strategy.work_per_second))
    rows = np.empty((told.reads, told.qubo.variables), np.uint8)
    best: Solution | None = None
    for read in range(told.reads):
        if best is not None and best.proven:  # no other run can find better
            rows[read:] = best.assignment
            break
        found = solve(
            told.qubo,
            seconds=1e9 if told.is_repeatable else each,
            seed=(told.seed + read) % (SEED_MAX + 1),
            threads=told.threads,
            work_max=work_max,
            warm=told.warm(read),
            strategy=told.strategy,
            should_stop=told.should_stop,
        )
        rows[read] = found.assignment
        if best is None or found.value < best.value:
            best = found
        if told.should_stop is not None and told.should_stop():
            rows = rows[: read + 1]
            break
    assert best is not None
    return rows, {
        "strategy": best.algorithm,
        "proven": best.proven,
        "trace": best.trace,
        "work": best.work,
        "parameters": best.parameters,
    }


def _sampled(told: _Told) -> tuple[Rows, dict[str, Any]]:
    assert told.beta is not None
    samples = sample(
        told.qubo,
        beta=float(told.beta),
        reads=told.reads,
        seed=told.seed,
        seconds=math.inf if told.seconds is None else told.seconds,
        should_stop=told.should_stop,
    )
    return samples.assignments, {
        "strategy": "tempering",
        "beta": samples.beta,
        "complete": samples.complete,
        "rungs": samples.rungs,
        "refused": list(samples.refused),
        "sweeps_apart": samples.sweeps_apart,
        "work": samples.work,
    }
