"""What the operator may set of the coordination."""

from typing import NamedTuple

from aggregates import agent as agents
from aggregates.values.weights import Weights


class Terms(NamedTuple):
    """What the operator may set."""

    lease_seconds: float = 120.0
    grace_share: float = 0.25
    """The last part of a lease's term: who is silent that long is suspected, and lost at its end."""
    budget_seconds_max: float = 3600.0
    bidding_seconds_max: float = 60.0
    attempts_max: int = 4
    cycle_seconds: float = 30.0
    max_capacity: float = agents.MAX_CAPACITY
    lease_seconds_min: float = agents.LEASE_SECONDS_MIN
    lease_seconds_max: float = agents.LEASE_SECONDS_MAX
    weights: Weights | None = None
    """Of what a score is made; None: the usual ones."""


DEFAULT_TERMS = Terms()
