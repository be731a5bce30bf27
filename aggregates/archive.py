"""Archives of a journal: that the bodies of closed streams were moved to a file of their own is a record of the journal itself.

Names and fields are read by whoever verifies a journal without this program: see `runtime/archives.py`. They never change.
"""

from collections.abc import Sequence

from msgspec import Struct

from runtime.errors import Refused
from runtime.records import Command, Event, House, State

RULES = 1

ARCHIVES_MAX = 10_000
"""Archives of one journal."""


class Archives(State, frozen=True, kw_only=True):
    """What decisions need to know: the newest archive, and how many there are."""

    count: int = 0
    newest: "StreamsArchived | None" = None


initial = Archives()


class ArchiveAccepted(Struct, frozen=True, kw_only=True):
    """The archive of this name and number stands in the log."""

    name: str
    number: int


class ArchiveStreams(Command[ArchiveAccepted], frozen=True, kw_only=True):
    """The bodies of closed streams stand in a file, which is on disk and was verified: from now on they are read there."""

    number: House[int]
    name: House[str]
    sha256: House[bytes]
    before: House[float]
    streams: House[int]
    records: House[int]
    first: House[int]
    last: House[int]
    stubs: House[bytes]


class StreamsArchived(Event, frozen=True, kw_only=True):
    """`sha256` is that of the file; `stubs` that of what stays of the `records`, from position `first` to `last`, in the journal."""

    number: int
    name: str
    sha256: bytes
    before: float
    streams: int
    records: int
    first: int
    last: int
    stubs: bytes


COMMANDS = (ArchiveStreams,)
EVENTS = (StreamsArchived,)


def stream() -> str:
    """The one stream of a journal's archives; an archive's number is the version of its record."""
    return "archive-log"


def decide(archives: Archives, command: ArchiveStreams) -> Sequence[StreamsArchived]:
    event = StreamsArchived(
        number=command.number,
        name=command.name,
        sha256=command.sha256,
        before=command.before,
        streams=command.streams,
        records=command.records,
        first=command.first,
        last=command.last,
        stubs=command.stubs,
    )
    if event == archives.newest:
        return []
    if command.number != archives.count + 1:
        raise Refused(
            "archive_out_of_turn", f"there are {archives.count} archives, and this is number {command.number}"
        )
    if archives.count >= ARCHIVES_MAX:
        raise Refused("too_many_archives", f"a journal has {ARCHIVES_MAX} archives at most")
    return [event]


def evolve(archives: Archives, event: StreamsArchived) -> Archives:
    return Archives(count=event.number, newest=event)
