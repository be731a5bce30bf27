"""Timers come from what an actor remembers: they fire behind earlier messages, survive restarts, and know of pauses."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from runtime.actor import Effect
from runtime.clock import SystemClock
from runtime.codec import Codec
from runtime.delivery import Context
from runtime.ids import Ids
from runtime.store.sqlite import SqliteStore
from runtime.system import Role, System, open_system
from runtime.transparency import Signer
from tests.runtime.bank import Deposit, Greet, Ledger, Teller, stream

BANK = sys.modules["tests.runtime.bank"]
ANN = Context(tenant="t1", principal="ann")


class Reminder(Teller):
    """Greets an account a moment after its deposit, once; what it waits for is what it remembers."""

    woken: list[str]
    woken_at: list[float]
    pauses: list[float]
    DELAY_SECONDS = 0.2

    def __init__(self, here: object) -> None:
        super().__init__(here)  # type: ignore[arg-type]
        self.woken, self.woken_at, self.pauses = [], [], []
        self.since = self.here.clock.now()

    def due(self) -> float | None:
        memory: Ledger = self.memory
        return None if memory.greeted or not memory.cents_by_account else self.since + self.DELAY_SECONDS

    def wake(self, at: float) -> Effect | None:
        account = min(self.memory.cents_by_account)
        self.woken.append(account)
        self.woken_at.append(at)
        return Effect([(stream(account), Greet(account=account))])

    def paused(self, at: float, seconds: float) -> None:
        self.pauses.append(seconds)
        self.since = at


@asynccontextmanager
async def node(folder: Path) -> AsyncIterator[System]:
    clock = SystemClock()
    store = SqliteStore(folder / "journal.db", Codec([BANK]), Signer.load_or_make(folder / "journal-key"))
    async with open_system(store, [Role(Reminder)], clock=clock, ids=Ids(clock)) as system:
        yield system
    store.close()


async def test_a_timer_fires_once_and_is_recorded(tmp_path: Path) -> None:
    async with node(tmp_path) as system:
        await system.ask(Deposit(account="a", cents=1), ANN)
        with trio.fail_after(60):
            await system.journal.wait_past(1)
        (greeted,) = await system.journal.read(1)
        assert greeted.meta.cause == "timer"
    async with node(tmp_path) as system:
        await trio.sleep(2 * Reminder.DELAY_SECONDS)
        assert system.journal.position == 2


async def test_a_timer_that_was_due_while_nobody_ran_fires_after_the_start(tmp_path: Path) -> None:
    async with node(tmp_path) as system:
        await system.ask(Deposit(account="a", cents=1), ANN)
    async with node(tmp_path) as system:
        with trio.fail_after(60):
            assert await system.journal.wait_past(1) == 2


async def test_whatever_keeps_a_wake_from_being_handled_it_is_of_the_moment_when_it_was_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node(tmp_path) as system:
        monkeypatch.setattr(Reminder, "DELAY_SECONDS", 3600.0)
        await system.ask(Deposit(account="a", cents=1), ANN)
        cell = system.cells["reminder", "t1"]
        actor = cell.actor
        assert isinstance(actor, Reminder)
        cell.wake(actor.since)
        await system.journal.wait_past(1)
        assert actor.woken_at == [actor.since]
        assert system.clock.now() > actor.since


async def test_who_could_not_be_reached_until_the_door_was_open_is_told_so(tmp_path: Path) -> None:
    async with node(tmp_path) as system:
        await system.ask(Deposit(account="a", cents=1), ANN)
        actor = system.cells["reminder", "t1"].actor
        assert isinstance(actor, Reminder)
        await trio.sleep(0.05)
        system.opened()
        [seconds] = actor.pauses
        assert 0.05 <= seconds < 30


PAUSED = """
import sys, trio
from pathlib import Path
from runtime import telemetry
from tests.runtime.test_timers import node, Reminder, ANN, Deposit

async def main():
    async with node(Path(sys.argv[1])) as system:
        Reminder.DELAY_SECONDS = 30.0
        await system.ask(Deposit(account="a", cents=1), ANN)
        actor = system.cells["reminder", "t1"].actor
        print("ready", flush=True)
        while not actor.pauses:
            await trio.sleep(0.05)
        print(actor.pauses[0], actor.woken, flush=True)

telemetry.configure()
trio.run(main)
"""


def test_a_stopped_process_tells_its_actors_that_it_stood_still(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PAUSED, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGSTOP)
        # The stop itself is what is tested: it has to last longer than PAUSE_SECONDS_MIN.
        subprocess.run(["sleep", "2.5"], check=True)
        process.send_signal(signal.SIGCONT)
        seconds, woken = process.stdout.readline().split(" ", 1)
        assert float(seconds) >= 1.0
        assert woken == "[]\n"


class Sleeper(Teller):
    """Is due when somebody outside says so."""

    due_at: float | None = None

    def due(self) -> float | None:
        return self.due_at

    def wake(self, at: float) -> Effect | None:
        self.due_at = None
        return Effect([(stream("a"), Greet(account="a"))])


async def test_an_actor_is_woken_for_what_has_changed_beside_its_steps(tmp_path: Path) -> None:
    clock = SystemClock()
    store = SqliteStore(tmp_path / "journal.db", Codec([BANK]), Signer.load_or_make(tmp_path / "journal-key"))
    async with open_system(store, [Role(Sleeper)], clock=clock, ids=Ids(clock)) as system:
        await system.ask(Deposit(account="a", cents=1), ANN)
        (cell,) = system.cells.values()
        sleeper = cell.actor
        assert isinstance(sleeper, Sleeper)
        sleeper.due_at = clock.now()
        sleeper.here.rearm()
        with trio.fail_after(60):
            await system.journal.wait_past(1)
        assert [record.kind for record in await system.journal.read(1)] == ["bank.Greeted"]
    store.close()
