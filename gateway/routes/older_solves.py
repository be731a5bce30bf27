"""Optimization as older programs ask for it: a matrix by its id and a configuration, answered with an objective value."""

from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.responses import Response

from aggregates.solve_job import QueueSolve, Stage, stream
from aggregates.values.ids import ProblemId
from aggregates.values.numbers import Share
from aggregates.values.roles import Permission
from aggregates.values.solving import SECONDS_MAX, Backend, StrategyName
from gateway.api.calls import Call, Endpoint
from gateway.api.preferences import WAIT
from gateway.feeds.waiting import awaited
from gateway.routes.solve_requests import read_known
from gateway.routes.solves import ended, ends
from projections import problems
from projections.schema import Row

ITERATION_SWEEPS = 64
"""What stands for one iteration of a quantum optimizer, which samples its circuit many times: so many looks at every variable."""
PATIENCE_SHARE = 0.1
"""Of the iterations: when so many have gained no more than the tolerance, the run ends."""

Iterations = Annotated[int, Meta(ge=1, le=10**9)]


class OptimizationConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to optimize. An iteration is 64 sweeps: looks at every variable and its neighbors. `algorithm` is a strategy of the node, or one
    of a quantum backend; what this node can't run is refused, but with `fallback`, which older programs never said, it runs on the
    node's own threads. `sparse_matrix` changes nothing: how a problem is stored follows from its file."""

    algorithm: StrategyName = ""
    max_iterations: Iterations = 1000
    tolerance: Share = 1e-6
    quantum_backend: Backend = Backend.LOCAL
    sparse_matrix: bool = False
    fallback: bool = False


class Optimize(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A matrix is a registered problem."""

    matrix_id: ProblemId
    optimization_config: OptimizationConfig = OptimizationConfig()


class Optimized(msgspec.Struct, frozen=True, kw_only=True):
    """How far the optimization is, which is a solve: `GET /v1/solves/{job_id}` tells all of it. What is not known yet is null, and
    `quantum_advantage` is null where nothing was measured."""

    job_id: str
    matrix_id: str
    status: Stage
    objective_value: float | None = None
    execution_time: float | None = None
    quantum_advantage: float | None = None
    algorithm: str | None = None


async def optimize(call: Call) -> Response:
    """Queues a solve of a registered problem; with `Prefer: wait=N` its result is waited for."""
    body = await call.body(Optimize)
    problem = await call.look(problems.find, call.tenant, body.matrix_id)
    command = _command(call.node.system.ids.new(), body, problem)
    known = await read_known(call, command)
    assert known is None, "no older program names a start"
    accepted = await call.ask(command)
    location = {"Location": f"/v1/solves/{accepted.job_id}"}
    row = await awaited(call, stream(accepted.job_id), ends, partial(ended, call, accepted.job_id))
    if row is None:
        begun = Optimized(job_id=accepted.job_id, matrix_id=body.matrix_id, status=Stage.QUEUED)
        return call.reply(begun, 202, headers=location)
    return call.reply(_answer(row), headers=location)


def _command(job_id: str, body: Optimize, problem: Row | None) -> QueueSolve:
    """Iterations as counted work; of a problem that is not there the actor will say so."""
    config = body.optimization_config
    sweep = 1 if problem is None else problem["variables"] + 2 * problem["couplings"]
    work = min(config.max_iterations * ITERATION_SWEEPS * max(1, sweep), 2**53)
    return QueueSolve(
        job_id=job_id,
        problem_id=body.matrix_id,
        seconds=SECONDS_MAX,
        work_max=work,
        stagnation_work=max(1, int(PATIENCE_SHARE * work)),
        tolerance=config.tolerance,
        strategy=config.algorithm,
        backend=config.quantum_backend,
        fallback=config.fallback,
    )


def _answer(row: dict[str, Any]) -> Optimized:
    return Optimized(
        job_id=row["job_id"],
        matrix_id=row["problem_id"],
        status=Stage(row["stage"]),
        objective_value=row["value"],
        execution_time=row["seconds_taken"],
        quantum_advantage=row["quantum_advantage"],
        algorithm=row["algorithm"],
    )


OPTIMIZE = Endpoint(
    "POST",
    "/phase2/advanced-qubo/optimize",
    optimize,
    Permission.SOLVES_SUBMIT,
    Optimize,
    Optimized,
    202,
    others=(200,),
    headers=(WAIT,),
    asks_once=True,
)
