"""The solver's memory: what it takes for a task that it can do."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from agents.solve_desk import HOUSE_SOLVER, Desk, remember
from aggregates import agent, qubo_problem, solve_job, task
from runtime.records import Event, Meta, Recorded
from tests.examples import AT, event_by_type

SUBMITTED: task.TaskSubmitted = event_by_type[task.TaskSubmitted]
QUEUED: solve_job.SolveQueued = event_by_type[solve_job.SolveQueued]
AWARDED: task.TaskAwarded = event_by_type[task.TaskAwarded]


def told(*events: Event) -> Desk:
    desk = Desk()
    for position, event in enumerate(events, 1):
        meta = Meta(id="m", cause="", correlation="m", tenant="acme", principal="test", at=AT)
        desk = remember(desk, Recorded(position=position, stream="s", version=1, kind="k", event=event, meta=meta))
    return desk


@pytest.mark.parametrize(
    "payload, can",
    [
        ({"problem_id": "p1", "seconds": 2}, True),
        ({"problem_id": "p1", "seconds": 2.5, "seed": 4, "more": "is fine"}, True),
        ({"problem_id": 1, "seconds": 2}, False),
        ({"problem_id": "p1"}, False),
        ({"problem_id": "p1", "seconds": True}, False),
        ({"problem_id": "p1", "seconds": 601}, False),
        ({"problem_id": "p1", "seconds": 2, "seed": -1}, False),
        ({"problem_id": "p1", "seconds": 2, "seed": "x"}, False),
        ({"problem_id": "p1", "seconds": 2, "threads": 4, "work_max": 9, "tolerance": 0.1}, True),
        ({"problem_id": "p1", "seconds": 2, "threads": 0}, False),
        ({"problem_id": "p1", "seconds": 2, "work_max": 0}, False),
        ({}, False),
    ],
)
def test_only_a_payload_that_a_solve_can_do_is_wanted(payload: dict[str, Any], can: bool) -> None:
    assert ("t1" in told(replace(SUBMITTED, payload=payload)).wanted) is can


def test_a_job_that_ends_leaves_a_report_only_while_the_house_holds_the_task() -> None:
    queued = replace(QUEUED, task_id="t1", token=1)
    won = replace(AWARDED, agent_id=HOUSE_SOLVER)
    done = event_by_type[solve_job.SolveCompleted]
    assert told(won, queued, done).reports["t1"].completed == done
    assert told(won, queued, event_by_type[task.LeaseExpired], done).reports == {}
    assert told(queued, done).reports == {}
    assert told(won, queued, done, event_by_type[task.TaskCompleted]).reports == {}


def test_the_memory_survives_its_snapshot() -> None:
    home = replace(event_by_type[agent.AgentRegistered], agent_id=HOUSE_SOLVER)
    desk = told(home, event_by_type[qubo_problem.ProblemRegistered], SUBMITTED, QUEUED)
    data = msgspec.msgpack.encode(desk, order="deterministic")
    assert msgspec.msgpack.decode(data, type=Desk) == desk
    assert (desk.lease_seconds, desk.problems["p1"].variables) == (30.0, 3)
