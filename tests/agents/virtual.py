"""The crew on a simulated machine: the real actors and a real journal, under a clock by which hours pass in a moment."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path

import trio

from agents.coordinating.terms import Terms
from aggregates.catalog import AGGREGATES
from runtime.codec import Codec
from runtime.ids import Ids
from runtime.simulation import Machine, World, simulate
from runtime.store.sqlite import SqliteStore
from runtime.system import System, open_system
from runtime.transparency import Signer
from tests.agents.crew import IDLE_HOUSE, Crew, no_blobs, roster

HANG_SECONDS = 3_000.0


def play(
    work: Callable[[Crew], Awaitable[None]], terms: Terms, *, seed: int = 1, hang_seconds: float = HANG_SECONDS
) -> None:
    """Lets it happen, and raises where it did not go well."""

    async def workload(world: World) -> None:
        machine = Machine(world, partial(_boot, world, terms))
        async with trio.open_nursery() as nursery:
            await nursery.start(machine.run)
            system = await machine.up()
            with world.within(hang_seconds, "ends", "it does not end"):
                await work(Crew(system))
            await machine.stop()
            nursery.cancel_scope.cancel()

    outcome = simulate(workload, seed, faults=())
    assert outcome.ok, f"seed {seed}: {outcome.invariant}: {outcome.detail}"


@asynccontextmanager
async def _boot(world: World, terms: Terms, folder: Path) -> AsyncIterator[System]:
    clock = world.clock()
    signer = Signer.load_or_make(folder / "journal-key")
    with closing(SqliteStore(folder / "journal.db", Codec(AGGREGATES), signer)) as store:
        ids = Ids(clock, world.chance("ids").randbytes)
        people = roster(terms, no_blobs, IDLE_HOUSE)
        async with open_system(store, people, clock=clock, ids=ids, chance=world.chance("node")) as system:
            yield system
