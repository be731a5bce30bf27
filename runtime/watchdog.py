"""Notices handlers that do not come back: plain ones, which hold the loop up, and `async` ones, which wait too long.

1. A thread asks the loop for a sign of life a few times within each limit. While none comes, it reads off the loop's stack which actor is
   at work on which message; only the same message all the time counts. Nothing is noted for each message.
2. After `warn_seconds` one line of the log tells the actor, the message's type and the stack. After `seconds_max` the process ends with the
   exit code STUCK, its reason the last line. Nothing that was acknowledged is lost: answers leave after their commits.
3. A handler that waits is warned of after `warn_seconds`, by a sweep over all that wait. It holds nobody up, so it is left alone.
4. Time in which the whole process stood still does not count.
5. Code that keeps the interpreter's lock (a regular expression that goes astray, a huge power) stops this thread too. So the thread winds
   up a timer of the system's at each look; where it does not come to that for so long that the process has computed for `seconds_max` on
   every core, a signal writes the stacks of all threads to stderr and ends the process: by SIGPROF, not by STUCK, and without a line of
   the log, for which the lock is needed. It counts computing time, so what keeps the lock and sleeps is not found.
"""

import faulthandler
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine, Iterator
from time import monotonic, perf_counter_ns
from types import FrameType
from typing import Any, NamedTuple

import structlog
import trio

from runtime.cell import Cell
from runtime.delivery import Delivery
from runtime.dispatcher import Dispatcher, Waiting
from runtime.mailbox import Step
from runtime.records import Recorded

log = structlog.get_logger()

STUCK = 4
"""The exit code of a process that a handler held up for `seconds_max`."""

LOOKS = 5
"""How often the thread looks within the shorter limit."""

LOOK_SECONDS_MAX = 1.0
WORDS_SECONDS_MAX = 2.0
"""How long a line may take to be written: the loop may have been stopped in the middle of one of its own."""

STDERR = 2
FRAMES_MAX = 50
STEPS = frozenset({"ask", "turn", "_turn_async", "_run", "_do"})
"""The methods of a cell under which an actor's own code runs."""


class AtWork(NamedTuple):
    """Whose code runs on the loop's thread, and on what."""

    cell: Cell | None
    item: Any

    def __str__(self) -> str:
        return f"{self.cell.path} on {describe(self.item)}" if self.cell is not None else "no actor"


class Timer:
    """Ends the process unless it is wound up again before all cores have computed for `seconds`; 0: it never does.

    Where somebody else uses the signal (a profiler), and where the system has no such timer, there is none.
    """

    def __init__(self, seconds: float) -> None:
        # Of one core alone that may be many times as long, but never too early, whatever computes on the others.
        self._seconds = seconds * (os.cpu_count() or 1)
        self._is_set = False

    def wind_up(self) -> None:
        """Gives it the whole time again."""
        if not self._is_set:
            if (
                not (self._seconds and hasattr(signal, "setitimer"))
                or signal.getsignal(signal.SIGPROF) != signal.SIG_DFL
            ):
                return
            faulthandler.register(signal.SIGPROF, file=STDERR, all_threads=True, chain=True)
            self._is_set = True
        signal.setitimer(signal.ITIMER_PROF, self._seconds)

    def end(self) -> None:
        if self._is_set:
            self._is_set = False
            signal.setitimer(signal.ITIMER_PROF, 0)
            faulthandler.unregister(signal.SIGPROF)


