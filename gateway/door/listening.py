"""Takes connections as fast as they come, however long a pass of the event loop takes."""

import socket

import trio

AT_ONCE_MAX = 8
"""Connections that are taken in a pass. Trio's own listener takes one, so that beside a flood of requests those who come are let in one
behind the other, a pass each."""


class BusyListener(trio.abc.Listener[trio.SocketStream]):
    """A listener that takes all who wait, so many at once. It closes the one that it was made of."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self._listener = listener
        self._plain = socket.socket(fileno=socket.dup(listener.socket.fileno()))
        self._plain.setblocking(False)
        self._left = 0

    async def accept(self) -> trio.SocketStream:
        """As Trio's; it is a checkpoint where nobody waits any more, or AT_ONCE_MAX were taken."""
        while self._left:
            self._left -= 1
            try:
                accepted, _ = self._plain.accept()
            except OSError:  # nobody waits; or what Trio's own listener will meet again, and tell
                break
            return trio.SocketStream(trio.socket.from_stdlib_socket(accepted))
        self._left = AT_ONCE_MAX - 1
        return await self._listener.accept()

    async def aclose(self) -> None:
        """Listens no longer."""
        self._plain.close()
        await self._listener.aclose()
