"""Every aggregate there is."""

from types import ModuleType

from aggregates import agent, key, projection, qubo_problem, solve_job, task

AGGREGATES: tuple[ModuleType, ...] = (agent, key, projection, qubo_problem, solve_job, task)
