"""Reads and writes the common frame of a websocket, a whole masked message under 64 KiB, in one step; all others are left to wsproto.

It takes nothing that wsproto would refuse, and reads what it takes as wsproto would: a test holds the two against each other.
"""

from typing import Any

TEXT, BINARY = 0x81, 0x82
"""The first byte of a whole message: the bit that says that it is the last frame, and the kind."""

MASKED = 0x80
SHORT_MAX = 125
TWO_BYTES = 126
LONG_MAX = 65_535


def read_message(data: bytes, at: int, bytes_max: int) -> tuple[bytes | str, int] | None:
    """The message that begins there, and where it ends; None where it is not whole or not common."""
    end = len(data)
    if end - at < 6:
        return None
    kind, size, begin = data[at], data[at + 1], at + 6
    if (kind != BINARY and kind != TEXT) or size < MASKED:
        return None
    size -= MASKED
    if size > SHORT_MAX:
        if size != TWO_BYTES or end - at < 8:
            return None
        size, begin = int.from_bytes(data[at + 2 : at + 4]), at + 8
        if size <= SHORT_MAX:
            return None
    if size > bytes_max or begin + size > end:
        return None
    payload = _unmasked(data[begin : begin + size], data[begin - 4 : begin])
    if kind == BINARY:
        return payload, begin + size
    try:
        return payload.decode(), begin + size
    except UnicodeDecodeError:
        return None


def read_messages(data: bytes, bytes_max: int) -> tuple[list[dict[str, Any]], bytes]:
    """The messages that the bytes begin with, as ASGI has them, up to the first that is not whole or not common; and what is left."""
    messages: list[dict[str, Any]] = []
    at = 0
    while (found := read_message(data, at, bytes_max)) is not None:
        said, at = found
        messages.append(message_of(said))
    return messages, data[at:]


def message_of(said: bytes | str) -> dict[str, Any]:
    """A message as ASGI has it."""
    if isinstance(said, str):
        return {"type": "websocket.receive", "bytes": None, "text": said}
    return {"type": "websocket.receive", "bytes": said, "text": None}


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    """As one large number: what a loop over bytes takes a hundred times as long for."""
    size = len(payload)
    mask = mask * (size // 4) + mask[: size % 4]
    return (int.from_bytes(payload) ^ int.from_bytes(mask)).to_bytes(size)


def frame(kind: int, payload: bytes) -> bytes:
    """A whole message as a server sends it."""
    size = len(payload)
    if size <= SHORT_MAX:
        return bytes((kind, size)) + payload
    if size <= LONG_MAX:
        return bytes((kind, TWO_BYTES)) + size.to_bytes(2) + payload
    return bytes((kind, TWO_BYTES + 1)) + size.to_bytes(8) + payload
