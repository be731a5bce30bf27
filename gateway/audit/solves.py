"""Whether recorded solver runs give the same bits again, from their problem's bytes, their seed and their counted work.

What was promised: on the same build (kernels, compiler and class of processor, which the record names), one seed and work give one answer.
On another build a run may take another course; what holds everywhere is that the answer is worth what the record says it is.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, NamedTuple

import msgspec

from agents.solve_run import plain, thinned
from aggregates.solve_job import SolveCompleted, SolveJob, SolvePlanned, SolveProgressed, SolveQueued, SolveStarted
from gateway.audit.look_ups import LookUps
from runtime.codec import Codec
from runtime.decidable import UNDECIDABLE, why_not
from runtime.records import evolved, name_of
from runtime.replay import PAGE
from solvers import formats
from solvers.build import build
from solvers.portfolio import Solution, replay
from solvers.qubo import Qubo
from solvers.strategies import STRATEGIES
from solvers.verify import decode_assignment, encode_assignment, recompute, same_value

FINDINGS_MAX = 1_000
LONGER_MAX, SECONDS_MIN = 20, 60.0
"""How many times as long as it took a run may take again, beside a minute: a forged count of work must not hold an audit up for ever."""

COMPLETED = "solve_job.SolveCompleted"

Verdict = Literal["equal", "different", "other_build", "not_decidable"]


class SolveFinding(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is not equal: what differs, or why nobody can tell."""

    position: int
    stream: str
    verdict: Verdict
    build: str
    reasons: list[str]


class Solved(msgspec.Struct, kw_only=True):
    """`solves` = `equal` + `different` + `other_build` + `not_decidable`. `other_build`: the answer is worth what it was said to be,
    and another build than this one found it; that this one finds another is no fault."""

    solves: int = 0
    equal: int = 0
    different: int = 0
    other_build: int = 0
    not_decidable: int = 0
    findings: list[SolveFinding] = []
    build: str = ""


class _Run(NamedTuple):
    """A run as it stands on record: what was queued, what was reported of the last start, and how it ended."""

    queued: SolveQueued
    plan: SolvePlanned | None
    reports: list[SolveProgressed]
    done: SolveCompleted


def replay_solves(look_ups: LookUps, codec: Codec, blobs: Path, first: int, last: int, stream: str = "") -> Solved:
    """Runs all completed solves again that ended between two positions. Blocks, for as long as they took."""
    solved = Solved(build=build())
    for position, name in _completed(look_ups, first, last):
        if stream in ("", name):
            solved.solves += 1
            finding = _judge(look_ups, codec, blobs, position, name)
            setattr(solved, finding.verdict, getattr(solved, finding.verdict) + 1)
            if finding.verdict != "equal" and len(solved.findings) < FINDINGS_MAX:
                solved.findings.append(finding)
    return solved


def _completed(look_ups: LookUps, first: int, last: int) -> Iterator[tuple[int, str]]:
    after = first - 1
    while rows := look_ups.rows(after, last, PAGE):
        for position, stream, _, kind, _ in rows:
            if name_of(kind) == COMPLETED:
                yield position, stream
        after = rows[-1][0]


def _judge(look_ups: LookUps, codec: Codec, blobs: Path, position: int, stream: str) -> SolveFinding:
    found_build = ""
    try:
        run = _read(look_ups, codec, position, stream)
        found_build = run.done.build
        content = _content(blobs, run.queued.problem.blob)
        qubo = formats.parse(content, run.queued.problem.name, format=run.queued.problem.format.value)
        reasons, is_due = _compare(run, qubo, content)
    except _Unknown as error:
        return _undecided(position, stream, found_build, str(error))
    except UNDECIDABLE as error:
        return _undecided(position, stream, found_build, why_not(error))
    except (ValueError, OverflowError, MemoryError) as error:
        reasons, is_due = [f"the problem or its answer can't be read: {error}"], True
    verdict: Verdict = "equal" if not reasons else "different" if is_due else "other_build"
    return SolveFinding(position=position, stream=stream, verdict=verdict, build=found_build, reasons=reasons)


def _undecided(position: int, stream: str, found_build: str, why: str) -> SolveFinding:
    return SolveFinding(position=position, stream=stream, verdict="not_decidable", build=found_build, reasons=[why])


class _Unknown(Exception):
    """Something that a run rests on is not at hand; the text says what."""


def _read(look_ups: LookUps, codec: Codec, position: int, stream: str) -> _Run:
    """Raises what reading a record raises, and _Unknown."""
    aggregate = codec.aggregate_of(stream)
    state: Any = aggregate.initial
    reports: list[SolveProgressed] = []
    for _, _, kind, body in look_ups.read_events(stream, after=0, upto=position, limit=PAGE):
        event = codec.open(kind, body)[1]
        if isinstance(event, SolveStarted):
            reports = []
        elif isinstance(event, SolveProgressed):
            reports.append(event)
        state = evolved(aggregate.evolve, state, event)
    if not isinstance(state, SolveJob) or state.queued is None or state.outcome is None:
        raise _Unknown("the job's records are not all there")
    return _Run(state.queued, state.plan, reports, state.outcome)


