"""The contract of backends, one suite for each of them: those of this machine, of a service that is not there, and two fakes."""

from dataclasses import replace
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.backends import BACKENDS, LOCAL, Backend, Dynex, NotReady, Readiness, Standing, WrongValue, named, run_on
from solvers.formats.documents import write_json
from solvers.generators import sparse_random
from solvers.portfolio import Plan
from solvers.qubo import Qubo
from solvers.verify import recompute, same_value
from tests.solvers.twins import brute_force, obvious_value, problems

LONG_SECONDS = 3600.0
WORK = 30_000


class Elsewhere:
    """A service of one strategy, which runs it on a thread of ours."""

    name = "elsewhere"
    is_repeatable = True
    strategies = ("annealing",)

    def standing(self) -> Standing:
        return Standing(Readiness.READY)

    def solve(self, qubo, **asked):
        return LOCAL.solve(qubo, **asked | {"strategy": "annealing"})


class Boastful(Elsewhere):
    """One whose energies are better than its assignments."""

    def solve(self, qubo, **asked):
        solution = super().solve(qubo, **asked)
        return replace(solution, value=solution.value + (1 if qubo.sense == "max" else -1))


READY = [(backend, strategy) for backend in (LOCAL, Elsewhere()) for strategy in backend.strategies]
NOT_READY = [
    (Dynex(), Readiness.NOT_CONFIGURED, ["QUANTUM_BACKEND=dynex", "GAVEL_DYNEX_API_KEY", "GAVEL_DYNEX_API_SECRET"]),
    (Dynex(is_named=True), Readiness.NOT_CONFIGURED, ["GAVEL_DYNEX_API_KEY", "GAVEL_DYNEX_API_SECRET"]),
    (Dynex(is_named=True, api_key="k"), Readiness.NOT_CONFIGURED, ["GAVEL_DYNEX_API_SECRET"]),
    (Dynex(api_key="k", api_secret="s"), Readiness.NOT_CONFIGURED, ["QUANTUM_BACKEND=dynex"]),
    (Dynex(is_named=True, api_key="k", api_secret="s"), Readiness.NOT_IMPLEMENTED, ["does not speak"]),
]
each_ready = pytest.mark.parametrize(
    ("backend", "strategy"), READY, ids=[f"{backend.name}-{strategy}" for backend, strategy in READY]
)
each_not_ready = pytest.mark.parametrize(("backend", "readiness", "says"), NOT_READY)
WHOLE = st.integers(-9, 9)


def large(strategy):
    """What takes a strategy some time; whole numbers that are small enough for each of them."""
    return sparse_random(18, 17.0, 1) if strategy in ("qaoa", "hybrid_vqe") else sparse_random(90, 20.0, 1)


