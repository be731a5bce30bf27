"""Lines of `row column weight`, the body of most problem files: read fast where they are clean, slowly where not.

Readers of one language. Of long texts kernels read whole numbers (`_read_whole`) or decimal ones (`_read_decimals`), of
short ones Python's own split does, in less time than loading kernels takes; each gives up at anything else, and then
`_read_slowly` reads every line or says which is wrong and why. It is the definition, the others are its shortcuts.
"""

import sys
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.formats.lines import WEIGHT_MAX, FormatError, lines, weight_of
from solvers.qubo import VARIABLES_MAX

Array = NDArray[Any]
Triples = tuple[Array, Array, Array, int]

LINE_BYTES_MIN = 6  # "1 2 3\n": what a file of announced lines must have room for, before anything is allocated
SPLIT_BYTES_MAX = 2**17  # of a text that is read without kernels,
NARROW_MAX = 127  # of a weight and its negative in an int8: large files take half the time and memory with these
JOINED_MAX = 5000  # and terms that are written so
BIG_ENDIAN = sys.byteorder == "big"  # the kernels look at eight bytes at once, in the other order


def read_triples(
    data: bytes, start: int, count: int | None, variables: int, base: int, *, whole_bytes: int = 0
) -> Triples:
    """`count` lines from an offset (None: all there are): zero-based rows and columns, weights, the offset behind the last.

    Weights are int64 where every one is written as a whole number, or int8 where all of them are small; else float64,
    correctly rounded. Of a text that is only a part, `whole_bytes` tells how long all of it is: kernels that read the rest
    may read the part. Raises FormatError.
    """
    if count is not None:
        check_room(data, start, count)
    if max(len(data) - start, whole_bytes) <= SPLIT_BYTES_MAX or BIG_ENDIAN:
        found = _read_split(data, start, count, variables, base)
    else:
        size = min(_most_lines(data, start), _newlines(data, start) + 1) if count is None else count
        found = _read_fast(data, start, size, variables, base)
    if found is None or (count is not None and len(found[0]) < count):
        return _read_slowly(data, start, count, variables, base)
    return found


def has_diagonal(data: bytes, start: int, stop: int, whole_bytes: int) -> bool:
    """Whether one of the lines between two offsets names the same variable twice. Raises FormatError where one is wrong."""
    if whole_bytes > SPLIT_BYTES_MAX and not BIG_ENDIAN:
        from solvers.formats.scanning import _meets_diagonal

        is_met, start = _meets_diagonal(np.frombuffer(data, np.uint8), start, stop)
        if is_met or start >= stop:
            return bool(is_met)
    rows, columns, _, _ = read_triples(data[:stop], start, None, VARIABLES_MAX, 1, whole_bytes=whole_bytes)
    return bool((rows == columns).any())


def check_room(data: bytes, start: int, count: int) -> None:
    """Refuse, before anything is allocated, more lines than can be there. Raises FormatError."""
    most = _most_lines(data, start)
    if count > most:
        number = max(1, data.count(b"\n", 0, start))
        raise FormatError(number, f"{count} lines of terms are announced; the file has room for at most {most}")


def _newlines(data: bytes, start: int) -> int:
    """Eight times as fast as `bytes.count` where lines are short."""
    return int(np.count_nonzero(np.frombuffer(data, np.uint8)[start:] == ord("\n")))


