"""One actor at work: its mailbox, its reactions, its memory, and the step that turns a message into records and an answer."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgspec
import outcome
import structlog
import trio

from runtime.actor import Actor, Effect, Reply
from runtime.errors import Crashed, Failure
from runtime.journal import Context, Entry
from runtime.mailbox import Envelope, Mailbox
from runtime.records import Recorded, reply_type

if TYPE_CHECKING:
    from runtime.system import System

log = structlog.get_logger()


class Wake(NamedTuple):
    """The actor's own timer has come."""


Item = Envelope | Recorded | Wake
Settle = Callable[[outcome.Outcome[Any]], None]
WAKE = Wake()


class Cell:
    """An actor's place in the system. One message at a time: while a state is fetched or the actor restarts, the rest waits."""

    def __init__(self, system: "System", name: str, key: str, mailbox_max: int) -> None:
        self.system = system
        self.name = name
        self.key = key
        self.mailbox = Mailbox(mailbox_max)
        self.reactions: deque[Recorded] = deque()
        self.reacted = 0
        self.touched = 0
        self.handled = 0
        self.crashes: deque[float] = deque()
        self.work: set[trio.CancelScope] = set()
        self.queued = False
        self.waking = False
        self.blocked = True
        self.due: float | None = None
        self.context = Context(tenant=key, principal=f"actor:{name}")
        self.actor: Actor[Any, Any] | None = None
        self._again: Item | None = None

    @property
    def idle(self) -> bool:
        """Whether a message would be handled at once."""
        return not (self.blocked or self.queued or self.mailbox or self.reactions)

    @property
    def ready(self) -> bool:
        """Whether there is something to do, and nothing in the way."""
        return not self.blocked and (self._again is not None or bool(self.reactions or self.mailbox))

    def next(self) -> Item:
        """What to do next: what was interrupted, then what follows from the past, then messages.

        A timer queues behind the messages that came before it: what falls due is decided after all that was received.
        """
        if self._again is not None:
            item, self._again = self._again, None
            return item
        return self.reactions.popleft() if self.reactions else self.mailbox.pop()

    def clear(self) -> list[Item]:
        """Takes out all that waits."""
        again, self._again = self._again, None
        return [*([again] if again is not None else []), *self.mailbox.clear()]

    def perform(self, item: Item) -> None:
        """One step, without await: from an item to proposed records, or to a wait for a state, or to a restart."""
        settle: Settle = _nobody
        if isinstance(item, Wake):
            self.waking = False
        elif isinstance(item, Envelope):
            if item.result is not None:
                return
            settle = item.settle
        try:
            self._step(item, settle)
        except Failure as failure:
            self._refuse(item, failure, settle)
        except Exception as error:
            error_id = self.system.crash(self, item, error)
            settle(outcome.Error(Crashed(error_id)))

    def _step(self, item: Item, settle: Settle) -> None:
        journal = self.system.journal
        at = journal.stamp()
        self.context = context = self._context(item)
        if context.key and self._repeated(item, settle):
            return
        effect = self._handle(item, at)
        if isinstance(effect, Reply):
            self._answer(outcome.Value(effect.value), settle, self.touched)
            return
        effect = effect or Effect()
        streams = [stream for stream, _ in effect.decisions]
        if missing := journal.missing(streams, context):
            self._fetch(item, missing)
            return
        if isinstance(item, Envelope):
            item.begun = True
        self.handled += 1
        proposal = journal.decide(effect.decisions, context, at)
        value = effect.answer(proposal.recorded).value if effect.answer is not None else None
        reaction = (self.name, self.key, item.position) if isinstance(item, Recorded) else None
        committed = self._when_committed(effect, proposal.recorded, value, settle)
        if reaction is None and not (proposal.recorded or context.key):
            self._tell(committed, max(self.touched, journal.touched(streams)))
            return
        journal.propose(proposal, Entry(committed, reaction=reaction), context, value)
        self.reacted = reaction[2] if reaction else self.reacted
        self.system.remember(proposal.recorded)

    def _repeated(self, item: Item, settle: Settle) -> bool:
        """Answers a message whose idempotency key has an answer already; also true while that is being looked up."""
        journal = self.system.journal
        if missing := journal.missing((), self.context):
            self._fetch(item, missing)
            return True
        kept = journal.kept(self.context)
        if kept is None or not isinstance(item, Envelope):
            return False
        answer = msgspec.msgpack.decode(kept.reply, type=reply_type(type(item.message)))
        self._answer(outcome.Value(answer), settle, kept.position)
        return True

    def _fetch(self, item: Item, missing: Sequence[str]) -> None:
        self._again = item
        self.waking = isinstance(item, Wake)
        self.system.fetch(self, missing, self.context)

    def _when_committed(
        self, effect: Effect, recorded: Sequence[Recorded], value: Any, settle: Settle
    ) -> Callable[[Failure | None], None]:
        def committed(failure: Failure | None) -> None:
            if failure is not None:
                settle(outcome.Error(failure))
                return
            if effect.after is not None:
                self.guard(effect.after, recorded)
            settle(outcome.Value(value))

        return committed

    def _context(self, item: Item) -> Context:
        if isinstance(item, Envelope):
            return item.context
        if isinstance(item, Recorded):
            return Context(
                tenant=item.meta.tenant,
                principal=f"actor:{self.name}",
                cause=f"@{item.position}",
                correlation=item.meta.correlation,
            )
        return Context(tenant=self.key, principal=f"actor:{self.name}", cause="timer")

    def _handle(self, item: Item, at: float) -> Effect | Reply | None:
        assert self.actor is not None
        if isinstance(item, Envelope):
            self.system.journal.admit()
            message = msgspec.structs.replace(item.message, at=at, tenant=item.context.tenant)
            handled: Any = self.actor.handle(message)
            return cast("Effect | Reply | None", handled)
        if isinstance(item, Recorded):
            return self.actor.react(item)
        return self.actor.wake(at)

    def _answer(self, result: outcome.Outcome[Any], settle: Settle, basis: int) -> None:
        def committed(failure: Failure | None) -> None:
            settle(result if failure is None else outcome.Error(failure))

        self._tell(committed, basis)

    def _tell(self, committed: Callable[[Failure | None], None], basis: int) -> None:
        """Tells at once what rests on committed records, and what rests on provisional ones after their commit."""
        journal = self.system.journal
        if basis <= journal.position:
            committed(None)
        else:
            journal.queue(Entry(committed))

    def _refuse(self, item: Item, failure: Failure, settle: Settle) -> None:
        """A refusal is not a crash: the asker hears of it; a reaction that came too late is over."""
        journal = self.system.journal
        if isinstance(item, Envelope):
            self._answer(outcome.Error(failure), settle, journal.proposed)
            return
        log.debug("refused", actor=self.name, key=self.key, item=type(item).__name__, reason=str(failure))
        if isinstance(item, Recorded):
            self.reacted = item.position
            journal.queue(Entry(_ignore, reaction=(self.name, self.key, item.position)))

    def guard(self, function: Callable[..., None], *arguments: Any) -> None:
        """Runs a piece of the actor outside its step: what fails there fails the actor."""
        try:
            function(*arguments)
        except Exception as error:
            self.system.crash(self, WAKE, error)

    def remember(self, record: Recorded) -> None:
        """Folds a record into the memory; the memory is provisional until the record is committed."""
        if self.actor is not None:
            self.actor.memory = self.actor.remember(self.actor.memory, record)
            self.touched = record.position


def _nobody(result: outcome.Outcome[Any]) -> None:
    """A reaction or a timer has nobody to answer."""


def _ignore(failure: Failure | None) -> None:
    """A reaction without effect needs no word when it is noted."""
