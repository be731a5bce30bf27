"""The README's agent, in an environment with nothing but `websockets`, against a real node."""

import contextlib
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

from aggregates.task import TaskAwarded, TaskCancelled, TaskCompleted, TaskFailed
from aggregates.values.roles import Role
from gateway.demo.crew import agent_file
from gateway.node import Node
from runtime.records import Recorded
from tests.gateway.clients import Client, open_client, settings_of

GUARD_SECONDS = 120
LINES_MAX = 40
WORK = """
import json, os, sys, time
task = json.load(sys.stdin)
n = task["payload"]["n"]
if n < 0:
    open("sleeper", "w").write(str(os.getpid()))
    time.sleep(600)
if n == 0:
    sys.exit("nothing to double")
print(json.dumps({"twice": 2 * n, "key": os.environ["GAVEL_KEY"], "url": os.environ["GAVEL_URL"]}))
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
        command = [str(python), str(agent_file())]
        environment = {
            "PATH": os.environ["PATH"],
            "GAVEL_URL": url,
            "GAVEL_KEY": key,
            "GAVEL_ID": "double",
            "GAVEL_SKILLS": "doubling",
            "GAVEL_BID": '{"price": 1, "eta_seconds": 5}',
            "GAVEL_EXEC": f"{python} {folder / 'work.py'}",
        }
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
    try:
        handle = os.pidfd_open(process_id)
    except ProcessLookupError:
        return
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
        result = await result_of(admin.node, task_id)
        assert (result["twice"], result["url"]) == (42, admin.node.url)
        assert result["key"] not in (enrolment.key, admin.key)
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
        await seen(admin.node, lambda recorded: isinstance(recorded.event, TaskAwarded))
        agents.pop().end()
        agents.append(Agent(python, tmp_path, admin.node.url, enrolment.key))
        (tmp_path / "work.py").write_text(WORK.replace("n < 0", "False"))
        assert (await result_of(admin.node, task_id))["twice"] == -2


async def test_it_ends_its_program_when_the_task_is_taken_away(python: Path, tmp_path: Path, agents: list[Agent]):
    os.mkfifo(tmp_path / "sleeper")  # whoever reads it waits for the program to write its process id
    async with open_at(tmp_path) as admin:
        enrolment = await admin.with_role(Role.AGENT)
        agents.append(Agent(python, tmp_path, admin.node.url, enrolment.key))
        await registered(admin.node)
        task_id = await admin.submit(**TASK, payload={"n": -1})
        await seen(admin.node, lambda recorded: isinstance(recorded.event, TaskAwarded))
        sleeper = int(await trio.to_thread.run_sync((tmp_path / "sleeper").read_text))
        answer = await admin.ask("DELETE", f"/v1/tasks/{task_id}")
        assert answer.status_code == 200, answer.text
        await seen(admin.node, lambda recorded: isinstance(recorded.event, TaskCancelled))
        await gone(sleeper)
        task_id = await admin.submit(**TASK, payload={"n": 5})
        assert (await result_of(admin.node, task_id))["twice"] == 10


async def test_what_it_said_to_a_node_that_was_gone_it_says_again(python: Path, tmp_path: Path, agents: list[Agent]):
    os.mkfifo(tmp_path / "go")
    work = WORK.replace("if n < 0:", "if n == 8:\n    open('go').read()\nif n < 0:")
    async with open_at(tmp_path) as admin:
        enrolment = await admin.with_role(Role.AGENT)
        agents.append(Agent(python, tmp_path, admin.node.url, enrolment.key))
        (tmp_path / "work.py").write_text(work)
        await registered(admin.node)
        task_id = await admin.submit(**TASK, payload={"n": 8})
        await seen(admin.node, lambda recorded: isinstance(recorded.event, TaskAwarded))
        address = admin.node.url.removeprefix("http://")
    await trio.to_thread.run_sync((tmp_path / "go").write_text, "the program ends while no node is there")
    async with open_at(tmp_path, bind=address) as admin:
        assert (await result_of(admin.node, task_id))["twice"] == 16
        awards = [one for one in await admin.node.system.journal.read(0, 500) if one.kind == "task.TaskAwarded"]
        assert len(awards) == 1


async def test_a_program_that_fails_gives_its_task_back(python: Path, tmp_path: Path, agents: list[Agent]):
    async with open_at(tmp_path) as admin:
        enrolment = await admin.with_role(Role.AGENT)
        agents.append(Agent(python, tmp_path, admin.node.url, enrolment.key))
        await registered(admin.node)
        await admin.submit(**TASK, payload={"n": 0})
        failed = (await seen(admin.node, lambda recorded: isinstance(recorded.event, TaskFailed))).event
        assert isinstance(failed, TaskFailed)
        assert failed.reason == "the program ended with 1"


async def test_it_ends_and_says_why_when_its_key_opens_nothing(python: Path, tmp_path: Path, agents: list[Agent]):
    async with open_at(tmp_path) as admin:
        agents.append(Agent(python, tmp_path, admin.node.url, "gvl_nonsense"))
        assert await trio.to_thread.run_sync(agents[0].process.wait) != 0
        assert "HTTP 401" in agents[0].log.read_text()
        assert "the Authorization header must be: Bearer KEY" in agents[0].log.read_text()


def test_it_is_the_file_that_the_package_ships():
    content = agent_file().read_text()
    code = content.split('"""', 2)[2]
    assert sum(bool(line.strip()) for line in code.splitlines()) <= LINES_MAX
    imported = {line.split()[1].split(".")[0] for line in content.splitlines() if line.startswith(("import ", "from "))}
    assert imported - set(sys.stdlib_module_names) == {"websockets"}
