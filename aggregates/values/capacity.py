"""Capacity: what a task's resources come to in units, and whether an agent has as many left.

The rule is one: a task takes the sum of the numbers in `requirements.resources`, whatever their names, so that {"cpu": 2, "memory": 4}
takes 6 units; a task that names no resources takes none, and any agent has room for it. Units are counted to the millionth.
"""

from collections.abc import Iterable
from math import fsum, isfinite
from typing import Any

from aggregates.values.document import Document, Flaw
from aggregates.values.pointers import child

RESOURCES_MAX = 32
"""How many resources a task may name."""
UNITS_MAX = 1e9
"""How many units a task may take, of one resource and of all."""
UNIT_DIGITS = 6
NAME_SHOWN_MAX = 64

RESOURCES = "resources"
"""Where the requirements name them."""


def units_of(requirements: Document) -> float:
    """The units that a task with these requirements takes; they have no faults."""
    return total(requirements[RESOURCES].values()) if RESOURCES in requirements else 0.0


def total(units: Iterable[float]) -> float:
    """The sum, the same in whatever order they come."""
    return round(fsum(units), UNIT_DIGITS)


def room(max_capacity: float, used: float) -> float:
    """The units that are left."""
    return round(max_capacity - used, UNIT_DIGITS)


def fits(units: float, max_capacity: float | None, used: float) -> bool:
    """Whether an agent has room for so many units more; None is the capacity of one of which nobody kept it."""
    return not units or max_capacity is None or units <= room(max_capacity, used)


def resource_faults(requirements: Document) -> list[Flaw]:
    """All that is wrong with the resources that are asked for."""
    if RESOURCES not in requirements:
        return []
    resources = requirements[RESOURCES]
    pointer = f"/requirements/{RESOURCES}"
    if not isinstance(resources, dict):
        return [Flaw(pointer, "is no object of numbers")]
    if len(resources) > RESOURCES_MAX:
        return [Flaw(pointer, f"names {len(resources)}; {RESOURCES_MAX} is the most")]
    found = [
        Flaw(child(pointer, str(name)[:NAME_SHOWN_MAX]), fault)
        for name, said in resources.items()
        if (fault := _fault(said))
    ]
    if not found and fsum(resources.values()) > UNITS_MAX:
        found = [Flaw(pointer, f"take more than {UNITS_MAX:g} units together")]
    return found


def _fault(said: Any) -> str:
    if isinstance(said, bool) or not isinstance(said, (int, float)) or not isfinite(said):
        return "is no number"
    if said < 0:
        return f"is negative ({said:g})"
    return f"is more than {UNITS_MAX:g}" if said > UNITS_MAX else ""
