"""Explanations: they ask what `decide` asks, add up to what was recorded, and name a reason for every agent."""

import random
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agents.coordinating import calls
from agents.explaining.explain import explain
from agents.explaining.explanation import AgentFacts, DependencyFacts, Facts, HeldTask, VerdictReason
from agents.explaining.story import Story, story_of
from agents.explaining.verdicts import verdict
from aggregates import agent as agents
from aggregates import task as tasks
from aggregates.task import (
    BidPlaced,
    BidRefused,
    BookOpened,
    BookVoided,
    Candidate,
    Doer,
    OpenBook,
    Stage,
    TaskAmended,
    TaskAwarded,
    TaskDeadLettered,
    TaskRebalanced,
    TaskRequeued,
    TaskStalled,
    TaskSubmitted,
)
from aggregates.task.eligibility import REASONS, fit, unfit, wanted
from aggregates.values.batches import BatchShare
from aggregates.values.ranking import AwardPolicy, Bid, BidderFacts, Fault, in_force, rank
from aggregates.values.skill_terms import SkillNeed
from aggregates.values.skills import missing
from aggregates.values.weights import Weights
from runtime.records import Event, Meta, Recorded
from tests.examples import AT, event_by_type

SUBMITTED: TaskSubmitted = replace(
    event_by_type[TaskSubmitted],
    task_id="t1", capabilities=("cutting",), waiting_for=(), dependencies=("t0",), independent_of=("t0",), submitted_at=AT,
)  # fmt: skip
OPENED: BookOpened = replace(
    event_by_type[BookOpened], task_id="t1", round=1, eligible=("ann", "bob"), closes_at=AT + SUBMITTED.bidding_seconds
)
SKILLS = ("cutting", "drawing", "writing")


def call(*names: str, running: int = 0) -> OpenBook:
    candidates = tuple(
        Candidate(agent_id=name, capabilities=("cutting",), slots=1, running=running, position=1) for name in names
    )
    return OpenBook(task_id="t1", round=1, candidates=candidates)


def told(*events: Event, by: OpenBook | None = None) -> Story:
    """The story of these events, a second apart; all books were opened by this command."""
    records = [
        Recorded(
            position=place, stream="task-t1", version=place, kind="k", event=event,
            meta=Meta(id="m", cause="", correlation="m", tenant="acme", principal="test", at=AT + place - 1),
        )
        for place, event in enumerate(events, 1)
    ]  # fmt: skip
    commands = {one.position: by for one in records if isinstance(one.event, BookOpened) and by is not None}
    story = story_of(records, commands)
    assert story is not None
    return story


def agent(name: str, **changed: Any) -> AgentFacts:
    fields: dict[str, Any] = {
        "agent_id": name,
        "name": name,
        "stage": agents.Stage.ACTIVE,
        "capabilities": ("cutting",),
        "slots": 1,
    }
    return AgentFacts(**(fields | {"running": 0, "since": AT, "position": 1} | changed))


def bid(name: str, **changed: Any) -> BidPlaced:
    fields = {"task_id": "t1", "round": 1, "agent_id": name, "price": 1.0, "eta_seconds": 5.0, "expires_at": None}
    placed: BidPlaced = event_by_type[BidPlaced]
    return replace(placed, **(fields | changed))


def facts_of(*names: str) -> tuple[BidderFacts, ...]:
    return tuple(BidderFacts(agent_id=name, slots=1, running=0, lease_seconds=60.0, position=1) for name in names)


def awarded(
    *bids: BidPlaced, policy: AwardPolicy = AwardPolicy.WEIGHTED_SCORE, weights: Weights | None = None
) -> TaskAwarded:
    ranking = rank(
        [Bid(agent_id=one.agent_id, price=one.price, eta_seconds=one.eta_seconds, confidence=one.confidence,
             capacity_offer=one.capacity_offer, expires_at=one.expires_at) for one in bids],
        facts_of(*(one.agent_id for one in bids)), at=AT, budget_seconds=60.0, topics=(),
        policy=policy, weights=weights,
    )  # fmt: skip
    made: TaskAwarded = event_by_type[TaskAwarded]
    return replace(made, task_id="t1", round=1, agent_id=ranking[0].agent_id, ranking=ranking)


def reason(story: Story, one: AgentFacts, **facts: Any) -> str:
    return verdict(story, Facts(at=AT + 60, **facts), one).reason.value


