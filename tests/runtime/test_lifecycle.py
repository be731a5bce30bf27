"""Ordered start with rollback, stop in reverse within a deadline, and nothing left of a thousand of them."""

import gc
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from runtime.actor import Actor, Reply, reply
from runtime.actors import Actors, Here, open_actors
from runtime.errors import Unreachable
from runtime.keyed import spawn_keyed
from runtime.lifecycle import NotStarted, Started, Step, start_all
from runtime.pools import RoundRobin, spawn_pool
from runtime.records import Command
from tests.runtime.keys import Hear, Plain, Story, key_of

blocked = trio.testing.wait_all_tasks_blocked


class Ping(Command[str], frozen=True, kw_only=True):
    what: Any = None


class Echo(Actor[Ping, None]):
    takes = (Ping,)

    async def handle(self, message: Ping) -> Reply:
        if message.what is not None:
            await message.what()
        return reply(message, "pong")


class Log:
    """What was started and stopped, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def step(self, name: str, **settings: Any) -> Step:
        return Step(name, lambda: self.part(name), **settings)

    def failing(self, name: str) -> Step:
        return Step(name, lambda: self.part(name, fails=True))

    @asynccontextmanager
    async def plain(self, name: str) -> AsyncIterator[None]:
        """Holds nothing that a cancellation would end by itself."""
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.cancel_shielded_checkpoint()  # it may be cancelled and start nevertheless
        self.lines.append(f"+{name}")
        try:
            yield
        finally:
            self.lines.append(f"-{name}")

    @asynccontextmanager
    async def part(self, name: str, fails: bool = False) -> AsyncIterator[str]:
        """Holds a nursery, as many do."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.cancel_shielded_checkpoint()
            if fails:
                raise ValueError(f"no {name}")
            self.lines.append(f"+{name}")
            try:
                yield name.upper()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.lowlevel.checkpoint()
                self.lines.append(f"-{name}")
                nursery.cancel_scope.cancel()


async def test_steps_start_in_order_and_stop_in_reverse() -> None:
    log = Log()
    async with open_actors() as actors:
        steps = [
            log.step("a"),
            Step("echo", lambda: actors.spawn(Echo, "echo"), lambda ref: ref.ask(Ping())),
            log.step("b"),
        ]
        async with start_all(steps) as started:
            assert log.lines == ["+a", "+b"]
            assert (started["a"], list(started.values)) == ("A", ["a", "echo", "b"])
            assert await started["echo"].ask(Ping()) == "pong"
        assert log.lines == ["+a", "+b", "-b", "-a"]
        assert not started["echo"].alive
        assert started.slow_to_stop == []


@pytest.mark.parametrize("place", range(4))
async def test_where_a_step_fails_what_had_started_is_stopped_in_reverse_and_the_error_names_it(place: int) -> None:
    log, names = Log(), ["a", "b", "c", "d"]
    steps = [log.failing(name) if number == place else log.step(name) for number, name in enumerate(names)]
    with pytest.raises(NotStarted, match=f"step {place + 1} of 4, {names[place]}, did not start") as caught:
        async with start_all(steps):
            raise AssertionError("it has not started")
    assert caught.value.step == names[place]
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    before = names[:place]
    assert log.lines == [f"+{name}" for name in before] + [f"-{name}" for name in reversed(before)]


async def test_one_that_is_not_ready_in_time_or_refuses_has_not_started(autojump_clock: Any) -> None:
    log = Log()
    async with open_actors() as actors:

        def spawn() -> Any:
            return actors.spawn(Echo, "echo")

        async def asks_in_vain(ref: Any) -> None:
            await ref.ask(Ping(what=trio.sleep_forever), seconds=100)

        for ready, said in ((asks_in_vain, "was not ready within 3 s"), (_refuses, "did not start: Unreachable")):
            with pytest.raises(NotStarted, match=f"step 2 of 3, echo, {said}"):
                async with start_all([log.step("a"), Step("echo", spawn, ready, 3.0), log.step("b")]):
                    raise AssertionError("it has not started")
        assert log.lines == ["+a", "-a"] * 2
        assert list(actors.walk()) == []


async def _refuses(_: object) -> None:
    raise Unreachable("nobody there")


async def test_two_steps_of_one_name_and_an_actor_that_ends_at_once_are_errors() -> None:
    log = Log()
    with pytest.raises(ValueError, match="more than one step is named a, b"):
        async with start_all([log.step(name) for name in "abcab"]):
            pass

    class Brief(Echo):
        def __init__(self, here: Here) -> None:
            super().__init__(here)
            here.stop_soon("enough")

    async with open_actors() as actors:
        with pytest.raises(NotStarted, match="brief has ended already"):
            async with start_all([log.step("a"), Step("brief", lambda: actors.spawn(Brief, "brief"))]):
                pass
    assert log.lines == ["+a", "-a"]


async def test_who_is_slow_to_stop_is_named_and_costs_the_others_nothing(autojump_clock: Any) -> None:
    log = Log()

    @asynccontextmanager
    async def slow() -> AsyncIterator[None]:
        yield
        await trio.sleep_forever()

    async with open_actors() as actors, trio.open_nursery() as nursery:
        steps = [log.step("a"), Step("echo", lambda: actors.spawn(Echo)), Step("slow", slow), log.step("b")]
        begun = trio.current_time()
        with capture_logs() as logs:
            async with start_all(steps, stop_seconds_max=2.0) as started:
                nursery.start_soon(_is_ended, started["echo"])
                await blocked()
            assert 1.8 <= trio.current_time() - begun <= 2.0
        assert started.slow_to_stop == ["slow", "echo"]
        assert [line["step"] for line in logs if line["event"] == "step was slow to stop"] == ["slow", "echo"]
    assert log.lines == ["+a", "+b", "-b", "-a"]


