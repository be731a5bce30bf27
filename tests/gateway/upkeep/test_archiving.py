"""Closed streams go to archives that prove themselves; all is read through them, and one that is missing is named."""

import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import trio

from aggregates import task as tasks
from aggregates.catalog import AGGREGATES
from gateway.settings import GavelSettings
from gateway.storage.folder import DataFolder
from gateway.upkeep.archiving import Archive, archive_streams
from gateway.upkeep.backups import Opening, back_up, restore
from gateway.upkeep.exports import Filters, write_export
from gateway.upkeep.imports import import_log
from gateway.upkeep.log_replay import digests_of, replay_copies
from gateway.verdicts import Wrong
from runtime.archive_verification import is_archive, verify_archive
from runtime.archives import STUB_BYTES, ArchiveMissing
from runtime.codec import Codec
from runtime.cosignatures import Cosigner
from runtime.export_reading import ExportReader
from runtime.kept_checkpoints import Outside
from runtime.store.sqlite import SqliteStore
from runtime.transparency import Signer
from runtime.verification import verify
from tests.gateway.clients import TASK, Client, open_client, settings_of
from tests.gateway.test_cli import Inside, inside
from tests.runtime.sealed import alter

__all__ = ["inside"]

SECRET = "what only the archive holds"


class Life:
    """A node that has been here: two tasks that ended, one under an idempotency key, and one that is open."""

    def __init__(self, settings: GavelSettings) -> None:
        self.settings = settings
        self.key = str(uuid4())
        self.ended: list[str] = []
        self.open = ""
        self.admin = ""
        trio.run(self._live)
        self.root = verify(self.journal).root

    @property
    def journal(self) -> Path:
        return DataFolder(self.settings.data).journal

    @property
    def archives(self) -> Path:
        return DataFolder(self.settings.data).archives

    async def _live(self) -> None:
        async with open_client(self.settings) as admin:
            self.admin = admin.key
            first = await admin.ask("POST", "/v1/tasks", TASK | {"description": SECRET}, Idempotency_Key=self.key)
            self.ended = [first.json()["task_id"], await admin.submit()]
            self.open = await admin.submit()
            for task in self.ended:
                assert (await admin.ask("DELETE", f"/v1/tasks/{task}?reason=enough")).status_code == 200
            await admin.node.projector.wait_for(admin.node.store.position)

    def archive(self, **more: Any) -> list[Archive]:
        return list(archive_streams(self.settings, datetime.now(UTC).isoformat(), **more))

    def detach(self) -> None:
        shutil.move(self.archives, self.settings.data.parent / "elsewhere")


@pytest.fixture
def life(tmp_path: Path) -> Life:
    return Life(settings_of(tmp_path))


