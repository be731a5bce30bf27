"""A book of sealed bids: agents commit first, then open what they have committed to, and the winner is paid the second lowest price."""

from collections.abc import Sequence

from aggregates.task.commands import CommitBid, OpenReveal, RevealBid
from aggregates.task.events import BidCommitted, BidRevealed, RevealOpened, TaskEvent
from aggregates.task.state import Task, bid_of, sealed_by
from aggregates.values.ranking import AwardPolicy, Bid, Fault, Ranked
from aggregates.values.sealed_bids import OpenedBid, commitment_of, sealed_text
from aggregates.values.skills import missing
from runtime.errors import FieldFault, Refused

SEALED = (AwardPolicy.SECOND_PRICE,)
"""The policies under which bids are sealed."""


def check_open_bids(task: Task, task_id: str) -> None:
    """Refused where bids are sealed: nobody bids in the open there."""
    if task.award_policy in SEALED:
        raise Refused("bids_are_sealed", f"{task_id} takes commitments, which are opened once all are in")


def check_not_revealing(task: Task, task_id: str) -> None:
    """Refused once bids are being opened: what was committed to stands."""
    if task.is_revealing:
        raise Refused("bids_are_opened", f"the commitments of {task_id} stand")


def awaited(task: Task) -> tuple[str, ...]:
    """Who has yet to answer: to the call, or by opening what it has committed to."""
    if task.is_revealing:
        return tuple(sealed.agent_id for sealed in task.sealed if not sealed.is_opened)
    return missing(task.eligible, {*bidders(task), *task.refused})


def bidders(task: Task) -> tuple[str, ...]:
    """Whose bid is in the book, sealed or not."""
    return (*(bid.agent_id for bid in task.bids), *(sealed.agent_id for sealed in task.sealed))


def commit(task: Task, command: CommitBid) -> Sequence[TaskEvent]:
    if task.award_policy not in SEALED:
        raise Refused("bids_are_open", f"{command.task_id} takes open bids")
    check_not_revealing(task, command.task_id)
    sealed = sealed_by(task, command.agent_id)
    if sealed is not None and sealed.commitment == command.commitment:
        return []
    return [
        BidCommitted(
            task_id=command.task_id,
            round=task.round,
            agent_id=command.agent_id,
            commitment=command.commitment,
            committed_at=command.at,
        )
    ]


def open_reveal(task: Task, command: OpenReveal) -> Sequence[TaskEvent]:
    if task.is_revealing:
        return []
    if not task.sealed:
        raise Refused("nothing_sealed", f"nobody has committed to a bid for {command.task_id}")
    if command.at < task.closes_at and awaited(task):
        raise Refused("book_open", f"not all eligible agents of {command.task_id} have answered")
    committed = tuple(sealed.agent_id for sealed in task.sealed)
    closes_at = command.at + task.bidding_seconds
    return [RevealOpened(task_id=command.task_id, round=task.round, committed=committed, closes_at=closes_at)]


def reveal(task: Task, command: RevealBid) -> Sequence[TaskEvent]:
    sealed = sealed_by(task, command.agent_id)
    if sealed is None:
        raise Refused("commitment_unknown", f"{command.agent_id} has not committed to a bid", status=404)
    if not task.is_revealing:
        raise Refused("bids_are_sealed", f"commitments for {command.task_id} are still taken")
    if task.deadline is not None and command.at + command.eta_seconds > task.deadline:
        left = f"{task.deadline - command.at:.1f} s are left"
        raise Refused.of([FieldFault("/eta_seconds", "eta_past_deadline", left)])
    revealed = BidRevealed(
        task_id=command.task_id,
        round=task.round,
        agent_id=command.agent_id,
        price=command.price,
        eta_seconds=command.eta_seconds,
        confidence=command.confidence,
        capacity_offer=command.capacity_offer,
        salt=command.salt,
        matches=_commitment(task, command) == sealed.commitment,
        revealed_at=command.at,
    )
    if not sealed.is_opened:
        return [revealed]
    if _opened(task, command.agent_id) == _told(command, sealed.commitment, command.salt):
        return []
    raise Refused("bid_is_opened", f"{command.agent_id} has opened its bid otherwise")


def _commitment(task: Task, command: RevealBid) -> str:
    text = sealed_text(
        task_id=command.task_id,
        round=task.round,
        agent_id=command.agent_id,
        price=command.price,
        eta_seconds=command.eta_seconds,
        confidence=command.confidence,
        capacity_offer=command.capacity_offer,
        salt=command.salt,
    )
    return commitment_of(text)


def _told(bid: RevealBid | Bid, commitment: str, salt: str) -> OpenedBid:
    return OpenedBid(
        agent_id=bid.agent_id,
        commitment=commitment,
        salt=salt,
        price=bid.price,
        eta_seconds=bid.eta_seconds,
        confidence=bid.confidence,
        capacity_offer=bid.capacity_offer,
    )


def opened_bids(task: Task) -> tuple[OpenedBid, ...]:
    """All bids that were opened, whether they match or not, for everybody to compute their commitments anew."""
    return tuple(found for sealed in task.sealed if (found := _opened(task, sealed.agent_id)) is not None)


def _opened(task: Task, agent_id: str) -> OpenedBid | None:
    sealed, bid = sealed_by(task, agent_id), bid_of(task, agent_id)
    if sealed is None or bid is None:
        return None
    return _told(bid, sealed.commitment, sealed.salt)


def forfeits(task: Task) -> dict[str, Fault]:
    """Whose sealed bid can't win, whatever it was: it was not opened, or is another than the one committed to."""
    return {
        sealed.agent_id: "commitment_mismatch" if sealed.is_opened else "not_revealed"
        for sealed in task.sealed
        if not sealed.matches
    }


def payment(task: Task, ranking: Sequence[Ranked]) -> float:
    """What the winner is paid: its own price, or the second lowest of those that could win.

    Where no other could, it is paid the most that the task allows, so that what it asks decides whether it wins and never what it gets.
    """
    bids: dict[str, Bid] = {bid.agent_id: bid for bid in task.bids}
    own = bids[ranking[0].agent_id].price
    if task.award_policy is not AwardPolicy.SECOND_PRICE:
        return own
    others = [bids[ranked.agent_id].price for ranked in ranking[1:] if not ranked.lost]
    if others:
        return min(others)
    return own if task.price_max is None else task.price_max
