"""Tells the service manager how a node fares, as systemd's notification protocol has it; without one, nothing.

Lines such as `READY=1` go as one datagram to the socket that NOTIFY_SOCKET names, a file or an abstract name.
"""

import os
import time
from collections.abc import Mapping

import structlog
import trio

SEND_SECONDS_MAX = 1.0
"""A service manager that does not read must not hold us up."""

log = structlog.get_logger("gateway.door.notify")


class Notifier:
    """The service manager that has started this process, if one has."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watch_seconds = _watch_seconds(environ) if self._address else 0.0
        """How often it wants to hear that we live; 0: never."""

    async def tell(self, *lines: str) -> None:
        """Sends the lines, unless nobody listens."""
        if not self._address:
            return
        with trio.move_on_after(SEND_SECONDS_MAX, shield=True):
            try:
                with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_DGRAM) as sending:
                    await sending.sendto("\n".join(lines).encode(), self._address)
            except OSError as error:
                log.warning("service_manager_not_told", said=lines[0], reason=error.strerror or str(error))

    async def ready(self) -> None:
        """All is open."""
        await self.tell("READY=1", "STATUS=serves")

    async def stopping(self) -> None:
        """The end has begun."""
        await self.tell("STOPPING=1", "STATUS=stops")

    async def reloading(self) -> None:
        """Files are read again; `ready` says when that is over."""
        await self.tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    async def keep_watched(self) -> None:
        """Says that the event loop turns, twice as often as it is wanted."""
        while self.watch_seconds:
            await self.tell("WATCHDOG=1")
            await trio.sleep(self.watch_seconds / 2)


def _watch_seconds(environ: Mapping[str, str]) -> float:
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    given = environ.get("WATCHDOG_USEC", "")
    return int(given) / 1e6 if given.isdigit() else 0.0
