"""Who may be called for a task: the reasons that speak against an agent, in the order in which they are asked.

What `decide` computes and what an explanation tells are answers to these same questions. A new one gets its line in the table where it
belongs: a reason that an agent can do nothing about comes before one that passes by itself.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from aggregates.task.terms import Candidate, Doer, Duty, StallReason
from aggregates.values.capacity import fits
from aggregates.values.skill_terms import SkillNeed, serve

Unfit = Literal[
    "meant_for_another",
    "skill_missing",
    "skill_unfit",
    "region_elsewhere",
    "excluded",
    "capacity_small",
    "off_hours",
    "slots_full",
    "capacity_full",
]
"""Why an agent can't be called: the task is meant for another; it lacks a skill, or has it in another version or with other attributes;
it is in another region; it did what the task must be independent of; it could never hold so many units; it is off duty; it has no free
slot, or not so many units left."""


class Wanted(NamedTuple):
    """What a task asks of those who are called for it. `excluded` are the doers of what it must be independent of; `only` is who alone
    may be called, where that is somebody."""

    capabilities: frozenset[str]
    excluded: frozenset[str]
    units: float = 0.0
    skills: tuple[SkillNeed, ...] = ()
    regions: tuple[str, ...] = ()
    off_duty: frozenset[str] = frozenset()
    only: str = ""


Predicate = Callable[[Candidate, Wanted], bool]
Reasons = Sequence[tuple[Unfit, Predicate]]


def _meant_for_another(candidate: Candidate, wanted: Wanted) -> bool:
    return wanted.only not in ("", candidate.agent_id)


def _skill_missing(candidate: Candidate, wanted: Wanted) -> bool:
    return not wanted.capabilities.issubset(candidate.capabilities)


def _skill_unfit(candidate: Candidate, wanted: Wanted) -> bool:
    return not serve(candidate.skills, wanted.skills)


def _region_elsewhere(candidate: Candidate, wanted: Wanted) -> bool:
    return bool(wanted.regions) and candidate.region not in wanted.regions


def _excluded(candidate: Candidate, wanted: Wanted) -> bool:
    return candidate.agent_id in wanted.excluded


def _capacity_small(candidate: Candidate, wanted: Wanted) -> bool:
    return not fits(wanted.units, candidate.max_capacity, 0.0)


def _capacity_full(candidate: Candidate, wanted: Wanted) -> bool:
    return not fits(wanted.units, candidate.max_capacity, candidate.used)


def _off_hours(candidate: Candidate, wanted: Wanted) -> bool:
    return candidate.agent_id in wanted.off_duty


def _slots_full(candidate: Candidate, wanted: Wanted) -> bool:
    return candidate.running >= candidate.slots


LASTING: Reasons = (
    ("meant_for_another", _meant_for_another),
    ("skill_missing", _skill_missing),
    ("skill_unfit", _skill_unfit),
    ("region_elsewhere", _region_elsewhere),
    ("excluded", _excluded),
    ("capacity_small", _capacity_small),
)
"""What holds whether an agent is busy or not."""

OFF_HOURS: tuple[Unfit, Predicate] = ("off_hours", _off_hours)
"""What passes by the clock."""

REASONS: Reasons = (*LASTING, OFF_HOURS, ("slots_full", _slots_full), ("capacity_full", _capacity_full))
"""All that speaks against an agent."""

STALLING: Reasons = (*LASTING, OFF_HOURS)
"""What keeps a task from being called for, however long it waits for somebody to be free."""

STALLS: Sequence[tuple[Unfit, StallReason]] = (
    ("off_hours", "off_hours"),
    ("capacity_small", "capacity_missing"),
    ("excluded", "all_excluded"),
    ("region_elsewhere", "region_missing"),
    ("skill_unfit", "skills_unfit"),
    ("skill_missing", "skills_missing"),
    ("meant_for_another", "assignee_missing"),
)
"""What a task lacks where the agents that come nearest to it come so far."""


def wanted(
    capabilities: Iterable[str],
    independent_of: Sequence[str],
    doers: Iterable[Doer],
    *,
    units: float = 0.0,
    skills: tuple[SkillNeed, ...] = (),
    regions: tuple[str, ...] = (),
    duties: Iterable[Duty] = (),
    at: float = 0.0,
    only: str = "",
) -> Wanted:
    """What a task with these skills, independent of those tasks, asks for at a moment, where these did them and are on duty then."""
    excluded = frozenset(doer.agent_id for doer in doers if doer.task_id in independent_of)
    off_duty = frozenset(duty.agent_id for duty in duties if not duty.since <= at < duty.until)
    return Wanted(frozenset(capabilities), excluded, units, skills, regions, off_duty, only)


def unfit(candidate: Candidate, wanted: Wanted, reasons: Reasons = REASONS) -> Unfit | None:
    """The first of the reasons that holds; None where none does."""
    for reason, holds in reasons:
        if holds(candidate, wanted):
            return reason
    return None


def fit(candidates: Iterable[Candidate], wanted: Wanted) -> list[Candidate]:
    """Those of whom no reason holds: one reason after the other, which takes half the time of asking all of each."""
    left = list(candidates)
    for _, holds in REASONS:
        left = [candidate for candidate in left if not holds(candidate, wanted)]
    return left
