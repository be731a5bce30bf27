"""`npz` and `npy`: matrices as numpy and scipy.sparse save them; the value is `x'Qx`, minimized unless the file says more.

Read are scipy.sparse's `save_npz` of the kinds csr, csc and coo, and a square array in an `.npy`. We write scipy's csr
with four entries more, which scipy passes over: `gavel_sense`, `gavel_convention`, `gavel_offset`, `gavel_linear`.
With them the matrix is the couplings alone, in the file's own terms.

numpy's own reader allocates what an array's header announces before it looks for it, and can run code from a pickle;
this one takes plain numbers only, and no more bytes than the archive holds and the memory bound allows.
"""

import io
import re
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from solvers.formats.lines import FormatError
from solvers.qubo import Convention, Qubo, Sense, check_size

if TYPE_CHECKING:
    import zipfile

Array = NDArray[Any]

NPY_MAGIC = b"\x93NUMPY"
ZIP_MAGIC = b"PK\x03\x04"
HEADER = re.compile(
    r"\{'descr': '([<>|=]?[biufSU]\d{1,6})', 'fortran_order': (True|False), 'shape': \(((?:\d{1,19}(?:, ?|,?(?=\))))*)\), \}\s*"
)
HEADER_BYTES_MAX = 10_000
MEMBERS_MAX = 64
OWN = ("gavel_sense", "gavel_convention", "gavel_offset", "gavel_linear")


