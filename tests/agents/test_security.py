"""Keys: issued, asked for, revoked, expired."""

from hashlib import sha256
from pathlib import Path

import pytest

from aggregates.journal import JOURNALS_MAX, JournalFacts, ListJournals, OpenJournal
from aggregates.key import Authenticate, IssueKey, KeyAccepted, RevokeKey
from aggregates.values.roles import Role
from runtime.errors import Refused
from tests.agents.crew import open_crew

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
