"""What a solve may be asked for with, over HTTP: what there is not is refused by name, what there is runs and is told."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import trio

from aggregates.values.roles import Role
from solvers.formats import parse, write_rudy
from solvers.generators import sparse_random
from solvers.portfolio import least_memory_bytes, most_memory_bytes
from solvers.solutions import write_solution
from solvers.strategies import STRATEGIES
from solvers.verify import decode_assignment, recompute
from tests.gateway.clients import Client, open_client, recorded, settings_of, told
from tests.gateway.routes.test_problems import register
from tests.gateway.routes.test_solves import ENDLESS, TRIANGLE, ended, problem_of, queue

GRAPH = write_rudy(sparse_random(300, 4.0, 1))
NAMES = [strategy.name for strategy in STRATEGIES]
LARGE = write_rudy(sparse_random(100_000, 6.0, 1))
"""One sweep of its spins takes milliseconds, so that a run is in the midst of something whenever it is stopped."""


async def graph_of(client: Client, content: bytes = GRAPH) -> str:
    problem_id: str = (await register(client, content)).json()["problem_id"]
    return problem_id


async def refused(client: Client, code: str, **body: Any) -> dict[str, str]:
    """What a refused solve is told of each fault, by pointer; the whole where there are none."""
    answer = await client.ask("POST", "/v1/solves", {"seconds": 1} | body)
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (422, f"urn:gavel:problem:{code}"), answer.text
    return {fault["pointer"]: fault["detail"] for fault in problem.get("errors", [])} or {"": problem["detail"]}


async def test_an_unknown_strategy_is_told_which_there_are(admin: Client) -> None:
    problem_id = await problem_of(admin)
    baseline = {"seconds": 1, "strategy": "sorcery"}
    faults = await refused(admin, "strategy_unknown", problem_id=problem_id, strategy="magic", baseline=baseline)
    assert sorted(faults) == ["/baseline/strategy", "/strategy"]
    for fault in faults.values():
        assert all(name in fault for name in NAMES)


async def test_a_backend_that_is_not_configured_is_refused_or_fallen_back_from_as_asked(admin: Client) -> None:
    problem_id = await problem_of(admin)
    unknown = await admin.ask("POST", "/v1/solves", {"problem_id": problem_id, "seconds": 1, "backend": "abacus"})
    assert "local" in unknown.json()["errors"][0]["detail"]
    assert "dynex" in unknown.json()["errors"][0]["detail"]
    for asked, says in (
        ({"backend": "dynex"}, "not configured for dynex: set QUANTUM_BACKEND=dynex, GAVEL_DYNEX_API_KEY"),
        ({"backend": "dynex", "strategy": "hybrid_vqe"}, "not configured for dynex"),
    ):
        faults = await refused(admin, "backend_not_configured", problem_id=problem_id, **asked)
        assert says in faults[""]
    elsewhere = {"backend": "dynex", "strategy": "qaoa", "fallback": True}
    row = await ended(admin, await queue(admin, problem_id=problem_id, seconds=60, target=2, **elsewhere))
    assert (row["stage"], row["value"], row["backend"], row["strategy"]) == ("completed", 2, "local", None)
    assert (row["asked_backend"], row["asked_strategy"]) == ("dynex", "qaoa")
    assert "not configured for dynex" in row["degraded"]
    await recorded(admin, "solve_job.BackendDegraded")


async def test_a_backend_with_credentials_that_nothing_here_speaks_to_is_told_as_that(tmp_path: Path) -> None:
    account = {"quantum_backend": "dynex", "dynex_api_key": "the-key", "dynex_api_secret": "the-secret"}
    async with open_client(settings_of(tmp_path, **account)) as admin:
        problem_id = await problem_of(admin)
        asked = {"problem_id": problem_id, "seconds": 1, "backend": "dynex"}
        answer = await admin.ask("POST", "/v1/solves", asked)
        assert (answer.status_code, answer.json()["type"]) == (501, "urn:gavel:problem:backend_not_implemented")
        assert "dynex is not implemented" in answer.text
        assert "the-" not in answer.text
        row = await ended(admin, await queue(admin, **asked, target=2, fallback=True))
        assert (row["value"], row["backend"]) == (2, "local")
        assert "not implemented" in row["degraded"]


async def test_quantum_algorithms_are_simulated_for_as_many_variables_as_fit(admin: Client) -> None:
    small = await graph_of(admin, write_rudy(sparse_random(12, 4.0, 1)))
    best = await ended(admin, await queue(admin, problem_id=small, seconds=60, strategy="exact"))
    for name in ("qaoa", "hybrid_vqe"):
        row = await ended(admin, await queue(admin, problem_id=small, seconds=600, strategy=name, seed=7))
        assert (row["stage"], row["algorithm"], row["strategy"], row["backend"]) == ("completed", name, name, "local")
        assert row["parameters"]["qubits"] == row["features"]["variables"] == 12
        assert 0.8 < row["parameters"]["ratio"] <= 1
        assert row["value"] == best["value"] == best["bound"]
    large = await graph_of(admin)
    faults = await refused(admin, "problem_too_large", problem_id=large, strategy="qaoa")
    assert faults[""] == "qaoa is simulated for 20 variables at most; the problem has 300"
    asked = {"problem_id": large, "seconds": 600, "work_max": 1_000_000, "strategy": "qaoa", "fallback": True}
    degraded = await ended(admin, await queue(admin, **asked))
    assert (degraded["stage"], degraded["algorithm"], degraded["asked_strategy"]) == ("completed", "multi-spin", "qaoa")
    assert "20 variables" in degraded["degraded"]


async def test_each_part_of_a_budget_ends_a_run(admin: Client) -> None:
    problem_id = await graph_of(admin)
    by_work = await ended(admin, await queue(admin, problem_id=problem_id, seconds=600, work_max=3_000_000, seed=1))
    assert by_work["works"] == [by_work["work"]]
    assert by_work["work"] >= 3_000_000
    patience = {"stagnation_work": 2_000_000, "tolerance": 0.001}
    stagnant = await ended(admin, await queue(admin, problem_id=problem_id, seconds=600, **patience))
    assert stagnant["work"] - stagnant["trace"][0]["work"] >= 2_000_000
    assert (stagnant["stagnation_work"], stagnant["tolerance"]) == (2_000_000, 0.001)
    targeted = await ended(admin, await queue(admin, problem_id=problem_id, seconds=600, target=by_work["value"]))
    assert targeted["value"] >= by_work["value"]


async def test_one_row_has_all_that_is_known_of_a_run_and_pages_find_it(admin: Client) -> None:
    problem_id = await graph_of(admin)
    asked = {"problem_id": problem_id, "seconds": 600, "work_max": 2_000_000}
    job_id = await queue(admin, **asked, strategy="annealing", baseline={"seconds": 30, "strategy": "multi-spin"})
    row = await ended(admin, job_id)
    assert (row["strategy"], row["algorithm"], row["threads"], row["island"]) == ("annealing", "annealing", 1, 0)
    assert row["features"]["original_variables"] == row["variables"] == 300
    assert row["parameters"]["hottest"] > row["parameters"]["coldest"] > 0
    assert row["counts"]["rounds"] > 0
    assert row["build"].startswith("kernels-")
    assert row["memory_bytes"] > 0
    trace = row["trace"]
    assert trace[-1]["value"] == row["value"]
    assert [point["work"] for point in trace] == sorted({point["work"] for point in trace})
    measured = row["baseline_run"]
    assert measured["strategy"] == "multi-spin"
    assert row["quantum_advantage"] == measured["target_seconds"] / measured["own_target_seconds"]
    other = await ended(admin, await queue(admin, **asked))
    assert (other["quantum_advantage"], other["baseline_run"], other["gap"]) == (None, None, None)
    for query, found in (
        ("algorithm=annealing", [job_id]),
        (f"algorithm={other['algorithm']}", [other["job_id"]]),
        ("algorithm=none", []),
        (f"blob={row['blob']}&backend=local", [other["job_id"], job_id]),
        ("backend=dynex", []),
    ):
        page = (await admin.get(f"/v1/solves?{query}"))["solves"]
        assert [one["job_id"] for one in page] == found
        assert all(one["features"] for one in page)


async def test_a_run_begins_with_an_earlier_one_or_with_a_file(admin: Client) -> None:
    problem_id = await graph_of(admin)
    bounds = {"problem_id": problem_id, "seconds": 600}
    first = await ended(admin, await queue(admin, **bounds, work_max=3_000_000))
    bits = decode_assignment(first["assignment"], 300)
    file = write_solution(parse(GRAPH), int(first["value"]), bits)
    assert (await admin.upload(file)).status_code == 201
    for start in ({"job_id": first["job_id"]}, {"blob": sha256(file).hexdigest()}):
        row = await ended(admin, await queue(admin, **bounds, work_max=1, warm_start=start))
        assert row["trace"][0] == {"work": 0, "value": first["value"], "seconds": row["trace"][0]["seconds"]}
        assert row["warm_start"] == {"job_id": None, "blob": None} | start
        assert recompute(GRAPH, decode_assignment(row["assignment"], 300), format="rudy") == row["value"]


async def test_a_start_that_is_not_there_or_does_not_fit_is_refused(admin: Client) -> None:
    problem_id, small = await graph_of(admin), await problem_of(admin)
    done = await ended(admin, await queue(admin, problem_id=small, target=2))
    nonsense = b"no solution"
    await admin.upload(nonsense)
    for start, pointer, why in (
        ({}, "/warm_start", "one of the two"),
        ({"job_id": "j", "blob": "0" * 64}, "/warm_start", "one of the two"),
        ({"job_id": "none"}, "/warm_start/job_id", "no such solve"),
        ({"job_id": done["job_id"]}, "/warm_start/job_id", "has 3 variables, this one 300"),
        ({"blob": "0" * 64}, "/warm_start/blob", "there is no blob"),
        ({"blob": sha256(nonsense).hexdigest()}, "/warm_start/blob", "not JSON"),
    ):
        faults = await refused(admin, "warm_start_unfit", problem_id=problem_id, warm_start=start)
        assert why in faults[pointer]


async def test_a_foreign_start_looks_like_none(admin: Client) -> None:
    theirs = await ended(admin, await queue(admin, problem_id=await problem_of(admin), target=2))
    stranger = await admin.with_role(Role.ADMIN, tenant="other")
    problem_id = await problem_of(stranger)
    foreign, absent = [
        await stranger.ask(
            "POST", "/v1/solves", {"problem_id": problem_id, "seconds": 1, "warm_start": {"job_id": name}}
        )
        for name in (theirs["job_id"], "none")
    ]
    assert (foreign.status_code, told(foreign)) == (422, told(absent))


async def test_a_job_past_the_memory_of_the_node_is_refused_with_the_estimate(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path, solver_memory_bytes_max=2 * 2**20)) as admin:
        dense = sparse_random(300, 100.0, 1)
        needed = least_memory_bytes(300, dense.couplings, 1)
        faults = await refused(admin, "problem_too_large", problem_id=await graph_of(admin, write_rudy(dense)))
        assert f"takes {needed} bytes or more; this node gives {2 * 2**20} to one" in faults[""]
        row = await ended(admin, await queue(admin, problem_id=await problem_of(admin), target=2))
        assert row["stage"] == "completed"


async def test_jobs_that_together_would_pass_the_memory_of_the_node_run_one_after_the_other(tmp_path: Path) -> None:
    graph = parse(LARGE)
    most = most_memory_bytes(graph.variables, graph.couplings, 1)
    async with open_client(settings_of(tmp_path, solver_threads=2, solver_memory_bytes_max=most)) as admin:
        problem_id = await graph_of(admin, LARGE)
        asked = {"problem_id": problem_id, "seconds": 600}
        first, second = await queue(admin, **asked), await queue(admin, **asked)
        await recorded(admin, "solve_job.SolveProgressed", f"solve_job-{first}")
        assert (await admin.get(f"/v1/solves/{second}"))["stage"] == "queued"
        assert (await admin.ask("DELETE", f"/v1/solves/{first}")).status_code == 200
        await recorded(admin, "solve_job.SolveStarted", f"solve_job-{second}")
        assert (await admin.ask("DELETE", f"/v1/solves/{second}")).status_code == 200


async def test_a_large_job_that_is_cancelled_in_the_midst_of_its_run_leaves_its_thread_to_the_next(
    tmp_path: Path,
) -> None:
    async with open_client(settings_of(tmp_path, solver_threads=1)) as admin:
        small, large = await problem_of(admin), await graph_of(admin, LARGE)
        long = await queue(admin, problem_id=large, seconds=600)
        await recorded(admin, "solve_job.SolveProgressed", f"solve_job-{long}")
        waiting = await queue(admin, problem_id=small, target=2)
        assert (await admin.get(f"/v1/solves/{waiting}"))["stage"] == "queued"
        assert (await admin.ask("DELETE", f"/v1/solves/{long}")).status_code == 200
        assert (await ended(admin, waiting))["stage"] == "completed"
        row = await ended(admin, long)
        assert (row["stage"], row["features"]["original_variables"]) == ("cancelled", 100_000)


async def test_a_client_that_vanishes_leaves_its_job_to_whoever_asks_next(admin: Client) -> None:
    body = {"problem_id": await graph_of(admin, ENDLESS), "seconds": 600}
    headers = {"Authorization": f"Bearer {admin.key}", "Prefer": "wait=30"}
    async with trio.open_nursery() as nursery, httpx2.AsyncClient() as http:
        nursery.start_soon(lambda: http.post(f"{admin.node.url}/v1/solves", json=body, headers=headers))
        await recorded(admin, "solve_job.SolveStarted")
        nursery.cancel_scope.cancel()
    (row,) = (await admin.get("/v1/solves"))["solves"]
    assert row["stage"] == "running"
    assert (await admin.ask("DELETE", f"/v1/solves/{row['job_id']}")).status_code == 200
    assert (await ended(admin, row["job_id"]))["stage"] == "cancelled"


async def test_a_problem_of_nothing_or_of_one_variable_is_solved(admin: Client) -> None:
    for content, value in ((b"0 0\n", 0), (b"1 0\n", 0), (b"2 0\n", 0), (TRIANGLE, 2)):
        problem_id = await graph_of(admin, content)
        for strategy in ("", *NAMES):
            asked = {"strategy": strategy, "target": value, "seconds": 600, "baseline": {"seconds": 0.05}}
            row = await ended(admin, await queue(admin, problem_id=problem_id, **asked))
            assert (row["stage"], row["value"]) == ("completed", value), row["reason"]


async def test_a_problem_of_a_million_variables_is_solved_and_its_assignment_recorded(admin: Client) -> None:
    content = b"1000000 2\n1 2 1\n2 1000000 1\n"
    row = await ended(admin, await queue(admin, problem_id=await graph_of(admin, content), target=2))
    assert (row["stage"], row["value"], row["bound"]) == ("completed", 2, 2)
    assignment = decode_assignment(row["assignment"], 1_000_000)
    assert assignment[0] == assignment[-1] != assignment[1]
