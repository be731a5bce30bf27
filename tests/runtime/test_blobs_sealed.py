"""Blobs that are sealed: those of a data subject go with it for whoever brought them, and for nobody else."""

import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest

from runtime.blob_copies import copy_blobs
from runtime.blobs import Blobs, Erased, WrongDigest
from runtime.claims import Claims
from runtime.errors import Refused
from runtime.keyring import AT_REST, Keyring
from tests.runtime.keyrings import erase, forget_key, keyring_in, standing_in

PLANTED = b"Erika Mustermann, Heidestrasse 17"
CONTENT = Random(3).randbytes(100_000) + PLANTED
DIGEST = sha256(CONTENT).hexdigest()
LATER = 1 << 40


@pytest.fixture
def keyring(tmp_path: Path) -> Iterator[Keyring]:
    found = keyring_in(tmp_path / "keys")
    yield found
    found.close()


@pytest.fixture
def blobs(tmp_path: Path, keyring: Keyring) -> Blobs:
    return Blobs(tmp_path / "blobs", blob_bytes_max=200_000, keyring=keyring)


async def _chunks(*chunks: bytes) -> AsyncGenerator[bytes, None]:
    for chunk in chunks:
        yield chunk


async def bring(blobs: Blobs, tenant: str = "t", subject: str | None = "erika", content: bytes = CONTENT) -> bool:
    digest = sha256(content).hexdigest()
    return await blobs.put(tenant, digest, _chunks(content[:7], content[7:]), data_subject=subject)


def can_read(blobs: Blobs, tenant: str) -> bool:
    try:
        return blobs.read(DIGEST, tenant) == CONTENT
    except (FileNotFoundError, Erased):
        return False


async def test_a_subjects_blob_comes_back_and_stands_nowhere_in_the_clear(blobs: Blobs) -> None:
    assert [await bring(blobs), await bring(blobs)] == [True, False]
    assert blobs.read(DIGEST, "t") == blobs.read(DIGEST) == CONTENT
    assert [claim.bytes for claim in blobs.claims("t")] == [len(CONTENT)] == [await blobs.used("t")]
    assert blobs.claims("t") == blobs.of_subject("t", "erika")
    assert blobs.of_subject("t", "somebody") == blobs.of_subject("other", "erika") == []
    with blobs.open(blobs.find("t", DIGEST)) as file:
        file.seek(100_000)
        assert file.read(5) == b"Erika"
    assert (standing_in(blobs.folder, PLANTED), standing_in(blobs.folder, b"erika")) == ([], [])
    assert not any("erika" in path.name for path in blobs.folder.rglob("*"))


async def test_nothing_stands_in_the_clear_while_it_arrives_or_when_that_is_broken_off(blobs: Blobs) -> None:
    found = []

    async def watched() -> AsyncGenerator[bytes, None]:
        yield PLANTED * 4000
        found.append((standing_in(blobs.folder, PLANTED), sum(path.stat().st_size for path in _files(blobs.folder))))
        raise ConnectionError("cut")

    async with aclosing(watched()) as chunks:
        with pytest.raises(ConnectionError):
            await blobs.put("t", DIGEST, chunks, data_subject="erika")
    assert found[0][0] == []
    assert found[0][1] > 65_536  # as a node that is killed at this moment leaves it
    assert (_files(blobs.folder), await blobs.used("t")) == ([], 0)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_each_who_brought_the_same_content_keeps_it_until_its_own_is_erased(blobs: Blobs) -> None:
    brought = [("t", "erika"), ("t", "max"), ("t", None), ("u", "erika"), ("u", None)]
    assert [await bring(blobs, *one) for one in brought] == [True] * 5
    assert [await bring(blobs, *one) for one in brought] == [False] * 5
    assert [await blobs.used(tenant) for tenant in ("t", "u")] == [3 * len(CONTENT), 2 * len(CONTENT)]
    assert [erase(blobs, "t", "erika"), erase(blobs, "t", "erika")] == [1, 0]
    assert (can_read(blobs, "t"), len(blobs.of_subject("t", "max")), len(blobs.of_subject("u", "erika"))) == (
        True,
        1,
        1,
    )
    assert blobs.drop("t", DIGEST, LATER)
    assert can_read(blobs, "t")  # by max's
    assert erase(blobs, "t", "max") == 1
    assert (can_read(blobs, "t"), can_read(blobs, "u")) == (False, True)
    assert (erase(blobs, "u", "erika"), can_read(blobs, "u"), blobs.drop("u", DIGEST, LATER)) == (1, True, True)
    assert (_files(blobs.folder), await blobs.used("t")) == (
        [],
        len(CONTENT),
    )  # of what is dropped, its collector says it


async def test_whoever_has_the_name_alone_learns_nothing_and_gets_nothing(blobs: Blobs) -> None:
    await bring(blobs)
    assert not blobs.has("other", DIGEST)
    with pytest.raises(FileNotFoundError):
        blobs.read(DIGEST, "other")
    for subject in (None, "erika", "max"):
        with pytest.raises(WrongDigest):
            await blobs.put("other", DIGEST, _chunks(b"only the name is known"), data_subject=subject)
    assert blobs.claims("other") == []


async def test_a_blob_whose_key_is_gone_is_erased_as_long_as_it_is_known_and_then_absent(blobs: Blobs) -> None:
    await bring(blobs)
    assert blobs.keyring is not None
    forget_key(blobs.keyring, "t", "erika")
    for read in (lambda: blobs.read(DIGEST, "t"), lambda: blobs.read(DIGEST), lambda: blobs.find("t", DIGEST)):
        with pytest.raises(Erased):
            read()
    assert (blobs.has("t", DIGEST), blobs.use("t", DIGEST)) == (False, False)
    assert (await bring(blobs), can_read(blobs, "t")) == (True, True)  # by a new key: the person is back
    assert erase(blobs, "t", "erika") == 2
    with pytest.raises(FileNotFoundError):
        blobs.read(DIGEST, "t")
    assert _files(blobs.folder) == []


