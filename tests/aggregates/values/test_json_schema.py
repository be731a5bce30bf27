"""Schemas say what `jsonschema` says, name every fault by its place, and never take more steps than one document may."""

from random import Random
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from aggregates.values.document import Flaw
from aggregates.values.json_schema import SCHEMA_BYTES_MAX, Schema, schema_flaws, schema_of
from aggregates.values.schema_checks import STEPS_MAX

TYPES = ["array", "boolean", "integer", "null", "number", "object", "string"]
ONE = ("items", "additionalProperties", "not")
MANY = ("allOf", "anyOf", "oneOf", "prefixItems")
BY_NAME = ("properties", "patternProperties", "dependentSchemas")
COSTLY = [Flaw("/payload", f"takes more than {STEPS_MAX} steps to check by its schema")]


def value(random: Random, depth: int) -> Any:
    kind = random.random()
    if depth and kind < 0.25:
        return [value(random, depth - 1) for _ in range(random.randrange(4))]
    if depth and kind < 0.6:
        return {random.choice("abc"): value(random, depth - 1) for _ in range(random.randrange(4))}
    return random.choice([0, 1, 1.0, 2, -1, 0.5, 3, True, False, None, "", "a", "ab", "abc", 10])


def flat(random: Random) -> dict[str, Any]:
    """A keyword that holds no schema."""
    bound = random.choice(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"))
    size = random.choice(("minLength", "maxLength", "minItems", "maxItems", "minProperties"))
    return random.choice(
        [
            {"type": random.choice(TYPES)},
            {"type": random.sample(TYPES, 2)},
            {"enum": [value(random, 1) for _ in range(3)]},
            {"const": value(random, 1)},
            {bound: random.choice((0, 1, 1.5))},
            {"multipleOf": random.choice((1, 2, 0.5))},
            {size: random.randrange(3)},
            {"pattern": random.choice(("^a", "b$", "[ab]"))},
            {"required": random.sample("abc", random.randrange(1, 3))},
            {"dependentRequired": {"a": ["b"]}},
            {"uniqueItems": True},
        ]
    )


def keyword(random: Random, depth: int) -> dict[str, Any]:
    """One keyword with a value; those that hold schemas while there is depth left."""
    if not depth or random.random() < 0.45:
        return flat(random)
    name = random.choice((*ONE, *MANY, *BY_NAME, "contains", "propertyNames", "if", "$ref"))
    inner = [schema(random, depth - 1) for _ in range(random.randrange(1, 3))]
    match name:
        case "contains":
            return {name: inner[0], "minContains": random.randrange(3), "maxContains": random.randrange(1, 4)}
        case "propertyNames":
            return {name: {"enum": ["a", "b"]}}
        case "if":
            return {name: inner[0], "then": inner[-1], "else": schema(random, depth - 1)}
        case "$ref":
            return {name: "#/$defs/x"}
    if name in BY_NAME:
        names = ("^[ab]", "c$") if name == "patternProperties" else random.sample("abc", 2)
        return {name: dict(zip(names, inner, strict=False))}
    return {name: inner if name in MANY else inner[0]}


def schema(random: Random, depth: int) -> Any:
    if random.random() < 0.08:
        return random.random() < 0.7
    merged: dict[str, Any] = {}
    for _ in range(random.randrange(1, 4)):
        merged |= keyword(random, depth)
    return merged


@pytest.mark.parametrize("seed", range(3))
def test_it_says_what_jsonschema_says(seed: int) -> None:
    random = Random(seed)
    for _ in range(500):
        asked = {"allOf": [schema(random, 3)], "$defs": {"x": schema(random, 0)}}
        found = value(random, 3)
        mine = schema_of(asked).check(found, "")
        assert bool(mine) != Draft202012Validator(asked).is_valid(found), (seed, asked, found, mine)


def test_every_fault_is_named_by_its_place() -> None:
    asked = {
        "properties": {
            "text": {"type": "string", "minLength": 2},
            "pages": {"items": {"type": "integer"}},
            "a/b": {"const": 1},
            "price": {"multipleOf": 0.1},
        },
        "required": ["language"],
        "additionalProperties": False,
    }
    found = {"text": "x", "pages": [1, "two", 3.5], "a/b": 2, "colour": "red", "price": 0.3}
    assert [(flaw.pointer, flaw.words) for flaw in Schema(asked).check(found, "/payload")] == [
        ("/payload/text", "must have at least 2 characters"),
        ("/payload/pages/1", "must be an integer"),
        ("/payload/pages/2", "must be an integer"),
        ("/payload/a~1b", "must be 1"),
        ("/payload/colour", "is not a known field"),
        ("/payload/language", "is missing"),
    ]


def test_of_several_ways_the_one_is_told_that_was_meant() -> None:
    asked = {"anyOf": [{"type": "null"}, {"type": "object", "required": ["text"]}]}
    assert Schema(asked).check({}, "") == [Flaw("/text", "is missing")]
    assert Schema(asked).check(1, "") == [Flaw("", "fits none of the 2 ways that are taken")]


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ({"type": "strin"}, "/payload/type"),
        ({"requird": []}, "/payload/requird"),
        ({"properties": {"a": 3}}, "/payload/properties/a"),
        ({"properties": {"a": {"pattern": "(?=b)"}}}, "/payload/properties/a/pattern"),
        ({"patternProperties": {"(": {}}}, "/payload/patternProperties/("),
        ({"$ref": "https://example.org/schema"}, "/payload/$ref"),
        ({"$ref": "#/$defs/nothing"}, "/payload/$ref"),
        ({"$id": "https://example.org/"}, "/payload/$id"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "/payload/$schema"),
        ({"items": {"unevaluatedProperties": False}}, "/payload/items/unevaluatedProperties"),
        ({"minLength": -1}, "/payload/minLength"),
        ({"multipleOf": 0}, "/payload/multipleOf"),
        ({"required": "text"}, "/payload/required"),
        ({"anyOf": []}, "/payload/anyOf"),
        ({"properties": []}, "/payload/properties"),
        ({"dependentRequired": {"a": [1]}}, "/payload/dependentRequired"),
        ({"title": 7}, "/payload/title"),
        ({"deprecated": "yes"}, "/payload/deprecated"),
        ({"description": "x" * SCHEMA_BYTES_MAX}, "/payload"),
    ],
)
def test_what_is_wrong_with_a_schema_is_named_by_its_place(asked: dict[str, Any], pointer: str) -> None:
    assert [flaw.pointer for flaw in schema_flaws(asked, "/payload")] == [pointer]


