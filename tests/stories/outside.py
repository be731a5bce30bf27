"""The world outside the node: where agents do their work, and a ledger of their own of every start and every finish.

It guards itself by fencing tokens: of a task it takes nothing under an older token than the newest it has seen. An agent first prepares
what it has done, then tells the node, and has it count once the node has taken it; whoever dies in between finds here what is unsettled.
"""

import sqlite3
from pathlib import Path
from typing import NamedTuple

SCHEMA = """
CREATE TABLE seen (task TEXT PRIMARY KEY, token INTEGER NOT NULL);
CREATE TABLE starts (task TEXT, token INTEGER, agent TEXT, told INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (task, token));
CREATE TABLE finishes (task TEXT, token INTEGER, agent TEXT, state TEXT, PRIMARY KEY (task, token));
CREATE INDEX unsettled ON finishes (agent) WHERE state = 'prepared';
"""


class Work(NamedTuple):
    """A task under a token."""

    task_id: str
    token: int


class Outside:
    """The outside system and the agents' ledger, in a file that no node knows of."""

    def __init__(self, path: Path) -> None:
        self._file = sqlite3.connect(path, isolation_level=None)
        self._file.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;" + SCHEMA)
        self.fenced = 0
        """How often an older token came than the newest that was seen."""

    def close(self) -> None:
        """Gives the file back."""
        self._file.close()

    def begin(self, agent: str, work: Work) -> bool:
        """Somebody begins; False where a newer token has been here."""
        if not self._is_newest(work):
            return False
        self._file.execute("INSERT OR IGNORE INTO starts (task, token, agent) VALUES (?, ?, ?)", (*work, agent))
        return True

    def started(self, work: Work) -> None:
        """The node has taken the start."""
        self._file.execute("UPDATE starts SET told = 1 WHERE task = ? AND token = ?", work)

    def prepare(self, agent: str, work: Work) -> bool:
        """Somebody is about to finish; False where a newer token has been here."""
        if not self._is_newest(work):
            return False
        self._file.execute("INSERT OR IGNORE INTO finishes VALUES (?, ?, ?, 'prepared')", (*work, agent))
        return True

    def settle(self, work: Work, *, is_taken: bool) -> None:
        """The node has taken the finish, or has refused it; it counts where it was taken and no newer token has been here."""
        state = "accepted" if is_taken and self._is_newest(work) else "refused"
        self._file.execute(
            "UPDATE finishes SET state = ? WHERE task = ? AND token = ? AND state = 'prepared'", (state, *work)
        )

    def unsettled(self, agent: str) -> list[Work]:
        """What an agent has prepared and has no answer to."""
        found = self._file.execute("SELECT task, token FROM finishes WHERE agent = ? AND state = 'prepared'", (agent,))
        return [Work(*row) for row in found]

    def count_unsettled(self) -> int:
        """How much all of them have."""
        (count,) = self._file.execute("SELECT count(*) FROM finishes WHERE state = 'prepared'").fetchone()
        return int(count)

    def accepted(self) -> dict[Work, str]:
        """What counts, and who has done it."""
        found = self._file.execute("SELECT task, token, agent FROM finishes WHERE state = 'accepted'")
        return {Work(task, token): agent for task, token, agent in found}

    def starts(self) -> dict[Work, str]:
        """What the node has been told the start of, and by whom."""
        found = self._file.execute("SELECT task, token, agent FROM starts WHERE told = 1")
        return {Work(task, token): agent for task, token, agent in found}

    def _is_newest(self, work: Work) -> bool:
        row = self._file.execute("SELECT token FROM seen WHERE task = ?", (work.task_id,)).fetchone()
        if row is not None and row[0] > work.token:
            self.fenced += 1
            return False
        if row is None or row[0] < work.token:
            self._file.execute("INSERT OR REPLACE INTO seen VALUES (?, ?)", work)
        return True
