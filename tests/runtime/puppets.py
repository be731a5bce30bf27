"""Actors that do what a test tells them to, and what must hold of every actor once all is quiet."""

from collections.abc import Callable
from typing import Any

import trio

from runtime.actor import Actor, Reply, reply
from runtime.actors import Actors, Here
from runtime.mailbox import Extras
from runtime.records import Command
from runtime.ref import Terminated


class Do(Command[Any], frozen=True, kw_only=True):
    """Has the actor call this with itself, and answer what that returns; what can't be called is kept."""

    what: Any


class Plain(Actor[Any, None]):
    """Keeps what it hears."""

    def __init__(self, here: Here) -> None:
        super().__init__(here)
        self.here: Here = here
        self.heard: list[Any] = []

    def handle(self, message: Any) -> Reply | None:
        match message:
            case Do() if callable(message.what):
                return reply(message, message.what(self))
            case Do():
                self.heard.append(message.what)
                return reply(message, list(self.heard))
            case Terminated():
                self.heard.append(("gone", message.reason))
            case _:
                self.heard.append(message)
        return None


class Waiter(Actor[Any, None]):
    """Awaits what it is told to."""

    def __init__(self, here: Here) -> None:
        super().__init__(here)
        self.here: Here = here
        self.done = 0

    async def handle(self, message: Do) -> Reply:
        value = message.what(self)
        if hasattr(value, "__await__"):
            value = await value
        self.done += 1
        return reply(message, value)


def boom(_: object) -> None:
    raise ValueError("boom")


def done(waiter: Waiter) -> int:
    return waiter.done


def does(what: Callable[[Any], Any]) -> Do:
    return Do(what=what)


async def forever(_: object) -> None:
    await trio.sleep_forever()


def nothing_is_left(actors: Actors) -> None:
    """No asker, no sender, no handler, no work and no count stays behind in any actor."""
    for cell in actors.walk():
        extras = cell._extras or Extras()
        left = [*extras.asks, *extras.parked, *extras.stash, *extras.work, *(cell._queue or ())]
        assert left == [], cell
        assert (extras.withdrawn, extras.awaited, cell.current) == (0, None, None), cell
    assert not actors.dispatcher.waiting
    assert not actors.dispatcher.ready
