"""Books of sealed bids, as the coordinator runs them: two phases, each as short as its answers allow, on any side of a restart."""

from pathlib import Path

import pytest

from aggregates.task import BookOpened, BookVoided, RevealOpened, TaskAwarded
from aggregates.values.ranking import AwardPolicy
from runtime.errors import Refused
from tests.agents.crew import Crew, open_crew

SECOND = AwardPolicy.SECOND_PRICE


async def called(crew: Crew, *names: str, seconds: float = 30.0) -> BookOpened:
    for name in names:
        await crew.register(name)
    await crew.submit("t1", award_policy=SECOND, bidding_seconds=seconds)
    return await crew.next(BookOpened)


async def test_each_phase_ends_with_its_last_answer(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        call = await called(crew, "ann", "bob", "cid")
        ann, bob = await crew.commit(call, "ann", price=2.0), await crew.commit(call, "bob", price=3.0)
        with pytest.raises(Refused, match="bids_are_sealed"):
            await crew.ask(ann)
        await crew.refuse(call, "cid")
        assert (await crew.next(RevealOpened)).committed == ("ann", "bob")
        await crew.ask(bob)
        await crew.ask(ann)
        award = await crew.next(TaskAwarded)
        assert (award.agent_id, award.price, award.price_asked) == ("ann", 3.0, 2.0)


async def test_who_says_nothing_holds_neither_phase_up_for_ever(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        call = await called(crew, "ann", "bob", "cid", seconds=0.1)
        ann = await crew.commit(call, "ann")
        await crew.commit(call, "bob", price=0.5)
        await crew.next(RevealOpened)
        await crew.ask(ann)
        award = await crew.next(TaskAwarded)
        assert [(one.agent_id, one.lost) for one in award.ranking] == [("ann", ""), ("bob", "not_revealed")]


async def test_a_book_without_commitments_is_void(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await called(crew, "ann", seconds=0.05)
        assert (await crew.next(BookVoided)).reason == "no_bids"


@pytest.mark.parametrize("seconds", [30.0, 0.05])
async def test_a_node_that_was_stopped_between_the_phases_goes_on(tmp_path: Path, seconds: float) -> None:
    async with open_crew(tmp_path) as crew:
        call = await called(crew, "ann", seconds=seconds)
        ann = await crew.commit(call, "ann")
        await crew.next(RevealOpened)
    async with open_crew(tmp_path) as crew:
        if seconds > 1:
            await crew.ask(ann)
            assert (await crew.next(TaskAwarded)).agent_id == "ann"
        else:
            assert [one.lost for one in (await crew.next(BookVoided)).ranking] == ["not_revealed"]
