"""The node at a glance, for people, and the same in numbers for Prometheus."""

import re

from aggregates.key import Role
from gateway.routes.status import _metric
from tests.gateway.clients import Client

SAMPLE = re.compile(r'([a-z_]+)(?:\{([a-z]+)="([^"\\\n]*)"\})? (-?[0-9.]+(?:e[+-][0-9]+)?)')
COMMENT = re.compile(r"# (HELP|TYPE) ([a-z_]+) (.+)")


def parsed(text: str) -> dict[str, float]:
    """The samples of Prometheus' text format: each after its HELP and TYPE, none twice."""
    values: dict[str, float] = {}
    told: dict[str, str] = {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("#"):
            comment = COMMENT.fullmatch(line)
            assert comment, line
            told[comment[2]] = comment[1]
            assert comment[1] == "HELP" or comment[3] in ("counter", "gauge")
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, line
        assert told[sample[1]] == "TYPE"
        name = sample[1] + (f" {sample[3]}" if sample[2] else "")
        assert name not in values
        values[name] = float(sample[4])
    return values


async def test_what_stands_where(admin: Client) -> None:
    await admin.register("a1")
    task_id = await admin.submit()
    await admin.get(f"/v1/tasks/{task_id}")
    status = await admin.get("/v1/status")
    assert (status["ready"], status["faults"], status["commit_failures"]) == (True, [], 0)
    assert status["agents"] == {"active": 1}
    assert sum(status["tasks"].values()) == 1
    assert status["checkpoint"]["size"] == status["position"] == admin.node.system.journal.position
    assert {one["name"].partition("/")[0] for one in status["projections"]} >= {"agents", "tasks", "audit"}
    assert {row["actor"] for row in status["actors"]} >= {"coordinator", "security"}


async def test_actors_are_for_watchers_and_other_tenants_for_nobody(admin: Client) -> None:
    await admin.submit()
    stranger = await admin.with_role(Role.OPERATOR, tenant="other")
    await stranger.submit(capabilities=[])
    assert {row["key"] for row in (await admin.get("/v1/status"))["actors"]} == {"default", "node"}
    assert {row["key"] for row in (await stranger.get("/v1/status"))["actors"]} == {"other", "node"}
    assert sum((await stranger.get("/v1/status"))["tasks"].values()) == 1
    for client in (await admin.with_role(Role.AGENT), await admin.register("a1")):
        assert (await client.get("/v1/status"))["actors"] == []
        assert (await client.ask("GET", "/metrics")).status_code == 403


async def test_a_fault_is_shown_everywhere(admin: Client) -> None:
    await admin.get("/v1/agents")  # the read models have caught up, and will not say otherwise
    admin.node.projector.trouble = "no space left on device"
    status = await admin.get("/v1/status")
    assert (status["ready"], "no space left" in status["faults"][0]) == (False, True)
    ready = await admin.ask("GET", "/readyz")
    assert (ready.status_code, "no space left" in ready.json()["detail"]) == (503, True)
    assert parsed((await admin.ask("GET", "/metrics")).text)["gavel_ready"] == 0
    admin.node.projector.trouble = ""
    assert (await admin.ask("GET", "/readyz")).status_code == 200


async def test_prometheus_can_read_the_numbers(admin: Client) -> None:
    await admin.submit()
    watcher = await admin.with_role(Role.AUDITOR)
    answer = await watcher.ask("GET", "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    values = parsed(answer.text)
    assert values["gavel_journal_position"] == admin.node.system.journal.position
    assert values["gavel_ready"] == 1
    assert values["gavel_actor_handled_total coordinator"] > 0
    assert (await admin.http.get(f"{admin.node.url}/metrics")).status_code == 401


def test_large_counters_are_exact() -> None:
    text = "".join(_metric("gavel_journal_position", "counter", "Committed records.", {"": 123_456_789}))
    assert parsed(text) == {"gavel_journal_position": 123_456_789}