def rows(path: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as file:
        return file.execute(statement).fetchall()


def leaves(path: Path) -> list[Any]:
    return rows(path, "SELECT * FROM nodes ORDER BY id")


def test_what_is_archived_leaves_the_journal_and_the_journal_still_verifies(life: Life) -> None:
    before, nodes = verify(life.journal), leaves(life.journal)
    note = rows(life.journal, "SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1")[0][0]
    assert SECRET.encode() in life.journal.read_bytes()
    (made,) = life.archive()
    assert (made.streams, made.records, made.position) == (2, 4, before.positions + 1)
    assert SECRET.encode() not in life.journal.read_bytes()
    assert leaves(life.journal)[: len(nodes)] == nodes
    report = verify(life.journal, against=note)
    assert (report.whole, report.positions, report.against) == (True, before.positions + 1, before.positions)
    assert "4 of them stand in archives, as sealed records say, under their own leaves" in report.holds
    assert life.archive() == []


def test_an_archive_proves_itself_alone(life: Life, tmp_path: Path, inside: Inside) -> None:
    key, size = verify(life.journal).key, verify(life.journal).positions
    (made,) = life.archive()
    path = tmp_path / "alone.db"
    shutil.move(life.archives / made.name, path)
    assert is_archive(path)
    assert not is_archive(life.journal)
    report = verify_archive(path, key=key)
    assert (report.whole, report.positions, report.root) == (True, 4, life.root)
    note = rows(life.journal, f"SELECT note FROM checkpoints WHERE size={size}")
    assert inside("audit", "verify", str(path), "--key", key)[0] == 0
    others = [text for (text,) in rows(life.journal, f"SELECT note FROM checkpoints WHERE size<{size}")]
    assert not note or verify_archive(path, against=[note[0][0], *others]).whole
    assert not others or not verify_archive(path, against=others).whole
    assert not verify_archive(path, key=Signer.make().public_key).whole


def test_an_archive_is_compared_with_the_checkpoint_of_its_size_and_what_a_witness_saw_of_it(
    life: Life, tmp_path: Path, inside: Inside
) -> None:
    folder = DataFolder(life.settings.data)
    note = rows(life.journal, "SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1")[0][0]
    Outside(folder.checkpoints).keep(note)
    Outside(folder.checkpoints).keep(Signer.load(folder.journal_key).sign(note.splitlines()[0], 900, bytes(32)))
    (made,) = life.archive()
    path, witness = life.archives / made.name, Cosigner(Signer.make())
    cosigned = note + witness.line(note.rpartition("\n\n")[0] + "\n", 1)
    assert verify_archive(path, against=[cosigned], witnesses=[witness.vkey]).whole
    assert inside("audit", "verify", str(path), "--against", str(folder.checkpoints))[0] == 0
    for notes in ([], [note]):
        faults = verify_archive(path, against=notes, witnesses=[witness.vkey]).faults
        assert any("is cosigned by" in fault for fault in faults)
    assert inside("audit", "verify", str(path), "--witness", witness.vkey)[0] == 1


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE VIEW more AS SELECT * FROM records"],
        ["ALTER TABLE records RENAME TO x", "CREATE VIEW records AS SELECT * FROM x UNION ALL SELECT * FROM x"],
        ["CREATE TRIGGER act AFTER INSERT ON facts BEGIN DELETE FROM records; END"],
    ],
)
def test_an_archive_that_is_made_otherwise_is_found(life: Life, statements: list[str]) -> None:
    (made,) = life.archive()
    alter(life.archives / made.name, *statements)
    assert "it is not made as an archive is" in verify_archive(life.archives / made.name).faults[0]


HARM = {
    "body": "UPDATE records SET body = CAST(body || x'00' AS BLOB) WHERE position = (SELECT MIN(position) FROM records)",
    "kind": "UPDATE records SET kind = 'task.TaskExpired' WHERE position = (SELECT MAX(position) FROM records)",
    "stream": "UPDATE records SET stream = 'task-other'",
    "position": "UPDATE records SET position = position + 1000",
    "node": "UPDATE nodes SET hash = zeroblob(32)",
    "nodes": "DELETE FROM nodes",
}


@pytest.mark.parametrize("what", HARM)
def test_an_altered_archive_is_found_alone_and_beside_its_journal_and_is_not_read(life: Life, what: str) -> None:
    (made,) = life.archive()
    alter(life.archives / made.name, HARM[what])
    report = verify_archive(life.archives / made.name)
    assert not report.whole
    beside = verify(life.journal)
    assert (beside.whole, beside.first_bad) == (False, made.first)
    assert "is not the file that was sealed" in beside.faults[0]
    with pytest.raises(Wrong, match="was altered, or is another file"):
        export(life.settings, life.archives / "log")


