"""What a strategy of the portfolio is: endless searches, called islands, that are left and gone on with by counted work.

The portfolio hands an island a reduced problem in spins and runs its `course`. Four rules make a run a function of
its arguments and of counted work alone, so that it replays bit for bit:

1. A kernel call counts work and leaves at the first boundary where the count has reached `work_stop`; the course
   yields after each call and goes on from where the kernel was. How the calls are cut must not change where the
   course goes: all that is decided and drawn depends on seed, stream and counts.
2. What is found is told by `keep`, at places that come at the same count however the calls are cut (the end of a
   round, not the end of a call).
3. Islands meet at such places, too: `other = yield from self.meet()` gives what the neighbor had found by its own
   previous meeting, the same in every run. It may be called at any of them, and comes to nothing where none is due.
4. No clock, no order of a set, and random words only from a state seeded by seed and stream.

A call at the portfolio's pace takes about 12 ms, none may take more than 50.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from solvers.features import Features
from solvers.ising import Ising

Spins = NDArray[np.int8]
Number = int | float

WORK_PER_CALL_FIRST = 100_000
WORK_MAX = 2**62


@dataclass(frozen=True, eq=False)
class Start:
    """What an island begins with: maximize `problem` over spins of -1 and 1."""

    problem: Ising
    seed: int
    stream: int = 0
    """Which island it is, from 0; the random state is seeded by both."""
    islands: int = 1
    warm: Spins | None = None
    """A solution known before, to begin from."""
    shared: dict[str, NDArray[Any]] = field(default_factory=dict)
    """Arrays that all islands of a run keep together. Each writes the same values to all of one before it reads any: so it does not
    matter which of them is first."""


@dataclass(frozen=True, eq=False)
class Meeting:
    """What an island shows to its neighbor: its `number`th meeting, from 1."""

    number: int
    spins: Spins
    twice: Number


Course = Generator[Meeting | None, Spins | None, None]
"""Yields None where it can be left, and a `Meeting` where it waits for what the neighbor has found."""


class Island(ABC):
    """One endless course. The portfolio sets `work_per_call` and `work_max`; a strategy writes `steps` and `course`."""

    meeting_work = 100_000_000
    """Islands meet at the first place after each so much work."""

    def __init__(self, start: Start) -> None:
        self.start = start
        self.best = np.ones(len(start.problem.fields), np.int8)
        self.best_twice: Number = -np.inf
        """Twice the objective of `best`: whole where the problem is."""
        self.parameters: dict[str, Number | str] = {}
        """What it has measured and set itself: recorded with the solution."""
        self.counts: dict[str, int] = {}
        """What it has done: rounds, crossings and the like; recorded with the solution."""
        self.work_per_call = WORK_PER_CALL_FIRST
        self.work_max = WORK_MAX
        self.on_keep: Callable[[], None] = lambda: None
        self._meetings = 0

    @property
    @abstractmethod
    def steps(self) -> int:
        """What the kernels have counted so far: spins visited and neighbors looked at, or what takes as long."""

    @abstractmethod
    def course(self) -> Course:
        """The whole search, without an end; between two yields at least one step is counted, and at most a slice passes."""

    @property
    def work(self) -> int:
        """The steps and the meetings: no two places where a course can be left have the same count."""
        return self.steps + self._meetings

    @property
    def work_stop(self) -> int:
        """The count of steps at which the next kernel call is to leave."""
        return min(self.steps + self.work_per_call, self.work_max - self._meetings)

    @property
    def has_answer(self) -> bool:
        """Whether it has found something, or was given something and has begun: before, no run ends for want of time."""
        return self.best_twice > -np.inf or (self.start.warm is not None and self.work > 0)

    def keep(self, spins: Spins, twice: Number) -> bool:
        """Takes these as the best where they are; true if so."""
        if not twice > self.best_twice:
            return False
        self.best[:] = spins
        self.best_twice = twice
        self.on_keep()
        return True

    def count(self, what: str, times: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + times

    def meet(self) -> Generator[Meeting | None, Spins | None, Spins | None]:
        """What the neighbor has shown at its last meeting, where one is due and it has; not to be written to."""
        if self.start.islands == 1 or self.work < (self._meetings + 1) * self.meeting_work:
            return None
        self._meetings += 1
        self.count("meetings")
        return (yield Meeting(self._meetings, self.best.copy(), self.best_twice))


class Strategy(Protocol):
    """A row of the portfolio's table. Light to import: `start` loads the kernels."""

    name: str
    """What a record calls it: a run is replayed by this name."""
    work_per_second: int
    """What a thread of a slow or busy machine counts in a second."""
    reduces: bool
    """Whether it is given what reductions leave of a problem, or all of it."""
    limits: str
    """What it takes, in words."""

    def takes(self, features: Features) -> bool:
        """Whether it can run on such a problem at all: who names it for another one is refused."""
        ...

    def suits(self, features: Features) -> bool:
        """Whether it is the right one for such a problem; the portfolio takes the first of its table that is."""
        ...

    def memory_bytes(self, features: Features) -> int:
        """What one island needs beside the problem, estimated before anything is allocated."""
        ...

    def start(self, start: Start) -> Island: ...
