"""How soon large dense problems are solved as well as others solve them, and how near to the best known value 20 seconds come.

The problems are Palubeckis' published ones, which his generator makes again bit for bit; they are written to a file first, and everything
is measured from that file on. One thread, and the rules of `benchmarks.qubo`.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import tabu
from benchmarks.annealers import SECONDS
from benchmarks.answers import SEEDS, seconds_to, verified
from benchmarks.measure import Measured, Row
from solvers.formats import write_bqp
from solvers.generators import PALUBECKIS, Known, palubeckis

P5000, P7000 = (
    next(known for known in PALUBECKIS if (known.variables, known.density) == (variables, 50))
    for variables in (5000, 7000)
)
MQLIB_VALUE = 8_558_980
"""What the best heuristic of MQLib on p5000.1 (PALUBECKIS2004bMST2) comes to in 20 seconds, after 14.6 of them."""


@contextmanager
def written(known: Known) -> Iterator[Path]:
    """A file of the problem, with what is compiled loaded."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dense.bqp"
        path.write_bytes(write_bqp(palubeckis(known.variables, known.density, known.seed)))
        verified(path, 0, target=0)
        yield path


def time_to_tabu() -> Measured:
    """Our seconds to the peer's median value."""
    with written(P5000) as path:
        peer = tabu.reached(path)
        ours = [seconds_to(path, peer.value, seed) for seed in SEEDS]
    return Measured(ours=ours, theirs=[min(SECONDS, peer.seconds)])


def time_to_mqlib() -> Measured:
    """Our seconds to a value that was measured elsewhere."""
    with written(P5000) as path:
        return Measured(ours=[seconds_to(path, MQLIB_VALUE, seed) for seed in SEEDS], theirs=[SECONDS])


def worst_gap(known: Known) -> Measured:
    """How far below the best known value the worst seed ends, beside that value."""
    with written(known) as path:
        worst = min(verified(path, seed)[1].value for seed in SEEDS)
    return Measured(ours=[float(known.best_known - worst)], theirs=[float(known.best_known)])


def _gap(known: Known, goal: float) -> Row:
    return Row(
        name=f"gap_p{known.variables}",
        measure=lambda: worst_gap(known),
        peer="the best known value",
        unit="below it",
        better="less",
        goal=goal,
        at_most=True,
    )


ROWS = (
    Row(name="ttt_p5000", measure=time_to_tabu, peer=f"{tabu.NAME}, 20 s", unit="s", better="less", goal=40.0),
    Row(name="mqlib_p5000", measure=time_to_mqlib, peer="MQLib's best heuristic, 20 s", unit="s", better="less"),
    _gap(P5000, 2e-5),
    _gap(P7000, 1e-4),
)
