"""Says in words, and by JSON pointer, everything in which a document differs from its schema."""

import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import msgspec

from aggregates.values.pointers import child
from gateway.api.problems import Fault
from gateway.api.schemas import plain_pattern

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

WORD_BY_TYPE = {
    "array": "a list", "boolean": "true or false", "integer": "an integer", "null": "null", "number": "a number",
    "object": "an object", "string": "a text",
}  # fmt: skip
WORDS_BY_BOUND = {
    "minimum": "must be at least {}", "maximum": "must be at most {}", "exclusiveMinimum": "must be more than {}",
    "exclusiveMaximum": "must be less than {}", "multipleOf": "must be a multiple of {}",
    "minLength": "must have at least {} characters", "maxLength": "must have at most {} characters",
    "minItems": "must have at least {} items", "maxItems": "must have at most {} items",
    "minProperties": "must have at least {} members", "maxProperties": "must have at most {} members",
    "format": "must be a valid {}", "const": "must be {}",
}  # fmt: skip
WORDS_MAX = 200
UNKNOWN_FIELD = "is not a known field"

SCHEMAS = "jsonschema"
SLOW = "rfc3987_syntax"
"""What checks the syntax of IRIs takes seconds to import where it is installed, and no schema here names such a format."""


def schema_faults(document: Any, schema: Mapping[str, Any], elsewhere: Mapping[str, str]) -> Iterator[Fault]:
    """All faults; `elsewhere` names the fields that somebody else sets, and who."""
    try:
        for error in _validator(msgspec.json.encode(schema)).iter_errors(document):
            yield from _say(error, "", elsewhere)
    except RecursionError:
        yield Fault(pointer="", detail="is nested too deeply")


def load() -> None:
    """Imports what tells faults, so that the first of them does not hold up whatever else the process does."""
    if SCHEMAS in sys.modules:
        return
    sys.modules.setdefault(SLOW, cast(Any, None))
    try:
        import_module(SCHEMAS)
    finally:
        if sys.modules[SLOW] is None:
            del sys.modules[SLOW]


@lru_cache(maxsize=256)
def _validator(schema: bytes) -> "Draft202012Validator":
    load()  # with the first fault, where nobody has done it before: each command would wait for it
    from jsonschema import Draft202012Validator

    return Draft202012Validator(msgspec.json.decode(schema), format_checker=Draft202012Validator.FORMAT_CHECKER)


def _say(error: "ValidationError", base: str, elsewhere: Mapping[str, str]) -> Iterator[Fault]:
    pointer = base
    for step in error.relative_path:
        pointer = child(pointer, step)
    found, wanted, schema = cast(Any, error.instance), cast(Any, error.validator_value), cast(Any, error.schema)
    match error.validator:
        case "required":
            for name in wanted:
                if name not in found:
                    yield Fault(pointer=child(pointer, name), detail="is missing")
        case "additionalProperties":
            for name in sorted(found.keys() - schema["properties"].keys(), key=str):
                setter = elsewhere.get(name) if not pointer else None
                detail = f"is set by {setter}" if setter else UNKNOWN_FIELD
                yield Fault(pointer=child(pointer, name), detail=detail)
        case _ if (
            "propertyNames" in error.relative_schema_path
        ):  # of which the path tells where they stand, not which it is
            yield Fault(pointer=child(pointer, found), detail="is not a name that is taken here")
        case "anyOf":
            yield from _say_union(error, pointer, elsewhere)
        case "type":
            yield Fault(pointer=pointer, detail=f"must be {_type_words(wanted)}, not {_type_of(found)}")
        case "enum":
            yield Fault(pointer=pointer, detail=_cut("must be one of " + ", ".join(map(_show, wanted))))
        case "pattern":
            yield Fault(pointer=pointer, detail=_cut(f"must match {plain_pattern(wanted)}"))
        case bound if bound in WORDS_BY_BOUND:
            yield Fault(pointer=pointer, detail=_cut(WORDS_BY_BOUND[bound].format(wanted)))
        case _:
            yield Fault(pointer=pointer, detail=_cut(error.message))


def _say_union(error: "ValidationError", pointer: str, elsewhere: Mapping[str, str]) -> Iterator[Fault]:
    """The faults of the branch that was meant: the one with the right tag, or the first whose type fits."""
    union = cast(Mapping[str, Any], error.schema)
    branches: dict[int, list[ValidationError]] = {}
    for inner in error.context or ():
        branches.setdefault(int(inner.relative_schema_path[0]), []).append(inner)
    meant = [errors for errors in branches.values() if not any(_is_misfit(inner, union) for inner in errors)]
    if meant:
        for inner in meant[0]:
            yield from _say(inner, pointer, elsewhere)
        return
    tag = union.get("discriminator")
    if tag and isinstance(error.instance, dict):
        names = ", ".join(map(_show, tag["mapping"]))
        yield Fault(pointer=child(pointer, tag["propertyName"]), detail=_cut(f"must be one of {names}"))
        return
    wanted = {inner.validator_value for errors in branches.values() for inner in errors if inner.validator == "type"}
    words = " or ".join(_type_words(name) for name in sorted(wanted, key=str)) or "another value"
    yield Fault(pointer=pointer, detail=f"must be {words}, not {_type_of(error.instance)}")


def _is_misfit(inner: "ValidationError", union: Mapping[str, Any]) -> bool:
    """Whether the error says that this branch of the union was not meant at all."""
    tag = union.get("discriminator", {}).get("propertyName")
    if inner.relative_path:
        return list(inner.relative_path) == [tag]
    if inner.validator == "required" and tag is not None:
        return tag not in cast(Any, inner.instance)
    return inner.validator == "type"


def _type_words(wanted: Any) -> str:
    names = wanted if isinstance(wanted, list) else [wanted]
    return " or ".join(WORD_BY_TYPE.get(name, str(name)) for name in names)


def _type_of(found: Any) -> str:
    match found:
        case bool():
            return "true" if found else "false"
        case None:
            return "null"
        case str():
            return "a text"
        case int():
            return "an integer"
        case float():
            return "a number with a fraction" if found % 1 else "a number"
        case list():
            return "a list"
        case dict():
            return "an object"
    return "bytes"


def _show(value: Any) -> str:
    return json_text if (json_text := msgspec.json.encode(value).decode()) else ""


def _cut(words: str) -> str:
    return words if len(words) <= WORDS_MAX else words[: WORDS_MAX - 1] + "…"
