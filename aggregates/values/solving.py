"""What is said of a solver's run: what bounds it, where it begins and runs, what was measured, and how its value grew."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from aggregates.values.ids import Digest, JobId
from aggregates.values.numbers import Count

SECONDS_MIN, SECONDS_MAX = 0.05, 600.0
SolveSeconds = Annotated[float, Meta(ge=SECONDS_MIN, le=SECONDS_MAX)]
Work = Annotated[int, Meta(ge=1, le=2**53)]
"""Counted steps: spins visited and neighbors looked at, or what takes as long."""

THREADS_MAX = 64
Threads = Annotated[int, Meta(ge=1, le=THREADS_MAX)]
StrategyName = Annotated[str, Meta(max_length=64, pattern=r"^[a-z0-9_-]*$(?!\n)")]
POINTS_MAX = 128
"""As many points of its course a run keeps: the first, the last, and some between."""

ASSIGNMENT_CHARACTERS_MAX = 512 * 1024
"""Half a megabyte in a record, once for each solve."""

Assignment = Annotated[str, Meta(max_length=ASSIGNMENT_CHARACTERS_MAX)]
"""The packed bits of the variables in base64."""

VARIABLES_MAX = 6 * ASSIGNMENT_CHARACTERS_MAX
"""A larger problem may be registered and solved elsewhere; its assignment would fit into no record."""

TASK_VARIABLES_MAX = 6 * 63 * 1024
"""Of a problem that is solved as a task: its assignment has what is left of a result of 64 KiB when the rest of it is taken off."""

Measures = dict[str, int | float | bool | str]
Counts = dict[str, int]


class Backend(StrEnum):
    """On what a solve runs: this node's own threads, or a service that the node has to be set up for."""

    LOCAL = "local"
    DYNEX = "dynex"


class Readiness(StrEnum):
    """Whether a backend can run a solve."""

    READY = "ready"
    NOT_CONFIGURED = "not_configured"
    NOT_IMPLEMENTED = "not_implemented"


class BackendStanding(Struct, frozen=True, kw_only=True):
    """How ready a backend is, and what it lacks."""

    readiness: Readiness
    reason: str = ""


class Simulated(Struct, frozen=True, kw_only=True):
    """A quantum algorithm that the node runs on its own threads, and the most variables that it takes then."""

    strategy: str
    variables_max: int


QUANTUM = ("qaoa", "hybrid_vqe")
"""Strategies that people ask a quantum backend for by name; a node may simulate some of them."""


class Point(Struct, frozen=True, gc=False):
    """After so much work of its island, and so many seconds of the run, this was the best value."""

    work: int
    value: float
    seconds: float


Trace = Annotated[tuple[Point, ...], Meta(max_length=POINTS_MAX)]


class Baseline(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another run on the same problem, on one thread and within its own time, against which the solve is measured."""

    seconds: SolveSeconds
    strategy: StrategyName = "annealing"


class WarmStart(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a solve begins: with the result of an earlier one, or with a solution file that was uploaded. One of the two."""

    job_id: JobId | None = None
    blob: Digest | None = None


class Known(Struct, frozen=True, kw_only=True):
    """The assignment that a solve begins with; `position` is where the earlier solve's result stands, 0 for a file's."""

    assignment: Assignment
    position: int = 0


class BaselineRun(Struct, frozen=True, kw_only=True):
    """How the baseline went. `target` is the best value that both runs have reached, the other two when each had it first."""

    strategy: str
    value: float
    work: Count
    seconds: float
    target: float
    target_seconds: float
    own_target_seconds: float
    """Of the solve that is measured."""
    trace: Trace

    @property
    def advantage(self) -> float | None:
        """How many times as long the baseline took; None where no time was measured."""
        return self.target_seconds / self.own_target_seconds if self.own_target_seconds > 0 else None
