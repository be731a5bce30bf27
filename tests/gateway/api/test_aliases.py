"""The older paths: what leads where, who is turned away, and whose address answers what."""

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from openapi_spec_validator import validate

from aggregates.values.roles import Role
from gateway.api.aliases import ALIAS_BY_ROUTE, ALIASES, SUNSET, Family, Service
from gateway.api.aliases_page import page
from gateway.api.calls import Endpoint
from gateway.api.openapi import PATH_PARAMETER
from gateway.api.problem_codes import URN
from gateway.app import ENDPOINTS, OLDER, older_document
from tests.gateway.clients import Client, open_client, settings_of
from tests.gateway.routes.test_problems import register

PAGE = Path(__file__).parents[3] / "docs" / "aliases.md"
PHASE_2, PHASE_2_1 = 15, 13
"""How many paths each family has."""

AGENT_001: dict[str, Any] = {
    "id": "agent_001",
    "agent_type": "decision_engine",
    "name": "Primary Decision Agent",
    "capabilities": ["analysis", "decision_making", "risk_assessment"],
    "max_capacity": 100.0,
    "specializations": ["financial_analysis", "risk_management"],
}
QA_AGENT_001: dict[str, Any] = {
    "id": "qa_agent_001",
    "agent_type": "qa_automation",
    "name": "QA Automation Agent",
    "capabilities": ["testing", "validation", "quality_assurance"],
    "max_capacity": 80.0,
    "specializations": ["integration_testing", "performance_testing"],
}
ANALYSIS = {
    "task_type": "analysis",
    "priority": 3,
    "description": "Analyze system performance trends",
    "requirements": {"complexity": "high", "resources": {"cpu": 2.0, "memory": 4.0}},
    "dependencies": ["task_001", "task_002"],
    "deadline": "2024-01-15T10:00:00Z",
    "estimated_duration": 1800.0,
}
TESTING = {
    "task_type": "testing",
    "priority": 3,
    "description": "Run integration tests for new feature",
    "requirements": {"test_type": "integration", "coverage_threshold": 0.85},
    "estimated_duration": 900.0,
}


@cache
def document() -> dict[str, Any]:
    read: dict[str, Any] = msgspec.json.decode(older_document(True))
    return read


def code_of(answer: httpx2.Response) -> str:
    code: str = answer.json()["type"].removeprefix(URN)
    return code


async def asked(admin: Client, line: Endpoint, **headers: str) -> httpx2.Response:
    """A request that changes nothing, answered as the document of the older paths says."""
    path = re.sub(r"\{\w+\}", "default" if "{tenant_id}" in line.path else "none", line.path)
    body = b'{"no such field": 1}' if line.body is not None else None
    named = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await admin.http.request(line.method, admin.node.url + path, content=body, headers=named)
    told = document()["paths"][PATH_PARAMETER.sub(r"{\1}", line.path)][line.method.lower()]["responses"]
    response = told[str(answer.status_code)]
    if "$ref" in response:
        response = document()["components"]["responses"][response["$ref"].rpartition("/")[2]]
    if answer.status_code >= 400:
        names = {name.rstrip("_0123456789") for name in response["content"]["application/problem+json"]["examples"]}
        assert code_of(answer) in names, (line.route, answer.text)
    return answer


# ---- the table


def test_the_page_is_what_the_table_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m gateway.api.aliases_page > docs/aliases.md"


def test_each_path_stands_once_and_collides_with_no_path_of_today() -> None:
    assert len(ALIAS_BY_ROUTE) == len(ALIASES) == len(OLDER)
    assert not {line.path for line in OLDER} & {line.path for line in ENDPOINTS}
    by_family = [sum(alias.family is family for alias in ALIASES) for family in (Family.PHASE_2, Family.PHASE_2_1)]
    assert by_family == [PHASE_2, PHASE_2_1]


def test_what_a_path_leads_to_or_is_near_to_is_in_the_table_of_today() -> None:
    routes = {line.route: line for line in ENDPOINTS}
    for alias in ALIASES:
        named = [one for one in (alias.leads_to, alias.like, alias.instead) if one]
        assert len(named) <= 1
        assert set(named) <= routes.keys(), alias.route
        assert alias.is_served or alias.needs is not None, alias.route
        if alias.leads_to:
            line = next(line for line in OLDER if line.route == alias.route)
            today = routes[alias.leads_to]
            assert line == today._replace(path=alias.path, deprecated=alias.deprecated)


def test_the_document_of_the_older_paths_is_valid_and_names_each_operation_once() -> None:
    validate(document())
    operations = [operation for item in document()["paths"].values() for operation in item.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations) == len(OLDER)
    assert {tag["name"] for tag in document()["tags"]} == {operation["tags"][0] for operation in operations}
    hidden: Any = msgspec.json.decode(older_document(False))
    assert not [path for path in hidden["paths"] if path.startswith("/phase2")]


# ---- every path


