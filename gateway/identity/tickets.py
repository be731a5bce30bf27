"""Tickets: what a sign-in link carries. One works once, for a while, and stands for the key that it was made for; then there is a session.

They live in memory, bounded for each tenant; the oldest of the same tenant makes room.
"""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

from aggregates.journal import SHARED

TICKET_SECONDS = 12 * 3600.0
LINK_SECONDS = 600.0
"""How long a link is good that somebody has asked for."""
TICKETS_OF_TENANT_MAX = 100
TICKETS_MAX = 2_000
"""Of all tenants."""
TOKEN_BYTES = 32


class Ticket(NamedTuple):
    """The digest of the key that a ticket stands for, when it ends (seconds since the epoch), its key's journal, and its tenant, empty
    where it is the node's own."""

    digest: bytes
    ends_at: float
    journal: str = SHARED
    tenant: str = ""


class Tickets:
    """The tickets of one node, by the sha256 of their names."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._tickets: OrderedDict[str, Ticket] = OrderedDict()

    def issue(self, digest: bytes, seconds: float = TICKET_SECONDS, journal: str = SHARED, tenant: str = "") -> str:
        """A new ticket for the key of this digest."""
        now = self._now()
        for name in [name for name, kept in self._tickets.items() if kept.ends_at < now]:
            del self._tickets[name]
        mine = [name for name, kept in self._tickets.items() if (kept.journal, kept.tenant) == (journal, tenant)]
        if len(mine) >= TICKETS_OF_TENANT_MAX:
            del self._tickets[mine[0]]
        elif len(self._tickets) >= TICKETS_MAX:
            self._tickets.popitem(last=False)
        ticket = secrets.token_urlsafe(TOKEN_BYTES)
        self._tickets[_sealed(ticket)] = Ticket(digest, now + seconds, journal, tenant)
        return ticket

    def peek(self, ticket: str) -> Ticket | None:
        """What a ticket stands for, as long as it is good."""
        found = self._tickets.get(_sealed(ticket))
        return found if found is not None and found.ends_at >= self._now() else None

    def redeem(self, ticket: str) -> Ticket | None:
        """What a ticket stands for, once; None for one that is unknown, used or too old."""
        found = self._tickets.pop(_sealed(ticket), None)
        return found if found is not None and found.ends_at >= self._now() else None


def _sealed(name: str) -> str:
    return sha256(name.encode(errors="replace")).hexdigest()
