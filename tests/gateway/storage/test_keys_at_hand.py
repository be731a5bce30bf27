"""A node does not start with a file of keys that is lost, older or another journal's: what it has no keys for would read as if erased."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio

from gateway.storage.folder import DataFolder, FolderUnusable
from gateway.upkeep.archiving import archive_streams
from runtime.evidence import Unreadable
from runtime.keyring import DISPOSABLE
from tests.gateway.clients import Client, open_client, settings_of
from tests.gateway.test_subjects import PERSON, erase, run
from tests.runtime.sealed import alter

pytestmark = pytest.mark.usefixtures("logs_as_they_were")

WORDS = "what only the person's key opens"


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


async def shown(tmp_path: Path, key: str, task_id: str) -> str:
    async with open_client(settings_of(tmp_path)) as anew:
        task = await Client(anew.node, anew.http, key).get(f"/v1/tasks/{task_id}")
        return str(task["description"])


async def live(tmp_path: Path, person: str = PERSON) -> tuple[str, str]:
    async with open_client(settings_of(tmp_path)) as admin:
        return admin.key, await admin.submit(description=WORDS, data_subject=person)


@pytest.mark.parametrize("at_rest", [False, True])
async def test_a_file_of_keys_that_was_lost_is_named_until_it_is_back(
    tmp_path: Path, folder: DataFolder, at_rest: bool
) -> None:
    async with open_client(settings_of(tmp_path, encrypt_at_rest=at_rest)) as admin:
        key, task_id = admin.key, await admin.submit(description=WORDS, data_subject=PERSON)
    folder.keyring.replace(tmp_path / "lost")
    for _ in range(2):
        with pytest.raises(Unreadable, match=r"does not hold 1 keys .* was lost, or is an older one"):
            await shown(tmp_path, key, task_id)
    (tmp_path / "lost").replace(folder.keyring)
    assert await shown(tmp_path, key, task_id) == WORDS


async def test_a_master_key_that_was_lost_is_named_and_none_is_made_in_its_place(
    tmp_path: Path, folder: DataFolder
) -> None:
    key, task_id = await live(tmp_path)
    folder.master_key.replace(tmp_path / "lost")
    with pytest.raises(FolderUnusable, match=r"there is no .*master-key.*: put it back"):
        await shown(tmp_path, key, task_id)
    assert await run(tmp_path, "audit", "replay", str(folder.journal)) == 2
    (tmp_path / "lost").replace(folder.master_key)
    assert await shown(tmp_path, key, task_id) == WORDS


async def test_an_older_file_of_keys_is_named(tmp_path: Path, folder: DataFolder) -> None:
    await live(tmp_path, "p1")
    shutil.copy(folder.keyring, tmp_path / "older")
    key, task_id = await live(tmp_path)
    shutil.copy(tmp_path / "older", folder.keyring)
    with pytest.raises(Unreadable, match="does not hold 1 keys"):
        await shown(tmp_path, key, task_id)


async def test_the_keys_of_another_journal_are_named(tmp_path: Path, folder: DataFolder) -> None:
    other = DataFolder(tmp_path / "other" / "data")
    key, task_id = await live(tmp_path)
    await live(tmp_path / "other")
    for file in ("keyring", "master_key"):
        shutil.copy(getattr(other, file), getattr(folder, file))
    with pytest.raises(Unreadable, match="holds the keys of the journal gavel/main/"):
        await shown(tmp_path, key, task_id)


async def test_who_says_so_goes_on_without_the_keys_and_is_asked_again_when_more_are_lost(
    tmp_path: Path, folder: DataFolder
) -> None:
    key, task_id = await live(tmp_path)
    folder.keyring.unlink()
    folder.read_models.unlink()  # what it holds was read with the keys
    folder.keys_left.touch()
    assert await shown(tmp_path, key, task_id) == ""
    assert not folder.keys_left.exists()
    assert await shown(tmp_path, key, task_id) == ""
    folder.keyring.unlink()
    with pytest.raises(Unreadable, match="does not hold 1 keys"):
        await shown(tmp_path, key, task_id)


async def test_keys_that_were_erased_are_not_missed(tmp_path: Path, folder: DataFolder) -> None:
    async with open_client(settings_of(tmp_path)) as admin:
        key, task_id = admin.key, await admin.submit(description=WORDS, data_subject=PERSON)
        await erase(admin)
    folder.keyring.unlink()
    assert await shown(tmp_path, key, task_id) == ""


async def test_an_erasure_is_carried_through_where_its_position_was_that_of_another_one(admin: Client) -> None:
    """A file of keys may be newer than the journal beside it, and has noted what was recorded there then."""
    task_id = await admin.submit(description=WORDS, data_subject=PERSON)
    for position in range(1, admin.node.system.journal.position + 10):
        admin.node.keyring.note_done(position)
    await erase(admin)
    assert admin.node.keyring.all_ids() <= set(admin.node.keyring.ids_of(DISPOSABLE))
    assert (await admin.get(f"/v1/tasks/{task_id}"))["description"] == ""


async def test_the_list_of_erasures_goes_on_in_a_folder_that_was_restored(tmp_path: Path, folder: DataFolder) -> None:
    backup, again = tmp_path / "backup.db", DataFolder(tmp_path / "again" / "data")
    async with open_client(settings_of(tmp_path)) as admin:
        key, task_id = admin.key, await admin.submit(description=WORDS, data_subject=PERSON)
        assert await run(tmp_path, "backup", str(backup)) == 0
        await erase(admin)
    with_keys = ["--key-file", str(folder.journal_key), "--master-key-file", str(folder.master_key)]
    into = ["--into", str(again.path), "--erasures", str(folder.erasures)]
    assert await run(tmp_path, "restore", str(backup), *into, *with_keys) == 0
    assert again.erasures.read_bytes() == folder.erasures.read_bytes()
    assert await shown(again.path.parent, key, task_id) == ""
    again.keyring.unlink()
    shutil.copy(f"{backup}.keys", again.keyring)  # of a day on which the person was not erased yet
    assert await shown(again.path.parent, key, task_id) == ""


async def test_no_copy_of_a_state_brings_back_in_a_restored_folder_what_was_erased_since(
    tmp_path: Path, folder: DataFolder
) -> None:
    backup, again = tmp_path / "backup.db", DataFolder(tmp_path / "again" / "data")
    async with open_client(settings_of(tmp_path)) as admin:
        key, task_id = admin.key, await admin.submit(description=WORDS, data_subject=PERSON)
        await admin.ask("DELETE", f"/v1/tasks/{task_id}?reason=enough")
    assert await trio.to_thread.run_sync(archive_streams, settings_of(tmp_path), datetime.now(UTC).isoformat())
    async with open_client(settings_of(tmp_path)) as admin:
        admin = Client(admin.node, admin.http, key)
        before = (await admin.get(f"/v1/log/state?stream=task-{task_id}"))["state"]["digest"]
        assert await run(tmp_path, "backup", str(backup)) == 0
        await erase(admin)
        after = (await admin.get(f"/v1/log/state?stream=task-{task_id}"))["state"]["digest"]
    words = ["--key-file", str(folder.journal_key), "--master-key-file", str(folder.master_key)]
    words += ["--into", str(again.path), "--erasures", str(folder.erasures)]
    assert await run(tmp_path, "restore", str(backup), *words) == 0
    async with open_client(settings_of(again.path.parent)) as anew:
        state = await Client(anew.node, anew.http, key).get(f"/v1/log/state?stream=task-{task_id}")
    assert before != after == state["state"]["digest"]


async def test_keys_that_were_altered_are_named_by_all_that_need_them_and_by_a_backup(
    tmp_path: Path, folder: DataFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    await live(tmp_path)
    alter(folder.keyring, "UPDATE keys SET subject='p18' WHERE subject<>'disposable'")
    for words, code in ((["audit", "replay"], 2), (["log", "tail", str(folder.journal), "--after", "0"], 2)):
        assert await run(tmp_path, *words) == code
        assert "is damaged or altered: the key" in capsys.readouterr().err
    assert await run(tmp_path, "backup", str(tmp_path / "backup.db")) == 1
    assert "1 keys of personal data can't be unwrapped" in capsys.readouterr().out
