"""The system of actors of one node: who takes which message, who runs next, what happens to one that fails, and when timers come.

`open_system` starts it: memories are folded from their snapshots and the journal, reactions go on where they were, then asks are
taken. When it ends, callers still waiting are told, what was decided is committed, and the memories are saved.
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec
import outcome
import structlog
import trio
from eventsourcing.persistence import PersistenceError

from runtime.actor import Actor, Surroundings
from runtime.clock import Clock
from runtime.durable import WAKE, Cell
from runtime.errors import Exhausted, Unreachable
from runtime.ids import Ids
from runtime.journal import Context, Journal
from runtime.mailbox import Envelope
from runtime.records import Command, Recorded
from runtime.recovery import NODE, Fold, Recovery, hearers, shape
from runtime.store.sqlite import Memory, SqliteStore
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
QUANTUM = 64
PASS_STEPS = 256
CALLS_BETWEEN_CHECKPOINTS = 64
SWEEP_SECONDS = 0.05
REPLAY_PAGE = 2_000

_working: ContextVar[Context | None] = ContextVar("working", default=None)


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
    """What an actor may use of its runtime."""

    def __init__(self, system: "System", cell: Cell) -> None:
        self.key = cell.key
        self.clock = system.clock
        self.ids = system.ids
        self._system = system
        self._cell = cell

    def _context(self) -> Context:
        return _working.get() or msgspec.structs.replace(self._cell.context, key="", digest=b"")

    def tell(self, message: Command[Any]) -> None:
        self._system.tell(message, self._context())

    async def ask(self, message: Command[R]) -> R:
        return await self._system.ask(message, self._context())

    def run(self, work: Callable[..., Awaitable[None]], *args: object) -> None:
        self._system.start_work(self._cell, work, self._context(), args)


class System:
    """Routes messages to cells and runs them. Made by `open_system`."""

    def __init__(
        self,
        journal: Journal,
        roster: Sequence[Role],
        *,
        mailbox_max: int = 1024,
        ask_seconds_max: float = 30.0,
    ) -> None:
        self.journal = journal
        self.clock: Clock = journal.clock
        self.ids: Ids = journal.ids
        self.mailbox_max = mailbox_max
        self.ask_seconds_max = ask_seconds_max
        self.roles = {role.name: role for role in roster}
        self.cells: dict[tuple[str, str], Cell] = {}
        self.timers = Timers(self)
        self._role_by_message = {message: role for role in roster for message in role.actor.takes}
        self._names_by_event = hearers(roster)
        self._ready: deque[Cell] = deque()
        self._wanted = trio.Event()
        self._deadlines: dict[float, deque[tuple[float, Envelope]]] = {}
        self._calls = 0
        self._running = False
        self.nursery: trio.Nursery | None = None
        self._failed: BaseException | None = None
        journal.on_commit = self._on_commit
        journal.on_failure = self._on_failure

    # ---- asking and telling

    async def ask(self, message: Command[R], context: Context, seconds: float | None = None) -> R:
        """Sends a message and waits for its answer.

        Raises Refused, Conflict or Overloaded when the answer is no; NotAnswered after `seconds` (default: `ask_seconds_max`), which
        tells whether the message had begun; Crashed when the actor failed; Unreachable when nobody takes this type of message.
        A caller that is cancelled withdraws its message if it has not begun.
        """
        cell = self._route(message, context)
        envelope = Envelope(message, context)
        self._watch(envelope, seconds or self.ask_seconds_max)
        if cell.idle:
            cell.perform(envelope)
            self._after_step(cell)
        else:
            await cell.mailbox.put_when_free(envelope)
            self._schedule(cell)
        self._calls += 1
        if envelope.result is not None and self._calls % CALLS_BETWEEN_CHECKPOINTS == 0:
            await trio.lowlevel.checkpoint()
        answer: R = await envelope.wait()
        return answer

    def tell(self, message: Command[Any], context: Context) -> None:
        """Sends a message without waiting. Raises Overloaded when there is no room, Unreachable when nobody takes it."""
        cell = self._route(message, context)
        cell.mailbox.put(Envelope(message, context))
        self._schedule(cell)

    async def tell_when_free(self, message: Command[Any], context: Context) -> None:
        """Sends a message as soon as there is room for it."""
        cell = self._route(message, context)
        await cell.mailbox.put_when_free(Envelope(message, context))
        self._schedule(cell)

    def _route(self, message: Command[Any], context: Context) -> Cell:
        role = self._role_by_message.get(type(message))
        if role is None:
            raise Unreachable(f"nobody takes {type(message).__name__}")
        if not self._running:
            raise Unreachable("the node is not running")
        return self._cell(role, context.tenant)

    def _cell(self, role: Role, tenant: str) -> Cell:
        key = tenant if role.key == "tenant" else NODE
        cell = self.cells.get((role.name, key))
        if cell is None:
            # A tenant without a past: nothing of it stands in the journal, so its memory begins empty, here.
            cell = self._add(role, key)
            position = self.journal.position
            self._incarnate(cell, Fold(role.actor.fresh(), position, position))
        return cell

    # ---- running

    def _schedule(self, cell: Cell) -> None:
        if not cell.queued and cell.ready:
            cell.queued = True
            self._ready.append(cell)
            self._wanted.set()

    async def _dispatch(self) -> None:
        """Runs ready cells in turn: up to QUANTUM items of each, PASS_STEPS items between two looks at the rest of the world."""
        while True:
            await self._wanted.wait()
            steps = 0
            while self._ready and steps < PASS_STEPS:
                cell = self._ready.popleft()
                cell.queued = False
                turn = 0
                while cell.ready and turn < QUANTUM:
                    cell.perform(cell.next())
                    turn += 1
                steps += turn
                self._after_step(cell)
            if not self._ready:
                self._wanted = trio.Event()
            await trio.lowlevel.checkpoint()

    def _after_step(self, cell: Cell) -> None:
        self.timers.refresh(cell)
        self._schedule(cell)

    def fetch(self, cell: Cell, missing: Sequence[str], context: Context) -> None:
        """Blocks the cell until the states that its step needs have been read."""
        assert self.nursery is not None
        cell.blocked = True
        self.nursery.start_soon(self._fetch, cell, missing, context)

    async def _fetch(self, cell: Cell, missing: Sequence[str], context: Context) -> None:
        await self.journal.load(missing, context)
        cell.blocked = cell.actor is None
        self._schedule(cell)

    def wake(self, cell: Cell) -> None:
        """Queues the actor's timer behind the messages that came before it."""
        cell.mailbox.push(WAKE)
        self._schedule(cell)

    # ---- what was recorded

    def remember(self, recorded: Sequence[Recorded]) -> None:
        """Folds proposed records into the memories of all who hear them."""
        for record in recorded:
            for cell in self._hearers(record):
                try:
                    cell.remember(record)
                except Exception as error:
                    self.crash(cell, record, error)
                self.timers.refresh(cell)

    def _hearers(self, record: Recorded) -> Iterable[Cell]:
        for name in self._names_by_event.get(type(record.event), ()):
            yield self._cell(self.roles[name], record.meta.tenant)

    def _on_commit(self, recorded: Sequence[Recorded]) -> None:
        for record in recorded:
            for cell in self._hearers(record):
                if record.position > cell.reacted:
                    cell.reactions.append(record)
                    self._schedule(cell)

    @property
    def reactions_waiting(self) -> int:
        """How many reactions wait, over all actors."""
        return sum(len(cell.reactions) for cell in self.cells.values())

    # ---- failures

    def crash(self, cell: Cell, item: object, error: BaseException) -> str:
        """An actor failed: logs it under an id and restarts it from its records, or ends the node when that happens too often."""
        error_id = self._count_crash(cell, _describe(item), error)
        self._restart(cell)
        return error_id

    def _count_crash(self, cell: Cell, what: str, error: BaseException) -> str:
        role = self.roles[cell.name]
        error_id = self.ids.new()
        log.error("actor failed", actor=cell.name, key=cell.key, item=what, error_id=error_id, exc_info=error)
        at = self.clock.now()
        cell.crashes.append(at)
        while cell.crashes[0] < at - role.restart_window_seconds:
            cell.crashes.popleft()
        if len(cell.crashes) > role.restarts_max:
            reason = f"{cell.name} {cell.key} failed {len(cell.crashes)} times in {role.restart_window_seconds:g} s"
            self._end(Exhausted(f"{reason}; last: {error!r} (error {error_id})"))
        elif cell.actor is None and self.nursery is not None:
            self.nursery.start_soon(self._rebuild, cell)
        return error_id

    def _end(self, reason: BaseException) -> None:
        self._failed = self._failed or reason
        if self.nursery is not None:
            self.nursery.cancel_scope.cancel()

    def _restart(self, cell: Cell) -> None:
        if cell.actor is None or self.nursery is None:
            return
        cell.actor = None
        cell.blocked = True
        cell.reactions.clear()
        for scope in cell.work:
            scope.cancel()
        self.nursery.start_soon(self._rebuild, cell)

    def _on_failure(self) -> None:
        """A commit failed: every memory may hold what was never recorded, so all are folded anew."""
        for cell in self.cells.values():
            cell.reacted = -1
            cell.touched = min(cell.touched, self.journal.position)  # nothing later is waited for: it will never be
            self._restart(cell)

    async def _rebuild(self, cell: Cell) -> None:
        name, journal = (cell.name, cell.key), self.journal
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
            await self._rebuild(cell)
            return
        self._incarnate(cell, recovery.folds[name])
        self._schedule(cell)

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
        for cell in self.cells.values():
            self._schedule(cell)

    async def _replay(self, recovery: Recovery) -> int:
        position = recovery.start
        while page := await self.journal.read(position, REPLAY_PAGE):
            for record in page:
                recovery.take(record)
            position = page[-1].position
        return position

    def _add(self, role: Role, key: str) -> Cell:
        cell = Cell(self, role.name, key, role.mailbox_max or self.mailbox_max)
        self.cells[role.name, key] = cell
        return cell

    def _incarnate(self, cell: Cell, fold: Fold) -> None:
        """Gives the cell a new actor with this memory, and the reactions that it owes."""
        role = self.roles[cell.name]
        here = Here(self, cell)
        try:
            actor = role.make(here) if role.make is not None else role.actor(here)
            actor.memory = fold.memory
            actor.started(self.journal.stamp())
        except Exception as error:
            self._count_crash(cell, "start", error)
            return
        cell.actor, cell.blocked = actor, False
        cell.touched = max(fold.position, cell.touched)
        cell.reacted = fold.reacted
        cell.reactions.extend(fold.reactions)
        self.timers.refresh(cell)

    def start_work(
        self, cell: Cell, work: Callable[..., Awaitable[None]], context: Context, args: Sequence[object]
    ) -> None:
        """Runs an actor's work beside it, until it ends or the actor does."""
        assert self.nursery is not None
        self.nursery.start_soon(self._work, cell, work, context, args)

    async def _work(
        self, cell: Cell, work: Callable[..., Awaitable[None]], context: Context, args: Sequence[object]
    ) -> None:
        _working.set(context)
        with trio.CancelScope() as scope:
            cell.work.add(scope)
            try:
                await work(*args)
            except Exception as error:
                self.crash(cell, "work", error)
            finally:
                cell.work.discard(scope)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Recovers, then runs until cancelled. Raises Exhausted when an actor failed more often than its role allows."""
        try:
            async with trio.open_nursery() as nursery:
                self.nursery = nursery
                await self.recover()
                nursery.start_soon(self._dispatch)
                nursery.start_soon(self._sweep)
                nursery.start_soon(self.timers.run)
                task_status.started()
        finally:
            self._running = False
            self.nursery = None
            self._turn_away()
        if self._failed is not None:
            raise self._failed

    def _turn_away(self) -> None:
        """Whoever still waits in a mailbox is told that nobody will come."""
        for cell in self.cells.values():
            for item in cell.clear():
                if isinstance(item, Envelope):
                    item.settle(outcome.Error(Unreachable("the node is stopping")))

    def memories(self) -> list[Memory]:
        """The folds as they stand, for saving; only once nothing is provisional."""
        assert self.journal.proposed == self.journal.position
        shapes = {name: shape(role.actor) for name, role in self.roles.items()}
        return [
            Memory(
                cell.name,
                cell.key,
                shapes[cell.name],
                self.journal.position,
                self.journal.codec.pack(cell.actor.memory),
            )
            for cell in self.cells.values()
            if cell.actor is not None
        ]

    # ---- deadlines

    def _watch(self, envelope: Envelope, seconds: float) -> None:
        queue = self._deadlines.get(seconds)
        if queue is None:
            queue = self._deadlines[seconds] = deque()
        queue.append((trio.current_time() + seconds, envelope))

    async def _sweep(self) -> None:
        """One look at all deadlines every SWEEP_SECONDS: a timer for each ask would cost more than the ask."""
        while True:
            await trio.sleep(SWEEP_SECONDS)
            now = trio.current_time()
            for seconds, queue in list(self._deadlines.items()):
                while queue and (queue[0][1].result is not None or queue[0][0] <= now):
                    queue.popleft()[1].expire()
                if not queue:
                    del self._deadlines[seconds]

    # ---- looking on

    def tree(self) -> list[dict[str, Any]]:
        """Every actor with its state, mailbox and counts."""
        return [
            {
                "actor": cell.name,
                "key": cell.key,
                "state": "running" if cell.actor is not None else "restarting",
                "mailbox": len(cell.mailbox),
                "mailbox_peak": cell.mailbox.peak,
                "mailbox_max": cell.mailbox.messages_max,
                "reactions": len(cell.reactions),
                "reacted": cell.reacted,
                "handled": cell.handled,
                "crashes": len(cell.crashes),
                "due": cell.due,
            }
            for cell in self.cells.values()
        ]


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
    system = System(journal, roster, mailbox_max=bounds.mailbox_max, ask_seconds_max=bounds.ask_seconds_max)
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


def _describe(item: object) -> str:
    if isinstance(item, Envelope):
        return type(item.message).__name__
    return item.kind if isinstance(item, Recorded) else str(item)
