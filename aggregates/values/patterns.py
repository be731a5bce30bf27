"""Patterns of texts, matched in time that grows with the text alone: what tenants write must not hold up the node.

An automaton goes through the text once, in all the ways at the same time in which the pattern could be matched so far; `re` tries one way
after the other, which for a pattern such as `(a+)+$` takes longer than the universe has, in one step that nothing can interrupt. The
syntax is that of ECMA-262, which JSON Schema names, without what no automaton can do (references back, looking ahead or behind) and
without properties of characters (`\\p{…}`). As there, a pattern may match anywhere in the text unless it is anchored, and `$` is the end
of the text, not of a line.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

PATTERN_CHARACTERS_MAX = 512
PLACES_MAX = 1_000
"""How many places a pattern's automaton may have: `[a-z]{500}` takes 500."""
ADDED_MAX = 4 * PLACES_MAX
DEPTH_MAX = 32

Spend = Callable[[int], None]
Ranges = tuple[tuple[int, int], ...]

LAST = 0x10FFFF
DIGIT: Ranges = ((0x30, 0x39),)
WORD: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
SPACE: Ranges = (
    (0x09, 0x0D), (0x20, 0x20), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F),
    (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF),
)  # fmt: skip
LINE_ENDS: Ranges = ((0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029))
CONTROLS = {"t": 0x09, "n": 0x0A, "v": 0x0B, "f": 0x0C, "r": 0x0D, "0": 0x00}
SPECIAL = "^$\\.*+?()[]{}|/"

START, END, SPLIT, DONE = "start", "end", "split", "done"


class Unreadable(ValueError):
    """A pattern that is none, or one that is not taken; the text says why."""


class TooLarge(Unreadable):
    """A pattern that would take more places than one may."""


class Place(NamedTuple):
    """A place in a pattern: what takes a character there (`ranges`), or what is asked there; and where it goes on."""

    kind: str
    ranges: Ranges = ()
    then: tuple[int, ...] = ()


class Pattern:
    """A pattern that can be matched. Raises `Unreadable`."""

    def __init__(self, text: str) -> None:
        if len(text) > PATTERN_CHARACTERS_MAX:
            raise Unreadable(f"has {len(text)} characters; {PATTERN_CHARACTERS_MAX} is the most")
        self.text = text
        self._places: list[Place] = []
        self._added = 0
        tree = _Reader(text).read()
        self._begin = self._add(tree, self._place(Place(DONE)))

    @property
    def size(self) -> int:
        """What it took to make: parts that were added, and places."""
        return self._added + len(self._places)

    def matches(self, text: str, spend: Spend) -> bool:
        """Whether it matches somewhere in the text. `spend` is told of the steps that are about to be taken, and may raise."""
        places, end = self._places, len(text)
        now: set[int] = set()
        for index in range(end + 1):
            now = self._reached([*now, self._begin], index, end)
            spend(1 + len(now))
            if any(places[number].kind is DONE for number in now):
                return True
            if index < end:
                code = ord(text[index])
                takers = (places[number] for number in now if places[number].ranges)
                now = {one.then[0] for one in takers if any(low <= code <= high for low, high in one.ranges)}
        return False

    def _reached(self, begin: Iterable[int], index: int, end: int) -> set[int]:
        """The places that are come to without taking a character."""
        reached: set[int] = set()
        waiting = list(begin)
        while waiting:
            number = waiting.pop()
            if number in reached:
                continue
            reached.add(number)
            place = self._places[number]
            if place.kind is SPLIT or (place.kind is START and index == 0) or (place.kind is END and index == end):
                waiting.extend(place.then)
        return reached

    # ---- from the tree to places

    def _place(self, place: Place) -> int:
        if len(self._places) >= PLACES_MAX:
            raise TooLarge(f"is too large: it takes more than {PLACES_MAX} places")
        self._places.append(place)
        return len(self._places) - 1

    def _add(self, node: "Node", then: int) -> int:
        """Adds a part of the pattern that goes on there; answers where it begins."""
        self._added += 1
        if self._added > ADDED_MAX:  # what is empty takes no place, however often it is repeated
            raise TooLarge("is too large")
        match node:
            case Taking(ranges):
                return self._place(Place("take", ranges, (then,)))
            case Asking(kind):
                return self._place(Place(kind, then=(then,)))
            case Sequence(parts):
                for part in reversed(parts):
                    then = self._add(part, then)
                return then
            case Choice(parts):
                return self._place(Place(SPLIT, then=tuple(self._add(part, then) for part in parts)))
            case Repeat(part, least, most):
                return self._repeat(part, least, most, then)

    def _repeat(self, part: "Node", least: int, most: int | None, then: int) -> int:
        if most is None:
            again = self._place(Place(SPLIT))
            self._places[again] = Place(SPLIT, then=(self._add(part, again), then))
            begin = again
        else:
            begin = then
            for _ in range(most - least):
                begin = self._place(Place(SPLIT, then=(self._add(part, begin), then)))
        for _ in range(least):
            begin = self._add(part, begin)
        return begin


# ---- from the text to the tree


class Taking(NamedTuple):
    """One character of these."""

    ranges: Ranges


class Asking(NamedTuple):
    """Whether the text begins or ends here."""

    kind: str


