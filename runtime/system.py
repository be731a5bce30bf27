"""The actors of one node: a roster of roles over a journal, one place for each tenant's or the node's own.

`open_system` starts it: memories are folded from their snapshots and the journal, reactions go on where they were, then asks are
taken. When it ends, callers still waiting are told, what was decided is committed, and the memories are saved.
"""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec
import structlog
import trio
from eventsourcing.persistence import PersistenceError
from structlog.typing import FilteringBoundLogger

from runtime.actor import Actor, Surroundings
from runtime.actors import Actors
from runtime.clock import Clock
from runtime.delivery import Context, Delivery
from runtime.durable import DurableCell
from runtime.errors import Unreachable
from runtime.evidence import Unreadable
from runtime.ids import Ids
from runtime.journal import Journal
from runtime.kind import Interceptor, Kind, may_wait
from runtime.life import Work, working
from runtime.records import Command, Recorded
from runtime.recovery import NODE, UNHEARD, Fold, Recovery, hearers, shape, whole
from runtime.room import Room
from runtime.states import STATE_CACHE_BYTES
from runtime.store.contract import Memory
from runtime.store.store import Store
from runtime.supervision import Backoff, Supervision
from runtime.timers import Timers
from runtime.trace import of_record, span

log = structlog.get_logger()
R = TypeVar("R")


class Bounds(NamedTuple):
    """How much of everything there may be."""

    mailbox_max: int = 1024
    ask_seconds_max: float = 30.0
    batch_events_max: int = 4096
    state_cache_bytes_max: int = STATE_CACHE_BYTES
    pending_commands_max: int = 10_000
    handler_warn_seconds: float = 0.0
    handler_seconds_max: float = 0.0


DEFAULT_BOUNDS = Bounds()
REPLAY_PAGE = 2_000
SAVE_RECORDS = 20_000
SAVE_AGAIN_SECONDS = 1.0
RESTART_BACKOFF = Backoff(seconds=0.05, seconds_max=5.0)
TENANTS_KNOWN_MAX = 10_000
"""Of so many tenants is kept where their last record stands; past that all are forgotten, and what is recorded since is kept."""

CLOCK_AHEAD_SECONDS_MAX = 24 * 3600.0


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

    @property
    def log(self) -> FilteringBoundLogger:
        return self._system.log_levels.logger(self._cell)

    @property
    def traceparent(self) -> str:
        context = self._context()
        position = context.cause.removeprefix("@")
        derived = of_record(context.correlation, int(position)) if position.isdigit() else ""
        return span.get() or context.traceparent or derived

    @property
    def tracestate(self) -> str:
        return self._context().tracestate

    def tell(self, message: Command[Any]) -> None:
        self._system.tell(message, self._context())

    async def ask(self, message: Command[R]) -> R:
        return await self._system.ask(message, self._context())

    def rearm(self) -> None:
        self._system.timers.refresh(self._cell)

    def run(self, work: Callable[..., Awaitable[None]], *args: object) -> None:
        self._cell._start_work(work, Work(self._cell, None, self._context()), args)


