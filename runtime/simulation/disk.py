"""The disk of a simulated machine: blocking work is done inline, at drawn moments, and its commits fail as the run's faults have it.

It stands in for the runtime's threads. A commit is a method that is known by its name: the journal's, and the read models'.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import outcome
import trio
from eventsourcing.persistence import OperationalError
from sqlalchemy.exc import OperationalError as ReadModelsError

from runtime.simulation.faults import (
    COMMIT_FAILS,
    COMMIT_UNSURE,
    CRASH_AFTER_COMMIT,
    CRASH_BEFORE_COMMIT,
    DISK_FULL,
    SLOW_COMMIT,
    TORN_COMMIT,
    Fault,
    Kind,
)
from runtime.threads import Done, Threads, Worker

if TYPE_CHECKING:
    from runtime.simulation.machine import Life, Machine

R = TypeVar("R")
A = TypeVar("A")

READ_SECONDS = (0.00005, 0.001)
COMMIT_SECONDS = (0.0003, 0.01)

JOURNAL, READ_MODELS = "SqliteStore.append", "ReadModels.write"
COMMITS = (JOURNAL, READ_MODELS)
WRITES = (*COMMITS, "SqliteStore.save", "SqliteStore.forget_replies")


class PowerCut(BaseException):
    """What meets whoever touches the disk of a machine without power."""


class Disk(Threads):
    """Does the blocking work of a machine's lives."""

    def __init__(self, machine: "Machine[Any]") -> None:
        self._machine = machine
        self._world = machine.world
        self._chance = machine.world.chance("machine")

    def open_worker(self, name: str) -> Worker:
        return _Worker(self, self._machine.life)

    async def run(
        self,
        function: Callable[..., R],
        arguments: tuple[Any, ...],
        limiter: trio.CapacityLimiter | None,
        abandon_on_cancel: bool,
    ) -> R:
        life = self._machine.life
        if limiter is None:
            return await self.block(life, function, arguments)
        async with limiter:
            return await self.block(life, function, arguments)

    async def block(
        self,
        life: "Life[Any]",
        function: Callable[..., R],
        arguments: tuple[Any, ...] = (),
        *,
        made: Callable[[], Any] | None = None,
    ) -> R:
        """Blocking work, at the moments and with the faults of this run; it can't be cancelled. `made` gives its argument in time."""
        point = getattr(function, "__qualname__", type(function).__name__)
        with trio.CancelScope(shield=True):
            await trio.sleep(self._seconds(point))
            self._need_power(life)
            if made is not None:
                arguments = (made(),)
            result = self._do(life, point, function, arguments)
            await trio.sleep(self._seconds(point))
            self._need_power(life)
        return cast(R, result.unwrap())

    def _seconds(self, point: str) -> float:
        seconds = self._chance.uniform(*(COMMIT_SECONDS if point in WRITES else READ_SECONDS))
        if point in WRITES and self._world.faults.lasts(SLOW_COMMIT, self._world.now) is not None:
            seconds += self._chance.uniform(0.1, 2.0)
        return seconds

    def _need_power(self, life: "Life[Any]") -> None:
        if life.is_dead:
            raise PowerCut

    def _do(self, life: "Life[Any]", point: str, function: Callable[..., R], arguments: tuple[Any, ...]) -> Any:
        if point not in WRITES:
            return outcome.capture(function, *arguments)
        if point in COMMITS and self._strikes(CRASH_BEFORE_COMMIT, point):
            self._machine.crash(CRASH_BEFORE_COMMIT.name)
            raise PowerCut
        before = _wal_size(life.folder, point)
        result = self._attempt(point, function, arguments)
        self._note_write(point, arguments, result)
        if point in COMMITS and self._strikes(CRASH_AFTER_COMMIT, point):
            self._machine.crash(CRASH_AFTER_COMMIT.name)
            raise PowerCut
        if point in COMMITS and (fault := self._strikes(TORN_COMMIT, point)):
            self._machine.crash(TORN_COMMIT.name)
            self._tear(life.folder, point, before, fault)
            raise PowerCut
        return result

    def _strikes(self, kind: Kind, point: str) -> Fault | None:
        """A fault of commits strikes either the journal's or the read models'."""
        faults = self._world.faults
        due = faults.next(kind, self._world.now)
        if due is None or (faults.chance(due).random() < 0.7) != (point == JOURNAL):
            return None
        return faults.strikes(kind, self._world.now)

    def _attempt(self, point: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Does it, unless a fault has it fail: before anything of it is on disk, or after all of it is."""
        faults = self._world.faults
        full = faults.lasts(DISK_FULL, self._world.now)
        fails = full or (point in COMMITS and self._strikes(COMMIT_FAILS, point))
        unsure = not fails and point == JOURNAL and self._strikes(COMMIT_UNSURE, point)
        if not (fails or unsure):
            return outcome.capture(function, *arguments)
        why = "database or disk is full" if full else "disk I/O error"
        self._world.note("fault", COMMIT_UNSURE.name if unsure else COMMIT_FAILS.name, point=point, why=why)
        if point == JOURNAL:
            recorder = cast(Any, function).__self__._recorder
            with _failing(recorder, "insert_events", OperationalError(why), afterwards=bool(unsure)):
                return outcome.capture(function, *arguments)
        cause = sqlite3.OperationalError(why)
        return outcome.Error(ReadModelsError("", {}, cause) if point == READ_MODELS else OperationalError(why))

    def _note_write(self, point: str, arguments: tuple[Any, ...], result: Any) -> None:
        failed = type(result.error).__name__ if isinstance(result, outcome.Error) else ""
        details: dict[str, Any] = {"failed": failed} if failed else {}
        if point == JOURNAL:
            drafts = arguments[0].drafts
            kinds = ",".join(draft.kind for draft in drafts)
            if drafts:
                details |= {"positions": f"{drafts[0].position}..{drafts[-1].position}", "kinds": kinds}
            if not failed:
                self._world.events += len(drafts)
        self._world.note("disk", f"writes {point}", **details)

    def _tear(self, folder: Path, point: str, before: int, fault: Fault) -> None:
        """Cuts the copied write-ahead log somewhere in its last transaction."""
        after = _wal_size(folder, point)
        if after > before:
            size = self._world.faults.chance(fault).randrange(before, after)
            with _wal(folder, point).open("r+b") as file:
                file.truncate(size)


class _Worker:
    """One thing after the other, for one life of the node."""

    def __init__(self, disk: Disk, life: "Life[Any]") -> None:
        self._disk = disk
        self._life = life
        self._turn = trio.Lock()

    async def run(self, function: Callable[..., R], /, *arguments: Any) -> R:
        with trio.CancelScope(shield=True):
            async with self._turn:
                return await self._disk.block(self._life, function, arguments)
        raise AssertionError("unreachable")

    def start(self, function: Callable[[A], R], argument: Callable[[], A], done: Done[R], /) -> None:
        trio.lowlevel.spawn_system_task(self._do, function, argument, done)

    async def _do(self, function: Callable[[A], R], argument: Callable[[], A], done: Done[R]) -> None:
        async with self._turn:
            result = await outcome.acapture(self._disk.block, self._life, function, made=argument)
        done(result)

    def close(self) -> None:
        """There is nothing to end."""


@contextmanager
def _failing(owner: Any, name: str, error: Exception, *, afterwards: bool) -> Iterator[None]:
    """Has a method of this object raise: in place of what it does, or after that."""
    real = getattr(owner, name)

    def failing(*arguments: Any, **named: Any) -> Any:
        if afterwards:
            real(*arguments, **named)
        raise error

    setattr(owner, name, failing)
    try:
        yield
    finally:
        delattr(owner, name)


def _wal(folder: Path, point: str) -> Path:
    return folder / ("journal.db-wal" if point == JOURNAL else "read.db-wal")


def _wal_size(folder: Path, point: str) -> int:
    file = _wal(folder, point)
    return file.stat().st_size if file.exists() else 0
