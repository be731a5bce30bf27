"""The house's solver: jobs on worker threads, and tasks that it wins like any other agent."""

from hashlib import sha256
from pathlib import Path

import pytest
import trio
from eventsourcing.persistence import OperationalError
from msgspec.structs import replace
from structlog.testing import capture_logs

from agents import solver
from agents.coordinating.coordinator import Coordinator, CoordinatorCommand
from agents.house_solver import House
from agents.solve_desk import HOUSE_SOLVER
from agents.solver import (
    JOBS_MAX,
    REPORT_SECONDS_MIN,
    REPORTS_MAX,
    Solver,
    SolverCommand,
    report_pause_seconds,
)
from aggregates.agent import AgentRegistered, DeregisterAgent
from aggregates.qubo_problem import ProblemAccepted, RegisterProblem
from aggregates.solve_job import (
    STARTS_MAX,
    BackendDegraded,
    CancelSolve,
    CompleteSolve,
    QueueSolve,
    SolveCancelled,
    SolveCompleted,
    SolveFailed,
    SolveProgressed,
    SolveQueued,
    SolveStarted,
    StartSolve,
)
from aggregates.task import BidRefused, CancelTask, CompleteTask, TaskAwarded, TaskCompleted, TaskFailed
from aggregates.values.qubo import Format, Sense
from aggregates.values.ranking import AwardPolicy
from aggregates.values.solving import SECONDS_MAX, TASK_VARIABLES_MAX, VARIABLES_MAX, Backend
from runtime.actor import Effect, Reply
from runtime.blobs import WrongDigest
from runtime.errors import Conflict, Failure, NotAnswered, NotCommitted, Overloaded, Refused
from runtime.records import Command
from solvers import formats, portfolio
from solvers.formats import write_rudy
from solvers.generators import toroidal_grid
from solvers.portfolio import replay
from solvers.verify import decode_assignment, recompute
from tests.agents.crew import Crew, kinds, open_crew
from tests.examples import TENANT

# Each cut into halves takes 400 edges, the most; a run on it ends with that proof.
SIZE, CUT = 40, 400
COMPLETE = ("40 780\n" + "".join(f"{i} {j} 1\n" for i in range(1, 41) for j in range(i + 1, 41))).encode()
BLOB = sha256(COMPLETE).hexdigest()
PROBLEM = RegisterProblem(
    problem_id="p1", name="complete", format=Format.RUDY, blob=BLOB, variables=SIZE, couplings=780, sense=Sense.MAX
)
ENDLESS = write_rudy(toroidal_grid(12, 12, 1))
"""No reduction makes it smaller, and it is larger than what is searched exactly: a job of it runs until it is stopped."""
GRID = replace(PROBLEM, problem_id="p3", name="grid", blob=sha256(ENDLESS).hexdigest(), variables=144, couplings=288)
HOUSE = House(bids=True, slots=1, price=1.0)
QUICK = QueueSolve(job_id="j1", problem_id="p1", seconds=600.0, seed=7, target=float(CUT))
"""Ends when it has found the best, however slow the machine is."""
LONG = QueueSolve(job_id="j2", problem_id="p3", seconds=600.0, seed=7)


def blobs(digest: str) -> bytes:
    content = {BLOB: COMPLETE, GRID.blob: ENDLESS}.get(digest)
    if content is None:
        raise FileNotFoundError(digest)
    return content


async def with_problem(crew: Crew) -> None:
    assert await crew.ask(PROBLEM) == ProblemAccepted(problem_id="p1")
    assert await crew.ask(GRID) == ProblemAccepted(problem_id="p3")


async def test_a_job_is_solved_and_its_record_replays_to_the_same_answer(tmp_path: Path) -> None:
    async with open_crew(tmp_path, read_blob=blobs) as crew:
        await with_problem(crew)
        await crew.ask(QUICK)
        done = await crew.next(SolveCompleted)
    assert (done.value, done.seed, done.input_digest, done.quantum_advantage) == (CUT, 7, BLOB, None)
    bits = decode_assignment(done.assignment, SIZE)
    assert recompute(COMPLETE, bits, format="rudy") == CUT
    again = replay(formats.parse(COMPLETE, "complete"), seed=7, works=[done.work], algorithm=done.algorithm)
    assert (again.value, again.assignment.tolist()) == (CUT, bits.tolist())


