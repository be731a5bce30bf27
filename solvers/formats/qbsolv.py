"""`qbsolv` (`.qubo`): `p qubo 0 maxNodes nNodes nCouplers`, nNodes lines `i i w`, nCouplers lines `i j w`, from 0; `c` comments.

The value is `Σ_i l_i x_i + Σ_{i<j} q_ij x_i x_j`, each term counted once, minimized.
"""

from typing import Any

import numpy as np

from solvers.formats.counted import end_of_file, read_counts
from solvers.formats.lines import FormatError, Line, lines
from solvers.formats.triples import check_room, read_triples, write_triples
from solvers.qubo import Convention, Qubo, check_size


def read_qbsolv(data: bytes, name: str, memory_bytes_max: int) -> list[Qubo]:
    line, variables, nodes = read_counts(next(lines(data), None), first=3)
    couplers = line.integer(5, "the number of couplers")
    if couplers < 0:
        raise FormatError(line.number, "the number of couplers can't be negative")
    try:
        check_room(data, line.end, nodes + couplers)
        check_size(variables, nodes + couplers, memory_bytes_max)
        rows, columns, weights, end = read_triples(data, line.end, nodes + couplers, variables, 0)
        end_of_file(data, end)
        _check_order(data, line, rows == columns, nodes)
        terms, once = (rows, columns, weights), Convention.COUNTED_ONCE
        limit = memory_bytes_max
        return [Qubo.from_terms(variables, terms, convention=once, sense="min", name=name, memory_bytes_max=limit)]
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(line.number, str(error)) from None


def write_qbsolv(qubo: Qubo) -> bytes:
    """A minimization counted once, without an offset."""
    if qubo.convention is not Convention.COUNTED_ONCE or qubo.sense != "min" or qubo.offset:
        raise ValueError("only a minimization counted once, without an offset, can be written as qbsolv")
    nodes = np.flatnonzero(qubo.linear).astype(np.int32)
    header = f"p qubo 0 {qubo.variables} {len(nodes)} {qubo.couplings}\n".encode()
    return header + write_triples(nodes, nodes, qubo.linear[nodes], base=0) + write_triples(*qubo.terms(), base=0)


def _check_order(data: bytes, header: Line, diagonal: Any, nodes: int) -> None:
    """The announced number of diagonal terms stands before the others."""
    wrong = np.flatnonzero(diagonal != (np.arange(len(diagonal)) < nodes))
    if len(wrong):
        for number, line in enumerate(lines(data, header.end)):
            if number == wrong[0]:
                kind = "diagonal" if number < nodes else "coupling"
                raise FormatError(line.number, f"{nodes} diagonal terms are announced: a {kind} term should be here")
