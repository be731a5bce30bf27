r"""`lp`: the part of the CPLEX LP format that a QUBO needs: an objective over binary variables, and nothing to keep to.

    \ comment
    Maximize
     obj: 2 x1 - x2 + 3 + [ 4 x1 * x2 - 2 x1 ^ 2 ] / 2
    Binaries
     x1 x2
    End

The value is the objective, each term counted once; the bracket is halved where `/ 2` says so, and only then. Every
variable has to be listed under `Binaries`, whose order is the variables'. Constraints, integers, and bounds other than
0 and 1 are refused by name.
"""

import math
import re
from array import array
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

import numpy as np

from solvers.formats.lines import WEIGHT_MAX, FormatError, shown
from solvers.qubo import Convention, Qubo, Sense, check_size

NAME = r"[A-Za-z!\"#$%&(),;?@_'`{}~][\w!\"#$%&(),.;?@'`{}~]*"
TOKEN = re.compile(
    rf"(?P<newline>\n)|(?P<blank>[ \t\r\f]+)|(?P<comment>\\[^\n]*)|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    rf"|(?P<name>{NAME})|(?P<sign>[-+*^/:\[\]]|<=|>=|=<|=>|[<>=])",
    re.ASCII,
)
SENSES: dict[str, Sense] = dict.fromkeys(("minimize", "minimise", "minimum", "min"), "min")
SENSES |= dict.fromkeys(("maximize", "maximise", "maximum", "max"), "max")
SECTIONS = {"subject": "constraints", "such": "constraints", "st": "constraints", "s.t.": "constraints"}
SECTIONS |= {"st.": "constraints", "bounds": "bounds", "bound": "bounds", "end": "end"}
SECTIONS |= dict.fromkeys(("binaries", "binary", "bin"), "binaries")
SECTIONS |= dict.fromkeys(("general", "generals", "gen", "integer", "integers", "int"), "integers")
SECTIONS |= dict.fromkeys(("semi-continuous", "semis", "semi", "sos", "sos1", "sos2"), "other")
SECTION_SECOND_WORD = {"subject": "to", "such": "that"}
BYTES_PER_BYTE = 16  # a name of three characters takes a hundred bytes in a table, a number of one twenty


class Token(NamedTuple):
    """A name, a number or a sign, where it stands, and whether it is the first of its line."""

    kind: str
    text: str
    line: int
    is_first: bool


def read_lp(data: bytes, name: str, memory_bytes_max: int) -> list[Qubo]:
    if BYTES_PER_BYTE * len(data) > memory_bytes_max:
        raise FormatError(0, f"reading {len(data)} bytes of LP takes more than the {memory_bytes_max} bytes allowed")
    return [_Reader(data).read(name, memory_bytes_max)]


def write_lp(qubo: Qubo) -> bytes:
    """A problem counted once, of either sense. Raises ValueError."""
    if qubo.convention is not Convention.COUNTED_ONCE:
        raise ValueError("only a problem counted once can be written as lp")
    names = qubo.labels if _are_names(qubo.labels) else tuple(f"x{i}" for i in range(qubo.variables))
    rows, columns, weights = (part.tolist() for part in qubo.terms())
    parts = ["Minimize\n obj:" if qubo.sense == "min" else "Maximize\n obj:"]
    parts += [_term(weight, names[i]) for i, weight in enumerate(qubo.linear.tolist()) if weight]
    if qubo.offset or len(parts) == 1:
        parts.append(_term(qubo.offset, ""))
    if rows:
        couplings = zip(rows, columns, weights, strict=True)
        parts += [" + [", *(_term(2 * weight, f"{names[i]} * {names[j]}") for i, j, weight in couplings), " ] / 2"]
    parts += ["\nSubject To\nBinaries", *(f"\n {one}" for one in names), "\nEnd\n"]
    return "".join(parts).encode()


def _are_names(labels: tuple[str, ...]) -> bool:
    """Whether each is a name, no keyword, and none stands twice."""
    words = SENSES.keys() | SECTIONS.keys()
    good = all(re.fullmatch(NAME, one, re.ASCII) and one.lower() not in words and one[0] not in "eE" for one in labels)
    return bool(labels) and good and len(set(labels)) == len(labels)


