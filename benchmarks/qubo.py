"""How soon problems are solved as well as others solve them in 20 seconds, and what that is made of.

From the file to a verified answer, one thread each, everything found automatically here, documented defaults there. A peer's value is the
median of five seeds in runs calibrated to end within 20 seconds; the time to it is the median over five other seeds, and a value that was
not reached in 20 seconds counts as 0. `docs/benchmarks.md` says what each row measures.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np

from benchmarks import dense
from benchmarks.annealers import (
    DWAVE,
    NAMES,
    OPENJIJ,
    SECONDS,
    Maker,
    Reached,
    anneal,
    quadratic_model,
    reached,
    read_graph,
)
from benchmarks.answers import SEEDS, seconds_to, verified
from benchmarks.measure import Measured, NotMeasurable, Row
from benchmarks.proving import TTS_SMALL
from solvers.formats import parse, write_rudy
from solvers.generators import sparse_random
from solvers.ising import to_ising
from solvers.seeding import seeded_state
from solvers.sparse.counters import Counters
from solvers.sparse.replicas import Replicas
from solvers.sparse.words import LANES
from solvers.spins import WORK

DATA = Path(os.environ.get("GAVEL_BENCH_DATA", Path(__file__).parents[2] / "shared" / "data"))
BEST_LISTED_G81 = 14_048
THREADS_SEEDS = range(1, 10)
THREADS_TARGET = 14_048
"""The best listed cut of G81: what one thread needs a second or two for."""
ROUNDS = 7
SWEEPS = 400
FIRST_SECONDS = 20
FIRST_VARIABLES, FIRST_DEGREE = 100, 6.0


def graph_file(name: str) -> Path:
    """Raises NotMeasurable."""
    path = DATA / "gset" / f"{name}.txt"
    if not path.exists():
        raise NotMeasurable(f"{path} is absent: set GAVEL_BENCH_DATA")
    return path


@cache
def times(name: str, makers: tuple[Maker, ...]) -> tuple[Reached, tuple[float, ...]]:
    """What the better of the peers reaches, and our seconds to that of each seed."""
    path = graph_file(name)
    best = max((reached(maker, path) for maker in makers), key=lambda one: (one.value, -one.seconds))
    verified(path, 0, target=0)  # loads what is compiled
    return best, tuple(seconds_to(path, best.value, seed) for seed in SEEDS)


def time_to_target(name: str, makers: tuple[Maker, ...]) -> Measured:
    best, ours = times(name, makers)
    return Measured(ours=list(ours), theirs=[min(SECONDS, best.seconds)])


def worst_time(name: str, makers: tuple[Maker, ...]) -> Measured:
    best, ours = times(name, makers)
    return Measured(ours=[max(ours)], theirs=[min(SECONDS, best.seconds)])


def value_g81() -> Measured:
    """The cut after 20 seconds; the peer is the best listed one."""
    found = [float(verified(graph_file("G81"), seed)[1].value) for seed in SEEDS]
    return Measured(ours=found, theirs=[float(BEST_LISTED_G81)])


def updates_g81(rounds: int = ROUNDS) -> Measured:
    """Spin updates of all replicas in a second of this thread's CPU, while it anneals and nothing else."""
    path = graph_file("G81")
    problem = to_ising(parse(path.read_bytes(), path.name))
    model = quadratic_model(read_graph(path))
    sampler = DWAVE()
    state = seeded_state(1)
    replicas = Replicas(problem, Counters(problem, state), state)

    def ours() -> float:
        replicas.randomize()
        replicas.prepare(1.0, 0.2, SWEEPS)
        replicas.begin()
        replicas.anneal(2**62)
        return float(LANES)

    def theirs() -> float:
        sampler.sample(model, num_reads=1, num_sweeps=SWEEPS, seed=1)
        return 1.0

    def rate(side: Callable[[], float]) -> float:
        started = time.thread_time()
        replicas_at_once = side()
        return replicas_at_once * SWEEPS * len(problem.fields) / (time.thread_time() - started) / 1e6

    rate(ours), rate(theirs)
    pairs = [(rate(ours), rate(theirs)) for _ in range(rounds)]
    assert replicas.cursor[WORK] > 0
    return Measured(ours=[pair[0] for pair in pairs], theirs=[pair[1] for pair in pairs])


