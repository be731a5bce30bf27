"""Every aggregate there is."""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from aggregates import (
    action,
    agent,
    archive,
    concurrency,
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
from runtime.records import noun

AGGREGATES: tuple[ModuleType, ...] = (
    action,
    agent,
    archive,
    concurrency,
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

EVENTS_BY_NOUN: Mapping[str, tuple[Any, ...]] = {noun(one): one.EVENTS for one in AGGREGATES}
KINDS = frozenset(f"{name}.{event.__name__}" for name, events in EVENTS_BY_NOUN.items() for event in events)
"""What records there are, as the log names them: `task.TaskAwarded`."""
