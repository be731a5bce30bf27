"""Pools: who gets which message, what a resize moves, and what becomes of workers that fail, leave or are gone."""

from collections import Counter
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from runtime.actor import Actor, Reply, reply
from runtime.actors import Actors, Here, Props, open_actors
from runtime.errors import Crashed, Exhausted, Overloaded, Unreachable
from runtime.pools import ConsistentHashing, PoolRef, RoundRobin, SmallestMailbox, Strategy, Worker, spawn_pool
from runtime.records import Command
from runtime.ref import Terminated
from runtime.supervision import Backoff, Directive, Supervision
from tests.runtime.puppets import Do, Plain, does

blocked = trio.testing.wait_all_tasks_blocked
LIVES = Supervision(backoff=Backoff(seconds=1000.0))
GIVES_UP = Supervision(otherwise=Directive.STOP)
NEVER = Supervision(restarts_max=0)


class Work(Command[str], frozen=True, kw_only=True):
    """Answers with the path of who did it, once `what` has been awaited."""

    key: str = ""
    what: Any = None


class Hand(Actor[Work, None]):
    takes = (Work,)

    def __init__(self, here: Here) -> None:
        super().__init__(here)
        self.here: Here = here

    async def handle(self, message: Work) -> Reply:
        if message.what is not None:
            await message.what(self)
        return reply(message, self.here.ref.path)


class QuickHand(Actor[Work, None]):
    takes = (Work,)

    def __init__(self, here: Here) -> None:
        super().__init__(here)
        self.here: Here = here

    def handle(self, message: Work) -> Reply:
        if message.what is not None:
            message.what(self)
        return reply(message, self.here.ref.path)


def key_of(message: Work) -> str:
    return message.key


def pool_of(actors: Actors, strategy: Strategy, workers: int = 3, make: Any = QuickHand, **props: Any) -> PoolRef:
    return spawn_pool(actors, make, "pool", workers, strategy, props=Props(**props))


def number(path: str) -> int:
    return int(path.partition(" ")[0].rpartition("-")[2])


def boom(_: object) -> None:
    raise ValueError("boom")


async def fails(_: object) -> None:
    raise ValueError("boom")


async def who(pool: PoolRef, count: int, **work: Any) -> list[int]:
    return [number(await pool.ask(Work(**work))) for _ in range(count)]


async def test_round_robin_gives_each_as_much() -> None:
    async with open_actors() as actors:
        pool = pool_of(actors, RoundRobin())
        assert await who(pool, 7) == [0, 1, 2, 0, 1, 2, 0]
        assert (pool.path, pool.size, list(pool.takes)) == ("pool", 3, [Work])


@pytest.mark.parametrize("strategy", [RoundRobin(), SmallestMailbox()])
async def test_one_that_is_made_anew_or_full_is_passed_over(strategy: Strategy) -> None:
    gate = trio.Event()
    async with open_actors() as actors:
        pool = pool_of(actors, strategy, 3, Hand, supervision=LIVES, mailbox_max=2)
        with capture_logs(), pytest.raises(Crashed):
            await pool.ask(Work(what=fails))
        assert sorted(await who(pool, 4)) == [1, 1, 2, 2]
        for _ in range(6):
            pool.tell(Work(what=lambda _: gate.wait()))
        await blocked()
        # The one that is made anew gets messages only when the others are full.
        assert [worker.load for worker in pool._workers.values()] == [2, 2, 2]
        pool.tell(Work())
        pool.tell(Work())
        with pytest.raises(Overloaded):
            pool.tell(Work())
        assert [worker.load for worker in pool._workers.values()] == [2, 3, 3]
        gate.set()


async def test_where_all_are_made_anew_messages_wait(autojump_clock: Any) -> None:
    for strategy in (RoundRobin(), SmallestMailbox()):
        async with open_actors() as actors:
            pool = pool_of(actors, strategy, 2, supervision=Supervision(backoff=Backoff(seconds=5.0)))
            for _ in range(2):
                with capture_logs(), pytest.raises(Crashed):
                    await pool.ask(Work(what=boom))
            assert len(await who(pool, 2)) == 2


async def test_whoever_has_least_to_do_gets_the_next_one() -> None:
    gates = [trio.Event() for _ in range(3)]
    done: list[int] = []

    async def work(gate: trio.Event) -> None:
        done.append(number(await pool.ask(Work(what=lambda _: gate.wait()))))

    async with open_actors() as actors, trio.open_nursery() as nursery:
        pool = pool_of(actors, SmallestMailbox(), 3, Hand)
        for gate in [gates[0], gates[1], gates[2], gates[0], gates[1], gates[2]]:
            nursery.start_soon(work, gate)
            await blocked()
        gates[1].set()
        await blocked()
        assert done == [1, 1]
        assert await who(pool, 2) == [1, 1]
        for gate in gates:
            gate.set()


