"""Our side of the bench of QUBO solvers: from a file to an answer whose value comes from the file's own lines as well."""

import time
from pathlib import Path

from benchmarks.annealers import SECONDS
from benchmarks.measure import NEVER, NotMeasurable
from solvers.formats import parse
from solvers.portfolio import Solution, solve
from solvers.verify import recompute

SEEDS = range(1, 6)


def verified(path: Path, seed: int, *, target: float | None = None, threads: int = 1) -> tuple[float, Solution]:
    """The wall seconds from the file on, and the answer."""
    started = time.perf_counter()
    content = path.read_bytes()
    solution = solve(parse(content, path.name), seconds=SECONDS, seed=seed, target=target, threads=threads)
    seconds = time.perf_counter() - started
    if recompute(content, solution.assignment, name=path.name) != solution.value:
        raise NotMeasurable("the value of an answer is not what its file says")
    return seconds, solution


def seconds_to(path: Path, target: float, seed: int, threads: int = 1) -> float:
    """NEVER where 20 seconds were not enough."""
    seconds, solution = verified(path, seed, target=target, threads=threads)
    return seconds if solution.value >= target else NEVER
