"""The machine that a simulated node runs on: it loses its power, its disk fails, and its clients reach it over a poor line.

A node that loses its power is not stopped: its files are copied as they are at that moment, nothing of what it does afterwards is
seen by anybody, and the next node starts from the copies.
"""

import shutil
import sqlite3
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import outcome
import trio
from eventsourcing.persistence import OperationalError
from sqlalchemy.exc import OperationalError as ReadModelsError

from runtime.dispatcher import without_cancelled
from runtime.errors import Exhausted
from runtime.simulation.faults import (
    COMMIT_FAILS,
    COMMIT_UNSURE,
    CRASH,
    CRASH_AFTER_COMMIT,
    CRASH_BEFORE_COMMIT,
    CUT_OFF,
    DISK_FULL,
    DOUBLED,
    HANDLER_RAISES,
    LATE,
    REPLY_LOST,
    REQUEST_LOST,
    RESTART,
    SLOW_COMMIT,
    TORN_COMMIT,
    Fault,
    Kind,
)
from runtime.simulation.world import World
from runtime.threads import Threads, Worker, instead

N = TypeVar("N")
R = TypeVar("R")

LATENCY_SECONDS = (0.0005, 0.02)
READ_SECONDS = (0.00005, 0.001)
COMMIT_SECONDS = (0.0003, 0.01)
LATE_SECONDS = (0.5, 20.0)
DOWN_SECONDS = (0.1, 5.0)
ANSWER_SECONDS = 10.0
"""How long a client waits for an answer."""

JOURNAL, READ_MODELS = "SqliteStore.append", "ReadModels.write"
COMMITS = (JOURNAL, READ_MODELS)
WRITES = (*COMMITS, "SqliteStore.save", "SqliteStore.forget_replies")


class PowerCut(BaseException):
    """What meets whoever touches the disk of a machine without power."""


class Gone(Exception):
    """The connection broke: there is no node, or there was one when the call began. What was asked may have been done."""


class NoAnswer(Exception):
    """Nothing came back in time. What was asked may have been done."""


class Life(Generic[N]):
    """A node from its start to its end, however that comes."""

    def __init__(self, number: int, folder: Path) -> None:
        self.number = number
        self.folder = folder
        self.scope = trio.CancelScope()
        self.node: N | None = None
        self.nursery: trio.Nursery | None = None
        self.to_stop = trio.Event()
        self.is_dead = False
        self.ended = trio.Event()
        self.calls: dict[trio.Event, None] = {}


