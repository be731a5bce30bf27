"""Which program on which kind of processor a solver runs as: where two builds are the same, one seed and work give the same bits."""

import platform
from functools import cache
from hashlib import sha256
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

KERNELS = ("annealing.py", "ising.py", "qubo.py", "search.py", "spins.py")
"""The files that say what a run computes."""

DIGEST_CHARACTERS = 12


@cache
def build() -> str:
    """The kernels' own digest, the compiler's versions, and the processor's class, in one line."""
    compiler: Any = import_module("numba.core.codegen")  # with the library that knows for which processor it compiles

    folder = Path(__file__).parent
    digest = sha256(b"\0".join((folder / name).read_bytes() for name in KERNELS)).hexdigest()[:DIGEST_CHARACTERS]
    versions = " ".join(f"{name}-{version(name)}" for name in ("numba", "llvmlite", "numpy"))
    return f"kernels-{digest} {versions} {platform.machine()} {compiler.ll.get_host_cpu_name()}"
