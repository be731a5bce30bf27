"""Small files are solved without what takes longer to load than they take."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from solvers.formats import write
from solvers.generators import palubeckis, sparse_random
from solvers.qubo import Qubo
from solvers.solutions import read_solution

HEAVY = {"numba", "llvmlite", "scipy", "pandas", "trio", "starlette", "sqlalchemy", "msgspec", "rich", "logging"}
SMALL = {
    "cut.txt": (sparse_random(100, 6.0, 1), "rudy"),
    "dense.bqp": (palubeckis(100, 100, 1), "bqp"),
    "floats.coo": (
        Qubo.from_dense(np.random.default_rng(1).normal(size=(60, 60))),
        "coo",
    ),
    "own.json": (palubeckis(40, 50, 1), "json"),
    "quadratic.lp": (palubeckis(30, 50, 1).counted_once(), "lp"),
    "energy.bqm": (palubeckis(30, 50, 1).counted_once().negated(), "bqm"),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_small_file_is_solved_for_good_without_anything_heavy(name, tmp_path: Path):
    qubo, format = SMALL[name]
    path, found = tmp_path / name, tmp_path / "found"
    path.write_bytes(write(qubo, format))
    code = f"import sys; from gateway.cli import main; print(main({['solve', str(path), '--out', str(found)]}), *sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    lines = told.splitlines()
    assert "checked against the file" in lines[0]
    loaded = lines[-1].split()
    assert loaded[0] == "0"
    assert not {name.partition(".")[0] for name in loaded} & HEAVY
    value = json.loads(found.read_bytes())["value"]
    assert qubo.value(read_solution(found.read_bytes(), qubo.variables)) == pytest.approx(value)
