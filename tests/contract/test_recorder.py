"""The `eventsourcing` library's own cases for recorders, run on ours."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from eventsourcing.tests.persistence import ApplicationRecorderTestCase, NonInterleavingNotificationIDsBaseCase

from runtime.store.recorder import JournalDatastore, JournalRecorder


class _OnDisk:
    """A recorder on a fresh file for each case."""

    @pytest.fixture(autouse=True)
    def _folder(self) -> Iterator[None]:
        with tempfile.TemporaryDirectory() as folder:
            self.path = Path(folder) / "journal.db"
            self.made: list[JournalDatastore] = []
            yield
            for datastore in self.made:
                datastore.close()

    def new_originator_id(self) -> str:
        return str(uuid4())

    def create_recorder(self) -> JournalRecorder:
        datastore = JournalDatastore(str(self.path))
        self.made.append(datastore)
        recorder = JournalRecorder(datastore)
        recorder.create_table()
        return recorder


class TestRecorder(_OnDisk, ApplicationRecorderTestCase[JournalRecorder]):
    """What every application recorder must do."""


class TestOrder(_OnDisk, NonInterleavingNotificationIDsBaseCase):
    """Ids of racing writers do not interleave."""


del ApplicationRecorderTestCase, NonInterleavingNotificationIDsBaseCase