class System(Actors):
    """Routes messages to the places of the roster. Made by `open_system`."""

    def __init__(
        self,
        journal: Journal,
        roster: Sequence[Role],
        *,
        bounds: Bounds = DEFAULT_BOUNDS,
        interceptors: tuple[Interceptor, ...] = (),
        chance: random.Random | None = None,
    ) -> None:
        super().__init__(
            clock=journal.clock,
            ids=journal.ids,
            chance=chance,
            ask_seconds_max=bounds.ask_seconds_max,
            interceptors=interceptors,
            handler_warn_seconds=bounds.handler_warn_seconds,
            handler_seconds_max=bounds.handler_seconds_max,
        )
        self.journal = journal
        self.roles = {role.name: role for role in roster}
        self.cells: dict[tuple[str, str], DurableCell] = {}
        self.timers = Timers(self)
        self._kind_by_role = {role.name: _kind_of(role, bounds.mailbox_max) for role in roster}
        self._kinds.update(self._kind_by_role)
        for kind in self._kind_by_role.values():
            kind.interceptors = interceptors
        self._cells_by_role: dict[str, dict[str, DurableCell]] = {role.name: {} for role in roster}
        """Where each role is, for each tenant that it was looked for."""
        self._places: dict[type[Command[Any]], tuple[Role, dict[str, DurableCell]]] = {}
        """Who takes a message: which role, and for each tenant where that is."""
        for role in roster:
            self._places.update(dict.fromkeys(role.actor.takes, (role, self._cells_by_role[role.name])))
        self._names_by_event = hearers(roster)
        self._shapes = {role.name: shape(role.actor) for role in roster}
        self._running = False
        self._started_at = 0.0
        self._to_rebuild: dict[tuple[str, str], DurableCell] = {}
        self._rebuilding = False
        self._newest_by_tenant: dict[str, int] = {}
        self._newest_unknown = journal.position
        journal.on_commit = self._on_commit
        journal.on_failure = self._on_failure

    # ---- asking and telling

    async def ask(self, message: Command[R], context: Context, seconds: float | None = None) -> R:
        """Asks whoever takes this type of message, as `ActorRef.ask` does; the answer leaves after the commit."""
        return await self._route(message, context).ask(message, seconds=seconds, context=context)

    def place(self, message: Command[Any], context: Context) -> DurableCell:
        """Who takes this message: what is sent there is handled in the order in which it was sent. Raises Unreachable."""
        return self._route(message, context)

    def post(self, message: Command[Any], context: Context) -> Delivery:
        """Asks now, and leaves it to the caller when to wait for the answer (`Delivery.wait`)."""
        self.messages += 1
        return self._route(message, context)._submit(message, self.messages, None, context, None, None)

    def tell(self, message: Command[Any], context: Context) -> None:
        """Sends a message without waiting. Raises Overloaded when there is no room, Unreachable when nobody takes it."""
        self._route(message, context).tell(message, context=context)

    async def tell_when_free(self, message: Command[Any], context: Context) -> None:
        """Sends a message as soon as there is room for it."""
        await self._route(message, context).tell_when_free(message, context=context)

    def _route(self, message: Command[Any], context: Context) -> DurableCell:
        place = self._places.get(type(message))
        if place is None:
            raise Unreachable(f"nobody takes {type(message).__name__}")
        if self._ending or not self._running:
            raise Unreachable("the node is not running")
        role, cells = place
        cell = cells.get(context.tenant)
        if cell is None:
            cell = cells[context.tenant] = self._cell(role, context.tenant)
        return cell

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

    def _hearer(self, name: str, tenant: str) -> DurableCell:
        cells = self._cells_by_role[name]
        cell = cells.get(tenant)
        if cell is None:
            cell = cells[tenant] = self._cell(self.roles[name], tenant)
        return cell

    def remember(self, recorded: Sequence[Recorded]) -> None:
        """Folds proposed records into the memories of all who hear them."""
        for record in recorded:
            for name in self._names_by_event.get(type(record.event), ()):
                cell = self._hearer(name, record.meta.tenant)
                cell.remember(record)
                if cell.wakes and not cell.is_running:  # one that runs is asked at the end of its turn
                    self.timers.refresh(cell)

    def newest(self, tenant: str) -> int:
        """Past this position nothing of the tenant is committed; as far as is known, its last record stands there."""
        return self._newest_by_tenant.get(tenant, self._newest_unknown)

    def _on_commit(self, recorded: Sequence[Recorded]) -> None:
        heard, newest = self._names_by_event, self._newest_by_tenant
        if len(newest) > TENANTS_KNOWN_MAX:
            self._newest_unknown = recorded[0].position
            newest.clear()
        for record in recorded:
            newest[record.meta.tenant] = record.position
            for name in heard.get(type(record.event), ()):
                cell = self._hearer(name, record.meta.tenant)
                # What comes while an actor is made anew, it finds behind its fold.
                if record.position > cell.reacted and not cell.rebuilding:
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
            else:
                cell.forget()  # at the end nothing is folded any more, and what is wrong must not be saved

    def rebuild_soon(self, cell: DurableCell) -> None:
        """Folds the memory of an actor anew, and makes it; several at once share one reading of the journal."""
        self._to_rebuild[cell.role, cell.key] = cell
        if not self._rebuilding:
            self._rebuilding = True
            self.start(self._rebuild)

    async def _rebuild(self) -> None:
        try:
            while self._to_rebuild:
                cells, self._to_rebuild = self._to_rebuild, {}
                await self._rebuild_all(cells)
        finally:
            self._rebuilding = False

    async def _rebuild_all(self, cells: dict[tuple[str, str], DurableCell]) -> None:
        journal = self.journal
        failures = journal.failures
        saved = await journal.read_patiently(journal.store.memories)
        durable = await journal.read_patiently(journal.store.reactions)
        reacted = {name: durable.get(name, 0) if cell.reacted < 0 else cell.reacted for name, cell in cells.items()}
        recovery = Recovery(self.roles, saved, reacted, only=tuple(cells))
        position = await self._replay(recovery, recovery.start)
        while (newest := journal.provisional(position)) is None:  # memory has lost what was committed meanwhile
            position = await self._replay(recovery, position)
        for record in newest:
            recovery.take(record, committed=record.position <= journal.position)
        for name, cell in cells.items():
            if journal.failures > failures:
                # A commit failed meanwhile: what had been reacted to may be lost with it.
                self._to_rebuild[name] = cell
            else:
                self._incarnate(cell, recovery.folds[name])

    # ---- starting and stopping

    async def recover(self) -> None:
        """Folds all memories; from then on messages are taken."""
        journal = self.journal
        self._started_at = self.clock.now()
        saved = await journal.read_with(journal.store.memories)
        recovery = Recovery(self.roles, saved, await journal.read_with(journal.store.reactions))
        await self._replay(recovery, recovery.start)
        for (name, key), fold in sorted(recovery.folds.items()):
            self._incarnate(self._add(self.roles[name], key), fold)
        self._running = True

    def opened(self) -> None:
        """From now on the world can reach the node: what was silent since the start could not be heard."""
        self.timers.tell_pause(self.clock.now() - self._started_at)

    async def _replay(self, recovery: Recovery, position: int) -> int:
        """Folds all that is committed past a position; returns the last one."""
        if not recovery.hears:
            return self.journal.position
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
        """Folds all memories; from then on messages are taken. Raises Unreadable."""
        try:
            await self.recover()
        except PersistenceError as error:
            raise Unreadable(f"{self.journal.store.place} can't be read: {error}") from error
        nursery.start_soon(self.timers.run)
        nursery.start_soon(self._save_now_and_then)
        nursery.start_soon(self.journal.snapshots.run)

    async def _save_now_and_then(self) -> None:
        """Saves the memories every SAVE_RECORDS records, so that a start after a crash has little to fold."""
        saved_at = self.journal.position
        while True:
            await self.journal.wait_past(saved_at + SAVE_RECORDS)
            if await self.save_memories():
                saved_at = self.journal.position
            else:
                await trio.sleep(SAVE_AGAIN_SECONDS)

    async def save_memories(self) -> bool:
        """Saves all memories as they are now; False where one is not there, or what they rest on was not committed."""
        memories = await self._copy_memories()
        if memories is None or not await self.journal.settled():
            return False
        try:
            await self.journal.write_with(self.journal.store.save, memories, ())
        except PersistenceError as error:
            log.warning("memories not saved", reason=str(error))
        return True

    async def _copy_memories(self) -> list[Memory] | None:
        """All memories, each as of its own moment, the rest of the world served in between; None where an actor has none now.

        They are good once what they were folded from is committed, and only together: an actor that appears meanwhile has its
        whole past behind the first of these moments.
        """
        failures, began = self.journal.failures, self.journal.proposed
        memories = self._unheard(began)
        for cell in list(self.cells.values()):
            if cell.actor is None or self.journal.failures > failures:
                return None
            memories.append(self._memory(cell, cell.actor, self.journal.proposed))
            await trio.lowlevel.checkpoint()
        return whole(memories, began) if self.journal.failures == failures else None

    def _unheard(self, position: int) -> list[Memory]:
        """That there is no actor of a role, for which a start would otherwise look through all of the journal."""
        heard = {cell.role for cell in self.cells.values()}
        return [
            Memory(UNHEARD + name, "", self._shapes[name], position, b"")
            for name, role in self.roles.items()
            if role.actor.hears and name not in heard
        ]

    def _memory(self, cell: DurableCell, actor: Actor[Any, Any], position: int) -> Memory:
        return Memory(cell.role, cell.key, self._shapes[cell.role], position, self.journal.codec.pack(actor.memory))

    def last_words(self) -> tuple[list[Memory], list[tuple[str, str, int]]]:
        """What to save at a clean stop, when nothing is provisional: all memories (or none), and how far each actor has reacted."""
        position = self.journal.position
        assert self.journal.proposed == position
        cells = list(self.cells.values())
        if any(cell.actor is None for cell in cells):
            return [], self.journal.reactions_due()
        memories = [self._memory(cell, cell.actor, position) for cell in cells if cell.actor is not None]
        memories = whole([*memories, *self._unheard(position)], position)
        # Who owes nothing has reacted to everything: the next start need not look at what it did not hear.
        reacted = [(cell.role, cell.key, position) for cell in cells if not cell.owes]
        return memories, [*self.journal.reactions_due(), *reacted]


