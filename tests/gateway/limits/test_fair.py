"""Tenants that compete take turns, in rotation; who is alone waits for nobody; who leaves leaves the line."""

from collections import Counter

import pytest
import trio
import trio.testing

from gateway.limits import fair
from gateway.limits.fair import LINE_MAX, STARTS, FairTurns
from runtime.errors import Overloaded


@pytest.fixture(autouse=True)
def _long_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a slice may be over before anybody has come."""
    monkeypatch.setattr(fair, "SLICE_SECONDS", 60.0)
    monkeypatch.setattr(fair, "CONTEST_SECONDS", 60.0)


async def ask(turns: FairTurns, tenant: str, begun: list[str]) -> None:
    await turns.begin(tenant)
    begun.append(tenant)


async def test_who_is_alone_waits_for_nobody() -> None:
    turns = FairTurns()
    for _ in range(1000):
        await turns.begin("acme")
    assert turns.waited == 0


async def test_a_tenant_that_asks_for_little_is_begun_before_what_another_has_sent() -> None:
    turns, begun = FairTurns(), list[str]()
    await turns.begin("small")
    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(ask, turns, "flood", begun)
        await trio.testing.wait_all_tasks_blocked()
        ahead = len(begun)
        assert ahead <= STARTS
        nursery.start_soon(ask, turns, "small", begun)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(turns.run)
        while len(begun) < 101:
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert begun.index("small") < ahead + STARTS  # in the first pass
    assert Counter(begun) == {"flood": 100, "small": 1}


async def test_tenants_that_all_flood_are_begun_equally() -> None:
    turns, begun = FairTurns(), list[str]()
    async with trio.open_nursery() as nursery:
        for count, tenant in ((120, "a"), (60, "b"), (30, "c")):
            for _ in range(count):
                nursery.start_soon(ask, turns, tenant, begun)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(turns.run)
        while len(begun) < 210:
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    early = Counter(begun[len(begun) - 210 :][STARTS : STARTS + 75])
    assert max(early.values()) - min(early.values()) <= 2 * STARTS, early


async def test_long_passes_begin_one_request_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair, "PASS_SECONDS", -1.0)
    turns, begun = FairTurns(), list[str]()
    await turns.begin("small")
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(ask, turns, "flood", begun)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(turns.run)
        while len(begun) < 20:
            await trio.lowlevel.checkpoint()
        nursery.start_soon(ask, turns, "small", begun)
        while "small" not in begun:
            await trio.lowlevel.checkpoint()
        between = begun.index("small") - 20
        nursery.cancel_scope.cancel()
    assert between <= 5, begun  # as many as there were passes


async def test_who_leaves_is_not_begun_and_takes_nobodys_turn() -> None:
    turns, begun = FairTurns(starts=1), list[str]()

    async def ask(tenant: str, scope: trio.CancelScope) -> None:
        with scope:
            await turns.begin(tenant)
            begun.append(tenant)

    scopes = [trio.CancelScope() for _ in range(6)]
    await turns.begin("a")
    async with trio.open_nursery() as nursery:
        for number, scope in enumerate(scopes):
            nursery.start_soon(ask, "ab"[number % 2], scope)
        await trio.testing.wait_all_tasks_blocked()
        before = len(begun)
        for scope in scopes[:4]:
            scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(turns.run)
        while len(begun) < 2:
            await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert 2 <= len(begun) <= 2 + before
    assert not turns._lines


async def test_a_line_has_an_end() -> None:
    turns = FairTurns(starts=1)
    await turns.begin("a")
    await turns.begin("b")
    async with trio.open_nursery() as nursery:
        while not turns.waited:
            nursery.start_soon(turns.begin, "b")
            await trio.testing.wait_all_tasks_blocked()
        for _ in range(LINE_MAX - 1):
            nursery.start_soon(turns.begin, "b")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Overloaded, match="of this tenant wait"):
            await turns.begin("b")
        nursery.cancel_scope.cancel()
