"""Why a task is where it is: what it waits for, who was called, and why each agent was not called or did not win.

Eligibility is asked of the same predicates that `decide` asks, an award is told from its own record. Nothing here reads a clock or a
journal: the story and the facts are all there is.
"""

from agents.coordinating.hours import duty_at
from agents.explaining.explanation import (
    AgentFacts,
    AttemptTold,
    BookTold,
    Explanation,
    Facts,
    HeldTask,
    PlaceInLine,
    Wait,
    WaitReason,
)
from agents.explaining.rankings import places
from agents.explaining.story import Attempt, Book, Story
from agents.explaining.verdicts import doers_of, verdict
from aggregates import agent as agents
from aggregates.task import ENDED, Stage, hold_until, over_at
from aggregates.values.capacity import fits
from aggregates.values.no_bids import NoWinner
from aggregates.values.queues import queue_of
from aggregates.values.skill_terms import serve
from aggregates.values.skills import missing

NAMES_TOLD_MAX = 5
"""How many names stand in a sentence; the fields hold all."""


def explain(story: Story, facts: Facts, following: int | None = None) -> Explanation:
    """Why the task stands where it does; `following` leads to the agents after those that the facts speak of."""
    waits = _waits(story, facts)
    return Explanation(
        task_id=story.asked.task_id,
        stage=story.stage,
        since=story.since,
        at=facts.at,
        summary=_summary(story, waits),
        waits_for=waits,
        line=_line(story, facts) if story.stage is Stage.SUBMITTED else None,
        award_policy=story.asked.award_policy,
        schema_version=story.asked.schema_version,
        book=_book(story.book) if story.book is not None else None,
        attempt=_attempt(story.attempt, story.attempts_max) if story.attempt is not None else None,
        ended_reason=story.reason if story.stage in ENDED else "",
        agents=tuple(verdict(story, facts, agent) for agent in facts.agents),
        next=following,
    )


def _summary(story: Story, waits: tuple[Wait, ...]) -> str:
    if waits:
        others = f", and {len(waits) - 1} more" if len(waits) > 1 else ""
        return f"waits: {waits[0].detail}{others}"
    why = f": {story.reason}" if story.reason else ""
    return f"ended, {story.stage.value}{why}"


# ---- what it waits for


def _waits(story: Story, facts: Facts) -> tuple[Wait, ...]:
    match story.stage:
        case Stage.BLOCKED:
            return (*_not_yet(story, facts), *(_dependency(story, facts, name) for name in story.waiting_for))
        case Stage.SUBMITTED if max(story.not_before, story.resumes_at) > facts.at:
            return (*_not_yet(story, facts), *_stop(story, facts))
        case Stage.SUBMITTED:
            return (
                *_stop(story, facts),
                *_queue_pause(story, facts),
                *_pause(story, facts),
                *_key_full(facts, story),
                *_full(story, facts),
                _somebody(story, facts),
            )
        case Stage.BIDDING if story.book is not None:
            return (_open_book(story.book),)
        case Stage.AWARDED | Stage.RUNNING if story.attempt is not None:
            return (*_cancel(story.attempt), _holder(story, story.attempt))
    return ()


def _not_yet(story: Story, facts: Facts) -> tuple[Wait, ...]:
    if story.resumes_at > facts.at:
        detail = f"it is tried again after a delay: {story.reason}"
        return (Wait(reason=WaitReason.RETRY_DELAY, detail=detail, since=story.ready_at, until=story.resumes_at),)
    if story.not_before <= facts.at:
        return ()
    detail = "nobody is called for it before its time"
    return (Wait(reason=WaitReason.NOT_YET, detail=detail, since=story.ready_at, until=story.not_before),)


def _dependency(story: Story, facts: Facts, name: str) -> Wait:
    known = facts.dependencies.get(name)
    stage = known.stage if known is not None else Stage.UNKNOWN
    holder = f" by {known.agent_id}" if known is not None and known.agent_id else ""
    return Wait(
        reason=WaitReason.DEPENDENCY,
        detail=f"{name} is {stage.value}{holder}",
        since=known.since if known is not None else story.since,
        task_id=name,
        stage=stage,
        agents=(known.agent_id,) if known is not None and known.agent_id else (),
    )