def _kind_of(role: Role, mailbox_max: int) -> Kind:
    budget = Supervision(
        restarts_max=role.restarts_max, window_seconds=role.restart_window_seconds, backoff=RESTART_BACKOFF
    )
    return Kind(role.name, mailbox_max=role.mailbox_max or mailbox_max, supervision=budget)


@asynccontextmanager
async def open_system(
    store: Store,
    roster: Sequence[Role],
    *,
    clock: Clock,
    ids: Ids,
    bounds: Bounds = DEFAULT_BOUNDS,
    interceptors: tuple[Interceptor, ...] = (),
    chance: random.Random | None = None,
    room: Room | None = None,
) -> AsyncIterator[System]:
    """A running system over a store; at the end what was decided is committed and the memories are saved.

    New work is refused while there is no `room`.

    Raises ValueError for an interceptor that is an `async def`, and Unreadable where the memories can't be read, or where the newest
    record is from a time that has not come yet by more than CLOCK_AHEAD_SECONDS_MAX.
    """
    if any(may_wait(one) for one in interceptors):
        raise ValueError("an interceptor of a roster can't wait: what a journal records is decided in one step")
    newest_at = store.newest_at()
    if newest_at > clock.now() + CLOCK_AHEAD_SECONDS_MAX:
        raise Unreadable(
            f"{store.place} was written to {newest_at - clock.now():.0f} s from now: set the machine's clock"
        )
    clock.not_before(newest_at)
    journal = Journal(
        store,
        store.codec,
        clock,
        ids,
        batch_events_max=bounds.batch_events_max,
        state_cache_bytes_max=bounds.state_cache_bytes_max,
        pending_commands_max=bounds.pending_commands_max,
    )
    journal.room = room
    system = System(journal, roster, bounds=bounds, interceptors=interceptors, chance=chance)
    async with trio.open_nursery() as outer:
        outer.start_soon(journal.run)
        async with trio.open_nursery() as inner:
            await inner.start(system.run)
            yield system
            inner.cancel_scope.cancel()
        journal.close()
    if journal.proposed == journal.position:
        try:
            store.save(*system.last_words())
        except PersistenceError as error:
            # Nothing is lost: the next start folds the journal instead, and makes reactions without effect once more.
            log.error("memories not saved", reason=str(error))
