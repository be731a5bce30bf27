"""`bqm`: dimod's own binary file of a binary quadratic model (`BinaryQuadraticModel.to_file`), versions 1 and 2, minimized.

After the magic and a JSON header padded to 64 bytes stand the offset, for each variable where its neighbors begin and
its linear bias, then all neighbors with their biases, both ways, and the variables' labels where they are no plain
numbers. All biases are floats; where all are whole numbers, we keep whole numbers, with which solvers are exact.
"""

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.formats.lines import FormatError
from solvers.qubo import Convention, Qubo, check_size

Array = NDArray[Any]

MAGIC = b"DIMODBQM"
ALIGNMENT = 64
CONVENTION_BY_VARTYPE = {"BINARY": Convention.COUNTED_ONCE, "SPIN": Convention.SPINS}
VARTYPE_BY_CONVENTION = {convention: vartype for vartype, convention in CONVENTION_BY_VARTYPE.items()}
FLOATS = ("float64", "float32")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
HEADER_BYTES_MAX = 32 * 2**20  # version 1 keeps the labels in it
EXACT_MAX = 2**53  # of a whole number that is a float


def whole_where_possible(weights: Array, offset: float) -> tuple[Array, int | float]:
    """As int64 where every number is whole and small enough to be exact, else as float64."""
    floats = np.asarray(weights, np.float64)
    is_whole = float(offset).is_integer() and bool((np.rint(floats) == floats).all())
    if is_whole and float(np.abs(floats).sum()) + abs(offset) < EXACT_MAX:
        return floats.astype(np.int64), int(offset)
    return floats, float(offset)


def read_bqm(data: bytes, name: str, memory_bytes_max: int) -> list[Qubo]:
    """Raises FormatError; its line is 0, for there are none in a binary file."""
    try:
        return [_read(data, name, memory_bytes_max)]
    except FormatError:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise FormatError(0, str(error)) from None


def write_bqm(qubo: Qubo) -> bytes:
    """A minimization counted once or over spins, as float64. Raises ValueError for whole numbers that are no floats."""
    vartype = VARTYPE_BY_CONVENTION.get(qubo.convention)
    if vartype is None or qubo.sense != "min":
        raise ValueError("only a minimization counted once or of spins can be written as bqm")
    largest = max(abs(qubo.offset), *(float(np.abs(part).max(initial=0)) for part in (qubo.weights, qubo.linear)))
    if qubo.is_integer and largest > EXACT_MAX:
        raise ValueError("a coefficient is no float: at most 2**53 can be written as bqm")
    header = {
        "shape": [qubo.variables, qubo.couplings],
        "dtype": "float64",
        "itype": "int32",
        "ntype": "int64",
        "vartype": vartype,
        "type": "BinaryQuadraticModel",
        "variables": bool(qubo.labels),
    }
    linear = np.zeros(qubo.variables, [("nidx", "<i8"), ("bias", "<f8")])
    linear["nidx"], linear["bias"] = qubo.indptr[:-1], qubo.linear
    neighbors = np.zeros(2 * qubo.couplings, [("outvar", "<i4"), ("bias", "<f8")])
    neighbors["outvar"], neighbors["bias"] = qubo.indices, qubo.weights
    labels = _section(b"VARS", json.dumps(list(qubo.labels)).encode()) if qubo.labels else b""
    start = _section(MAGIC + bytes((2, 0)), json.dumps(header, sort_keys=True).encode() + b"\n")
    return start + struct.pack("<d", qubo.offset) + linear.tobytes() + neighbors.tobytes() + labels


def _section(magic: bytes, content: bytes) -> bytes:
    padding = -(len(magic) + 4 + len(content)) % ALIGNMENT
    return magic + struct.pack("<I", len(content) + padding) + content + b" " * padding


def _read(data: bytes, name: str, memory_bytes_max: int) -> Qubo:
    header, version, position = _header(data)
    variables, interactions = _shape(header)
    check_size(variables, interactions, memory_bytes_max)
    bias, index, start = (_kind(header, key) for key in ("dtype", "itype", "ntype"))
    linear_kind = np.dtype([("nidx", start), ("bias", bias)])
    coupling_kind = np.dtype([("outvar", index), ("bias", bias)])
    offsets, position = _array(data, position, 1, bias, "the offset")
    linear, position = _array(data, position, variables, linear_kind, "the linear biases")
    couplings, position = _array(data, position, 2 * interactions, coupling_kind, "the quadratic biases")
    rows = _rows(linear["nidx"], 2 * interactions)
    columns, biases = couplings["outvar"].astype(np.int64), couplings["bias"]
    if len(columns) and not 0 <= columns.min() <= columns.max() < variables:
        raise FormatError(0, f"a neighbor is out of range: there are {variables} variables")
    _check_symmetric(rows, columns, biases)
    lower = rows > columns
    diagonal = np.arange(variables)
    weights, offset = whole_where_possible(np.concatenate((linear["bias"], biases[lower])), float(offsets[0]))
    return Qubo.from_terms(
        variables,
        (np.concatenate((diagonal, rows[lower])), np.concatenate((diagonal, columns[lower])), weights),
        convention=CONVENTION_BY_VARTYPE[header["vartype"]],
        sense="min",
        name=name,
        offset=offset,
        labels=_labels(data, position, header, version, variables),
        memory_bytes_max=memory_bytes_max,
    )


