"""The newest records of a journal, kept at hand for those who follow it: bounded by their number and by their bytes on disk."""

from collections import deque
from collections.abc import Sequence

from runtime.records import Recorded

RECORDS_MAX = 20_000
BYTES_MAX = 16 * 2**20
"""On disk: small documents take fifty times as much in memory."""


class Tail:
    """Records without a gap up to the last one committed. Whole commits go as they are too many, the oldest first, so that nothing is
    done for each record."""

    def __init__(self) -> None:
        self._records: list[Recorded] = []
        self._commits: deque[tuple[int, int]] = deque()
        """The records and bytes of each commit."""
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._records)

    def add(self, records: Sequence[Recorded], size: int) -> None:
        """Keeps what a commit has brought, so many bytes."""
        self._records += records
        self._commits.append((len(records), size))
        self._bytes += size
        surplus, commits = 0, self._commits
        while commits and (len(self._records) - surplus > RECORDS_MAX or self._bytes > BYTES_MAX):
            count, size = commits.popleft()
            surplus += count
            self._bytes -= size
        if surplus:
            del self._records[:surplus]

    def after(self, position: int, limit: int) -> list[Recorded] | None:
        """Up to `limit` records past a position; None where they reach back less far."""
        records = self._records
        if not records or records[0].position > position + 1:
            return None
        first = position + 1 - records[0].position
        return records[first : first + limit]

    def clear(self) -> None:
        """Forgets all of them: they stand on disk."""
        self._records.clear()
        self._commits.clear()
        self._bytes = 0
