"""Places: a tenant at its bound is told so or waits for itself, and never takes what others need; at the routes, too."""

from functools import partial

import pytest
import trio
import trio.testing

from aggregates.values.roles import Role
from gateway.api import kept
from gateway.api.kept import Answer, Kept
from gateway.identity import passwords
from gateway.identity.passwords import Passwords
from gateway.limits.callers import TooManyAtOnce
from gateway.limits.places import Places
from gateway.parts import (
    MOMENTS_OF_TENANT_MAX,
    PROBLEM_FILES_MAX,
    PROBLEM_FILES_OF_TENANT_MAX,
    VERIFICATIONS_MAX,
    VERIFICATIONS_OF_TENANT_MAX,
)
from runtime.errors import Overloaded
from runtime.history import ASKERS_MAX
from tests.gateway.clients import Client


async def hold(places: Places, tenant: str, until: trio.Event, log: list[str]) -> None:
    async with places.taken(tenant):
        log.append(tenant)
        await until.wait()


async def test_a_tenant_at_its_bound_is_told_so_and_another_gets_in() -> None:
    places, until, got = Places(1, "dances", waiting_of_tenant_max=1, of_all_max=2), trio.Event(), list[str]()
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(hold, places, "greedy", until, got)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(TooManyAtOnce, match="one tenant may have 2 dances at once"):
            async with places.taken("greedy"):
                pytest.fail("there is no place")
        async with places.taken("other"):
            assert (got, len(places)) == (["greedy"], 2)
            nursery.start_soon(hold, places, "third", until, got)
            await trio.testing.wait_all_tasks_blocked()
            assert got == ["greedy"]  # all that there are in all are taken
        await trio.testing.wait_all_tasks_blocked()
        assert got == ["greedy", "third"]
        until.set()
    assert (got, len(places)) == (["greedy", "third", "greedy"], 0)


async def test_who_leaves_the_line_leaves_nothing() -> None:
    places, until, got = Places(1, "dances", waiting_of_tenant_max=1, of_all_max=1), trio.Event(), list[str]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, places, "one", until, got)
        await trio.testing.wait_all_tasks_blocked()
        for tenant in ("one", "other"):
            with trio.move_on_after(0):
                await hold(places, tenant, until, got)
        assert len(places) == 1
        until.set()
    assert (got, len(places)) == (["one"], 0)


def test_of_what_tenants_share_one_can_take_no_more_than_a_part() -> None:
    assert VERIFICATIONS_OF_TENANT_MAX < VERIFICATIONS_MAX
    assert PROBLEM_FILES_OF_TENANT_MAX < PROBLEM_FILES_MAX
    assert MOMENTS_OF_TENANT_MAX < ASKERS_MAX
    assert passwords.WAITING_OF_TENANT_MAX + passwords.AT_ONCE_MAX < passwords.WAITING_MAX


async def test_a_tenant_that_verifies_and_reads_problems_leaves_others_theirs(admin: Client) -> None:
    other = await admin.with_role(Role.TENANT_ADMIN, tenant="other")
    problem = {"name": "p", "blob": (await other.upload(b"2 1\n1 2 1\n")).json()["sha256"]}
    await admin.upload(b"2 1\n1 2 1\n")
    shared = admin.node.visitors
    async with trio.open_nursery() as nursery:
        until, got = trio.Event(), list[str]()
        for places in (shared.verifications, shared.problem_files):
            for _ in range(50):
                nursery.start_soon(partial(_hold_if_there_is_room, places, "default", until, got))
        await trio.testing.wait_all_tasks_blocked()
        assert got == ["default", "default"]
        refused = [await admin.ask("GET", "/v1/audit/verify"), await admin.ask("POST", "/v1/problems", problem)]
        for answer in refused:
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "1"), answer.text
        assert (await other.ask("GET", "/v1/audit/verify")).json()["whole"]
        assert (await other.ask("POST", "/v1/problems", problem)).status_code == 201
        until.set()


async def _hold_if_there_is_room(places: Places, tenant: str, until: trio.Event, log: list[str]) -> None:
    try:
        await hold(places, tenant, until, log)
    except TooManyAtOnce:
        return


async def test_a_tenant_that_hashes_passwords_leaves_others_their_sign_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "WAITING_OF_TENANT_MAX", 1)
    desk = Passwords()
    told: list[type[Exception]] = []

    async def hash(tenant: str) -> None:
        try:
            await desk.hash(tenant, "correct horse")
        except (TooManyAtOnce, Overloaded) as error:
            told.append(type(error))

    async def ask(*tenants: str) -> None:
        async with trio.open_nursery() as nursery:
            for tenant in tenants:
                nursery.start_soon(hash, tenant)

    await ask("greedy", "greedy", "greedy", "greedy", "other", "third")
    assert told == [TooManyAtOnce]
    monkeypatch.setattr(passwords, "WAITING_MAX", 0)
    await ask("one", "other", "third")
    assert told == [TooManyAtOnce, Overloaded]
    assert await desk.is_right("greedy", await desk.hash("other", "correct horse"), "correct horse")


def test_kept_answers_of_a_tenant_push_out_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "KEPT_MAX", 3)
    answers = Kept(lambda: 0.0)
    answer = Answer(b"", 0.0, 200, (), b"")
    for tenant, key in (("quiet", "q1"), *(("greedy", f"g{number}") for number in range(9)), ("third", "t1")):
        answers.keep(tenant, key, answer)
    assert [answers.find(tenant, key) for tenant, key in (("quiet", "q1"), ("greedy", "g8"), ("third", "t1"))] == (
        [answer] * 3
    )
    assert answers.find("greedy", "g7") is None
