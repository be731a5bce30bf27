"""Lines of `row column weight`, the body of most problem files: read fast where they are clean, slowly where not.

The kernel takes whole numbers and gives up at anything else; then the slow reader goes over the same lines, and
either reads them (decimal weights) or says which line is wrong and why. It is the definition, the kernel only its
shortcut.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

LINE_BYTES_MIN = 6  # "1 2 3\n": what a file of announced lines must have room for, before anything is allocated
DIGITS_MAX = 18  # of a number that the kernel takes: always within an int64
WEIGHT_MAX = 2**63 - 1
COMMENTS = b"c#"

NEWLINE, SPACE, TAB, RETURN, MINUS, PLUS, ZERO, NINE, HASH, LETTER_C = b"\n \t\r-+09#c"


class FormatError(ValueError):
    """A problem file is broken: `line` (from 1; 0 is the whole file) and `reason`."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}" if line else reason)
        self.line = line
        self.reason = reason


@dataclass(frozen=True)
class Line:
    """A line that says something: neither blank nor a comment."""

    number: int
    fields: list[bytes]
    end: int  # the offset behind it

    def integer(self, field: int, what: str) -> int:
        text = self.fields[field] if field < len(self.fields) else b""
        try:
            return _integer(text)
        except ValueError:
            raise FormatError(self.number, f"{what} should be a whole number, not {shown(text)}") from None


def lines(data: bytes, start: int = 0) -> Iterator[Line]:
    """The lines that say something, from an offset that begins a line."""
    number = data.count(b"\n", 0, start)
    while start < len(data):
        number += 1
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        fields = data[start:end].split()
        start = end + 1
        if fields and fields[0][0] not in COMMENTS:
            yield Line(number, fields, min(start, len(data)))


def read_triples(data: bytes, start: int, count: int, variables: int, base: int) -> tuple[Array, Array, Array, int]:
    """`count` lines from an offset: zero-based rows and columns, weights, and the offset behind the last."""
    if count * LINE_BYTES_MIN > len(data) - start + 1:
        number = max(1, data.count(b"\n", 0, start))
        room = (len(data) - start + 1) // LINE_BYTES_MIN
        raise FormatError(number, f"{count} lines of terms are announced; the file has room for at most {room}")
    rows, columns = np.empty(count, np.int32), np.empty(count, np.int32)
    weights = np.empty(count, np.int64)
    end = _read_triples(np.frombuffer(data, np.uint8), start, variables, base, rows, columns, weights)
    if end >= 0:
        return rows, columns, weights, end
    return _read_slowly(data, start, count, variables, base)


def shown(text: bytes) -> str:
    """A field as an error message can carry it."""
    return repr(text[:40].decode("ascii", "backslashreplace"))


def _integer(text: bytes) -> int:
    if b"_" in text:  # Python would take 1_000
        raise ValueError
    return int(text)


def _weight(line: Line, text: bytes) -> int | float:
    try:
        if b"_" in text:
            raise ValueError
        weight = float(text)
    except ValueError:
        raise FormatError(line.number, f"a weight should be a number, not {shown(text)}") from None
    if not math.isfinite(weight):
        raise FormatError(line.number, f"a weight should be finite, not {shown(text)}")
    try:
        whole = int(text)
    except ValueError:
        return weight
    if abs(whole) > WEIGHT_MAX:
        raise FormatError(line.number, f"the weight {shown(text)} does not fit 64 bits")
    return whole


def _read_slowly(data: bytes, start: int, count: int, variables: int, base: int) -> tuple[Array, Array, Array, int]:
    rows: list[int] = []
    columns: list[int] = []
    weights: list[int | float] = []
    end = start
    following = lines(data, start)
    for _ in range(count):
        line = next(following, None)
        if line is None:
            raise FormatError(data.count(b"\n") + 1, f"{count} lines of terms are announced, {len(rows)} are there")
        if len(line.fields) != 3:
            raise FormatError(line.number, f"a line of terms has three fields, not {len(line.fields)}")
        for field, indices in ((0, rows), (1, columns)):
            index = line.integer(field, "an index")
            if not base <= index < variables + base:
                raise FormatError(line.number, f"index {index} is out of range {base} to {variables + base - 1}")
            indices.append(index - base)
        weights.append(_weight(line, line.fields[2]))
        end = line.end
    kind = np.int64 if all(isinstance(weight, int) for weight in weights) else np.float64
    return np.array(rows, np.int32), np.array(columns, np.int32), np.array(weights, kind), end


