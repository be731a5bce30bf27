"""How often an agent may change its answer: a book takes so many of each, and what is counted goes with the book."""

from pathlib import Path

import pytest

from agents.coordinating.answers import ANSWERS_MAX, BOOKS_SLACK
from agents.coordinating.coordinator import Coordinator
from aggregates.task import BidPlaced, BookOpened, CancelTask, TaskAwarded, TaskCancelled
from runtime.errors import Refused
from tests.agents.crew import Crew, open_crew
from tests.examples import TENANT


def the_coordinator(crew: Crew) -> Coordinator:
    cell = crew.system.cells["coordinator", TENANT]
    assert isinstance(cell.actor, Coordinator)
    return cell.actor


async def test_who_changes_its_bid_again_and_again_is_refused_and_its_last_bid_stands(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann")
        await crew.register("bob")
        await crew.submit("t1")
        call = await crew.next(BookOpened)
        for number in range(ANSWERS_MAX):
            await crew.bid(call, "ann", price=float(ANSWERS_MAX - number))
        for _ in range(3):
            with pytest.raises(Refused, match="answers_too_many"):
                await crew.bid(call, "ann", price=0.5)
        await crew.refuse(call, "bob")
        award = await crew.next(TaskAwarded)
        assert (award.agent_id, award.price) == ("ann", 1.0)
        assert sum(isinstance(event, BidPlaced) for event in await crew.events()) == ANSWERS_MAX


async def test_what_was_counted_is_forgotten_with_the_books(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann", slots=2)
        await crew.register("bob", slots=2)
        for number in range(BOOKS_SLACK + 5):
            await crew.submit(f"t{number}")
            await crew.bid(await crew.next(BookOpened), "ann")
            await crew.ask(CancelTask(task_id=f"t{number}"))
            await crew.next(TaskCancelled)
        assert len(the_coordinator(crew).answers._counts_by_book) <= BOOKS_SLACK + 1
