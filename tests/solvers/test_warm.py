"""After warming up, no kernel is compiled while a user waits."""

import subprocess
import sys

PROGRAM = """
import runpy
runpy.run_module("solvers.warm", run_name="__main__")
import solvers.generators, solvers.spins, solvers.triples
from numba.core.registry import CPUDispatcher
from solvers.spins import _randomize
for module in (solvers.generators, solvers.spins, solvers.triples):
    for name, kernel in vars(module).items():
        if isinstance(kernel, CPUDispatcher):
            assert kernel.signatures, f"{name} was not compiled"
            print(name, sum(kernel.stats.cache_misses.values()))
"""


def test_every_kernel_is_warmed_and_then_found_in_the_cache():
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    misses = dict(line.split() for line in done.stdout.splitlines())
    assert {"_anneal", "_cross", "_load", "_palubeckis", "_read_triples", "_write_triples"} <= set(misses)
    assert set(misses.values()) == {"0"}
