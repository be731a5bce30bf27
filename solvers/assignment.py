"""Tasks to agents with slots, all at once: the assignment with the highest sum of scores, within a bound that anybody can check.

`assign` runs an auction (see `solvers.auction`). For any prices p ≥ 0 no assignment is worth more than

    dual(p) = Σ_j slots_j · p_j + Σ_i max(outside_i, max_j (score_ij - p_j)),

and where the auction ran to its end, value ≥ dual - tasks · epsilon. The prices come with the answer, so whoever has the scores computes
`dual_bound` and knows how far from the best the answer can be, without solving anything.

The auction is a function of its input alone: no clock, no random number, ties go to the lowest agent and the lowest task.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, log
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers.auction import (
    BIDS,
    BLOCK,
    CANDIDATES,
    CURSOR_SIZE,
    OFFERS,
    OUTSIDE,
    SCANS,
    SIZE,
    WAITING,
    WORK,
    _best,
    _bid,
    _keep,
    _offer,
    _profits,
    _unsold,
)

Floats = NDArray[np.float64]

EPSILON_SHARE = 2e-3
"""Of the largest gain that a task could have: epsilon where the caller names none."""
SCALED_SHARE = 2e-4
"""Of the same: an epsilon below that is come to in rounds. (At 1e-3 a round before cost as much as it saved.)"""
EPSILON_SHARE_MIN = 1e-12
"""Of the largest number in the problem: below that a bid could drown in rounding."""
SCORE_MAX = 1e15
WORK_MAX = 20_000_000_000
"""Scores looked at, some 20 s; a price war is bounded by the scores' range over epsilon, but that may be much."""
WORK_SLICE = 10_000_000
"""Scores looked at in one call of a kernel, some 10 ms."""
WARM_SCANS = 16
"""Looks at the whole matrix after which kept prices are taken for stale, and the auction starts anew: cold it takes about ten."""
STEP = 5.0
"""By what epsilon falls from one round to the next."""

Start = Literal["cold", "warm", "stale"]


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """Which agent has each task (-1: none), and what shows how good that is.

    Not `complete` when the work ended first or somebody stopped it: the assignment is feasible and `dual` bounds it all the same, but
    `gap` may be larger than `promised`. `start` says whether prices were kept, and whether they were of use.
    """

    agents: NDArray[np.int32]
    prices: Floats
    value: float
    dual: float
    epsilon: float
    complete: bool
    start: Start
    bids: int
    scans: int
    offers: int
    work: int

    @property
    def gap(self) -> float:
        """No assignment is worth more than this above the value."""
        return max(0.0, self.dual - self.value)

    @property
    def promised(self) -> float:
        """What the gap is at most, up to rounding, where the auction is complete."""
        return len(self.agents) * self.epsilon


def dual_bound(scores: ArrayLike, slots: ArrayLike, outside: ArrayLike, prices: ArrayLike) -> float:
    """What no assignment can exceed, by prices from anywhere that are not negative."""
    matrix, each = np.asarray(scores, np.float64), np.asarray(prices, np.float64)
    if not (each >= 0).all():
        raise ValueError("a price is negative or no number")
    best = np.broadcast_to(np.asarray(outside, np.float64), matrix.shape[:1])
    if matrix.shape[1]:
        best = np.maximum(best, (matrix - each).max(axis=1))
    return float(np.dot(np.minimum(np.asarray(slots), len(matrix)), each) + best.sum())


def value_of(scores: ArrayLike, outside: ArrayLike, agents: ArrayLike) -> float:
    """The sum of the scores of who is assigned, and of staying outside of all others."""
    matrix, placed = np.asarray(scores, np.float64), np.asarray(agents)
    alone = np.broadcast_to(np.asarray(outside, np.float64), matrix.shape[:1])
    chosen = placed >= 0
    return float(matrix[np.flatnonzero(chosen), placed[chosen]].sum() + alone[~chosen].sum())


