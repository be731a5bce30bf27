"""The inbox of a person: what waits that they could take, what they hold, and how they take it.

A person's answer would take hours, so no book waits for one: they come. Whoever else is free when they do is called, too, and the book
is closed as any other; where nobody is, the call, the bid and the award are one step, and the task is theirs or it is not.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from heapq import merge
from typing import Any, Literal

from msgspec.structs import replace

from agents.coordinating.calls import Decision, award, call_for, called_min, candidates, listed_prices
from agents.coordinating.entries import AgentEntry, TaskEntry
from agents.coordinating.entries import Place as Waits
from agents.coordinating.keys import is_full
from agents.coordinating.open_tasks import OpenTasks
from agents.coordinating.terms import Terms
from agents.coordinating.turns import Walk
from agents.coordinating.waiting import Line
from aggregates import agent as agents
from aggregates.agent import DeregisterAgent, person_of
from aggregates.subject import SubjectErased
from aggregates.task import (
    BidPlaced,
    BookOpened,
    FindInbox,
    Holding,
    Inbox,
    Offering,
    PlaceBid,
    Stage,
    TakeTask,
    Taking,
    TaskAwarded,
    stream,
)
from aggregates.task.eligibility import Unfit, unfit, wanted
from aggregates.task.inbox import Place
from aggregates.user import UserChanged, UserDisabled, UserRemoved
from aggregates.values.price_list import price_of
from aggregates.values.roles import Permission, granted
from runtime.actor import Effect, Reply, reply
from runtime.errors import Refused
from runtime.records import Recorded

LOOKS_MAX = 2_000
"""How many waiting tasks are looked at for one page: those that a person has declined are passed over, and the next page goes on there."""

HeldBack = Literal["coordination_stopped", "queue_paused", "begins_later", "concurrency_full"]
"""Why a task is given to nobody."""

PASSING: tuple[Unfit, ...] = ("slots_full", "capacity_full")
"""What passes by itself: the person could take it later."""


def person(memory: OpenTasks, agent_id: str) -> AgentEntry:
    """The agent that somebody is. Raises Refused where they have not joined, or are leaving."""
    agent = memory.agents.get(agent_id)
    if agent is None or agent.stage is agents.Stage.DEREGISTERED:
        raise Refused("inbox_unknown", "say first what you can do: PUT /v1/inbox/profile", status=404)
    if agent.stage is not agents.Stage.ACTIVE:
        raise Refused("inbox_closed", f"{agent_id} is {agent.stage.value}, and takes nothing new")
    return agent


# ---- taking


def take(memory: OpenTasks, terms: Terms, command: TakeTask) -> Effect | Reply:
    """Opens a book, bids in it, and closes it where nobody else was called. Raises Refused where the person can't have the task now."""
    agent, task = person(memory, command.agent_id), memory.tasks.get(command.task_id)
    if task is None:
        ended = memory.ended.get(command.task_id)
        if ended is None:
            raise Refused("task_unknown", command.task_id, status=404)
        raise Refused(f"task_is_{ended.stage.value}", command.task_id)
    if task.assignee == agent.agent_id:
        return reply(command, _held(task, command))
    if task.stage is Stage.BIDDING and agent.agent_id in task.eligible:
        bidding = _bidding(task, agent, command)
        return Effect([_bid(task, agent, command)], lambda recorded: reply(command, bidding))
    _check_waits(memory, task, command.at)
    _check_fits(memory, agent, task, command.price)
    memory.rota.turn(command.at)
    walk = _others(memory, task)
    others = walk.take(_called_max(memory, task)) if walk is not None else []
    passed_over = walk is not None and walk.has_more()
    opening = replace(call_for(memory, task, [agent.agent_id, *others], passed_over=passed_over), taker=agent.agent_id)
    decisions: list[Decision] = [(stream(task.task_id), opening), _bid(task, agent, command)]
    if not others and not task.is_batched:
        decisions.append(_award(memory, terms, task, agent))
    return Effect(decisions, lambda recorded: reply(command, _taken(recorded, command)))


def _check_waits(memory: OpenTasks, task: TaskEntry, at: float) -> None:
    if task.assignee:
        raise Refused("task_taken", f"{task.assignee} has {task.task_id}")
    if task.stage is Stage.BIDDING:
        raise Refused(
            "others_are_asked", f"for {task.closes_at - at:.1f} s yet; then somebody has it, or it waits again"
        )
    if task.stage is not Stage.SUBMITTED:
        raise Refused(f"task_is_{task.stage.value}", task.task_id)
    if not task.is_takeable:
        raise Refused("not_for_people", f"{task.task_id} is a dry run, or takes sealed bids")
    if why := _held_back(memory, task, at):
        raise Refused(why, f"{task.task_id} is not given out now")


