"""Kernels of `solvers.elimination`: a graph of linked half-edges from which spins are taken out one by one.

Half-edge e of spin i leads to `to[e]` with `weight[e]`; `twin[e]` is the same coupling seen from the other end, and
`behind`/`before` link the half-edges of a spin. Taking a spin out frees at least as many half-edges as its rule adds,
so the arrays never grow. Where a new coupling joins two spins that share one already, the two are added up if it is
found among the first `SCAN_MAX` half-edges of the end that has fewer; else it stands beside the other. So every spin
costs a bounded time, and the whole reduction is linear, also between two hubs of a million.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from solvers.elimination import DEGREE_MAX, FIELD, NEAR_MAX, NONE, ROUNDING, Eliminated

Array = NDArray[Any]

GONE = -1  # the degree of a spin that was taken out
SCAN_MAX = 32
STACK, FREE, TAKEN = range(3)  # what a cursor array holds: spins to look at, a free half-edge, spins taken out
CURSOR_SIZE = 3
VISITS_PER_CALL = 50_000


class Graph(NamedTuple):
    """The linked half-edges, and of each spin its first one, how many it has, and its field."""

    to: Array
    weight: Array
    twin: Array
    behind: Array
    before: Array
    head: Array
    degree: Array
    fields: Array


def eliminate(
    indptr: NDArray[np.int64],
    indices: NDArray[np.uint32],
    weights: Array,
    fields: Array,
    should_stop: Callable[[], bool] | None,
) -> Eliminated:
    """Takes spins out until no rule holds any more. The weights and fields are used up."""
    graph = _graph(indptr, indices, weights, fields)
    size = len(fields)
    stack = np.argsort(-graph.degree, kind="stable").astype(np.int32)  # the last is looked at first
    waits = np.ones(size, np.bool_)
    taken, near = np.empty(size, np.int32), np.empty((size, NEAR_MAX), np.int32)
    pulls = np.empty((size, NEAR_MAX), fields.dtype)
    cursor = np.zeros(CURSOR_SIZE, np.int64)
    cursor[STACK], cursor[FREE] = size, NONE
    whole = fields.dtype.kind == "i"
    while cursor[STACK] > 0 and not (should_stop is not None and should_stop()):
        _take_out(graph, stack, waits, cursor, taken, near, pulls, whole, VISITS_PER_CALL)
    done = int(cursor[TAKEN])
    return Eliminated(taken[:done].copy(), near[:done].copy(), pulls[:done].copy(), *_compact(graph))


def lift(spins: NDArray[np.int8], taken: Array, near: Array, pulls: Array) -> None:
    """Gives each spin that was taken out its best value, the last one first."""
    _lift(spins, taken, near, pulls)


def _graph(indptr: NDArray[np.int64], indices: NDArray[np.uint32], weights: Array, fields: Array) -> Graph:
    entries, size = len(indices), len(fields)
    to, twin, behind, before = (np.empty(entries, np.int32) for _ in range(4))
    _link(indptr, indices, to, twin, behind, before, np.empty(size, np.int64))
    degree = np.diff(indptr).astype(np.int32)
    head = np.where(degree > 0, indptr[:-1], NONE).astype(np.int32)
    return Graph(to, weights, twin, behind, before, head, degree, fields)


def _compact(graph: Graph) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint32], Array, Array]:
    """The spins that are left, their rows, and their fields."""
    kept = np.flatnonzero(graph.degree >= 0)
    name = np.full(len(graph.degree), NONE, np.int32)
    name[kept] = np.arange(len(kept), dtype=np.int32)
    counts = np.zeros(len(kept), np.int64)
    _count_rows(graph, counts, name)
    indptr = np.concatenate(([0], np.cumsum(counts)))
    indices = np.empty(indptr[-1], np.uint32)
    weights = np.empty(indptr[-1], graph.weight.dtype)
    _write_rows(graph, name, indptr[:-1].copy(), indices, weights)
    entries = _merge_rows(indptr, indices, weights)
    return kept, indptr, indices[:entries].copy(), weights[:entries].copy(), graph.fields[kept]


@njit(cache=True, nogil=True)
def _link(indptr: Array, indices: Array, to: Array, twin: Array, behind: Array, before: Array, at: Array) -> None:
    """Rows are sorted and hold both triangles: the k-th entry of row j below the diagonal is the twin of the k-th that names j."""
    n = indptr.shape[0] - 1
    for i in range(n):
        at[i] = indptr[i]
        for k in range(indptr[i], indptr[i + 1]):
            to[k] = indices[k]
            behind[k] = k + 1 if k + 1 < indptr[i + 1] else NONE
            before[k] = k - 1 if k > indptr[i] else NONE
    for i in range(n):
        for k in range(indptr[i], indptr[i + 1]):
            j = to[k]
            if j > i:
                twin[k] = at[j]
                twin[at[j]] = k
                at[j] += 1


@njit(cache=True, nogil=True)
def _unlink(i: int, e: int, head: Array, behind: Array, before: Array, degree: Array) -> None:
    """Takes a half-edge out of its spin's list."""
    if before[e] == NONE:
        head[i] = behind[e]
    else:
        behind[before[e]] = behind[e]
    if behind[e] != NONE:
        before[behind[e]] = before[e]
    degree[i] -= 1


