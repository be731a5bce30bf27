"""A journal's store: sealed batches in, records out. What does not depend on the database is here, once.

The journal calls `append` on its writer's thread, `save` and `forget_replies` there too, between batches, and the rest on reader
threads; all of them block. A failure to write is either a `PersistenceError`, and nothing of the batch stands, or it is `Fenced`.
"""

import hmac
import struct
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog
from eventsourcing.persistence import PersistenceError
from msgspec.structs import force_setattr

from runtime.archives import KIND as ARCHIVED
from runtime.archives import Archived, attached, stub_of
from runtime.codec import SHUT, dated
from runtime.evidence import Unreadable
from runtime.keyring import AT_REST, DISPOSABLE, Key, Keyring, KeyringUnusable, Whose
from runtime.master import NONCE_BYTES
from runtime.rotation import KIND, ROTATIONS, ROTATIONS_MAX, STREAM, Keys
from runtime.sealing import purpose_of, unseal
from runtime.store.contract import MILESTONE_POSITIONS, Batch, Draft, Memory, Rows, SavedState, Sealed, Tombstone
from runtime.store.layouts import FORMAT
from runtime.store.log import Log
from runtime.transparency import Checkpoint, NotANote, NotSigned, PublicKey, Signer, Tree, leaf_hash, verify_note
from runtime.verification import Report

log = structlog.get_logger()

NONCES_AT_ONCE = 256
DIGEST_BYTES = 32

IN_THE_CLEAR = frozenset({KIND, ARCHIVED})
"""Never encrypted: whoever verifies has to read which keys sign, and which records stand in archives."""

Reply = tuple[str, str, bytes, bytes, int, float]


