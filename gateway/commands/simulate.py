"""`gavel simulate`: a whole node, its agents and its submitters on a virtual clock, from one seed and with the faults that it draws.

The same seed and faults give the same trace on any machine. A run that fails tells the invariant, the shortest list of faults found that
still breaks it, and the command that runs it again.
"""

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from hashlib import sha256
from typing import Any

import msgspec

from gateway.commands.answers import add_json, print_json, say
from gateway.simulation.workload import KINDS, NodeWorkload
from gateway.verdicts import FINE, NO, Wrong
from runtime.simulation import Fault, Outcome, shrink, simulate
from runtime.simulation.explain import reasons
from runtime.simulation.faults import draw

SEEDS_MAX = 1_000_000
SECONDS_MAX = 86_400.0
LINES_SHOWN = 40
NONE = "none"


class Plan(msgspec.Struct, frozen=True):
    """What each run is to be: how long, of which kinds its faults are drawn, or which they are."""

    seconds: float | None
    kinds: tuple[str, ...] | None
    faults: tuple[str, ...] | None

    def workload(self) -> NodeWorkload:
        return NodeWorkload(self.seconds)

    def faults_of(self, seed: int) -> list[Fault]:
        """The faults of this seed's run."""
        if self.faults is not None:
            return [Fault.read(text) for text in self.faults]
        chosen = [kind for kind in KINDS if self.kinds is None or kind.name in self.kinds]
        return draw(chosen, seed, self.workload().seconds)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="the seed, or the first of several")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="runs N seeds, from S on")
    parser.add_argument("--seconds", type=float, metavar="T", help="simulated seconds of submissions in each run")
    parser.add_argument(
        "--faults",
        metavar="A,B",
        help=f"kinds of faults to draw from, faults as KIND@SECOND, or {NONE}; of all kinds by default: "
        + ", ".join(kind.name for kind in KINDS),
    )
    parser.add_argument(
        "--until", type=int, metavar="STEP", help="ends the run after this step and prints the last ones"
    )
    parser.add_argument(
        "--explain", action="store_true", help="tells what led to the last step, and how the node stood then"
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="runs so many seeds at a time; one for each processor")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    plan = _plan(options)
    began = time.perf_counter()
    if options.seeds == 1:
        outcomes = [_simulate(plan, options.seed, until=options.until)]
    else:
        outcomes = list(_many(plan, range(options.seed, options.seed + options.seeds), options.jobs))
    seconds = time.perf_counter() - began
    failed = [_shrunk(plan, outcome) for outcome in outcomes if not outcome.ok and options.until is None]
    answer = _answer(options.seed, outcomes, failed)
    if options.json:
        print_json(answer)
    else:
        _tell(options, outcomes, failed, answer["simulated_seconds"] / seconds)
    return NO if failed else FINE


def _plan(options: argparse.Namespace) -> Plan:
    if options.seed < 0:
        raise Wrong("--seed must be 0 or more")
    if not 1 <= options.seeds <= SEEDS_MAX:
        raise Wrong(f"--seeds must be between 1 and {SEEDS_MAX}")
    if options.seconds is not None and not 0 < options.seconds <= SECONDS_MAX:
        raise Wrong(f"--seconds must be above 0, at most {SECONDS_MAX:g}")
    if options.until is not None and (options.until < 1 or options.seeds > 1):
        raise Wrong("--until takes a step, from 1 on, of a single seed's run")
    if options.jobs is not None and options.jobs < 1:
        raise Wrong("--jobs must be 1 or more")
    if not options.faults:
        return Plan(options.seconds, None, None)
    given = tuple(text.strip() for text in options.faults.split(",") if text.strip())
    if given == (NONE,):
        return Plan(options.seconds, None, ())
    unknown = sorted({text.partition("@")[0] for text in given} - {kind.name for kind in KINDS})
    if unknown:
        raise Wrong(f"--faults: there is no {', '.join(unknown)}; there are {', '.join(kind.name for kind in KINDS)}")
    if not any("@" in text for text in given):
        return Plan(options.seconds, given, None)
    try:
        return Plan(options.seconds, None, tuple(str(Fault.read(text)) for text in given))
    except ValueError as error:
        raise Wrong(f"--faults: {error}") from error


def _simulate(plan: Plan, seed: int, until: int | None = None) -> Outcome:
    return simulate(plan.workload(), seed, kinds=KINDS, faults=plan.faults_of(seed), until=until)


def _many(plan: Plan, seeds: Sequence[int], jobs: int | None) -> Iterator[Outcome]:
    """The outcomes in the order of the seeds, without their traces: those would fill the memory."""
    with ProcessPoolExecutor(min(len(seeds), jobs or os.cpu_count() or 1)) as processes:
        yield from processes.map(partial(_without_trace, plan), seeds)


def _without_trace(plan: Plan, seed: int) -> Outcome:
    return msgspec.structs.replace(_simulate(plan, seed), trace=[])


def _shrunk(plan: Plan, outcome: Outcome) -> Outcome:
    say(
        f"seed {outcome.seed} breaks {outcome.invariant}; looking for a shorter list of its {len(outcome.faults)} faults"
    )
    return shrink(plan.workload(), outcome, kinds=KINDS)


def _answer(seed: int, outcomes: Sequence[Outcome], failed: Sequence[Outcome]) -> dict[str, Any]:
    """The sums of all runs; the digest is the trace's, or of all digests in the order of the seeds."""
    digests = [outcome.trace_sha256 for outcome in outcomes]
    return {
        "seed": seed,
        "ok": not failed,
        "steps": sum(outcome.steps for outcome in outcomes),
        "simulated_seconds": round(sum(outcome.simulated_seconds for outcome in outcomes), 6),
        "events": sum(outcome.events for outcome in outcomes),
        "trace_sha256": digests[0] if len(digests) == 1 else sha256("".join(digests).encode()).hexdigest(),
        "failed": [
            {"seed": one.seed, "invariant": one.invariant, "faults": [str(fault) for fault in one.faults]}
            for one in failed
        ],
    }


def _tell(options: argparse.Namespace, outcomes: Sequence[Outcome], failed: Sequence[Outcome], speed: float) -> None:
    for one in failed:
        print(f"seed {one.seed}: {one.invariant} does not hold: {one.detail}")
        print("\n".join(one.trace[-LINES_SHOWN:]))
        _explain(options, one)
        print(f"again: {_again(options, one)}")
    if options.until is not None:
        print("\n".join(outcomes[0].trace[-LINES_SHOWN:]))
        _explain(options, outcomes[0])
        return
    steps, events = sum(one.steps for one in outcomes), sum(one.events for one in outcomes)
    kept = len(outcomes) - len(failed)
    print(f"{kept} of {len(outcomes)} runs kept every invariant: {steps:,} steps, {events:,} events")
    if len(outcomes) == 1:
        print(f"trace {outcomes[0].trace_sha256}")
        print("faults " + (" ".join(str(fault) for fault in outcomes[0].struck) or NONE))
    print(f"{speed:,.0f} simulated seconds a second")


def _explain(options: argparse.Namespace, outcome: Outcome) -> None:
    if not options.explain or not outcome.trace:
        return
    print("what led to it:")
    print("\n".join(reasons(outcome.trace, len(outcome.trace))))
    print("how all stood:")
    print("\n".join(outcome.standing))


def _again(options: argparse.Namespace, outcome: Outcome) -> str:
    seconds = f" --seconds {options.seconds:g}" if options.seconds is not None else ""
    faults = ",".join(str(fault) for fault in outcome.faults) or NONE
    return f"gavel simulate --seed {outcome.seed}{seconds} --faults {faults} --explain"
