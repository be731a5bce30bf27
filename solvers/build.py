"""Which program on which kind of processor a solver runs as: where two builds are the same, one seed and work give the same bits."""

import platform
from functools import cache
from hashlib import sha256
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

APART = (
    "assignment.py",
    "auction.py",
    "backends.py",
    "build.py",
    "formats",
    "generators.py",
    "recomputing.py",
    "verify.py",
    "warm.py",
)
"""The files and folders that say nothing of what a run computes; all others do."""

DIGEST_CHARACTERS = 12


def kernels() -> list[Path]:
    """The files that say what a run computes, in the order of their names."""
    folder = Path(__file__).parent
    return sorted(path for path in folder.rglob("*.py") if path.relative_to(folder).parts[0] not in APART)


@cache
def build() -> str:
    """The kernels' own digest, the compiler's versions, and the processor's class, in one line."""
    compiler: Any = import_module("numba.core.codegen")  # with the library that knows for which processor it compiles

    digest = sha256(b"\0".join(path.read_bytes() for path in kernels())).hexdigest()[:DIGEST_CHARACTERS]
    versions = " ".join(f"{name}-{version(name)}" for name in ("numba", "llvmlite", "numpy"))
    return f"kernels-{digest} {versions} {platform.machine()} {compiler.ll.get_host_cpu_name()}"
