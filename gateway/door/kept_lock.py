"""Reads from and writes to sockets without giving up the interpreter's lock, where Python gives it up around each system call.

A thread that waits for the lock is woken by each of those calls, and comes too late: the call is over in a few microseconds, and the event
loop has the lock again. Beside hundreds of sockets that was once for every message, and cost the loop and the journal's writer an eighth of
all that a bid took. They get the lock where the loop waits for news, or by the interpreter's own clock.

What the C library is handed is of its types already where Python's own do not fit: to have each argument converted costs as much again.
What went wrong is told by the call that failed: Python's own, made after it, finds the mere end of a connection that was reset, and waits
where the socket does.
"""

import os
import socket
from typing import Any

try:
    import ctypes
except ImportError:  # an interpreter may have been built without it
    ctypes = None  # type: ignore[assignment]

SMALL_MAX = 1024

DONT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)
"""Whoever keeps the lock must never wait; where that can't be said, the lock is given up."""

QUIETLY = DONT_WAIT | getattr(socket, "MSG_NOSIGNAL", 0)

_libc: Any = None
if ctypes is not None and DONT_WAIT:
    _libc = ctypes.PyDLL(None, use_errno=True)
    _libc.recv.restype = _libc.send.restype = ctypes.c_ssize_t
    _send, _sizes = _libc.send, [ctypes.c_size_t(size) for size in range(SMALL_MAX)]


class Receiver:
    """Receives up to so many bytes at a time, for one thread."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        if _libc is not None:
            self._recv, self._size = _libc.recv, ctypes.c_size_t(bytes_max)
            buffer = bytearray(bytes_max)
            self._view, self._place = memoryview(buffer), (ctypes.c_char * bytes_max).from_buffer(buffer)

    def receive(self, number: int) -> bytes:
        """What has come on the socket of this descriptor; nothing where nothing more will. Raises OSError."""
        if _libc is not None:
            size: int = self._recv(number, self._place, self._size, DONT_WAIT)
            if size >= 0:
                return self._view[:size].tobytes()
            raise _failure()
        return os.read(number, self._bytes_max)


def write(number: int, data: bytes) -> int:
    """How many of the bytes went out on the socket of this descriptor. Raises OSError."""
    if _libc is not None:
        size = len(data)
        sent: int = _send(number, data, _sizes[size] if size < SMALL_MAX else ctypes.c_size_t(size), QUIETLY)
        if sent >= 0:
            return sent
        raise _failure()
    return os.write(number, data)


def _failure() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
