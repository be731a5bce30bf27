"""What a solve is asked for with, looked at before it is queued: strategies that there are, memory that is enough, a start that fits."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from aggregates.solve_job import Stage
from aggregates.values.solving import Known, WarmStart
from gateway.api.calls import Call
from projections import problems, solves
from projections.schema import Row
from runtime.blobs import Blobs, Erased, WrongDigest
from runtime.errors import FieldFault, Refused
from runtime.sealed_files import Damaged
from runtime.threads import run_blocking

POINTER = "/warm_start"


class _Asked(NamedTuple):
    """A request, with what is known of its problem: None leaves it to the actor to say that there is none."""

    body: Any
    problem: Row | None
    memory_bytes_max: int


class _Unfit(Exception):
    """What `warm_start` names can't be begun with."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = FieldFault(pointer, "warm_start_unfit", detail)


async def read_known(call: Call, body: Any) -> Known | None:
    """The assignment to begin with, where one is named. Raises Refused with every fault."""
    problem = await call.look(problems.find, call.tenant, body.problem_id)
    faults = await run_blocking(_check, _Asked(body, problem, call.node.settings.solver_memory_bytes_max))
    known = None
    if problem is not None and body.warm_start is not None:
        try:
            known = await _known(call, body.warm_start, problem)
        except _Unfit as error:
            faults.append(error.fault)
    if faults:
        raise Refused.of(faults)
    return known


def _check(asked: _Asked) -> list[FieldFault]:
    """On a thread: the first time, the solvers' libraries are loaded here."""
    from solvers.portfolio import least_memory_bytes

    if asked.problem is not None:
        size = asked.problem["variables"], asked.problem["couplings"]
        needed = least_memory_bytes(*size, asked.body.threads)
        if needed > asked.memory_bytes_max:
            detail = f"a run on {size[0]} variables and {size[1]} couplings takes {needed} bytes or more"
            raise Refused("problem_too_large", f"{detail}; this node gives {asked.memory_bytes_max} to one", status=422)
    return list(_strategy_faults(asked.body))


def _strategy_faults(body: Any) -> Iterator[FieldFault]:
    from solvers.strategies import STRATEGIES

    names = [strategy.name for strategy in STRATEGIES]
    if body.strategy not in ("", *names):
        detail = f"no strategy is called {body.strategy}; there are {', '.join(names)}"
        yield FieldFault("/strategy", "strategy_unknown", detail)
    if body.baseline is not None and body.baseline.strategy not in names:
        detail = f"no strategy is called {body.baseline.strategy}; there are {', '.join(names)}"
        yield FieldFault("/baseline/strategy", "strategy_unknown", detail)


async def _known(call: Call, start: WarmStart, problem: Row) -> Known:
    if start.job_id is not None and start.blob is None:
        return _of_solve(await call.look(solves.find, call.tenant, start.job_id), problem)
    if start.blob is not None and start.job_id is None:
        return await run_blocking(_of_file, call.node.blobs, call.tenant, start.blob, problem["variables"])
    raise _Unfit(POINTER, "names a solve by its job_id or a solution file by its blob, one of the two")


def _of_solve(row: Row | None, problem: Row) -> Known:
    if row is None or row["stage"] != Stage.COMPLETED:
        raise _Unfit(f"{POINTER}/job_id", "there is no such solve that is completed")
    if row["variables"] != problem["variables"]:
        detail = f"that solve's problem has {row['variables']} variables, this one {problem['variables']}"
        raise _Unfit(f"{POINTER}/job_id", detail)
    return Known(assignment=row["assignment"], position=row["last_position"])


def _of_file(blobs: Blobs, tenant: str, digest: str, variables: int) -> Known:
    """On a thread: the assignment in a solution file, as `gavel solve --out` writes it."""
    from solvers.solutions import OVERHEAD_BYTES, read_solution
    from solvers.verify import encode_assignment

    try:
        size = blobs.size(blobs.find(tenant, digest))
        if size > variables + OVERHEAD_BYTES:
            raise ValueError(f"{size} bytes are too many for a solution of {variables} variables")
        return Known(assignment=encode_assignment(read_solution(blobs.read(digest, tenant), variables)))
    except (ValueError, FileNotFoundError, Erased, WrongDigest, Damaged) as error:
        raise _Unfit(f"{POINTER}/blob", str(error)) from error
