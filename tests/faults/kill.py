"""Lives of a bank that end by SIGKILL, at a named point or whenever their watcher likes; who was told what outlives them.

Run as a program, this is the house that the lives come from: it imports everything once and forks a life for each line that it reads, so
that a life costs some milliseconds. What a life says it writes into the pipe that its watcher reads: `ask KEY` before it asks, `told KEY
CENTS` when it was answered. What was in the pipe when it died is heard all the same.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import trio

from runtime import system as system_module
from runtime import telemetry
from runtime.recovery import Recovery
from runtime.store import recorder
from runtime.store.recorder import JournalRecorder
from runtime.store.sqlite import SqliteStore
from runtime.system import System
from tests.faults.books import Answers, key_of
from tests.faults.conftest import CHECKPOINT_PAGES, SAVE_RECORDS
from tests.faults.vfs import OK, Touch, below_sqlite
from tests.runtime.test_system import bank

ROOT = Path(__file__).parents[2]
CLIENTS = 4
TURNS = 12
"""What each client asks for in a life that dies at a named point; a life that is killed from outside goes on for ever."""


class Life(msgspec.Struct):
    """A life to be: what it asks again, where it goes on, and the point where it dies, when that is met the n-th time."""

    folder: str
    again: list[str]
    turn: int
    point: str = ""
    number: int = 0


# --- where a life may die


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class Death:
    """Dies when it is met for the n-th time, from 0."""

    number: int

    def meet(self) -> None:
        if self.number == 0:
            die()
        self.number -= 1


@dataclass
class DeadlyLayer:
    """Dies before or after a touch of SQLite's files."""

    death: Death
    is_it: Callable[[Touch], bool]
    is_after: bool = False

    def before(self, touch: Touch) -> int:
        if not self.is_after and self.is_it(touch):
            self.death.meet()
        return OK

    def after(self, touch: Touch) -> None:
        if self.is_after and self.is_it(touch):
            self.death.meet()


TOUCHES: dict[str, tuple[Callable[[Touch], bool], bool]] = {
    "a frame of the log is written": (
        lambda t: (t.kind, t.path.suffix, len(t.content)) == ("write", ".db-wal", 4096),
        False,
    ),
    "the log is not synced yet": (lambda t: (t.kind, t.path.suffix) == ("sync", ".db-wal"), False),
    "the log has been synced": (lambda t: (t.kind, t.path.suffix) == ("sync", ".db-wal"), True),
    "the log begins anew": (lambda t: (t.kind, t.path.suffix, t.offset) == ("write", ".db-wal", 0), True),
    "the log is copied into the database": (lambda t: (t.kind, t.path.suffix) == ("write", ".db"), False),
    "the copied log is not synced yet": (lambda t: (t.kind, t.path.suffix) == ("sync", ".db"), False),
    "the log of a dead process goes": (lambda t: (t.kind, t.path.suffix) == ("delete", ".db-wal"), False),
}
CALLS: dict[str, tuple[type, str, bool]] = {
    "a batch is handed over": (SqliteStore, "append", False),
    "all is inserted and not committed": (JournalRecorder, "_insert_events", True),
    "a batch is committed and nobody told": (SqliteStore, "append", True),
    "memories are to be saved": (SqliteStore, "save", False),
    "memories have been saved": (SqliteStore, "save", True),
    "a start folds the records": (Recovery, "take", True),
    "a start is about to fold": (System, "recover", False),
}
POINTS = (*TOUCHES, *CALLS)


for_life = ExitStack()
"""What holds for as long as the process lives; nobody closes it."""


def prepare(life: Life) -> None:
    """Has this process die at the life's point."""
    death = Death(life.number)
    if life.point in TOUCHES:
        for_life.enter_context(below_sqlite(Path(life.folder), DeadlyLayer(death, *TOUCHES[life.point])))
    elif life.point:
        owner, name, is_after = CALLS[life.point]
        setattr(owner, name, deadly(getattr(owner, name), death, is_after))


def deadly(method: Callable[..., Any], death: Death, is_after: bool) -> Callable[..., Any]:
    def dying(*arguments: Any, **named: Any) -> Any:
        if not is_after:
            death.meet()
        result = method(*arguments, **named)
        if is_after:
            death.meet()
        return result

    return dying


# --- a life


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def live(life: Life) -> None:
    """Asks again what the one before was asked, then goes on."""
    answers = Answers()

    async def ask(system: System, client: int, turn: int) -> None:
        key = key_of(client, turn)
        say("ask", key)
        await answers.ask(system, client, turn)
        say("told", key, answers.cents_by_key[key])

    async def pay(system: System, client: int) -> None:
        for turn in range(life.turn, life.turn + TURNS) if life.point else count(life.turn):
            await ask(system, client, turn)

    async with bank(Path(life.folder)) as system:
        for key in life.again:
            client, turn = map(int, key.split("-"))
            await ask(system, client, turn)
        async with trio.open_nursery() as nursery:
            for client in range(CLIENTS):
                nursery.start_soon(pay, system, client)


def house() -> None:
    """Forks a life for each line, and says how it ended."""
    telemetry.configure()
    recorder.AUTOCHECKPOINT_PAGES = CHECKPOINT_PAGES
    system_module.SAVE_RECORDS = SAVE_RECORDS
    for line in sys.stdin:
        life = msgspec.json.decode(line, type=Life)
        child = os.fork()
        if not child:
            say("pid", os.getpid())
            prepare(life)
            trio.run(live, life)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        say("end", os.waitstatus_to_exitcode(status))


# --- who watches


@dataclass
class Heard:
    """What a life said: what it asked, what it was told, and how it ended."""

    asked: list[str] = field(default_factory=list)
    cents_by_key: dict[str, int] = field(default_factory=dict)
    status: int = 0


class House:
    """Runs the house, one life after the other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.kill"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        with self._process:
            pass

    def run(self, life: Life, answers_max: int | None = None) -> Heard:
        """Hears all that a life says; kills it after so many answers, in the midst of more, unless it dies by itself."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(life).decode() + "\n")
        self._process.stdin.flush()
        heard, pid = Heard(), 0
        for line in self._process.stdout:
            match line.split():
                case ["pid", number]:
                    pid = int(number)
                case ["ask", key]:
                    heard.asked.append(key)
                case ["told", key, cents]:
                    heard.cents_by_key[key] = int(cents)
                    if len(heard.cents_by_key) == answers_max:
                        os.kill(pid, signal.SIGKILL)
                case ["end", status]:
                    heard.status = int(status)
                    return heard
        raise AssertionError("the house is gone")


def unanswered(asked: Sequence[str], told: dict[str, int]) -> list[str]:
    """What was asked and is in doubt."""
    return [key for key in dict.fromkeys(asked) if key not in told]


if __name__ == "__main__":
    house()
