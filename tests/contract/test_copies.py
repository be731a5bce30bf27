"""Copies of a journal that keep their root: from one database into another, and by PostgreSQL's own tools."""

import os
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import trio

from benchmarks.postgres_server import Server
from gateway.settings import GavelSettings
from gateway.storage.folder import DataFolder
from gateway.storage.journals import copy_from_postgres
from gateway.upkeep.exports import Filters, write_export
from gateway.upkeep.imports import import_log
from gateway.verdicts import Wrong
from runtime.transparency import Signer
from runtime.verification import verify
from tests import forks
from tests.contract.places import make_database
from tests.gateway.clients import TASK, Client, open_client, settings_of


@pytest.fixture
def address(server: Server, fresh_name: str) -> str:
    return make_database(server.address, fresh_name)


@pytest.fixture
def other_address(server: Server, fresh_name: str) -> str:
    return make_database(server.address, f"{fresh_name}_other")


def check_copy(original: str, copy: str, folder: Path) -> None:
    """The copy is whole, and the original, which went on, has grown from what the copy is."""
    for name, address in (("copy.db", copy), ("original.db", original)):
        copy_from_postgres(address, folder / name)
    copied = verify(folder / "copy.db")
    with closing(sqlite3.connect(folder / "copy.db")) as file:
        (note,) = file.execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
    grown = verify(folder / "original.db", against=note)
    assert (copied.whole, grown.whole, grown.against) == (True, True, copied.positions)
    assert grown.positions > copied.positions


def moved(settings: GavelSettings, folder: Path, address: str) -> GavelSettings:
    """A data folder elsewhere with the journal's key, and nothing else."""
    target = settings_of(folder, journal=address)
    DataFolder(target.data).make()
    Signer.load(DataFolder(settings.data).journal_key).save(DataFolder(target.data).journal_key)
    return target


def export(settings: GavelSettings, file: Path) -> Path:
    with file.open("wb") as out:
        write_export(settings, Filters(), out)
    return file


def make(settings: GavelSettings, file: Path, key_file: Path) -> Any:
    with file.open("rb") as said:
        return import_log(settings, said, key_file)


class Once:
    """A client that asks for the same thing under the same key, whichever node it meets."""

    def __init__(self) -> None:
        self.key = ""
        self.idempotency_key = str(uuid4())
        self.answer: Any = None

    async def ask(self, admin: Client) -> None:
        """Has it done, or is given the answer of then, and nothing is recorded."""
        self.key = self.key or admin.key
        before = admin.node.store.position
        path, headers = "/v1/tasks", {"Idempotency_Key": self.idempotency_key}
        answer = await Client(admin.node, admin.http, self.key).ask("POST", path, TASK, **headers)
        assert answer.status_code == 202, answer.text
        if self.answer is None:
            self.answer = answer.json()
        else:
            assert answer.json() == self.answer
            assert admin.node.store.position == before


@asynccontextmanager
async def going_on(settings: GavelSettings, once: Once) -> AsyncIterator[Client]:
    """A node that gives the old answer, does new work, and is whole."""
    async with open_client(settings) as admin:
        await once.ask(admin)
        yield admin
        await admin.submit()
        assert (await admin.get("/v1/audit/verify"))["whole"]


async def test_a_log_is_exported_and_imported_from_one_database_into_the_other_and_back(
    tmp_path: Path, address: str, other_address: str
) -> None:
    once, run = Once(), trio.to_thread.run_sync
    in_file, in_postgres = settings_of(tmp_path / "a"), settings_of(tmp_path / "b", journal=address)
    again, back = settings_of(tmp_path / "c", journal=other_address), settings_of(tmp_path / "d")
    async with going_on(in_file, once):
        pass
    key = DataFolder(in_file.data).journal_key
    for step, (source, target) in enumerate([(in_file, in_postgres), (in_postgres, again), (again, back)]):
        file = await run(export, source, tmp_path / f"log-{step}")
        made = await run(make, target, file, key)
        copied = await run(export, target, tmp_path / f"copy-{step}")
        assert copied.read_bytes() == file.read_bytes()
        async with going_on(target, once) as admin:
            assert admin.node.store.position > made.size
    with pytest.raises(Wrong, match=r"there is a journal main on .* already"):
        await run(make, settings_of(tmp_path / "e", journal=address), tmp_path / "log-1", key)
    of_another = settings_of(tmp_path / "f", journal=address)
    DataFolder(of_another.data).make()
    Signer.make().save(DataFolder(of_another.data).journal_key)
    with pytest.raises(Wrong, match="is the key of another journal"):
        await run(make, of_another, tmp_path / "log-1", key)


KILLED = """
import os, signal, sys
from pathlib import Path
from gateway.upkeep.imports import import_log
from gateway.settings import GavelSettings
from runtime.store import copying

fill = copying._fill_table
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
copying._fill_table = lambda file, connection, table: (die if table == "reactions" else fill)(file, connection, table)
log, key, data, address = sys.argv[1:]
with open(log, "rb") as file:
    import_log(GavelSettings(data=Path(data), journal=address), file, Path(key))
"""


async def test_an_import_that_is_killed_leaves_an_empty_database_and_the_next_one_fills_it(
    tmp_path: Path, address: str
) -> None:
    once, run, source = Once(), trio.to_thread.run_sync, settings_of(tmp_path)
    async with going_on(source, once):
        pass
    file = await run(export, source, tmp_path / "log")
    key, target = DataFolder(source.data).journal_key, settings_of(tmp_path / "b", journal=address)
    given = (str(file), str(key), str(target.data), address)
    done = await run(partial(forks.run, KILLED, *given, folder=tmp_path, environment=os.environ))
    assert done.returncode == -signal.SIGKILL
    with psycopg.connect(address) as connection:
        for table in ("stored_events", "nodes", "facts", "commands"):
            assert connection.execute(f"SELECT count(*) FROM journal_main.{table}").fetchone() == (0,)
    await run(make, target, file, key)
    async with going_on(target, once):
        pass


async def test_a_dump_that_is_restored_is_the_same_journal_and_its_node_goes_on(
    tmp_path: Path, server: Server, address: str, other_address: str
) -> None:
    once, run = Once(), trio.to_thread.run_sync
    settings = settings_of(tmp_path, journal=address)
    async with going_on(settings, once):
        await run(server.tool, "pg_dump", "--format=custom", f"--file={server.folder / 'dump'}", address)
    await run(server.tool, "pg_restore", "--exit-on-error", f"--dbname={other_address}", server.folder / "dump")
    await run(check_copy, address, other_address, tmp_path)
    async with going_on(moved(settings, tmp_path / "other", other_address), once):
        pass


async def test_a_base_backup_is_the_same_journal_and_its_node_goes_on(
    tmp_path: Path, server: Server, address: str, fresh_name: str
) -> None:
    once, run = Once(), trio.to_thread.run_sync
    settings = settings_of(tmp_path, journal=address)
    async with going_on(settings, once):
        other = await run(server.base_backup)
    try:
        await run(other.start)
        copied = other.address.replace("/postgres?", f"/{fresh_name}?")
        await run(check_copy, address, copied, tmp_path)
        async with going_on(moved(settings, tmp_path / "other", copied), once):
            pass
        await run(other.stop)
    finally:
        await run(other.close)
