"""Cosignatures of witnesses (C2SP tlog-cosignature, `cosignature/v1`): somebody else saw this checkpoint at this time.

By it a witness says that, of the trees of this log that it has seen, all of which agree, this one is the largest.
"""

import struct
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from runtime.transparency import (
    NotANote,
    NotSigned,
    Signer,
    key_id,
    read_note,
    read_signatures,
    signature_line,
    split_vkey,
    vkey_of,
)

COSIGNATURE = b"\x04"
"""The signature type of a witness's Ed25519 key."""

_stamped = struct.Struct(">4sQ64s")


class Cosigner:
    """A witness's private key, and its name, which says nothing but which key it is."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self.name = f"gavel/witness/{sha256(signer.raw).hexdigest()[:16]}"

    @property
    def vkey(self) -> str:
        """The public key, as those keep it who trust this witness."""
        return vkey_of(self.name, self._signer.raw, COSIGNATURE)

    def line(self, text: str, seconds: int) -> str:
        """The signature line of a checkpoint's text (its lines without any signatures), as of this time since the epoch."""
        signature = self._signer.sign_statement(_message(text, seconds))
        return signature_line(
            self.name, _stamped.pack(key_id(self.name, self._signer.raw, COSIGNATURE), seconds, signature)
        )


class WitnessKey:
    """The public key of a witness, by its vkey. Raises NotANote where the text is none."""

    def __init__(self, vkey: str) -> None:
        self.vkey = vkey.strip()
        self.name, raw = split_vkey(vkey, COSIGNATURE)
        if not self.name:
            raise NotANote("the witness's key has no name")
        self._id = key_id(self.name, raw, COSIGNATURE)
        self._key = Ed25519PublicKey.from_public_bytes(raw)

    def check(self, text: str, signatures: Iterable[tuple[str, bytes]]) -> int:
        """When this witness has cosigned, as seconds since the epoch: the newest of its cosignatures. Raises NotSigned."""
        mine = [signature for name, signature in signatures if name == self.name and signature[:4] == self._id]
        if not mine:
            raise NotSigned(f"the checkpoint is not cosigned by {self.name}")
        return max(self._time_of(text, signature) for signature in mine)

    def _time_of(self, text: str, signature: bytes) -> int:
        try:
            _, seconds, raw = _stamped.unpack(signature)
            self._key.verify(raw, _message(text, seconds))
        except (struct.error, InvalidSignature):
            raise NotSigned(f"the cosignature of {self.name} does not fit the checkpoint") from None
        return int(seconds)


def cosigned(note: str, lines: str, witnesses: Sequence[WitnessKey]) -> str:
    """The note with those of the lines that are good cosignatures of these witnesses. Raises NotANote, or NotSigned where none is."""
    _, text, _ = read_note(note)
    signatures = read_signatures(lines)
    added = [line for witness in witnesses if (line := _line_of(witness, text, signatures)) and line not in note]
    if not added and not any(_line_of(witness, text, read_note(note)[2]) for witness in witnesses):
        raise NotSigned(f"the checkpoint is not cosigned by {', '.join(one.name for one in witnesses)}")
    lines_before = note.rpartition("\n\n")[2].split("\n")[:-1]
    kept = [f"{line}\n" for line in lines_before if not _is_of(line, witnesses)]
    return f"{text}\n{''.join(kept)}{''.join(added)}" if added else note


def as_utc(seconds: int) -> str:
    """The time of a cosignature for people."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s"


def _line_of(witness: WitnessKey, text: str, signatures: Sequence[tuple[str, bytes]]) -> str:
    """The newest good cosignature of a witness; empty where there is none."""
    good: dict[int, bytes] = {}
    for name, signature in signatures:
        try:
            good[witness.check(text, [(name, signature)])] = signature
        except NotSigned:
            continue
    return signature_line(witness.name, good[max(good)]) if good else ""


def _is_of(line: str, witnesses: Sequence[WitnessKey]) -> bool:
    return any(line.startswith(f"\u2014 {witness.name} ") for witness in witnesses)


def _message(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()
