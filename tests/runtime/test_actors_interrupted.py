"""Ctrl-C at any moment: the system ends at once, with nothing but that, and leaves nothing unfinished behind."""

import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
TIMES = 20
HANG_SECONDS = 30.0


def line_of(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], HANG_SECONDS)
    assert readable, "it hangs"
    return process.stdout.readline().decode().strip()


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


HANGS = """
import signal, sys, trio
from runtime.actor import Actor
from runtime.actors import Props, open_actors

class Hangs(Actor):
    def handle(self, message):
        print("hangs", flush=True)
        while True:
            pass

async def main():
    async with open_actors() as actors:
        actors.spawn(Hangs, None, Props(caller_runs=False)).tell("begin")
        await trio.sleep_forever()

signal.signal(signal.SIGINT, signal.default_int_handler)
trio.run(main)
"""


def test_ctrl_c_ends_a_plain_handler_that_hangs_and_the_system_with_it() -> None:
    command = [sys.executable, "-c", HANGS]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "hangs\n"
        process.send_signal(signal.SIGINT)
        try:
            _, said = process.communicate(timeout=HANG_SECONDS)
        finally:
            process.kill()
    assert process.returncode != 0
    assert "KeyboardInterrupt" in said
    assert "in handle" in said
