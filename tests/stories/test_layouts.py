"""Journals of all earlier layouts open, verify and go on: a node of today does new work on each."""

from pathlib import Path

import pytest

from runtime.store.layouts import FORMAT, format_of
from runtime.verification import verify
from tests.gateway.clients import BID, open_client, recorded, settings_of
from tests.stories.layouts import path_of, restore, signer


def test_a_journal_of_every_layout_is_kept() -> None:
    missing = [number for number in range(1, FORMAT + 1) if not path_of(number).exists()]
    assert missing == [], "python -m tests.stories.layouts keeps the one of today's layout"


@pytest.mark.parametrize("number", range(1, FORMAT + 1))
async def test_a_journal_of_an_earlier_layout_opens_verifies_and_goes_on(tmp_path: Path, number: int) -> None:
    journal = restore(number, tmp_path / "data")
    before = verify(journal, key=signer().public_key)
    assert (before.whole, format_of(journal)) == (True, number)
    async with open_client(settings_of(tmp_path)) as admin:
        ended = {row["stage"]: row for row in (await admin.get("/v1/tasks"))["tasks"]}
        assert (ended["completed"]["agent_id"], ended["cancelled"]["reason"]) == ("ann", "enough")
        assert [row["stage"] for row in (await admin.get("/v1/solves"))["solves"]] == ["completed"]
        assert "revoked" in {row["status"] for row in (await admin.get("/v1/keys"))["keys"]}
        agent = await admin.register("bob")
        task_id = await admin.submit()
        await recorded(admin, "task.BookOpened")
        assert (await agent.ask("POST", f"/v1/tasks/{task_id}/bids", BID)).status_code == 201
    after = verify(journal, key=signer().public_key)
    assert (after.whole, after.positions > before.positions, format_of(journal)) == (True, True, FORMAT)
    backups = list(journal.parent.glob("journal.db.format-*"))
    assert [verify(backup).root for backup in backups] == ([before.root] if number < FORMAT else [])
