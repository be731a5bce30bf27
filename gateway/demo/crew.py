"""The demo's agents: the README's client, each in a process group of its own, ended whatever happens.

Who they are: solvers with different settings, and at the end of the list a verifier and an analyst.
"""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

AGENTS_MIN = 4
AGENTS_MAX = 32
SHARES = (1.0, 0.8, 0.9, 0.7)
"""Of the granted seconds, that the solvers use in turn."""
START_SECONDS = 3.0
"""What a solver allows in its bids for loading its kernels."""
CHECK_SECONDS = 10.0
CONFIDENCE = 0.9
ENDING_SECONDS_MAX = 2.0


class Member(NamedTuple):
    """An agent before it is started: what it can do, and with which settings."""

    id: str
    skills: str
    price: float
    eta_seconds: float
    work: str

    @property
    def solves(self) -> bool:
        """Whether it bids for optimization."""
        return "optimization" in self.skills


def hire(agents: int, seconds: float, seed: int, suffix: str = "") -> list[Member]:
    """So many agents: all but two solve, each with a seed and a share of the time of its own."""
    members = []
    for number in range(agents - 2):
        share = SHARES[number % len(SHARES)]
        eta = share * seconds + START_SECONDS
        work = f"--seed {seed + number} --share {share}"
        members.append(
            Member(f"solver-{number + 1}{suffix}", "optimization,qubo", round(0.5 + 0.05 * number, 2), eta, work)
        )
    members.append(Member(f"verifier{suffix}", "verification,qubo", 0.2, CHECK_SECONDS, ""))
    members.append(Member(f"analyst{suffix}", "analysis", 0.3, CHECK_SECONDS, ""))
    return members


def agent_file() -> Path:
    """The client that the README shows: in a checkout beside the packages, in an installed wheel inside this one."""
    package = Path(__file__).parents[1]
    places = [package / "_examples" / "agent.py", package.parent / "examples" / "agent.py"]
    return next(place for place in places if place.is_file())


class Crew:
    """The running agents. As a context manager it ends them all, however it is left."""

    def __init__(self, url: str, key: str, folder: Path) -> None:
        self._environment = os.environ | {"GAVEL_URL": url, "GAVEL_KEY": key}
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        assert find_spec("websockets") is not None

    def __enter__(self) -> "Crew":
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self, member: Member) -> None:
        """Starts an agent; what it has to complain of goes to a file of its name."""
        # -P: a folder that is called like one of our packages, where the demo is started, must not stand for it.
        python = [sys.executable, "-P"]
        settings = {
            "GAVEL_ID": member.id,
            "GAVEL_SKILLS": member.skills,
            "GAVEL_BID": json.dumps(
                {"price": member.price, "eta_seconds": member.eta_seconds, "confidence": CONFIDENCE}
            ),
            "GAVEL_EXEC": f"{shlex.join([*python, '-m', 'gateway.cli', 'work'])} {member.work}",
        }
        with self.complaints(member.id).open("wb") as log:
            self._processes[member.id] = subprocess.Popen(
                [*python, "-m", "gateway.demo.leash", sys.executable, str(agent_file())],
                env=self._environment | settings,
                stdin=subprocess.PIPE,  # its other end ends with us
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def complaints(self, name: str) -> Path:
        """The file that an agent's complaints are in."""
        return self._folder / f"{name}.log"

    def process_id(self, name: str) -> int:
        """An agent's process id, which is its group's too."""
        return self._processes[name].pid

    def kill(self, name: str) -> None:
        """SIGKILL to an agent and the program that it runs."""
        _kill(self._processes.pop(name))

    def gone(self) -> list[str]:
        """The agents that have ended by themselves."""
        return [name for name, process in self._processes.items() if process.poll() is not None]

    def end(self) -> None:
        """Ends all agents and whatever they run."""
        for process in self._processes.values():
            _signal(process, signal.SIGTERM)
        until = time.monotonic() + ENDING_SECONDS_MAX
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
        for process in self._processes.values():
            _kill(process)  # the group: a program may have outlived its agent
        self._processes.clear()


def _kill(process: subprocess.Popen[bytes]) -> None:
    _signal(process, signal.SIGKILL)
    process.wait()
    assert process.stdin is not None
    process.stdin.close()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
