"""Rotation of the signing key: on record, found by auditors, and finished by the next start wherever the node was killed."""

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from aggregates.values.roles import Role
from gateway.settings import GavelSettings
from gateway.storage.folder import DataFolder
from gateway.upkeep import rotations
from gateway.upkeep.backups import Opening, back_up, restore
from gateway.verdicts import Wrong
from runtime.delivery import Context
from runtime.proving import check_proof
from runtime.transparency import PublicKey, Signer, verify_note
from runtime.verification import Report, verify
from tests import forks
from tests.gateway.clients import Client, open_client, settings_of
from tests.runtime.sealed import alter


@pytest.fixture
def settings(tmp_path: Path) -> GavelSettings:
    return settings_of(tmp_path)


async def rotate(client: Client, reason: str = "yearly") -> Any:
    answer = await client.ask("POST", "/v1/audit/rotations", {"reason": reason})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def note_of(client: Client) -> str:
    return (await client.ask("GET", "/v1/audit/checkpoint")).text


def key_of(folder: DataFolder) -> str:
    return Signer.load(folder.journal_key).public_key


async def test_a_new_key_signs_from_its_record_on_and_either_key_verifies_all(settings: GavelSettings) -> None:
    async with open_client(settings) as admin:
        old, before = key_of(DataFolder(settings.data)), await note_of(admin)
        told = await rotate(admin)
        await admin.submit()
        after = await note_of(admin)
        assert (told["old"], told["new"]) == (old, key_of(DataFolder(settings.data)))
        assert verify_note(before, old).size < told["position"] <= verify_note(after, told["new"]).size
        proof = await admin.get(f"/v1/audit/proofs/{told['position']}")
        assert check_proof(proof["proof"], told["new"])[0].kind == "journal_key.KeyRotated"
        for key in (old, told["new"], None):
            report = verify(DataFolder(settings.data).journal, key=key, against=[before, after])
            assert report.whole, report.faults
            assert [PublicKey(one).nameless() for one in report.signed_by] == [old, told["new"]]
            assert any(f"position {told['position']} rotates the signing key" in text for text in report.holds)


async def test_a_rotated_journal_opens_again_and_can_be_rotated_again(settings: GavelSettings) -> None:
    first = ""
    for _ in range(3):
        async with open_client(settings) as admin:
            first = first or admin.node.store.signer.public_key
            await rotate(admin)
            await admin.submit()
    report = verify(DataFolder(settings.data).journal, key=first)
    assert (report.whole, len(report.signed_by)) == (True, 4), report.faults
    assert len(list(settings.data.glob("journal-key.*"))) == 3


async def test_a_rotation_can_be_read_where_all_else_is_encrypted(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, encrypt_at_rest=True)
    for number in range(2):
        async with open_client(settings) as admin:
            first = admin.node.store.signing_keys.chain[0].key.nameless()
            await admin.submit()
            await rotate(admin)
            await admin.submit()
            await admin.node.keeper.keep()
        report = verify(DataFolder(settings.data).journal, key=first)
        assert (report.whole, len(report.signed_by)) == (True, number + 2), report.faults
        assert any("the times of checkpoints" in text for text in report.not_excluded)


async def test_two_rotations_while_work_goes_on_leave_a_whole_journal(settings: GavelSettings) -> None:
    async with open_client(settings) as admin:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(admin.submit)
            for _ in range(2):
                nursery.start_soon(rotate, admin)
            for _ in range(10):
                nursery.start_soon(admin.submit)
        report = await admin.get("/v1/audit/verify")
        assert (report["whole"], len(report["signed_by"])) == (True, 3), report["faults"]


async def test_a_named_journal_has_its_own_rotation(settings: GavelSettings) -> None:
    async with open_client(settings) as admin:
        made = (await admin.ask("POST", "/v1/journals", {"name": "acme"})).json()
        tenant = Client(admin.node, admin.http, made["key"])
        await rotate(tenant)
        await tenant.submit(capabilities=[])
    async with open_client(settings) as admin:
        (row,) = (await admin.get("/v1/journals"))["journals"]
        assert (row["open"], row["public_key"]) == (True, made["public_key"])
    folder = DataFolder(settings.data)
    assert len(verify(folder.named("acme").journal, key=made["public_key"]).signed_by) == 2
    assert len(verify(folder.journal).signed_by) == 1


async def test_only_admins_rotate_and_of_the_shared_journal_those_of_the_node(settings: GavelSettings) -> None:
    async with open_client(settings) as admin:
        for client in (await admin.with_role(Role.OPERATOR), await admin.with_role(Role.ADMIN, "other")):
            assert (await client.ask("POST", "/v1/audit/rotations", {})).status_code == 403


# ---- killed in between


class Killed(OSError):
    """Nothing of the rotation happens after it."""


