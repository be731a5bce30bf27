"""Uploads in pieces: what has arrived stays, whatever ends; they are bounded, and one at a time writes."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from hashlib import sha256
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from runtime.blobs import Blobs, QuotaReached, TooLarge, WrongDigest
from runtime.claims import Name
from runtime.clock import FixedClock
from runtime.errors import Refused
from runtime.uploads import DONE_MAX, IDLE_SECONDS, OPEN_MAX, Uploads, WrongOffset

CONTENT = bytes(range(256)) * 400
DIGEST = sha256(CONTENT).hexdigest()
SIZE = len(CONTENT)
CLOCK = FixedClock()


async def _open(folder: Path, clock: FixedClock = CLOCK, *, tenant_bytes_max: int = 1_000_000) -> tuple[Uploads, Blobs]:
    blobs = Blobs(folder, blob_bytes_max=200_000, tenant_bytes_max=tenant_bytes_max)
    uploads = Uploads(blobs, clock.now)
    await uploads.load()
    return uploads, blobs


async def _chunks(*chunks: bytes) -> AsyncGenerator[bytes, None]:
    for chunk in chunks:
        yield chunk


async def _cut(*chunks: bytes) -> AsyncGenerator[bytes, None]:
    for chunk in chunks:
        yield chunk
    raise ConnectionError("cut")


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


async def test_what_has_arrived_stays_when_the_connection_is_cut_and_when_the_node_ends(tmp_path: Path) -> None:
    uploads, _ = await _open(tmp_path)
    await uploads.create("t", "a", SIZE, DIGEST)
    async with aclosing(_cut(CONTENT[:5], CONTENT[5:1000])) as chunks:
        with pytest.raises(ConnectionError):
            await uploads.append("t", "a", 0, chunks)
    assert uploads.find("t", "a").offset == 1000
    uploads, blobs = await _open(tmp_path)
    assert (uploads.find("t", "a").offset, await blobs.used("t")) == (1000, SIZE)
    assert (await uploads.append("t", "a", 1000, _chunks(CONTENT[1000:2000]))).offset == 2000
    whole = await uploads.append("t", "a", 2000, _chunks(CONTENT[2000:]))
    assert whole == (SIZE, DIGEST, True)
    assert (blobs.read(DIGEST), await blobs.used("t")) == (CONTENT, SIZE)
    assert _files(tmp_path) == [DIGEST, DIGEST, "a.json"]


@given(cuts=st.lists(st.integers(0, SIZE), max_size=6), restarts=st.lists(st.booleans(), min_size=8, max_size=8))
async def test_however_it_is_cut_the_blob_is_what_was_sent(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], restarts: list[bool]
) -> None:
    folder = tmp_path_factory.mktemp("blobs")
    uploads, blobs = await _open(folder)
    await uploads.create("t", "a", SIZE)
    for cut, restart in zip(cuts, restarts, strict=False):
        came_to = uploads.find("t", "a").offset
        async with aclosing(_cut(CONTENT[came_to:cut])) as chunks:
            with pytest.raises(ConnectionError):
                await uploads.append("t", "a", came_to, chunks)
        assert uploads.find("t", "a").offset == max(came_to, cut)
        if restart:
            uploads, blobs = await _open(folder)
    came_to = uploads.find("t", "a").offset
    assert await uploads.append("t", "a", came_to, _chunks(CONTENT[came_to:])) == (SIZE, DIGEST, True)
    assert blobs.read(DIGEST) == CONTENT


async def test_the_outcome_can_be_asked_for_after_a_restart_and_told_again(tmp_path: Path) -> None:
    uploads, _ = await _open(tmp_path)
    await uploads.create("t", "a", SIZE)
    await uploads.append("t", "a", 0, _chunks(CONTENT))
    uploads, blobs = await _open(tmp_path)
    done = uploads.find("t", "a")
    assert (done.is_done, done.offset, done.note.sha256) == (True, SIZE, DIGEST)
    assert await uploads.append("t", "a", SIZE, _chunks(b"")) == (SIZE, DIGEST, False)
    async with aclosing(_chunks(b"more")) as chunks:
        with pytest.raises(TooLarge):
            await uploads.append("t", "a", SIZE, chunks)
    await uploads.discard("t", "a")
    assert (blobs.read(DIGEST), await blobs.used("t")) == (CONTENT, SIZE)


async def test_an_upload_that_was_whole_when_the_node_was_killed_is_ended_by_nothing_more(tmp_path: Path) -> None:
    uploads, _ = await _open(tmp_path)
    await uploads.create("t", "a", SIZE, DIGEST)
    (tmp_path / "uploads" / "a.part").write_bytes(CONTENT)
    uploads, _ = await _open(tmp_path)
    assert uploads.find("t", "a").offset == SIZE
    assert await uploads.append("t", "a", SIZE, _chunks()) == (SIZE, DIGEST, True)


async def test_files_that_make_no_upload_are_deleted_at_the_start(tmp_path: Path) -> None:
    uploads, _ = await _open(tmp_path)
    for name in ("a", "b"):
        await uploads.create("t", name, SIZE)
    folder = tmp_path / "uploads"
    (folder / "a.json").unlink()
    (folder / "b.part").unlink()
    (folder / "c.json").write_bytes(b"{")
    (folder / "c.part").write_bytes(b"x")
    (folder / "d.new").write_bytes(b"{}")
    uploads, blobs = await _open(tmp_path)
    assert (uploads.of("t"), await blobs.used("t"), _files(tmp_path)) == ([], 0, [])


async def test_content_of_another_digest_ends_the_upload_and_costs_nothing(tmp_path: Path) -> None:
    uploads, blobs = await _open(tmp_path)
    await uploads.create("t", "a", 5, DIGEST)
    with pytest.raises(WrongDigest, match=sha256(b"wrong").hexdigest()):
        await uploads.append("t", "a", 0, _chunks(b"wrong"))
    with pytest.raises(KeyError):
        uploads.find("t", "a")
    assert (await blobs.used("t"), _files(tmp_path)) == (0, [])


async def test_more_than_was_announced_and_another_offset_are_refused_and_change_nothing(tmp_path: Path) -> None:
    uploads, _ = await _open(tmp_path)
    await uploads.create("t", "a", 5)
    async with aclosing(_chunks(b"abc", b"defg")) as chunks:
        with pytest.raises(TooLarge, match="2 bytes more"):
            await uploads.append("t", "a", 0, chunks)
    for offset in (0, 2, 4, 6):
        async with aclosing(_chunks(b"x")) as chunks:
            with pytest.raises(WrongOffset, match="has 3 bytes"):
                await uploads.append("t", "a", offset, chunks)
    assert (await uploads.append("t", "a", 3, _chunks(b"de"))).sha256 == sha256(b"abcde").hexdigest()
    with pytest.raises(TooLarge):
        await uploads.create("t", "b", 200_001)


async def test_the_whole_length_is_reserved_and_free_again_when_it_is_given_up(tmp_path: Path) -> None:
    uploads, blobs = await _open(tmp_path, tenant_bytes_max=SIZE + 100)
    await uploads.create("t", "a", SIZE)
    with pytest.raises(QuotaReached):
        await uploads.create("t", "b", 101)
    async with aclosing(_chunks(b"y" * 101)) as chunks:
        with pytest.raises(QuotaReached):
            await blobs.put("t", sha256(b"y" * 101).hexdigest(), chunks)
    await uploads.create("other", "its own", 101)
    await uploads.append("t", "a", 0, _chunks(CONTENT[:5]))
    await uploads.discard("t", "a")
    assert (await blobs.used("t"), uploads.of("t")) == (0, [])
    await uploads.create("t", "b", 101)


async def test_content_that_the_tenant_has_already_counts_once(tmp_path: Path) -> None:
    uploads, blobs = await _open(tmp_path)
    for name in ("a", "b"):
        await uploads.create("t", name, SIZE)
    assert (await uploads.append("t", "a", 0, _chunks(CONTENT))).new
    assert not (await uploads.append("t", "b", 0, _chunks(CONTENT))).new
    assert await blobs.used("t") == SIZE


async def test_so_many_may_be_open_at_a_time_and_of_so_many_the_outcome_is_kept(tmp_path: Path) -> None:
    clock = FixedClock()
    uploads, _ = await _open(tmp_path, clock)
    for number in range(OPEN_MAX):
        await uploads.create("t", f"open{number}", 10)
    with pytest.raises(Refused, match="too_many_uploads"):
        await uploads.create("t", "more", 10)
    await uploads.create("other", "its own", 10)
    await uploads.discard("t", "open0")
    for number in range(DONE_MAX + 1):
        clock.at += 1
        await uploads.create("t", f"done{number}", 1)
        await uploads.append("t", f"done{number}", 0, _chunks(bytes([number])))
    names = [upload.id for upload in uploads.of("t")]
    assert (len(names), "done0" in names, "done1" in names) == (OPEN_MAX - 1 + DONE_MAX, False, True)


async def test_what_gets_no_byte_for_a_day_is_gone_and_each_byte_begins_the_day_anew(tmp_path: Path) -> None:
    clock = FixedClock()
    uploads, blobs = await _open(tmp_path, clock)
    for name in ("fed", "left"):
        await uploads.create("t", name, 10)
    clock.at += IDLE_SECONDS - 1
    await uploads.append("t", "fed", 0, _chunks(b"x"))
    assert await uploads.collect("t") == 0
    clock.at += 1
    with pytest.raises(KeyError):
        uploads.find("t", "left")
    assert ([one.id for one in uploads.of("t")], await blobs.used("t")) == (["fed"], 20)
    assert [await uploads.collect("t", dry_run=True), await uploads.collect("t"), await uploads.collect("t")] == [
        1,
        1,
        0,
    ]
    assert (await blobs.used("t"), _files(tmp_path)) == (10, ["fed.json", "fed.part"])
    clock.at += IDLE_SECONDS - 2
    uploads, _ = await _open(tmp_path, clock)
    assert [one.id for one in uploads.of("t")] == ["fed"]
    clock.at += 1
    uploads, blobs = await _open(tmp_path, clock)
    assert (uploads.of("t"), await blobs.used("t"), _files(tmp_path)) == ([], 0, [])


async def test_one_at_a_time_writes(tmp_path: Path) -> None:
    uploads, _ = await _open(tmp_path)
    await uploads.create("t", "a", 6)
    begun, go_on = trio.Event(), trio.Event()

    async def slowly() -> AsyncGenerator[bytes, None]:
        yield b"abc"
        begun.set()
        await go_on.wait()
        yield b"def"

    async def write() -> None:
        async with aclosing(slowly()) as chunks:
            await uploads.append("t", "a", 0, chunks)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await begun.wait()
        async with aclosing(_chunks(b"xyz")) as chunks:
            with pytest.raises(Refused, match="upload_busy"):
                await uploads.append("t", "a", 0, chunks)
        with pytest.raises(Refused, match="upload_busy"):
            await uploads.discard("t", "a")
        go_on.set()
    assert uploads.find("t", "a").note.sha256 == sha256(b"abcdef").hexdigest()


async def test_the_same_begun_again_is_the_same_upload(tmp_path: Path) -> None:
    uploads, blobs = await _open(tmp_path)
    first = await uploads.create("t", "a", 10, DIGEST)
    assert await uploads.create("t", "a", 10, DIGEST) is first
    with pytest.raises(Refused, match="key_reused"):
        await uploads.create("t", "a", 11, DIGEST)
    assert await blobs.used("t") == 10


async def test_an_altered_file_is_found_and_a_moments_reading_is_remembered(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    _, blobs = await _open(tmp_path)
    await blobs.put("t", DIGEST, _chunks(CONTENT))
    await blobs.verify(Name(DIGEST))
    blobs.path(DIGEST).write_bytes(CONTENT[:-1] + b"y")
    await blobs.verify(Name(DIGEST))
    await trio.sleep(60)
    for _ in range(2):
        with pytest.raises(WrongDigest):
            await blobs.verify(Name(DIGEST))
