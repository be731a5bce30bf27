"""`gavel bench NAME`: measures this program against others, in the same run, and says which goals are met."""

import argparse
import sys
from importlib import import_module
from typing import Any

import msgspec

from gateway.commands.answers import add_json, print_json, say
from gateway.verdicts import FINE, NO, Wrong
from runtime.telemetry import configure


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", metavar="NAME", help="which bench: runtime, journal, audit, gateway, coordination, qubo"
    )
    parser.add_argument("--rows", default="", metavar="A,B", help="only these rows")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    try:
        catalog, measure = import_module("benchmarks.catalog"), import_module("benchmarks.measure")
    except ModuleNotFoundError as error:
        raise Wrong(f"the benches come with the source, not with the installed package: {error}") from error
    rows = _chosen(catalog.BENCHES, options)
    configure("console", "warning")
    results, code = [], FINE
    for row in rows:
        say(f"measuring {row.name} …")
        try:
            results.append(measure.run(row))
        except measure.NotMeasurable as error:
            say(f"{row.name} could not be measured: {error}")
            results.append(measure.not_reached(row))
            code = NO
    if options.json:
        print_json({"bench": options.name, "machine": measure.machine(), "rows": results})
    else:
        _print(results, measure.machine())
    return code


def _chosen(benches: dict[str, tuple[Any, ...]], options: argparse.Namespace) -> list[Any]:
    if options.name not in benches:
        raise Wrong(f"no bench is called {options.name!r}; there are {', '.join(sorted(benches))}")
    rows = {row.name: row for row in benches[options.name]}
    wanted = [name for name in options.rows.split(",") if name] or list(rows)
    if unknown := sorted(set(wanted) - set(rows)):
        raise Wrong(f"{options.name} has no row {', '.join(unknown)}; there are {', '.join(rows)}")
    return [rows[name] for name in wanted]


def _print(results: list[Any], machine: dict[str, object]) -> None:
    for result in results:
        print(f"{result.name}: {result.ours:,.3f} {result.unit}; {result.peer}: {result.theirs:,.3f}")
        if result.goal is not None:
            print(f"    ratio {result.ratio:.2f}, goal {result.goal:g}: {'met' if result.met else 'NOT met'}")
    sys.stdout.write(msgspec.json.encode(machine).decode() + "\n")
