"""The parameters of queries: each is defined once, and its definition both reads it and describes it in the API document."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from runtime.errors import Refused

T = TypeVar("T")

PAGE_MAX = 500
PAGE_DEFAULT = 100
POSITION_MAX = 2**63 - 1
REASON_CHARACTERS_MAX = 2000
WORDS_CHARACTERS_MAX = 200
MOMENT_CHARACTERS_MAX = 40
TENANT_CHARACTERS_MAX = 31
DIGITS_MAX = 20

ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
LINES = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
"""The same with tabs and ends of lines."""

NAMED_POSITION = {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,30}:[0-9]{1,18}$"}
A_TIME = {"type": "string", "format": "date-time"}


@dataclass(frozen=True)
class Parameter(Generic[T]):
    """A parameter: its JSON schema, how its text is read (raises Refused), and what holds where it is not given."""

    name: str
    meaning: str
    schema: Mapping[str, Any]
    read: Callable[[str], T]
    absent: T
    is_required: bool = False
    is_position: bool = False
    """Whether it is a position of a journal, which may be named before it: `NAME:4711`."""


class Header(NamedTuple):
    """A header that a request may carry, or must, as the API document tells of it."""

    name: str
    meaning: str
    schema: Mapping[str, Any]
    required: bool = False
    is_single: bool = False
    """Whether two of it would leave open which one is meant."""


IF_NONE_MATCH = Header(
    "If-None-Match",
    "The `ETag` of what the caller has: where that still holds, 304 says so and nothing is sent.",
    {"type": "string"},
)
IF_MATCH = Header(
    "If-Match",
    "The `ETag` of what the caller has seen: where anything was recorded of it since, nothing is done (412, `resource_changed`).",
    {"type": "string"},
)


def is_number(text: str) -> bool:
    """Whether a text is a whole number that is not too long to be read."""
    return text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX


def _refused(name: str, must: str) -> Refused:
    return Refused("query_invalid", f"{name} must be {must}", status=422)


def integer(name: str, meaning: str, absent: T, *, least: int = 0, most: int = POSITION_MAX) -> Parameter[int | T]:
    """A whole number within bounds."""

    def read(text: str) -> int:
        if not (is_number(text) and least <= int(text) <= most):
            raise _refused(name, f"an integer from {least} to {most}")
        return int(text)

    schema: dict[str, Any] = {"type": "integer", "minimum": least, "maximum": most}
    return Parameter(name, meaning, schema | ({} if absent is None else {"default": absent}), read, absent)


def number(name: str, meaning: str, absent: float, most: float) -> Parameter[float]:
    """A number from 0 to a bound."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not (text.isascii() and 0 <= value <= most):
            raise _refused(name, f"a number from 0 to {most:g}")
        return value

    schema = {"type": "number", "minimum": 0, "maximum": most, "default": absent}
    return Parameter(name, meaning, schema, read, absent)


def position(name: str, meaning: str, absent: T) -> Parameter[int | T]:
    """A position of the caller's journal."""
    found = integer(name, f"{meaning} It may name its journal, as in `NAME:4711`.", absent)
    plain = {key: value for key, value in found.schema.items() if key != "default"}
    default = {"default": absent} if absent is not None else {}
    return replace(found, schema={"anyOf": [plain, NAMED_POSITION]} | default, is_position=True)


def choice(name: str, meaning: str, choices: type[StrEnum]) -> Parameter[str | None]:
    """One of some words."""

    def read(text: str) -> str:
        if text not in set(choices):
            raise _refused(name, f"one of {', '.join(choices)}")
        return text

    return Parameter(name, meaning, {"type": "string", "enum": list(choices)}, read, None)


def words(
    name: str, meaning: str, absent: T, *, characters_max: int = WORDS_CHARACTERS_MAX, pattern: str = ONE_LINE
) -> Parameter[str | T]:
    """Any text up to a length, without control characters: not all that stores text can hold them."""
    matches = re.compile(pattern).fullmatch

    def read(text: str) -> str:
        if len(text) > characters_max or not matches(text):
            raise _refused(name, f"a text of at most {characters_max} characters, none of which is a control character")
        return text

    schema = {"type": "string", "maxLength": characters_max, "pattern": pattern}
    return Parameter(name, meaning, schema, read, absent)