def _header(data: bytes) -> tuple[dict[str, Any], int, int]:
    """The header, the version, and the offset behind it."""
    begin = len(MAGIC) + 6
    if not data.startswith(MAGIC) or len(data) < begin:
        raise FormatError(0, "not a dimod BQM file: the magic DIMODBQM or what follows it is missing")
    version = data[len(MAGIC)]
    if version not in (1, 2):
        raise FormatError(0, f"a BQM file of version {version}; 1 and 2 are read")
    (size,) = struct.unpack_from("<I", data, begin - 4)
    if size > min(len(data) - begin, HEADER_BYTES_MAX):
        raise FormatError(0, f"a header of {size} bytes is announced; the file has {len(data)}")
    header = json.loads(data[begin : begin + size].decode("ascii"))
    if not isinstance(header, dict) or header.get("vartype") not in ("BINARY", "SPIN"):
        raise FormatError(0, "the header should be an object with the vartype BINARY or SPIN")
    return header, version, begin + size


def _shape(header: dict[str, Any]) -> tuple[int, int]:
    shape = header.get("shape")
    if not isinstance(shape, list) or len(shape) != 2 or any(type(size) is not int or size < 0 for size in shape):
        raise FormatError(0, "the header's shape should be two whole numbers, zero or more")
    return shape[0], shape[1]


def _kind(header: dict[str, Any], key: str) -> Any:
    allowed = FLOATS if key == "dtype" else INTEGERS
    if header.get(key) not in allowed:
        raise FormatError(0, f"the header's {key} should be one of {', '.join(allowed)}")
    return np.dtype(header[key]).newbyteorder("<")


def _array(data: bytes, position: int, count: int, kind: Any, what: str) -> tuple[Array, int]:
    size = count * kind.itemsize
    if size > len(data) - position:
        raise FormatError(0, f"{what} take {size} bytes; {len(data) - position} are left of the file")
    return np.frombuffer(data, kind, count, position), position + size


def _rows(starts: Array, size: int) -> Array:
    """To which variable each of the neighbors belongs."""
    bounds = np.append(starts.astype(np.int64), size)
    if bounds[0] != 0 or (np.diff(bounds) < 0).any():
        raise FormatError(0, "the neighbors' starts should begin at 0 and ascend")
    return np.repeat(np.arange(len(starts)), np.diff(bounds))


def _check_symmetric(rows: Array, columns: Array, biases: Array) -> None:
    """dimod reads the lower triangle alone; a file whose other half says something else is broken."""
    lower, upper = rows > columns, rows < columns
    if not (lower | upper).all():
        raise FormatError(0, "a variable is its own neighbor")
    ordered = np.lexsort((rows[upper], columns[upper]))
    halves = ((rows[lower], columns[upper]), (columns[lower], rows[upper]), (biases[lower], biases[upper]))
    for one, other in halves:
        if len(one) != len(ordered) or not (one == other[ordered]).all():
            raise FormatError(0, "the two directions of a coupling differ, or neighbors are not in order")


def _labels(data: bytes, position: int, header: dict[str, Any], version: int, variables: int) -> tuple[str, ...]:
    listed = header.get("variables")
    if version == 2:
        if not listed:
            return ()
        if data[position : position + 4] != b"VARS" or len(data) < position + 8:
            raise FormatError(0, "the variables' labels are missing")
        (size,) = struct.unpack_from("<I", data, position + 4)
        if size > min(len(data) - position - 8, HEADER_BYTES_MAX):
            raise FormatError(0, f"labels of {size} bytes are announced; at most {HEADER_BYTES_MAX} are read")
        listed = json.loads(data[position + 8 : position + 8 + size].decode("ascii"))
    if listed == list(range(variables)):
        return ()
    if not isinstance(listed, list) or len(listed) != variables:
        raise FormatError(0, f"there should be a label for each of the {variables} variables")
    return tuple(label if isinstance(label, str) else json.dumps(label) for label in listed)
