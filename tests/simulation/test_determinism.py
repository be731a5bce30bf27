"""One seed is one run, byte for byte: again in this process, and in others that hash otherwise."""

import os
import subprocess
import sys
from pathlib import Path

from runtime.simulation import simulate
from tests.simulation.banking import BANK_KINDS, Bank
from tests.simulation.digests import outcomes

ROOT = Path(__file__).parents[2]


def start(hash_seed: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.simulation.digests"]
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def test_the_same_seed_gives_the_same_bytes_here_and_in_two_processes_that_hash_otherwise():
    others = [start("1"), start("2")]
    here = [outcome.trace_sha256 for outcome in outcomes()]
    for other in others:
        told, _ = other.communicate()
        assert told.strip() == str(here)
    assert len(set(here)) == len(here), "another seed gives another trace"


def test_a_run_that_is_ended_early_is_the_beginning_of_the_whole_one():
    whole = simulate(Bank(), 2, kinds=BANK_KINDS)
    part = simulate(Bank(), 2, kinds=BANK_KINDS, until=100)
    assert part.trace == whole.trace[:100]
    assert part.ok