async def test_a_job_for_an_unknown_problem_is_refused(tmp_path: Path) -> None:
    async with open_crew(tmp_path, read_blob=blobs) as crew:
        with pytest.raises(Refused, match="problem_unknown"):
            await crew.ask(QUICK)


async def test_a_blob_that_cannot_be_read_fails_the_job_and_says_why(tmp_path: Path) -> None:
    async with open_crew(tmp_path, read_blob=lambda digest: b"3 9\n1 2 x\n") as crew:
        await with_problem(crew)
        await crew.ask(QUICK)
        assert "complete can't be read: " in (await crew.next(SolveFailed)).reason


@pytest.mark.parametrize("error", [WrongDigest("the file was altered"), PermissionError(13, "not for us")])
async def test_damaged_blobs_fail_their_own_jobs_and_nobody_elses(tmp_path: Path, error: Exception) -> None:
    def damaged(digest: str) -> bytes:
        if digest not in (BLOB, GRID.blob):
            raise error
        return blobs(digest)

    async with open_crew(tmp_path, read_blob=damaged) as crew:
        await with_problem(crew)
        await crew.ask(replace(PROBLEM, problem_id="p2", blob="0" * 64))
        await crew.ask(LONG)
        await crew.next(SolveStarted, job_id="j2")
        for number in range(2):
            await crew.ask(replace(QUICK, job_id=f"bad{number}", problem_id="p2"))
        await crew.ask(CancelSolve(job_id="j2"))
        failed = [await crew.next(SolveFailed) for _ in range(2)]  # two threads: either may be the first
        assert {one.job_id for one in failed} == {"bad0", "bad1"}
        assert all(str(error) in one.reason for one in failed)
        assert kinds(await crew.events()).count("SolveStarted") == 3


async def test_a_kernel_that_fails_fails_its_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise AssertionError("the value is not what was kept")

    monkeypatch.setattr(portfolio, "solve", broken)
    async with open_crew(tmp_path, read_blob=blobs) as crew:
        await with_problem(crew)
        await crew.ask(QUICK)
        assert "AssertionError: the value is not what was kept" in (await crew.next(SolveFailed)).reason


async def test_a_running_job_is_cancelled_and_its_thread_is_free_for_the_next(tmp_path: Path) -> None:
    async with open_crew(tmp_path, read_blob=blobs) as crew:
        await with_problem(crew)
        await crew.ask(LONG)
        await crew.next(SolveStarted, job_id="j2")
        await crew.ask(CancelSolve(job_id="j2", reason="enough"))
        await crew.next(SolveCancelled)
        await crew.ask(QUICK)
        assert (await crew.next(SolveCompleted)).job_id == "j1"


async def test_a_job_that_its_node_did_not_survive_is_started_again(tmp_path: Path) -> None:
    async with open_crew(tmp_path, read_blob=blobs) as crew:
        await with_problem(crew)
        await crew.ask(LONG)
        await crew.next(SolveStarted)
    async with open_crew(tmp_path, read_blob=blobs) as crew:
        assert (await crew.next(SolveStarted, start=2)).job_id == "j2"
        await crew.ask(CancelSolve(job_id="j2"))


@pytest.mark.parametrize(
    "failure", [Overloaded("full", retry_seconds=0.01), Conflict("lost"), NotAnswered("late", begun=False)]
)
@pytest.mark.parametrize("told", [StartSolve, CompleteSolve])
async def test_a_job_is_not_dropped_because_the_journal_was_full_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Failure, told: type[Command[None]]
) -> None:
    handle, failures = Solver.handle, [failure, failure]

    def full_at_first(self: Solver, message: SolverCommand) -> Effect | Reply:
        if type(message) is told and failures:
            raise failures.pop()
        return handle(self, message)

    monkeypatch.setattr(Solver, "handle", full_at_first)
    monkeypatch.setattr(solver, "ASK_AGAIN_SECONDS", 0.01)
    async with open_crew(tmp_path, read_blob=blobs) as crew:
        await with_problem(crew)
        await crew.ask(QUICK)
        assert (await crew.next(SolveCompleted)).value == CUT
    assert failures == []


