"""Uploads of what is to be sealed: a half one is as unreadable as the whole, and goes on all the same."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.blobs import Blobs, Erased, WrongDigest
from runtime.clock import FixedClock
from runtime.errors import Refused
from runtime.keyring import Keyring
from runtime.upload_files import AROUND_BYTES
from runtime.uploads import Uploads
from tests.runtime.keyrings import erase, forget_key, keyring_in, standing_in

PLANTED = b"Erika Mustermann, Heidestrasse 17"
CONTENT = PLANTED * 4000 + Random(3).randbytes(200_000)
DIGEST = sha256(CONTENT).hexdigest()
SIZE = len(CONTENT)
CLOCK = FixedClock()


@pytest.fixture(scope="module")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyring]:
    found = keyring_in(tmp_path_factory.mktemp("keys"))
    yield found
    found.close()


async def _open(folder: Path, keyring: Keyring | None, *, at_rest: bool = False) -> tuple[Uploads, Blobs]:
    blobs = Blobs(folder, blob_bytes_max=1_000_000, keyring=keyring, at_rest=at_rest)
    uploads = Uploads(blobs, CLOCK.now, keyring=keyring)
    await uploads.load()
    return uploads, blobs


async def _chunks(*chunks: bytes) -> AsyncGenerator[bytes, None]:
    for chunk in chunks:
        yield chunk


async def _cut(*chunks: bytes) -> AsyncGenerator[bytes, None]:
    for chunk in chunks:
        yield chunk
    raise ConnectionError("cut")


async def send_cut(uploads: Uploads, start: int, end: int) -> int:
    async with aclosing(_cut(CONTENT[start:end])) as chunks:
        with pytest.raises(ConnectionError):
            await uploads.append("t", "a", start, chunks)
    return uploads.find("t", "a").offset


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@settings(max_examples=25)
@given(cuts=st.lists(st.integers(0, SIZE), max_size=4), restarts=st.lists(st.booleans(), min_size=4, max_size=4))
async def test_however_it_is_cut_the_blob_is_what_was_sent_and_stands_nowhere_in_the_clear(
    tmp_path_factory: pytest.TempPathFactory, keyring: Keyring, cuts: list[int], restarts: list[bool]
) -> None:
    folder = tmp_path_factory.mktemp("blobs")
    uploads, blobs = await _open(folder, keyring)
    await uploads.create("t", "a", SIZE, DIGEST, data_subject="erika")
    come_to = 0
    for cut, restart in zip(cuts, restarts, strict=False):
        come_to = await send_cut(uploads, come_to, max(come_to, cut))
        assert come_to == max(come_to, cut)
        assert standing_in(folder, PLANTED) == []
        if restart:
            uploads, blobs = await _open(folder, keyring)
    assert await uploads.append("t", "a", come_to, _chunks(CONTENT[come_to:])) == (SIZE, DIGEST, True)
    assert (blobs.read(DIGEST, "t"), await blobs.used("t")) == (CONTENT, SIZE)
    assert standing_in(folder, PLANTED) == []
    assert [claim.digest for claim in blobs.of_subject("t", "erika")] == [DIGEST]


LEFT = {"short": b"\0\0", "torn": (1000).to_bytes(4, "big") + b"torn", "zeros": bytes(100), "noise": b"\xff" * 100}


@pytest.mark.parametrize("left", LEFT.values(), ids=LEFT)
async def test_a_piece_that_was_not_written_whole_has_not_arrived(
    tmp_path: Path, keyring: Keyring, left: bytes
) -> None:
    uploads, _ = await _open(tmp_path, keyring)
    await uploads.create("t", "a", SIZE, data_subject="erika")
    await send_cut(uploads, 0, 1000)
    with (tmp_path / "uploads" / "a.part").open("ab") as file:
        file.write(left)
    uploads, blobs = await _open(tmp_path, keyring)
    assert uploads.find("t", "a").offset == 1000
    assert (await uploads.append("t", "a", 1000, _chunks(CONTENT[1000:]))).sha256 == DIGEST
    assert blobs.read(DIGEST, "t") == CONTENT


@pytest.mark.parametrize("harm", ["turned", "exchanged"])
async def test_what_was_altered_on_the_disk_ends_the_upload(tmp_path: Path, keyring: Keyring, harm: str) -> None:
    uploads, blobs = await _open(tmp_path, keyring)
    await uploads.create("t", "a", SIZE, data_subject="erika")
    for start in (0, 1000):
        await uploads.append("t", "a", start, _chunks(CONTENT[start : start + 1000]))
    path = tmp_path / "uploads" / "a.part"
    stored, piece = path.read_bytes(), 1000 + AROUND_BYTES
    head, first, second = stored[: -2 * piece], stored[-2 * piece : -piece], stored[-piece:]
    path.write_bytes(head + {"turned": first + second[:-1] + b"?", "exchanged": second + first}[harm])
    async with aclosing(_chunks(CONTENT[2000:])) as chunks:
        with pytest.raises(WrongDigest, match="altered on the disk"):
            await uploads.append("t", "a", 2000, chunks)
    assert (uploads.of("t"), await blobs.used("t"), _files(tmp_path)) == ([], 0, [])


async def test_an_erased_subjects_uploads_are_gone_the_half_ones_and_the_notes_of_whole_ones(
    tmp_path: Path, keyring: Keyring
) -> None:
    uploads, blobs = await _open(tmp_path, keyring)
    for name, subject in (("a", "erika"), ("b", "erika"), ("c", "max"), ("d", None)):
        await uploads.create("t", name, SIZE, data_subject=subject)
    await send_cut(uploads, 0, 1000)
    await uploads.append("t", "b", 0, _chunks(CONTENT))
    assert (erase(blobs, "t", "erika"), await uploads.erase("t", "erika")) == (1, 2)
    assert [one.id for one in uploads.of("t")] == ["c", "d"]
    assert (await blobs.used("t"), _files(tmp_path)) == (2 * SIZE, ["c.json", "c.part", "d.json", "d.part"])


async def test_bytes_that_arrive_while_their_subject_is_erased_become_no_blob(tmp_path: Path, keyring: Keyring) -> None:
    uploads, blobs = await _open(tmp_path, keyring)

    async def slowly(last: bytes) -> AsyncGenerator[bytes, None]:
        yield CONTENT[:100_000]
        erase(blobs, "t", "erika")
        await uploads.erase("t", "erika")
        yield last

    for last in (CONTENT[100_000:], CONTENT[100_000:100_005]):
        await uploads.create("t", "a", SIZE, data_subject="erika")
        async with aclosing(slowly(last)) as chunks:
            with pytest.raises(Erased):
                await uploads.append("t", "a", 0, chunks)
        assert (uploads.of("t"), await blobs.used("t"), _files(tmp_path)) == ([], 0, [])


async def test_what_is_begun_anew_under_the_name_of_an_erased_upload_is_left_alone(
    tmp_path: Path, keyring: Keyring
) -> None:
    uploads, blobs = await _open(tmp_path, keyring)

    async def slowly() -> AsyncGenerator[bytes, None]:
        yield CONTENT[:1000]
        erase(blobs, "t", "erika")
        await uploads.erase("t", "erika")
        await uploads.create("t", "a", SIZE)
        yield CONTENT[1000:2000]

    await uploads.create("t", "a", SIZE, data_subject="erika")
    async with aclosing(slowly()) as chunks:
        with pytest.raises(Erased):
            await uploads.append("t", "a", 0, chunks)
    assert (await uploads.append("t", "a", 0, _chunks(CONTENT))).sha256 == DIGEST
    assert await blobs.used("t") == SIZE


async def test_a_half_upload_whose_key_is_gone_is_deleted_at_the_start_and_refused_before(
    tmp_path: Path, keyring: Keyring
) -> None:
    uploads, _ = await _open(tmp_path, keyring)
    for name in ("a", "b"):
        await uploads.create("t", name, SIZE, data_subject="erika")
    forget_key(keyring, "t", "erika")
    with pytest.raises(Erased):
        await uploads.append("t", "a", 0, _chunks(CONTENT))
    assert _files(tmp_path) == ["b.json", "b.part"]
    uploads, blobs = await _open(tmp_path, keyring)
    assert (uploads.of("t"), await blobs.used("t"), _files(tmp_path)) == ([], 0, [])


async def test_at_rest_what_was_begun_in_the_clear_is_sealed_when_it_is_whole(tmp_path: Path, keyring: Keyring) -> None:
    uploads, _ = await _open(tmp_path, None)
    await uploads.create("t", "a", SIZE)
    await send_cut(uploads, 0, 1000)
    assert standing_in(tmp_path, PLANTED) == ["uploads/a.part"]
    uploads, blobs = await _open(tmp_path, keyring, at_rest=True)
    assert (await uploads.append("t", "a", 1000, _chunks(CONTENT[1000:]))).new
    await uploads.create("t", "b", SIZE)
    async with aclosing(_cut(CONTENT)) as chunks:
        with pytest.raises(ConnectionError):
            await uploads.append("t", "b", 0, chunks)
    assert (standing_in(tmp_path, PLANTED), blobs.read(DIGEST, "t")) == ([], CONTENT)
    assert not (await uploads.append("t", "b", SIZE, _chunks())).new
    assert await blobs.used("t") == SIZE


async def test_the_same_begun_again_for_another_subject_is_refused(tmp_path: Path, keyring: Keyring) -> None:
    uploads, _ = await _open(tmp_path, keyring)
    first = await uploads.create("t", "a", 10, data_subject="erika")
    assert await uploads.create("t", "a", 10, data_subject="erika") is first
    for subject in (None, "max"):
        with pytest.raises(Refused, match="key_reused"):
            await uploads.create("t", "a", 10, data_subject=subject)
