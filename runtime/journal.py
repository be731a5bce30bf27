"""The only writer: decisions become records, all that waits becomes one transaction, and answers leave after its commit.

Decisions go on over provisional states while a commit runs. The rules that keep that honest:

1. A position is given out when a decision is made, so the order of decisions is the order of the journal.
2. Whoever was told something on the strength of a provisional state is told after that state's commit: an answer without events,
   and a refusal too, waits for the positions that it was based on.
3. When a commit fails, everything proposed so far fails with it, and every provisional state is forgotten. Nobody had an answer.
4. A batch is taken when the one before has ended, whole, up to `batch_events_max`. It never waits for more.
5. After commits that failed in a row nothing is tried for a while, up to `RETRY_SECONDS`: all actors are folded anew each time, and what
   they owe is proposed at once, so that a full disk would otherwise keep a processor busy and the log growing.
6. How far an actor has reacted is written with the commands that its reaction caused, in the order of the queue; a reaction without
   effect is written with the next batch.
"""

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import structlog
import trio
from eventsourcing.persistence import PersistenceError

from runtime.clock import Clock
from runtime.codec import Codec
from runtime.delivery import Context
from runtime.errors import Conflict, Failure, NotCommitted, Overloaded, Refused, Unreachable
from runtime.ids import Ids
from runtime.records import Command, Meta, Recorded, evolved
from runtime.room import Room
from runtime.store.contract import REPLY_SECONDS, Batch, Draft
from runtime.store.store import Store
from runtime.threads import Worker, open_worker, run_blocking

log = structlog.get_logger()

TAIL_MAX = 20_000
TAIL_BYTES_MAX = 16 * 2**20
READERS_MAX = 4
RETRY_SECONDS = 2.0
PAUSE_SECONDS_MIN = 0.05
FORGET_SECONDS = 3600.0
ENDED = "the node has stopped, and does not know whether this is recorded: ask again under the same idempotency key"


class Held(NamedTuple):
    """A stream's state as of its newest decision, and the position of that decision's last record."""

    state: Any
    version: int
    tenant: str
    position: int


class Kept(NamedTuple):
    """The answer that an idempotency key got, and the position that it waits for."""

    digest: bytes
    reply: Any
    position: int


class Proposal(NamedTuple):
    """What a step of decisions found: the records to be, and the states that they lead to."""

    recorded: Sequence[Recorded]
    drafts: Sequence[Draft]
    states: dict[str, Held]


@dataclass(slots=True)
class Entry:
    """What waits for a commit: what it brings, and whom to tell when that is done (None) or has failed (why)."""

    settle: Callable[[Failure | None], None]
    recorded: Sequence[Recorded] = ()
    drafts: Sequence[Draft] = ()
    reaction: tuple[str, str, int] | None = None
    replies: list[tuple[str, str, bytes, bytes, int, float]] = field(default_factory=list)


