"""A QUBO: the problem that every solver takes, its value kept in the terms of the file it came from.

Three conventions are in use, and confusing them is the classic bug, so each problem names its own:

- max-cut: `value(x) = Σ_{i<j} w_ij [x_i ≠ x_j]`; there are no linear terms, a self-loop is never cut;
- counted twice (OR-Library): `value(x) = Σ_i Σ_j q_ij x_i x_j` over a symmetric matrix of which the file shows one
  triangle;
- counted once (qbsolv, our JSON, a matrix in memory): `value(x) = Σ_i l_i x_i + Σ_{i<j} q_ij x_i x_j`.

Coefficients are int64 when all are whole numbers, else float64. Integer values are exact: the sum of all magnitudes
is checked against `MAGNITUDE_MAX` once, so that no later sum can overflow. Float values are correctly rounded sums
(`math.fsum`) and so do not depend on the order of the terms.
"""

import math
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

VARIABLES_MAX = 2**31 - 1  # an index is an int32
MAGNITUDE_MAX = 2**60  # of the sum of all integer coefficients: four of these still fit an int64
FLOAT_MAGNITUDE_MAX = 1e300  # the same for floats
MEMORY_BYTES_MAX = 2 * 2**30
BYTES_PER_VARIABLE = 64
BYTES_PER_COUPLING = 96  # both directions of the stored model, and the arrays that exist only while it is built

Sense = Literal["min", "max"]
Array = NDArray[Any]


class Convention(Enum):
    """How a 0/1 assignment gives the file's value."""

    MAX_CUT = "max-cut"
    COUNTED_TWICE = "counted-twice"
    COUNTED_ONCE = "counted-once"


