"""Problems and solves: whether the problem was the one on record, and the answer is to it."""

from typing import Any

from aggregates import qubo_problem as problems
from aggregates.qubo_problem import ProblemRegistered
from aggregates.solve_job import CompleteSolve, QueueSolve, SolveCompleted, SolveJob, stream
from gateway.audit.judging.findings import NOBODY, Findings
from gateway.audit.ledger import Books


def check_problem(findings: Findings, command: QueueSolve, _: Books) -> None:
    """What was said of the problem."""
    said = command.problem
    if said is None:
        return
    record = findings.look_ups.record_at(said.position) if said.position < findings.told.position else None
    event = record.event if record is not None else None
    was: Any = NOBODY
    if isinstance(event, ProblemRegistered) and record is not None:
        was = (event.problem_id, event.name, event.blob, event.format, event.sense, event.variables)
        if record.stream != problems.stream(command.problem_id) or record.meta.tenant != findings.told.meta.tenant:
            was = NOBODY
    told = (command.problem_id, said.name, said.blob, said.format, said.sense, said.variables)
    findings.check(f"problem {command.problem_id}", told, was)
    _check_start(findings, command)


def _check_start(findings: Findings, command: QueueSolve) -> None:
    """The assignment that it begins with: an earlier solve's result. What stood in a file, no log can show."""
    known, start = command.known, command.warm_start
    if known is None or start is None or start.job_id is None:
        findings.counts.unknown += known is not None
        return
    record = findings.look_ups.record_at(known.position) if known.position < findings.told.position else None
    place = (stream(start.job_id), findings.told.meta.tenant)
    was: Any = NOBODY
    if record is not None and isinstance(record.event, SolveCompleted) and place == (record.stream, record.meta.tenant):
        was = record.event.assignment
    findings.check(f"warm start {start.job_id}", known.assignment, was)


def check_solution(findings: Findings, command: CompleteSolve, _: Books) -> None:
    """Which problem the answer is to, and from which seed."""
    job = findings.told.before
    if not isinstance(job, SolveJob) or job.queued is None:
        findings.counts.unknown += 1
        return
    findings.counts.checked += 2
    if command.input_digest != job.queued.problem.blob:
        findings.lies("input_digest", command.input_digest, job.queued.problem.blob)
    if command.works and len(command.works) != job.queued.threads:
        findings.lies("works", len(command.works), job.queued.threads)
    if command.seed != job.queued.seed:
        findings.lies("seed", command.seed, job.queued.seed)
