"""A node in a process of its own, as an operator runs it: started, killed at any moment, stopped, and started again."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from gateway.storage.folder import DataFolder
from tests import forks

SIGN_IN = re.compile(r"(http://\S+)/session\?ticket=")


class Forked:
    """A forked program, as Trio has processes."""

    def __init__(self, program: forks.Program, errors: int) -> None:
        self._program = program
        self.pid = program.pid
        self.stderr = trio.lowlevel.FdStream(errors)

    @property
    def returncode(self) -> int | None:
        """Its exit code; None before it has ended."""
        return None if self._program.is_running else self._program.wait()

    async def wait(self) -> int:
        """Its exit code, once it has ended."""
        return await trio.to_thread.run_sync(self._program.wait)

    def send_signal(self, number: int) -> None:
        """Signals it, if it has not ended."""
        self._program.send_signal(number)


class Served:
    """A `gavel serve`, from the moment that its process was started."""

    def __init__(self, folder: DataFolder, process: trio.Process | Forked) -> None:
        self.folder = folder
        self.process = process
        self.said = ""
        """What it has written to stderr."""
        self.url = ""
        self._is_open = trio.Event()

    async def listen(self) -> None:
        """Takes in what the process says until it has ended: a pipe that nobody reads would stop it."""
        assert self.process.stderr is not None
        async with self.process.stderr as errors:
            async for part in errors:
                self.said += part.decode()
                if not self.url and (link := SIGN_IN.search(self.said)):
                    self.url = link[1]
                    self._is_open.set()
        self._is_open.set()

    async def open(self) -> str:
        """Waits until its door is open, and returns its address."""
        await self._is_open.wait()
        assert self.url, self.said
        return self.url

    def admin_key(self) -> str:
        """The admin's key, as its data folder has it."""
        return self.folder.admin_key.read_text().strip()

    async def kill(self) -> None:
        """SIGKILL, wherever it is."""
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        """Asks it to end, and returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()


@asynccontextmanager
async def serving(folder: Path, *before: str, inside: str = "", **settings: object) -> AsyncIterator[Served]:
    """A node on the data folder `data` in a folder; killed at the end, if it has not ended before.

    `before` is a command that runs it, in a world of its own whose root is `inside` to this process, with {pid} for its id.
    """
    async with trio.open_nursery() as nursery:
        process = await _start(before, folder, surroundings(folder, **settings))
        root = inside.format(pid=process.pid)
        served = Served(DataFolder(Path(f"{root}{folder}") / "data"), process)
        nursery.start_soon(served.listen)
        try:
            yield served
        finally:
            with trio.CancelScope(shield=True):
                await served.kill()


async def _start(before: Sequence[str], folder: Path, environment: dict[str, str]) -> trio.Process | Forked:
    serve = ("serve", "--bind", "127.0.0.1:0")
    if before:
        command = [*before, sys.executable, "-P", "-m", "gateway.cli", *serve]
        return await trio.lowlevel.open_process(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
    return await trio.to_thread.run_sync(_fork, serve, folder, environment)


def _fork(command: Sequence[str], folder: Path, environment: dict[str, str]) -> Forked:
    reading, writing = os.pipe()
    with open(writing, "wb") as errors:
        program = forks.start(
            forks.GAVEL, *command, folder=folder, environment=environment, output=errors, errors=errors
        )
    return Forked(program, reading)


def surroundings(folder: Path, **settings: object) -> dict[str, str]:
    """The environment of a command that is to use the data folder `data` in a folder, with these settings and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GAVEL_", "COV_"))}
    given = {"data": folder / "data", "log_level": "warning", **settings}
    return kept | {f"GAVEL_{name.upper()}": str(value) for name, value in given.items()}


async def run(command: Sequence[str], folder: Path, **settings: object) -> subprocess.CompletedProcess[bytes]:
    """Runs a `gavel` command to its end."""
    environment = surroundings(folder, **settings)
    return await trio.to_thread.run_sync(
        partial(forks.run, forks.GAVEL, *command, folder=folder, environment=environment)
    )
