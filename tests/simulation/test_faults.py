"""Faults: drawn from the seed, told as text, each independent of the others; and lists of them made as short as can be."""

from collections.abc import Sequence

import pytest
import trio

from runtime.simulation import KINDS, Fault, Faults, Kind, Outcome, World, draw, shrink, simulate
from runtime.simulation.faults import CRASH, PAUSE, SLOW_ACTOR
from tests.simulation.kernel import KERNEL_KINDS, Kernel

LEFT = Kind("left", "pulls on the left", 4.0)
RIGHT = Kind("right", "pulls on the right", 4.0, seconds_max=2.0)
NOISE = Kind("noise", "does nothing", 12.0)
OWN = (LEFT, RIGHT, NOISE)


async def tug(world: World) -> None:
    """Breaks where the left is pulled and, later, the right as well."""
    pulled = []
    for fault in world.faults.of(*OWN):
        await trio.sleep_until(fault.at)
        kind = world.faults.kinds[fault.kind]
        world.faults.strikes(kind, world.now)
        world.note("rope", fault.kind, at=fault.at, seconds=world.faults.seconds(fault))
        pulled.append(fault.kind)
    both = "left" in pulled and "right" in pulled[pulled.index("left") :]
    world.holds("rope_holds", not both, "torn")


def first_failing(kinds: Sequence[Kind]) -> Outcome:
    for seed in range(100):
        outcome = simulate(tug, seed, kinds=kinds)
        if not outcome.ok and len(outcome.faults) > 8:
            return outcome
    raise AssertionError("no seed tears the rope")


def test_a_failing_run_is_shrunk_to_the_two_faults_that_it_takes():
    failed = first_failing(OWN)
    least = shrink(tug, failed, kinds=OWN)
    assert [fault.kind for fault in least.faults] == ["left", "right"]
    assert set(least.faults) < set(failed.faults)
    assert (least.invariant, least.seed) == ("rope_holds", failed.seed)


def test_a_run_that_fails_without_faults_is_shrunk_to_none():
    async def broken(world: World) -> None:
        world.fail("always", "false")

    failed = simulate(broken, 1, faults=[Fault("crash", 1.0), Fault("late", 2.0)])
    assert shrink(broken, failed).faults == []


def test_a_fault_that_is_taken_out_changes_none_of_the_others():
    faults = [Fault("right", float(second)) for second in range(1, 9)]
    whole = simulate(tug, 7, kinds=OWN, faults=faults)
    for gone in range(len(faults)):
        rest = simulate(tug, 7, kinds=OWN, faults=faults[:gone] + faults[gone + 1 :])
        told = [line[6:] for line in whole.trace]
        assert [line[6:] for line in rest.trace] == told[:gone] + told[gone + 1 :]


def test_a_kind_that_is_left_out_changes_none_of_the_others():
    for seed in range(50):
        whole = draw(KINDS, seed, 60.0)
        for kind in KINDS:
            others = [other for other in KINDS if other is not kind]
            assert draw(others, seed, 60.0) == [fault for fault in whole if fault.kind != kind.name]


def test_faults_survive_being_written_down_and_give_the_same_run():
    drawn = simulate(Kernel(), 8, kinds=KERNEL_KINDS, seconds=20.0)
    read = [Fault.read(str(fault)) for fault in drawn.faults]
    assert len(drawn.struck) > 3
    assert simulate(Kernel(), 8, kinds=KERNEL_KINDS, faults=read).trace == drawn.trace


def test_every_kind_is_drawn_and_none_in_every_run():
    drawn = [{fault.kind for fault in draw(KINDS, seed, 60.0)} for seed in range(200)]
    for kind in KINDS:
        assert 10 < sum(kind.name in kinds for kinds in drawn) < 190


@pytest.mark.parametrize("text", ["crash", "crash@", "@1", "Crash@1", "crash@-1", "crash@1,late@2"])
def test_what_is_no_fault_is_refused(text):
    with pytest.raises(ValueError, match="is no fault: a kind and a second"):
        Fault.read(text)


def test_a_fault_of_an_unknown_kind_is_refused_by_name():
    with pytest.raises(ValueError, match="no such faults here: meteor; there are crash, pause"):
        Faults((CRASH, PAUSE), [Fault("meteor", 1.0), Fault("crash", 2.0)], 1)


def test_a_fault_strikes_once_from_its_moment_on_and_one_that_lasts_strikes_while_it_does():
    faults = Faults((CRASH, SLOW_ACTOR), [Fault("crash", 2.0), Fault("slow_actor", 5.0)], 1)
    assert faults.strikes(CRASH, 1.9) is None
    assert faults.strikes(CRASH, 3.0) == Fault("crash", 2.0)
    assert faults.strikes(CRASH, 3.0) is None
    slow = Fault("slow_actor", 5.0)
    assert faults.lasts(SLOW_ACTOR, 5.0) == slow == faults.lasts(SLOW_ACTOR, 5.0 + faults.seconds(slow) / 2)
    assert faults.lasts(SLOW_ACTOR, 5.0 + faults.seconds(slow)) is None
    assert faults.struck == [Fault("crash", 2.0), slow]
