"""Every projection there is."""

from types import ModuleType

from projections import agents, audit, bids, keys, personal, problems, sessions, solves, tasks, users, webhooks

PROJECTIONS: tuple[ModuleType, ...] = (
    agents,
    audit,
    bids,
    keys,
    personal,
    problems,
    sessions,
    solves,
    tasks,
    users,
    webhooks,
)
