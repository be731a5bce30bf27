"""Passwords: hashed and compared on a few threads, since either takes tens of milliseconds and megabytes by design (argon2id, RFC 9106).

The parameters are those of OWASP's password storage sheet (19 MiB, two passes, one lane). Whoever is not there costs as much time as
who is, so that nobody learns by the clock which names exist.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from gateway.limits.places import Places
from runtime.errors import Overloaded, Refused
from runtime.threads import run_blocking

CHARACTERS_MIN, CHARACTERS_MAX = 12, 128
AT_ONCE_MAX = 2
WAITING_MAX, WAITING_OF_TENANT_MAX = 40, 15
"""Who comes when so many wait, in all or of the tenant, is told to come again: a flood of guesses must not fill the memory."""

_hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdCBvZiBub2JvZHk$WK6lzxSGsI7PpIC7vLr1iGseAZ+hgTgR7irkIB+aJDI"
"""A hash of which nobody knows the password."""


class Passwords:
    """Hashes passwords of one node, a few at a time."""

    def __init__(self) -> None:
        self._places = Places(
            AT_ONCE_MAX, "passwords", waiting_of_tenant_max=WAITING_OF_TENANT_MAX, of_all_max=AT_ONCE_MAX
        )
        self._asking = 0

    async def hash(self, tenant: str, password: str) -> str:
        """What is kept of a password. Raises Overloaded, or TooManyAtOnce where it is the tenant that has too many under way."""
        kept: str = await self._done(tenant, partial(_hasher.hash, password))
        return kept

    async def is_right(self, tenant: str, password_hash: str, password: str) -> bool:
        """Whether this is the password of that hash; with no hash it is not, after the same time. Raises as `hash` does."""
        return await self._done(tenant, partial(_is_right, password_hash or NOBODY, password)) and bool(password_hash)

    async def _done(self, tenant: str, work: Callable[[], Any]) -> Any:
        if self._asking >= AT_ONCE_MAX + WAITING_MAX:
            raise Overloaded("too many sign in at the moment")
        self._asking += 1
        try:
            async with self._places.taken(tenant):
                return await run_blocking(work)
        finally:
            self._asking -= 1


def check_password(password: str, *names: str) -> None:
    """Raises Refused where a password is too short or too long, or is one of the user's names."""
    if not CHARACTERS_MIN <= len(password) <= CHARACTERS_MAX:
        raise Refused("password_unfit", f"it takes {CHARACTERS_MIN} to {CHARACTERS_MAX} characters", status=422)
    if password.casefold() in {name.casefold() for name in names}:
        raise Refused("password_unfit", "it must not be the user's name or address", status=422)


def _is_right(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False
