"""The only writer: decisions become records, all that waits becomes one transaction, and answers leave after its commit.

Decisions go on over provisional states while a commit runs. The rules that keep that honest:

1. A position is given out when a decision is made, so the order of decisions is the order of the journal.
2. Whoever was told something on the strength of a provisional state is told after that state's commit: an answer without events,
   and a refusal too, waits for the positions that it was based on.
3. When a commit fails, everything proposed so far fails with it, and every provisional state is forgotten. Nobody had an answer.
4. A batch is taken when the one before has ended, whole, up to `batch_events_max`, by the writer's own thread. Who asks alone never
   waits for others. Where several shared the last commit, the next waits while each turn of the event loop brings more, until as many
   wait as did then, or for `GATHER_SECONDS_MAX`: a loop that is busy with requests would otherwise have a commit for every few of them.
5. After commits that failed in a row nothing is tried for a while, up to `RETRY_SECONDS`: all actors are folded anew each time, and what
   they owe is proposed at once, so that a full disk would otherwise keep a processor busy and the log growing.
6. How far an actor has reacted is written with the commands that its reaction caused, in the order of the queue; a reaction without
   effect is written with the next batch.
"""

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from itertools import accumulate, chain
from operator import attrgetter
from threading import Lock
from typing import Any, NamedTuple

import msgspec
import outcome
import structlog
import trio
from eventsourcing.persistence import PersistenceError

from runtime.clock import Clock
from runtime.codec import Codec
from runtime.delivery import Context, Unmoved
from runtime.errors import Conflict, Failure, NotCommitted, Overloaded, Refused, Stale, Unreachable
from runtime.folding import Folder
from runtime.ids import Ids
from runtime.records import Command, Event, Meta, Recorded
from runtime.room import Room
from runtime.sealing import SUBJECT
from runtime.seen import Filter, Seen
from runtime.snapshots import Snapshots
from runtime.states import ENTRIES_MIN, ENTRY_BYTES, REPLY_CACHE_BYTES_MAX, STATE_CACHE_BYTES, Cache, Held, States
from runtime.store.contract import REPLY_SECONDS, Batch, Draft
from runtime.store.store import Store
from runtime.tail import Tail
from runtime.threads import Worker, open_worker, run_blocking

log = structlog.get_logger()

READERS_MAX = 4
RETRY_SECONDS = 2.0
PAUSE_SECONDS_MIN = 0.05
GATHER_SECONDS_MAX = 0.005
QUIET_TURNS = 2
"""After so many turns of the event loop that have brought nothing more, nobody is waited for."""

FORGET_SECONDS = 3600.0
KEYS_AT_ONCE = 5_000
ENDED = "the journal has ended, and does not know whether this is recorded: ask again under the same idempotency key"

_RECORDED, _DRAFTS, _SIZE = attrgetter("recorded"), attrgetter("drafts"), attrgetter("size")


class Kept(NamedTuple):
    """The answer that an idempotency key got, and the position that it waits for."""

    digest: bytes
    reply: Any
    position: int


class Proposal(msgspec.Struct, frozen=True, gc=False):
    """What a step of decisions found: the records to be, and the states that they lead to."""

    recorded: Sequence[Recorded]
    drafts: Sequence[Draft]
    states: dict[str, Held]


class Entry(msgspec.Struct, gc=False, kw_only=True):
    """What waits for a commit, and what it brings: records, a reaction, the answer to an idempotency key."""

    recorded: Sequence[Recorded] = ()
    drafts: Sequence[Draft] = ()
    size: int = 0
    """What the records take up, packed, in bytes."""
    reaction: tuple[str, str, int] | None = None
    reply: tuple[str, str, bytes, bytes, int, float] | None = None
    subject: str = ""
    """The data subject of whom the request told, where it has an idempotency key."""

    def settle(self, failure: Failure | None) -> None:
        """Called once, when the commit is done (None) or has failed (why)."""