def parse_g81(rounds: int = ROUNDS) -> Measured:
    """From the file's bytes to a problem that can be solved; numpy's reader to three columns."""
    path = graph_file("G81")

    def milliseconds(work: Callable[[], object]) -> float:
        started = time.thread_time()
        work()
        return (time.thread_time() - started) * 1000

    def ours() -> object:
        return parse(path.read_bytes(), path.name)

    def theirs() -> object:
        return np.loadtxt(path, skiprows=1)

    milliseconds(ours)
    pairs = [(milliseconds(ours), milliseconds(theirs)) for _ in range(rounds)]
    return Measured(ours=[pair[0] for pair in pairs], theirs=[pair[1] for pair in pairs])


def two_threads() -> Measured:
    """Seconds to one value with two threads, and with one."""
    path = graph_file("G81")
    verified(path, 0, target=0)
    pairs = [
        (seconds_to(path, THREADS_TARGET, seed, threads=2), seconds_to(path, THREADS_TARGET, seed))
        for seed in THREADS_SEEDS
    ]
    return Measured(ours=[pair[0] for pair in pairs], theirs=[pair[1] for pair in pairs])


PEER_SCRIPT = """
import sys
from pathlib import Path
from benchmarks.annealers import DWAVE, anneal
print(anneal(DWAVE, Path(sys.argv[1]), 1000, seed=1).value)
"""


def first_answer(rounds: int = ROUNDS) -> Measured:
    """A whole process from its start to the answer for a file of 100 variables; both to what a thousand sweeps of the peer find."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.txt"
        path.write_bytes(write_rudy(sparse_random(FIRST_VARIABLES, FIRST_DEGREE, 1)))
        target = anneal(DWAVE, path, 1000, seed=1).value
        gavel = [sys.executable, "-m", "gateway.cli", "solve", str(path), "--target", str(target)]
        ours = [*gavel, "--seconds", str(FIRST_SECONDS)]
        theirs = [sys.executable, "-c", PEER_SCRIPT, str(path)]
        _seconds(ours)
        pairs = [(_seconds(ours), _seconds(theirs)) for _ in range(rounds)]
    return Measured(ours=[pair[0] for pair in pairs], theirs=[pair[1] for pair in pairs])


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[1])
    return time.perf_counter() - started


BOTH = (DWAVE, OPENJIJ)


def _to_target(name: str, makers: tuple[Maker, ...], goal: float) -> Row:
    peer = " or ".join(NAMES[maker] for maker in makers)
    measure = partial(time_to_target, name, makers)
    return Row(name=f"ttt_{name.lower()}", measure=measure, peer=f"{peer}, 20 s", unit="s", better="less", goal=goal)


def _worst(name: str, makers: tuple[Maker, ...]) -> Row:
    measure = partial(worst_time, name, makers)
    return Row(name=f"ttt_{name.lower()}_worst", measure=measure, peer="the better of both", unit="s", better="less")


ROWS = (
    Row(
        name="updates_g81",
        measure=updates_g81,
        peer=NAMES[DWAVE],
        unit="million spin updates/s",
        better="more",
        goal=150.0,
    ),
    _to_target("G81", (DWAVE,), 60.0),
    _to_target("G70", (OPENJIJ,), 100.0),
    _to_target("G55", BOTH, 4.0),
    _worst("G55", BOTH),
    _to_target("G60", BOTH, 4.0),
    _worst("G60", BOTH),
    _to_target("G22", BOTH, 1.5),
    Row(name="value_g81", measure=value_g81, peer="the best listed cut", unit="cut", better="more", goal=1.0004),
    Row(
        name="first_answer",
        measure=first_answer,
        peer="a script with dwave-samplers",
        unit="s",
        better="less",
        goal=1.0,
    ),
    Row(name="parse_g81", measure=parse_g81, peer="numpy.loadtxt", unit="ms", better="less", goal=5.0),
    TTS_SMALL,
    *dense.ROWS,
    Row(name="two_threads", measure=two_threads, peer="one thread", unit="s", better="less", goal=1.6),
)
