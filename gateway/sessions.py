"""Signing in a browser: a ticket that works once becomes a session cookie, which stands for the key that made the ticket.

Sessions outlive the node, in a file of its data folder that holds no cookie, only the sha256 of each; tickets live in memory.
Both are bounded; the oldest makes room.
"""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog

from aggregates.journal import SHARED
from gateway.folder import read_private, write_private

COOKIE = "gavel-session"
SESSION_SECONDS = 12 * 3600.0
TICKET_SECONDS = 12 * 3600.0
LINK_SECONDS = 600.0
"""How long a link is good that somebody has asked for."""
SESSIONS_MAX = 1000
TICKETS_MAX = 100
TOKEN_BYTES = 32

log = structlog.get_logger("gateway.sessions")


class Pass(NamedTuple):
    """The digest of the key that a ticket or a session stands for, when it ends (seconds since the epoch), and its key's journal."""

    digest: bytes
    ends_at: float
    journal: str = SHARED


_decoder = msgspec.json.Decoder(dict[str, Pass])


class Sessions:
    """The tickets and sessions of one node, by the sha256 of their names; `path` is where sessions are kept."""

    def __init__(self, now: Callable[[], float], path: Path) -> None:
        self._now = now
        self._path = path
        self._tickets: OrderedDict[str, Pass] = OrderedDict()
        self._sessions = self._load()

    def ticket(self, digest: bytes, seconds: float = TICKET_SECONDS, journal: str = SHARED) -> str:
        """A new ticket for the key of this digest."""
        return self._add(self._tickets, TICKETS_MAX, Pass(digest, self._now() + seconds, journal))

    def peek(self, ticket: str) -> Pass | None:
        """What a ticket stands for, as long as it is good."""
        found = self._tickets.get(_sealed(ticket))
        return found if found is not None and found.ends_at >= self._now() else None

    def redeem(self, ticket: str) -> str | None:
        """The session that a ticket gives, once; None for a ticket that is unknown, used or too old."""
        found = self._tickets.pop(_sealed(ticket), None)
        if found is None or found.ends_at < self._now():
            return None
        lasting = found._replace(ends_at=self._now() + SESSION_SECONDS)
        session = self._add(self._sessions, SESSIONS_MAX, lasting)
        self._keep()
        return session

    def find(self, session: str) -> Pass | None:
        """What a session stands for, as long as it lasts."""
        found = self._sessions.get(_sealed(session))
        return found if found is not None and found.ends_at >= self._now() else None

    def end(self, session: str) -> None:
        """Signs out."""
        if self._sessions.pop(_sealed(session), None) is not None:
            self._keep()

    def _add(self, passes: OrderedDict[str, Pass], passes_max: int, one: Pass) -> str:
        now = self._now()
        for name in [name for name, kept in passes.items() if kept.ends_at < now]:
            del passes[name]
        while len(passes) >= passes_max:
            passes.popitem(last=False)
        name = secrets.token_urlsafe(TOKEN_BYTES)
        passes[_sealed(name)] = one
        return name

    def _keep(self) -> None:
        try:
            write_private(self._path, msgspec.json.encode(self._sessions).decode())
        except (
            OSError
        ) as error:  # a full disk must not keep anybody from looking; the session lasts as long as the node
            log.warning("sessions_not_kept", file=str(self._path), reason=str(error))

    def _load(self) -> OrderedDict[str, Pass]:
        """Raises FolderUnusable where others than the owner can reach the file: whoever writes it signs in as anybody."""
        try:
            kept = _decoder.decode(read_private(self._path) or "{}")
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("sessions_forgotten", file=str(self._path), reason=str(error))
            return OrderedDict()
        now = self._now()
        good = sorted(
            ((name, one) for name, one in kept.items() if one.ends_at >= now), key=lambda item: item[1].ends_at
        )
        return OrderedDict(good[-SESSIONS_MAX:])


def _sealed(name: str) -> str:
    return sha256(name.encode(errors="replace")).hexdigest()
