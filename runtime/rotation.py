"""The signing keys of a journal, one after the other: a change of key is itself a record, signed by the old key and the new one.

A rotation at position P takes effect there: checkpoints of P records and more are signed by the new key, those of fewer by the old one,
for ever. The first key stands in the journal's facts and never changes. So whoever trusts one key of the chain can walk to all others: the
later ones were signed by those before them, the earlier ones stand in records that the trusted key's checkpoints cover.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from runtime.transparency import NotANote, NotSigned, PublicKey, Signer

STREAM = "journal_key-signing"
KIND = "journal_key.KeyRotated"
ROTATIONS_MAX = 1000
"""Records of STREAM that are looked at; half as many rotations are made."""

ROTATIONS = (
    "SELECT {position}, topic, state FROM stored_events WHERE originator_id=? ORDER BY originator_version LIMIT ?"
)


class Rotation(msgspec.Struct, frozen=True):
    """From one key to the next, as the journal's facts write keys; each of both has signed it."""

    old: str
    new: str
    signed_by_old: bytes
    signed_by_new: bytes


class _Body(msgspec.Struct):
    data: Rotation


class KeyFrom(NamedTuple):
    """A key, and the smallest size of the checkpoints that it signs."""

    size: int
    key: PublicKey


def statement(origin: str, old: str, new: str) -> bytes:
    """What both keys sign. Its first line says what it is, so that it can be taken for no checkpoint."""
    return f"gavel/rotate-key/v1\n{origin}\n{old}\n{new}\n".encode()


def rotation(origin: str, old: Signer, new: Signer) -> Rotation:
    """The rotation of a journal from one key to another."""
    said = statement(origin, old.public_key, new.public_key)
    return Rotation(old.public_key, new.public_key, old.sign_statement(said), new.sign_statement(said))


class Keys:
    """The keys of a journal in order, from the first one on. `faults` are the rotations that are none, by their positions."""

    def __init__(self, origin: str, first: PublicKey, rows: Iterable[tuple[Any, Any, Any]] = ()) -> None:
        """`rows` are position, kind and body of the records of STREAM, in order."""
        self.origin = origin
        self.chain = [KeyFrom(0, first)]
        self.faults: list[tuple[int, str]] = []
        for position, kind, body in rows:
            if kind == KIND:
                self.take(position, body)

    def fork(self) -> "Keys":
        """A copy that can go on while this one stays."""
        copy = Keys(self.origin, self.chain[0].key)
        copy.chain = list(self.chain)
        return copy

    def take(self, position: int, body: object) -> None:
        """Goes on with the rotation that a record tells of, or notes why it is none."""
        current = self.current.nameless()
        try:
            said = msgspec.msgpack.decode(body, type=_Body).data  # type: ignore[call-overload]
            if said.old != current:
                raise NotSigned(f"it is from the key {said.old}, and the one before it is {current}")
            new = PublicKey(said.new)
            signed = statement(self.origin, said.old, said.new)
            PublicKey(said.old).check_statement(signed, said.signed_by_old)
            new.check_statement(signed, said.signed_by_new)
        except (msgspec.MsgspecError, TypeError, UnicodeDecodeError, NotANote, NotSigned) as error:
            self.faults.append((position, f"position {position}: the rotation of the signing key is forged: {error}"))
        else:
            self.chain.append(KeyFrom(position, new))

    @property
    def current(self) -> PublicKey:
        """The key that signs now."""
        return self.chain[-1].key

    def at(self, size: int) -> PublicKey:
        """The key that signs checkpoints of a size."""
        return next(one.key for one in reversed(self.chain) if one.size <= size)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, PublicKey) and key.nameless() in {one.key.nameless() for one in self.chain}

    def told(self) -> Sequence[str]:
        """What was rotated, for people."""
        pairs = zip(self.chain, self.chain[1:], strict=False)
        return [
            f"position {new.size} rotates the signing key from {old.key.vkey(self.origin)} to {new.key.vkey(self.origin)}, "
            "signed by both"
            for old, new in pairs
        ]