class Sequence(NamedTuple):
    """One after the other."""

    parts: tuple["Node", ...]


class Choice(NamedTuple):
    """One of them."""

    parts: tuple["Node", ...]


class Repeat(NamedTuple):
    """Over and over; `most` is None where there is no bound."""

    part: "Node"
    least: int
    most: int | None


Node = Taking | Asking | Sequence | Choice | Repeat


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def read(self) -> Node:
        tree = self._choice()
        if self._at < len(self._text):
            raise Unreadable(f"has a ) that closes nothing, at character {self._at}")
        return tree

    def _peek(self) -> str:
        return self._text[self._at] if self._at < len(self._text) else ""

    def _take(self) -> str:
        if self._at >= len(self._text):
            raise Unreadable("ends too early")
        self._at += 1
        return self._text[self._at - 1]

    def _has(self, words: str) -> bool:
        """Whether these come next; they are read then."""
        if not self._text.startswith(words, self._at):
            return False
        self._at += len(words)
        return True

    def _choice(self) -> Node:
        parts = [self._sequence()]
        while self._has("|"):
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._repeated(self._atom()))
        return Sequence(tuple(parts))

    def _repeated(self, part: Node) -> Node:
        bounds = self._bounds()
        if bounds is None:
            return part
        if isinstance(part, Asking):
            raise Unreadable("repeats an anchor")
        self._has("?")  # taking less comes to the same, where nobody asks what was taken
        if self._bounds() is not None:
            raise Unreadable("repeats what is repeated: that needs a group")
        return Repeat(part, *bounds)

    def _bounds(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._has(sign):
                return bounds
        if not self._has("{"):
            return None
        least = self._number()
        most: int | None = least
        if self._has(","):
            most = None if self._peek() == "}" else self._number()
        if not self._has("}") or (most is not None and most < least):
            raise Unreadable("has bounds of a repetition that are none: {3}, {3,} or {3,5}")
        return least, most

    def _number(self) -> int:
        begin = self._at
        while self._peek() in "0123456789" and self._peek():
            self._at += 1
        digits = self._text[begin : self._at]
        if not digits or len(digits) > len(str(PLACES_MAX)):
            raise Unreadable("has bounds of a repetition that are none or too large")
        return int(digits)

    def _atom(self) -> Node:
        match sign := self._take():
            case "^":
                return Asking(START)
            case "$":
                return Asking(END)
            case ".":
                return Taking(_others(LINE_ENDS))
            case "(":
                return self._group()
            case "[":
                return Taking(self._set())
            case "\\":
                return Taking(self._escaped())
            case "*" | "+" | "?" | "{" | "}" | "]":
                raise Unreadable(f"has a {sign} that stands for nothing, at character {self._at - 1}")
        return Taking(_only(ord(sign)))

    def _group(self) -> Node:
        if self._has("?") and not self._has(":"):
            raise Unreadable("looks ahead or behind, or names a group, which is not taken here")
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise Unreadable(f"is nested more than {DEPTH_MAX} levels deep")
        inner = self._choice()
        if not self._has(")"):
            raise Unreadable("has a ( that is not closed")
        self._depth -= 1
        return inner

    def _set(self) -> Ranges:
        is_negated = self._has("^")
        found: list[tuple[int, int]] = []
        while not self._has("]"):
            low = self._member()
            if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._take()
                high = self._member()
                if len(low) > 1 or len(high) > 1 or low[0][0] != low[0][1] or high[0][0] < low[0][0]:
                    raise Unreadable("has a range of characters that is none")
                found.append((low[0][0], high[0][1]))
            else:
                found.extend(low)
        return _others(tuple(found)) if is_negated else tuple(found) or ((LAST + 1, LAST + 1),)

    def _member(self) -> Ranges:
        sign = self._take()
        return self._escaped(in_set=True) if sign == "\\" else _only(ord(sign))

    def _escaped(self, *, in_set: bool = False) -> Ranges:
        sign = self._take()
        for name, ranges in (("d", DIGIT), ("w", WORD), ("s", SPACE)):
            if sign in (name, name.upper()):
                return ranges if sign == name else _others(ranges)
        if sign in CONTROLS and not (sign == "0" and self._peek() in tuple("0123456789")):
            return _only(CONTROLS[sign])
        if sign in ("x", "u"):
            return _only(self._hexadecimal(2 if sign == "x" else 4))
        if sign in SPECIAL or (in_set and sign == "-"):
            return _only(ord(sign))
        raise Unreadable(f"has \\{sign}, which is not taken here")

    def _hexadecimal(self, count: int) -> int:
        digits = self._text[self._at : self._at + count]
        self._at += count
        if len(digits) < count or not all(one in "0123456789abcdefABCDEF" for one in digits):
            raise Unreadable(f"has a character by its number without {count} hexadecimal digits")
        return int(digits, 16)


def _only(code: int) -> Ranges:
    return ((code, code),)


def _others(ranges: Ranges) -> Ranges:
    """All characters but these."""
    found: list[tuple[int, int]] = []
    low = 0
    for begin, end in sorted(ranges):
        if begin > low:
            found.append((low, begin - 1))
        low = max(low, end + 1)
    return (*found, (low, LAST)) if low <= LAST else tuple(found)
