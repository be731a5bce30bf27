"""Who wins a book: bids and the bidders' facts in, a total order with its reasons out.

A score is the agent's share and its bid's, half of it each where the operator has set nothing else (`Weights`), and a specialist of the
task's type or skills gains `SPECIALIST_BONUS`. What an agent did of late counts more than what it did long ago, and the confidence that it
states counts as much as came of what it stated before. Every term lies between 0 and 1, more is better. The order is total: what the policy
asks for first, where it is another than the score; then score, lower price, sooner, surer, larger capacity offered, and at last the agent's
id; the order in which bids came plays no part.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Literal, NamedTuple

from msgspec import Struct

from aggregates.values.agent_types import AgentType
from aggregates.values.capacity import fits
from aggregates.values.reputation import Recent, faded, tick_of
from aggregates.values.skill_terms import SkillNeed, SkillOffer, serve
from aggregates.values.weights import Weights

LOAD_WEIGHT, PERFORMANCE_WEIGHT, SUCCESS_WEIGHT, RESPONSE_WEIGHT = 0.3, 0.25, 0.25, 0.2
PRICE_WEIGHT, SPEED_WEIGHT, CONFIDENCE_WEIGHT = 0.4, 0.4, 0.2
AGENT_SHARE = 0.5
SPECIALIST_BONUS = 0.05
SCORE_DIGITS = 6


def in_force(told: Weights | None) -> Weights:
    """The weights of a ranking whose record tells none: those that hold where nobody has set any."""
    return told or Weights(
        agent_share=AGENT_SHARE,
        load=LOAD_WEIGHT,
        performance=PERFORMANCE_WEIGHT,
        success=SUCCESS_WEIGHT,
        response=RESPONSE_WEIGHT,
        price=PRICE_WEIGHT,
        speed=SPEED_WEIGHT,
        confidence=CONFIDENCE_WEIGHT,
    )


Fault = Literal[
    "",
    "agent_gone",
    "skill_missing",
    "skill_unfit",
    "region_elsewhere",
    "slots_full",
    "capacity_full",
    "bid_expired",
    "eta_over_budget",
    "price_over_budget",
    "not_revealed",
    "commitment_mismatch",
]
"""Why a bid cannot win; empty when it can. What an agent offers may have changed since it was called; a sealed bid was not opened in
time, or is another than was committed to."""

FULL = ("slots_full", "capacity_full")
"""The agent could have done it at another time."""


class AwardPolicy(StrEnum):
    """By what a book's bids are ordered first."""

    WEIGHTED_SCORE = "weighted_score"
    LOWEST_COST = "lowest_cost"
    QUICKEST_FINISH = "quickest_finish"
    LEAST_LOAD = "least_load"
    SECOND_PRICE = "second_price"
    """The lowest price wins and is paid the second lowest; bids are sealed."""
    BATCH_OPTIMAL = "batch_optimal"
    """The score, but books that are ripe together are settled together: see `aggregates.values.batches`."""


class Bid(Struct, frozen=True, kw_only=True, gc=False):
    """One agent's standing offer."""

    agent_id: str
    price: float
    eta_seconds: float
    confidence: float
    capacity_offer: float
    expires_at: float | None
    conditions: str = ""


class Offered(Struct, frozen=True, kw_only=True, gc=False):
    """What of an agent's offer matters for a task: those of the skills that it needs, what shows that it has them as asked, its region."""

    capabilities: tuple[str, ...]
    skills: tuple[SkillOffer, ...] = ()
    region: str = ""