def _stop(story: Story, facts: Facts) -> tuple[Wait, ...]:
    if not facts.stopped_at:
        return ()
    why = f": {facts.stop_reason}" if facts.stop_reason else ""
    detail = f"an operator has stopped giving work out{why}"
    return (Wait(reason=WaitReason.STOPPED, detail=detail, since=max(story.ready_at, facts.stopped_at)),)


def _queue_pause(story: Story, facts: Facts) -> tuple[Wait, ...]:
    if not facts.queue_paused_at:
        return ()
    why = f": {facts.queue_pause_reason}" if facts.queue_pause_reason else ""
    queue = queue_of(story.asked.queue, story.asked.task_type)
    detail = f"{facts.queue_paused_by or 'an operator'} has paused the queue {queue}{why}"
    return (Wait(reason=WaitReason.QUEUE_PAUSED, detail=detail, since=max(story.ready_at, facts.queue_paused_at)),)


def _pause(story: Story, facts: Facts) -> tuple[Wait, ...]:
    """A pause may end sooner than this: when somebody comes who can do it, or is free again."""
    if story.retry_at <= facts.at or story.book is None:
        return ()
    more = ", to more and for longer," if story.asked.no_bids.then is NoWinner.WIDEN else ""
    detail = f"round {story.book.round} found no winner ({story.book.reason}), it is offered again{more} after a pause"
    return (Wait(reason=WaitReason.PAUSE, detail=detail, since=story.ready_at, until=story.retry_at),)


def _key_full(facts: Facts, story: Story) -> tuple[Wait, ...]:
    key = facts.obstacles.key
    if key is None or key.taken < key.limit:
        return ()
    return (
        Wait(
            reason=WaitReason.CONCURRENCY_FULL,
            detail=f"tasks of {key.key} that are called for or held: {key.taken} of {key.limit}; {key.waiting} wait for a place",
            since=story.ready_at,
            agents=tuple(sorted({one.agent_id for one in key.holders if one.agent_id})),
            held=tuple(HeldTask(agent_id=one.agent_id, task_id=one.task_id, since=one.since) for one in key.holders),
        ),
    )


def _full(story: Story, facts: Facts) -> tuple[Wait, ...]:
    places = facts.obstacles.places
    if places.node_is_full:
        detail = f"tasks that are called for or held: {places.taken} of {places.places} on the node, {places.mine} of them yours"
        return (Wait(reason=WaitReason.NODE_FULL, detail=detail, since=story.ready_at),)
    if places.tenant_is_full:
        detail = f"tasks that are called for or held: {places.mine} of the {places.own} that you may have at a time"
        return (Wait(reason=WaitReason.TENANT_FULL, detail=detail, since=story.ready_at),)
    return ()


def _somebody(story: Story, facts: Facts) -> Wait:
    if story.asked.assign_to and (away := _assignee_away(story, facts)):
        return away
    able = [one for one in facts.able if one.stage is agents.Stage.ACTIVE and _may_be_for(story, one)]
    if not able:
        return _skills_missing(story, facts)
    excluded = {doer.agent_id for doer in doers_of(story, facts)}
    if lacking := _lacking(story, able, excluded):
        return lacking
    able = [one for one in able if _meets(story, one)]
    allowed = [one for one in able if one.agent_id not in excluded]
    if not allowed:
        return _all_excluded(story, facts, able, excluded)
    if not (programs := [one for one in allowed if not one.is_person]):
        return _taker(story, allowed)
    allowed = programs
    on_duty = [one for one in allowed if not duty_at(one.working_hours, facts.at).is_off(facts.at)]
    if not on_duty:
        return _off_hours(story, facts, allowed)
    allowed = on_duty
    if all(_is_busy(story, one) for one in allowed):
        return _all_busy(story, facts, allowed)
    free = sum(not _is_busy(story, one) for one in allowed)
    detail = (
        f"tasks that come first: {facts.ahead}, with the same skills: {facts.ahead_alike}; agents who are free for it: {free}; "
        f"rounds that are open and may take them: {facts.open_books}"
    )
    return Wait(reason=WaitReason.IN_LINE, detail=detail, since=story.ready_at)


def _may_be_for(story: Story, one: AgentFacts) -> bool:
    return story.asked.assign_to in ("", one.agent_id)


