"""A backup has every journal and its blobs, and only one that is whole becomes a data folder."""

import os
import shutil
from collections.abc import AsyncGenerator, Callable
from hashlib import sha256
from pathlib import Path

import pytest
import trio

from gateway.settings import GavelSettings
from gateway.storage.folder import DataFolder
from gateway.storage.keyrings import master_of, open_keyring
from gateway.upkeep.backups import Opening, back_up, beside, listed, restore
from gateway.verdicts import Wrong
from runtime.blobs import Blobs
from tests.gateway.clients import Client, open_client, settings_of
from tests.runtime.keyrings import standing_in

BLOB = b"3 2\n1 2 1\n2 3 1\n"
DIGEST = sha256(BLOB).hexdigest()
NAMES = ("acme", "globex")


@pytest.fixture
def kept(tmp_path: Path) -> GavelSettings:
    """A node that has been here, with two isolated tenants, one of them with a blob."""
    settings = settings_of(tmp_path)
    trio.run(_live, settings)
    return settings


async def _live(settings: GavelSettings) -> None:
    async with open_client(settings) as admin:
        for name in NAMES:
            made = (await admin.ask("POST", "/v1/journals", {"name": name})).json()
            tenant = Client(admin.node, admin.http, made["key"])
            await tenant.submit(capabilities=[])
        assert (await Client(admin.node, admin.http, made["key"]).upload(BLOB)).status_code == 201


def key_files(settings: GavelSettings) -> list[Path]:
    folder = DataFolder(settings.data)
    return [folder.journal_key, *(folder.named(name).journal_key for name in NAMES)]


def opening(settings: GavelSettings) -> Opening:
    return Opening(key_files(settings), master_of(settings))


def test_what_is_restored_has_the_heads_of_the_backup_and_nothing_is_for_others_to_read(
    kept: GavelSettings, tmp_path: Path
) -> None:
    copied = back_up(kept, tmp_path / "copy.db")
    made = restore(tmp_path / "copy.db", tmp_path / "made", opening(kept))
    assert [(one.journal, one.positions, one.root, one.whole) for one in made] == [
        (one.journal, one.positions, one.root, True) for one in copied
    ]
    assert [one.blobs for one in made] == [0, 0, 1]
    assert {facts.name for facts in listed(tmp_path / "made" / "journal.db")} == set(NAMES)
    for folder in (DataFolder(tmp_path / "made"), DataFolder(tmp_path / "made").named("acme")):
        assert folder.path.stat().st_mode & 0o077 == 0
        assert folder.journal_key.stat().st_mode & 0o077 == 0


def _lose_journal(named: Path) -> None:
    (named / "globex.db").unlink()


def _alter_record(named: Path) -> None:
    file = named / "globex.db"
    file.write_bytes(file.read_bytes().replace(b"made at the first start", b"made at some other time"))


def _exchange_journal(named: Path) -> None:
    shutil.copy(named / "acme.db", named / "globex.db")


def _alter_blob(named: Path) -> None:
    (beside(named / "globex.db")[0] / DIGEST[:2] / DIGEST).write_bytes(b"else")


@pytest.mark.parametrize("harm", [_lose_journal, _alter_record, _exchange_journal, _alter_blob])
def test_a_backup_that_is_not_whole_makes_no_data_folder(
    kept: GavelSettings, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    back_up(kept, tmp_path / "copy.db")
    harm(tmp_path / "copy.db.journals")
    made = restore(tmp_path / "copy.db", tmp_path / "made", opening(kept))
    assert [one.whole for one in made] == [True, True, False]
    assert made[2].faults or made[2].blobs_altered == [DIGEST]
    assert sorted(os.listdir(tmp_path)) == ["copy.db", "copy.db.journals", "data"]


def test_a_backup_says_which_journal_it_lacks(kept: GavelSettings, tmp_path: Path) -> None:
    shutil.rmtree(DataFolder(kept.data).named("acme").path)
    copied = back_up(kept, tmp_path / "copy.db")
    assert [(one.journal, one.whole) for one in copied] == [("main", True), ("acme", False), ("globex", True)]
    assert "there is no journal at" in copied[1].faults[0]


def test_nothing_is_restored_over_something_or_without_its_keys(kept: GavelSettings, tmp_path: Path) -> None:
    back_up(kept, tmp_path / "copy.db")
    keys = key_files(kept)
    with pytest.raises(Wrong, match="is not empty"):
        restore(tmp_path / "copy.db", kept.data, Opening(keys))
    with pytest.raises(Wrong, match=r"holds the signing key of: main \(.*\), globex \("):
        restore(tmp_path / "copy.db", tmp_path / "made", Opening(keys[1:2]))
    with pytest.raises(Wrong, match="can't be used"):
        restore(tmp_path / "copy.db", tmp_path / "made", Opening([tmp_path / "copy.db"]))
    with pytest.raises(Wrong, match="there is no backup"):
        restore(tmp_path / "nowhere.db", tmp_path / "made", Opening(keys))
    (tmp_path / "other.db").write_bytes(b"no journal")
    with pytest.raises(Wrong, match="is no journal"):
        restore(tmp_path / "other.db", tmp_path / "made", Opening(keys))
    with pytest.raises(Wrong, match="exists"):
        back_up(kept, tmp_path / "copy.db")
    assert not (tmp_path / "made").exists()


def test_sealed_blobs_are_copied_sealed_and_checked_where_the_key_is_at_hand(
    kept: GavelSettings, tmp_path: Path
) -> None:
    keyring = open_keyring(kept, DataFolder(kept.data))
    blobs = Blobs(DataFolder(kept.data).blobs, blob_bytes_max=1000, keyring=keyring)
    trio.run(_bring, blobs)
    sealed = blobs.find("t", DIGEST).file
    copied = back_up(kept, tmp_path / "copy0.db")
    for number, (given, unchecked) in enumerate(((opening(kept), []), (Opening(key_files(kept)), [sealed]))):
        made = restore(tmp_path / "copy0.db", tmp_path / f"made{number}", given)
        for one, left in ((copied[0], []), (made[0], unchecked)):
            assert (one.whole, one.blobs, one.blobs_unchecked) == (True, 1, left)
    assert standing_in(tmp_path / "copy0.db.blobs", BLOB) == standing_in(tmp_path / "made0" / "blobs", BLOB) == []
    path = blobs.path_of(blobs.find("t", DIGEST))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    harmed = back_up(kept, tmp_path / "harmed.db")
    assert [(one.whole, one.blobs_altered) for one in harmed] == [(False, [sealed]), (True, []), (True, [])]
    keyring.close()


async def _bring(blobs: Blobs) -> None:
    await blobs.put("t", DIGEST, _chunks(BLOB), data_subject="erika")


async def _chunks(chunk: bytes) -> AsyncGenerator[bytes, None]:
    yield chunk


def test_an_empty_folder_is_good_to_restore_into(kept: GavelSettings, tmp_path: Path) -> None:
    back_up(kept, tmp_path / "copy.db")
    (tmp_path / "made").mkdir()
    assert all(one.whole for one in restore(tmp_path / "copy.db", tmp_path / "made", opening(kept)))
    assert (tmp_path / "made" / "journals" / "acme" / "journal.db").is_file()
