"""A small TCP proxy before a PostgreSQL server: it loses what a test wants lost, and cuts the connection there."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from select import select
from typing import Literal

CHUNK_BYTES = 1 << 16
EXECUTION = b"B"
"""How the message begins that executes a prepared statement; what prepares it goes ahead, alone, and is of no interest here."""

Fault = Literal["answer", "batch"]


class Proxy:
    """Listens on loopback and goes to `target`, a socket's path. Faults meet the connections whose start names `victim`."""

    def __init__(self, target: str, *, victim: bytes = b"gavel writer") -> None:
        self.target: str | None = target
        """Nowhere: whoever comes is sent away."""
        self.victim = victim
        self.turns = 0
        """How often a victim has spoken after the server had: round trips."""
        self._fault: Fault | None = None
        self._after: Callable[[], None] = lambda: None
        self._closing = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def address(self) -> str:
        host, port = self._listener.getsockname()
        return f"postgresql://postgres@{host}:{port}/postgres?sslmode=disable&gssencmode=disable"

    def lose(self, fault: Fault, after: Callable[[], None] = lambda: None) -> None:
        """What a victim executes next, or the answer to it, is lost with its connection; `after` is called just before the cut."""
        self._after = after
        self._fault = fault

    def cut(self) -> None:
        """Ends all connections."""
        for pair in self._pairs:
            _end(pair)

    def close(self) -> None:
        self._closing = True
        # Closing a listener wakes nobody who waits in accept; a connection does.
        socket.create_connection(self._listener.getsockname()).close()
        self.cut()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing:
            client, _ = self._listener.accept()
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self.target or "")
            except OSError:
                client.close()
                server.close()
                continue
            self._pairs.append((client, server))
            self._threads.append(threading.Thread(target=self._carry, args=(client, server)))
            self._threads[-1].start()

    def _take_fault(self) -> Fault | None:
        fault, self._fault = self._fault, None
        return fault

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        is_victim, losing, spoke = False, False, server
        with suppress(OSError, ValueError), client, server:
            while True:
                for source in select([client, server], [], [])[0]:
                    chunk = source.recv(CHUNK_BYTES)
                    if not chunk:
                        _end((client, server))
                        return
                    if source is server and losing:
                        self._after()
                        _end((client, server))
                        return
                    is_victim = is_victim or self.victim in chunk
                    if source is client and is_victim:
                        self.turns += spoke is server
                        fault = self._take_fault() if chunk.startswith(EXECUTION) else None
                        if fault == "batch":
                            self._after()
                            _end((client, server))
                            return
                        losing = losing or fault == "answer"
                    spoke = source
                    (server if source is client else client).sendall(chunk)


def _end(pair: tuple[socket.socket, socket.socket]) -> None:
    for one in pair:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