def _assignee_away(story: Story, facts: Facts) -> Wait | None:
    """The one agent that may have it is not there; since when: it left, or the task waits since."""
    name, one = story.asked.assign_to, facts.assignee
    if one is not None and one.stage is agents.Stage.ACTIVE:
        return None
    stage = one.stage if one is not None else agents.Stage.DEREGISTERED
    detail = f"it is meant for {name} alone, who is {stage.value}"
    since = max(story.ready_at, one.since if one is not None else 0.0)
    return Wait(reason=WaitReason.ASSIGNEE_MISSING, detail=detail, since=since, agents=(name,))


def _skills_missing(story: Story, facts: Facts) -> Wait:
    """Since when: the last one who had them all has left, or the task waits since."""
    if one := facts.assignee:
        unknown = missing(story.asked.capabilities, one.capabilities)
        detail = f"{one.agent_id}, for whom alone it is meant, lacks {_named(unknown)}"
        return Wait(
            reason=WaitReason.SKILLS_MISSING,
            detail=detail,
            since=story.ready_at,
            agents=(one.agent_id,),
            skills=unknown,
        )
    unknown = missing(story.asked.capabilities, facts.skills_offered)
    left = max((one.since for one in facts.able), default=0.0)
    if unknown:
        detail = f"no active agent has {_named(unknown)}"
    elif story.asked.capabilities:
        detail = f"no active agent has all of {_named(story.asked.capabilities)}"
    else:
        detail = "no agent is active"
    return Wait(reason=WaitReason.SKILLS_MISSING, detail=detail, since=max(story.ready_at, left), skills=unknown)


def _meets(story: Story, one: AgentFacts) -> bool:
    asked = story.asked
    return serve(one.skills, asked.skills) and (not asked.regions or one.region in asked.regions)


def _lacking(story: Story, able: list[AgentFacts], excluded: set[str]) -> Wait | None:
    """What none has of those who have the skills, beyond their names; None where somebody has it all, or did what it may not have done."""
    asked, since = story.asked, story.ready_at
    serving = [one for one in able if serve(one.skills, asked.skills)]
    if not serving:
        detail = "nobody who has the skills has them in such a version, with such attributes"
        return Wait(reason=WaitReason.SKILLS_UNFIT, detail=detail, since=since)
    near = [one for one in serving if _meets(story, one)]
    if not near:
        detail = f"nobody who has the skills is in {_named(asked.regions)}"
        return Wait(reason=WaitReason.REGION_MISSING, detail=detail, since=since)
    allowed = [one for one in near if one.agent_id not in excluded]
    if allowed and not any(fits(asked.units, one.max_capacity, 0.0) for one in allowed):
        detail = f"it takes {asked.units:g} units, more than anybody could hold who has the skills"
        return Wait(reason=WaitReason.CAPACITY_MISSING, detail=detail, since=since)
    return None


def _is_busy(story: Story, one: AgentFacts) -> bool:
    return one.running >= one.slots or not fits(story.asked.units, one.max_capacity, one.used)


def _all_excluded(story: Story, facts: Facts, able: list[AgentFacts], excluded: set[str]) -> Wait:
    names = tuple(sorted(one.agent_id for one in able))
    detail = f"all who have the skills did what it must be independent of: {_named(names)}"
    since = max([story.ready_at, *(one.since for one in facts.able if one.agent_id not in excluded)])
    return Wait(reason=WaitReason.ALL_EXCLUDED, detail=detail, since=since, agents=names)


def _who(story: Story) -> str:
    return "the one that it is meant for is" if story.asked.assign_to else "all who have the skills are"


def _off_hours(story: Story, facts: Facts, allowed: list[AgentFacts]) -> Wait:
    """Until the first of them is on duty again."""
    back = {one.agent_id: duty_at(one.working_hours, facts.at).since for one in allowed}
    names = tuple(sorted(back))
    detail = f"{_who(story)} off duty: {_named(names)}"
    until = min(back.values())
    return Wait(reason=WaitReason.OFF_HOURS, detail=detail, since=story.ready_at, until=until, agents=names)


