"""A log that was exported whole becomes the same journal elsewhere, exactly once, all or nothing."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgpack
import pytest
import trio

from aggregates import agent as agents
from gateway import cli
from gateway.settings import GavelSettings
from gateway.storage.folder import DataFolder
from gateway.upkeep.exports import Filters, write_export
from gateway.upkeep.imports import import_log
from gateway.verdicts import Wrong
from runtime.export_reading import BadExport, Checked, ExportReader
from runtime.store.layouts import FORMAT
from runtime.transparency import Signer
from runtime.verification import verify
from tests.gateway.clients import TASK, Client, open_client, settings_of
from tests.gateway.test_cli import Inside, inside
from tests.runtime.sealed import alter, write
from tests.stories import layouts

__all__ = ["inside"]


def export(settings: GavelSettings, file: Path, **filters: Any) -> Path:
    with file.open("wb") as out:
        write_export(settings, Filters(**filters), out)
    return file


def make(settings: GavelSettings, file: Path, key_file: Path, name: str = "main") -> Any:
    with file.open("rb") as said:
        return import_log(settings, said, key_file, name)


def check(file: Path) -> Checked:
    with file.open("rb") as said:
        return ExportReader(said).check()


async def test_an_imported_log_goes_on_as_the_same_journal_and_each_answer_is_given_once(tmp_path: Path) -> None:
    settings, other = settings_of(tmp_path), settings_of(tmp_path / "other")
    key = str(uuid4())
    async with open_client(settings) as admin:
        first = await admin.ask("POST", "/v1/tasks", TASK, Idempotency_Key=key)
        agent, old_key = await admin.register("bo"), admin.key
        while_running = export(settings, tmp_path / "running")
        shown = [task["task_id"] for task in (await admin.get("/v1/tasks"))["tasks"]]
    early = check(while_running)
    assert verify(DataFolder(settings.data).journal, against=early.checkpoint).against == early.size
    export(settings, tmp_path / "log")
    checked = make(other, tmp_path / "log", DataFolder(settings.data).journal_key)
    assert checked.root == verify(DataFolder(settings.data).journal).root
    kept = [table(DataFolder(one.data).journal, checked.size) for one in (settings, other)]
    assert kept[0] == kept[1]
    assert DataFolder(other.data).journal_key.stat().st_mode & 0o077 == 0
    async with open_client(other) as anew:
        admin = Client(anew.node, anew.http, old_key)  # the folder's admin is a new one, beside the old one
        started = admin.node.store.position
        again = await admin.ask("POST", "/v1/tasks", TASK, Idempotency_Key=key)
        assert (again.status_code, again.json()) == (first.status_code, first.json())
        assert admin.node.store.position == started
        assert [task["task_id"] for task in (await admin.get("/v1/tasks"))["tasks"]] == shown
        assert (await Client(admin.node, admin.http, agent.key).ask("GET", "/v1/tasks")).status_code == 200
        await admin.submit()
        assert (await admin.get("/v1/audit/verify"))["whole"]
    grown = verify(DataFolder(other.data).journal, against=checked.checkpoint)
    assert (grown.whole, grown.against, grown.positions > checked.size) == (True, checked.size, True)


def table(path: Path, upto: int) -> list[Any]:

    with closing(sqlite3.connect(path)) as file:
        return file.execute("SELECT * FROM stored_events WHERE rowid <= ? ORDER BY rowid", (upto,)).fetchall()


@pytest.fixture
def lived(tmp_path: Path) -> GavelSettings:
    """A node that has been here, with an isolated tenant."""
    settings = settings_of(tmp_path)
    trio.run(_live, settings)
    return settings


async def _live(settings: GavelSettings) -> None:
    async with open_client(settings) as admin:
        await admin.submit()
        await admin.register("bo")
        made = (await admin.ask("POST", "/v1/journals", {"name": "acme"})).json()
        await Client(admin.node, admin.http, made["key"]).submit(capabilities=[])


async def test_a_named_journal_is_imported_where_the_shared_one_lists_it(lived: GavelSettings, tmp_path: Path) -> None:
    folder, other = DataFolder(lived.data), settings_of(tmp_path / "other")
    export(lived, tmp_path / "shared")
    named = GavelSettings(data=folder.named("acme").path)
    export(named, tmp_path / "acme")
    own = folder.named("acme").journal_key
    with pytest.raises(Wrong, match="of the journal acme, and not of main"):
        make(other, tmp_path / "acme", own)
    with pytest.raises(Wrong, match="lists no journal acme"):
        make(other, tmp_path / "acme", own, "acme")
    make(other, tmp_path / "shared", folder.journal_key)
    make(other, tmp_path / "acme", own, "acme")
    with pytest.raises(Wrong, match="is not empty"):
        make(other, tmp_path / "acme", own, "acme")
    async with open_client(other) as admin:
        tenant = Client(admin.node, admin.http, folder.named("acme").admin_key.read_text())
        assert len((await tenant.get("/v1/tasks"))["tasks"]) == 1


async def test_a_named_journal_that_is_encrypted_at_rest_is_imported_and_read_with_its_keys(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, encrypt_at_rest=True)
    await _live(settings)
    folder = DataFolder(settings.data)
    export(GavelSettings(data=folder.named("acme").path), tmp_path / "acme")
    folder.named("acme").path.rename(tmp_path / "gone")
    make(settings, tmp_path / "acme", tmp_path / "gone" / "journal-key", "acme")
    for kept in ("keyring.db", "admin-key"):
        shutil.copy(tmp_path / "gone" / kept, folder.named("acme").path)
    async with open_client(settings) as admin:
        tenant = Client(admin.node, admin.http, folder.named("acme").admin_key.read_text())
        assert len((await tenant.get("/v1/tasks"))["tasks"]) == 1


def test_what_cannot_become_a_journal_here_is_refused_and_nothing_is_made(lived: GavelSettings, tmp_path: Path) -> None:
    other, key = settings_of(tmp_path / "other"), DataFolder(lived.data).journal_key
    export(lived, tmp_path / "log")
    Signer.make().save(tmp_path / "another-key")
    with pytest.raises(Wrong, match="goes on only with its own signing key"):
        make(other, tmp_path / "log", tmp_path / "another-key")
    with pytest.raises(Wrong, match="can't be used"):
        make(other, tmp_path / "log", tmp_path / "log")
    with pytest.raises(Wrong, match="is not empty"):
        make(lived, tmp_path / "log", key)
    export(lived, tmp_path / "some", kinds=["task.TaskSubmitted"])
    with pytest.raises(Wrong, match=r"was chosen by \{'kinds'.*a journal can't be made of it"):
        make(other, tmp_path / "some", key)
    said = (tmp_path / "log").read_bytes()
    (tmp_path / "cut").write_bytes(said[:-100])
    (tmp_path / "altered").write_bytes(said.replace(b"analysis", b"analysed", 1))
    for spoiled in ("cut", "altered"):
        with pytest.raises(BadExport, match=r"^byte "):
            make(other, tmp_path / spoiled, key)
    assert not (tmp_path / "other").exists() or not any((tmp_path / "other").iterdir())


KILLED = """
import os, signal, sys
from pathlib import Path
from gateway.upkeep.imports import import_log
from gateway.settings import GavelSettings

