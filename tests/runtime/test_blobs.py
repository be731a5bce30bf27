"""Blobs: whole or absent, checked on the way in and out."""

import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from hashlib import sha256
from pathlib import Path

import pytest
import trio

from runtime.blob_copies import copy_blobs
from runtime.blobs import Blobs, QuotaReached, TooLarge, WrongDigest

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


def _name(content: bytes) -> str:
    return sha256(content).hexdigest()


async def test_a_tenant_may_have_so_many_bytes_together_and_another_as_many(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, blob_bytes_max=1000, tenant_bytes_max=250)
    await blobs.put("t", _name(b"a" * 100), _chunks(b"a" * 100))
    await blobs.put("t", _name(b"b" * 150), _chunks(b"b" * 150))
    async with aclosing(_chunks(b"c")) as chunks:
        with pytest.raises(QuotaReached, match="have 250 bytes, and may have 250 together"):
            await blobs.put("t", _name(b"c"), chunks)
    assert not await blobs.put("t", _name(b"a" * 100), _chunks(b"a" * 100))  # what is there costs nothing
    assert await blobs.put("other", _name(b"a" * 100), _chunks(b"a" * 100))
    assert [await blobs.used(tenant) for tenant in ("t", "other", "nobody")] == [250, 100, 0]
    again = Blobs(tmp_path, blob_bytes_max=1000, tenant_bytes_max=250)
    assert await again.used("t") == 250


async def test_what_does_not_come_through_is_not_counted(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, blob_bytes_max=1000, tenant_bytes_max=250)
    for _ in range(3):
        with pytest.raises(WrongDigest):
            await blobs.put("t", DIGEST, _chunks(b"x" * 200))
        async with aclosing(_chunks(b"y" * 200, b"y" * 200)) as chunks:
            with pytest.raises(QuotaReached):
                await blobs.put("t", _name(b"y" * 400), chunks)
    assert await blobs.used("t") == 0


async def test_uploads_at_once_share_the_quota_and_the_same_content_counts_once(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, blob_bytes_max=1000, tenant_bytes_max=250)
    both = trio.Event()

    async def slowly(content: bytes) -> AsyncGenerator[bytes, None]:
        yield content[:50]
        await both.wait()
        yield content[50:]

    async def put(content: bytes, refused: list[str]) -> None:
        async with aclosing(slowly(content)) as chunks:
            try:
                await blobs.put("t", _name(content), chunks)
            except QuotaReached as error:
                refused.append(str(error))

    refused: list[str] = []
    async with trio.open_nursery() as nursery:
        for content in (b"a" * 150, b"b" * 150):
            nursery.start_soon(put, content, refused)
        while await blobs.used("t") < 100:
            await trio.lowlevel.checkpoint()
        both.set()
    assert (len(refused), await blobs.used("t")) == (1, 150)
    both = trio.Event()
    blobs = Blobs(tmp_path / "twice", blob_bytes_max=1000, tenant_bytes_max=250)
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(put, b"c" * 80, refused)
        while await blobs.used("t") < 100:
            await trio.lowlevel.checkpoint()
        both.set()
    assert await blobs.used("t") == 80


async def test_a_blob_goes_with_its_last_tenant_and_stays_where_it_was_used_since(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, blob_bytes_max=1_000_000)
    for tenant in ("one", "two"):
        await blobs.put(tenant, DIGEST, _chunks(CONTENT))
    ages = [blobs.claims(tenant)[0].used_at for tenant in ("one", "two")]
    assert not blobs.drop("one", DIGEST, min(ages) - 1)
    assert blobs.drop("one", DIGEST, max(ages) + 1)
    assert (blobs.has("one", DIGEST), blobs.read(DIGEST)) == (False, CONTENT)
    assert blobs.use("two", DIGEST)
    assert blobs.drop("two", DIGEST, max(ages) + 1000)
    assert _files(tmp_path) == []


async def test_a_file_that_is_nobodys_is_found_and_deleted(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, blob_bytes_max=1_000_000)
    await blobs.put("one", DIGEST, _chunks(CONTENT))
    orphan = blobs.path(_name(b"lost"))
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"lost")
    since = orphan.stat().st_mtime + 1
    assert [blobs.unclaimed(since - 2, True), blobs.unclaimed(since, False), blobs.unclaimed(since, True)] == [0, 1, 1]
    assert _files(tmp_path) == [DIGEST, DIGEST]


async def test_a_copy_has_all_blobs_and_whose_they_are_and_names_what_was_altered(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs", blob_bytes_max=1_000_000)
    for tenant, content in (("one", CONTENT), ("two", CONTENT), ("two", b"other")):
        await blobs.put(tenant, _name(content), _chunks(content))
    assert copy_blobs(tmp_path / "blobs", tmp_path / "copy") == (2, len(CONTENT) + 5, [], [])
    copied = Blobs(tmp_path / "copy", blob_bytes_max=1_000_000)
    assert [copied.has("one", DIGEST), copied.has("two", DIGEST), copied.has("one", _name(b"other"))] == [
        True,
        True,
        False,
    ]
    assert copied.read(DIGEST) == CONTENT
    os.truncate(blobs.path(DIGEST), 7)
    assert copy_blobs(tmp_path / "blobs", tmp_path / "again")[2] == [DIGEST]
