"""Field selection: `fields=a,b` answers with these fields of a row alone, and reads no others where they are columns of a table."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec

from gateway.api.queries import Parameter
from runtime.errors import Refused

NAME = "fields"

FIELDS_CHARACTERS_MAX = 2_000

Chosen = frozenset[str]


@cache
def choosing(row: type[msgspec.Struct]) -> Parameter[Chosen | None]:
    """`fields` of this row."""
    names = [field.encode_name for field in msgspec.structs.fields(row)]

    def read(text: str) -> Chosen:
        wanted = text.split(",") if len(text) <= FIELDS_CHARACTERS_MAX else [text[:40] + "…"]
        unknown = sorted(set(wanted) - set(names))
        if unknown:
            told = ", ".join(f'"{name}"' for name in unknown)
            must = f"names of fields with commas between; there is no {told} among {', '.join(names)}"
            raise Refused("query_invalid", f"fields must be {must}", status=422)
        return frozenset(wanted)

    one = "|".join(names)
    pattern = f"^({one})(,({one}))*$"
    examples = [",".join(names[1:3])]
    schema = {"type": "string", "maxLength": FIELDS_CHARACTERS_MAX, "pattern": pattern, "examples": examples}
    meaning = "Answers with these fields alone, named with commas between; any that the answer has by itself."
    return Parameter(NAME, meaning, schema, read, None)


@cache
def some_of(row: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The row with any of its fields left out, as the API document describes what `fields` answers with."""
    fields = [
        (field.name, field.type | msgspec.UnsetType, msgspec.field(name=field.encode_name, default=msgspec.UNSET))
        for field in msgspec.structs.fields(row)
    ]
    return msgspec.defstruct(
        f"SomeOf{row.__name__}",
        fields,
        namespace={"__doc__": f"Those fields of a {row.__name__} that were asked for."},
        module=row.__module__,
        frozen=True,
        kw_only=True,
    )


def some_page(page: type[msgspec.Struct], name: str, row: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """A page of such rows."""
    return msgspec.defstruct(
        f"SomeOf{page.__name__}",
        [(name, list[some_of(row)]), ("next", int | str | None)],  # type: ignore[misc]
        namespace={"__doc__": f"A {page.__name__} with those fields of each row that were asked for."},
        module=page.__module__,
        frozen=True,
    )


def picked(row: Mapping[str, Any], chosen: Chosen | None) -> Mapping[str, Any]:
    """The row, or of it what was asked for."""
    return row if chosen is None else {name: value for name, value in row.items() if name in chosen}


def all_picked(rows: Sequence[Mapping[str, Any]], chosen: Chosen | None) -> Sequence[Mapping[str, Any]]:
    return rows if chosen is None else [picked(row, chosen) for row in rows]
