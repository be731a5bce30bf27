"""Faults: what differs from a schema is said where it is, in words, and once."""

import subprocess
import sys
from typing import Any

import pytest

from aggregates.values.pointers import child
from gateway.api.faults import WORDS_MAX, schema_faults

LOADED = """
import sys
from gateway.api.faults import SLOW, load, schema_faults
load()
print(*sorted({"jsonschema", SLOW} & sys.modules.keys()))
print([fault["detail"] for fault in schema_faults(1, {"type": "string", "format": "iri"}, {})])
"""


def say(document: Any, schema: dict[str, Any]) -> list[tuple[str, str]]:
    return [(fault["pointer"], fault["detail"]) for fault in schema_faults(document, schema, {"mine": "the house"})]


@pytest.mark.parametrize(
    ("document", "schema", "words"),
    [
        (1, {"minimum": 2}, "must be at least 2"),
        (3, {"maximum": 2}, "must be at most 2"),
        (2, {"exclusiveMinimum": 2}, "must be more than 2"),
        (2, {"exclusiveMaximum": 2}, "must be less than 2"),
        ("", {"minLength": 1}, "must have at least 1 characters"),
        ([1, 2], {"maxItems": 1}, "must have at most 1 items"),
        ("b", {"pattern": "^a"}, "must match ^a"),
        ("c", {"enum": ["a", "b"]}, 'must be one of "a", "b"'),
        (True, {"type": "integer"}, "must be an integer, not true"),
        (1.5, {"type": "integer"}, "must be an integer, not a number with a fraction"),
        (None, {"type": ["string", "number"]}, "must be a text or a number, not null"),
        ([], {"anyOf": [{"type": "string"}, {"type": "null"}]}, "must be null or a text, not a list"),
        ([], {"type": "object"}, "must be an object, not a list"),
    ],
)
def test_each_kind_of_fault_has_its_words(document: Any, schema: dict[str, Any], words: str) -> None:
    assert say(document, schema) == [("", words)]


def test_union_tells_the_faults_of_the_branch_that_was_meant() -> None:
    numbers = {"type": "array", "items": {"type": "integer"}}
    schema = {"anyOf": [{"type": "string"}, numbers]}
    assert say([1, "x", None], schema) == [
        ("/1", "must be an integer, not a text"),
        ("/2", "must be an integer, not null"),
    ]


def test_field_that_somebody_else_sets_is_named_only_at_the_top() -> None:
    closed = {"type": "object", "properties": {}, "additionalProperties": False}
    assert say({"mine": 1, "x": 2}, closed) == [("/mine", "is set by the house"), ("/x", "is not a known field")]
    inner = {"type": "object", "properties": {"in": closed}}
    assert say({"in": {"mine": 1}}, inner) == [("/in/mine", "is not a known field")]


def test_words_are_bounded() -> None:
    (_, words) = say("x", {"enum": ["long" * 100]})[0]
    assert len(words) == WORDS_MAX


def test_steps_of_a_pointer_are_escaped() -> None:
    assert child(child("", "a/b"), "c~d") == "/a~1b/c~0d"
    assert child("/list", 3) == "/list/3"


def test_what_tells_faults_is_loaded_without_what_is_slow_and_not_used() -> None:
    ran = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["jsonschema", "['must be a text, not an integer']"]
