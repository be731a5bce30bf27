"""The bench of coordination gives work out in a real node, and asks for work to be taken over real sockets."""

from pathlib import Path

from benchmarks import cycles, entering
from benchmarks.catalog import BENCHES
from benchmarks.crowds import agent, taken
from benchmarks.measure import NEVER


def test_a_cycle_ends_when_every_task_is_awarded_and_bids_of_all_who_were_called_are_in(tmp_path: Path) -> None:
    assert {row.name for row in (*cycles.ROWS, *entering.ROWS)} <= {row.name for row in BENCHES["coordination"]}
    one = taken(agents=20, tasks=30, awards=30, place=tmp_path)
    offering = sum("cutting" in agent(number).capabilities for number in range(20))
    assert one.awards == 30
    assert one.bids == 30 * offering  # few tasks wait, so everybody is called who has the skill
    assert list(tmp_path.iterdir()) == []


def test_the_rows_on_cycles_measure_both_sides(tmp_path: Path) -> None:
    measured = cycles.cycle(rounds=1, agents=10, tasks=10, place=tmp_path)
    assert measured.ours[0] > 0
    assert measured.theirs == [2.0]
    measured = cycles.growth(rounds=1, small=(10, 50), large=(20, 100), place=tmp_path)
    assert min(measured.ours + measured.theirs) > 0


def test_what_enters_is_answered_and_stands_beside_what_was_asked_for(tmp_path: Path) -> None:
    for entry, wanted in ((entering.TASKS, 50.0), (entering.AGENTS, 100.0)):
        measured = entering.p99(entry, rounds=1, rate=20.0, seconds=0.5, place=tmp_path, tenants=2)
        assert 0 < measured.ours[0] < NEVER
        assert measured.theirs == [wanted]