class Dies:
    def __init__(self, file, reads):
        self.file, self.left = file, reads
    def read(self, size):
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.file.read(min(size, 1000))

log, key, into, where = sys.argv[1:]
if where == "rename":
    Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
with open(log, "rb") as file:
    import_log(GavelSettings(data=Path(into)), Dies(file, int(where) if where.isdigit() else 10**9), Path(key))
"""


@pytest.mark.parametrize("where", ["1", "last", "rename"])
def test_an_import_that_is_killed_leaves_no_journal_and_the_next_one_makes_it(
    lived: GavelSettings, tmp_path: Path, where: str
) -> None:
    key, into = DataFolder(lived.data).journal_key, tmp_path / "into"
    log = export(lived, tmp_path / "log")
    at = str(log.stat().st_size // 1000) if where == "last" else where
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(log), str(key), str(into), at],
        env={**os.environ, "PYTHONPATH": str(root)},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert not into.exists()
    assert make(GavelSettings(data=into), log, key).size == verify(into / "journal.db").positions


# ---- as commands


def test_what_is_chosen_is_exported_checked_and_not_imported(lived: GavelSettings, inside: Inside) -> None:
    code, output, _ = inside("log", "export", "bo", "--stream", agents.stream("default", "bo"), "--tenant", "default")
    assert (code, output) == (0, "")
    code, output, _ = inside("log", "export", "--check", "bo", "--key", verify(lived.data / "journal.db").key)
    assert code == 0
    assert "bo holds: " in output
    assert "Not excluded: records that the filters choose were left out" in output
    code, _, errors = inside("log", "import", "bo", "--into", "new", "--key-file", str(lived.data / "journal-key"))
    assert code == 2
    assert "a journal can't be made of it" in errors
    assert check(lived.data.parent / "bo").records > 0


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        (["--kind", "agent.AgentRegistered"], {"agent.AgentRegistered"}),
        (
            ["--kind", "agent.AgentRegistered", "--kind", "task.TaskSubmitted"],
            {"agent.AgentRegistered", "task.TaskSubmitted"},
        ),
        (["--from", "1", "--to", "1"], {"key.KeyIssued"}),
        (["--tenant", "nobody"], set()),
        (["--to-time", "2001-01-01T00:00:00Z"], set()),
        (["--from-time", "2001-01-01T00:00:00Z", "--kind", "key.KeyIssued"], {"key.KeyIssued"}),
        (["--from-time", "2999-01-01T00:00:00+01:00"], set()),
    ],
    ids=" ".join,
)
def test_records_are_chosen_by_position_time_tenant_stream_and_kind(
    lived: GavelSettings, inside: Inside, options: list[str], kinds: set[str]
) -> None:
    assert inside("log", "export", "chosen", *options)[0] == 0
    assert kinds_in(lived.data.parent / "chosen") == kinds
    assert inside("log", "export", "--check", "chosen", "--json")[0] == 0


def kinds_in(file: Path) -> set[str]:
    with file.open("rb") as said:
        return {value[3] for value in msgpack.Unpacker(said) if isinstance(value, list)}


def test_a_whole_log_is_exported_and_imported_by_commands(lived: GavelSettings, inside: Inside) -> None:
    key = str(lived.data / "journal-key")
    assert inside("log", "export", "log")[0] == 0
    assert inside("log", "export", "log")[0] == 2
    code, output, _ = inside("log", "import", "log", "--into", "new", "--key-file", key)
    assert code == 0
    assert str(verify("new/journal.db").root) in output
    said = Path("log").read_bytes()
    Path("cut").write_bytes(said[:-9])
    for command in (
        ["log", "export", "--check", "cut"],
        ["log", "import", "cut", "--into", "newer", "--key-file", key],
    ):
        code, output, _ = inside(*command)
        assert (code, "it was cut off" in output) == (1, True)
        assert inside(*command, "--json")[0] == 1
    assert not Path("newer").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["log", "export", "--check"],
        ["log", "export", "--check", "nowhere"],
        ["log", "export", "x", "--key", "k"],
        ["log", "export", "x", "--from", "0"],
        ["log", "export", "x", "--from", "9", "--to", "8"],
        ["log", "export", "x", "--from-time", "7"],
        ["log", "export", "x", "--to-time", "yesterday"],
        ["log", "export", "nowhere/x"],
        ["log", "import", "nowhere", "--key-file", "data/journal-key"],
        ["log", "import", "nowhere"],
    ],
    ids=" ".join,
)
def test_a_wrong_question_is_told_as_one(lived: GavelSettings, inside: Inside, arguments: list[str]) -> None:
    code, output, errors = inside(*arguments)
    assert (code, output) == (2, "")
    assert errors.strip()
    assert not Path("x").exists()


def test_an_altered_journal_is_told_and_leaves_no_file(inside: Inside, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "journal.db")
    assert inside("log", "export", "log")[0] == 0
    alter(tmp_path / "data" / "journal.db", "UPDATE stored_events SET state = x'00' WHERE rowid = 3")
    code, _, errors = inside("log", "export", "altered")
    assert (code, "was altered" in errors) == (2, True)
    assert sorted(os.listdir()) == ["data", "log"]
    assert cli.main(["log", "export", "--check", "log"]) == 0


async def test_a_log_that_changed_its_key_is_exported_checked_by_any_of_its_keys_and_goes_on_with_the_last(
    tmp_path: Path,
) -> None:
    settings, other = settings_of(tmp_path), settings_of(tmp_path / "other")
    async with open_client(settings) as admin:
        first = Signer.load(DataFolder(settings.data).journal_key)
        Signer.load(DataFolder(settings.data).journal_key).save(tmp_path / "first-key")
        assert (await admin.ask("POST", "/v1/audit/rotations", {})).status_code < 300
        await admin.submit()
    last = DataFolder(settings.data).journal_key
    log, some = export(settings, tmp_path / "log"), export(settings, tmp_path / "some", kinds=["task.TaskSubmitted"])
    for file in (log, some):
        for key in (first.public_key, Signer.load(last).public_key):
            with file.open("rb") as said:
                assert len(ExportReader(said, key=key).check().signed_by) == 2
        with file.open("rb") as said, pytest.raises(BadExport, match="another key"):
            ExportReader(said, key=Signer.make().public_key)
    with pytest.raises(Wrong, match="goes on only with its own signing key"):
        make(other, log, tmp_path / "first-key")
    make(other, log, last)
    async with open_client(other) as admin:
        assert (await admin.get("/v1/audit/verify"))["whole"]


@pytest.mark.parametrize("number", range(1, FORMAT + 1))
def test_a_journal_of_an_earlier_layout_is_exported_as_it_is_and_imported_as_one_of_todays(
    tmp_path: Path, number: int
) -> None:
    journal = layouts.restore(number, tmp_path / "data")
    before = journal.read_bytes()
    log = export(settings_of(tmp_path), tmp_path / "log")
    assert journal.read_bytes() == before
    checked = make(settings_of(tmp_path / "other"), log, tmp_path / "data" / "journal-key")
    assert checked.root == verify(journal).root == verify(tmp_path / "other" / "data" / "journal.db").root
