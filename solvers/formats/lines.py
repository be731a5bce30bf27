"""Lines of a text file that say something, and how a broken one is refused."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

WEIGHT_MAX = 2**63 - 1
COMMENTS = b"c#"


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
            return whole_number(text)
        except ValueError:
            raise FormatError(self.number, f"{what} should be a whole number, not {shown(text)}") from None


def lines(data: bytes, start: int = 0) -> Iterator[Line]:
    """The lines that say something, from an offset that begins a line."""
    number = data.count(b"\n", 0, start) if start < len(data) else 0  # counting takes as long as reading
    while start < len(data):
        number += 1
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        fields = data[start:end].split()
        start = end + 1
        if fields and fields[0][0] not in COMMENTS:
            yield Line(number, fields, min(start, len(data)))


def shown(text: bytes) -> str:
    """A field as an error message can carry it."""
    return repr(text[:40].decode("ascii", "backslashreplace"))


def whole_number(text: bytes) -> int:
    """Raises ValueError, as `int` does."""
    if b"_" in text:  # Python would take 1_000
        raise ValueError
    return int(text)


def weight_of(line: Line, text: bytes) -> int | float:
    """A finite number, whole ones within 64 bits. Raises FormatError."""
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
