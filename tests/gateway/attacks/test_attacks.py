"""Every attack on a real node: the process lives, innocent clients are served meanwhile, and the log says no more than it should."""

from collections.abc import Iterator

import pytest
import trio

from tests.gateway.attacks.house import GUARD_SECONDS, PATIENCE_SECONDS, House, open_house
from tests.gateway.attacks.peers import furnish, innocents
from tests.gateway.attacks.table import Attack, attacks
from tests.gateway.attacks.window import View

BYTES_MORE_MAX = 150 * 2**20
"""What all attacks together may have the process need at a time: some are of many megabytes, and the wires hold as many."""

BYTES_LEFT_MAX = 64 * 2**20
"""What may be left of that when all are over: caches, and 2 MB of records."""

FILES_LEFT_MAX = 16
"""Databases that stay open: two moments of the past that were asked for, and a reader for each thread."""

VIEW_SECONDS = 0.05


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """One node for all attacks."""
    with open_house() as opened:
        trio.run(furnish, opened)
        opened.check_log()
        yield opened


@pytest.fixture(scope="module")
def before(house: House) -> View:
    """How the node was when it had served somebody and nobody had attacked it."""

    async def look() -> View:
        async with innocents(house):
            pass
        return await house.look()

    return trio.run(look)


async def settled(house: House, before: View) -> View:
    """How the node is once it has as few tasks and files as before; how it is after a while, if it never has."""
    with trio.move_on_after(10 * PATIENCE_SECONDS):
        while (seen := await house.look()).tasks > before.tasks or seen.files > before.files + FILES_LEFT_MAX:  # noqa: ASYNC110 — it is another process
            await trio.sleep(VIEW_SECONDS)
    return await house.look()


FILL_THE_DOOR = ("twice_as_many_idle_connections_as_there_are_places", "as_many_begun_heads_as_there_are_places")
"""While these come in, there may be no room for a moment; who comes again is served in time."""


@pytest.mark.parametrize("attack", [one for one in attacks() if not one.is_slow], ids=str)
async def test_attack(attack: Attack, house: House, before: View) -> None:
    with trio.fail_after(GUARD_SECONDS):
        async with innocents(house, are_patient=attack.name in FILL_THE_DOOR):
            await attack.run(house)
    assert house.is_alive()
    house.check_log()


async def test_slow_attacks_side_by_side(house: House, before: View) -> None:
    slow = [one for one in attacks() if one.is_slow]
    with trio.fail_after(GUARD_SECONDS):
        async with innocents(house), trio.open_nursery() as nursery:
            for attack in slow:
                nursery.start_soon(_run, attack, house, name=attack.name)
    assert house.is_alive()
    logged = house.check_log()
    assert {one.logged for one in slow if one.logged} <= set(logged)


async def _run(attack: Attack, house: House) -> None:
    try:
        await attack.run(house)
    except Exception as error:
        error.add_note(f"in the attack {attack.name}")
        raise


async def test_after_all_attacks_the_node_is_as_it_was(house: House, before: View) -> None:
    after = await settled(house, before)
    assert after.tasks <= before.tasks
    assert after.files <= before.files + FILES_LEFT_MAX
    assert (after.counts["faults"], after.counts["handler_faults"]) == (0, 0)
    assert after.bytes_max - before.bytes < BYTES_MORE_MAX
    assert after.bytes - before.bytes < BYTES_LEFT_MAX


def test_the_node_that_was_attacked_ends_in_order(house: House) -> None:
    assert house.stop() == 0
    assert house.check_log()[-1] == "node_stopped"