class Machine(Generic[N]):
    """Runs a node again and again, from the same files. `boot(folder)` opens it."""

    def __init__(self, world: World, boot: Callable[[Path], AbstractAsyncContextManager[N]]) -> None:
        self.world = world
        self._boot = boot
        self._life: Life[N] = Life(0, world.folder / "0")
        self._life.folder.mkdir()
        self._up = trio.Event()
        self._chance = world.chance("machine")
        self._line = world.chance("line")
        self._stopping = False
        self._finished = trio.Event()
        self._cut_power = trio.Event()
        """All of the faults that take the whole node have struck."""

    # ---- lives

    @property
    def life(self) -> Life[N]:
        """The node that runs now, or starts or ends."""
        return self._life

    @property
    def folder(self) -> Path:
        """Where the files are now."""
        return self._life.folder

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keeps a node running until `stop`; reports that it has started when the first one is up."""
        instead.set(_Disk(self))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cut_power_now_and_then)
            nursery.start_soon(self._live_on)
            await self._up.wait()
            task_status.started()
            await self._finished.wait()
            nursery.cancel_scope.cancel()

    async def _live_on(self) -> None:
        while not self._stopping:
            life = self._life
            await self._live(life)
            if not self._stopping:
                await trio.sleep(self._chance.uniform(*DOWN_SECONDS))
                self._life = Life(life.number + 1, life.folder)
        self._finished.set()

    async def _live(self, life: Life[N]) -> None:
        self.world.note("machine", "starts the node", life=life.number)
        try:
            with life.scope:
                async with self._boot(life.folder) as node, trio.open_nursery() as nursery:
                    life.node, life.nursery = node, nursery
                    self.world.note("machine", "node is up", life=life.number)
                    self._up.set()
                    try:
                        await life.to_stop.wait()
                    finally:
                        self._close(life)  # also where it ends by itself: who calls while it does reaches nobody
                    nursery.cancel_scope.cancel()
        except BaseException as error:  # noqa: BLE001 - whatever ends a node, the machine goes on
            cancelled, _ = without_cancelled(error)
            if cancelled is not None:
                raise cancelled from None
            if not life.is_dead:
                self._ended_by_itself(_innermost(error))
        finally:
            self._end(life)
        self.world.note("machine", "node is down", life=life.number)

    def _ended_by_itself(self, error: BaseException) -> None:
        self.world.note("machine", "node ended by itself", error=type(error).__name__)
        if not isinstance(error, Exhausted) or not self.world.faults.has_struck(HANDLER_RAISES):
            self.world.fail("node_lives", "".join(traceback.format_exception(error)))

    def _close(self, life: Life[N]) -> None:
        """From now on there is no node to be reached."""
        if life is self._life and self._up.is_set():
            self._up = trio.Event()
        life.node = None

    def _end(self, life: Life[N]) -> None:
        self._close(life)
        life.ended.set()
        for done in list(life.calls):
            done.set()

    def crash(self, why: str) -> None:
        """The power is lost now."""
        life = self._life
        if life.is_dead:
            return
        self.world.note("machine", "loses its power", why=why)
        life.is_dead = True
        target = self.world.folder / str(life.number + 1)
        self._copy(life.folder, target)
        life.folder = target
        self._end(life)
        life.scope.cancel()

    def _copy(self, source: Path, target: Path) -> None:
        target.mkdir()
        for file in sorted(source.rglob("*")):
            if file.is_file() and file.suffix not in (".lock", ".db-shm"):
                place = target / file.relative_to(source)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, place)
                place.chmod(file.stat().st_mode & 0o777)

    async def stop(self) -> None:
        """Stops the node in order, for good."""
        self._stopping = True
        self._stop_life()
        await self._finished.wait()

    def restart(self) -> None:
        """Stops the node in order; the next one starts from its files."""
        self.world.note("machine", "stops the node")
        self._stop_life()

    def _stop_life(self) -> None:
        self._close(self._life)
        self._life.to_stop.set()

    async def peace(self) -> N:
        """Lets every fault strike that has not yet, and none after that; then the node, as soon as there is one."""
        faults = self.world.faults
        await trio.sleep_until(max((fault.at + faults.seconds(fault) for fault in faults.all), default=0.0))
        await self._cut_power.wait()
        faults.end()
        return await self.up()

    async def up(self) -> N:
        """The node, as soon as there is one."""
        while (node := self._life.node) is None or self._life.is_dead:
            await self._up.wait()
            await trio.lowlevel.checkpoint()
        return node

    async def _cut_power_now_and_then(self) -> None:
        for fault in self.world.faults.of(CRASH, RESTART):
            await trio.sleep_until(fault.at)
            if fault.kind == RESTART.name or self.world.faults.chance(fault).random() < 0.5:
                await self.up()  # else it may meet a node that is just starting
            if fault.kind == CRASH.name and self.world.faults.strikes(CRASH, self.world.now):
                self.crash("crash")
            elif self.world.faults.strikes(RESTART, self.world.now):
                life = self._life
                self.restart()
                await life.ended.wait()
        self._cut_power.set()

    # ---- the disk

    async def block(self, life: Life[N], function: Callable[..., R], arguments: tuple[Any, ...]) -> R:
        """Blocking work, at the moments and with the faults of this run: it can't be cancelled."""
        point = getattr(function, "__qualname__", type(function).__name__)
        with trio.CancelScope(shield=True):
            await trio.sleep(self._seconds(point))
            self._need_power(life)
            result = self._do(life, point, function, arguments)
            await trio.sleep(self._seconds(point))
            self._need_power(life)
        return cast(R, result.unwrap())

    def _seconds(self, point: str) -> float:
        seconds = self._chance.uniform(*(COMMIT_SECONDS if point in WRITES else READ_SECONDS))
        if point in WRITES and self.world.faults.lasts(SLOW_COMMIT, self.world.now) is not None:
            seconds += self._chance.uniform(0.1, 2.0)
        return seconds

    def _need_power(self, life: Life[N]) -> None:
        if life.is_dead:
            raise PowerCut

    def _do(self, life: Life[N], point: str, function: Callable[..., R], arguments: tuple[Any, ...]) -> Any:
        if point not in WRITES:
            return outcome.capture(function, *arguments)
        if point in COMMITS and self._strikes(CRASH_BEFORE_COMMIT, point):
            self.crash(CRASH_BEFORE_COMMIT.name)
            raise PowerCut
        before = _wal_size(life.folder, point)
        result = self._attempt(point, function, arguments)
        self._note_write(point, arguments, result)
        if point in COMMITS and self._strikes(CRASH_AFTER_COMMIT, point):
            self.crash(CRASH_AFTER_COMMIT.name)
            raise PowerCut
        if point in COMMITS and (fault := self._strikes(TORN_COMMIT, point)):
            self.crash(TORN_COMMIT.name)
            self._tear(life.folder, point, before, fault)
            raise PowerCut
        return result

    def _strikes(self, kind: Kind, point: str) -> Fault | None:
        """A fault of commits strikes either the journal's or the read models'."""
        faults = self.world.faults
        due = faults.next(kind, self.world.now)
        if due is None or (faults.chance(due).random() < 0.7) != (point == JOURNAL):
            return None
        return faults.strikes(kind, self.world.now)

    def _attempt(self, point: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Does it, unless a fault has it fail: before anything of it is on disk, or after all of it is."""
        faults = self.world.faults
        full = faults.lasts(DISK_FULL, self.world.now)
        fails = full or (point in COMMITS and self._strikes(COMMIT_FAILS, point))
        unsure = not fails and point == JOURNAL and self._strikes(COMMIT_UNSURE, point)
        if not (fails or unsure):
            return outcome.capture(function, *arguments)
        why = "database or disk is full" if full else "disk I/O error"
        self.world.note("fault", COMMIT_UNSURE.name if unsure else COMMIT_FAILS.name, point=point, why=why)
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
                self.world.events += len(drafts)
        self.world.note("disk", f"writes {point}", **details)

    def _tear(self, folder: Path, point: str, before: int, fault: Fault) -> None:
        """Cuts the copied write-ahead log somewhere in its last transaction."""
        after = _wal_size(folder, point)
        if after > before:
            size = self.world.faults.chance(fault).randrange(before, after)
            with _wal(folder, point).open("r+b") as file:
                file.truncate(size)

    # ---- the line

    async def call(
        self, client: str, what: str, function: Callable[[N], Awaitable[R]], seconds: float = ANSWER_SECONDS
    ) -> R:
        """Has a client call the node: `function(node)` runs there, and what it returns or raises comes back.

        Raises Gone where the connection breaks and NoAnswer after so many seconds.
        """
        self.world.note(client, "sends", call=what)
        with trio.move_on_after(seconds):
            answer = await self._exchange(client, what, function)
            failed = type(answer.error).__name__ if isinstance(answer, outcome.Error) else ""
            self.world.note(client, "hears", call=what, **({"failure": failed} if failed else {}))
            return cast(R, answer.unwrap())
        self.world.note(client, "hears nothing", call=what)
        raise NoAnswer(what)

    async def _exchange(self, client: str, what: str, function: Callable[[N], Awaitable[R]]) -> Any:
        now = self.world.now
        await trio.sleep(self._line.uniform(*LATENCY_SECONDS))
        if self.world.faults.strikes(LATE, now) is not None:
            self.world.note("fault", LATE.name, client=client, call=what)
            await trio.sleep(self._line.uniform(*LATE_SECONDS))
        await self._if_lost(REQUEST_LOST, client, what)
        if self.world.faults.strikes(DOUBLED, now) is not None:
            self.world.note("fault", DOUBLED.name, client=client, call=what)
            self._again(function)
        answer = await self._serve(client, what, function)
        await trio.sleep(self._line.uniform(*LATENCY_SECONDS))
        await self._if_lost(REPLY_LOST, client, what)
        return answer

    async def _if_lost(self, kind: Kind, client: str, what: str) -> None:
        cut = self.world.faults.lasts(CUT_OFF, self.world.now)
        if cut is not None and self.world.faults.chance(cut).choice((0, 1)) == _number_of(client) % 2:
            self.world.note("fault", CUT_OFF.name, client=client, call=what)
            await trio.sleep_forever()
        if self.world.faults.strikes(kind, self.world.now) is not None:
            self.world.note("fault", kind.name, client=client, call=what)
            await trio.sleep_forever()

    def _again(self, function: Callable[[N], Awaitable[R]]) -> None:
        life = self._life
        if life.nursery is None or life.node is None:
            return
        seconds = self._line.uniform(*LATENCY_SECONDS) * 10

        async def again() -> None:
            await trio.sleep(seconds)
            if life.node is not None:
                await _outcome_of(function, life.node)

        life.nursery.start_soon(again)

    async def _serve(self, client: str, what: str, function: Callable[[N], Awaitable[R]]) -> Any:
        life = self._life
        if life.node is None or life.nursery is None or life.is_dead:
            self.world.note(client, "reaches nobody", call=what)
            raise Gone(what)
        answers: list[Any] = []
        done, scope = trio.Event(), trio.CancelScope()
        life.calls[done] = None

        async def serve(node: N) -> None:
            with scope:
                answers.append(await _outcome_of(function, node))
            done.set()

        life.nursery.start_soon(serve, life.node)
        try:
            await done.wait()
        finally:
            life.calls.pop(done, None)
            if not answers and self._line.random() < 0.5:
                scope.cancel()  # the node has noticed that the client has left
        if not answers or life.is_dead:
            self.world.note(client, "loses the connection", call=what)
            raise Gone(what)
        return answers[0]


class _Disk(Threads):
    """Stands in for threads: blocking work is done here and now, as the machine has it."""

    def __init__(self, machine: Machine[Any]) -> None:
        self._machine = machine

    def open_worker(self, name: str) -> Worker:
        return _Worker(self._machine)

    async def run(
        self,
        function: Callable[..., R],
        arguments: tuple[Any, ...],
        limiter: trio.CapacityLimiter | None,
        abandon_on_cancel: bool,
    ) -> R:
        life = self._machine.life
        if limiter is None:
            return await self._machine.block(life, function, arguments)
        async with limiter:
            return await self._machine.block(life, function, arguments)


class _Worker:
    """One thing after the other, for one life of the node."""

    def __init__(self, machine: Machine[Any]) -> None:
        self._machine = machine
        self._life = machine.life
        self._turn = trio.Lock()

    async def run(self, function: Callable[..., R], /, *arguments: Any) -> R:
        with trio.CancelScope(shield=True):
            async with self._turn:
                return await self._machine.block(self._life, function, arguments)
        raise AssertionError("unreachable")

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


async def _outcome_of(function: Callable[[N], Awaitable[R]], node: N) -> Any:
    try:
        return outcome.Value(await function(node))
    except Exception as error:  # noqa: BLE001 - it is told to the client
        return outcome.Error(error)


def _wal(folder: Path, point: str) -> Path:
    return folder / ("journal.db-wal" if point == JOURNAL else "read.db-wal")


def _wal_size(folder: Path, point: str) -> int:
    file = _wal(folder, point)
    return file.stat().st_size if file.exists() else 0


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _number_of(text: str) -> int:
    """A number from a text, the same in every process."""
    return sum(text.encode())
