"""The herald knows the webhooks that there are, and how many there may be."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from agents import herald
from aggregates.webhook import (
    CreateWebhook,
    DeleteWebhook,
    GiveUpWebhook,
    ListWebhooks,
    NoteDelivered,
    NoteFailing,
    PauseWebhook,
    ReplayWebhook,
    ResumeWebhook,
    RotateSecret,
    Stage,
    UpdateWebhook,
    WebhookAccepted,
)
from runtime.errors import Refused
from tests.agents.crew import open_crew
from tests.examples import AT, TENANT, command_by_type

CREATE: CreateWebhook = command_by_type[CreateWebhook]


async def test_whoever_delivers_is_told_all_that_it_needs(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        assert await crew.ask(CREATE) == WebhookAccepted(webhook_id="w1", generation=1)
        for said in (UpdateWebhook, NoteDelivered, NoteFailing, GiveUpWebhook):
            await crew.ask(command_by_type[said])
        (facts,) = await crew.ask(ListWebhooks())
        assert (facts.tenant, facts.url, facts.kinds, facts.stream) == (TENANT, CREATE.url, ("task",), "task-t1")
        assert (facts.stage, facts.position, facts.run, facts.failing_since) == (Stage.PAUSED, 12, 0, AT)
        assert (await crew.ask(command_by_type[RotateSecret])).generation == 2
        for then in (ResumeWebhook, ReplayWebhook, PauseWebhook):
            await crew.ask(command_by_type[then])
        (facts,) = await crew.ask(ListWebhooks())
        assert (facts.stage, facts.position, facts.run, facts.failing_since) == (Stage.PAUSED, 3, 1, 0.0)
        assert (facts.generation, facts.overlap_until > AT) == (2, True)
        await crew.ask(command_by_type[DeleteWebhook])
        assert await crew.ask(ListWebhooks()) == ()


async def test_another_tenants_webhook_is_none(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.ask(CREATE)
        with pytest.raises(Refused, match="webhook_unknown"):
            await crew.ask(command_by_type[PauseWebhook], tenant="other")


async def test_a_tenant_and_a_node_have_so_many_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(herald, "WEBHOOKS_OF_TENANT_MAX", 2)
    monkeypatch.setattr(herald, "WEBHOOKS_MAX", 4)
    monkeypatch.setattr(herald, "WEBHOOKS_RESERVED", 1)
    async with open_crew(tmp_path) as crew:
        for name, tenant in (("w1", TENANT), ("w2", TENANT), ("w1", "other")):
            await crew.ask(replace(CREATE, webhook_id=name), tenant=tenant)
        with pytest.raises(Refused, match="tenants that have none"):
            await crew.ask(replace(CREATE, webhook_id="w2"), tenant="other")
        await crew.ask(replace(CREATE, webhook_id="w1"), tenant="third")
        for tenant in (TENANT, "fourth"):
            with pytest.raises(Refused, match="webhooks_too_many"):
                await crew.ask(replace(CREATE, webhook_id="w3"), tenant=tenant)
        await crew.ask(command_by_type[DeleteWebhook])
        await crew.ask(replace(CREATE, webhook_id="w3"), tenant="fourth")
