"""Free JSON objects inside commands: what they may hold, and how long they may be."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from aggregates.values.pointers import child

DOCUMENT_BYTES_MAX = 64 * 1024
DOCUMENT_DEPTH_MAX = 32
SMALL = 2**53
"""A number below it, which is finite, fits everywhere."""

Document = dict[str, Any]
"""A JSON object. Its keys are written in sorted order, so that equal documents have equal bytes."""

_encoder = msgspec.msgpack.Encoder(order="deterministic")


class Flaw(NamedTuple):
    """What is wrong at a place of a document."""

    pointer: str
    words: str

    def __str__(self) -> str:
        return f"{self.pointer[1:]} {self.words}"


def faults(name: str, document: Document) -> list[Flaw]:
    """What keeps `document` from being recorded; `name` says which field it is."""
    if not document:
        return []
    found = _fault(document, f"/{name}", 1)
    if found is not None:
        return [found]
    size = len(_encoder.encode(document))
    if size > DOCUMENT_BYTES_MAX:
        return [Flaw(f"/{name}", f"takes {size} bytes; {DOCUMENT_BYTES_MAX} is the most")]
    return []


def encoded(document: object) -> bytes:
    """The same bytes for equal documents, whatever the order of their keys."""
    return _encoder.encode(document)


def _fault(value: object, pointer: str, depth: int) -> Flaw | None:
    if depth > DOCUMENT_DEPTH_MAX:
        return Flaw(pointer, f"is nested more than {DOCUMENT_DEPTH_MAX} levels deep")
    match value:
        case None | bool() | str():
            return None
        case int():
            return None if -(2**63) <= value < 2**64 else Flaw(pointer, "does not fit in 64 bits")
        case float():
            return None if math.isfinite(value) else Flaw(pointer, "is not a finite number")
        case list() | tuple():
            return _first_fault(enumerate(value), pointer, depth + 1)
        case dict():
            odd = [key for key in value if not isinstance(key, str)]
            if odd:
                return Flaw(pointer, f"has the key {odd[0]!r}, which is no text")
            return _first_fault(value.items(), pointer, depth + 1)
        case _:
            return Flaw(pointer, f"is a {type(value).__name__}, which JSON does not have")


def _first_fault(items: Iterable[tuple[int | str, object]], pointer: str, depth: int) -> Flaw | None:
    """The first fault among what a list or an object holds; texts and small numbers, which most of it is, have none."""
    for name, item in items:
        # Each submission and result passes here, also when it is decided again: most values need no call of their own.
        is_plain = type(item) is str or (type(item) in (int, float) and -SMALL < item < SMALL)  # type: ignore[operator]
        if not is_plain or depth > DOCUMENT_DEPTH_MAX:
            found = _fault(item, child(pointer, name), depth)
            if found is not None:
                return found
    return None
