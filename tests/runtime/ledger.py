"""A small domain for tests of the projector: accounts in a made-up journal, and projections of them.

Run as a program, it follows its journal into a database and prints each position that it has committed.
"""

import sys
from collections.abc import Sequence

import trio
from sqlalchemy import Column, Float, Integer, MetaData, Table, Text

from runtime.projector import Projector
from runtime.records import Add, Change, Event, Insert, Meta, Recorded, Update

ACCOUNTS = 7


class Opened(Event, frozen=True, kw_only=True):
    account: str


class Moved(Event, frozen=True, kw_only=True):
    account: str
    amount: float


class Renamed(Event, frozen=True, kw_only=True):
    account: str
    name: str


def recorded(position: int, event: Event) -> Recorded:
    meta = Meta(id=f"c{position}", cause="", correlation="", tenant="t", principal="p", at=float(position))
    kind = f"account.{type(event).__name__}"
    return Recorded(position=position, stream="account-1", version=position, kind=kind, event=event, meta=meta)


def story(count: int) -> list[Recorded]:
    """The same journal each time: accounts are opened one after the other, used, renamed, opened anew."""
    events: list[Event] = []
    for n in range(count):
        account = f"a{n * n % ACCOUNTS}"
        events.append(
            Opened(account=account)
            if n % 11 < 2
            else Moved(account=account, amount=n / 8)
            if n % 3
            else Renamed(account=account, name=f"name {n}")
        )
    return [recorded(position, event) for position, event in enumerate(events, 1)]


class MemoryLog:
    """Keeps what the projector is promised of a journal, in memory."""

    def __init__(self, records: Sequence[Recorded] = ()) -> None:
        self.records = list(records)
        self.reads: list[tuple[int, int]] = []
        self._grown = trio.Event()
        self._asked = trio.Event()

    @property
    def position(self) -> int:
        return len(self.records)

    def append(self, *events: Event) -> int:
        for event in events:
            self.records.append(recorded(self.position + 1, event))
        self._grown.set()
        self._grown = trio.Event()
        return self.position

    async def wait_past(self, position: int) -> int:
        while self.position <= position:
            await self._grown.wait()
        return self.position

    async def wait_reads(self, count: int) -> None:
        """Waits until it has been read so many times."""
        while len(self.reads) < count:
            await self._asked.wait()

    async def read(self, after: int, limit: int) -> list[Recorded]:
        await trio.lowlevel.checkpoint()
        self.reads.append((after, limit))
        self._asked.set()
        self._asked = trio.Event()
        return self.records[after : after + limit]


class Balances:
    """What is on each account, and how often it moved."""

    def __init__(self, name: str = "balances/1") -> None:
        self.NAME = name
        self.table = Table(
            "balances",
            MetaData(),
            Column("account", Text, primary_key=True),
            Column("name", Text),
            Column("amount", Float, default=0.0),
            Column("moves", Integer, default=0),
        )
        self.TABLES = (self.table,)

    def apply(self, recorded: Recorded) -> Sequence[Change]:
        match recorded.event:
            case Opened(account=account):
                return [Insert(table=self.table, values={"account": account})]
            case Moved(account=account, amount=amount):
                where = {"account": account}
                return [Add(table=self.table, values={"amount": amount, "moves": 1}, where=where)]
            case Renamed(account=account, name=name):
                return [Update(table=self.table, values={"name": name}, where={"account": account})]
        raise AssertionError(recorded)


class Lines:
    """One row an event; fails, when told so, at one position: in `apply`, or in a row that no table takes."""

    NAME = "lines/1"

    def __init__(self, *, fails_at: int = 0, badly: bool = False) -> None:
        self.table = Table("lines", MetaData(), Column("position", Integer, primary_key=True), Column("kind", Text))
        self.TABLES = (self.table,)
        self.fails_at = fails_at
        self.badly = badly

    def apply(self, recorded: Recorded) -> Sequence[Change]:
        values = {"position": recorded.position, "kind": recorded.kind}
        if recorded.position == self.fails_at:
            if not self.badly:
                raise ValueError("it can't be read")
            values["size"] = 1
        return [Insert(table=self.table, values=values)]


async def follow(path: str, count: int) -> None:
    log = MemoryLog(story(count))
    projector = Projector(path, (Balances(), Lines()), log, batch_events_max=5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(projector.run)
        position = 0
        while position < count:
            await projector.wait_for(position + 1)
            position = min(standing.position for standing in projector.status())
            print(position, flush=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(follow, sys.argv[1], int(sys.argv[2]))
