"""Personal fields on their way through the journal: written sealed, read whole with the key, blank without it, and never elsewhere."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from eventsourcing.persistence import PersistenceError

from runtime.clock import SystemClock
from runtime.codec import Codec, Shut
from runtime.delivery import Context
from runtime.errors import Refused
from runtime.folding import Folder
from runtime.ids import Ids
from runtime.journal import Journal
from runtime.keyring import DISPOSABLE, Keyring
from runtime.records import PERSONAL, Command, Event, Personal, State, Upcast, marked
from runtime.sealing import Altered, Form
from runtime.store.contract import Batch, Memory
from runtime.store.sqlite import SqliteStore
from runtime.transparency import Signer
from tests.runtime.keyrings import keyring_in

ANN = "ann"
SECRET = "Ann lives in Lime Street"


class Notes(State, frozen=True, kw_only=True):
    newest: str = ""
    count: int = 0


class Note(Command[None], frozen=True, kw_only=True):
    text: Personal[str]
    loud: bool = False
    data_subject: str = ""


class Noted(Event, frozen=True, kw_only=True):
    text: Personal[str]
    of: Personal[dict[str, Any]] = msgspec.field(default_factory=dict)
    data_subject: str = ""


class Counted(Event, frozen=True, kw_only=True):
    count: int


def decide(notes: Notes, command: Note) -> Sequence[Event]:
    noted = Noted(text=command.text, of={"said": command.text}, data_subject=command.data_subject)
    return [Counted(count=notes.count + 1), noted]


def evolve(notes: Notes, event: Event) -> Notes:
    match event:
        case Noted():
            return msgspec.structs.replace(notes, newest=event.text)
        case Counted():
            return msgspec.structs.replace(notes, count=event.count)
    raise AssertionError(event)


BOOK: Any = SimpleNamespace(
    __name__="book", initial=Notes(), EVENTS=(Noted, Counted), COMMANDS=(Note,), RULES=1, decide=decide, evolve=evolve
)


@pytest.fixture
def keyring(tmp_path: Path) -> Iterator[Keyring]:
    with closing(keyring_in(tmp_path / "keys")) as keyring:
        yield keyring


def opened(tmp_path: Path, keyring: Keyring | None, aggregate: Any = BOOK) -> SqliteStore:
    return SqliteStore(tmp_path / "journal.db", Codec([aggregate], keyring), Signer.load_or_make(tmp_path / "key"))


def write(store: SqliteStore, *commands: Note, stream: str = "book-1") -> None:
    """What the journal does with commands, without its loop."""
    journal = Journal(store, store.codec, SystemClock(), Ids(SystemClock()))
    context = Context(tenant="acme", principal="test")
    for command in commands:
        journal._states.measure(stream, journal.folder.fold(stream).held)
        proposal = journal.decide([(stream, command)], context, 1.0)
        store.append(Batch(list(proposal.drafts), [], [], 2.0))
        journal.proposed = store.position


def files(tmp_path: Path) -> bytes:
    return b"".join(path.read_bytes() for path in tmp_path.glob("journal.db*"))


def test_event_and_command_are_sealed_on_disk_and_whole_for_whoever_has_the_key(
    tmp_path: Path, keyring: Keyring
) -> None:
    with closing(opened(tmp_path, keyring)) as store:
        write(store, Note(text=SECRET, loud=True, data_subject=ANN))
        assert SECRET.encode() not in files(tmp_path)
        counted, noted = store.read(0, 9)
        assert (noted.event, noted.withheld) == (Noted(text=SECRET, of={"said": SECRET}, data_subject=ANN), False)
        assert counted.meta.command is not None
        command = store.codec.command(counted.meta.command)
        assert command == Note(text=SECRET, loud=True, data_subject=ANN, at=1.0, tenant="acme")
        assert store.judge().whole


def test_what_is_told_from_memory_is_what_a_reader_of_the_file_finds(tmp_path: Path, keyring: Keyring) -> None:
    with closing(opened(tmp_path, keyring)) as store:
        journal = Journal(store, store.codec, SystemClock(), Ids(SystemClock()))
        journal._states.measure("book-1", journal.folder.fold("book-1").held)
        command = Note(text=SECRET, data_subject=ANN)
        proposal = journal.decide([("book-1", command)], Context(tenant="acme", principal="test"), 1.0)
        store.append(Batch(list(proposal.drafts), [], [], 2.0))
        read = store.read(0, 9)
        assert [(one.event, one.meta.recorded_at) for one in proposal.recorded] == [(one.event, 2.0) for one in read]
        told, found = proposal.recorded[0].meta.command, read[0].meta.command
        assert told is not None
        assert found is not None
        assert store.codec.command(told) == store.codec.command(found)


def test_without_the_key_fields_are_blank_and_the_rest_is_told(tmp_path: Path, keyring: Keyring) -> None:
    with closing(opened(tmp_path, keyring)) as store:
        write(store, Note(text=SECRET, data_subject=ANN), Note(text="of Bob", data_subject="bob"))
        keyring.destroy(keyring.retire(("acme", ANN)))
        records = store.read(0, 9)
        assert [one.withheld for one in records] == [True, True, False, False]
        assert records[1].event == Noted(text="", of={}, data_subject=ANN)
        assert records[3].event == Noted(text="of Bob", of={"said": "of Bob"}, data_subject="bob")
        assert records[0].meta.command is not None
        with pytest.raises(msgspec.ValidationError, match=r"\$\.text"):
            store.codec.command(records[0].meta.command)
        assert store.judge().whole
    with closing(opened(tmp_path, None)) as store:
        assert [one.withheld for one in store.read(0, 9)] == [True] * 4


def test_states_are_folded_of_what_can_be_read_also_of_long_streams(tmp_path: Path, keyring: Keyring) -> None:
    with closing(opened(tmp_path, keyring)) as store:
        write(store, *(Note(text=f"{SECRET} {number}", data_subject=ANN) for number in range(80)))
        assert Folder(store, SystemClock().now).fold("book-1").held.state == Notes(newest=f"{SECRET} 79", count=80)
        keyring.destroy(keyring.retire(("acme", ANN)))
        assert Folder(store, SystemClock().now).fold("book-1").held.state == Notes(newest="", count=80)


def test_a_sealed_part_is_good_for_its_own_record_alone(tmp_path: Path, keyring: Keyring) -> None:
    with closing(opened(tmp_path, keyring)) as store:
        write(store, Note(text=SECRET, data_subject=ANN), Note(text="harmless", data_subject=ANN))
        rows = store.query("SELECT topic, state FROM stored_events ORDER BY rowid")
        one, other = (msgspec.msgpack.decode(rows[index][1]) for index in (1, 3))
        forged = msgspec.msgpack.encode(one | {"sealed": other["sealed"]})
        with pytest.raises(Altered):
            store.codec.read(rows[1][0], forged)


def test_a_record_of_an_earlier_shape_is_opened_and_read_as_todays(tmp_path: Path, keyring: Keyring) -> None:
    with closing(opened(tmp_path, keyring)) as store:
        write(store, Note(text=SECRET, data_subject=ANN))

    def lengthened(said: dict[str, Any]) -> dict[str, Any]:
        return said | {"text": f"{said['text']}!"}

    newer: Any = SimpleNamespace(**vars(BOOK), UPCASTS=(Upcast("Noted", 1, lengthened),))
    with closing(opened(tmp_path, keyring, newer)) as store:
        assert store.read(1, 1)[0].event == Noted(text=f"{SECRET}!", of={"said": SECRET}, data_subject=ANN)
        keyring.destroy(keyring.retire(("acme", ANN)))
        assert store.read(1, 1)[0].event == Noted(text="!", of={}, data_subject=ANN)


def test_a_journal_without_keys_records_nothing_personal(tmp_path: Path) -> None:
    with closing(opened(tmp_path, None)) as store:
        write(store, Note(text="of nobody"))
        with pytest.raises(Refused, match="no keys for the data of persons"):
            write(store, Note(text=SECRET, data_subject=ANN))
        assert store.position == 2


def test_a_file_of_keys_that_fails_fails_the_batch_and_leaves_nothing(tmp_path: Path, keyring: Keyring) -> None:
    with closing(opened(tmp_path, keyring)) as store:
        keyring._file.execute("PRAGMA query_only=ON")
        with pytest.raises(PersistenceError, match="can't be written"):
            write(store, Note(text=SECRET, data_subject=ANN))
        assert store.position == 0
        keyring._file.execute("PRAGMA query_only=OFF")
        write(store, Note(text=SECRET, data_subject=ANN))
        assert store.position == 2


def test_bodies_that_are_sealed_whole_are_read_with_their_key_beside_those_that_are_not(
    tmp_path: Path, keyring: Keyring
) -> None:
    with closing(opened(tmp_path, keyring)) as store:
        write(store, Note(text="in the clear"))
        store.encrypts = True
        write(store, Note(text="encrypted"), Note(text=SECRET, data_subject=ANN))
        assert b"in the clear" in files(tmp_path)
        assert b"encrypted" not in files(tmp_path)
        texts = [one.event.text for one in store.read(0, 9) if isinstance(one.event, Noted)]
        assert texts == ["in the clear", "encrypted", SECRET]
        assert Folder(store, SystemClock().now).fold("book-1").held.state == Notes(newest=SECRET, count=3)
        assert [secret != b"" for _, _, secret in store.bodies(0, 9)] == [False] * 4 + [True] * 2
        assert store.position_at(3.0) == 6
        assert store.judge().whole
    with closing(opened(tmp_path, None)) as store:
        assert store.read(0, 2)[1].event == Noted(text="in the clear", of={"said": "in the clear"})
        with pytest.raises(Shut):
            store.codec.meta(store.query("SELECT state FROM stored_events WHERE rowid=3")[0][0])
        assert store.judge().whole


def test_saved_memories_are_gone_with_their_key_and_stand_nowhere_in_the_clear(
    tmp_path: Path, keyring: Keyring
) -> None:
    memory = Memory("clerk", "acme", "shape", 1, SECRET.encode())
    with closing(opened(tmp_path, keyring)) as store:
        store.save([memory], ())
        assert store.memories() == [memory]
        assert SECRET.encode() not in files(tmp_path)
        keyring.dispose(DISPOSABLE)
        assert store.memories() == []
        store.save([memory], ())
        assert store.memories() == [memory]


def test_a_personal_field_needs_a_subject_and_a_blank_value() -> None:
    class Lonely(Event, frozen=True, kw_only=True):
        text: Personal[str]

    class Exact(Event, frozen=True, kw_only=True):
        text: Personal[msgspec.UnsetType]
        data_subject: str = ""

    with pytest.raises(TypeError, match="Lonely has personal fields and no field data_subject"):
        Form(Lonely)
    with pytest.raises(TypeError, match=r"Exact\.text is personal, and has no blank value"):
        Form(Exact)
    assert marked(Noted, PERSONAL) == ("text", "of")
