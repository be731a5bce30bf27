"""Solution files: an assignment that was found, to check, to keep, or to begin another run from.

One JSON document: `{"format": "gavel-solution/1", "name", "variables", "sense", "value", "assignment"}`, where the assignment is one
character of 0 and 1 a variable, in the problem's order, and the value is in the problem's own terms. What else there was to say of
the run stands beside, under "run".
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.qubo import VARIABLES_MAX, Qubo

SOLUTION_FORMAT = "gavel-solution/1"
OVERHEAD_BYTES = 2**20  # of a file beside a character a variable


def write_solution(
    qubo: Qubo, value: int | float, assignment: NDArray[np.uint8], run: Mapping[str, Any] | None = None
) -> bytes:
    """A solution file of a 0/1 assignment with that value."""
    document = {
        "format": SOLUTION_FORMAT,
        "name": qubo.name,
        "variables": qubo.variables,
        "sense": qubo.sense,
        "value": value,
        "assignment": (assignment.astype(np.uint8) + ord("0")).tobytes().decode("ascii"),
    }
    if run is not None:
        document["run"] = dict(run)
    return json.dumps(document, indent=1, allow_nan=False).encode() + b"\n"


def read_solution(data: bytes, variables: int) -> NDArray[np.uint8]:
    """The assignment in a solution file of a problem of so many variables; a `ValueError` says what is wrong with it."""
    if len(data) > VARIABLES_MAX + OVERHEAD_BYTES:
        raise ValueError(f"{len(data)} bytes are too many for a solution")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(document, dict) or document.get("format") != SOLUTION_FORMAT:
        raise ValueError(f'/format: should be "{SOLUTION_FORMAT}"')
    text = document.get("assignment")
    if not isinstance(text, str) or len(text) != variables:
        told = f"{len(text)} characters" if isinstance(text, str) else "none"
        raise ValueError(f"/assignment: should be {variables} characters, one for each variable, not {told}")
    if not set(text) <= {"0", "1"}:
        raise ValueError("/assignment: should hold nothing but 0 and 1")
    return np.frombuffer(text.encode("ascii"), np.uint8) - np.uint8(ord("0"))
