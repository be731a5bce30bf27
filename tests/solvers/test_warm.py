"""After warming up, no kernel is compiled while a user waits."""

import subprocess
import sys

AUCTION = ("_bid", "_offer", "_keep", "_best", "_unsold", "_profits")
PROGRAM = """
import runpy
runpy.run_module("solvers.warm", run_name="__main__")
from importlib import import_module
from numba.core.registry import CPUDispatcher
modules = "auction csr_kernels elimination_kernels formats.scanning generators spins tempering"
for module in map(import_module, map("solvers.{}".format, modules.split())):
    for name, kernel in vars(module).items():
        if isinstance(kernel, CPUDispatcher):
            print(name, len(kernel.signatures), sum(kernel.stats.cache_misses.values()))
for name, kernel in vars(import_module("solvers.dense.kernels")).items():
    if isinstance(kernel, CPUDispatcher):
        print("dense" + name, len(kernel.signatures), sum(kernel.stats.cache_misses.values()))
"""


def test_every_kernel_is_warmed_and_then_found_in_the_cache():
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    counts = {name: (int(kinds), int(misses)) for name, kinds, misses in map(str.split, done.stdout.splitlines())}
    once = ("_palubeckis", "_randomize", "_random", "_meets_diagonal", "_read_decimals", "_write_triples", *AUCTION)
    for name in (*once, "_temper", "_feel"):
        assert counts[name] == (1, 0)
    for name in ("_anneal", "_cross", "_load", "_merge", "_take_out", "_lift", "_read_whole"):
        assert counts[name] == (2, 0)  # whole numbers and floats, or narrow ones and wide ones
    for name in ("_degrees", "_scatter", "_is_clean", "_transpose", "_sum_rows", "_sum_pairs"):
        assert counts[name] == (3, 0)
    for name in ("_anneal", "_load", "_fill", "_flip_all"):
        assert counts["dense" + name] == (4, 0)  # rows of three kinds of whole numbers and of floats