class Watchdog:
    """The watch over one system's handlers. A limit of 0 is none."""

    def __init__(self, dispatcher: Dispatcher, *, warn_seconds: float, seconds_max: float) -> None:
        self.warn_seconds = warn_seconds
        self.seconds_max = seconds_max
        limits = [limit for limit in (warn_seconds, seconds_max) if limit]
        self.is_on = bool(limits)
        self._look_seconds = min([LOOK_SECONDS_MAX, *(limit / LOOKS for limit in limits)])
        self._dispatcher = dispatcher
        self._timer = Timer(seconds_max)
        self._ended = threading.Event()
        self._asked = self._heard = 0

    async def run(self) -> None:
        """Watches until cancelled."""
        self._ended.clear()
        given = (threading.get_ident(), trio.lowlevel.current_trio_token())
        thread = threading.Thread(target=self._watch, args=given, name="watchdog", daemon=True)
        thread.start()
        try:
            await self._sweep()
        finally:
            self._ended.set()
            thread.join()
            self._timer.end()

    # ---- on the thread

    def _watch(self, loop_thread: int, token: trio.lowlevel.TrioToken) -> None:
        seconds, warned, at = 0.0, False, AtWork(None, None)
        then = monotonic()
        self._timer.wind_up()
        while not self._ended.wait(self._look_seconds):
            self._timer.wind_up()
            now = monotonic()
            step, then = min(now - then, 2 * self._look_seconds), now
            frame = sys._current_frames().get(loop_thread) if self._asked != self._heard else None
            if frame is None:
                seconds, warned, at = 0.0, False, AtWork(None, None)
                if not self._ask(token):
                    return
                continue
            before, at = at, at_work(frame)
            if at.cell is not before.cell or at.item is not before.item:
                seconds, warned = 0.0, False
            seconds += step
            is_over = bool(self.seconds_max) and seconds >= self.seconds_max
            if not warned and (is_over or (self.warn_seconds and seconds >= self.warn_seconds)):
                warned = True
                _say(log.warning, "handler does not come back", **_facts(at, seconds), stack=_stack(frame))
            if is_over:
                reason = f"{at} has not come back for {seconds:.1f} s, {self.seconds_max:g} s at most are allowed"
                _say(log.critical, "the process ends", reason=reason)
                os._exit(STUCK)

    def _ask(self, token: trio.lowlevel.TrioToken) -> bool:
        """Asks for a sign of life; False where the loop has ended."""
        self._asked += 1
        try:
            token.run_sync_soon(self._hear)
        except trio.RunFinishedError:
            return False
        return True

    # ---- on the loop

    def _hear(self) -> None:
        self._heard = self._asked

    async def _sweep(self) -> None:
        """Tells of each handler that waits too long, once."""
        if not self.warn_seconds:
            await trio.sleep_forever()
        told: set[Waiting] = set()
        while True:
            await trio.sleep(self._look_seconds)
            now = perf_counter_ns()
            late = {one for one in self._dispatcher.waiting if now - one.since_ns >= self.warn_seconds * 1e9}
            for one in late - told:
                facts = _facts(AtWork(one.what, one.what.current), (now - one.since_ns) / 1e9)
                log.warning("handler waits", **facts, stack=_stack_of(one.coroutine))
            told = late


def at_work(frame: FrameType | None) -> AtWork:
    """Whose code this stack of the loop's thread is in, innermost first."""
    while frame is not None:
        name = frame.f_code.co_name
        if name in STEPS:
            names = frame.f_locals
            cell = names.get("self")
            if isinstance(cell, Cell):
                return AtWork(cell, names.get("item", names.get("delivery", cell._handling)))
        elif name == "_finish" and isinstance(blocked := frame.f_locals.get("blocked"), Waiting):
            return AtWork(blocked.what, blocked.what.current)
        frame = frame.f_back
    return AtWork(None, None)


def describe(item: Any) -> str:
    """What an actor works on, in a word."""
    if isinstance(item, Delivery):
        return type(item.message).__name__
    if isinstance(item, Recorded):
        return item.kind
    if isinstance(item, Delivery | Step):
        return type(item.message).__name__
    return "work" if item is None else type(item).__name__


def _facts(at: AtWork, seconds: float) -> dict[str, Any]:
    return {
        "actor": at.cell.path if at.cell is not None else None,
        "message": describe(at.item),
        "seconds": round(seconds, 3),
    }


def _stack(frame: FrameType) -> str:
    return "".join(traceback.format_stack(frame)[-FRAMES_MAX:]).rstrip()


def _stack_of(coroutine: Coroutine[Any, Any, Any]) -> str:
    """Where a coroutine waits: its own frames, outermost first."""
    frames = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in _frames(coroutine))
    return "".join(frames.format()[-FRAMES_MAX:]).rstrip()


def _frames(awaited: Any) -> Iterator[FrameType]:
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is not None:
            yield frame
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)


def _say(write: Callable[..., Any], event: str, **facts: Any) -> None:
    """Writes a line and all that is still buffered, or gives up: whoever is stuck may hold the log."""

    def words() -> None:
        write(event, **facts)
        sys.stdout.flush()
        sys.stderr.flush()

    thread = threading.Thread(target=words, name="last words", daemon=True)
    thread.start()
    thread.join(WORDS_SECONDS_MAX)
