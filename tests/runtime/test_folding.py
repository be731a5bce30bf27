"""A state is the same from whichever copy it is folded, and a copy that can't be believed is passed over."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from runtime.clock import SystemClock
from runtime.codec import Codec
from runtime.evidence import Unreadable
from runtime.folding import FIRST_PAGE, NEWEST, PAGE, Folder, shape_of
from runtime.records import evolved
from runtime.states import Held
from runtime.store.contract import SavedState
from runtime.store.sqlite import SqliteStore
from runtime.transparency import Signer
from tests.contract.places import batch
from tests.runtime import bank

BANK: Any = sys.modules["tests.runtime.bank"]
VERSIONS = 30


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """Two streams that take turns: `bank-a` at odd positions, `bank-b` at even ones."""
    store = opened(tmp_path)
    for version in range(1, VERSIONS + 1):
        store.append(batch(2 * version - 1, version=version))
        store.append(batch(2 * version, stream="bank-b", version=version))
    yield store
    store.close()


def opened(folder: Path, signer: Signer | None = None) -> SqliteStore:
    codec = Codec([BANK])
    return SqliteStore(folder / "journal.db", codec, signer or Signer.load_or_make(folder / "journal-key"))


def folder_of(store: SqliteStore) -> Folder:
    return Folder(store, SystemClock().now)


def twin(store: SqliteStore, stream: str, upto: int = NEWEST) -> Held:
    """Folded from the beginning, record by record."""
    held = Held(bank.initial, 0, "", 0, BANK)
    for record in store.read_stream(stream):
        if record.position <= upto:
            state = evolved(bank.evolve, held.state, record.event)
            held = Held(state, record.version, record.meta.tenant, record.position, BANK)
    return held


def copy(store: SqliteStore, *versions: int) -> None:
    for version in versions:
        packed = folder_of(store).pack("bank-a", twin(store, "bank-a", 2 * version - 1))
        assert packed is not None
        store.save_states([packed[0]], [])


def test_a_state_as_of_any_position_is_the_same_from_the_nearest_copy_as_from_the_beginning(store: SqliteStore) -> None:
    copy(store, 10, 20)
    for upto in range(2 * VERSIONS + 2):
        held, copied = folder_of(store).fold("bank-a", upto)
        assert held == twin(store, "bank-a", upto)
        assert copied == (20 if upto >= 39 else 10 if upto >= 19 else 0)
    assert folder_of(store).fold("bank-b").held == twin(store, "bank-b")
    assert folder_of(store).fold("bank-c") == (Held(bank.initial, 0, "", 0, BANK), 0)


def test_a_stream_of_many_pages_is_folded_whole(tmp_path: Path) -> None:
    store = opened(tmp_path)
    for first in range(1, 2 * PAGE + 1, PAGE):
        store.append(batch(first, PAGE))
    held = folder_of(store).fold("bank-a").held
    assert (held.state.cents, held.version, held.position, held.tenant) == (2 * PAGE, 2 * PAGE, 2 * PAGE, "t1")
    for upto in (FIRST_PAGE, FIRST_PAGE + 1, PAGE + FIRST_PAGE, PAGE + FIRST_PAGE + 1):
        held = folder_of(store).fold("bank-a", upto).held
        assert (held.state.cents, held.version, held.position) == (upto, upto, upto)
    store.close()


def test_dropping_all_copies_changes_nothing(store: SqliteStore) -> None:
    copy(store, 10, 20)
    store.save_states([], [("bank-a", 10), ("bank-a", 20)])
    assert folder_of(store).fold("bank-a") == (twin(store, "bank-a"), 0)


def test_a_copy_that_was_altered_is_not_used(store: SqliteStore) -> None:
    copy(store, 10, 20)
    with store._recorder.datastore.transaction(commit=True) as cursor:
        cursor.execute("UPDATE states SET state=? WHERE version=20", (msgspec.msgpack.encode({"cents": 10**9}),))
    assert folder_of(store).fold("bank-a") == (twin(store, "bank-a"), 10)


def test_a_copy_that_another_key_has_sealed_is_not_used(store: SqliteStore) -> None:
    copy(store, 10)
    own, store.signer = store.signer, Signer.make()
    copy(store, 20)
    store.signer = own
    assert folder_of(store).fold("bank-a") == (twin(store, "bank-a"), 10)


def test_a_copy_of_a_record_that_stands_elsewhere_is_not_used(store: SqliteStore) -> None:
    held = twin(store, "bank-a", 39)
    packed = folder_of(store).pack("bank-a", msgspec.structs.replace(held, position=41))
    assert packed is not None
    store.save_states([packed[0]], [])
    assert folder_of(store).fold("bank-a") == (twin(store, "bank-a"), 0)


def test_a_copy_that_another_program_has_folded_is_not_used(store: SqliteStore) -> None:
    shape = shape_of(BANK)
    store.save_states([SavedState("bank-a", 20, 39, "older", "t1", b"\x80")], [])
    assert folder_of(store).fold("bank-a").copied == 0
    copy(store, 20)
    assert folder_of(store).fold("bank-a").copied == 20
    program: dict[str, Any] = {name: getattr(bank, name) for name in ("initial", "EVENTS", "COMMANDS", "RULES")}
    for change in ({"RULES": 2}, {"FOLD": 2}, {"initial": bank.Ledger()}, {"__file__": __file__}):
        same = {"__name__": bank.__name__, "__file__": bank.__file__, **program}
        assert shape_of(SimpleNamespace(**same)) == shape
        assert shape_of(SimpleNamespace(**{**same, **change})) != shape


def test_a_state_that_would_not_come_back_as_it_was_is_not_copied(store: SqliteStore) -> None:
    strange = bank.Account(cents=float("nan"))  # type: ignore[arg-type]
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode(strange), type=bank.Account)
    assert folder_of(store).pack("bank-a", Held(strange, 1, "t1", 1, BANK)) is None


def test_a_record_that_cannot_be_read_is_named(store: SqliteStore) -> None:
    with store._recorder.datastore.transaction(commit=True) as cursor:
        cursor.execute("UPDATE stored_events SET state=x'80' WHERE rowid=5")
    with pytest.raises(Unreadable, match=r"record 5 \(bank.Deposited\) of .*journal.db can't be read"):
        folder_of(store).fold("bank-a")


def test_far_into_a_long_stream_records_of_earlier_shapes_are_folded_and_bad_ones_named(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.append(batch(1, 3 * FIRST_PAGE))
    store.close()
    old = 2 * FIRST_PAGE
    program: Any = SimpleNamespace(**{**vars(bank), "__name__": BANK.__name__, "RETIRED": ("Gone",)})
    store = SqliteStore(store.path, Codec([program]), store.signer)
    with store._recorder.datastore.transaction(commit=True) as cursor:
        cursor.execute("UPDATE stored_events SET topic='bank.Gone' WHERE rowid=?", (old,))
    held = folder_of(store).fold("bank-a").held
    assert (held.state.cents, held.version, held.position) == (3 * FIRST_PAGE - 1,) + (3 * FIRST_PAGE,) * 2
    assert folder_of(store).fold("bank-a", old + 1).held.state.cents == old
    with store._recorder.datastore.transaction(commit=True) as cursor:
        cursor.execute("UPDATE stored_events SET state=x'80' WHERE rowid=?", (old + 7,))
    with pytest.raises(Unreadable, match=rf"record {old + 7} \(bank.Deposited\)"):
        folder_of(store).fold("bank-a")
    store.close()


def test_the_position_of_a_time_is_the_newest_that_was_written_by_then(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert store.position_at(9.0) == 0
    for first in range(1, 20, 2):
        one = batch(first, 2)
        one.recorded_at = float(first // 4)
        store.append(one)
    for at in (-1.0, 0.0, 0.5, 1.0, 3.9, 4.0, 9.0):
        written = [record.position for record in store.read(0, 100) if record.meta.recorded_at <= at]
        assert store.position_at(at) == max(written, default=0)
    store.close()
