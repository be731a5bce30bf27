"""Every bench there is."""

from benchmarks import journal, runtime
from benchmarks.measure import Row

BENCHES: dict[str, tuple[Row, ...]] = {"runtime": runtime.ROWS, "journal": journal.ROWS}
