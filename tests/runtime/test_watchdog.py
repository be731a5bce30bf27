"""Handlers that do not come back: a real process that ends with its reason, and warnings while all others are served."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio

from runtime.actor import Actor, Reply, reply
from runtime.actors import Here, Props, open_actors
from runtime.codec import Codec
from runtime.records import Command
from runtime.ref import ActorRef
from runtime.store.sqlite import SqliteStore
from runtime.transparency import Signer
from runtime.tree import tree
from runtime.verification import verify
from runtime.watchdog import STUCK, describe
from tests.runtime.test_system import BANK

ROOT = Path(__file__).parents[2]
GUARD_SECONDS = 120  # no assertion about speed: only that the test ends

HELD_UP = """
import os, sys, time, trio
from pathlib import Path
from runtime import telemetry
from runtime.codec import Codec
from runtime.clock import SystemClock
from runtime.delivery import Context
from runtime.ids import Ids
from runtime.store.sqlite import SqliteStore
from runtime.system import Bounds, Role, open_system
from runtime.transparency import Signer
from tests.runtime import bank

class Teller(bank.Teller):
    def handle(self, message):
        if isinstance(message, bank.Break):
            while True:
                time.sleep(1)
        return super().handle(message)

async def deposit(system, number):
    for turn in range(10):
        context = Context(tenant="t1", principal="ann", key=f"{number}-{turn}", digest=b"d")
        await system.ask(bank.Deposit(account=f"a{number}", cents=1), context)
        os.write(1, f"{number}-{turn}\\n".encode())

async def main(folder):
    clock = SystemClock()
    store = SqliteStore(folder / "journal.db", Codec([bank]), Signer.load_or_make(folder / "journal-key"))
    bounds = Bounds(handler_warn_seconds=0.2, handler_seconds_max=0.6)
    roster = [Role(Teller, make=Teller)]
    async with open_system(store, roster, clock=clock, ids=Ids(clock), bounds=bounds) as system:
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(deposit, system, number)
        async with trio.open_nursery() as nursery:
            for number in range(8, 16):
                nursery.start_soon(deposit, system, number)
            await system.ask(bank.Break(how="for ever"), Context(tenant="t1", principal="ann"))

