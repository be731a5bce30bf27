"""Telling many readers: each hears all that it may know, once and in order, and costs the others nothing."""

from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from random import Random
from typing import Any, cast

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from aggregates.key import KeyRevoked
from gateway.feeds import fanout, live
from gateway.feeds.fanout import Fanout, Form, Kind
from gateway.feeds.wanted import EVERYTHING, Wanted
from runtime.journal import Journal
from runtime.records import Meta, Recorded

KINDS = ("task.TaskSubmitted", "task.BidPlaced", "agent.AgentRegistered")
TENANTS = ("ours", "theirs")


class Log:
    """A journal in memory, as far as readers need one."""

    def __init__(self) -> None:
        self.records: list[Recorded] = []
        self.reads = 0
        self._grown = trio.Event()

    @property
    def position(self) -> int:
        return len(self.records)

    def write(self, tenant: str = "ours", kind: str = KINDS[0], stream: str = "task-1", event: Any = None) -> None:
        meta = Meta(id="i", cause="", correlation="", tenant=tenant, principal="p", at=0.0)
        self.records.append(
            Recorded(position=self.position + 1, stream=stream, version=1, kind=kind, event=event, meta=meta)
        )
        grown, self._grown = self._grown, trio.Event()
        grown.set()

    async def wait_past(self, position: int, seconds: float = float("inf")) -> int:
        with trio.move_on_after(seconds):
            while self.position <= position:
                await self._grown.wait()
        return self.position

    async def read(self, after: int, limit: int = 500) -> list[Recorded]:
        self.reads += 1
        await trio.lowlevel.checkpoint()
        return self.records[after : after + limit]


class Encoder:
    """A form of which each encoding is counted."""

    def __init__(self) -> None:
        self.encoded: list[int] = []

    @property
    def form(self) -> Form[tuple[Sequence[int], int]]:
        return Form("numbers", self._encode, lambda told, reached: ([one.position for one in told], reached))

    def _encode(self, record: Recorded) -> bytes:
        self.encoded.append(record.position)
        return b"%d" % record.position


Write = Callable[[tuple[Sequence[int], int]], Awaitable[None]]


class Reader:
    """Keeps what it is told."""

    def __init__(self, slowness: Callable[[], int] = lambda: 0) -> None:
        self.heard: list[int] = []
        self.pieces: list[tuple[Sequence[int], int]] = []
        self.reached = 0
        self._slowness = slowness
        self._told = trio.Event()

    async def write(self, piece: tuple[Sequence[int], int]) -> None:
        for _ in range(self._slowness()):
            await trio.lowlevel.checkpoint()
        self.pieces.append(piece)
        self.heard += piece[0]
        self.reached = piece[1]
        told, self._told = self._told, trio.Event()
        told.set()

    async def reaches(self, position: int) -> None:
        while max([self.reached, *self.heard[-1:]]) < position:
            await self._told.wait()


async def welcome() -> bool:
    return True


def made(log: Log) -> Fanout:
    return Fanout(cast(Journal, log))


def kind(wanted: Wanted = EVERYTHING, tenant: str = "ours", newest: bool = False) -> Kind:
    return Kind(tenant, wanted, "numbers", newest)


@pytest.fixture
def log() -> Log:
    return Log()


