"""How a batch's columns go to PostgreSQL: as arrays whose types never change, so that one prepared statement serves every batch."""

import re
import struct
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

from psycopg import Connection, postgres
from psycopg.adapt import Dumper
from psycopg.pq import Format

_pack = struct.Struct("!i").pack
_pack_head = struct.Struct("!5i").pack


class Packed(bytes):
    """An array in PostgreSQL's binary format: its type does not depend on what is in it, and it costs a third of the driver's own."""

    ELEMENT: ClassVar[int]

    @classmethod
    def pack(cls, elements: Sequence[bytes]) -> Self:
        parts = [_pack_head(1, 0, cls.ELEMENT, len(elements), 1)]
        for element in elements:
            parts.append(_pack(len(element)))
            parts.append(element)
        return cls(b"".join(parts))


class Texts(Packed):
    ELEMENT = postgres.types["text"].oid

    @classmethod
    def of(cls, texts: Sequence[str]) -> Self:
        return cls.pack([text.encode() for text in texts])


class Blobs(Packed):
    ELEMENT = postgres.types["bytea"].oid

    @classmethod
    def of(cls, blobs: Sequence[bytes]) -> Self:
        return cls.pack(blobs)


class TextsDumper(Dumper):
    packs: ClassVar[type[Packed]] = Texts
    oid = postgres.types["text"].array_oid
    format = Format.BINARY

    def dump(self, obj: Any) -> bytes:
        return bytes(obj)


class BlobsDumper(TextsDumper):
    packs = Blobs
    oid = postgres.types["bytea"].array_oid


def register(connection: Connection[Any]) -> None:
    """Teaches a connection to send packed arrays."""
    for dumper in (TextsDumper, BlobsDumper):
        connection.adapters.register_dumper(dumper.packs, dumper)


def numbers(numbers: Iterable[float]) -> str:
    """An array as PostgreSQL writes it. Numbers go as text: as such a parameter is of one type whatever its size, and one prepared
    statement does."""
    return "{" + ",".join(map(repr, numbers)) + "}"


def escaped(text: str) -> str:
    """Text that PostgreSQL takes: it knows no NUL."""
    return text.replace("\\", "\\\\").replace("\0", "\\0") if "\0" in text or "\\" in text else text


def plain(text: str) -> str:
    """What was escaped."""
    return re.sub(r"\\(.)", lambda found: "\0" if found[1] == "0" else found[1], text) if "\\" in text else text
