"""One simulated run as its workload sees it: chance, time, faults, and the trace that everybody writes to."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, NoReturn

import trio

from runtime.actors import Actors, open_actors
from runtime.cell import Cell
from runtime.clock import SystemClock
from runtime.errors import Failure
from runtime.ids import Ids
from runtime.records import Recorded
from runtime.simulation.faults import CLOCK_JUMPS, HANDLER_RAISES, PAUSE, SLOW_ACTOR, Faults
from runtime.simulation.schedule import VirtualClock
from runtime.simulation.watching import Watching

STARTED_AT = 1_700_000_000.0
"""What the machine's clock shows when a run begins, in seconds since the epoch."""

LINES_MAX = 2_000_000

STALLS = (PAUSE.name, SLOW_ACTOR.name)
"""Faults that stop the process: a deadline that passes meanwhile is nobody's fault."""


class Violation(Exception):
    """An invariant did not hold."""

    def __init__(self, invariant: str, detail: str) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant = invariant
        self.detail = detail


class Planted(Exception):
    """What a handler raises because a fault wants it."""


class World:
    """A run of one seed: everything in it that is not decided by the code is decided here."""

    def __init__(self, seed: int, faults: Faults, folder: Path, clock: VirtualClock, until: int | None = None) -> None:
        self.seed = seed
        self.faults = faults
        self.folder = folder
        """An empty folder of this run, gone after it."""
        self.lines: list[str] = []
        self.events = 0
        """How many events were committed."""
        self.violation: Violation | None = None
        self.stands: Callable[[], list[str]] = list
        """Tells how the system stands; a workload says how. `standing` is what it told where the run was ended."""
        self.standing: list[str] = []
        self.scope = trio.CancelScope()
        """The run. Cancelled where it has failed."""
        self._virtual = clock
        self._until = until
        self._watching = Watching(self.fail)
        self._chances: dict[str, Random] = {}
        self._jumped = 0.0
        self.on_pause: Callable[[float], None] = lambda seconds: None
        """Called when the process has stood still for so long."""

    # ---- chance and time

    def chance(self, name: str) -> Random:
        """Random numbers of this name: what one part draws changes nothing for the others."""
        if name not in self._chances:
            self._chances[name] = Random(f"{self.seed} chance {name}")
        return self._chances[name]

    def dice(self, *about: object) -> Random:
        """Random numbers that follow from what they are about, whenever they are thrown."""
        return Random(f"{self.seed} {about}")

    @property
    def now(self) -> float:
        """Seconds since the run began, by a clock that nobody sets."""
        return self._virtual.time

    @property
    def stalled(self) -> float:
        """For how long the process has stood still so far."""
        return sum(self.faults.seconds(fault) for fault in self.faults.struck if fault.kind in STALLS)

    def wall(self) -> float:
        """What the machine's clock shows, in seconds since the epoch."""
        return STARTED_AT + self._virtual.time + self._jumped

    def clock(self) -> SystemClock:
        """A clock for a system, on this run's time."""
        return SystemClock(self.wall, lambda: STARTED_AT + self._virtual.time)

    def ids(self, clock: SystemClock, name: str = "ids") -> Ids:
        """Ids whose random part follows from the seed."""
        return Ids(clock, self.chance(name).randbytes)

    @contextmanager
    def within(self, seconds: float, invariant: str, detail: str) -> Iterator[None]:
        """What does not end in so many simulated seconds breaks this invariant; those that the process stands still don't count."""
        stalls = sum(self.faults.seconds(fault) for fault in self.faults.all if fault.kind in STALLS)
        with trio.move_on_after(seconds + stalls) as scope:
            yield
        if scope.cancelled_caught:
            self.fail(invariant, f"{detail}: not within {seconds:g} s")

    # ---- what is told

    @property
    def steps(self) -> int:
        """How many lines the trace has."""
        return len(self.lines)

    def note(self, who: str, what: str, **details: Any) -> None:
        """A step of the run, for its trace. Everything in it must follow from the seed: no addresses, no real time, no sets."""
        if self.scope.cancel_called and self._until is not None:
            return
        if len(self.lines) >= LINES_MAX:
            raise RuntimeError(f"a run of more than {LINES_MAX} steps")
        told = "".join(f" {name}={value}" for name, value in details.items())
        self.lines.append(f"{len(self.lines) + 1:6} {self.now:12.6f} {who:24} {what}{told}")
        if len(self.lines) == self._until:
            self._stop()

    def _stop(self) -> None:
        """The run ends here: how all stands is told as of now."""
        if not self.scope.cancel_called:
            self.standing = self.stands()
        self.scope.cancel()

    def digest(self) -> str:
        """The sha256 of the trace."""
        return sha256("\n".join(self.lines).encode()).hexdigest()

    def fail(self, invariant: str, detail: str) -> NoReturn:
        """This invariant does not hold: the run ends with that. Of several, the first is told."""
        if self.violation is None and not self.scope.cancel_called and self._virtual.stuck is None:
            self.note("invariant", invariant, violated=detail)
            self.violation = Violation(invariant, detail)
        self._stop()
        raise self.violation or Violation(invariant, detail)

    def holds(self, invariant: str, condition: bool, detail: Callable[[], str] | str) -> None:
        """Ends the run where the condition is false."""
        if not condition:
            self.fail(invariant, detail if isinstance(detail, str) else detail())

    # ---- actors

    @asynccontextmanager
    async def actors(self, **settings: Any) -> AsyncIterator[Actors]:
        """A system of actors in this world, as `open_actors` makes it; its messages stand in the trace, and faults strike them."""
        clock = self.clock()
        given: dict[str, Any] = {"clock": clock, "ids": self.ids(clock), "chance": self.chance("actors")} | settings
        given["interceptors"] = (self.watch, *given.get("interceptors", ()))
        async with open_actors(**given) as actors:
            yield actors

    def watch(self, ref: Any, message: Any, handle: Callable[[Any], Any]) -> Any:
        """An interceptor: notes who handles what, and why; and lets faults strike."""
        assert isinstance(ref, Cell)
        self._note_handling(ref, message)
        self._watching.begins(ref, message)
        if (fault := self.faults.strikes(SLOW_ACTOR, self.now)) is not None:
            self.note("fault", SLOW_ACTOR.name, actor=ref.path, seconds=self.faults.seconds(fault))
            self._stand_still(self.faults.seconds(fault))
        if self.faults.strikes(HANDLER_RAISES, self.now) is not None:
            self.note("fault", HANDLER_RAISES.name, actor=ref.path)
            raise Planted(f"planted in {ref.path}")
        try:
            return handle(message)
        except Failure as failure:
            self.note(ref.path, "refuses", message=type(message).__name__, failure=type(failure).__name__)
            raise
        finally:
            self._watching.ends(ref)

    def _note_handling(self, ref: Cell, message: Any) -> None:
        if isinstance(message, Recorded):
            self.note(ref.path, "reacts to", event=message.kind, position=message.position)
            return
        delivery = ref.current
        why = {"id": delivery.id, "cause": delivery.cause} if delivery is not None else {}
        self.note(ref.path, "handles", message=type(message).__name__, **why)

    # ---- faults of the whole machine

    async def age(self) -> None:
        """Lets the clock jump and the process stand still when their moments come; to be run beside the workload."""
        for fault in self.faults.of(CLOCK_JUMPS, PAUSE):
            await trio.sleep_until(fault.at)
            seconds = self.faults.seconds(fault)
            if fault.kind == PAUSE.name:
                self.faults.strikes(PAUSE, self.now)
                self.note("fault", "pause", seconds=seconds)
                self._stand_still(seconds)
            else:
                self.faults.strikes(CLOCK_JUMPS, self.now)
                back = self.faults.chance(fault).random() < 0.5
                self._jumped += -seconds if back else seconds
                self.note("fault", "clock_jumps", seconds=-seconds if back else seconds)

    def _stand_still(self, seconds: float) -> None:
        self._virtual.stand_still(seconds)
        self.on_pause(seconds)
