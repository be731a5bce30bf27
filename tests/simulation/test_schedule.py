"""The one place that leans on what Trio calls private: it says so when that is gone, and time and order are the seed's."""

import pytest
import trio
from trio._core import _run

from runtime.simulation import schedule
from runtime.simulation.schedule import Stuck, VirtualClock, run


def order_of(seed: int, tasks: int = 8) -> list[int]:
    ran: list[int] = []

    async def note(number: int) -> None:
        ran.append(number)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(tasks):
                nursery.start_soon(note, number)

    run(main, seed, VirtualClock())
    return ran


def test_the_seed_gives_the_order_of_tasks():
    assert order_of(1) == order_of(1)
    assert len({tuple(order_of(seed)) for seed in range(20)}) > 10


def test_a_thousand_days_cost_nothing():
    clock = VirtualClock()

    async def main() -> None:
        for _ in range(1_000):
            await trio.sleep(24 * 3600)

    run(main, 1, clock)
    assert clock.time == 1_000 * 24 * 3600


def test_scopes_of_one_moment_end_in_the_order_in_which_they_were_made():
    ended: list[int] = []

    async def wait(number: int, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await trio.sleep_forever()
        ended.append(number)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(wait, number, 1.0)

    runs = []
    for _ in range(2):
        run(main, 3, VirtualClock())
        runs.append(ended[:])
        ended.clear()
    assert runs[0] == runs[1]


def test_who_waits_in_vain_is_told_and_not_waited_for():
    async def main() -> None:
        await trio.Event().wait()

    with pytest.raises(Stuck, match="every task waits for another one"):
        run(main, 1, VirtualClock())


def test_what_is_open_when_nothing_can_happen_any_more_is_closed_in_order():
    closed = []

    async def main() -> None:
        try:
            await trio.Event().wait()
        finally:
            closed.append(trio.current_time())

    with pytest.raises(Stuck):
        run(main, 1, VirtualClock())
    assert closed == [0.0]


def test_a_loop_in_which_no_time_passes_is_told(monkeypatch):
    monkeypatch.setattr(schedule, "TURNS_WITHOUT_TIME_MAX", 100)

    async def main() -> None:
        while True:
            await trio.lowlevel.checkpoint()
            trio.current_time()

    with pytest.raises(Stuck, match="no time passes"):
        run(main, 1, VirtualClock())


@pytest.mark.parametrize("name", ["_ALLOW_DETERMINISTIC_SCHEDULING", "_r"])
def test_a_version_of_trio_without_what_is_needed_is_refused_by_name(monkeypatch, name):
    monkeypatch.delattr(_run, name)
    with pytest.raises(RuntimeError, match=rf"Trio {trio.__version__} can't be simulated: it has no .*_run\.{name}$"):
        run(trio.sleep_forever, 1, VirtualClock())


def test_everything_needed_is_missed_by_name_and_nothing_is_changed_then(monkeypatch):
    monkeypatch.setattr(schedule, "NEEDED", {_run.Deadlines: ("add", "gone_one", "gone_two")})
    before = _run._r
    with pytest.raises(RuntimeError, match=r"it has no Deadlines\.gone_one, Deadlines\.gone_two"):
        run(trio.sleep_forever, 1, VirtualClock())
    assert _run._r is before


def test_trio_is_as_it_was_after_a_run():
    before = (_run._r, _run.Deadlines.add, _run.CancelStatus.__attrs_post_init__)
    order_of(1)
    assert (_run._r, _run.Deadlines.add, _run.CancelStatus.__attrs_post_init__) == before
