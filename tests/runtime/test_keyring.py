"""The file of keys: found again under the same master key alone, wrapped anew, and forgotten without a trace."""

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from runtime import keyring as keyrings
from runtime.keyring import Key, Keyring, KeyringUnusable
from runtime.master import MasterCommand, MasterKey, NoMaster
from runtime.sealing import Altered, unseal

ANN, BOB = ("acme", "ann"), ("acme", "bob")
MASTER = MasterKey("a1" * 32, "the test")
OTHER = MasterKey("b2" * 32, "another test")
NONCE = bytes(12)


def opened(path: Path, master: MasterKey | MasterCommand = MASTER, *, read_only: bool = False) -> Keyring:
    return Keyring(path / "keyring.db", master, read_only=read_only)


def wrapped_in(keyring: Keyring, subject: str = "%") -> list[bytes]:
    return [row[0] for row in keyring._file.execute("SELECT wrapped FROM keys WHERE subject LIKE ?", (subject,))]


def stands_in_a_file(folder: Path, content: bytes) -> bool:
    return any(content in path.read_bytes() for path in folder.iterdir())


def test_a_subject_keeps_its_key_over_a_restart_and_no_key_stands_in_the_clear(tmp_path: Path) -> None:
    keyring = opened(tmp_path)
    key = keyring.key_for(ANN)
    sealed = key.seal(NONCE, b"Ann lives here", b"p")
    assert keyring.key_for(ANN) == key != keyring.key_for(BOB)
    keyring.close()
    again = opened(tmp_path)
    assert again.key_for(ANN).id == key.id
    assert unseal(again, sealed, b"p") == b"Ann lives here"
    assert (tmp_path / "keyring.db").stat().st_mode & 0o077 == 0
    again.close()


def test_another_master_key_opens_nothing_and_is_named(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with pytest.raises(NoMaster, match="another master key than that of another test"):
        opened(tmp_path, OTHER)


@pytest.mark.parametrize("digits", ["", "a1", "zz" * 32, "a1" * 33])
def test_a_master_key_is_32_bytes(digits: str) -> None:
    with pytest.raises(NoMaster, match="the test does not hold 32 bytes"):
        MasterKey(digits, "the test")


def test_a_destroyed_key_is_gone_from_every_byte_of_the_file_and_beside_it(tmp_path: Path) -> None:
    keyring = opened(tmp_path)
    key = keyring.key_for(ANN)
    keyring.key_for(BOB)
    (of_ann,) = wrapped_in(keyring, "ann")
    assert stands_in_a_file(tmp_path, of_ann)
    sealed = key.seal(NONCE, b"Ann lives here", b"p")
    keyring.destroy(keyring.retire(ANN))
    assert not stands_in_a_file(tmp_path, of_ann)
    assert keyring.find(key.id) is None
    assert unseal(keyring, sealed, b"p") is None
    assert keyring.key_for(ANN).id != key.id
    keyring.close()


def test_while_somebody_reads_the_file_an_erasure_says_that_it_is_not_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyrings, "BUSY_SECONDS_MAX", 0.05)
    keyring = opened(tmp_path)
    keyring.key_for(ANN)
    reader = opened(tmp_path, read_only=True)
    reader._file.execute("BEGIN")
    reader._file.execute("SELECT count(*) FROM keys").fetchone()
    with pytest.raises(KeyringUnusable, match="is being read"):
        keyring.destroy(keyring.retire(ANN))
    reader.close()
    keyring.destroy([])
    assert keyring.ids_of(ANN) == []
    keyring.close()


def test_what_comes_after_a_retirement_stands_under_a_new_key_and_the_old_one_still_opens(tmp_path: Path) -> None:
    keyring = opened(tmp_path)
    old = keyring.key_for(ANN)
    assert keyring.retire(ANN) == [old.id]
    new = keyring.key_for(ANN)
    assert (keyring.find(old.id), keyring.ids_of(ANN)) == (old, [old.id, new.id])
    keyring.close()