STUB = f"length(state) = {STUB_BYTES}"
HARM_OF_STUBS = {
    "a stub's stream": "UPDATE stored_events SET originator_id = 'task-x'"
    f" WHERE rowid = (SELECT MAX(rowid) FROM stored_events WHERE {STUB})",
    "a stub's kind": f"UPDATE stored_events SET topic = 'task.TaskExpired' WHERE {STUB} AND originator_version = 2",
    "a stub's time": f"UPDATE stored_events SET state = CAST(substr(state, 1, 13) || zeroblob(8) AS BLOB) WHERE {STUB}",
    "a stub of another archive": f"UPDATE stored_events SET state = CAST(x'c100000002' || substr(state, 6) AS BLOB) WHERE {STUB}",
    "a stub elsewhere": "UPDATE stored_events SET state = CAST(substr(state, 1, 12) || x'7f' || substr(state, 14) AS BLOB)"
    f" WHERE {STUB}",
    "a stub is gone": f"DELETE FROM stored_events WHERE rowid = (SELECT MIN(rowid) FROM stored_events WHERE {STUB})",
    "one stub too many": f"UPDATE stored_events SET state = (SELECT state FROM stored_events WHERE {STUB}) WHERE rowid = 1",
    "the record of the archive": "UPDATE stored_events SET state = CAST(replace(state, 'e-', 'f-') AS BLOB) WHERE topic LIKE 'archive%'",
    "no record of the archive": "DELETE FROM stored_events WHERE topic LIKE 'archive%'",
    "a last state is gone": "DELETE FROM tombstones WHERE stream = (SELECT MIN(stream) FROM tombstones)",
    "an open stream is kept as archived": "UPDATE tombstones SET stream = (SELECT originator_id FROM stored_events WHERE"
    " originator_id LIKE 'task-%' AND originator_id NOT IN (SELECT stream FROM tombstones))"
    " WHERE stream = (SELECT MIN(stream) FROM tombstones)",
    "a last state of another archive": "UPDATE tombstones SET archive = 2",
    "a last state of earlier": "UPDATE tombstones SET version = 1",
    "another body": f"UPDATE stored_events SET state = x'81' WHERE {STUB} AND originator_version = 2",
}


@pytest.mark.parametrize("what", HARM_OF_STUBS)
def test_an_altered_stub_is_found(life: Life, what: str) -> None:
    life.archive()
    alter(life.journal, HARM_OF_STUBS[what])
    report = verify(life.journal)
    assert not report.whole
    assert report.first_bad is not None or "last state" in what or "is kept as archived" in what


async def test_a_node_reads_through_its_archives_and_refuses_new_events(life: Life) -> None:
    task = life.ended[0]
    async with open_client(life.settings) as admin:
        shown = await admin.get(f"/v1/tasks/{task}")
        newest = await trio.to_thread.run_sync(admin.node.store.newest_event, tasks.stream(task), 2**62)
        early = await admin.get(f"/v1/log/state?stream={tasks.stream(task)}&at=3")
    await trio.to_thread.run_sync(life.archive)
    async with open_client(life.settings) as anew:
        admin = Client(anew.node, anew.http, life.admin)
        again = await admin.ask("POST", "/v1/tasks", TASK | {"description": SECRET}, Idempotency_Key=life.key)
        assert (again.status_code, again.json()["task_id"]) == (202, task)
        assert (await admin.ask("DELETE", f"/v1/tasks/{task}?reason=again")).status_code in (200, 409)
        assert await trio.to_thread.run_sync(admin.node.store.newest_event, tasks.stream(task), 2**62) == newest
        ended = admin.node.projector.rebuild()
        await ended.wait()
        assert [one.reason for one in admin.node.projector.rebuilds] == [""] * len(admin.node.projector.projections)
        assert await admin.get(f"/v1/tasks/{task}") == shown
        assert (await admin.get(f"/v1/tasks/{task}?as_of=3"))["task_id"] == task
        assert await admin.get(f"/v1/log/state?stream={tasks.stream(task)}&at=3") == early
        log = (await admin.get("/v1/log?limit=500"))["records"]
        assert [record["position"] for record in log] == list(range(1, len(log) + 1))
        assert (await admin.get("/v1/audit/verify"))["whole"]
        assert (await admin.ask("DELETE", f"/v1/tasks/{life.open}?reason=enough")).status_code == 200
    live = digests_of(DataFolder(life.settings.data).read_models)
    place = life.settings.data / "rebuilt.db"
    assert (await trio.to_thread.run_sync(replay_copies, life.journal, live, place)).equal


