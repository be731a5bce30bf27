"""A shop that sells its last piece twice, now and then: `python examples/race.py` finds the order of steps in which it does."""

import trio

from runtime.actor import Actor, Reply, reply
from runtime.records import Command
from runtime.simulation import World, shrink, simulate


class Look(Command[int], frozen=True, kw_only=True):
    """How many are left?"""


class Take(Command[int], frozen=True, kw_only=True):
    """Takes one."""


class Shelf(Actor[Look | Take, None]):
    left = 1

    def handle(self, message: Look | Take) -> Reply:
        self.left -= isinstance(message, Take)
        return reply(message, self.left)


async def shop(world: World) -> None:
    async with world.actors() as actors, trio.open_nursery() as nursery:
        shelf = actors.spawn(Shelf)

        async def buy(customer: str) -> None:
            await trio.sleep(world.chance(customer).uniform(0, 1))
            if await shelf.ask(Look()) > 0:
                await trio.sleep(0.05)  # pays; and who looks at the shelf meanwhile?
                left = await shelf.ask(Take())
                world.holds("never_oversold", left >= 0, f"{customer} has bought what was not there")

        nursery.start_soon(buy, "ann")
        nursery.start_soon(buy, "bob")


if __name__ == "__main__":
    for seed in range(1000):
        outcome = simulate(shop, seed)
        if not outcome.ok:
            print(*shrink(shop, outcome).trace, f"seed {seed}: {outcome.invariant}: {outcome.detail}", sep="\n")
            break
