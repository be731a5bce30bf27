"""Every aggregate there is."""

from types import ModuleType

from aggregates import (
    action,
    agent,
    archive,
    journal,
    journal_key,
    key,
    projection,
    qubo_problem,
    solve_job,
    subject,
    task,
    trail,
)

AGGREGATES: tuple[ModuleType, ...] = (
    action,
    agent,
    archive,
    journal,
    journal_key,
    key,
    projection,
    qubo_problem,
    solve_job,
    subject,
    task,
    trail,
)
