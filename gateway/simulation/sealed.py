"""What is promised of sealed bids, whatever agents open, computed from the log anew: nobody wins with another bid than it has committed
to, and the winner is paid the second lowest price of those that could win.
"""

from dataclasses import dataclass, field

from aggregates.task import (
    BidCommitted,
    BidPlaced,
    BidRevealed,
    BidWithdrawn,
    BookOpened,
    RevealOpened,
    TaskAwarded,
    TaskSubmitted,
)
from aggregates.values.ranking import AwardPolicy
from aggregates.values.sealed_bids import commitment_of, sealed_text


@dataclass
class SealedBook:
    """The commitments of a round, and what was opened."""

    asked: TaskSubmitted
    round: int = 0
    commitments: dict[str, str] = field(default_factory=dict)
    opened: dict[str, BidRevealed] = field(default_factory=dict)
    is_revealing: bool = False

    @property
    def is_sealed(self) -> bool:
        """Whether the task asks for sealed bids."""
        return self.asked.award_policy is AwardPolicy.SECOND_PRICE

    def broken_by(self, event: object) -> str:
        """Takes in the next event of the task; what it breaks of the promise, or nothing."""
        if not self.is_sealed:
            return ""
        match event:
            case BookOpened():
                self.round, self.commitments, self.opened, self.is_revealing = event.round, {}, {}, False
            case BidPlaced():
                return f"{event.agent_id} bids in the open"
            case BidCommitted():
                self.commitments[event.agent_id] = event.commitment
                return f"{event.agent_id} commits while others open" if self.is_revealing else ""
            case BidWithdrawn():
                self.commitments.pop(event.agent_id, None)
            case RevealOpened():
                self.is_revealing = True
            case BidRevealed():
                return self._open(event)
            case TaskAwarded() if not event.assigned_by:
                return self._award(event)
        return ""

    def _open(self, event: BidRevealed) -> str:
        self.opened[event.agent_id] = event
        if not self.is_revealing or event.agent_id not in self.commitments:
            return f"{event.agent_id} opens what nobody asked for"
        return (
            ""
            if event.matches == self._is_kept(event)
            else f"{event.agent_id}'s bid is said to match, or not, and is otherwise"
        )

    def _is_kept(self, event: BidRevealed) -> bool:
        """Whether it is what was committed to."""
        text = sealed_text(
            task_id=event.task_id,
            round=self.round,
            agent_id=event.agent_id,
            price=event.price,
            eta_seconds=event.eta_seconds,
            confidence=event.confidence,
            capacity_offer=event.capacity_offer,
            salt=event.salt,
        )
        return commitment_of(text) == self.commitments.get(event.agent_id)

    def _award(self, event: TaskAwarded) -> str:
        winner = self.opened.get(event.agent_id)
        if winner is None or not self._is_kept(winner):
            return f"{event.agent_id} won with a bid that it has not committed to"
        could_win = [one.agent_id for one in event.ranking if not one.lost]
        cheats = [name for name in could_win if name not in self.opened or not self._is_kept(self.opened[name])]
        if cheats:
            return f"{', '.join(cheats)} could have won with another bid than was committed to"
        others = [self.opened[name].price for name in could_win if name != event.agent_id]
        if others and min(others) < winner.price:
            return f"{event.agent_id} won though another asked for less"
        alone = winner.price if self.asked.price_max is None else self.asked.price_max
        due = min(others, default=alone)
        return "" if event.price == due else f"{event.agent_id} is paid {event.price:g}, and {due:g} is due"