def test_what_is_said_for_readers_alone_is_taken() -> None:
    asked = {
        "title": "Text",
        "format": "date",
        "default": {},
        "examples": [1],
        "x-widget": "area",
        "$comment": "for forms",
    }
    assert schema_flaws(asked, "/payload") == []
    assert Schema(asked).check({"any": "thing"}, "") == []


@pytest.mark.parametrize("pattern", ["a{998}", "(){999}(){999}(){999}", "[a-z]{999}bcd"])
def test_many_patterns_are_no_larger_together_than_they_may_be_and_one_in_force_is_kept(pattern: str) -> None:
    asked = {"allOf": [{"pattern": pattern} for _ in range(400)]}
    found = schema_flaws(asked, "/payload")
    assert found[-1].words == "is too large, together with the patterns before it"
    assert len({flaw.words for flaw in found}) <= 2
    few = {"allOf": [{"pattern": "a{998}"} for _ in range(6)]}
    assert schema_flaws(few, "/payload") == []
    assert Schema({"allOf": [{"pattern": "a{998}"} for _ in range(30)]}).check({}, "") == []


def test_whoever_asks_for_too_much_is_told_so() -> None:
    doubling: dict[str, Any] = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(40)} | {
        "a40": {}
    }
    assert Schema({"$ref": "#/$defs/a0", "$defs": doubling}).check({}, "/payload") == COSTLY
    assert Schema({"$ref": "#"}).check({}, "/payload") == COSTLY
    ways = {"properties": {"a": {"anyOf": [{"enum": ["x" * 100]}] * 500}}}
    assert Schema(ways).check({"a": "a" * 60_000}, "/payload") == COSTLY
    tried = {"properties": {"a": {"pattern": "(a|a|aa)*b$"}}}
    assert Schema(tried).check({"a": "a" * 60_000}, "/payload") == COSTLY
