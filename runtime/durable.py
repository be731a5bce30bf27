"""The place of an actor whose memory is the journal: the step that turns a message into records and an answer after their commit.

It waits for messages like any other. Beside those it reacts to what was committed and wakes when it is due; and while a state that its
step needs is fetched, or its memory is folded anew, everything else waits.
"""

from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import msgspec
import trio
from trio.lowlevel import current_task, enable_ki_protection, wait_task_rescheduled

from runtime.actor import Actor, Effect, Reply
from runtime.cell import Cell
from runtime.delivery import BEGUN, Context, Delivery, Failed, Receipt
from runtime.errors import Crashed, Failure, Overloaded, Unreachable
from runtime.evidence import Unreadable
from runtime.journal import Entry
from runtime.kind import PROMPT, QUEUED, RUNNING, STOPPED, SUSPENDED, Kind
from runtime.life import Life, Work, worker
from runtime.mailbox import NOTHING
from runtime.records import Command, Recorded, reply_type

if TYPE_CHECKING:
    from runtime.system import System

R = TypeVar("R")


class Wake(NamedTuple):
    """The actor's own timer has come, at this time: whatever keeps it from being handled at once, nothing later is held against anybody."""

    at: float


Item = Delivery | Recorded | Wake

NO_EFFECT = Effect()


class Answer(Entry, gc=False, kw_only=True):
    """A step that waits for its commit: whom to answer then (nobody, where a reaction or a timer led to it), and what to do."""

    cell: "DurableCell"
    delivery: Delivery | None
    result: Reply | Failed
    context: Context
    after: Callable[[Sequence[Recorded]], None] | None = None

    def settle(self, failure: Failure | None) -> None:
        """Called once, when the commit is done (None) or has failed (why)."""
        if failure is not None:
            self.result = Failed(failure)
        elif self.after is not None:
            self.cell.after(self.after, self.recorded, self.context)
        if self.delivery is not None:
            self.delivery.settle(self.result)


