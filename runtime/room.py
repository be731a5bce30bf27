"""The room that is left on the disk: below a minimum no new work is taken, so that what has begun can be brought to its end.

A disk that is full refuses completions, erasures and the audit of what happened, too. The minimum keeps room for those.
"""

import math
import os
from collections.abc import Callable
from pathlib import Path

import trio

from runtime.errors import NoRoom

LOOK_SECONDS = 1.0
"""How old the last look at the disk may be: a look at each message would be a system call at each."""

RETRY_SECONDS = 30.0


def free_bytes(folder: Path) -> int:
    """What anybody but the superuser may still write to the disk of a folder."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


class Room:
    """The disk of one folder. Without a minimum there is always room."""

    def __init__(
        self,
        folder: Path,
        bytes_min: int,
        *,
        measure: Callable[[Path], int] = free_bytes,
        now: Callable[[], float] = trio.current_time,
    ) -> None:
        self.bytes_min = bytes_min
        self._folder = folder
        self._measure = measure
        self._now = now
        self._looked_at = -math.inf
        self._left = 0
        self._trouble = ""

    @property
    def left(self) -> int:
        """How many bytes are free, as of a moment ago."""
        now = self._now()
        if now >= self._looked_at + LOOK_SECONDS:
            self._looked_at = now
            try:
                self._left, self._trouble = self._measure(self._folder), ""
            except OSError as error:
                self._left, self._trouble = 0, f": {error.strerror or error}"
        return self._left

    def fault(self, wanted: int = 0) -> str:
        """Why there is no room for new work that needs so many bytes; empty where there is."""
        if not self.bytes_min or (left := self.left) - wanted >= self.bytes_min:
            return ""
        return (
            f"{left} bytes are free on the disk{self._trouble}, and {self.bytes_min} are kept for work that has begun"
        )

    def check(self, wanted: int = 0) -> None:
        """Raises NoRoom where there is none for new work that needs so many bytes."""
        if fault := self.fault(wanted):
            raise NoRoom(f"no new work is taken: {fault}", retry_seconds=RETRY_SECONDS)
