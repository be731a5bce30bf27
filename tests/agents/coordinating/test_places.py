"""Coordinators that share a node's places: the bound is kept, the turns are fair, and no place is lost."""

from collections import Counter
from pathlib import Path

import pytest
from msgspec.structs import replace

from agents.coordinating.allotment import Allotment
from agents.coordinating.terms import Terms
from aggregates.agent import RegisterAgent
from aggregates.coordination import FindObstacles, StartCoordination, StopCoordination
from aggregates.task import BookOpened, CancelTask, CompleteTask, PlaceBid, SubmitTask, SubmitTasks, TaskAwarded
from runtime.records import Recorded
from tests.agents.crew import CALM, Crew, open_crew
from tests.examples import command_by_type

FLOODING, MODEST = "flooding", "modest"


async def enter(crew: Crew, tenant: str) -> None:
    """A tenant with an agent that takes whatever there is."""
    register: RegisterAgent = command_by_type[RegisterAgent]
    fields = {
        "agent_id": "ann",
        "key_id": f"key-{tenant}",
        "key_digest": tenant.encode().ljust(32),
        "slots": 1000,
        "max_capacity": 1e6,
    }
    await crew.ask(replace(register, **fields), tenant)


async def submit(crew: Crew, tenant: str, number: int, **changes: object) -> None:
    one: SubmitTask = command_by_type[SubmitTask]
    fields = {"payload": {}, "dependencies": (), "independent_of": (), "bidding_seconds": 50.0, **changes}
    tasks = tuple(replace(one, task_id=f"{tenant}-{place}", **fields) for place in range(number))
    answer = await crew.ask(SubmitTasks(tasks=tasks), tenant)
    assert not answer.faults


class Work:
    """Bids for what is called, completes what is awarded, one after the other, and notes whose it was."""

    def __init__(self, crew: Crew) -> None:
        self.crew = crew
        self.held: dict[str, str] = {}
        self.called: dict[str, str] = {}
        self.order: list[str] = []
        self.most = 0

    async def until(self, served: int) -> None:
        """Goes on until so many are awarded."""
        while len(self.order) < served:
            for record in await self.crew.system.journal.read(self.crew.read):
                self.crew.read = record.position
                await self._answer(record)
            await self.crew.system.journal.wait_past(self.crew.read)

    async def _answer(self, record: Recorded) -> None:
        event, tenant = record.event, record.meta.tenant
        if isinstance(event, BookOpened):
            self.called[event.task_id] = tenant
            self.most = max(self.most, len(self.called) + len(self.held))
            bid: PlaceBid = command_by_type[PlaceBid]
            await self.crew.ask(replace(bid, task_id=event.task_id, agent_id="ann", round=event.round), tenant)
        elif isinstance(event, TaskAwarded):
            del self.called[event.task_id]
            self.held[event.task_id] = tenant
            self.order.append(tenant)
            done = CompleteTask(task_id=event.task_id, agent_id="ann", token=event.token)
            del self.held[event.task_id]
            await self.crew.ask(done, tenant)


@pytest.mark.parametrize("places", [1, 4])
async def test_a_tenant_with_few_tasks_is_served_in_turn_with_one_that_floods_the_node(
    tmp_path: Path, places: int
) -> None:
    async with open_crew(tmp_path, allotment=Allotment(places)) as crew:
        for tenant in (FLOODING, MODEST):
            await enter(crew, tenant)
        await submit(crew, FLOODING, 1000)
        await submit(crew, MODEST, 10)
        work = Work(crew)
        await work.until(60)
        served = Counter(work.order)
        assert served[MODEST] == 10
        last = max(place for place, tenant in enumerate(work.order) if tenant == MODEST)
        assert last <= 2 * 10 + 2 * places  # those that were called before it came, then one of each in turn
        assert work.most <= places


