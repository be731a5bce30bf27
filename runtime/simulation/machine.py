"""The machine that a simulated node runs on: it loses its power, its disk fails, and its clients reach it over a poor line.

A node that loses its power is not stopped: its files are copied as they are at that moment, nothing of what it does afterwards is
seen by anybody, and the next node starts from the copies.
"""

import shutil
import traceback
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Generic, TypeVar

import trio

from runtime.dispatcher import without_cancelled
from runtime.errors import Exhausted
from runtime.simulation.disk import Disk
from runtime.simulation.faults import CRASH, HANDLER_RAISES, RESTART
from runtime.simulation.line import ANSWER_SECONDS, Line
from runtime.simulation.world import World
from runtime.threads import instead

N = TypeVar("N")
R = TypeVar("R")

DOWN_SECONDS = (0.1, 5.0)


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
        self._line = Line(self)
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
        instead.set(Disk(self))
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

    # ---- clients

    async def call(
        self, client: str, what: str, function: Callable[[N], Awaitable[R]], seconds: float = ANSWER_SECONDS
    ) -> R:
        """Has a client call the node, over a poor line: see `Line.call`."""
        return await self._line.call(client, what, function, seconds)


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
