"""The `eventsourcing` library's own cases for recorders, run on ours."""

import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import pytest
from eventsourcing.tests.persistence import ApplicationRecorderTestCase, NonInterleavingNotificationIDsBaseCase

from benchmarks.postgres_server import Server
from runtime.store.postgres_recorder import PostgresJournalDatastore, PostgresJournalRecorder
from runtime.store.recorder import JournalDatastore, JournalRecorder


def _close(made: Sequence[JournalDatastore | PostgresJournalDatastore]) -> None:
    """The library's cases stop their reading threads without waiting; SQLite does not survive a close under a reader's feet."""
    for thread in threading.enumerate():
        if thread.name.endswith("(read_continuously)"):
            thread.join()
    for datastore in made:
        datastore.close()


class _OnDisk:
    """A recorder on a fresh file for each case."""

    @pytest.fixture(autouse=True)
    def _folder(self) -> Iterator[None]:
        with tempfile.TemporaryDirectory() as folder:
            self.path = Path(folder) / "journal.db"
            self.made: list[JournalDatastore] = []
            yield
            _close(self.made)

    def new_originator_id(self) -> str:
        return str(uuid4())

    def create_recorder(self) -> JournalRecorder:
        datastore = JournalDatastore(str(self.path))
        self.made.append(datastore)
        recorder = JournalRecorder(datastore)
        recorder.create_table()
        return recorder


class _OnServer:
    """A recorder on a fresh schema for each case."""

    @pytest.fixture(autouse=True)
    def _schema(self, server: Server, fresh_name: str) -> Iterator[None]:
        self.made = [PostgresJournalDatastore(server.address, fresh_name)]
        with self.made[0].transaction(commit=True) as cursor:
            cursor.execute(f"CREATE SCHEMA {fresh_name}")
        yield
        _close(self.made)

    def new_originator_id(self) -> str:
        return str(uuid4())

    def create_recorder(self) -> PostgresJournalRecorder:
        recorder = PostgresJournalRecorder(self.made[0])
        recorder.create_table()
        return recorder


class TestRecorder(_OnDisk, ApplicationRecorderTestCase[JournalRecorder]):
    """What every application recorder must do."""


class TestOrder(_OnDisk, NonInterleavingNotificationIDsBaseCase):
    """Ids of racing writers do not interleave."""


class TestPostgresRecorder(_OnServer, ApplicationRecorderTestCase[PostgresJournalRecorder]):
    """What every application recorder must do, with subscriptions over LISTEN and NOTIFY."""


class TestPostgresOrder(_OnServer, NonInterleavingNotificationIDsBaseCase):
    """Ids of racing writers do not interleave, nor come in another order than the commits."""


del ApplicationRecorderTestCase, NonInterleavingNotificationIDsBaseCase