class Journal:
    """The journal of one node as its event loop sees it. Made and run by the system."""

    def __init__(
        self,
        store: Store,
        codec: Codec,
        clock: Clock,
        ids: Ids,
        *,
        batch_events_max: int = 4096,
        state_cache_max: int = 50_000,
        pending_commands_max: int = 10_000,
    ) -> None:
        self.store = store
        self.codec = codec
        self.clock = clock
        self.ids = ids
        self.batch_events_max = batch_events_max
        # What is not committed yet must not be forgotten: the answer to a key that had no effect is found only here until then.
        self.state_cache_max = max(state_cache_max, 2 * pending_commands_max)
        self.pending_commands_max = pending_commands_max
        self.position = store.position
        self.proposed = store.position
        self.commits = 0
        self.failures = 0
        self.last_failure = ""
        self._failures_in_row = 0
        self.room: Room | None = None
        self.on_commit: Callable[[Sequence[Recorded]], None] = lambda recorded: None
        self.on_failure: Callable[[], None] = lambda: None
        self._at = 0.0
        self._replies_forgotten_at = 0.0
        self._states: OrderedDict[str, Held] = OrderedDict()
        self._kept: OrderedDict[tuple[str, str], Kept | None] = OrderedDict()
        self._reactions: dict[tuple[str, str], tuple[str, str, int]] = {}
        self._fetching: dict[str | tuple[str, str], bool] = {}
        self._waiting: deque[Entry] = deque()
        self._flying: list[Entry] = []
        self._tail: deque[tuple[Recorded, int]] = deque()
        self._tail_bytes = 0
        self._arrived = trio.Event()
        self._committed = trio.Event()
        self._readers = trio.CapacityLimiter(READERS_MAX)
        self._stopping = False
        self._ended = False
        self._worker: Worker | None = None
        self._closed = trio.Event()

    # ---- time

    def stamp(self) -> float:
        """The time of a step: never below the last one."""
        self._at = max(self._at, self.clock.now())
        return self._at

    # ---- what a decision needs

    @property
    def backlog(self) -> int:
        """How many proposals wait for a commit."""
        return len(self._waiting) + len(self._flying)

    def admit(self) -> None:
        """Raises Overloaded when too much waits for the disk already, Unreachable at the end."""
        if self._stopping:
            raise Unreachable("the node is stopping")
        if self.backlog >= self.pending_commands_max:
            raise Overloaded(f"{self.backlog} commands wait for the disk", retry_seconds=RETRY_SECONDS)

    def check_room(self, message: Command[Any]) -> None:
        """Raises NoRoom for new work while the disk is short of it."""
        if message.is_new_work and self.room is not None:
            self.room.check()

    def missing(self, streams: Iterable[str], context: Context) -> list[str]:
        """The streams whose state has to be fetched, and `""` where the idempotency key has to be looked up."""
        absent = [stream for stream in streams if stream not in self._states]
        if context.key and (context.tenant, context.key) not in self._kept:
            absent.append("")
        return absent

    async def load(self, missing: Sequence[str], context: Context) -> None:
        """Fetches on a reader thread what `missing` named; whoever called asks `missing` again."""
        fetching = [(context.tenant, context.key) if name == "" else name for name in missing]
        for name in fetching:
            self._fetching[name] = False
        found = await self.read_patiently(self._fetch, fetching)
        for name, value in zip(fetching, found, strict=True):
            # Written to meanwhile (by another who had fetched it too): what was read may be older than what is known.
            if self._fetching.pop(name, True):
                continue
            if isinstance(name, tuple):
                self._kept[name] = value
            else:
                self._states[name] = value
        self._shrink()

    def _fetch(self, names: Sequence[str | tuple[str, str]]) -> list[Any]:
        return [self._find_kept(*name) if isinstance(name, tuple) else self._fold(name) for name in names]

    def _find_kept(self, tenant: str, key: str) -> Kept | None:
        found = self.store.find_reply(tenant, key)
        return Kept(found[0], msgspec.Raw(found[1]), 0) if found else None

    def _fold(self, stream: str) -> Held:
        aggregate = self.codec.aggregate_of(stream)
        state, tenant, position, version = aggregate.initial, "", 0, 0
        for recorded in self.store.read_stream(stream):
            state = evolved(aggregate.evolve, state, recorded.event)
            tenant, position, version = tenant or recorded.meta.tenant, recorded.position, recorded.version
        return Held(state, version, tenant, position)

    def kept(self, context: Context) -> Kept | None:
        """What the context's idempotency key was answered before. Raises Refused when it was used for something else."""
        kept = self._kept.get((context.tenant, context.key)) if context.key else None
        if kept is not None and kept.digest != context.digest:
            kept_for = f"answers are kept for {REPLY_SECONDS / 3600:.0f} hours"
            raise Refused("key_reused", f"this idempotency key was used for another request; {kept_for}", status=422)
        return kept

    def touched(self, streams: Iterable[str]) -> int:
        """The newest position on which the states of these streams rest."""
        return max((self._states[stream].position for stream in streams), default=0)

    # ---- deciding

    def decide(self, decisions: Sequence[tuple[str, Command[Any]]], context: Context, at: float) -> Proposal:
        """Decides in order, each over the states that the ones before left. One refusal drops all; nothing is kept until `propose`."""
        states: dict[str, Held] = {}
        recorded: list[Recorded] = []
        drafts: list[Draft] = []
        correlation, codec = context.correlation, self.codec
        for stream, command in decisions:
            held = states.get(stream) or self._states[stream]
            if command.at != at or command.tenant != context.tenant:
                command = msgspec.structs.replace(command, at=at, tenant=context.tenant)
            aggregate = codec.aggregate_of(stream)
            if held.tenant and held.tenant != context.tenant:
                aggregate.decide(aggregate.initial, command)
                raise Conflict(f"the id of {stream} is taken")
            events = aggregate.decide(held.state, command)
            if not events:
                continue
            command_id = self.ids.new()
            correlation = correlation or command_id
            meta = Meta(
                id=command_id,
                cause=context.cause,
                correlation=correlation,
                tenant=context.tenant,
                principal=context.principal,
                at=at,
                command=codec.command_record(command, context.key),
            )
            state, version, position = held.state, held.version, self.proposed + len(recorded)
            for event in events:
                kind, data = codec.kind(event), codec.pack(event)
                position, version = position + 1, version + 1
                # What is folded from now on is what will stand on disk: an event that its own kind can't read fails here.
                event, name = codec.event(kind, data), codec.name(event)
                state = aggregate.evolve(state, event)
                recorded.append(
                    Recorded(position=position, stream=stream, version=version, kind=name, event=event, meta=meta)
                )
                drafts.append(Draft(position, stream, version, kind, meta, data))
                if meta.command is not None and len(events) > 1:
                    meta = msgspec.structs.replace(meta, command=None)
            states[stream] = Held(state, version, context.tenant, position)
        return Proposal(recorded, drafts, states)

    def propose(self, proposal: Proposal, entry: Entry, context: Context, reply: Any = None) -> None:
        """Makes what `decide` found the newest provisional state, and queues it for the next commit."""
        if proposal.recorded:
            entry.recorded, entry.drafts = proposal.recorded, proposal.drafts
            self.proposed = proposal.recorded[-1].position
            self._renew(self._states, proposal.states)
            self._shrink()
        if context.key:
            packed = self.codec.pack(reply)
            entry.replies.append((context.tenant, context.key, context.digest, packed, self.proposed, self._at))
            kept = Kept(context.digest, msgspec.Raw(packed), self.proposed)
            self._renew(self._kept, {(context.tenant, context.key): kept})
        self.queue(entry)

    def _renew(self, cache: OrderedDict[Any, Any], values: dict[Any, Any]) -> None:
        for name, value in values.items():
            cache[name] = value
            cache.move_to_end(name)
            if name in self._fetching:
                self._fetching[name] = True

    def queue(self, entry: Entry) -> None:
        """Queues an entry: one without drafts or replies just waits for all that was proposed before it."""
        if self._ended:
            entry.settle(Unreachable(ENDED))
            return
        self._waiting.append(entry)
        self._arrived.set()

    def _shrink(self) -> None:
        caches: tuple[OrderedDict[Any, Any], ...] = (self._states, self._kept)
        for cache in caches:
            while len(cache) > self.state_cache_max:
                name, held = next(iter(cache.items()))
                if held is not None and held.position > self.position:
                    break
                del cache[name]

    # ---- committing

    async def run(self) -> None:
        """Commits until `close`; ends when nothing waits any more."""
        worker = self._worker = open_worker("gavel-journal")
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._close_when_cancelled)
                # What was decided is committed even when the node is being cancelled: only a fenced journal stops at once.
                with trio.CancelScope(shield=True):
                    await self._commit_all(worker)
                nursery.cancel_scope.cancel()
        finally:
            self._stopping = True
            self._abandon()
            worker.close()

    def _abandon(self) -> None:
        """A journal that stops because it is fenced tells all who still wait, and who comes later: nobody else will."""
        self._ended = True
        entries = [*self._flying, *self._waiting]
        self._flying = []
        self._waiting.clear()
        for entry in entries:
            entry.settle(Unreachable(ENDED))

    async def _close_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.close()

    async def _commit_all(self, worker: Worker) -> None:
        while not self._stopping or self._waiting:
            await self._arrived.wait()
            await self._forget_replies(worker)
            # One tick: whoever was answered by the last commit gets the chance to be in the next.
            await trio.lowlevel.checkpoint()
            while self._waiting:
                await self._commit(worker)
                await trio.lowlevel.checkpoint()
            if not self._stopping:
                self._arrived = trio.Event()

    async def _forget_replies(self, worker: Worker) -> None:
        """Now and then: idempotency keys are kept for REPLY_SECONDS, not for ever."""
        now = self.clock.now()
        if now < self._replies_forgotten_at + FORGET_SECONDS:
            return
        self._replies_forgotten_at = now
        try:
            await worker.run(self.store.forget_replies, now - REPLY_SECONDS)
        except PersistenceError as error:
            log.warning("old replies not forgotten", reason=str(error))

    async def write_with(self, function: Callable[..., None], *arguments: Any) -> None:
        """Writes beside the records, on the writer's thread: after the commit that runs now, before the next."""
        assert self._worker is not None
        if self._ended:
            raise PersistenceError(ENDED)  # nobody works there any more, and whoever waits for it can't be cancelled
        await self._worker.run(function, *arguments)

    async def settled(self) -> bool:
        """Waits until all that is proposed now is committed; False where that failed."""
        done = trio.Event()
        told: list[Failure | None] = []

        def tell(failure: Failure | None) -> None:
            told.append(failure)
            done.set()

        self.queue(Entry(tell))
        await done.wait()
        return told == [None]

    def _take(self) -> list[Entry]:
        taken = [self._waiting.popleft()]
        events = len(taken[0].drafts)
        while self._waiting and events + len(self._waiting[0].drafts) <= self.batch_events_max:
            entry = self._waiting.popleft()
            events += len(entry.drafts)
            taken.append(entry)
        return taken

    async def _commit(self, worker: Worker) -> None:
        self._flying = self._take()
        drafts = [draft for entry in self._flying for draft in entry.drafts]
        replies = [row for entry in self._flying for row in entry.replies]
        self._reactions.update((entry.reaction[:2], entry.reaction) for entry in self._flying if entry.reaction)
        if drafts or replies:
            batch = Batch(drafts, replies, list(self._reactions.values()), self.stamp())
            try:
                await worker.run(self.store.append, batch)
            except (PersistenceError, OSError) as error:
                self._fail(error)
                await self._pause()
                return
            self.commits += 1
            self._failures_in_row = 0
            self._reactions.clear()
        self._succeed()

    def _succeed(self) -> None:
        entries, self._flying = self._flying, []
        recorded = [record for entry in entries for record in entry.recorded]
        if recorded:
            self.position = recorded[-1].position
            self._keep_in_tail(entries)
            committed, self._committed = self._committed, trio.Event()
            committed.set()
        for entry in entries:
            entry.settle(None)
        if recorded:
            self.on_commit(recorded)

    def _keep_in_tail(self, entries: Sequence[Entry]) -> None:
        """The newest records, bounded by their number and by their bytes on disk (small documents take fifty times as much in memory)."""
        tail = self._tail
        for entry in entries:
            for record, draft in zip(entry.recorded, entry.drafts, strict=True):
                tail.append((record, len(draft.data)))
                self._tail_bytes += len(draft.data)
        while len(tail) > TAIL_MAX or self._tail_bytes > TAIL_BYTES_MAX:
            self._tail_bytes -= tail.popleft()[1]

    def _fail(self, error: BaseException) -> None:
        self.failures += 1
        self._failures_in_row += 1
        self.last_failure = str(error)
        log.error("commit failed", reason=str(error), proposals=self.backlog)
        entries = [*self._flying, *self._waiting]
        self._flying = []
        self._waiting.clear()
        self._states.clear()
        self._kept.clear()
        self._reactions.clear()
        self.proposed = self.position
        self.on_failure()
        for entry in entries:
            entry.settle(NotCommitted(f"the journal could not commit: {error}", retry_seconds=RETRY_SECONDS))

    async def _pause(self) -> None:
        """Waits before the next commit, twice as long after each failure; not at the end, when all that waits is to be told."""
        seconds = PAUSE_SECONDS_MIN * 2 ** min(self._failures_in_row, 10)
        with trio.move_on_after(min(seconds, RETRY_SECONDS)):
            await self._closed.wait()

    def provisional(self, after: int) -> list[Recorded]:
        """Everything past a position that the file may not show yet, and what is still in the tail, in order."""
        records = [record for record, _ in self._tail if record.position > after]
        for entry in (*self._flying, *self._waiting):
            records += [record for record in entry.recorded if record.position > after]
        return records

    def reactions_due(self) -> list[tuple[str, str, int]]:
        """Reactions without effect that no batch has taken along yet: saved at a clean stop, made again after any other."""
        return list(self._reactions.values())

    def close(self) -> None:
        """No more proposals; `run` ends when what waits is committed."""
        self._stopping = True
        self._closed.set()
        self._arrived.set()

    # ---- reading

    async def read_with(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Runs a blocking read on one of the reader threads."""
        return await run_blocking(function, *arguments, limiter=self._readers)

    async def read_patiently(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """As `read_with`, and waits for a database that is away: what a node reads for itself, it can't go on without."""
        while True:
            try:
                return await self.read_with(function, *arguments)
            except PersistenceError as error:
                log.warning("the journal can't be read now", reason=str(error))
            await trio.sleep(RETRY_SECONDS)

    async def wait_past(self, position: int, seconds: float = math.inf) -> int:
        """Waits until something is committed past `position` (or the time is up); returns the last committed position."""
        with trio.move_on_after(seconds):
            while self.position <= position:
                await self._committed.wait()
        return self.position

    async def read(self, after: int, limit: int = 500, tenant: str | None = None) -> list[Recorded]:
        """Up to `limit` committed records past a position, from memory where it reaches back that far, else from the file."""
        if self._tail and self._tail[0][0].position <= after + 1:
            offset = after + 1 - self._tail[0][0].position
            found = [self._tail[i][0] for i in range(offset, min(offset + limit, len(self._tail)))]
            await trio.lowlevel.checkpoint()
        else:
            found = await self.read_patiently(self.store.read, after, limit)
        found = [record for record in found if record.position <= self.position]
        return found if tenant is None else [record for record in found if record.meta.tenant == tenant]