class Awaited(Entry, gc=False, kw_only=True):
    """Somebody who waits until all that was proposed before is committed, or has failed."""

    done: trio.Event
    failure: Failure | None = None

    def settle(self, failure: Failure | None) -> None:
        self.failure = failure
        self.done.set()


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
        state_cache_bytes_max: int = STATE_CACHE_BYTES,
        pending_commands_max: int = 10_000,
    ) -> None:
        self.store = store
        self.codec = codec
        self.clock = clock
        self.ids = ids
        self.batch_events_max = batch_events_max
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
        self._states = States(state_cache_bytes_max)
        self._kept: Cache[tuple[str, str], Kept | None] = Cache(REPLY_CACHE_BYTES_MAX)
        self._seen = Seen(REPLY_SECONDS)
        self.folder = Folder(store, clock.now)
        self.snapshots = Snapshots(self, self._states)
        self._reactions: dict[tuple[str, str], tuple[str, str, int]] = {}
        self._fetching: dict[str | tuple[str, str], bool] = {}
        self._waiting: deque[Entry] = deque()
        self._flying: list[Entry] = []
        self._tail = Tail()
        self._taking = Lock()
        self._is_writing = False
        self._together = 0
        """How many had something to write in the last batch."""
        self._crowd = 0
        """How many waited for the last commit, or came meanwhile: once as many wait, nobody else is awaited."""
        self._committed = trio.Event()
        self._readers = trio.CapacityLimiter(READERS_MAX)
        self._stopping = False
        self._is_over = False
        self._worker: Worker | None = None
        self._nursery: trio.Nursery | None = None
        self._crash: BaseException | None = None
        self._closed = trio.Event()
        self._ended = trio.Event()

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

    @property
    def is_failing(self) -> bool:
        """Whether the last commit that was tried has failed."""
        return self._failures_in_row > 0

    def admit(self) -> None:
        """Raises Overloaded when too much waits for the disk already, Unreachable at the end."""
        if self._stopping:
            raise Unreachable("the node is stopping")
        if len(self._waiting) + len(self._flying) >= self.pending_commands_max:
            raise Overloaded(f"{self.backlog} commands wait for the disk", retry_seconds=RETRY_SECONDS)

    def check_room(self) -> None:
        """Raises NoRoom while the disk is too short of room for new work."""
        if self.room is not None:
            self.room.check()

    def missing(self, decisions: Sequence[tuple[str, Command[Any]]], context: Context) -> Sequence[str]:
        """The streams whose state has to be fetched, and `""` where the idempotency key has to be looked up."""
        absent: Sequence[str] = ()
        for stream, _ in decisions:
            if stream not in self._states:
                absent = (*absent, stream)
        if context.key and (context.tenant, context.key) not in self._kept and self._may_be_kept(context):
            absent = (*absent, "")
        return absent

    def _may_be_kept(self, context: Context) -> bool:
        return self._seen.may_hold(context.tenant, self.store.key_as_kept(context.key))

    def is_new(self, stream: str) -> None:
        """Spares the look for a stream's records, which takes a thread: its id was made here and now, so that it can have none."""
        assert stream not in self._states
        self._states.begin(stream, self.folder.empty(stream))

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
                self._keep(name, value)
            else:
                self._states.measure(name, value.held)
                self.snapshots.loaded(name, value)
        self._states.shrink(self.position, max(ENTRIES_MIN, len(fetching)))
        self._kept.shrink(self.position)

    def _fetch(self, names: Sequence[str | tuple[str, str]]) -> list[Any]:
        return [self._find_kept(*name) if isinstance(name, tuple) else self.folder.fold(name) for name in names]

    def _find_kept(self, tenant: str, key: str) -> Kept | None:
        found = self.store.find_reply(tenant, key)
        return Kept(found[0], msgspec.Raw(found[1]), 0) if found else None

    def kept(self, context: Context) -> Kept | None:
        """What the context's idempotency key was answered before. Raises Refused when it was used for something else."""
        kept = self._kept.get((context.tenant, context.key)) if context.key else None
        if kept is not None and not kept.digest and context.digest:
            raise Refused(
                "request_erased", "it was answered, and the person was erased since of whom it told", status=410
            )
        if kept is not None and kept.digest != context.digest:
            kept_for = f"answers are kept for {REPLY_SECONDS / 3600:.0f} hours"
            raise Refused("key_reused", f"this idempotency key was used for another request; {kept_for}", status=422)
        return kept

    def forget_all(self) -> None:
        """Forgets what is kept at hand of committed records, and what is being fetched: it is read anew when it is needed."""
        self._tail.clear()
        self._states.forget(self.position)
        self._kept.forget(self.position)
        for name in self._fetching:
            self._fetching[name] = True

    def touched(self, decisions: Sequence[tuple[str, Command[Any]]]) -> int:
        """The newest position on which the states of these decisions' streams rest."""
        newest = 0
        for stream, _ in decisions:
            self._states.move_to_end(stream)
            newest = max(newest, self._states[stream].position)
        return newest

    # ---- deciding

    def decide(self, decisions: Sequence[tuple[str, Command[Any]]], context: Context, at: float) -> Proposal:
        """Decides in order, each over the states that the ones before left. One refusal drops all; nothing is kept until `propose`."""
        states: dict[str, Held] = {}
        recorded: list[Recorded] = []
        drafts: list[Draft] = []
        codec, tenant, correlation, position = self.codec, context.tenant, context.correlation, self.proposed
        secrets = codec.secrets_by_event
        for stream, command in decisions:
            held = states.get(stream) or self._states[stream]
            if command.at != at or command.tenant != tenant:
                command = msgspec.structs.replace(command, at=at, tenant=tenant)
            aggregate = held.aggregate
            if context.expects is not None and stream not in states:
                _check_version(stream, held, context.expects)
            if held.tenant and held.tenant != tenant:
                aggregate.decide(aggregate.initial, command)
                raise Conflict(f"the id of {stream} is taken")
            events = aggregate.decide(held.state, command)
            if not events:
                continue
            if held.is_archived:
                raise Refused(
                    "archived", f"the records of {stream} are in an archive: nothing is added to them any more"
                )
            command_id = self.ids.new(at)
            if not correlation:
                correlation = command_id
            meta = Meta(
                id=command_id,
                cause=context.cause,
                correlation=correlation,
                tenant=tenant,
                principal=context.principal,
                at=at,
                command=codec.command_record(command, context.key),
            )
            state, version = held.state, held.version
            for event in events:
                kind, name, decode = codec.form(event)
                data = codec.pack(event)
                position += 1
                version += 1
                # What is folded from now on is what will stand on disk: an event that its own kind can't read fails here.
                event = decode(data)
                state = aggregate.evolve(state, event)
                recorded.append(
                    Recorded(position=position, stream=stream, version=version, kind=name, event=event, meta=meta)
                )
                body = codec.body(meta, data)
                drafts.append(Draft(position, stream, version, kind, meta, data, body=body))
                if meta.command is not None and len(events) > 1:
                    meta = msgspec.structs.replace(meta, command=None)
            if secrets and (subject := _subject_of(events, secrets)):
                drafts[-len(events) :] = self._with_secrets(drafts[-len(events) :], events, command, subject)
            states[stream] = Held(state, version, tenant, position, aggregate)
        return Proposal(recorded, drafts, states)

    def _with_secrets(
        self, drafts: Sequence[Draft], events: Sequence[Event], command: Command[Any], subject: str
    ) -> Iterable[Draft]:
        """The drafts of one command without what is personal in them: the writer seals that under the subject's key."""
        codec = self.codec
        if codec.keys is None:
            raise Refused("no_keys", "this journal has no keys for the data of persons", status=501)
        for draft, event in zip(drafts, events, strict=True):
            whose = getattr(event, SUBJECT, "") if type(event) in codec.secrets_by_event else ""
            if not whose and draft.meta.command is None:
                yield draft
                continue
            meta, data, secret = codec.take_out(event, draft.data, draft.meta, command)
            told = draft.meta
            yield Draft(
                draft.position, draft.stream, draft.version, draft.kind, meta, data, whose or subject, secret, told
            )

    def propose(self, proposal: Proposal, entry: Entry, context: Context, reply: Any = None) -> None:
        """Makes what `decide` found the newest provisional state, and queues it for the next commit."""
        if proposal.recorded:
            entry.recorded, entry.drafts = proposal.recorded, proposal.drafts
            self.proposed = proposal.recorded[-1].position
            entry.size = sum(map(_bytes, proposal.drafts))
            self._renew(proposal.states, entry.size // len(proposal.states))
        if context.key:
            packed = self.codec.pack(reply)
            entry.reply = (context.tenant, context.key, context.digest, packed, self.proposed, self._at)
            entry.subject = next((draft.subject for draft in proposal.drafts if draft.subject), "")
            name = (context.tenant, context.key)
            self._seen.add(context.tenant, self.store.key_as_kept(context.key), self._at)
            self._keep(name, Kept(context.digest, msgspec.Raw(packed), self.proposed))
            if name in self._fetching:
                self._fetching[name] = True
        self.queue(entry)

    def _renew(self, states: Mapping[str, Held], event_bytes: int) -> None:
        fetching = self._fetching
        for stream, held in states.items():
            if self._states.renew(stream, held, event_bytes):
                self.snapshots.look_at(stream, held)
            if fetching and stream in fetching:
                fetching[stream] = True

    def _keep(self, name: tuple[str, str], kept: Kept | None) -> None:
        self._kept.put(name, kept, ENTRY_BYTES + (len(kept.reply) if kept is not None else 0))

    def queue(self, entry: Entry) -> None:
        """Queues an entry: one without drafts or replies just waits for all that was proposed before it."""
        if self._is_over:
            entry.settle(Unreachable(ENDED))
            return
        self._waiting.append(entry)
        if not self._is_writing and self._worker is not None:
            self._go_on()

    def note_reaction(self, reaction: tuple[str, str, int]) -> None:
        """A reaction is over that has led to nothing: the next batch takes that along."""
        if not self._is_writing and self._worker is not None:
            self._reactions[reaction[:2]] = reaction
            return
        with self._taking:
            last = self._waiting[-1] if self._waiting else None
        if type(last) is Entry and last.reaction is not None and last.reaction[:2] == reaction[:2]:
            last.reaction = reaction  # where the writer has just taken it along, the one before may be what is written
        else:
            self.queue(Entry(reaction=reaction))

    # ---- committing

    async def run(self) -> None:
        """Commits until `close`; ends when nothing waits any more. Raises Fenced, and whatever else is no failure of the disk."""
        self._worker = open_worker("gavel-journal")
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._close_when_cancelled)
                nursery.start_soon(self._learn_keys)
                self._go_on()
                # What was decided is committed even when the node is being cancelled: only a fenced journal stops at once.
                with trio.CancelScope(shield=True):
                    await self._ended.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._stopping = True
            self._abandon()
            self._worker.close()
        if self._crash is not None:
            raise self._crash

    def _abandon(self) -> None:
        """A journal that stops because it is fenced tells all who still wait, and who comes later: nobody else will."""
        self._is_over = True
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

    async def _learn_keys(self) -> None:
        """Reads the keys that were used before: until then each one that comes is looked for in the database."""
        old, last = Filter(), ("", "")
        while keys := await self.read_patiently(self.store.keys, last, KEYS_AT_ONCE):
            await run_blocking(old.update, keys, limiter=self._readers)
            last = keys[-1]
        self._seen.know(old)

    def _go_on(self) -> None:
        """Has the writer commit what waits, if anything does: all of it, as of the moment at which its thread comes to it."""
        assert self._worker is not None
        self._is_writing = True
        while self._waiting:
            if any(entry.drafts or entry.reply for entry in self._waiting):
                if self._together > 1 and self._nursery is not None and not self._stopping:
                    self._nursery.start_soon(self._gather)
                else:
                    self._write(self._worker)
                return
            self._take(len(self._waiting))  # they waited for what stands by now
            self._succeed()
        self._is_writing = False
        if self._stopping:
            self._ended.set()

    async def _gather(self) -> None:
        """Waits for those who come at the same time as others did, and writes."""
        until, waiting, quiet = trio.current_time() + GATHER_SECONDS_MAX, 0, 0
        while (
            quiet < QUIET_TURNS
            and len(self._waiting) < self._crowd
            and not self._stopping
            and trio.current_time() < until
        ):
            waiting, before = len(self._waiting), waiting
            quiet = quiet + 1 if waiting == before else 0
            await trio.lowlevel.cancel_shielded_checkpoint()
        assert self._worker is not None
        self._write(self._worker)

    def _write(self, worker: Worker) -> None:
        self._forget_replies(worker)
        worker.start(self.store.append, self._take_batch, self._heard)

    def _heard(self, result: outcome.Outcome[None]) -> None:
        """The writer has come through, or not: told in the event loop."""
        try:
            self._conclude(result)
        except BaseException as error:  # noqa: BLE001 — raised by `run`
            self._end(error)

    def _end(self, error: BaseException) -> None:
        self._crash = error
        self._ended.set()

    def _conclude(self, result: outcome.Outcome[None]) -> None:
        try:
            result.unwrap()
        except (PersistenceError, OSError) as error:
            self._fail(error)
            assert self._nursery is not None
            self._nursery.start_soon(self._pause)
            return
        self._failures_in_row = 0
        self._crowd = len(self._flying) + len(self._waiting)
        self.commits += 1
        self._reactions.clear()
        self._succeed()
        self._go_on()

    def _forget_replies(self, worker: Worker) -> None:
        """Now and then: idempotency keys are kept for REPLY_SECONDS, not for ever."""
        now = self.clock.now()
        if now >= self._replies_forgotten_at + FORGET_SECONDS:
            self._replies_forgotten_at = now
            worker.start(self.store.forget_replies, lambda: now - REPLY_SECONDS, self._heard_of_replies)

    def _heard_of_replies(self, result: outcome.Outcome[None]) -> None:
        if not isinstance(result, outcome.Error):
            return
        if isinstance(result.error, PersistenceError):
            log.warning("old replies not forgotten", reason=str(result.error))
        else:
            self._end(result.error)

    async def write_with(self, function: Callable[..., None], *arguments: Any) -> None:
        """Writes beside the records, on the writer's thread: after the commit that runs now, before the next."""
        assert self._worker is not None
        if self._is_over:
            raise PersistenceError(ENDED)  # nobody works there any more, and whoever waits for it can't be cancelled
        await self._worker.run(function, *arguments)

    async def settled(self) -> bool:
        """Waits until all that is proposed now is committed; False where that failed."""
        waiter = Awaited(done=trio.Event())
        self.queue(waiter)
        await waiter.done.wait()
        return waiter.failure is None

    def _take_batch(self) -> Batch:
        """All that waits, or as much of it as makes a whole batch. Runs on the writer's thread, while the event loop goes on."""
        waiting = list(self._waiting)
        ends = list(accumulate(map(len, map(_DRAFTS, waiting))))
        self._take(max(1, bisect_right(ends, self.batch_events_max)))
        self._together = sum(map(bool, map(_DRAFTS, self._flying)))
        drafts = list(chain.from_iterable(map(_DRAFTS, self._flying)))
        replies = [entry.reply for entry in self._flying if entry.reply is not None]
        subjects = {
            entry.reply[:2]: entry.subject for entry in self._flying if entry.subject and entry.reply is not None
        }
        at = max(self._at, self.clock.now())
        return Batch(drafts, replies, list(self._reactions.values()), at, subjects)

    def _take(self, count: int) -> None:
        with self._taking:
            self._flying = [self._waiting.popleft() for _ in range(count)]
        self._reactions.update((one.reaction[:2], one.reaction) for one in self._flying if one.reaction is not None)

    def _succeed(self) -> None:
        entries, self._flying = self._flying, []
        recorded = list(chain.from_iterable(map(_RECORDED, entries)))
        if recorded:
            self.position = recorded[-1].position
            self._tail.add(recorded, sum(map(_SIZE, entries)))
            committed, self._committed = self._committed, trio.Event()
            committed.set()
        self._states.shrink(self.position)
        self._kept.shrink(self.position)
        for entry in entries:
            entry.settle(None)
        if recorded:
            self.on_commit(recorded)

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
        with trio.CancelScope(shield=True), trio.move_on_after(min(seconds, RETRY_SECONDS)):
            await self._closed.wait()
        self._go_on()

    def provisional(self, after: int) -> list[Recorded] | None:
        """Everything past a position, committed or not, in order; None where memory does not reach back that far."""
        records = self._tail.after(after, len(self._tail)) if after < self.position else []
        if records is None:
            return None
        with self._taking:
            proposed = (*self._flying, *self._waiting)
        for entry in proposed:
            records += [record for record in entry.recorded if record.position > after]
        return records

    def reactions_due(self) -> list[tuple[str, str, int]]:
        """Reactions without effect that no batch has taken along yet: saved at a clean stop, made again after any other."""
        return list(self._reactions.values())

    def close(self) -> None:
        """No more proposals; `run` ends when what waits is committed."""
        self._stopping = True
        self._closed.set()
        if not self._is_writing:
            self._ended.set()

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

    def recent(self, after: int, limit: int) -> Sequence[Recorded] | None:
        """The committed records past a position; None where memory does not reach back that far, or they are more than `limit`."""
        count = self.position - after
        if not 0 <= count <= limit:
            return None
        return self._tail.after(after, limit) if count else []

    async def wait_past(self, position: int, seconds: float = math.inf) -> int:
        """Waits until something is committed past `position` (or the time is up); returns the last committed position."""
        with trio.move_on_after(seconds) if seconds < math.inf else nullcontext():
            while self.position <= position:
                await self._committed.wait()
        return self.position

    async def read(self, after: int, limit: int = 500, tenant: str | None = None) -> list[Recorded]:
        """Up to `limit` committed records past a position, from memory where it reaches back that far, else from the file."""
        found = self._tail.after(after, limit)
        if found is not None:
            await trio.lowlevel.checkpoint()
        else:
            past = await self.read_patiently(self.store.read, after, limit)
            found = [record for record in past if record.position <= self.position]
        return found if tenant is None else [record for record in found if record.meta.tenant == tenant]


def _subject_of(events: Iterable[Event], secrets: Mapping[type[Event], object]) -> str:
    """The data subject of whom the events of a command tell something personal, if any do."""
    for event in events:
        if type(event) in secrets and (subject := getattr(event, SUBJECT)):
            return str(subject)
    return ""


def _bytes(draft: Draft) -> int:
    return len(draft.data) + len(draft.secret)


def _check_version(stream: str, held: Held, expects: Mapping[str, int | Unmoved]) -> None:
    """Before anything is decided, over the newest state, committed or not: so the conflict of one command is nobody else's."""
    expected = expects.get(stream, held.version)
    if isinstance(expected, Unmoved):
        if held.tenant == expected.tenant and held.position > expected.position:
            raise Stale(f"{stream} has moved on: what was last recorded of it is past what its caller has seen")
    elif expected != held.version:
        raise Conflict(f"{stream} is at version {held.version}, not at {expected} as its caller expects")
