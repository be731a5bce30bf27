"""Solves over HTTP: queued, run with a seed that is recorded, looked at, cancelled."""

from typing import Any

from aggregates.values.roles import Role
from runtime.records import Recorded
from solvers.formats import write_rudy
from solvers.generators import toroidal_grid
from tests.gateway.clients import Client, told
from tests.gateway.routes.test_problems import register

TRIANGLE = b"3 3\n1 2 1\n1 3 1\n2 3 1\n"
ENDLESS = write_rudy(toroidal_grid(12, 12, 1))
"""No reduction makes it smaller, and it is larger than what is searched exactly: a solve runs until it is stopped."""


async def problem_of(client: Client) -> str:
    problem_id: str = (await register(client, TRIANGLE)).json()["problem_id"]
    return problem_id


async def queue(client: Client, **body: Any) -> str:
    answer = await client.ask("POST", "/v1/solves", {"seconds": 0.05} | body)
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["job_id"]
    assert answer.headers["location"] == f"/v1/solves/{job_id}"
    return job_id


async def ended(client: Client, job_id: str) -> Any:
    """The solve once it has ended."""
    journal, position, page = client.node.system.journal, 0, list[Recorded]()
    while not any(_ends(record, job_id) for record in page):
        position = page[-1].position if page else position
        await journal.wait_past(position)
        page = await journal.read(position)
    return await client.get(f"/v1/solves/{job_id}")


def _ends(record: Recorded, job_id: str) -> bool:
    ends = ("solve_job.SolveCompleted", "solve_job.SolveFailed", "solve_job.SolveCancelled")
    return record.kind in ends and record.stream == f"solve_job-{job_id}"


async def test_a_solve_runs_and_can_be_made_again_from_its_seed(admin: Client) -> None:
    problem_id = await problem_of(admin)
    until_found = {
        "problem_id": problem_id,
        "seconds": 600,
        "target": 2,
    }  # how much is done in a time is the machine's matter
    row = await ended(admin, await queue(admin, **until_found))
    assert (row["stage"], row["value"], row["problem"], row["sense"]) == ("completed", 2, "p", "max")
    assert isinstance(row["seed"], int)
    again = await ended(admin, await queue(admin, **until_found, seed=row["seed"]))
    assert [again[name] for name in ("seed", "assignment", "value")] == [
        row[name] for name in ("seed", "assignment", "value")
    ]
    pages = (await admin.get("/v1/solves?stage=completed"))["solves"]
    assert [page["job_id"] for page in pages] == [again["job_id"], row["job_id"]]
    assert all("assignment" not in page for page in pages)


async def test_a_solve_ends_early_when_it_reaches_its_target_or_is_cancelled(admin: Client) -> None:
    problem_id = await problem_of(admin)
    reached = await ended(admin, await queue(admin, problem_id=problem_id, seconds=600, target=2))
    assert (reached["stage"], reached["seconds_taken"] < 600) == ("completed", True)
    endless = (await register(admin, ENDLESS)).json()["problem_id"]
    job_id = await queue(admin, problem_id=endless, seconds=600)
    assert (await admin.ask("DELETE", f"/v1/solves/{job_id}?reason=enough")).status_code == 200
    row = await ended(admin, job_id)
    assert (row["stage"], row["reason"], row["value"]) == ("cancelled", "enough", row["value"])
    assert (await admin.ask("DELETE", f"/v1/solves/{job_id}")).status_code == 200
    late = await admin.ask("DELETE", f"/v1/solves/{reached['job_id']}")
    assert (late.status_code, late.json()["type"]) == (409, "urn:gavel:problem:job_is_completed")


async def test_a_faulty_solve_is_told_each_fault(admin: Client) -> None:
    answer = await admin.ask("POST", "/v1/solves", {"seconds": 0.01, "seed": -1, "job_id": "mine"})
    assert answer.status_code == 422
    pointers = {fault["pointer"] for fault in answer.json()["errors"]}
    assert pointers == {"/seconds", "/seed", "/job_id", "/problem_id"}
    unknown = await admin.ask("POST", "/v1/solves", {"problem_id": "none", "seconds": 1})
    assert (unknown.status_code, unknown.json()["type"]) == (404, "urn:gavel:problem:problem_unknown")
    assert (await admin.ask("GET", "/v1/solves?stage=resting")).status_code == 422


async def test_a_foreign_solve_or_problem_looks_like_none(admin: Client) -> None:
    problem_id = await problem_of(admin)
    job_id = await queue(admin, problem_id=problem_id)
    stranger = await admin.with_role(Role.ADMIN, tenant="other")
    assert (await stranger.get("/v1/solves"))["solves"] == []
    for method in ("GET", "DELETE"):
        foreign, absent = [await stranger.ask(method, f"/v1/solves/{name}") for name in (job_id, "none")]
        assert (foreign.status_code, told(foreign).replace(job_id, "none")) == (404, told(absent))
    foreign, absent = [
        await stranger.ask("POST", "/v1/solves", {"problem_id": name, "seconds": 1}) for name in (problem_id, "none")
    ]
    assert (foreign.status_code, told(foreign).replace(problem_id, "none")) == (404, told(absent))


async def test_who_only_reads_queues_nothing(admin: Client) -> None:
    body = {"problem_id": await problem_of(admin), "seconds": 1}
    for client in (await admin.with_role(Role.AUDITOR), await admin.register("a1")):
        assert (await client.ask("POST", "/v1/solves", body)).status_code == 403
        assert (await client.ask("GET", "/v1/solves")).status_code == 200
