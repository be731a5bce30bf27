"""So much of a kind at a time for each tenant: whoever comes beyond waits for the same tenant's, in a line that may have an end, and where
all tenants share what there is, for no more than one turn of each other tenant."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from gateway.limits.callers import TooManyAtOnce


class Places:
    """So many places for each tenant, of so many in all; where no number is given there is no bound. `what` is what they are for."""

    def __init__(
        self, of_tenant_max: int, what: str, *, waiting_of_tenant_max: int | None = None, of_all_max: int | None = None
    ) -> None:
        self._of_tenant_max = of_tenant_max
        self._waiting_of_tenant_max = waiting_of_tenant_max
        self._what = what
        self._limiter_by_tenant: dict[str, trio.CapacityLimiter] = {}
        # A tenant stands in this line as often as it has places: so it holds others up by those, and by nothing that it asks beside.
        self._all = trio.CapacityLimiter(of_all_max) if of_all_max is not None else None

    @asynccontextmanager
    async def taken(self, tenant: str) -> AsyncIterator[None]:
        """Waits for one of the tenant's places, and has it until the block ends. Raises TooManyAtOnce where its line is full."""
        limiter = self._limiter_by_tenant.setdefault(tenant, trio.CapacityLimiter(self._of_tenant_max))
        self._check_line(limiter)
        try:
            async with AsyncExitStack() as held:
                await held.enter_async_context(limiter)
                if self._all is not None:
                    await held.enter_async_context(self._all)
                yield
        finally:
            if not limiter.borrowed_tokens and not limiter.statistics().tasks_waiting:
                self._limiter_by_tenant.pop(tenant, None)

    def _check_line(self, limiter: trio.CapacityLimiter) -> None:
        most = self._waiting_of_tenant_max
        if most is not None and not limiter.available_tokens and limiter.statistics().tasks_waiting >= most:
            raise TooManyAtOnce("tenant", self._of_tenant_max + most, self._what)

    def __len__(self) -> int:
        return len(self._limiter_by_tenant)