async def test_what_stands_in_a_missing_archive_is_named_and_everything_else_goes_on(life: Life) -> None:
    (made,) = await trio.to_thread.run_sync(life.archive)
    life.detach()
    task = life.ended[0]
    report = verify(life.journal)
    assert report.whole
    assert any(made.name in doubt for doubt in report.not_excluded)
    async with open_client(life.settings) as anew:
        admin = Client(anew.node, anew.http, life.admin)
        again = await admin.ask("POST", "/v1/tasks", TASK | {"description": SECRET}, Idempotency_Key=life.key)
        assert (again.status_code, again.json()["task_id"]) == (202, task)
        assert (await admin.get(f"/v1/tasks/{task}"))["task_id"] == task
        for path in ("/v1/log?limit=500", f"/v1/log/state?stream={tasks.stream(task)}&at=3"):
            answer = await admin.ask("GET", path)
            assert (answer.status_code, made.name in answer.text) == (503, True), answer.text
        assert (await admin.ask("DELETE", f"/v1/tasks/{task}?reason=again")).status_code in (200, 409)
        more = await admin.submit()
        assert (await admin.get(f"/v1/tasks/{more}"))["task_id"] == more
        ended = admin.node.projector.rebuild()
        await ended.wait()
        assert any(made.name in one.reason for one in admin.node.projector.rebuilds)
    with pytest.raises(Wrong, match=made.name):
        export(life.settings, life.settings.data / "log")


async def test_memories_that_are_lost_are_not_made_anew_without_an_archive(life: Life) -> None:
    (made,) = await trio.to_thread.run_sync(life.archive)
    alter(life.journal, "DELETE FROM snapshots")
    life.detach()
    with pytest.raises(ArchiveMissing, match=made.name):
        async with open_client(life.settings):
            pass
    shutil.move(life.settings.data.parent / "elsewhere", life.archives)
    async with open_client(life.settings) as admin:
        assert (await admin.get(f"/v1/tasks/{life.ended[0]}"))["task_id"] == life.ended[0]


async def test_blobs_are_not_collected_while_an_archive_that_may_name_them_is_missing(life: Life) -> None:
    (made,) = await trio.to_thread.run_sync(life.archive)
    life.detach()
    settings = msgspec.structs.replace(life.settings, blob_grace_seconds=0.0)
    async with open_client(settings) as admin:
        assert (await admin.upload(b"named by nobody that is here")).status_code == 201
        answer = await admin.ask("POST", "/v1/blobs/collection", {})
        assert (answer.status_code, made.name in answer.text) == (503, True), answer.text


def test_a_record_that_is_archived_is_proven_like_any_other(life: Life, tmp_path: Path, inside: Inside) -> None:
    (made,) = life.archive()
    key, proof = verify(life.journal).key, tmp_path / "proof"
    assert inside("audit", "prove", str(made.first), str(life.journal), "--out", str(proof))[0] == 0
    code, said, _ = inside("audit", "check", str(proof), "--key", key)
    assert (code, SECRET in said) == (0, True)
    life.detach()
    code, _, errors = inside("audit", "prove", str(made.first), str(life.journal))
    assert (code, made.name in errors, "altered" in errors) == (2, True, False)


def test_a_running_node_is_not_archived_and_times_have_passed(life: Life, inside: Inside) -> None:
    for when in ("yesterday", "7", "2999-01-01T00:00:00Z"):
        code, output, errors = inside("log", "archive", "--before", when)
        assert (code, output, "a time that has passed" in errors) == (2, "", True)
    assert "there is no journal" in inside("log", "archive", "--before", "2001-01-01T00:00:00Z", "--data", "nowhere")[2]
    assert not Path("nowhere").exists()
    code, output, _ = inside("log", "archive", "--before", "2001-01-01T00:00:00Z")
    assert (code, output) == (0, "no stream is closed that was not recorded in since\n")
    with closing(SqliteStore(life.journal, Codec(AGGREGATES), Signer.load(DataFolder(life.settings.data).journal_key))):
        assert "stop the node first" in inside("log", "archive", "--before", "2001-01-01T00:00:00Z")[2]
    code, output, _ = inside("log", "archive", "--before", datetime.now(UTC).isoformat())
    assert (code, "4 records of 2 streams" in output) == (0, True)


