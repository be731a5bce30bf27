"""The API document: valid, complete, open to everybody, and true of what the node answers."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from sqlalchemy import Table

from aggregates.agent import DeregisterAgent
from aggregates.values.roles import Role
from gateway.api import described, rows
from gateway.api.calls import Call, Endpoint
from gateway.api.examples import BODIES, TEXTS
from gateway.api.openapi import PATH_PARAMETER
from gateway.api.parameters import PATH_PARTS
from gateway.api.queries import LIMIT
from gateway.app import ENDPOINTS, OLDER
from gateway.routes.trail import TrailRow
from projections import agent_timeline, agents, audit, bids, keys, problems, schema, solves, tasks, webhooks
from solvers.formats import write_rudy
from solvers.generators import toroidal_grid
from tests.gateway import documented
from tests.gateway.clients import BID, TASK, Client, recorded
from tests.gateway.identity.providers import trust

GRID = write_rudy(
    toroidal_grid(12, 12, 1)
)  # larger than what is searched exactly: its solve runs until it is cancelled
LOADED = """
import sys
from gateway.app import api_document
api_document()
print(*sorted({"numba", "scipy", "numpy", "jsonschema"} & sys.modules.keys()))
"""


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and operation."""
    for path, item in documented.document()["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def test_the_document_is_valid() -> None:
    document: Any = documented.document()
    validate(document)


def test_every_route_is_described_once_by_a_name_a_group_and_a_sentence() -> None:
    described = {(path, method.upper()) for method, path, _ in operations()}
    assert described == {(PATH_PARAMETER.sub(r"{\1}", line.path), line.method) for line in ENDPOINTS}
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))
    tags = {tag["name"]: tag.get("description") for tag in documented.document()["tags"]}
    for _, path, operation in operations():
        assert operation["summary"], path
        assert tags[operation["tags"][0]], path
        assert bool(operation["security"]) == ("x-roles" in operation)


def test_every_example_is_of_its_schema() -> None:
    examples, count = documented.document()["components"]["examples"], 0
    for method, path, operation in operations():
        answers = map(documented.resolved, operation["responses"].values())
        for part in (operation.get("requestBody", {}), *answers):
            for content in part.get("content", {}).values():
                for value in _shown(content, examples):
                    count += 1
                    whole: Any = documented.document() | content["schema"]
                    faults = [fault.message for fault in Draft202012Validator(whole).iter_errors(value)]
                    assert faults == [], (method, path, value)
    assert count > 1_000


def _shown(content: dict[str, Any], examples: dict[str, Any]) -> list[Any]:
    named = [
        examples[each["$ref"].rpartition("/")[2]] if "$ref" in each else each
        for each in content.get("examples", {}).values()
    ]
    return [each["value"] for each in named] + ([content["example"]] if "example" in content else [])


def test_everything_that_is_sent_or_answered_as_json_has_an_example() -> None:
    for method, path, operation in operations():
        for part in (operation.get("requestBody", {}), *map(documented.resolved, operation["responses"].values())):
            content = part.get("content", {}).get("application/json")
            assert content is None or "example" in content or content["examples"], (method, path)


def test_no_schema_is_without_a_name_of_its_own() -> None:
    schemas = documented.document()["components"]["schemas"]
    assert all(name.isalnum() and schema["title"] == name for name, schema in schemas.items())


def test_all_that_is_written_of_operations_is_of_one_that_there_is() -> None:
    actions = {line.action for line in (*ENDPOINTS, *OLDER)}
    assert described.OPERATIONS.keys() == actions
    modules = {action.partition(".")[0] for action in actions}
    assert {module for tag in described.TAGS for module in tag.modules} == modules
    assert TEXTS.keys() <= actions
    assert {action for header in described.ANSWER_HEADERS for action, _ in header.where} <= actions
    assert BODIES.keys() <= documented.document()["components"]["schemas"].keys()
    in_paths = {name for line in ENDPOINTS for name in PATH_PARAMETER.findall(line.path)}
    assert PATH_PARTS.keys() == in_paths