class BidderFacts(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An active agent as it stood at `position` of the log: its load, its lease term, and what its past adds up to.

    `recent` is that past, as much as is left of it. Earlier records have counts in its place, in which nothing fades: `kept_sum` adds
    min(1, promised / needed seconds) over the completed tasks; `answer_seconds_sum` adds the seconds from each call to the agent's first
    bid on it.
    """

    agent_id: str
    slots: int
    running: int
    lease_seconds: float
    agent_type: AgentType | None = None
    """None in records from before it made a specialist."""
    specializations: tuple[str, ...] = ()
    completed: int = 0
    failed: int = 0
    kept_sum: float = 0.0
    answers: int = 0
    answer_seconds_sum: float = 0.0
    recent: Recent | None = None
    max_capacity: float | None = None
    """None in records from before units were counted."""
    used: float = 0.0
    changed: Offered | None = None
    """What it offers now, where that was changed after the call."""
    is_person: bool = False
    """A person's task ends by how long they hold it, and not by its budget."""
    position: int


class Ranked(Struct, frozen=True, kw_only=True, gc=False):
    """A bid's place in the ranking: its score, the terms that make it, or the fault that it lost by."""

    agent_id: str
    score: float = 0.0
    price_term: float = 0.0
    speed_term: float = 0.0
    confidence_term: float = 0.0
    load_term: float = 0.0
    performance_term: float = 0.0
    success_term: float = 0.0
    response_term: float = 0.0
    specialist: bool = False
    lost: Fault = ""


class AgentTerms(Struct, frozen=True, kw_only=True, gc=False):
    """What an agent is worth, whatever it is asked."""

    load: float
    performance: float
    success: float
    response: float
    trust: float
    """What its stated confidence is worth; no part of the score."""

    def score(self, weights: Weights) -> float:
        """The agent's part of a score."""
        return (
            weights.load * self.load
            + weights.performance * self.performance
            + weights.success * self.success
            + weights.response * self.response
        )


def agent_terms(facts: BidderFacts, at: float) -> AgentTerms:
    """A newcomer stands half way: neither trusted like the proven nor shut out for ever."""
    load = 1 - facts.running / facts.slots
    if facts.recent is not None:
        recent: Recent = faded(facts.recent, tick_of(at))
        return AgentTerms(
            load=load,
            performance=recent.kept_rate,
            success=recent.success_rate,
            response=recent.response,
            trust=recent.trust,
        )
    return AgentTerms(
        load=load,
        performance=(facts.kept_sum + 1) / (facts.completed + 2),
        success=(facts.completed + 1) / (facts.completed + facts.failed + 2),
        response=1 / (1 + facts.answer_seconds_sum / facts.answers) if facts.answers else 0.5,
        trust=1.0,
    )


NO_FORFEITS: Mapping[str, Fault] = {}


def rank(
    bids: Sequence[Bid],
    bidders: Iterable[BidderFacts],
    *,
    at: float,
    budget_seconds: float,
    topics: Iterable[str],
    units: float = 0.0,
    specialist_type: AgentType | None = None,
    policy: AwardPolicy = AwardPolicy.WEIGHTED_SCORE,
    weights: Weights | None = None,
    price_max: float | None = None,
    forfeits: Mapping[str, Fault] = NO_FORFEITS,
    needs: "Needs | None" = None,
) -> tuple[Ranked, ...]:
    """The bids from best to worst, those that cannot win last; `topics` are the task's type and skills, `units` what it takes.

    `forfeits` names agents whose bids can't win whatever they are. Specialists are those that name one of the topics among their
    specializations, and agents of the `specialist_type`.
    """
    facts_by_agent = {facts.agent_id: facts for facts in bidders}
    subjects = frozenset(topics)
    fit: list[tuple[Bid, BidderFacts]] = []
    losers = [Ranked(agent_id=name, lost=fault) for name, fault in forfeits.items()]
    asked = Asked(at, budget_seconds, units, price_max, needs or NO_NEEDS)
    for bid in bids:
        if bid.agent_id in forfeits:
            continue
        facts = facts_by_agent.get(bid.agent_id)
        fault = _fault(bid, facts, asked)
        if fault or facts is None:
            losers.append(Ranked(agent_id=bid.agent_id, lost=fault))
        else:
            fit.append((bid, facts))
    lowest = min([bid.price for bid, _ in fit], default=0.0)
    quickest = min([bid.eta_seconds for bid, _ in fit], default=0.0)
    weighed = in_force(weights)
    scored = [
        (bid, _scored(bid, facts, lowest, quickest, is_specialist(facts, subjects, specialist_type), at, weighed))
        for bid, facts in fit
    ]
    first = FIRST[policy]
    scored.sort(key=lambda one: (first(*one), *_order(one)))
    losers.sort(key=_name)
    return (*(ranked for _, ranked in scored), *losers)


def _name(ranked: Ranked) -> str:
    return ranked.agent_id


def _order(scored: tuple[Bid, Ranked]) -> tuple[float, float, float, float, float, str]:
    bid, ranked = scored
    return (-ranked.score, *_ties(bid))


FIRST: dict[AwardPolicy, Callable[[Bid, Ranked], float]] = {
    AwardPolicy.WEIGHTED_SCORE: lambda bid, ranked: 0.0,
    AwardPolicy.LOWEST_COST: lambda bid, ranked: bid.price,
    AwardPolicy.QUICKEST_FINISH: lambda bid, ranked: bid.eta_seconds,
    AwardPolicy.LEAST_LOAD: lambda bid, ranked: 1 - ranked.load_term,
    AwardPolicy.SECOND_PRICE: lambda bid, ranked: bid.price,
    AwardPolicy.BATCH_OPTIMAL: lambda bid, ranked: 0.0,
}
"""What a policy asks for before the score: less of it is better."""

ASKS = {
    AwardPolicy.LOWEST_COST: "a price of {:g}",
    AwardPolicy.QUICKEST_FINISH: "{:g} s",
    AwardPolicy.LEAST_LOAD: "a load of {:.0%}",
    AwardPolicy.SECOND_PRICE: "a price of {:g}",
}


def measured(policy: AwardPolicy, bid: Bid, ranked: Ranked) -> str:
    """In words, what a bid is ordered by first under a policy."""
    if policy in (AwardPolicy.WEIGHTED_SCORE, AwardPolicy.BATCH_OPTIMAL):
        return f"scored {ranked.score:g}"
    return f"offered {ASKS[policy]}".format(FIRST[policy](bid, ranked))


class Needs(NamedTuple):
    """What a task asks of whoever does it."""

    capabilities: frozenset[str] = frozenset()
    skills: tuple[SkillNeed, ...] = ()
    regions: tuple[str, ...] = ()


NO_NEEDS = Needs()


class Asked(NamedTuple):
    """What is held against a bid, when the book closes."""

    at: float
    budget_seconds: float
    units: float = 0.0
    price_max: float | None = None
    needs: Needs = NO_NEEDS


def _fault(bid: Bid, facts: BidderFacts | None, asked: Asked) -> Fault:
    """The first fault that a bid has; empty where it has none."""
    if facts is None:
        return "agent_gone"
    return (
        (facts.changed and _offer_fault(facts.changed, asked.needs))
        or _room_fault(facts, asked)
        or _bid_fault(bid, facts, asked)
    )


def _offer_fault(offered: Offered, needs: Needs) -> Fault:
    """Why what an agent offers now is not what is asked for."""
    if not needs.capabilities.issubset(offered.capabilities):
        return "skill_missing"
    if not serve(offered.skills, needs.skills):
        return "skill_unfit"
    return "region_elsewhere" if needs.regions and offered.region not in needs.regions else ""


def _room_fault(facts: BidderFacts, asked: Asked) -> Fault:
    """Why an agent can't take it now."""
    if facts.running >= facts.slots:
        return "slots_full"
    return "" if fits(asked.units, facts.max_capacity, facts.used) else "capacity_full"


def _bid_fault(bid: Bid, facts: BidderFacts, asked: Asked) -> Fault:
    """Why a bid is none that could be taken."""
    if bid.expires_at is not None and bid.expires_at < asked.at:
        return "bid_expired"
    if bid.eta_seconds > asked.budget_seconds and not facts.is_person:
        return "eta_over_budget"
    return "price_over_budget" if asked.price_max is not None and bid.price > asked.price_max else ""


def is_specialist(facts: BidderFacts, topics: frozenset[str], specialist_type: AgentType | None) -> bool:
    """Whether it says so of one of the topics, or is of the type whose work this is."""
    if specialist_type is not None and facts.agent_type is specialist_type:
        return True
    return not topics.isdisjoint(facts.specializations)


def _scored(
    bid: Bid, facts: BidderFacts, lowest: float, quickest: float, specialist: bool, at: float, weights: Weights
) -> Ranked:
    price_term = lowest / bid.price if bid.price else 1.0
    speed_term = quickest / bid.eta_seconds
    agent = agent_terms(facts, at)
    confidence_term = bid.confidence * agent.trust
    offer = weights.price * price_term + weights.speed * speed_term + weights.confidence * confidence_term
    share = weights.agent_share
    score = share * agent.score(weights) + (1 - share) * offer + (SPECIALIST_BONUS if specialist else 0.0)
    return Ranked(
        agent_id=bid.agent_id,
        score=round(score, SCORE_DIGITS),
        price_term=price_term,
        speed_term=speed_term,
        confidence_term=confidence_term,
        load_term=agent.load,
        performance_term=agent.performance,
        success_term=agent.success,
        response_term=agent.response,
        specialist=specialist,
    )


class Term(NamedTuple):
    """A part of a score: a value between 0 and 1, and what it weighs in the whole."""

    name: str
    value: float
    weight: float


def terms_of(ranked: Ranked, told: Weights | None = None) -> tuple[Term, ...]:
    """What makes a score, with the weights that its record tells; their products add up to it."""
    weights = in_force(told)
    share, bid_share = weights.agent_share, 1 - weights.agent_share
    return (
        Term("load", ranked.load_term, share * weights.load),
        Term("performance", ranked.performance_term, share * weights.performance),
        Term("success", ranked.success_term, share * weights.success),
        Term("response", ranked.response_term, share * weights.response),
        Term("price", ranked.price_term, bid_share * weights.price),
        Term("speed", ranked.speed_term, bid_share * weights.speed),
        Term("confidence", ranked.confidence_term, bid_share * weights.confidence),
        Term("specialist", float(ranked.specialist), SPECIALIST_BONUS),
    )


TIES = ("lower_price", "sooner", "surer", "larger_capacity", "first_id")
"""What decides between bids of the same score, in this order."""


def _ties(bid: Bid) -> tuple[float, float, float, float, str]:
    """Of bids of the same score, that with the smaller one of these wins."""
    return (bid.price, bid.eta_seconds, -bid.confidence, -bid.capacity_offer, bid.agent_id)


def tie_break(one: Bid, other: Bid) -> str:
    """What decided between two bids of the same score."""
    return next(name for name, mine, theirs in zip(TIES, _ties(one), _ties(other), strict=True) if mine != theirs)
