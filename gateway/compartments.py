"""The journals of strictly isolated tenants: each is opened, runs and ends by itself. What ends one, be it a file that was altered, another
writer or an actor past its budget, ends no other: its callers are told that it is closed (503) until it is opened again.

That a tenant is isolated stands in the shared journal, with the origin and the public key of its own. So a journal that is listed and not
there, or is another one, stays closed; and a node does not start beside a journal that holds records and is not listed. A tenant's
records never go elsewhere because a file or a line is missing.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, closing
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, NamedTuple

import structlog
import trio
from eventsourcing.persistence import PersistenceError

from aggregates.journal import JournalFacts, ListJournals, OpenJournal
from gateway.api.file_faults import refused_where_unwritable
from gateway.storage.folder import DataFolder, FolderUnusable
from runtime.delivery import Context
from runtime.errors import Fenced, Refused, Unreachable
from runtime.evidence import Unreadable
from runtime.store.contract import Locked
from runtime.threads import run_blocking

if TYPE_CHECKING:
    from gateway.parts import Compartment, Node

GONE = 1013

log = structlog.get_logger("gateway.compartments")


class Opened(NamedTuple):
    """A journal that was opened, and whether this request is the one that has listed it."""

    compartment: "Compartment"
    is_first: bool


@dataclass
class Berth:
    """A journal that is listed, and its compartment where it is open; `reason` says why it is not."""

    facts: JournalFacts
    compartment: "Compartment | None" = None
    reason: str = "it is being opened"
    leaves: trio.Event = field(default_factory=trio.Event)


class Compartments:
    """The named journals of a node, by their names."""

    def __init__(
        self,
        node: "Node",
        nursery: trio.Nursery,
        open_one: Callable[[JournalFacts], AbstractAsyncContextManager["Compartment"]],
        make: Callable[[str], JournalFacts],
    ) -> None:
        """`open_one` opens the journal that is listed so; `make` makes the files of a new one, or finds them, and blocks."""
        self._node = node
        self._nursery = nursery
        self._open_one = open_one
        self._make = make
        self._berth_by_name: dict[str, Berth] = {}
        self._opening = trio.Lock()
        self._is_reachable = False

    def __contains__(self, name: object) -> bool:
        return name in self._berth_by_name

    def __iter__(self) -> Iterator[Berth]:
        return iter(self._berth_by_name.values())

    def find(self, name: str) -> "Compartment":
        """Raises KeyError where there is no such journal, Unreachable where it is closed."""
        berth = self._berth_by_name[name]
        if berth.compartment is None:
            raise Unreachable(f"the journal {name} is closed")  # its reason may name files: operators see it
        return berth.compartment

    async def open_listed(self) -> None:
        """Opens all that the shared journal lists. Raises FolderUnusable where a journal with records is not listed."""
        listed = await self._node.ask_at_start(ListJournals(), "")
        await run_blocking(check_unlisted, self._node.folder, [facts.name for facts in listed])
        if listed and self._node.settings.journal:
            raise FolderUnusable(
                "GAVEL_JOURNAL puts the journal into PostgreSQL, where there are no named journals, and these are listed: "
                + ", ".join(facts.name for facts in listed)
            )
        async with trio.open_nursery() as opening:
            for facts in listed:
                opening.start_soon(self._start, facts)

    def reachable(self) -> None:
        """From now on the world can reach the node."""
        self._is_reachable = True
        for berth in self:
            if berth.compartment is not None:
                berth.compartment.system.opened()

    async def open(self, name: str, context: Context) -> Opened:
        """Isolates a tenant that has no records yet, or opens its journal again. Raises Refused, or Unreachable where it stays closed."""
        async with self._opening:
            berth = self._berth_by_name.get(name)
            is_first = berth is None or await self._was_first(name, context)
            if berth is not None and berth.compartment is not None and not is_first:
                raise Refused("journal_open", f"the journal {name} is open already")
            if berth is None or berth.compartment is None:
                await self._start(await self._list(name, context) if berth is None else berth.facts)
            berth = self._berth_by_name[name]
            if berth.compartment is None:
                raise Unreachable(f"the journal {name} can't be opened: {berth.reason}")
            return Opened(berth.compartment, is_first)

    async def _was_first(self, name: str, context: Context) -> bool:
        """Whether this request has listed the journal before, by its idempotency key; to list it once more is refused."""
        if not context.key:
            return False
        try:
            await self._node.system.ask(OpenJournal(name=name, origin="", public_key=""), context)
        except Refused as refused:
            if refused.code != "journal_exists":
                raise
            return False
        return True

    async def _list(self, name: str, context: Context) -> JournalFacts:
        if self._node.settings.journal:
            raise Refused("journals_unavailable", "a node whose journal is in PostgreSQL has no named journals")
        folder = self._node.folder.named(name)
        is_new = not folder.path.exists()
        try:
            with refused_where_unwritable("the journal's files"):
                facts = await run_blocking(self._make, name)
            return await self._node.system.ask(
                OpenJournal(name=name, origin=facts.origin, public_key=facts.public_key), context
            )
        except Refused:
            if is_new:
                await run_blocking(rmtree, folder.path, True)
            raise

    async def _start(self, facts: JournalFacts) -> None:
        await self._nursery.start(self._run, facts)

    async def _run(self, facts: JournalFacts, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """One journal, until it is told to leave or can't go on."""
        berth = self._berth_by_name[facts.name] = Berth(facts)
        is_told = False
        try:
            async with self._open_one(facts) as compartment:
                berth.compartment = compartment
                if self._is_reachable:
                    compartment.system.opened()
                is_told = True
                task_status.started()
                try:
                    await berth.leaves.wait()
                finally:
                    berth.compartment, berth.reason = None, "the node stops"
                    compartment.sockets.end(GONE, "the journal was closed")
        except Exception as error:
            alone = _innermost(error)
            berth.reason = str(alone) or type(alone).__name__
            log.error("journal_closed", journal=facts.name, reason=berth.reason, exc_info=_unexpected(alone))
            if not is_told:
                task_status.started()

    def leave(self) -> None:
        """Tells all to end in order."""
        for berth in self:
            berth.leaves.set()


def check_unlisted(folder: DataFolder, listed: Sequence[str]) -> None:
    """Raises FolderUnusable where a journal that is not listed holds records. One without any was left by a start that was cut short."""
    for path in sorted(folder.journals.glob("*/journal.db")):
        name = path.parent.name
        if name not in listed and _positions(path):
            raise FolderUnusable(
                f"{path} holds records, and the shared journal does not list it: it is of another node, or the shared journal is older"
            )


def _positions(path: Path) -> int:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name='stored_events'").fetchone():
                return 0
            return int(connection.execute("SELECT COALESCE(MAX(rowid), 0) FROM stored_events").fetchone()[0])
    except sqlite3.Error as error:
        raise FolderUnusable(f"{path} is not listed in the shared journal, and can't be read: {error}") from error


def _innermost(error: BaseException) -> BaseException:
    is_alone = isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1
    return _innermost(error.exceptions[0]) if is_alone and isinstance(error, BaseExceptionGroup) else error


def _unexpected(error: BaseException) -> BaseException | None:
    """What a log has to show whole; the others say by themselves what is wrong."""
    return None if isinstance(error, FolderUnusable | Locked | Unreadable | Fenced | PersistenceError) else error