def test_commands_read_through_the_archives(life: Life, inside: Inside) -> None:
    life.archive()
    trio.run(start_once, life.settings)  # its read models have read what tells of the archive
    for command in (
        ["log", "replay"],
        ["log", "check"],
        ["log", "tail", "--after", "0"],
        ["log", "state", tasks.stream(life.ended[0]), "--at", "3"],
        ["log", "why", life.ended[0], "--tree"],
        ["audit", "replay"],
        ["audit", "what-if", "--at", "3"],
    ):
        code, output, errors = inside(*command)
        assert code == 0, (command, output, errors)
    life.detach()
    for command in (["log", "replay"], ["log", "check"], ["log", "export", "x"], ["audit", "replay"]):
        code, _, errors = inside(*command)
        assert (code, "is not in" in errors) == (2, True), (command, errors)


async def start_once(settings: GavelSettings) -> None:
    async with open_client(settings) as admin:
        await admin.node.projector.wait_for(admin.node.store.position)


def export(settings: GavelSettings, file: Path) -> Path:
    with file.open("wb") as out:
        write_export(settings, Filters(), out)
    return file


def test_backups_and_exports_hold_what_is_archived(life: Life, tmp_path: Path) -> None:
    (made,) = life.archive()
    key = DataFolder(life.settings.data).journal_key
    (copied,) = back_up(life.settings, tmp_path / "copy.db")
    assert (copied.whole, copied.archives, copied.archives_missing) == (True, 1, [])
    (restored,) = restore(tmp_path / "copy.db", tmp_path / "restored" / "data", Opening([key]))
    assert (restored.whole, restored.root, restored.archives) == (True, copied.root, 1)
    log = export(settings_of(tmp_path / "restored"), tmp_path / "log")
    with log.open("rb") as file:
        import_log(settings_of(tmp_path / "imported"), file, key)
    imported = tmp_path / "imported" / "data" / "journal.db"
    assert verify(imported).root == copied.root
    assert SECRET.encode() in imported.read_bytes()
    life.detach()
    (without,) = back_up(life.settings, tmp_path / "without.db")
    assert (without.whole, without.archives, without.archives_missing) == (True, 0, [made.name])


async def test_an_imported_stream_stays_closed(life: Life, tmp_path: Path) -> None:
    await trio.to_thread.run_sync(life.archive)
    log, key = export(life.settings, tmp_path / "log"), DataFolder(life.settings.data).journal_key
    with log.open("rb") as file:
        import_log(settings_of(tmp_path / "imported"), file, key)
    async with open_client(settings_of(tmp_path / "imported")) as admin:
        store = admin.node.store
        assert (await admin.get("/v1/audit/verify"))["whole"]
        assert await trio.to_thread.run_sync(store.is_archived, tasks.stream(life.ended[0]))
        assert not await trio.to_thread.run_sync(store.is_archived, tasks.stream(life.open))


def test_as_many_archives_are_made_as_are_needed(life: Life) -> None:
    made = life.archive(records_max=2)
    assert [one.records for one in made] == [2, 2]
    assert verify(life.journal).whole
    assert sorted(path.name for path in life.archives.iterdir()) == sorted(one.name for one in made)
    assert all(
        path.name.rpartition("-")[2] == f"{sha256(path.read_bytes()).hexdigest()[:12]}.db"
        for path in life.archives.iterdir()
    )


async def test_bodies_that_are_encrypted_at_rest_are_archived_as_they_stand(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, encrypt_at_rest=True)
    life = await trio.to_thread.run_sync(Life, settings)
    assert SECRET.encode() not in life.journal.read_bytes()
    (made,) = await trio.to_thread.run_sync(life.archive)
    assert SECRET.encode() not in (life.archives / made.name).read_bytes()
    assert verify_archive(life.archives / made.name).whole
    assert verify(life.journal).whole
    async with open_client(settings) as admin:
        state = await admin.get(f"/v1/log/state?stream={tasks.stream(life.ended[0])}&at=3")
        assert state["state"] is not None
        ended = admin.node.projector.rebuild()
        await ended.wait()
        assert [one.reason for one in admin.node.projector.rebuilds] == [""] * len(admin.node.projector.projections)
        assert (await admin.get(f"/v1/tasks/{life.ended[0]}"))["description"] == SECRET
    for name, filters in (("whole", Filters()), ("chosen", Filters(tenants=["default"]))):
        with (tmp_path / name).open("wb") as out:
            write_export(settings, filters, out)
        with (tmp_path / name).open("rb") as said:
            assert ExportReader(said).check().records == verify(life.journal).positions
