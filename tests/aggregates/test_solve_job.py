"""A job's life: every command decides, was already so, or is refused."""

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from aggregates import solve_job
from aggregates.solve_job import (
    STARTS_MAX,
    BackendDegraded,
    CancelSolve,
    CompleteSolve,
    FailSolve,
    PlanSolve,
    QueueSolve,
    ReportSolve,
    SolveCompleted,
    SolveQueued,
    StartSolve,
)
from aggregates.values.document import faults
from aggregates.values.qubo import Sense
from aggregates.values.solving import (
    TASK_VARIABLES_MAX,
    VARIABLES_MAX,
    Backend,
    BackendStanding,
    BaselineRun,
    Readiness,
    Simulated,
)
from runtime.errors import Refused
from solvers.verify import encode_assignment
from tests.aggregates.outcomes import Outcome, check, named, state
from tests.examples import BASELINE_RUN, PROBLEM, command_by_type

QUEUE: QueueSolve = command_by_type[QueueSolve]
START: StartSolve = command_by_type[StartSolve]
PLAN: PlanSolve = command_by_type[PlanSolve]
REPORT: ReportSolve = command_by_type[ReportSolve]
COMPLETE: CompleteSolve = command_by_type[CompleteSolve]
FAIL: FailSolve = command_by_type[FailSolve]
CANCEL: CancelSolve = command_by_type[CancelSolve]

OUTCOMES = (
    Outcome(QUEUE, ["SolveQueued"], [], [QUEUE], "job_exists", [replace(QUEUE, seconds=2.0)]),
    Outcome(START, ["SolveStarted"], [QUEUE], [QUEUE, START], "job_is_cancelled", [QUEUE, CANCEL]),
    Outcome(PLAN, ["SolvePlanned"], [QUEUE, START], [QUEUE, START, PLAN], "job_is_queued", [QUEUE]),
    Outcome(REPORT, ["SolveProgressed"], [QUEUE, START], [QUEUE, START, REPORT], "job_is_queued", [QUEUE]),
    Outcome(COMPLETE, ["SolveCompleted"], [QUEUE, START], [QUEUE, START, COMPLETE], "job_is_failed", [QUEUE, FAIL]),
    Outcome(FAIL, ["SolveFailed"], [QUEUE, START], [QUEUE, FAIL], "job_is_completed", [QUEUE, START, COMPLETE]),
    Outcome(CANCEL, ["SolveCancelled"], [QUEUE], [QUEUE, CANCEL], "job_unknown", []),
)


@pytest.mark.parametrize("outcome", OUTCOMES, ids=named)
def test_every_command_has_three_outcomes(outcome: Outcome) -> None:
    check(solve_job, outcome)


def test_every_command_is_in_the_table() -> None:
    assert {type(outcome.command) for outcome in OUTCOMES} == set(solve_job.COMMANDS)


def test_a_job_without_a_known_problem_is_refused() -> None:
    with pytest.raises(Refused, match="problem_unknown"):
        solve_job.decide(solve_job.initial, replace(QUEUE, problem=None))


def test_a_problem_whose_assignment_would_fit_into_no_record_is_refused() -> None:
    with pytest.raises(Refused, match="problem_too_large"):
        solve_job.decide(solve_job.initial, replace(QUEUE, problem=replace(PROBLEM, variables=VARIABLES_MAX + 1)))


def test_the_largest_assignments_fit_into_their_command_and_into_a_task_s_result() -> None:
    def encoded(variables: int) -> str:
        return encode_assignment(np.ones(variables, dtype=np.uint8))

    command = replace(COMPLETE, assignment=encoded(VARIABLES_MAX))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(command), type=CompleteSolve) == command
    size, rest = TASK_VARIABLES_MAX, {"seed": 2**32 - 1, "seconds": 600.123456789}
    result = {"value": -1e300, "assignment": encoded(size), "variables": size, "work": 2**62, "algorithm": "x" * 200}
    assert faults("result", result | rest) == []


def test_without_a_seed_one_is_made_from_the_id_and_recorded() -> None:
    seeds = []
    for job_id in ("j1", "j1", "j2"):
        (queued,) = solve_job.decide(solve_job.initial, replace(QUEUE, seed=None, job_id=job_id))
        assert isinstance(queued, SolveQueued)
        seeds.append(queued.seed)
    assert seeds[0] == seeds[1] != seeds[2]


@pytest.mark.parametrize("sense, worse, better", [(Sense.MAX, 0.0, 2.0), (Sense.MIN, 2.0, 0.0)])
def test_only_a_better_value_is_recorded(sense: Sense, worse: float, better: float) -> None:
    running = state(solve_job, replace(QUEUE, problem=replace(PROBLEM, sense=sense)), START, REPORT)
    assert solve_job.decide(running, replace(REPORT, value=worse)) == []
    assert len(solve_job.decide(running, replace(REPORT, value=better))) == 1


def test_a_job_that_keeps_ending_its_node_fails() -> None:
    starts = [replace(START, node=f"n{number}") for number in range(STARTS_MAX)]
    (failed,) = solve_job.decide(state(solve_job, QUEUE, *starts), replace(START, node="n9"))
    assert isinstance(failed, solve_job.SolveFailed)


def test_a_job_that_goes_on_in_the_same_node_is_not_started_anew() -> None:
    running = state(solve_job, QUEUE, *[START] * STARTS_MAX)
    assert running.starts == 1
    assert solve_job.decide(running, START) == []


