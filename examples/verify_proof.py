"""Checks a proof that `gavel audit prove` has made, with nothing of Gavel: verify_proof.py PROOF KEY

KEY is the log's public key, as `gavel audit verify` prints it: name+id+key. The record's own bytes are what is proven.
Needs Python 3.11 and `cryptography`. The forms are C2SP's: tlog-proof, tlog-checkpoint, signed-note; the tree is RFC 6962's.
"""

import base64
import sys
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def need(holds: bool, reason: str) -> None:
    if not holds:
        raise ValueError(reason)


def unbase64(text: str) -> bytes:
    raw = base64.b64decode(text, validate=True)
    need(base64.b64encode(raw).decode() == text, "base64 is not canonical")
    return raw


def root_from(digest: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """RFC 9162, section 2.1.3.2."""
    place, last = index, size - 1
    for sibling in path:
        need(last > 0 and len(sibling) == 32, "the path is too long, or holds what is no hash")
        if place & 1 or place == last:
            digest = sha256(b"\x01" + sibling + digest).digest()
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            digest = sha256(b"\x01" + digest + sibling).digest()
        place, last = place >> 1, last >> 1
    need(last == 0, "the path is too short")
    return digest


def verify(proof: str, vkey: str) -> tuple[int, bytes]:
    """Position and bytes of the proven record. Raises ValueError or InvalidSignature."""
    head, _, note = proof.partition("\n\n")
    form, extra, index, *path = head.split("\n")
    need(form == "c2sp.org/tlog-proof@v1" and extra[:6] == "extra " and index[:6] == "index ", "this is no proof")
    leaf, place = unbase64(extra[6:]), int(index[6:])
    text, _, signatures = note.partition("\n\n")
    origin, size, root = text.split("\n")
    name, key_id, key = vkey.strip().split("+", 2)
    raw = unbase64(key)
    named = sha256(name.encode() + b"\n" + raw).digest()[:4]
    need(len(raw) == 33 and raw[0] == 1 and named.hex() == key_id and name == origin, "this key is of another log")
    lines = [(line.split(" ")[1], unbase64(line.split(" ")[2])) for line in signatures.removesuffix("\n").split("\n")]
    mine = [signature[4:] for signer, signature in lines if signer == name and signature[:4] == named]
    need(bool(mine), "the checkpoint is not signed by this key")
    Ed25519PublicKey.from_public_bytes(raw[1:]).verify(mine[0], f"{text}\n".encode())
    need(index == f"index {place}" and 0 <= place < int(size), "the log is shorter, or the index is written otherwise")
    found = root_from(sha256(b"\x00" + leaf).digest(), place, int(size), [unbase64(line) for line in path])
    need(found == unbase64(root), "the record is not in the log of this checkpoint")
    return place + 1, leaf


if __name__ == "__main__":
    try:
        with open(sys.argv[1], encoding="utf-8", newline="") as file:
            position, record = verify(file.read(), sys.argv[2])
    except (ValueError, IndexError, InvalidSignature) as error:
        sys.exit(f"NOT PROVEN: {error or 'the signature does not fit'}")
    print(f"proven: record {position}, msgpack of [position, stream, version, kind, body]: {record!r}")
