"""The file of an upload that is not whole: what a full disk or a failing one leaves of it has arrived, and no more."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from runtime.keyring import Key
from runtime.sealed_files import Damaged
from runtime.upload_files import PIECE_BYTES_MAX, begin, content, open_part, reach

KEY = Key(b"k" * 16, AESGCM(b"s" * 32))
CONTENT = Random(5).randbytes(3 * PIECE_BYTES_MAX)
ENTROPY = Random(6).randbytes


@pytest.fixture(params=[None, KEY], ids=["plain", "sealed"])
def key(request: pytest.FixtureRequest) -> Key | None:
    found: Key | None = request.param
    return found


def grown(path: Path, key: Key | None, *pieces: bytes) -> Path:
    begin(path, 0.0, key, ENTROPY)
    come_to = 0
    for piece in pieces:
        part = open_part(path, come_to, key, ENTROPY)
        part.write(piece)
        come_to = part.settle(0.0)
    return path


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk that is full for a file that would be longer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_has_arrived_is_read_as_it_was_sent(tmp_path: Path, key: Key | None) -> None:
    path = grown(tmp_path / "a", key, b"", CONTENT[:7], b"", CONTENT[7:])
    assert reach(path, key).content == len(CONTENT)
    assert b"".join(content(path, key)) == CONTENT
    assert (CONTENT[:7] in path.read_bytes()) == (key is None)


def test_a_full_disk_keeps_what_was_written_whole(tmp_path: Path, key: Key | None) -> None:
    path = grown(tmp_path / "a", key, CONTENT[:1000])
    part = open_part(path, 1000, key, ENTROPY)
    with files_of_at_most(PIECE_BYTES_MAX + 20_000):
        part.write(CONTENT[1000:2000])
        with pytest.raises(OSError, match="File too large"):
            part.write(CONTENT[2000 : 2000 + PIECE_BYTES_MAX + 50_000])
    come_to = part.settle(0.0)
    assert come_to == {None: PIECE_BYTES_MAX + 20_000, KEY: 2000 + PIECE_BYTES_MAX}[key]
    assert reach(path, key).content == come_to
    again = open_part(path, come_to, key, ENTROPY)
    again.write(CONTENT[come_to:])
    assert again.settle(0.0) == len(CONTENT)
    assert b"".join(content(path, key)) == CONTENT


def test_what_was_not_told_of_is_written_anew_and_what_is_missing_is_told(tmp_path: Path, key: Key | None) -> None:
    path = grown(tmp_path / "a", key, CONTENT[:1000], b"of a settling that failed")
    part = open_part(path, 1000, key, ENTROPY)
    part.write(CONTENT[1000:])
    assert part.settle(0.0) == len(CONTENT)
    assert b"".join(content(path, key)) == CONTENT
    with pytest.raises(Damaged, match="had arrived"):
        open_part(path, len(CONTENT) + 1, key, ENTROPY)


def test_two_files_of_the_same_bytes_have_nothing_in_common(tmp_path: Path) -> None:
    first, second = [grown(tmp_path / name, KEY, CONTENT[:100]).read_bytes() for name in "ab"]
    pieces = [{stored[at : at + 16] for at in range(40, len(stored) - 16)} for stored in (first, second)]
    assert not pieces[0] & pieces[1]