@njit(cache=True, nogil=True)
def _number(text: Array, position: int) -> Any:
    """(value, offset behind it); an offset of -1 where no plain whole number stands."""
    size = text.shape[0]
    while position < size and (text[position] == SPACE or text[position] == TAB):
        position += 1
    negative = False
    if position < size and (text[position] == MINUS or text[position] == PLUS):
        negative = text[position] == MINUS
        position += 1
    first = position
    value = np.int64(0)
    while position < size and ZERO <= text[position] <= NINE:
        value = value * 10 + np.int64(text[position] - ZERO)
        position += 1
        if position - first > DIGITS_MAX:
            return np.int64(0), -1
    if position == first:
        return np.int64(0), -1
    return (-value if negative else value), position


@njit(cache=True, nogil=True)
def _skip(text: Array, position: int) -> int:
    """The offset of the next line's first visible character, past blank lines and comments."""
    size = text.shape[0]
    while position < size:
        letter = text[position]
        if letter in (HASH, LETTER_C):
            while position < size and text[position] != NEWLINE:
                position += 1
        elif letter != SPACE and letter != TAB and letter != RETURN and letter != NEWLINE:
            break
        else:
            position += 1
    return position


@njit(cache=True, nogil=True)
def _read_triples(
    text: Array, start: int, variables: int, base: int, rows: Array, columns: Array, weights: Array
) -> int:
    """Fills the arrays from as many lines and returns the offset behind the last; -1 at anything not plain."""
    size = text.shape[0]
    position = start
    for k in range(rows.shape[0]):
        position = _skip(text, position)
        row, position = _number(text, position)
        if position < 0 or row < base or row >= variables + base or position >= size:
            return -1
        if text[position] != SPACE and text[position] != TAB:
            return -1
        column, position = _number(text, position)
        if position < 0 or column < base or column >= variables + base or position >= size:
            return -1
        if text[position] != SPACE and text[position] != TAB:
            return -1
        weight, position = _number(text, position)
        if position < 0:
            return -1
        while position < size and text[position] != NEWLINE:
            if text[position] != SPACE and text[position] != TAB and text[position] != RETURN:
                return -1
            position += 1
        position = min(position + 1, size)
        rows[k] = row - base
        columns[k] = column - base
        weights[k] = weight
    return position


@njit(cache=True, nogil=True)
def _write_number(value: Any, text: Array, position: int) -> int:
    if value < 0:
        text[position] = MINUS
        position += 1
        value = -value
    digits = 1
    rest = value // 10
    while rest > 0:
        digits += 1
        rest //= 10
    for k in range(digits):
        text[position + digits - 1 - k] = ZERO + value % 10
        value //= 10
    return position + digits


@njit(cache=True, nogil=True)
def _write_triples(rows: Array, columns: Array, weights: Array, base: int, text: Array) -> int:
    position = 0
    for k in range(rows.shape[0]):
        position = _write_number(rows[k] + base, text, position)
        text[position] = SPACE
        position = _write_number(columns[k] + base, text, position + 1)
        text[position] = SPACE
        position = _write_number(weights[k], text, position + 1)
        text[position] = NEWLINE
        position += 1
    return position


def write_triples(rows: Array, columns: Array, weights: Array, base: int) -> bytes:
    """The lines of terms; floats in the shortest form that reads back the same."""
    if weights.dtype.kind == "f":
        terms = zip((rows + base).tolist(), (columns + base).tolist(), weights.tolist(), strict=True)
        return "".join(f"{row} {column} {weight!r}\n" for row, column, weight in terms).encode()
    widths = [len(str(part.max(initial=0))) + len(str(part.min(initial=0))) for part in (rows, columns, weights)]
    text = np.empty(len(rows) * (sum(widths) + 6), np.uint8)  # room for the base's carry and for what parts the fields
    size = _write_triples(rows, columns, weights, base, text)
    return text[:size].tobytes()
