"""A bridge to mixed-integer programming: a bound on any QUBO, and for small sparse ones a proven optimum, by HiGHS in scipy.

Each coupling becomes a variable between 0 and 1 beside the two that it multiplies (Glover and Woolsey 1974), and only
the inequalities that its sign asks for are kept: `y ≤ x_i` and `y ≤ x_j` where a larger y would pay, `y ≥ x_i + x_j - 1`
where a smaller one would. At the ends of the range all of them hold.
"""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from solvers.qubo import MEMORY_BYTES_MAX, Qubo, check_memory

BYTES_PER_COUPLING = 2_000  # of HiGHS's own arrays, with room: 600 to 1,400 were seen
INTEGRALITY = 1e-6
"""HiGHS's own tolerance: whole bounds are rounded only where they are further than this from the next whole number."""


@dataclass(frozen=True, eq=False)
class Bounded:
    """What HiGHS has found and shown, in the file's terms: no assignment is better than `bound`."""

    value: int | float | None
    """Of the assignment, or None where none was found in time."""
    assignment: NDArray[np.uint8] | None
    bound: float
    proven: bool
    seconds: float


def bounded(qubo: Qubo, *, seconds: float, memory_bytes_max: int = MEMORY_BYTES_MAX) -> Bounded:
    """Blocks for about so many seconds at most, and can't be interrupted. Raises ValueError past the memory allowed."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    check_memory(BYTES_PER_COUPLING * (qubo.variables + qubo.couplings), memory_bytes_max)
    began_at = perf_counter()
    once = qubo.counted_once()
    sign = 1.0 if once.sense == "min" else -1.0
    rows, columns, weights = once.terms()
    costs = sign * np.concatenate((once.linear.astype(np.float64), weights.astype(np.float64)))
    if len(costs) == 0:
        return Bounded(once.value([]), np.zeros(0, np.uint8), float(once.offset), True, 0.0)
    matrix, upper = _inequalities(qubo.variables, rows, columns, costs[qubo.variables :])
    integrality = np.concatenate((np.ones(qubo.variables, np.int64), np.zeros(len(weights), np.int64)))
    limits = [LinearConstraint(matrix, -np.inf, upper)] if len(weights) else []
    found: Any = milp(
        costs, integrality=integrality, bounds=Bounds(0, 1), constraints=limits, options={"time_limit": seconds}
    )
    spent = perf_counter() - began_at
    dual = found.mip_dual_bound if found.mip_dual_bound is not None else -float(np.abs(costs).sum())
    bound = sign * _rounded(float(dual), once.is_integer) + float(once.offset)
    if found.x is None:
        return Bounded(None, None, bound, False, spent)
    assignment = np.rint(found.x[: qubo.variables]).astype(np.uint8)
    value = qubo.value(assignment)
    return Bounded(value, assignment, bound, found.status == 0, spent)


def _inequalities(variables: int, rows: Any, columns: Any, costs: Any) -> tuple[Any, NDArray[np.float64]]:
    """`matrix @ (x, y) <= upper`."""
    number = variables + np.arange(len(costs))
    pays = costs < 0
    wanted, unwanted = np.flatnonzero(pays), np.flatnonzero(~pays)
    lines, places, values = [], [], []
    count = 0
    for end in (rows, columns):  # y - x <= 0
        here = count + np.arange(len(wanted))
        lines += [here, here]
        places += [number[wanted], end[wanted]]
        values += [np.ones(len(wanted)), -np.ones(len(wanted))]
        count += len(wanted)
    here = count + np.arange(len(unwanted))  # x_i + x_j - y <= 1
    lines += [here, here, here]
    places += [rows[unwanted], columns[unwanted], number[unwanted]]
    values += [np.ones(len(unwanted)), np.ones(len(unwanted)), -np.ones(len(unwanted))]
    coordinates = (np.concatenate(lines), np.concatenate(places))
    shape = (count + len(unwanted), variables + len(costs))
    matrix = sparse.csr_array((np.concatenate(values), coordinates), shape=shape)
    return matrix, np.concatenate((np.zeros(count), np.ones(len(unwanted))))


def _rounded(bound: float, is_whole: bool) -> float:
    """A least value that is known to be whole is at least the next whole number."""
    return float(np.ceil(bound - INTEGRALITY)) if is_whole else bound