def _held_back(memory: OpenTasks, task: TaskEntry, at: float) -> HeldBack | None:
    """Why nobody is given the task now, whoever that is."""
    if memory.stopped_at:
        return "coordination_stopped"
    if task.queue in memory.paused:
        return "queue_paused"
    if task.not_before > at:
        return "begins_later"
    if task.concurrency is not None and is_full(memory, task.concurrency):
        return "concurrency_full"
    return None


def _check_fits(memory: OpenTasks, agent: AgentEntry, task: TaskEntry, asked: float | None) -> None:
    if reason := _unfit(memory, agent, task):
        raise Refused(reason, f"{task.task_id} is not for {agent.agent_id}", status=409 if reason in PASSING else 422)
    price = asked if asked is not None else _price(agent, task)
    if task.price_max is not None and price > task.price_max:
        raise Refused("price_over_budget", f"{price:g} is asked, {task.price_max:g} is the most", status=422)


def _unfit(memory: OpenTasks, agent: AgentEntry, task: TaskEntry) -> Unfit | None:
    """The first reason that speaks against the person; their hours are their own affair when they come by themselves."""
    (candidate,) = candidates(memory, task, [agent.agent_id])
    asked = wanted(
        task.capabilities,
        task.independent_of,
        task.doers,
        units=task.units,
        skills=task.skills,
        regions=task.regions,
        only=task.assign_to,
    )
    return unfit(candidate, asked)


def _price(agent: AgentEntry, task: TaskEntry) -> float:
    return price_of(listed_prices(task, agent), task.topics)


def _eta(task: TaskEntry, agent: AgentEntry, at: float) -> float:
    """As long as the task is said to take, or as they keep one without a word; never past its deadline."""
    seconds = task.estimated_duration or agent.lease_seconds
    return min(seconds, task.deadline - at) if task.deadline is not None and task.deadline > at else seconds


def _others(memory: OpenTasks, task: TaskEntry) -> Walk | None:
    """The programs that are free for it, as it is their turn."""
    line = memory.waiting.line_of(task.task_id)
    return memory.supply.walk(line, task.units, memory.supply.round()) if memory.supply.has_free(line) else None


def _called_max(memory: OpenTasks, task: TaskEntry) -> int:
    """How many of them are called: as few as one book calls where many are open."""
    line = memory.waiting.line_of(task.task_id)
    return task.no_bids.called(task.widening, called_min(line.needs, line.skills))


def _bid(task: TaskEntry, agent: AgentEntry, command: TakeTask) -> Decision:
    bid = PlaceBid(
        task_id=task.task_id,
        agent_id=agent.agent_id,
        price=command.price,
        eta_seconds=command.eta_seconds or _eta(task, agent, command.at),
        confidence=command.confidence,
        conditions=command.conditions,
        listed=listed_prices(task, agent) if command.price is None else None,
    )
    return (stream(task.task_id), bid)


def _award(memory: OpenTasks, terms: Terms, task: TaskEntry, agent: AgentEntry) -> Decision:
    """The award of a book that has yet to open: its only bidder is known."""
    alone = replace(task, round=task.round + 1, bidders={agent.agent_id}, opened_position=agent.offered_position)
    return award(memory, alone, terms.weights)


def _held(task: TaskEntry, command: TakeTask) -> Taking:
    return Taking(
        task_id=task.task_id,
        agent_id=command.agent_id,
        stage=task.stage,
        round=task.round,
        price=task.price,
        token=task.token,
        seconds_left=max(0.0, task.hold_until - command.at),
    )


def _bidding(task: TaskEntry, agent: AgentEntry, command: TakeTask) -> Taking:
    return Taking(
        task_id=task.task_id,
        agent_id=command.agent_id,
        stage=Stage.BIDDING,
        round=task.round,
        price=command.price if command.price is not None else _price(agent, task),
        closes_at=task.closes_at,
    )


def _taken(recorded: Sequence[Recorded], command: TakeTask) -> Taking:
    """As the records of the step tell it."""
    told: dict[str, Any] = {"stage": Stage.BIDDING}
    for record in recorded:
        match record.event:
            case BookOpened() as event:
                told |= {"round": event.round, "closes_at": event.closes_at}
            case BidPlaced() as event:
                told["price"] = event.price
            case TaskAwarded() as event:
                told |= {"stage": Stage.AWARDED, "price": event.price, "token": event.token}
                told |= {"seconds_left": event.lease_seconds, "closes_at": None}
    return Taking(task_id=command.task_id, agent_id=command.agent_id, **told)


# ---- looking