def kind(meaning: str, must: str, names: Iterable[str]) -> Parameter[str | None]:
    """The kind of records: one of many names, so that neither a refusal nor the API document lists them all."""
    known = frozenset(names)
    text_of = words("kind", meaning, None)

    def read(text: str) -> str:
        if text_of.read(text) not in known:
            raise Refused("kind_unknown", f"kind must be {must}: there is no {text}", status=422)
        return text

    return replace(text_of, read=read)


def flag(name: str, meaning: str) -> Parameter[bool]:
    """Yes or no, and no where it is not given."""

    def read(text: str) -> bool:
        if text not in {"true", "false"}:
            raise _refused(name, "true or false")
        return text == "true"

    return Parameter(name, meaning, {"type": "boolean", "default": False}, read, False)


class AsOf(NamedTuple):
    """A moment of the log: a position, or a time in seconds since the epoch."""

    position: int | None = None
    time: float | None = None


def as_of(text: str, name: str = "as_of") -> AsOf:
    """The moment that a text names. Raises Refused, which says that this is what `name` must be."""
    if is_number(text) and int(text) <= POSITION_MAX:
        return AsOf(position=int(text))
    try:
        if len(text) > MOMENT_CHARACTERS_MAX:
            raise ValueError(text)
        # In a query that nobody has quoted, the plus of a zone is a space.
        time = datetime.fromisoformat(text.replace(" ", "+"))
        if time.tzinfo is None:
            raise ValueError(text)
        return AsOf(time=time.timestamp())
    except (ValueError, OverflowError):
        refused = "a position, or a time with its zone as ISO 8601 has it: 2026-01-31T12:00:00Z"
        raise _refused(name, refused) from None


def moment(name: str, meaning: str) -> Parameter[AsOf | None]:
    """A position of the log, or a time with its zone."""
    a_position = {"type": "integer", "minimum": 0, "maximum": POSITION_MAX}
    schema = {"anyOf": [a_position, NAMED_POSITION, A_TIME], "examples": ["2100-01-31T12:00:00Z"]}
    return Parameter(name, meaning, schema, partial(as_of, name=name), None, is_position=True)


def instant(name: str, meaning: str) -> Parameter[float | None]:
    """A time with its zone, as seconds since the epoch."""

    def read(text: str) -> float:
        try:
            if len(text) > MOMENT_CHARACTERS_MAX:
                raise ValueError(text)
            # In a query that nobody has quoted, the plus of a zone is a space.
            at = datetime.fromisoformat(text.replace(" ", "+"))
            if at.tzinfo is None:
                raise ValueError(text)
            return at.timestamp()
        except (ValueError, OverflowError) as error:
            raise _refused(name, "a time with its zone as ISO 8601 has it: 2026-01-31T12:00:00Z") from error

    schema = A_TIME | {"examples": ["2026-01-31T12:00:00Z"]}
    return Parameter(name, meaning, schema, read, None)


LIMIT = integer("limit", "How many rows the page may have.", PAGE_DEFAULT, least=1, most=PAGE_MAX)
AFTER = position("after", "Where the page goes on: the `next` of the page before.", None)
AFTER_POSITION = position(
    "after_position",
    "Answers as of this position of the log or a later one, and waits until the read models have come to it; one past the log's end is "
    "refused (422, `position_ahead`). Without it, as of now. Who has written reads it back by the `Gavel-Position` of that answer.",
    None,
)
AS_OF = moment(
    "as_of",
    "Answers as it stood at this position of the log, or at this moment (by the time when events were written), as RFC 3339 "
    "writes it. Nothing is waited for then.",
)
REASON = words("reason", "Why; it is recorded.", "", characters_max=REASON_CHARACTERS_MAX, pattern=LINES)

TENANT = words(
    "tenant",
    "For another tenant, new or not; only for admins who look after the node.",
    "",
    characters_max=TENANT_CHARACTERS_MAX,
)

READ = (AFTER_POSITION, AS_OF)
PAGE = (LIMIT, AFTER, AFTER_POSITION, AS_OF)
