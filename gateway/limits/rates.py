"""How often each may ask: the generic cell rate algorithm (ITU-T I.371), one number for each who asked lately.

Requests are of three classes: what reads, what writes, and what is heavy, because it reads a whole journal or makes read models anew. Each
principal has a rate for each class; each tenant has one for all that its principals ask together. Who is over a rate is told when to come
again, ten seconds at most.
"""

from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from math import ceil
from typing import NamedTuple

from gateway.settings import GavelSettings

BURST_SECONDS = 2.0
"""So many seconds' worth may come at once, by who was silent before."""
KEYS_MAX = 100_000
"""Principals and tenants of which a rate is kept; who has not asked for a while costs nothing, being as if never seen."""
RETRY_SECONDS_MAX = 10


class Kind(StrEnum):
    """A class of routes."""

    READ = "read"
    WRITE = "write"
    HEAVY = "heavy"


class Standing(NamedTuple):
    """How somebody stands to a rate after asking: whether this one was let in, how many more could come at once, in how many seconds the
    next may come (none: now), and in how many all that may come at once could come again."""

    is_let_in: bool
    remaining: int
    wait: float
    reset: float


class Rate:
    """So many a second, and a burst of so many at once. `now` tells the time in seconds."""

    def __init__(self, per_second: float, burst: int, now: Callable[[], float]) -> None:
        self.per_second, self.burst = per_second, burst
        self._interval = 1.0 / per_second
        self._tolerance = self._interval * burst
        self._now = now
        self._free_at: dict[str, float] = {}

    def ask(self, key: str) -> Standing:
        """One more of this key; it counts only where it is let in."""
        now = self._now()
        wait = self.wait(key, now)
        debt = max(0.0, self._free_at.get(key, now) - now)
        if wait:
            return Standing(False, 0, wait, debt)
        return Standing(True, int((self._tolerance - debt) * self.per_second + 1e-6), 0.0, debt)

    def look(self, key: str) -> Standing:
        """How it would stand if it asked for one more, which it does not."""
        now = self._now()
        debt = max(0.0, self._free_at.get(key, now) - now)
        late = debt + self._interval - self._tolerance
        return Standing(late <= 1e-9, int((self._tolerance - debt) * self.per_second + 1e-6), max(0.0, late), debt)

    def wait(self, key: str, now: float) -> float:
        """The same as of a time, for who needs to know no more than in how many seconds to ask again (0: it was let in)."""
        free_at = self._free_at.get(key, now)
        after = max(free_at, now) + self._interval
        late = after - now - self._tolerance
        # The sum may round up by as much as the last bit of a time in seconds.
        if late > 1e-9:
            return late
        if len(self._free_at) >= KEYS_MAX and key not in self._free_at:
            self._forget(now)
        self._free_at[key] = after
        return 0.0

    def give_back(self, key: str) -> None:
        """One that was let in was not done after all."""
        if key in self._free_at:
            self._free_at[key] -= self._interval

    def _forget(self, now: float) -> None:
        """Those who are as if never seen; where all are in debt, those who have the least."""
        self._free_at = {key: free_at for key, free_at in self._free_at.items() if free_at > now}
        if len(self._free_at) >= KEYS_MAX:
            most = sorted(self._free_at, key=self._free_at.__getitem__)[KEYS_MAX // 2 :]
            self._free_at = {key: self._free_at[key] for key in most}

    def __len__(self) -> int:
        return len(self._free_at)


class Verdict(NamedTuple):
    """Whether a request is let in, and what its answer says of the rates (RateLimit header fields for HTTP, draft 10)."""

    is_let_in: bool
    policy: str
    standing: str
    retry_seconds: int


class Rates:
    """The rates of one node's callers."""

    def __init__(self, settings: GavelSettings, now: Callable[[], float]) -> None:
        self._now = now
        self._rate_by_kind = {
            Kind.READ: _rate(settings.reads_per_second, now),
            Kind.WRITE: _rate(settings.writes_per_second, now),
            Kind.HEAVY: _rate(settings.heavy_per_minute / 60.0, now, burst_seconds=60.0),
        }
        self._sign_ins = _rate(settings.sign_ins_per_minute / 60.0, now, burst_seconds=60.0)
        self._strangers = _rate(settings.strangers_per_second, now)
        self._of_tenants = _rate(settings.tenant_requests_per_second, now)
        self._policy_by_kind = {kind: _policy(kind, rate) for kind, rate in self._rate_by_kind.items()}
        self.refused: Counter[str] = Counter()
        """Requests that came beyond a rate, by the rate's name."""
        self._policy_of_tenants = _policy("tenant", self._of_tenants)

    def ask(self, tenant: str, principal: str, kind: Kind) -> Verdict:
        """One more request of this principal."""
        rate = self._rate_by_kind[kind]
        key = f"{tenant} {principal}"
        own = rate.ask(key)
        if not own.is_let_in:
            return self._told(own, self._policy_by_kind[kind], kind)
        of_tenant = self._of_tenants.ask(tenant)
        if not of_tenant.is_let_in:
            rate.give_back(key)
            return self._told(of_tenant, self._policy_of_tenants, "tenant")
        if of_tenant.remaining < own.remaining:
            return self._told(of_tenant, self._policy_of_tenants, "tenant")
        return self._told(own, self._policy_by_kind[kind], kind)

    def ask_sign_in(self, address: str) -> Verdict:
        """One more password or ticket from this address."""
        return self._told(self._sign_ins.ask(address), _policy("sign-in", self._sign_ins), "sign-in")

    def ask_stranger(self, address: str) -> Verdict:
        """One more request from this address that is refused, of nobody who is known."""
        return self._of_stranger(self._strangers.ask(address))

    def look_at_stranger(self, address: str, whose: str) -> Verdict:
        """Whether this address may bring what costs much to look at: as long as it was not refused too often, or where it stands for
        somebody who has a rate of their own there."""
        standing = self._strangers.look(address)
        if not standing.is_let_in and whose:
            standing = self._strangers.ask(f"{address} {whose}")
        return self._of_stranger(standing)

    def _of_stranger(self, standing: Standing) -> Verdict:
        return self._told(standing, _policy("stranger", self._strangers), "stranger")

    def wait(self, tenant: str, principal: str, kind: Kind) -> float:
        """The same for who can be kept waiting: counts it where it is let in, and tells in how many seconds to ask again (0: it is)."""
        rate, key, now = self._rate_by_kind[kind], f"{tenant} {principal}", self._now()
        wait = rate.wait(key, now)
        if not wait and (wait := self._of_tenants.wait(tenant, now)):
            rate.give_back(key)
        return wait

    def _told(self, standing: Standing, policy: str, name: str) -> Verdict:
        retry = 0
        if not standing.is_let_in:
            self.refused[name] += 1
            retry = max(1, min(ceil(standing.wait), RETRY_SECONDS_MAX))
        return Verdict(standing.is_let_in, policy, f'"{name}";r={standing.remaining};t={ceil(standing.reset)}', retry)


def _policy(name: str, rate: Rate) -> str:
    return f'"{name}";q={rate.burst};w={ceil(rate.burst / rate.per_second)}'


def _rate(per_second: float, now: Callable[[], float], *, burst_seconds: float = BURST_SECONDS) -> Rate:
    return Rate(per_second, max(1, round(per_second * burst_seconds)), now)
