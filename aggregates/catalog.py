"""Every aggregate there is."""

from types import ModuleType

from aggregates import agent, journal, key, projection, qubo_problem, solve_job, subject, task

AGGREGATES: tuple[ModuleType, ...] = (agent, journal, key, projection, qubo_problem, solve_job, subject, task)
