"""Books that are settled together: what each bid is worth, and the proof that a proposal is as good as any, up to a bound.

A bid that can win is worth its score times the task's urgency, 1 at least; a task that gets nobody is worth nothing. An agent may get as
many tasks as it has free slots, and no more units than it has left. Somebody proposes who gets what and a price for a slot of each agent;
here it is checked that this is possible, and how good it is. For any prices that are not negative no assignment is worth more than

    Σ slots · price + Σ max(0, max (value - price))

(weak duality; of an agent's slots no more than there are books), and a proposal has to come to that but for epsilon for each book. It takes
sums and comparisons, no solver.

Where the units of the tasks that an agent gets would be more than it has left, it may be counted with fewer slots: so many that they are
enough whichever of its tasks it gets. The proof is then of these slots; the bound that is told holds with all of them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import fsum, isfinite
from typing import NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from aggregates.values.agent_types import AgentType
from aggregates.values.capacity import room, total
from aggregates.values.ranking import AwardPolicy, Bid, BidderFacts, Needs, Offered, Ranked, rank
from aggregates.values.skill_terms import SkillNeed
from aggregates.values.weights import Weights

UNITS_SLACK = 1e-9
"""What a quotient of units may be short of a whole number."""
SUM_SLACK = 1e-9
"""Of the bound: by so much sums of the same numbers differ that were added in another order."""


class BatchBook(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A book that is to be settled, as it stands at `position` of the log, with what its bids are worth by; `topics` are the task's type
    and the names of the skills that it needs."""

    task_id: str
    round: int
    priority: int
    waits_since: float
    budget_seconds: float
    topics: tuple[str, ...]
    units: float = 0.0
    price_max: float | None = None
    specialist_type: AgentType | None = None
    skills: tuple[SkillNeed, ...] = ()
    regions: tuple[str, ...] = ()
    bids: tuple[Bid, ...]
    changed: dict[str, Offered] = field(default_factory=dict)
    """What those bidders offer now of what the task needs who have changed it after the call."""
    position: int


class SlotPrice(Struct, frozen=True, kw_only=True):
    """What a slot of an agent is worth to those that did not get it. `slots` are counted of the `free` ones; `position` is where the agent
    was read."""

    agent_id: str
    free: int
    slots: int
    price: float
    position: int


class BatchPair(Struct, frozen=True, kw_only=True):
    """A task with the agent that gets it; `value` is the bid's score times the task's urgency."""

    task_id: str
    round: int
    agent_id: str
    score: float
    value: float


class BatchShare(Struct, frozen=True, kw_only=True):
    """What a batch says of one of its books: who gets the task (empty: nobody), how urgent it was, and the price of a slot of each agent
    that could have won it."""

    number: int
    agent_id: str
    urgency: float
    prices: dict[str, float]


WORTH_MORE_ELSEWHERE = "worth_more_elsewhere"


def why_lost(ranked: Ranked, winner: Ranked | None, batch: BatchShare | None) -> str:
    """Why a bid did not win its book: its fault, or who was better; in a batch, an agent may be kept for a task where it is worth more."""
    if ranked.lost:
        return ranked.lost
    if batch is not None and (winner is None or ranked.score > winner.score):
        return WORTH_MORE_ELSEWHERE
    return "outscored"


class Worth(NamedTuple):
    """What the bids of a book are worth that can win it."""

    book: BatchBook
    urgency: float
    values: dict[str, float]
    """By agent."""
    scores: dict[str, float]


class Places(NamedTuple):
    """Whom a batch may give tasks to: the free slots of each agent, and how many tasks it surely has the units for."""

    facts: BidderFacts
    free: int
    safe: int


def urgency(book: BatchBook, rate: float, at: float) -> float:
    """By what the scores are multiplied: the priority, with so much for each second that it waits, 1 at least."""
    return max(1.0, book.priority + (at - book.waits_since) * rate)


def ranking_of(
    book: BatchBook, bidders: Mapping[str, BidderFacts], at: float, weights: Weights | None
) -> tuple[Ranked, ...]:
    """The book's own ranking."""
    return rank(
        book.bids,
        [_facts(book, bidders[bid.agent_id]) for bid in book.bids if bid.agent_id in bidders],
        at=at,
        budget_seconds=book.budget_seconds,
        topics=book.topics,
        units=book.units,
        specialist_type=book.specialist_type,
        policy=AwardPolicy.BATCH_OPTIMAL,
        weights=weights,
        price_max=book.price_max,
        needs=Needs(frozenset(book.topics[1:]), book.skills, book.regions),
    )


def _facts(book: BatchBook, facts: BidderFacts) -> BidderFacts:
    changed = book.changed.get(facts.agent_id)
    return facts if changed is None else replace(facts, changed=changed)