@pytest.fixture(params=["made", "recorded", "kept aside", "in place"])
def killed_when(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The step after which nothing more reaches the data folder's key files."""
    when: str = request.param
    steps = {
        "made": "gateway.upkeep.rotations.rotation",
        "recorded": "gateway.upkeep.rotations.put_in_place",
        "kept aside": "gateway.storage.key_files.sync",
        "in place": "gateway.upkeep.rotations._drop_copies",
    }
    monkeypatch.setattr(steps[when], _killed)
    return when


def _killed(*_: Any) -> None:
    raise Killed


async def test_a_rotation_that_was_killed_is_finished_or_was_none(
    settings: GavelSettings, killed_when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_client(settings) as admin:
        first = admin.node.store.signer.public_key
        with pytest.raises(Killed):
            await rotations.rotate(admin.node, "", Context(tenant="default", principal="test"))
    monkeypatch.undo()
    folder = DataFolder(settings.data)
    async with open_client(settings) as admin:
        keys = 1 if killed_when == "made" else 2
        assert (admin.node.store.signer.public_key == first) == (keys == 1)
        assert folder.journal_key_next.exists() == (keys == 1)
        assert key_of(folder) == admin.node.store.signer.public_key
        await admin.submit()
        await rotate(admin)
        await admin.submit()
    report = verify(folder.journal, key=first)
    assert (report.whole, len(report.signed_by)) == (True, keys + 1), report.faults
    assert len(list(settings.data.glob("journal-key.*"))) == keys


DIES = """
import os, signal, sys, trio
from gateway.node import open_node
from gateway.upkeep.rotations import rotate
from pathlib import Path
from runtime.delivery import Context
from tests.gateway.clients import settings_of

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

async def main():
    module, name = sys.argv[2].rsplit(".", 1)
    async with open_node(settings_of(Path(sys.argv[1])), door=False) as node:
        setattr(sys.modules[module], name, die)
        await rotate(node, "", Context(tenant="default", principal="test"))

trio.run(main)
"""


@pytest.mark.parametrize("step", ["gateway.upkeep.rotations.put_in_place", "gateway.storage.key_files.sync"])
def test_a_process_that_is_killed_after_the_record_leaves_a_journal_that_goes_on(tmp_path: Path, step: str) -> None:
    settings = settings_of(tmp_path)
    died = forks.run(DIES, str(tmp_path), step, folder=tmp_path, environment=os.environ)
    assert died.returncode == -signal.SIGKILL, died.stderr
    folder = DataFolder(settings.data)
    made, unfinished = Signer.load(folder.journal_key_next), key_of(folder)

    async def goes_on() -> None:
        async with open_client(settings) as admin:
            assert admin.node.store.signer.public_key == made.public_key == key_of(folder)
            await admin.submit()

    trio.run(goes_on)
    report = verify(folder.journal, key=unfinished)
    assert (report.whole, len(report.signed_by)) == (True, 2), report.faults


async def test_a_key_that_follows_on_another_one_never_opens_the_journal(settings: GavelSettings) -> None:
    async with open_client(settings):
        pass
    folder = DataFolder(settings.data)
    Signer.make().save(folder.journal_key_next)
    async with open_client(settings) as admin:
        assert admin.node.store.signer.public_key != Signer.load(folder.journal_key_next).public_key


# ---- forged, and backed up


async def rotated(settings: GavelSettings) -> tuple[Path, str, int]:
    async with open_client(settings) as admin:
        first = admin.node.store.signer.public_key
        await admin.submit()
        position = (await rotate(admin))["position"]
        await admin.submit()
    return DataFolder(settings.data).journal, first, position


@pytest.mark.parametrize("column", ["topic", "state", "originator_version", "originator_id"])
async def test_a_forged_rotation_is_found(settings: GavelSettings, column: str) -> None:
    journal, first, position = await rotated(settings)
    with closing(sqlite3.connect(journal)) as connection:
        (state,) = connection.execute("SELECT state FROM stored_events WHERE rowid=?", (position,)).fetchone()
    forged = {
        "topic": "journal_key.KeyRotatedd",
        "state": state.replace(b"yearly", b"dearly"),
        "originator_version": 2,
        "originator_id": "journal_key-other",
    }[column]
    alter(journal, (f"UPDATE stored_events SET {column}=? WHERE rowid=?", (forged, position)))
    report = verify(journal, key=first)
    assert not report.whole
    assert report.first_bad is not None
    assert report.first_bad <= position
    assert any(f"position {position}:" in fault for fault in report.faults), report.faults


async def test_a_key_of_which_the_old_one_knows_nothing_is_found(settings: GavelSettings) -> None:
    """A thief of the file, who puts a key of his own into the rotation and signs everything anew from there."""
    journal, first, position = await rotated(settings)
    thief = Signer.make()
    with closing(sqlite3.connect(journal)) as connection:
        (state,) = connection.execute("SELECT state FROM stored_events WHERE rowid=?", (position,)).fetchone()
    new = verify(journal).signed_by[1].rpartition("+")[2]
    forged = state.replace(new.encode(), thief.public_key.encode())
    alter(journal, ("UPDATE stored_events SET state=? WHERE rowid=?", (forged, position)))
    report = verify(journal, key=first)
    assert report.first_bad is not None
    assert any("the rotation of the signing key is forged" in fault for fault in report.faults)


def test_backups_from_before_and_after_a_rotation_are_restored_with_their_keys(
    settings: GavelSettings, tmp_path: Path
) -> None:
    async def live(*, rotating: bool) -> None:
        async with open_client(settings) as admin:
            await admin.submit()
            if rotating:
                await rotate(admin)

    trio.run(lambda: live(rotating=False))
    assert back_up(settings, tmp_path / "before.db")[0].whole
    trio.run(lambda: live(rotating=True))
    assert back_up(settings, tmp_path / "after.db")[0].whole
    folder = DataFolder(settings.data)
    (retired,) = settings.data.glob("journal-key.*")
    for name, right, wrong in (("before", retired, folder.journal_key), ("after", folder.journal_key, retired)):
        with pytest.raises(Wrong, match="no --key-file holds"):
            restore(tmp_path / f"{name}.db", tmp_path / name, Opening([wrong]))
        (made,) = restore(tmp_path / f"{name}.db", tmp_path / name, Opening([right]))
        assert made.whole

        async def goes_on(data: Path = tmp_path / name) -> None:
            async with open_client(replace(settings, data=data)) as admin:
                await admin.submit()

        trio.run(goes_on)
    old = key_of(DataFolder(tmp_path / "before"))
    report: Report = verify(tmp_path / "after" / "journal.db", key=old)
    assert report.whole, report.faults
