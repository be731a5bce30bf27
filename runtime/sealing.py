"""What is personal in events and commands: how it is taken out of what is written in the clear, and put back.

A record's body has three parts then: its meta and its data, in which the personal fields are blank or absent, and `sealed`, which holds
them under a key of the data subject: the key's name, a nonce, and ciphertext with its tag (AES-256-GCM).
"""

from typing import Any, Protocol

import msgspec
from cryptography.exceptions import InvalidTag

from runtime.keyring import ID_BYTES, Key
from runtime.master import NONCE_BYTES
from runtime.records import PERSONAL, marked

SUBJECT = "data_subject"
"""The field that names the data subject, by the id that its tenant has given to it."""

BLANKS: tuple[Any, ...] = (None, "", b"", {}, (), 0)


class Keys(Protocol):
    """Where the keys of sealed parts are found; None where one is gone."""

    def find(self, key_id: bytes) -> Key | None: ...


class Altered(Exception):
    """A sealed part is not what was sealed for its place."""


class Parts(msgspec.Struct, frozen=True, array_like=True):
    """What was taken out: personal fields of the event, and of the command that stands with it."""

    event: msgspec.Raw
    command: msgspec.Raw


class Form:
    """What is personal in one class of events: the fields, and their blank values."""

    def __init__(self, kind: type[msgspec.Struct]) -> None:
        """Raises TypeError where the class names no subject, or a field has no blank value."""
        fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
        self.fields = marked(kind, PERSONAL)
        if SUBJECT not in fields:
            raise TypeError(f"{kind.__name__} has personal fields and no field {SUBJECT}")
        self.blank = {name: _blank(fields[name], f"{kind.__name__}.{name}") for name in self.fields}
        taken: Any = msgspec.defstruct("Taken", [(name, fields[name]) for name in self.fields])
        self._decoder = msgspec.msgpack.Decoder(taken)

    def taken(self, event: Any) -> dict[str, Any]:
        """What has to be taken out of an event."""
        return {name: getattr(event, name) for name in self.fields}

    def put_back(self, event: Any, taken: msgspec.Raw) -> Any:
        """The event as it was."""
        return msgspec.structs.replace(event, **msgspec.structs.asdict(self._decoder.decode(taken)))


def _blank(annotation: Any, name: str) -> Any:
    for blank in BLANKS:
        try:
            return msgspec.convert(blank, annotation)
        except msgspec.ValidationError:
            continue
    raise TypeError(f"{name} is personal, and has no blank value")


def unseal(keys: Keys | None, raw: bytes, purpose: bytes) -> bytes | None:
    """What was sealed for this purpose; None where the key is gone, or there are no keys. Raises Altered."""
    key = keys.find(raw[:ID_BYTES]) if keys is not None else None
    if key is None:
        return None
    start = ID_BYTES + NONCE_BYTES
    try:
        return key.cipher.decrypt(raw[ID_BYTES:start], raw[start:], purpose)
    except (InvalidTag, ValueError):
        raise Altered("what is sealed here was altered, or sealed for another place") from None


def purpose_of(kind: str, command_id: str) -> bytes:
    """What ties a sealed part to its record."""
    return f"{kind} {command_id}".encode()
