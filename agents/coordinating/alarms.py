"""What falls due when: a heap of alarms that are checked against the truth only when their time has come.

An alarm is a hint: what it stands for may have moved or ended meanwhile. So it is set freely, and whoever takes it looks first.
"""

import heapq
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple


class Due(StrEnum):
    """What an alarm is about."""

    BOOK = "book"
    BATCH = "batch"
    SILENCE = "silence"
    BUDGET = "budget"
    HOLD = "hold"
    GRACE = "grace"
    DEADLINE = "deadline"
    RETRY = "retry"
    START = "start"
    DUTY = "duty"
    CYCLE = "cycle"
    PLACES = "places"


class Alarm(NamedTuple):
    """Look at `name` for the reason `due` at the time `at`."""

    at: float
    due: Due
    name: str


class Alarms:
    """The alarms of one actor, the soonest first."""

    def __init__(self) -> None:
        self._heap: list[Alarm] = []

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[Alarm]:
        return iter(sorted(self._heap))

    def set(self, at: float, due: Due, name: str) -> None:
        """Adds an alarm."""
        heapq.heappush(self._heap, Alarm(at, due, name))

    def soonest(self) -> float | None:
        """When the next alarm goes off."""
        return self._heap[0].at if self._heap else None

    def take(self, at: float) -> Alarm | None:
        """The next alarm whose time has come by `at`."""
        return heapq.heappop(self._heap) if self._heap and self._heap[0].at <= at else None

    def clear(self) -> None:
        """Forgets all alarms."""
        self._heap.clear()
