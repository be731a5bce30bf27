"""Other people's tabu search on dense problems, as the bench of QUBO solvers runs it: from a file of the OR-library to a verified value.

Each run is one read of dwave-samplers' TabuSampler with its own settings, bounded by its own timeout. That bounds the search alone, and
is looked at now and then: how far a run overshoots it by reading, converting and searching on is found by one long run, and so much less
is asked for, so that the whole ends within the time. What a run takes nevertheless is measured.
"""

import time
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.annealers import AIM, LONG_SECONDS, SECONDS, SEEDS, Reached

NAME = "dwave-samplers' TabuSampler"
TIMEOUT_SECONDS_MIN = 0.001


class Terms(NamedTuple):
    """A file's lines, from 0; those off the diagonal count twice."""

    size: int
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    weights: NDArray[np.int64]

    def value(self, assignment: NDArray[np.int64]) -> int:
        counted = self.weights * np.where(self.rows == self.columns, 1, 2)
        return int(counted[(assignment[self.rows] & assignment[self.columns]) == 1].sum())


def read_terms(path: Path) -> Terms:
    with path.open() as file:
        if int(file.readline()) != 1:
            raise ValueError(f"{path.name} holds several problems")
        size = int(file.readline().split()[0])
        lines = np.loadtxt(file, dtype=np.int64)
    return Terms(size, lines[:, 0] - 1, lines[:, 1] - 1, lines[:, 2])


def search(path: Path, timeout_seconds: float, seed: int) -> Reached:
    """One run: the value and the wall time from the file on."""
    import dimod
    from dwave import samplers

    started = time.perf_counter()
    terms = read_terms(path)
    single = terms.rows == terms.columns
    linear = np.bincount(terms.rows[single], -terms.weights[single], terms.size)
    pairs = (terms.rows[~single], terms.columns[~single], -2.0 * terms.weights[~single])
    model = dimod.BinaryQuadraticModel.from_numpy_vectors(linear, pairs, 0.0, dimod.BINARY)
    sampler: Any = samplers.TabuSampler
    found = sampler().sample(model, timeout=round(timeout_seconds * 1000), seed=seed)
    assignment = np.empty(terms.size, np.int64)
    assignment[np.asarray(list(found.variables))] = found.record.sample[0]
    return Reached(terms.value(assignment), time.perf_counter() - started)


@cache
def calibrated(path: Path) -> float:
    """The timeout in seconds with which a run ends within the time."""
    search(path, TIMEOUT_SECONDS_MIN, seed=1)  # loads it
    overshot = search(path, LONG_SECONDS, seed=2).seconds - LONG_SECONDS
    return max(TIMEOUT_SECONDS_MIN, AIM * SECONDS - overshot)


def reached(path: Path) -> Reached:
    """The median value and wall time of five seeds."""
    runs = [search(path, calibrated(path), seed) for seed in SEEDS]
    return Reached(median(run.value for run in runs), median(run.seconds for run in runs))
