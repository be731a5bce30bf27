"""Reads from and writes to sockets without giving up the interpreter's lock, where Python gives it up around each system call.

A thread that waits for the lock is woken by each of those calls, and comes too late: the call is over in a few microseconds, and the event
loop has the lock again. Beside hundreds of sockets that was once for every message, and cost the loop and the journal's writer an eighth of
all that a bid took. They get the lock where the loop waits for news, or by the interpreter's own clock.
"""

import os
import socket
from collections.abc import Callable
from typing import Any

try:
    import ctypes
except ImportError:  # an interpreter may have been built without it
    ctypes = None  # type: ignore[assignment]

DONT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)
"""Whoever keeps the lock must never wait; where that can't be said, the lock is given up."""

NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)

Call = Callable[[int, Any, int, int], int]


def _calls() -> tuple[Call, Call] | None:
    """The C library's `recv` and `send`, called with the lock held, where that can be done."""
    if ctypes is None or not DONT_WAIT:
        return None
    library = ctypes.PyDLL(None)
    library.recv.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    library.send.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int)
    library.recv.restype = library.send.restype = ctypes.c_ssize_t
    return library.recv, library.send


_libc = _calls()


class Receiver:
    """Receives up to so many bytes at a time, for one thread."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        if _libc is not None:
            self._recv, buffer = _libc[0], bytearray(bytes_max)
            self._view = memoryview(buffer)
            self._place = (ctypes.c_char * bytes_max).from_buffer(buffer)

    def receive(self, number: int) -> bytes:
        """What has come on the socket of this descriptor; nothing where nothing more will. Raises OSError."""
        if _libc is not None:
            size = self._recv(number, self._place, self._bytes_max, DONT_WAIT)
            if size >= 0:
                return self._view[:size].tobytes()
        return os.read(number, self._bytes_max)  # which says what is wrong


def write(number: int, data: bytes) -> int:
    """How many of the bytes went out on the socket of this descriptor. Raises OSError."""
    if _libc is not None:
        sent = _libc[1](number, data, len(data), DONT_WAIT | NO_SIGNAL)
        if sent >= 0:
            return sent
    return os.write(number, data)  # which says what is wrong
