"""The example of the runtime alone: killed between the halves of a transfer, it goes on where it was, and its log verifies."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from runtime.verification import verify

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "bank.py"
LINES_MAX = 60
SAID = "ann has 100\nann has 70\nbob has 27\nwhole: True\n"  # without the second half, bob would be refused


def bank(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", str(EXAMPLE), str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)


def test_a_transfer_killed_between_its_halves_is_completed_once_and_the_log_verifies(tmp_path: Path) -> None:
    for _ in range(2):
        assert bank(tmp_path, "crash").returncode == -signal.SIGKILL
        report = verify(tmp_path / "log.db")
        assert (report.whole, report.positions) == (True, 2)
    for _ in range(2):
        ended = bank(tmp_path)
        assert (ended.stdout, ended.stderr, ended.returncode) == (SAID, "", 0)
    assert bank(tmp_path, "crash").returncode == 0  # there is nothing left to do
    assert verify(tmp_path / "log.db").positions == 4


def test_the_example_is_short() -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= LINES_MAX
