"""The actors of one node: a roster of roles over a journal, one place for each tenant's or the node's own.

`open_system` starts it: memories are folded from their snapshots and the journal, reactions go on where they were, then asks are
taken. When it ends, callers still waiting are told, what was decided is committed, and the memories are saved.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec
import structlog
import trio
from eventsourcing.persistence import PersistenceError

from runtime.actor import Actor, Surroundings
from runtime.actors import Actors
from runtime.cell import Work, working
from runtime.clock import Clock
from runtime.delivery import Context
from runtime.durable import DurableCell
from runtime.errors import Unreachable
from runtime.ids import Ids
from runtime.journal import Journal
from runtime.kind import Kind
from runtime.records import Command, Recorded
from runtime.recovery import NODE, Fold, Recovery, hearers, shape
from runtime.store.sqlite import Memory, SqliteStore
from runtime.supervision import Supervision
from runtime.timers import Timers

log = structlog.get_logger()
R = TypeVar("R")


class Bounds(NamedTuple):
    """How much of everything there may be."""

    mailbox_max: int = 1024
    ask_seconds_max: float = 30.0
    batch_events_max: int = 4096
    state_cache_max: int = 50_000
    pending_commands_max: int = 10_000


DEFAULT_BOUNDS = Bounds()
REPLAY_PAGE = 2_000


class Role(NamedTuple):
    """A line of the roster: which actor, one for each tenant or one for the node, and how it is supervised."""

    actor: type[Actor[Any, Any]]
    key: Literal["tenant", "node"] = "tenant"
    mailbox_max: int | None = None
    restarts_max: int = 5
    restart_window_seconds: float = 60.0
    make: Callable[[Surroundings], Actor[Any, Any]] | None = None

    @property
    def name(self) -> str:
        """The role's name in logs, principals and tables."""
        return self.actor.__name__.lower()


class Here(Surroundings):
    """What an actor of the roster may use of its runtime."""

    def __init__(self, system: "System", cell: DurableCell) -> None:
        self.key = cell.key
        self.clock = system.clock
        self.ids = system.ids
        self._system = system
        self._cell = cell

    def _context(self) -> Context:
        """Of the work that speaks, or of the step that runs now; its idempotency key is not handed on."""
        work = working.get()
        if isinstance(work, Work) and work.cell is self._cell and work.context is not None:
            return work.context
        return msgspec.structs.replace(self._cell.context, key="", digest=b"")

    def tell(self, message: Command[Any]) -> None:
        self._system.tell(message, self._context())

    async def ask(self, message: Command[R]) -> R:
        return await self._system.ask(message, self._context())

    def run(self, work: Callable[..., Awaitable[None]], *args: object) -> None:
        self._system.start(self._cell._do, work, Work(self._cell, None, self._context()), args)


