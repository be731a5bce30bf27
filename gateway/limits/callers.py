"""How many requests and websockets each principal has under way: one alone can't take the places of all.

Counted from the moment that a caller is known until the last byte of the answer, event streams included.
"""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import Scope

RETRY_SECONDS = 1
PLACE = "caller's place"
"""Where in a scope's state it stands what has to be given back."""

Key = tuple[str, str, str]


class TooManyAtOnce(HTTPException):
    """The principal has as much under way as one may have."""

    def __init__(self, at_once_max: int, what: str) -> None:
        super().__init__(
            429, f"one principal may have {at_once_max} {what} at once", {"Retry-After": str(RETRY_SECONDS)}
        )


class Callers:
    """Counts by tenant and principal."""

    def __init__(self, requests_max: int, sockets_max: int) -> None:
        self._max_by_type = {"http": requests_max, "websocket": sockets_max}
        self._count_by_key: dict[Key, int] = {}

    def enter(self, scope: Scope, tenant: str, principal: str) -> None:
        """One more request or socket of this principal, until `leave`. Raises TooManyAtOnce."""
        kind = scope["type"]
        key = (kind, tenant, principal)
        count = self._count_by_key.get(key, 0)
        if count >= self._max_by_type[kind]:
            raise TooManyAtOnce(self._max_by_type[kind], "requests" if kind == "http" else "websockets")
        self._count_by_key[key] = count + 1
        scope["state"][PLACE] = key

    def leave(self, scope: Scope) -> None:
        """The answer is out, or the socket closed. Without a place, nothing."""
        state: dict[str, Any] = scope.get("state") or {}
        key = state.pop(PLACE, None)
        if key is not None:
            count = self._count_by_key.pop(key) - 1
            if count:
                self._count_by_key[key] = count

    def __len__(self) -> int:
        return len(self._count_by_key)