telemetry.configure()
trio.run(main, Path(sys.argv[1]))
"""


def test_a_process_that_a_plain_handler_holds_up_ends_with_its_reason_and_loses_nothing(tmp_path: Path) -> None:
    ended = run(HELD_UP, tmp_path)
    assert ended.returncode == STUCK, ended.stderr
    *_, warned, last = [json.loads(line) for line in ended.stderr.splitlines()]
    assert (warned["level"], warned["actor"], warned["message"]) == ("warning", "teller/t1", "Break")
    assert "time.sleep(1)" in warned["stack"] or "in handle" in warned["stack"]
    assert last["level"] == "critical"
    assert last["reason"].startswith("teller/t1 on Break has not come back for ")
    acknowledged = set(ended.stdout.split())
    assert len(acknowledged) >= 80
    assert verify(tmp_path / "journal.db").whole
    assert acknowledged <= keys(tmp_path)


def run(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=GUARD_SECONDS,
        check=False,
    )


def keys(folder: Path) -> set[str]:
    store = SqliteStore(folder / "journal.db", Codec([BANK]), Signer.load(folder / "journal-key"))
    try:
        return {one.meta.command.key for one in store.read(0, 10_000) if one.meta.command is not None}
    finally:
        store.close()


class Lines:
    """The log, line by line; whoever waits for one is told, be it on the loop or on a thread."""

    def __init__(self) -> None:
        self.told = threading.Condition()
        self.lines: list[dict[str, Any]] = []

    def __call__(self, _: object, method: str, line: MutableMapping[str, Any]) -> str:
        with self.told:
            self.lines.append({"level": method, **line})
            self.told.notify_all()
        return ""

    def named(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]

    def wait_for(self, event: str, number: int = 1) -> None:
        """Holds this thread up until so many such lines were written."""
        with self.told:
            assert self.told.wait_for(lambda: len(self.named(event)) >= number, GUARD_SECONDS)


@pytest.fixture
def lines() -> Iterator[Lines]:
    before, made = structlog.get_config(), Lines()
    structlog.configure(
        processors=[made], logger_factory=structlog.ReturnLoggerFactory(), cache_logger_on_first_use=False
    )
    yield made
    structlog.configure(**before)


class Do(Command[Any], frozen=True, kw_only=True):
    what: Any


class Plain(Actor[Do, None]):
    def __init__(self, here: Here) -> None:
        super().__init__(here)
        self.here: Here = here

    def handle(self, message: Do) -> Reply:
        return reply(message, message.what(self))


class Waiter(Actor[Do, None]):
    async def handle(self, message: Do) -> Reply:
        return reply(message, await message.what())


async def _at_once(ref: ActorRef, what: Callable[[], Any]) -> None:
    async def first() -> None:
        what()

    await ref.ask(Do(what=first))


async def _later(ref: ActorRef, what: Callable[[], Any]) -> None:
    async def second() -> None:
        await trio.lowlevel.checkpoint()
        what()

    await ref.ask(Do(what=second))


async def _beside(ref: ActorRef, what: Callable[[], Any]) -> None:
    done = trio.Event()

    async def work() -> None:
        what()
        done.set()

    await ref.ask(Do(what=lambda self: self.here.run(work)))
    await done.wait()


async def _plainly(ref: ActorRef, what: Callable[[], Any]) -> None:
    await ref.ask(Do(what=lambda _: what()))


@pytest.mark.parametrize(
    "kind,caller_runs,ask,message",
    [
        (Plain, True, _plainly, "Do"),
        (Plain, False, _plainly, "Do"),
        (Waiter, True, _at_once, "Do"),
        (Waiter, True, _later, "Do"),
        (Plain, True, _beside, "work"),
    ],
)
async def test_whoever_holds_the_loop_up_is_named_once(
    lines: Lines, kind: Any, caller_runs: bool, ask: Any, message: str
) -> None:
    async with open_actors(handler_warn_seconds=0.05) as actors:
        ref = actors.spawn(kind, "slow", Props(caller_runs=caller_runs))
        await ask(ref, lambda: lines.wait_for("handler does not come back"))
    [line] = lines.named("handler does not come back")
    assert (line["level"], line["actor"], line["message"]) == ("warning", "slow", message)
    assert line["seconds"] >= 0.05
    assert "wait_for" in line["stack"]


async def test_a_loop_that_something_else_holds_up_is_told_of_too(lines: Lines) -> None:
    async with open_actors(handler_warn_seconds=0.05):
        lines.wait_for("handler does not come back")
    assert lines.named("handler does not come back")[0]["actor"] is None


async def test_many_short_handlers_in_one_go_are_not_one_long_one(lines: Lines) -> None:
    async with open_actors(handler_warn_seconds=0.5) as actors:
        ref = actors.spawn(Plain, props=Props(caller_runs=False))
        for _ in range(50):
            ref.tell(Do(what=lambda _: time.sleep(0.02)))
        await ref.ask(Do(what=lambda _: None))
    assert lines.named("handler does not come back") == []


async def test_an_async_handler_that_never_returns_is_named_once_and_the_others_are_served(lines: Lines) -> None:
    async with open_actors(handler_warn_seconds=0.05, stop_seconds_max=0.01) as actors, trio.open_nursery() as nursery:
        other = actors.spawn(Plain, "other")
        for number in (1, 2):
            nursery.start_soon(_ask_in_vain, actors.spawn(Waiter, f"stuck {number}"))
            await trio.to_thread.run_sync(lines.wait_for, "handler waits", number)
            assert await other.ask(Do(what=lambda _: 1)) == 1
        row = next(row for row in tree(actors).actors if row.path == "stuck 1")
        assert (row.state, row.message) == ("waiting", "Do")
        assert row.waiting_seconds is not None
        assert row.waiting_seconds >= 0.05
        nursery.cancel_scope.cancel()
    warned = lines.named("handler waits")
    assert [(line["level"], line["actor"], line["message"]) for line in warned] == [
        ("warning", "stuck 1", "Do"),
        ("warning", "stuck 2", "Do"),
    ]
    assert "sleep_forever" in warned[0]["stack"]


async def _ask_in_vain(ref: ActorRef) -> None:
    await ref.ask(Do(what=trio.sleep_forever))


def watchdogs() -> int:
    """Not all threads: those that other work has left behind end when they like."""
    return sum(thread.name == "watchdog" for thread in threading.enumerate())


async def test_the_thread_ends_with_its_system() -> None:
    for _ in range(20):
        async with open_actors(handler_warn_seconds=5.0, handler_seconds_max=60.0):
            assert watchdogs() == 1
        assert watchdogs() == 0


async def test_without_limits_there_is_no_thread() -> None:
    async with open_actors():
        assert watchdogs() == 0


def test_what_is_worked_on_is_told_in_a_word() -> None:
    assert describe(None) == "work"
    assert describe(Do(what=1)) == "Do"


STOPPED = """
import sys, trio
from runtime import telemetry
from runtime.actors import open_actors