@dataclass(frozen=True, eq=False)
class Qubo:
    """`weights[k]` couples row i with `indices[k]` in the file's terms, stored in both rows."""

    name: str
    variables: int
    sense: Sense
    convention: Convention
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    weights: Array
    linear: Array
    offset: int | float

    @property
    def couplings(self) -> int:
        return len(self.indices) // 2

    @property
    def is_integer(self) -> bool:
        return self.weights.dtype.kind == "i"

    def terms(self) -> tuple[Array, Array, Array]:
        """The couplings once each, as (row, column, weight) with row < column, in order."""
        rows = np.repeat(np.arange(self.variables, dtype=np.int32), np.diff(self.indptr))
        upper = rows < self.indices
        return rows[upper], self.indices[upper], self.weights[upper]

    def value(self, assignment: ArrayLike) -> int | float:
        """The value of a 0/1 assignment in the file's own terms: exact for integers, correctly rounded for floats."""
        x = check_assignment(assignment, self.variables)
        rows = np.repeat(x, np.diff(self.indptr))
        if self.convention is Convention.MAX_CUT:
            chosen = self.weights[rows & ~x[self.indices]]  # each cut edge is seen once, from its end that is 1
            return _total(chosen, self.linear[:0], self.offset)
        chosen = self.weights[rows & x[self.indices]]  # each coupling is seen twice
        if self.convention is Convention.COUNTED_TWICE:
            return _total(chosen, self.linear[x], self.offset)
        return _total(chosen, 2 * self.linear[x], 2 * self.offset, halve=True)

    def better(self, value: float, than: float) -> bool:
        return value < than if self.sense == "min" else value > than

    def to_dense(self, *, memory_bytes_max: int = MEMORY_BYTES_MAX) -> Array:
        """The upper triangular matrix Q with `x'Qx + offset = value(x)`."""
        check_memory(8 * self.variables**2, memory_bytes_max)
        rows, columns, weights = self.terms()
        matrix = np.zeros((self.variables, self.variables), self.weights.dtype)
        factor = {Convention.MAX_CUT: -2, Convention.COUNTED_TWICE: 2, Convention.COUNTED_ONCE: 1}[self.convention]
        matrix[rows, columns] = factor * weights
        diagonal = np.arange(self.variables)
        matrix[diagonal, diagonal] = self.linear
        if self.convention is Convention.MAX_CUT:
            matrix[diagonal, diagonal] = row_sums(self.indptr, self.weights)
        return matrix

    @classmethod
    def from_terms(
        cls,
        variables: int,
        terms: tuple[ArrayLike, ArrayLike, ArrayLike],
        *,
        convention: Convention,
        sense: Sense,
        name: str = "",
        offset: int | float = 0,
        memory_bytes_max: int = MEMORY_BYTES_MAX,
    ) -> "Qubo":
        """From (row, column, weight) from zero, in either triangle; repeated ones are summed, row = column is linear."""
        rows, columns, weights = (np.asarray(part) for part in terms)
        if not len(rows) == len(columns) == len(weights):
            raise ValueError(f"{len(rows)} rows, {len(columns)} columns and {len(weights)} weights: as many of each")
        check_size(variables, len(rows), memory_bytes_max)
        rows, columns = _whole(rows), _whole(columns)
        _check_indices(variables, rows, columns)
        weights, offset = _coefficients(weights, offset)
        diagonal = rows == columns
        linear = np.zeros(variables, weights.dtype)
        if convention is not Convention.MAX_CUT:
            np.add.at(linear, rows[diagonal], weights[diagonal])
        low, high = np.minimum(rows, columns)[~diagonal], np.maximum(rows, columns)[~diagonal]
        merged = _merged(variables, low, high, weights[~diagonal])
        indptr, indices, both = _symmetric(variables, *merged)
        return cls(name, variables, sense, convention, indptr, indices, both, linear, offset)

    @classmethod
    def from_csr(
        cls,
        matrix: Any,
        *,
        sense: Sense = "min",
        name: str = "",
        offset: int | float = 0,
        memory_bytes_max: int = MEMORY_BYTES_MAX,
    ) -> "Qubo":
        """From any scipy.sparse matrix Q with the value `x'Qx + offset`; Q may be asymmetric."""
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"a QUBO's matrix is square, not {matrix.shape}")
        listed = sparse.coo_array(matrix)
        terms = (listed.coords[0], listed.coords[1], listed.data)
        convention = Convention.COUNTED_ONCE
        size = matrix.shape[0]
        return cls.from_terms(
            size, terms, convention=convention, sense=sense, name=name, offset=offset, memory_bytes_max=memory_bytes_max
        )

    @classmethod
    def from_dense(
        cls,
        matrix: ArrayLike,
        *,
        sense: Sense = "min",
        name: str = "",
        offset: int | float = 0,
        memory_bytes_max: int = MEMORY_BYTES_MAX,
    ) -> "Qubo":
        """From a square array Q with the value `x'Qx + offset`; the same bits as from its sparse form."""
        dense = np.asarray(matrix)
        if dense.ndim != 2 or dense.shape[0] != dense.shape[1]:
            raise ValueError(f"a QUBO's matrix is square, not {dense.shape}")
        rows, columns = np.nonzero(dense)
        terms = (rows, columns, dense[rows, columns])
        convention = Convention.COUNTED_ONCE
        size = len(dense)
        return cls.from_terms(
            size, terms, convention=convention, sense=sense, name=name, offset=offset, memory_bytes_max=memory_bytes_max
        )


def check_assignment(assignment: ArrayLike, variables: int) -> NDArray[np.bool_]:
    """The assignment as booleans, or a `ValueError` that says what is wrong with it."""
    x = np.asarray(assignment)
    if x.shape != (variables,):
        raise ValueError(f"an assignment of {variables} variables is needed, not one of shape {x.shape}")
    if not ((x == 0) | (x == 1)).all():
        raise ValueError("an assignment holds nothing but 0 and 1")
    return x.astype(np.bool_)