@given(st.integers(0, 2**32))
def test_who_is_called_is_who_nothing_speaks_against(seed: int) -> None:
    """The predicates against the condition as it was written before there were any."""
    chance = random.Random(seed)
    needs = tuple(chance.sample(SKILLS, chance.randrange(3)))
    doers = (Doer(task_id="t0", agent_id="a1", position=1), Doer(task_id="t9", agent_id="a2", position=1))
    candidates = tuple(
        Candidate(
            agent_id=f"a{number}", capabilities=tuple(chance.sample(SKILLS, chance.randrange(4))),
            slots=chance.randrange(1, 3), running=chance.randrange(3), position=1,
        )
        for number in range(5)
    )  # fmt: skip
    asked = wanted(needs, ("t0",), doers)
    called = [one.agent_id for one in fit(candidates, asked)]
    plain = [
        one.agent_id
        for one in candidates
        if one.agent_id != "a1" and one.running < one.slots and not missing(needs, one.capabilities)
    ]
    assert called == plain == [one.agent_id for one in candidates if unfit(one, asked) is None]


def test_every_reason_that_decides_can_be_told() -> None:
    deciding = {name for name, _ in REASONS} | set(filter(None, get_args(Fault)))
    assert deciding <= {one.value for one in VerdictReason}


@pytest.mark.parametrize(
    "changed,expected",
    [
        ({"stage": agents.Stage.LOST, "capabilities": ()}, "lost"),
        ({"stage": agents.Stage.DEREGISTERED}, "deregistered"),
        ({"capabilities": ("drawing",), "running": 1}, "skill_missing"),
        ({"agent_id": "doer", "running": 1}, "excluded"),
        ({"running": 1}, "slots_full"),
        ({}, "nothing"),
    ],
)
def test_of_a_waiting_task_each_agent_has_the_first_reason(changed: dict[str, Any], expected: str) -> None:
    done = DependencyFacts(task_id="t0", stage=Stage.COMPLETED, since=AT, agent_id="doer")
    assert reason(told(SUBMITTED), agent("ann", **changed), dependencies={"t0": done}) == expected


def test_a_book_is_told_as_it_was_and_not_as_agents_are_now() -> None:
    story = told(SUBMITTED, OPENED, replace(event_by_type[BidRefused], task_id="t1", round=1, agent_id="ann"),
                 bid("bob"), awarded(bid("bob")), by=call("ann", "bob", "cat"))  # fmt: skip
    assert story.book is not None
    busy = replace(story, book=replace(story.book, candidates={"cat": call("cat", running=1).candidates[0]}))
    then = agents.Agent(stage=agents.Stage.ACTIVE, capabilities=("cutting",), slots=2, max_capacity=9.0)
    assert reason(story, agent("ann", stage=agents.Stage.LOST)) == "refused"
    assert reason(story, agent("bob", capabilities=())) == "won"
    assert reason(busy, agent("cat")) == "slots_full"
    assert reason(story, agent("dan"), then={"dan": None}) == "not_registered"
    assert reason(story, agent("dan"), then={"dan": replace(then, stage=agents.Stage.DRAINING)}) == "draining"
    assert reason(story, agent("dan"), then={"dan": replace(then, capabilities=())}) == "skill_missing"
    assert reason(story, agent("dan"), then={"dan": then}) == "slots_full"


@pytest.mark.parametrize("most", [calls.CANDIDATES_MAX, calls.CANDIDATES_MAX_EARLIER])
def test_where_as_many_were_called_as_may_be_the_others_were_more_loaded(most: int) -> None:
    names = [f"a{number:03}" for number in range(most)]
    story = told(SUBMITTED, replace(OPENED, eligible=tuple(names)), by=call(*names))
    then = agents.Agent(stage=agents.Stage.ACTIVE, capabilities=("cutting",), slots=1, max_capacity=9.0)
    assert reason(story, agent("zoe"), then={"zoe": then}) == "others_less_loaded"
    assert reason(story, agent("a007"), then={"a007": then}) == "awaited"


@pytest.mark.parametrize("passed_over, expected", [(True, "others_less_loaded"), (False, "slots_full")])
def test_whether_others_could_have_been_called_too_tells_why_one_was_not(passed_over: bool, expected: str) -> None:
    story = told(SUBMITTED, OPENED, by=replace(call("ann", "bob"), passed_over=passed_over))
    then = agents.Agent(stage=agents.Stage.ACTIVE, capabilities=("cutting",), slots=1, max_capacity=9.0)
    assert reason(story, agent("zoe"), then={"zoe": then}) == expected