def assign(
    scores: ArrayLike,
    slots: ArrayLike,
    outside: ArrayLike = 0.0,
    *,
    allowed: ArrayLike | None = None,
    epsilon: float | None = None,
    prices: ArrayLike | None = None,
    agents: ArrayLike | None = None,
    work_max: int = WORK_MAX,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Assignment:
    """Tasks (rows) to agents (columns), each agent at most `slots` of them; a task that no score beats `outside` for stays outside.

    -inf in `scores`, or False in `allowed`, forbids a pair. `prices` of an earlier answer make a like problem quicker, and its `agents`
    (-1 for a task that is new) make it quicker still; any will do, the answer is as good. Raises ValueError for what is no problem of
    this kind, naming the first place that is wrong.
    """
    auction = _Auction(scores, slots, outside, allowed, epsilon, is_stopped)
    if prices is None:
        if agents is not None:
            raise ValueError("agents: only beside the prices that they were found with")
        return auction.answer(auction.run(work_max), "cold")
    kept = np.clip(_checked_prices(prices, len(auction.slots)), auction.reserve, auction.top)
    held = None if agents is None else _checked_agents(agents, *auction.scores.shape)
    warm_max = min(work_max, WARM_SCANS * auction.scores.size + auction.base_work)
    if auction.resume(kept, held, warm_max) or auction.is_over(work_max):
        return auction.answer(auction.is_done, "warm")
    return auction.answer(auction.run(work_max), "stale")


def _checked_prices(prices: ArrayLike, agents: int) -> Floats:
    kept = np.asarray(prices, np.float64)
    if kept.shape != (agents,):
        raise ValueError(f"prices: one for each of {agents} agents, not {kept.shape}")
    if not (kept >= 0).all():
        raise ValueError(f"prices[{int(np.argmin(kept >= 0))}] is negative or no number")
    return kept


def _checked_agents(agents: ArrayLike, tasks: int, columns: int) -> NDArray[np.int32]:
    held = np.asarray(agents)
    if held.shape != (tasks,) or (tasks and held.dtype.kind not in "iu"):
        raise ValueError(f"agents: a whole number for each of {tasks} tasks, not {held.shape} of {held.dtype}")
    if ((held < OUTSIDE) | (held >= columns)).any():
        raise ValueError(f"agents[{int(np.argmax((held < OUTSIDE) | (held >= columns)))}] is no agent")
    return held.astype(np.int32)


class _Auction:
    """One problem with the arrays that the kernels work on."""

    def __init__(
        self,
        scores: ArrayLike,
        slots: ArrayLike,
        outside: ArrayLike,
        allowed: ArrayLike | None,
        epsilon: float | None,
        is_stopped: Callable[[], bool],
    ) -> None:
        self.scores, best = _checked_scores(scores, allowed)
        n, m = self.scores.shape
        self.slots = _checked_slots(slots, n, m)
        self.outside = _checked_outside(outside, n)
        gains = best - self.outside
        largest = max(np.abs(best[np.isfinite(best)]).max(initial=0.0), np.abs(self.outside).max(initial=0.0))
        self.epsilon = _checked_epsilon(epsilon, float(gains.max(initial=0.0)), float(largest))
        self.top = max(0.0, float(best.max(initial=0.0) - self.outside.min(initial=0.0))) + self.epsilon
        """A price at which nobody wants anything, even after rounding: that of an agent without slots."""
        self.reserve = np.where(self.slots > 0, 0.0, self.top)
        self.range = float(gains.max(initial=0.0))
        self.is_stopped = is_stopped
        self.is_done = False
        self.base_work = (n + m) * CANDIDATES * 16
        self.cursor = np.zeros(CURSOR_SIZE, np.int64)
        self.columns: Floats | None = None
        self.copied = np.zeros(0, np.bool_)

    def _fresh(self, prices: Floats) -> None:
        n, m = self.scores.shape
        self.prices = prices.copy()
        self.placed = np.full(n, WAITING, np.int32)
        self.sold = np.zeros(m, np.int64)
        self.heaps = (np.full(m, -1, np.int32), np.full(n, -1, np.int32), np.full(n, -1, np.int32), np.zeros(n))
        self.names = np.full((n, CANDIDATES), -1, np.int32)
        self.offered = np.zeros((n, CANDIDATES))
        self.bound = np.full(n, np.inf if m else -np.inf)
        self.waiting = np.arange(n - 1, -1, -1, dtype=np.int32)
        self.cursor[SIZE] = n

    def is_over(self, work_max: int) -> bool:
        return bool(self.cursor[WORK] >= work_max) or self.is_stopped()

    def run(self, work_max: int) -> bool:
        """From prices of 0; whether it came to its end. A price war takes the range of scores over epsilon steps: so, where epsilon is
        small, a larger one makes prices that are nearly right first."""
        self._fresh(self.reserve)
        rounds = max(0, ceil(log(max(1.0, SCALED_SHARE * self.range / self.epsilon), STEP)))
        for number in range(rounds, -1, -1):
            epsilon = self.epsilon * STEP**number
            if number < rounds:
                self._keep(epsilon)
            if not self._settle(epsilon, work_max):
                break
        return self.is_done

    def resume(self, prices: Floats, held: NDArray[np.int32] | None, work_max: int) -> bool:
        """From these prices, and where the tasks were; whether it came to its end."""
        self._fresh(prices)
        if held is not None:
            self.placed[:] = held
            self._keep(self.epsilon)
        return self._settle(self.epsilon, work_max)

    def _settle(self, epsilon: float, work_max: int) -> bool:
        """Bids until nobody waits, then offers until no slot is unsold above its floor; whether it came to that."""
        self.is_done = self._bids(epsilon, work_max) and self._offers(epsilon, work_max)
        return self.is_done

    def _bids(self, epsilon: float, work_max: int) -> bool:
        scratch = (np.zeros(CANDIDATES), np.zeros(BLOCK, np.int64))
        while self.cursor[SIZE] > 0:
            if self.is_over(work_max):
                return False
            _bid(
                self.scores,
                self.slots,
                self.outside,
                epsilon,
                self.prices,
                self.placed,
                self.sold,
                self.heaps,
                self.names,
                self.offered,
                self.bound,
                self.waiting,
                scratch,
                self.cursor,
                self._stop(work_max),
            )
        return True

    def _offers(self, epsilon: float, work_max: int) -> bool:
        n, m = self.scores.shape
        queue, queued = np.empty(m, np.int32), np.empty(m, np.bool_)
        _unsold(self.slots, self.prices, self.sold, queue, queued, self.cursor)
        if self.cursor[SIZE] == 0:
            return True
        if self.columns is None:
            self.columns, self.copied = np.empty((m, n)), np.zeros(m, np.bool_)
        profits, gains, gainers = np.empty(n), np.empty(n), np.empty(n, np.int32)
        _profits(self.scores, self.outside, self.prices, self.placed, profits)
        while self.cursor[SIZE] > 0:
            if self.is_over(work_max):
                return False
            _offer(
                self.scores,
                self.columns,
                self.copied,
                self.slots,
                epsilon,
                self.prices,
                self.placed,
                self.sold,
                profits,
                self.bound,
                queue,
                queued,
                gains,
                gainers,
                self.cursor,
                self._stop(work_max),
            )
        return True

    def _keep(self, epsilon: float) -> None:
        _keep(
            self.scores,
            self.slots,
            self.outside,
            epsilon,
            self.prices,
            self.placed,
            self.sold,
            *self.heaps,
            self.bound,
            self.waiting,
            self.cursor,
        )

    def _stop(self, work_max: int) -> int:
        return int(min(work_max, self.cursor[WORK] + WORK_SLICE))

    def answer(self, complete: bool, start: Start) -> Assignment:
        self.placed[self.placed == WAITING] = OUTSIDE
        best = np.empty(len(self.placed))
        _best(self.scores, self.outside, self.prices, self.placed, self.names, self.offered, self.bound, best)
        return Assignment(
            agents=self.placed,
            prices=self.prices,
            value=value_of(self.scores, self.outside, self.placed),
            dual=float(np.dot(self.slots, self.prices) + best.sum()),
            epsilon=self.epsilon,
            complete=complete,
            start=start,
            bids=int(self.cursor[BIDS]),
            scans=int(self.cursor[SCANS]),
            offers=int(self.cursor[OFFERS]),
            work=int(self.cursor[WORK]),
        )


def _checked_scores(scores: ArrayLike, allowed: ArrayLike | None) -> tuple[Floats, Floats]:
    """The matrix, and the best score of each row."""
    matrix = np.ascontiguousarray(scores, np.float64)
    if matrix.ndim != 2:
        raise ValueError(f"scores: a row for each task and a column for each agent, not {matrix.shape}")
    if allowed is not None:
        mask = np.asarray(allowed, np.bool_)
        if mask.shape != matrix.shape:
            raise ValueError(f"allowed: of the shape of scores, {matrix.shape}, not {mask.shape}")
    # The maximum of a row is NaN if any is, and one pass is all that most callers pay for.
    best = matrix.max(axis=1) if matrix.shape[1] else np.full(len(matrix), -np.inf)
    if not (best <= SCORE_MAX).all():
        row = int(np.argmin(best <= SCORE_MAX))
        column = int(np.argmin(matrix[row] <= SCORE_MAX))
        raise ValueError(f"scores[{row}, {column}] is {matrix[row, column]}: a number up to {SCORE_MAX:g}, or -inf")
    if allowed is not None:
        matrix = np.where(mask, matrix, -np.inf)
        best = matrix.max(axis=1) if matrix.shape[1] else best
    return matrix, best


def _checked_slots(slots: ArrayLike, n: int, m: int) -> NDArray[np.int64]:
    given = np.asarray(slots)
    if given.ndim == 0:
        given = np.full(m, given)
    if given.shape != (m,) or (m and given.dtype.kind not in "iu"):
        raise ValueError(f"slots: a whole number for each of {m} agents, not {given.shape} of {given.dtype}")
    if (given < 0).any():
        raise ValueError(f"slots[{int(np.argmax(given < 0))}] is negative")
    each: NDArray[np.int64] = np.minimum(given, n).astype(np.int64)
    return each


def _checked_outside(outside: ArrayLike, n: int) -> Floats:
    given = np.asarray(outside, np.float64)
    if given.shape not in ((), (n,)):
        raise ValueError(f"outside: a number, or one for each of {n} tasks, not {given.shape}")
    each = np.ascontiguousarray(np.broadcast_to(given, (n,)))
    within = np.abs(each) <= SCORE_MAX
    if not within.all():
        raise ValueError(f"outside[{int(np.argmin(within))}] is no number up to {SCORE_MAX:g}")
    return each


def _checked_epsilon(epsilon: float | None, gain: float, largest: float) -> float:
    least = EPSILON_SHARE_MIN * largest
    if epsilon is None:
        return max(EPSILON_SHARE * max(gain, 0.0), least, EPSILON_SHARE_MIN)
    if not least <= epsilon < np.inf or epsilon <= 0:
        raise ValueError(f"epsilon: {max(least, 0.0):g} at least for such scores, and above 0, not {epsilon}")
    return float(epsilon)
