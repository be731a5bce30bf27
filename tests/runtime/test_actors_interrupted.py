"""Ctrl-C at any moment: the system ends at once, with nothing but that, and leaves nothing unfinished behind."""

import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TIMES = 50
HANG_SECONDS = 30.0


def line_of(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], HANG_SECONDS)
    assert readable, "it hangs"
    return process.stdout.readline().decode().strip()


@pytest.mark.parametrize("seed", [random.randrange(2**32)])
def test_ctrl_c_at_any_moment_ends_a_busy_system_at_once_and_leaves_nothing_unawaited(seed: int) -> None:
    chance = random.Random(seed)
    command = [sys.executable, "-W", "error", "-m", "tests.runtime.interrupted", str(TIMES)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as process:
        try:
            for _ in range(TIMES):
                assert line_of(process) == "ready"
                time.sleep(chance.uniform(0, 0.02))  # any moment, not the end of something
                os.kill(process.pid, signal.SIGINT)
                assert line_of(process) == "interrupted"
            assert process.wait(HANG_SECONDS) == 0
            assert process.stderr is not None
            assert process.stderr.read() == b""
        finally:
            process.kill()
