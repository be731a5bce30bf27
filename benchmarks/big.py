"""A journal of millions of events: what it costs a command that it is large, and how soon a node over it is ready.

The events are those of a long time of accounts: EVENTS_EACH deposits to each, ACCOUNTS_AT_ONCE accounts in turns, one command an event.
Five million take two to three minutes and 3 GB of disk to write; both rows use the same ones, which go when the program ends.
"""

import atexit
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import trio

from benchmarks.account import EMPTY, AskBalance, Balance, Clerk, Deposit, Deposited, stream
from benchmarks.deposits import CONTEXT, deposits
from benchmarks.measure import Measured, Row
from runtime.actor import Actor, Effect, Reply, reply
from runtime.clock import SystemClock
from runtime.codec import Codec
from runtime.ids import Ids
from runtime.records import Meta, Recorded
from runtime.store.contract import Batch, Draft
from runtime.store.sqlite import SqliteStore
from runtime.system import Role, open_system
from runtime.transparency import Signer

EVENTS = 5_000_000
EVENTS_EACH = 100
ACCOUNTS_AT_ONCE = 50
BATCH = 20_000
CALLERS = 1000
CODEC = Codec([sys.modules["benchmarks.account"]])


def open_store(folder: Path) -> SqliteStore:
    """The journal in a folder, with the key beside it."""
    return SqliteStore(folder / "journal.db", CODEC, Signer.load_or_make(folder / "journal-key"))


@cache
def big_journal(events: int, place: Path | None = None) -> Path:
    """A folder with a journal of so many events, made once."""
    folder = Path(tempfile.mkdtemp(prefix="gavel-big-", dir=place))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    print(f"writing a journal of {events:,} events …", file=sys.stderr)
    write(folder, events)
    return folder


def write(folder: Path, events: int) -> None:
    """Writes a journal of so many events into a folder."""
    store = open_store(folder)
    drafts = _drafts()
    for first in range(0, events, BATCH):
        store.append(Batch(list(islice(drafts, min(BATCH, events - first))), [], [], time.time()))
    # As a node would have left it that was killed: its actors have reacted to everything.
    store.save([], [(Role(Teller).name, CONTEXT.tenant, events)])
    store.close()


def _drafts() -> Iterator[Draft]:
    clock = SystemClock()
    ids = Ids(clock)
    position, kind = 0, CODEC.kind(Deposited(account="", cents=0))
    while True:
        names = [ids.new() for _ in range(ACCOUNTS_AT_ONCE)]
        for version in range(1, EVENTS_EACH + 1):
            at = clock.now()
            for name in names:
                position += 1
                command = Deposit(account=name, cents=1, at=at, tenant="bench")
                number = ids.new()
                meta = Meta(
                    id=number,
                    cause="",
                    correlation=number,
                    tenant="bench",
                    principal="bench",
                    at=at,
                    command=CODEC.command_record(command),
                )
                data = CODEC.pack(Deposited(account=name, cents=1))
                yield Draft(position, stream(name), version, kind, meta, data)


class Ledger(msgspec.Struct):
    """What a teller knows: the balance of every account."""

    cents_by_account: dict[str, int] = {}


class Teller(Actor[Any, Ledger]):
    """Takes deposits, and remembers all of them."""

    takes = (Deposit, AskBalance)
    hears = (Deposited,)

    @staticmethod
    def fresh() -> Ledger:
        return Ledger(cents_by_account={})

    def handle(self, message: Any) -> Effect | Reply:
        if isinstance(message, AskBalance):
            return reply(message, Balance(self.memory.cents_by_account.get(message.account, 0)))
        return Effect([(stream(message.account), message)], lambda recorded: reply(message, EMPTY))

    @staticmethod
    def remember(memory: Ledger, recorded: Recorded) -> Ledger:
        said: Any = recorded.event
        memory.cents_by_account[said.account] = memory.cents_by_account.get(said.account, 0) + said.cents
        return memory


def start_big(events: int = EVENTS, rounds: int = 3, place: Path | None = None) -> Measured:
    """Seconds from nothing until a first command is acknowledged: from saved memories, and folding all events."""
    folder = big_journal(events, place)
    ours: list[float] = []
    _drop_memories(folder)
    theirs = [trio.run(_start, folder)]  # which saves the memories when it stops
    ours.extend(trio.run(_start, folder) for _ in range(rounds))
    return Measured(ours=ours, theirs=theirs)


def _drop_memories(folder: Path) -> None:
    with closing(open_store(folder)) as store, store._recorder.datastore.transaction(commit=True) as cursor:
        for table in ("snapshots", "states"):
            cursor.execute(f"DELETE FROM {table}")


async def _start(folder: Path) -> float:
    began, clock = time.perf_counter(), SystemClock()
    with closing(open_store(folder)) as store:
        async with open_system(store, [Role(Teller)], clock=clock, ids=Ids(clock)) as system:
            await system.ask(Deposit(account="first", cents=1), CONTEXT)
            seconds = time.perf_counter() - began
            (balance,) = store.query("SELECT COUNT(*) FROM stored_events WHERE originator_id=?", (stream("first"),))
            assert await system.ask(AskBalance(account="first"), CONTEXT) == Balance(balance[0])
    return seconds


def big_log(
    events: int = EVENTS,
    rounds: int = 5,
    callers: int = CALLERS,
    round_seconds: float = 2.0,
    place: Path | None = None,
) -> Measured:
    """Durable commands per second of so many concurrent callers to as many new accounts, in a large journal and in a new one."""
    folder = big_journal(events, place)
    with tempfile.TemporaryDirectory(dir=place) as small:
        return trio.run(_compare, folder, Path(small), rounds, callers, round_seconds)


async def _compare(large: Path, small: Path, rounds: int, callers: int, round_seconds: float) -> Measured:
    ours, theirs = [], []
    clock = SystemClock()
    with closing(open_store(large)) as full, closing(open_store(small)) as empty:
        ids = Ids(clock)
        names = [ids.new() for _ in range(callers)]
        async with (
            open_system(full, [Role(Clerk)], clock=clock, ids=ids) as large_system,
            open_system(empty, [Role(Clerk)], clock=clock, ids=ids) as small_system,
        ):
            for _ in range(rounds):
                ours.append((await deposits(large_system, names, round_seconds)).per_second)
                theirs.append((await deposits(small_system, names, round_seconds)).per_second)
    return Measured(ours=ours, theirs=theirs)


ROWS = (
    Row(
        name="big_log",
        measure=big_log,
        peer="the same without any events in the journal",
        unit="commands per second",
        better="more",
        goal=0.7,
    ),
    Row(
        name="start_big",
        measure=start_big,
        peer="folding all of the journal",
        unit="seconds",
        better="less",
        goal=0.05,
        at_most=True,
    ),
)
