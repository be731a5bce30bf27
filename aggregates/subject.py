"""A data subject, as far as the log tells of it: that its personal data was erased, when, on whose word and why.

What was recorded of the person stays where it is; the keys under which it can be read are destroyed. The event names them, so that they
are destroyed again wherever an older copy of them comes back.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from aggregates.values.ids import DataSubject
from aggregates.values.text import Note
from runtime.errors import Refused
from runtime.records import Command, Event, House, State

RULES = 1

KEYS_MAX = 10_000
"""Keys that one erasure can name: a subject has one, and another for each time that it was erased before and came back."""


class Subject(State, frozen=True, kw_only=True):
    """What decisions about one data subject need to know: how often it was erased."""

    erasures: int = 0


initial = Subject()


class SubjectAccepted(Struct, frozen=True, kw_only=True):
    """The person's data can't be read from now on; `keys` keys were destroyed for it."""

    data_subject: str
    keys: int


class EraseSubject(Command[SubjectAccepted], frozen=True, kw_only=True):
    """A person's data shall be erased. Sent by an admin or operator; the node brings the names of all keys that the person has had."""

    data_subject: House[DataSubject]
    keys: House[tuple[str, ...]] = ()
    reason: Note = ""


class SubjectErased(Event, frozen=True, kw_only=True):
    data_subject: str
    keys: tuple[str, ...]
    reason: str


COMMANDS = (EraseSubject,)
EVENTS = (SubjectErased,)


def stream(tenant: str, data_subject: str) -> str:
    """The stream of a data subject; tenants choose their ids, so that two may choose the same."""
    return f"subject-{tenant}:{data_subject}"


def decide(subject: Subject, command: EraseSubject) -> Sequence[SubjectErased]:
    if len(command.keys) > KEYS_MAX:
        raise Refused("keys_too_many", f"{command.data_subject} has {len(command.keys)} keys", status=422)
    if command.keys:
        return [SubjectErased(data_subject=command.data_subject, keys=command.keys, reason=command.reason)]
    if subject.erasures:
        return []
    raise Refused("subject_unknown", f"nothing is recorded of {command.data_subject}", status=404)


def evolve(subject: Subject, event: SubjectErased) -> Subject:
    return replace(subject, erasures=subject.erasures + 1)
