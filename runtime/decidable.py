"""What can be decided anew, and why the rest can't: one place to ask, whatever the reason.

A record whose kind nobody lists any more, or whose words nobody can open any more, is no evidence for or against a decision. Whoever
decides anew says what can't be decided and why, never that it differs.
"""

import msgspec

from runtime.codec import Shut, UnknownKind
from runtime.records import Event, Retired
from runtime.sealing import Altered
from runtime.upcasting import NotUpcast

UNDECIDABLE: tuple[type[Exception], ...] = (Shut, Altered, UnknownKind, NotUpcast, msgspec.DecodeError)
"""What reading a record or a command raises where nothing can be decided upon it."""

WITHHELD = "erased, or its key is not at hand: what it tells of a person can't be read"


def why_not(error: Exception) -> str:
    """Why nothing can be decided upon what can't be read."""
    match error:
        case Shut() | NotUpcast():
            return str(error)
        case Altered():
            return f"is altered: {error}"
        case UnknownKind():
            return f"unknown: {error}"
        case _:
            return f"can't be read: {error}"


def unlike_any(event: Event) -> str:
    """Why a recorded event can't be held against a decision of today; empty where it can."""
    return "an event of it is of a retired kind, which nothing decides any more" if type(event) is Retired else ""
