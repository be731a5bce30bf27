"""The bench of a call for proposals measures both sides, over real sockets."""

from pathlib import Path

import pytest

from benchmarks import rounds
from benchmarks.catalog import BENCHES
from benchmarks.doors import open_door
from benchmarks.knocking import head, knock
from benchmarks.measure import NotMeasurable


def test_the_row_on_rounds_measures_both_sides(tmp_path: Path):
    assert {row.name for row in rounds.ROWS} <= {row.name for row in BENCHES["coordination"]}
    measured = rounds.round_ws(agents=20, rounds=20, repetitions=1, place=tmp_path)
    assert min(measured.ours + measured.theirs) > 0


def test_a_round_in_which_somebody_is_not_heard_counts_as_not_measured():
    with open_door("ours_bare") as door, pytest.raises(NotMeasurable, match="no websocket"):
        knock(
            "benchmarks.bidders",
            port=door.port,
            pid=door.pid,
            requests=[head("GET", "/")],
            posted="",
            warm=0,
            rounds=1,
            seed=1,
        )
