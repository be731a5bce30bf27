"""Actors by key that tests spawn: each notes when it begins and ends, and what it hears."""

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from runtime.actor import Actor, Reply, reply
from runtime.actors import Here
from runtime.records import Command


class Hear(Command[int], frozen=True, kw_only=True):
    """Heard by the actor of `key`, which answers how many it has heard."""

    key: str
    number: int = 0
    what: Any = None


class Story:
    """What happened to all actors of a family, in order."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, Any]] = []
        self.live: set[str] = set()
        self.live_peak = 0
        self.last_words: Callable[[str], None] = lambda key: None

    def begin(self, key: str) -> None:
        assert key not in self.live, f"two incarnations of {key} at one time"
        self.live.add(key)
        self.live_peak = max(self.live_peak, len(self.live))
        self.lines.append(("begun", key, None))

    def end(self, key: str) -> None:
        self.last_words(key)
        self.live.remove(key)
        self.lines.append(("ended", key, None))

    def heard(self, key: str | None = None) -> list[int]:
        """The numbers that this key has heard, or all have, in their order."""
        return [line[2] for line in self.lines if line[0] == "heard" and key in (None, line[1])]


class Plain(Actor[Any, None]):
    """Runs `what` of a message with itself."""

    def __init__(self, here: Here, key: str, story: Story) -> None:
        super().__init__(here)
        self.here: Here = here
        self.key = key
        self.story = story
        self.count = 0
        story.begin(key)

    def handle(self, message: Any) -> Reply | None:
        if not isinstance(message, Hear):
            self.story.lines.append(("farewell", self.key, message))
            return None
        assert message.key == self.key
        self.count += 1
        self.story.lines.append(("heard", self.key, message.number))
        if message.what is not None:
            message.what(self)
        return reply(message, self.count)

    def stopped(self) -> None:
        self.story.end(self.key)


class Waiter(Plain):
    """Awaits `what` of a message, and the farewell in place of a message."""

    async def handle(self, message: Any) -> Reply | None:  # type: ignore[override]
        if not isinstance(message, Hear):
            self.story.lines.append(("farewell", self.key, message))
            await message.wait()
            return None
        self.count += 1
        self.story.lines.append(("heard", self.key, message.number))
        if message.what is not None:
            work: Awaitable[None] = message.what(self)
            await work
        return reply(message, self.count)


def key_of(message: Hear) -> str:
    return message.key


async def forever(_: object) -> None:
    await trio.sleep_forever()
