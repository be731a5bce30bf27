"""What a stream had become, now or then; and nothing of other tenants."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import msgspec

from aggregates import agent as agents
from aggregates.values.roles import Role
from runtime.records import evolved
from tests.gateway.clients import Client


async def busy_agent(admin: Client) -> None:
    """An agent of whom there are a few records."""
    await admin.register("a1")
    for skill in ("drawing", "painting"):
        answer = await admin.ask("PATCH", "/v1/agents/a1", {"capabilities": [skill]})
        assert answer.status_code < 300, answer.text


async def asked(client: Client, **query: object) -> tuple[int, dict[str, Any]]:
    answer = await client.ask("GET", f"/v1/log/state?{urlencode(query)}")
    return answer.status_code, answer.json()


async def test_a_state_is_told_as_of_every_position_and_time(admin: Client) -> None:
    await busy_agent(admin)
    state = agents.initial
    told: list[dict[str, Any]] = []
    for record in admin.node.store.read_stream("agent-default:a1"):
        state = evolved(agents.evolve, state, record.event)
        expected = {
            "stream": "agent-default:a1",
            "version": record.version,
            "position": record.position,
            "at": record.meta.at,
            "recorded_at": record.meta.recorded_at,
            "state": msgspec.json.decode(msgspec.json.encode(state, order="deterministic")),
        }
        assert await asked(admin, stream="agent-default:a1", at=record.position) == (200, expected)
        told.append(expected)
    assert len(told) == 3
    for at, expected in ((None, told[-1]), ("2100-01-01T00:00:00Z", told[-1]), (10**9, told[-1])):
        query = {"stream": "agent-default:a1"} | ({} if at is None else {"at": at})
        assert await asked(admin, **query) == (200, expected)
    for position in range(told[0]["position"], told[1]["position"]):
        assert await asked(admin, stream="agent-default:a1", at=position) == (200, told[0])
    for expected in told:
        at = datetime.fromtimestamp(expected["recorded_at"] + 1e-6, UTC).isoformat()
        status, found = await asked(admin, stream="agent-default:a1", at=at)
        assert status == 200
        newest = max(one["position"] for one in told if one["recorded_at"] <= expected["recorded_at"])
        assert found["position"] == newest


async def test_before_it_began_and_where_there_is_none_nothing_is_found(admin: Client) -> None:
    await busy_agent(admin)
    for query in (
        {"stream": "agent-default:a1", "at": 1},
        {"stream": "agent-default:a1", "at": "2001-01-01T00:00:00+01:00"},
        {"stream": "agent-none"},
        {"stream": "nothing"},
        {},
    ):
        assert (await asked(admin, **query))[0] == 404


async def test_a_moment_that_makes_no_sense_is_named(admin: Client) -> None:
    for at in ("now", "-1", "2026-01-31T12:00:00", "2026-01-31", "9" * 30, ""):
        status, problem = await asked(admin, stream="agent-default:a1", at=at)
        assert (status, problem["type"]) == (422, "urn:gavel:problem:query_invalid"), at
        assert str(problem["detail"]).startswith("at must be a position, or a time with its zone")


async def test_another_tenants_stream_looks_like_none_and_agents_see_no_state(admin: Client) -> None:
    await busy_agent(admin)
    stranger = await admin.with_role(Role.ADMIN, tenant="other")
    foreign, absent = await asked(stranger, stream="agent-default:a1"), await asked(stranger, stream="agent-default:a2")
    assert foreign[0] == absent[0] == 404
    assert str(foreign[1]["detail"]).replace("a1", "a2") == absent[1]["detail"]
    assert (await asked(await admin.with_role(Role.AUDITOR), stream="agent-default:a1"))[0] == 200
    assert (await asked(await admin.with_role(Role.AGENT), stream="agent-default:a1"))[0] == 403