def test_a_loser_is_told_by_whom_and_in_which_terms_and_equal_scores_by_what_they_were_told_apart() -> None:
    bids = (bid("ann", price=2.0), bid("bob"), bid("cat", eta_seconds=5.0), bid("dan", expires_at=AT - 1))
    story = told(SUBMITTED, replace(OPENED, eligible=("ann", "bob", "cat", "dan")), *bids, awarded(*bids))
    explained = explain(story, Facts(at=AT + 60, agents=[agent(one.agent_id) for one in bids]))
    by_id = {one.agent_id: one for one in explained.agents}
    assert {name: one.reason.value for name, one in by_id.items()} == {
        "ann": "outscored", "bob": "won", "cat": "outscored", "dan": "bid_expired",
    }  # fmt: skip
    lost, tied = by_id["ann"].behind, by_id["cat"].behind
    assert lost is not None
    assert tied is not None
    assert [term.name for term in lost.terms] == ["price"]
    assert lost.terms[0].points == pytest.approx(lost.points) == pytest.approx(0.1)
    assert (tied.points, tied.terms, tied.tie_break) == (0.0, (), "first_id")
    assert explained.book is not None
    for place in explained.book.ranking:
        assert place.sum == pytest.approx(place.score, abs=1e-6)


def test_an_award_is_told_with_the_weights_that_it_was_made_by() -> None:
    weights = replace(in_force(None), agent_share=0.25, price=0.8, speed=0.0)
    bids = (bid("ann", price=2.0), bid("bob", price=0.5))
    award = replace(awarded(*bids, weights=weights), weights=weights)
    explained = explain(told(SUBMITTED, replace(OPENED, eligible=("ann", "bob")), *bids, award), Facts(at=AT + 60))
    assert explained.book is not None
    for place in explained.book.ranking:
        assert {term.name: term.weight for term in place.terms}["price"] == pytest.approx(0.6)
        assert place.sum == pytest.approx(place.score, abs=1e-6)


def test_who_lost_by_what_the_task_asks_for_first_is_told_so() -> None:
    cheap = replace(SUBMITTED, award_policy=AwardPolicy.LOWEST_COST)
    bids = (bid("ann", price=2.0, eta_seconds=1.0), bid("bob", price=0.5), bid("cat", price=0.5, eta_seconds=9.0))
    story = told(
        cheap, replace(OPENED, eligible=("ann", "bob", "cat")), *bids, awarded(*bids, policy=cheap.award_policy)
    )
    explained = explain(story, Facts(at=AT + 60, agents=[agent(one.agent_id) for one in bids]))
    assert explained.award_policy is AwardPolicy.LOWEST_COST
    ann, bob, cat = explained.agents
    assert (ann.reason.value, bob.reason.value, cat.reason.value) == ("outranked", "won", "outscored")
    assert ann.detail == "offered a price of 2; bob offered a price of 0.5"


def test_who_is_kept_for_another_task_of_the_batch_is_told_so_with_the_numbers() -> None:
    joint = replace(SUBMITTED, award_policy=AwardPolicy.BATCH_OPTIMAL)
    bids = (bid("ann", price=1.0), bid("bob", price=2.0), bid("cat", price=4.0))
    best, second, third = awarded(*bids).ranking
    share = BatchShare(number=7, agent_id="bob", urgency=2.0, prices={"ann": 1.5, "bob": 0.25, "cat": 0.0})
    won = replace(awarded(*bids), agent_id="bob", ranking=(second, best, third), batch=share)
    called = replace(OPENED, eligible=("ann", "bob", "cat"))
    agents_asked = [agent(one.agent_id) for one in bids]
    explained = explain(told(joint, called, *bids, won), Facts(at=AT + 60, agents=agents_asked))
    ann, bob, cat = explained.agents
    assert (ann.reason.value, bob.reason.value, cat.reason.value) == ("worth_more_elsewhere", "won", "outscored")
    assert ann.detail == (
        f"ann is worth {2 * best.score:.4g} here, and a slot of it 1.5 to other tasks; "
        f"bob is worth {2 * second.score:.4g} here, and a slot of it 0.25 to other tasks, who got it (batch 7)"
    )
    assert explained.book is not None
    assert explained.book.batch == share
    nobody = replace(share, agent_id="", prices={"ann": 9.0, "bob": 9.0, "cat": 9.0})
    ranking = (best, second, third)
    void = BookVoided(task_id="t1", round=1, reason="outbid", voids=0, ranking=ranking, batch=nobody)
    explained = explain(told(joint, called, *bids, void), Facts(at=AT + 60, agents=agents_asked))
    assert {one.reason.value for one in explained.agents} == {"worth_more_elsewhere"}
    assert explained.agents[0].detail.endswith("9 to other tasks: nothing is left of it here (batch 7)")


