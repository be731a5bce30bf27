"""Closed streams are archived alike on every database: what stays, what is read through, what is refused, and what a kill leaves."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from aggregates import archive
from gateway.upkeep.archiving import archive_all
from runtime.archives import ArchiveMissing
from runtime.clock import SystemClock
from runtime.codec import Codec
from runtime.delivery import Context
from runtime.errors import Refused
from runtime.folding import Folder
from runtime.ids import Ids
from runtime.store.contract import Batch, Draft
from runtime.store.copying import copy_to_sqlite
from runtime.store.postgres import PostgresStore
from runtime.store.sqlite import SqliteStore
from runtime.store.store import Store
from runtime.system import Role, open_system
from runtime.transparency import Signer
from runtime.verification import verify
from tests import forks
from tests.contract.places import META
from tests.runtime import bank
from tests.runtime.bank import Account, Ask, Balance, Deposit, Teller

ANN = Context(tenant="t1", principal="ann")
EMPTIED, FULL = ("a", "b", "c"), "d"
SECRET = "an account that nobody else has"


AGGREGATES: Any = (bank, archive)


class Place:
    """A journal in a file or a schema, with its archives in a folder."""

    def __init__(self, folder: Path, address: str = "", name: str = "") -> None:
        self.folder = folder
        self.address = address
        self.name = name
        self.codec = Codec(AGGREGATES)
        signer = Signer.make()
        signer.save(folder / "key")

    def open(self) -> Store:
        signer = Signer.load(self.folder / "key")
        if self.address:
            folder = self.folder / "archives"
            return PostgresStore(self.address, self.codec, signer, name=self.name, archives=folder)
        return SqliteStore(self.folder / "journal.db", self.codec, signer)


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(bank, "is_closed", is_closed, raising=False)
    if request.param == "sqlite":
        return Place(tmp_path)
    return Place(tmp_path, request.getfixturevalue("server").address, request.getfixturevalue("fresh_name"))


def is_closed(account: Account) -> bool:
    return account.open and not account.cents


def fill(store: Store) -> None:
    """Four accounts in turns; three of them are empty in the end."""
    drafts: list[Draft] = []
    for version, kind in enumerate((bank.Deposited, bank.Deposited, bank.Withdrawn), 1):
        for name in (*EMPTIED, FULL):
            cents = 5 if kind is bank.Deposited else 10 if name in EMPTIED else 1
            event = kind(account=f"{name}{SECRET if name == 'a' else ''}", cents=cents)
            kind_on_disk, position = store.codec.kind(event), len(drafts) + 1
            drafts.append(Draft(position, bank.stream(name), version, kind_on_disk, META, store.codec.pack(event)))
    store.append(Batch(drafts, [], [], 2.0))


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    opened = place.open()
    fill(opened)
    yield opened
    opened.close()


def records(store: Store) -> list[Any]:
    return [*store.read(0, 100)]


def test_all_is_read_through_the_archive_and_every_root_stays(place: Place, store: Store) -> None:
    before, root = records(store), store.judge().root
    states = [Folder(store, lambda: 0.0).fold(bank.stream(name), upto) for name in EMPTIED for upto in (5, 9, 12)]
    (made,) = archive_all(store, 3.0)
    assert (made.streams, made.records, made.first, made.last, made.position) == (3, 9, 1, 11, 13)
    for _ in range(2):
        assert records(store)[:12] == before
        assert store.read_stream(bank.stream("a")) == [one for one in before if one.stream == bank.stream("a")]
        folder = Folder(store, lambda: 0.0)
        folded = [folder.fold(bank.stream(name), upto) for name in EMPTIED for upto in (5, 9, 12)]
        assert [one.held.state for one in folded] == [one.held.state for one in states]
        assert all(one.held.is_archived for one in folded)
        assert not folder.fold(bank.stream(FULL)).held.is_archived
        assert store.position_at(2.5) == 12
        report = store.judge()
        assert report.whole
        assert report.positions == 13
        store.close()
        store = place.open()
    assert archive_all(store, 3.0) == []
    copy = place.folder / "copy.db"
    store.backup(copy)
    assert SECRET.encode() not in copy.read_bytes()
    assert verify(copy).whole
    assert root != verify(copy).root
    store.close()


def test_the_last_state_is_known_without_the_archive_and_all_else_names_it(place: Place, store: Store) -> None:
    (made,) = archive_all(store, 3.0)
    (place.folder / "archives").rename(place.folder / "elsewhere")
    folder = Folder(store, lambda: 0.0)
    held = folder.fold(bank.stream("a")).held
    assert (held.state, held.version, held.is_archived) == (Account(open=True, cents=0), 3, True)
    for ask in (lambda: records(store), lambda: folder.fold(bank.stream("a"), 5), lambda: store.bodies(0, 20)):
        with pytest.raises(ArchiveMissing, match=made.name):
            ask()
    assert [record.position for record in store.read_stream(bank.stream(FULL))] == [4, 8, 12]
    report = store.judge()
    assert report.whole
    assert any(made.name in doubt for doubt in report.not_excluded)
    (place.folder / "elsewhere").rename(place.folder / "archives")
    assert len(records(store)) == 13


async def test_nothing_is_added_to_an_archived_stream_and_memories_are_folded_through_the_archive(
    place: Place, store: Store
) -> None:
    await trio.to_thread.run_sync(archive_all, store, 3.0)
    clock = SystemClock()
    async with open_system(store, [Role(Teller)], clock=clock, ids=Ids(clock)) as system:
        assert await system.ask(Ask(account=FULL), ANN) == Balance(9)
        with pytest.raises(Refused, match="archived: the records of bank-b are in an archive"):
            await system.ask(Deposit(account="b", cents=1), ANN)
        assert await system.ask(Deposit(account=FULL, cents=1), ANN) == Balance(10)
        assert system.journal.position == 14


def test_more_can_be_archived_later_and_each_archive_tells_its_own(place: Place, store: Store) -> None:
    first = archive_all(store, 3.0, records_max=3)
    assert [one.records for one in first] == [3, 3, 3]
    draft = Draft(
        store.position + 1,
        bank.stream(FULL),
        4,
        "bank.Withdrawn",
        META,
        store.codec.pack(bank.Withdrawn(account=FULL, cents=9)),
    )
    store.append(Batch([draft], [], [], 4e9))
    assert archive_all(store, 3.0) == []
    (more,) = archive_all(store, 5e9)
    assert (more.streams, more.records) == (1, 4)
    assert store.judge().whole
    assert [record.position for record in records(store)] == list(range(1, 18))
    assert len({one.name for one in (*first, more)}) == 4


KILLED = """
import os, signal, sys
from pathlib import Path
from aggregates import archive
from gateway.upkeep import archiving
from runtime import archiving as below
from tests.contract import test_archives as here
from tests.runtime import bank