async def _is_ended(ref: Any) -> None:
    with pytest.raises(Unreachable, match="in the middle"):
        await ref.ask(Ping(what=trio.sleep_forever))


async def test_one_that_fails_while_it_is_in_use_stops_all() -> None:
    log, fail = Log(), trio.Event()

    @asynccontextmanager
    async def fails_later() -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_fail_after, fail)
            yield

    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="later"), flatten_subgroups=True):
        async with start_all([log.step("a"), Step("fails", fails_later), log.step("b")]):
            fail.set()
            await trio.sleep_forever()
    assert log.lines == ["+a", "+b", "-b", "-a"]


async def _fail_after(event: trio.Event) -> None:
    await event.wait()
    raise ValueError("later")


async def test_one_that_fails_to_stop_keeps_no_other_from_stopping() -> None:
    log = Log()

    @asynccontextmanager
    async def fails_to_stop() -> AsyncIterator[None]:
        yield
        raise ValueError("can't stop")

    expected = pytest.RaisesExc(ValueError, match="can't stop")
    with pytest.RaisesGroup(expected, flatten_subgroups=True):
        async with start_all([log.step("a"), Step("fails", fails_to_stop), log.step("b")]):
            pass
    with pytest.RaisesGroup(NotStarted, expected, flatten_subgroups=True):
        async with start_all([log.step("c"), Step("fails", fails_to_stop), log.failing("d")]):
            pass
    assert log.lines == ["+a", "+b", "-b", "-a", "+c", "-c"]


async def test_a_system_that_stops_during_a_start_names_the_step_that_came_too_late() -> None:
    log = Log()
    async with open_actors() as actors:
        steps = [log.step("a"), Step("stops", lambda: actors.spawn(Echo), lambda _: actors.stop())]
        with pytest.raises(
            NotStarted, match=r"step 3 of 3, late, did not start: RuntimeError.*nothing is spawned any more"
        ):
            async with start_all([*steps, Step("late", lambda: actors.spawn(Echo))]):
                pass
    assert log.lines == ["+a", "-a"]


@pytest.mark.parametrize("moments", range(24))
def test_cancelled_at_any_moment_all_that_had_started_stops_in_reverse(moments: int) -> None:
    for _ in range(6):  # who of those that are ready runs first is Trio's choice, anew each time
        trio.run(_cancelled_after, moments)


async def _cancelled_after(moments: int) -> None:
    log = Log()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_start_and_wait, log)
        for _ in range(moments):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    begun = [line[1:] for line in log.lines if line[0] == "+"]
    assert begun == ["a", "b", "c"][: len(begun)]
    assert log.lines == [f"+{name}" for name in begun] + [f"-{name}" for name in reversed(begun)]


async def _start_and_wait(log: Log) -> None:
    async with start_all([log.step("a"), Step("b", lambda: log.plain("b")), log.step("c")]):
        await trio.sleep_forever()


def tasks() -> int:
    """How many tasks of the program there are; Trio's own do not count."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    return sum(1 for _ in _below(root))


def _below(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield child
            yield from _below(child)


def left_open() -> tuple[int, int, int]:
    return tasks(), threading.active_count(), len(os.listdir("/proc/self/fd"))


async def test_nothing_is_left_of_a_thousand_starts_and_stops() -> None:
    await _live_once(0)
    await trio.to_thread.run_sync(int)  # Trio keeps the thread for a while
    gc.collect()
    before = left_open()
    for number in range(1000):
        await _live_once(number)
    gc.collect()
    # Trio may have let go of a thread that it kept for a while.
    assert all(now <= then for now, then in zip(left_open(), before, strict=True))


async def _live_once(number: int) -> None:
    """A system with an actor, a pool, keys, a socket, a file and a thread; every third fails to start."""
    story = Story()
    async with open_actors() as actors:
        steps = [
            Step("socket", _listening),
            Step("file", lambda: _opened(__file__)),
            Step("echo", lambda: actors.spawn(Echo), lambda ref: ref.ask(Ping())),
            Step("pool", lambda: spawn_pool(actors, Echo, "pool", 3, RoundRobin()), lambda ref: ref.ask(Ping())),
            Step("keys", lambda: _keys(actors, story), lambda ref: ref.ask(Hear(key="a"))),
        ]
        if number % 3 == 2:
            with pytest.raises(NotStarted):
                async with start_all([*steps, Log().failing("last")]):
                    pass
        else:
            async with start_all(steps) as started:
                await _use(started)
        assert list(actors.walk()) == []


def _keys(actors: Actors, story: Story) -> Any:
    return spawn_keyed(actors, lambda here, key: Plain(here, key, story), "keys", key_of, live_max=2)


async def _use(started: Started) -> None:
    for key in "abc":
        await started["keys"].ask(Hear(key=key))
    started["pool"].tell(Ping(what=lambda: trio.to_thread.run_sync(int)))
    started["pool"].resize(1)
    assert await started["pool"].ask(Ping()) == "pong"


@asynccontextmanager
async def _listening() -> AsyncIterator[None]:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        yield


@asynccontextmanager
async def _opened(path: str) -> AsyncIterator[None]:
    with open(path):  # noqa: ASYNC230 - as good as any file
        yield
