"""Problem files: which format it is, and the QUBO in it, or the line that is wrong and why.

- `rudy` (Gset): `n m`, then m lines `i j w`, from 1; the first line may carry more. Its value is the cut, maximized.
- `bqp` (OR-Library): a count of problems, then each as `n m` and m lines `i j q`, from 1. Its value is `Σ_ij q_ij x_i x_j`,
  off-diagonals counted twice, maximized.
- `qbsolv`: `p qubo 0 maxNodes nNodes nCouplers`, that many `i i w`, then `i j w`, from 0; `c` comments. Each term counts
  once, minimized.
- `json`: `{"format": "gavel-qubo/1", "name", "sense", "variables", "linear": [[i, w]], "quadratic": [[i, j, w]], "offset"}`, from 0.
  Each term counts once.

A bqp file of one problem may lack the count; then it differs from rudy only by terms on the diagonal, which a cut
never has: they decide, unless the file's suffix does. Repeated terms add up, in every format.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from solvers.documents import read_json
from solvers.qubo import MEMORY_BYTES_MAX, VARIABLES_MAX, Convention, Qubo, check_size
from solvers.triples import FormatError, Line, lines, read_triples, shown, write_triples

FILE_BYTES_MAX = 256 * 2**20
HEAD_BYTES = 64 * 2**10  # what recognizing looks at
FORMAT_BY_SUFFIX = {".bqp": "bqp", ".mc": "rudy", ".rud": "rudy", ".rudy": "rudy", ".qubo": "qbsolv"}
SUFFIXES_REFUSED = {".sparse"}  # BiqMac's: looks like bqp but is minimized


def recognise(source: str | os.PathLike[str] | bytes, name: str = "") -> str | None:
    """The format of a file or of its bytes, from the first `HEAD_BYTES`; None when no reader knows it."""
    if not isinstance(source, bytes):
        name = name or os.fspath(source)
        with Path(source).open("rb") as file:
            source = file.read(HEAD_BYTES)
    suffix = Path(name).suffix.lower()
    if suffix in SUFFIXES_REFUSED or b"\0" in source[:HEAD_BYTES]:
        return None
    return _recognise_head(source[:HEAD_BYTES], suffix)


def read(path: str | os.PathLike[str], *, memory_bytes_max: int = MEMORY_BYTES_MAX) -> Qubo:
    """The problem in a file, named after it. Size and format are looked at before the file is read."""
    size = Path(path).stat().st_size
    if size > FILE_BYTES_MAX:
        raise FormatError(0, f"the file has {size} bytes; at most {FILE_BYTES_MAX} are read")
    format = recognise(path)
    if format is None:
        raise FormatError(1, "no reader recognizes the file")
    return parse(Path(path).read_bytes(), os.fspath(path), format=format, memory_bytes_max=memory_bytes_max)


def parse(
    data: bytes,
    name: str = "",
    *,
    format: str | None = None,
    problem: int | None = None,
    memory_bytes_max: int = MEMORY_BYTES_MAX,
) -> Qubo:
    """The problem in a file's bytes; `name` may be a path. A file of several needs `problem`, counted from 1."""
    problems = parse_all(data, name, format=format, memory_bytes_max=memory_bytes_max)
    if problem is None and len(problems) > 1:
        raise FormatError(1, f"the file holds {len(problems)} problems: say which, from 1")
    if not 1 <= (problem or 1) <= len(problems):
        raise FormatError(1, f"there is no problem {problem}: the file holds {len(problems)}")
    return problems[(problem or 1) - 1]


def parse_all(
    data: bytes, name: str = "", *, format: str | None = None, memory_bytes_max: int = MEMORY_BYTES_MAX
) -> list[Qubo]:
    """All problems in a file's bytes."""
    if len(data) > FILE_BYTES_MAX:
        raise FormatError(0, f"the file has {len(data)} bytes; at most {FILE_BYTES_MAX} are read")
    format = format or recognise(data, name)
    if format is None:
        raise FormatError(1, "no reader recognizes the file")
    if format not in READERS:
        raise ValueError(f"no reader is called {format!r}; there are {', '.join(sorted(READERS))}")
    return READERS[format](
        data, Path(name).stem if Path(name).suffix in _known_suffixes() else Path(name).name, memory_bytes_max
    )


def write_rudy(qubo: Qubo) -> bytes:
    """A max-cut problem as rudy writes it."""
    if qubo.convention is not Convention.MAX_CUT or qubo.sense != "max":
        raise ValueError("only a max-cut problem can be written as rudy")
    return f"{qubo.variables} {qubo.couplings}\n".encode() + write_triples(*qubo.terms(), base=1)


def write_bqp(qubo: Qubo) -> bytes:
    """A maximization counted twice, as an OR-Library file of one problem."""
    if qubo.convention is not Convention.COUNTED_TWICE or qubo.sense != "max":
        raise ValueError("only a maximization counted twice can be written as bqp")
    rows, columns, weights = qubo.terms()
    diagonal = np.flatnonzero(qubo.linear).astype(np.int32)
    rows, columns = np.concatenate((diagonal, rows)), np.concatenate((diagonal, columns))
    weights = np.concatenate((qubo.linear[diagonal], weights))
    order = np.argsort(rows, kind="stable")
    header = f"1\n{qubo.variables} {len(rows)}\n".encode()
    return header + write_triples(rows[order], columns[order], weights[order], base=1)


def _known_suffixes() -> set[str]:
    return {*FORMAT_BY_SUFFIX, ".txt", ".json", ".dat"}