def _taker(story: Story, people: list[AgentFacts]) -> Wait:
    """Since it waits: nobody calls people."""
    names = tuple(sorted(one.agent_id for one in people if one.agent_id not in story.declined))
    if names:
        detail = f"it is in the inbox of {len(names)} who could do it, and nobody has taken it yet"
    else:
        names = tuple(sorted(story.declined))
        detail = "all who could do it are people, and will not take it"
    return Wait(reason=WaitReason.TAKER, detail=detail, since=story.ready_at, agents=names)


def _all_busy(story: Story, facts: Facts, allowed: list[AgentFacts]) -> Wait:
    names = tuple(sorted(one.agent_id for one in allowed))
    held = tuple(one for one in facts.held if one.agent_id in names)
    since = max([story.ready_at, *(one.since for one in held)])
    detail = f"{_who(story)} busy: {_named(names)}"
    return Wait(reason=WaitReason.ALL_BUSY, detail=detail, since=since, agents=names, held=held)


def _open_book(book: Book) -> Wait:
    detail = f"round {book.round} is open, answers not in yet: {len(book.awaited)} of {len(book.eligible)}"
    if book.is_revealing:
        detail = f"round {book.round}: sealed bids are being opened, not yet: {len(book.awaited)} of {len(book.sealed)}"
    return Wait(
        reason=WaitReason.BOOK_OPEN, detail=detail, since=book.opened_at, until=book.closes_at, agents=book.awaited
    )


def _cancel(attempt: Attempt) -> tuple[Wait, ...]:
    event = attempt.cancel
    if event is None:
        return ()
    why = f": {event.reason}" if event.reason else ""
    detail = f"{event.agent_id} is to stop, and may still finish until then{why}"
    since, names = attempt.cancel_at, (event.agent_id,)
    return (Wait(reason=WaitReason.CANCEL, detail=detail, since=since, until=event.cancel_by, agents=names),)


def _holder(story: Story, attempt: Attempt) -> Wait:
    event = attempt.event
    is_running = story.stage is Stage.RUNNING
    is_waiting = attempt.asked_at > 0
    until = over_at(event.awarded_at, story.budget_seconds, attempt.input_seconds, is_waiting=is_waiting)
    if event.is_person:
        until = hold_until(attempt.held_since, event.lease_seconds, is_waiting=is_waiting)
    if attempt.asked_at:
        detail = f"{event.agent_id} has asked a question and waits for the answer"
        return Wait(
            reason=WaitReason.INPUT, detail=detail, since=attempt.asked_at, until=until, agents=(event.agent_id,)
        )
    return Wait(
        reason=WaitReason.RESULT if is_running else WaitReason.START,
        detail=f"{event.agent_id} has it and {'works' if is_running else 'has not said that it began'}",
        since=story.since,
        until=until,
        agents=(event.agent_id,),
    )


def _named(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:NAMES_TOLD_MAX])
    return f"{shown} and {len(names) - NAMES_TOLD_MAX} more" if len(names) > NAMES_TOLD_MAX else shown


def _line(story: Story, facts: Facts) -> PlaceInLine:
    waited = max(0.0, facts.at - max(story.waits_since, story.not_before))
    gained = waited * facts.aging.rate
    return PlaceInLine(
        priority=story.priority,
        waited_seconds=waited,
        gained=gained,
        effective_priority=story.priority + gained,
        ahead=facts.ahead,
        ahead_alike=facts.ahead_alike,
    )


# ---- what has been


def _book(book: Book) -> BookTold:
    return BookTold(
        round=book.round,
        position=book.position,
        opened_at=book.opened_at,
        closes_at=book.closes_at,
        ended_at=book.ended_at or None,
        outcome=book.outcome,
        reason=book.reason,
        called=len(book.eligible),
        answered=len(book.eligible) - len(book.awaited),
        widening=book.widening,
        ranking=places(book),
        batch=book.batch,
    )


def _attempt(attempt: Attempt, attempts_max: int) -> AttemptTold:
    event = attempt.event
    return AttemptTold(
        agent_id=event.agent_id,
        attempt=event.attempt,
        attempts_max=attempts_max,
        awarded_at=event.awarded_at,
        started_at=attempt.started_at or None,
        price=event.price,
        price_asked=event.price if event.price_asked is None else event.price_asked,
        eta_seconds=event.eta_seconds,
        reason=event.reason,
        over_at=attempt.over_at or None,
        over_reason=attempt.over_reason,
    )
