"""Books that are settled together: which are ripe, when it is time, and what is proposed.

A book is ripe when it has closed or all have answered. It waits `batch_seconds` for others, or until no other book of the policy is open
that might ripen. The most urgent are settled first, so many at a time that the step stays short: scores and the proof are worked out in
Python, which takes longer than finding the assignment.

A proposal that is refused (a proof that does not hold is a fault of ours) is made again for half of the books, and so on, until the book is
alone that nobody can settle: that one is put aside for a while, the longer the more often it was refused, and the others go on.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from agents.coordinating.alarms import Alarms, Due
from agents.coordinating.calls import Decision, award, changed_offer, facts_of
from agents.coordinating.entries import TaskEntry
from agents.coordinating.open_tasks import OpenTasks
from agents.coordinating.placing import load, place
from agents.coordinating.terms import Terms
from aggregates import agent as agents
from aggregates import coordination as coordinations
from aggregates.coordination import AssignBatch
from aggregates.task import SPECIALISTS
from aggregates.values.batches import BatchBook, Places, SlotPrice, Worth, places_of, shares_of, worth_of
from aggregates.values.capacity import room
from aggregates.values.ranking import BidderFacts
from runtime.actor import Surroundings
from runtime.errors import Failure
from runtime.threads import run_blocking

BOOKS_MAX = 128
BIDS_MAX = 1024
"""How many are settled in one step, of which one book may have more."""
GAP_SHARE = 1e-3
"""Of what the best pair is worth: by so much at most a batch falls short of the best, where the work bound does not end it sooner."""
WORK_MAX = 5_000_000
"""Scores looked at, some 5 ms; with an epsilon ten times as large there is less to do, and the proof says which it was."""
EPSILON_STEP = 10.0
LOADING_SECONDS = 0.05
"""How long after a look it is looked again whether the kernels are there."""
ASIDE_SECONDS_FIRST, ASIDE_SECONDS_MAX = 2.0, 300.0
"""How long a book rests whose proposal was refused though it was alone: each time twice as long as before."""


class Aside(NamedTuple):
    """A book of which proposals are refused: until when it rests, and how often that was so."""

    until: float
    refusals: int


class Batches:
    """The coordinator's part that settles books together."""

    def __init__(self, here: Surroundings, terms: Terms, alarms: Alarms) -> None:
        self.here = here
        self.terms = terms
        self.alarms = alarms
        self.refusals = 0
        """How many proposals were refused."""
        self._is_loading = False
        self._is_loaded = False
        self._most = BOOKS_MAX
        """How many books are proposed together: fewer after a refusal."""
        self._proposed: list[TaskEntry] = []
        """The books of a proposal of which it is not known yet whether it was taken."""
        self._aside: dict[str, Aside] = {}

    def prepare(self) -> None:
        """Loads the kernels beside the event loop."""
        if not self._is_loading:
            self._is_loading = True
            self.here.run(self._load)

    async def _load(self) -> None:
        await run_blocking(load)
        self._is_loaded = True

    def look(self, memory: OpenTasks, at: float) -> list[Decision]:
        """A batch, where it is time for one; where it is not yet, an alarm says when."""
        resting = self._resting(memory, at)
        due = due_at(memory, self.terms.batch_seconds, at, resting)
        if due is None:
            if resting:
                self.alarms.set(min(self._aside[name].until for name in resting), Due.BATCH, "")
            return []
        if due <= at and not self._is_loaded:
            self.prepare()
            due = at + LOADING_SECONDS
        if due > at:
            self.alarms.set(due, Due.BATCH, "")
            return []
        books, are_more = taken(memory, self.terms, at, self._most, resting)
        if are_more or resting:
            self.alarms.set(at, Due.BATCH, "")
        self._proposed = books
        return settle(memory, self.terms, self.here.key, books, at)

    def _resting(self, memory: OpenTasks, at: float) -> frozenset[str]:
        """The open books that are put aside still."""
        self._aside = {name: one for name, one in self._aside.items() if name in memory.batched}
        return frozenset(name for name, one in self._aside.items() if one.until > at)

    def go_on(self) -> None:
        """What was proposed last was taken, or it would have been refused by now."""
        if self._proposed:
            self._proposed, self._most = [], min(BOOKS_MAX, 2 * self._most)

    def declined(self, failure: Failure, at: float) -> None:
        """What was proposed last was refused."""
        books, self._proposed = self._proposed, []
        if not books:
            return
        self.refusals += 1
        self._most = max(1, len(books) // 2)
        seconds = self._put_aside(books[0].task_id, at) if len(books) == 1 else 0.0
        self.here.log.warning(
            "batch_refused", books=len(books), task_id=books[0].task_id, rests_seconds=seconds, reason=str(failure)
        )

    def _put_aside(self, task_id: str, at: float) -> float:
        """For how many seconds the book rests."""
        refusals = self._aside[task_id].refusals + 1 if task_id in self._aside else 1
        seconds = min(ASIDE_SECONDS_MAX, ASIDE_SECONDS_FIRST * 2.0 ** min(20, refusals - 1))
        self._aside[task_id] = Aside(at + seconds, refusals)
        return seconds


def ripe_at(task: TaskEntry) -> float:
    """Since when the book could be settled."""
    return min(task.complete_at or task.closes_at, task.closes_at)


def due_at(memory: OpenTasks, batch_seconds: float, at: float, resting: frozenset[str] = frozenset()) -> float | None:
    """When the ripe books are to be settled; None where none is ripe but those that rest."""
    times = [ripe_at(memory.tasks[name]) for name in memory.batched if name not in resting]
    ripe = [time for time in times if time <= at]
    if not ripe:
        return None
    return at if len(ripe) == len(times) else min(ripe) + batch_seconds


def taken(
    memory: OpenTasks, terms: Terms, at: float, most: int = BOOKS_MAX, resting: frozenset[str] = frozenset()
) -> tuple[list[TaskEntry], bool]:
    """The ripe books that are settled now, the most urgent first; and whether there are more."""
    awake = (memory.tasks[name] for name in memory.batched if name not in resting)
    ripe = [task for task in awake if ripe_at(task) <= at]
    ripe.sort(key=lambda task: (terms.aging.order(task.priority, task.waits_since), *task.place))
    found: list[TaskEntry] = []
    bids = 0
    for task in ripe[:most]:
        bids += len(task.bids)
        if found and bids > BIDS_MAX:
            break
        found.append(task)
    return found, len(found) < len(ripe)


def settle(memory: OpenTasks, terms: Terms, tenant: str, books: Sequence[TaskEntry], at: float) -> list[Decision]:
    """A batch with these books, and their awards; those with no bid that could win are void, whatever comes of the others."""
    weights = terms.weights
    bidders = _bidders(memory, books)
    worth = worth_of([_book(memory, task) for task in books], bidders, at=at, rate=terms.aging.rate, weights=weights)
    decisions = [award(memory, task, weights) for task, one in zip(books, worth, strict=True) if not one.values]
    worth = [one for one in worth if one.values]
    if not worth:
        return decisions
    called = {bid.agent_id for one in worth for bid in one.book.bids}
    told = tuple(facts for facts in bidders if facts.agent_id in called)
    agents_by_task, prices, epsilon = propose(worth, places_of(worth, told), memory.slot_prices)
    command = AssignBatch(
        books=tuple(one.book for one in worth),
        bidders=told,
        aged_at=at,
        aging_rate=terms.aging.rate,
        agents=agents_by_task,
        prices=prices,
        epsilon=epsilon,
        weights=weights,
    )
    shares = shares_of(worth, memory.batches + 1, agents_by_task, {one.agent_id: one.price for one in prices})
    settled = [memory.tasks[one.book.task_id] for one in worth]
    awards = [award(memory, task, weights, share) for task, share in zip(settled, shares, strict=True)]
    return [*decisions, (coordinations.stream(tenant), command), *awards]


def _bidders(memory: OpenTasks, books: Sequence[TaskEntry]) -> tuple[BidderFacts, ...]:
    """Those who bid for any of these and are still there, with those of their specializations that matter to any."""
    topics = {topic for task in books for topic in task.topics}
    names = sorted({name for task in books for name in task.bids})
    return tuple(
        facts_of(agent, tuple(one for one in agent.specializations if one in topics))
        for agent in map(memory.agents.get, names)
        if agent is not None and agent.stage is agents.Stage.ACTIVE
    )


def propose(
    worth: Sequence[Worth], places: Mapping[str, Places], kept: Mapping[str, float]
) -> tuple[dict[str, str], tuple[SlotPrice, ...], float]:
    """Who gets which task, the price of a slot of each agent, and the epsilon within which that is the best; from prices that were kept."""
    import numpy as np

    from solvers.assignment import assign

    names = list(places)
    column_by_name = {name: column for column, name in enumerate(names)}
    values: Any = np.full((len(worth), len(names)), -np.inf)
    for row, one in enumerate(worth):
        for name, value in one.values.items():
            values[row, column_by_name[name]] = value
    start = np.array([kept.get(name, 0.0) for name in names])
    epsilon = max(GAP_SHARE * float(values.max()) / len(worth), 1e-9)
    units = [one.book.units for one in worth]
    rooms = [_room(one.facts) for one in places.values()]
    while True:
        placed = place(
            values,
            [one.free for one in places.values()],
            units,
            rooms,
            lambda slots: assign(values, slots, epsilon=epsilon, prices=start, work_max=WORK_MAX),  # noqa: B023 - called at once
        )
        if placed.found.complete:
            break
        epsilon *= EPSILON_STEP
    chosen = {
        one.book.task_id: names[column]
        for one, column in zip(worth, placed.found.agents.tolist(), strict=True)
        if column >= 0
    }
    prices = tuple(
        SlotPrice(agent_id=name, free=one.free, slots=slots, price=price, position=one.facts.position)
        for (name, one), slots, price in zip(
            places.items(), placed.slots.tolist(), placed.found.prices.tolist(), strict=True
        )
    )
    return chosen, prices, epsilon


def _room(facts: BidderFacts) -> float:
    return room(facts.max_capacity, facts.used) if facts.max_capacity is not None else float("inf")


def _book(memory: OpenTasks, task: TaskEntry) -> BatchBook:
    found = ((name, memory.agents.get(name)) for name in sorted(task.bids))
    offers = ((name, changed_offer(task, agent)) for name, agent in found if agent is not None)
    return BatchBook(
        task_id=task.task_id,
        round=task.round,
        priority=task.priority,
        waits_since=task.waits_since,
        budget_seconds=task.budget_seconds,
        topics=task.topics,
        units=task.units,
        price_max=task.price_max,
        specialist_type=SPECIALISTS[task.task_type],
        skills=task.skills,
        regions=task.regions,
        bids=tuple(bid for _, bid in sorted(task.bids.items())),
        changed={name: offer for name, offer in offers if offer is not None},
        position=task.position,
    )
