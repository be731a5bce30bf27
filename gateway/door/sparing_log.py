"""A log that a flood can't fill: one line of a kind each second, and then how many were left out.

What is written says what happened to a connection and why; thousands of the like say no more than one and a number.
"""

from collections.abc import Callable
from typing import Any

import structlog
import trio

SPARING_SECONDS = 1.0


class SparingLog:
    """Writes the first line of each kind in a second. `run` writes the numbers of what it kept to itself."""

    def __init__(self, name: str, *, seconds: float = SPARING_SECONDS) -> None:
        self._log = structlog.get_logger(name)
        self._seconds = seconds
        self._quiet_until: dict[str, float] = {}
        self._left_out: dict[str, int] = {}
        self._waiting = trio.Event()

    def info(self, event: str, **said: Any) -> None:
        """What clients do."""
        self._note(self._log.info, event, said)

    def warning(self, event: str, **said: Any) -> None:
        """What somebody should look at."""
        self._note(self._log.warning, event, said)

    def error(self, event: str, **said: Any) -> None:
        """What is our fault."""
        self._note(self._log.error, event, said)

    def tell_left_out(self) -> None:
        """Writes how many lines of each kind were left out since the last time."""
        for event, number in self._left_out.items():
            self._log.warning("left_out", of=event, lines=number)
        self._left_out.clear()
        self._quiet_until.clear()
        self._waiting = trio.Event()

    async def run(self) -> None:
        """Tells of what was left out, once a second where there is something."""
        try:
            while True:
                await self._waiting.wait()
                await trio.sleep(self._seconds)
                self.tell_left_out()
        finally:
            self.tell_left_out()

    def _note(self, write: Callable[..., Any], event: str, said: dict[str, Any]) -> None:
        now = trio.current_time()
        if now < self._quiet_until.get(event, 0.0):
            self._left_out[event] = self._left_out.get(event, 0) + 1
            self._waiting.set()
        else:
            self._quiet_until[event] = now + self._seconds
            write(event, **said)
