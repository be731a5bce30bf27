"""Proofs from a live store, checkpoints against it, and the rotation of its key, on every database that can hold a journal."""

from contextlib import closing
from pathlib import Path

import pytest
from eventsourcing.persistence import PersistenceError

from aggregates.journal_key import KeyRotated
from runtime.evidence import Unreadable
from runtime.kept_checkpoints import Outside, check_outside
from runtime.proving import check_proof, link, prove
from runtime.rotation import KIND, STREAM, Rotation, rotation
from runtime.store.contract import Batch, Draft
from runtime.store.store import Store
from runtime.transparency import Signer, read_note
from tests.contract.places import CODEC, META, Place, batch

NEW, NEWER = Signer.make(), Signer.make()


def rotating(store: Store, old: Signer, new: Signer, *, version: int = 1, before: int = 2, after: int = 2) -> Batch:
    """A batch in which the rotation is neither the first record nor the last."""
    said = rotation(store.origin, old, new)
    data = CODEC.pack(_event(said))
    first = store.position + 1
    drafts = [
        *batch(first, before, stream=f"bank-{first}", version=1).drafts,
        Draft(first + before, STREAM, version, KIND, META, data),
        *batch(first + before + 1, after, stream=f"bank-{first}", version=before + 1).drafts,
    ]
    return Batch(drafts, [], [], 2.0)


def _event(said: Rotation) -> KeyRotated:
    return KeyRotated(
        old=said.old, new=said.new, signed_by_old=said.signed_by_old, signed_by_new=said.signed_by_new, reason="yearly"
    )


def test_every_record_and_every_two_sizes_are_proven_while_the_journal_is_open(place: Place, store: Store) -> None:
    store.append(batch(1, 7))
    store.append(batch(8, 6))
    note = store.checkpoint()
    assert note is not None
    for position in range(1, 14):
        proof, checkpoint = check_proof(prove(store, position, note).proof, place.signer.public_key)
        assert (proof.position, checkpoint.size) == (position, 13)
        assert (link(store, position, 13).new, link(store, 0, position).old) == (13, 0)


def test_a_journal_without_what_was_kept_outside_is_refused(place: Place, store: Store, tmp_path: Path) -> None:
    outside = Outside(tmp_path / "outside")
    check_outside(store, outside)
    store.append(batch(1, 3))
    outside.keep(str(store.checkpoint()))
    check_outside(store, outside)
    store.append(batch(4, 3))
    check_outside(store, outside)
    outside.keep(place.signer.sign(store.origin, 9, bytes(32)))
    with pytest.raises(Unreadable, match="covers 9 records, and the journal holds 6"):
        check_outside(store, outside)


def test_the_batch_that_brings_a_key_is_signed_by_it_and_by_it_all_later_ones(place: Place, store: Store) -> None:
    store.append(batch(1, 3))
    for version, (old, new) in enumerate([(place.signer, NEW), (NEW, NEWER)], 1):
        store.expect(new)
        store.append(rotating(store, old, new, version=version))
        assert store.signer.public_key == new.public_key
        check_proof(prove(store, store.position, str(store.checkpoint())).proof, new.public_key)
        store.append(batch(store.position + 1, 2, stream=f"bank-x{version}", version=1))
    report = store.judge(key=place.signer.public_key)
    assert (report.whole, len(report.signed_by)) == (True, 3), report.faults
    assert place.meddle("SELECT count(*) FROM kinds WHERE kind=?", KIND) == [(1,)]


def test_a_rotation_to_a_key_that_nobody_holds_is_never_written(place: Place, store: Store) -> None:
    store.append(batch(1, 3))
    for expected in (None, NEWER):
        if expected is not None:
            store.expect(expected)
        with pytest.raises(PersistenceError, match="not to the key that was made for it"):
            store.append(rotating(store, place.signer, NEW))
    with pytest.raises(PersistenceError):
        store.append(rotating(store, NEWER, NEWER))  # signed by a stranger
    assert (store.position, store.judge().whole) == (3, True)
    store.append(batch(4, 1))
    assert read_note(str(store.checkpoint()))[0].size == 4


def test_a_store_opens_with_the_key_that_its_records_name_and_with_no_other(place: Place) -> None:
    with closing(place.open()) as store:
        store.append(batch(1, 3))
        store.expect(NEW)
        store.append(rotating(store, place.signer, NEW))
    with pytest.raises(Unreadable, match="signed with another key"):
        place.open()
    with pytest.raises(Unreadable, match="signed with another key"):
        place.open(successor=NEWER)
    with closing(place.open(successor=NEW)) as store:
        assert store.signer.public_key == NEW.public_key
        store.append(batch(store.position + 1, 1, stream="bank-z", version=1))
    with closing(place.open(NEW)) as store:
        assert store.judge(key=place.signer.public_key).whole
        store.drop_copies()
