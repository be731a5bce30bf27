"""What the security actor decides of sessions: who has signed in, and who is signed out."""

from agents.securing.identities import Decision, Identities
from aggregates import session as sessions
from aggregates.session import EndSession, OpenSession, SessionAccepted
from aggregates.values.roles import Principal
from runtime.actor import Effect, reply
from runtime.errors import Refused

SESSIONS_OF_TENANT_MAX = 5_000
SESSIONS_MAX = 20_000
"""Of all tenants of a journal."""
SESSIONS_OF_ONE_MAX = 20
"""Sessions of one key or user; the oldest makes room."""

OfSessions = OpenSession | EndSession


def decide_sessions(memory: Identities, message: OfSessions) -> Effect:
    """Raises Refused where nobody is let in, or too many are."""
    if isinstance(message, EndSession):
        ended = SessionAccepted(session_id=message.session_id)
        return Effect([(sessions.stream(message.session_id), message)], lambda recorded: reply(message, ended))
    principal = _signs_in(memory, message)
    if principal.tenant != message.tenant:
        raise Refused("session_elsewhere", "it is of another tenant", status=403)
    _check_room(memory, message)
    decisions: list[Decision] = [(sessions.stream(message.session_id), message)]
    open_ = memory.sessions_of(message.user_id or message.key_id)
    spare = [one for one in open_ if one != message.session_id][: max(0, len(open_) + 1 - SESSIONS_OF_ONE_MAX)]
    decisions += [ending(one, "another one made room") for one in spare]
    accepted = SessionAccepted(session_id=message.session_id, principal=principal)
    return Effect(decisions, lambda recorded: reply(message, accepted))


def _check_room(memory: Identities, message: OpenSession) -> None:
    open_ = [one for one in memory.session_by_digest.values() if one.ends_at > message.at]
    if sum(one.tenant == message.tenant for one in open_) >= SESSIONS_OF_TENANT_MAX:
        raise Refused("sessions_too_many", f"{SESSIONS_OF_TENANT_MAX} sessions of this tenant are open", status=503)
    if len(open_) >= SESSIONS_MAX:
        raise Refused("sessions_too_many", f"{SESSIONS_MAX} sessions of all tenants are open", status=503)


def _signs_in(memory: Identities, message: OpenSession) -> Principal:
    if message.user_id:
        return memory.user(message.user_id)
    return memory.key(memory.digest_by_id.get(message.key_id, ""), message.at)


def endings(memory: Identities, whose: str, why: str) -> list[Decision]:
    """Ends all sessions of a key or user."""
    return [ending(one, why) for one in memory.sessions_of(whose)]


def ending(session_id: str, reason: str) -> Decision:
    """Ends one."""
    return sessions.stream(session_id), EndSession(session_id=session_id, reason=reason)
