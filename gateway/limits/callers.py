"""How many requests and websockets each principal has under way, and all of a tenant together: neither can take the places of all.

Counted from the moment that a caller is known until the last byte of the answer, event streams included.
"""

from typing import Any, NamedTuple

from starlette.exceptions import HTTPException
from starlette.types import Scope

RETRY_SECONDS = 1
PLACE = "caller's place"
"""Where in a scope's state it stands what has to be given back."""

ALL = ""
"""All principals of a tenant: none is called so."""
WHAT_BY_TYPE = {"http": "requests", "websocket": "websockets"}

Key = tuple[str, str, str]


class TooManyAtOnce(HTTPException):
    """The principal, or its tenant, has as much under way as one may have."""

    def __init__(self, whose: str, at_once_max: int, what: str) -> None:
        super().__init__(429, f"one {whose} may have {at_once_max} {what} at once", {"Retry-After": str(RETRY_SECONDS)})


class Most(NamedTuple):
    """How much of a kind a principal may have at once, and a tenant."""

    of_principal: int
    of_tenant: int


class Callers:
    """Counts by tenant and principal."""

    def __init__(self, requests: Most, sockets: Most) -> None:
        self._most_by_type = {"http": requests, "websocket": sockets}
        self._count_by_key: dict[Key, int] = {}

    def enter(self, scope: Scope, tenant: str, principal: str) -> None:
        """One more request or socket of this principal, until `leave`. Raises TooManyAtOnce."""
        kind, counts = scope["type"], self._count_by_key
        key, of_tenant = (kind, tenant, principal), (kind, tenant, ALL)
        most, count, together = self._most_by_type[kind], counts.get(key, 0), counts.get(of_tenant, 0)
        if count >= most.of_principal:
            raise TooManyAtOnce("principal", most.of_principal, WHAT_BY_TYPE[kind])
        if together >= most.of_tenant:
            raise TooManyAtOnce("tenant", most.of_tenant, WHAT_BY_TYPE[kind])
        counts[key], counts[of_tenant] = count + 1, together + 1
        scope["state"][PLACE] = key

    def leave(self, scope: Scope) -> None:
        """The answer is out, or the socket closed. Without a place, nothing."""
        state: dict[str, Any] = scope.get("state") or {}
        key = state.pop(PLACE, None)
        if key is not None:
            self._leave(key)
            self._leave((key[0], key[1], ALL))

    def _leave(self, key: Key) -> None:
        count = self._count_by_key.pop(key) - 1
        if count:
            self._count_by_key[key] = count

    def __len__(self) -> int:
        return len(self._count_by_key)
