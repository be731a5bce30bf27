"""A tenant's work in numbers, from the coordinator's memory: for the operator's page and for the node's metrics."""

from collections import Counter
from heapq import nsmallest
from statistics import median

from agents.coordinating.calls import facts_of
from agents.coordinating.open_tasks import OpenTasks
from aggregates import agent as agents
from aggregates.coordination import CoordinationFigures, Scores
from aggregates.task import Stage
from aggregates.values.ranking import SCORE_DIGITS, agent_terms, in_force
from aggregates.values.weights import Weights

SCORED_MAX = 1000
"""Of how many active agents the scores are told: the first by name. Scoring all of ten thousand would hold the node up for a moment."""


def overview(memory: OpenTasks, at: float, weights: Weights | None) -> CoordinationFigures:
    """How many agents and tasks stand where, how tasks have ended since the journal began, and what the active agents' scores are."""
    waiting, bidding = len(memory.waiting), len(memory.books)
    held = sum(len(agent.held) for agent in memory.agents.values())
    ended = {stage: memory.ended_by_stage.get(stage, 0) for stage in sorted(memory.ended_by_stage)}
    all_ended = sum(ended.values())
    return CoordinationFigures(
        agents=dict(sorted(Counter(agent.stage.value for agent in memory.agents.values()).items())),
        tasks={
            "blocked": len(memory.tasks) - waiting - bidding - held,
            "waiting": waiting,
            "bidding": bidding,
            "held": held,
        },
        ended=ended,
        completion_rate=ended.get(Stage.COMPLETED.value, 0) / all_ended if all_ended else None,
        scores=spread(scores_of(memory, at, weights)),
    )


def scores_of(memory: OpenTasks, at: float, weights: Weights | None) -> list[float]:
    """What active agents are worth before they bid, by name."""
    active = (agent for agent in memory.agents.values() if agent.stage is agents.Stage.ACTIVE)
    some = nsmallest(SCORED_MAX, active, key=lambda agent: agent.agent_id)
    of_score = in_force(weights)
    return [agent_terms(facts_of(agent, ()), at).score(of_score) for agent in some]


def spread(scores: list[float]) -> Scores | None:
    """The least, the middle and the most of them; None where there are none."""
    if not scores:
        return None
    least, middle, most = (round(one, SCORE_DIGITS) for one in (min(scores), median(scores), max(scores)))
    return Scores(agents=len(scores), least=least, median=middle, most=most)