def _most_lines(data: bytes, start: int) -> int:
    return max(0, (len(data) - start + 1) // LINE_BYTES_MIN)


def _read_split(data: bytes, start: int, count: int | None, variables: int, base: int) -> Triples | None:
    """None at anything but three plain numbers in each line, and no other lines between."""
    found = data[start:].split(b"\n", -1 if count is None else count)
    rest = found.pop() if count is None or len(found) > count else b""
    if (count is None and rest) or b"_" in data:  # the last line may lack its end; Python would take 1_000
        return None
    try:
        rows, columns, weights = zip(*(line.split() for line in found), strict=True)
        ends = np.array((list(map(int, rows)), list(map(int, columns)))) - base
        values = _values(weights)
    except (ValueError, OverflowError):
        return None
    if values is None or ends.min() < 0 or ends.max() >= variables:
        return None
    return ends[0].astype(np.int32), ends[1].astype(np.int32), values, len(data) - len(rest)


def _values(weights: Sequence[bytes]) -> Array | None:
    """None where one of them has to be looked at alone."""
    try:
        values = np.array(list(map(int, weights)), np.int64)
        return values if values.min() >= -WEIGHT_MAX else None
    except ValueError:
        values = np.array(list(map(float, weights)))
        return values if (np.abs(values) < WEIGHT_MAX).all() else None


def _read_fast(data: bytes, start: int, size: int, variables: int, base: int) -> Triples | None:
    """None at anything that a kernel does not take; up to `size` lines where the file ends before."""
    from solvers.formats.scanning import _read_decimals, _read_whole

    text = np.frombuffer(data, np.uint8)
    rows, columns, narrow = np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size, np.int8)
    read, end, is_narrow = _read_whole(text, start, variables, base, rows, columns, narrow, 0, NARROW_MAX)
    weights: Array = narrow
    if not is_narrow:
        weights = np.empty(size, np.int64)
        weights[:read] = narrow[:read]
        read, end, _ = _read_whole(text, end, variables, base, rows, columns, weights, read, WEIGHT_MAX)
    if end >= 0:
        return rows[:read], columns[:read], weights[:read], end
    decimals, hard = np.empty(size), np.full(size, -1, np.int64)
    read, end = _read_decimals(text, start, variables, base, rows, columns, decimals, hard)
    if end < 0:
        return None
    for k in np.flatnonzero(hard[:read] >= 0).tolist():
        begin = int(hard[k])
        end_line = data.find(b"\n", begin)
        decimals[k] = float(data[begin : end_line if end_line >= 0 else len(data)].split(None, 1)[0])
    if not np.isfinite(decimals[:read]).all():
        return None
    return rows[:read], columns[:read], decimals[:read], end


def _read_slowly(data: bytes, start: int, count: int | None, variables: int, base: int) -> Triples:
    ends = array("i"), array("i")
    weights: array[Any] = array("q")
    end = start
    for line in lines(data, start):
        if len(weights) == count:
            break
        if len(line.fields) != 3:
            raise FormatError(line.number, f"a line of terms has three fields, not {len(line.fields)}")
        for field, indices in enumerate(ends):
            index = line.integer(field, "an index")
            if not base <= index < variables + base:
                raise FormatError(line.number, f"index {index} is out of range {base} to {variables + base - 1}")
            indices.append(index - base)
        weight = weight_of(line, line.fields[2])
        if isinstance(weight, float) and weights.typecode == "q":
            weights = array("d", weights)
        weights.append(weight)
        end = line.end
    if count is not None and len(weights) < count:
        raise FormatError(data.count(b"\n") + 1, f"{count} lines of terms are announced, {len(weights)} are there")
    rows, columns = (np.array(indices, np.int32) for indices in ends)
    return rows, columns, np.array(weights), end


def write_triples(rows: Array, columns: Array, weights: Array, base: int) -> bytes:
    """The lines of terms; floats in the shortest form that reads back the same."""
    if len(rows) == 0:
        return b""
    if weights.dtype.kind == "f" or len(rows) <= JOINED_MAX:
        terms = zip((rows + base).tolist(), (columns + base).tolist(), weights.tolist(), strict=True)
        return "".join(f"{row} {column} {weight!r}\n" for row, column, weight in terms).encode()
    from solvers.formats.scanning import _write_triples

    weights = weights.astype(np.int64)
    widths = [len(str(part.max(initial=0))) + len(str(part.min(initial=0))) for part in (rows, columns, weights)]
    text = np.empty(len(rows) * (sum(widths) + 6), np.uint8)  # room for the base's carry and for what parts the fields
    size = _write_triples(rows, columns, weights, base, text)
    return text[:size].tobytes()
