"""Why one agent was not called for a task or did not win it: the first reason that holds, in the order in which they are asked."""

from datetime import UTC, datetime
from typing import NamedTuple

from agents.coordinating.calls import are_all_that_may_be_called
from agents.coordinating.hours import duty_at
from agents.explaining.explanation import AgentFacts, Behind, Facts, Verdict, VerdictReason
from agents.explaining.rankings import behind, bid_of
from agents.explaining.story import Book, Outcome, Story
from aggregates import agent as agents
from aggregates.task import SEALED, Candidate, Doer, Duty, Stage
from aggregates.task.eligibility import LASTING, OFF_HOURS, REASONS, Reasons, Wanted, unfit, wanted
from aggregates.values.batches import WORTH_MORE_ELSEWHERE, BatchShare, why_lost
from aggregates.values.capacity import room
from aggregates.values.ranking import FIRST, Ranked, measured
from aggregates.values.skill_terms import serve
from aggregates.values.skills import missing
from aggregates.values.working_hours import WorkingHours

GONE: dict[agents.Stage, VerdictReason] = {
    agents.Stage.UNKNOWN: VerdictReason.NOT_REGISTERED,
    agents.Stage.DEREGISTERED: VerdictReason.DEREGISTERED,
    agents.Stage.LOST: VerdictReason.LOST,
    agents.Stage.DRAINING: VerdictReason.DRAINING,
}
"""Where an agent stands that is not to be called for anything."""

WAITING = (Stage.SUBMITTED, Stage.BLOCKED)


class _Found(NamedTuple):
    """A reason, and what it is about."""

    reason: VerdictReason
    detail: str
    skills: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    behind: Behind | None = None


def verdict(story: Story, facts: Facts, agent: AgentFacts) -> Verdict:
    """What speaks against the agent: now, where the task waits to be offered; else in its last book."""
    if told := _given(story, agent):
        return Verdict(agent_id=agent.agent_id, name=agent.name, round=0, **told._asdict())
    book, is_waiting = story.book, story.stage in WAITING
    found = _against_now(story, facts, agent) if is_waiting or book is None else None
    if agent.is_person and is_waiting and found is None:
        return Verdict(agent_id=agent.agent_id, name=agent.name, round=0, **_may_take(story)._asdict())
    number = 0
    if found is None and book is not None and (not is_waiting or book.outcome is Outcome.VOIDED):
        found, number = _of_book(story, facts, book, agent), book.round
    told = found or _Found(VerdictReason.NOTHING, _nothing(story))
    return Verdict(agent_id=agent.agent_id, name=agent.name, round=number, **told._asdict())


def _given(story: Story, agent: AgentFacts) -> _Found | None:
    """Of a task that was given away without a book, and not taken back."""
    attempt = story.attempt
    if attempt is None or not attempt.event.assigned_by or attempt.over_at or story.stage in WAITING:
        return None
    event = attempt.event
    if agent.agent_id == event.agent_id:
        return _Found(VerdictReason.GIVEN, f"was given it by {event.assigned_by}")
    return _Found(VerdictReason.GIVEN_TO_ANOTHER, f"nobody was called: {event.reason}")


def _may_take(story: Story) -> _Found:
    """Of a person against whom nothing speaks while the task waits."""
    if story.asked.dry_run or story.asked.award_policy in SEALED:
        return _Found(VerdictReason.NOT_CALLED, "people are given no dry runs, and no tasks with sealed bids")
    return _Found(VerdictReason.NOTHING, "people are not called; it is in their inbox, and they may take it")


def _nothing(story: Story) -> str:
    if story.stage in WAITING:
        return "nothing speaks against it; the task waits for something else"
    return "nothing spoke against it; the task ended before anybody was called"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def doers_of(story: Story, facts: Facts) -> list[Doer]:
    """Who did what the task must be independent of, as far as it is done."""
    known = (facts.dependencies.get(name) for name in story.asked.independent_of)
    return [
        Doer(task_id=one.task_id, agent_id=one.agent_id, position=0)
        for one in known
        if one is not None and one.stage is Stage.COMPLETED
    ]


# ---- as things stand


def _against_now(story: Story, facts: Facts, agent: AgentFacts) -> _Found | None:
    if gone := _gone(agent.stage):
        return gone
    if agent.agent_id in story.declined:
        why = story.declined[agent.agent_id]
        return _Found(VerdictReason.DECLINED, f"will not take it: {why}" if why else "will not take it")
    candidate = Candidate(
        agent_id=agent.agent_id,
        capabilities=agent.capabilities,
        slots=agent.slots,
        running=agent.running,
        max_capacity=agent.max_capacity,
        used=agent.used,
        skills=agent.skills,
        region=agent.region,
        position=agent.position,
    )
    duties = _duties(agent.agent_id, agent.working_hours, facts.at)
    return _unfit(story, candidate, doers_of(story, facts), duties=duties, at=facts.at)


