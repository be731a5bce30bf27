"""Reads the head of a common request in one pass; whatever is unusual about one is left to h11.

It takes nothing that h11 would refuse, and reads what it takes as h11 would: a head that is all ASCII, in whole, with one Host, at most
one Content-Length, no other framing, no upgrade and no expectation. A test holds the two against each other.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from starlette.types import Scope

HEAD_END = b"\r\n\r\n"
REQUEST_LINE = re.compile(rb"(GET|HEAD|POST|PUT|DELETE|PATCH|OPTIONS) (/[\x21-\x7e]*) HTTP/1\.1")
FIELD = re.compile(rb"([-!#$%&'*+.^_`|~0-9a-zA-Z]+):[ \t]*((?:[\x21-\x7e]+(?:[ \t]+[\x21-\x7e]+)*)?)[ \t]*")
LENGTH = re.compile(rb"[0-9]{1,18}")
KNOWN_LINES_MAX = 2048
KNOWN_LINE_BYTES_MAX = 200
"""Clients say the same lines again and again: so many of at most this length are read once."""

UNUSUAL = frozenset(
    {b"transfer-encoding", b"upgrade", b"expect", b"te", b"trailer", b"http2-settings", b"sec-websocket-extensions"}
)
PLAIN, HOST, LENGTH_OF_BODY, CLOSES = range(4)


class Head(NamedTuple):
    """A request's head: `length` is that of its body, `size` its own with the empty line at its end."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    length: int
    closes: bool
    size: int


def said(scope: Scope, name: bytes) -> str | None:
    """What a request says in its first line of that name, which is in lower case. Starlette's way to it takes six times as long."""
    for known, value in scope["headers"]:
        if known == name:
            text: str = value.decode("latin-1")
            return text
    return None


def read_head(data: bytes, bytes_max: int) -> Head | None:
    """The head that the bytes begin with; None where it is not whole, or not of the common kind."""
    end = data.find(HEAD_END, 0, bytes_max)
    if end < 0:
        return None
    lines = data[:end].split(b"\r\n")
    first = REQUEST_LINE.fullmatch(lines[0])
    if first is None:
        return None
    headers, hosts, lengths, length, closes = [], 0, 0, 0, False
    for line in lines[1:]:
        read = _known_field(line) if len(line) <= KNOWN_LINE_BYTES_MAX else _field(line)
        if read is None:
            return None
        field, kind = read
        if kind:
            if kind == HOST:
                hosts += 1
            elif kind == CLOSES:
                closes = True
            else:
                lengths += 1
                length = int(field[1])
        headers.append(field)
    if hosts != 1 or lengths > 1:
        return None
    return Head(first[1].decode(), first[2], headers, length, closes, end + 4)


def _field(line: bytes) -> tuple[tuple[bytes, bytes], int] | None:
    """The name in lower case with its value, and what it means for the request; None where h11 has to look at it."""
    matched = FIELD.fullmatch(line)
    if matched is None:
        return None
    name, value = matched[1].lower(), matched[2]
    if name in UNUSUAL:
        return None
    if name == b"content-length":
        return ((name, value), LENGTH_OF_BODY) if LENGTH.fullmatch(value) else None
    if name == b"connection":
        said = value.lower()
        if said not in {b"keep-alive", b"close"}:
            return None
        return (name, value), CLOSES if said == b"close" else PLAIN
    return (name, value), HOST if name == b"host" else PLAIN


_known_field = lru_cache(KNOWN_LINES_MAX)(_field)
