"""Puts on record what a node's callers do to it and what they are refused: who, from where, on whose behalf and why.

An administrative action is recorded before it is done: where that fails, it is not done. How it ended, and what was refused, is recorded
behind the answer, in the order in which it came, tried again while the journal can't be written, and to the last at a stop in order.
A node that is killed loses what it had not yet recorded of these: refusals of the last moment, and counts of windows not yet over.
"""

import hmac
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from functools import partial
from hashlib import sha256
from typing import NamedTuple

import structlog
import trio
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from aggregates.action import BeginAction, EndAction, Outcome
from aggregates.trail import NoteRefusals, NoteStrangers, Refusal
from aggregates.values.roles import Principal
from gateway.api import request_ids
from gateway.api.problems import code_of
from gateway.door.proxies import UNIX
from gateway.identity.auth import SAFE_METHODS, key_id_of, pseudonym
from gateway.origins import NOBODY, WORDS_MAX, address_of, origin_of
from gateway.refusals import OTHER_CODES, OTHERS, Batch, Refusals, Who
from runtime.delivery import Context
from runtime.errors import Crashed, Failure, NotAnswered, Overloaded, Refused, Unreachable
from runtime.system import System

SUBJECT_CHARACTERS_MAX = 300
CODES_COUNTED_MAX = 512
ENDINGS_MAX = 1_000
"""Actions of which it is not yet on record how they ended."""
RETRY_SECONDS = 2.0
CLOSE_SECONDS_MAX = 1.5
KNOWN_STATUSES = frozenset({403, 404})
"""What is counted of reads: who looks for what is not there, or not for him."""

GATEWAY = "gateway"
NO_ADDRESSES = frozenset({NOBODY, OTHERS, UNIX})
"""What stands in the place of an address where there is none, or more than one."""

log = structlog.get_logger("gateway.trail")


class Begun(NamedTuple):
    """An action that is on record: its id, whose it is, and what follows from it is caused by."""

    action_id: str
    principal: Principal
    cause: str
    correlation: str


class Ending(NamedTuple):
    """How an action ended, to be recorded."""

    begun: Begun
    outcome: Outcome
    code: str