async def test_every_path_turns_strangers_away_and_answers_or_says_what_comes_near(admin: Client) -> None:
    bearer = f"Bearer {admin.key}"
    for line in OLDER:
        alias = ALIAS_BY_ROUTE[line.route]
        if line.needs is not None:
            assert (await asked(admin, line)).status_code == 401, line.route
            assert (await asked(admin, line, X_Tenant_ID="default")).status_code == 401, line.route
            other = await asked(admin, line, Authorization=bearer, X_Tenant_ID="other")
            assert (other.status_code, code_of(other)) == (403, "tenant_differs"), line.route
        answer = await asked(admin, line, Authorization=bearer, X_Tenant_ID="default")
        if alias.is_served:
            assert answer.status_code in (200, 403, 404, 422), (line.route, answer.text)
            assert "sunset" in answer.headers
            assert answer.headers["deprecation"].startswith("@")
            assert 'rel="successor-version"' in answer.headers["link"]
        else:
            assert (answer.status_code, code_of(answer)) == (501, "not_served"), (line.route, answer.text)
            assert answer.json()["detail"] == alias.sentence


async def test_the_header_of_the_tenant_is_held_against_the_key_on_every_route_of_today(admin: Client) -> None:
    operator = await admin.with_role(Role.OPERATOR, "other")
    for line in ENDPOINTS:
        if line.needs is None:
            continue
        path = line.path.replace("{path:path}", "x").replace("{sha256}", "0" * 64)
        # An admin of the node is of the tenant `default` alone, too.
        for client, tenant in ((operator, "default"), (admin, "other")):
            answer = await client.ask(line.method, path, X_Tenant_ID=tenant)
            assert (answer.status_code, code_of(answer)) == (403, "tenant_differs"), line.route
    own = await operator.ask("GET", "/v1/me", X_Tenant_ID="other")
    assert own.json()["tenant"] == "other"
    # Whoever can smuggle a second header in must not choose which of the two holds.
    twice = [("Authorization", f"Bearer {admin.key}"), ("X-Tenant-ID", "default"), ("X-Tenant-ID", "other")]
    both = await admin.http.get(f"{admin.node.url}/v1/me", headers=twice)
    assert code_of(both) == "tenant_differs"


async def test_the_name_of_another_tenant_in_a_path_is_not_there(admin: Client) -> None:
    bearer = {"Authorization": f"Bearer {admin.key}"}
    own = await admin.http.get(f"{admin.node.url}/phase2/dashboard/tenant/default", headers=bearer)
    others = [
        await admin.http.get(f"{admin.node.url}/phase2/{path}", headers=bearer)
        for path in ("dashboard/tenant/acme", "tenant/acme/analytics")
    ]
    assert (own.status_code, [answer.status_code for answer in others]) == (501, [404, 404])


# ---- what leads somewhere


async def test_the_bodies_that_programs_send_are_taken_as_they_are(admin: Client) -> None:
    bearer = {"Authorization": f"Bearer {admin.key}"}
    url = admin.node.url

    async def post(path: str, body: Any) -> httpx2.Response:
        return await admin.http.post(url + path, json=body, headers=bearer)

    for agent in (AGENT_001, QA_AGENT_001):
        registered = await post("/agents", agent)
        assert (registered.status_code, registered.json()["agent_id"]) == (201, agent["id"])
        shown = await admin.get(f"/v1/agents/{agent['id']}")
        assert shown["agent_id"] == agent["id"]
        for name in agent.keys() - {"id"}:
            assert shown[name] == (sorted(agent[name]) if isinstance(agent[name], list) else agent[name])
    late = await post("/tasks", ANALYSIS)
    assert (late.status_code, code_of(late)) == (422, "dependency_unknown")
    for wanted in ("task_001", "task_002"):
        assert wanted in late.text
    submitted = await post("/tasks", TESTING)
    assert submitted.status_code == 202
    task_id = submitted.json()["task_id"]
    seen = await admin.http.get(f"{url}/tasks", headers=bearer)
    assert [task["task_id"] for task in seen.json()["tasks"]] == [task_id]
    assert (await admin.get(f"/v1/tasks/{task_id}"))["requirements"] == TESTING["requirements"]
    standing = (await admin.http.get(f"{url}/coordination/status", headers=bearer)).json()
    assert (standing["active_agents"], standing["pending_tasks"]) == (2, 1)
    key = registered.json()["key"]
    stale = {"status": "completed", "token": 7}
    agents_own = {"Authorization": f"Bearer {key}"}
    answer = await admin.http.put(f"{url}/tasks/{task_id}/status", json=stale, headers=agents_own)
    assert answer.status_code in (409, 422)
    assert f"</v1/tasks/{task_id}/status>" in answer.headers["link"]
    assert f"{SUNSET:%Y}" in answer.headers["sunset"]
    left = await admin.http.delete(f"{url}/agents/agent_001", headers=bearer)
    assert left.status_code == 200
    standing = (await admin.http.get(f"{url}/coordination/status", headers=bearer)).json()
    assert standing["active_agents"] == 1