class Store(Log):
    """One journal's place. `position` is the last committed one, `origin` the journal's name for ever, `signing_keys` all its keys.

    `successor` is a key that a rotation may have brought: see `runtime/rotation.py`.
    """

    signer: Signer
    successor: Signer | None
    signing_keys: Keys
    origin: str
    position: int
    _nonces: list[bytes]
    encrypts: bool = False
    """Whether what is written from now on is encrypted at rest: bodies, and replies."""

    _recorder: Any
    _newest: int
    _tree: Tree
    _kinds: set[str]

    @property
    def keyring(self) -> Keyring | None:
        """The keys of data subjects; without it nothing personal is recorded, and copies of states stand in the clear."""
        return self.codec.keys

    # ---- what a database brings

    @abstractmethod
    def append(self, batch: Batch) -> None:
        """Commits a batch. Raises PersistenceError where nothing was stored, Fenced where another writer has been here."""

    @abstractmethod
    def forget_replies(self, before: float) -> None:
        """Drops the replies of keys older than `before`."""

    @abstractmethod
    def save(self, memories: Sequence[Memory], reactions: Sequence[tuple[str, str, int]]) -> None:
        """Saves folds and how far was reacted, between batches. The folds must be those of all actors, or none: see `Recovery`."""

    @abstractmethod
    def save_states(self, states: Sequence[SavedState], gone: Sequence[tuple[str, int]]) -> None:
        """Saves copies of states of committed records, and drops those of these streams and versions; between batches."""

    @abstractmethod
    def drop_copies(self) -> None:
        """Drops all saved folds and copies of states; between batches."""

    @abstractmethod
    def archive(self, batch: Batch, stubs: Sequence[tuple[bytes, int]], tombstones: Sequence[Tombstone]) -> None:
        """Commits a batch, and with it puts stubs (stub, position) in the places of bodies; nobody else may have the journal open."""

    @abstractmethod
    def shrink(self) -> None:
        """Gives the room back that archived bodies took up, where that can be done here."""

    @abstractmethod
    def backup(self, target: Path) -> None:
        """A whole copy while the journal is in use, as an SQLite file that can be verified and opened."""

    @abstractmethod
    def judge(self, *, key: str | None = None, against: str | None = None) -> Report:
        """What `verify` finds in the journal as it stands now. Raises Unreadable."""

    @abstractmethod
    def close(self) -> None:
        """Gives up the database and the lock."""

    def key_as_kept(self, key: str) -> str:
        """An idempotency key as the database holds it."""
        return key

    @abstractmethod
    def _write_facts(self, facts: dict[str, str]) -> None: ...

    # ---- opening

    def _load(self, name: str, entropy: Callable[[int], bytes]) -> None:
        """Who this journal is and where it stands; a new one gets a name. Raises Unreadable."""
        self._nonces = []
        self.origin = self._check_facts(name, entropy)
        self.archives = attached(self.archives.folder, self.query_stubs)
        self._kinds = self._check_kinds()
        self.position = self._one(f"SELECT COALESCE(MAX({self.POSITION}), 0) FROM stored_events")
        self._newest = self._one("SELECT COALESCE(MAX(size), 0) FROM checkpoints")
        self._tree = self._load_tree()

    def _check_facts(self, name: str, entropy: Callable[[int], bytes]) -> str:
        facts = dict(self.query("SELECT name, value FROM facts"))
        if not facts:
            origin = f"gavel/{name}/{entropy(8).hex()}"
            facts = {"format": str(FORMAT), "origin": origin, "public_key": self.signer.public_key}
            self._write_facts(facts)
        if absent := {"format", "origin", "public_key"} - set(facts):
            raise Unreadable(f"{self.place} is damaged: it does not state its {', '.join(sorted(absent))}")
        if facts["format"] != str(FORMAT):
            raise Unreadable(f"{self.place} has format {facts['format']}, this program writes format {FORMAT}")
        self._check_key(str(facts["origin"]), str(facts["public_key"]))
        return str(facts["origin"])

    def _check_key(self, origin: str, first: str) -> None:
        """The key that signs now has to be here; it may be the one that a rotation brought before its file was put in place."""
        try:
            rows = self.query(ROTATIONS.format(position=self.POSITION), (STREAM, ROTATIONS_MAX))
            self.signing_keys = Keys(origin, PublicKey(first), rows)
        except NotANote as error:
            raise Unreadable(f"{self.place} is damaged: {error}") from error
        current = self.signing_keys.current.nameless()
        if self.successor is not None and self.successor.public_key == current:
            self.signer = self.successor
        self.successor = None
        if self.signer.public_key != current:
            raise Unreadable(f"{self.place} is signed with another key than the one beside it")

    def _check_kinds(self) -> set[str]:
        """All that was ever recorded here has to be of a kind that this program can read."""
        kinds = self.query("SELECT kind, position FROM kinds ORDER BY position")
        if not all(isinstance(kind, str) for kind, _ in kinds):
            raise Unreadable(f"{self.place} is damaged: its list of kinds holds what is none")
        unknown = [
            f"{why} (first at position {position})" for kind, position in kinds if (why := self.codec.unknown(kind))
        ]
        if unknown:
            raise Unreadable(f"{self.place} holds records that this program can't read: {'; '.join(unknown)}")
        return {kind for kind, _ in kinds} - {
            KIND
        }  # each rotation is looked at, so that its batch is signed by the new key

    def _load_tree(self) -> Tree:
        """The tree as it was signed last. What was put in its place by somebody without the key is never built upon."""
        tree = Tree.load(self.position, self._read_node)
        note = self.checkpoint()
        if note is None:
            if self.position:
                raise Unreadable(f"{self.place} holds {self.position} records and no checkpoint")
            return tree
        checkpoint = self._verified(note)
        if checkpoint.size != self.position:
            raise Unreadable(
                f"{self.place} holds {self.position} records, its newest checkpoint says {checkpoint.size}"
            )
        if (checkpoint.origin, checkpoint.root) != (self.origin, tree.root()):
            raise Unreadable(f"{self.place} was altered: its tree is not the one that was signed")
        return tree

    def _read_node(self, node: int) -> bytes:
        rows = self.query("SELECT hash FROM nodes WHERE id=?", (node,))
        if not rows or not isinstance(rows[0][0], bytes | memoryview):
            raise Unreadable(f"{self.place} is damaged: node {node} of its tree is missing")
        return bytes(rows[0][0])

    def _verified(self, note: str) -> Checkpoint:
        if not isinstance(note, str):
            raise Unreadable(f"{self.place} is damaged: its newest checkpoint is no text")
        try:
            return verify_note(note, self.signer.public_key)
        except (NotANote, NotSigned) as error:
            raise Unreadable(
                f"the newest checkpoint of {self.place} is not signed by the key beside it: {error}"
            ) from error

    # ---- writing

    def _seal(self, batch: Batch) -> tuple[list[Sealed], Rows, Tree]:
        """The batch as it will stand, and the tree over it, which replaces the present one after the commit."""
        stored: list[Sealed] = []
        leaves: list[bytes] = []
        recorded_at, body_of, kinds = batch.recorded_at, self.codec.body, self._kinds
        packed_at = struct.pack(">d", recorded_at)
        keys, at_rest = self._keys_for(batch.drafts)
        first_by_kind: dict[str, int] = {}
        for draft in batch.drafts:
            position, stream, version, kind, meta = draft.position, draft.stream, draft.version, draft.kind, draft.meta
            # Nobody has seen the record yet; what is told from memory is what a reader of the database will find.
            force_setattr(meta, "recorded_at", recorded_at)
            if draft.body:
                body = dated(draft.body, packed_at)
            elif draft.secret:
                force_setattr(draft.told or meta, "recorded_at", recorded_at)
                body = body_of(meta, draft.data, self._sealed(draft, keys))
            else:
                body = body_of(meta, draft.data)
            if at_rest is not None and kind not in IN_THE_CLEAR:
                body = self._shut(at_rest, body)
            stored.append(Sealed(stream, version, kind, body))
            leaves.append(leaf_hash(position, stream, version, kind, body))
            if kind not in kinds:
                first_by_kind.setdefault(kind, position)
        tree = self._tree.fork()
        nodes = tree.extend(leaves)
        replies = batch.replies
        if at_rest is not None or batch.subject_by_reply:
            replies = [self._reply_row(reply, keys, at_rest, batch) for reply in replies]
        known = {KIND} if len(self.signing_keys.chain) > 1 else ()
        rows = Rows(
            nodes=nodes,
            replies=replies,
            reactions=batch.reactions,
            kinds=[(kind, position) for kind, position in first_by_kind.items() if kind not in known],
        )
        if stored:
            root = tree.root()
            signer = self._rotated(stored) if KIND in first_by_kind else self.signer
            rows.checkpoint = (tree.size, root, recorded_at, signer.sign(self.origin, tree.size, root))
            if self._newest and self._newest // MILESTONE_POSITIONS == tree.size // MILESTONE_POSITIONS:
                rows.superseded = self._newest
        return stored, rows, tree

    def _keys_for(self, drafts: Sequence[Draft]) -> tuple[Mapping[Whose, Key], Key | None]:
        """The keys of all data subjects that a batch tells of, which are on disk before it is; and the one for whole bodies."""
        if self.keyring is None:
            return {}, None
        subjects = {(draft.meta.tenant, draft.subject) for draft in drafts if draft.secret}
        try:
            keys = self.keyring.keys_for(subjects) if subjects else {}
            return keys, self.keyring.key_for(AT_REST) if self.encrypts else None
        except KeyringUnusable as error:
            raise PersistenceError(str(error)) from error

    def _sealed(self, draft: Draft, keys: Mapping[Whose, Key]) -> bytes:
        key = keys[draft.meta.tenant, draft.subject]
        return key.seal(self._nonce(), draft.secret, purpose_of(draft.kind, draft.meta.id))

    def _shut(self, key: Key, content: bytes, purpose: bytes = b"body") -> bytes:
        return b"%c" % SHUT + key.seal(self._nonce(), content, purpose)

    def _reply_row(self, reply: Reply, keys: Mapping[Whose, Key], at_rest: Key | None, batch: Batch) -> Reply:
        """An answer as it is kept: the digest of a request that told of a data subject goes with that subject's key."""
        tenant, key, digest, packed, position, at = reply
        if subject := batch.subject_by_reply.get((tenant, key)):
            digest = self._shut(keys[tenant, subject], digest, b"digest")
        return tenant, key, digest, packed if at_rest is None else self._shut(at_rest, packed), position, at

    def _nonce(self) -> bytes:
        """Random: with one key so many records can be sealed that they will never be."""
        if not self._nonces:
            assert self.keyring is not None
            drawn = self.keyring.entropy(
                NONCE_BYTES * NONCES_AT_ONCE
            )  # to ask the system for each costs as much as to seal
            self._nonces = [drawn[at : at + NONCE_BYTES] for at in range(0, len(drawn), NONCE_BYTES)]
        return self._nonces.pop()

    def _stands(
        self,
        stored: Sequence[Sealed],
        rows: Rows,
        query: Callable[[str, Sequence[object]], list[Any]],
    ) -> bool:
        """After an error at commit only the database knows: reads back whether the batch is in it."""
        if not stored:
            tenant, key, digest, reply, *_ = rows.replies[0]
            found = query(
                "SELECT digest, reply FROM commands WHERE tenant=? AND key=?", (tenant, self.key_as_kept(key))
            )
            return found == [(digest, reply)]
        found = query(
            f"SELECT originator_id, originator_version, topic, state FROM stored_events WHERE {self.POSITION}>?"
            f" ORDER BY {self.POSITION} LIMIT ?",
            (self.position, len(stored)),
        )
        return found == [(one.originator_id, one.originator_version, one.topic, one.state) for one in stored]

    def _grow(self, stored: Sequence[Sealed], rows: Rows, tree: Tree) -> None:
        """Takes note that a batch stands."""
        if self.successor is not None and any(one.topic == KIND for one in stored):
            self._take_rotations(self.signing_keys, stored)
            self.signer, self.successor = self.successor, None
        self.position += len(stored)
        self._tree = tree
        self._kinds.update(kind for kind, _ in rows.kinds if kind != KIND)
        if rows.checkpoint is not None:
            self._newest = rows.checkpoint[0]

    # ---- rotation of the signing key: see `runtime/rotation.py`

    def expect(self, successor: Signer) -> None:
        """From now on the batch that records a rotation to this key is signed by it; called on the writer's thread."""
        self.successor = successor

    def _rotated(self, stored: Sequence[Sealed]) -> Signer:
        """Who signs a batch that holds a rotation: the key that it brings, whatever else is in it. Raises PersistenceError where that
        is not the key that is expected: nobody could go on with the keys that are here."""
        keys = self.signing_keys.fork()
        self._take_rotations(keys, stored)
        if self.successor is None or keys.faults or keys.current.nameless() != self.successor.public_key:
            raise PersistenceError("a rotation of the signing key is not to the key that was made for it")
        return self.successor

    def _take_rotations(self, keys: Keys, stored: Sequence[Sealed]) -> None:
        for position, one in enumerate(stored, self.position + 1):
            if one.topic == KIND:
                keys.take(position, one.state)

    # ---- reading

    def find_reply(self, tenant: str, key: str) -> tuple[bytes, bytes] | None:
        """Digest and stored reply of an idempotency key; the digest is empty where the data subject was erased of whom the request told."""
        rows = self.query(
            "SELECT digest, reply FROM commands WHERE tenant=? AND key=?", (tenant, self.key_as_kept(key))
        )
        if not rows:
            return None
        digest, reply = map(bytes, rows[0])
        if digest[:1] == b"%c" % SHUT and len(digest) > DIGEST_BYTES:
            digest = unseal(self.keyring, digest[1:], b"digest") or b""
        return digest, self.codec.plain(reply)

    def keys(self, after: tuple[str, str], limit: int) -> list[tuple[str, str]]:
        """Up to `limit` idempotency keys that are kept, each with its tenant, in order, after one of them."""
        return self.query(
            "SELECT tenant, key FROM commands WHERE (tenant, key)>(?, ?) ORDER BY tenant, key LIMIT ?", (*after, limit)
        )

    def reactions(self) -> dict[tuple[str, str], int]:
        """Up to where each actor has reacted."""
        rows = self.query("SELECT actor, key, position FROM reactions")
        return {(actor, key): position for actor, key, position in rows}

    def memories(self) -> list[Memory]:
        """All saved folds that this journal has sealed."""
        rows = self.query("SELECT actor, key, shape, position, memory, seal FROM snapshots ORDER BY actor, key")
        sealed = [Memory(*row) for *row, seal in rows if hmac.compare_digest(self._seal_of(Memory(*row)), seal)]
        if len(sealed) < len(rows):
            log.warning("snapshots were altered and are not used", count=len(rows) - len(sealed))
        opened = [(memory, self._opened(memory.memory)) for memory in sealed]
        return [memory._replace(memory=content) for memory, content in opened if content is not None]

    def _hidden(self, content: bytes) -> bytes:
        """A disposable copy as it is kept: an erasure throws its key away, since it may hold anything."""
        if self.keyring is None:
            return content
        try:
            key = self.keyring.key_for(DISPOSABLE)
        except KeyringUnusable as error:
            raise PersistenceError(str(error)) from error
        return b"%c" % SHUT + key.seal(self._nonce(), content, b"copy")

    def _opened(self, content: bytes) -> bytes | None:
        return content if content[:1] != b"%c" % SHUT else unseal(self.keyring, content[1:], b"copy")

    def _memory_rows(self, memories: Sequence[Memory]) -> list[tuple[Any, ...]]:
        hidden = [memory._replace(memory=self._hidden(memory.memory)) for memory in memories]
        return [(*memory, self._seal_of(memory)) for memory in hidden]

    def _state_rows(self, states: Sequence[SavedState]) -> list[tuple[Any, ...]]:
        hidden = [state._replace(state=self._hidden(state.state)) for state in states]
        return [(*state, self._seal_of_state(state)) for state in hidden]

    def saved_state(self, stream: str, shape: str, upto: int) -> SavedState | None:
        """The newest copy of a stream's state that has this shape, is not past a position, and was sealed by this journal."""
        while rows := self.query(
            "SELECT stream, version, position, shape, tenant, state, seal FROM states"
            " WHERE stream=? AND shape=? AND position<=? ORDER BY version DESC LIMIT 1",
            (stream, shape, upto),
        ):
            *row, seal = rows[0]
            saved = SavedState(*row)
            if hmac.compare_digest(self._seal_of_state(saved), seal):
                content = self._opened(saved.state)
                return None if content is None else saved._replace(state=content)
            log.warning("a copy of a state was altered and is not used", stream=stream, version=saved.version)
            upto = saved.position - 1
        return None

    def tombstone(self, stream: str, shape: str, upto: int) -> SavedState | None:
        """The last state of an archived stream, where it has this shape, is not past a position, and was sealed by this journal."""
        rows = self.query_stubs(
            "SELECT stream, version, position, shape, tenant, state, seal FROM tombstones"
            " WHERE stream=? AND shape=? AND position<=?",
            (stream, shape, upto),
        )
        if not rows:
            return None
        *row, seal = rows[0]
        saved = SavedState(*row)
        if not hmac.compare_digest(self._seal_of_state(saved), seal):
            log.warning("the last state of an archived stream is not used: another key has sealed it", stream=stream)
            return None
        content = self._opened(saved.state)  # an erasure of anybody makes it unreadable: it may hold anything
        return None if content is None else saved._replace(state=content)

    def _tombstone_rows(self, tombstones: Sequence[Tombstone]) -> list[tuple[Any, ...]]:
        rows = self._state_rows([one.saved for one in tombstones])
        return [(*row, one.archive) for row, one in zip(rows, tombstones, strict=True)]

    def take_archive(self, archived: Archived) -> None:
        """From now on records are read in this archive too."""
        self.archives.archived.append(archived)

    def is_archived(self, stream: str) -> bool:
        """Whether the stream's records stand in an archive, or did once: then nothing more may be recorded of it."""
        if not self.archives:
            return False
        if self.query_stubs("SELECT 1 FROM tombstones WHERE stream=?", (stream,)):
            return True
        rows = self.query_stubs(
            "SELECT state FROM stored_events WHERE originator_id=? ORDER BY originator_version DESC LIMIT 1", (stream,)
        )
        return bool(rows) and stub_of(bytes(rows[0][0])) is not None

    def saved_versions(self, stream: str) -> list[tuple[int, str, int]]:
        """Version, shape and bytes of the copies of a stream's states, in order."""
        return self.query("SELECT version, shape, LENGTH(state) FROM states WHERE stream=? ORDER BY version", (stream,))

    def saved_bytes(self) -> int:
        """What all copies of states take up."""
        return int(self._one("SELECT COALESCE(SUM(LENGTH(state)), 0) FROM states"))

    def oldest_states(self, limit: int) -> list[tuple[str, int, int]]:
        """Stream, version and bytes of the copies of states that were made first."""
        return self.query("SELECT stream, version, LENGTH(state) FROM states ORDER BY position LIMIT ?", (limit,))

    def _seal_of_state(self, state: SavedState) -> bytes:
        return self.signer.seal(b"gavel state", msgspec.msgpack.encode((self.origin, *state)))

    def _seal_of(self, memory: Memory) -> bytes:
        """What only the holder of the journal's key can make: actors believe their snapshots, so nobody else may write them."""
        return self.signer.seal(b"gavel snapshot", msgspec.msgpack.encode((self.origin, *memory)))
