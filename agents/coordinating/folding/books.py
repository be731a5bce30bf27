"""What the coordinator remembers of calls for proposals: which are open, who has answered, and how long a task rests after one in vain."""

from agents.coordinating.entries import TaskEntry
from agents.coordinating.open_tasks import OpenTasks
from aggregates.task import SEALED, BidCommitted, BidPlaced, BidRefused, BidWithdrawn, BookOpened, BookVoided, Stage
from aggregates.task.state import standing_bid
from aggregates.values.no_bids import NoWinner
from aggregates.values.ranking import FULL
from runtime.records import Recorded

RETRY_SECONDS_FIRST = 1.0
RETRY_SECONDS_MAX = 60.0


def open_book(memory: OpenTasks, task: TaskEntry, event: BookOpened, *, position: int) -> None:
    """It is called for."""
    if task.concurrency is not None:
        memory.turns.setdefault(task.concurrency.key, {})[task.concurrency.group] = position
    memory.supply.open(event.eligible)
    memory.books[task.task_id] = None
    task.stage, task.round, task.eligible = Stage.BIDDING, event.round, frozenset(event.eligible)
    task.retry_at, task.stalled = 0.0, ""
    memory.note(task)
    task.opened_position = position
    task.opened_at, task.closes_at = event.closes_at - (event.bidding_seconds or task.bidding_seconds), event.closes_at
    task.bidders, task.answered, task.revealed = set(), set(), set()
    task.is_sealed, task.is_revealing = event.award_policy in SEALED, False
    task.award_policy, task.bids, task.complete_at = event.award_policy, {}, 0.0
    if task.is_batched:
        memory.batched[task.task_id] = None


def close_book(memory: OpenTasks, task: TaskEntry) -> None:
    """The task's book has ended, where one is open."""
    if task.task_id in memory.books:
        memory.supply.close(task.eligible)  # while it still stands in the memory that a supply is made from
        del memory.books[task.task_id]
        memory.batched.pop(task.task_id, None)
        task.bids = {}


def take_bid(
    memory: OpenTasks, task: TaskEntry, event: BidPlaced | BidCommitted, at: float, recorded: Recorded
) -> None:
    """An agent has answered with a bid, open or sealed."""
    agent = memory.agents.get(event.agent_id)
    if agent is not None and event.agent_id not in task.answered:
        seconds = max(0.0, at - task.opened_at)
        agent.figures.answer(recorded.meta.at, recorded.position, seconds)
        agent.position = recorded.position
    task.bidders.add(event.agent_id)
    task.answered.add(event.agent_id)
    if task.is_batched and isinstance(event, BidPlaced):
        task.bids[event.agent_id] = standing_bid(event)
        _note_complete(memory, task, recorded)


def take_back_bid(memory: OpenTasks, task: TaskEntry, event: BidRefused | BidWithdrawn, recorded: Recorded) -> None:
    """An agent has answered that it does not want the task, or no longer."""
    if isinstance(event, BidRefused) and (agent := memory.agents.get(event.agent_id)) is not None:
        agent.figures.gain_aside(recorded.meta.at, recorded.position, refusals=1)
    task.bidders.discard(event.agent_id)
    task.answered.add(event.agent_id)
    task.bids.pop(event.agent_id, None)
    _note_complete(memory, task, recorded)


def _note_complete(memory: OpenTasks, task: TaskEntry, recorded: Recorded) -> None:
    if task.is_batched and not task.complete_at and memory.complete(task):
        task.complete_at = recorded.meta.at


def void(memory: OpenTasks, task: TaskEntry, event: BookVoided, recorded: Recorded) -> None:
    """Nobody has won it: it rests, the longer the more often that was so."""
    close_book(memory, task)
    task.stage = Stage.SUBMITTED
    task.widening += task.no_bids.then is NoWinner.WIDEN
    task.retry_at = recorded.meta.at + pause_seconds(event.voids)
    busy = [ranked.lost in FULL for ranked in event.ranking]
    task.wants_slot = event.reason == "outbid" or any(busy)
    memory.note(task)
    is_begun = task.not_before <= recorded.meta.at  # it may have been moved ahead while the book was open
    # Other books were quicker, and others than those are free.
    if is_begun and busy and all(busy) and memory.is_wanted(task):
        memory.end_pauses([task.task_id], recorded.position)


def pause_seconds(voids: int) -> float:
    """How long a task rests after so many books in a row without a winner."""
    return min(RETRY_SECONDS_MAX, RETRY_SECONDS_FIRST * 2.0 ** min(20, max(0, voids - 1)))
