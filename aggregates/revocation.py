"""A revocation: an identity provider's token, or all that somebody was given before a moment, opens nothing any more.

Which token or whose is told by a digest: the names that providers give are often persons'. It is forgotten when none of the tokens
that it is about can be good any more.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from aggregates.values.numbers import Instant
from aggregates.values.roles import Principal
from aggregates.values.text import Note
from runtime.errors import Refused
from runtime.records import Command, Event, House, State

RULES = 1

Target = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")]
"""The digest of tenant, issuer and the token's id or the subject's."""


class Kind(StrEnum):
    """What is revoked."""

    TOKEN = "token"
    SUBJECT = "subject"


class Revocation(State, frozen=True, kw_only=True):
    """What decisions about one target need to know."""

    issued_before: float = 0.0
    until: float = 0.0


initial = Revocation()


class RevocationAccepted(Struct, frozen=True, kw_only=True):
    """Tokens of the target that were issued before this moment open nothing; after `until` they have all expired anyway."""

    target: Target
    kind: Kind
    issued_before: float
    until: float


class RevokeTokens(Command[RevocationAccepted], frozen=True, kw_only=True):
    """One token, or all tokens of a subject that were issued before a moment, open nothing from now on. Sent by an admin."""

    target: House[Target]
    kind: House[Kind]
    issued_before: House[Instant]
    until: House[Instant]
    reason: Note = ""


class AdmitToken(Command[Principal], frozen=True, kw_only=True):
    """Is a token that its issuer vouches for still good? A question of the gateway's, answered by the security actor with whom it lets
    in; records nothing."""

    principal: House[Principal]
    subject: House[Target]
    token: House[str]
    issued_at: House[Instant]


class ListRevocations(Command[tuple[RevocationAccepted, ...]], frozen=True, kw_only=True):
    """Which revocations of the tenant hold? Answered by the security actor, the newest first; records nothing."""

    limit: House[int]


class TokensRevoked(Event, frozen=True, kw_only=True):
    target: str
    kind: Kind
    issued_before: float
    until: float
    reason: str


RevocationCommand = RevokeTokens
RevocationEvent = TokensRevoked
COMMANDS = (RevokeTokens,)
EVENTS = (TokensRevoked,)


def stream(tenant: str, target: str) -> str:
    """The stream of a target's revocations by one tenant."""
    return f"revocation-{tenant}:{target}"


def decide(revocation: Revocation, command: RevocationCommand) -> Sequence[RevocationEvent]:
    if command.until <= command.at:
        raise Refused("revocation_over", "such tokens have all expired", status=422)
    if command.issued_before <= revocation.issued_before and command.until <= revocation.until:
        return []
    revoked = TokensRevoked(
        target=command.target,
        kind=command.kind,
        issued_before=max(command.issued_before, revocation.issued_before),
        until=max(command.until, revocation.until),
        reason=command.reason,
    )
    return [revoked]


def evolve(revocation: Revocation, event: RevocationEvent) -> Revocation:
    return Revocation(issued_before=event.issued_before, until=event.until)