class DurableCell(Cell):
    """A place of the roster: one role, for one tenant or for the node."""

    __slots__ = (
        "_again",
        "context",
        "due",
        "journaled",
        "key",
        "reacted",
        "reactions",
        "rebuilding",
        "role",
        "touched",
        "wakes",
        "waking",
    )

    def __init__(self, system: "System", kind: Kind, role: str, key: str) -> None:
        super().__init__(system, kind, None, f"{role}/{key}", None)
        self.journaled = system
        self.role = role
        self.key = key
        self.reactions: deque[Recorded] = deque()
        self.reacted = 0
        self.touched = 0
        self.waking = False
        self.wakes = True
        """Whether the actor may want to be woken."""
        self.rebuilding = False
        self.due: float | None = None
        self.context = Context(tenant=key, principal=f"actor:{role}")
        self._again: Item | None = None

    @property
    def actor(self) -> Actor[Any, Any] | None:
        """The incarnation, unless one is being made."""
        return self._actor

    @property
    def is_running(self) -> bool:
        """Whether it is in the midst of a step."""
        return self._state is RUNNING

    @property
    def owes(self) -> bool:
        """Whether it has reactions to make still."""
        return bool(self.reactions) or isinstance(self._again, Recorded)

    # ---- what waits

    def react_to(self, record: Recorded) -> None:
        """Queues a committed record for a reaction; where nothing waits here, and nothing can follow from it, it is over. One that is
        queued is looked at again when its turn has come: what was before it may be why something could have followed."""
        if self._state is PROMPT and not self.reactions and self._is_over(record):
            self._note_reaction(record)
            return
        self.reactions.append(record)
        self._schedule()

    def _is_over(self, record: Recorded) -> bool:
        actor = self._actor
        try:
            return actor is not None and not self._kind.interceptors and not actor.concerns(record)
        except Exception:  # the step fails too, where that is told
            return False

    def wake(self, at: float) -> None:
        """Queues the actor's timer behind the messages that came before it: what falls due is decided after all that was received."""
        self._tick(Wake(at))

    def _next(self) -> Item | None:
        """What to do next: what was interrupted, then what follows from the past, then messages."""
        if self._again is not None:
            item, self._again = self._again, None
            return item
        if self.reactions:
            return self.reactions.popleft()
        while self._queue:
            delivery = self._queue.popleft()
            if delivery.state <= BEGUN:
                return delivery.message if type(delivery.message) is Wake else delivery
            self._passed_over(delivery)
        return None

    def _turn_away(self, reason: str) -> None:
        if isinstance(self._again, Delivery):
            again, self._again = self._again, None
            self._refuse(again, reason)
        super()._turn_away(reason)  # a reaction that was interrupted is still owed

    # ---- running

    @enable_ki_protection
    def turn(self, quantum: int) -> int:
        if self._state != QUEUED:
            return 0
        if self._queue is not None and len(self._queue) > self._peak:
            self._peak = len(self._queue)
        self._state = RUNNING
        steps = 0
        while steps < quantum and self._state == RUNNING and (item := self._next()) is not None:
            if type(item) is Recorded and self._is_over(item):
                self._note_reaction(item)
            else:
                self._run(item)
            steps += 1
        self._handled += steps
        self._system.deadlines.forget_settled()
        self._after_turn()
        return steps

    @enable_ki_protection
    async def ask(
        self,
        message: Command[R],
        *,
        seconds: float | None = None,
        context: Context | None = None,
        receipt: Receipt | None = None,
    ) -> R:
        system = self._system
        if self._state is not PROMPT or receipt is not None or context is None or worker() is not None:
            return await super().ask(message, seconds=seconds, context=context, receipt=receipt)
        if system.messages >= system.looks_up_at and system.makes_way():
            await trio.lowlevel.checkpoint()  # before anything is sent: a caller that is cancelled here loses no answer
            if self._state is not PROMPT:
                return await super().ask(message, seconds=seconds, context=context)
        # What usually comes: nobody waits here, and the asker is no actor. As `_submit` does it, without the calls.
        if type(message) not in self._kind.takes:
            raise Unreachable(f"{self.path} does not take {type(message).__name__}")
        system.messages = number = system.messages + 1
        delivery = Delivery(message, self, number, 0, number, context, True)
        self._state = RUNNING
        self._run(delivery)
        self._handled += 1
        self._after_turn()
        result = delivery.result
        if result is None:
            system.deadlines.watch(delivery, seconds)
            delivery.task = current_task()
            await wait_task_rescheduled(delivery.abort)
            result = delivery.result
        if type(result) is Failed:
            raise result.error
        return cast(R, result.value)

    def _submit(
        self,
        message: Any,
        number: int,
        cause: Delivery | None,
        context: Context | None,
        asker: Life | Work | None,
        seconds: float | None,
    ) -> Delivery:
        if self._state != PROMPT:
            return super()._submit(message, number, cause, context, asker, seconds)
        delivery = self._delivery(message, number, cause, context, True)
        self._state = RUNNING
        self._run(delivery)
        self._handled += 1
        self._after_turn()
        if delivery.result is None:
            self._await(delivery, asker, seconds)
        return delivery

    def _after_turn(self) -> None:
        if self.wakes:
            self.journaled.timers.refresh(self)
        if self._state is RUNNING and (self.reactions or self._again is not None):
            if self._extras is not None and self._extras.parked:
                self._admit()
            self._state = QUEUED
            self._system.dispatcher.add(self)
        elif self._state is RUNNING and self._queue is None and self._extras is None:
            self._state = self._kind.rest  # the usual end of an ask
        else:
            super()._after_turn()

    def _run(self, item: Item) -> None:
        """One step, without await: from an item to proposed records, or to a wait for a state, or to a restart."""
        delivery = None
        if isinstance(item, Delivery):
            if item.state > BEGUN:
                self._passed_over(item)
                return
            self._handling = delivery = item
            number, context = item.id, item.context
            assert context is not None
        else:
            self._system.messages = number = self._system.messages + 1
            context = self._context_of(item)
            if isinstance(item, Wake):
                self.waking = False
        kind = self._kind
        began = 0 if number % kind.measured_every else kind.begun(number)
        self.context = context
        try:
            self._step(item, delivery, context)
        except Failure as failure:
            self._decline(item, delivery, failure)
        except Exception as error:
            failed = Failed(Crashed(self.crash(_describe(item), error)))
            if delivery is not None:
                delivery.settle(failed)
        except BaseException as error:
            self._end_all(delivery, error)
        self._handling = None
        if began:
            kind.handled(number, perf_counter_ns() - began)

    def _step(self, item: Item, delivery: Delivery | None, context: Context) -> None:
        journal = self.journaled.journal
        at = journal.stamp()
        if context.key and self._repeated(item, delivery, context):
            return
        effect = self._handle(item, delivery, context, at)
        if isinstance(effect, Reply):
            if delivery is not None:
                delivery.state = BEGUN
            self._answer(effect, delivery, self.touched)
            return
        if effect is None and type(item) is Recorded:
            self._note_reaction(item)
            return
        effect = effect or NO_EFFECT
        decisions = effect.decisions
        if missing := journal.missing(decisions, context):
            self._fetch(item, missing)
            return
        if delivery is not None:
            delivery.state = BEGUN
        proposal = journal.decide(decisions, context, at)
        recorded = proposal.recorded
        result = effect.answer(recorded) if effect.answer is not None else NOTHING
        entry = Answer(cell=self, delivery=delivery, result=result, context=context, after=effect.after)
        if effect.refusal is not None:
            entry.result, context = Failed(effect.refusal), msgspec.structs.replace(context, key="")
        if type(item) is Recorded:
            entry.reaction = (self.role, self.key, item.position)
            self.reacted = item.position
        elif not (recorded or context.key):
            self._tell_when(entry, max(self.touched, journal.touched(decisions)))
            return
        journal.propose(proposal, entry, context, result.value)
        if recorded:
            self.journaled.remember(recorded)

    def _context_of(self, item: Recorded | Wake) -> Context:
        if isinstance(item, Recorded):
            return Context(
                tenant=item.meta.tenant,
                principal=f"actor:{self.role}",
                cause=f"@{item.position}",
                correlation=item.meta.correlation,
            )
        return Context(tenant=self.key, principal=f"actor:{self.role}", cause="timer")

    def _handle(self, item: Item, delivery: Delivery | None, context: Context, at: float) -> Effect | Reply | None:
        actor = self._actor
        assert actor is not None
        if delivery is not None:
            journal, message = self.journaled.journal, delivery.message
            journal.admit()
            if message.is_new_work:
                journal.check_room()
            stamped = msgspec.structs.replace(message, at=at, tenant=context.tenant)
            handled: Any = self._around(actor.handle)(stamped) if self._kind.interceptors else actor.handle(stamped)
            return cast("Effect | Reply | None", handled)
        if isinstance(item, Recorded):
            reaction: Effect | None = self._around(actor.react)(item)
            return reaction
        woken: Effect | None = self._around(lambda wake: actor.wake(wake.at))(item)
        return woken

    def _around(self, handle: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """What hands a message, a record or a wake-up to the actor: through the interceptors, where there are any."""
        return self._intercepted(handle) if self._kind.interceptors else handle

    def _repeated(self, item: Item, delivery: Delivery | None, context: Context) -> bool:
        """Answers a message whose idempotency key has an answer already; also true while that is being looked up."""
        journal = self.journaled.journal
        if missing := journal.missing((), context):
            self._fetch(item, missing)
            return True
        kept = journal.kept(context)
        if kept is None or delivery is None:
            return False
        if kept.position > journal.position:
            journal.admit()  # it waits for that commit too
        delivery.state = BEGUN
        answer = msgspec.msgpack.decode(kept.reply, type=reply_type(type(delivery.message)))
        self._answer(Reply(answer), delivery, kept.position)
        return True

    def _fetch(self, item: Item, missing: Sequence[str]) -> None:
        """Waits until the states that this step needs have been read."""
        self._again = item
        self.waking = isinstance(item, Wake)
        self._state = SUSPENDED
        self._system.start(self._fetch_and_go_on, missing, self.context)

    async def _fetch_and_go_on(self, missing: Sequence[str], context: Context) -> None:
        try:
            await self.journaled.journal.load(missing, context)
        except Unreadable as error:
            self._give_up(error)
        self._go_on()

    def _go_on(self) -> None:
        if self._state == SUSPENDED and not self.rebuilding:
            self._state = PROMPT
            if self._again is not None or self.reactions or self._queue:
                self._schedule()

    def _give_up(self, error: Unreadable) -> None:
        """One stream can't be read: what needs it fails, again and again; everybody else is served."""
        item, self._again = self._again, None
        error_id = self._system.crashed(self, _describe(item) if item is not None else "fetch", error)
        self.waking = False
        if isinstance(item, Delivery):
            item.settle(Failed(Crashed(error_id)))
        elif isinstance(item, Recorded):
            self._note_reaction(item)

    # ---- answering

    def after(
        self, function: Callable[[Sequence[Recorded]], None], recorded: Sequence[Recorded], context: Context
    ) -> None:
        """Does what a step wanted done after its commit: what is told there is caused by that step, not by the one that runs now."""
        before, self.context = self.context, context
        self.guard(function, recorded)
        self.context = before

    def _answer(self, result: Reply | Failed, delivery: Delivery | None, basis: int) -> None:
        """As `_tell_when`, for who is answered and no more: what is told at once needs no entry."""
        if basis > self.journaled.journal.position:
            self.journaled.journal.queue(Answer(cell=self, delivery=delivery, result=result, context=self.context))
        elif delivery is not None:
            delivery.settle(result)

    def _tell_when(self, entry: Answer, basis: int) -> None:
        """Tells at once what rests on committed records, and what rests on provisional ones after their commit."""
        journal = self.journaled.journal
        if basis <= journal.position:
            entry.settle(None)
        else:
            journal.queue(entry)

    def _decline(self, item: Item, delivery: Delivery | None, failure: Failure) -> None:
        """A refusal is not a crash: the asker hears of it; a reaction that came too late is over, one without room comes again."""
        if delivery is not None:
            delivery.state = BEGUN
            # That there is no room rests on nothing provisional; waiting like others, who is turned away would fill the journal.
            basis = 0 if isinstance(failure, Overloaded) else self.journaled.journal.proposed
            self._answer(Failed(failure), delivery, basis)
            return
        self._system.log_levels.logger(self).debug("refused", message=_describe(item), reason=str(failure))
        if isinstance(failure, Overloaded):
            self._again = item
            self.waking = isinstance(item, Wake)
            self._state = SUSPENDED
            self._system.alarms.later(failure.retry_seconds, self._go_on)
        elif isinstance(item, Recorded):
            self._note_reaction(item)
        elif isinstance(item, Wake) and self._actor is not None:
            self.guard(self._actor.declined, failure)

    def _note_reaction(self, item: Recorded) -> None:
        """The reaction is over without effect: noted with the next batch."""
        self.reacted = item.position
        self.journaled.journal.note_reaction((self.role, self.key, item.position))

    # ---- what is remembered

    def forget(self) -> None:
        """The memory is wrong, and there will be no other incarnation."""
        self._actor = None

    def remember(self, record: Recorded) -> None:
        """Folds a record into the memory; the memory is provisional until the record is committed."""
        actor = self._actor
        if actor is None:
            return
        try:
            actor.memory = actor.remember(actor.memory, record)
        except Exception as error:
            self.crash(record.kind, error)
        else:
            self.touched = record.position

    def guard(self, function: Callable[..., None], *arguments: Any) -> None:
        """Runs a piece of the actor outside its step: what fails there fails the actor, what is refused there is not tried again."""
        try:
            function(*arguments)
        except Failure as failure:
            self._system.refused(self, None, failure)
        except Exception as error:
            self.crash("outside a step", error)

    # ---- failing

    def crash(self, what: str, error: BaseException) -> str:
        """The actor failed: logged under an id; it is made anew from its records, or ends the node when that happens too often."""
        error_id = self._system.crashed(self, what, error)
        self._supervise(error, error_id)
        return error_id

    def _restart(self) -> None:
        if self.rebuilding or self._state == STOPPED:
            return
        self.rebuilding = True
        self._extra().restarts += 1
        self._kind.restarts += 1
        self._actor = None
        self._state = SUSPENDED
        self.reactions.clear()
        if isinstance(self._again, Recorded):
            self._again = None  # the fold finds it among what is owed, and it must not be done for both
        if self._extras is not None:
            for scope in self._extras.work:
                scope.cancel()
        extras, backoff = self._extra(), self._kind.supervision.backoff
        if backoff is None or not extras.failures:
            self.journaled.rebuild_soon(self)
        else:
            wait = backoff.wait(len(extras.failures), self._system.chance)
            self._system.alarms.later(wait, self._rebuild)

    def _rebuild(self) -> None:
        self.journaled.rebuild_soon(self)

    def begin(self, actor: Actor[Any, Any], reactions: Sequence[Recorded], *, position: int, reacted: int) -> None:
        """Goes on with a new incarnation, and the reactions that are owed."""
        self._kind.is_made(type(actor))
        self._kind.rest = PROMPT
        self._actor = actor
        self.wakes = type(actor).due is not Actor.due
        self.rebuilding = False
        self.touched = max(position, self.touched)
        self.reacted = reacted
        self.reactions = deque(reactions)
        self._state = PROMPT
        self.journaled.timers.refresh(self)
        if self.reactions or self._queue or self._again is not None:
            self._schedule()


def _describe(item: Item) -> str:
    if isinstance(item, Delivery):
        return type(item.message).__name__
    return item.kind if isinstance(item, Recorded) else "wake"
