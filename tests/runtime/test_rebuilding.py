"""What is made anew takes the place of what is served only where it stands as far."""

from pathlib import Path

from projections import tasks
from runtime.read_models import ReadModels, open_database
from runtime.rebuilding import Growing
from tests.projections.stories import told


def test_what_is_served_never_goes_back_although_it_moved_on_after_somebody_looked(tmp_path: Path) -> None:
    records = told(1, 60).records
    half, goal = records[: len(records) // 2], len(records) // 2
    engine = open_database(tmp_path / "read.db", connections_max=2)
    live = ReadModels(engine, (tasks,))
    live.open(len(records))
    live.write(half)
    growing = Growing(live, [tasks.NAME])
    growing.models.write(half)
    assert growing.reaches(goal)
    live.write(records[goal:])
    assert growing.swap(goal) is False
    assert live.standings[tasks.NAME].position == len(records)
    growing.models.write(records[goal:])
    assert growing.swap(goal) is True
    assert live.standings[tasks.NAME].position == len(records)
    engine.dispose()
