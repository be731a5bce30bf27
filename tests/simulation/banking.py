"""A bank under simulation: clients that pay in, out and across, a clerk who greets, an auditor who wakes, and two read models."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import msgspec
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Column, Integer, MetaData, Table, Text

from runtime import journal, tail
from runtime import system as system_module
from runtime.actor import Actor, Effect
from runtime.codec import Codec
from runtime.delivery import Context
from runtime.errors import Conflict, Failure, Refused
from runtime.projector import Projector
from runtime.records import Add, Change, Command, Insert, Recorded
from runtime.simulation import KINDS, Gone, Ledger, Machine, NoAnswer, World, check
from runtime.store.sqlite import SqliteStore
from runtime.system import Bounds, Role, System, open_system
from runtime.transparency import Signer
from tests.runtime import bank
from tests.runtime.bank import (
    LARGE_CENTS,
    Ask,
    Break,
    Deposit,
    Deposited,
    Greet,
    Greeted,
    Teller,
    Transfer,
    Withdraw,
    Withdrawn,
    stream,
)

TENANTS = ("north", "south")
CLIENTS = 4
ACCOUNTS = 3
BURST = 4
AUDIT_SECONDS = 7.0
TRIES_MAX = 2000
CODEC = Codec([bank])  # type: ignore[list-item]

BANK_KINDS = tuple(kind._replace(often=2 * kind.often) for kind in KINDS)

TIGHT = (
    (tail, "RECORDS_MAX", 5),
    (system_module, "REPLAY_PAGE", 3),
    (system_module, "SAVE_RECORDS", 10),
    (journal, "FORGET_SECONDS", 5.0),
)
"""What only happens after thousands of records: in every third run it happens after a few."""

SMALL = Bounds(mailbox_max=3, pending_commands_max=4, batch_events_max=3, ask_seconds_max=4.0)
USUAL = Bounds(ask_seconds_max=5.0)


class Cashier(Teller):
    """Folds whatever there may be in a log, also what could not have been decided: so that a wrong log is found, not stumbled over."""

    @staticmethod
    def remember(memory: bank.Ledger, recorded: Recorded) -> bank.Ledger:
        if isinstance(recorded.event, Withdrawn):
            memory.cents_by_account.setdefault(recorded.event.account, 0)
        return Teller.remember(memory, recorded)


class Seen(msgspec.Struct):
    greeted_at: list[float] = []
    audits: int = 0


class Auditor(Actor[Any, Seen]):
    """One for the node: some time after a greeting it makes an entry of its own."""

    hears = (Greeted,)

    @staticmethod
    def fresh() -> Seen:
        return Seen(greeted_at=[])

    @staticmethod
    def remember(memory: Seen, recorded: Recorded) -> Seen:
        if recorded.stream == stream("audit"):
            memory.greeted_at.clear()
            memory.audits += 1
        else:
            memory.greeted_at.append(recorded.meta.at)
        return memory

    def due(self) -> float | None:
        return self.memory.greeted_at[0] + AUDIT_SECONDS if self.memory.greeted_at else None

    def wake(self, at: float) -> Effect | None:
        return Effect([(stream("audit"), Greet(account="audit"))])


class Balances:
    """What is in each account, and every line that led there."""

    NAME = "balances_1"
    metadata = MetaData()
    balances = Table(
        "balances",
        metadata,
        Column("account", Text, primary_key=True),
        Column("tenant", Text, nullable=False),
        Column("cents", Integer, nullable=False),
        Column("lines", Integer, nullable=False),
    )
    lines = Table("lines", metadata, Column("position", Integer, primary_key=True), Column("cents", Integer))
    TABLES = (balances, lines)

    def apply(self, recorded: Recorded, /) -> Sequence[Change]:
        event: Any = recorded.event
        if isinstance(event, Greeted):
            return []
        cents = event.cents if isinstance(event, Deposited) else -event.cents
        line = Insert(table=self.lines, values={"position": recorded.position, "cents": cents})
        if recorded.version == 1:
            first = {"account": event.account, "tenant": recorded.meta.tenant, "cents": cents, "lines": 1}
            return [line, Insert(table=self.balances, values=first)]
        return [line, Add(table=self.balances, values={"cents": cents, "lines": 1}, where={"account": event.account})]


@contextmanager
def tightened() -> Iterator[None]:
    """The runtime turns its pages often."""
    before = [(module, name, getattr(module, name)) for module, name, _ in TIGHT]
    for module, name, value in TIGHT:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


class Branch(NamedTuple):
    system: System
    projector: Projector


class Bank:
    """The workload: `Bank(seconds)` is called with the world of a run."""

    def __init__(self, seconds: float = 60.0, asks: int = 6) -> None:
        self.seconds = seconds
        self.asks = asks

    async def __call__(self, world: World) -> None:
        with tightened() if world.seed % 3 == 0 else nullcontext():
            await self.play(world)

    async def play(self, world: World) -> None:
        machine = Machine(world, lambda folder: self.boot(world, folder))
        ledger = Ledger(world)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.age)
            await nursery.start(machine.run)
            async with trio.open_nursery() as clients:
                for number in range(CLIENTS):
                    clients.start_soon(self.client, world, machine, ledger, number)
                for tenant in TENANTS:
                    clients.start_soon(self.visitor, world, machine, tenant)
            await machine.peace()
            await self.judge(world, machine, ledger)
            machine.restart()
            await self.judge(world, machine, ledger)
            await machine.stop()
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def boot(self, world: World, folder: Path) -> AsyncIterator[Branch]:
        clock = world.clock()
        signer = Signer(Ed25519PrivateKey.from_private_bytes(Random(world.seed).randbytes(32)))
        store = SqliteStore(folder / "journal.db", CODEC, signer, entropy=world.chance("entropy").randbytes)
        try:
            async with (
                open_system(
                    store,
                    [Role(Cashier, restarts_max=20), Role(Auditor, key="node")],
                    clock=clock,
                    ids=world.ids(clock),
                    bounds=SMALL if world.seed % 2 else USUAL,
                    interceptors=(world.watch,),
                    chance=world.chance("system"),
                ) as system,
                trio.open_nursery() as nursery,
            ):
                projector = Projector(folder / "read.db", [Balances()], system.journal, origin=store.origin)
                await nursery.start(projector.run)
                yield Branch(system, projector)
                nursery.cancel_scope.cancel()
        finally:
            store.close()

    async def judge(self, world: World, machine: Machine[Branch], ledger: Ledger) -> None:
        branch = await machine.up()
        await check(world, branch.system, ledger, branch.projector)
        greetings_made(world, branch.system)

    async def client(self, world: World, machine: Machine[Branch], ledger: Ledger, number: int) -> None:
        name, chance = f"client-{number}", world.chance(f"client {number}")
        for count in range(self.asks):
            async with trio.open_nursery() as nursery:
                for part in range(chance.choice((1, 1, 1, BURST))):
                    key = f"{name}-{count}-{part}"
                    context = Context(tenant=TENANTS[number % 2], principal=name, key=key, digest=key.encode())
                    command, patience = self.command(chance, number % 2), chance.choice((1, TRIES_MAX, TRIES_MAX))
                    nursery.start_soon(self.insist, world, machine, ledger, context, command, patience)
            await trio.sleep(chance.expovariate(self.asks / self.seconds))

    async def visitor(self, world: World, machine: Machine[Branch], tenant: str) -> None:
        """Says what nobody waits for or keeps: questions, payments without a key, and things that an actor fails on."""
        chance = world.chance(f"visitor {tenant}")
        context = Context(tenant=tenant, principal="visitor")
        for _ in range(self.asks):
            await trio.sleep(chance.expovariate(self.asks / self.seconds))
            account = f"{tenant}0"
            says = chance.choice((Ask(account=account), Deposit(account=account, cents=1), Break(how="work")))

            async def tell(branch: Branch, says: Command[Any] = says) -> None:
                for _ in range(BURST):
                    await branch.system.tell_when_free(says, context)

            async def ask(branch: Branch, says: Command[Any] = says) -> None:
                await branch.system.ask(says, context)

            broken = isinstance(says, Break)
            with suppress(Gone, NoAnswer, Failure):
                await machine.call("visitor", type(says).__name__, ask if broken else chance.choice((ask, tell)))

    def command(self, chance: Random, tenant: int) -> Command[Any]:
        tenant = tenant if chance.random() < 0.95 else 1 - tenant  # what is another's is refused
        account, other = (f"{TENANTS[tenant]}{int(chance.expovariate(1 / ACCOUNTS))}" for _ in range(2))
        return chance.choice(
            (
                Deposit(account=account, cents=chance.randrange(1, 100)),
                Deposit(account=account, cents=LARGE_CENTS + chance.randrange(5)),
                Withdraw(account=account, cents=chance.choice((10, 60, LARGE_CENTS))),
                Transfer(source=account, target=other, cents=chance.choice((10, 60, LARGE_CENTS))),
            )
        )

    async def insist(
        self,
        world: World,
        machine: Machine[Branch],
        ledger: Ledger,
        context: Context,
        command: Command[Any],
        patience: int,
    ) -> None:
        """Asks until there is an answer, or gives up early."""
        chance = world.chance(context.key)
        for _ in range(patience):
            try:
                reply = await machine.call(
                    context.principal, context.key, lambda branch: ledger.ask(branch.system, command, context)
                )
            except (Refused, Conflict) as refusal:
                ledger.refused(context, refusal)
                return
            except (Gone, NoAnswer, Failure):
                await trio.sleep(chance.uniform(0.1, 2.0))
            else:
                ledger.acknowledged(context, reply)
                return
        if patience == TRIES_MAX:
            world.fail("every_caller_answered", f"{context.key} has asked {TRIES_MAX} times")


def greetings_made(world: World, system: System) -> None:
    """Each large deposit is greeted once."""
    records = system.journal.store.read(0, system.journal.position)
    due = [f"@{one.position}" for one in records if isinstance(one.event, Deposited) and one.event.cents >= LARGE_CENTS]
    made = [one.meta.cause for one in records if isinstance(one.event, Greeted) and one.stream != stream("audit")]
    world.holds("greetings_made", sorted(due) == sorted(made), lambda: f"{due} were due, {made} were made")
