"""Blobs: whole or absent, checked on the way in and out."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from hashlib import sha256
from pathlib import Path

import pytest

from runtime.blobs import Blobs, TooLarge, WrongDigest

CONTENT = b"x" * 100_000
DIGEST = sha256(CONTENT).hexdigest()


async def _chunks(*chunks: bytes) -> AsyncGenerator[bytes, None]:
    for chunk in chunks:
        yield chunk


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


async def test_a_blob_comes_back_as_it_was(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, blob_bytes_max=200_000)
    assert await blobs.put("t", DIGEST, _chunks(CONTENT[:5], CONTENT[5:]))
    assert not await blobs.put("t", DIGEST, _chunks(CONTENT))
    assert blobs.read(DIGEST) == CONTENT
    assert _files(tmp_path) == [DIGEST, DIGEST]


async def test_a_tenant_has_what_it_has_brought_and_the_bytes_are_kept_once(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, blob_bytes_max=200_000)
    assert await blobs.put("one", DIGEST, _chunks(CONTENT))
    assert (blobs.has("one", DIGEST), blobs.has("../one", DIGEST)) == (True, False)
    with pytest.raises(WrongDigest):
        await blobs.put("../one", DIGEST, _chunks(b"only the name is known"))
    assert not blobs.has("../one", DIGEST)
    assert await blobs.put("../one", DIGEST, _chunks(CONTENT))
    assert blobs.has("../one", DIGEST)
    assert _bytes_in(tmp_path) == len(CONTENT)


async def test_wrong_or_too_much_content_leaves_nothing(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, blob_bytes_max=1000)
    with pytest.raises(WrongDigest, match=sha256(b"abc").hexdigest()):
        await blobs.put("t", DIGEST, _chunks(b"abc"))
    async with aclosing(_chunks(CONTENT)) as chunks:
        with pytest.raises(TooLarge):
            await blobs.put("t", DIGEST, chunks)
    for name in ("", "..", "A" * 64, DIGEST + "/..", "../" + DIGEST):
        with pytest.raises(ValueError, match="hex"):
            blobs.path(name)
    assert _files(tmp_path) == []


async def test_an_altered_file_is_not_given_out(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, blob_bytes_max=1_000_000)
    await blobs.put("t", DIGEST, _chunks(CONTENT))
    blobs.path(DIGEST).write_bytes(CONTENT[:-1] + b"y")
    with pytest.raises(WrongDigest):
        blobs.read(DIGEST)
    (tmp_path / "left.partial").write_bytes(b"of a crash")
    Blobs(tmp_path, blob_bytes_max=1)
    assert _files(tmp_path) == [DIGEST, DIGEST]
