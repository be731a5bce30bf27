"""Listens to all quiet websockets at once: one task reads what any of them says, and hands it on in the same step.

A task that waits for each costs two turns of its own for every message, and a system call to wait again: more than the message. What can't
be handed on at once, and the end of the connection, goes to the connection's own task.
"""

import os
import select
from collections.abc import Callable
from typing import NamedTuple

import outcome
import trio

from gateway.door.kept_lock import Receiver

RECEIVE_BYTES = 16_384
"""Small, because up to 2,700 empty frames fit in it and are parsed in one step."""

HEARD_IN_ROW = 64
"""After so many have been heard, others get their turn."""

Hear = Callable[[bytes], bytes]
"""Takes what has come, and returns what it leaves to the connection's own task."""


async def read(number: int) -> bytes:
    """The next bytes from a descriptor, none at its end. Raises OSError.

    Straight from the descriptor: Trio's own way tries first, in vain, and makes a turn of its loop after.
    """
    while True:
        await trio.lowlevel.wait_readable(number)
        try:
            return os.read(number, RECEIVE_BYTES)
        except BlockingIOError:
            pass


class Call(NamedTuple):
    """A descriptor that is listened to, and whose task waits there."""

    hear: Hear
    task: trio.lowlevel.Task


class Switchboard:
    """The descriptors that are listened to. `run` must run beside."""

    def __init__(self) -> None:
        self._calls: dict[int, Call] = {}
        self._poll = select.epoll() if hasattr(select, "epoll") else None
        self._receiver = Receiver(RECEIVE_BYTES)

    def __len__(self) -> int:
        return len(self._calls)

    async def run(self) -> None:
        """Reads whatever comes, until cancelled."""
        poll = self._poll
        while poll is not None:
            await trio.lowlevel.wait_readable(poll.fileno())
            heard = 0
            while heard < HEARD_IN_ROW and (ready := poll.poll(0, HEARD_IN_ROW)):  # others speak meanwhile
                heard += len(ready)
                for number, _ in ready:
                    self._read(number)

    async def listen(self, number: int, hear: Hear) -> bytes:
        """Has `hear` take what comes in on a descriptor, until it leaves something, which is returned, or nothing more comes. Raises
        OSError, and what `hear` raises."""
        if self._poll is None:
            return await read(number)  # not Linux
        self._poll.register(number, select.EPOLLIN)
        self._calls[number] = Call(hear, trio.lowlevel.current_task())

        def hang_up(_: object) -> trio.lowlevel.Abort:
            self._forget(number)
            return trio.lowlevel.Abort.SUCCEEDED

        left: bytes = await trio.lowlevel.wait_task_rescheduled(hang_up)
        return left

    def close(self) -> None:
        """To be called when nobody listens any more."""
        if self._poll is not None:
            self._poll.close()

    def _read(self, number: int) -> None:
        call = self._calls.get(number)
        if call is None:
            return  # it has left, through what another has just said
        left: outcome.Outcome[bytes]
        try:
            data = self._receiver.receive(number)
            rest = call.hear(data) if data else b""
            if data and not rest:
                return
            left = outcome.Value(rest)
        except BlockingIOError:
            return
        except Exception as error:  # noqa: BLE001 — raised where the connection's own task waits, behind its fence
            left = outcome.Error(error)
        self._forget(number)
        trio.lowlevel.reschedule(call.task, left)

    def _forget(self, number: int) -> None:
        del self._calls[number]
        assert self._poll is not None
        self._poll.unregister(number)