class System(Actors):
    """Routes messages to the places of the roster. Made by `open_system`."""

    def __init__(self, journal: Journal, roster: Sequence[Role], *, bounds: Bounds = DEFAULT_BOUNDS) -> None:
        super().__init__(clock=journal.clock, ids=journal.ids, ask_seconds_max=bounds.ask_seconds_max)
        self.journal = journal
        self.roles = {role.name: role for role in roster}
        self.cells: dict[tuple[str, str], DurableCell] = {}
        self.timers = Timers(self)
        self._kind_by_role = {role.name: _kind_of(role, bounds.mailbox_max) for role in roster}
        self._role_by_message = {message: role for role in roster for message in role.actor.takes}
        self._names_by_event = hearers(roster)
        self._running = False
        journal.on_commit = self._on_commit
        journal.on_failure = self._on_failure

    # ---- asking and telling

    async def ask(self, message: Command[R], context: Context, seconds: float | None = None) -> R:
        """Asks whoever takes this type of message, as `ActorRef.ask` does; the answer leaves after the commit."""
        return await self._route(message, context).ask(message, seconds=seconds, context=context)

    def tell(self, message: Command[Any], context: Context) -> None:
        """Sends a message without waiting. Raises Overloaded when there is no room, Unreachable when nobody takes it."""
        self._route(message, context).tell(message, context=context)

    async def tell_when_free(self, message: Command[Any], context: Context) -> None:
        """Sends a message as soon as there is room for it."""
        await self._route(message, context).tell_when_free(message, context=context)

    def _route(self, message: Command[Any], context: Context) -> DurableCell:
        role = self._role_by_message.get(type(message))
        if role is None:
            raise Unreachable(f"nobody takes {type(message).__name__}")
        if self._ending or not self._running:
            raise Unreachable("the node is not running")
        return self._cell(role, context.tenant)

    def _cell(self, role: Role, tenant: str) -> DurableCell:
        key = tenant if role.key == "tenant" else NODE
        cell = self.cells.get((role.name, key))
        if cell is None:
            # A tenant without a past: nothing of it stands in the journal, so its memory begins empty, here.
            cell = self._add(role, key)
            position = self.journal.position
            self._incarnate(cell, Fold(role.actor.fresh(), position, position))
        return cell

    # ---- what was recorded

    def remember(self, recorded: Sequence[Recorded]) -> None:
        """Folds proposed records into the memories of all who hear them."""
        for record in recorded:
            for cell in self._hearers(record):
                cell.remember(record)
                self.timers.refresh(cell)

    def _hearers(self, record: Recorded) -> Iterable[DurableCell]:
        for name in self._names_by_event.get(type(record.event), ()):
            yield self._cell(self.roles[name], record.meta.tenant)

    def _on_commit(self, recorded: Sequence[Recorded]) -> None:
        for record in recorded:
            for cell in self._hearers(record):
                if record.position > cell.reacted:
                    cell.react_to(record)

    @property
    def reactions_waiting(self) -> int:
        """How many reactions wait, over all actors."""
        return sum(len(cell.reactions) for cell in self.cells.values())

    # ---- failures

    def _on_failure(self) -> None:
        """A commit failed: every memory may hold what was never recorded, so all are folded anew."""
        for cell in self.cells.values():
            cell.reacted = -1
            cell.touched = min(cell.touched, self.journal.position)  # nothing later is waited for: it will never be
            if self._nursery is not None:
                cell._restart()

    async def rebuild(self, cell: DurableCell) -> None:
        """Folds the memory of one actor anew, and makes it."""
        name, journal = (cell.role, cell.key), self.journal
        failures = journal.failures
        saved = await journal.read_with(journal.store.memories)
        durable = await journal.read_with(journal.store.reactions)
        reacted = durable if cell.reacted < 0 else {name: cell.reacted}
        recovery = Recovery(self.roles, saved, reacted, only=(name,))
        position = await self._replay(recovery)
        for record in journal.provisional(position):
            recovery.take(record, committed=record.position <= journal.position)
        if journal.failures > failures:
            # A commit failed meanwhile: what had been reacted to may be lost with it.
            await self.rebuild(cell)
            return
        self._incarnate(cell, recovery.folds[name])

    # ---- starting and stopping

    async def recover(self) -> None:
        """Folds all memories; from then on messages are taken."""
        journal = self.journal
        saved = await journal.read_with(journal.store.memories)
        recovery = Recovery(self.roles, saved, await journal.read_with(journal.store.reactions))
        await self._replay(recovery)
        for (name, key), fold in sorted(recovery.folds.items()):
            self._incarnate(self._add(self.roles[name], key), fold)
        self._running = True

    async def _replay(self, recovery: Recovery) -> int:
        position = recovery.start
        while page := await self.journal.read(position, REPLAY_PAGE):
            for record in page:
                recovery.take(record)
            position = page[-1].position
        return position

    def _add(self, role: Role, key: str) -> DurableCell:
        cell = DurableCell(self, self._kind_by_role[role.name], role.name, key)
        self.cells[role.name, key] = self.children[cell.name] = cell
        return cell

    def _incarnate(self, cell: DurableCell, fold: Fold) -> None:
        """Gives the cell a new actor with this memory, and the reactions that it owes."""
        role = self.roles[cell.role]
        here = Here(self, cell)
        try:
            actor = role.make(here) if role.make is not None else role.actor(here)
            actor.memory = fold.memory
            actor.started(self.journal.stamp())
        except Exception as error:
            cell.rebuilding = False
            cell.crash("start", error)
            return
        cell.begin(actor, fold.reactions, position=fold.position, reacted=fold.reacted)

    async def prepare(self, nursery: trio.Nursery) -> None:
        """Folds all memories; from then on messages are taken."""
        await self.recover()
        nursery.start_soon(self.timers.run)

    def memories(self) -> list[Memory]:
        """The folds as they stand, for saving; only once nothing is provisional."""
        assert self.journal.proposed == self.journal.position
        shapes = {name: shape(role.actor) for name, role in self.roles.items()}
        position, pack = self.journal.position, self.journal.codec.pack
        return [
            Memory(cell.role, cell.key, shapes[cell.role], position, pack(cell.actor.memory))
            for cell in self.cells.values()
            if cell.actor is not None
        ]

    # ---- looking on

    def tree(self) -> list[dict[str, Any]]:
        """Every actor of the roster with its state, mailbox and counts."""
        return [
            {
                "actor": cell.role,
                "key": cell.key,
                "state": "running" if cell.actor is not None else "restarting",
                "mailbox": len(cell._queue or ()),
                "mailbox_peak": cell._peak,
                "mailbox_max": cell._kind.mailbox_max,
                "reactions": len(cell.reactions),
                "reacted": cell.reacted,
                "handled": cell._handled,
                "crashes": cell.crashes,
                "due": cell.due,
            }
            for cell in self.cells.values()
        ]


def _kind_of(role: Role, mailbox_max: int) -> Kind:
    budget = Supervision(restarts_max=role.restarts_max, window_seconds=role.restart_window_seconds)
    return Kind(role.name, mailbox_max=role.mailbox_max or mailbox_max, supervision=budget)


@asynccontextmanager
async def open_system(
    store: SqliteStore, roster: Sequence[Role], *, clock: Clock, ids: Ids, bounds: Bounds = DEFAULT_BOUNDS
) -> AsyncIterator[System]:
    """A running system over a store; at the end what was decided is committed and the memories are saved."""
    journal = Journal(
        store,
        store.codec,
        clock,
        ids,
        batch_events_max=bounds.batch_events_max,
        state_cache_max=bounds.state_cache_max,
        pending_commands_max=bounds.pending_commands_max,
    )
    system = System(journal, roster, bounds=bounds)
    async with trio.open_nursery() as outer:
        outer.start_soon(journal.run)
        async with trio.open_nursery() as inner:
            await inner.start(system.run)
            yield system
            inner.cancel_scope.cancel()
        journal.close()
    if journal.proposed == journal.position:
        try:
            store.save(system.memories(), journal.reactions_due())
        except PersistenceError as error:
            # Nothing is lost: the next start folds the journal instead, and makes reactions without effect once more.
            log.error("memories not saved", reason=str(error))