class Trail:
    """The trail of one journal. `strangers_tenant` is whose admins look after it."""

    def __init__(self, system: System, secret: bytes, *, refusals_max: int, strangers_tenant: str) -> None:
        self.system = system
        self._secret = secret
        self._strangers_tenant = strangers_tenant
        self._refusals = Refusals(refusals_max, strangers_tenant)
        self.refused: Counter[str] = Counter()
        """How often each code was told, since the start."""
        self._endings: deque[Ending] = deque()
        self._batches: deque[tuple[str, Batch]] = deque()
        self._is_closing = False
        self._rearmed = trio.Event()
        self._sleeps_on = True

    # ---- what is done

    async def begin(
        self,
        connection: HTTPConnection,
        principal: Principal,
        route: str,
        action: str,
        subject: str,
        *,
        reason: str = "",
    ) -> Begun:
        """Puts an action on record before it is done. Raises a Failure where that can't be: then it must not be done."""
        if len(self._endings) >= ENDINGS_MAX:
            raise Overloaded(
                "the trail is behind: actions before this one are not yet on record", retry_seconds=RETRY_SECONDS
            )
        named = request_ids.of(connection.scope)
        begin = BeginAction(
            action_id=self.system.ids.new(),
            principal=principal.name,
            action=action,
            subject=subject[:SUBJECT_CHARACTERS_MAX],
            origin=origin_of(connection, route, reason=reason),
        )
        context = Context(
            tenant=principal.tenant,
            principal=principal.name,
            correlation=named.trace_id,
            traceparent=named.traceparent,
            tracestate=named.tracestate,
        )
        noted = await self.system.ask(begin, context)
        return Begun(noted.action_id, principal, noted.cause, named.trace_id or noted.cause)

    async def end_done(self, begun: Begun) -> None:
        """Puts on record that an action was done; where that can't be now, it is taken down, since done it is."""
        ending = Ending(begun, Outcome.DONE, "")
        try:
            await self._record_ending(ending)
        except BaseException as error:
            self._take_down(ending)
            if not isinstance(error, Failure):
                raise

    def end(self, begun: Begun, error: BaseException) -> None:
        """Takes down that an action was refused or has failed."""
        known = code_of(error) if isinstance(error, Exception) else None
        if known is not None and known[0] < 500:
            self._take_down(Ending(begun, Outcome.REFUSED, known[1]))
        else:
            self._take_down(Ending(begun, Outcome.FAILED, known[1] if known is not None else type(error).__name__))

    def _take_down(self, ending: Ending) -> None:
        self._endings.append(ending)
        self._rearmed.set()

    # ---- what is refused

    def refuse(self, connection: HTTPConnection, principal: Principal, route: str, error: Exception) -> None:
        """Takes down that something was refused to a principal; of reads only those of what is not there, or not for it."""
        known = code_of(error)
        if known is None or not (400 <= known[0] < 500 or known[0] == 507):
            return
        self._count(known[1])
        is_read = connection.scope.get("method") in SAFE_METHODS
        if is_read and known[0] not in KNOWN_STATUSES:
            return
        self._refusals.note(
            Who(principal.tenant, principal.name), self._refusal(connection, route, known), is_read=is_read
        )
        self._wake()

    def refuse_stranger(self, connection: HTTPConnection, route: str, error: HTTPException) -> None:
        """Takes down that somebody without a good key was turned away."""
        known = code_of(error)
        assert known is not None
        self._count(known[1])
        token = connection.headers.get("authorization", "").partition(" ")[2].strip()
        who = Who(self._strangers_tenant, address_of(connection), is_stranger=True)
        self._refusals.note_stranger(who, self._refusal(connection, route, known), key_id_of(token) or "")
        self._wake()

    def _count(self, code: str) -> None:
        """Codes are the program's own; should one ever hold what a client has said, their number stays bounded."""
        self.refused[code if code in self.refused or len(self.refused) < CODES_COUNTED_MAX else OTHER_CODES] += 1

    def _wake(self) -> None:
        """A flood of what is only counted wakes nobody: the first window that is over does."""
        if self._sleeps_on or self._refusals.has_singles:
            self._rearmed.set()

    def _refusal(self, connection: HTTPConnection, route: str, known: tuple[int, str]) -> Refusal:
        status, code = known
        path = b"path " + connection.scope.get("path", "").encode(errors="replace")
        return Refusal(
            at=self.system.clock.now(),
            status=status,
            code=code[:WORDS_MAX],
            target=hmac.digest(self._secret, path, "sha256").hex()[:16],
            origin=origin_of(connection, route),
        )

    # ---- how it comes to be on record

    async def run(self) -> None:
        """Records what is due, until cancelled."""
        while True:
            self._rearmed = trio.Event()
            await self._record(everything=False)
            due = self._refusals.due
            self._sleeps_on = due is None
            seconds = float("inf") if due is None else max(0.0, due - self.system.clock.now())
            with trio.move_on_after(seconds):
                await self._rearmed.wait()

    async def close(self) -> None:
        """Records all there is, counts of windows that are not over too. What can't be is told in the log."""
        self._is_closing = True
        reason = f"it took more than {CLOSE_SECONDS_MAX} s"
        with trio.move_on_after(CLOSE_SECONDS_MAX, shield=True):
            try:
                await self._record(everything=True)
                return
            except Unreachable as failure:
                reason = str(failure)
        log.error("trail_cut_short", endings=len(self._endings), batches=len(self._batches), reason=reason)

    async def _record(self, *, everything: bool) -> None:
        """What is taken up stays at hand until it is on record, whatever ends this."""
        while self._endings:
            await self._insist(partial(self._record_ending, self._endings[0]))
            self._endings.popleft()
        # Under one key however often it is tried: an answer that was lost must not count twice.
        taken = self._refusals.take(self.system.clock.now(), everything=everything)
        self._batches.extend((f"{GATEWAY} {self.system.ids.new()}", batch) for batch in taken)
        while self._batches:
            await self._insist(self._record_batch)
            self._batches.popleft()

    async def _record_ending(self, ending: Ending) -> None:
        begun, outcome, code = ending
        who = begun.principal
        end = EndAction(action_id=begun.action_id, principal=who.name, outcome=outcome, code=code)
        context = Context(tenant=who.tenant, principal=who.name, cause=begun.cause, correlation=begun.correlation)
        await self.system.ask(end, context)

    async def _record_batch(self) -> None:
        key, (who, refusals, counted, keys) = self._batches[0]
        command: NoteRefusals | NoteStrangers
        if who.is_stranger:
            assert counted is not None
            command = NoteStrangers(address=who.name, place=self._place(who.name), counted=counted, keys=keys)
        else:
            command = NoteRefusals(principal=who.name, refusals=refusals, counted=counted)
        principal = GATEWAY if who.is_stranger else who.name
        await self.system.ask(
            command, Context(tenant=who.tenant, principal=principal, key=key, digest=sha256(key.encode()).digest())
        )

    def _place(self, address: str) -> str:
        """What stands for an address in the name of a stream, which stays for ever."""
        return address if address in NO_ADDRESSES else pseudonym(self._secret, f"address {address}")

    async def _insist(self, ask: Callable[[], Awaitable[None]]) -> None:
        """Tries until it is on record; at the end, while there is somebody to ask."""
        while True:
            try:
                return await ask()
            except (Refused, Crashed) as failure:  # to say it again would only crash again
                log.error("trail_refused", reason=str(failure))
                return None
            except Failure as failure:
                if self._is_closing and isinstance(failure, Unreachable) and not isinstance(failure, NotAnswered):
                    raise
                log.warning("trail_held_up", reason=str(failure))
            await trio.sleep(RETRY_SECONDS)