async def main():
    async with open_actors(handler_warn_seconds=0.2, handler_seconds_max=0.5):
        print("up", flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)

telemetry.configure()
trio.run(main)
"""


def test_time_in_which_the_whole_process_stood_still_does_not_count() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        for _ in range(2):
            process.send_signal(signal.SIGSTOP)
            time.sleep(1.0)  # twice the limit
            process.send_signal(signal.SIGCONT)
        _, errors = process.communicate("on\n", timeout=GUARD_SECONDS)
    assert (process.returncode, errors) == (0, "")


SPENT = """
import trio
from runtime import telemetry
from runtime.actor import Actor
from runtime.actors import open_actors
from runtime.records import Command

class Do(Command[None], frozen=True, kw_only=True):
    pass

class Broken(Actor):
    def handle(self, message):
        raise ValueError("out of order")

async def main():
    async with open_actors() as actors:
        ref = actors.spawn(Broken, "broken")
        while True:
            await ref.tell_when_free(Do())

telemetry.configure()
try:
    trio.run(main)
except* Exception:
    raise SystemExit(3)
"""


def test_a_process_ends_with_the_reason_when_a_restart_budget_is_used_up(tmp_path: Path) -> None:
    ended = run(SPENT, tmp_path)
    assert ended.returncode == 3, ended.stderr
    *crashes, last = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [line["event"] for line in crashes] == ["actor failed"] * 6
    assert (last["level"], last["event"]) == ("critical", "the system ends")
    assert last["reason"].startswith("broken failed too often; last: ValueError('out of order') (error ")


KEEPS_THE_LOCK = """
import re, signal, sys, trio
from runtime.actor import Actor
from runtime.actors import open_actors
from runtime.records import Command

class Match(Command, frozen=True):
    text: str

class Matcher(Actor):
    def handle(self, message):
        re.match("(a+)+$", message.text)

async def main():
    async with open_actors(handler_seconds_max=0.2) as actors:
        matcher = actors.spawn(Matcher)
        await matcher.ask(Match("aaaa"))
        print("acknowledged", flush=True)
        await matcher.ask(Match("a" * 100 + "b"))

trio.run(main)
"""


def test_a_process_whose_handler_keeps_the_interpreters_lock_ends_with_the_stack(tmp_path: Path) -> None:
    ended = run(KEEPS_THE_LOCK, tmp_path)
    assert ended.returncode == -signal.SIGPROF, ended.stderr
    assert ended.stdout == "acknowledged\n"
    assert "in handle" in ended.stderr
    assert "watchdog.py" in ended.stderr, "the stacks of all threads"


WINDS_UP = """
import signal, sys, trio
from runtime.actors import open_actors

async def main():
    for _ in range(2):
        async with open_actors(handler_seconds_max=50.0):
            while not signal.getitimer(signal.ITIMER_PROF)[0]:
                await trio.sleep(0)
        assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
    signal.signal(signal.SIGPROF, signal.SIG_IGN)
    async with open_actors(handler_seconds_max=0.05):
        await trio.sleep(0.2)
        assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)

trio.run(main)
"""


def test_the_timer_ends_with_its_system_and_leaves_a_profilers_signal_alone(tmp_path: Path) -> None:
    ended = run(WINDS_UP, tmp_path)
    assert ended.returncode == 0, ended.stderr
