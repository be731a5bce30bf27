"""Checkpoints outside the journal: whole files, so many of them, and a journal that was set back or rewritten never opens over them."""

import shutil
from contextlib import closing
from itertools import pairwise

import pytest

from runtime.codec import Codec
from runtime.evidence import Unreadable
from runtime.kept_checkpoints import LATEST, Outside, check_outside, notes_in
from runtime.store.sqlite import SqliteStore
from runtime.transparency import Signer, read_note
from tests.runtime.sealed import ORIGIN, SIGNER, SIZE, alter, note_of, reseal, write

ROOT = bytes(32)


def note(size, root=ROOT, origin=ORIGIN, signer=SIGNER):
    return signer.sign(origin, size, root)


@pytest.fixture
def outside(tmp_path):
    return Outside(tmp_path / "outside", files_max=16)


def test_the_newest_is_found_and_stands_as_latest_too(outside):
    assert outside.newest() is None
    for size in (3, 12, 7):
        outside.keep(note(size))
    assert (outside.newest(), outside.sizes()) == (note(12), [3, 7, 12])
    assert (outside.folder / LATEST).read_text() == note(12)
    assert sorted(path.name[-4:] for path in outside.folder.iterdir()) == ["oint", "oint", "oint", "test"]


def test_one_that_was_cosigned_takes_the_place_of_the_one_that_was_not(outside):
    outside.keep(note(3))
    outside.keep(note(3) + "\u2014 witness AAAAAAAA\n")
    assert str(outside.newest()).endswith("\u2014 witness AAAAAAAA\n")
    assert outside.sizes() == [3]


def test_so_many_stay_and_the_gaps_grow_with_age(outside):
    for size in range(1, 1001):
        outside.keep(note(size))
    sizes = outside.sizes()
    assert len(sizes) == 16
    assert (sizes[0], sizes[-1]) == (1, 1000)
    gaps = [later - earlier for earlier, later in pairwise(sizes)]
    assert gaps[-1] < gaps[len(gaps) // 2] < max(gaps[:3])


def test_all_of_a_folder_are_given_to_compare(outside, tmp_path):
    for size in (3, 12):
        outside.keep(note(size))
    assert notes_in(outside.folder) == [note(3), note(12)]
    assert notes_in(outside.folder / LATEST) == [note(12)]
    (tmp_path / "empty").mkdir()
    for absent in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(Unreadable):
            notes_in(absent)


# ---- a start


@pytest.fixture
def journal(tmp_path):
    path = tmp_path / "journal.db"
    write(path)
    return path


def opened(path):
    return SqliteStore(path, _Any(), SIGNER)


class _Any(Codec):
    """Reads records of any kind: these are of none."""

    def __init__(self):
        super().__init__([])

    def unknown(self, kind):
        return ""


def test_a_journal_that_went_on_opens(journal, outside):
    for size in (8, SIZE):
        outside.keep(note_of(journal, size))
        with closing(opened(journal)) as store:
            check_outside(store, outside)


def test_a_journal_that_was_set_back_is_refused(journal, outside, tmp_path):
    write(tmp_path / "older.db", (3, 5))
    outside.keep(note_of(journal))
    with closing(opened(tmp_path / "older.db")) as store:
        with pytest.raises(Unreadable, match=f"covers {SIZE} records, and the journal holds 8.*move the files of"):
            check_outside(store, outside)


def test_a_journal_that_was_rewritten_and_signed_by_a_thief_of_the_key_is_refused(journal, outside):
    outside.keep(note_of(journal, 8))
    alter(journal, "UPDATE stored_events SET topic='task.BidLost' WHERE rowid=5")
    reseal(journal, signer=SIGNER)
    with closing(opened(journal)) as store:
        with pytest.raises(Unreadable, match="does not hold the checkpoint"):
            check_outside(store, outside)


def test_a_checkpoint_of_another_journal_or_key_is_refused(journal, outside):
    for odd in (
        note(SIZE, origin="gavel/main/other"),
        note(SIZE, signer=Signer.make()),
        note(SIZE),
        note_of(journal).replace(f"\n{SIZE}\n", "\n19\n"),
    ):
        shutil.rmtree(outside.folder, ignore_errors=True)
        outside.keep(odd)
        with closing(opened(journal)) as store, pytest.raises(Unreadable, match="does not hold the checkpoint"):
            check_outside(store, outside)


def test_a_damaged_file_is_never_taken_for_none(journal, outside):
    outside.keep(note_of(journal))
    outside.path(SIZE).write_text("")
    with closing(opened(journal)) as store, pytest.raises(Unreadable):
        check_outside(store, outside)


def test_a_kept_checkpoint_is_the_one_that_was_signed(journal, outside):
    outside.keep(note_of(journal))
    assert read_note(str(outside.newest()))[0].size == SIZE


def test_a_smaller_checkpoint_in_the_place_of_a_larger_one_is_no_way_back(journal, outside):
    outside.keep(note_of(journal))
    outside.path(SIZE).write_text(note_of(journal, 8))
    with closing(opened(journal)) as store, pytest.raises(Unreadable, match="in the place of another one"):
        check_outside(store, outside)
