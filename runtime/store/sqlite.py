"""A journal in one SQLite file: batches in, records out, sealed by a Merkle tree; one writing process, held by a lock."""

import fcntl
import hmac
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import structlog
from eventsourcing.persistence import IntegrityError, PersistenceError, StoredEvent

from runtime.codec import Codec
from runtime.errors import Fenced
from runtime.evidence import Unreadable
from runtime.records import Meta, Recorded
from runtime.store.copies import copy_database
from runtime.store.layouts import FORMAT, upgrade
from runtime.store.recorder import JournalDatastore, JournalRecorder, Rows
from runtime.transparency import NotANote, NotSigned, Signer, Tree, leaf_hash, verify_note
from runtime.verification import verify

log = structlog.get_logger()

MILESTONE_POSITIONS = 1024
REPLY_SECONDS = 24 * 3600.0


class Locked(Exception):
    """Another process writes to this journal."""


class Draft(NamedTuple):
    """A record on its way to the disk: all but the batch's time is fixed."""

    position: int
    stream: str
    version: int
    kind: str
    meta: Meta
    data: bytes


@dataclass(slots=True)
class Batch:
    """What one transaction commits: contiguous drafts, and the replies and reactions that go with them."""

    drafts: list[Draft]
    replies: list[tuple[str, str, bytes, bytes, int, float]]
    reactions: list[tuple[str, str, int]]
    recorded_at: float


class Memory(NamedTuple):
    """A saved fold of one actor."""

    actor: str
    key: str
    shape: str
    position: int
    memory: bytes


