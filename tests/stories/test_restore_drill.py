"""The restore drill: a backup is taken of a node at work, restored elsewhere, compared, and worked with."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import trio

from gateway.settings import GavelSettings
from gateway.storage.folder import DataFolder
from gateway.upkeep.backups import Opening, back_up, restore
from gateway.upkeep.log_replay import digests_of, replay_copies
from runtime.verification import verify
from tests.gateway.clients import Client, open_client, settings_of

GUARD_SECONDS = 120


class Work:
    """Goes on until it is told to stop, and knows what it was told to have done."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.enough = trio.Event()

    async def run(self, admin: Client) -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stop, scope)
                while True:
                    self.done.append(await admin.submit())

    async def _stop(self, scope: trio.CancelScope) -> None:
        await self.enough.wait()
        scope.cancel()


async def shown(admin: Client, position: int) -> Any:
    """What the read models showed at a position."""
    pages = [await admin.get(f"/v1/{name}?as_of={position}&limit=200") for name in ("tasks", "agents")]
    return [page[name] for page, name in zip(pages, ("tasks", "agents"), strict=True)]


async def test_a_backup_of_a_node_at_work_is_restored_compared_and_worked_with(tmp_path: Path) -> None:
    settings, elsewhere, work = settings_of(tmp_path), settings_of(tmp_path / "elsewhere"), Work()
    file, run = tmp_path / "copy.db", trio.to_thread.run_sync
    with trio.fail_after(GUARD_SECONDS):
        async with open_client(settings) as admin, trio.open_nursery() as nursery:
            await admin.register("bo")
            early = [await admin.submit()]
            nursery.start_soon(work.run, admin)
            (copied,) = await run(back_up, settings, file)
            work.enough.set()
            before = await shown(admin, copied.positions)
        (restored,) = await run(restore, file, elsewhere.data, Opening([DataFolder(settings.data).journal_key]))
        assert (restored.positions, restored.root, restored.whole) == (copied.positions, copied.root, True)
        assert_grown_from(settings, elsewhere)
        async with open_client(elsewhere) as admin:
            assert await shown(admin, copied.positions) == before
            assert {task["task_id"] for task in before[0]} >= set(early)
            more = await admin.submit()
            assert (await admin.get(f"/v1/tasks/{more}"))["task_id"] == more
            assert (await admin.get("/v1/audit/verify"))["whole"]
        await run(assert_read_models_are_those_of_the_log, elsewhere, tmp_path)


def assert_grown_from(settings: GavelSettings, elsewhere: GavelSettings) -> None:
    """The journal that was backed up begins with all that the restored one holds, by the restored one's signed root."""
    with closing(sqlite3.connect(DataFolder(elsewhere.data).journal)) as restored:
        size, note = restored.execute("SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
    report = verify(DataFolder(settings.data).journal, against=note)
    assert (report.whole, report.against) == (True, size)


def assert_read_models_are_those_of_the_log(settings: GavelSettings, folder: Path) -> None:
    live = digests_of(DataFolder(settings.data).read_models)
    assert replay_copies(DataFolder(settings.data).journal, live, folder / "rebuilt.db").equal
