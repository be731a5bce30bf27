"""Every aggregate there is."""

from types import ModuleType

from aggregates import (
    action,
    agent,
    archive,
    coordination,
    journal,
    journal_key,
    key,
    lockout,
    projection,
    qubo_problem,
    queue,
    revocation,
    session,
    solve_job,
    subject,
    task,
    task_type,
    trail,
    user,
    webhook,
)

AGGREGATES: tuple[ModuleType, ...] = (
    action,
    agent,
    archive,
    coordination,
    journal,
    journal_key,
    key,
    lockout,
    projection,
    qubo_problem,
    queue,
    revocation,
    session,
    solve_job,
    subject,
    task,
    task_type,
    trail,
    user,
    webhook,
)
