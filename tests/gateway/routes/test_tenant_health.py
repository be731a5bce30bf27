"""How a tenant stands: a score, warnings, and what it takes up."""

from pathlib import Path

import pytest

from runtime.room import Room
from runtime.uploads import OPEN_MAX
from tests.gateway.clients import TASK, Client, open_client, settings_of


async def test_a_tenant_that_lacks_nothing_is_well_and_sees_what_it_takes_up(admin: Client):
    await admin.ask("POST", "/v1/tasks", TASK)
    await admin.node.projector.wait_for(admin.node.system.journal.position)
    answer = (await admin.ask("GET", "/v1/tenant/health")).json()
    assert set(answer) == {"health_score", "resource_warnings", "usage_metrics"}
    assert (answer["health_score"], answer["resource_warnings"]) == (1.0, [])
    usage = answer["usage_metrics"]
    assert sum(usage["tasks"].values()) == 1
    assert (usage["blob_bytes"], usage["uploads"]) == (0, 0)


async def test_what_will_soon_be_refused_is_warned_of_and_lowers_the_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with open_client(settings_of(tmp_path, blob_tenant_bytes_max=1000)) as admin:
        for _ in range(OPEN_MAX):
            await admin.ask("POST", "/v1/blobs/uploads", {"length": 60})
        monkeypatch.setattr(Room, "left", 300 * 2**20)
        answer = (await admin.ask("GET", "/v1/tenant/health")).json()
        assert [warning["resource"] for warning in answer["resource_warnings"]] == ["disk", "blobs", "uploads"]
        assert answer["health_score"] == 0.25
        monkeypatch.setattr(Room, "left", 1)
        warnings = (await admin.ask("GET", "/v1/tenant/health")).json()["resource_warnings"]
        assert [warning["resource"] for warning in warnings] == ["disk", "blobs", "uploads"]
        assert "1 bytes are free" in warnings[0]["detail"]