class SqliteStore:
    """The file, its lock, its tree. Its methods block: the journal calls `append` on its writer thread, the rest on reader threads."""

    def __init__(
        self,
        path: Path,
        codec: Codec,
        signer: Signer,
        *,
        name: str = "main",
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """`entropy(n)` gives n random bytes, for the name of a new journal."""
        self.path = path
        self.codec = codec
        self.signer = signer
        self._lock = _lock(path)
        try:
            upgrade(path, self._judge)
            self._recorder = JournalRecorder(JournalDatastore(str(path)))
            self._recorder.create_table()
            self._check_schema()
            self.origin = self._check_facts(name, entropy)
            self._kinds = self._check_kinds()
            self.position: int = self._one("SELECT COALESCE(MAX(rowid), 0) FROM stored_events")
            self._newest: int = self._one("SELECT COALESCE(MAX(size), 0) FROM checkpoints")
            self._tree = self._load_tree()
        except BaseException:
            os.close(self._lock)
            raise

    def _check_schema(self) -> None:
        """Nothing in the file may act by itself: a trigger could swallow what was acknowledged."""
        found = self.query("SELECT type, name FROM sqlite_schema WHERE type NOT IN ('table', 'index')")
        if found:
            raise Unreadable(f"{self.path} holds what no journal has: {', '.join(' '.join(row) for row in found)}")

    def _check_facts(self, name: str, entropy: Callable[[int], bytes]) -> str:
        facts = dict(self.query("SELECT name, value FROM facts"))
        if not facts:
            facts = {
                "format": str(FORMAT),
                "origin": f"gavel/{name}/{entropy(8).hex()}",
                "public_key": self.signer.public_key,
            }
            with self._recorder.datastore.transaction(commit=True) as cursor:
                cursor.executemany("INSERT INTO facts VALUES (?,?)", sorted(facts.items()))
        if facts["format"] != str(FORMAT):
            raise Unreadable(f"{self.path} has format {facts['format']}, this program writes format {FORMAT}")
        if facts["public_key"] != self.signer.public_key:
            raise Unreadable(f"{self.path} is signed with another key than the one beside it")
        return str(facts["origin"])

    def _judge(self, copy: Path) -> list[str]:
        return verify(copy, key=self.signer.public_key).faults

    def _check_kinds(self) -> set[str]:
        """All that was ever recorded here has to be of a kind that this program can read."""
        kinds = self.query("SELECT kind, position FROM kinds ORDER BY position")
        unknown = [
            f"{why} (first at position {position})" for kind, position in kinds if (why := self.codec.unknown(kind))
        ]
        if unknown:
            raise Unreadable(f"{self.path} holds records that this program can't read: {'; '.join(unknown)}")
        return {kind for kind, _ in kinds}

    def _load_tree(self) -> Tree:
        """The tree as it was signed last. What was put in its place by somebody without the key is never built upon."""
        tree = Tree.load(self.position, lambda node: bytes(self._one("SELECT hash FROM nodes WHERE id=?", (node,))))
        note = self.checkpoint()
        if note is None:
            if self.position:
                raise Unreadable(f"{self.path} holds {self.position} records and no checkpoint")
            return tree
        try:
            checkpoint = verify_note(note, self.signer.public_key)
        except (NotANote, NotSigned) as error:
            raise Unreadable(
                f"the newest checkpoint of {self.path} is not signed by the key beside it: {error}"
            ) from error
        if checkpoint.size != self.position:
            raise Unreadable(f"{self.path} holds {self.position} records, its newest checkpoint says {checkpoint.size}")
        if (checkpoint.origin, checkpoint.root) != (self.origin, tree.root()):
            raise Unreadable(f"{self.path} was altered: its tree is not the one that was signed")
        return tree

    def query(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
        """Rows of a reading statement."""
        with self._recorder.datastore.transaction(commit=False) as cursor:
            cursor.execute(statement, parameters)
            return [tuple(row) for row in cursor.fetchall()]

    def _one(self, statement: str, parameters: Sequence[object] = ()) -> Any:
        return self.query(statement, parameters)[0][0]

    def append(self, batch: Batch) -> None:
        """Commits a batch. Raises PersistenceError where nothing was stored, Fenced where another writer has been here."""
        stored, rows, tree = self._seal(batch)
        first = self.position + 1
        try:
            self._recorder.insert_events(stored, first=first, rows=rows)
        except IntegrityError as error:
            raise Fenced(f"somebody else wrote to {self.path}: {error}") from error
        except PersistenceError:
            if not self._stands(stored, first):
                raise
        self.position += len(stored)
        self._tree = tree
        self._kinds.update(kind for kind, _ in rows.kinds)
        if rows.checkpoint is not None:
            self._newest = rows.checkpoint[0]

    def _seal(self, batch: Batch) -> tuple[list[StoredEvent], Rows, Tree]:
        stored: list[StoredEvent] = []
        leaves: list[bytes] = []
        first_by_kind: dict[str, int] = {}
        for position, stream, version, kind, meta, data in batch.drafts:
            # Nobody has seen the record yet; what is told from memory is what a reader of the file will find.
            msgspec.structs.force_setattr(meta, "recorded_at", batch.recorded_at)
            body = self.codec.body(meta, data)
            stored.append(StoredEvent(stream, version, kind, body))
            leaves.append(leaf_hash(position, stream, version, kind, body))
            if kind not in self._kinds:
                first_by_kind.setdefault(kind, position)
        tree = self._tree.fork()
        nodes = tree.extend(leaves)
        rows = Rows(nodes=nodes, replies=batch.replies, reactions=batch.reactions, kinds=list(first_by_kind.items()))
        if stored:
            root = tree.root()
            rows.checkpoint = (tree.size, root, batch.recorded_at, self.signer.sign(self.origin, tree.size, root))
            if self._newest and self._newest // MILESTONE_POSITIONS == tree.size // MILESTONE_POSITIONS:
                rows.superseded = self._newest
        return stored, rows, tree

    def _stands(self, stored: Sequence[StoredEvent], first: int) -> bool:
        """After an error at commit only the file knows: reads back whether the batch is in it."""
        if not stored:
            return False
        rows = self._recorder.select_notifications(first, len(stored))
        found = [(n.originator_id, n.originator_version, n.topic, n.state) for n in rows]
        return found == [(s.originator_id, s.originator_version, s.topic, s.state) for s in stored]

    def read(self, after: int, limit: int) -> list[Recorded]:
        """Up to `limit` records past a position, in order. Raises UnknownKind, naming the position."""
        return [
            self._open(n.id, str(n.originator_id), n.originator_version, n.topic, n.state)
            for n in self._recorder.select_notifications(after, limit, inclusive_of_start=False)
        ]

    def read_stream(self, stream: str, *, after: int = 0, limit: int = -1) -> list[Recorded]:
        """Up to `limit` records (below 0: all) of one stream past a position, in order."""
        rows = self.query(
            "SELECT rowid, originator_version, topic, state FROM stored_events WHERE originator_id=? AND rowid>?"
            " ORDER BY originator_version LIMIT ?",
            (stream, after, limit),
        )
        return [self._open(position, stream, version, kind, body) for position, version, kind, body in rows]

    def bodies(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Positions and bytes of up to `limit` records past a position, in order, for whoever looks for something in all of them."""
        found = self._recorder.select_notifications(after, limit, inclusive_of_start=False)
        return [(one.id, one.state) for one in found]

    def _open(self, position: int, stream: str, version: int, kind: str, body: bytes) -> Recorded:
        try:
            return self.codec.recorded(position, stream, version, kind, body)
        except Exception as error:
            raise Unreadable(f"record {position} ({kind}) of {self.path} can't be read: {error}") from error

    def newest_at(self) -> float:
        """When the newest record was written; 0 where there is none."""
        return float(self._one("SELECT COALESCE(MAX(recorded_at), 0) FROM checkpoints"))

    def find_reply(self, tenant: str, key: str) -> tuple[bytes, bytes] | None:
        """Digest and stored reply of an idempotency key."""
        rows = self.query("SELECT digest, reply FROM commands WHERE tenant=? AND key=?", (tenant, key))
        return (bytes(rows[0][0]), bytes(rows[0][1])) if rows else None

    def forget_replies(self, before: float) -> None:
        """Drops the replies of keys older than `before`."""
        with self._recorder.datastore.transaction(commit=True) as cursor:
            cursor.execute("DELETE FROM commands WHERE at<?", (before,))

    def reactions(self) -> dict[tuple[str, str], int]:
        """Up to where each actor has reacted."""
        return {(actor, key): position for actor, key, position in self.query("SELECT * FROM reactions")}

    def memories(self) -> list[Memory]:
        """All saved folds that this journal has sealed."""
        rows = self.query("SELECT actor, key, shape, position, memory, seal FROM snapshots")
        sealed = [Memory(*row) for *row, seal in rows if hmac.compare_digest(self._seal_of(Memory(*row)), seal)]
        if len(sealed) < len(rows):
            log.warning("snapshots were altered and are not used", count=len(rows) - len(sealed))
        return sealed

    def _seal_of(self, memory: Memory) -> bytes:
        """What only the holder of the journal's key can make: actors believe their snapshots, so nobody else may write them."""
        return self.signer.seal(b"gavel snapshot", msgspec.msgpack.encode((self.origin, *memory)))

    def save(self, memories: Sequence[Memory], reactions: Sequence[tuple[str, str, int]]) -> None:
        """Saves folds and how far was reacted, between batches. The folds must be those of all actors, or none: see `Recovery`."""
        rows = [(*memory, self._seal_of(memory)) for memory in memories]
        with self._recorder.datastore.transaction(commit=True) as cursor:
            if rows:
                cursor.execute("DELETE FROM snapshots")
            cursor.executemany("INSERT INTO snapshots VALUES (?,?,?,?,?,?)", rows)
            cursor.executemany("INSERT OR REPLACE INTO reactions VALUES (?,?,?)", reactions)

    def checkpoint(self) -> str | None:
        """The newest signed checkpoint."""
        rows = self.query("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1")
        return rows[0][0] if rows else None

    def backup(self, target: Path) -> None:
        """A whole copy while the journal is in use, by SQLite's own online backup (a plain file copy loses the WAL's tail)."""
        copy_database(self.path, target)

    def close(self) -> None:
        """Closes the file and gives up the lock."""
        self._recorder.datastore.close()
        os.close(self._lock)


def _lock(path: Path) -> int:
    """One writing process: the lock file's lock ends with the process, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise Locked(f"{path} is in use by another process") from error
    return handle
