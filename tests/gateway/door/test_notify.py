"""The service manager is told, at a real socket, by file and by abstract name; and nobody waits for one that is not there."""

import os
import time
from pathlib import Path

import pytest
import trio
import trio.testing

from gateway.door.notify import Notifier


@pytest.mark.parametrize("kind", ["file", "abstract"])
async def test_each_state_is_one_datagram(tmp_path: Path, kind: str) -> None:
    name = str(tmp_path / "notify") if kind == "file" else f"@gavel-test-{os.getpid()}"
    with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_DGRAM) as manager, trio.fail_after(60):
        await manager.bind(name.replace("@", "\0"))
        notifier = Notifier({"NOTIFY_SOCKET": name})
        await notifier.ready()
        assert (await manager.recv(1000)).startswith(b"READY=1\n")
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        await notifier.reloading()
        kind_line, _, at = (await manager.recv(1000)).decode().partition("\nMONOTONIC_USEC=")
        assert kind_line == "RELOADING=1"
        assert int(at) >= before
        await notifier.stopping()
        assert (await manager.recv(1000)).startswith(b"STOPPING=1\n")


async def test_a_watched_node_says_that_it_lives(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_DGRAM) as manager:
        await manager.bind(str(tmp_path / "notify"))
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000000"}
        notifier = Notifier(environ | {"WATCHDOG_PID": str(os.getpid())})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notifier.keep_watched)
            for beat in range(3):
                assert await manager.recv(1000) == b"WATCHDOG=1"
                assert trio.current_time() == pytest.approx(15 * beat)
            nursery.cancel_scope.cancel()
        assert Notifier(environ | {"WATCHDOG_PID": "1"}).watch_seconds == 0


async def test_without_a_manager_nothing_is_told_and_one_that_is_gone_is_no_fault(tmp_path: Path) -> None:
    await Notifier({}).ready()
    await Notifier({}).keep_watched()
    await Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready()