@njit(cache=True, nogil=True)
def _push(i: int, stack: Array, waits: Array, cursor: Array) -> None:
    if not waits[i]:
        waits[i] = True
        stack[cursor[STACK]] = i
        cursor[STACK] += 1


@njit(cache=True, nogil=True)
def _drop(i: int, e: int, graph: Graph, stack: Array, waits: Array, cursor: Array) -> None:
    """Frees a coupling of spin i, seen from there, and has its other end looked at."""
    j = graph.to[e]
    _unlink(i, e, graph.head, graph.behind, graph.before, graph.degree)
    _unlink(j, graph.twin[e], graph.head, graph.behind, graph.before, graph.degree)
    graph.behind[e] = cursor[FREE]
    cursor[FREE] = e
    _push(j, stack, waits, cursor)


@njit(cache=True, nogil=True)
def _attach(i: int, j: int, e: int, value: Any, graph: Graph) -> None:
    """A free half-edge becomes the first of spin i."""
    graph.to[e] = j
    graph.weight[e] = value
    graph.before[e] = NONE
    graph.behind[e] = graph.head[i]
    if graph.head[i] != NONE:
        graph.before[graph.head[i]] = e
    graph.head[i] = e
    graph.degree[i] += 1


@njit(cache=True, nogil=True)
def _couple(a: int, b: int, value: Any, graph: Graph, stack: Array, waits: Array, cursor: Array) -> None:
    """Adds a coupling between two spins, or to a field where one of them is `FIELD`."""
    if value == 0:
        return
    if a == FIELD or b == FIELD:
        i = b if a == FIELD else a
        graph.fields[i] += value
        _push(i, stack, waits, cursor)
        return
    if graph.degree[a] > graph.degree[b]:
        a, b = b, a
    e = graph.head[a]
    for _ in range(SCAN_MAX):
        if e == NONE or graph.to[e] == b:
            break
        e = graph.behind[e]
    if e != NONE and graph.to[e] == b:
        graph.weight[e] += value
        graph.weight[graph.twin[e]] = graph.weight[e]
        if graph.weight[e] == 0:
            _drop(a, e, graph, stack, waits, cursor)
    else:
        e = cursor[FREE]
        cursor[FREE] = graph.behind[e]
        _attach(a, b, e, value, graph)
        _attach(b, a, graph.twin[e], value, graph)
    _push(a, stack, waits, cursor)
    _push(b, stack, waits, cursor)


@njit(cache=True, nogil=True)
def _take_star(
    i: int, size: int, near: Array, pulls: Array, graph: Graph, stack: Array, waits: Array, cursor: Array
) -> None:
    """Takes out a spin of at most three couplings, that stand in its record already."""
    while graph.head[i] != NONE:
        _drop(i, graph.head[i], graph, stack, waits, cursor)
    if size < 2:
        return
    for k in range(3 if size == 3 else 1):  # the pair that leaves out the k-th from the end
        one, two, third = (0, 1, 2) if k == 0 else (0, 2, 1) if k == 1 else (1, 2, 0)
        a, b = pulls[one], pulls[two]
        c = pulls[third] if size == 3 else 0 * a
        fourfold = abs(a + b + c) + abs(a + b - c) - abs(b + c - a) - abs(a + c - b)
        _couple(near[one], near[two], fourfold / 4, graph, stack, waits, cursor)


@njit(cache=True, nogil=True)
def _follow(i: int, strongest: int, graph: Graph, stack: Array, waits: Array, cursor: Array) -> None:
    """Takes out a spin that follows one neighbor: its other couplings become the neighbor's."""
    leader = graph.to[strongest] if strongest >= 0 else FIELD
    mirrored = (graph.weight[strongest] if strongest >= 0 else graph.fields[i]) < 0
    if strongest >= 0:
        _drop(i, strongest, graph, stack, waits, cursor)
        _couple(leader, FIELD, -graph.fields[i] if mirrored else graph.fields[i], graph, stack, waits, cursor)
    while graph.head[i] != NONE:
        e = graph.head[i]
        j, value = graph.to[e], graph.weight[e]
        _drop(i, e, graph, stack, waits, cursor)
        if j != leader:
            _couple(leader, j, -value if mirrored else value, graph, stack, waits, cursor)


@njit(cache=True, nogil=True)
def _gather(i: int, graph: Graph, near: Array, pulls: Array) -> int:
    """Writes the spin's couplings, of at most three half-edges, into its record; how many there are, its field among them."""
    size = 0
    e = graph.head[i]
    while e != NONE:
        same = 0
        while same < size and near[same] != graph.to[e]:
            same += 1
        if same == size:
            near[size] = graph.to[e]
            pulls[size] = 0
            size += 1
        pulls[same] += graph.weight[e]
        e = graph.behind[e]
    if graph.fields[i] != 0:
        if size == 3:
            return 4  # more than a record holds
        near[size] = FIELD
        pulls[size] = graph.fields[i]
        size += 1
    return size


