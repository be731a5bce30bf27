"""Rules by which spins are taken out of a problem one by one, in plain Python: it takes less than loading kernels for small ones.

The rules, on `maximize Σ J_ij s_i s_j + Σ h_i s_i` (a field is a coupling to one more spin that is always +1):

- at most three couplings: the best a spin can do is `|Σ w_k s_k|`, which for three neighbors is a constant plus
  couplings among them (the star-triangle relation, exact for every w): `J_12 = (E_0 + E_3 - E_1 - E_2) / 4` where
  `E_k = |w_1 + w_2 + w_3 - 2 w_k|` and `E_0 = |w_1 + w_2 + w_3|`;
- a coupling at least as strong as all others of the spin together: it is satisfied in some optimum, so the spin is
  its neighbor's, mirrored or not, and all its other couplings are the neighbor's (with a field: the spin is known).

Rows of magnitudes never get larger by any of them. The quarter is whole for whole numbers whose sum around each spin
is even, and that stays so; where sums are odd, all weights are doubled before. A spin for which that is not so any
more is left in.

`solvers.elimination_kernels` does the same in the same order, and takes the same spins out, bit for bit, but where two hubs of
more than `SCAN_MAX` couplings share one that it does not find.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Number = int | float
Array = NDArray[Any]

NONE = -1
FIELD = -2  # the neighbor that stands for the field, in the record of a spin taken out
DEGREE_MAX = 32  # of spins whose strongest coupling is compared with the others
ROUNDING = 1e-12  # relative: by so much a float must be larger to be so for certain
NEAR_MAX = 3
PAIRS = ((), (), ((0, 1, 2),), ((0, 1, 2), (0, 2, 1), (1, 2, 0)))  # of so many couplings, and which one is left out
VISITS_PER_LOOK = 1000  # at whether to stop


class Eliminated(NamedTuple):
    """What was taken out, and what is left."""

    taken: NDArray[np.int32]
    near: NDArray[np.int32]
    pulls: Array
    """See `solvers.reduction.Reduced`."""
    kept: NDArray[np.int64]
    """The spins that are left, in order; then their problem."""
    indptr: NDArray[np.int64]
    indices: NDArray[np.uint32]
    weights: Array
    fields: Array


class Record(NamedTuple):
    """A spin that was taken out, and by how much which others pull at it."""

    spin: int
    near: tuple[int, ...]
    pulls: tuple[Number, ...]


class Elimination:
    """A graph from which spins are taken out one by one; `rows` and `fields` are what is left."""

    def __init__(self, rows: Sequence[dict[int, Number]], fields: list[Number], *, whole: bool) -> None:
        """Each row maps a spin's neighbors, the last one first, to their couplings."""
        self.rows = rows
        self.fields = fields
        self.records: list[Record] = []
        self.is_left = [True] * len(fields)
        self._whole = whole
        self._stack = sorted(range(len(fields)), key=lambda i: -len(rows[i]))  # the last is looked at first
        self._waits = [True] * len(fields)

    def take_all(self, should_stop: Callable[[], bool] | None) -> None:
        """Takes spins out until no rule holds any more."""
        visits = 0
        while self._stack:
            if visits % VISITS_PER_LOOK == 0 and should_stop is not None and should_stop():
                return
            visits += 1
            i = self._stack.pop()
            self._waits[i] = False
            if self.is_left[i]:
                record = self._visit(i)
                if record is not None:
                    self.is_left[i] = False
                    self.records.append(record)

    def _visit(self, i: int) -> Record | None:
        """Takes out the spin if one of the rules allows it."""
        row, field = self.rows[i], self.fields[i]
        if len(row) + (field != 0) <= 3:
            record = _record(i, [*reversed(row.items()), *([(FIELD, field)] if field else [])])
            if not (len(record.pulls) == 3 and self._whole and _is_odd_star(record.pulls)):
                self._take_star(record)
                return record
        if len(row) > DEGREE_MAX:
            return None
        leader = _leader(row, field)
        if leader == NONE:
            return None
        pull = field if leader == FIELD else row[leader]
        self._follow(i, leader, is_mirrored=pull < 0)
        return Record(i, (leader,), (pull,))

    def _take_star(self, record: Record) -> None:
        """A spin of at most three couplings: the others are coupled by what its best adds (the star-triangle relation)."""
        row = self.rows[record.spin]
        for j in reversed(list(row)):
            self._drop(record.spin, j)
        near, pulls = record.near, (*record.pulls, 0)
        for one, two, third in PAIRS[len(near)]:
            a, b, c = pulls[one], pulls[two], pulls[third]
            fourfold = abs(a + b + c) + abs(a + b - c) - abs(b + c - a) - abs(a + c - b)
            self._couple(near[one], near[two], fourfold // 4 if self._whole else fourfold / 4)

    def _follow(self, i: int, leader: int, *, is_mirrored: bool) -> None:
        """A spin that follows one neighbor, or its field: its other couplings become the neighbor's."""
        row = self.rows[i]
        if leader != FIELD:
            self._drop(i, leader)
            self._couple(leader, FIELD, -self.fields[i] if is_mirrored else self.fields[i])
        while row:
            j, value = next(reversed(row.items()))
            self._drop(i, j)
            self._couple(leader, j, -value if is_mirrored else value)

    def _drop(self, i: int, j: int) -> None:
        """Takes a coupling away, and has its other end looked at."""
        del self.rows[i][j]
        del self.rows[j][i]
        self._push(j)

    def _couple(self, a: int, b: int, value: Number) -> None:
        """Adds a coupling between two spins, or to a field where one of them is `FIELD`."""
        if value == 0:
            return
        if FIELD in (a, b):
            i = b if a == FIELD else a
            self.fields[i] += value
            self._push(i)
            return
        if len(self.rows[a]) > len(self.rows[b]):
            a, b = b, a
        if b in self.rows[a]:
            value += self.rows[a][b]
        self.rows[a][b] = self.rows[b][a] = value
        if value == 0:
            self._drop(a, b)
        self._push(a)
        self._push(b)

    def _push(self, i: int) -> None:
        if not self._waits[i]:
            self._waits[i] = True
            self._stack.append(i)


def eliminate(
    indptr: NDArray[np.int64],
    indices: NDArray[np.uint32],
    weights: Array,
    fields: Array,
    should_stop: Callable[[], bool] | None,
) -> Eliminated:
    """Takes spins out until no rule holds any more. Rows are sorted and hold both triangles."""
    ends, columns, values = indptr.tolist(), indices.tolist(), weights.tolist()
    spans = list(pairwise(ends))
    rows = [dict(zip(columns[i:k][::-1], values[i:k][::-1], strict=True)) for i, k in spans]
    graph = Elimination(rows, fields.tolist(), whole=fields.dtype.kind == "i")
    graph.take_all(should_stop)
    records = graph.records
    near, pulls = np.full((len(records), NEAR_MAX), NONE, np.int32), np.zeros((len(records), NEAR_MAX), fields.dtype)
    for place, record in enumerate(records):
        near[place, : len(record.near)] = record.near
        pulls[place, : len(record.pulls)] = record.pulls
    taken = np.array([record.spin for record in records], np.int32)
    return Eliminated(taken, near, pulls, *_compact(graph, fields.dtype))


def _compact(
    graph: "Elimination", kind: np.dtype[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint32], Array, Array]:
    """The spins that are left, their rows, and their fields."""
    kept = np.flatnonzero(graph.is_left)
    name = np.cumsum(graph.is_left) - 1
    rows = [sorted(graph.rows[i].items()) for i in kept.tolist()]
    indptr = np.concatenate(([0], np.cumsum([len(row) for row in rows], dtype=np.int64)))
    indices = name[[j for row in rows for j, _ in row]].astype(np.uint32)
    weights = np.array([value for row in rows for _, value in row], kind)
    return kept, indptr, indices, weights, np.array(graph.fields, kind)[kept]


def lift(spins: NDArray[np.int8], taken: Array, near: Array, pulls: Array) -> None:
    """Gives each spin that was taken out its best value, the last one first; see `solvers.reduction.Reduced`."""
    for i, others, weights in zip(*(part[::-1].tolist() for part in (taken, near, pulls)), strict=True):
        pull = 0
        for j, weight in zip(others, weights, strict=True):
            if j != NONE:
                pull += weight if j == FIELD else weight * int(spins[j])
        spins[i] = 1 if pull >= 0 else -1


def _record(i: int, couplings: list[tuple[int, Number]]) -> Record:
    return Record(i, tuple(j for j, _ in couplings), tuple(value for _, value in couplings))


def _is_odd_star(pulls: tuple[Number, ...]) -> bool:
    """Whether the star-triangle relation would make halves of whole numbers."""
    total = sum(abs(pull) for pull in pulls)
    return total % 2 == 1 and 2 * max(abs(pull) for pull in pulls) < total


def _leader(row: dict[int, Number], field: Number) -> int:
    """A neighbor whose coupling is as strong as all else around the spin together, or `FIELD` where the field is, or NONE."""
    total = 0.0
    leader, most = NONE, -1.0
    for j, value in reversed(row.items()):
        total += abs(value)
        if abs(value) > most:
            leader, most = j, float(abs(value))
    margin = 1.0 + ROUNDING
    if float(abs(field)) >= total * margin:
        return FIELD
    if leader != NONE and most >= (total - most + abs(field)) * margin:
        return leader
    return NONE
