"""The key that signs a journal's checkpoints: that another one took its place is a record of the journal itself.

Names and fields are read by whoever verifies a journal without this program: see `runtime/rotation.py`. They never change.
"""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from runtime.errors import Refused
from runtime.records import Command, Event, House, State

RULES = 1

Reason = Annotated[str, Meta(max_length=2000)]


class JournalKey(State, frozen=True, kw_only=True):
    """What decisions need to know: the key of the last rotation, empty before the first."""

    current: str = ""


initial = JournalKey()


class RotationAccepted(Struct, frozen=True, kw_only=True):
    """The rotation stands at this position (0: it stood before); checkpoints from there on are signed by the new key."""

    old: str
    new: str
    position: int


class RotateKey(Command[RotationAccepted], frozen=True, kw_only=True):
    """A new key shall sign the journal. Sent by an admin; both keys have signed that it follows on the old one."""

    reason: Reason = ""
    old: House[str]
    new: House[str]
    signed_by_old: House[bytes]
    signed_by_new: House[bytes]


class KeyRotated(Event, frozen=True, kw_only=True):
    old: str
    new: str
    signed_by_old: bytes
    signed_by_new: bytes
    reason: str


JournalKeyCommand = RotateKey
JournalKeyEvent = KeyRotated
COMMANDS = (JournalKeyCommand,)
EVENTS = (JournalKeyEvent,)


def stream() -> str:
    """The one stream of a journal's signing keys."""
    return "journal_key-signing"


def decide(key: JournalKey, command: JournalKeyCommand) -> Sequence[JournalKeyEvent]:
    if command.new == key.current:
        return []
    if command.old == command.new:
        raise Refused("key_is_the_same")
    if key.current not in ("", command.old):
        raise Refused("key_not_current", f"the journal is signed by {key.current}")
    rotated = KeyRotated(
        old=command.old,
        new=command.new,
        signed_by_old=command.signed_by_old,
        signed_by_new=command.signed_by_new,
        reason=command.reason,
    )
    return [rotated]


def evolve(key: JournalKey, event: JournalKeyEvent) -> JournalKey:
    return JournalKey(current=event.new)