@each_ready
@given(drawn=problems(variables_max=8, weights=WHOLE), seed=st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_a_solution_is_worth_what_the_problem_s_own_terms_say(backend, strategy, drawn, seed):
    qubo, terms, offset = drawn
    solution = run_on(backend, qubo, seconds=LONG_SECONDS, seed=seed, work_max=WORK, strategy=strategy)
    exact = obvious_value(qubo.convention, qubo.variables, terms, offset, solution.assignment.tolist())
    assert solution.value == exact
    assert same_value(recompute(write_json(qubo), solution.assignment), solution.value)
    assert solution.algorithm == strategy


@each_ready
def test_small_problems_are_solved_to_the_optimum(backend, strategy):
    for qubo in (sparse_random(12, 5.0, 1), sparse_random(10, 7.0, 2).negated(), sparse_random(12, 4.0, 3)):
        best = brute_force(qubo)
        assert run_on(backend, qubo, seconds=60, seed=1, target=best, strategy=strategy).value == best


@each_ready
def test_a_seed_and_counted_work_give_the_same_solution(backend, strategy):
    if not backend.is_repeatable:
        pytest.skip("it says that it is not")
    qubo = sparse_random(14, 6.0, 3)
    one, other = (
        run_on(backend, qubo, seconds=LONG_SECONDS, seed=5, work_max=WORK, strategy=strategy) for _ in range(2)
    )
    assert (one.value, one.works, one.trace) == (other.value, other.works, other.trace)
    assert one.assignment.tobytes() == other.assignment.tobytes()


@each_ready
def test_it_is_canceled_between_two_calls(backend, strategy):
    asked = []

    def should_stop() -> bool:
        asked.append(True)
        return len(asked) > 3

    qubo = large(strategy)
    solution = run_on(backend, qubo, seconds=LONG_SECONDS, seed=1, should_stop=should_stop, strategy=strategy)
    assert solution.value == qubo.value(solution.assignment)
    assert len(asked) <= 7


@each_ready
def test_more_memory_than_is_allowed_is_refused_with_the_estimate(backend, strategy):
    plans: list[Plan] = []
    qubo = sparse_random(14, 6.0, 1)
    asked = {"seconds": 60, "seed": 1, "work_max": 1, "strategy": strategy}
    run_on(backend, qubo, **asked, on_plan=plans.append)
    needed = plans[0].memory_bytes
    with pytest.raises(ValueError, match=rf"needs about {needed} bytes of memory; {needed - 1} are allowed"):
        run_on(backend, qubo, **asked, memory_bytes_max=needed - 1)


@each_ready
def test_it_ends_in_time(backend, strategy):
    qubo = large(strategy)
    run_on(backend, qubo, seconds=60, seed=1, work_max=1, strategy=strategy)  # has the kernels in memory
    began_at = perf_counter()
    solution = run_on(backend, qubo, seconds=0.1, seed=1, strategy=strategy)
    assert solution.seconds <= perf_counter() - began_at
    assert qubo.better(solution.value, 0)


@each_ready
def test_wrong_arguments_are_told(backend, strategy):
    qubo = sparse_random(5, 4.0, 1)
    for wrong, says in (
        ({"seconds": -1}, "seconds"),
        ({"seed": -1}, "seed"),
        ({"threads": 0}, "threads"),
        ({"strategy": "magic"}, f"{backend.name} has no strategy called 'magic'; there are .*{strategy}"),
        ({"warm": [0, 1]}, "5 variables"),
    ):
        with pytest.raises(ValueError, match=says):
            run_on(backend, qubo, **{"seconds": 1, "seed": 1, "strategy": strategy} | wrong)


@each_not_ready
def test_one_that_is_not_ready_says_what_it_lacks_and_computes_nothing(backend, readiness, says):
    standing = backend.standing()
    assert standing.readiness is readiness
    assert all(word in standing.reason for word in says)
    assert "k" not in standing.reason.split()
    for solve in (backend.solve, lambda qubo, **asked: run_on(backend, qubo, **asked)):
        with pytest.raises(NotReady, match=readiness.value) as raised:
            solve(Qubo.from_dense(np.eye(2)), seconds=1, seed=1)
        assert raised.value.standing == standing


def test_a_value_that_an_assignment_is_not_worth_is_not_believed():
    for qubo in (sparse_random(6, 4.0, 1), sparse_random(6, 4.0, 1).negated()):
        with pytest.raises(WrongValue, match="elsewhere claims"):
            run_on(Boastful(), qubo, seconds=60, seed=1, work_max=100)


def test_backends_are_found_by_name_and_an_unknown_one_is_told_which_there_are():
    assert [named(backend.name) for backend in BACKENDS] == list(BACKENDS)
    with pytest.raises(ValueError, match="no backend is called 'abacus'; there are local, dynex"):
        named("abacus")


def test_every_backend_is_one_by_its_type():
    backends: tuple[Backend, ...] = (*BACKENDS, Elsewhere())
    assert len({backend.name for backend in backends}) == len(backends)
