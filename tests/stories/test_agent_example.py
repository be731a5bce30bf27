"""The README's agent, in an environment with nothing but `websockets`, against a real node."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import venv
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import trio

from aggregates.key import Role
from aggregates.task import TaskCancelled, TaskCompleted, TaskStarted
from gateway.demo.crew import agent_file
from gateway.node import Node
from runtime.records import Recorded
from tests.gateway.clients import Client, open_client, settings_of

GUARD_SECONDS = 60
WORK = """
import json, os, sys, time
task = json.load(sys.stdin)
n = task["payload"]["n"]
if n < 0:
    open("sleeper", "w").write(str(os.getpid()))
    time.sleep(600)
print(json.dumps({"twice": 2 * n, "knows": sorted(name for name in os.environ if name.startswith("GAVEL_"))}))
"""
TASK = {"task_type": "analysis", "capabilities": ["doubling"], "bidding_seconds": 10.0, "budget_seconds": 60.0}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a clean environment with `websockets` alone."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, symlinks=True)
    command = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "-q", "--no-deps"]
    installed = subprocess.run(
        [*command, f"websockets=={version('websockets')}"], capture_output=True, text=True, check=False
    )
    if installed.returncode:
        pytest.skip(f"pip can't install websockets here: {installed.stderr.strip().splitlines()[-1]}")
    return folder / "bin" / "python"


class Agent:
    """The example as a process."""

    def __init__(self, python: Path, folder: Path, url: str, key: str) -> None:
        (folder / "work.py").write_text(WORK)
        command = [str(python), str(agent_file()), "--url", url, "--id", "double", "--skills", "doubling"]
        command += ["--exec", f"{python} {folder / 'work.py'}"]
        environment = {"PATH": os.environ["PATH"], "GAVEL_KEY": key}
        self.log = folder / "agent.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@asynccontextmanager
async def open_at(folder: Path, bind: str = "127.0.0.1:0") -> AsyncIterator[Client]:
    with trio.fail_after(GUARD_SECONDS):
        async with open_client(settings_of(folder, bind=bind)) as admin:
            yield admin


async def seen(node: Node, is_it: Callable[[Recorded], bool]) -> Recorded:
    """The first record that is it, now or later."""
    position = 0
    while True:
        for recorded in await node.system.journal.read(position, 500):
            if is_it(recorded):
                return recorded
            position = recorded.position
        await node.system.journal.wait_past(position)


async def result_of(node: Node, task_id: str) -> Any:
    def done(recorded: Recorded) -> bool:
        return isinstance(recorded.event, TaskCompleted) and recorded.event.task_id == task_id

    completed = (await seen(node, done)).event
    assert isinstance(completed, TaskCompleted)
    assert completed.agent_id == "double"
    return completed.result


async def gone(process_id: int) -> None:
    """Waits until a process has ended."""
    handle = os.pidfd_open(process_id)
    try:
        await trio.lowlevel.wait_readable(handle)
    finally:
        os.close(handle)


async def registered(node: Node) -> None:
    await seen(node, lambda recorded: recorded.kind == "agent.AgentRegistered")


@pytest.fixture
def agents() -> Iterator[list[Agent]]:
    started: list[Agent] = []
    yield started
    for agent in started:
        agent.end()


async def test_it_works_survives_a_restart_of_the_node_and_goes_on(python: Path, tmp_path: Path, agents: list[Agent]):
    async with open_at(tmp_path) as admin:
        enrolment = await admin.with_role(Role.AGENT)
        agents.append(Agent(python, tmp_path, admin.node.url, enrolment.key))
        await registered(admin.node)
        task_id = await admin.submit(**TASK, payload={"n": 21})
        assert await result_of(admin.node, task_id) == {"twice": 42, "knows": ["GAVEL_KEY", "GAVEL_URL"]}
        address = admin.node.url.removeprefix("http://")
    async with open_at(tmp_path, bind=address) as admin:
        task_id = await admin.submit(**TASK, payload={"n": 4})
        assert (await result_of(admin.node, task_id))["twice"] == 8
        assert agents[0].process.poll() is None


async def test_what_was_awarded_before_it_was_killed_is_done_by_its_next_run(
    python: Path, tmp_path: Path, agents: list[Agent]
):
    async with open_at(tmp_path) as admin:
        enrolment = await admin.with_role(Role.AGENT)
        agents.append(Agent(python, tmp_path, admin.node.url, enrolment.key))
        await registered(admin.node)
        task_id = await admin.submit(**TASK, payload={"n": -1})
        await seen(admin.node, lambda recorded: isinstance(recorded.event, TaskStarted))
        agents.pop().end()
        agents.append(Agent(python, tmp_path, admin.node.url, enrolment.key))
        (tmp_path / "work.py").write_text(WORK.replace("n < 0", "False"))
        assert (await result_of(admin.node, task_id))["twice"] == -2


async def test_it_ends_its_program_when_the_task_is_taken_away_and_makes_nothing_of_nonsense(
    python: Path, tmp_path: Path, agents: list[Agent]
):
    os.mkfifo(tmp_path / "sleeper")  # whoever reads it waits for the program to write its process id
    async with open_at(tmp_path) as admin:
        enrolment = await admin.with_role(Role.AGENT)
        agents.append(Agent(python, tmp_path, admin.node.url, enrolment.key))
        await registered(admin.node)
        task_id = await admin.submit(**TASK, payload={"n": -1})
        await seen(admin.node, lambda recorded: isinstance(recorded.event, TaskStarted))
        (socket,) = admin.node.sockets._socket_by_agent.values()
        for nonsense in ('{"type"', "[]", "null", "7", '{"type":"call"}', '{"type":"award","task_id":1}', "{}"):
            await socket.websocket.send_text(nonsense)
        sleeper = int(await trio.to_thread.run_sync((tmp_path / "sleeper").read_text))
        answer = await admin.ask("DELETE", f"/v1/tasks/{task_id}")
        assert answer.status_code == 200, answer.text
        await seen(admin.node, lambda recorded: isinstance(recorded.event, TaskCancelled))
        await gone(sleeper)
        task_id = await admin.submit(**TASK, payload={"n": 5})
        assert (await result_of(admin.node, task_id))["twice"] == 10


async def test_it_ends_and_says_why_when_its_key_opens_nothing(python: Path, tmp_path: Path, agents: list[Agent]):
    async with open_at(tmp_path) as admin:
        agents.append(Agent(python, tmp_path, admin.node.url, "gvl_nonsense"))
        assert await trio.to_thread.run_sync(agents[0].process.wait) != 0
        assert "401" in agents[0].log.read_text()


def test_it_is_the_file_that_the_package_ships():
    content = agent_file().read_text()
    assert json.dumps("websockets") not in content
    imported = {line.split()[1].split(".")[0] for line in content.splitlines() if line.startswith(("import ", "from "))}
    assert imported - set(sys.stdlib_module_names) == {"websockets"}
