"""What the best assignment of many tasks costs: scipy's exact one, a look at every score, and our own without kept prices.

Scores are of low rank, as those of agents and tasks are: some are better at everything, and everybody wants the same. (Scores without any
relation flatter the exact algorithm fourteenfold.) Milliseconds of this thread's CPU, rounds of both sides in turn, medians. A round whose
value is outside what the row allows counts as not measured. `docs/benchmarks.md` says what each row measures.
"""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from benchmarks.measure import Measured, NotMeasurable, Row
from solvers.assignment import Assignment, assign, dual_bound, value_of

Floats = NDArray[np.float64]

RANK = 6
NOISE = 0.02
VALUE_SHARE = 0.999
EPSILON = 3e-3
"""With scores up to 0.8; by the promise a value could miss a part in a hundred, what comes out misses less than one in a thousand."""
EPSILON_WARM = 5e-4
"""With that the promise itself is two parts in a thousand. The smaller epsilon, the more kept prices save: 4.7 at 1e-3, 5.5 here."""
CHANGED = 0.05
ROUNDS = 7


def correlated(tasks: int, agents: int, seed: int) -> Floats:
    """What agents are good at times what tasks ask for, and a little that nobody foresees."""
    random = np.random.default_rng(seed)
    wanted, offered = random.random((tasks, RANK)), random.random((agents, RANK))
    return np.maximum(wanted @ offered.T / RANK + NOISE * random.standard_normal((tasks, agents)), 0.0)


def milliseconds(work: Callable[[], object]) -> float:
    started = time.thread_time()
    work()
    return (time.thread_time() - started) * 1000


def both(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> Measured:
    """Both sides in turn, after one of each that nobody measures."""
    ours()
    theirs()
    pairs = [(milliseconds(ours), milliseconds(theirs)) for _ in range(rounds)]
    return Measured(ours=[pair[0] for pair in pairs], theirs=[pair[1] for pair in pairs])


def check(found: Assignment, scores: Floats, slots: int, best: float) -> None:
    """Whether the answer is possible, and its value within a part in a thousand of the best. Raises NotMeasurable."""
    placed = found.agents[found.agents >= 0]
    if np.bincount(placed, minlength=scores.shape[1]).max() > slots:
        raise NotMeasurable("an agent has more tasks than slots")
    if (value := value_of(scores, 0.0, found.agents)) < VALUE_SHARE * best:
        raise NotMeasurable(f"the value is {value:.3f}, less than {VALUE_SHARE} of {best:.3f}")


def against_exact(tasks: int, agents: int, slots: int, rounds: int) -> Measured:
    """scipy's assignment on a matrix with a column for each slot, which is made beforehand."""
    scores = correlated(tasks, agents, seed=1)
    expanded = np.repeat(scores, slots, axis=1)
    rows, columns = linear_sum_assignment(expanded, maximize=True)
    check(assign(scores, slots, epsilon=EPSILON), scores, slots, float(expanded[rows, columns].sum()))
    return both(
        lambda: assign(scores, slots, epsilon=EPSILON), lambda: linear_sum_assignment(expanded, maximize=True), rounds
    )


def assign_1000(rounds: int = ROUNDS) -> Measured:
    """1,000 tasks, 1,000 agents, one slot each."""
    return against_exact(1000, 1000, 1, rounds)


def assign_100(rounds: int = ROUNDS) -> Measured:
    """1,000 tasks, 100 agents with twelve slots."""
    return against_exact(1000, 100, 12, rounds)


def assign_10000(rounds: int = ROUNDS) -> Measured:
    """10,000 tasks, 1,000 agents with twelve slots; a look at every score."""
    scores = correlated(10_000, 1000, seed=1)
    found = assign(scores, 12, epsilon=EPSILON)
    check(found, scores, 12, dual_bound(scores, np.full(1000, 12), 0.0, found.prices))
    return both(lambda: assign(scores, 12, epsilon=EPSILON), lambda: scores.max(axis=1), rounds)


def assign_warm(rounds: int = ROUNDS) -> Measured:
    """2,000 waiting tasks, 100 agents with twelve slots, a twentieth of the tasks new since the last answer; without that answer."""
    scores = correlated(2000, 100, seed=1)
    before = assign(scores, 12, epsilon=EPSILON_WARM)
    new = np.random.default_rng(2).choice(2000, int(2000 * CHANGED), replace=False)
    scores[new] = correlated(2000, 100, seed=3)[new]
    held = before.agents.copy()
    held[new] = -1

    def warm() -> Assignment:
        return assign(scores, 12, epsilon=EPSILON_WARM, prices=before.prices, agents=held)

    found = warm()
    if found.start != "warm":
        raise NotMeasurable("the kept prices were of no use")
    check(found, scores, 12, dual_bound(scores, np.full(100, 12), 0.0, found.prices))
    return both(warm, lambda: assign(scores, 12, epsilon=EPSILON_WARM), rounds)


EXACT = "scipy linear_sum_assignment"
ROWS = (
    Row(name="assign_1000", measure=assign_1000, peer=EXACT, unit="ms", better="less", goal=10.0),
    Row(name="assign_100", measure=assign_100, peer=f"{EXACT} on a column a slot", unit="ms", better="less", goal=15.0),
    Row(
        name="assign_10000",
        measure=assign_10000,
        peer="scores.max(axis=1)",
        unit="ms",
        better="less",
        goal=60.0,
        at_most=True,
    ),
    Row(name="assign_warm", measure=assign_warm, peer="without kept prices", unit="ms", better="less", goal=5.0),
)
