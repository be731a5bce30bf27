"""Keys: issued, asked for, revoked, expired."""

from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from aggregates.journal import JOURNALS_MAX, JournalFacts, ListJournals, OpenJournal
from aggregates.key import Authenticate, IssueKey, KeyAccepted, ReplaceKey, RevokeKey, Successors
from aggregates.revocation import Kind, RevokeTokens
from aggregates.session import OpenSession, Way
from aggregates.user import RegisterUser, RemoveUser
from aggregates.values.roles import Role
from runtime.errors import Refused
from tests.agents.crew import Crew, open_crew

DIGEST = sha256(b"token").digest()
ISSUE = IssueKey(key_id="k1", role=Role.OPERATOR, digest=DIGEST, label="day shift")


async def test_a_token_says_who_is_asking_even_after_a_restart(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        assert await crew.ask(ISSUE) == KeyAccepted(key_id="k1")
        asked = await crew.ask(Authenticate(digest=DIGEST), tenant="")
    async with open_crew(tmp_path) as crew:
        assert await crew.ask(Authenticate(digest=DIGEST), tenant="") == asked
    assert (asked.name, asked.tenant, asked.role) == ("operator:k1", "acme", Role.OPERATOR)


async def test_a_revoked_key_opens_nothing(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.ask(ISSUE)
        await crew.ask(RevokeKey(key_id="k1"))
        with pytest.raises(Refused, match="key_unknown"):
            await crew.ask(Authenticate(digest=DIGEST))


async def test_an_expired_key_opens_nothing(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        soon = crew.system.clock.now() + 0.05
        await crew.ask(IssueKey(key_id="k1", role=Role.AGENT, digest=DIGEST, expires_at=soon))
        await crew.system.clock.sleep_until(soon)
        with pytest.raises(Refused, match="key_expired"):
            await crew.ask(Authenticate(digest=DIGEST))


async def test_a_key_of_another_tenant_is_not_there(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.ask(ISSUE)
        with pytest.raises(Refused, match="key_unknown"):
            await crew.ask(RevokeKey(key_id="k1"), tenant="other")
        assert (await crew.ask(Authenticate(digest=DIGEST))).tenant == "acme"


async def test_two_keys_never_share_a_token(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.ask(ISSUE)
        with pytest.raises(Refused, match="token_exists"):
            await crew.ask(IssueKey(key_id="k2", role=Role.ADMIN, digest=DIGEST))


def _open(name: str, origin: str = "o") -> OpenJournal:
    return OpenJournal(name=name, origin=origin, public_key="K")


async def test_an_isolated_tenant_gets_no_key_in_the_shared_journal_also_after_a_restart(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        facts = await crew.ask(_open("acme"), tenant="default")
        assert (
            facts
            == await crew.ask(_open("acme"), tenant="default")
            == JournalFacts(name="acme", origin="o", public_key="K")
        )
    async with open_crew(tmp_path) as crew:
        assert await crew.ask(ListJournals(), tenant="") == (facts,)
        with pytest.raises(Refused, match="tenant_isolated"):
            await crew.ask(ISSUE, tenant="acme")
        await crew.ask(ISSUE, tenant="globex")


async def test_a_tenant_that_was_ever_given_a_key_is_not_isolated_any_more(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.ask(ISSUE)
        await crew.ask(RevokeKey(key_id="k1"))
        with pytest.raises(Refused, match="tenant_not_empty"):
            await crew.ask(_open("acme"), tenant="default")


async def test_named_journals_have_a_bound_and_none_is_exchanged(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        for number in range(JOURNALS_MAX):
            await crew.ask(_open(f"t{number}"), tenant="default")
        with pytest.raises(Refused, match="journals_too_many"):
            await crew.ask(_open("more"), tenant="default")
        with pytest.raises(Refused, match="journal_exists"):
            await crew.ask(_open("t0", "another"), tenant="default")


def _digest(name: str) -> bytes:
    return sha256(name.encode()).digest()


async def test_a_key_takes_along_what_it_made_in_its_own_place_and_what_is_said(tmp_path: Path) -> None:
    async def chain(crew: Crew, begin: str) -> list[str]:
        """A key that replaces itself twice, and is then replaced by an admin."""
        names = [f"{begin}{number}" for number in range(4)]
        await crew.ask(IssueKey(key_id=names[0], role=Role.OPERATOR, digest=_digest(names[0])))
        for old, new, by in zip(
            names, names[1:], (f"operator:{names[0]}", f"operator:{names[1]}", "test"), strict=False
        ):
            await crew.ask(ReplaceKey(key_id=old, successor_id=new, digest=_digest(new)), principal=by)
        return names

    async def good(crew: Crew, names: list[str]) -> list[str]:
        found = []
        for name in names:
            with suppress(Refused):
                found.append((await crew.ask(Authenticate(digest=_digest(name)), tenant="")).key_id)
        return found

    async with open_crew(tmp_path) as crew:
        own, every, none, later = [await chain(crew, begin) for begin in ("a", "b", "c", "d")]
        assert (await crew.ask(RevokeKey(key_id="a0"))).also == ("a1", "a2")
        assert (await crew.ask(RevokeKey(key_id="a0"))).also == ()
        assert (await crew.ask(RevokeKey(key_id="b0", successors=Successors.ALL))).also == ("b1", "b2", "b3")
        assert (await crew.ask(RevokeKey(key_id="c0", successors=Successors.NONE))).also == ()
        with pytest.raises(Refused, match="key_in_use"):
            await crew.ask(RevokeKey(key_id="d0", asked_by="d2"))
        with pytest.raises(Refused, match="key_unknown"):
            await crew.ask(RevokeKey(key_id="d0"), tenant="other")
        left = [await good(crew, names) for names in (own, every, none, later)]
        assert left == [["a3"], [], ["c1", "c2", "c3"], later]
        assert (await crew.ask(RevokeKey(key_id="c1"))).also == ("c2",)
    async with open_crew(tmp_path) as crew:
        assert (await crew.ask(RevokeKey(key_id="d1"))).also == ("d2",)
        assert await good(crew, later) == ["d0", "d3"]


async def test_what_one_tenant_has_too_many_of_keeps_no_other_from_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("keys.KEYS", "users.USERS", "sessions.SESSIONS"):
        monkeypatch.setattr(f"agents.securing.{name}_OF_TENANT_MAX", 2)
    monkeypatch.setattr("agents.securing.revocations.REVOCATIONS_OF_TENANT_MAX", 2)

    async def fill(crew: Crew, tenant: str, number: int) -> None:
        """One more of each, in the order in which they depend on each other."""
        name, at = f"{tenant}{number}", crew.system.clock.now()
        await crew.ask(IssueKey(key_id=name, role=Role.OPERATOR, digest=_digest(name)), tenant=tenant)
        await crew.ask(_user(name), tenant=tenant)
        await crew.ask(_session(f"s{name}", name, at), tenant=tenant)
        await crew.ask(_revocation(name, at), tenant=tenant)

    async def refused(crew: Crew, command: Any) -> str:
        with pytest.raises(Refused) as error:
            await crew.ask(command, tenant="acme")
        return error.value.code

    async def all_refused(crew: Crew) -> list[str]:
        at = crew.system.clock.now()
        return [
            await refused(crew, IssueKey(key_id="z", role=Role.OPERATOR, digest=_digest("z"))),
            await refused(crew, ReplaceKey(key_id="acme0", successor_id="z", digest=_digest("z"))),
            await refused(crew, _user("z")),
            await refused(crew, _session("z", "acme0", at)),
            await refused(crew, _revocation("z", at)),
        ]

    codes = ["keys_too_many", "keys_too_many", "users_too_many", "sessions_too_many", "revocations_too_many"]
    async with open_crew(tmp_path) as crew:
        for number in range(2):
            await fill(crew, "acme", number)
        assert await all_refused(crew) == codes
        await fill(crew, "globex", 0)
    async with open_crew(tmp_path) as crew:
        assert await all_refused(crew) == codes
        await fill(crew, "globex", 1)
        await crew.ask(RevokeKey(key_id="acme0"), tenant="acme")
        await crew.ask(IssueKey(key_id="z", role=Role.OPERATOR, digest=_digest("z")), tenant="acme")
        await crew.ask(RemoveUser(user_id="acme0"), tenant="acme")  # with its session
        await crew.ask(_user("z"), tenant="acme")
        await crew.ask(_session("z", "z", crew.system.clock.now()), tenant="acme")
        assert await refused(crew, _session("y", "z", crew.system.clock.now())) == "sessions_too_many"


def _user(user_id: str) -> RegisterUser:
    return RegisterUser(user_id=user_id, username=user_id, email=f"{user_id}@example.org", role=Role.OPERATOR)


def _session(session_id: str, user_id: str, at: float) -> OpenSession:
    digest = _digest(f"session {session_id}")
    return OpenSession(session_id=session_id, digest=digest, way=Way.PASSWORD, ends_at=at + 600.0, user_id=user_id)


def _revocation(name: str, at: float) -> RevokeTokens:
    target = sha256(name.encode()).hexdigest()[:32]
    return RevokeTokens(target=target, kind=Kind.TOKEN, issued_before=at, until=at + 600.0)
