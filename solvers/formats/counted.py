"""Formats of the form `n m`, then m lines `i j w` from 1, each with its own meaning of a value.

- `rudy` (Gset; G. Rinaldi): edges of a graph; the value is the cut, maximized. The first line may carry more.
- `bqp` (OR-Library, J. Beasley): a count of problems stands first, then each; `Σ_i Σ_j q_ij x_i x_j` of a symmetric
  matrix that is shown in one triangle, so that off-diagonals count twice, maximized.
- `mqlib` (I. Dunning): one problem without the count, `#` comments; the same value, maximized.
- `biqmac` (`.sparse`, A. Wiegele): one problem without the count; the same value, minimized.
"""

from typing import NamedTuple

import numpy as np

from solvers.formats.lines import FormatError, Line, lines, shown
from solvers.formats.triples import check_room, read_triples, write_triples
from solvers.qubo import Convention, Qubo, Sense, check_size


class Meaning(NamedTuple):
    """What a format's terms say."""

    convention: Convention
    sense: Sense


MEANINGS = {
    "rudy": Meaning(Convention.MAX_CUT, "max"),
    "bqp": Meaning(Convention.COUNTED_TWICE, "max"),
    "mqlib": Meaning(Convention.COUNTED_TWICE, "max"),
    "biqmac": Meaning(Convention.COUNTED_TWICE, "min"),
}


def read_counts(line: Line | None, *, first: int = 0) -> tuple[Line, int, int]:
    """A line with the number of variables and of terms. Raises FormatError."""
    if line is None:
        raise FormatError(1, "the number of variables and of terms is missing")
    variables, count = line.integer(first, "the number of variables"), line.integer(first + 1, "the number of terms")
    if variables < 0 or count < 0:
        raise FormatError(line.number, "the number of variables and of terms can't be negative")
    return line, variables, count


def end_of_file(data: bytes, offset: int) -> None:
    line = next(lines(data, offset), None)
    if line is not None:
        raise FormatError(line.number, f"more lines than announced: {shown(b' '.join(line.fields))}")


def read_rudy(data: bytes, name: str, memory_bytes_max: int) -> list[Qubo]:
    return [_read_one(data, name, "rudy", memory_bytes_max)]


def read_biqmac(data: bytes, name: str, memory_bytes_max: int) -> list[Qubo]:
    return [_read_one(data, name, "biqmac", memory_bytes_max)]


def read_mqlib(data: bytes, name: str, memory_bytes_max: int) -> list[Qubo]:
    return [_read_one(data, name, "mqlib", memory_bytes_max)]


def read_bqp(data: bytes, name: str, memory_bytes_max: int) -> list[Qubo]:
    first = next(lines(data), None)
    if first is None or len(first.fields) > 1:
        return [_read_one(data, name, "bqp", memory_bytes_max)]
    problems = first.integer(0, "the number of problems")
    if not 1 <= problems * 2 <= len(data):
        raise FormatError(first.number, f"{problems} problems are announced; the file has no room for them")
    offset, read, memory_bytes_left = first.end, [], memory_bytes_max
    for number in range(1, problems + 1):
        line = next(lines(data, offset), None)
        if line is None:
            raise FormatError(data.count(b"\n") + 1, f"{problems} problems are announced, {number - 1} are there")
        own = name if problems == 1 else f"{name}#{number}"
        qubo, offset = _read_body(data, line, own, "bqp", memory_bytes_left)
        memory_bytes_left -= qubo.bytes
        read.append(qubo)
    end_of_file(data, offset)
    return read


def write_rudy(qubo: Qubo) -> bytes:
    """A max-cut problem."""
    _check_sayable(qubo, "rudy", "a max-cut problem")
    return f"{qubo.variables} {qubo.couplings}\n".encode() + write_triples(*qubo.terms(), base=1)


def write_bqp(qubo: Qubo) -> bytes:
    """A maximization counted twice, as a file of one problem."""
    _check_sayable(qubo, "bqp", "a maximization counted twice")
    return b"1\n" + _upper_triangle(qubo)


def write_mqlib(qubo: Qubo) -> bytes:
    """A maximization counted twice."""
    _check_sayable(qubo, "mqlib", "a maximization counted twice")
    return b"# maximize the sum of q_ij x_i x_j over all i and j\n" + _upper_triangle(qubo)


def write_biqmac(qubo: Qubo) -> bytes:
    """A minimization counted twice."""
    _check_sayable(qubo, "biqmac", "a minimization counted twice")
    return _upper_triangle(qubo)


def _check_sayable(qubo: Qubo, format: str, what: str) -> None:
    if MEANINGS[format] != (qubo.convention, qubo.sense) or qubo.offset:
        raise ValueError(f"only {what}, without an offset, can be written as {format}")


def _upper_triangle(qubo: Qubo) -> bytes:
    rows, columns, weights = qubo.terms()
    diagonal = np.flatnonzero(qubo.linear).astype(np.int32)
    rows, columns = np.concatenate((diagonal, rows)), np.concatenate((diagonal, columns))
    weights = np.concatenate((qubo.linear[diagonal], weights))
    order = np.argsort(rows, kind="stable")
    header = f"{qubo.variables} {len(rows)}\n".encode()
    return header + write_triples(rows[order], columns[order], weights[order], base=1)


def _read_one(data: bytes, name: str, format: str, memory_bytes_max: int) -> Qubo:
    qubo, end = _read_body(data, next(lines(data), None), name, format, memory_bytes_max)
    end_of_file(data, end)
    return qubo


def _read_body(data: bytes, header: Line | None, name: str, format: str, memory_bytes_max: int) -> tuple[Qubo, int]:
    """The terms behind a header, and the offset behind them."""
    line, variables, count = read_counts(header)
    meaning = MEANINGS[format]
    try:
        check_room(data, line.end, count)
        check_size(variables, count, memory_bytes_max)
        rows, columns, weights, end = read_triples(data, line.end, count, variables, 1)
        if format == "mqlib":
            _check_single_diagonal(data, line, rows[rows == columns])
        qubo = Qubo.from_terms(
            variables,
            (rows, columns, weights),
            convention=meaning.convention,
            sense=meaning.sense,
            name=name,
            memory_bytes_max=memory_bytes_max,
        )
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(line.number, str(error)) from None
    return qubo, end


def _check_single_diagonal(data: bytes, header: Line, diagonal: np.ndarray[tuple[int], np.dtype[np.int32]]) -> None:
    """MQLib adds repeated couplings up, but keeps only the last of repeated diagonal terms: nobody can have meant that."""
    if len(np.unique(diagonal)) == len(diagonal):
        return
    seen: set[bytes] = set()
    for line in lines(data, header.end):
        row, column, _ = line.fields
        if int(row) == int(column):
            if row in seen:
                raise FormatError(line.number, f"the diagonal term of variable {int(row)} stands twice")
            seen.add(row)
