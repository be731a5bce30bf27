"""How often agents change their minds about a call: each bid, refusal and withdrawal is a record, and a book takes so many of an agent.

The counts live as long as their book is open, and are lost with the process: then whoever has had its share has it once more.
"""

from agents.coordinating.open_tasks import OpenTasks
from aggregates.task import CommitBid, PlaceBid, RefuseBid, RevealBid, WithdrawBid
from runtime.errors import Refused

Answer = PlaceBid | CommitBid | RevealBid | WithdrawBid | RefuseBid

ANSWERS_MAX = 32
"""How often an agent may answer one call; whoever asks only so often under a poor line has enough."""

BOOKS_SLACK = 64


class Answers:
    """How often each agent has answered the calls that are open."""

    def __init__(self) -> None:
        self._counts_by_book: dict[tuple[str, int], dict[str, int]] = {}

    def count(self, memory: OpenTasks, command: Answer) -> None:
        """One more. Raises Refused where that is one too many."""
        task = memory.tasks.get(command.task_id)
        if task is None or command.task_id not in memory.books or command.agent_id not in task.eligible:
            return  # it is refused anyway
        book = (command.task_id, task.round)
        counts = self._counts_by_book.get(book)
        if counts is None:
            counts = self._counts_by_book[book] = {}
            if len(self._counts_by_book) > len(memory.books) + BOOKS_SLACK:
                self._forget_closed(memory)
        count = counts.get(command.agent_id, 0)
        if count >= ANSWERS_MAX:
            text = f"round {task.round} of {command.task_id} has taken {ANSWERS_MAX} answers of {command.agent_id}"
            raise Refused("answers_too_many", text)
        counts[command.agent_id] = count + 1

    def _forget_closed(self, memory: OpenTasks) -> None:
        self._counts_by_book = {
            (task_id, number): counts
            for (task_id, number), counts in self._counts_by_book.items()
            if task_id in memory.books and memory.tasks[task_id].round == number
        }
