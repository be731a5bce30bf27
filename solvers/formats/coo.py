"""`coo`: dimod's coordinate text, a comment `# vartype=BINARY` or `# vartype=SPIN`, then lines `i j bias`, from 0.

The value is dimod's energy, each term counted once, over x in {0, 1} or spins in {-1, +1}, minimized; `i i bias` is
linear. The file announces no sizes: there are as many variables as the largest index says. The format has no offset.
"""

import re

import numpy as np

from solvers.formats.lines import FormatError, lines
from solvers.formats.triples import read_triples, write_triples
from solvers.qubo import VARIABLES_MAX, Convention, Qubo, check_size

VARTYPE = re.compile(rb"^[ \t\f]*#.*?vartype[:=][ \t]*([-_.a-zA-Z0-9]+)", re.MULTILINE)
CONVENTION_BY_VARTYPE = {b"BINARY": Convention.COUNTED_ONCE, b"SPIN": Convention.SPINS}
VARTYPE_BY_CONVENTION = {convention: vartype for vartype, convention in CONVENTION_BY_VARTYPE.items()}


def read_coo(data: bytes, name: str, memory_bytes_max: int) -> list[Qubo]:
    convention = _convention(data)
    try:
        check_size(0, data.count(b"\n") + 1, memory_bytes_max)
        rows, columns, weights, _ = read_triples(data, 0, None, VARIABLES_MAX, 0)
        variables = max(int(rows.max(initial=-1)), int(columns.max(initial=-1))) + 1
        _check_variables(data, variables, len(rows), memory_bytes_max)
        terms, limit = (rows, columns, weights), memory_bytes_max
        return [
            Qubo.from_terms(variables, terms, convention=convention, sense="min", name=name, memory_bytes_max=limit)
        ]
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(0, str(error)) from None


def write_coo(qubo: Qubo) -> bytes:
    """A minimization counted once or over spins, without an offset; dimod keeps six digits behind the point, we all."""
    vartype = VARTYPE_BY_CONVENTION.get(qubo.convention)
    if vartype is None or qubo.sense != "min" or qubo.offset:
        raise ValueError("only a minimization counted once or of spins, without an offset, can be written as coo")
    is_bare = (np.diff(qubo.indptr) == 0) | (qubo.linear != 0)  # a variable that no line names would be lost
    shown = np.flatnonzero(is_bare).astype(np.int32)
    diagonal = write_triples(shown, shown, qubo.linear[shown], base=0)
    return b"# vartype=" + vartype + b"\n" + _plain(diagonal) + _plain(write_triples(*qubo.terms(), base=0))


def _plain(text: bytes) -> bytes:
    """Without exponents, which dimod's reader skips over in silence."""
    if b"e" not in text:
        return text
    rows = [row.split(" ") for row in text.decode().splitlines()]
    plain = (f"{i} {j} {np.format_float_positional(float(weight), trim='0')}\n" for i, j, weight in rows)
    return "".join(plain).encode()


def _convention(data: bytes) -> Convention:
    found = VARTYPE.search(data)
    if found is None:
        raise FormatError(1, "the kind of variables is missing: a line `# vartype=BINARY` or `# vartype=SPIN`")
    number = data.count(b"\n", 0, found.start(1)) + 1
    for other in VARTYPE.finditer(data, found.end()):
        if other[1] != found[1]:
            raise FormatError(data.count(b"\n", 0, other.start(1)) + 1, "another vartype than before")
    if found[1] not in CONVENTION_BY_VARTYPE:
        raise FormatError(number, f"the vartype should be BINARY or SPIN, not {found[1].decode()!r}")
    return CONVENTION_BY_VARTYPE[found[1]]


def _check_variables(data: bytes, variables: int, couplings: int, memory_bytes_max: int) -> None:
    try:
        check_size(variables, couplings, memory_bytes_max)
    except ValueError as error:
        largest = str(variables - 1).encode()
        number = next((line.number for line in lines(data) if largest in line.fields[:2]), 0)
        raise FormatError(number, str(error)) from None
