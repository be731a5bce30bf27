"""What goes wrong in a simulated run, and when: drawn from the seed, told as text, and consulted where it strikes.

A fault is a kind and a moment, and everything else about it follows from the seed and those two. So one can be taken out of a run
without changing the others, and a shorter list is a smaller run of the same seed.
"""

import re
from collections.abc import Iterable, Sequence
from random import Random
from typing import NamedTuple, Self

FAULT = re.compile(r"([a-z_]+)@([0-9]+(?:\.[0-9]+)?)")


class Kind(NamedTuple):
    """A kind of fault. `often` of them strike in a run on average, where the run has the kind at all; those that last do so up to
    `seconds_max`."""

    name: str
    what: str
    often: float = 1.5
    seconds_max: float = 0.0


CRASH = Kind("crash", "the node's machine loses its power at any moment, and starts again from its files")
CRASH_BEFORE_COMMIT = Kind(
    "crash_before_commit", "the power is lost when a transaction has been written but not committed"
)
CRASH_AFTER_COMMIT = Kind("crash_after_commit", "the power is lost when a transaction is on disk and nobody knows yet")
TORN_COMMIT = Kind(
    "torn_commit", "the power is lost in the middle of a commit: the file ends somewhere in the transaction"
)
RESTART = Kind("restart", "the node is stopped in order, and started again from its files", 0.7)
COMMIT_FAILS = Kind("commit_fails", "a transaction fails, and nothing of it is on disk")
COMMIT_UNSURE = Kind("commit_unsure", "a transaction is on disk, and an error is told instead")
SLOW_COMMIT = Kind("slow_commit", "the disk takes seconds for each transaction", seconds_max=5.0)
DISK_FULL = Kind("disk_full", "every transaction fails for a while", seconds_max=5.0)
REQUEST_LOST = Kind("request_lost", "what a client sends never arrives", 4.0)
REPLY_LOST = Kind("reply_lost", "what a client asked for is done, and the answer never arrives", 4.0)
DOUBLED = Kind("doubled", "what a client sends arrives twice", 4.0)
LATE = Kind("late", "what a client sends arrives seconds later", 4.0)
CUT_OFF = Kind("cut_off", "a client hears and says nothing for a while, then comes back", 2.0, seconds_max=30.0)
HANDLER_RAISES = Kind("handler_raises", "an actor fails while it handles a message", 2.0)
SLOW_ACTOR = Kind("slow_actor", "a handler takes seconds, and the whole process with it", 1.5, seconds_max=3.0)
PAUSE = Kind("pause", "the process stands still, as one that was stopped", 1.0, seconds_max=300.0)
CLOCK_JUMPS = Kind("clock_jumps", "the machine's clock is set forward or back", 1.5, seconds_max=600.0)

KINDS = (
    *(CRASH, CRASH_BEFORE_COMMIT, CRASH_AFTER_COMMIT, TORN_COMMIT, RESTART),
    *(COMMIT_FAILS, COMMIT_UNSURE, SLOW_COMMIT, DISK_FULL),
    *(REQUEST_LOST, REPLY_LOST, DOUBLED, LATE, CUT_OFF),
    *(HANDLER_RAISES, SLOW_ACTOR, PAUSE, CLOCK_JUMPS),
)
"""What the simulation itself can do to a node and its clients. A workload may bring more."""


class Fault(NamedTuple):
    """A fault of a run: its kind, and from which simulated second on it strikes."""

    kind: str
    at: float

    def __str__(self) -> str:
        return f"{self.kind}@{self.at:.3f}"

    @classmethod
    def read(cls, text: str) -> Self:
        """The fault that this text tells. Raises ValueError."""
        found = FAULT.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no fault: a kind and a second, as in crash@12.345")
        return cls(found[1], float(found[2]))


def draw(kinds: Sequence[Kind], seed: int, seconds: float) -> list[Fault]:
    """The faults of a run of so many seconds. Each run has some of the kinds only: together they would hide each other's effects."""
    share = Random(f"{seed} faults").choice((0.15, 0.3, 0.6))
    faults = []
    for kind in kinds:
        dice = Random(f"{seed} {kind.name}")  # of its own: another list of kinds has the same faults of this one
        if dice.random() < share:
            count = 1 + int(dice.expovariate(1 / kind.often))
            faults += [Fault(kind.name, round(dice.uniform(0, seconds), 3)) for _ in range(count)]
    return sorted(set(faults), key=lambda fault: (fault.at, fault.kind))


class Faults:
    """The faults of a run, as its parts ask for them."""

    def __init__(self, kinds: Iterable[Kind], faults: Iterable[Fault], seed: int) -> None:
        """Raises ValueError for a fault of a kind that is not among these."""
        self.kinds = {kind.name: kind for kind in kinds}
        self.all = sorted(faults, key=lambda fault: (fault.at, fault.kind))
        unknown = sorted({fault.kind for fault in self.all} - set(self.kinds))
        if unknown:
            raise ValueError(f"no such faults here: {', '.join(unknown)}; there are {', '.join(self.kinds)}")
        self.struck: list[Fault] = []
        self._seed = seed
        self._waiting = {name: [fault for fault in self.all if fault.kind == name] for name in self.kinds}

    def of(self, *kinds: Kind) -> list[Fault]:
        """The faults of these kinds, in the order of their moments."""
        names = {kind.name for kind in kinds}
        return [fault for fault in self.all if fault.kind in names]

    def chance(self, fault: Fault) -> Random:
        """What is random about a fault: the same in every run that has it."""
        return Random(f"{self._seed} {fault}")

    def seconds(self, fault: Fault) -> float:
        """How long a fault lasts, of those that do."""
        return round(self.chance(fault).uniform(0.1, 1.0) * self.kinds[fault.kind].seconds_max, 3)

    def end(self) -> None:
        """No fault strikes any more."""
        self._waiting.clear()

    def has_struck(self, kind: Kind) -> bool:
        """Whether one of this kind has."""
        return any(fault.kind == kind.name for fault in self.struck)

    def next(self, kind: Kind, now: float) -> Fault | None:
        """The fault of this kind whose moment has come and that has not struck yet."""
        waiting = self._waiting.get(kind.name)
        return waiting[0] if waiting and waiting[0].at <= now else None

    def strikes(self, kind: Kind, now: float) -> Fault | None:
        """The same, and it strikes now, once."""
        fault = self.next(kind, now)
        if fault is not None:
            self._waiting[kind.name].remove(fault)
            self.struck.append(fault)
        return fault

    def lasts(self, kind: Kind, now: float) -> Fault | None:
        """The fault of this kind that goes on now."""
        for fault in self._waiting.get(kind.name, ()):
            if fault.at <= now < fault.at + self.seconds(fault):
                if fault not in self.struck:
                    self.struck.append(fault)
                return fault
        return None
