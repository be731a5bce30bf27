"""Every projection there is."""

from types import ModuleType

from projections import (
    agent_timeline,
    agents,
    audit,
    bids,
    keys,
    learning_experiences,
    personal,
    problems,
    sessions,
    solves,
    task_types,
    tasks,
    users,
    webhooks,
)

PROJECTIONS: tuple[ModuleType, ...] = (
    agent_timeline,
    agents,
    audit,
    bids,
    keys,
    learning_experiences,
    personal,
    problems,
    sessions,
    solves,
    task_types,
    tasks,
    users,
    webhooks,
)
