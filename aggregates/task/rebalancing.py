"""Whether a task that was not begun is taken back, since somebody else would be clearly better for it now.

Holder and candidates are measured alike: what each is worth as an agent, with all that it holds but for this task, less the share of that
with which it is late. A task moves for more than `gain` alone, so that two of whom neither is better by that never exchange it; and each
move doubles the time until the next, so that it moves few times however things go.
"""

from collections.abc import Sequence
from typing import NamedTuple

from aggregates.task.commands import RebalanceTask
from aggregates.task.eligibility import unfit, wanted
from aggregates.task.events import TaskRebalanced
from aggregates.task.state import Task
from aggregates.task.terms import Candidate, Contender, Stage
from aggregates.values.ranking import SCORE_DIGITS, agent_terms, in_force
from aggregates.values.weights import Weights

DOUBLINGS_MAX = 20
"""So often the time between two moves of a task is doubled at most."""


class Better(NamedTuple):
    """Who would be best for a task, and what it and the holder are worth."""

    agent_id: str
    score: float
    holder_score: float


def rest_until(awarded_at: float, rest_seconds: float, moves: int) -> float:
    """Until when a task stays where it is that was moved so often before."""
    return awarded_at + rest_seconds * 2.0 ** min(moves, DOUBLINGS_MAX)


def late(contender: Contender, at: float) -> float:
    """With how much of what it has promised somebody is over its time."""
    promised = contender.promised
    return sum(moment < at for moment in promised) / len(promised) if promised else 0.0


def worth(contender: Contender, at: float, weights: Weights | None) -> float:
    """What somebody is worth for a task that it would have beside what it holds."""
    if not contender.is_active:
        return 0.0
    score = agent_terms(contender.facts, at).score(in_force(weights)) * (1 - late(contender, at))
    return round(score, SCORE_DIGITS)


def better(
    holder: Contender, candidates: Sequence[Contender], gain: float, at: float, weights: Weights | None
) -> Better | None:
    """The best of the candidates, where it is worth more than the holder by more than `gain`."""
    scores = sorted((-worth(one, at, weights), one.facts.agent_id) for one in candidates)
    if not scores:
        return None
    found = Better(scores[0][1], -scores[0][0], worth(holder, at, weights))
    return found if round(found.score - found.holder_score, SCORE_DIGITS) > gain else None


def rebalance(task: Task, command: RebalanceTask) -> Sequence[TaskRebalanced]:
    if task.stage is not Stage.AWARDED or command.token != task.attempt:
        return []
    if task.is_assigned or task.is_person or task.cancel_by or task.question_at or command.gain <= 0:
        return []
    if command.at < rest_until(task.awarded_at, command.rest_seconds, task.moves):
        return []
    asks = wanted(
        task.capabilities,
        task.independent_of,
        command.doers,
        units=task.units,
        skills=task.skills,
        regions=task.regions,
        duties=command.duties,
        at=command.at,
        only=task.assign_to,
    )
    others = [one for one in command.candidates if one.is_active and one.facts.agent_id != task.assignee]
    able = [one for one in others if unfit(_as_candidate(one), asks) is None]
    found = better(command.holder, able, command.gain, command.at, command.weights)
    if found is None or command.holder.facts.agent_id != task.assignee:
        return []
    return [
        TaskRebalanced(
            task_id=command.task_id,
            agent_id=task.assignee,
            token=task.attempt,
            attempts_max=task.attempts_max + 1,
            score=found.holder_score,
            better=found.agent_id,
            better_score=found.score,
        )
    ]


def _as_candidate(contender: Contender) -> Candidate:
    facts, offered = contender.facts, contender.offered
    return Candidate(
        agent_id=facts.agent_id,
        capabilities=offered.capabilities,
        slots=facts.slots,
        running=facts.running,
        max_capacity=facts.max_capacity,
        used=facts.used,
        skills=offered.skills,
        region=offered.region,
        position=facts.position,
    )
