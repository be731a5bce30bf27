"""Walks a journal's records, stored nodes and signed checkpoints in step, and notes what disagrees.

It decodes no record and keeps a constant amount in memory. Each leaf is computed again from all five columns and compared
with the stored node; each root is compared with the signed checkpoint of its size. The stored leaves tell what was altered:
where they still hash to a signed root, exactly the records that differ from them are wrong; where they do not, they were
rewritten too, and only the signed sizes bound the place.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from heapq import merge
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from runtime import blocks
from runtime.archives import stub_of
from runtime.cosignatures import WitnessKey, as_utc
from runtime.evidence import Evidence, Unreadable
from runtime.rotation import Keys
from runtime.stubs import Stubs
from runtime.transparency import (
    Checkpoint,
    NotANote,
    NotSigned,
    Tree,
    leaf_hash,
    read_note,
    split_index,
    stored_count,
    stored_index,
    verify_note,
)

PAGE_RECORDS = blocks.RECORDS
FAULTS_MAX = 20
DIFFERING_MAX = 10_000
POSITION_MAX = 2**62
UNSEALABLE = bytes(32)
"""Stands for the leaf of a record that has none: its text is not UTF-8."""

RECORDS = (
    "SELECT rowid, originator_id, originator_version, topic, state FROM stored_events "
    "WHERE rowid > ? AND rowid <= ? ORDER BY rowid LIMIT ?"
)
NODES = "SELECT id, CASE typeof(hash) WHEN 'blob' THEN hash END FROM nodes WHERE id >= ? AND id < ? ORDER BY id"
HASHES = "SELECT hash FROM nodes WHERE id >= ? AND id < ? ORDER BY id"
CHECKPOINTS = (
    "SELECT size, CASE typeof(root) WHEN 'blob' THEN root END, CASE typeof(note) WHEN 'text' THEN CAST(note AS BLOB) END, "
    "recorded_at FROM checkpoints ORDER BY size"
)
KINDS = "SELECT kind, position FROM kinds ORDER BY position, kind LIMIT ?"
KINDS_MAX = 100_000
BODY = "SELECT CASE typeof(state) WHEN 'blob' THEN state END FROM stored_events WHERE rowid = ?"
UNIQUE_INDEX = (
    "SELECT count(*) FROM pragma_index_list('stored_events') AS listed WHERE listed.\"unique\" AND NOT listed.partial AND "
    "(SELECT group_concat(name) FROM pragma_index_info(listed.name)) = 'originator_id,originator_version'"
)
STREAM_WITH_GAP = (
    "SELECT 1 FROM stored_events GROUP BY originator_id "
    "HAVING min(originator_version) <> 1 OR max(originator_version) <> count(*) LIMIT 1"
)
VERSION_GAPS = (
    "SELECT rowid, originator_version FROM stored_events AS later WHERE originator_version < 1 OR originator_version > 1 "
    "AND NOT EXISTS (SELECT 1 FROM stored_events AS earlier WHERE earlier.originator_id = later.originator_id "
    "AND earlier.originator_version = later.originator_version - 1) ORDER BY rowid LIMIT ?"
)


class Stop(NamedTuple):
    """A size at which roots are compared."""

    size: int
    root: bytes
    is_outside: bool
    witnessed: tuple[str, ...] = ()


class Inspection:
    """One walk. `faults` says what disagrees and `first_bad` the first position where.

    `records_hold` and `leaves_hold` are the largest sizes for which the records, or the stored leaves, hash to a signed root.
    """

    def __init__(self, connection: sqlite3.Connection, keys: Keys, origin: str, archives: Path | None = None) -> None:
        """`archives` is the folder of the journal's archives, if any is at hand."""
        self.connection, self.keys, self.origin, self.archives = connection, keys, origin, archives
        self.stubs = Stubs(connection)
        self.tree = Tree()
        self.last = 0
        self.count = 0
        self.newest = 0
        self.signed = self.timed = 0
        self.kinds: dict[object, int] = {}
        self.records_hold = self.leaves_hold = 0
        self.missing: int | None = None
        self.outside: list[Stop] = []
        self.outside_held: list[Stop] = []
        self.faults: list[str] = []
        self.faults_count = 0
        self.first_bad: int | None = None
        self.root: bytes | None = None
        self._leaves = Tree()
        self._block: blocks.Block | None = None
        self._differing: dict[int, bool] = {}  # node → whether one of its children differs, which explains it
        self._differing_count = 0

    def expect(self, note: str, witnesses: Sequence[WitnessKey] = ()) -> None:
        """Takes a checkpoint that was kept elsewhere, and notes which of these witnesses have cosigned it. Raises NotANote."""
        checkpoint, text, signatures = read_note(note)
        if checkpoint.origin != self.origin:
            self.fault(f"the given checkpoint is of another journal, {checkpoint.origin}")
            return
        try:
            self.keys.at(checkpoint.size).check(text, signatures, checkpoint.origin)
        except NotSigned as error:
            self.fault(f"the given checkpoint: {error}")
        seen = []
        for witness in witnesses:
            if any(name == witness.name for name, _ in signatures):
                try:
                    seen.append(f"{witness.name} at {as_utc(witness.check(text, signatures))}")
                except NotSigned as error:
                    self.fault(f"the given checkpoint of {checkpoint.size} records: {error}")
        self.outside.append(Stop(checkpoint.size, checkpoint.root, True, tuple(seen)))

    def run(self) -> None:
        with ThreadPoolExecutor(1) as beside:
            self._walk(beside.submit(_own_check, self.connection) if _again(self.connection) else None)

    def _walk(self, own_check: Future[list[str]] | None) -> None:
        """SQLite's own check takes a quarter of the time: where nobody writes, it is done beside."""
        self._tell_rotations()
        for stop in merge(sorted(self.outside), self._signed(), key=lambda stop: stop.size):
            self._grow(stop.size)
            self._check_root(stop)
        self._grow(POSITION_MAX * 2 - 1)
        self.root = None if self.missing else self.tree.root()
        self._check_tail()
        self._tell_differing()
        self._check_versions()
        for text, position in self.stubs.faults(self.archives):
            self.fault(text, position)
        self._check_file(own_check.result() if own_check is not None else _own_check(self.connection))

    def fault(self, text: str, position: int | None = None) -> None:
        """Notes what is wrong, and the first position where."""
        self.faults_count += 1
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(text)
        if position is not None and (self.first_bad is None or position < self.first_bad):
            self.first_bad = position

    # --- checkpoints

    def _tell_rotations(self) -> None:
        for position, text in self.keys.faults:
            self.fault(text, position)

    def _signed(self) -> Iterator[Stop]:
        """Sizes and roots of the file's own checkpoints, ascending."""
        for size, root, note, recorded_at in self.connection.execute(CHECKPOINTS):
            self.newest = max(self.newest, size)
            self._check_time(size, recorded_at)
            checkpoint = self._open(size, root, note)
            if checkpoint is not None:
                self.signed += 1
                yield Stop(size, checkpoint.root, False)

    def _check_time(self, size: int, recorded_at: object) -> None:
        """The time of a checkpoint is not signed; it is that of the last record that it covers, which says so itself."""
        row = self.connection.execute(BODY, (size,)).fetchone()
        stub = stub_of(row[0]) if row else None
        said = stub.recorded_at if stub is not None else _recorded_at(row[0]) if row else None
        if said is not None and said != recorded_at:
            self.fault(
                f"the time of the checkpoint stored for {size} records is not the one that record {size} tells", size
            )
        self.timed += said is not None

    def _open(self, size: int, root: object, note: object) -> Checkpoint | None:
        text = note.decode("utf-8", "replace") if isinstance(note, bytes) else ""
        try:
            checkpoint = verify_note(text, self.keys.at(size))
        except (NotANote, NotSigned) as error:
            self.fault(f"the checkpoint stored for {size} records: {error}", max(size, 1))
            return None
        if (checkpoint.origin, checkpoint.size) != (self.origin, size):
            self.fault(f"the checkpoint stored for {size} records is another one: {checkpoint.text()!r}", max(size, 1))
            return None
        if text.rpartition("\n\n")[2].count("\n") != 1:
            self.fault(f"the checkpoint stored for {size} records has signatures that no journal writes", max(size, 1))
        if checkpoint.root != root:
            self.fault(f"the root stored for {size} records is not the one in its signed note", max(size, 1))
        return checkpoint

    def _check_root(self, stop: Stop) -> None:
        size, root, outside, _ = stop
        if self._root_at(size) == root:
            self.records_hold = self.leaves_hold = size
            if outside:
                self.outside_held.append(stop)
            return
        whose = "given" if outside else "signed"
        if self.last < size:
            self._miss(self.last + 1, size, f"the {whose} checkpoint covers {size}")
        leaves = self._leaves_root(size)
        if leaves == root:
            self.leaves_hold = size
        elif leaves is not None or self.missing is None:
            bound = 1 if outside else max(self.records_hold, self.leaves_hold) + 1
            text = f"the root of the first {size} records is not the one in the {whose} checkpoint"
            self.fault(f"{text}: something from position {bound} to {size} is altered", self.missing or bound)

    def _root_at(self, size: int) -> bytes | None:
        """The root of the first records, None where they are not all there; a block may have been read past them."""
        if self.missing is not None or size > self.tree.size:
            return None
        if size == self.tree.size:
            return self.tree.root()
        assert self._block is not None
        return self._block.root_at(size)

    def _leaves_root(self, size: int) -> bytes | None:
        """The root of the first `size` stored leaves, None where they are not all there. Sizes must ascend."""
        first = stored_count(self._leaves.size)
        for node, digest in self.connection.execute(NODES, (first, min(stored_count(size), POSITION_MAX))):
            if node == stored_count(self._leaves.size):
                self._leaves.append(digest or UNSEALABLE)
        return self._leaves.root() if self._leaves.size == size else None

    # --- records

    def _grow(self, size: int) -> None:
        """Takes the records up to a position, page by page; those of a block that agrees with its nodes all at once, past it."""
        while self.last < size and self._take_block():
            pass
        while page := self._page(size):
            if page[-1][0] - self.last == len(page) and self.missing is None:
                self._take(page)
            else:
                for row in page:
                    self._take_alone(row)
            self._note_kinds(page)
            self.last = page[-1][0]
            self.count += len(page)
            while self.last < size and self._take_block():
                pass

    def _take_block(self) -> bool:
        """False where the next records are no whole block, or something about them has to be looked at one by one."""
        if self.missing is not None or self.last != self.tree.size or self.last % PAGE_RECORDS:
            return False
        first = stored_count(self.tree.size)
        final = self.last + PAGE_RECORDS
        try:
            rows = self.connection.execute(RECORDS, (self.last, final, PAGE_RECORDS)).fetchall()
            if [row[0] for row in rows] != list(range(self.last + 1, final + 1)):
                return False
            block = blocks.Block(self.tree, rows)
            stored = self.connection.execute(HASHES, (first, stored_count(final))).fetchall()
        except (sqlite3.OperationalError, UnicodeEncodeError):
            return False  # some text is not UTF-8
        if not block.agrees([digest for (digest,) in stored]):
            return False
        self._note_kinds(rows)
        self._block, self.tree = block, block.after.fork()
        self.last = final
        self.count += PAGE_RECORDS
        return True

    def _note_kinds(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """The first position of each kind, to compare with the list beside the records."""
        if not {row[3] for row in rows} <= self.kinds.keys():
            for position, _, _, kind, _ in rows:
                self.kinds.setdefault(kind, position)

    def _page(self, size: int) -> list[tuple[Any, ...]]:
        try:
            final = min(size, self.last - self.last % PAGE_RECORDS + PAGE_RECORDS)
            page = self.connection.execute(RECORDS, (self.last, final, PAGE_RECORDS)).fetchall()
            if not page and final < size:
                page = self.connection.execute(RECORDS, (self.last, size, PAGE_RECORDS)).fetchall()
        except sqlite3.OperationalError:
            if self.connection.text_factory is not str:
                raise
            self.connection.text_factory = _any_text  # some text is not UTF-8: slower from here, but it is named
            return self._page(size)
        before = self.last
        for position, *_ in page:
            if type(position) is not int or position <= before:
                raise Unreadable(f"the file is damaged: its positions are out of order after {before}")
            before = position
        return page

    def _take(self, page: Sequence[tuple[Any, ...]]) -> None:
        first = stored_count(self.tree.size)
        nodes = self.tree.extend([self._leaf(row) for row in page] if self.stubs else [_leaf(row) for row in page])
        stored = self.connection.execute(NODES, (first, first + len(nodes))).fetchall()
        if nodes != stored:
            hash_by_node = dict(stored)
            for node, digest in nodes:
                if hash_by_node.get(node) != digest:
                    self._differ(node)

    def _leaf(self, row: tuple[Any, ...]) -> bytes:
        return self.stubs.leaf(row) or _leaf(row)

    def _take_alone(self, row: tuple[Any, ...]) -> None:
        """A record at or after a gap: no root can be computed, but its leaf still has a place."""
        position = row[0]
        following = self.tree.size + 1 if self.missing is None else self.last + 1
        if position != following:
            self._miss(following, position - 1, "later ones are there")
        if self.missing is None:
            self._take([row])
        else:
            leaf = self._leaf(row)
            node = min(stored_index(0, position - 1), POSITION_MAX)
            if self.connection.execute(NODES, (node, node + 1)).fetchall() != [(node, leaf)]:
                self._differ(node)
        self.last = position

    def _miss(self, first: int, final: int, reason: str) -> None:
        what = f"position {first} is" if first == final else f"positions {first} to {final} are"
        self.fault(f"{what} missing: {reason}", first)
        self.missing = self.missing or first

    def _differ(self, node: int) -> None:
        self._differing_count += 1
        if len(self._differing) < DIFFERING_MAX:
            level, n = split_index(node)
            children = (stored_index(level - 1, 2 * n), stored_index(level - 1, 2 * n + 1)) if level else ()
            self._differing[node] = any(child in self._differing for child in children)

    def _tell_differing(self) -> None:
        """Says for each node that differs whether the record was altered or the node; what a child explains is left out."""
        for node, explained in self._differing.items():
            level, n = split_index(node)
            first, final = (n << level) + 1, (n + 1) << level
            if explained:
                continue
            if final <= self.records_hold or (level and final <= self.leaves_hold):
                over = f"position {first}" if first == final else f"positions {first} to {final}"
                self.fault(f"the stored node {node} over {over} is altered; the records hold", first)
            elif level:
                self.fault(
                    f"the stored node {node} does not fit what lies under it, positions {first} to {final}", first
                )
            elif first <= self.leaves_hold:
                self.fault(f"position {first}: the record is not the one that was sealed", first)
            else:
                self.fault(f"position {first}: the record and its stored leaf differ", first)
        self.faults_count += self._differing_count - len(self._differing)

    # --- what else must agree

    def _check_tail(self) -> None:
        held = max(self.records_hold, self.leaves_hold)
        if held < self.last:
            text = f"no valid checkpoint covers positions {held + 1} to {self.last}"
            self.fault(text, None if self.missing is not None and self.missing > held else held + 1)
        beyond = self._one(
            "SELECT count(*) FROM nodes WHERE id < 0 OR id >= ?", min(stored_count(self.last), POSITION_MAX)
        )
        if beyond:
            self.fault(f"{beyond} stored nodes belong to no record", self.last + 1)
        early = self._one("SELECT min(rowid) FROM stored_events WHERE rowid < 1")
        if early is not None:
            self.fault(f"a record stands before the first position, at {early}", early)

    def _check_versions(self) -> None:
        if not self._one(UNIQUE_INDEX):
            self.fault("the index that keeps versions unique is not there")
        elif self._one(STREAM_WITH_GAP) is not None:
            for position, version in self.connection.execute(VERSION_GAPS, (FAULTS_MAX,)):
                self.fault(
                    f"position {position}: version {version} of its stream follows no version before it", position
                )

    def _check_file(self, findings: Sequence[str]) -> None:
        """SQLite's own counter and its own check: an index that disagrees with its table would mislead readers."""
        if self._one("SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_sequence'"):
            ever = self._one("SELECT max(seq) FROM sqlite_sequence WHERE name = 'stored_events'")
            if isinstance(ever, int) and ever > self.last:
                self.fault(f"the file has held {ever} records, and holds {self.last}", self.last + 1)
            elif (ever or 0) != self.last and self.missing is None:
                self.fault(f"the file's counter says {ever}, and it holds {self.last} records")
            if self._one("SELECT count(*) FROM sqlite_sequence") > 1:
                self.fault("the file counts what no journal counts")
        for finding in findings:
            self.fault(f"SQLite finds: {finding}")

    def check_kinds(self) -> None:
        """A program reads this list, not all records, to know whether it understands them; after `run`."""
        stored = dict(self.connection.execute(KINDS, (KINDS_MAX,)).fetchall())
        for kind in sorted({*stored, *self.kinds}, key=str)[:DIFFERING_MAX]:
            listed, first = stored.get(kind), self.kinds.get(kind)
            if listed != first:
                self.fault(
                    f"the list of kinds says that {kind!s:.200} was first recorded at {listed}, and that is {first}",
                    first,
                )

    def check_last_states(self) -> None:
        """What keeps archived streams closed; after `run`."""
        for text, position in self.stubs.faults_of_last_states():
            self.fault(text, position)

    def _one(self, statement: str, *parameters: object) -> Any:
        row = self.connection.execute(statement, parameters).fetchone()
        return None if row is None else row[0]


def _again(connection: sqlite3.Connection) -> str:
    return connection.again if isinstance(connection, Evidence) else ""


def _own_check(connection: sqlite3.Connection) -> list[str]:
    """What SQLite finds, over a connection of its own where there can be one."""
    check = f"PRAGMA integrity_check({FAULTS_MAX})"
    if place := _again(connection):
        with closing(sqlite3.connect(place, uri=True)) as other:
            other.execute("PRAGMA trusted_schema=OFF")
            rows = other.execute(check).fetchall()
    else:
        rows = connection.execute(check).fetchall()
    return [finding for (finding,) in rows if finding != "ok"]


class _Time(msgspec.Struct):
    recorded_at: float


class _Timed(msgspec.Struct):
    meta: _Time


_timed = msgspec.msgpack.Decoder(_Timed)


def _recorded_at(body: object) -> float | None:
    """When a record says that it was written; None where its body can't be read, as it is encrypted or no longer what it was."""
    try:
        return _timed.decode(body).meta.recorded_at if isinstance(body, bytes) else None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _leaf(row: tuple[Any, ...]) -> bytes:
    try:
        return leaf_hash(*row)
    except UnicodeEncodeError:
        return UNSEALABLE


def _any_text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
