"""Persons of whom nothing was recorded for so long are erased, and nobody else."""

from pathlib import Path
from unittest.mock import AsyncMock

import pytest
from structlog.testing import capture_logs

from gateway.upkeep import retention
from gateway.upkeep.retention import look, retention_days
from runtime.errors import Overloaded
from tests.gateway.clients import Client, open_client, recorded, settings_of
from tests.gateway.test_subjects import PERSON, erase


async def described(admin: Client, task_id: str) -> str:
    description: str = (await admin.get(f"/v1/tasks/{task_id}"))["description"]
    return description


async def test_who_was_silent_for_so_long_is_erased_on_record_and_only_once(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await admin.submit(description="of long ago", data_subject=PERSON)
    now = admin.node.system.clock.now()
    monkeypatch.setattr(admin.node.system.clock, "now", lambda: now + 91 * 86400)
    new = await admin.submit(description="of today", data_subject="p18")
    await admin.node.projector.wait_for(admin.node.system.journal.position)
    for _ in range(2):
        await look(admin.node, 90)
    assert (await described(admin, old), await described(admin, new)) == ("", "of today")
    records = (await admin.get(f"/v1/log?stream=subject-default:{PERSON}"))["records"]
    assert [(one["principal"], one["data"]["reason"]) for one in records] == [
        ("node", "nothing was recorded for 90 days")
    ]


async def test_as_many_as_there_are_are_erased_and_who_could_not_be_is_told(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = [await admin.submit(description="of long ago", data_subject=f"p{number}") for number in range(12)]
    now = admin.node.system.clock.now()
    monkeypatch.setattr(admin.node.system.clock, "now", lambda: now + 91 * 86400)
    monkeypatch.setattr(retention, "AT_ONCE", 5)
    await admin.node.projector.wait_for(admin.node.system.journal.position)
    with monkeypatch.context() as broken, capture_logs() as logs:
        broken.setattr(admin.node.projector, "purge", AsyncMock(side_effect=Overloaded("the disk is full")))
        await look(admin.node, 90)
    assert [(line["event"], line["people"], line["reason"]) for line in logs if line["log_level"] == "warning"] == [
        ("retention_not_kept", 5, "the disk is full")
    ]
    await look(admin.node, 90)
    assert {await described(admin, task_id) for task_id in tasks} == {""}


async def test_who_was_erased_by_hand_is_left_alone(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    await admin.submit(description="of long ago", data_subject=PERSON)
    await erase(admin)
    now = admin.node.system.clock.now()
    monkeypatch.setattr(admin.node.system.clock, "now", lambda: now + 9000 * 86400)
    await look(admin.node, 1)
    assert len((await admin.get(f"/v1/log?stream=subject-default:{PERSON}"))["records"]) == 1


async def test_a_node_looks_as_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_client(settings_of(tmp_path)) as admin:
        task_id = await admin.submit(description="of long ago", data_subject=PERSON)
    monkeypatch.setattr("gateway.upkeep.retention.DAYS", {"day": 0})
    async with open_client(settings_of(tmp_path, data_retention="")) as admin:
        assert await described(admin, task_id) == "of long ago"
    monkeypatch.setattr("gateway.upkeep.retention.DAYS", {"day": 1e-9})
    async with open_client(settings_of(tmp_path, data_retention="1_day")) as admin:
        await recorded(admin, "subject.SubjectErased")
        assert await described(admin, task_id) == ""


@pytest.mark.parametrize(
    ("text", "days"), [("", 0), ("7_years", 2555), ("90_days", 90), ("1_month", 30), ("2_weeks", 14)]
)
def test_a_time_to_keep_is_so_many_days(text: str, days: int) -> None:
    assert retention_days(text) == days


@pytest.mark.parametrize("text", ["7 years", "0_days", "-1_days", "7_eons", "7_years\n", "years"])
def test_what_is_no_time_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is no time to keep data"):
        retention_days(text)
