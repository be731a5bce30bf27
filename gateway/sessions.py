"""Signing in a browser: a ticket that works once becomes a session cookie, which stands for the key that made the ticket.

Both live in memory: a restart signs everybody out. Both are bounded; the oldest makes room.
"""

import secrets
from collections import OrderedDict
from typing import NamedTuple

import trio

COOKIE = "gavel-session"
SESSION_SECONDS = 12 * 3600.0
TICKET_SECONDS = 12 * 3600.0
SESSIONS_MAX = 1000
TICKETS_MAX = 100
TOKEN_BYTES = 32


class Pass(NamedTuple):
    """The digest of the key that a ticket or a session stands for, and when it ends (Trio's time)."""

    digest: bytes
    ends_at: float


class Sessions:
    """The tickets and sessions of one node."""

    def __init__(self) -> None:
        self._tickets: OrderedDict[str, Pass] = OrderedDict()
        self._sessions: OrderedDict[str, Pass] = OrderedDict()

    def ticket(self, digest: bytes) -> str:
        """A new ticket for the key of this digest."""
        return _add(self._tickets, TICKETS_MAX, Pass(digest, trio.current_time() + TICKET_SECONDS))

    def redeem(self, ticket: str) -> str | None:
        """The session that a ticket gives, once; None for a ticket that is unknown, used or too old."""
        found = self._tickets.pop(ticket, None)
        if found is None or found.ends_at < trio.current_time():
            return None
        return _add(self._sessions, SESSIONS_MAX, Pass(found.digest, trio.current_time() + SESSION_SECONDS))

    def digest_of(self, session: str) -> bytes | None:
        """The digest of the key that a session stands for."""
        found = self._sessions.get(session)
        return found.digest if found is not None and found.ends_at >= trio.current_time() else None

    def end(self, session: str) -> None:
        """Signs out."""
        self._sessions.pop(session, None)


def _add(passes: OrderedDict[str, Pass], passes_max: int, new: Pass) -> str:
    while len(passes) >= passes_max:
        passes.popitem(last=False)
    name = secrets.token_urlsafe(TOKEN_BYTES)
    passes[name] = new
    return name
