"""Ten minutes under attack, with connections that come and go all the time: the node's memory stays flat."""

from contextlib import suppress
from random import Random
from statistics import median

import pytest
import trio

from tests.gateway.attacks.house import House, open_house
from tests.gateway.attacks.peers import furnish, innocents
from tests.gateway.attacks.table import Attack, attacks
from tests.gateway.raw import request, reset, upgrade

SOAK_SECONDS = 600.0
ATTACKS_IN_ROUND = 3
BYTES_MORE_MAX = 8 * 2**20
"""Between the middle of the second and of the last third, however the allocator breathes."""

WRITING = {"api", "bombs"}
"""Chapters whose attacks leave records behind: the journal and its caches grow with them, as they should."""


@pytest.mark.soak
async def test_ten_minutes_of_attacks_leave_the_memory_flat() -> None:
    chosen = [one for one in attacks() if not one.is_slow and one.chapter not in WRITING]
    with open_house() as house:
        await furnish(house)
        measured = await _measure(house, chosen)
        third = len(measured) // 3
        assert median(measured[-third:]) - median(measured[third : 2 * third]) < BYTES_MORE_MAX, measured
        seen = await house.look()
        assert (seen.counts["faults"], seen.counts["handler_faults"]) == (0, 0)
        house.check_log()
        assert house.stop() == 0


async def _measure(house: House, chosen: list[Attack]) -> list[int]:
    """The bytes that the process has after each round of attacks."""
    random, measured = Random(1), []
    until = trio.current_time() + SOAK_SECONDS
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_come_and_go, house, random)
        while trio.current_time() < until:
            for attack in random.sample(chosen, ATTACKS_IN_ROUND):
                # What one attack has left open may fill the door for a moment, together with those that come and go.
                async with innocents(house, are_patient=True):
                    await attack.run(house)
            assert house.is_alive()
            measured.append((await house.look()).bytes)
        nursery.cancel_scope.cancel()
    return measured


async def _come_and_go(house: House, random: Random) -> None:
    """One connection after the other, which are left in any way; some had to make room."""
    begun = _stages(house)
    while True:
        async with await house.connect() as stream:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(random.choice(begun))
                await trio.sleep(random.random() / 20)
            if random.random() < 0.5:
                reset(stream)


def _stages(house: House) -> list[bytes]:
    feed = request("GET", "/v1/feed?after=0", house.admin)
    return [
        b"",
        b"GET",
        request("GET", "/livez") * 20,
        feed,
        upgrade("/v1/feed", house.admin),
        upgrade("/v1/feed") + b"x",
    ]