def check_size(variables: int, couplings: int, memory_bytes_max: int = MEMORY_BYTES_MAX) -> None:
    """Refuse, before anything is allocated, a problem that would not fit."""
    if not 0 <= variables <= VARIABLES_MAX:
        raise ValueError(f"{variables} variables: between 0 and {VARIABLES_MAX} are possible")
    check_memory(BYTES_PER_VARIABLE * variables + BYTES_PER_COUPLING * couplings, memory_bytes_max)


def row_sums(indptr: NDArray[np.int64], weights: Array) -> Array:
    """The sum of each row's weights; `add.reduceat` alone is wrong for empty rows."""
    sums = np.zeros(len(indptr) - 1, weights.dtype)
    filled = np.diff(indptr) > 0
    if filled.any():
        sums[filled] = np.add.reduceat(weights, indptr[:-1][filled])
    return sums


def check_memory(estimated: int, memory_bytes_max: int) -> None:
    """Refuse what would need more."""
    if estimated > memory_bytes_max:
        raise ValueError(f"the problem needs about {estimated} bytes of memory; {memory_bytes_max} are allowed")


def _check_indices(variables: int, rows: Array, columns: Array) -> None:
    for indices in (rows, columns):
        if len(indices) and not (indices.min() >= 0 and indices.max() < variables):
            wrong = indices[(indices < 0) | (indices >= variables)][0]
            raise ValueError(f"index {wrong} is out of range: there are {variables} variables, counted from 0")


def _whole(indices: Array) -> Array:
    if len(indices) == 0:
        return np.zeros(0, np.int32)  # an empty list has no type of its own
    if indices.dtype.kind not in "iu":
        raise ValueError(f"indices are whole numbers of at most 64 bits, not {indices.dtype}")
    return indices


def _coefficients(weights: Array, offset: int | float) -> tuple[Array, int | float]:
    """All as int64 where all are whole by type, else all as float64; checked for NaN, infinity and overflow."""
    if weights.dtype == object:
        raise ValueError("a coefficient does not fit 64 bits")
    if weights.dtype.kind not in "biuf":
        raise ValueError(f"coefficients are numbers, not {weights.dtype}")
    if len(weights) == 0:
        weights = np.zeros(0, np.int64)
    with np.errstate(over="ignore"):  # found out below
        magnitude = float(np.abs(weights.astype(np.float64)).sum()) + abs(offset)
    if not magnitude < FLOAT_MAGNITUDE_MAX:
        raise ValueError("a coefficient is NaN or infinite, or all together overflow")
    if weights.dtype.kind == "f" or isinstance(offset, float):
        return weights.astype(np.float64), float(offset)
    if magnitude >= MAGNITUDE_MAX:
        raise ValueError(
            f"the coefficients' magnitudes add up to {magnitude:.3g}: integers would overflow above {MAGNITUDE_MAX:.3g}"
        )
    return weights.astype(np.int64), int(offset)


def _merged(variables: int, low: Array, high: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Sorted by (low, high), equal pairs summed in the order of the file, zeros dropped."""
    keys = low.astype(np.int64) * variables + high
    if len(keys) and not (keys[1:] > keys[:-1]).all():
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        first = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
        weights = np.add.reduceat(weights[order], first)
        low, high = low[order][first], high[order][first]
    kept = weights != 0
    return low[kept], high[kept], weights[kept]


def _symmetric(variables: int, low: Array, high: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Both triangles as CSR: the lower one first, so that every row comes out sorted without a second sort."""
    rows, columns = np.concatenate((high, low)), np.concatenate((low, high))
    listed = sparse.coo_array((np.concatenate((weights, weights)), (rows, columns)), shape=(variables, variables))
    matrix = listed.tocsr()
    return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data


def _total(chosen: Array, linear: Array, offset: int | float, *, halve: bool = False) -> int | float:
    if chosen.dtype.kind == "i":
        total = int(chosen.sum()) + int(linear.sum()) + int(offset)
        return total // 2 if halve else total
    exact = math.fsum([*chosen.tolist(), *linear.tolist(), offset])
    return exact / 2 if halve else exact
