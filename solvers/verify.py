"""Checking an answer against the problem's own lines, without the model that the solvers use.

`recompute` shares nothing with the solvers but the recognition of the format: it walks the file's text and adds up,
slowly and plainly, so that a mistake in reading, storing or solving can't hide. Floats are added exactly
(`math.fsum`).
"""

import base64
import binascii
import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers.formats import recognise
from solvers.recomputing import VALUES, number, total_of

FLOAT_TOLERANCE = 1e-9  # relative: the solver sums repeated float terms first, this module last
ASSIGNMENT_BYTES_MAX = 2**28


def recompute(
    data: bytes, assignment: ArrayLike, *, name: str = "", format: str | None = None, problem: int = 1
) -> int | float:
    """The value of a 0/1 assignment in the file's own terms, from a problem file's bytes."""
    x: list[int] = np.asarray(assignment).tolist()
    format = format or recognise(data, name)
    if format in VALUES:
        return VALUES[format](data, x)
    rows = _rows(data)
    if format == "rudy":
        return total_of(weight for i, j, weight in _terms(rows, x) if x[i - 1] != x[j - 1])
    if format == "bqp":
        first = next(rows)
        for _ in range(problem - 1 if len(first) == 1 else 0):
            for _ in range(int(next(rows)[1])):
                next(rows)
        terms = _terms(rows, x) if len(first) == 1 else _counted(first, rows, x)
        return _twice(terms, x)
    if format in ("mqlib", "biqmac"):
        return _twice(_terms(rows, x), x)
    if format == "qbsolv":
        header = next(rows)
        counts = [header[3], str(int(header[4]) + int(header[5]))]
        return total_of(weight for i, j, weight in _counted(counts, rows, x) if x[i] and x[j])
    raise ValueError("no reader recognizes the file")


def _twice(terms: Iterator[tuple[int, int, int | float]], x: list[int]) -> int | float:
    return total_of(weight * (1 if i == j else 2) for i, j, weight in terms if x[i - 1] and x[j - 1])


def same_value(one: float, other: float) -> bool:
    """Whole numbers must be equal, others nearly so."""
    if isinstance(one, int) and isinstance(other, int):
        return one == other
    return math.isclose(one, other, rel_tol=FLOAT_TOLERANCE, abs_tol=FLOAT_TOLERANCE)


def encode_assignment(assignment: ArrayLike) -> str:
    """Base64 of the bits, the first variable in the highest bit of the first byte; the number of variables goes beside it."""
    bits = np.asarray(assignment)
    if bits.ndim != 1 or not ((bits == 0) | (bits == 1)).all():
        raise ValueError("an assignment is one row of 0 and 1")
    return base64.b64encode(np.packbits(bits.astype(np.uint8)).tobytes()).decode("ascii")


def decode_assignment(text: str, variables: int) -> NDArray[np.uint8]:
    """The assignment of so many variables; refuses text of another length, and bits behind the last variable."""
    if not 0 <= variables <= 8 * ASSIGNMENT_BYTES_MAX:
        raise ValueError(f"{variables} variables: an assignment has between 0 and {8 * ASSIGNMENT_BYTES_MAX}")
    size = (variables + 7) // 8
    if len(text) != 4 * ((size + 2) // 3):
        raise ValueError(f"the assignment's {len(text)} characters are not those of {variables} variables")
    try:
        packed = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError("the assignment is not base64") from None
    if len(packed) != size:
        raise ValueError(f"the assignment's {len(packed)} bytes are not those of {variables} variables")
    bits = np.unpackbits(np.frombuffer(packed, np.uint8))
    if bits[variables:].any():
        raise ValueError(f"the assignment has bits behind its {variables} variables")
    return bits[:variables]


def _rows(data: bytes) -> Iterator[list[str]]:
    for line in data.decode("ascii").split("\n"):
        fields = line.split()
        if fields and fields[0][0] not in "c#":
            yield fields


def _terms(rows: Iterator[list[str]], x: list[int]) -> Iterator[tuple[int, int, int | float]]:
    """The terms behind the next row, which says how many they are."""
    return _counted(next(rows), rows, x)


def _counted(header: Sequence[str], rows: Iterator[list[str]], x: list[int]) -> Iterator[tuple[int, int, int | float]]:
    if int(header[0]) != len(x):
        raise ValueError(f"the problem has {header[0]} variables, the assignment {len(x)}")
    for _ in range(int(header[1])):
        i, j, weight = next(rows)
        yield int(i), int(j), number(weight)