async def test_an_optimization_runs_as_configured_or_is_refused_by_what_is_lacking(admin: Client) -> None:
    bearer = {"Authorization": f"Bearer {admin.key}", "Prefer": "wait=30"}
    path = f"{admin.node.url}/phase2/advanced-qubo/optimize"
    matrix_id = (await register(admin, b"3 3\n1 2 1\n1 3 1\n2 3 1\n")).json()["problem_id"]
    config = {"algorithm": "qaoa", "max_iterations": 1000, "tolerance": 1e-6, "quantum_backend": "dynex"}

    async def optimize(**said: Any) -> httpx2.Response:
        return await admin.http.post(
            path, json={"matrix_id": matrix_id, "optimization_config": config | said}, headers=bearer
        )

    lacking = await optimize()
    assert (lacking.status_code, code_of(lacking)) == (422, "backend_not_configured")
    assert "dynex" in lacking.json()["detail"]
    unknown = await optimize(algorithm="sorcery", quantum_backend="local")
    assert (unknown.status_code, code_of(unknown)) == (422, "strategy_unknown")
    assert "annealing" in unknown.text
    done = await optimize(fallback=True, sparse_matrix=True)
    assert done.status_code == 200, done.text
    told = done.json()
    assert (told["status"], told["objective_value"], told["quantum_advantage"]) == ("completed", 2, None)
    assert told["execution_time"] > 0
    row = await admin.get(f"/v1/solves/{told['job_id']}")
    assert (row["work_max"], row["stagnation_work"], row["tolerance"]) == (576_000, 57_600, 1e-6)
    assert (row["asked_backend"], row["asked_strategy"], row["backend"]) == ("dynex", "qaoa", "local")
    local = await optimize(algorithm="annealing", quantum_backend="local")
    assert (local.json()["objective_value"], local.json()["algorithm"]) == (2, "annealing")
    simulated = await optimize(quantum_backend="local")
    assert (simulated.json()["objective_value"], simulated.json()["algorithm"]) == (2, "qaoa")


async def test_a_node_without_phase_2_has_none_of_its_paths(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path, phase2_enabled=False)) as admin:
        for line in OLDER:
            if ALIAS_BY_ROUTE[line.route].family is not Family.SERVICES:
                path = line.path.replace("{tenant_id}", "default")
                for headers in ({}, {"Authorization": f"Bearer {admin.key}"}):
                    answer = await admin.http.request(line.method, admin.node.url + path, headers=headers)
                    assert answer.status_code == 404, line.route
        assert (await admin.http.get(f"{admin.node.url}/health")).status_code == 200
        listed = (await admin.get("/openapi-older.json"))["paths"]
        assert "/agents" in listed
        assert not [path for path in listed if path.startswith("/phase2")]


# ---- an address for each service


def free_ports(count: int) -> Iterator[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        yield from [one.getsockname()[1] for one in sockets]


async def test_each_service_has_an_address_where_its_paths_alone_are_served(tmp_path: Path) -> None:
    ports = dict(zip(Service, free_ports(len(Service)), strict=True))
    binds = tuple(f"{service}=127.0.0.1:{port}" for service, port in ports.items())
    async with open_client(settings_of(tmp_path, extra_binds=binds)) as admin:
        bearer = {"Authorization": f"Bearer {admin.key}"}
        for service, port in ports.items():
            health = await admin.http.get(f"http://127.0.0.1:{port}/health")
            assert (health.status_code, health.json()["service"]) == (200, service)
            lacking = {alias.route for alias in ALIASES if alias.service is service and not alias.is_served}
            assert set(health.json()["not_served"]) == lacking
            for path, whose in (
                ("/agents", Service.COORDINATOR),
                ("/learning/status", Service.LEARNING),
                ("/performance/metrics", Service.OPTIMIZER),
                ("/phase2/dashboard/summary", Service.PHASE_2),
                ("/phase2.1/constraints/evolution-history", Service.PHASE_2),
            ):
                answer = await admin.http.get(f"http://127.0.0.1:{port}{path}", headers=bearer)
                assert (answer.status_code == 404) is (whose is not service), (service, path, answer.text)
            assert (await admin.http.get(f"http://127.0.0.1:{port}/v1/me", headers=bearer)).status_code == 200
        whole = await admin.http.get(f"{admin.node.url}/health")
        assert whole.json()["service"] == "gavel"
        assert len(whole.json()["not_served"]) == sum(not alias.is_served for alias in ALIASES)


async def test_a_node_that_is_not_ready_is_not_healthy(admin: Client) -> None:
    admin.node.is_draining = True
    answer = await admin.http.get(f"{admin.node.url}/health")
    assert (answer.status_code, code_of(answer)) == (503, "not_ready")


@pytest.mark.parametrize("line", [line for line in OLDER if line.needs is None], ids=lambda line: line.route)
def test_nothing_but_health_is_open_to_everybody(line: Endpoint) -> None:
    assert line.route == "GET /health"
