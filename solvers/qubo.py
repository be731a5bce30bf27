"""A QUBO: the problem that every solver takes, its value kept in the terms of the file it came from.

Four conventions are in use, and confusing them is the classic bug, so each problem names its own:

- max-cut: `value(x) = Σ_{i<j} w_ij [x_i ≠ x_j]`; there are no linear terms, a self-loop is never cut;
- counted twice (OR-Library): `value(x) = Σ_i Σ_j q_ij x_i x_j` over a symmetric matrix of which the file shows one
  triangle;
- counted once (qbsolv, our JSON, a matrix in memory): `value(x) = Σ_i l_i x_i + Σ_{i<j} q_ij x_i x_j`;
- spins (Ising models): `value(x) = Σ_i l_i s_i + Σ_{i<j} q_ij s_i s_j` with `s = 2x - 1`, so x = 1 is spin up.

An offset, where the format has one, is added to the value. Which way is better, `sense`, is the file's as well.

Whole numbers are kept in the narrowest of int8, int16, int32 and int64 that holds them and their negatives, all others
as float64; whoever multiplies them widens them first. Integer values are exact: the sum of all magnitudes is checked
against `MAGNITUDE_MAX` once, so that no later sum can overflow. Float values are correctly rounded sums (`math.fsum`)
and so do not depend on the order of the terms.
"""

import math
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers.csr import pair_sums, row_sums, symmetric_rows

VARIABLES_MAX = 2**31 - 1  # an index is an int32
MAGNITUDE_MAX = 2**60  # of the sum of all integer coefficients: four of these still fit an int64
FLOAT_MAGNITUDE_MAX = 1e300  # the same for floats
MEMORY_BYTES_MAX = 2 * 2**30
BYTES_PER_VARIABLE = 64
BYTES_PER_COUPLING = 80  # both directions of the stored model, and the arrays that exist only while it is built

Sense = Literal["min", "max"]
Array = NDArray[Any]
INTEGERS = (np.int8, np.int16, np.int32, np.int64)


class Convention(Enum):
    """How a 0/1 assignment gives the file's value."""

    MAX_CUT = "max-cut"
    COUNTED_TWICE = "counted-twice"
    COUNTED_ONCE = "counted-once"
    SPINS = "spins"


@dataclass(frozen=True, eq=False)
class Qubo:
    """`weights[k]` couples row i with `indices[k]` in the file's terms, stored in both rows, which are sorted.

    `labels` are the variables' names in the file, or empty where it only counts them.
    """

    name: str
    variables: int
    sense: Sense
    convention: Convention
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    weights: Array
    linear: Array
    offset: int | float
    labels: tuple[str, ...] = ()

    @property
    def couplings(self) -> int:
        return len(self.indices) // 2

    @property
    def bytes(self) -> int:
        """What the stored arrays take."""
        return self.indptr.nbytes + self.indices.nbytes + self.weights.nbytes + self.linear.nbytes

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
        if self.convention is not Convention.SPINS and not x.any():
            return self.offset
        if self.is_integer:
            return self._whole_value(x)
        rows = np.repeat(x, np.diff(self.indptr))
        if self.convention is Convention.MAX_CUT:
            return math.fsum([*self.weights[rows & ~x[self.indices]].tolist(), self.offset])
        if self.convention is Convention.SPINS:
            chosen = np.where(rows == x[self.indices], self.weights, -self.weights)
            return _halved_sum(chosen, np.where(x, self.linear, -self.linear), self.offset)
        chosen = self.weights[rows & x[self.indices]]  # each coupling is seen twice
        if self.convention is Convention.COUNTED_TWICE:
            return math.fsum([*chosen.tolist(), *self.linear[x].tolist(), self.offset])
        return _halved_sum(chosen, self.linear[x], self.offset)

    def _whole_value(self, x: NDArray[np.bool_]) -> int | float:
        among, across = pair_sums(self.indptr, self.indices, self.weights, x)
        if self.convention is Convention.MAX_CUT:
            return across + self.offset  # each cut edge is seen once, from its end that is 1
        chosen = int(self.linear[x].sum(dtype=np.int64))
        if self.convention is Convention.COUNTED_TWICE:
            return among + chosen + self.offset
        if self.convention is Convention.COUNTED_ONCE:
            return among // 2 + chosen + self.offset
        couplings, fields = int(self.weights.sum(dtype=np.int64)) // 2, int(self.linear.sum(dtype=np.int64))
        return couplings - 2 * across + 2 * chosen - fields + self.offset

    def better(self, value: float, than: float) -> bool:
        return value < than if self.sense == "min" else value > than

    def negated(self) -> "Qubo":
        """The same problem the other way up: values of the other sign, min for max."""
        sense: Sense = "max" if self.sense == "min" else "min"
        return replace(self, sense=sense, weights=-self.weights, linear=-self.linear, offset=-self.offset)

    def counted_once(self) -> "Qubo":
        """The same values, counted once. Raises ValueError where whole numbers would get too large."""
        weights, linear, offset = _wide(self.weights), _wide(self.linear), self.offset
        if self.convention is Convention.COUNTED_ONCE:
            return self
        if self.convention is Convention.MAX_CUT:
            weights, linear = -2 * weights, row_sums(self.indptr, weights)
        elif self.convention is Convention.COUNTED_TWICE:
            weights = 2 * weights
        else:  # Σ J s s + Σ h s = Σ 4J x x + Σ (2h - 2 Σ J) x + Σ J - Σ h
            offset = self.value(np.zeros(self.variables, np.uint8))
            weights, linear = 4 * weights, 2 * (linear - row_sums(self.indptr, weights))
        _check_coefficients(np.concatenate((weights, weights, linear)), offset)
        once, narrow = Convention.COUNTED_ONCE, _narrow(weights)
        return replace(self, convention=once, weights=narrow, linear=_narrow(linear), offset=offset)

    def to_dense(self, *, memory_bytes_max: int = MEMORY_BYTES_MAX) -> Array:
        """The upper triangular matrix Q with `x'Qx + value(0) = value(x)`, where 0 is the assignment of zeros."""
        check_memory(8 * self.variables**2, memory_bytes_max)
        once = self.counted_once()
        rows, columns, weights = once.terms()
        matrix = np.zeros((self.variables, self.variables), _wide(weights).dtype)
        matrix[rows, columns] = weights
        diagonal = np.arange(self.variables)
        matrix[diagonal, diagonal] = once.linear
        return matrix

    def to_csr(self) -> Any:
        """The same matrix as a scipy.sparse CSR array, sorted; zeros are not stored."""
        from scipy import sparse  # takes longer to import than small problems to be solved

        once = self.counted_once()
        rows, columns, weights = once.terms()
        diagonal = np.flatnonzero(once.linear).astype(np.int32)
        coordinates = (np.concatenate((diagonal, rows)), np.concatenate((diagonal, columns)))
        values = np.concatenate((_wide(once.linear[diagonal]), _wide(weights)))
        matrix = sparse.csr_array((values, coordinates), shape=(self.variables, self.variables))
        matrix.sort_indices()
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
        labels: tuple[str, ...] = (),
        memory_bytes_max: int = MEMORY_BYTES_MAX,
    ) -> "Qubo":
        """From (row, column, weight) from zero, in either triangle; repeated ones are summed, row = column is linear.

        Raises ValueError for an index out of range, NaN, infinity, integer overflow, and more memory than allowed.
        """
        rows, columns, weights = (np.asarray(part) for part in terms)
        if not len(rows) == len(columns) == len(weights):
            raise ValueError(f"{len(rows)} rows, {len(columns)} columns and {len(weights)} weights: as many of each")
        check_size(variables, len(rows), memory_bytes_max)
        rows, columns = _indices(variables, rows), _indices(variables, columns)
        weights, offset = _coefficients(weights, offset)
        cut = convention is Convention.MAX_CUT
        indptr, indices, both, linear = symmetric_rows(variables, rows, columns, weights, diagonal=not cut)
        return cls(name, variables, sense, convention, indptr, indices, _narrow(both), _narrow(linear), offset, labels)

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
        from scipy import sparse

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