def read_arrays(data: bytes, name: str, memory_bytes_max: int) -> list[Qubo]:
    """Raises FormatError; its line is 0, for there are none in a binary file."""
    import zipfile  # which no text needs

    try:
        if data.startswith(NPY_MAGIC):
            matrix = _array(data, "the file", memory_bytes_max)
            return [Qubo.from_dense(matrix, name=name, memory_bytes_max=memory_bytes_max)]
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [_read_archive(_Archive(archive, memory_bytes_max), name, memory_bytes_max)]
    except FormatError:
        raise
    except (zipfile.BadZipFile, zlib.error, ValueError, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise FormatError(0, str(error)) from None


def write_npz(qubo: Qubo) -> bytes:
    """Every problem; labels are left out."""
    from scipy import sparse

    rows, columns, weights = qubo.terms()
    matrix = sparse.csr_array((weights, (rows, columns)), shape=(qubo.variables, qubo.variables))
    file = io.BytesIO()
    np.savez_compressed(
        file,
        format=np.array(b"csr"),
        shape=np.array(matrix.shape),
        indptr=matrix.indptr,
        indices=matrix.indices,
        data=matrix.data,
        gavel_sense=np.array(qubo.sense.encode()),
        gavel_convention=np.array(qubo.convention.value.encode()),
        gavel_offset=np.array(qubo.offset),
        gavel_linear=qubo.linear,
    )
    return file.getvalue()


class _Archive:
    """The arrays of a zip archive, by name, within a bound for all of them together."""

    def __init__(self, archive: "zipfile.ZipFile", memory_bytes_max: int) -> None:
        if len(archive.namelist()) > MEMBERS_MAX:
            raise FormatError(0, f"an archive of {len(archive.namelist())} arrays: at most {MEMBERS_MAX} are looked at")
        self._archive = archive
        self._bytes_left = memory_bytes_max
        self.names = {one.removesuffix(".npy") for one in archive.namelist()}

    def array(self, name: str) -> Array:
        if name not in self.names:
            raise FormatError(0, f"the array {name!r} is missing")
        size = self._archive.getinfo(f"{name}.npy").file_size
        if size > self._bytes_left:
            raise FormatError(0, f"{name}: {size} bytes; {self._bytes_left} are left of the memory allowed")
        with self._archive.open(f"{name}.npy") as file:
            content = file.read(size)
        self._bytes_left -= size
        return _array(content, name, self._bytes_left + size)

    def text(self, name: str) -> str:
        found = self.array(name)
        if found.shape != () or found.dtype.kind not in "SU":
            raise FormatError(0, f"{name}: should be one text")
        value = found.item()
        return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


def _array(content: bytes, name: str, memory_bytes_max: int) -> Array:
    """The array in an .npy file's bytes: plain numbers or text, as many as its header says."""
    major = content[6] if len(content) > 10 else 0
    if not content.startswith(NPY_MAGIC) or major not in (1, 2, 3):
        raise FormatError(0, f"{name}: not an .npy array of version 1 to 3")
    width = 2 if major == 1 else 4
    size = int.from_bytes(content[8 : 8 + width], "little")
    begin = 8 + width + size
    if size > min(HEADER_BYTES_MAX, len(content)):
        raise FormatError(0, f"{name}: a header of {size} bytes")
    header = HEADER.fullmatch(content[8 + width : begin].decode("latin-1"))
    if header is None:
        raise FormatError(0, f"{name}: not plain numbers, or a broken header")
    try:
        kind = np.dtype(header[1])
    except TypeError:
        raise FormatError(0, f"{name}: {header[1]} is no kind of number") from None
    shape = tuple(int(one) for one in header[3].split(",") if one.strip())
    count = int(np.prod([float(one) for one in shape])) if len(shape) > 1 else (shape[0] if shape else 1)
    if count * kind.itemsize != len(content) - begin:
        raise FormatError(0, f"{name}: {count} numbers are announced; {len(content) - begin} bytes are there")
    if len(content) > memory_bytes_max:
        raise FormatError(0, f"{name}: {len(content)} bytes; {memory_bytes_max} are allowed")
    order: Any = "F" if header[2] == "True" else "C"
    return np.frombuffer(content, kind, count, begin).reshape(shape, order=order)


def _read_archive(archive: _Archive, name: str, memory_bytes_max: int) -> Qubo:
    if "format" not in archive.names:
        raise FormatError(0, "no sparse matrix: the array 'format' that scipy.sparse saves is missing")
    size = _size(archive.array("shape"))
    rows, columns = _coordinates(archive, archive.text("format"), size)
    weights = archive.array("data")
    if not rows.shape == columns.shape == weights.shape or weights.ndim != 1:
        raise FormatError(0, f"{weights.size} numbers for {rows.size} rows and {columns.size} columns: as many of each")
    check_size(size, len(weights), memory_bytes_max)
    if not archive.names & set(OWN):
        once, limit = Convention.COUNTED_ONCE, memory_bytes_max
        plain = (rows, columns, weights)
        return Qubo.from_terms(size, plain, convention=once, sense="min", name=name, memory_bytes_max=limit)
    sense, convention = _meaning(archive)
    linear, offset = archive.array("gavel_linear"), archive.array("gavel_offset")
    if linear.shape != (size,) or offset.shape != () or {linear.dtype.kind, offset.dtype.kind} - set("iuf"):
        raise FormatError(0, "gavel_linear should be a number for each variable, gavel_offset one number")
    if (rows == columns).any():
        raise FormatError(0, "the diagonal stands in gavel_linear, not in the matrix")
    diagonal = np.flatnonzero(linear)
    ends = (np.concatenate((diagonal, rows)), np.concatenate((diagonal, columns)))
    return Qubo.from_terms(
        size,
        (*ends, np.concatenate((linear[diagonal], weights))),
        convention=convention,
        sense=sense,
        name=name,
        offset=offset.item(),
        memory_bytes_max=memory_bytes_max,
    )


def _meaning(archive: _Archive) -> tuple[Sense, Convention]:
    sense, convention = archive.text("gavel_sense"), archive.text("gavel_convention")
    if convention not in {one.value for one in Convention}:
        raise FormatError(0, f"gavel_convention: there is no convention {convention[:40]!r}")
    if sense == "min":
        return "min", Convention(convention)
    if sense == "max":
        return "max", Convention(convention)
    raise FormatError(0, f"gavel_sense: should be min or max, not {sense[:40]!r}")


def _size(shape: Array) -> int:
    if shape.dtype.kind not in "iu" or shape.shape != (2,) or shape[0] != shape[1] or shape[0] < 0:
        raise FormatError(0, f"shape: a QUBO's matrix is square, not {shape.tolist()!r:.60}")
    return int(shape[0])


def _coordinates(archive: _Archive, kind: str, size: int) -> tuple[Array, Array]:
    if kind == "coo":
        return _whole(archive, "row"), _whole(archive, "col")
    if kind not in ("csr", "csc"):
        raise FormatError(0, f"format: csr, csc and coo are read, not {kind[:40]!r}")
    starts, indices = _whole(archive, "indptr").astype(np.int64), _whole(archive, "indices")
    if len(starts) != size + 1 or starts[0] != 0 or starts[-1] != len(indices) or (np.diff(starts) < 0).any():
        raise FormatError(0, f"indptr: should be {size + 1} numbers that ascend from 0 to {len(indices)}")
    numbers = np.repeat(np.arange(size), np.diff(starts))
    return (numbers, indices) if kind == "csr" else (indices, numbers)


def _whole(archive: _Archive, name: str) -> Array:
    found = archive.array(name)
    if found.dtype.kind not in "iu" or found.ndim != 1:
        raise FormatError(0, f"{name}: should be one row of whole numbers")
    return found