def test_what_this_node_lacks_is_refused_and_nothing_takes_its_place_unasked() -> None:
    for asked, lacking in (
        (replace(QUEUE, backend=Backend.DYNEX), "not configured for dynex; it is for local"),
        (replace(QUEUE, strategy="qaoa"), "qaoa runs on a quantum backend"),
    ):
        with pytest.raises(Refused, match=f"backend_not_configured.*{lacking}"):
            solve_job.decide(solve_job.initial, asked)


def test_a_fallback_that_was_asked_for_is_an_event_of_its_own() -> None:
    asked = replace(QUEUE, backend=Backend.DYNEX, strategy="hybrid_vqe", fallback=True)
    queued, degraded = solve_job.decide(solve_job.initial, asked)
    assert isinstance(queued, SolveQueued)
    assert isinstance(degraded, BackendDegraded)
    assert (queued.backend, queued.strategy) == (Backend.LOCAL, "")
    assert (degraded.asked_backend, degraded.asked_strategy) == (Backend.DYNEX, "hybrid_vqe")
    assert "not configured for dynex" in degraded.reason
    assert solve_job.decide(state(solve_job, asked), asked) == []
    (only,) = solve_job.decide(solve_job.initial, replace(QUEUE, fallback=True))
    assert isinstance(only, SolveQueued)


def test_what_a_backend_lacks_is_told_and_one_that_nothing_speaks_to_is_refused_as_that() -> None:
    asked = replace(QUEUE, backend=Backend.DYNEX)
    for readiness, status, code, says in (
        (Readiness.NOT_CONFIGURED, 422, "backend_not_configured", "not configured for dynex: set KEY; it is for local"),
        (Readiness.NOT_IMPLEMENTED, 501, "backend_not_implemented", "dynex is not implemented: set KEY"),
    ):
        standing = BackendStanding(readiness=readiness, reason="set KEY")
        with pytest.raises(Refused, match=says) as refused:
            solve_job.decide(solve_job.initial, replace(asked, standing=standing))
        assert (refused.value.code, refused.value.status) == (code, status)
        _, degraded = solve_job.decide(solve_job.initial, replace(asked, standing=standing, fallback=True))
        assert isinstance(degraded, BackendDegraded)
        assert says in degraded.reason


def test_what_the_node_simulates_is_taken_up_to_its_bound() -> None:
    asked = replace(QUEUE, strategy="qaoa", simulated=(Simulated(strategy="qaoa", variables_max=20),))
    for variables in (1, 20):
        (queued,) = solve_job.decide(solve_job.initial, replace(asked, problem=replace(PROBLEM, variables=variables)))
        assert isinstance(queued, SolveQueued)
        assert queued.strategy == "qaoa"
    large = replace(asked, problem=replace(PROBLEM, variables=21))
    with pytest.raises(
        Refused, match="problem_too_large: qaoa is simulated for 20 variables at most; the problem has 21"
    ):
        solve_job.decide(solve_job.initial, large)
    queued, degraded = solve_job.decide(solve_job.initial, replace(large, fallback=True))
    assert isinstance(queued, SolveQueued)
    assert isinstance(degraded, BackendDegraded)
    assert (queued.strategy, degraded.asked_strategy) == ("", "qaoa")
    with pytest.raises(Refused, match="local, which simulates qaoa"):
        solve_job.decide(solve_job.initial, replace(asked, strategy="hybrid_vqe"))
    with pytest.raises(Refused, match="problem_unknown"):
        solve_job.decide(solve_job.initial, replace(asked, problem=None))


def test_a_backend_that_the_node_can_reach_is_taken() -> None:
    asked = replace(QUEUE, backend=Backend.DYNEX, strategy="qaoa", configured=(Backend.LOCAL, Backend.DYNEX))
    (queued,) = solve_job.decide(solve_job.initial, asked)
    assert isinstance(queued, SolveQueued)
    assert queued.backend is Backend.DYNEX


def test_an_advantage_is_a_ratio_of_measured_times_or_there_is_none() -> None:
    def advantage(baseline: BaselineRun | None) -> float | None:
        (done,) = solve_job.decide(state(solve_job, QUEUE, START), replace(COMPLETE, baseline=baseline))
        assert isinstance(done, SolveCompleted)
        return done.quantum_advantage

    assert advantage(None) is None
    assert advantage(BASELINE_RUN) == BASELINE_RUN.target_seconds / BASELINE_RUN.own_target_seconds == 6.0
    slower = msgspec.structs.replace(BASELINE_RUN, target_seconds=0.125, own_target_seconds=0.5)
    assert advantage(slower) == 0.25
    assert advantage(msgspec.structs.replace(BASELINE_RUN, own_target_seconds=0.0)) is None


def test_a_gap_needs_a_proved_bound() -> None:
    running = state(solve_job, QUEUE, START)
    gaps = {}
    for bound in (None, 4.0):
        (done,) = solve_job.decide(running, replace(COMPLETE, value=1.0, bound=bound))
        assert isinstance(done, SolveCompleted)
        gaps[bound] = done.gap
    assert gaps == {None: None, 4.0: 3.0}


def test_a_start_anew_forgets_what_was_planned_and_found() -> None:
    again = state(solve_job, QUEUE, START, PLAN, REPORT, replace(START, node="n2"))
    assert (again.starts, again.plan, again.best, again.work) == (2, None, None, 0)
    assert len(solve_job.decide(again, PLAN)) == len(solve_job.decide(again, REPORT)) == 1
