"""Levels by actor, set while it runs, and what its own lines tell of the message."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from runtime import log_levels, telemetry
from runtime.actor import Actor, Reply, reply
from runtime.actors import Actors, Here, open_actors
from runtime.delivery import Context
from runtime.errors import Crashed, Overloaded, Refused
from runtime.log_levels import LogLevels
from runtime.records import Command


class Do(Command[Any], frozen=True, kw_only=True):
    what: Any


class Speaker(Actor[Do, None]):
    def __init__(self, here: Here) -> None:
        super().__init__(here)
        self.here: Here = here

    def handle(self, message: Do) -> Reply:
        return reply(message, message.what(self))


class Listener(Speaker):
    """Another kind."""


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    before, stream = structlog.get_config(), io.StringIO()
    telemetry.configure("json", "info", stream)
    yield stream
    structlog.configure(**before)


def lines(written: io.StringIO) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in written.getvalue().splitlines()]
    written.truncate(written.seek(0))
    return found


def speak(self: Speaker) -> None:
    self.here.log.debug("quietly")
    self.here.log.warning("loudly")


async def said(actors: Actors, written: io.StringIO) -> dict[str, list[str]]:
    """What each actor's lines are when all have spoken."""
    for cell in list(actors.walk()):
        await cell.ask(Do(what=speak))
    found: dict[str, list[str]] = {}
    for line in lines(written):
        found.setdefault(line["actor"], []).append(line["event"])
    return found


async def test_the_longest_path_counts_then_the_kind(written: io.StringIO) -> None:
    async with open_actors() as actors:
        parent = actors.spawn(Speaker, "parent")
        await parent.ask(Do(what=lambda self: self.here.spawn(Listener, "child")))
        actors.spawn(Listener, "parents")
        everybody = {path: ["loudly"] for path in ("parent", "parent/child", "parents")}
        assert await said(actors, written) == everybody
        actors.log_levels.set("listener", "debug")
        assert await said(actors, written) == everybody | {
            "parent/child": ["quietly", "loudly"],
            "parents": ["quietly", "loudly"],
        }
        actors.log_levels.set("parent", "error")
        assert await said(actors, written) == {"parents": ["quietly", "loudly"]}
        actors.log_levels.set("parent/child", "debug")
        assert set(await said(actors, written)) == {"parent/child", "parents"}
        for name in ("listener", "parent", "parent/child", "nobody"):
            actors.log_levels.set(name, None)
        assert await said(actors, written) == everybody


async def test_the_runtimes_own_lines_about_an_actor_have_its_level_too(written: io.StringIO) -> None:
    def refuse(_: object) -> None:
        raise Refused("no")

    async with open_actors() as actors:
        ref = actors.spawn(Speaker, "one")
        ref.tell(Do(what=refuse))
        await ref.ask(Do(what=lambda _: None))
        assert lines(written) == []
        actors.log_levels.set("one", "debug")
        ref.tell(Do(what=refuse))
        await ref.ask(Do(what=lambda _: None))
        [line] = lines(written)
        assert (line["event"], line["level"], line["actor"], line["message"]) == ("refused", "debug", "one", "Do")
        actors.log_levels.set("one", "critical")
        with pytest.raises(Crashed):
            await ref.ask(Do(what=lambda _: 1 // 0))
        assert lines(written) == []


async def test_a_line_names_the_message_its_cause_and_its_root(written: io.StringIO) -> None:
    async with open_actors() as actors:
        second = actors.spawn(Speaker, "second")
        first = actors.spawn(Speaker, "first")

        def pass_on(self: Speaker) -> None:
            self.here.log.info("passes on")
            second.tell(Do(what=lambda self: self.here.log.info("takes")))

        context = Context(tenant="t", principal="ann", correlation="c" * 32)
        await first.ask(Do(what=pass_on), context=context)
        await second.ask(Do(what=lambda _: None))
        passed, taken = lines(written)
        assert (passed["actor"], passed["cause"], passed["root"]) == ("first", 0, passed["message_id"])
        assert (taken["actor"], taken["cause"], taken["root"]) == ("second", passed["message_id"], passed["message_id"])
        assert taken["correlation"] == "c" * 32


async def test_work_beside_an_actor_speaks_for_the_message_that_began_it(written: io.StringIO) -> None:
    async with open_actors() as actors:
        ref = actors.spawn(Speaker, "one")

        def begin(self: Speaker) -> None:
            async def work() -> None:
                await ref.ask(Do(what=lambda self: self.here.log.info("asked")))
                self.here.log.info("beside")

            self.here.log.info("begins")
            self.here.run(work)

        await ref.ask(Do(what=begin))
        while len(written.getvalue().splitlines()) < 3:
            await ref.ask(Do(what=lambda _: None))
        begun, asked, beside = lines(written)
        assert beside["message_id"] == begun["message_id"] == asked["cause"]


def test_levels_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_levels, "LEVELS_MAX", 2)
    levels = LogLevels()
    for name in ("a", "b", "a"):
        levels.set(name, "debug")
    with pytest.raises(Overloaded):
        levels.set("c", "debug")
    levels.set("a", None)
    levels.set("c", "info")
    assert (levels.has("a"), levels.of("c/d/e", "b"), levels.of("x", "b"), levels.of("x", "x")) == (
        False,
        "info",
        "debug",
        None,
    )