def _content(blobs: Path, digest: str) -> bytes:
    path = blobs / digest[:2] / digest
    try:
        content = path.read_bytes()
    except OSError as error:
        if any(path.parent.glob(f"{digest}.*")):
            raise _Unknown(f"the problem's blob {digest} stands in {blobs} encrypted: bring it in the clear") from error
        raise _Unknown(f"the problem's blob {digest} is not in {blobs}: {error.strerror or error}") from error
    if sha256(content).hexdigest() != digest:
        raise _Unknown(f"the file {path} is not the blob {digest}")
    return content


def _compare(run: _Run, qubo: Qubo, content: bytes) -> tuple[list[str], bool]:
    """What differs, and whether it must not."""
    done, problem = run.done, run.queued.problem
    false = []
    if (qubo.variables, qubo.sense) != (problem.variables, problem.sense.value):
        said = f"{problem.variables} variables, {problem.sense.value}"
        false.append(f"the problem was said to have {said}; its bytes say {qubo.variables}, {qubo.sense}")
    worth = recompute(content, decode_assignment(done.assignment, qubo.variables), format=problem.format.value)
    if not same_value(float(worth), done.value):
        false.append(f"the recorded assignment is worth {worth}, the record says {done.value}")
    if false:
        return false, True
    if done.algorithm not in {strategy.name for strategy in STRATEGIES}:
        if done.build in ("", build()):
            raise _Unknown(f"this program has no algorithm {done.algorithm}")
        return [f"it was found by {done.algorithm}, which this build does not have"], False
    return _run_again(run, qubo), done.build == build()


def _run_again(run: _Run, qubo: Qubo) -> list[str]:
    """The same start, seed and work of each island, and whether all that was told of the run comes out again."""
    done, works = run.done, run.done.works or (run.done.work,)
    until = perf_counter() + LONGER_MAX * done.seconds + SECONDS_MIN
    again = replay(
        qubo,
        seed=done.seed,
        works=works,
        algorithm=done.algorithm,
        warm=_warm(run),
        should_stop=lambda: perf_counter() > until,
    )
    if perf_counter() > until and sum(again.works) < sum(works):
        raise _Unknown(f"{sum(works)} steps take more than {LONGER_MAX} times the {done.seconds:g} s that they took")
    return _differences(run, again, works) + _baseline_differences(run, qubo)


def _baseline_differences(run: _Run, qubo: Qubo) -> list[str]:
    """The run that it was measured against, again; of its time nobody can tell."""
    if (measured := run.done.baseline) is None:
        return []
    again = replay(qubo, seed=run.done.seed, works=[measured.work], algorithm=measured.strategy)
    if float(again.value) != measured.value:
        return [f"the baseline's value: {measured.value} then, {float(again.value)} now"]
    better = qubo.better(measured.value, run.done.value)
    target = run.done.value if better else measured.value
    return (
        [] if measured.target == target else [f"the baseline's target: {measured.target} then, it has to be {target}"]
    )


def _warm(run: _Run) -> Any:
    known = run.queued.known
    return None if known is None else decode_assignment(known.assignment, run.queued.problem.variables)


def _differences(run: _Run, again: Solution, works: Sequence[int]) -> list[str]:
    done, reasons = run.done, []
    if again.works != tuple(works):
        reasons.append(f"work: {list(works)} then, it now ends at {list(again.works)}")
    if float(again.value) != done.value:
        reasons.append(f"value: {done.value} then, {float(again.value)} now")
    elif encode_assignment(again.assignment) != done.assignment:
        reasons.append("the assignment is another one of the same value")
    if (again.island, again.work) != (done.island, done.work):
        reasons.append(
            f"found by island {done.island} after {done.work} steps then, by {again.island} after {again.work} now"
        )
    if done.works and (again.counts, plain(again.parameters)) != (done.counts, done.parameters):
        reasons.append("what the islands have counted or set themselves does not come out again")
    if run.plan is not None and (run.plan.algorithm, run.plan.features) != (done.algorithm, plain(again.features)):
        reasons.append("the features that the strategy was chosen for are not the problem's")
    points = [{(work, float(value)) for work, value in trace} for trace in again.traces]
    reasons += [
        f"the report of {report.value} after {report.work} steps does not come out again"
        for report in run.reports
        if report.island >= len(points) or (report.work, report.value) not in points[report.island]
    ]
    return reasons + _trace_differences(run, again)


def _trace_differences(run: _Run, again: Solution) -> list[str]:
    """A recorded course is the run's own, thinned the same way; of its times nobody can tell."""
    if not run.done.works:
        return []  # from before courses were recorded
    recorded = run.done.trace
    expected = thinned(again.trace, [0.0] * len(again.trace))
    if [(point.work, point.value) for point in recorded] != [(point.work, point.value) for point in expected]:
        return ["the trace is not the course of the run"]
    times = [point.seconds for point in recorded]
    return [] if times == sorted(times) else ["the times of the trace go back"]