def _duties(agent_id: str, hours: WorkingHours, at: float) -> tuple[Duty, ...]:
    duty = duty_at(hours, at)
    return (Duty(agent_id=agent_id, since=duty.since, until=duty.until),) if duty.until else ()


def _gone(stage: agents.Stage) -> _Found | None:
    reason = GONE.get(stage)
    return _Found(reason, f"it was {reason.replace('_', ' ')}") if reason is not None else None


def wanted_by(story: Story, doers: list[Doer], duties: tuple[Duty, ...] = (), at: float = 0.0) -> Wanted:
    """What the task asks of agents at a moment."""
    asked = story.asked
    return wanted(
        asked.capabilities,
        asked.independent_of,
        doers,
        units=asked.units,
        skills=asked.skills,
        regions=asked.regions,
        duties=duties,
        at=at,
        only=asked.assign_to,
    )


def _unfit(
    story: Story,
    candidate: Candidate,
    doers: list[Doer],
    reasons: Reasons = REASONS,
    *,
    duties: tuple[Duty, ...] = (),
    at: float = 0.0,
) -> _Found | None:
    asked = story.asked
    match unfit(candidate, wanted_by(story, doers, duties, at), reasons):
        case "meant_for_another":
            return _Found(VerdictReason.MEANT_FOR_ANOTHER, f"the task is meant for {asked.assign_to} alone")
        case "skill_missing":
            lacking = missing(asked.capabilities, candidate.capabilities)
            return _Found(VerdictReason.SKILL_MISSING, f"lacks {', '.join(lacking)}", skills=lacking)
        case "skill_unfit":
            unserved = tuple(need.name for need in asked.skills if not serve(candidate.skills, [need]))
            detail = f"has {', '.join(unserved)} in another version or with other attributes"
            return _Found(VerdictReason.SKILL_UNFIT, detail, skills=unserved)
        case "region_elsewhere":
            detail = f"is not in {', '.join(asked.regions)}"
            return _Found(VerdictReason.REGION_ELSEWHERE, detail)
        case "capacity_small":
            detail = f"holds {candidate.max_capacity or 0:g} units at most, and this takes {asked.units:g}"
            return _Found(VerdictReason.CAPACITY_SMALL, detail)
        case "capacity_full":
            left = room(candidate.max_capacity or 0.0, candidate.used)
            return _Found(VerdictReason.CAPACITY_FULL, f"has {left:g} units left, and this takes {asked.units:g}")
        case "excluded":
            done = tuple(sorted({doer.task_id for doer in doers if doer.agent_id == candidate.agent_id}))
            return _Found(
                VerdictReason.EXCLUDED, f"did {', '.join(done)}, of which this must be independent", tasks=done
            )
        case "off_hours":
            back = datetime.fromtimestamp(duties[0].since, UTC)
            return _Found(VerdictReason.OFF_HOURS, f"is off duty until {back:%Y-%m-%dT%H:%M:%SZ}")
        case "slots_full":
            return _Found(
                VerdictReason.SLOTS_FULL,
                f"holds {_counted(candidate.running, 'task')} and has {_counted(candidate.slots, 'slot')}",
            )
        case None:
            return None


# ---- in a book


def _of_book(story: Story, facts: Facts, book: Book, agent: AgentFacts) -> _Found:
    for place, ranked in enumerate(book.ranking):
        if ranked.agent_id != agent.agent_id:
            continue
        if ranked.lost:
            return _Found(VerdictReason(ranked.lost), f"its bid could not win: {ranked.lost}")
        if place == 0 and book.outcome is Outcome.AWARDED:
            return _Found(VerdictReason.WON, f"scored {ranked.score:g}")
        if place == 0 and book.outcome is Outcome.DRY_RUN:
            return _Found(VerdictReason.WON, f"would have won: scored {ranked.score:g}")
        if book.batch is not None and (told := _worth_elsewhere(book, book.batch, ranked)):
            return _Found(VerdictReason.WORTH_MORE_ELSEWHERE, told)
        short = behind(book, ranked)
        if told := _outranked(story, book, ranked):
            return _Found(VerdictReason.OUTRANKED, told, behind=short)
        return _Found(VerdictReason.OUTSCORED, f"{short.points:g} points behind {short.agent_id}", behind=short)
    if agent.agent_id in book.eligible:
        return _answered(book, agent.agent_id)
    return _not_called(story, facts, book, agent)


