"""Logs that can't be written."""

import errno
import io
import json

import pytest
import structlog

from runtime.telemetry import configure


class Disk(io.StringIO):
    """A log's file on a disk that may be full."""

    is_full = False

    def write(self, text: str) -> int:
        if self.is_full:
            raise OSError(errno.ENOSPC, "no space left on device")
        return super().write(text)

    @property
    def lines(self) -> list[tuple[str, int | None]]:
        """What stands there: events, and how many lines they say were lost."""
        found = [json.loads(line) for line in self.getvalue().splitlines()]
        return [(line["event"], line.get("lines")) for line in found]


@pytest.fixture
def disk(logs_as_they_were: None) -> Disk:
    disk = Disk()
    configure("json", stream=disk)
    return disk


def test_what_a_full_disk_does_not_take_is_lost_and_told_once_there_is_room(disk: Disk) -> None:
    log = structlog.get_logger("test")
    log.info("before")
    disk.is_full = True
    for _ in range(3):
        log.error("meanwhile")
    disk.is_full = False
    log.info("after")
    log.info("later")
    assert disk.lines == [("before", None), ("after", None), ("log_lines_lost", 3), ("later", None)]


def test_a_log_that_was_closed_ends_nothing(disk: Disk) -> None:
    disk.close()
    structlog.get_logger("test").warning("nobody hears")