def test_a_key_under_another_persons_name_opens_nothing_and_is_named(tmp_path: Path) -> None:
    """An erasure of the one would have missed it."""
    keyring = opened(tmp_path)
    key = keyring.key_for(ANN)
    keyring.close()
    with closing(sqlite3.connect(keyring.path, isolation_level=None)) as file:
        file.execute("UPDATE keys SET subject=? WHERE id=?", (BOB[1], key.id))
    keyring = opened(tmp_path)
    with pytest.raises(KeyringUnusable, match=f"the key {key.id.hex()} of .* can't be unwrapped"):
        keyring.find(key.id)
    with pytest.raises(KeyringUnusable, match="damaged or altered"):
        keyring.rewrap(OTHER)
    keyring.close()


def test_wrapping_anew_changes_every_wrapping_and_no_key(tmp_path: Path) -> None:
    keyring = opened(tmp_path)
    sealed = {whose: keyring.key_for(whose).seal(NONCE, b"here", b"p") for whose in (ANN, BOB)}
    before = wrapped_in(keyring)
    assert keyring.rewrap(OTHER) == 2
    assert not set(before) & set(wrapped_in(keyring))
    assert not any(stands_in_a_file(tmp_path, one) for one in before)
    keyring.close()
    with pytest.raises(NoMaster):
        opened(tmp_path, MASTER)
    again = opened(tmp_path, OTHER)
    assert all(unseal(again, one, b"p") == b"here" for one in sealed.values())
    again.close()


def test_a_copy_opens_what_the_original_does(tmp_path: Path) -> None:
    keyring = opened(tmp_path)
    sealed = keyring.key_for(ANN).seal(NONCE, b"here", b"p")
    (tmp_path / "copy").mkdir()
    keyring.copy(tmp_path / "copy" / "keyring.db")
    keyring.destroy(keyring.retire(ANN))
    copy = opened(tmp_path / "copy")
    assert unseal(copy, sealed, b"p") == b"here"
    assert unseal(keyring, sealed, b"p") is None
    copy.close()
    keyring.close()


def test_a_file_that_others_can_reach_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    (tmp_path / "keyring.db").chmod(0o644)
    with pytest.raises(KeyringUnusable, match="chmod 600"):
        opened(tmp_path)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keyring.db").write_bytes(b"no database at all, but long enough to be taken for one" * 100)
    (tmp_path / "keyring.db").chmod(0o600)
    with pytest.raises(KeyringUnusable, match="can't be used"):
        opened(tmp_path)


KMS = """import base64, sys
turned = bytes(byte ^ 0x5A for byte in base64.b64decode(sys.stdin.read()))
if sys.argv[-1] not in ("wrap", "unwrap"):
    sys.exit("what?")
print(base64.b64encode(turned).decode())
"""


def test_a_command_wraps_in_place_of_a_master_key(tmp_path: Path) -> None:
    (tmp_path / "kms.py").write_text(KMS)
    master = MasterCommand(f"{sys.executable} {tmp_path / 'kms.py'}")
    keyring = opened(tmp_path, master)
    sealed = keyring.key_for(ANN).seal(NONCE, b"here", b"p")
    keyring.close()
    again = opened(tmp_path, master)
    assert unseal(again, sealed, b"p") == b"here"
    again.close()


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("/no/such/command", "brought no key"),
        (f"{sys.executable} -c 'import sys; sys.exit(\"closed on sundays\")'", "ended with 1: closed on sundays"),
        (f"{sys.executable} -c 'print(\"%%%\")'", "brought no key"),
        ("", "brought no key"),
    ],
)
def test_a_command_that_fails_is_told_with_its_reason(command: str, why: str) -> None:
    with pytest.raises(NoMaster, match=why):
        MasterCommand(command).wrap(bytes(32))


@given(st.binary(max_size=200), st.data())
def test_whatever_is_altered_in_a_sealed_part_or_its_purpose_opens_nothing(content: bytes, data: st.DataObject) -> None:
    keyring = Keys()
    sealed = bytearray(keyring.key.seal(os.urandom(12), content, b"purpose"))
    assert unseal(keyring, bytes(sealed), b"purpose") == content
    with pytest.raises(Altered):
        unseal(keyring, bytes(sealed), b"another purpose")
    at = data.draw(st.integers(16, len(sealed) - 1))
    sealed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Altered):
        unseal(keyring, bytes(sealed), b"purpose")


class Keys:
    """One key, for any name."""

    def __init__(self) -> None:
        self.key = Key(bytes(16), AESGCM(bytes(32)))

    def find(self, key_id: bytes) -> Key:
        return self.key
