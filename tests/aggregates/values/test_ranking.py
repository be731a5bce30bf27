"""The ranking: a total order with reasons, in which the order of arrival plays no part."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from aggregates.task import AwardTask, Stage, Task, TaskAwarded, decide
from aggregates.values.agent_types import AgentType
from aggregates.values.ranking import AwardPolicy, Bid, BidderFacts, Ranked, rank
from aggregates.values.reputation import Recent

BID = Bid(agent_id="ann", price=1.0, eta_seconds=5.0, confidence=0.5, capacity_offer=0.0, expires_at=None)
FACTS = BidderFacts(agent_id="ann", slots=2, running=0, lease_seconds=30.0, position=1)

names = st.sampled_from("abcdefgh")
few = st.sampled_from([0.0, 0.25, 1.0])  # few values, so that ties are common
bids = st.lists(
    st.builds(
        Bid,
        agent_id=names,
        price=few,
        eta_seconds=st.sampled_from([1.0, 2.0, 90.0]),
        confidence=few,
        capacity_offer=few,
        expires_at=st.sampled_from([None, 5.0, 15.0]),
    ),
    unique_by=lambda bid: bid.agent_id,
    max_size=8,
)
crowd = st.lists(
    st.builds(
        BidderFacts,
        agent_id=names,
        slots=st.integers(1, 2),
        running=st.integers(0, 2),
        lease_seconds=st.just(30.0),
        specializations=st.sampled_from([(), ("qubo",)]),
        completed=st.integers(0, 3),
        failed=st.integers(0, 3),
        kept_sum=few,
        answers=st.integers(0, 2),
        answer_seconds_sum=few,
        position=st.just(1),
    ),
    unique_by=lambda facts: facts.agent_id,
    max_size=8,
)


def ranked(
    offers: list[Bid], bidders: list[BidderFacts], policy: AwardPolicy = AwardPolicy.WEIGHTED_SCORE
) -> tuple[Ranked, ...]:
    return rank(
        offers,
        bidders,
        at=10.0,
        budget_seconds=60.0,
        topics=("optimization", "qubo"),
        units=2.0,
        specialist_type=AgentType.PERFORMANCE,
        policy=policy,
    )


policies = st.sampled_from(AwardPolicy)


@given(bids, crowd, policies, st.randoms(use_true_random=False))
def test_the_order_in_which_bids_came_plays_no_part(
    offers: list[Bid], bidders: list[BidderFacts], policy: AwardPolicy, random
) -> None:
    shuffled, others = list(offers), list(bidders)
    random.shuffle(shuffled)
    random.shuffle(others)
    assert ranked(shuffled, others, policy) == ranked(offers, bidders, policy)


@given(bids, crowd, policies)
def test_a_policy_decides_first_and_the_score_between_those_that_are_alike(
    offers: list[Bid], bidders: list[BidderFacts], policy: AwardPolicy
) -> None:
    bid_of, facts_of = {bid.agent_id: bid for bid in offers}, {facts.agent_id: facts for facts in bidders}

    def asked_for(name: str) -> float:
        match policy:
            case AwardPolicy.LOWEST_COST:
                return bid_of[name].price
            case AwardPolicy.QUICKEST_FINISH:
                return bid_of[name].eta_seconds
            case AwardPolicy.LEAST_LOAD:
                return facts_of[name].running / facts_of[name].slots
        return 0.0

    places = ranked(offers, bidders, policy)
    fit = [(asked_for(one.agent_id), -one.score) for one in places if not one.lost]
    assert fit == sorted(fit)
    assert {one.agent_id: one for one in places} == {one.agent_id: one for one in ranked(offers, bidders)}


@given(bids, crowd)
def test_everyone_has_one_place_and_the_faulty_come_last(offers: list[Bid], bidders: list[BidderFacts]) -> None:
    ranking = ranked(offers, bidders)
    assert sorted(place.agent_id for place in ranking) == sorted(bid.agent_id for bid in offers)
    faulty = [bool(place.lost) for place in ranking]
    assert faulty == sorted(faulty)
    scores = [place.score for place in ranking if not place.lost]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1.05 for score in scores)


def test_each_fault_has_its_name() -> None:
    offers = [
        replace(BID, agent_id="busy"),
        replace(BID, agent_id="full"),
        replace(BID, agent_id="gone"),
        replace(BID, agent_id="late", expires_at=9.0),
        replace(BID, agent_id="slow", eta_seconds=61.0),
    ]
    bidders = [
        replace(FACTS, agent_id="busy", running=2),
        replace(FACTS, agent_id="full", max_capacity=100.0, used=98.5),
        replace(FACTS, agent_id="late"),
        replace(FACTS, agent_id="slow"),
    ]
    lost = {place.agent_id: place.lost for place in ranked(offers, bidders)}
    fair = {"gone": "agent_gone", "late": "bid_expired", "slow": "eta_over_budget"}
    assert lost == {"busy": "slots_full", "full": "capacity_full", **fair}


def test_each_advantage_counts_and_ties_fall_to_the_first_name() -> None:
    bob, rival = replace(BID, agent_id="bob"), replace(FACTS, agent_id="bob")
    first = lambda bid, facts: ranked([BID, bid], [FACTS, facts])[0].agent_id  # noqa: E731
    assert first(bob, rival) == "ann"
    for better in ({"price": 0.5}, {"eta_seconds": 4.0}, {"confidence": 0.6}, {"capacity_offer": 1.0}):
        assert first(replace(bob, **better), rival) == "bob"
    for past in ({"completed": 3, "kept_sum": 3.0}, {"answers": 2, "answer_seconds_sum": 0.1}):
        assert first(bob, replace(rival, **past)) == "bob"
    assert first(bob, replace(rival, specializations=("qubo",))) == "bob"
    newcomer = replace(FACTS, recent=Recent())
    assert ranked([BID], [newcomer]) == ranked(
        [BID], [FACTS]
    )  # of whom nothing is known yet, nothing is held otherwise
    proven, boastful = Recent(succeeded=3, kept=3, stated=3), Recent(succeeded=3, kept=3, stated=9)
    for ours, theirs in ((Recent(), proven), (boastful, proven), (Recent(no_shows=1), Recent())):
        rows = [replace(FACTS, recent=ours), replace(rival, recent=theirs)]
        assert ranked([replace(BID, confidence=0.9), replace(bob, confidence=0.9)], rows)[0].agent_id == "bob"
    assert first(bob, replace(rival, agent_type=AgentType.PERFORMANCE)) == "bob"
    assert first(bob, replace(rival, agent_type=AgentType.SECURITY)) == "ann"
    assert first(replace(bob, price=0.99), replace(rival, running=1)) == "ann"


def test_prices_that_read_alike_are_not_told_as_the_same() -> None:
    bids = tuple(
        Bid(agent_id=name, price=price, eta_seconds=eta, confidence=1.0, capacity_offer=0.0, expires_at=None)
        for name, price, eta in (("ann", 1234567.0, 20.0), ("bob", 1234568.0, 10.0))
    )
    bidders = [BidderFacts(agent_id=one.agent_id, slots=1, running=0, lease_seconds=60.0, position=1) for one in bids]
    asked = Task(
        stage=Stage.BIDDING,
        round=1,
        budget_seconds=60.0,
        eligible=("ann", "bob"),
        bids=bids,
        award_policy=AwardPolicy.LOWEST_COST,
    )
    (event,) = decide(asked, AwardTask(task_id="t1", round=1, bidders=tuple(bidders), at=1.0))
    assert isinstance(event, TaskAwarded)
    assert event.agent_id == "ann"
    assert "the score decided" not in event.reason
