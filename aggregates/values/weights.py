"""What each part of a bid's score weighs."""

from msgspec import Struct

from aggregates.values.numbers import Share


class Weights(Struct, frozen=True, kw_only=True):
    """The agent's share in a score and what makes it; what makes the bid's part. Each of the two adds up to 1."""

    agent_share: Share
    load: Share
    performance: Share
    success: Share
    response: Share
    price: Share
    speed: Share
    confidence: Share