async def test_a_sender_is_refused_or_waits_where_all_are_full() -> None:
    gate = trio.Event()
    async with open_actors() as actors, trio.open_nursery() as nursery:
        pool = pool_of(actors, RoundRobin(), 2, Hand, mailbox_max=1)
        for _ in range(2):
            pool.tell(Work(what=lambda _: gate.wait()))
        await blocked()
        for _ in range(2):
            pool.tell(Work())
        with pytest.raises(Overloaded):
            pool.tell(Work())
        nursery.start_soon(pool.tell_when_free, Work())
        await blocked()
        assert sum(worker.load for worker in pool._workers.values()) == 5
        gate.set()


async def test_a_key_stays_with_its_worker_while_that_is_made_anew(autojump_clock: Any) -> None:
    async with open_actors() as actors:
        backoff = Supervision(backoff=Backoff(seconds=5.0, jitter=0.0))
        pool = pool_of(actors, ConsistentHashing(key_of), 5, supervision=backoff)
        [mine] = set(await who(pool, 10, key="mine"))
        with capture_logs(), pytest.raises(Crashed):
            await pool.ask(Work(key="mine", what=boom))
        assert await who(pool, 1, key="mine") == [mine]


async def test_the_keys_of_one_that_is_gone_move_and_come_back_when_it_is_replaced() -> None:
    async with open_actors() as actors:
        pool = pool_of(actors, ConsistentHashing(key_of), 5, supervision=GIVES_UP)
        keys = [str(key) for key in range(200)]
        before = {key: (await who(pool, 1, key=key))[0] for key in keys}
        with capture_logs(), pytest.raises(Crashed):
            await pool.ask(Work(key="0", what=boom))
        assert pool.size == 4
        without = {key: (await who(pool, 1, key=key))[0] for key in keys}
        assert all(without[key] == before[key] for key in keys if before[key] != before["0"])
        pool.resize(5)
        assert {key: (await who(pool, 1, key=key))[0] for key in keys} == before


class Place:
    """Stands for a worker: a ring asks for no more than its number."""

    def __init__(self, number: int) -> None:
        self.number = number


def owners(workers: int, keys: list[Any]) -> dict[Any, int]:
    ring = ConsistentHashing(lambda key: key)
    places: list[Any] = [Place(number) for number in range(workers)]
    ring.changed(places)
    found: dict[Any, int] = {}
    for key in keys:
        chosen: Worker | None = ring.choose(key)
        assert chosen is not None
        found[key] = chosen.number
    return found


@settings(max_examples=50)
@given(workers=st.integers(1, 40), prefix=st.text(max_size=5))
def test_one_worker_more_takes_its_share_and_moves_no_other_key(workers: int, prefix: str) -> None:
    keys = [f"{prefix}{number}" for number in range(1000)]
    before, after = owners(workers, keys), owners(workers + 1, keys)
    moved = [key for key in keys if before[key] != after[key]]
    assert {after[key] for key in moved} <= {workers}
    assert len(moved) <= 2.0 * len(keys) / (workers + 1) + 25


@given(st.lists(st.one_of(st.text(), st.integers(), st.binary()), min_size=1), st.integers(1, 10))
def test_any_key_has_one_worker(keys: list[Any], workers: int) -> None:
    assert set(owners(workers, keys).values()) <= set(range(workers))


def test_shares_are_about_equal_and_the_same_in_every_process() -> None:
    found = owners(8, list(range(20_000)))
    shares = Counter(found.values())
    assert len(shares) == 8
    assert 0.7 * 2_500 < min(shares.values()) <= max(shares.values()) < 1.3 * 2_500
    assert [found[key] for key in range(12)] == GOLDEN


GOLDEN = [6, 6, 4, 2, 0, 4, 3, 1, 0, 4, 4, 4]


async def test_a_worker_too_many_finishes_what_it_has() -> None:
    gate, done = trio.Event(), []

    async def work(self: Hand) -> None:
        await gate.wait()
        done.append(number(self.here.ref.path))

    async with open_actors() as actors:
        pool = pool_of(actors, RoundRobin(), 3, Hand)
        for _ in range(9):
            pool.tell(Work(what=work))
        await blocked()
        pool.resize(1)
        assert pool.size == 1
        assert await_none(pool)
        pool.resize(2)
        assert sorted(cell.path for cell in actors.walk()) == [
            "pool",
            "pool/hand-0",
            "pool/hand-1",
            "pool/hand-1 (leaving)",
            "pool/hand-2",
        ]
        gate.set()
        await blocked()
        assert sorted(done) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
        assert sorted(cell.path for cell in actors.walk()) == ["pool", "pool/hand-0", "pool/hand-1"]
        assert len(actors.dead_letters) == 0
        assert await who(pool, 4) in ([0, 1, 0, 1], [1, 0, 1, 0])


def await_none(pool: PoolRef) -> bool:
    """New messages go to those that stay."""
    chosen = {pool.choose(Work()) for _ in range(10)}
    return {worker.name for worker in chosen} == {0}


