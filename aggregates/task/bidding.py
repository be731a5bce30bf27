"""A book: who is called, what they answer, and who wins."""

from collections.abc import Iterator, Sequence

from aggregates.task.commands import (
    AwardTask,
    CommitBid,
    NoteStall,
    OpenBook,
    PlaceBid,
    RefuseBid,
    RevealBid,
    WithdrawBid,
)
from aggregates.task.eligibility import STALLING, STALLS, Wanted, fit, unfit, wanted
from aggregates.task.events import (
    BidPlaced,
    BidRefused,
    BidWithdrawn,
    BookOpened,
    BookVoided,
    DryRunEnded,
    TaskAwarded,
    TaskDeadLettered,
    TaskEvent,
    TaskFailed,
    TaskStalled,
)
from aggregates.task.people import lease_of
from aggregates.task.sealing import (
    awaited,
    check_not_revealing,
    check_open_bids,
    commit,
    forfeits,
    opened_bids,
    payment,
    reveal,
)
from aggregates.task.state import Task, bid_of, is_among, sealed_by, standing_bid
from aggregates.task.terms import SPECIALISTS, VOID_SECONDS_MIN, VOIDS_MAX, StallReason, VoidReason
from aggregates.values.batches import BatchShare
from aggregates.values.price_list import price_of
from aggregates.values.ranking import FIRST, FULL, AwardPolicy, Needs, Ranked, measured, rank
from aggregates.values.skills import missing
from runtime.errors import FieldFault, Refused

ABOVE_TOLD_MAX = 3
"""How many are named that scored higher than who got the task, and are worth more elsewhere."""


def open_book(task: Task, command: OpenBook) -> Sequence[TaskEvent]:
    if command.at < (task.not_before or 0.0):
        raise Refused("not_yet", f"{command.task_id} begins {task.not_before or 0.0:.3f}")
    asked = _wanted(task, command)
    eligible = sorted([one.agent_id for one in fit(command.candidates, asked)])
    if not eligible:
        raise Refused("nobody_eligible", command.task_id)
    seconds = task.no_bids.seconds(task.bidding_seconds, task.widening, task.bidding_seconds_max)
    return [
        BookOpened(
            task_id=command.task_id,
            round=task.round + 1,
            attempt=task.attempt + 1,
            eligible=tuple(eligible),
            closes_at=command.at + seconds,
            task_type=task.task_type,
            capabilities=task.capabilities,
            priority=task.priority,
            budget_seconds=task.budget_seconds,
            units=task.units,
            award_policy=task.award_policy,
            widening=task.widening,
            bidding_seconds=seconds if task.widening else 0.0,
        )
    ]


def note_stall(task: Task, command: NoteStall) -> Sequence[TaskEvent]:
    if command.at < (task.not_before or 0.0):
        return []
    asked = _wanted(task, command)
    against = {unfit(one, asked, STALLING) for one in command.candidates}
    if None in against:
        raise Refused("somebody_fits", command.task_id)
    # How far those have come who came farthest.
    nobody: StallReason = "assignee_missing" if task.assign_to else "skills_missing"
    reason = next((stall for unfit_for, stall in STALLS if unfit_for in against), nobody)
    return [] if task.stalled == reason else [TaskStalled(task_id=command.task_id, reason=reason)]


def _wanted(task: Task, command: OpenBook | NoteStall) -> Wanted:
    taker = command.taker if isinstance(command, OpenBook) else ""
    return wanted(
        task.capabilities,
        task.independent_of,
        command.doers,
        units=task.units,
        skills=task.skills,
        regions=task.regions,
        duties=[one for one in command.duties if one.agent_id != taker],
        at=command.at,
        only=task.assign_to,
    )


def answer(task: Task, command: PlaceBid | CommitBid | RevealBid | WithdrawBid | RefuseBid) -> Sequence[TaskEvent]:
    if not is_among(task.eligible, command.agent_id):
        raise Refused("agent_not_eligible", f"{command.agent_id} was not called for {command.task_id}", status=403)
    if command.round not in (0, task.round) or command.at > task.closes_at:
        raise Refused("book_closed", f"round {command.round or task.round} of {command.task_id} is over")
    match command:
        case PlaceBid():
            check_open_bids(task, command.task_id)
            return _place_bid(task, command)
        case CommitBid():
            return commit(task, command)
        case RevealBid():
            return reveal(task, command)
        case WithdrawBid():
            check_not_revealing(task, command.task_id)
            if bid_of(task, command.agent_id) is not None or sealed_by(task, command.agent_id) is not None:
                return [BidWithdrawn(task_id=command.task_id, round=task.round, agent_id=command.agent_id)]
            if is_among(task.refused, command.agent_id):
                return []
            raise Refused("bid_unknown", f"{command.agent_id} has no bid for {command.task_id}", status=404)
        case RefuseBid():
            check_not_revealing(task, command.task_id)
            refused = BidRefused(
                task_id=command.task_id,
                round=task.round,
                agent_id=command.agent_id,
                reason=command.reason,
                data_subject=task.data_subject,
            )
            return [] if is_among(task.refused, command.agent_id) else [refused]


