"""The bench of exports measures both sides."""

from pathlib import Path

from benchmarks import exports
from benchmarks.catalog import BENCHES


def test_the_row_on_exports_measures_both_sides(tmp_path: Path):
    assert {row.name for row in exports.ROWS} <= {row.name for row in BENCHES["audit"]}
    measured = exports.export_rate(events=2_000, rounds=2, place=tmp_path)
    assert len(measured.ours) == 2
    assert min(measured.ours + measured.theirs) > 0
