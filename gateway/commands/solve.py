"""`gavel solve FILE`: one problem file in, its best value out, checked against the file's own lines.

With a seed the answer has to be the same on any machine and under any load, so a run is bounded by counted work (spins visited and
neighbors updated), never by the clock: `--seconds` then count `WORK_PER_SECOND` each, and are what the answer calls seconds. Without
a seed the clock bounds the run and the answer tells what it took; the seed that was drawn is told too. Whoever interrupts a run gets
the best that it had.
"""

import argparse
import math
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from gateway.commands.answers import add_json, print_json
from gateway.commands.solve_plot import Point, as_picture, check_picture, in_terminal
from gateway.verdicts import FINE, INTERRUPTED, NO, Wrong
from solvers.backends import LOCAL, Backend, NotReady, named, run_on
from solvers.formats import FILE_BYTES_MAX, FormatError, parse, recognise
from solvers.portfolio import SEED_MAX, THREADS_MAX, Assignment, Best, Solution
from solvers.qubo import Qubo
from solvers.solutions import read_solution, write_solution
from solvers.verify import recompute, same_value

if TYPE_CHECKING:
    from rich.text import Text

WORK_PER_SECOND = 80_000_000
"""What a thread of a slow or busy machine does; most do two or three times as much, and end the sooner."""
CLOCK_SECONDS_MAX = 1e9
SECONDS_MAX = 86_400.0
LINES_PER_SECOND = 8
IN_TERMINAL = Path()
"""What `--plot` means without a file."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="a problem in any format of docs/problems.md")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long, 10 by default")
    parser.add_argument(
        "--seed",
        type=int,
        help=f"makes the answer repeatable; a second is then {WORK_PER_SECOND:,} steps on any machine",
    )
    parser.add_argument("--work", type=int, help="how many steps a thread does, instead of --seconds")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="so many independent runs; the best counts")
    parser.add_argument(
        "--strategy", metavar="NAME", help="how, instead of by what suits the problem: docs/qubo.md has the names"
    )
    parser.add_argument("--backend", metavar="NAME", default="local", help="where; local by default")
    parser.add_argument("--problem", type=int, metavar="K", help="which problem of a file with several, from 1")
    parser.add_argument("--target", type=float, metavar="VALUE", help="end as soon as the value is as good as this")
    parser.add_argument(
        "--start", type=Path, metavar="FILE", help="begin with the solution in this file, and end with one as good"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the solution there, as JSON")
    parser.add_argument(
        "--plot",
        type=Path,
        nargs="?",
        const=IN_TERMINAL,
        metavar="FILE",
        help="draw the best value over time: in the terminal, or as a PNG, SVG or PDF",
    )
    add_json(parser)


class Watch:
    """What is seen of a run while it lasts: the best values with their times, a line about them, and whether to end it."""

    def __init__(self, qubo: Qubo) -> None:
        self.qubo = qubo
        self.started = perf_counter()
        self.points: list[Point] = []
        self.is_interrupted = False

    def improved(self, best: Best) -> None:
        self.points.append((perf_counter() - self.started, best.value))

    def __rich__(self) -> "Text":
        from rich.text import Text

        seconds = perf_counter() - self.started
        if not self.points:
            return Text(f"{self.qubo.name}: {seconds:.1f} s")
        at, value = self.points[-1]
        return Text(f"{self.qubo.name}: {value} ({self.qubo.sense}), found after {at:.1f} of {seconds:.1f} s")

    def should_stop(self) -> bool:
        return self.is_interrupted

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """The first interrupt ends the run, which still answers; a second ends the program."""

        def interrupt(*_: Any) -> None:
            self.is_interrupted = True
            signal.signal(signal.SIGINT, before)

        before = signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def run(options: argparse.Namespace) -> int:
    _check(options)
    content, format, qubo = _read(options.file, options.problem)
    start = None if options.start is None else _start(options.start, qubo)
    watch = Watch(qubo)
    with watch.interruptible(), _line(watch):
        solution = _solve(qubo, options, start, watch)
    value = recompute(content, solution.assignment, format=format, problem=options.problem or 1)
    verified = same_value(value, solution.value)
    counted = options.seed is not None or options.work is not None
    seconds = max(solution.works) / WORK_PER_SECOND if counted else solution.seconds
    answer = {
        "name": qubo.name,
        "variables": qubo.variables,
        "value": value,
        "sense": qubo.sense,
        "seconds": round(seconds, 3),
        "algorithm": solution.algorithm,
        "seed": solution.seed,
        "verified": verified,
    }
    if options.out is not None:
        run = {
            "algorithm": solution.algorithm,
            "seed": solution.seed,
            "island": solution.island,
            "works": solution.works,
        }
        _write(options.out, write_solution(qubo, value, solution.assignment, run))
    if options.plot is not None:
        points = watch.points or [(0.0, value)]
        if options.plot is IN_TERMINAL:
            print(in_terminal(qubo.name, points, solution.seconds, shutil.get_terminal_size().columns), file=sys.stderr)
        else:
            _write(options.plot, as_picture(qubo.name, points, solution.seconds, options.plot.suffix))
    if options.json:
        print_json(answer)
    else:
        checked = "checked against the file" if verified else f"NOT what the solver claims, {solution.value}"
        print(f"{qubo.name}: {value} ({qubo.sense}, {qubo.variables} variables), {checked}")
        print(f"seed {solution.seed}, {sum(solution.works):,} steps, {solution.seconds:.1f} s")
    if watch.is_interrupted:
        return INTERRUPTED
    return FINE if verified else NO


def _check(options: argparse.Namespace) -> None:
    if not 0 < options.seconds <= SECONDS_MAX:
        raise Wrong(f"--seconds must be above 0, at most {SECONDS_MAX:g}")
    if options.seed is not None and not 0 <= options.seed <= SEED_MAX:
        raise Wrong(f"--seed must be between 0 and {SEED_MAX}")
    if options.work is not None and options.work < 1:
        raise Wrong("--work must be 1 or more")
    if not 1 <= options.threads <= THREADS_MAX:
        raise Wrong(f"--threads must be between 1 and {THREADS_MAX}")
    if options.target is not None and not math.isfinite(options.target):
        raise Wrong("--target must be a finite number")
    if options.plot is not None and options.plot is not IN_TERMINAL:
        check_picture(options.plot)
    for path in (options.out, options.plot):
        if path is not None and not path.parent.is_dir():
            raise Wrong(f"{path.parent}: there is no such folder")


def _read(path: Path, problem: int | None) -> tuple[bytes, str, Qubo]:
    """The file's bytes, its format and the problem in it."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise Wrong(f"{path}: {path.stat().st_size} bytes; at most {FILE_BYTES_MAX} are read")
        format = recognise(path)
        if format is None:
            raise Wrong(f"{path}: no reader recognizes the file")
        content = path.read_bytes()
        return content, format, parse(content, str(path), format=format, problem=problem)
    except FormatError as error:
        raise Wrong(f"{path}: {error}") from error
    except OSError as error:
        raise Wrong(f"{path}: {error.strerror or error}") from error


