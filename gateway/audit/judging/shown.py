"""What the books show of an agent or a task, in the form in which commands tell it."""

from collections.abc import Iterable
from typing import Any

from agents.coordinating.calls import distance
from aggregates.task import NoteStall, Task
from aggregates.values.ranking import BidderFacts
from aggregates.values.reputation import Recent
from aggregates.values.skill_terms import evidence, serve
from gateway.audit.ledger import Account, Books, Standing


def views(books: Books, agent_id: str) -> list[Standing]:
    """How an agent stood before the step, and stands now."""
    return [one for one in (books.standing(agent_id), books.now(agent_id)) if one is not None] or [_NONE]


_NONE = Standing(0, Account().profile, 0, Recent(), Recent())
"""How an agent stands that there is not."""


def as_candidate(one: Standing, task: Task, counts_units: bool) -> tuple[Any, ...]:
    """As a call tells it."""
    needed = sorted(frozenset(one.profile.capabilities).intersection(task.capabilities))
    shown = (*capacity_of(one, counts_units), evidence(task.skills, one.profile.skills), _region(one, task))
    return (one.position, needed, one.profile.slots, one.running, *shown, one.is_active)


def as_offer(one: Standing, task: Task) -> tuple[Any, ...]:
    """What it has of what the task needs."""
    needed = frozenset(one.profile.capabilities).intersection(task.capabilities)
    return (needed, evidence(task.skills, one.profile.skills), _region(one, task))


def meets(one: Standing, task: Task) -> bool:
    """Whether it is what a task asks for beyond the names of skills."""
    return serve(one.profile.skills, task.skills) and (not task.regions or one.profile.region in task.regions)


def _region(one: Standing, task: Task) -> str:
    return one.profile.region if task.regions else ""


def capacity_of(one: Standing, counts_units: bool) -> tuple[Any, ...]:
    """Its units, where the rules know of them."""
    return (one.profile.max_capacity, one.used) if counts_units else ()


def kind_of(one: Standing, counts_units: bool) -> tuple[Any, ...]:
    """Its type, where the rules know of it."""
    return (one.profile.agent_type,) if counts_units else ()


def distance_of(name: str, one: Standing, task: Task, command: NoteStall) -> tuple[bool, bool, bool, float]:
    """How far it is from being one who could do the task."""
    excluded = any(doer.agent_id == name for doer in command.doers)
    serves = serve(one.profile.skills, task.skills)
    return distance(meets(one, task), serves, excluded, one.profile.max_capacity)


def told_of_bidder(said: BidderFacts, topics: Iterable[str]) -> tuple[Any, ...]:
    """What a ranking is told of a bidder."""
    counts = (said.completed, said.failed, said.kept_sum, said.answers, said.answer_seconds_sum)
    past = counts if said.recent is None else (said.recent, *counts)
    special = not frozenset(said.specializations).isdisjoint(topics)
    return (said.position, said.slots, said.running, said.lease_seconds, said.is_person, special, *past, True)


def as_bidder(one: Standing, topics: Iterable[str], *, has_recent: bool) -> tuple[Any, ...]:
    """The same, as the books show it."""
    counts = one.counts
    counted = (counts.succeeded, counts.failed, counts.kept, counts.answers, counts.answer_seconds)
    past = (one.recent, 0, 0, 0.0, 0, 0.0) if has_recent else counted
    special = not frozenset(one.profile.specializations).isdisjoint(topics)
    profile = one.profile
    load = (profile.slots, one.running, profile.lease_seconds, bool(profile.user_id))
    return (one.position, *load, special, *past, one.is_active)
