"""Lets a known caller's requests and frames in: within the caller's rates, and in its tenant's turn."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

import trio
from starlette.exceptions import HTTPException

from aggregates.values.roles import Principal
from gateway.identity.bearers import Bearers
from gateway.identity.passwords import Passwords
from gateway.identity.tickets import Tickets
from gateway.limits.fair import FairTurns
from gateway.limits.places import Places
from gateway.limits.rates import Kind, Rates, Verdict

RawHeader = tuple[bytes, bytes]


class Visitors(NamedTuple):
    """What all compartments of a node use to let people and programs in."""

    tickets: Tickets
    passwords: Passwords
    bearers: Bearers
    rates: Rates
    turns: FairTurns
    verifications: Places
    problem_files: Places


class TooOften(HTTPException):
    """Somebody has asked more often than they may."""

    def __init__(self, verdict: Verdict) -> None:
        told = {"RateLimit-Policy": verdict.policy, "RateLimit": verdict.standing}
        super().__init__(429, "more requests than the rate allows", told | {"Retry-After": str(verdict.retry_seconds)})


async def admit(visitors: Visitors, principal: Principal, kind: Kind) -> list[RawHeader]:
    """What the answer has to say of the caller's rates. Raises TooOften, or Overloaded where too many of the tenant wait."""
    verdict = visitors.rates.ask(principal.tenant, principal.name, kind)
    if not verdict.is_let_in:
        raise TooOften(verdict)
    await visitors.turns.begin(principal.tenant)
    return [(b"ratelimit-policy", verdict.policy.encode()), (b"ratelimit", verdict.standing.encode())]


def pace(visitors: Visitors, principal: Principal) -> Callable[[], Awaitable[None]] | None:
    """What to wait for until one more frame of a websocket is within the caller's rates and its tenant's turn has come; None where it is
    let in at once. Whoever is not read sends no more."""
    wait = visitors.rates.wait(principal.tenant, principal.name, Kind.WRITE)
    if not wait and visitors.turns.begins_now(principal.tenant):
        return None
    return partial(_wait, visitors, principal, wait)


async def _wait(visitors: Visitors, principal: Principal, wait: float) -> None:
    while wait:
        await trio.sleep(wait)
        wait = visitors.rates.wait(principal.tenant, principal.name, Kind.WRITE)
    await visitors.turns.begin(principal.tenant)


def check_sign_in(visitors: Visitors, address: str) -> None:
    """One more password or ticket from this address. Raises TooOften."""
    verdict = visitors.rates.ask_sign_in(address)
    if not verdict.is_let_in:
        raise TooOften(verdict)


def check_stranger(visitors: Visitors, address: str, whose: str) -> None:
    """What costs much to look at, from this address and perhaps from somebody who was let in lately. Raises TooOften."""
    verdict = visitors.rates.look_at_stranger(address, whose)
    if not verdict.is_let_in:
        raise TooOften(verdict)
