"""What was decided against what is decided: field by field what differs, in plain values and in words.

The digest of a difference names it in a reviewer's file: it changes with anything that was decided then or is decided now.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any

import msgspec

from runtime.errors import Failure, Refused
from runtime.records import Event

CHANGES_MAX = 200
"""How many fields of one difference are named."""

VALUE_CHARACTERS_MAX = 200

Plain = dict[str, Any]


class Change(msgspec.Struct, frozen=True):
    """A place that differs: its path from the list of events on, what was there and what is there now; left out where there is nothing."""

    path: str
    then: Any = msgspec.UNSET
    now: Any = msgspec.UNSET

    def __str__(self) -> str:
        return f"{self.path}: {short(self.then)} → {short(self.now)}"


def plain(event: Event) -> Plain:
    """An event in plain values, under its kind."""
    return {"event": type(event).__name__, **unpacked(event)}


def unpacked(value: Any) -> Any:
    """What a struct says in plain values, lists in place of tuples."""
    return msgspec.json.decode(msgspec.json.encode(value, order="deterministic"))


def refusal(failure: Exception | None) -> Plain | None:
    """Why nothing is decided now: a refusal with its code, or what else came of it."""
    if failure is None:
        return None
    code = failure.code if isinstance(failure, Refused) else type(failure).__name__
    return {"code": code, "detail": str(failure), "is_refusal": isinstance(failure, Failure)}


def changes(then: Sequence[Plain], now: Sequence[Plain]) -> list[Change]:
    """The places where two lists of events differ."""
    found: list[Change] = []
    for change in _compare("", list(then), list(now)):
        if len(found) == CHANGES_MAX:
            break
        found.append(change)
    return found


def digest(*parts: object) -> str:
    """The sha256 of plain values, in hexadecimal digits."""
    return sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()


def short(value: Any) -> str:
    """A value in one line."""
    if value is msgspec.UNSET:
        return "nothing"
    text = msgspec.json.encode(value, order="deterministic").decode()
    return text if len(text) <= VALUE_CHARACTERS_MAX else f"{text[:VALUE_CHARACTERS_MAX]}… ({len(text)} characters)"


def _compare(path: str, then: Any, now: Any) -> Iterator[Change]:
    if isinstance(then, dict) and isinstance(now, dict):
        for name in sorted({*then, *now}, key=str):
            below = f"{path}.{name}" if path else str(name)
            yield from _compare(below, then.get(name, msgspec.UNSET), now.get(name, msgspec.UNSET))
    elif isinstance(then, list) and isinstance(now, list):
        for index in range(max(len(then), len(now))):
            yield from _compare(f"{path}[{index}]", _at(then, index), _at(now, index))
    elif type(then) is not type(now) or then != now:
        yield Change(path, then, now)


def _at(values: list[Any], index: int) -> Any:
    return values[index] if index < len(values) else msgspec.UNSET
