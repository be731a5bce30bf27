"""Tasks that call few agents at first, and more where these do not take them."""

from pathlib import Path

from msgspec.structs import replace

from agents.coordinating.calls import openings
from agents.coordinating.open_tasks import OpenTasks
from aggregates.task import BookOpened, BookVoided, TaskFailed
from aggregates.values.no_bids import NoBidPolicy, NoWinner
from tests.agents.coordinating.test_open_tasks import OPENED, REGISTERED, SUBMITTED, VOIDED, told
from tests.agents.crew import open_crew
from tests.examples import AT

CREW = tuple(replace(REGISTERED, agent_id=f"a{number}", slots=1) for number in range(9))
WIDEN = NoBidPolicy(then=NoWinner.WIDEN, call_max=2)
FEW = replace(SUBMITTED, task_id="few", no_bids=WIDEN)


def called(memory: OpenTasks, at: float) -> dict[str, list[str]]:
    found = openings(memory, at)
    return {call.task_id: [one.agent_id for one in call.candidates] for _, call in found}


def test_each_wider_round_calls_twice_as_many_those_first_who_were_not_called() -> None:
    memory, asked = told([*CREW, FEW]), []
    for number in range(1, 5):
        at = AT + 1000.0 * number
        asked.append(called(memory, at)["few"])
        book = replace(OPENED, task_id="few", round=number, eligible=tuple(asked[-1]), widening=number - 1)
        void = replace(VOIDED, task_id="few", round=number, voids=number, ranking=())
        told([book, void], memory, seconds=1000.0 * number, position=100 * number)
    assert [len(names) for names in asked] == [2, 4, 8, 9]
    assert {*asked[0]} & {*asked[1]} == set()
    assert len({*asked[0], *asked[1], *asked[2]}) == 9


def test_tasks_that_call_few_call_others_and_none_keeps_the_rest_of_its_line_waiting() -> None:
    some = [replace(FEW, task_id=f"f{number}", no_bids=NoBidPolicy(call_max=1)) for number in range(9)]
    found = called(told([*CREW, *some]), AT)
    assert sorted(name for names in found.values() for name in names) == [one.agent_id for one in CREW]
    memory = told([*CREW, replace(SUBMITTED, task_id="wide")])
    wide = called(memory, AT)["wide"]
    told([replace(OPENED, task_id="wide", eligible=tuple(wide))], memory, position=50)
    told([some[0], replace(SUBMITTED, task_id="other", submitted_at=AT + 9)], memory, position=60)
    assert "other" in called(memory, AT + 10)


async def test_a_task_is_offered_to_more_and_for_longer_until_it_fails(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        for name in ("ann", "bob", "eve"):
            await crew.register(name)
        policy = NoBidPolicy(then=NoWinner.WIDEN, call_max=1, rounds_max=2)
        await crew.submit("t1", no_bids=policy, bidding_seconds=0.5)
        first = await crew.next(BookOpened)
        assert (len(first.eligible), first.widening) == (1, 0)
        await crew.refuse(first, first.eligible[0])
        assert (await crew.next(BookVoided)).reason == "all_refused"
    async with open_crew(tmp_path) as crew:
        second = await crew.next(BookOpened, round=2)
        assert (len(second.eligible), second.widening, second.bidding_seconds) == (2, 1, 1.0)
        for name in second.eligible:
            await crew.refuse(second, name)
        failed = await crew.next(TaskFailed)
        assert (failed.final, failed.reason) == (True, "all_refused")
