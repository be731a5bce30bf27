"""Sealed journals to attack: written by the recorder that nodes use, altered by a hostile hand."""

import sqlite3
from contextlib import closing

from eventsourcing.persistence import StoredEvent

from runtime.store.contract import Rows
from runtime.store.layouts import FORMAT
from runtime.store.recorder import JournalDatastore, JournalRecorder
from runtime.transparency import Signer, Tree, leaf_hash

ORIGIN = "gavel/main/0123456789abcdef"
SIGNER = Signer.make()
BATCHES = (3, 5, 4, 1, 7)
SIZE = sum(BATCHES)


def record(position):
    """Three streams in turn, bodies of msgpack's look."""
    body = b"\x82\xa4meta\x80\xa4data\x81\xa1n" + position.to_bytes(2, "big")
    return position, f"task-{position % 3}", (position + 2) // 3, "task.BidPlaced", body


def write(path, batches=BATCHES, *, keep=(8,), signer=SIGNER, records=record):
    """A journal by the recorder that nodes use: the sizes in `keep` stay as milestones beside the newest."""
    recorder = JournalRecorder(JournalDatastore(str(path)))
    recorder.create_table()
    facts = {"format": str(FORMAT), "origin": ORIGIN, "public_key": signer.public_key}
    with recorder.datastore.transaction(commit=True) as cursor:
        cursor.executemany("INSERT INTO facts VALUES (?,?)", facts.items())
    seen: set[str] = set()
    tree, newest = Tree(), None
    for count in batches:
        batch = [records(position) for position in range(tree.size + 1, tree.size + count + 1)]
        nodes = tree.extend([leaf_hash(*row) for row in batch])
        checkpoint = (tree.size, tree.root(), 1.0, signer.sign(ORIGIN, tree.size, tree.root()))
        kinds = {row[3]: row[0] for row in reversed(batch) if row[3] not in seen}
        seen |= kinds.keys()
        rows = Rows(
            nodes=nodes,
            checkpoint=checkpoint,
            superseded=None if newest in keep else newest,
            kinds=sorted(kinds.items()),
        )
        recorder.insert_events([StoredEvent(*row[1:]) for row in batch], first=batch[0][0], rows=rows)
        newest = tree.size
    recorder.datastore.close()
    return tree


def lone(path):
    """Folds the write-ahead log into the file, so that one file is all."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")


def alter(path, *statements):
    """A hostile hand with write access."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(*((statement,) if isinstance(statement, str) else statement))


def note_of(path, size=SIZE):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT note FROM checkpoints WHERE size=?", (size,)).fetchone()[0]


def reseal(path, *, nodes=True, signer=None):
    """Computes the proof anew over what the records are now."""
    tree = Tree()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        rows = connection.execute("SELECT * FROM stored_events ORDER BY rowid").fetchall()
        stored = tree.extend([leaf_hash(*row) for row in rows])
        connection.execute("BEGIN")
        if nodes:
            connection.execute("DELETE FROM nodes")
            connection.executemany("INSERT INTO nodes VALUES (?,?)", stored)
        if signer is not None:
            connection.execute("DELETE FROM kinds")
            connection.execute("INSERT INTO kinds SELECT topic, MIN(rowid) FROM stored_events GROUP BY topic")
            note = signer.sign(ORIGIN, tree.size, tree.root())
            connection.execute("DELETE FROM checkpoints")
            connection.execute("INSERT INTO checkpoints VALUES (?,?,1.0,?)", (tree.size, tree.root(), note))
            connection.execute("UPDATE facts SET value=? WHERE name='public_key'", (signer.public_key,))
        connection.execute("COMMIT")