async def test_a_tenant_of_twice_the_weight_gets_two_places_a_turn(tmp_path: Path) -> None:
    async with open_crew(tmp_path, allotment=Allotment(3, weights={MODEST: 2.0})) as crew:
        for tenant in (FLOODING, MODEST):
            await enter(crew, tenant)
            await submit(crew, tenant, 100)
        work = Work(crew)
        await work.until(90)
        assert abs(Counter(work.order)[MODEST] - 60) <= 5


async def test_the_101st_task_waits_until_one_of_a_hundred_ends_and_says_so(tmp_path: Path) -> None:
    async with open_crew(tmp_path, allotment=Allotment(100)) as crew:
        await enter(crew, MODEST)
        await submit(crew, MODEST, 101)
        opened = [await crew.next_record(BookOpened) for _ in range(100)]
        last = {f"{MODEST}-{place}" for place in range(101)} - {record.event.task_id for record in opened}  # type: ignore[attr-defined]
        told = (await crew.ask(FindObstacles(task_id=last.pop()), MODEST)).places
        assert (told.taken, told.places, told.mine, told.node_is_full) == (100, 100, 100, True)
        await crew.ask(CancelTask(task_id=opened[7].event.task_id), MODEST)  # type: ignore[attr-defined]
        await crew.next(BookOpened)


async def test_places_are_counted_anew_after_a_restart_and_none_is_lost(tmp_path: Path) -> None:
    async with open_crew(tmp_path, allotment=Allotment(2)) as crew:
        for tenant in (FLOODING, MODEST):
            await enter(crew, tenant)
        await submit(crew, FLOODING, 3)
        opened = [(await crew.next(BookOpened)).task_id for _ in range(2)]
        await submit(crew, MODEST, 1)
    async with open_crew(tmp_path, allotment=Allotment(2)) as crew:
        crew.read = crew.system.journal.position
        told = (await crew.ask(FindObstacles(task_id="any"), MODEST)).places
        assert (told.taken, told.mine) == (2, 0)
        await crew.ask(CancelTask(task_id=opened[0]), FLOODING)
        await crew.ask(CancelTask(task_id=opened[1]), FLOODING)
        called = {(await crew.next(BookOpened)).task_id for _ in range(2)}
        assert f"{MODEST}-0" in called
        assert (await crew.ask(FindObstacles(task_id="any"), MODEST)).places.taken == 2


async def test_a_tenant_that_is_stopped_holds_back_no_place_from_others(tmp_path: Path) -> None:
    async with open_crew(tmp_path, allotment=Allotment(1)) as crew:
        for tenant in (FLOODING, MODEST):
            await enter(crew, tenant)
        await submit(crew, FLOODING, 1)
        first = (await crew.next(BookOpened)).task_id
        await submit(crew, MODEST, 1)
        await submit(crew, "flooding-more", 0)
        await crew.ask(StopCoordination(), MODEST)
        more: SubmitTask = command_by_type[SubmitTask]
        await crew.ask(replace(more, task_id="more", payload={}, dependencies=(), independent_of=()), FLOODING)
        await crew.ask(CancelTask(task_id=first), FLOODING)
        assert (await crew.next(BookOpened)).task_id == "more"
        await crew.ask(CancelTask(task_id="more"), FLOODING)
        await crew.ask(StartCoordination(), MODEST)
        assert (await crew.next(BookOpened)).task_id == f"{MODEST}-0"


async def test_a_tenant_keeps_to_its_own_bound(tmp_path: Path) -> None:
    terms: Terms = CALM
    async with open_crew(tmp_path, terms, allotment=Allotment(own=2)) as crew:
        for tenant in (FLOODING, MODEST):
            await enter(crew, tenant)
        await submit(crew, FLOODING, 5)
        await submit(crew, MODEST, 2)
        called = Counter([(await crew.next_record(BookOpened)).meta.tenant for _ in range(4)])
        assert called == {FLOODING: 2, MODEST: 2}
        told = (await crew.ask(FindObstacles(task_id="flooding-4"), FLOODING)).places
        assert (told.mine, told.own, told.tenant_is_full, told.node_is_full) == (2, 2, True, False)
