"""What the node's own solver says as an agent: that it is there, what it bids, and what came of the tasks that it won."""

from hashlib import sha256
from typing import NamedTuple

from msgspec.structs import replace

from agents.solve_desk import HOUSE_SOLVER, Desk, TaskReport
from aggregates.agent import AgentType, RegisterAgent
from aggregates.solve_job import QueueSolve, SolveQueued
from aggregates.task import SEALED, BookOpened, CompleteTask, FailTask, PlaceBid, RefuseBid, TaskAwarded
from aggregates.values.solving import TASK_VARIABLES_MAX
from runtime.errors import Refused

READING_SECONDS = 1.0
"""What it allows in its bids for reading the problem, beside the time asked for."""
NOTE_MAX = 2000


class House(NamedTuple):
    """Its standing as an agent, as the operator sets it."""

    bids: bool = True
    slots: int = 1
    price: float = 1.0


DEFAULT_HOUSE = House()


def registration(house: House) -> RegisterAgent:
    return RegisterAgent(
        agent_id=HOUSE_SOLVER,
        name="The house's own solver",
        agent_type=AgentType.PERFORMANCE,
        capabilities=("optimization", "qubo"),
        slots=house.slots,
        price=house.price,
        description="Anneals QUBO and max-cut problems on this node's own threads",
    )


def answer_call(event: BookOpened, desk: Desk, house: House, threads: int) -> PlaceBid | RefuseBid:
    """Its bid, where it can do what is asked for on so many threads."""
    wanted = desk.wanted.get(event.task_id)
    refusal = RefuseBid(task_id=event.task_id, agent_id=HOUSE_SOLVER, round=event.round)
    if event.award_policy in SEALED:
        return replace(refusal, reason="its price is public: there is nothing to seal")
    if wanted is None or wanted.problem_id not in desk.problems:
        return replace(refusal, reason="no registered problem that this solver can solve")
    if wanted.threads > threads:
        return replace(refusal, reason=f"{wanted.threads} threads; this node gives {threads}")
    variables = desk.problems[wanted.problem_id].variables
    if variables > TASK_VARIABLES_MAX:
        return replace(refusal, reason=f"{variables} variables; {TASK_VARIABLES_MAX} is the most")
    ahead = sum(_thread_seconds(desk.jobs[name]) for name in sorted(desk.jobs))
    eta_seconds = wanted.seconds + READING_SECONDS + ahead / threads
    if eta_seconds > wanted.budget_seconds:
        return replace(refusal, reason=f"would take {eta_seconds:.1f} s")
    return PlaceBid(
        task_id=event.task_id,
        agent_id=HOUSE_SOLVER,
        round=event.round,
        price=house.price,
        eta_seconds=eta_seconds,
        confidence=(desk.completed + 1) / (desk.completed + desk.failed + 1),
    )


def _thread_seconds(job: SolveQueued) -> float:
    """What a job may take of the node's threads."""
    baseline = 0.0 if job.baseline is None else job.baseline.seconds
    return job.threads * job.seconds + baseline


def job_for(event: TaskAwarded, desk: Desk) -> QueueSolve | None:
    """The job for a task that it has won; None where what that was about is not known any more."""
    wanted = desk.wanted.get(event.task_id)
    problem = desk.problems.get(wanted.problem_id) if wanted is not None else None
    if wanted is None or problem is None:
        return None
    return QueueSolve(
        # Not a fresh id: a step may run again before it is decided, and must then mean the same stream.
        job_id=sha256(f"{event.task_id}.{event.token}".encode()).hexdigest()[:32],
        problem_id=wanted.problem_id,
        problem=problem,
        seconds=wanted.seconds,
        work_max=wanted.work_max,
        stagnation_work=wanted.stagnation_work,
        tolerance=wanted.tolerance,
        target=wanted.target,
        seed=wanted.seed,
        threads=wanted.threads,
        task_id=event.task_id,
        token=event.token,
    )


def report_on_task(task_id: str, report: TaskReport) -> CompleteTask | FailTask:
    """What it says of a task whose job has ended."""
    done = report.completed
    if done is None:
        return FailTask(task_id=task_id, agent_id=HOUSE_SOLVER, token=report.token, reason=report.reason)
    value = int(done.value) if done.value.is_integer() else done.value
    result = {
        "value": value,
        "assignment": done.assignment,
        "variables": report.variables,
        "work": done.work,
        "algorithm": done.algorithm,
        "seed": done.seed,
        "seconds": done.seconds,
    }
    return CompleteTask(task_id=task_id, agent_id=HOUSE_SOLVER, token=report.token, result=result)


def failure_of(told: CompleteTask, refused: Refused) -> FailTask:
    """Gives up what could not be delivered: the task is then somebody else's, instead of waiting for its budget to end."""
    reason = f"result refused: {refused}"[:NOTE_MAX]
    return FailTask(task_id=told.task_id, agent_id=told.agent_id, token=told.token, reason=reason)
