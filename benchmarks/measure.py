"""How everything is measured: both sides in one run, interleaved, several rounds, medians; and the machine's own speed beside it.

A row names what a goal speaks of. `ratio` says how many times better ours is than theirs: rates are ours over theirs, costs theirs
over ours. Where the goal is a bound (`at_most`), it says how many times theirs ours is. A value that was not reached counts as 0, or
as NEVER where the goal is a bound, so that a row is never left out.
"""

import gc
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

SYNCS = 21
PAGE_BYTES = 4096
CALIBRATION_STEPS = 200_000
NEVER = 1e9
"""Stands for a cost that was not reached where the goal is a bound."""


class NotMeasurable(Exception):
    """This row can't be measured here; the text says why."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What each round gave, for us and for the peer, in the row's unit."""

    ours: list[float]
    theirs: list[float]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a bench: `measure` runs it; `better` says whether more or less of the unit is better.

    The goal is the least that the ratio should be, or the most (`at_most`); `ours_max` is a bound on our own value besides.
    """

    name: str
    measure: Callable[[], Measured]
    peer: str
    unit: str
    better: Literal["more", "less"]
    goal: float | None = None
    at_most: bool = False
    ours_max: float | None = None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A measured row as it is printed."""

    name: str
    ours: float
    peer: str
    theirs: float
    ratio: float | None
    value: float
    unit: str
    better: Literal["more", "less"]
    goal: float | None
    met: bool | None


def run(row: Row) -> Result:
    """Measures a row. Raises NotMeasurable."""
    return _result(row, row.measure())


def not_reached(row: Row) -> Result:
    """A row that could not be measured: it counts as 0, or as NEVER where the goal is a bound."""
    return _result(row, Measured(ours=[NEVER], theirs=[1.0]) if row.at_most else Measured(ours=[0.0], theirs=[0.0]))


def _result(row: Row, measured: Measured) -> Result:
    ours, theirs = statistics.median(measured.ours), statistics.median(measured.theirs)
    over, under = (ours, theirs) if row.at_most or row.better == "more" else (theirs, ours)
    ratio = over / under if under > 0 else 0.0
    return Result(
        name=row.name,
        ours=ours,
        peer=row.peer,
        theirs=theirs,
        ratio=ratio if row.goal is not None else None,
        value=ours,
        unit=row.unit,
        better=row.better,
        goal=row.goal,
        met=None if row.goal is None else _is_met(row, row.goal, ratio, ours),
    )


def _is_met(row: Row, goal: float, ratio: float, ours: float) -> bool:
    if row.ours_max is not None and ours > row.ours_max:
        return False
    return ratio <= goal if row.at_most else ratio >= goal


Side = Callable[[], Awaitable[float]]


async def interleaved(ours: Side, theirs: Side, rounds: int) -> Measured:
    """Both sides in turn, so that what else happens on the machine hits both; neither tidies up the other's garbage."""
    pairs = [(await _tidied(ours), await _tidied(theirs)) for _ in range(rounds)]
    return Measured(ours=[pair[0] for pair in pairs], theirs=[pair[1] for pair in pairs])


async def _tidied(side: Side) -> float:
    gc.collect()
    return await side()


async def cost(work: Callable[[], Awaitable[object]], messages: int) -> float:
    """CPU microseconds of all threads for a message."""
    started = time.process_time()
    await work()
    return (time.process_time() - started) / messages * 1e6


def machine() -> dict[str, object]:
    """What this was measured on, with calibrations: the time of a fixed loop in plain Python, and of a sync on the disk of TMPDIR."""
    return {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
        "calibration_ms": round(statistics.median(_calibrate() for _ in range(5)), 3),
        "fsync_ms": round(_sync_milliseconds(), 3),
    }


def _sync_milliseconds() -> float:
    """Of a page that was appended: the median of SYNCS."""
    taken = []
    with tempfile.TemporaryFile(buffering=0) as file:
        for _ in range(SYNCS):
            file.write(bytes(PAGE_BYTES))
            started = time.perf_counter()
            os.fsync(file.fileno())
            taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)


def _calibrate() -> float:
    started = time.process_time()
    total = 0
    for number in range(CALIBRATION_STEPS):
        total += number & 7
    return (time.process_time() - started) * 1000
