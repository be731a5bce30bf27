"""Sealed bids: what an agent commits to before it says it, to the byte.

The commitment is the sha256 of the ASCII text below, each of its lines ended by a line feed; numbers are the sixteen hexadecimal digits of
their IEEE 754 double, the sign first, so that no two programs can write the same number in two ways. The salt keeps anybody from trying
prices until one fits: at least 16 random bytes, new for each bid.
"""

from hashlib import sha256
from struct import pack
from typing import Annotated

from msgspec import Meta, Struct

HEAD = "gavel sealed bid v1"

Commitment = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
"""The sha256 of a sealed bid, in hexadecimal digits."""

Salt = Annotated[str, Meta(pattern=r"^([0-9a-f]{2}){16,64}$(?!\n)")]
"""Random bytes, in hexadecimal digits."""


class SealedBid(Struct, frozen=True, kw_only=True):
    """An agent's commitment in a book, and whether it was opened, by what `salt`, and `matches`."""

    agent_id: str
    commitment: str
    is_opened: bool = False
    matches: bool = False
    salt: str = ""


class OpenedBid(Struct, frozen=True, kw_only=True):
    """A sealed bid with all that makes its commitment: anybody can compute that anew."""

    agent_id: str
    commitment: str
    salt: str
    price: float
    eta_seconds: float
    confidence: float
    capacity_offer: float


def sealed_text(
    *,
    task_id: str,
    round: int,
    agent_id: str,
    price: float,
    eta_seconds: float,
    confidence: float,
    capacity_offer: float,
    salt: str,
) -> bytes:
    """The bytes that a commitment is the sha256 of."""
    numbers = (pack(">d", number).hex() for number in (price, eta_seconds, confidence, capacity_offer))
    return "".join(f"{line}\n" for line in (HEAD, task_id, round, agent_id, *numbers, salt)).encode("ascii")


def commitment_of(text: bytes) -> str:
    """The commitment to a sealed bid."""
    return sha256(text).hexdigest()
