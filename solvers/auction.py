"""Kernels of the assignment auction: tasks bid for agents' slots, and slots that nobody took are offered at a lower price.

After Bertsekas (1988), with slots as similar objects (Bertsekas, Castañón 1989) and the reverse auction for prices of unsold slots
(Bertsekas, Castañón, Tsaknakis 1993). An agent's price is that of its cheapest slot. What holds between two steps, up to rounding:

- a placed task's profit, score less its agent's price, is within `epsilon` of the best that any agent or staying outside would give;
- while tasks bid, prices only rise; while slots are offered, prices only fall and no task loses;
- after both, an agent with an unsold slot has the price 0.

Each task keeps the agents that were best when it last looked at all, and a bound on all others. While prices rise the bound holds, so most
bids look at `CANDIDATES` agents. A row is asked in blocks whether anything in it is above a value: a count of comparisons becomes vector
instructions, which the maximum of floats does not.

Work is counted, one for each score looked at. A kernel leaves where the count has reached a given one, and goes on from its cursor.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

CANDIDATES = 8
BLOCK = 64  # of 32 the compiler unrolls the loop and makes no vector of it: ten times as slow
LINE = 8
OUTSIDE, WAITING = -1, -2  # where a task is that no agent has
SIZE, HEAD, WORK, BIDS, SCANS, OFFERS = range(
    6
)  # what a cursor array holds: the waiting, where their queue begins, and counts
CURSOR_SIZE = 6


@njit(cache=True, nogil=True)
def _merge(one: int, other: int, left: Array, right: Array, paid: Array) -> int:
    """The root of two skew heaps (Sleator, Tarjan 1986), lowest paid first, then the lowest task."""
    if one < 0:
        return other
    if other < 0:
        return one
    if paid[other] < paid[one] or (paid[other] == paid[one] and other < one):
        one, other = other, one
    root = one
    while True:
        below = right[one]
        right[one] = left[one]
        if below < 0:
            left[one] = other
            return root
        if paid[other] < paid[below] or (paid[other] == paid[below] and other < below):
            below, other = other, below
        left[one] = below
        one = below


@njit(cache=True, nogil=True)
def _scan(row: Array, prices: Array, names: Array, scores: Array, values: Array, above: Array) -> Any:
    """Finds a task's candidates anew; what no other agent's value exceeds. The old candidates say what the new ones must reach."""
    size = names.shape[0]
    count = 0
    low = -np.inf
    if names[size - 1] >= 0:
        low = np.inf
        for c in range(size):
            low = min(low, scores[c] - prices[names[c]])
        low = np.nextafter(low, -np.inf)
    for start in range(0, row.shape[0], BLOCK):
        part = row[start : start + BLOCK]
        costs = prices[start : start + BLOCK]
        found = 0
        for k in range(part.shape[0]):  # no branch: a third of the time of asking at each score
            above[found] = k
            found += part[k] - costs[k] > low
        for h in range(found):
            k = above[h]
            value = part[k] - costs[k]
            if value > low:
                c = min(count, size - 1)
                while c > 0 and values[c - 1] < value:
                    values[c] = values[c - 1]
                    names[c] = names[c - 1]
                    scores[c] = scores[c - 1]
                    c -= 1
                values[c] = value
                names[c] = start + k
                scores[c] = part[k]
                count = min(count + 1, size)
                if count == size:
                    low = values[size - 1]
    for c in range(count, size):
        names[c] = -1
    return values[size - 1] if count == size else -np.inf


@njit(cache=True, nogil=True)
def _bid(
    scores: Array,
    slots: Array,
    outside: Array,
    epsilon: float,
    prices: Array,
    placed: Array,
    sold: Array,
    heaps: tuple[Array, Array, Array, Array],
    names: Array,
    offered: Array,
    bound: Array,
    waiting: Array,
    scratch: tuple[Array, Array],
    cursor: Array,
    work_stop: int,
) -> None:
    """Waiting tasks bid, the last in the stack first, until none waits: who is outbid bids at once, while its row is at hand.

    (First come, first served took a tenth longer; the two best, or the heap, in functions of their own half as long again.)
    """
    m, size = scores.shape[1], names.shape[1]
    root, left, right, paid = heaps
    count = cursor[SIZE]
    work = cursor[WORK]
    while count > 0 and work < work_stop:
        count -= 1
        i = waiting[count]
        while True:
            best, second, agent, score = -np.inf, outside[i], -1, 0.0
            for c in range(size):
                j = names[i, c]
                if j < 0:
                    break
                value = offered[i, c] - prices[j]
                if value > best or (value == best and j < agent):
                    second = max(second, best)
                    best = value
                    agent = j
                    score = offered[i, c]
                elif value > second:
                    second = value
            work += size
            if second >= bound[i]:
                break
            bound[i] = _scan(scores[i], prices, names[i], offered[i], *scratch)
            work += m
            cursor[SCANS] += 1
        if best <= outside[i]:
            placed[i] = OUTSIDE
            continue
        cursor[BIDS] += 1
        paid[i] = score - second + epsilon
        left[i] = right[i] = -1
        placed[i] = agent
        top = root[agent]
        if sold[agent] < slots[agent]:
            sold[agent] += 1
        else:
            placed[top] = WAITING
            waiting[count] = top
            count += 1
            top = _merge(left[top], right[top], left, right, paid)
        top = _merge(top, i, left, right, paid)
        root[agent] = top
        if sold[agent] == slots[agent]:
            prices[agent] = paid[top]
    cursor[SIZE] = count
    cursor[WORK] = work


@njit(cache=True, nogil=True)
def _unsold(slots: Array, prices: Array, sold: Array, queue: Array, queued: Array, cursor: Array) -> None:
    """Queues the agents whose price is above 0 though a slot is unsold."""
    cursor[HEAD] = 0
    cursor[SIZE] = 0
    for j in range(prices.shape[0]):
        queued[j] = sold[j] < slots[j] and prices[j] > 0
        if queued[j]:
            queue[cursor[SIZE]] = j
            cursor[SIZE] += 1


@njit(cache=True, nogil=True)
def _profits(scores: Array, outside: Array, prices: Array, placed: Array, profits: Array) -> None:
    for i in range(placed.shape[0]):
        profits[i] = outside[i] if placed[i] < 0 else scores[i, placed[i]] - prices[placed[i]]


@njit(cache=True, nogil=True)
def _offer(
    scores: Array,
    columns: Array,
    copied: Array,
    slots: Array,
    epsilon: float,
    prices: Array,
    placed: Array,
    sold: Array,
    profits: Array,
    bound: Array,
    queue: Array,
    queued: Array,
    gains: Array,
    gainers: Array,
    cursor: Array,
    work_stop: int,
) -> None:
    """Agents with unsold slots lower their price until as many tasks come as there is room for, or to 0.

    A task comes for a gain of `epsilon` at least, so its profit rises by as much, and this ends. Where it came from a slot falls free.
    """
    m, n = columns.shape
    while cursor[SIZE] > 0 and cursor[WORK] < work_stop:
        agent = queue[cursor[HEAD]]
        cursor[HEAD] = (cursor[HEAD] + 1) % m
        cursor[SIZE] -= 1
        queued[agent] = False
        free = slots[agent] - sold[agent]
        if free <= 0 or prices[agent] <= 0:
            continue
        column = columns[agent]
        _copy(scores, columns, copied, agent)
        cursor[OFFERS] += 1
        cursor[WORK] += 2 * n
        count = _nearest(column, profits, placed, agent, free, prices[agent], epsilon, gains, gainers, cursor)
        cut = -np.inf
        price = 0.0
        if count > free:
            cut = np.partition(gains[:count], count - free - 1)[count - free - 1]
            price = min(prices[agent], max(0.0, cut - epsilon))
        prices[agent] = price
        for tied in range(
            2
        ):  # those above the cut, then as many at the cut as there is room for, the lowest task first
            for c in range(count):
                if free == 0:
                    break
                if (gains[c] == cut) if tied else (gains[c] > cut):
                    i = gainers[c]
                    old = placed[i]
                    placed[i] = agent
                    sold[agent] += 1
                    free -= 1
                    if old >= 0:
                        sold[old] -= 1
                        if prices[old] > 0 and not queued[old]:
                            queued[old] = True
                            queue[(cursor[HEAD] + cursor[SIZE]) % m] = old
                            cursor[SIZE] += 1
        for i in range(n):
            value = column[i] - price
            bound[i] = max(bound[i], value)
        for i in range(n):
            if placed[i] == agent:
                profits[i] = column[i] - price


@njit(cache=True, nogil=True)
def _copy(scores: Array, columns: Array, copied: Array, agent: int) -> None:
    """Copies a column at its first use, with those that lie in the same lines of the cache; most agents never offer."""
    if copied[agent]:
        return
    first = agent - agent % LINE
    copied[first : first + LINE] = True
    for i in range(scores.shape[0]):
        for j in range(first, min(scores.shape[1], first + LINE)):
            columns[j, i] = scores[i, j]


@njit(cache=True, nogil=True)
def _nearest(
    column: Array,
    profits: Array,
    placed: Array,
    agent: int,
    free: int,
    price: float,
    epsilon: float,
    gains: Array,
    gainers: Array,
    cursor: Array,
) -> Any:
    """Lists the tasks with the largest gains, more than there is room for, or all; returns how many. No gain is above the price by more
    than epsilon, so they are looked for from there down."""
    width = 8 * epsilon
    while True:
        least = max(epsilon, price - width)
        count = _gainers(column, profits, placed, agent, least, gains, gainers)
        if count > free or least == epsilon:
            return count
        width *= 8
        cursor[WORK] += column.shape[0]


@njit(cache=True, nogil=True)
def _gainers(
    column: Array, profits: Array, placed: Array, agent: int, least: float, gains: Array, gainers: Array
) -> int:
    """Lists the tasks to which the agent, at the price 0, is worth more by `least` than what they have, and how much; returns how many."""
    n = column.shape[0]
    count = 0
    for start in range(0, n, BLOCK):
        end = min(n, start + BLOCK)
        if start + BLOCK <= n:
            above = 0
            for i in range(start, start + BLOCK):
                above += column[i] - profits[i] >= least
            if above == 0:
                continue
        for i in range(start, end):
            gain = column[i] - profits[i]
            if gain >= least and placed[i] != agent:
                gains[count] = gain
                gainers[count] = i
                count += 1
    return count


@njit(cache=True, nogil=True)
def _exceeds(row: Array, prices: Array, low: float, start: int) -> Any:
    """The first column of the first block, from `start` on, in which a value is above `low`; where there is none, their number."""
    m = row.shape[0]
    if m < BLOCK:
        for j in range(start, m):
            if row[j] - prices[j] > low:
                return start
        return m
    while start < m:
        start = min(start, m - BLOCK)
        above = 0
        for j in range(start, start + BLOCK):
            above += row[j] - prices[j] > low
        if above > 0:
            return start
        start += BLOCK
    return m


@njit(cache=True, nogil=True)
def _keep(
    scores: Array,
    slots: Array,
    outside: Array,
    epsilon: float,
    prices: Array,
    placed: Array,
    sold: Array,
    root: Array,
    left: Array,
    right: Array,
    paid: Array,
    bound: Array,
    waiting: Array,
    cursor: Array,
) -> None:
    """Who is within epsilon of its best, where it is placed, stays there; all others wait."""
    n, m = scores.shape
    root[:] = -1
    sold[:] = 0
    count = 0
    for i in range(n - 1, -1, -1):
        agent = placed[i]
        profit = outside[i] if agent < 0 else scores[i, agent] - prices[agent]
        good = agent != WAITING and profit >= outside[i] and (agent < 0 or sold[agent] < slots[agent])
        if good:
            cursor[WORK] += m
            good = _exceeds(scores[i], prices, profit + epsilon, 0) == m
        if not good:
            placed[i] = WAITING
            waiting[count] = i
            count += 1
            continue
        bound[i] = min(bound[i], profit + epsilon)
        if agent >= 0:
            left[i] = -1
            right[i] = -1
            paid[i] = prices[agent]
            sold[agent] += 1
            root[agent] = _merge(root[agent], i, left, right, paid)
    cursor[SIZE] = count


@njit(cache=True, nogil=True)
def _best(
    scores: Array,
    outside: Array,
    prices: Array,
    placed: Array,
    names: Array,
    offered: Array,
    bound: Array,
    best: Array,
) -> None:
    """The most that each task could have at these prices. Rows are looked at where the candidates do not say."""
    m = prices.shape[0]
    for i in range(best.shape[0]):
        value = outside[i]
        if placed[i] >= 0:
            value = max(value, scores[i, placed[i]] - prices[placed[i]])
        for c in range(names.shape[1]):
            if names[i, c] >= 0:
                value = max(value, offered[i, c] - prices[names[i, c]])
        if bound[i] > value:
            start = _exceeds(scores[i], prices, value, 0)
            while start < m:
                for j in range(start, min(m, start + BLOCK)):
                    value = max(value, scores[i, j] - prices[j])
                start = _exceeds(scores[i], prices, value, start)
        best[i] = value