async def test_failed_commits_do_not_count_as_ends_of_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_crew(tmp_path, read_blob=blobs) as crew:
        await with_problem(crew)
        await crew.ask(LONG)
        await crew.next(SolveStarted)
        store = crew.system.journal.store
        for number in range(STARTS_MAX + 1):
            with monkeypatch.context() as broken:
                broken.setattr(store, "append", out_of_order)
                with pytest.raises(NotCommitted):
                    await crew.submit(f"t{number}")
            await crew.ask(replace(QUICK, job_id=f"after-{number}"))
            await crew.next(SolveCompleted, job_id=f"after-{number}")
        assert [event for event in await crew.events() if isinstance(event, SolveFailed)] == []
        await crew.ask(CancelSolve(job_id="j2"))


def out_of_order(batch: object) -> None:
    raise OperationalError("database or disk is full")


async def test_better_values_are_reported_while_the_job_runs(tmp_path: Path) -> None:
    async with open_crew(tmp_path, read_blob=blobs) as crew:
        await with_problem(crew)
        await crew.ask(LONG)
        assert (await crew.next(SolveProgressed)).value > 0
        await crew.ask(CancelSolve(job_id="j2"))


async def test_what_was_measured_and_chosen_is_told_before_the_result(tmp_path: Path) -> None:
    async with open_crew(tmp_path, read_blob=blobs) as crew:
        await with_problem(crew)
        await crew.ask(replace(QUICK, threads=2, work_max=10_000))
        done = await crew.next(SolveCompleted)
        told = kinds(await crew.events())
    assert told[-4:] == ["SolveQueued", "SolveStarted", "SolvePlanned", "SolveCompleted"]
    assert len(done.works) == 2


async def test_more_threads_than_the_node_gives_are_refused(tmp_path: Path) -> None:
    async with open_crew(tmp_path, read_blob=blobs) as crew:
        await with_problem(crew)
        with pytest.raises(Refused, match="threads_too_many: 3 are asked for; this node gives 2"):
            await crew.ask(replace(QUICK, threads=3))


async def test_a_job_that_waits_for_threads_which_its_node_has_no_more_fails(tmp_path: Path) -> None:
    async with open_crew(tmp_path, read_blob=blobs) as crew:
        await with_problem(crew)
        await crew.ask(replace(LONG, threads=2))
        await crew.next(SolveStarted)
    async with open_crew(tmp_path, read_blob=blobs, solver_threads=1) as crew:
        assert "asks for 2 threads; this node gives 1" in (await crew.next(SolveFailed)).reason


async def test_a_fallback_is_recorded_and_the_job_runs(tmp_path: Path) -> None:
    async with open_crew(tmp_path, read_blob=blobs) as crew:
        await with_problem(crew)
        await crew.ask(replace(QUICK, backend=Backend.DYNEX, fallback=True))
        assert (await crew.next(BackendDegraded)).asked_backend is Backend.DYNEX
        assert (await crew.next(SolveCompleted)).value == CUT


async def test_jobs_that_are_cancelled_before_their_size_is_known_leave_the_threads_to_others(tmp_path: Path) -> None:
    async def queue_and_cancel(crew: Crew, job_id: str) -> None:
        await crew.ask(replace(LONG, job_id=job_id))
        await crew.ask(CancelSolve(job_id=job_id))

    async with open_crew(tmp_path, read_blob=blobs) as crew:
        await with_problem(crew)
        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(queue_and_cancel, crew, f"c{number}")
        await crew.ask(QUICK)
        assert (await crew.next(SolveCompleted, job_id=QUICK.job_id)).value == CUT


