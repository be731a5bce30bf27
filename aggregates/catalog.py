"""Every aggregate there is."""

from types import ModuleType

from aggregates import agent, key, qubo_problem, solve_job, task

AGGREGATES: tuple[ModuleType, ...] = (agent, key, qubo_problem, solve_job, task)
