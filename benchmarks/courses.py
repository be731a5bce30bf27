"""Pictures of the best value over time, ours beside others', for each class of problem.

`python -m benchmarks.courses FOLDER [CLASS …]` draws them.

Everything is counted from the file on, in wall seconds of one thread: to read and convert it is part of a course. Ours is the trace of
one run of each seed; the others tell nothing before they end, so theirs are runs of several lengths. What is drawn is how far a value is
below the best that any of the runs has reached or that is listed.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import tabu
from benchmarks.annealers import DWAVE, NAMES, OPENJIJ, SECONDS, Maker, Reached, anneal
from benchmarks.answers import verified
from benchmarks.qubo import graph_file
from solvers.formats import write_bqp
from solvers.generators import PALUBECKIS, palubeckis

OUR_SEEDS = range(1, 4)
PEER_SEEDS = range(101, 103)
LENGTHS = (0.5, 2.0, 6.0, 18.0)
"""Seconds that runs of others are given."""
PROBE_SWEEPS, PROBE_SECONDS = 50, 1.0
FLOATS_SIZE, FLOATS_EDGES = 5_000, 15_000
AT_BEST = 1e-3
"""Percent below the best, under which the axis is linear: zero has a place on it."""
INCHES = (7.0, 3.6)
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "gavel", "font.size": 9}
OURS = "gavel"
COLORS = {OURS: "#0b6e4f", NAMES[DWAVE]: "#c8553d", NAMES[OPENJIJ]: "#4a6fa5", tabu.NAME: "#8a5a9e"}

Point = tuple[float, float]
"""Seconds from the file on, and the value from then on."""
Runs = Callable[[Path, int], list[Reached]]
"""Somebody's runs of all lengths on a file with one seed."""


class Kind(NamedTuple):
    """A class of problems, by one of it."""

    name: str
    """Of the picture's file as well."""
    title: str
    file: Callable[[Path], Path]
    """Finds it, or writes it into the folder."""
    listed: float
    """The best value in the literature, or nothing."""
    peers: dict[str, Runs]


class Course(NamedTuple):
    who: str
    points: list[Point]


def our_course(path: Path, seed: int) -> Course:
    """From the first improvement on: what a run begins with is no answer."""
    seconds, solution = verified(path, seed)
    before_solve = seconds - solution.seconds
    steps = zip(solution.times[0][1:], solution.traces[0][1:], strict=True)
    points = [(before_solve + at, float(value)) for at, (_, value) in steps]
    return Course(OURS, [*points, (seconds, float(solution.value))])


def annealed(maker: Maker, path: Path, seed: int) -> list[Reached]:
    """One run for each length that has room for reading and converting."""
    fixed = anneal(maker, path, 1, seed=seed).seconds
    probe = max(1e-4, anneal(maker, path, PROBE_SWEEPS, seed=seed).seconds - fixed) / PROBE_SWEEPS
    longer = max(PROBE_SWEEPS, int(PROBE_SECONDS / probe))
    each = (anneal(maker, path, longer, seed=seed).seconds - fixed) / longer
    return [anneal(maker, path, int((length - fixed) / each), seed) for length in LENGTHS if length > fixed + each]


def searched(path: Path, seed: int) -> list[Reached]:
    fixed = tabu.search(path, tabu.TIMEOUT_SECONDS_MIN, seed).seconds
    return [tabu.search(path, length - fixed, seed) for length in LENGTHS if length > fixed]


def normal_weights(folder: Path) -> Path:
    """A max-cut on a random graph of mean degree 6, whose edges weigh what a normal distribution gives, to four digits."""
    random = np.random.default_rng(1)
    ends = np.unique(np.sort(random.integers(1, FLOATS_SIZE + 1, (FLOATS_EDGES, 2)), axis=1), axis=0)
    ends = ends[ends[:, 0] != ends[:, 1]]
    weights = random.normal(size=len(ends))
    path = folder / "floats.txt"
    lines = [f"{one} {other} {weight:.4f}" for (one, other), weight in zip(ends.tolist(), weights, strict=True)]
    path.write_text("\n".join((f"{FLOATS_SIZE} {len(ends)}", *lines, "")))
    return path


def dense_problem(folder: Path) -> Path:
    path = folder / "dense.bqp"
    path.write_bytes(write_bqp(palubeckis(DENSE.variables, DENSE.density, DENSE.seed)))
    return path


DENSE = PALUBECKIS[0]
ANNEALERS: dict[str, Runs] = {NAMES[maker]: partial(annealed, maker) for maker in (DWAVE, OPENJIJ)}


def _graph(name: str, title: str, which: str, listed: float) -> Kind:
    return Kind(name, title, lambda _: graph_file(which), listed, ANNEALERS)


KINDS = (
    _graph("grid", "toroidal grid: G81, 20,000 variables", "G81", 14_048),
    _graph("thin", "random graph of degree 2: G70, 10,000 variables", "G70", 9_591),
    _graph("degree-5", "random graph of degree 5: G55, 5,000 variables", "G55", 10_299),
    _graph("degree-20", "random graph of degree 20: G22, 2,000 variables", "G22", 13_359),
    Kind("floats", "random graph of degree 6, normal weights, 5,000 variables", normal_weights, 0.0, ANNEALERS),
    Kind("dense", "half of all couplings: p3000.1", dense_problem, DENSE.best_known, {tabu.NAME: searched}),
)


def courses_of(kind: Kind, path: Path) -> Iterator[Course]:
    verified(path, 0, target=0)  # loads what is compiled
    yield from (our_course(path, seed) for seed in OUR_SEEDS)
    for who, runs in kind.peers.items():
        runs_of_seeds = (runs(path, seed) for seed in PEER_SEEDS)
        yield from (Course(who, [(run.seconds, run.value) for run in found]) for found in runs_of_seeds)


def draw(kind: Kind, courses: Sequence[Course], path: Path) -> None:
    best = max([kind.listed, *(value for course in courses for _, value in course.points)])
    figure = import_module("matplotlib.figure").Figure(figsize=INCHES, layout="constrained")
    axes = figure.subplots()
    for who, points in courses:
        times, below = zip(*((at, 100 * (best - value) / best) for at, value in points), strict=True)
        ours = {"drawstyle": "steps-post"} if who == OURS else {"linestyle": ":", "marker": "o"}
        axes.plot(times, below, color=COLORS[who], label=who, **ours)
    axes.set(title=kind.title, xlabel="seconds from the file on", ylabel=f"% below {best:,.10g}", xscale="log")
    axes.set_xlim(None, 1.5 * SECONDS)
    axes.set_yscale("symlog", linthresh=AT_BEST)
    axes.set_ylim(-AT_BEST / 5, None)
    axes.grid(visible=True, alpha=0.3)
    lines, names = axes.get_legend_handles_labels()
    axes.legend(*zip(*{name: (line, name) for line, name in zip(lines, names, strict=True)}.values(), strict=True))
    figure.savefig(path, metadata={"Date": None})


def main(folder: Path, chosen: Sequence[str]) -> None:
    import_module("matplotlib").rcParams.update(STYLE)
    with tempfile.TemporaryDirectory() as files:
        for kind in KINDS:
            if kind.name in chosen or not chosen:
                print(kind.title, "…", file=sys.stderr)
                draw(kind, list(courses_of(kind, kind.file(Path(files)))), folder / f"{kind.name}.svg")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
