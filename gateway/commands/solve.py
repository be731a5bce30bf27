"""`gavel solve FILE`: one problem file in, its best value out, checked against the file's own lines.

With a seed the answer has to be the same on any machine and under any load, so a run is bounded by counted work (spins visited and
neighbors updated), never by the clock: `--seconds` then count `WORK_PER_SECOND` each, and are what the answer calls seconds. Without
a seed the clock bounds the run and the answer tells what it took; the seed that was drawn is told too.
"""

import argparse
import secrets
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.live import Live

from gateway.commands.common import add_json, print_json
from gateway.verdicts import FINE, NO, Wrong
from solvers.formats import FILE_BYTES_MAX, parse, recognise
from solvers.portfolio import SEED_MAX, THREADS_MAX, Best, Solution, solve
from solvers.qubo import Qubo
from solvers.triples import FormatError
from solvers.verify import recompute, same_value

WORK_PER_SECOND = 80_000_000
"""What a thread of a slow or busy machine does; most do two or three times as much, and end the sooner."""
CLOCK_SECONDS_MAX = 1e9
SECONDS_MAX = 86_400.0


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="Gset (rudy), OR-Library bqp, qbsolv or gavel's JSON")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long, 10 by default")
    parser.add_argument(
        "--seed",
        type=int,
        help=f"makes the answer repeatable; a second is then {WORK_PER_SECOND:,} steps on any machine",
    )
    parser.add_argument("--work", type=int, help="how many steps a thread does, instead of --seconds")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="so many independent runs; the best counts")
    parser.add_argument("--problem", type=int, metavar="K", help="which problem of a file with several, from 1")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    _check(options)
    content, qubo = _read(options.file, options.problem)
    console = Console(stderr=True)
    with Live("", console=console, transient=True, auto_refresh=False) as live:
        watching = console.is_terminal

        def show(best: Best) -> None:
            if watching:
                live.update(f"{qubo.name}: {best.value} after {best.work:,} steps", refresh=True)

        solution = _solve(qubo, options, show)
    value = recompute(content, solution.assignment, name=str(options.file), problem=options.problem or 1)
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
    if options.json:
        print_json(answer)
    else:
        checked = "checked against the file" if verified else f"NOT what the solver claims, {solution.value}"
        print(f"{qubo.name}: {value} ({qubo.sense}, {qubo.variables} variables), {checked}")
        print(f"seed {solution.seed}, {sum(solution.works):,} steps, {solution.seconds:.1f} s")
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


def _read(path: Path, problem: int | None) -> tuple[bytes, Qubo]:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise Wrong(f"{path}: {path.stat().st_size} bytes; at most {FILE_BYTES_MAX} are read")
        if recognise(path) is None:
            raise Wrong(f"{path}: no reader recognizes the file")
        content = path.read_bytes()
        return content, parse(content, str(path), problem=problem)
    except FormatError as error:
        raise Wrong(f"{path}: {error}") from error
    except OSError as error:
        raise Wrong(f"{path}: {error.strerror or error}") from error


def _solve(qubo: Qubo, options: argparse.Namespace, show: Callable[[Best], None]) -> Solution:
    seed = options.seed if options.seed is not None else secrets.randbits(32)
    work, seconds = options.work, CLOCK_SECONDS_MAX
    if work is None and options.seed is not None:
        work = max(1, round(options.seconds * WORK_PER_SECOND))
    elif work is None:
        seconds = options.seconds
    return solve(qubo, seconds=seconds, seed=seed, threads=options.threads, work_max=work, on_improvement=show)