@pytest.mark.parametrize("jobs_max", [100, pytest.param(JOBS_MAX, marks=pytest.mark.soak)])
async def test_jobs_wait_in_a_bounded_queue_and_none_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs_max: int
) -> None:
    monkeypatch.setattr(solver, "JOBS_MAX", jobs_max)
    async with open_crew(tmp_path, read_blob=blobs) as crew:
        await with_problem(crew)
        await crew.ask(replace(LONG, threads=2))
        await crew.next(SolveStarted, job_id="j2")
        quick = replace(QUICK, work_max=1)
        names = [f"q{number}" for number in range(jobs_max - 1)]
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(crew.ask, replace(quick, job_id=name))
        with pytest.raises(Overloaded, match=f"{jobs_max} jobs wait"):
            await crew.ask(replace(quick, job_id="late"))
        await crew.ask(CancelSolve(job_id=names.pop()))  # one that waits leaves, and there is room for another
        await crew.ask(replace(quick, job_id="instead"))
        await crew.ask(CancelSolve(job_id="j2"))
        done = {(await crew.next(SolveCompleted)).job_id for _ in range(jobs_max - 1)}
    assert done == {*names, "instead"}


def test_reports_become_more_seldom_so_that_no_job_makes_many() -> None:
    elapsed, reports = 0.0, 0
    while elapsed < SECONDS_MAX:
        elapsed += report_pause_seconds(elapsed)
        reports += 1
    assert reports <= REPORTS_MAX
    assert report_pause_seconds(0) == REPORT_SECONDS_MIN


async def test_the_house_solver_has_nothing_to_seal(tmp_path: Path) -> None:
    async with open_crew(tmp_path, read_blob=blobs, house=HOUSE) as crew:
        await with_problem(crew)
        await crew.next(AgentRegistered)
        payload = {"problem_id": "p1", "seconds": 0.05, "seed": 3}
        await crew.submit("t1", capabilities=("optimization",), payload=payload, award_policy=AwardPolicy.SECOND_PRICE)
        assert "price is public" in (await crew.next(BidRefused)).reason


async def test_the_house_solver_wins_a_task_and_completes_it(tmp_path: Path) -> None:
    async with open_crew(tmp_path, read_blob=blobs, house=HOUSE) as crew:
        await with_problem(crew)
        assert (await crew.next(AgentRegistered)).agent_id == HOUSE_SOLVER
        await crew.submit(
            "t1", capabilities=("optimization",), payload={"problem_id": "p1", "seconds": 0.05, "seed": 3}
        )
        assert (await crew.next(TaskAwarded)).agent_id == HOUSE_SOLVER
        done = await crew.next(TaskCompleted)
        assert done.result["value"] == CUT
        assert done.result["seed"] == 3
        assert recompute(COMPLETE, decode_assignment(done.result["assignment"], SIZE), format="rudy") == CUT


async def test_the_house_solver_refuses_what_it_cannot_solve(tmp_path: Path) -> None:
    async with open_crew(tmp_path, read_blob=blobs, house=HOUSE) as crew:
        await with_problem(crew)
        await crew.next(AgentRegistered)
        await crew.submit("t1", capabilities=("optimization",), payload={"problem_id": "p9", "seconds": 1})
        assert "no registered problem" in (await crew.next(BidRefused)).reason
        await crew.submit("t2", payload={"problem_id": "p1", "seconds": 9}, capabilities=("qubo",), budget_seconds=1.0)
        assert "would take" in (await crew.next(BidRefused, task_id="t2")).reason
        await crew.submit("t3", payload={"problem_id": "p1", "seconds": 1, "threads": 3}, capabilities=("qubo",))
        assert "3 threads; this node gives 2" in (await crew.next(BidRefused, task_id="t3")).reason


