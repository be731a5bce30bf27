"""The log: pages of it by position."""

from functools import partial
from typing import TypeVar

import msgspec
import trio
from msgspec.structs import asdict
from starlette.responses import Response

from aggregates.values.roles import Permission
from gateway.api.calls import Call, Endpoint
from gateway.api.fields import choosing, picked, some_of
from gateway.api.queries import LIMIT, flag, position
from gateway.feeds.live import Line, line
from gateway.feeds.wanted import FILTERS, wanted
from runtime.errors import Overloaded
from runtime.journal import Journal
from runtime.records import Recorded

T = TypeVar("T")

READ_MAX = 2_000
READ_SECONDS_MAX = 5.0

PAST = position("after", "Only records past this position: 0, or the `next` of the page before.", 0)
COMMANDS = flag("commands", "Tell with the first event of each command what was decided, in full.")


class LogPage(msgspec.Struct, frozen=True):
    """Records past `after`, in order, perhaps none although there are more; `next` is the `after` of the next page, `position`
    the newest position of the log. What is read once `next` stays is all there is."""

    records: list[Line]
    position: int
    next: int


class SomeOfLogPage(msgspec.Struct, frozen=True):
    """A page of the log with those fields of each record that were asked for."""

    records: list[some_of(Line)]  # type: ignore[valid-type]
    position: int
    next: int


async def page(call: Call) -> Response:
    """The tenant's records past a position, all or those that are wanted."""
    chosen, limit = wanted(call.asked), call.limit
    journal = call.node.system.journal
    if not call.node.erasures:  # until they are carried through, a page may show what is going to be withheld
        call.rests_at(journal.position)
    after = await chosen.start(journal, call.asked(PAST))
    if chosen.stream is None:
        read = await _read(journal, after, READ_MAX if chosen.is_narrow else min(READ_MAX, 2 * limit))
        own = [record for record in read if record.meta.tenant == call.tenant]
    else:
        read = own = await _read_stream(journal, chosen.stream, after, limit, call.tenant)
    seen = chosen.chosen(own)
    shown = seen[:limit]
    reached = shown[-1].position if len(seen) > limit else read[-1].position if read else after
    commands = call.asked(COMMANDS)
    lines = [line(record, commands=commands) for record in shown]
    if call.only is None:
        return call.reply(LogPage(lines, journal.position, reached), is_page=True)
    some = [picked(asdict(one), call.only) for one in lines]
    return call.reply(SomeOfLogPage(some, journal.position, reached), is_page=True)


async def _read(journal: Journal, after: int, limit: int) -> list[Recorded]:
    """Whoever asks for a page is told when the journal is away; a feed waits for it."""
    with trio.move_on_after(READ_SECONDS_MAX):
        return await journal.read(after, limit)
    raise Overloaded("the journal can't be read at the moment")


async def _read_stream(journal: Journal, stream: str, after: int, limit: int, tenant: str) -> list[Recorded]:
    """One record more than the page may have, of what is committed; another tenant's stream looks like none."""
    read: list[Recorded] = await journal.read_with(
        partial(journal.store.read_stream, stream, after=after, limit=limit + 1)
    )
    return [record for record in read if record.position <= journal.position and record.meta.tenant == tenant]


routes = (
    Endpoint(
        "GET",
        "/v1/log",
        page,
        Permission.LOG_READ,
        reply=LogPage,
        query=(PAST, LIMIT, COMMANDS, choosing(Line), *FILTERS),
        rests_on=("",),
        also=(SomeOfLogPage,),
    ),
)