def worth_of(
    books: Iterable[BatchBook], bidders: Iterable[BidderFacts], *, at: float, rate: float, weights: Weights | None
) -> list[Worth]:
    """What the bids of each book are worth."""
    by_agent = {facts.agent_id: facts for facts in bidders}
    found = []
    for book in books:
        times = urgency(book, rate, at)
        scores = {one.agent_id: one.score for one in ranking_of(book, by_agent, at, weights) if not one.lost}
        found.append(Worth(book, times, {name: times * score for name, score in scores.items()}, scores))
    return found


def places_of(worth: Sequence[Worth], bidders: Iterable[BidderFacts]) -> dict[str, Places]:
    """The agents that can win any of the books, by name."""
    largest: dict[str, float] = {}
    for one in worth:
        for name in one.values:
            largest[name] = max(largest.get(name, 0.0), one.book.units)
    found = {}
    for facts in sorted(bidders, key=lambda facts: facts.agent_id):
        if (units := largest.get(facts.agent_id)) is None:
            continue
        free = facts.slots - facts.running
        found[facts.agent_id] = Places(facts, free, min(free, enough_for(facts, units)))
    return found


def enough_for(facts: BidderFacts, units: float) -> int:
    """For how many tasks of so many units an agent has enough left; one that is known to fit always does."""
    if not units or facts.max_capacity is None:
        return facts.slots
    return max(1, int(room(facts.max_capacity, facts.used) / units + UNITS_SLACK))


def shares_of(
    worth: Sequence[Worth], number: int, agents: Mapping[str, str], prices: Mapping[str, float]
) -> list[BatchShare]:
    """What a batch says of each of its books; `agents` has who gets which task."""
    return [
        BatchShare(
            number=number,
            agent_id=agents.get(one.book.task_id, ""),
            urgency=one.urgency,
            prices={name: prices[name] for name in sorted(one.values)},
        )
        for one in worth
    ]


class Proof(NamedTuple):
    """What a proposal is worth, and what nothing can be worth more than."""

    value: float
    dual_bound: float


def prove(
    worth: Sequence[Worth],
    places: Mapping[str, Places],
    agents: Mapping[str, str],
    prices: Sequence[SlotPrice],
    epsilon: float,
) -> tuple[Proof, str]:
    """The proof, and in words what is wrong with the proposal; empty where it holds."""
    if fault := _price_fault(places, prices, epsilon) or _fault(worth, places, agents, prices):
        return Proof(0.0, 0.0), fault
    price_by_agent = {one.agent_id: one.price for one in prices}
    value = fsum(one.values[agents[one.book.task_id]] for one in worth if one.book.task_id in agents)
    margins = [max(each - price_by_agent[name] for name, each in one.values.items()) for one in worth if one.values]
    best = fsum(max(0.0, margin) for margin in margins)
    books = len(worth)
    dual = best + fsum(min(books, one.slots) * one.price for one in prices)
    if dual - value > books * epsilon + SUM_SLACK * max(1.0, dual):
        return Proof(value, dual), f"{value!r} may be {dual - value!r} short of the best, for an epsilon of {epsilon!r}"
    return Proof(value, best + fsum(min(books, one.free) * one.price for one in prices)), ""


def _price_fault(places: Mapping[str, Places], prices: Sequence[SlotPrice], epsilon: float) -> str:
    if not (isfinite(epsilon) and epsilon > 0):
        return f"epsilon is {epsilon!r}"
    if [one.agent_id for one in prices] != sorted(places):
        return "there is not one price for each agent that can win, in order"
    for one in prices:
        here = places[one.agent_id]
        if not (isfinite(one.price) and one.price >= 0):
            return f"the price of {one.agent_id} is {one.price!r}"
        if (one.free, one.position) != (here.free, here.facts.position) or one.slots not in (here.free, here.safe):
            return f"{one.agent_id} has {here.free} slots, {here.safe} where units are short, not {one.slots} of {one.free}"
    return ""


def _fault(
    worth: Sequence[Worth], places: Mapping[str, Places], agents: Mapping[str, str], prices: Sequence[SlotPrice]
) -> str:
    """Why nobody could have these tasks."""
    by_task = {one.book.task_id: one for one in worth}
    if len(by_task) < len(worth):
        return "a book is named twice"
    units: defaultdict[str, list[float]] = defaultdict(list)
    for task_id, name in sorted(agents.items()):
        if task_id not in by_task or name not in by_task[task_id].values:
            return f"{name} has no bid that could win {task_id}"
        units[name].append(by_task[task_id].book.units)
    for one in prices:
        facts, taken = places[one.agent_id].facts, units[one.agent_id]
        if len(taken) > one.slots:
            return f"{one.agent_id} would get {len(taken)} tasks, for {one.slots} slots"
        left = room(facts.max_capacity, facts.used) if facts.max_capacity is not None else None
        if left is not None and total(taken) > left:
            return f"{one.agent_id} would hold {total(taken)} units more, and has {left} left"
    return ""
