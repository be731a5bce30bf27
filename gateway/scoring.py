"""How bids are scored, from the settings to the coordinator."""

from aggregates.values.ranking import in_force
from aggregates.values.weights import Weights
from gateway.settings import GavelSettings


def score_weights(settings: GavelSettings) -> Weights | None:
    """What the operator has set; None where that is the usual, so that records need not say it each time."""
    of_agent, of_bid = settings.performance_weight, settings.bid_weight
    weights = Weights(
        agent_share=settings.score_agent_share,
        load=of_agent.current_load,
        performance=of_agent.performance_score,
        success=of_agent.success_rate,
        response=of_agent.response_time,
        price=of_bid.price,
        speed=of_bid.speed,
        confidence=of_bid.confidence,
    )
    return None if weights == in_force(None) else weights