def _start(path: Path, qubo: Qubo) -> Assignment:
    try:
        return read_solution(path.read_bytes(), qubo.variables)
    except OSError as error:
        raise Wrong(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise Wrong(f"{path}: {error}") from error


@contextmanager
def _line(watch: Watch) -> Iterator[None]:
    """The watch as a line that keeps itself up to date, where somebody looks."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # takes as long to load as a small problem to be solved
    from rich.live import Live

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with Live(watch, console=console, transient=True, refresh_per_second=LINES_PER_SECOND):
        yield


def _solve(qubo: Qubo, options: argparse.Namespace, start: Assignment | None, watch: Watch) -> Solution:
    seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(4))
    work, seconds = options.work, CLOCK_SECONDS_MAX
    if work is None and options.seed is not None:
        work = max(1, round(options.seconds * WORK_PER_SECOND))
    elif work is None:
        seconds = options.seconds
    try:
        return run_on(
            _backend(options.backend),
            qubo,
            seconds=seconds,
            seed=seed,
            threads=options.threads,
            work_max=work,
            target=options.target,
            should_stop=watch.should_stop,
            on_improvement=watch.improved,
            warm=start,
            strategy=options.strategy,
        )
    except (NotReady, ValueError) as error:
        raise Wrong(f"{options.file}: {error}") from error


def _backend(name: str) -> Backend:
    """This machine, or what the settings of a node here set it up for."""
    if name == LOCAL.name:
        return LOCAL
    from gateway.backends import backends_of
    from gateway.settings import resolved
    from runtime.settings import SettingsFaulty

    try:
        return named(name, backends_of(resolved(os.environ).settings))
    except SettingsFaulty as error:
        raise Wrong(f"settings: {error}") from error


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise Wrong(f"{path}: {error.strerror or error}") from error