def check_memory(estimated: int, memory_bytes_max: int) -> None:
    """Refuse what would need more."""
    if estimated > memory_bytes_max:
        raise ValueError(f"the problem needs about {estimated} bytes of memory; {memory_bytes_max} are allowed")


def _indices(variables: int, indices: Array) -> NDArray[np.int32]:
    """As int32, each within range."""
    if len(indices) == 0:
        return np.zeros(0, np.int32)  # an empty list has no type of its own
    if indices.dtype.kind not in "iu":
        raise ValueError(f"indices are whole numbers of at most 64 bits, not {indices.dtype}")
    if not (indices.min() >= 0 and indices.max() < variables):
        wrong = indices[(indices < 0) | (indices >= variables)][0]
        raise ValueError(f"index {wrong} is out of range: there are {variables} variables, counted from 0")
    return np.ascontiguousarray(indices, np.int32)


def _coefficients(weights: Array, offset: int | float) -> tuple[Array, int | float]:
    """All as int64 where all are whole by type, else all as float64; checked for NaN, infinity and overflow."""
    if weights.dtype == object:
        raise ValueError("a coefficient does not fit 64 bits")
    if weights.dtype.kind not in "biuf":
        raise ValueError(f"coefficients are numbers, not {weights.dtype}")
    if len(weights) == 0:
        weights = np.zeros(0, np.int64)
    if weights.dtype.kind == "f" or isinstance(offset, float):
        weights, offset = weights.astype(np.float64), float(offset)
    _check_coefficients(weights, offset)
    if weights.dtype.kind == "f":
        return np.ascontiguousarray(weights), offset
    return np.ascontiguousarray(weights, np.int8 if weights.dtype == np.int8 else np.int64), int(offset)


def _check_coefficients(weights: Array, offset: int | float) -> None:
    if weights.dtype == np.int8 and abs(offset) < MAGNITUDE_MAX // 2:  # fewer than 2**53 of them fit any memory
        return
    with np.errstate(over="ignore"):  # found out below
        magnitude = float(np.abs(weights, dtype=np.float64).sum()) + abs(offset)
    if not magnitude < FLOAT_MAGNITUDE_MAX:
        raise ValueError("a coefficient is NaN or infinite, or all together overflow")
    if weights.dtype.kind != "f" and magnitude >= MAGNITUDE_MAX:
        raise ValueError(
            f"the coefficients' magnitudes add up to {magnitude:.3g}: integers would overflow above {MAGNITUDE_MAX:.3g}"
        )


def _narrow(values: Array) -> Array:
    """Whole numbers in the narrowest type that also holds their negatives."""
    if values.dtype.kind == "f":
        return values
    largest = max(int(values.max(initial=0)), -int(values.min(initial=0)))
    return values.astype(next(kind for kind in INTEGERS if largest <= np.iinfo(kind).max), copy=False)


def _wide(values: Array) -> Array:
    """As int64 or float64, in which sums and products of checked numbers fit."""
    return values.astype(np.float64 if values.dtype.kind == "f" else np.int64, copy=False)


def _halved_sum(twice: Array, once: Array, offset: float) -> float:
    """Correctly rounded: doubling and halving rounds nothing."""
    return math.fsum([*twice.tolist(), *(2 * once).tolist(), 2 * offset]) / 2
