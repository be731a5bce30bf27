"""SIGKILL at any moment: what was acknowledged is recorded once, what was not is recorded at most once, and the file verifies."""

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

from runtime.codec import Codec
from runtime.store.sqlite import SqliteStore
from runtime.transparency import Signer
from runtime.verification import verify
from tests.runtime.test_system import BANK

ROUNDS = 5
CHILD = """
import itertools, os, sys, trio
from pathlib import Path
from runtime import telemetry
from runtime.delivery import Context
from tests.runtime.bank import Deposit
from tests.runtime.test_system import bank

async def client(system, number, start):
    for turn in itertools.count(start):
        name = f"{number}-{turn}"
        await system.ask(Deposit(account=f"a{number}", cents=1), Context(tenant="t1", principal="ann", key=name, digest=b"d"))
        os.write(1, (name + "\\n").encode())

async def main(folder, start):
    async with bank(Path(folder)) as system, trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(client, system, number, start)

telemetry.configure()
trio.run(main, sys.argv[1], int(sys.argv[2]))
"""


def test_nothing_acknowledged_is_lost_by_sigkill(tmp_path: Path, seed: int) -> None:
    print(f"seed {seed}")
    chance = random.Random(seed)
    acknowledged: list[str] = []
    for turn in range(ROUNDS):
        acknowledged += _run_and_kill(tmp_path, turn, chance.randrange(1, 400))
        assert verify(tmp_path / "journal.db").whole
    recorded = Counter(_keys(tmp_path))
    assert len(acknowledged) >= ROUNDS
    assert set(acknowledged) <= set(recorded)
    assert set(recorded.values()) == {1}


def _run_and_kill(folder: Path, turn: int, lines: int) -> list[str]:
    """Reads this many acknowledgements, kills in the midst of more, and returns all that came through."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(turn * 1_000_000)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        text=True,
    )
    assert process.stdout is not None
    with process:
        heard = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        heard += process.stdout.readlines()
    return [line.strip() for line in heard if line.endswith("\n")]


def _keys(folder: Path) -> list[str]:
    store = SqliteStore(folder / "journal.db", Codec([BANK]), Signer.load(folder / "journal-key"))
    try:
        return [r.meta.command.key for r in store.read(0, 10**6) if r.meta.command is not None]
    finally:
        store.close()
