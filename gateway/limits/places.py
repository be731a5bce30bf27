"""So much of a kind at a time for each tenant: whoever comes beyond waits for the same tenant's, and for nobody else's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


class Places:
    """So many places for each tenant."""

    def __init__(self, of_tenant_max: int) -> None:
        self._of_tenant_max = of_tenant_max
        self._limiter_by_tenant: dict[str, trio.CapacityLimiter] = {}

    @asynccontextmanager
    async def taken(self, tenant: str) -> AsyncIterator[None]:
        """Waits for one of the tenant's places, and has it until the block ends."""
        limiter = self._limiter_by_tenant.setdefault(tenant, trio.CapacityLimiter(self._of_tenant_max))
        try:
            async with limiter:
                yield
        finally:
            if not limiter.borrowed_tokens and not limiter.statistics().tasks_waiting:
                self._limiter_by_tenant.pop(tenant, None)

    def __len__(self) -> int:
        return len(self._limiter_by_tenant)