def _term(weight: float, product: str) -> str:
    return f"\n {'-' if weight < 0 else '+'} {abs(weight)!r} {product}".rstrip()


def _tokens(text: str) -> Iterator[Token]:
    position, line, is_first = 0, 1, True
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise FormatError(line, f"{shown(text[position].encode())} has no meaning in an LP file")
        position = match.end()
        if match.lastgroup == "newline":
            line, is_first = line + 1, True
        elif match.lastgroup not in ("blank", "comment"):
            yield Token(str(match.lastgroup), match[0], line, is_first)
            is_first = False
    yield Token("end", "", line, True)


class _Reader:
    """One pass over the tokens, one ahead."""

    def __init__(self, data: bytes) -> None:
        try:
            text = data.decode("ascii")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise FormatError(line, "an LP file holds nothing but ASCII") from None
        self._left = _tokens(text)
        self._next = next(self._left)
        self._number_by_name: dict[str, int] = {}
        self._line_by_number = array("q")
        self._rows, self._columns = array("i"), array("i")
        self._weights: list[int | float] = []
        self._offset: int | float = 0
        self._binaries: list[int] = []

    def read(self, name: str, memory_bytes_max: int) -> Qubo:
        sense = self._sense()
        self._objective()
        while (section := self._section()) is not None:
            if section.kind == "end":
                break
            self._fill(section)
        if self._next.kind != "end":
            self._fail(f"{shown(self._next.text.encode())} stands behind the end")
        place = self._places()
        rows, columns = (place[np.array(part, np.int32)] for part in (self._rows, self._columns))
        names = sorted(self._number_by_name, key=lambda one: int(place[self._number_by_name[one]]))
        try:
            check_size(len(place), len(rows), memory_bytes_max)
            weights = np.array(self._weights) if self._weights else np.zeros(0, np.int64)
            return Qubo.from_terms(
                len(place),
                (rows, columns, weights),
                convention=Convention.COUNTED_ONCE,
                sense=sense,
                name=name,
                offset=self._offset,
                labels=tuple(names),
                memory_bytes_max=memory_bytes_max,
            )
        except ValueError as error:
            raise FormatError(0, str(error)) from None

    def _take(self) -> Token:
        token = self._next
        self._next = next(self._left, token)
        return token

    def _fail(self, reason: str) -> NoReturn:
        raise FormatError(self._next.line, reason)

    def _is(self, text: str) -> bool:
        return self._next.kind == "sign" and self._next.text == text

    def _sense(self) -> Sense:
        word = self._next.text.lower()
        if word not in SENSES:
            self._fail(f"an LP file begins with Minimize or Maximize, not {shown(self._next.text.encode())}")
        self._take()
        return SENSES[word]

    def _section(self) -> Token | None:
        """The keyword of the section that begins here, its kind in place of its own; None at the end of the file."""
        token = self._take()
        if token.kind == "end":
            return None
        kind = SECTIONS.get(token.text.lower()) if token.is_first else None
        if kind is None:
            raise FormatError(token.line, f"{shown(token.text.encode())} should be a sign, or begin a section")
        second = SECTION_SECOND_WORD.get(token.text.lower())
        if second is not None and self._take().text.lower() != second:
            raise FormatError(token.line, f"{token.text!r} should be followed by {second!r}")
        return token._replace(kind=kind)

    def _begins_section(self) -> bool:
        return self._next.kind == "end" or (self._next.is_first and self._next.text.lower() in SECTIONS)

    def _fill(self, section: Token) -> None:
        while not self._begins_section():
            if section.kind == "binaries":
                self._binary()
            elif section.kind == "bounds":
                self._bound()
            else:
                self._fail(f"{section.text}: a QUBO has only binary variables and an objective")

    def _binary(self) -> None:
        token = self._take()
        if token.kind != "name":
            raise FormatError(token.line, f"a variable's name should be here, not {shown(token.text.encode())}")
        number = self._number(token)
        self._binaries.append(number)

    def _bound(self) -> None:
        """`0 <= x <= 1` and its halves, which say nothing new of a binary variable."""
        first = self._next
        parts = [self._take().text]
        while not self._begins_section() and not self._next.is_first:
            parts.append(self._take().text)
        if not re.fullmatch(rf"(0 (<=|=<|<) )?{NAME}( (<=|=<|<) 1)?|{NAME} (>=|=>|>) 0", " ".join(parts), re.ASCII):
            raise FormatError(first.line, "a bound other than 0 and 1: a QUBO's variables are binary")

    def _number(self, token: Token) -> int:
        number = self._number_by_name.setdefault(token.text, len(self._number_by_name))
        if number == len(self._line_by_number):
            self._line_by_number.append(token.line)
        return number

    def _objective(self) -> None:
        label = None
        while not self._begins_section():
            if label is None and self._next.kind == "name":
                label = self._take()
                if self._is(":"):
                    self._take()
                else:
                    self._add(self._number(label), self._number(label), 1)
                continue
            label = self._next
            self._one_term()

    def _one_term(self) -> None:
        factor = self._factor()
        if self._is("["):
            self._bracket(factor)
        elif self._next.kind == "name" and not self._begins_section():
            number = self._number(self._take())
            self._add(number, number, factor.value)
        elif factor.is_written:
            self._offset += factor.value
        else:
            self._fail(f"a term should be here, not {shown(self._next.text.encode())}")

    def _factor(self) -> "_Factor":
        value: int | float = 1
        while self._is("+") or self._is("-"):
            value = -value if self._take().text == "-" else value
        if self._next.kind != "number":
            return _Factor(value, False)
        token = self._take()
        return _Factor(value * _value(token), True)

    def _bracket(self, factor: "_Factor") -> None:
        self._take()
        first = len(self._weights)
        while not self._is("]"):
            if self._begins_section():
                self._fail("the bracket is not closed")
            self._product()
        self._take()
        scale = factor.value
        is_halved = self._is("/")
        if is_halved:
            self._take()
            self._two("a bracket can only be divided by 2")
        found = [weight * scale for weight in self._weights[first:]]
        if is_halved:
            found = [w // 2 if isinstance(w, int) and w % 2 == 0 else w / 2 for w in found]
        self._weights[first:] = found

    def _two(self, reason: str) -> None:
        if self._next.text != "2":
            self._fail(reason)
        self._take()

    def _product(self) -> None:
        factor = self._factor()
        if self._next.kind != "name":
            self._fail(f"a variable's name should be here, not {shown(self._next.text.encode())}")
        one = other = self._number(self._take())
        if self._is("^"):
            self._take()
            self._two("a variable can only be squared")
        elif self._is("*"):
            self._take()
            if self._next.kind != "name":
                self._fail(f"a variable's name should be here, not {shown(self._next.text.encode())}")
            other = self._number(self._take())
        else:
            self._fail("a product of two variables should be here")
        self._add(one, other, factor.value)

    def _add(self, row: int, column: int, weight: int | float) -> None:
        self._rows.append(row)
        self._columns.append(column)
        self._weights.append(weight)

    def _places(self) -> Any:
        """The place of each variable among the binaries, by its number. Raises FormatError for one that is not there."""
        place = np.full(len(self._number_by_name), -1, np.int32)
        order = np.array(list(dict.fromkeys(self._binaries)), np.int32)
        place[order] = np.arange(len(order), dtype=np.int32)
        missing = np.flatnonzero(place < 0)
        if len(missing):
            name = next(one for one, number in self._number_by_name.items() if number == missing[0])
            line = self._line_by_number[int(missing[0])]
            raise FormatError(
                line, f"{shown(name.encode())} is not listed under Binaries: a QUBO has no other variables"
            )
        return place


class _Factor(NamedTuple):
    value: int | float
    is_written: bool


def _value(token: Token) -> int | float:
    if token.text.isdigit() and len(token.text) <= 19 and int(token.text) <= WEIGHT_MAX:
        return int(token.text)
    value = float(token.text)
    if token.text.isdigit() or not math.isfinite(value):
        raise FormatError(token.line, f"the number {shown(token.text.encode())} does not fit 64 bits")
    return value
