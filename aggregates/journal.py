"""A named journal: the one of a strictly isolated tenant, which bears its name. That it was opened stands in the node's shared journal."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from aggregates.values.ids import TENANT_NAME
from runtime.errors import Refused
from runtime.records import Command, Event, House, State

RULES = 1

JOURNALS_MAX = 64
"""Named journals of one node: each has its writer, its read models and its actors."""

SHARED = "main"
"""What the journal of all other tenants is called, in cursors and in its checkpoints' origin."""

JournalName = Annotated[str, Meta(pattern=TENANT_NAME)]


class NamedJournal(State, frozen=True, kw_only=True):
    """What decisions about one journal need to know: which one it is."""

    opened: "JournalOpened | None" = None


initial = NamedJournal()


class JournalFacts(Struct, frozen=True, kw_only=True):
    """Which journal it is: its origin, for ever, and the key that signs it."""

    name: str
    origin: str
    public_key: str


class OpenJournal(Command[JournalFacts], frozen=True, kw_only=True):
    """From now on this tenant is strictly isolated: whatever is recorded of it stands in a journal of its own. Sent by an admin of the
    node, before the tenant has its first key."""

    is_new_work = True

    name: JournalName
    origin: House[str]
    public_key: House[str]


class ListJournals(Command[tuple[JournalFacts, ...]], frozen=True, kw_only=True):
    """Which named journals are there? A question of the node's, answered by the security actor; records nothing."""


class JournalOpened(Event, frozen=True, kw_only=True):
    name: str
    origin: str
    public_key: str


COMMANDS = (OpenJournal,)
EVENTS = (JournalOpened,)


def stream(name: str) -> str:
    """The stream that says which journal bears this name."""
    return f"journal-{name}"


def decide(journal: NamedJournal, command: OpenJournal) -> Sequence[JournalOpened]:
    if command.name == SHARED:
        raise Refused("name_taken", f"{SHARED} is the shared journal", status=422)
    event = JournalOpened(name=command.name, origin=command.origin, public_key=command.public_key)
    if journal.opened is None:
        return [event]
    if journal.opened == event:
        return []
    raise Refused("journal_exists", f"the journal {command.name} is another one: {journal.opened.origin}")


def evolve(journal: NamedJournal, event: JournalOpened) -> NamedJournal:
    return NamedJournal(opened=event)