def _recognise_head(head: bytes, suffix: str) -> str | None:
    if head.lstrip()[:1] == b"{":
        return "json" if b'"gavel-qubo/' in head else None
    whole = head if len(head) < HEAD_BYTES else head[: head.rfind(b"\n") + 1]
    found = lines(whole)
    first = next(found, None)
    if first is None:
        return None
    if first.fields[0] == b"p":
        return "qbsolv" if first.fields[1:2] == [b"qubo"] else None
    second = next(found, None)
    if not _are_counts(first.fields[:2]):
        return None
    if len(first.fields) == 1:
        return "bqp" if second is not None and len(second.fields) >= 2 and _are_counts(second.fields[:2]) else None
    if second is not None and len(second.fields) != 3:
        return None
    if suffix in FORMAT_BY_SUFFIX:
        return FORMAT_BY_SUFFIX[suffix]
    return "bqp" if _has_diagonal(whole, first.end) else "rudy"


def _has_diagonal(head: bytes, start: int) -> bool:
    count = head.count(b"\n", start)
    try:
        rows, columns, _, _ = read_triples(head, start, count, VARIABLES_MAX, 1)
        return bool((rows == columns).any())
    except FormatError:  # comments or worse, which its reader will name: look at whatever are terms
        terms = [line.fields for line in lines(head, start) if len(line.fields) == 3]
        return any(row == column for row, column, _ in terms)


def _are_counts(fields: list[bytes]) -> bool:
    return bool(fields) and all(field.isdigit() for field in fields)


def _header(line: Line | None, *, first: int = 0) -> tuple[Line, int, int]:
    """A line with the number of variables and of terms."""
    if line is None:
        raise FormatError(1, "the number of variables and of terms is missing")
    variables, count = line.integer(first, "the number of variables"), line.integer(first + 1, "the number of terms")
    if variables < 0 or count < 0:
        raise FormatError(line.number, "the number of variables and of terms can't be negative")
    return line, variables, count


def _read_body(
    data: bytes, header: tuple[Line, int, int], name: str, convention: Convention, memory_bytes_max: int
) -> tuple[Qubo, int]:
    """The terms after a header, and the offset behind them."""
    line, variables, count = header
    try:
        check_size(variables, 0, memory_bytes_max)
        *terms, end = read_triples(data, line.end, count, variables, 1)
        rows, columns, weights = terms
        limit = memory_bytes_max
        return Qubo.from_terms(
            variables, (rows, columns, weights), convention=convention, sense="max", name=name, memory_bytes_max=limit
        ), end
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(line.number, str(error)) from None


def _end_of_file(data: bytes, offset: int) -> None:
    line = next(lines(data, offset), None)
    if line is not None:
        raise FormatError(line.number, f"more lines than announced: {shown(b' '.join(line.fields))}")


def _read_rudy(data: bytes, name: str, memory_bytes_max: int) -> list[Qubo]:
    qubo, end = _read_body(data, _header(next(lines(data), None)), name, Convention.MAX_CUT, memory_bytes_max)
    _end_of_file(data, end)
    return [qubo]


def _read_bqp(data: bytes, name: str, memory_bytes_max: int) -> list[Qubo]:
    first = next(lines(data), None)
    counted = first is not None and len(first.fields) == 1
    problems = first.integer(0, "the number of problems") if first and counted else 1
    if first is not None and counted and not 1 <= problems * 2 <= len(data):
        raise FormatError(first.number, f"{problems} problems are announced; the file has no room for them")
    offset = first.end if first and counted else 0
    read = []
    for number in range(1, problems + 1):
        line = next(lines(data, offset), None)
        if line is None:
            raise FormatError(data.count(b"\n") + 1, f"{problems} problems are announced, {number - 1} are there")
        own = name if problems == 1 else f"{name}#{number}"
        qubo, offset = _read_body(data, _header(line), own, Convention.COUNTED_TWICE, memory_bytes_max)
        read.append(qubo)
    _end_of_file(data, offset)
    return read


def _read_qbsolv(data: bytes, name: str, memory_bytes_max: int) -> list[Qubo]:
    line, variables, nodes = _header(next(lines(data), None), first=3)
    couplers = line.integer(5, "the number of couplers")
    if couplers < 0:
        raise FormatError(line.number, "the number of couplers can't be negative")
    try:
        check_size(variables, 0, memory_bytes_max)
        rows, columns, weights, end = read_triples(data, line.end, nodes + couplers, variables, 0)
        _end_of_file(data, end)
        _check_qbsolv(data, line, (rows == columns), nodes)
        terms, once = (rows, columns, weights), Convention.COUNTED_ONCE
        limit = memory_bytes_max
        return [Qubo.from_terms(variables, terms, convention=once, sense="min", name=name, memory_bytes_max=limit)]
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(line.number, str(error)) from None


def _check_qbsolv(data: bytes, header: Line, diagonal: Any, nodes: int) -> None:
    """The announced number of diagonal terms stands before the others."""
    wrong = np.flatnonzero(diagonal != (np.arange(len(diagonal)) < nodes))
    if len(wrong):
        for number, line in enumerate(lines(data, header.end)):
            if number == wrong[0]:
                kind = "diagonal" if number < nodes else "coupling"
                raise FormatError(line.number, f"{nodes} diagonal terms are announced: a {kind} term should be here")


READERS: dict[str, Callable[[bytes, str, int], list[Qubo]]] = {
    "rudy": _read_rudy,
    "bqp": _read_bqp,
    "qbsolv": _read_qbsolv,
    "json": read_json,
}
