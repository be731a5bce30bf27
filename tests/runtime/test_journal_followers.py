"""Followers of a journal: from memory while they keep up, from the file when they are behind; each at its own pace, in order, all of it."""

from pathlib import Path

import pytest
import trio

from runtime import tail
from runtime.journal import Journal
from runtime.records import Recorded
from runtime.system import System
from tests.runtime.bank import Deposit
from tests.runtime.test_system import ANN, bank


async def deposit(system: System, count: int) -> None:
    for _ in range(count):
        await system.ask(Deposit(account="a", cents=1), ANN)


def counted_reads(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Where the file is read from, each time that it is."""
    reads, read = [], journal.store.read

    def reading(after: int, limit: int) -> list[Recorded]:
        reads.append(after)
        return read(after, limit)

    monkeypatch.setattr(journal.store, "read", reading)
    return reads


async def follow(journal: Journal, after: int, upto: int, limit: int) -> list[int]:
    seen = []
    while after < upto:
        await journal.wait_past(after)
        page = await journal.read(after, limit)
        seen += [record.position for record in page]
        after = seen[-1]
    return seen


async def test_who_keeps_up_reads_from_memory_and_who_is_behind_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "RECORDS_MAX", 10)
    async with bank(tmp_path) as system:
        await deposit(system, 30)
        journal = system.journal
        reads = counted_reads(journal, monkeypatch)
        assert await follow(journal, 20, 30, limit=4) == list(range(21, 31))
        assert reads == []
        assert await follow(journal, 0, 30, limit=8) == list(range(1, 31))
        assert reads == [0, 8, 16]


async def test_after_a_restart_the_file_is_followed_into_memory_without_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bank(tmp_path) as system:
        await deposit(system, 7)
    async with bank(tmp_path) as system:
        reads, found = counted_reads(system.journal, monkeypatch), []

        async def follower() -> None:
            found.extend(await follow(system.journal, 3, 12, limit=3))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follower)
            await deposit(system, 5)
        assert found == list(range(4, 13))
        assert reads[0] == 3


async def test_a_follower_that_does_not_read_holds_up_nobody_and_misses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "RECORDS_MAX", 5)
    async with bank(tmp_path) as system:
        journal, wakes = system.journal, trio.Event()
        seen: dict[str, list[int]] = {"quick": [], "slow": []}

        async def quick() -> None:
            seen["quick"] = await follow(journal, 0, 40, limit=100)

        async def slow() -> None:
            first = await follow(journal, 0, 1, limit=1)
            await wakes.wait()
            seen["slow"] = [*first, *await follow(journal, 1, 40, limit=3)]

        async with trio.open_nursery() as nursery:
            nursery.start_soon(quick)
            nursery.start_soon(slow)
            await deposit(system, 40)
            assert journal.position == 40
            assert len(journal._tail) == 5
            wakes.set()
        assert seen == {"quick": list(range(1, 41)), "slow": list(range(1, 41))}
