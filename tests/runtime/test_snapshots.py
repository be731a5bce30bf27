"""States of long streams are saved where folding them costs more than reading a copy, and only then."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from eventsourcing.persistence import OperationalError

from runtime import snapshots
from runtime.clock import FixedClock, SystemClock
from runtime.delivery import Context
from runtime.errors import NotCommitted
from runtime.folding import FIRST_GUESS_SECONDS
from runtime.ids import Ids
from runtime.journal import Journal
from runtime.snapshots import COPIES_MAX, EVENTS_MIN, FOLD_SECONDS_MIN
from runtime.store.contract import SavedState
from runtime.store.sqlite import SqliteStore
from runtime.system import Role, open_system
from tests.contract.places import batch
from tests.runtime.bank import Ask, Balance, Deposit, Teller
from tests.runtime.test_folding import folder_of, opened, twin

ANN = Context(tenant="t1", principal="ann")
LONG = 2 * round(FOLD_SECONDS_MIN / FIRST_GUESS_SECONDS)
"""Under a clock that stands, a record costs what was guessed first."""


@pytest.fixture(autouse=True)
def _guess(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured by a clock that stands says nothing."""
    monkeypatch.setattr("runtime.folding.MEASURED_EVENTS_MIN", 10**9)


@asynccontextmanager
async def journal_of(store: SqliteStore) -> AsyncIterator[Journal]:
    """A journal without a system: its states are saved when the test says so."""
    journal = Journal(store, store.codec, FixedClock(), Ids(FixedClock()))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.run)
        await trio.testing.wait_all_tasks_blocked()
        yield journal
        journal.close()


def versions(store: SqliteStore, stream: str = "bank-a") -> list[int]:
    return [version for version, *_ in store.saved_versions(stream)]


async def test_a_long_stream_that_was_fetched_is_saved_and_folded_from_there(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.append(batch(1, LONG))
    store.append(batch(LONG + 1, EVENTS_MIN - 1, stream="bank-b", version=1))
    async with journal_of(store) as journal:
        await journal.load(["bank-a", "bank-b", "bank-c"], ANN)
        await journal.snapshots.save()
        assert (versions(store), versions(store, "bank-b")) == ([LONG], [])
        assert folder_of(store).fold("bank-a") == (twin(store, "bank-a"), LONG)
        journal._states.clear()
        await journal.load(["bank-a"], ANN)
        await journal.snapshots.save()
        assert versions(store) == [LONG]
    store.close()


async def test_it_does_not_pay_where_making_a_state_of_a_copy_costs_as_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path)
    store.append(batch(1, LONG))
    async with journal_of(store) as journal:
        pack = journal.folder.pack
        monkeypatch.setattr(journal.folder, "pack", lambda *given: (pack(*given)[0], FOLD_SECONDS_MIN))  # type: ignore[index]
        await journal.load(["bank-a"], ANN)
        await journal.snapshots.save()
        assert versions(store) == []
    store.close()


async def test_it_does_not_pay_where_folding_is_quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path)
    store.append(batch(1, LONG))
    async with journal_of(store) as journal:
        monkeypatch.setattr(journal.folder, "event_seconds", lambda stream: 0.9 * FOLD_SECONDS_MIN / LONG)
        await journal.load(["bank-a"], ANN)
        await journal.snapshots.save()
        assert versions(store) == []
    store.close()


async def test_of_many_copies_some_are_kept_all_over_the_past(tmp_path: Path) -> None:
    store, length = opened(tmp_path), 0
    async with journal_of(store) as journal:
        for _ in range(3 * COPIES_MAX):
            store.append(batch(length + 1, LONG))
            journal.position = journal.proposed = length = length + LONG
            journal._states.clear()
            await journal.load(["bank-a"], ANN)
            await journal.snapshots.save()
    kept = versions(store)
    assert len(kept) == COPIES_MAX
    assert kept[-1] == length
    gaps = [second - first for first, second in zip([0, *kept], kept, strict=False)]
    assert max(gaps) <= 2 * length // COPIES_MAX
    store.close()