def _place_bid(task: Task, command: PlaceBid) -> Sequence[TaskEvent]:
    if found := list(_bid_faults(task, command)):
        raise Refused.of(found)
    placed = BidPlaced(
        task_id=command.task_id,
        round=task.round,
        agent_id=command.agent_id,
        price=_price(task, command),
        eta_seconds=command.eta_seconds,
        confidence=command.confidence,
        capacity_offer=command.capacity_offer,
        expires_at=command.expires_at,
        placed_at=command.at,
        conditions=command.conditions,
    )
    before = bid_of(task, command.agent_id)
    return [] if before is not None and standing_bid(placed) == before else [placed]


def _bid_faults(task: Task, command: PlaceBid) -> Iterator[FieldFault]:
    if command.expires_at is not None and command.expires_at <= command.at:
        yield FieldFault("/expires_at", "bid_expired", "expires_at has passed")
    if task.deadline is not None and command.expires_at is not None and command.expires_at > task.deadline:
        yield FieldFault("/expires_at", "bid_outlasts_task", f"the deadline is {task.deadline:.3f}")
    if task.deadline is not None and command.at + command.eta_seconds > task.deadline:
        yield FieldFault("/eta_seconds", "eta_past_deadline", f"{task.deadline - command.at:.1f} s are left")
    if command.price is None and command.listed is None:
        yield FieldFault("/price", "price_missing", f"{command.agent_id} has no price list to take it from")


def _price(task: Task, command: PlaceBid) -> float:
    if command.price is not None:
        return command.price
    assert command.listed is not None  # or it was a fault
    return price_of(command.listed, (task.task_type.value, *task.capabilities))


def award(task: Task, command: AwardTask) -> Sequence[TaskEvent]:
    if task.sealed and not task.is_revealing:
        raise Refused("bids_are_sealed", f"commitments for {command.task_id} have yet to be opened")
    if command.at < task.closes_at and awaited(task):
        raise Refused("book_open", f"not all eligible agents of {command.task_id} have answered")
    topics = (task.task_type.value, *task.capabilities)
    ranking = rank(
        task.bids,
        command.bidders,
        at=command.at,
        budget_seconds=task.budget_seconds,
        topics=topics,
        units=task.units,
        specialist_type=SPECIALISTS[task.task_type],
        policy=task.award_policy,
        weights=command.weights,
        price_max=task.price_max,
        forfeits=forfeits(task),
        needs=Needs(frozenset(task.capabilities), task.skills, task.regions),
    )
    if task.dry_run:
        return [_end_dry_run(task, command, ranking)]
    if not ranking or ranking[0].lost:
        return _void(task, command, ranking)
    share: BatchShare | None = None
    if task.award_policy is AwardPolicy.BATCH_OPTIMAL:
        share, ranking = _settled(command, ranking)
        if not share.agent_id:
            return [_voided(task, command, ranking, "outbid", counts=False)]
    best = ranking[0]
    bid = bid_of(task, best.agent_id)
    assert bid is not None, "who is ranked has a bid"
    paid = payment(task, ranking)
    facts = next(facts for facts in command.bidders if facts.agent_id == best.agent_id)
    return [
        TaskAwarded(
            task_id=command.task_id,
            round=task.round,
            attempt=task.attempt + 1,
            agent_id=best.agent_id,
            token=task.attempt + 1,
            lease_seconds=lease_of(task, facts.lease_seconds, is_person=facts.is_person),
            is_person=facts.is_person,
            budget_seconds=task.budget_seconds,
            awarded_at=command.at,
            price=paid,
            eta_seconds=bid.eta_seconds,
            ranking=ranking,
            reason=_why(task, ranking, share) + (f"; it is paid {paid:g}" if paid != bid.price else ""),
            confidence=bid.confidence if facts.recent is not None else None,
            units=task.units,
            weights=command.weights,
            price_asked=bid.price if paid != bid.price else None,
            opened=opened_bids(task),
            batch=share,
        )
    ]


