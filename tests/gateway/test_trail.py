"""Over real HTTP: what is done to a node and what is refused is on record, with who, from where, on whose behalf and why."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
from eventsourcing.persistence import OperationalError

from aggregates import action, key
from aggregates.agent import DeregisterAgent
from aggregates.trail import SETTINGS, RequestRefused, RequestsRefused, StrangersRefused
from aggregates.values.roles import MACHINES, Role
from gateway import refusals
from gateway.app import ENDPOINTS
from gateway.identity.cookies import COOKIE
from projections import keys
from runtime import journal
from runtime.projector import ProjectionStopped
from runtime.records import Event, Recorded
from solvers.formats import write_rudy
from solvers.generators import toroidal_grid
from tests.gateway.clients import TASK, AgentClient, Client, open_client, recorded, settings_of
from tests.gateway.identity.providers import trust

WHENCE = {"Gavel_Reason": "the laptop was lost", "Gavel_On_Behalf_Of": "tenant:acme", "X_Request_Id": "r-1"}
QUBO = write_rudy(
    toroidal_grid(12, 12, 1)
)  # larger than what is searched exactly: its solve runs until it is cancelled


async def records(client: Client) -> list[Recorded]:
    return await client.node.system.journal.read(0, 10_000)


async def events(client: Client, kind: type[Event]) -> list[Any]:
    return [record.event for record in await records(client) if isinstance(record.event, kind)]


async def until(client: Client, kind: type[Event], count: int) -> list[Any]:
    """Waits until so many events of a kind are recorded. Where the log stands is read first: what comes meanwhile is not slept through."""
    while True:
        position = client.node.system.journal.position
        if len(found := await events(client, kind)) >= count:
            return found
        await client.node.system.journal.wait_past(position)


async def trail(client: Client, query: str = "") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await client.get(f"/v1/audit/trail?{query}"))["trail"]
    return rows


# ---- no route can be forgotten

OWN = {
    "POST /v1/agents": "agent.AgentRegistered",
    "POST /v1/agents/{agent_id}/heartbeat": "",  # a lease's term stands in the log as such, not each sign of life
    "POST /v1/tasks": "task.TaskSubmitted",
    "POST /v1/tasks:batch": "task.TaskSubmitted",
    "PUT /v1/tasks/{task_id}/status": "task.TaskStarted",
    "POST /v1/tasks/{task_id}/bids": "task.BidPlaced",
    "POST /v1/tasks/{task_id}/questions": "task.QuestionAsked",
    "DELETE /v1/tasks/{task_id}/bids/{agent_id}": "task.BidWithdrawn",
    "POST /v1/tasks/{task_id}/commitments": "task.BidCommitted",
    "POST /v1/tasks/{task_id}/reveals": "task.BidRevealed",
    "POST /v1/tasks/{task_id}/refusals": "task.BidRefused",
    "PUT /v1/inbox/profile": "agent.AgentRegistered",
    "POST /v1/inbox/profile/pause": "agent.AgentDraining",
    "DELETE /v1/inbox/profile": "agent.AgentDeregistered",
    "POST /v1/inbox/tasks/{task_id}/take": "task.BidPlaced",
    "POST /v1/inbox/tasks/{task_id}/decline": "task.OfferDeclined",
    "POST /v1/inbox/tasks/{task_id}/progress": "task.TaskProgressed",
    "POST /v1/inbox/tasks/{task_id}/questions": "task.QuestionAsked",
    "PUT /v1/inbox/tasks/{task_id}/status": "task.TaskStarted",
    "POST /v1/problems": "qubo_problem.ProblemRegistered",
    "POST /v1/solves": "solve_job.SolveQueued",
    "PUT /v1/blobs/{sha256}": "",  # bytes that nothing refers to yet; what does is on record
    "POST /v1/blobs/uploads": "",
    "PATCH /v1/blobs/uploads/{upload_id}": "",
    "DELETE /v1/blobs/uploads/{upload_id}": "",
    "PUT /v1/audit/actions/{action_id}": "action.ActionEnded",
    "POST /v1/audit/rotations": "journal_key.KeyRotated",
    "POST /v1/assignments:preview": "",  # only reads
    "POST /v1/batch": "",  # what its parts do is on record
    "POST /session/password": "session.SessionOpened",
    "POST /v1/witness/add-checkpoint": "",  # nobody's of this node: another log shows itself, and what was cosigned is kept beside
}
"""Routes that change something and are nobody's administration: the event of their own that they leave, or why there is none."""

