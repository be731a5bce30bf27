"""A problem is registered once."""

from msgspec.structs import replace

from aggregates import qubo_problem
from aggregates.qubo_problem import RegisterProblem
from tests.aggregates.outcomes import Outcome, check
from tests.examples import command_by_type

REGISTER: RegisterProblem = command_by_type[RegisterProblem]


def test_registering_has_three_outcomes() -> None:
    other = replace(REGISTER, variables=4)
    check(qubo_problem, Outcome(REGISTER, ["ProblemRegistered"], [], [REGISTER], "problem_exists", [other]))
