"""Sockets read and written while nobody else may run: what Python's own calls do, but for the lock."""

import errno
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from gateway.door import kept_lock
from gateway.door.kept_lock import Receiver

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    here, there = socket.socketpair()
    here.setblocking(False)
    there.setblocking(False)
    with here, there:
        yield here, there


@pytest.fixture(params=["kept", "given up"])
def receiver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Receiver:
    if request.param == "given up":
        monkeypatch.setattr(kept_lock, "_libc", None)
    return Receiver(64)


def test_what_one_side_writes_the_other_receives(pair: Pair, receiver: Receiver) -> None:
    here, there = pair
    said = bytes(range(100))
    assert kept_lock.write(here.fileno(), said) == 100
    assert receiver.receive(there.fileno()) + receiver.receive(there.fileno()) == said
    here.shutdown(socket.SHUT_WR)
    assert receiver.receive(there.fileno()) == b""


def test_where_nothing_has_come_and_nothing_goes_out_it_does_not_wait(pair: Pair, receiver: Receiver) -> None:
    here, there = pair
    with pytest.raises(BlockingIOError):
        receiver.receive(there.fileno())
    sent = 0
    with suppress(BlockingIOError):  # or this would never end
        while True:
            sent += kept_lock.write(here.fileno(), b"x" * 50_000)
    assert sent > 0
    heard = b""
    while len(heard) < sent:
        heard += receiver.receive(there.fileno())
    assert heard == b"x" * sent


def test_what_is_wrong_is_said_as_python_says_it(pair: Pair, receiver: Receiver) -> None:
    here, there = pair
    there.close()
    with pytest.raises(BrokenPipeError):
        kept_lock.write(here.fileno(), b"x")
    for call in (lambda: kept_lock.write(-1, b"x"), lambda: receiver.receive(-1)):
        with pytest.raises(OSError, match="descriptor") as failure:
            call()
        assert failure.value.errno == errno.EBADF


def test_who_was_cut_off_is_told_so_and_not_that_the_peer_has_ended(receiver: Receiver) -> None:
    """It is said once: the call after the one that failed would find nothing but the end."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        there = socket.create_connection(listening.getsockname())
        here, _ = listening.accept()
    with here:
        there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        there.close()
        with pytest.raises(ConnectionResetError):
            receiver.receive(here.fileno())


@pytest.mark.skipif(kept_lock._libc is None, reason="Python's own calls wait where the socket does")
def test_a_socket_that_would_wait_does_not(pair: Pair) -> None:
    """Somebody else who holds the same socket may have made it one."""
    here, there = pair
    here.setblocking(True)
    there.setblocking(True)
    with pytest.raises(BlockingIOError):
        Receiver(64).receive(there.fileno())
    with suppress(BlockingIOError):
        while True:
            kept_lock.write(here.fileno(), b"x" * 50_000)


def test_no_other_thread_runs_meanwhile(pair: Pair) -> None:
    here, there = pair
    numbers, receiver = (here.fileno(), there.fileno()), Receiver(64)
    turns, is_over = [0], threading.Event()

    def take_turns() -> None:
        while not is_over.is_set():
            turns[0] += 1
            time.sleep(0)

    interval, other = sys.getswitchinterval(), threading.Thread(target=take_turns)
    sys.setswitchinterval(60.0)  # the lock is given up, or the other thread never has it
    try:
        other.start()
        time.sleep(0.01)
        before = turns[0]
        for _ in range(2_000):
            kept_lock.write(numbers[0], b"said")
            receiver.receive(numbers[1])
        after = turns[0]
    finally:
        sys.setswitchinterval(interval)
        is_over.set()
        other.join()
    assert before > 0
    assert after == before