async def test_a_worker_that_leaves_is_made_anew_to_finish_what_it_has(autojump_clock: Any) -> None:
    gate, done = trio.Event(), []

    async def crash(self: Hand) -> None:
        await gate.wait()
        raise ValueError("boom")

    async def note(self: Hand) -> None:
        done.append(self.here.ref.path)

    async with open_actors() as actors:
        backoff = Supervision(backoff=Backoff(seconds=5.0))
        pool = pool_of(actors, RoundRobin(), 2, Hand, supervision=backoff)
        for what in (crash, crash, note, note, note, crash):
            pool.tell(Work(what=what))
        await blocked()
        pool.resize(1)
        with capture_logs():
            gate.set()
            await trio.sleep(20)
        assert sorted(done) == ["pool/hand-0", "pool/hand-0", "pool/hand-1"]
        assert len(list(actors.walk())) == 2


async def test_a_worker_may_send_itself_away_in_an_askers_step_and_work_beside_it_ends_first() -> None:
    gate = trio.Event()

    async def wait() -> None:
        await gate.wait()

    async with open_actors() as actors:
        pool = pool_of(actors, RoundRobin(), 2)
        await who(pool, 1)
        assert await who(pool, 1, what=lambda self: pool.resize(1)) == [1]
        await blocked(0.01)
        assert [cell.path for cell in actors.walk()] == ["pool", "pool/quickhand-0"]
        pool.resize(2)
        for _ in range(2):
            await pool.ask(Work(what=lambda self: self.here.run(wait)))
        pool.resize(1)
        assert len(list(actors.walk())) == 3
        gate.set()
        await blocked(0.01)
        assert len(list(actors.walk())) == 2


async def test_a_sender_that_was_made_to_wait_still_finds_its_worker() -> None:
    """Every so many messages let others run before they are sent: that worker may leave only afterwards."""
    async with open_actors() as actors, trio.open_nursery() as nursery:
        pool = pool_of(actors, RoundRobin(), 4)
        nursery.start_soon(who, pool, 500)
        nursery.start_soon(who, pool, 500)
        for size in [1, 4] * 20:
            pool.resize(size)
            await trio.lowlevel.checkpoint()


async def test_one_that_all_have_left_refuses_and_its_watchers_hear_of_its_end() -> None:
    heard: list[Any] = []

    class Watcher(Actor[Any, None]):
        def __init__(self, here: Here) -> None:
            super().__init__(here)
            here.watch(pool)

        def handle(self, message: Terminated) -> None:
            heard.append((message.ref.path, message.reason))

    async with open_actors() as actors:
        for strategy in (RoundRobin(), SmallestMailbox(), ConsistentHashing(key_of)):
            pool = pool_of(actors, strategy, 1, supervision=GIVES_UP)
            actors.spawn(Watcher)
            with capture_logs(), pytest.raises(Crashed):
                await pool.ask(Work(what=boom))
            assert (pool.size, pool.alive) == (0, True)
            with pytest.raises(Unreachable):
                await pool.ask(Work())
            pool.tell(Work())
            await pool.stop()
            with pytest.raises(RuntimeError, match="pool is not resized any more"):
                pool.resize(2)
        await blocked()
        assert heard == [("pool", "stopped")] * 3
        assert len(actors.dead_letters) == 3


async def test_what_a_worker_escalates_ends_the_system() -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(Exhausted, match="pool failed too often"), flatten_subgroups=True):
        async with open_actors() as actors:
            pool = pool_of(actors, RoundRobin(), 2, supervision=Supervision(restarts_max=0))
            with capture_logs(), pytest.raises(Crashed):
                await pool.ask(Work(what=boom))
            await trio.sleep_forever()


async def test_a_pool_says_what_is_wrong_with_its_size() -> None:
    async with open_actors() as actors:
        with pytest.raises(ValueError, match="pool: a pool has 1 to 1024 workers, not 0"):
            pool_of(actors, RoundRobin(), 0)
        pool = pool_of(actors, ConsistentHashing(lambda message: 1.5))  # type: ignore[arg-type, return-value]
        with pytest.raises(ValueError, match="not 2000"):
            pool.resize(2000)
        with pytest.raises(TypeError, match=r"not 1\.5"):
            pool.tell(Work())
        with pytest.raises(ValueError, match="there is a pool already"):
            pool_of(actors, RoundRobin())


async def test_a_pool_below_an_actor_ends_with_each_of_its_incarnations_and_fails_it() -> None:
    pools: list[PoolRef] = []

    class Boss(Plain):
        def __init__(self, here: Here) -> None:
            super().__init__(here)
            pools.append(here.spawn_pool(Plain, "pool", 3, RoundRobin(), props=Props(supervision=NEVER)))

    with capture_logs():
        async with open_actors() as actors:
            boss = actors.spawn(Boss, "boss")
            assert pools[0].path == "boss/pool"
            assert await pools[0].ask(Do(what="heard")) == ["heard"]
            with pytest.raises(Crashed):
                await pools[0].ask(does(boom))
            await blocked()
            assert (len(pools), pools[0].alive) == (2, False)
            assert await pools[1].ask(Do(what="heard again")) == ["heard again"]
            with pytest.raises(Crashed):
                await boss.ask(does(lambda self: self.here.spawn_pool(Plain, "pool", 1, RoundRobin())))
            await blocked()
            await boss.stop()
            assert [pool.alive for pool in pools] == [False] * 3
            assert not list(actors.walk())
