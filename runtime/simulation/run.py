"""Runs a workload for a seed, and makes the list of faults of a run that failed as short as it can be."""

import gc
import tempfile
import traceback
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import structlog

from runtime.simulation.faults import KINDS, Fault, Faults, Kind, draw
from runtime.simulation.schedule import Stuck, VirtualClock, run
from runtime.simulation.world import Violation, World

MEMORY_FOLDER = Path("/dev/shm")
"""Where files are in memory, on Linux: the simulation loses the power itself, so nothing has to reach a disk."""

SHRINKING_RUNS_MAX = 200

Workload = Callable[[World], Awaitable[None]]
"""What is simulated: it opens the system, says what its clients say, and checks what must hold."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a run. `invariant` is empty where all held; `steps` are the lines of its trace, `events` were committed."""

    seed: int
    steps: int
    simulated_seconds: float
    events: int
    trace_sha256: str
    invariant: str
    detail: str
    faults: list[Fault]
    struck: list[Fault]
    trace: list[str]
    standing: list[str]
    """How the system stood where the run was ended before its time."""

    @property
    def ok(self) -> bool:
        """Whether every invariant held."""
        return not self.invariant


def simulate(
    workload: Workload,
    seed: int,
    *,
    kinds: Sequence[Kind] = KINDS,
    faults: Sequence[Fault] | None = None,
    seconds: float = 60.0,
    until: int | None = None,
) -> Outcome:
    """One run: the same seed and faults give the same trace, byte for byte.

    Faults of these kinds are drawn over so many simulated seconds, unless they are given. `until` ends the run after so many steps.
    Not to be called where Trio runs already.
    """
    given = Faults(kinds, draw(kinds, seed, seconds) if faults is None else faults, seed)
    clock = VirtualClock()
    with _quiet(), tempfile.TemporaryDirectory(dir=MEMORY_FOLDER if MEMORY_FOLDER.is_dir() else None) as folder:
        world = World(seed, given, Path(folder), clock, until)
        violation = _run(workload, world, clock)
    return Outcome(
        seed=seed,
        steps=world.steps,
        simulated_seconds=round(world.now, 6),
        events=world.events,
        trace_sha256=world.digest(),
        invariant=violation.invariant if violation is not None else "",
        detail=violation.detail if violation is not None else "",
        faults=given.all,
        struck=given.struck,
        trace=world.lines,
        standing=world.standing,
    )


def _run(workload: Workload, world: World, clock: VirtualClock) -> Violation | None:
    async def main() -> None:
        with world.scope:
            await workload(world)

    try:
        run(main, world.seed, clock)
    except Stuck as stuck:
        return world.violation or Violation("no_hang", str(stuck))
    except Exception as error:  # noqa: BLE001 - whatever it is, it was found by this seed
        return world.violation or Violation("no_surprise", "".join(traceback.format_exception(error)))
    return world.violation


def shrink(workload: Workload, failed: Outcome, *, kinds: Sequence[Kind] = KINDS) -> Outcome:
    """The same seed with as few faults as still break the same invariant: delta debugging (Zeller and Hildebrandt 2002)."""
    best, parts, runs = failed, 2, 0
    while best.faults and runs < SHRINKING_RUNS_MAX:
        parts = min(parts, len(best.faults))
        for rest in _without_a_part(best.faults, parts):
            runs += 1
            outcome = simulate(workload, failed.seed, kinds=kinds, faults=rest)
            if outcome.invariant == failed.invariant:
                best, parts = outcome, max(parts - 1, 2)
                break
        else:
            if parts >= len(best.faults):
                break
            parts *= 2
    return best


def _without_a_part(faults: Sequence[Fault], parts: int) -> Iterator[list[Fault]]:
    size = -(-len(faults) // parts)
    for start in range(0, len(faults), size):
        yield [*faults[:start], *faults[start + size :]]


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing is logged (what was done stands in the trace), and no garbage is collected at a moment that nobody chose."""
    processors = structlog.get_config()["processors"]
    kept = list(processors)
    collecting = gc.isenabled()
    gc.disable()
    processors[:] = [_drop]
    try:
        yield
    finally:
        processors[:] = kept
        if collecting:
            gc.enable()


def _drop(logger: object, name: str, event: object) -> str:
    raise structlog.DropEvent
