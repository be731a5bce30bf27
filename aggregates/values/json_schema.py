"""JSON schemas (draft 2020-12) that tenants write, checked within a bound: the same document and schema give the same answer anywhere.

What is taken is what can be bounded and read at once: references lead within the schema alone, patterns are matched in linear time
(`patterns`), and a document may take so many steps (`schema_checks.STEPS_MAX`); whoever asks for more is told so. A keyword that is none is
a mistake in writing, unless it begins with `x-`. `format` is told to those who read the schema, and not checked, as the draft has it.

Why none of the libraries: `jsonschema` matches patterns by `re`, which holds the whole process while it tries, so that neither a thread nor
a deadline bounds it; it is the judge in the tests.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from aggregates.values import schema_checks as checks
from aggregates.values.document import Document, Flaw, encoded, faults
from aggregates.values.patterns import PLACES_MAX, Pattern, TooLarge, Unreadable
from aggregates.values.pointers import child
from aggregates.values.schema_checks import Check, Part, Run, TooCostly

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCHEMA_BYTES_MAX = 16 * 1024
FLAWS_MAX = 100
"""How many flaws are told of one document."""
SCHEMAS_KEPT_MAX = 256
PATTERNS_SIZE_MAX = 20_000
"""What the patterns of a schema may take together to be made, some 20 ms: 16 KiB hold a thousand that are as large as one may be."""

NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
LENGTHS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
COUNTS = (*LENGTHS, "minContains", "maxContains")
WORDS = ("title", "description", "$comment", "format", "contentEncoding", "contentMediaType")
MARKS = ("deprecated", "readOnly", "writeOnly", "uniqueItems")
ONE = ("items", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else", "contentSchema")
MANY = ("allOf", "anyOf", "oneOf", "prefixItems")
BY_NAME = ("properties", "patternProperties", "dependentSchemas", "$defs")
OTHERS = ("type", "enum", "const", "pattern", "required", "dependentRequired", "$ref", "$schema", "default", "examples")
TAKEN = frozenset({*NUMBERS, *COUNTS, *WORDS, *MARKS, *ONE, *MANY, *BY_NAME, *OTHERS})
NOT_TAKEN = frozenset(
    {"$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$vocabulary", "unevaluatedItems", "unevaluatedProperties"}
)
"""What the draft has and is not taken here: what leads out of the schema, and what depends on how others were met."""


class Schema:
    """A schema that documents can be held against; `flaws` has what is wrong with the schema itself, by pointers into it."""

    def __init__(self, document: Document, patterns_size_max: float = math.inf) -> None:
        """The patterns of one that is in force may be of any size together: it was set when no bound was kept, or within it."""
        builder = _Builder(patterns_size_max)
        self._whole = builder.part(document, "")
        builder.lead()
        self.flaws = builder.flaws

    def check(self, document: Any, pointer: str) -> list[Flaw]:
        """All in which the document, which stands there, does not fit."""
        assert not self.flaws, "a schema that is none"
        try:
            return self._whole.flaws(document, pointer, Run())[:FLAWS_MAX]
        except TooCostly:
            return [Flaw(pointer, f"takes more than {checks.STEPS_MAX} steps to check by its schema")]


def schema_flaws(document: Document, pointer: str) -> list[Flaw]:
    """All that is wrong with a schema, which stands there."""
    if found := faults(pointer[1:], document):
        return found
    if (size := len(encoded(document))) > SCHEMA_BYTES_MAX:
        return [Flaw(pointer, f"takes {size} bytes; {SCHEMA_BYTES_MAX} is the most")]
    return [Flaw(pointer + flaw.pointer, flaw.words) for flaw in Schema(document, PATTERNS_SIZE_MAX).flaws[:FLAWS_MAX]]


def schema_of(document: Document) -> Schema:
    """The schema that a good document is; those that were asked for lately are kept."""
    return _kept(encoded(document))


@lru_cache(SCHEMAS_KEPT_MAX)
def _kept(written: bytes) -> Schema:
    return Schema(msgspec.msgpack.decode(written))


class _Builder:
    """Reads a schema: makes its parts, and notes what is wrong."""

    def __init__(self, patterns_size_max: float) -> None:
        self.flaws: list[Flaw] = []
        self._size_left = patterns_size_max
        self._parts: dict[str, Part] = {}
        self._references: list[tuple[str, str, list[Part]]] = []

    def part(self, schema: Any, at: str) -> Part:
        """The schema that stands there, and all within it."""
        part = self._parts[at] = Part(at)
        if isinstance(schema, bool):
            part.is_never = not schema
        elif not isinstance(schema, dict):
            self._flaw(at, "must be a schema: an object, true or false")
        else:
            self._unknown(schema, at)
            inner = _Inner(self, schema, at)
            part.checks = list(self._checks(schema, at, inner))
        return part

    def lead(self) -> None:
        """Leads the references to the parts that they name, once all are known."""
        for at, name, target in self._references:
            found = self._parts.get(name.removeprefix("#"))
            if found is None:
                self._flaw(at, "must lead to a schema within this one, as #/$defs/name")
            else:
                target.append(found)

    def _flaw(self, at: str, words: str) -> None:
        self.flaws.append(Flaw(at, words))

    def _unknown(self, schema: Mapping[str, Any], at: str) -> None:
        for name in schema:
            if name in NOT_TAKEN:
                self._flaw(child(at, name), "is not taken here")
            elif name not in TAKEN and not name.startswith("x-"):
                self._flaw(child(at, name), "is no keyword of JSON Schema 2020-12; one of your own begins with x-")

    def _is(self, schema: Mapping[str, Any], at: str, name: str, holds: Callable[[Any], bool], words: str) -> bool:
        """Whether a keyword is there and has a value that it may have."""
        if name not in schema:
            return False
        if holds(schema[name]):
            return True
        self._flaw(child(at, name), f"must be {words}")
        return False

    def _checks(self, schema: Mapping[str, Any], at: str, inner: "_Inner") -> Iterable[Check]:
        yield from self._of_any_value(schema, at)
        yield from self._of_sizes(schema, at)
        yield from self._of_lists(schema, inner)
        yield from self._of_objects(schema, at, inner)
        yield from self._together(inner)

    def _of_any_value(self, schema: Mapping[str, Any], at: str) -> Iterable[Check]:
        for name in WORDS:
            self._is(schema, at, name, lambda value: isinstance(value, str), "a text")
        for name in MARKS:
            self._is(schema, at, name, lambda value: isinstance(value, bool), "true or false")
        self._is(schema, at, "examples", lambda value: isinstance(value, list), "a list")
        self._is(schema, at, "$schema", lambda value: value in (DIALECT, DIALECT + "#"), DIALECT)
        if self._is(
            schema, at, "$ref", lambda value: isinstance(value, str) and value[:1] == "#", "a reference within"
        ):
            target: list[Part] = []
            self._references.append((child(at, "$ref"), schema["$ref"], target))
            yield checks.all_of(target)
        types = " or a list of ".join([", ".join(checks.TYPES), "them"])
        if self._is(schema, at, "type", _are_types, f"one of {types}"):
            yield checks.of_type([schema["type"]] if isinstance(schema["type"], str) else schema["type"])
        if self._is(schema, at, "enum", lambda value: isinstance(value, list) and bool(value), "a list of values"):
            yield checks.one_of(schema["enum"], "must be one of " + ", ".join(map(_json, schema["enum"])))
        if "const" in schema:
            yield checks.one_of([schema["const"]], f"must be {_json(schema['const'])}")

    def _of_sizes(self, schema: Mapping[str, Any], at: str) -> Iterable[Check]:
        for name in NUMBERS:
            positive = name == "multipleOf"
            words = "a number above 0" if positive else "a number"
            if self._is(schema, at, name, lambda v, p=positive: checks.is_number(v) and (not p or v > 0), words):  # type: ignore[misc]
                yield checks.number(name, schema[name])
        for name in COUNTS:
            if self._is(schema, at, name, _is_count, "a whole number from 0") and name in LENGTHS:
                yield checks.length(name, int(schema[name]))
        if self._is(schema, at, "pattern", lambda value: isinstance(value, str), "a text"):
            pattern = self._pattern(schema["pattern"], child(at, "pattern"))
            if pattern is not None:
                yield checks.matching(pattern)

    def _pattern(self, text: str, at: str) -> Pattern | None:
        if self._size_left < 0:
            self._flaw(at, "is too large, together with the patterns before it")
            return None
        try:
            pattern = Pattern(text)
        except Unreadable as unreadable:
            self._size_left -= PLACES_MAX if isinstance(unreadable, TooLarge) else 0
            self._flaw(at, str(unreadable))
            return None
        self._size_left -= pattern.size
        return pattern

    def _of_lists(self, schema: Mapping[str, Any], inner: "_Inner") -> Iterable[Check]:
        first, others = inner.many("prefixItems"), inner.one("items")
        if first or others is not None:
            yield checks.items(first, others)
        if schema.get("uniqueItems") is True:
            yield checks.unique
        if (part := inner.one("contains")) is not None:
            least, most = (schema.get(name) for name in ("minContains", "maxContains"))
            yield checks.containing(part, _count(least, 1) or 0, _count(most, None))

    def _of_objects(self, schema: Mapping[str, Any], at: str, inner: "_Inner") -> Iterable[Check]:
        properties, others = inner.by_name("properties"), inner.one("additionalProperties")
        at_patterns = child(at, "patternProperties")
        found = [
            (self._pattern(text, child(at_patterns, text)), part)
            for text, part in inner.by_name("patternProperties").items()
        ]
        patterns = [(pattern, part) for pattern, part in found if pattern is not None]
        if properties or patterns or others is not None:
            yield checks.members(properties, patterns, others)
        if self._is(schema, at, "required", _are_names, "a list of names"):
            yield checks.required(schema["required"])
        if self._is(schema, at, "dependentRequired", _are_names_by_name, "lists of names by name"):
            yield checks.required_with(schema["dependentRequired"])
        if parts := inner.by_name("dependentSchemas"):
            yield checks.fitting_with(parts)
        if (names := inner.one("propertyNames")) is not None:
            yield checks.named(names)

    def _together(self, inner: "_Inner") -> Iterable[Check]:
        inner.by_name("$defs")
        inner.one("contentSchema")
        for name, make in (("allOf", checks.all_of), ("anyOf", checks.any_of), ("oneOf", checks.exactly_one_of)):
            if parts := inner.many(name):
                yield make(parts)
        if (part := inner.one("not")) is not None:
            yield checks.not_fitting(part)
        condition, then, otherwise = inner.one("if"), inner.one("then"), inner.one("else")
        if condition is not None:
            yield checks.depending(condition, then, otherwise)


class _Inner:
    """The schemas that stand within one."""

    def __init__(self, builder: _Builder, schema: Mapping[str, Any], at: str) -> None:
        self._builder, self._schema, self._at = builder, schema, at

    def one(self, name: str) -> Part | None:
        return self._builder.part(self._schema[name], child(self._at, name)) if name in self._schema else None

    def many(self, name: str) -> list[Part]:
        at, build = child(self._at, name), self._builder
        if not build._is(self._schema, self._at, name, lambda v: isinstance(v, list) and bool(v), "a list of schemas"):
            return []
        return [build.part(one, child(at, index)) for index, one in enumerate(self._schema[name])]

    def by_name(self, name: str) -> dict[str, Part]:
        at, build = child(self._at, name), self._builder
        if not build._is(self._schema, self._at, name, lambda v: isinstance(v, dict), "an object of schemas"):
            return {}
        return {key: build.part(one, child(at, key)) for key, one in self._schema[name].items()}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _are_types(value: Any) -> bool:
    names = [value] if isinstance(value, str) else value
    return (
        isinstance(names, list) and bool(names) and all(isinstance(one, str) and one in checks.TYPES for one in names)
    )


def _is_count(value: Any) -> bool:
    return checks.is_number(value) and value >= 0 and float(value).is_integer()


def _count(value: Any, absent: int | None) -> int | None:
    return int(value) if _is_count(value) else absent


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _are_names_by_name(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_are_names, value.values()))
