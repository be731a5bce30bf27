"""Every role before every route, of its own tenant and of another: what docs/roles.md says, and nothing else."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from aggregates.key import IssueKey
from aggregates.values.roles import Permission, Role
from gateway.api.aliases import ALIAS_BY_ROUTE
from gateway.api.calls import Endpoint
from gateway.app import ENDPOINTS, OLDER, SOCKETS
from gateway.identity.auth import digest_of, key_id_of
from gateway.identity.roles_page import page
from runtime.delivery import Context
from tests.gateway.clients import Client, Denied, open_client, open_socket, settings_of
from tests.gateway.clients import told as answered

PAGE = Path(__file__).parents[3] / "docs" / "roles.md"
ABSENT = "0" * 64
NODES_OWN = {"node:manage", "audit:rotate", "journals:manage"}
OF_ITS_OWN = [line for line in OLDER if not ALIAS_BY_ROUTE[line.route].leads_to]
"""Older paths that are no second names of routes of today: a test holds those to be the same in all but the path."""

NOT_SERVED = "urn:gavel:problem:not_served"
AGENTS_OWN = {"agents:connect", "agents:act", "agents:manage"}


def told() -> tuple[dict[str, set[str]], dict[str, str]]:
    """What the page says: the roles that have each permission, and what each route needs."""
    tables = PAGE.read_text().split("## Routes")
    _, head, _, *rows = [line for line in tables[0].splitlines() if line.startswith(("|", "## P"))]
    names = [cell.strip() for cell in head.strip("|").split("|")][1:]
    roles_by_permission: dict[str, set[str]] = {}
    for row in rows:
        permission, *marks = [cell.strip() for cell in row[1:-1].split("|")]
        has = {name for name, mark in zip(names, marks, strict=True) if mark}
        roles_by_permission[permission.rstrip("¹").strip("`")] = has
    needs = re.findall(r"^\| `([^`]+)` \| `?([^`|]+?)`? \|$", tables[1], re.MULTILINE)
    return roles_by_permission, dict(needs)


def test_the_page_is_what_the_tables_say() -> None:
    assert PAGE.read_text() == page(), "python -m gateway.identity.roles_page > docs/roles.md"


class Fixtures:
    """One thing of each kind in the admin's tenant, by the name of the path's parameter that finds it."""

    def __init__(self, admin: Client, ids: dict[str, str]) -> None:
        self.admin = admin
        self.ids = ids

    def path(self, template: str, *, absent: bool) -> str:
        return re.sub(
            r"\{(\w+)(?::\w+)?\}", lambda found: ABSENT if absent else self.ids.get(found[1], ABSENT), template
        )


@asynccontextmanager
async def furnished(folder: Path) -> AsyncIterator[Fixtures]:
    # The journal of another tenant would be one more that a refused request must not open.
    async with open_client(settings_of(folder), guard_seconds=120) as admin:
        await admin.register("ann")
        task_id = await admin.submit(data_subject="p1")
        digest = (await admin.upload(b"2 1\n1 2 1\n")).json()["sha256"]
        problem = (await admin.ask("POST", "/v1/problems", {"name": "g", "blob": digest, "format": "rudy"})).json()
        job = (await admin.ask("POST", "/v1/solves", {"problem_id": problem["problem_id"], "seconds": 9.0})).json()
        user = (await admin.ask("POST", "/v1/users", {"username": "ann", "email": "a@b.org"})).json()
        key_id = (await admin.ask("POST", "/v1/keys", {"role": "agent"})).json()["key_id"]
        made = (await admin.ask("POST", "/v1/webhooks", {"url": "https://localhost/", "kinds": ["archive"]})).json()
        await admin.http.get(admin.node.sign_in_link())
        admin.http.cookies.clear()
        session = (await admin.get("/v1/sessions"))["sessions"][0]["session_id"]
        found = {"agent_id": "ann", "task_id": task_id, "sha256": digest, "problem_id": problem["problem_id"]}
        found |= {"job_id": job["job_id"], "user_id": user["user_id"], "key_id": key_id, "session_id": session}
        yield Fixtures(admin, found | {"data_subject": "p1", "webhook_id": made["webhook_id"]})


async def asked(client: Client, line: Endpoint, path: str) -> httpx2.Response:
    """A request that changes nothing even where it is let in: what it says makes no sense."""
    headers = {"Authorization": f"Bearer {client.key}", "Content-Type": "application/json"}
    body: Any = b'{"no such field": 1}' if line.method in {"POST", "PUT", "PATCH"} else None
    return await client.http.request(line.method, client.node.url + path, content=body, headers=headers)


def may(role: Role, needs: str, roles: set[str], *, is_own_tenant: bool) -> bool:
    return role.value in roles and (is_own_tenant or needs not in NODES_OWN)


def refused(answer: httpx2.Response) -> bool:
    """Whether it was refused for who asks, and not for what is asked."""
    return (answer.status_code == 403 and "this takes" in answer.json()["detail"]) or (
        answer.status_code == 403
        and ("concerns tenants" in answer.json()["detail"] or "alone" in answer.json()["detail"])
    )


ENDLESS = {"/v1/feed"}


async def test_every_role_may_do_at_every_route_what_the_page_says(tmp_path: Path) -> None:
    roles_by_permission, needs_by_route = told()
    async with furnished(tmp_path) as fixtures:
        admin = fixtures.admin
        for tenant in ("default", "other"):
            for role in Role:
                client = await with_own_key(admin, role, tenant)
                for line in (*ENDPOINTS, *(OF_ITS_OWN if tenant == "default" else ())):
                    if line.path in ENDLESS:
                        continue
                    needs = needs_by_route[line.route]
                    answer = await asked(client, line, fixtures.path(line.path, absent=True))
                    allowed = needs == "nothing" or may(
                        role, needs, roles_by_permission[needs], is_own_tenant=tenant == "default"
                    )
                    if role is Role.AGENT_OWN and needs in AGENTS_OWN and "{agent_id}" in line.path:
                        allowed = False  # another agent's
                    assert refused(answer) is not allowed, (tenant, role, line.route, answer.status_code, answer.text)
                    assert answer.status_code < 500 or NOT_SERVED in answer.text, (
                        tenant,
                        role,
                        line.route,
                        answer.text,
                    )


async def test_what_is_another_tenants_looks_like_what_is_not_there(tmp_path: Path) -> None:
    async with furnished(tmp_path) as fixtures:
        stranger = await with_own_key(fixtures.admin, Role.ADMIN, "other")
        before = fixtures.admin.node.system.journal.position
        for line in (*ENDPOINTS, *OLDER):
            present, absent = (fixtures.path(line.path, absent=absent) for absent in (False, True))
            if present == absent or line.needs is None:
                continue
            theirs, none = await asked(stranger, line, present), await asked(stranger, line, absent)
            assert theirs.status_code == none.status_code, (line.route, theirs.text, none.text)
            name = next(one for one, other in zip(present.split("/"), absent.split("/"), strict=True) if one != other)
            assert answered(theirs).replace(name, "X") == answered(none).replace(ABSENT, "X"), line.route
        records = await fixtures.admin.node.system.journal.read(before)
        kinds = {record.kind for record in records if not record.kind.startswith("solve_job.")}  # its own solve goes on
        assert kinds <= {"action.ActionBegun", "action.ActionEnded", "trail.RequestRefused", "trail.RequestsRefused"}


async def test_every_role_may_open_the_sockets_that_the_page_says(tmp_path: Path) -> None:
    roles_by_permission, needs_by_route = told()
    async with furnished(tmp_path) as fixtures:
        for role in Role:
            client = await with_own_key(fixtures.admin, role, "default")
            for line in SOCKETS:
                status = await knocked(client, fixtures.path(line.path, absent=False))
                allowed = role.value in roles_by_permission[needs_by_route[line.route]]
                # An agent's own key, and one that enrolls, are refused there for what they ask: another agent, no capabilities.
                assert status in ({101, 403} if "agent_id" in line.path and allowed else {101} if allowed else {403})


async def knocked(client: Client, path: str) -> int:
    try:
        async with open_socket(client.node, path, client.key, ""):
            return 101
    except Denied as denied:
        return denied.status


async def with_own_key(admin: Client, role: Role, tenant: str) -> Client:
    if role is not Role.AGENT_OWN:
        return await admin.with_role(role, tenant)
    key_id = admin.node.system.ids.new()
    token = admin.node.tokens.token(key_id)
    issue = IssueKey(key_id=key_id, role=role, digest=digest_of(token), agent_id="eve")
    await admin.node.system.ask(issue, Context(tenant=tenant, principal="test"))
    return Client(admin.node, admin.http, token)


@pytest.mark.parametrize("scope", [Permission.TASKS_READ, Permission.TASKS_SUBMIT])
async def test_a_key_with_scopes_is_good_for_those_alone(admin: Client, scope: Permission) -> None:
    made = (await admin.ask("POST", "/v1/keys", {"role": "developer", "scopes": [scope]})).json()
    scoped = Client(admin.node, admin.http, made["key"])
    answers = {
        Permission.TASKS_READ: await scoped.ask("GET", "/v1/tasks"),
        Permission.TASKS_SUBMIT: await scoped.ask("POST", "/v1/tasks", {"task_type": "analysis"}),
        Permission.AGENTS_READ: await scoped.ask("GET", "/v1/agents"),
    }
    assert {needs for needs, answer in answers.items() if answer.status_code < 300} == {scope}
    assert "scopes of this key" in answers[Permission.AGENTS_READ].json()["detail"]


async def test_nobody_gives_others_more_than_they_have(admin: Client) -> None:
    manager = await admin.with_role(Role.TENANT_ADMIN)
    for role, status in ((Role.ADMIN, 403), (Role.TENANT_ADMIN, 201), (Role.OPERATOR, 201), (Role.AGENT, 201)):
        assert (await manager.ask("POST", "/v1/keys", {"role": role})).status_code == status, role
    user = {"username": "boss", "email": "boss@example.org"}
    assert (await manager.ask("POST", "/v1/users", user | {"role": "admin"})).status_code == 403
    made = (await admin.ask("POST", "/v1/users", user | {"role": "admin"})).json()["user_id"]
    for method, path, body in (
        ("PATCH", "", {"role": "read_only"}),
        ("PUT", "/password", {"password": "correct horse battery"}),
        ("POST", "/disable", None),
        ("DELETE", "", None),
    ):
        assert (await manager.ask(method, f"/v1/users/{made}{path}", body)).status_code == 403, (method, path)
    assert (await manager.ask("PATCH", f"/v1/users/{made}", {"role": "admin"})).status_code == 403
    own, key_id = key_id_of(manager.key), key_id_of(admin.key)
    assert (await manager.ask("DELETE", f"/v1/keys/{key_id}")).status_code == 403
    assert (await admin.ask("DELETE", f"/v1/keys/{own}")).status_code == 200
