"""Whether passwords are tried: of one account, or from one address. So many wrong ones, and for a while none is looked at.

The while doubles with each lock-out in a row, up to a bound, so that nobody is kept out for long by others. Keys, and sessions that are
open, are not concerned.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, get_args

from msgspec import Meta, Struct
from msgspec.structs import replace

from runtime.errors import Refused
from runtime.records import Command, Event, House, State

RULES = 1

FAILURES_MAX_BY_SCOPE = {"account": 5, "address": 20}
"""Wrong passwords within WINDOW_SECONDS that are anybody's mistake."""
WINDOW_SECONDS = 900.0
LOCK_SECONDS = 30.0
LOCK_SECONDS_MAX = 900.0
MEMORY_SECONDS = 86_400.0
"""After so long without a lock-out the next one is short again."""

Whose = Annotated[str, Meta(min_length=1, max_length=200)]


class Scope(StrEnum):
    """What is locked."""

    ACCOUNT = "account"
    ADDRESS = "address"


class Lockout(State, frozen=True, kw_only=True):
    """What decisions about one account or address need to know."""

    failures: int = 0
    since: float = 0.0
    locks: int = 0
    until: float = 0.0


initial = Lockout()


class Tried(Struct, frozen=True, kw_only=True):
    """From when on passwords are looked at again; in the past where they are."""

    until: float


class NoteFailure(Command[Tried], frozen=True, kw_only=True):
    """A wrong password. Sent by the gateway."""

    scope: House[Scope]
    whose: House[Whose]


class NoteSuccess(Command[Tried], frozen=True, kw_only=True):
    """The right password of this account. Sent by the gateway."""

    scope: House[Scope]
    whose: House[Whose]


class Unlock(Command[Tried], frozen=True, kw_only=True):
    """Passwords are looked at again. Sent by an admin."""

    scope: House[Scope]
    whose: House[Whose]


class SignInFailed(Event, frozen=True, kw_only=True):
    scope: Scope
    whose: str
    failures: int
    since: float


class SignInLocked(Event, frozen=True, kw_only=True):
    scope: Scope
    whose: str
    failures: int
    locks: int
    until: float


class SignInCleared(Event, frozen=True, kw_only=True):
    scope: Scope
    whose: str


LockoutCommand = NoteFailure | NoteSuccess | Unlock
LockoutEvent = SignInFailed | SignInLocked | SignInCleared
COMMANDS = get_args(LockoutCommand)
EVENTS = get_args(LockoutEvent)


def stream(tenant: str, scope: Scope, whose: str) -> str:
    """The stream of an account's or address's lock-outs."""
    return f"lockout-{tenant}:{scope.value}:{whose}"


def decide(lockout: Lockout, command: LockoutCommand) -> Sequence[LockoutEvent]:
    match command:
        case NoteFailure():
            return [_failed(lockout, command)]
        case NoteSuccess() | Unlock():
            is_clear = not lockout.failures and not lockout.locks
            return [] if is_clear else [SignInCleared(scope=command.scope, whose=command.whose)]


def _failed(lockout: Lockout, command: NoteFailure) -> LockoutEvent:
    if command.at < lockout.until:
        left = lockout.until - command.at
        raise Refused("sign_in_locked", "too many wrong passwords", status=429, retry_seconds=left)
    is_within = bool(lockout.failures) and command.at < lockout.since + WINDOW_SECONDS
    failures, since = (lockout.failures + 1, lockout.since) if is_within else (1, command.at)
    if failures < FAILURES_MAX_BY_SCOPE[command.scope.value]:
        return SignInFailed(scope=command.scope, whose=command.whose, failures=failures, since=since)
    locks = lockout.locks if command.at < lockout.until + MEMORY_SECONDS else 0
    seconds = min(LOCK_SECONDS * 2.0**locks, LOCK_SECONDS_MAX)
    return SignInLocked(
        scope=command.scope, whose=command.whose, failures=failures, locks=locks + 1, until=command.at + seconds
    )


def evolve(lockout: Lockout, event: LockoutEvent) -> Lockout:
    match event:
        case SignInFailed():
            return replace(lockout, failures=event.failures, since=event.since)
        case SignInLocked():
            return Lockout(locks=event.locks, until=event.until)
        case SignInCleared():
            return initial
