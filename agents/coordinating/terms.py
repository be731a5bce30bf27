"""What the operator may set of the coordination."""

from typing import NamedTuple

from aggregates import agent as agents
from aggregates.values.weights import Weights


class Aging(NamedTuple):
    """How a waiting task gains on others: `factor` of a priority step every `seconds`, so that none starves.

    Two tasks gain alike, so which of them comes first never changes while they wait: it follows from priority and the time since when
    each waits, whenever it is asked.
    """

    factor: float = 0.1
    seconds: float = 30.0

    @property
    def rate(self) -> float:
        """Priority steps a second."""
        return self.factor / self.seconds

    def urgency(self, priority: int, waits_since: float, at: float) -> float:
        """A task's priority with what it has gained by then."""
        return priority + (at - waits_since) * self.rate

    def order(self, priority: int, waits_since: float) -> float:
        """Where it stands among the waiting: small comes first."""
        return waits_since * self.rate - priority


AGING = Aging()


class Terms(NamedTuple):
    """What the operator may set."""

    lease_seconds: float = 120.0
    grace_share: float = 0.25
    """The last part of a lease's term: who is silent that long is suspected, and lost at its end."""
    budget_seconds_max: float = 3600.0
    bidding_seconds_max: float = 60.0
    attempts_max: int = 4
    cycle_seconds: float = AGING.seconds
    aging_factor: float = AGING.factor
    batch_seconds: float = 0.25
    """How long a book that is settled together with others waits for those."""
    rebalance_gain: float = 0.0
    """By how much somebody else has to be better for a task that was not begun to be taken back; 0: none is."""
    rebalance_seconds: float = 60.0
    """How long it stays with its holder at least."""
    max_capacity: float = agents.MAX_CAPACITY
    lease_seconds_min: float = agents.LEASE_SECONDS_MIN
    lease_seconds_max: float = agents.LEASE_SECONDS_MAX
    tasks_open_max: int = 100_000
    """How many tasks of a tenant may be open: each takes some memory of the coordinator, and of what is saved of that."""
    hold_seconds: float = agents.HOLD_SECONDS
    """How long a person has a task without a word, where they ask for nothing else."""
    hold_seconds_max: float = agents.HOLD_SECONDS_MAX
    weights: Weights | None = None
    """Of what a score is made; None: the usual ones."""

    @property
    def aging(self) -> Aging:
        """How waiting tasks gain, by the cycle."""
        return Aging(self.aging_factor, self.cycle_seconds)


DEFAULT_TERMS = Terms()