bank.is_closed = here.is_closed
folder, address, name, where = sys.argv[1:]
place = object.__new__(here.Place)
place.folder, place.address, place.name, place.codec = Path(folder), address, name, here.Codec(here.AGGREGATES)
store = place.open()
die = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
match where:
    case "while it is written":
        below._write_nodes = die
    case "before it is verified":
        below.verify_archive = die
    case "before it has its name":
        os.replace = die
    case "before the commit":
        archiving.move = die
    case "within the commit" if address:
        store._recorder.insert_events = die
    case "within the commit":
        store._recorder.insert_within = die
    case "after the commit":
        store.shrink = die
archiving.archive_all(store, 3.0)
"""


WHERE = (
    "while it is written",
    "before it is verified",
    "before it has its name",
    "before the commit",
    "within the commit",
    "after the commit",
)


@pytest.mark.parametrize(
    ("place", "where"),
    [*(("sqlite", where) for where in WHERE), ("postgres", "within the commit")],
    indirect=["place"],
)
def test_killed_anywhere_everything_is_in_the_journal_or_in_the_archive(place: Place, where: str) -> None:
    store = place.open()
    fill(store)
    before = records(store)
    store.close()
    given = (str(place.folder), place.address, place.name, where)
    done = forks.run(KILLED, *given, folder=place.folder, environment=os.environ)
    assert done.returncode == -signal.SIGKILL
    store = place.open()
    report = store.judge()
    assert report.whole
    is_done = where == "after the commit"
    assert report.positions == (13 if is_done else 12)
    assert records(store)[:12] == before
    assert len(archive_all(store, 3.0)) == (0 if is_done else 1)
    assert records(store)[:12] == before
    assert store.judge().whole
    assert len([*(place.folder / "archives").iterdir()]) == 1
    store.close()


def test_a_copy_of_a_postgres_journal_has_its_stubs_and_last_states(place: Place, store: Store) -> None:
    archive_all(store, 3.0)
    if isinstance(store, PostgresStore):
        copy_to_sqlite(store._datastore, place.folder / "copy.db")
    else:
        store.backup(place.folder / "copy.db")
    (place.folder / "there").mkdir()
    (place.folder / "copy.db").rename(place.folder / "there" / "journal.db")
    (place.folder / "archives").rename(place.folder / "there" / "archives")
    again = SqliteStore(place.folder / "there" / "journal.db", place.codec, store.signer)
    assert Folder(again, lambda: 0.0).fold(bank.stream("a")).held.is_archived
    assert len(records(again)) == 13
    again.close()