def test_what_a_waiting_task_waits_for_is_told_with_since_when() -> None:
    waiting = replace(SUBMITTED, waiting_for=("t0",))
    away = agent("gone", stage=agents.Stage.LOST, since=AT + 20)
    held = HeldTask(agent_id="ann", task_id="t7", since=AT + 30)
    voided = replace(event_by_type[BookVoided], task_id="t1", round=1, reason="no_bids", voids=3, ranking=())

    def waits(*events: Event, at: float = AT + 60, **facts: Any) -> list[tuple[str, float, float | None]]:
        explained = explain(told(*events), Facts(at=at, **facts))
        return [(one.reason.value, one.since - AT, one.until and one.until - AT) for one in explained.waits_for]

    running = DependencyFacts(task_id="t0", stage=Stage.RUNNING, since=AT + 5, agent_id="doer")
    assert waits(waiting, dependencies={"t0": running}) == [("dependency", 5, None)]
    stalled = replace(event_by_type[TaskStalled], task_id="t1")
    assert waits(SUBMITTED, stalled, able=[away]) == [("skills_missing", 20, None)]
    done = replace(running, stage=Stage.COMPLETED)
    able = [agent("doer"), away]
    assert waits(SUBMITTED, dependencies={"t0": done}, able=able) == [("all_excluded", 20, None)]
    busy = [agent("ann", running=1)]
    assert waits(SUBMITTED, able=busy, held=[held]) == [("all_busy", 30, None)]
    rests = waits(SUBMITTED, OPENED, voided, at=AT + 3, able=[agent("ann")])
    assert rests == [("pause", 2, 6), ("in_line", 2, None)]
    assert waits(SUBMITTED, OPENED, voided, at=AT + 6, able=[agent("ann")]) == [("in_line", 2, None)]
    assert waits(SUBMITTED, OPENED) == [("book_open", 0, SUBMITTED.bidding_seconds)]


def test_ageing_is_told_in_numbers() -> None:
    line = explain(told(replace(SUBMITTED, priority=2)), Facts(at=AT + 60, ahead=7, ahead_alike=3)).line
    assert line is not None
    assert (line.priority, line.waited_seconds, line.ahead, line.ahead_alike) == (2, 60, 7, 3)
    assert line.gained == pytest.approx(0.2)
    assert line.effective_priority == pytest.approx(2.2)
    amended = replace(event_by_type[TaskAmended], task_id="t1", priority=5)
    ended = replace(event_by_type[TaskDeadLettered], task_id="t1")
    again = replace(event_by_type[TaskRequeued], task_id="t1", requeued_at=AT + 50)
    line = explain(told(SUBMITTED, amended, ended, again), Facts(at=AT + 60)).line
    assert line is not None
    assert (line.priority, line.waited_seconds) == (5, 10)


def test_a_story_says_of_the_stage_what_the_aggregate_says() -> None:
    folded = tasks.initial
    events: tuple[tasks.TaskEvent, ...] = (SUBMITTED, OPENED, bid("bob"), awarded(bid("bob")))
    for number, event in enumerate(events, 1):
        folded = tasks.evolve(folded, event)
        assert told(*events[:number]).stage is folded.stage


@pytest.mark.parametrize(
    "asked,offered,found",
    [
        ({"units": 9.5}, {"max_capacity": 9.0}, "capacity_small"),
        ({"units": 9.0}, {"max_capacity": 9.0, "used": 0.5}, "capacity_full"),
        ({"regions": ("eu",)}, {"region": "us"}, "region_elsewhere"),
        ({"skills": (SkillNeed(name="cutting", version=">=2"),)}, {}, "skill_unfit"),
        ({"units": 9.0, "regions": ("eu",)}, {"max_capacity": 9.0, "region": "eu"}, "nothing"),
    ],
)
def test_what_a_task_asks_for_beyond_skills_may_speak_against_an_agent(
    asked: dict[str, Any], offered: dict[str, Any], found: str
) -> None:
    assert reason(told(replace(SUBMITTED, **({"units": 0.0} | asked))), agent("ann", **offered)) == found


def test_what_was_taken_back_waits_again_and_says_for_whom() -> None:
    moved = replace(event_by_type[TaskRebalanced], task_id="t1", score=0.25, better="bob", better_score=0.65)
    found = explain(told(SUBMITTED, OPENED, bid("ann"), awarded(bid("ann")), moved), Facts(at=AT + 60))
    assert found.attempt is not None
    assert found.attempt.over_reason == "rebalanced: bob was worth 0.65, ann 0.25"
    assert (found.stage, found.attempt.attempts_max) == (Stage.SUBMITTED, moved.attempts_max)