READS = {"GET /session", "GET /v1/audit/verify", "GET /v1/subjects/{data_subject}"}
"""What only reads, or takes no credentials, and is an action all the same: a sign-in; a look at every tenant's records, or at all that
is recorded of a person."""


def test_every_route_that_changes_something_is_an_action_or_leaves_an_event_of_its_own() -> None:
    changing = {line.route: line for line in ENDPOINTS if line.method != "GET"}
    assert {route for route, line in changing.items() if not line.acts} == OWN.keys()
    for line in changing.values():
        if line.needs is not None and not line.roles & MACHINES:
            assert line.acts or line.route in OWN, line.route
    assert {line.route for line in ENDPOINTS if line.method == "GET" and line.acts} | {"GET /session"} == READS


async def register_user(admin: Client, name: str) -> str:
    answer = await admin.ask("POST", "/v1/users", {"username": name, "email": f"{name}@example.org"})
    return str(answer.json()["user_id"])


async def sign_in_and_forget(admin: Client) -> str:
    await admin.http.get(admin.node.sign_in_link())
    admin.http.cookies.clear()
    return str((await admin.get("/v1/sessions"))["sessions"][0]["session_id"])


async def scenes(admin: Client, spare: AgentClient) -> list[tuple[str, str, Any]]:
    """A request that is granted for each action there is, by an admin: its route, its path, its body."""
    spare_key = (await admin.ask("POST", "/v1/keys", {"role": "agent"})).json()["key_id"]
    task_id = await admin.submit(data_subject="p17")
    await admin.upload(QUBO)
    blob = (await admin.upload(QUBO)).json()["sha256"]
    problem = (await admin.ask("POST", "/v1/problems", {"name": "g", "blob": blob, "format": "rudy"})).json()
    job = (await admin.ask("POST", "/v1/solves", {"problem_id": problem["problem_id"], "seconds": 30.0})).json()
    asked = await admin.question()
    admin.node.system.router.tell(DeregisterAgent(agent_id="nobody", reason="nobody takes this"))
    agent = f"/v1/agents/{spare.agent_id}"
    user = f"/v1/users/{await register_user(admin, 'ann')}"
    session_id = await sign_in_and_forget(admin)
    later = await admin.submit(not_before=32503600000.0)
    await admin.register("given")
    made = (await admin.ask("POST", "/v1/webhooks", {"url": "https://localhost/", "kinds": ["archive"]})).json()
    hook = f"/v1/webhooks/{made['webhook_id']}"
    return [
        ("POST /v1/keys", "/v1/keys", {"role": "agent"}),
        ("POST /v1/keys/{key_id}/replacement", f"/v1/keys/{spare_key}/replacement", None),
        ("DELETE /v1/keys/{key_id}", f"/v1/keys/{spare_key}?reason=lost", None),
        ("POST /v1/users", "/v1/users", {"username": "bob", "email": "bob@example.org"}),
        ("PATCH /v1/users/{user_id}", user, {"role": "auditor"}),
        ("PUT /v1/users/{user_id}/password", f"{user}/password", {"password": "correct horse battery"}),
        ("POST /v1/users/{user_id}/disable", f"{user}/disable", None),
        ("POST /v1/users/{user_id}/enable", f"{user}/enable", None),
        ("POST /v1/users/{user_id}/unlock", f"{user}/unlock", None),
        ("DELETE /v1/users/{user_id}", user, None),
        ("DELETE /v1/sessions/{session_id}", f"/v1/sessions/{session_id}", None),
        ("POST /v1/revocations", "/v1/revocations", {"issuer": trust(admin.node), "subject": "s"}),
        ("POST /v1/journals", "/v1/journals", {"name": "acme"}),
        ("PATCH /v1/agents/{agent_id}", agent, {"slots": 3}),
        ("POST /v1/agents/{agent_id}/drain", f"{agent}/drain", {"reason": "rest"}),
        ("DELETE /v1/agents/{agent_id}", agent, None),
        ("PATCH /v1/tasks/{task_id}", f"/v1/tasks/{task_id}", {"priority": 5}),
        ("POST /v1/tasks/{task_id}/requeue", f"/v1/tasks/{await admin.dead_letter()}/requeue", None),
        ("POST /v1/tasks/{task_id}/assign", f"/v1/tasks/{later}/assign", {"agent_id": "given"}),
        ("DELETE /v1/tasks/{task_id}", f"/v1/tasks/{task_id}", None),
        (
            "PUT /v1/tasks/{task_id}/questions/{number}/answer",
            f"/v1/tasks/{asked}/questions/1/answer",
            {"answer": "no"},
        ),
        ("PUT /v1/task-types/{task_type}/schemas", "/v1/task-types/analysis/schemas", {"payload": {}}),
        ("DELETE /v1/task-types/{task_type}/schemas", "/v1/task-types/analysis/schemas", None),
        ("POST /v1/coordination/stop", "/v1/coordination/stop", {"reason": "maintenance"}),
        ("POST /v1/coordination/start", "/v1/coordination/start", None),
        ("PUT /v1/concurrency/{key}", "/v1/concurrency/k1", {"limit": 2}),
        ("DELETE /v1/concurrency/{key}", "/v1/concurrency/k1", None),
        ("POST /v1/queues/{queue}/pause", "/v1/queues/reports/pause", {"reason": "their source is down"}),
        ("POST /v1/queues/{queue}/resume", "/v1/queues/reports/resume", None),
        ("DELETE /v1/solves/{job_id}", f"/v1/solves/{job['job_id']}", None),
        ("POST /v1/blobs/collection", "/v1/blobs/collection?dry_run=true", None),
        ("PUT /v1/actors/{path:path}/log-level", "/v1/actors/coordinator/log-level", {"level": "info"}),
        ("POST /v1/dead-letters/{number}/send-again", "/v1/dead-letters/1/send-again", None),
        ("POST /v1/projections/rebuild", "/v1/projections/rebuild", {"projections": ["keys"]}),
        ("GET /v1/audit/verify", "/v1/audit/verify", None),
        ("GET /v1/subjects/{data_subject}", "/v1/subjects/p17", None),
        ("DELETE /v1/subjects/{data_subject}", "/v1/subjects/p17", None),
        ("POST /v1/webhooks", "/v1/webhooks", {"url": "https://localhost/"}),
        ("PATCH /v1/webhooks/{webhook_id}", hook, {"kinds": ["task"]}),
        ("POST /v1/webhooks/{webhook_id}/pause", f"{hook}/pause", None),
        ("POST /v1/webhooks/{webhook_id}/secret", f"{hook}/secret", None),
        ("POST /v1/webhooks/{webhook_id}/test", f"{hook}/test", None),
        ("POST /v1/webhooks/{webhook_id}/replay", f"{hook}/replay", {"after": 0}),
        ("POST /v1/webhooks/{webhook_id}/resume", f"{hook}/resume", None),
        ("DELETE /v1/webhooks/{webhook_id}", hook, None),
        ("POST /v1/audit/actions", "/v1/audit/actions", {"action": "backup", "subject": "copy.db"}),
        ("POST /session", "/session", None),
    ]


