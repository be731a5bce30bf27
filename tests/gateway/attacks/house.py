"""The house under attack: a real node in a process of its own, with little patience, and what can be seen of it from outside."""

import json
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import trio

from tests import forks
from tests.gateway.attacks.window import ENDED, NAME, VIEW, View

PATIENCE_SECONDS = 1.0
"""Before a silent client, or one that does not read, is cut off; before a body must be there; half as long after the last word."""

START_STEPS_MAX = 6_000
"""Hundredths of a second that a node may take until it says where it is."""
CONNECTIONS_MAX = 200
MESSAGE_BYTES_MAX = 2**20
GUARD_SECONDS = 120  # no assertion about speed: only that the test ends

PROGRAM = f"""
import sys
from pathlib import Path

from gateway import cli, node
from tests.gateway.attacks import window

window.install(Path.cwd(), {PATIENCE_SECONDS})
sys.exit(cli.main(["serve", "--bind", "127.0.0.1:0"]))
"""

EVERYDAY = {
    *("listening", "closed", "stopping", "node_stopped", "intruder_suspected"),
    *("client_stopped_reading", "client_too_slow", "connection_made_room", "connection_refused", "address_refused"),
    *("request_refused", "socket_ended", "handshake_failed", "left_out"),
}
BUSY = "the process stood still"  # the machine's fault as often as a client's, who is told by who else is served


@dataclass
class House:
    """The node, the keys that its guests have, and what it has logged."""

    port: int
    pid: int
    folder: Path
    admin_key: str
    log: Path
    program: forks.Program
    agent_keys: dict[str, str] = field(default_factory=dict)
    digest: str = ""
    """Of a blob of many megabytes."""
    read: int = 0
    """How many bytes of the log were looked at."""

    @property
    def url(self) -> str:
        """Where the node is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin(self) -> str:
        """The header of the admin."""
        return f"Authorization: Bearer {self.admin_key}"

    def agent(self, name: str) -> str:
        """The header of an agent."""
        return f"Authorization: Bearer {self.agent_keys[name]}"

    async def connect(self) -> trio.SocketStream:
        """A new connection."""
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def look(self) -> View:
        """How the process is."""
        return msgspec.json.decode(await self._ask(VIEW), type=View)

    async def cut_off(self, stream: trio.SocketStream) -> None:
        """Waits, without reading, until the node has ended this connection."""
        await self._ask(ENDED + b" %d" % stream.socket.getsockname()[1])

    async def _ask(self, question: bytes) -> bytes:
        async with await trio.open_unix_socket(self.folder / NAME) as stream:
            await stream.send_all(question)
            return b"".join([part async for part in stream])

    def lines(self) -> list[dict[str, Any]]:
        """What was logged since they were asked for last; a line that is no JSON is told as it is."""
        with self.log.open("rb") as file:
            file.seek(self.read)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self.read += len(whole)
        return [_line(line) for line in whole.decode().splitlines()]

    def check_log(self) -> list[str]:
        """The names of the new lines. Fails where one tells of more than clients that come, go and misbehave."""
        lines = [line for line in self.lines() if line.get("event") != BUSY]
        odd = [line for line in lines if line.get("event") not in EVERYDAY]
        assert not odd, json.dumps(odd, indent=1)[:5000]
        return [line["event"] for line in lines]

    def is_alive(self) -> bool:
        """Whether the process is there."""
        return self.program.is_running

    def stop(self) -> int:
        """Asks it to end; its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self.program.wait()


def _line(line: str) -> dict[str, Any]:
    try:
        return dict(json.loads(line))
    except ValueError:
        return {"event": line}


@contextmanager
def open_house(**settings: str) -> Iterator[House]:
    """A node that runs for as long as the block, and is killed at its end if it has not been stopped."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = folder / "log"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("GAVEL_")}
        environment |= {
            "GAVEL_DATA": str(folder / "data"),
            "GAVEL_LOG_FORMAT": "json",
            "GAVEL_CONNECTIONS_MAX": str(CONNECTIONS_MAX),
            "GAVEL_HOUSE_SOLVER": "false",
            **settings,
        }
        with log.open("wb") as errors:
            program = forks.start(PROGRAM, folder=folder, environment=environment, output=errors, errors=errors)
        try:
            yield _opened(program, folder, log)
        finally:
            program.kill()


def _opened(program: forks.Program, folder: Path, log: Path) -> House:
    """Waits until the node says where it is."""
    note = folder / "data" / "node.json"
    waiting = threading.Event()
    for _ in range(START_STEPS_MAX):
        if note.exists():
            break
        assert program.is_running, log.read_text()
        waiting.wait(0.01)
    found = json.loads(note.read_text())
    key = (folder / "data" / "admin-key").read_text().strip()
    house = House(int(found["url"].rpartition(":")[2]), found["pid"], folder, key, log, program)
    house.lines()
    return house
