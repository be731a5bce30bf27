"""The best assignment where tasks take units beside slots: the solver counts slots, and here it is made sure that the units are enough.

First all free slots are counted. Whoever would then get more units than it has left is counted with fewer slots, so many that its units are
enough whichever tasks it gets, and it is solved again. What that costs is told: the bound is of all slots.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from aggregates.values.batches import UNITS_SLACK
from aggregates.values.capacity import total

if TYPE_CHECKING:
    from solvers.assignment import Assignment


class Placed(NamedTuple):
    """An assignment, the slots of each agent that it was found with, and what no assignment to all free slots is worth more than."""

    found: "Assignment"
    slots: Any
    dual: float


def load() -> None:
    """Loads the kernels, which takes a second, and longer where they are not compiled yet: not for the event loop."""
    import numpy as np

    from solvers.assignment import assign

    found = assign(np.eye(3), [2, 0, 1], epsilon=1e-6)
    assign(np.eye(3), [2, 0, 1], prices=np.ones(3), agents=found.agents)


def place(
    values: Any, free: Any, units: Sequence[float], rooms: Sequence[float], solve: Callable[[Any], "Assignment"]
) -> Placed:
    """`values` of tasks (rows) and agents (columns), -inf where a pair can't be; the units of each task, and what each agent has left of
    them. `solve` finds the best assignment for so many slots of each agent; it is called again while somebody gets too much."""
    import numpy as np

    slots = np.array(free, np.int64)
    safe = _safe(values, slots, units, rooms) if any(units) else slots
    while True:
        found = solve(slots)
        over = [agent for agent in _over(found.agents.tolist(), units, rooms) if slots[agent] > safe[agent]]
        if not over:
            lacking = np.minimum(free, len(units)) - np.minimum(slots, len(units))
            return Placed(found, slots, found.dual + float(np.dot(lacking, found.prices)))
        # Where the work ended first, it would end so again and again: then nobody is counted with more than is enough.
        held_back = np.isin(np.arange(len(slots)), over) if found.complete else np.ones(len(slots), np.bool_)
        slots = np.where(held_back, safe, slots)


def _safe(values: Any, slots: Any, units: Sequence[float], rooms: Sequence[float]) -> Any:
    """For how many tasks of the largest that it could get each agent has units."""
    import numpy as np

    largest = np.where(np.isneginf(values), 0.0, np.asarray(units, np.float64)[:, np.newaxis]).max(axis=0, initial=0.0)
    with np.errstate(divide="ignore"):
        enough = np.floor(np.asarray(rooms, np.float64) / largest + UNITS_SLACK)
    return np.where(largest > 0, np.clip(enough, 1, slots), slots).astype(np.int64)


def _over(agents: Sequence[int], units: Sequence[float], rooms: Sequence[float]) -> list[int]:
    """Who gets more units than it has left."""
    taken: defaultdict[int, list[float]] = defaultdict(list)
    for agent, size in zip(agents, units, strict=True):
        if agent >= 0 and size:
            taken[agent].append(size)
    return [agent for agent, sizes in sorted(taken.items()) if len(sizes) > 1 and total(sizes) > rooms[agent]]
