"""The room on the disk: looked at once a second at most, and short of a minimum refused for what is new."""

from pathlib import Path

import pytest

from runtime.errors import NoRoom
from runtime.room import LOOK_SECONDS, Room, free_bytes


class Disk:
    """A disk whose free bytes a test sets, and that counts who looks."""

    def __init__(self, free: int) -> None:
        self.free = free
        self.looks = 0
        self.now = 100.0
        self.gone = False

    def measure(self, folder: Path) -> int:
        self.looks += 1
        if self.gone:
            raise OSError(5, "Input/output error")
        return self.free

    def room(self, bytes_min: int) -> Room:
        return Room(Path("data"), bytes_min, measure=self.measure, now=lambda: self.now)


def test_below_the_minimum_new_work_is_refused_with_both_numbers() -> None:
    disk = Disk(999)
    with pytest.raises(NoRoom, match="999 bytes are free on the disk, and 1000 are kept") as refused:
        disk.room(1000).check()
    assert refused.value.retry_seconds > 0


def test_at_the_minimum_there_is_room_but_not_for_more_bytes() -> None:
    room = Disk(1000).room(1000)
    room.check()
    with pytest.raises(NoRoom):
        room.check(1)


def test_the_disk_is_looked_at_once_a_second() -> None:
    disk = Disk(999)
    room = disk.room(1000)
    assert [bool(room.fault()) for _ in range(1000)] == [True] * 1000
    assert disk.looks == 1
    disk.free = 1000
    assert room.fault()
    disk.now += LOOK_SECONDS
    assert not room.fault()
    assert disk.looks == 2


def test_without_a_minimum_there_is_always_room_and_nobody_looks() -> None:
    disk = Disk(0)
    disk.room(0).check(10**12)
    assert disk.looks == 0


def test_a_disk_that_cannot_be_asked_has_no_room() -> None:
    disk = Disk(10**12)
    disk.gone = True
    assert "0 bytes are free on the disk: Input/output error" in disk.room(1).fault()


def test_a_real_disk_has_some(tmp_path: Path) -> None:
    assert free_bytes(tmp_path) > 0
