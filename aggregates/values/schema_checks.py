"""What the keywords of a JSON schema ask of a value, each as a check of its own; every check says what its steps cost before it takes them.

The words of a flaw come from the schema alone: what the value is may be somebody's personal data.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from aggregates.values.document import Flaw, encoded
from aggregates.values.patterns import Pattern
from aggregates.values.pointers import child

STEPS_MAX = 50_000
"""How many steps one document may take, of about a microsecond: as long as the loop may be held up."""
DEPTH_MAX = 100
"""How deep schemas may be applied within each other: one that refers to itself goes on for ever."""
WORDS_MAX = 200
BYTES_A_STEP = 32

TYPES: Mapping[str, Callable[[Any], bool]] = {
    "array": lambda value: isinstance(value, (list, tuple)),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: is_number(value) and (isinstance(value, int) or value.is_integer()),
    "null": lambda value: value is None,
    "number": lambda value: is_number(value),
    "object": lambda value: isinstance(value, dict),
    "string": lambda value: isinstance(value, str),
}
TYPE_WORDS = {
    "array": "a list", "boolean": "true or false", "integer": "an integer", "null": "null", "number": "a number",
    "object": "an object", "string": "a text",
}  # fmt: skip


class TooCostly(Exception):
    """To check a document takes more steps than one may."""


class Run:
    """The checking of one document: how many steps are left, and how deep it is."""

    def __init__(self) -> None:
        self.left = STEPS_MAX
        self.depth = 0

    def spend(self, steps: int) -> None:
        """Raises `TooCostly`."""
        self.left -= steps
        if self.left < 0:
            raise TooCostly


Check = Callable[[Any, str, Run], Iterable[Flaw]]


class Part:
    """A schema, or one within another: the checks that it asks for. A part that is `never` met takes nothing."""

    def __init__(self, pointer: str) -> None:
        self.pointer = pointer
        self.checks: list[Check] = []
        self.is_never = False

    def flaws(self, value: Any, pointer: str, run: Run) -> list[Flaw]:
        """All in which the value, which stands there, does not fit. Raises `TooCostly`."""
        run.spend(1 + len(self.checks))
        if self.is_never:
            return [Flaw(pointer, "must not be here")]
        run.depth += 1
        if run.depth > DEPTH_MAX:
            raise TooCostly
        found = [flaw for check in self.checks for flaw in check(value, pointer, run)]
        run.depth -= 1
        return found

    def fits(self, value: Any, run: Run) -> bool:
        """Whether the value fits. Raises `TooCostly`."""
        return not self.flaws(value, "", run)


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def canonical(value: Any) -> bytes:
    """The same bytes for what JSON Schema calls equal: 1 and 1.0 are."""
    return encoded(_plain(value))


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {name: _plain(one) for name, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
        case float() if value.is_integer() and abs(value) < 2**63:
            return int(value)
    return value


def cut(words: str) -> str:
    return words if len(words) <= WORDS_MAX else words[: WORDS_MAX - 1] + "…"


def _if(applies: Callable[[Any], bool], holds: Callable[[Any, Run], bool], words: str) -> Check:
    """A check of those values to which it applies."""

    def check(value: Any, pointer: str, run: Run) -> Iterable[Flaw]:
        return () if not applies(value) or holds(value, run) else (Flaw(pointer, words),)

    return check


# ---- any value


def of_type(names: Sequence[str]) -> Check:
    tests = [TYPES[name] for name in names]
    words = "must be " + " or ".join(TYPE_WORDS[name] for name in names)
    return _if(lambda _: True, lambda value, _: any(test(value) for test in tests), words)


def one_of(values: Sequence[Any], words: str) -> Check:
    known = {canonical(value) for value in values}

    def holds(value: Any, run: Run) -> bool:
        written = canonical(value)
        run.spend(len(written) // BYTES_A_STEP)
        return written in known

    return _if(lambda _: True, holds, cut(words))


# ---- numbers, texts


def number(name: str, bound: Any) -> Check:
    holds: Callable[[Any], bool]
    match name:
        case "minimum":
            holds, words = lambda value: value >= bound, f"must be at least {bound}"
        case "maximum":
            holds, words = lambda value: value <= bound, f"must be at most {bound}"
        case "exclusiveMinimum":
            holds, words = lambda value: value > bound, f"must be more than {bound}"
        case "exclusiveMaximum":
            holds, words = lambda value: value < bound, f"must be less than {bound}"
        case _:
            # By what is written: to a float, 0.3 is no multiple of 0.1.
            unit = Fraction(repr(bound))
            holds, words = lambda value: not Fraction(repr(value)) % unit, f"must be a multiple of {bound}"
    return _if(is_number, lambda value, _: holds(value), words)


KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "Length": ((str,), "characters"),
    "Items": ((list, tuple), "items"),
    "Properties": ((dict,), "members"),
}


def length(name: str, bound: int) -> Check:
    kinds, what = KINDS[name[3:]]
    if name.startswith("min"):
        holds, words = (lambda value, _: len(value) >= bound), f"must have at least {bound} {what}"
    else:
        holds, words = (lambda value, _: len(value) <= bound), f"must have at most {bound} {what}"
    return _if(lambda value: isinstance(value, kinds), holds, words)


def matching(pattern: Pattern) -> Check:
    return _if(
        lambda value: isinstance(value, str),
        lambda value, run: pattern.matches(value, run.spend),
        cut(f"must match {pattern.text}"),
    )


# ---- lists


def items(first: Sequence[Part], others: Part | None) -> Check:
    def check(value: Any, pointer: str, run: Run) -> Iterable[Flaw]:
        if not isinstance(value, (list, tuple)):
            return
        for index, item in enumerate(value):
            part = first[index] if index < len(first) else others
            if part is not None:
                yield from part.flaws(item, child(pointer, index), run)

    return check


def unique(value: Any, pointer: str, run: Run) -> Iterable[Flaw]:
    if isinstance(value, (list, tuple)):
        seen: set[bytes] = set()
        for item in value:
            written = canonical(item)
            run.spend(1 + len(written) // BYTES_A_STEP)
            if written in seen:
                yield Flaw(pointer, "must not have an item twice")
                return
            seen.add(written)


def containing(part: Part, least: int, most: int | None) -> Check:
    def check(value: Any, pointer: str, run: Run) -> Iterable[Flaw]:
        if not isinstance(value, (list, tuple)):
            return
        count = sum(part.fits(item, run) for item in value)
        if count < least:
            yield Flaw(pointer, f"must have at least {least} of the items that are asked for")
        if most is not None and count > most:
            yield Flaw(pointer, f"must have at most {most} of the items that are asked for")

    return check


# ---- objects


def members(properties: Mapping[str, Part], patterns: Sequence[tuple[Pattern, Part]], others: Part | None) -> Check:
    def check(value: Any, pointer: str, run: Run) -> Iterable[Flaw]:
        if not isinstance(value, dict):
            return
        for name, member in value.items():
            run.spend(1)
            parts = [properties[name]] if name in properties else []
            parts += [part for pattern, part in patterns if pattern.matches(name, run.spend)]
            if not parts and others is not None:
                if others.is_never:
                    yield Flaw(child(pointer, name), "is not a known field")
                    continue
                parts = [others]
            for part in parts:
                yield from part.flaws(member, child(pointer, name), run)

    return check


def required(names: Sequence[str]) -> Check:
    def check(value: Any, pointer: str, run: Run) -> Iterable[Flaw]:
        run.spend(len(names))
        if isinstance(value, dict):
            yield from (Flaw(child(pointer, name), "is missing") for name in names if name not in value)

    return check


def required_with(names_by_member: Mapping[str, Sequence[str]]) -> Check:
    def check(value: Any, pointer: str, run: Run) -> Iterable[Flaw]:
        run.spend(sum(map(len, names_by_member.values())))
        if not isinstance(value, dict):
            return
        for member, names in names_by_member.items():
            for name in names:
                if member in value and name not in value:
                    yield Flaw(child(pointer, name), cut(f"is missing, where {member} is given"))

    return check


def fitting_with(part_by_member: Mapping[str, Part]) -> Check:
    def check(value: Any, pointer: str, run: Run) -> Iterable[Flaw]:
        if isinstance(value, dict):
            for member, part in part_by_member.items():
                if member in value:
                    yield from part.flaws(value, pointer, run)

    return check


def named(part: Part) -> Check:
    def check(value: Any, pointer: str, run: Run) -> Iterable[Flaw]:
        if isinstance(value, dict):
            for name in value:
                if not part.fits(name, run):
                    yield Flaw(child(pointer, name), "must not be called so")

    return check


# ---- schemas together


def all_of(parts: Sequence[Part]) -> Check:
    def check(value: Any, pointer: str, run: Run) -> Iterable[Flaw]:
        for part in parts:
            yield from part.flaws(value, pointer, run)

    return check


def any_of(parts: Sequence[Part]) -> Check:
    def check(value: Any, pointer: str, run: Run) -> Iterable[Flaw]:
        found: list[list[Flaw]] = []
        for part in parts:
            flaws = part.flaws(value, pointer, run)
            if not flaws:
                return []
            found.append(flaws)
        return _meant(found, pointer)

    return check


def exactly_one_of(parts: Sequence[Part]) -> Check:
    def check(value: Any, pointer: str, run: Run) -> Iterable[Flaw]:
        found = [part.flaws(value, pointer, run) for part in parts]
        fitting = sum(not flaws for flaws in found)
        if fitting == 1:
            return []
        return (
            _meant(found, pointer) if not fitting else [Flaw(pointer, f"must fit one of the ways alone, not {fitting}")]
        )

    return check


def _meant(found: Sequence[list[Flaw]], pointer: str) -> list[Flaw]:
    """The flaws of the way that was meant: the first with which nothing is wrong as a whole."""
    for flaws in found:
        if all(flaw.pointer != pointer for flaw in flaws):
            return flaws
    return found[0] if len(found) == 1 else [Flaw(pointer, f"fits none of the {len(found)} ways that are taken")]


def not_fitting(part: Part) -> Check:
    return _if(lambda _: True, lambda value, run: not part.fits(value, run), "must not be like this")


def depending(condition: Part, then: Part | None, otherwise: Part | None) -> Check:
    def check(value: Any, pointer: str, run: Run) -> Iterable[Flaw]:
        part = then if condition.fits(value, run) else otherwise
        return part.flaws(value, pointer, run) if part is not None else ()

    return check