def _worth_elsewhere(book: Book, batch: BatchShare, ranked: Ranked) -> str:
    """By how much its slot is worth more to other tasks; empty where it was outscored here."""
    winner = book.ranking[0] if book.outcome is Outcome.AWARDED else None
    if why_lost(ranked, winner, batch) != WORTH_MORE_ELSEWHERE:
        return ""
    mine = _margin(batch, ranked)
    if winner is None:
        return f"{mine}: nothing is left of it here (batch {batch.number})"
    return f"{mine}; {_margin(batch, winner)}, who got it (batch {batch.number})"


def _margin(batch: BatchShare, ranked: Ranked) -> str:
    """What the agent would be worth to the task, and what a slot of it is worth to others."""
    worth, price = ranked.score * batch.urgency, batch.prices.get(ranked.agent_id, 0.0)
    return f"{ranked.agent_id} is worth {worth:.4g} here, and a slot of it {price:.4g} to other tasks"


def _outranked(story: Story, book: Book, ranked: Ranked) -> str:
    """What the policy asks for and another has offered more of; empty where the score decided."""
    policy, first = story.asked.award_policy, book.ranking[0]
    winner, mine = bid_of(book, first.agent_id), bid_of(book, ranked.agent_id)
    if winner is None or mine is None or FIRST[policy](mine, ranked) <= FIRST[policy](winner, first):
        return ""
    return f"{measured(policy, mine, ranked)}; {first.agent_id} {measured(policy, winner, first)}"


def _answered(book: Book, agent_id: str) -> _Found:
    answer = book.answers.get(agent_id)
    if answer is None:
        is_open = book.outcome is Outcome.OPEN
        return (
            _Found(VerdictReason.AWAITED, "has yet to answer")
            if is_open
            else _Found(VerdictReason.NO_BID, "was called and did not answer")
        )
    match answer.state:
        case "refused":
            return _Found(
                VerdictReason.REFUSED, f"would not bid: {answer.reason}" if answer.reason else "would not bid"
            )
        case "withdrawn":
            return _Found(VerdictReason.WITHDRAWN, "took its bid back")
        case "placed" if book.outcome is Outcome.OPEN:
            return _Found(VerdictReason.BID_PLACED, "its bid is in the book")
        case "sealed" | "opened" if book.outcome is Outcome.OPEN:
            is_awaited = book.is_revealing and answer.state == "sealed"
            return _Found(VerdictReason.BID_SEALED, "has yet to open its bid" if is_awaited else "its sealed bid is in")
        case _:
            return _Found(VerdictReason.BOOK_ENDED, "the task ended while its bid was in the book")


def _not_called(story: Story, facts: Facts, book: Book, agent: AgentFacts) -> _Found:
    if agent.is_person:
        against = _against_now(story, facts, agent)
        return against or _Found(VerdictReason.NOT_CALLED, "people are not called; they take what waits")
    candidates, doers = book.candidates or {}, list(book.doers)
    if agent.agent_id in candidates and (found := _unfit(story, candidates[agent.agent_id], doers)):
        return found
    if agent.agent_id not in facts.then:
        return _against_now(story, facts, agent) or _Found(
            VerdictReason.OTHERS_LESS_LOADED, "was not called, others were"
        )
    then = facts.then[agent.agent_id] or agents.initial
    if gone := _gone(then.stage):
        return gone
    offered = Candidate(
        agent_id=agent.agent_id,
        capabilities=then.capabilities,
        slots=then.slots,
        running=0,
        max_capacity=then.max_capacity,
        skills=then.skills,
        region=then.region,
        position=book.position,
    )
    duties = _duties(agent.agent_id, then.working_hours, book.opened_at)
    if found := _unfit(story, offered, doers, (*LASTING, OFF_HOURS), duties=duties, at=book.opened_at):
        return found
    # What is left is that it was not free, where all were called who were; or that it was not its turn.
    passed_over, called = book.passed_over, len(candidates or book.eligible)
    if passed_over is None:
        passed_over = are_all_that_may_be_called(called, story.asked.capabilities, story.asked.skills)
    if not passed_over:
        return _Found(
            VerdictReason.SLOTS_FULL,
            f"had no free slot ({then.slots} in all) or units when round {book.round} was opened",
        )
    return _Found(VerdictReason.OTHERS_LESS_LOADED, f"{len(book.eligible)} others were called, who were less taken")