def _settled(command: AwardTask, ranking: tuple[Ranked, ...]) -> tuple[BatchShare, tuple[Ranked, ...]]:
    """What the batch says of this book, and its ranking with the winner first."""
    share = command.batch
    if share is None:
        raise Refused("batch_missing", f"{command.task_id} is settled together with others")
    winner = next((one for one in ranking if one.agent_id == share.agent_id and not one.lost), None)
    if winner is None:
        if share.agent_id:
            raise Refused("batch_stale", f"{share.agent_id} has no bid that could win {command.task_id}")
        return share, ranking
    return share, (winner, *(one for one in ranking if one is not winner))


def _end_dry_run(task: Task, command: AwardTask, ranking: tuple[Ranked, ...]) -> DryRunEnded:
    has_winner = bool(ranking) and not ranking[0].lost
    bid = bid_of(task, ranking[0].agent_id) if has_winner else None
    return DryRunEnded(
        task_id=command.task_id,
        round=task.round,
        winner=bid.agent_id if bid is not None else "",
        price=payment(task, ranking) if bid is not None else None,
        price_asked=bid.price if bid is not None else None,
        ranking=ranking,
        reason=_why(task, ranking, None) if bid is not None else _void_reason(task, ranking),
        weights=command.weights,
        opened=opened_bids(task),
    )


def _why(task: Task, ranking: Sequence[Ranked], batch: BatchShare | None) -> str:
    if batch is not None:
        return _why_in_batch(ranking, batch)
    best, second = ranking[0], ranking[1] if len(ranking) > 1 else None
    bids = {bid.agent_id: bid for bid in task.bids}
    won = f"{best.agent_id} {measured(task.award_policy, bids[best.agent_id], best)}"
    if second is None or second.lost:
        return f"{won}; no other bid could win"
    lost = measured(task.award_policy, bids[second.agent_id], second)
    first = FIRST[task.award_policy]
    # Numbers that differ may read alike: what decided is asked of the numbers.
    if first(bids[best.agent_id], best) != first(bids[second.agent_id], second) or not won.endswith(lost):
        return f"{won}, {second.agent_id} {lost.partition(' ')[2]}"
    if second.score != best.score:
        return f"{best.agent_id} and {second.agent_id} both {lost}; the score decided, {best.score:g} against {second.score:g}"
    return f"{best.agent_id} and {second.agent_id} both {lost}; the tie-break decided"


def _why_in_batch(ranking: Sequence[Ranked], batch: BatchShare) -> str:
    """Who is worth more elsewhere, where somebody's score is higher than the winner's."""
    best = ranking[0]
    above = [one for one in ranking[1:] if not one.lost and one.score > best.score]
    won = f"{best.agent_id} scored {best.score:g}, settled in batch {batch.number}"
    if not above:
        return won
    elsewhere = ", ".join(f"{one.agent_id} ({one.score:g})" for one in above[:ABOVE_TOLD_MAX])
    more = f" and {len(above) - ABOVE_TOLD_MAX} more" if len(above) > ABOVE_TOLD_MAX else ""
    return f"{won}; worth more elsewhere: {elsewhere}{more}"


def _void_reason(task: Task, ranking: Sequence[Ranked]) -> VoidReason:
    if ranking:
        return "none_fit"
    return "no_bids" if missing(task.eligible, task.refused) else "all_refused"


def _void(task: Task, command: AwardTask, ranking: tuple[Ranked, ...]) -> Sequence[TaskEvent]:
    reason = _void_reason(task, ranking)
    # A book that found everybody busy says nothing against the task.
    voided = _voided(task, command, ranking, reason, counts=not any(ranked.lost in FULL for ranked in ranking))
    voids = voided.voids
    if voids > task.voids and voids >= (task.no_bids.fails_after or voids + 1):
        return [voided, TaskFailed(task_id=command.task_id, agent_id="", token=0, reason=reason, final=True)]
    if voids < VOIDS_MAX or command.at - voided.since < VOID_SECONDS_MIN:
        return [voided]
    return [voided, TaskDeadLettered(task_id=command.task_id, reason=f"no winner in {voids} rounds")]


def _voided(
    task: Task, command: AwardTask, ranking: tuple[Ranked, ...], reason: VoidReason, *, counts: bool
) -> BookVoided:
    return BookVoided(
        task_id=command.task_id,
        round=task.round,
        reason=reason,
        voids=task.voids + counts,
        since=task.voids_since if task.voids else command.at,
        ranking=ranking,
        opened=opened_bids(task),
        batch=command.batch if reason == "outbid" else None,
        weights=command.weights if reason == "outbid" else None,
    )
