"""A running system with the real actors over a real journal file, and agents that say what they are told."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace

from agents.coordinating.allotment import Allotment
from agents.coordinating.coordinator import Coordinator
from agents.coordinating.places import seats
from agents.coordinating.terms import Terms
from agents.house_solver import House
from agents.kernel_threads import KernelThreads
from agents.roster import ROSTER
from agents.solver import Solver
from aggregates.agent import AgentAccepted, RegisterAgent
from aggregates.catalog import AGGREGATES
from aggregates.task import BookOpened, CommitBid, PlaceBid, RefuseBid, RevealBid, SubmitTask, TaskAwarded
from aggregates.values.sealed_bids import commitment_of, sealed_text
from runtime.clock import SystemClock
from runtime.codec import Codec
from runtime.delivery import Context
from runtime.ids import Ids
from runtime.records import Command, Event, Recorded
from runtime.store.sqlite import SqliteStore
from runtime.system import Role, System, open_system
from runtime.transparency import Signer
from tests.examples import TENANT, command_by_type

R = TypeVar("R")
E = TypeVar("E", bound=Event)

BRISK = Terms(lease_seconds=0.5, budget_seconds_max=100.0, cycle_seconds=1.0)
CALM = Terms(lease_seconds=60.0, budget_seconds_max=100.0, cycle_seconds=30.0)
IDLE_HOUSE = House(bids=False)


def roster(
    terms: Terms,
    read_blob: Callable[[str], bytes],
    house: House,
    allotment: Allotment | None = None,
    solver_threads: int = 2,
) -> tuple[Role, ...]:
    """The roster with these terms and places, and with blobs from there."""
    places = seats(allotment or Allotment())
    made: dict[type[Any], Any] = {
        Coordinator: lambda here: Coordinator(here, terms, places(here.key)),
        Solver: lambda here: Solver(here, read_blob, house=house, threads=KernelThreads(solver_threads)),
    }
    return tuple(role._replace(make=made.get(role.actor)) for role in ROSTER)


def no_blobs(digest: str) -> bytes:
    raise FileNotFoundError(digest)


class Crew:
    """What a test says to the system, in the name of the agents."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.read = 0

    async def ask(self, command: Command[R], tenant: str = TENANT, principal: str = "test") -> R:
        return await self.system.ask(command, Context(tenant=tenant, principal=principal))

    async def register(self, agent_id: str, **changes: Any) -> AgentAccepted:
        command: RegisterAgent = command_by_type[RegisterAgent]
        digest = sha256(agent_id.encode()).digest()
        fields = {"agent_id": agent_id, "key_id": f"key-{agent_id}", "key_digest": digest, "slots": 1} | changes
        return await self.ask(replace(command, **fields))

    def submission(self, task_id: str, **changes: Any) -> SubmitTask:
        command: SubmitTask = command_by_type[SubmitTask]
        return replace(command, task_id=task_id, **({"payload": {}} | changes))

    async def submit(self, task_id: str, **changes: Any) -> None:
        await self.ask(self.submission(task_id, **changes))

    async def bid(self, call: BookOpened, agent_id: str, **changes: Any) -> None:
        command: PlaceBid = command_by_type[PlaceBid]
        fields = {"task_id": call.task_id, "agent_id": agent_id, "round": call.round} | changes
        await self.ask(replace(command, **fields))

    async def refuse(self, call: BookOpened, agent_id: str) -> None:
        await self.ask(RefuseBid(task_id=call.task_id, agent_id=agent_id, round=call.round))

    async def commit(self, call: BookOpened, agent_id: str, **changes: Any) -> RevealBid:
        """Commits to a sealed bid; what opens it."""
        said: dict[str, Any] = {
            "price": 1.0,
            "eta_seconds": 5.0,
            "confidence": 0.9,
            "capacity_offer": 0.0,
            "salt": "5a" * 16,
        } | changes
        text = sealed_text(task_id=call.task_id, round=call.round, agent_id=agent_id, **said)
        await self.ask(CommitBid(task_id=call.task_id, agent_id=agent_id, commitment=commitment_of(text)))
        return RevealBid(task_id=call.task_id, agent_id=agent_id, round=call.round, **said)

    async def awarded(self, task_id: str, agent_id: str) -> TaskAwarded:
        """The task's next award, once this agent, which is called alone, has bid for it."""
        call = await self.next(BookOpened, task_id=task_id)
        await self.bid(call, agent_id)
        return await self.next(TaskAwarded, task_id=task_id)

    async def next(self, kind: type[E], **fields: Any) -> E:
        """The next event of this kind with these fields, from where the last one was found."""
        event = (await self.next_record(kind, **fields)).event
        assert isinstance(event, kind)
        return event

    async def next_record(self, kind: type[E], **fields: Any) -> Recorded:
        while True:
            for record in await self.system.journal.read(self.read):
                self.read = record.position
                event = record.event
                if isinstance(event, kind) and all(getattr(event, name) == value for name, value in fields.items()):
                    return record
            await self.system.journal.wait_past(self.read)

    async def events(self) -> list[Event]:
        """Everything that is recorded."""
        return [record.event for record in await self.system.journal.read(0, 10_000)]


def kinds(events: Iterable[Event]) -> list[str]:
    """The names of the events' types."""
    return [type(event).__name__ for event in events]


@asynccontextmanager
async def open_crew(
    folder: Path,
    terms: Terms = CALM,
    *,
    read_blob: Callable[[str], bytes] = no_blobs,
    house: House = IDLE_HOUSE,
    allotment: Allotment | None = None,
    begins_at: float | None = None,
    solver_threads: int = 2,
) -> AsyncIterator[Crew]:
    """A node without a door; its clock begins at that moment, where one is named."""
    clock = SystemClock(wall=None if begins_at is None else lambda: begins_at)
    store = SqliteStore(folder / "journal.db", Codec(AGGREGATES), Signer.load_or_make(folder / "journal-key"))
    try:
        roles = roster(terms, read_blob, house, allotment, solver_threads)
        async with open_system(store, roles, clock=clock, ids=Ids(clock)) as system:
            yield Crew(system)
    finally:
        store.close()
