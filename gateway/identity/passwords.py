"""Passwords: hashed and compared on a few threads, since either takes tens of milliseconds and megabytes by design (argon2id, RFC 9106).

The parameters are those of OWASP's password storage sheet (19 MiB, two passes, one lane). Whoever is not there costs as much time as
who is, so that nobody learns by the clock which names exist.
"""

from functools import partial

import trio
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from runtime.errors import Overloaded, Refused
from runtime.threads import run_blocking

CHARACTERS_MIN, CHARACTERS_MAX = 12, 128
AT_ONCE_MAX = 2
WAITING_MAX = 40
"""Who comes when so many wait is told to come again: a flood of guesses must not fill the memory."""

_hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdCBvZiBub2JvZHk$WK6lzxSGsI7PpIC7vLr1iGseAZ+hgTgR7irkIB+aJDI"
"""A hash of which nobody knows the password."""


class Passwords:
    """Hashes passwords of one node, a few at a time."""

    def __init__(self) -> None:
        self._places = trio.CapacityLimiter(AT_ONCE_MAX)

    async def hash(self, password: str) -> str:
        """What is kept of a password. Raises Overloaded."""
        self._check_room()
        return await run_blocking(_hasher.hash, password, limiter=self._places)

    async def is_right(self, password_hash: str, password: str) -> bool:
        """Whether this is the password of that hash; with no hash it is not, after the same time. Raises Overloaded."""
        self._check_room()
        check = partial(_is_right, password_hash or NOBODY, password)
        return await run_blocking(check, limiter=self._places) and bool(password_hash)

    def _check_room(self) -> None:
        if self._places.statistics().tasks_waiting >= WAITING_MAX:
            raise Overloaded("too many sign in at the moment")


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
