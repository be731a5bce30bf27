"""How a page is sorted and where it goes on: by columns that a list allows, and past the row that the page before ended with.

The cursor of a page in its natural order, the newest first, is a position. That of any other order holds what the last row has in the
columns it is sorted by, and the order itself: with another one it would mean nothing, and is refused.
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

import msgspec

from gateway.api.fields import choosing
from gateway.api.queries import AFTER_POSITION, AS_OF, LIMIT, POSITION_MAX, Parameter, is_number
from projections.schema import BY_AGE, Sortable, SortKey
from runtime.errors import Refused

NAME = "sort"
KEYS_MAX = 4
CURSOR_CHARACTERS_MAX = 4_000

Value = str | int | float | None


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """Past which row a page goes on: its order, and what that row has in it; the last is its position."""

    sort: str
    values: tuple[Value, ...]


class Sort(NamedTuple):
    """An order that was asked for, as it was written, and its keys. No keys: the newest first."""

    text: str = ""
    keys: tuple[SortKey, ...] = ()


NATURAL = Sort()

_decoder = msgspec.msgpack.Decoder(Cursor)


def sorting(columns: Mapping[str, Sortable]) -> Parameter[Sort]:
    """`sort`: names out of this list, in order of weight, the larger first where a minus stands before one."""
    names = ", ".join(f"`{name}`" for name in columns)

    def read(text: str) -> Sort:
        parts = text.split(",")
        bare = [part.removeprefix("-") for part in parts]
        if len(parts) > KEYS_MAX or len(set(bare)) < len(bare) or not set(bare) <= set(columns):
            must = f"at most {KEYS_MAX} of {', '.join(columns)}, each once, with a comma between and a minus before what descends"
            raise Refused("query_invalid", f"sort must be {must}", status=422)
        keys = [SortKey(columns[part.removeprefix("-")], part.startswith("-")) for part in parts]
        return Sort(text, tuple(keys))

    one = "|".join(columns)
    pattern = f"^-?({one})(,-?({one})){{0,{KEYS_MAX - 1}}}$"
    meaning = (
        f"By what the rows are sorted, instead of the newest first: {names}; the larger first where a minus stands before it, as in "
        f"`-{next(iter(columns))}`. Rows without a value come last."
    )
    return Parameter(NAME, meaning, {"type": "string", "pattern": pattern}, read, NATURAL)


def _read_cursor(text: str) -> int | Cursor:
    if is_number(text) and int(text) <= POSITION_MAX:
        return int(text)
    try:
        if len(text) > CURSOR_CHARACTERS_MAX:
            raise ValueError(text)
        return _decoder.decode(urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)))
    except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
        raise _no_cursor() from error


def _no_cursor() -> Refused:
    return Refused("query_invalid", "after must be the `next` of a page that was sorted in the same way", status=422)


CURSOR: Parameter[int | Cursor | None] = Parameter(
    "after",
    "Where the page goes on: the `next` of the page before, which must have been sorted in the same way.",
    {"anyOf": [{"type": "integer", "minimum": 0, "maximum": POSITION_MAX}, {"type": "string", "maxLength": 4000}]},
    _read_cursor,
    None,
    is_position=True,
)


def listing(columns: Mapping[str, Sortable], row: type[msgspec.Struct]) -> tuple[Parameter[Any], ...]:
    """What all pages take that are sorted by these columns and made of such rows."""
    return (LIMIT, CURSOR, sorting(columns), choosing(row), AFTER_POSITION, AS_OF)


def past(sort: Sort, cursor: int | Cursor | None) -> tuple[Value, ...] | None:
    """What the row has that the page before ended with; None on a first page. Raises Refused where the cursor is of another order."""
    match cursor:
        case None:
            return None
        case int() if not sort.keys:
            return (cursor,)
        case Cursor() if sort.keys and cursor.sort == sort.text and _fit(sort.keys, cursor.values):
            return cursor.values
    raise _no_cursor()


def _fit(keys: Sequence[SortKey], values: Sequence[Value]) -> bool:
    columns = [*(key.column for key in keys), BY_AGE]
    return len(values) == len(columns) and all(map(Sortable.takes, columns, values))


def cursor_after(sort: Sort, row: Mapping[str, Any]) -> int | str:
    """What the next page has to name, where this row is the last."""
    if not sort.keys:
        position: int = row["first_position"]
        return position
    values = tuple(row[key.column.name] for key in sort.keys)
    packed = msgspec.msgpack.encode(Cursor(sort.text, (*values, row["first_position"])))
    return urlsafe_b64encode(packed).decode().rstrip("=")


def link_to(path: str, query: str, after: int | str) -> str:
    """The `Link` (RFC 8288) to the page after one."""
    others = [(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name != CURSOR.name]
    return f'<{path}?{urlencode([*others, (CURSOR.name, str(after))])}>; rel="next"'
