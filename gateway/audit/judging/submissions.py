"""Submissions, dependencies and results: whether tasks stood as they were said to, and whether documents fitted their schemas."""

from typing import Any

from agents.coordinating.folding.agents import SKILLS_MAX
from agents.coordinating.folding.tasks import ENDED_MAX
from aggregates.agent import Stage as Standing
from aggregates.task import (
    CompleteTask,
    FailDependent,
    Stage,
    SubmitTask,
    Task,
    TaskSubmitted,
    UnblockTask,
    skills_needed,
)
from gateway.audit.judging.findings import NOBODY, Findings
from gateway.audit.ledger import Books


def check_submission(findings: Findings, command: SubmitTask, books: Books) -> None:
    """How its dependencies stood, the skills that nobody has, and the schema in force."""
    for fact in command.dependency_facts:
        _dependency(findings, fact.task_id, fact.stage, fact.position)
    for name in command.submitted_with:
        _submitted_with(findings, name)
    offered = books.names_by_skill
    if offered and len(offered) < SKILLS_MAX:
        never = tuple(skill for skill in skills_needed(command) if skill not in offered)
        findings.check("skills_never_offered", tuple(sorted(command.skills_never_offered)), never)
    if command.assign_to is not None:
        account = books.accounts.get(command.assign_to)
        is_there = account is not None and account.profile.stage is not Standing.DEREGISTERED
        findings.check("assignee_unknown", command.assignee_unknown, not is_there)
    in_force = books.schemas.in_force(command.task_type)
    if in_force is not None or command.schema is not None:
        findings.check("schema", command.schema, in_force)
    if command.schema is not None:
        unfit = books.schemas.unfit(command.task_type, command.schema.version, payload=command.payload)
        findings.check("payload fits its schema", [], unfit)


def check_result(findings: Findings, command: CompleteTask, books: Books) -> None:
    """That it fits what the task was to give."""
    task = findings.told.before
    if isinstance(task, Task) and task.schema_version:
        unfit = books.schemas.unfit(task.task_type, task.schema_version, result=command.result)
        findings.check("result fits its schema", [], unfit)


def check_dependency_end(findings: Findings, command: UnblockTask | FailDependent, _: Books) -> None:
    """How that other task has ended."""
    stage = command.stage if isinstance(command, FailDependent) else Stage.COMPLETED
    stood = findings.stood(command.dependency)
    was = (stood[1].stage, stood[0]) if stood is not None else NOBODY
    findings.check(f"dependency {command.dependency}", (stage, command.position), was)


def _dependency(findings: Findings, task_id: str, stage: Stage, position: int) -> None:
    fact, told = f"dependency {task_id}", findings.told
    stood = findings.stood(task_id)
    if stage is Stage.UNKNOWN:
        # One that ended too long ago is not at hand any more, and called unknown.
        if stood is None or told.position - stood[0] >= ENDED_MAX:
            findings.counts.unknown += stood is not None
            findings.counts.checked += stood is None
            return
        findings.check(fact, (stage, position), (stood[1].stage, stood[0]))
        return
    findings.check(fact, (stage, position), (stood[1].stage, stood[0]) if stood is not None else NOBODY)


def _submitted_with(findings: Findings, task_id: str) -> None:
    """It was submitted in the same step, and nothing else has happened to it."""
    stood, meta = findings.stood(task_id), findings.told.meta
    record = findings.look_ups.record_at(stood[0]) if stood is not None else None
    was: Any = NOBODY
    if record is not None:
        step = (record.meta.at, record.meta.correlation, record.meta.principal)
        was = "submitted with it" if step == (meta.at, meta.correlation, meta.principal) else record.position
        was = was if isinstance(record.event, TaskSubmitted) else record.position
    findings.check(f"dependency {task_id}", "submitted with it", was)
