"""Problem files: which format it is, and the QUBO in it, or the line that is wrong and why; and how to write one.

| format | module | value | sense | indices |
| --- | --- | --- | --- | --- |
| `rudy` | `counted` | the cut | max | from 1 |
| `bqp`, `mqlib` | `counted` | off-diagonals counted twice | max | from 1 |
| `biqmac` | `counted` | off-diagonals counted twice | min | from 1 |
| `qbsolv` | `qbsolv` | each term once | min | from 0 |
| `coo`, `bqm` | `coo`, `bqm` | each term once, or spins | min | from 0, or labels |
| `lp` | `lp` | each term once | either | names |
| `json` | `documents` | each term once | either | from 0 |
| `npz` (scipy.sparse, ours, `.npy`) | `arrays` | each term once; ours: any | min; ours: either | from 0 |

A bqp file of one problem may lack the count; then it differs from rudy only by terms on the diagonal, which a cut
never has: they decide, unless the file's suffix does. Repeated terms add up, in every format (a repeated diagonal in
mqlib is refused: MQLib keeps the last one alone). Every reader refuses a broken file with a `FormatError`, before it
allocates what a file only announces.
"""

import os
from collections.abc import Callable
from pathlib import Path

from solvers.formats.arrays import NPY_MAGIC, ZIP_MAGIC, read_arrays, write_npz
from solvers.formats.bqm import MAGIC, read_bqm, write_bqm
from solvers.formats.coo import VARTYPE, read_coo, write_coo
from solvers.formats.counted import (
    read_biqmac,
    read_bqp,
    read_mqlib,
    read_rudy,
    write_biqmac,
    write_bqp,
    write_mqlib,
    write_rudy,
)
from solvers.formats.documents import read_json, write_json
from solvers.formats.lines import FormatError, lines
from solvers.formats.lp import SENSES, read_lp, write_lp
from solvers.formats.qbsolv import read_qbsolv, write_qbsolv
from solvers.formats.triples import has_diagonal
from solvers.qubo import MEMORY_BYTES_MAX, Qubo

__all__ = [
    "FILE_BYTES_MAX",
    "HEAD_BYTES",
    "FormatError",
    "parse",
    "parse_all",
    "read",
    "recognise",
    "write",
    "write_bqp",
    "write_json",
    "write_rudy",
]

FILE_BYTES_MAX = 256 * 2**20
HEAD_BYTES = 64 * 2**10  # what recognizing looks at,
BEHIND_BYTES = 128  # and as many more that kernels may look at, which read words
FORMAT_BY_SUFFIX = {
    ".bqp": "bqp",
    ".coo": "coo",
    ".lp": "lp",
    ".mc": "rudy",
    ".qubo": "qbsolv",
    ".rud": "rudy",
    ".rudy": "rudy",
    ".sparse": "biqmac",
}
FORMAT_BY_MAGIC = {MAGIC: "bqm", ZIP_MAGIC: "npz", NPY_MAGIC: "npz"}
OTHER_SUFFIXES = (".txt", ".json", ".dat", ".bqm", ".npz", ".npy")


def recognise(source: str | os.PathLike[str] | bytes, name: str = "") -> str | None:
    """The format of a file or of its bytes, from the first `HEAD_BYTES`; None when no reader knows it."""
    if isinstance(source, bytes):
        head, size = source[: HEAD_BYTES + BEHIND_BYTES], len(source)
    else:
        name = name or os.fspath(source)
        with Path(source).open("rb") as file:
            head, size = file.read(HEAD_BYTES + BEHIND_BYTES), os.fstat(file.fileno()).st_size
    for magic, format in FORMAT_BY_MAGIC.items():
        if head.startswith(magic):
            return format
    return None if b"\0" in head else _recognise_text(head, size, Path(name).suffix.lower())


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
    named = Path(name)
    own = named.stem if named.suffix in (*FORMAT_BY_SUFFIX, *OTHER_SUFFIXES) else named.name
    return READERS[format](data, own, memory_bytes_max)


def write(qubo: Qubo, format: str) -> bytes:
    """The problem as a file of that format. Raises ValueError for what the format can't say.

    `qubo.counted_once()` and `qubo.negated()` make of any problem one that qbsolv, coo, bqm and lp can say.
    """
    if format not in WRITERS:
        raise ValueError(f"no writer is called {format!r}; there are {', '.join(sorted(WRITERS))}")
    return WRITERS[format](qubo)


def _recognise_text(head: bytes, size: int, suffix: str) -> str | None:
    begin = head.lstrip()[:1]
    first_word = (head.lstrip()[:16].split(None, 1) or [b""])[0]
    if begin == b"{":
        return "json" if b'"gavel-qubo/' in head else None
    if suffix in (".coo", ".lp"):
        return FORMAT_BY_SUFFIX[suffix]
    if begin == b"\\" or first_word.decode("latin-1").lower() in SENSES:
        return "lp"
    if begin == b"#" and VARTYPE.search(head):
        return "coo"
    stop = len(head) if size < HEAD_BYTES else head.rfind(b"\n", 0, HEAD_BYTES) + 1
    found = lines(head[:stop])
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
    if not _has_diagonal(head, first.end, stop, size):
        return "rudy"
    return "mqlib" if begin == b"#" else "bqp"


def _has_diagonal(head: bytes, start: int, stop: int, size: int) -> bool:
    try:
        return has_diagonal(head, start, stop, size)
    except FormatError:  # comments or worse, which its reader will name: look at whatever are terms
        terms = [line.fields for line in lines(head[:stop], start) if len(line.fields) == 3]
        return any(row == column for row, column, _ in terms)


def _are_counts(fields: list[bytes]) -> bool:
    return bool(fields) and all(field.isdigit() for field in fields)


Reader = Callable[[bytes, str, int], list[Qubo]]  # a file's bytes, its name, the memory allowed in bytes
Writer = Callable[[Qubo], bytes]

READERS: dict[str, Reader] = {
    "biqmac": read_biqmac,
    "bqm": read_bqm,
    "bqp": read_bqp,
    "coo": read_coo,
    "json": read_json,
    "lp": read_lp,
    "mqlib": read_mqlib,
    "npz": read_arrays,
    "qbsolv": read_qbsolv,
    "rudy": read_rudy,
}
WRITERS: dict[str, Writer] = {
    "biqmac": write_biqmac,
    "bqm": write_bqm,
    "bqp": write_bqp,
    "coo": write_coo,
    "json": write_json,
    "lp": write_lp,
    "mqlib": write_mqlib,
    "npz": write_npz,
    "qbsolv": write_qbsolv,
    "rudy": write_rudy,
}
