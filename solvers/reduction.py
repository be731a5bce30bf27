"""A problem made smaller without losing its optimum, and the way back from the smaller one's solutions.

Spins are taken out until no rule of `solvers.elimination` takes any more: of a tree, or a graph without a dense core,
nothing is left. Each solution of what is left lifts to one of the original with the same objective but for a constant,
spin after spin, each at its best: so the best of one is the best of the other. Of public graphs, a sparse random one
of 10,000 spins (G70) keeps 1,429 and one of 5,000 (G55) 3,707; grids of degree four, and random graphs of degree 20,
keep all.

Time and memory are linear: a million spins and four million couplings take two seconds and 400 MB.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.elimination import (
    CURSOR_SIZE,
    DEGREE_MAX,
    FREE,
    NONE,
    STACK,
    TAKEN,
    Graph,
    _count_rows,
    _lift,
    _link,
    _merge_rows,
    _take_out,
    _write_rows,
)
from solvers.ising import KERNEL_INTEGER_MAX, Ising
from solvers.qubo import row_sums

Array = NDArray[Any]
Spins = NDArray[np.int8]

VISITS_PER_CALL = 50_000


@dataclass(frozen=True, eq=False)
class Reduced:
    """`problem` in fewer spins: each of its solutions lifts to one of the original whose objective differs by a constant."""

    problem: Ising
    scale: int
    """What weights were multiplied by; what they were divided by is in the problem's unit."""
    kept: NDArray[np.int64]
    """The original spins that are left, in order."""
    taken: NDArray[np.int32]
    near: NDArray[np.int32]
    pulls: Array
    """Spin `taken[k]` was coupled by `pulls[k]` to the spins `near[k]` when it was taken out, as the k-th."""

    def gained(self, twice: int) -> int:
        """By how much the original value changes where twice the reduced objective changes by so much."""
        return self.problem.unit * twice // (8 * self.scale)

    def lift(self, spins: Spins) -> Spins:
        """The original spins: the best ones that go with these."""
        lifted = np.ones(len(self.kept) + len(self.taken), np.int8)
        lifted[self.kept] = spins
        _lift(lifted, self.taken, self.near, self.pulls)
        return lifted

    def restrict(self, spins: Spins) -> Spins:
        """Those of the original spins that are left."""
        return spins[self.kept]


def reduce(problem: Ising, should_stop: Callable[[], bool] | None = None) -> Reduced:
    """Takes out all spins that can be; stops early, with a problem as valid, where `should_stop` says so."""
    if np.diff(problem.indptr).min(initial=DEGREE_MAX + 1) > DEGREE_MAX:
        return unreduced(problem)  # the graph alone takes half a second for six million couplings
    scale = _scale(problem)
    fields = problem.fields * scale if scale > 1 else problem.fields.copy()
    graph = _graph(problem, fields, scale)
    taken, near, pulls = _take_all(graph, problem.is_exact, should_stop)
    if len(taken) == 0:
        return unreduced(problem)
    kept, left = _compact(graph, fields, problem.unit)
    return Reduced(left, scale, kept, taken, near, pulls)


def unreduced(problem: Ising) -> Reduced:
    """All of the problem."""
    none = np.zeros((0, 3), np.int32)
    everything = np.arange(len(problem.fields))
    return Reduced(problem, 1, everything, none[:, 0], none, none.astype(problem.fields.dtype))


def _scale(problem: Ising) -> int:
    """Two where the star-triangle relation could make halves of whole numbers, and doubles of them fit."""
    if not problem.is_exact or len(problem.fields) == 0:
        return 1
    is_odd = (row_sums(problem.indptr, problem.weights & 1) + problem.fields) & 1
    strongest = (row_sums(problem.indptr, np.abs(problem.weights)) + np.abs(problem.fields)).max()
    return 2 if is_odd.any() and 2 * strongest < KERNEL_INTEGER_MAX else 1


def _graph(problem: Ising, fields: Array, scale: int) -> Graph:
    """The linked half-edges of a problem, as the kernels take them."""
    entries, size = len(problem.indices), len(fields)
    to, twin, behind, before = (np.empty(entries, np.int32) for _ in range(4))
    _link(problem.indptr, problem.indices, to, twin, behind, before, np.empty(size, np.int64))
    weight = problem.weights * problem.weights.dtype.type(scale)
    degree = np.diff(problem.indptr).astype(np.int32)
    head = np.where(degree > 0, problem.indptr[:-1], NONE).astype(np.int32)
    return Graph(to, weight, twin, behind, before, head, degree, fields)


def _take_all(
    graph: Graph, whole: bool, should_stop: Callable[[], bool] | None
) -> tuple[NDArray[np.int32], NDArray[np.int32], Array]:
    """Takes spins out until no rule holds any more: which, and what they were coupled to."""
    degree, fields = graph.degree, graph.fields
    size = len(fields)
    stack = np.argsort(-degree, kind="stable").astype(np.int32)  # the last is looked at first
    waits = np.ones(size, np.bool_)
    taken, near = np.empty(size, np.int32), np.empty((size, 3), np.int32)
    pulls = np.empty((size, 3), fields.dtype)
    cursor = np.zeros(CURSOR_SIZE, np.int64)
    cursor[STACK], cursor[FREE] = size, NONE
    while cursor[STACK] > 0 and not (should_stop is not None and should_stop()):
        _take_out(graph, stack, waits, cursor, taken, near, pulls, whole, VISITS_PER_CALL)
    done = int(cursor[TAKEN])
    return taken[:done].copy(), near[:done].copy(), pulls[:done].copy()


def _compact(graph: Graph, fields: Array, unit: int) -> tuple[NDArray[np.int64], Ising]:
    """The spins that are left, and their problem, divided by the common divisor."""
    degree = graph.degree
    kept = np.flatnonzero(degree >= 0)
    name = np.full(len(degree), NONE, np.int32)
    name[kept] = np.arange(len(kept), dtype=np.int32)
    counts = np.zeros(len(kept), np.int64)
    _count_rows(graph, counts, name)
    indptr = np.concatenate(([0], np.cumsum(counts)))
    indices = np.empty(indptr[-1], np.uint32)
    weights = np.empty(indptr[-1], fields.dtype)
    _write_rows(graph, name, indptr[:-1].copy(), indices, weights)
    entries = _merge_rows(indptr, indices, weights)
    indices, weights, fields = indices[:entries].copy(), weights[:entries].copy(), fields[kept]
    divisor = 1
    if fields.dtype.kind == "i":
        divisor = max(1, int(np.gcd(np.gcd.reduce(weights, initial=0), np.gcd.reduce(fields, initial=0))))
        weights, fields = weights // fields.dtype.type(divisor), fields // fields.dtype.type(divisor)
    return kept, Ising(indptr, indices, weights, fields, unit * divisor)
