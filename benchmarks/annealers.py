"""Other people's annealers, as the bench of QUBO solvers runs them: from a graph's file to a cut that was added up afresh.

Each run is one anneal with the sampler's own temperatures, which is its best default: several reads of the same time are worse. How many
sweeps a time has room for is found by one long run; what it takes of that to read and convert counts.
"""

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SECONDS = 20.0
AIM = 0.92
"""Of the time, what the runs are calibrated to, so that they end within it."""
LONG_SECONDS = 6.0
SWEEPS_FIRST = 100
SEEDS = range(101, 106)


class Graph(NamedTuple):
    """A file's edges, from 0."""

    size: int
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    weights: NDArray[np.float64]

    def cut(self, spins: NDArray[Any]) -> float:
        return float(self.weights[spins[self.rows] != spins[self.columns]].sum())


class Reached(NamedTuple):
    """What a peer reaches in the time: medians of the runs of five seeds."""

    value: float
    seconds: float


def read_graph(path: Path) -> Graph:
    with path.open() as file:
        size = int(file.readline().split()[0])
        rows = np.loadtxt(file)
    return Graph(size, rows[:, 0].astype(np.int64) - 1, rows[:, 1].astype(np.int64) - 1, rows[:, 2])


def quadratic_model(graph: Graph) -> Any:
    """The cut as a model to be minimized: an edge costs its weight where its ends agree."""
    import dimod

    edges = (graph.rows, graph.columns, graph.weights)
    return dimod.BinaryQuadraticModel.from_numpy_vectors(np.zeros(graph.size), edges, 0.0, dimod.SPIN)


def dwave_sampler() -> Any:
    from dwave import samplers

    sampler: Any = samplers.SimulatedAnnealingSampler
    return sampler()


def openjij_sampler() -> Any:
    import openjij

    return openjij.SASampler()


Maker = Callable[[], Any]
DWAVE, OPENJIJ = dwave_sampler, openjij_sampler
NAMES: dict[Maker, str] = {DWAVE: "dwave-samplers' SA", OPENJIJ: "openjij's SA"}


def anneal(maker: Maker, path: Path, sweeps: int, seed: int) -> Reached:
    """One run: the cut and the wall time from the file on."""
    started = time.perf_counter()
    graph = read_graph(path)
    found = maker().sample(quadratic_model(graph), num_reads=1, num_sweeps=sweeps, seed=seed)
    spins = np.empty(graph.size, np.int8)
    spins[np.asarray(list(found.variables))] = found.record.sample[0]
    return Reached(graph.cut(spins), time.perf_counter() - started)


@cache
def calibrated(maker: Maker, path: Path) -> int:
    """So many sweeps that a run ends within the time."""
    anneal(maker, path, 1, seed=1)  # loads it
    few = anneal(maker, path, SWEEPS_FIRST, seed=1).seconds
    long = max(SWEEPS_FIRST, int(SWEEPS_FIRST * LONG_SECONDS / few))
    return max(1, int(long * AIM * SECONDS / anneal(maker, path, long, seed=2).seconds))


@cache
def reached(maker: Maker, path: Path) -> Reached:
    """The median value and wall time of five seeds."""
    runs = [anneal(maker, path, calibrated(maker, path), seed) for seed in SEEDS]
    return Reached(median(run.value for run in runs), median(run.seconds for run in runs))
