"""How an actor lives and dies: its incarnations, its supervision, its children, its work, its end, and who hears of that.

One incarnation at a time: the next begins when the handler, the work and the children of the one before have ended (`_proceed`).
"""

from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple

import trio
from trio.lowlevel import enable_ki_protection

from runtime.actor import Actor
from runtime.delivery import Context, Delivery, Failed
from runtime.errors import AskCycle, Unreachable
from runtime.kind import AWAITING, QUEUED, RUNNING, STOPPED, STOPPING, SUSPENDED, Interceptor, may_wait
from runtime.mailbox import Mailbox
from runtime.ref import ActorRef, Terminated
from runtime.supervision import Directive

working: ContextVar["Life | Work | None"] = ContextVar("working", default=None)
"""Whose `async` handler or work this task runs."""

worker = working.get
"""Tells that. As a name of its own: Python looks up what is called on an imported name anew each time (a twentieth of an ask)."""


class Work(NamedTuple):
    """Work beside an actor, and the message that it was started by. What it asks does not keep the actor from answering."""

    cell: "Life"
    current: Delivery | None
    context: Context | None = None


class Life(Mailbox):
    """The life of what has a mailbox."""

    __slots__ = ()

    @property
    def crashes(self) -> int:
        """Its failures within the restart window."""
        return len(self._extras.failures) if self._extras is not None else 0

    # ---- incarnations

    def _incarnate(self) -> None:
        """Makes the actor that lives here. A constructor that raises is a failure like any other."""
        extras = self._extras
        if extras is not None:
            if self._state == STOPPED or extras.reason is not None:
                return
            extras.restarting = extras.backs_off = False
            self._end_timers_and_work()  # what the last words of the one before have started
        self._actor = None
        self._state = RUNNING
        try:
            actor = self._system.make(self)
            self._kind.is_made(type(actor))
            if type(actor).started is not Actor.started:
                actor.started(self._system.clock.now())
            self._actor = actor
        except Exception as error:
            self._state = SUSPENDED
            self._supervise(error, self._system.crashed(self, "start", error))
        except BaseException as error:
            self._state = SUSPENDED
            self._end_all(None, error)
        else:
            if self._kind.interceptors:
                self._extra().handle = self._intercepted(actor.handle)
        extras = self._extras
        if extras is not None:
            if extras.stash and self._actor is not None:
                self._unstash()
            if extras.reason is not None or extras.restarting:
                self._after_turn()  # by itself, or by a child that failed already
                return
        if self._state == RUNNING:
            self._begin()

    def _begin(self) -> None:
        if self._queue:
            self._state = QUEUED
            self._system.dispatcher.add_once(self)
        else:
            self._state = self._kind.rest

    def _intercepted(self, handle: Callable[[Any], Any]) -> Callable[[Any], Any]:
        for interceptor in reversed(self._kind.interceptors):
            handle = _around(interceptor, self, handle)
        return handle

    def _after_turn(self) -> None:
        extras = self._extras
        if extras is not None:
            if extras.reason is not None:
                if self._state != STOPPED:
                    self._stop_children()
                return
            if extras.parked:
                self._admit()
            if extras.restarting:
                self._proceed()
                return
        if self._state != RUNNING:
            return
        if self._queue:
            self._state = QUEUED
            self._system.dispatcher.add(self)
            return
        if self._queue is not None:
            self._system.give_queue(self._queue)
            self._queue = None
        self._state = self._kind.rest

    def _proceed(self) -> None:
        """Goes on with a stop or a restart once no child is left, no handler runs or waits, and no work."""
        extras = self._extra()
        if extras.children or extras.work or extras.awaited is not None or self._handling is not None:
            return
        if extras.reason is not None:
            if self._state != STOPPED:
                self._dead()
        elif extras.restarting and not extras.backs_off:
            extras.backs_off = True
            backoff = self._kind.supervision.backoff
            if backoff is not None:
                wait = extras.failures.wait(self._system.now(), self._kind.supervision, self._system.chance)
                self._system.alarms.later(wait, self._incarnate)
            elif self._actor is None:
                self._system.alarms.later(0.0, self._incarnate)  # its constructor fails: not in a loop
            else:
                self._incarnate()

    # ---- failing

    def _supervise(self, error: BaseException, error_id: str) -> None:
        policy = self._kind.supervision
        directive = policy.directive(error)
        extras = self._extra()
        if extras.reason is not None:
            return  # it ends anyway
        if directive is Directive.RESUME and self._actor is None:
            directive = Directive.RESTART  # its constructor failed: there is nothing to go on with
        if directive is Directive.RESTART and extras.failures.add(self._system.now(), policy):
            directive = policy.exhausted
            error_id = f"{error_id}, failure {len(extras.failures)} in {policy.window_seconds:g} s"
        match directive:
            case Directive.RESUME:
                pass
            case Directive.RESTART:
                self._restart()
                if policy.together:
                    self._restart_siblings()
            case Directive.STOP:
                self.stop_soon(f"failed (error {error_id})")
            case Directive.ESCALATE:
                self.stop_soon(f"failed (error {error_id})")
                self._escalate(error, error_id)

    def _escalate(self, error: BaseException, error_id: str) -> None:
        parent = self._parent
        if parent is None:
            self._system.exhausted(self, error, error_id)
        elif parent.alive:
            self._system.crashed(parent, f"failure of {self.path}", error)
            parent._supervise(error, error_id)

    def _restart_siblings(self) -> None:
        siblings = self._system.children if self._parent is None else self._parent._extra().children
        for sibling in list(siblings.values()):
            if sibling is not self and sibling.alive and sibling._kind.supervision.together:
                sibling._restart()

    def _restart(self) -> None:
        """Ends this incarnation, children first; a handler that waits is ended with it, and the work beside it."""
        extras = self._extra()
        if extras.reason is not None or extras.restarting:
            return
        extras.restarting = True
        extras.restarts += 1
        self._kind.restarts += 1
        is_made_now = self._state in (RUNNING, STOPPING) and self._handling is None
        self._state = SUSPENDED
        self._end_timers_and_work()
        if extras.awaited is not None and extras.awaited.scope is not None:
            extras.awaited.scope.cancel()
        for child in reversed(list(extras.children.values())):
            child._end("its parent restarts", None)
        if extras.children:
            self._system.alarms.later(self._system.stop_seconds_max, partial(self._cut_children_off, extras.restarts))
        if not is_made_now:
            self._proceed()

    def _cut_children_off(self, restart: int) -> None:
        """Of this restart: whoever still keeps the parent from beginning anew."""
        extras = self._extra()
        if extras.restarting and extras.restarts == restart:
            for child in list(extras.children.values()):
                child._cut_off()

    def _end_all(self, delivery: Delivery | None, error: BaseException) -> None:
        """Ctrl-C, SystemExit and their like are no business of a supervisor: the whole system ends with them."""
        if delivery is not None:
            delivery.settle(Failed(Unreachable(f"the system ends: {error!r}")))
        self._system.end(error)
        self.stop_soon("the system ends")

    # ---- stopping

    @enable_ki_protection
    def stop_soon(self, reason: str = "stopped") -> None:
        self._end(reason, self._system.stop_seconds_max)

    def _end(self, reason: str, seconds: float | None) -> None:
        """Ends it after the current message. What still waits after `seconds` is cancelled; None: its parent sees to that."""
        extras = self._extra()
        if self._state == STOPPED or extras.reason is not None:
            return
        extras.reason = reason
        extras.cut_off_seconds = seconds
        self._end_timers_and_work()
        self._turn_away(reason)
        if self._state == RUNNING:
            self._state = STOPPING
        elif self._state == AWAITING:
            self._cut_off_in_time()
        elif self._actor is not None or extras.restarting:
            self._stop_children()

    @enable_ki_protection
    async def stop(self, seconds: float | None = None, reason: str = "stopped") -> bool:
        who = working.get()
        above = None if who is None else speaker(who)
        while isinstance(above, Life):
            if above is self:
                raise AskCycle(f"{self.path} and who is below it can't wait for its end: stop_soon() asks for it")
            above = above._parent
        seconds = self._system.stop_seconds_max if seconds is None else seconds
        if self.alive:
            self._end(reason, seconds)
        elif self._state != STOPPED:
            self._system.alarms.later(seconds, self._cut_off)
        extras = self._extra()
        if self._state == STOPPED:
            await trio.lowlevel.checkpoint()
        else:
            gone = trio.Event()
            extras.stopped.append(gone)
            await gone.wait()
        return not extras.is_cut_off

    def _cut_off_in_time(self) -> None:
        """Whoever has not ended when its time is over is cancelled."""
        extras = self._extra()
        if extras.cut_off_seconds is not None and self._state != STOPPED:
            seconds, extras.cut_off_seconds = extras.cut_off_seconds, None
            self._system.alarms.later(seconds, self._cut_off)

    def _cut_off(self) -> None:
        """Ends the handlers that still wait, here and below."""
        extras = self._extra()
        if self._state == STOPPED or extras.is_cut_off:
            return
        extras.is_cut_off = True
        if extras.awaited is not None or extras.work:
            self._system.slow(self)
        if extras.awaited is not None and extras.awaited.scope is not None:
            extras.awaited.scope.cancel()
        self._stop_children_now()

    def _stop_children(self) -> None:
        self._state = SUSPENDED
        self._stop_children_now()
        self._proceed()
        self._cut_off_in_time()

    def _stop_children_now(self) -> None:
        extras = self._extra()
        for child in reversed(list(extras.children.values())):
            child._end("its parent stops", None)
            if extras.is_cut_off:
                child._cut_off()

    def _dead(self) -> None:
        extras, actor = self._extra(), self._actor
        reason = extras.reason or ""
        self._kind.handled_by_gone += self._handled
        self._state, self._actor = STOPPED, None
        if actor is not None:
            self._say_stopped(actor)
        self._end_timers_and_work()
        self._turn_away(reason)
        for watcher, message in list(extras.watchers.items()):
            watcher._notice(self, message, reason)
        extras.watchers.clear()
        for watched in extras.watches:
            if watched._extras is not None:
                watched._extras.watchers.pop(self, None)
        extras.watches.clear()
        for gone in extras.stopped:
            gone.set()
        self._system.gone(self)
        parent = self._parent
        if parent is not None and parent._extras is not None:
            parent._extras.children.pop(self.name, None)
            parent._proceed()

    def _say_stopped(self, actor: Actor[Any, Any]) -> None:
        try:
            actor.stopped()
        except Exception as error:
            self._system.crashed(self, "stop", error)
        except BaseException as error:
            self._system.end(error)

    def _abandon(self, reason: str) -> None:
        """The system is over: nobody will come here any more, so whoever still waits is told."""
        extras = self._extra()
        extras.reason = extras.reason or reason
        self._turn_away(extras.reason)
        if self.current is not None:
            self.current.settle(Failed(Unreachable(f"{self.path} was ended in the middle: {extras.reason}")))
        was_there, self._state = self._state != STOPPED, STOPPED
        if was_there and self._actor is not None:
            self._say_stopped(self._actor)
        for gone in extras.stopped:
            gone.set()

    # ---- watching

    @enable_ki_protection
    def _watch(self, ref: "Life", message: Any) -> None:
        if ref._state == STOPPED:
            self._notice(ref, message, (ref._extras and ref._extras.reason) or "")
        elif self.alive:
            ref._extra().watchers[self] = message
            self._extra().watches.add(ref)

    @enable_ki_protection
    def _unwatch(self, ref: "Life") -> None:
        if ref._extras is not None:
            ref._extras.watchers.pop(self, None)
        self._extra().watches.discard(ref)

    def _notice(self, ref: "Life", message: Any, reason: str) -> None:
        self._extra().watches.discard(ref)
        self._tick(Terminated(ref, reason) if message is None else message)

    # ---- work beside the actor

    @enable_ki_protection
    def _start_work(self, work: Callable[..., Awaitable[None]], cause: Work, arguments: tuple[Any, ...]) -> None:
        extras = self._extra()
        if extras.reason is None and not extras.restarting:
            scope = trio.CancelScope()
            extras.work.add(scope)  # before its task runs: a restart in between ends it too
            self._system.start(self._do, work, cause, arguments, scope)

    @enable_ki_protection
    async def _do(
        self, work: Callable[..., Awaitable[None]], cause: Work, arguments: tuple[Any, ...], scope: trio.CancelScope
    ) -> None:
        """Work beside the actor: it ends with the incarnation, and its failure is the actor's."""
        extras = self._extra()
        working.set(cause)
        try:
            with scope:
                if not scope.cancel_called:
                    await work(*arguments)
        except Exception as error:
            # There is nobody to refuse: whatever work raises is a failure.
            self._supervise(error, self._system.crashed(self, "work", error))
        finally:
            extras.work.discard(scope)
            self._proceed()

    def _end_timers_and_work(self) -> None:
        self._system.alarms.forget(self)
        for scope in self._extra().work:
            scope.cancel()


def speaker(who: Life | Work) -> Life | Work | None:
    """Who speaks: a task that a handler started in somebody else's nursery has only inherited the handler's name."""
    if isinstance(who, Life) and not who._system.dispatcher.runs(trio.lowlevel.current_task(), who):
        return None
    return who


def _around(interceptor: Interceptor, ref: ActorRef, handle: Callable[[Any], Any]) -> Callable[[Any], Any]:
    if may_wait(interceptor):
        handle = _awaitable(handle)

    def handle_around(message: Any) -> Any:
        return interceptor(ref, message, handle)

    return handle_around


def _awaitable(handle: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """An interceptor that waits need not know whether what it hands the message on to does."""

    async def awaits(message: Any) -> Any:
        answered = handle(message)
        return await answered if isinstance(answered, Coroutine) else answered

    return awaits