async def test_a_task_names_the_same_bounds_as_a_solve(tmp_path: Path) -> None:
    payload = {"problem_id": "p1", "seconds": 5, "seed": 3, "target": CUT, "work_max": 9_000_000, "threads": 2}
    async with open_crew(tmp_path, read_blob=blobs, house=HOUSE) as crew:
        await with_problem(crew)
        await crew.next(AgentRegistered)
        await crew.submit("t1", capabilities=("qubo",), payload=payload)
        queued = await crew.next(SolveQueued)
        assert (queued.target, queued.work_max, queued.threads) == (CUT, 9_000_000, 2)
        assert (await crew.next(TaskCompleted)).result["value"] == CUT


async def test_the_house_solver_does_not_bid_for_what_it_could_not_deliver(tmp_path: Path) -> None:
    async with open_crew(tmp_path, read_blob=blobs, house=HOUSE) as crew:
        await crew.ask(replace(PROBLEM, variables=TASK_VARIABLES_MAX + 1))
        await crew.next(AgentRegistered)
        await crew.submit("t1", capabilities=("qubo",), payload={"problem_id": "p1", "seconds": 1})
        assert f"{TASK_VARIABLES_MAX} is the most" in (await crew.next(BidRefused)).reason
        await crew.ask(replace(PROBLEM, problem_id="p2", variables=VARIABLES_MAX + 1))
        with pytest.raises(Refused, match="problem_too_large"):
            await crew.ask(replace(QUICK, problem_id="p2"))


async def test_the_house_solver_gives_up_a_task_whose_result_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unfit(told: Coordinator, message: CoordinatorCommand) -> Effect | Reply:
        if isinstance(message, CompleteTask):
            raise Refused("result_unfit", "too long", status=422)
        return handle(told, message)

    handle = Coordinator.handle
    monkeypatch.setattr(Coordinator, "handle", unfit)
    async with open_crew(tmp_path, read_blob=blobs, house=HOUSE) as crew:
        await with_problem(crew)
        await crew.next(AgentRegistered)
        payload = {"problem_id": "p1", "seconds": 0.05}
        crew.system.log_levels.set("solver", "warning")
        with capture_logs() as lines:
            await crew.submit("t1", capabilities=("qubo",), payload=payload, attempts_max=1)
            assert (await crew.next(TaskFailed)).reason == "result refused: result_unfit: too long"
    [line] = [line for line in lines if line["event"] == "house_solver_refused"]
    assert (line["actor"], line["message"]) == (f"solver/{TENANT}", "CompleteTask")


async def test_the_house_solver_stops_work_on_a_task_that_was_taken_away(tmp_path: Path) -> None:
    async with open_crew(tmp_path, read_blob=blobs, house=HOUSE) as crew:
        await with_problem(crew)
        await crew.next(AgentRegistered)
        await crew.submit("t1", capabilities=("qubo",), payload={"problem_id": "p3", "seconds": 50})
        await crew.next(SolveStarted)
        await crew.ask(CancelTask(task_id="t1"))
        assert (await crew.next(SolveCancelled)).reason == "its task was taken away"


async def test_the_house_solver_survives_a_restart_with_its_task(tmp_path: Path) -> None:
    payload = {"problem_id": "p3", "seconds": 1.0}
    async with open_crew(tmp_path, read_blob=blobs, house=HOUSE) as crew:
        await with_problem(crew)
        await crew.next(AgentRegistered)
        await crew.submit("t1", capabilities=("qubo",), payload=payload)
        await crew.next(SolveStarted)
    async with open_crew(tmp_path, read_blob=blobs, house=HOUSE) as crew:
        assert (await crew.next(TaskCompleted)).token == 1


async def test_a_house_solver_that_was_deregistered_stays_away(tmp_path: Path) -> None:
    async with open_crew(tmp_path, read_blob=blobs, house=HOUSE) as crew:
        await with_problem(crew)
        await crew.next(AgentRegistered)
        await crew.ask(DeregisterAgent(agent_id=HOUSE_SOLVER))
        position = crew.system.journal.position
    async with open_crew(tmp_path, read_blob=blobs, house=HOUSE) as crew:
        await crew.ask(PROBLEM)
        assert crew.system.journal.position == position
