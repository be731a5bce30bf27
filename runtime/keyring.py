"""The keys under which personal data stands in the log: one for each data subject, in a file of their own.

Erasing a person is destroying its keys: not a byte of the log changes, every proof holds, and nobody can read what stood under them. So
the file overwrites what it deletes, and its write-ahead log is emptied then. Each key is wrapped by one that all have in common, and
that one by the master key: to rotate either is to wrap anew.

A subject may have several keys: a record names its own. The newest that is not retired is the one for what comes.
"""

import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from runtime.master import KEY_BYTES, NONCE_BYTES, Master, NoMaster
from runtime.store.copies import sync

ID_BYTES = 16
CACHE_KEYS_MAX = 65_536
BUSY_SECONDS_MAX = 5.0
DISPOSABLE = ("", "disposable")
"""Whose key copies of states and memories stand under: thrown away with each erasure, since they may hold anything."""

AT_REST = ("", "at rest")
"""Whose key whole bodies stand under, where that is set."""

TABLES = (
    "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS keys (id BLOB PRIMARY KEY, tenant TEXT NOT NULL, subject TEXT NOT NULL, wrapped BLOB NOT NULL, "
    "made INTEGER NOT NULL, retired INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS keys_of_subject ON keys (tenant, subject, made)",
    "CREATE TABLE IF NOT EXISTS erasures (position INTEGER PRIMARY KEY)",
)

Whose = tuple[str, str]
"""A tenant, and the id that it has given to a data subject."""


def _label(key_id: bytes, whose: Whose) -> bytes:
    """What is bound to a wrapped key: who could put another name beside it would have an erasure miss it."""
    return key_id + "\0".join(whose).encode()


class Key(NamedTuple):
    """A key and its name in records."""

    id: bytes
    cipher: AESGCM

    def seal(self, nonce: bytes, content: bytes, purpose: bytes) -> bytes:
        """The key's name, the nonce and what only this key opens again, for the same purpose."""
        return self.id + nonce + self.cipher.encrypt(nonce, content, purpose)


class KeyringUnusable(Exception):
    """The file of keys is no such file, or can't be written; the text says why."""


