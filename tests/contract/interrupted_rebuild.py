"""A program that makes read models anew and is killed in the middle of that. Its argument: the database."""

import os
import signal
import sys

import trio
import trio.lowlevel

from runtime import projector as projectors
from runtime.projector import Projector
from tests.runtime.ledger import Balances, Lines, MemoryLog, story


async def main(place: str) -> None:
    projectors.REBUILD_EVENTS_MAX = 20
    projector = Projector(place, (Lines(), Balances()), MemoryLog(story(400)))
    async with trio.open_nursery() as nursery:
        await nursery.start(projector.run)
        projector.rebuild()
        while not 100 < projector.rebuilds[0].position < 400:
            await trio.lowlevel.checkpoint()
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