STOPPED = {"POST /v1/projections/{name}/retry", "POST /v1/projections/{name}/skips"}
"""Need a projection that has stopped: below."""


async def test_each_action_is_on_record_before_it_is_done_and_with_how_it_ended(admin: Client) -> None:
    spare = await admin.register("spare")
    todo = await scenes(admin, spare)
    acting = {line.route for line in ENDPOINTS if line.acts}
    assert {route for route, _, _ in todo} == acting - STOPPED - {"DELETE /session"}
    for number, (route, path, body) in enumerate(todo):
        before = admin.node.system.journal.position
        answer = await admin.ask(route.partition(" ")[0], path, body, **WHENCE | {"X_Request_Id": f"r-{number}"})
        assert answer.status_code < 300, (route, answer.text)
        found = [record for record in await admin.node.system.journal.read(before) if record.stream[:7] == "action-"]
        begun, *ended = found
        assert isinstance(begun.event, action.ActionBegun)
        assert begun.event.origin.route == route
        led_to = [record.position for record in await records(admin) if record.meta.cause == begun.meta.id]
        assert min(led_to, default=begun.position) >= begun.position
        whence = begun.event.origin
        assert (whence.address, whence.request_id, whence.behalf) == ("127.0.0.1", f"r-{number}", "tenant:acme")
        assert whence.reason == "the laptop was lost"
        assert whence.user_agent.startswith("python-httpx")
        if route != "POST /v1/audit/actions":
            (end,) = ended
            assert isinstance(end.event, action.ActionEnded)
            assert (end.event.outcome, end.event.subject) == (action.Outcome.DONE, begun.event.subject)
            assert (end.meta.cause, end.meta.correlation) == (begun.meta.id, begun.meta.correlation)


