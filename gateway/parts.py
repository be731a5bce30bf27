"""A node's parts in one place, as routes and commands find them. Opened and closed by `gateway/node.py`."""

from typing import TypeVar

import trio

from aggregates.key import Principal
from gateway.auth import Tokens, digest_of
from gateway.bounds import Counts
from gateway.folder import DataFolder
from gateway.sessions import Sessions
from gateway.settings import GavelSettings
from gateway.sockets import Sockets
from runtime.blobs import Blobs
from runtime.delivery import Context
from runtime.history import History
from runtime.projector import Projector
from runtime.records import Command
from runtime.room import Room
from runtime.store.store import Store
from runtime.system import System

R = TypeVar("R")

LAG_POSITIONS_MAX = 10_000
"""How far the read models may be behind before the node calls itself not ready."""

FAILURE_SECONDS = 10.0
"""How long a failed commit speaks against the node, where none after it succeeded."""


class Node:
    """A running node. `url` is empty where its door is not open."""

    def __init__(
        self,
        settings: GavelSettings,
        folder: DataFolder,
        store: Store,
        system: System,
        projector: Projector,
        history: History,
        blobs: Blobs,
        room: Room,
    ) -> None:
        self.settings = settings
        self.folder = folder
        self.store = store
        self.system = system
        self.projector = projector
        self.history = history
        self.blobs = blobs
        self.room = room
        self.tokens = Tokens(folder.secret())
        self.sessions = Sessions(system.clock.now, folder.sessions)
        self.sockets = Sockets(system)
        self.counts = Counts()
        self.started_at = system.clock.now()
        self.admin_token = ""
        self.url = ""
        self._failures = 0
        self._commits = 0
        self._failed_at = -FAILURE_SECONDS

    async def ask(
        self, message: Command[R], principal: Principal, *, key: str = "", digest: bytes = b"", correlation: str = ""
    ) -> R:
        """Asks whoever takes this type of message, on somebody's behalf."""
        context = Context(
            tenant=principal.tenant, principal=principal.name, key=key, digest=digest, correlation=correlation
        )
        return await self.system.ask(message, context)

    def sign_in_link(self) -> str:
        """A link that signs a browser in as the admin, once."""
        return f"{self.url}/session?ticket={self.sessions.ticket(digest_of(self.admin_token))}"

    def faults(self) -> list[str]:
        """What keeps the node from being ready; empty when nothing does."""
        journal = self.system.journal
        found = [f"{one.name} stopped: {one.reason}" for one in self.projector.status() if one.reason]
        if self.projector.trouble:
            found.append(f"the read models can't be written: {self.projector.trouble}")
        behind = [one.name for one in self.projector.status() if one.position < journal.position - LAG_POSITIONS_MAX]
        found += [f"{name} is far behind the journal" for name in behind]
        if self._commit_fails():
            found.append(f"the journal could not commit: {journal.last_failure}")
        if fault := self.room.fault():
            found.append(f"no new work is taken: {fault}")
        return found

    def _commit_fails(self) -> bool:
        journal = self.system.journal
        if journal.failures > self._failures:
            self._failures, self._commits, self._failed_at = journal.failures, journal.commits, trio.current_time()
        return journal.commits == self._commits and trio.current_time() < self._failed_at + FAILURE_SECONDS
