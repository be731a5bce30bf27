"""How soon small problems are solved for good, against a mixed-integer solver that is given a second for each.

Random problems of 60 variables with linear terms, weights from -100 to 100, of densities from a tenth to all pairs in turn; ours from the
problem in memory to its proof, HiGHS (in scipy) from the problem to the end of its linearization's search. One that it has not proven
within a second counts as that second.
"""

import time

from benchmarks.measure import Measured, Row
from solvers.generators import palubeckis
from solvers.milp import bounded
from solvers.portfolio import solve
from solvers.qubo import Qubo

PROBLEMS = 200
VARIABLES = 60
DENSITIES = (10, 20, 50, 100)
CAP_SECONDS = 1.0
PATIENCE_SECONDS = 60.0  # ours has no cap in the measure, only against hanging


def tts_small(problems: int = PROBLEMS) -> Measured:
    """Seconds of each problem, of the wall clock."""
    made = [palubeckis(VARIABLES, DENSITIES[number % len(DENSITIES)], 1 + number) for number in range(problems)]
    _ours(made[0], 0)
    pairs = [(_ours(qubo, seed), _theirs(qubo)) for seed, qubo in enumerate(made)]
    return Measured(ours=[pair[0] for pair in pairs], theirs=[pair[1] for pair in pairs])


def _ours(qubo: Qubo, seed: int) -> float:
    started = time.perf_counter()
    solution = solve(qubo, seconds=PATIENCE_SECONDS, seed=seed)
    spent = time.perf_counter() - started
    if not solution.proven:
        raise AssertionError(f"{qubo.name} is not proven after {spent:.0f} s")
    return spent


def _theirs(qubo: Qubo) -> float:
    started = time.perf_counter()
    found = bounded(qubo, seconds=CAP_SECONDS)
    return min(CAP_SECONDS, time.perf_counter() - started) if found.proven else CAP_SECONDS


TTS_SMALL = Row(name="tts_small", measure=tts_small, peer="HiGHS (scipy's milp)", unit="s", better="less", goal=10.0)