@njit(cache=True, nogil=True)
def _strongest(i: int, graph: Graph) -> Any:
    """A half-edge as strong as all else around the spin together, or `FIELD` where the field is, or NONE."""
    total = 0.0
    best = NONE
    e = graph.head[i]
    while e != NONE:
        total += abs(graph.weight[e])
        if best == NONE or abs(graph.weight[e]) > abs(graph.weight[best]):
            best = e
        e = graph.behind[e]
    field = float(abs(graph.fields[i]))
    margin = 1.0 + ROUNDING
    if field >= total * margin:
        return FIELD
    if best != NONE and abs(graph.weight[best]) >= (total - abs(graph.weight[best]) + field) * margin:
        return best
    return NONE


@njit(cache=True, nogil=True)
def _visit(
    i: int, graph: Graph, stack: Array, waits: Array, cursor: Array, near: Array, pulls: Array, whole: bool
) -> bool:
    """Takes out the spin if one of the rules allows it; its record is then in the rows given."""
    near[:] = NONE
    pulls[:] = 0
    if graph.degree[i] <= 3:
        size = _gather(i, graph, near, pulls)
        if size < 3 or (size == 3 and not (whole and _is_odd_star(pulls))):
            _take_star(i, size, near, pulls, graph, stack, waits, cursor)
            return True
        near[:] = NONE
        pulls[:] = 0
    if graph.degree[i] <= DEGREE_MAX:
        strongest = _strongest(i, graph)
        if strongest != NONE:
            near[0] = graph.to[strongest] if strongest >= 0 else FIELD
            pulls[0] = graph.weight[strongest] if strongest >= 0 else graph.fields[i]
            _follow(i, strongest, graph, stack, waits, cursor)
            return True
    return False


@njit(cache=True, nogil=True)
def _is_odd_star(pulls: Array) -> Any:
    """Whether the star-triangle relation would make halves of whole numbers."""
    a, b, c = abs(pulls[0]), abs(pulls[1]), abs(pulls[2])
    total = a + b + c
    return total % 2 == 1 and 2 * max(a, b, c) < total


@njit(cache=True, nogil=True)
def _take_out(
    graph: Graph,
    stack: Array,
    waits: Array,
    cursor: Array,
    taken: Array,
    near: Array,
    pulls: Array,
    whole: bool,
    visits: int,
) -> None:
    """Looks at so many of the spins that wait, and takes out those that can be."""
    gone = graph.degree
    while cursor[STACK] > 0 and visits > 0:
        visits -= 1
        cursor[STACK] -= 1
        i = stack[cursor[STACK]]
        waits[i] = False
        k = cursor[TAKEN]
        if gone[i] >= 0 and _visit(i, graph, stack, waits, cursor, near[k], pulls[k], whole):
            gone[i] = GONE
            taken[k] = i
            cursor[TAKEN] += 1


@njit(cache=True, nogil=True)
def _lift(spins: Array, taken: Array, near: Array, pulls: Array) -> None:
    """Gives each spin that was taken out its best value, the last one first."""
    for k in range(taken.shape[0] - 1, -1, -1):
        pull = 0 * pulls[k, 0]
        for m in range(3):
            if near[k, m] == FIELD:
                pull += pulls[k, m]
            elif near[k, m] != NONE:
                pull += pulls[k, m] * spins[near[k, m]]
        spins[taken[k]] = 1 if pull >= 0 else -1


@njit(cache=True, nogil=True)
def _count_rows(graph: Graph, counts: Array, name: Array) -> None:
    """How many half-edges lead to each spin that is left, under its new name."""
    for i in range(graph.head.shape[0]):
        if name[i] >= 0:
            counts[name[i]] = graph.degree[i]


@njit(cache=True, nogil=True)
def _write_rows(graph: Graph, name: Array, at: Array, indices: Array, weights: Array) -> None:
    """Each row's entries in order: spin after spin writes itself into the rows of its neighbors."""
    for i in range(graph.head.shape[0]):
        e = graph.head[i] if name[i] >= 0 else NONE
        while e != NONE:
            row = name[graph.to[e]]
            indices[at[row]] = name[i]
            weights[at[row]] = graph.weight[e]
            at[row] += 1
            e = graph.behind[e]


@njit(cache=True, nogil=True)
def _merge_rows(indptr: Array, indices: Array, weights: Array) -> int:
    """Adds up entries of the same place, which stand side by side, and closes the gaps; how many are left."""
    kept = 0
    begin = 0
    for i in range(indptr.shape[0] - 1):
        end = indptr[i + 1]
        first = kept
        for k in range(begin, end):
            if kept > first and indices[kept - 1] == indices[k]:
                weights[kept - 1] += weights[k]
            else:
                if kept > first and weights[kept - 1] == 0:
                    kept -= 1
                indices[kept] = indices[k]
                weights[kept] = weights[k]
                kept += 1
        if kept > first and weights[kept - 1] == 0:
            kept -= 1
        begin = end
        indptr[i + 1] = kept
    return kept