def inbox_of(memory: OpenTasks, terms: Terms, question: FindInbox) -> Inbox | None:
    """What is in somebody's inbox; None where they have none."""
    agent, at = memory.agents.get(question.agent_id), question.at
    if agent is None or agent.stage is agents.Stage.DEREGISTERED:
        return None
    memory.rota.turn(at)
    if question.only:
        task = memory.tasks.get(question.only)
        found = [task] if task is not None and task.stage is Stage.SUBMITTED and _could(memory, agent, task) else []
        following = None
    else:
        found, following = _waiting(memory, terms, agent, question)
    bids = (memory.tasks[name] for name in memory.books if agent.agent_id in memory.tasks[name].eligible)
    held = (memory.tasks[name] for name in sorted(agent.held))
    return Inbox(
        agent_id=agent.agent_id,
        stage=agent.stage,
        is_on_duty=not memory.rota.duty(agent.agent_id).is_off(at),
        slots=agent.slots,
        offers=tuple(_offering(memory, agent, task, at) for task in found),
        bids=tuple(_offering(memory, agent, task, at) for task in bids if question.only in ("", task.task_id)),
        held=tuple(_holding(task, terms, at) for task in held if question.only in ("", task.task_id)),
        next=following,
    )


def _waiting(
    memory: OpenTasks, terms: Terms, agent: AgentEntry, question: FindInbox
) -> tuple[list[TaskEntry], Place | None]:
    """The most urgent of the waiting tasks that they could do, and after which place others may follow."""
    lines = [line for line in memory.waiting.lines.values() if _serves(memory, agent, line)]
    ahead = merge(*(_places(terms, line, question.after) for line in lines))
    found: list[TaskEntry] = []
    last = question.after
    for looks, (place, name) in enumerate(ahead):
        if len(found) >= question.most or looks >= LOOKS_MAX:
            return found, last
        task, last = memory.tasks[name], place
        if agent.agent_id not in task.declined and task.is_takeable and task.not_before <= question.at:
            found.append(task)
    return found, None


def _serves(memory: OpenTasks, agent: AgentEntry, line: Line) -> bool:
    """Whether they could do the line's tasks at all, however much they hold."""
    if not line.is_served_by(agent.offer) or not line.may_call(agent.agent_id):
        return False
    return not line.has_units or min(line.sizes) <= agent.max_capacity


def _could(memory: OpenTasks, agent: AgentEntry, task: TaskEntry) -> bool:
    return _serves(memory, agent, memory.waiting.line_of(task.task_id)) and task.is_takeable


def _places(terms: Terms, line: Line, after: Place | None) -> Iterator[tuple[Place, str]]:
    """The line's tasks past a place, the most urgent first, whether they rest or not: a person comes before a pause is over."""

    def standing(place: Waits) -> Place:
        since, position, _ = place
        return terms.aging.order(line.priority, since), since, position

    resting = sorted(place for _, place in (*line.resting.values(), *line.later.values()))

    def past(places: list[Waits]) -> Iterator[Waits]:
        passed = 0 if after is None else bisect_right(places, after, key=standing)
        return map(places.__getitem__, range(passed, len(places)))

    for place in merge(past(line.ready), past(resting)):
        yield standing(place), place[2]


def _offering(memory: OpenTasks, agent: AgentEntry, task: TaskEntry, at: float) -> Offering:
    is_bidding = task.stage is Stage.BIDDING
    return Offering(
        task_id=task.task_id,
        price=_price(agent, task),
        eta_seconds=_eta(task, agent, at),
        obstacle="" if is_bidding else _obstacle(memory, agent, task, at),
        closes_at=task.closes_at if is_bidding else None,
    )


def _obstacle(memory: OpenTasks, agent: AgentEntry, task: TaskEntry, at: float) -> str:
    """Why they may not take it now; empty where they may."""
    if agent.stage is not agents.Stage.ACTIVE:
        return "inbox_closed"
    if why := _held_back(memory, task, at) or _unfit(memory, agent, task):
        return why
    is_dear = task.price_max is not None and _price(agent, task) > task.price_max
    return "price_over_budget" if is_dear else ""


def _holding(task: TaskEntry, terms: Terms, at: float) -> Holding:
    left = max(0.0, task.hold_until - at)
    return Holding(
        task_id=task.task_id,
        token=task.token,
        seconds_left=round(left, 3),
        ends_soon=not task.question_at and left < task.lease_seconds * terms.grace_share,
        cancel_seconds_left=round(max(0.0, task.cancel_by - at), 3) if task.cancel_by else None,
    )


# ---- leaving


def gone(
    memory: OpenTasks, tenant: str, event: UserChanged | UserDisabled | UserRemoved | SubjectErased
) -> list[Decision]:
    """Who is not let in any more, or has no inbox by their role, leaves; what they held is offered to others."""
    match event:
        case UserDisabled():
            user_id, why = event.user_id, "the user was disabled"
        case UserRemoved():
            user_id, why = event.user_id, "the user was removed"
        case UserChanged() if event.role is not None and Permission.INBOX_WORK not in granted(event.role, ()):
            user_id, why = event.user_id, f"the role {event.role.value} has no inbox"
        case SubjectErased():
            user_id, why = event.data_subject, ""
        case _:
            return []
    agent = memory.agents.get(person_of(user_id))
    if agent is None or agent.stage is agents.Stage.DEREGISTERED:
        return []
    leave = DeregisterAgent(agent_id=agent.agent_id, reason=why)
    return [(agents.stream(tenant, agent.agent_id), leave)]