async def test_trying_again_and_skipping_is_on_record_too(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    await admin.node.projector.wait_for(admin.node.system.journal.position)
    with monkeypatch.context() as poisoned, structlog.testing.capture_logs():
        poisoned.setattr(keys, "apply", lambda recorded: 1 / 0)
        await admin.with_role(Role.AUDITOR)
        position = admin.node.system.journal.position
        while not any(standing.reason for standing in admin.node.projector.status()):
            with suppress(ProjectionStopped):
                await admin.node.projector.wait_for(position, keys)
        await admin.ask("POST", "/v1/projections/keys/retry")
    skip = {"position": position, "reason": "nobody needs it"}
    assert (await admin.ask("POST", "/v1/projections/keys/skips", skip)).status_code == 200
    begun = await events(admin, action.ActionBegun)
    assert [event.action for event in begun] == ["projections.retry", "projections.skip"]
    assert {event.subject for event in begun} == {f"projection-{keys.NAME}"}


async def test_signing_in_and_out_is_on_record_as_done_by_whose_key_it_is(admin: Client) -> None:
    link = (await admin.ask("POST", "/session")).json()["path"]
    answer = await admin.http.get(admin.node.url + link)
    cookie = answer.cookies[COOKIE]
    admin.http.cookies.clear()
    headers = {"Cookie": f"{COOKIE}={cookie}", "Origin": admin.node.url}
    assert (await admin.http.delete(f"{admin.node.url}/session", headers=headers)).status_code == 204
    begun = await events(admin, action.ActionBegun)
    assert [event.action for event in begun] == ["session.make_link", "session.sign_in", "session.sign_out"]
    assert len({event.subject for event in begun}) == 1
    assert begun[0].subject.startswith("key-")


async def test_what_an_action_led_to_is_its_consequence(admin: Client) -> None:
    made = (await admin.ask("POST", "/v1/keys", {"role": "auditor"}, **WHENCE)).json()["key_id"]
    found = [record for record in await records(admin) if record.stream == key.stream(made)]
    begun = next(record for record in await records(admin) if isinstance(record.event, action.ActionBegun))
    assert [(record.meta.cause, record.meta.correlation) for record in found] == [(begun.meta.id, begun.meta.id)]
    rows = await trail(admin, f"subject={key.stream(made)}")
    assert [row["kind"] for row in rows] == ["action.ActionEnded", "key.KeyIssued", "action.ActionBegun"]
    for row in rows:
        assert (row["behalf"], row["address"], row["reason"]) == ("tenant:acme", "127.0.0.1", "the laptop was lost")
        assert row["principal"].startswith("admin:")


# ---- what can't be recorded is not done


async def test_an_action_that_cannot_be_recorded_is_refused_and_not_done(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(batch: object) -> None:
        raise OperationalError("database or disk is full")

    monkeypatch.setattr(journal, "RETRY_SECONDS", 0.01)  # pauses after commits that failed in a row
    link = (await admin.ask("POST", "/session")).json()["path"]
    tickets, levels = dict(admin.node.tickets._tickets), admin.node.system.log_levels
    with monkeypatch.context() as patched:
        patched.setattr(admin.node.store, "append", fail)
        for method, path, body in (
            ("PUT", "/v1/actors/coordinator/log-level", {"level": "debug"}),
            ("POST", "/v1/projections/rebuild", {}),
            ("POST", "/session", None),
            ("POST", "/v1/blobs/collection", None),
            ("POST", "/v1/audit/actions", {"action": "backup"}),
            ("GET", "/v1/audit/verify", None),
            ("POST", "/v1/journals", {"name": "acme"}),
        ):
            answer = await admin.ask(method, path, body)
            assert answer.status_code == 503, (path, answer.text)
        assert (await admin.http.get(admin.node.url + link)).status_code == 503
    assert dict(admin.node.tickets._tickets) == tickets
    assert not levels.has("coordinator")
    assert not admin.node.projector.rebuilds
    assert not admin.node.folder.named("acme").path.exists()
    assert [event.action for event in await events(admin, action.ActionBegun)] == ["session.make_link"]
    assert (await admin.http.get(admin.node.url + link)).status_code == 303


async def test_an_action_that_was_refused_or_failed_says_so(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await admin.ask("DELETE", "/v1/agents/none", **WHENCE)).status_code == 404
    await recorded(admin, "action.ActionEnded")

    def crash(*arguments: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(admin.node.system.log_levels, "set", crash)
        with structlog.testing.capture_logs():
            answer = await admin.ask("PUT", "/v1/actors/coordinator/log-level", {"level": "debug"})
    assert answer.status_code == 500
    ends = await until(admin, action.ActionEnded, 2)
    assert [(end.outcome, end.code) for end in ends] == [("refused", "agent_unknown"), ("failed", "ZeroDivisionError")]
    admin.node.counts.handler_faults = 0


# ---- what is refused


async def test_a_refused_command_of_a_known_principal_is_on_record(admin: Client) -> None:
    agent = await admin.register("a1")
    secret = {"task_type": "nonsense", "payload": "a secret of the body"}
    assert (await agent.ask("POST", "/v1/tasks", secret, **WHENCE)).status_code == 403
    assert (await admin.ask("POST", "/v1/tasks", secret)).status_code == 422
    assert (await agent.ask("POST", "/v1/tasks/no-such-task/bids", {"price": 1.0, "eta_seconds": 1.0})).status_code in (
        404,
        409,
    )
    found = await until(admin, RequestRefused, 3)
    by_status = {event.refusal.status: event for event in found}
    forbidden, invalid = by_status.pop(403), by_status.pop(422)
    (unknown,) = by_status.values()
    assert (forbidden.principal, forbidden.refusal.status, forbidden.refusal.code) == ("agent:a1", 403, "forbidden")
    whence = forbidden.refusal.origin
    assert (whence.route, whence.address, whence.behalf) == ("POST /v1/tasks", "127.0.0.1", "tenant:acme")
    assert invalid.refusal.code == "body_invalid"
    assert unknown.refusal.origin.route == "POST /v1/tasks/{task_id}/bids"
    assert unknown.refusal.target
    everything = b"".join(admin.node.store.codec.pack(record.event) for record in await records(admin))
    assert b"a secret of the body" not in everything
    assert b"no-such-task" not in everything
    assert agent.key.encode() not in everything
    rows = await trail(admin, "outcome=refused&principal=agent:a1")
    assert [row["action"] for row in rows] == ["POST /v1/tasks/{task_id}/bids", "POST /v1/tasks"]
    assert [row["code"] for row in await trail(admin, "on_behalf_of=tenant:acme")] == ["forbidden"]


async def test_a_refused_frame_is_on_record(admin: Client) -> None:
    agent = await admin.register("a1")
    async with agent.socket() as socket:
        await socket.next("welcome")
        told = await socket.ask(type="bid", task_id="none", price=1.0, eta_seconds=1.0)
        assert told["type"] == "problem"
    await recorded(admin, "trail.RequestRefused")
    (event,) = await events(admin, RequestRefused)
    assert (event.principal, event.refusal.origin.route) == ("agent:a1", "WS PlaceBid")
    assert event.refusal.code == told["code"]


async def test_beyond_the_budget_refusals_are_counted_and_a_stop_loses_none(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, refusals_recorded_max=2)
    async with open_client(settings) as admin:
        agent = await admin.register("a1")
        for _ in range(5):
            assert (await agent.ask("POST", "/v1/tasks", TASK)).status_code == 403
        for _ in range(3):
            assert (await admin.http.get(f"{admin.node.url}/v1/tasks")).status_code == 401
        with trio.fail_after(60):
            await until(admin, RequestRefused, 2)
        assert await events(admin, RequestsRefused) == await events(admin, StrangersRefused) == []
    async with open_client(settings) as admin:
        (counted,) = await events(admin, RequestsRefused)
        (strangers,) = await events(admin, StrangersRefused)
        assert (counted.principal, counted.counted.count_by_code) == ("agent:a1", {"forbidden": 3})
        assert (strangers.address, strangers.counted.count_by_code) == ("127.0.0.1", {"unauthorized": 3})
        assert len(await events(admin, RequestRefused)) == 2
        assert len(admin.node.store.read_stream(SETTINGS)) == 1


async def test_strangers_are_recorded_once_a_window_with_the_keys_they_claim(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "WINDOW_SECONDS", 0.05)
    claimed = f"gvl_{'0' * 32}_{'a' * 32}"
    headers = {"Authorization": f"Bearer {claimed}"}
    for _ in range(4):
        await admin.http.post(f"{admin.node.url}/v1/tasks", headers=headers)
    await recorded(admin, "trail.StrangersRefused")
    found = await events(admin, StrangersRefused)
    assert found[0].keys == ("00000000-0000-0000-0000-000000000000",)
    everything = b"".join(admin.node.store.codec.pack(record.event) for record in await records(admin))
    assert claimed.encode() not in everything
    with structlog.testing.capture_logs() as lines:
        for _ in range(20):
            await admin.http.post(f"{admin.node.url}/v1/tasks", headers=headers)
        await recorded(admin, "trail.IntruderSuspected")
    assert [line["source"] for line in lines if line["event"] == "intruder_suspected"] == ["127.0.0.1"]
    (row,) = await trail(admin, "outcome=suspected")
    assert (row["action"], row["subject"], row["principal"]) == ("sign_ins", "127.0.0.1", "actor:warden")
    place = admin.node.tokens.pseudonym("address 127.0.0.1")
    streams = {record.stream for record in await records(admin) if record.kind.startswith("trail.")} - {SETTINGS}
    assert {stream.rpartition(":")[2] for stream in streams} == {place}
    assert row["stream"] == f"trail-default:suspect:{place}"


async def test_refusals_wait_for_a_journal_that_is_away(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    failed, token = trio.Event(), trio.lowlevel.current_trio_token()

    def fail(batch: object) -> None:
        token.run_sync_soon(failed.set)
        raise OperationalError("database or disk is full")

    monkeypatch.setattr("gateway.trail.RETRY_SECONDS", 0.02)
    agent = await admin.register("a1")
    with monkeypatch.context() as patched:
        patched.setattr(admin.node.store, "append", fail)
        for _ in range(3):
            assert (await agent.ask("POST", "/v1/tasks", TASK)).status_code == 403
        with trio.fail_after(60):
            await failed.wait()
    with trio.fail_after(60):
        await until(admin, RequestRefused, 3)


# ---- asked about


async def test_the_trail_is_paged_narrowed_by_time_and_shown_as_of_then(admin: Client) -> None:
    for _ in range(3):
        await admin.ask("POST", "/v1/keys", {"role": "agent"})
    everything = await trail(admin, "limit=500")
    first = await admin.get("/v1/audit/trail?limit=4")
    second = await admin.get(f"/v1/audit/trail?limit=500&after={first['next']}")
    assert first["trail"] + second["trail"] == everything
    assert await trail(admin, "since=2100-01-01T00:00:00Z") == []
    assert await trail(admin, "until=2100-01-01T00:00:00Z") == everything
    assert [row["position"] for row in await trail(admin, "as_of=2")] == [2, 1]
    assert {row["kind"] for row in await trail(admin, "kind=key.KeyIssued")} == {"key.KeyIssued"}
    assert (await admin.ask("GET", "/v1/audit/trail?since=yesterday")).status_code == 422


async def test_it_is_for_auditors_of_the_tenant(admin: Client) -> None:
    await admin.ask("POST", "/v1/keys", {"role": "agent"})
    auditor = await admin.with_role(Role.AUDITOR)
    assert await trail(auditor)
    stranger = await admin.with_role(Role.AUDITOR, tenant="other")
    assert {row["tenant_id"] for row in await trail(stranger)} == {"other"}
    for role in (Role.AGENT,):
        assert (await (await admin.with_role(role)).ask("GET", "/v1/audit/trail")).status_code == 403


async def test_an_action_beside_the_node_is_ended_by_whoever_began_it(admin: Client) -> None:
    operator = await admin.with_role(Role.OPERATOR)
    begun = await admin.ask("POST", "/v1/audit/actions", {"action": "backup", "subject": "copy.db", "reason": "daily"})
    path = f"/v1/audit/actions/{begun.json()['action_id']}"
    assert (await operator.ask("PUT", path, {"outcome": "done"})).status_code == 403
    assert (await admin.ask("PUT", path, {"outcome": "done"})).status_code == 200
    rows = await trail(admin, "subject=copy.db")
    assert [(row["action"], row["outcome"]) for row in rows] == [("files.backup", "done"), ("files.backup", "begun")]
    assert rows[1]["reason"] == "daily"