async def test_what_arrives_while_its_subject_is_erased_is_not_kept(blobs: Blobs) -> None:
    async def slowly() -> AsyncGenerator[bytes, None]:
        yield CONTENT[:50_000]
        erase(blobs, "t", "erika")
        yield CONTENT[50_000:]

    async with aclosing(slowly()) as chunks:
        with pytest.raises(Erased):
            await blobs.put("t", DIGEST, chunks, data_subject="erika")
    assert (_files(blobs.folder), await blobs.used("t")) == ([], 0)


async def test_at_rest_new_blobs_are_sealed_once_for_all_and_old_ones_stay_readable(
    tmp_path: Path, keyring: Keyring
) -> None:
    folder, old = tmp_path / "blobs", PLANTED + b" of old"
    before = Blobs(folder, blob_bytes_max=200_000)
    await bring(before, "t", None, old)
    blobs = Blobs(folder, blob_bytes_max=200_000, keyring=keyring, at_rest=True)
    assert not await bring(blobs, "t", None, old)
    assert [await bring(blobs, tenant, None) for tenant in ("t", "u", "u")] == [True, True, False]
    assert (can_read(blobs, "t"), blobs.read(sha256(old).hexdigest(), "t")) == (True, old)
    assert standing_in(folder, PLANTED) == [str(before.path(sha256(old).hexdigest()).relative_to(folder))]
    sealed = blobs.find("t", DIGEST)
    assert (sealed, sealed.key_id) == (blobs.find("u", DIGEST), keyring.key_for(AT_REST).id)
    assert blobs.drop("t", str(sealed), LATER)
    assert (can_read(blobs, "t"), can_read(blobs, "u")) == (False, True)
    assert blobs.drop("u", str(sealed), LATER)
    again = Blobs(folder, blob_bytes_max=200_000, keyring=keyring)
    assert [await again.used(tenant) for tenant in ("t", "u")] == [len(old), 0]


async def test_without_keys_nothing_of_a_subject_is_taken(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, blob_bytes_max=200_000)
    with pytest.raises(Refused, match="no_keyring"):
        await bring(blobs)
    assert _files(tmp_path) == []


async def test_sealed_files_that_are_nobodys_are_found_and_the_others_are_not(blobs: Blobs) -> None:
    for one in (("t", "erika"), ("u", "erika")):
        await bring(blobs, *one)
    name = blobs.find("t", DIGEST)
    Claims(blobs.folder).remove("t", name)  # as if the node had been killed before the claim
    assert [blobs.unclaimed(LATER, False), blobs.unclaimed(LATER, True), blobs.unclaimed(LATER, True)] == [1, 1, 0]
    assert (can_read(blobs, "t"), can_read(blobs, "u")) == (False, True)


@pytest.mark.parametrize("harm", ["altered", "cut", "exchanged"])
async def test_an_altered_sealed_file_is_not_given_out(blobs: Blobs, harm: str) -> None:
    await bring(blobs)
    await bring(blobs, content=CONTENT + b"!")
    name = blobs.find("t", DIGEST)
    path = blobs.path_of(name)
    stored = path.read_bytes()
    other = blobs.path_of(blobs.find("t", sha256(CONTENT + b"!").hexdigest())).read_bytes()
    path.write_bytes({"altered": stored[:-1] + bytes([stored[-1] ^ 1]), "cut": stored[:-1], "exchanged": other}[harm])
    with pytest.raises(WrongDigest, match="altered"):
        blobs.read(DIGEST, "t")
    with pytest.raises(WrongDigest, match="altered"):
        await blobs.verify(name)


async def test_a_copy_stays_sealed_and_tells_what_could_not_be_checked(
    blobs: Blobs, keyring: Keyring, tmp_path: Path
) -> None:
    await bring(blobs)
    await bring(blobs, "t", None, b"of nobody")
    name = blobs.find("t", DIGEST).file
    copied = copy_blobs(blobs.folder, tmp_path / "checked", keyring)
    assert (copied.files, copied.altered, copied.unchecked) == (2, [], [])
    assert copy_blobs(blobs.folder, tmp_path / "unchecked").unchecked == [name]
    assert standing_in(tmp_path / "checked", PLANTED) == []
    copy = Blobs(tmp_path / "checked", blob_bytes_max=200_000, keyring=keyring)
    assert (can_read(copy, "t"), copy.of_subject("t", "erika")[0].digest) == (True, DIGEST)
    path = blobs.path_of(blobs.find("t", DIGEST))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert copy_blobs(blobs.folder, tmp_path / "harmed", keyring).altered == [name]
    os.truncate(path, 20)
    assert copy_blobs(blobs.folder, tmp_path / "cut").altered == [name]


async def test_what_a_backup_brings_back_of_an_erased_subject_can_not_be_read_and_is_erased_again(
    blobs: Blobs, keyring: Keyring, tmp_path: Path
) -> None:
    await bring(blobs)
    copy_blobs(blobs.folder, tmp_path / "backup", keyring)
    erase(blobs, "t", "erika")
    copied = copy_blobs(tmp_path / "backup", tmp_path / "restored", keyring)
    assert (copied.altered, len(copied.unchecked)) == ([], 1)
    restored = Blobs(tmp_path / "restored", blob_bytes_max=200_000, keyring=keyring)
    with pytest.raises(Erased):
        restored.read(DIGEST, "t")
    assert (erase(restored, "t", "erika"), _files(restored.folder)) == (1, [])