def test_every_answer_that_is_no_file_has_a_type() -> None:
    for line in ENDPOINTS:
        if line.media == "application/json" and line.status < 300 and line.status != 204:
            assert line.reply is not None, line


def test_the_document_needs_no_numbers_and_nobody_to_check_it() -> None:
    loaded = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == []


async def test_everybody_may_read_it(admin: Client) -> None:
    answer = await admin.http.get(f"{admin.node.url}/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == documented.document()


def test_a_parameter_is_named_before_it_is_read() -> None:
    endpoint = Endpoint("GET", "/nowhere", lambda call: None, None)  # type: ignore[arg-type,return-value]
    request: Any = None
    call = Call(request, request, None, endpoint)
    with pytest.raises(AssertionError, match="/nowhere does not name limit"):
        call.asked(LIMIT)


@pytest.mark.parametrize(
    "row,table,more",
    [
        (rows.Agent, agents.agents, {"running", "used_capacity"}),
        (rows.WholeTask, tasks.tasks, {"bids"}),
        (rows.Bid, bids.bids, set()),
        (rows.Problem, problems.problems, set()),
        (rows.WholeSolve, solves.solves, set()),
        (rows.Key, keys.keys, set()),
        (rows.Webhook, webhooks.webhooks, set()),
        (rows.AgentMoment, agent_timeline.moments, set()),
        (TrailRow, audit.audit, set()),
    ],
)
def test_a_row_is_described_as_its_table_is(row: type[msgspec.Struct], table: Table, more: set[str]) -> None:
    assert set(row.__struct_fields__) == {column.name for column in schema.shown(table)} | more


def test_pages_leave_out_what_is_long() -> None:
    assert set(rows.WholeTask.__struct_fields__) - set(rows.Task.__struct_fields__) == {*tasks.LONG, "bids"}
    assert set(rows.WholeSolve.__struct_fields__) - set(rows.Solve.__struct_fields__) == set(solves.LONG)


async def _work_with_read_models(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """One fails at an event, tries again in vain, goes on without it, and is made anew."""
    await admin.node.projector.wait_for(admin.node.system.journal.position)
    with monkeypatch.context() as poisoned:
        poisoned.setattr(keys, "apply", lambda recorded: 1 / 0)
        await admin.with_role(Role.AUDITOR)
        position = admin.node.system.journal.position
        await admin.node.projector.wait_for(position)
        await _do(admin, ("POST", "/v1/projections/keys/retry", None))
        await admin.node.projector.wait_for(position)
    why = {"position": position, "reason": "nobody needs it"}
    await _do(admin, ("POST", "/v1/projections/keys/skips", why), ("GET", "/v1/projections", None))
    await _do(admin, ("POST", "/v1/projections/rebuild", {"projections": ["keys"]}))


async def _work_with_persons(admin: Client) -> None:
    await admin.submit(data_subject="p17", capabilities=[])
    await _do(
        admin, ("GET", "/v1/subjects", None), ("GET", "/v1/subjects/p17", None), ("DELETE", "/v1/subjects/p17", None)
    )


async def _work_with_webhooks(admin: Client) -> None:
    made = await admin.ask("POST", "/v1/webhooks", {"url": "https://localhost/", "kinds": ["archive"]})
    hook = f"/v1/webhooks/{made.json()['webhook_id']}"
    asked: list[tuple[str, Any]] = [
        (f"{hook}/{what}", body) for what, body in (("pause", None), ("secret", {}), ("test", None))
    ]
    asked += [(f"{hook}/replay", {"after": 0}), (f"{hook}/resume", None)]
    await _do(admin, ("PATCH", hook, {"kinds": ["task"]}), *(("POST", path, body) for path, body in asked))
    await _do(admin, ("GET", f"{hook}/deliveries", None), ("GET", hook, None), ("GET", "/v1/webhooks", None))
    await _do(admin, ("DELETE", hook, None))


async def test_every_json_answer_is_as_described(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    documented.exercised.clear()
    await _work_with_keys_and_agents(admin)
    await _work_with_people(admin)
    revoked = {"issuer": trust(admin.node), "jti": "t1"}
    await _do(admin, ("POST", "/v1/revocations", revoked), ("GET", "/v1/revocations", None))
    await _work_with_tasks(admin)
    await _work_with_solves(admin)
    await _do(admin, ("PUT", "/v1/actors/coordinator/log-level", {"level": None}))
    admin.node.system.router.tell(DeregisterAgent(agent_id="nobody", reason="nobody takes this"))
    await _do(admin, ("GET", "/v1/dead-letters", None), ("POST", "/v1/dead-letters/1/send-again", None))
    await _do(admin, ("POST", "/v1/blobs/collection", None))
    await _work_with_uploads(admin)
    await _do(admin, ("POST", "/v1/journals", {"name": "acme"}), ("GET", "/v1/journals", None))
    await _work_with_persons(admin)
    await _work_with_webhooks(admin)
    await _work_with_read_models(admin, monkeypatch)
    await _work_with_the_trail(admin)
    await _do(admin, ("POST", "/v1/audit/rotations", {"reason": "yearly"}))
    collecting = await admin.ask("POST", "/v1/blobs/collection", Prefer="respond-async")
    await admin.get(collecting.headers["location"])
    await _do(admin, ("POST", "/v1/batch", {"requests": [{"method": "GET", "path": "/v1/tasks"}]}))
    for path in (
        "/livez",
        "/readyz",
        "/v1/status",
        "/session/ways",
        "/v1/tenant/health",
        "/v1/audit/verify",
        "/v1/audit/proofs/1",
        "/v1/audit/consistency?old=1",
        "/v1/witness",
        "/v1/log?commands=true",
        "/v1/log/state?stream=agent-default:a0&at=2100-01-01T00:00:00Z",
        "/v1/log/why?of=agent-default:a0&tree=true",
        "/openapi.json",
        "/openapi-older.json",
        "/asyncapi.json",
        "/v1/blobs",
    ):
        await admin.get(path)
    with_json = {
        (method.upper(), path)
        for path, item in documented.document()["paths"].items()
        for method, operation in item.items()
        if any("application/json" in answer.get("content", {}) for answer in operation["responses"].values())
    }
    assert documented.exercised == with_json


async def _work_with_the_trail(admin: Client) -> None:
    begun = await admin.ask("POST", "/v1/audit/actions", {"action": "backup", "subject": "copy.db"})
    await _do(admin, ("PUT", f"/v1/audit/actions/{begun.json()['action_id']}", {"outcome": "done"}))
    await _do(admin, ("GET", "/v1/audit/trail", None))


async def _work_with_uploads(admin: Client) -> None:
    path = (await admin.ask("POST", "/v1/blobs/uploads", {"length": 3})).headers["location"]
    await _do(admin, ("GET", path, None), ("GET", "/v1/blobs/uploads", None))
    kind = "application/offset+octet-stream"
    headers = {"Authorization": f"Bearer {admin.key}", "Upload-Offset": "0", "Content-Type": kind}
    answer = await admin.http.patch(admin.node.url + path, content=b"abc", headers=headers)
    documented.check(answer)
    await _do(admin, ("DELETE", path, None))


async def _do(client: Client, *steps: tuple[str, str, Any]) -> None:
    for method, path, body in steps:
        answer = await client.ask(method, path, body)
        assert answer.status_code < 300, (path, answer.text)


async def _work_with_keys_and_agents(admin: Client) -> None:
    made = (await admin.ask("POST", "/v1/keys", {"role": "auditor", "label": "for the year"})).json()
    key = f"/v1/keys/{made['key_id']}"
    await _do(admin, ("POST", "/session", None), ("GET", key, None))
    await _do(admin, ("DELETE", f"{key}?reason=over", None), ("GET", "/v1/keys?role=auditor", None))
    agent = await admin.register("a0", capabilities=["other"])
    await _do(agent, ("POST", "/v1/agents/a0/heartbeat", None), ("PATCH", "/v1/agents/a0", {"price": 2.0}))
    steps = [("POST", "/v1/agents/a0/drain", None), ("DELETE", "/v1/agents/a0", None), ("GET", "/v1/agents/a0", None)]
    steps += [
        ("GET", "/v1/agents/a0/reputation", None),
        ("GET", "/v1/agents/a0/timeline", None),
        ("GET", "/v1/agents/a0/timeline?what=draining&fields=what,at", None),
    ]
    await _do(admin, *steps, ("GET", "/v1/agents?status=deregistered", None))


async def _work_with_people(admin: Client) -> None:
    """An admin that signs in sees as much as one with a key."""
    ann = {"username": "ann", "email": "ann@example.org", "password": "correct horse battery"}
    user_id = (await admin.ask("POST", "/v1/users", ann)).json()["user_id"]
    user = f"/v1/users/{user_id}"
    await _do(admin, ("POST", "/session/password", {"name": "ann", "password": ann["password"]}))
    admin.http.cookies.clear()
    session = (await admin.get("/v1/sessions"))["sessions"][0]["session_id"]
    await _do(admin, ("GET", user, None), ("GET", "/v1/users?role=read_only", None), ("GET", "/v1/me", None))
    await _do(admin, ("DELETE", f"/v1/sessions/{session}", None), ("PATCH", user, {"role": "auditor"}))
    await _do(admin, ("PUT", f"{user}/password", {"password": "another horse battery"}))
    steps = [("POST", f"{user}/{step}", None) for step in ("disable", "enable", "unlock")]
    await _do(admin, *steps, ("DELETE", user, None))
    made = (await admin.ask("POST", "/v1/keys", {"role": "auditor"})).json()["key_id"]
    await _do(admin, ("POST", f"/v1/keys/{made}/replacement", None))


async def _work_with_tasks(admin: Client) -> None:
    winner, loser = await admin.register("a1"), await admin.register("a2")
    task_id = await admin.submit(**TASK)
    task = f"/v1/tasks/{task_id}"
    await recorded(admin, "task.BookOpened")
    await _do(winner, ("POST", f"{task}/bids", BID), ("DELETE", f"{task}/bids/a1", None), ("POST", f"{task}/bids", BID))
    await _do(admin, ("GET", task, None), ("GET", f"{task}/bids", None))
    await _do(loser, ("POST", f"{task}/refusals", None), ("GET", f"{task}/lease?token=1", None))
    await recorded(admin, "task.TaskAwarded")
    done = {"status": "completed", "token": 1, "result": {"value": 3}}
    await _do(winner, ("PUT", f"{task}/status", {"status": "started", "token": 1}), ("PUT", f"{task}/status", done))
    await _bid_in_secret(admin, winner, loser)
    other = await admin.submit(capabilities=[])
    await _do(admin, ("PATCH", f"/v1/tasks/{other}", {"priority": 5}), ("DELETE", f"/v1/tasks/{other}", None))
    await _do(admin, ("POST", f"/v1/tasks/{await admin.dead_letter()}/requeue", None))
    await _do(admin, ("POST", "/v1/coordination/stop", None))
    given = await admin.submit()
    await _do(
        admin, ("POST", f"/v1/tasks/{given}/assign", {"agent_id": "a1"}), ("POST", "/v1/coordination/start", None)
    )
    await _do(admin, ("GET", "/v1/coordination", None), ("GET", "/v1/coordination/figures", None))
    await _do(admin, ("PUT", "/v1/concurrency/k1", {"limit": 2}), ("GET", "/v1/concurrency", None))
    await _do(admin, ("DELETE", "/v1/concurrency/k1", None))
    await _do(admin, ("POST", "/v1/queues/analysis/pause", None), ("GET", "/v1/queues", None))
    await _do(admin, ("POST", "/v1/queues/analysis/resume", None))
    await _do(admin, ("POST", "/v1/assignments:preview", None))
    await _ask_and_answer(admin)
    await _work_from_an_inbox(admin)
    schemas = "/v1/task-types/security_scan/schemas"
    await _do(admin, ("PUT", schemas, {"payload": {"required": ["host"]}}), ("GET", schemas, None))
    await _do(admin, ("GET", "/v1/task-types", None), ("DELETE", schemas, None))
    await _do(admin, ("GET", "/v1/tasks?stage=completed&agent_id=a1", None), ("GET", task, None))
    await _do(admin, ("GET", f"{task}/bids", None), ("GET", "/v1/tasks", None), ("GET", f"{task}/explain", None))
    await _do(admin, ("POST", "/v1/tasks:batch", {"tasks": [{"task_type": "monitoring"}]}))


async def _bid_in_secret(admin: Client, winner: Client, loser: Client) -> None:
    task_id = await admin.submit(award_policy="second_price")
    await recorded(admin, "task.BookOpened", f"task-{task_id}")
    await _do(winner, ("POST", f"/v1/tasks/{task_id}/commitments", {"commitment": "0" * 64}))
    await _do(loser, ("POST", f"/v1/tasks/{task_id}/refusals", None))
    await recorded(admin, "task.RevealOpened", f"task-{task_id}")
    await _do(winner, ("POST", f"/v1/tasks/{task_id}/reveals", {"price": 1.0, "eta_seconds": 1.0, "salt": "00" * 16}))


async def _work_from_an_inbox(admin: Client) -> None:
    schemas = {"payload": {"required": ["page"]}, "result": {"required": ["mistakes"]}}
    await _do(admin, ("PUT", "/v1/task-types/verification/schemas", schemas))
    uma = await admin.person("uma", capabilities=["reading"])
    ids = [
        await admin.submit(task_type="verification", capabilities=["reading"], payload={"page": page})
        for page in range(3)
    ]
    first, second, third = (f"/v1/inbox/tasks/{task_id}" for task_id in ids)
    await _do(uma, ("GET", "/v1/inbox?limit=1", None), ("GET", "/v1/inbox/profile", None), ("GET", first, None))
    await _do(
        uma, ("POST", f"{first}/take", None), ("POST", f"{second}/take", None), ("POST", f"{third}/decline", None)
    )
    await _do(uma, ("POST", f"{first}/progress", {"token": 1, "share": 0.5}), ("GET", first, None))
    await _do(uma, ("POST", f"{first}/questions", {"token": 1, "question": "which?"}), ("GET", "/v1/inbox", None))
    done = {"status": "completed", "token": 1, "result": {"mistakes": 0}}
    await _do(uma, ("PUT", f"{first}/status", done), ("PUT", f"{second}/status", {"status": "released", "token": 1}))
    await _do(uma, ("POST", "/v1/inbox/profile/pause", None), ("DELETE", "/v1/inbox/profile", None))


async def _ask_and_answer(admin: Client) -> None:
    asked = f"/v1/tasks/{await admin.question()}/questions/1/answer"
    await _do(admin, ("PUT", asked, {"answer": "English"}))


async def _work_with_solves(admin: Client) -> None:
    stored = (await admin.upload(GRID)).json()
    problem = (await admin.ask("POST", "/v1/problems", {"name": "grid", "blob": stored["sha256"]})).json()
    await _do(admin, ("GET", "/v1/problems", None), ("GET", f"/v1/problems/{problem['problem_id']}", None))
    body = {"problem_id": problem["problem_id"], "seconds": 600}
    job = (await admin.ask("POST", "/v1/solves", body)).json()["job_id"]
    await _do(admin, ("GET", f"/v1/solves/{job}", None), ("DELETE", f"/v1/solves/{job}?reason=enough", None))
    await _do(admin, ("GET", "/v1/solves?stage=cancelled", None))