async def test_all_copies_together_have_a_bound_and_the_oldest_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path)
    for number, name in enumerate("abc"):
        store.append(batch(LONG * number + 1, LONG, stream=f"bank-{name}", version=1))
    async with journal_of(store) as journal:
        await journal.load(["bank-a"], ANN)
        await journal.snapshots.save()
        monkeypatch.setattr(snapshots, "BYTES_MAX", 2 * store.saved_bytes())
        for stream in ("bank-b", "bank-c"):
            await journal.load([stream], ANN)
            await journal.snapshots.save()
        assert [versions(store, f"bank-{name}") for name in "abc"] == [[], [LONG], [LONG]]
    store.close()


async def test_no_batch_waits_for_more_than_a_little_of_what_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path)
    names = [f"bank-{name}" for name in "abcde"]
    for number, name in enumerate(names):
        store.append(batch(LONG * number + 1, LONG, stream=name, version=1))
    async with journal_of(store) as journal:
        await journal.load(names, ANN)
        packed = journal.folder.pack("bank-a", journal.folder.fold("bank-a").held)
        assert packed is not None
        monkeypatch.setattr(snapshots, "WRITE_BYTES", 2 * len(packed[0].state))
        written: list[int] = []
        save = store.save_states

        def note(some: Sequence[SavedState], gone: Sequence[tuple[str, int]]) -> None:
            written.append(len(some))
            save(some, gone)

        monkeypatch.setattr(store, "save_states", note)
        await journal.snapshots.save()
        assert written == [2, 2, 1]
        assert [versions(store, name) for name in names] == [[LONG]] * 5
    store.close()


async def test_what_is_not_committed_is_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path)
    store.append(batch(1, LONG))

    def fail(given: object) -> None:
        raise OperationalError("disk full")

    clock = SystemClock()
    async with open_system(store, [Role(Teller)], clock=clock, ids=Ids(clock)) as system:
        journal = system.journal
        await journal.load(["bank-a"], ANN)
        monkeypatch.setattr(store, "append", fail)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_ask_in_vain, system)
            await journal.snapshots.save()
        assert versions(store) in ([], [LONG])
        assert folder_of(store).fold("bank-a").held == twin(store, "bank-a")
        monkeypatch.undo()
    store.close()


async def _ask_in_vain(system: object) -> None:
    with pytest.raises(NotCommitted):
        await system.ask(Deposit(account="a", cents=1), ANN)  # type: ignore[attr-defined]


class Telling(SqliteStore):
    """Tells when states were saved."""

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]
        self.saved = trio.Event()

    def save_states(self, states: Sequence[SavedState], gone: Sequence[tuple[str, int]]) -> None:
        super().save_states(states, gone)
        self.token.run_sync_soon(self.saved.set)

    token: trio.lowlevel.TrioToken


async def test_a_running_system_saves_states_by_itself_and_dropping_them_changes_nothing(tmp_path: Path) -> None:
    plain = opened(tmp_path)
    plain.append(batch(1, LONG))
    plain.close()
    store = Telling(plain.path, plain.codec, plain.signer)
    store.token = trio.lowlevel.current_trio_token()
    clock = FixedClock()
    async with open_system(store, [Role(Teller)], clock=clock, ids=Ids(clock)) as system:
        assert await system.ask(Deposit(account="a", cents=2), ANN) == Balance(LONG + 2)
        await store.saved.wait()
    assert versions(store) in ([LONG], [LONG + 1])
    store.save_states([], [("bank-a", version) for version in versions(store)])
    assert store.judge().whole
    store.close()
    again = opened(tmp_path)
    async with open_system(again, [Role(Teller)], clock=clock, ids=Ids(clock)) as system:
        assert await system.ask(Deposit(account="a", cents=3), ANN) == Balance(LONG + 5)
        assert await system.ask(Ask(account="a"), ANN) == Balance(LONG + 5)
        assert system.journal.position == LONG + 2
    again.close()