class Keyring:
    """A file of keys; for any thread. All methods block, and may raise KeyringUnusable."""

    def __init__(
        self, path: Path, master: Master, *, entropy: Callable[[int], bytes] = os.urandom, read_only: bool = False
    ) -> None:
        """Raises NoMaster where the keys are wrapped by another master key."""
        self.path = path
        self.entropy = entropy
        self._turn = threading.RLock()
        self._key_by_id: OrderedDict[bytes, Key | None] = OrderedDict()
        self._key_by_subject: OrderedDict[Whose, Key] = OrderedDict()
        self._read_only = read_only
        try:
            self._file = self._open()
            self._wrapper = AESGCM(self._shared_key(master))
        except sqlite3.Error as error:
            raise KeyringUnusable(f"{path} can't be used: {error}") from error

    def _open(self) -> sqlite3.Connection:
        if self._read_only:
            uri = f"{self.path.resolve().as_uri()}?mode=ro"
            return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        if not self.path.exists():
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600))
        elif self.path.stat().st_mode & 0o077:
            raise KeyringUnusable(f"{self.path} can be reached by others than its owner: chmod 600 it")
        file = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS_MAX)
        file.execute("PRAGMA journal_mode=WAL")
        file.execute("PRAGMA synchronous=FULL")
        file.execute("PRAGMA secure_delete=ON")
        return file

    def _shared_key(self, master: Master) -> bytes:
        """The key that wraps all others; a new file gets one, and its tables, in a single transaction."""
        wrapped = self._wrapped_shared_key()
        if wrapped is not None:
            return master.unwrap(wrapped)
        key = self.entropy(KEY_BYTES)
        wrapped = master.wrap(key)
        self._file.execute("BEGIN IMMEDIATE")
        for table in TABLES:
            self._file.execute(table)
        self._file.execute("INSERT INTO facts VALUES ('wrapper', ?)", (wrapped,))
        self._file.execute("COMMIT")
        sync(self.path.parent)
        return key

    def _wrapped_shared_key(self) -> bytes | None:
        if not self._file.execute("SELECT 1 FROM sqlite_schema WHERE name='facts'").fetchall():
            return None
        rows = self._file.execute("SELECT value FROM facts WHERE name='wrapper'").fetchall()
        return rows[0][0] if rows else None

    # ---- finding

    def find(self, key_id: bytes) -> Key | None:
        """The key of this name; None where it was erased, or was never here."""
        with self._turn:
            if key_id in self._key_by_id:
                self._key_by_id.move_to_end(key_id)
                return self._key_by_id[key_id]
            rows = self._ask("SELECT tenant, subject, wrapped FROM keys WHERE id=?", (key_id,))
            key = Key(key_id, AESGCM(self._unwrapped(key_id, *rows[0]))) if rows else None
            return self._remember(key_id, key)

    def key_for(self, whose: Whose) -> Key:
        """The key for what comes of a subject, made and on disk if there was none."""
        return self.keys_for([whose])[whose]

    def keys_for(self, subjects: Iterable[Whose]) -> dict[Whose, Key]:
        """The same for several: those that have none get theirs in one transaction."""
        with self._turn:
            found = {whose: self._newest(whose) for whose in subjects}
            missing = [whose for whose, key in found.items() if key is None]
            made = self._make(missing) if missing else {}
            return {whose: key if key is not None else made[whose] for whose, key in found.items()}

    def _newest(self, whose: Whose) -> Key | None:
        key = self._key_by_subject.get(whose)
        if key is None:
            rows = self._ask(
                "SELECT id FROM keys WHERE tenant=? AND subject=? AND NOT retired ORDER BY made DESC LIMIT 1", whose
            )
            key = self.find(rows[0][0]) if rows else None
            if key is not None:
                self._note(whose, key)
        return key

    def ids_of(self, whose: Whose) -> list[bytes]:
        """The names of all keys that a subject has."""
        with self._turn:
            return [
                row[0] for row in self._ask("SELECT id FROM keys WHERE tenant=? AND subject=? ORDER BY made", whose)
            ]

    def _remember(self, key_id: bytes, key: Key | None) -> Key | None:
        if key is not None or not self._read_only:
            self._key_by_id[key_id] = key
            if len(self._key_by_id) > CACHE_KEYS_MAX:
                self._key_by_id.popitem(last=False)
        return key

    def _note(self, whose: Whose, key: Key) -> None:
        self._key_by_subject[whose] = key
        if len(self._key_by_subject) > CACHE_KEYS_MAX:
            self._key_by_subject.popitem(last=False)

    def _ask(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
        try:
            return self._file.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise KeyringUnusable(f"{self.path} can't be read: {error}") from error

    # ---- making and erasing

    def _make(self, subjects: Sequence[Whose]) -> dict[Whose, Key]:
        made, rows = {}, []
        for whose in subjects:
            key_id, raw = self.entropy(ID_BYTES), self.entropy(KEY_BYTES)
            rows.append((key_id, *whose, self._wrapped(key_id, whose, raw), *whose))
            made[whose] = Key(key_id, AESGCM(raw))
        self._write(
            "INSERT INTO keys SELECT ?, ?, ?, ?, COALESCE(MAX(made), 0) + 1, 0 FROM keys WHERE tenant=? AND subject=?",
            rows,
        )
        for whose, key in made.items():
            self._remember(key.id, key)
            self._note(whose, key)
        return made

    def _wrapped(self, key_id: bytes, whose: Whose, raw: bytes) -> bytes:
        nonce = self.entropy(NONCE_BYTES)
        return nonce + self._wrapper.encrypt(nonce, raw, _label(key_id, whose))

    def retire(self, whose: Whose) -> list[bytes]:
        """From now on what comes of a subject stands under a new key; returns the names of those that it has had."""
        with self._turn:
            self._write("UPDATE keys SET retired=1 WHERE tenant=? AND subject=?", [whose])
            self._key_by_subject.pop(whose, None)
            return self.ids_of(whose)

    def destroy(self, key_ids: Sequence[bytes]) -> None:
        """Erases keys, so that nothing is left of them in the file or beside it."""
        with self._turn:
            self._write("DELETE FROM keys WHERE id=?", [(key_id,) for key_id in key_ids])
            for key_id in key_ids:
                self._remember(key_id, None)
            self._key_by_subject.clear()
            self._empty_log()

    def dispose(self, whose: Whose) -> None:
        """Throws away all keys of this purpose: what stood under them is gone."""
        self.destroy(self.ids_of(whose))

    def done(self) -> set[int]:
        """The positions of the erasures that were carried through here."""
        with self._turn:
            return {int(row[0]) for row in self._ask("SELECT position FROM erasures")}

    def note_done(self, position: int) -> None:
        """The erasure that this position tells of was carried through."""
        with self._turn:
            self._write("INSERT OR IGNORE INTO erasures VALUES (?)", [(position,)])

    # ---- whose keys they are

    def bind(self, origin: str) -> str:
        """Notes of which journal these keys are, unless they are another one's; returns the name of the journal that it is. Where
        nothing stands under a key yet, any journal may have the file."""
        with self._turn:
            rows = self._ask("SELECT value FROM facts WHERE name='origin'")
            if rows and (rows[0][0] == origin or self.is_needed):
                return str(rows[0][0])
            self._write("DELETE FROM facts WHERE name=?", [("origin",), ("checked",)])
            self._write("INSERT INTO facts VALUES ('origin', ?)", [(origin,)])
            return origin

    def checked(self) -> int | None:
        """Up to which position all keys that records stand under were here; None where nobody has looked."""
        with self._turn:
            rows = self._ask("SELECT value FROM facts WHERE name='checked'")
            return int(rows[0][0]) if rows else None

    def note_checked(self, position: int) -> None:
        """All keys that records stand under are here, or known to be gone, up to this position."""
        with self._turn:
            self._write("INSERT OR REPLACE INTO facts VALUES ('checked', ?)", [(position,)])

    def all_ids(self) -> set[bytes]:
        """The names of all keys that are here."""
        with self._turn:
            return {row[0] for row in self._ask("SELECT id FROM keys")}

    def damaged(self) -> list[str]:
        """The names of the keys that can't be unwrapped, or stand under another person's name."""
        found = []
        with self._turn:
            for row in self._ask("SELECT id, tenant, subject, wrapped FROM keys"):
                try:
                    self._unwrapped(*row)
                except KeyringUnusable:
                    found.append(row[0].hex())
        return found

    def rewrap(self, master: Master) -> int:
        """Wraps all keys by a new common key, and that by this master key; returns how many. No record changes."""
        with self._turn:
            rows = self._file.execute("SELECT id, tenant, subject, wrapped FROM keys").fetchall()
            keys = [(row[0], (row[1], row[2]), self._unwrapped(*row)) for row in rows]
            shared = self.entropy(KEY_BYTES)
            wrapper = AESGCM(shared)
            again = []
            for key_id, whose, raw in keys:
                nonce = self.entropy(NONCE_BYTES)
                again.append((nonce + wrapper.encrypt(nonce, raw, _label(key_id, whose)), key_id))
            try:
                self._file.execute("BEGIN IMMEDIATE")
                self._file.executemany("UPDATE keys SET wrapped=? WHERE id=?", again)
                self._file.execute("UPDATE facts SET value=? WHERE name='wrapper'", (master.wrap(shared),))
                self._file.execute("COMMIT")
            except (sqlite3.Error, NoMaster):
                if self._file.in_transaction:
                    self._file.execute("ROLLBACK")
                raise
            self._wrapper = wrapper
            self._empty_log()
            return len(again)

    def _unwrapped(self, key_id: bytes, tenant: str, subject: str, wrapped: bytes) -> bytes:
        try:
            label = _label(key_id, (tenant, subject))
            return self._wrapper.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], label)
        except (InvalidTag, ValueError):
            raise KeyringUnusable(
                f"{self.path} is damaged or altered: the key {key_id.hex()} of {subject!r} can't be unwrapped"
            ) from None

    @property
    def is_needed(self) -> bool:
        """Whether something stands under a key that is not thrown away anyhow."""
        with self._turn:
            return bool(self._ask("SELECT 1 FROM keys WHERE (tenant, subject) <> (?, ?) LIMIT 1", DISPOSABLE))

    def copy(self, target: Path) -> None:
        """A whole copy, wrapped as it is here, for its owner alone."""
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with self._turn:
            copy = sqlite3.connect(target)
            try:
                self._file.backup(copy)
                copy.execute("PRAGMA journal_mode=DELETE")
            finally:
                copy.close()
        sync(target)

    def close(self) -> None:
        with self._turn:
            self._file.close()

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        try:
            self._file.execute("BEGIN IMMEDIATE")
            try:
                self._file.executemany(statement, rows)
                self._file.execute("COMMIT")
            except BaseException:
                if self._file.in_transaction:
                    self._file.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise KeyringUnusable(f"{self.path} can't be written: {error}") from error

    def _empty_log(self) -> None:
        """What was deleted must not stand in the write-ahead log either. Raises KeyringUnusable while somebody reads there."""
        try:
            busy, *_ = self._file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            raise KeyringUnusable(f"{self.path} can't be emptied of what was erased: {error}") from error
        if busy:
            raise KeyringUnusable(f"{self.path} is being read: what was erased still stands in its write-ahead log")