async def test_a_record_is_read_and_encoded_once_however_many_are_told(
    log: Log, autojump_clock: trio.testing.MockClock
) -> None:
    told, encoder, readers = made(log), Encoder(), [Reader() for _ in range(50)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(told.run)
        for reader in readers:
            nursery.start_soon(told.tell, kind(), encoder.form, 0, welcome, reader.write)
        await trio.testing.wait_all_tasks_blocked()
        assert told.readers == 50
        for _ in range(3):
            log.write()
        for reader in readers:
            await reader.reaches(3)
        assert (encoder.encoded, log.reads) == ([1, 2, 3], 1)
        assert {id(reader.pieces[0]) for reader in readers} == {id(readers[0].pieces[0])}
        nursery.cancel_scope.cancel()
    assert told.readers == 0


async def test_who_falls_behind_reads_the_file_and_holds_nobody_up(
    log: Log, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "FANOUT_RECORDS_MAX", 5)
    told, encoder, quick, slow, goes_on = made(log), Encoder(), Reader(), Reader(), trio.Event()

    async def write_late(piece: tuple[Sequence[int], int]) -> None:
        await slow.write(piece)
        await goes_on.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(told.run)
        nursery.start_soon(told.tell, kind(), encoder.form, 0, welcome, quick.write)
        nursery.start_soon(told.tell, kind(), encoder.form, 0, welcome, write_late)
        await trio.testing.wait_all_tasks_blocked()
        for count in range(1, 41):
            log.write()
            await quick.reaches(count)
        (channel,) = told._channels.values()
        assert len(channel._told) <= 5
        assert slow.heard == [1]
        goes_on.set()
        await slow.reaches(40)
        assert quick.heard == slow.heard == list(range(1, 41))
        assert slow.pieces[1] == (list(range(2, 41)), 40)  # all that has come, in one piece
        nursery.cancel_scope.cancel()


async def test_who_asks_for_it_hears_at_most_so_often_and_of_a_stream_the_newest(
    log: Log, autojump_clock: trio.testing.MockClock
) -> None:
    told, encoder, whole, newest = made(log), Encoder(), Reader(), Reader()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(told.run)
        nursery.start_soon(told.tell, kind(), encoder.form, 0, welcome, whole.write, 5.0)
        nursery.start_soon(told.tell, kind(newest=True), encoder.form, 0, welcome, newest.write, 5.0)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(20):
            log.write(stream=f"task-{number % 2}")
            await trio.sleep(1.0)
        await trio.sleep(6.0)
        assert whole.heard == list(range(1, 21))
        assert len(whole.pieces) <= 6
        assert all(len(numbers) <= 2 for numbers, _ in newest.pieces)
        assert newest.heard[-2:] == [19, 20]
        assert newest.heard == sorted(newest.heard)
        nursery.cancel_scope.cancel()


async def test_silence_is_broken_by_positions_and_a_reader_who_is_not_welcome_any_more_hears_nothing(
    log: Log, autojump_clock: trio.testing.MockClock
) -> None:
    told, encoder, reader, is_welcome = made(log), Encoder(), Reader(), True

    async def asked() -> bool:
        return is_welcome

    async with trio.open_nursery() as nursery:
        nursery.start_soon(told.run)
        log.write(tenant="theirs")
        async with trio.open_nursery() as telling:
            telling.start_soon(told.tell, kind(), encoder.form, 0, asked, reader.write)
            await trio.sleep(3 * live.KEEP_ALIVE_SECONDS)
            assert reader.pieces
            assert {(tuple(numbers), reached) for numbers, reached in reader.pieces} == {((), 1)}
            is_welcome = False
            before = len(reader.pieces)
            log.write(kind="key.KeyRevoked", event=KeyRevoked(key_id="k", reason=""))
        assert len(reader.pieces) == before
        nursery.cancel_scope.cancel()


async def test_nothing_is_read_while_nobody_listens_and_nothing_kept_of_who_was_erased(
    log: Log, autojump_clock: trio.testing.MockClock
) -> None:
    told, encoder, reader = made(log), Encoder(), Reader()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(told.run)
        for _ in range(3):
            log.write()
            await trio.sleep(1.0)
        assert log.reads == 0
        nursery.start_soon(told.tell, kind(), encoder.form, 3, welcome, reader.write)
        await trio.testing.wait_all_tasks_blocked()
        log.write()
        await reader.reaches(4)
        (channel,) = told._channels.values()
        assert [one.position for one in channel._told] == [4]
        told.forget()
        assert (list(channel._told), channel.since(3), channel.base) == ([], (4, None), 4)
        log.write()
        await reader.reaches(5)
        assert reader.heard == [4, 5]
        nursery.cancel_scope.cancel()


async def test_the_longer_a_round_takes_the_longer_is_the_rest_after_it(
    log: Log, autojump_clock: trio.testing.MockClock
) -> None:
    told, encoder, rounds = made(log), Encoder(), []

    async def takes_long(piece: Any) -> None:
        rounds.append(trio.current_time())
        autojump_clock.jump(0.05)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(told.run)
        nursery.start_soon(told.tell, kind(), encoder.form, 0, welcome, takes_long)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(200):
            log.write()
            await trio.sleep(0.005)
        nursery.cancel_scope.cancel()
    pauses = [later - earlier for earlier, later in pairwise(rounds)]
    assert min(pauses) == pytest.approx(0.05 + fanout.REST * 0.05)


WRITES = st.lists(st.tuples(st.sampled_from(TENANTS), st.sampled_from(KINDS), st.integers(0, 3)), max_size=60)
WANTED = st.sampled_from([EVERYTHING, Wanted(kind="task"), Wanted(kind=KINDS[1]), Wanted(stream="task-1")])
READERS = st.lists(
    st.tuples(st.sampled_from(TENANTS), WANTED, st.integers(0, 60), st.integers(0, 60), st.integers(0, 4)), max_size=6
)


@hypothesis_settings(max_examples=100, deadline=None)
@given(writes=WRITES, readers=READERS, seed=st.integers(0, 2**32 - 1), kept=st.integers(1, 8), piece=st.integers(1, 20))
def test_each_reader_hears_what_one_who_reads_the_whole_log_would(
    writes: list[tuple[str, str, int]], readers: list[Any], seed: int, kept: int, piece: int
) -> None:
    """The twin reads everything and tells apart what fits; ours share a window of a few records, and come and write at any time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fanout, "FANOUT_RECORDS_MAX", kept)
        patched.setattr(live, "PAGE", 7)
        patched.setattr(fanout, "PIECE_BYTES_MAX", piece)
        trio.run(_compare, writes, readers, Random(seed), clock=trio.testing.MockClock(autojump_threshold=0))


async def _compare(writes: list[tuple[str, str, int]], wishes: list[Any], random: Random) -> None:
    log = Log()
    told, encoder = made(log), Encoder()
    readers = [Reader(lambda: random.randint(0, 3)) for _ in wishes]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(told.run)
        for number, (tenant, task_kind, stream) in enumerate(
            [*writes, *[("ours", KINDS[0], 1), ("theirs", KINDS[1], 1)]]
        ):
            for reader, (whose, wanted, comes, after, every) in zip(readers, wishes, strict=True):
                if comes == number:
                    chosen, start = kind(wanted, whose), min(after, number)
                    nursery.start_soon(told.tell, chosen, encoder.form, start, welcome, reader.write, every / 100)
            log.write(tenant, task_kind, f"task-{stream}")
            for _ in range(random.randint(0, 2)):
                await trio.sleep(random.choice((0.0, 0.001, 0.02)))
        await trio.sleep(3 * live.KEEP_ALIVE_SECONDS)
        nursery.cancel_scope.cancel()
    for reader, (whose, wanted, comes, after, _) in zip(readers, wishes, strict=True):
        own = [record for record in log.records if record.meta.tenant == whose and wanted.fits(record)]
        expected = [record.position for record in own if record.position > min(after, comes)]
        assert reader.heard == (expected if comes < len(log.records) else [])
