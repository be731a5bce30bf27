"""Nobody starves: the lowest priority comes before the highest after a time that two settings give."""

import pytest
import trio

from agents.coordinating.terms import Aging, Terms
from aggregates.task import BookOpened, CompleteTask, TaskAwarded, TaskCompleted
from tests.agents.crew import Crew
from tests.agents.virtual import play

HIGHEST, LOWEST = 5, 1
WORK_SECONDS = 20.0
WAITING = 3
"""How many of the highest priority always wait: as one is done, one more comes."""


def test_the_lowest_priority_comes_before_whatever_is_submitted_later_than_the_bound() -> None:
    for aging in (Aging(), Aging(0.5, 10.0)):
        bound = (HIGHEST - LOWEST) / aging.rate
        assert aging.order(LOWEST, 0.0) < aging.order(HIGHEST, bound + 0.001)
        assert aging.order(LOWEST, 0.0) > aging.order(HIGHEST, bound - 0.001)
        assert aging.urgency(LOWEST, 0.0, bound) == pytest.approx(HIGHEST)
    assert Aging().urgency(LOWEST, 0.0, 1200.0) == pytest.approx(HIGHEST)
    assert Aging(0.0).order(LOWEST, 0.0) > Aging(0.0).order(HIGHEST, 1e9)


@pytest.mark.parametrize(("factor", "bound"), [(0.1, 1200.0), (0.4, 300.0)])
def test_a_stream_of_the_highest_priority_holds_up_the_lowest_for_no_longer_than_that(
    factor: float, bound: float
) -> None:
    waited = seconds_until_served(factor, upto=2 * bound)
    assert waited is not None
    # Those that waited already when the last came that go first, and the one under way.
    assert bound - WORK_SECONDS <= waited <= bound + (WAITING + 1) * WORK_SECONDS


def test_it_is_never_served_where_nothing_is_gained_by_waiting() -> None:
    assert seconds_until_served(0.0, upto=2400.0) is None


def seconds_until_served(factor: float, *, upto: float) -> float | None:
    """When one agent, that is never without work of the highest priority, begins the one task of the lowest; None: not by then."""
    terms = Terms(lease_seconds=1e6, lease_seconds_max=1e6, aging_factor=factor)
    served: list[float] = []

    async def work(crew: Crew) -> None:
        began = trio.current_time()
        await crew.register("ann")
        for number in range(WAITING + 1):
            await crew.submit(f"first-{number}", priority=HIGHEST)
        await crew.submit("low", priority=LOWEST)
        number = 0
        while not served and trio.current_time() - began < upto:
            call = await crew.next(BookOpened)
            await crew.bid(call, "ann")
            award = await crew.next(TaskAwarded)
            if award.task_id == "low":
                served.append(trio.current_time() - began)
                return
            await trio.sleep(WORK_SECONDS)
            await crew.submit(f"later-{number}", priority=HIGHEST)
            await crew.ask(CompleteTask(task_id=award.task_id, agent_id="ann", token=award.token))
            await crew.next(TaskCompleted)
            number += 1

    play(work, terms)
    return served[0] if served else None
