"""Sealed files: what comes out is what went in, wherever it is read, and nothing that was altered comes out."""

import io
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from runtime.keyring import Key
from runtime.sealed_files import (
    FRAME_BYTES,
    HEAD_BYTES,
    STORED_BYTES,
    TAG_BYTES,
    Damaged,
    Sealer,
    content_bytes,
    open_sealed,
)

KEY = Key(b"k" * 16, AESGCM(b"s" * 32))
OTHER = Key(b"o" * 16, AESGCM(b"s" * 32))
TWIN = Random(7).randbytes(3 * FRAME_BYTES + 77)
BORDERS = [0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 2 * FRAME_BYTES, len(TWIN)]
OFFSETS = st.sampled_from(BORDERS) | st.integers(0, len(TWIN) + 10)


def seal(path: Path, content: bytes, cuts: tuple[int, ...] = (), seed: int = 1) -> Path:
    sealer = Sealer(path, KEY, Random(seed).randbytes)
    for start, end in zip((0, *cuts), (*cuts, len(content)), strict=True):
        sealer.write(content[start:end])
    sealer.end()
    sealer.close()
    return path


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return seal(tmp_path_factory.mktemp("sealed") / "twin", TWIN)


@given(reads=st.lists(st.tuples(OFFSETS, OFFSETS), max_size=8))
def test_whatever_part_is_read_is_that_of_the_plain_content(twin: Path, reads: list[tuple[int, int]]) -> None:
    plain = io.BytesIO(TWIN)
    with open_sealed(twin, KEY) as sealed:
        for start, size in reads:
            assert (sealed.seek(start), sealed.read(size)) == (plain.seek(start), plain.read(size))
        assert sealed.seek(-5, io.SEEK_END) == plain.seek(-5, io.SEEK_END)
        assert (sealed.read(), sealed.tell()) == (plain.read(), plain.tell())


@given(size=st.sampled_from(BORDERS), cuts=st.lists(OFFSETS, max_size=3))
def test_however_it_is_written_it_is_read_whole_and_its_length_tells_the_contents(
    tmp_path_factory: pytest.TempPathFactory, size: int, cuts: list[int]
) -> None:
    ends = tuple(sorted(min(cut, size) for cut in cuts))
    path = seal(tmp_path_factory.mktemp("sealed") / "file", TWIN[:size], ends)
    assert content_bytes(path.stat().st_size) == size
    with open_sealed(path, KEY) as file:
        assert file.read() == TWIN[:size]


def test_nothing_of_the_content_stands_there_and_the_same_content_looks_different_each_time(tmp_path: Path) -> None:
    content = b"Erika Mustermann " * 10_000
    first, second = [seal(tmp_path / str(seed), content, seed=seed).read_bytes() for seed in (1, 2)]
    assert b"Mustermann" not in first + second
    assert first[HEAD_BYTES:] != second[HEAD_BYTES:]
    frames = [first[at : at + STORED_BYTES] for at in range(HEAD_BYTES, len(first), STORED_BYTES)]
    assert len(frames) == len(set(frames)) == 3


def _frame(stored: bytearray, number: int) -> slice:
    start = HEAD_BYTES + number * STORED_BYTES
    return slice(start, min(start + STORED_BYTES, len(stored)))


def _exchange_frames(stored: bytearray) -> None:
    first, second = bytes(stored[_frame(stored, 0)]), bytes(stored[_frame(stored, 1)])
    stored[_frame(stored, 0)], stored[_frame(stored, 1)] = second, first


def _leave_out_a_frame(stored: bytearray) -> None:
    del stored[_frame(stored, 1)]


def _repeat_a_frame(stored: bytearray) -> None:
    stored[_frame(stored, 1)] = stored[_frame(stored, 0)]


def _cut_at_a_frame(stored: bytearray) -> None:
    del stored[_frame(stored, 3).start :]


def _cut_in_a_frame(stored: bytearray) -> None:
    del stored[-10:]


def _cut_into_the_head(stored: bytearray) -> None:
    del stored[HEAD_BYTES - 1 :]


def _add_a_byte(stored: bytearray) -> None:
    stored.append(0)


def _add_a_frame(stored: bytearray) -> None:
    stored[len(stored) :] = stored[_frame(stored, 3)]


HARMS = [
    _exchange_frames,
    _leave_out_a_frame,
    _repeat_a_frame,
    _cut_at_a_frame,
    _cut_in_a_frame,
    _cut_into_the_head,
    _add_a_byte,
    _add_a_frame,
]


@pytest.mark.parametrize("harm", HARMS)
def test_frames_that_were_moved_left_out_repeated_or_cut_do_not_open(
    twin: Path, tmp_path: Path, harm: Callable[[bytearray], None]
) -> None:
    stored = bytearray(twin.read_bytes())
    harm(stored)
    (tmp_path / "harmed").write_bytes(stored)
    with pytest.raises(Damaged), open_sealed(tmp_path / "harmed", KEY) as file:
        file.read()


@given(at=st.sampled_from([0, 8, 24, 36, HEAD_BYTES - 1, HEAD_BYTES, -1]) | st.integers(0, 84), bit=st.integers(0, 7))
def test_a_bit_that_was_turned_is_found(tmp_path_factory: pytest.TempPathFactory, at: int, bit: int) -> None:
    path = seal(tmp_path_factory.mktemp("sealed") / "file", b"content")
    stored = bytearray(path.read_bytes())
    stored[at] ^= 1 << bit
    path.write_bytes(stored)
    with pytest.raises(Damaged), open_sealed(path, KEY) as file:
        file.read()


def test_a_frame_of_another_file_and_another_key_do_not_open_it(twin: Path, tmp_path: Path) -> None:
    other = bytearray(seal(tmp_path / "other", TWIN, seed=2).read_bytes())
    other[_frame(other, 1)] = twin.read_bytes()[_frame(other, 1)]
    (tmp_path / "mixed").write_bytes(other)
    with open_sealed(tmp_path / "mixed", KEY) as file:
        assert file.read(10) == TWIN[:10]
        with pytest.raises(Damaged):
            file.read()
    for key in (OTHER, Key(KEY.id, AESGCM(b"t" * 32))):
        with pytest.raises(Damaged):
            open_sealed(twin, key)


def test_lengths_that_no_sealed_file_has_are_told() -> None:
    empty = HEAD_BYTES + TAG_BYTES
    assert [content_bytes(size) for size in (empty, empty + 1, HEAD_BYTES + STORED_BYTES)] == [0, 1, FRAME_BYTES]
    for size in (0, HEAD_BYTES, empty - 1, HEAD_BYTES + STORED_BYTES + 1, HEAD_BYTES + STORED_BYTES + TAG_BYTES):
        with pytest.raises(Damaged):
            content_bytes(size)
