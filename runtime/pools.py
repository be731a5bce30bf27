"""Pools of equal workers behind one address: who gets the next message is a strategy's choice.

A worker that is made anew or has no room is passed over where another would do as well; with consistent hashing it is not, since its
keys are its own. One that is gone for good is taken out; `resize` makes another in its place.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Protocol

from runtime.group import Group, Member
from runtime.kind import AWAITING, RUNNING, SUSPENDED
from runtime.life import Life
from runtime.props import USUAL, Props

if TYPE_CHECKING:
    from runtime.actors import Actors, Make

WORKERS_MAX = 1024
RING_POINTS = 128
"""Places of each worker on the ring: their shares then differ by about a tenth."""
POINTS_OF_DIGEST = 8

Key = str | int | bytes


class Worker(Member):
    """The place of a worker; `number` is below the size that the pool has or had."""

    __slots__ = ("number",)

    def __init__(self, pool: "PoolRef", number: int) -> None:
        super().__init__(pool, pool._worker_kind, pool._worker_make, number)
        self.number = number

    def _end(self, reason: str, seconds: float | None) -> None:
        parent = self._parent
        assert isinstance(parent, PoolRef)
        parent._lost(self)
        super()._end(reason, seconds)

    @property
    def standing(self) -> int:
        """0: a message would be handled soon. 1: once it is made anew. 2: there is no room for it."""
        if self._waiting >= self._kind.mailbox_max:
            return 2
        return int(self._state == SUSPENDED)

    @property
    def load(self) -> int:
        """How many messages wait or are handled there."""
        return self._waiting + (self._state in (RUNNING, AWAITING))

    @property
    def _waiting(self) -> int:
        waiting = len(self._queue) if self._queue is not None else 0
        return waiting + len(self._extras.parked) if self._extras is not None else waiting


class Strategy(Protocol):
    """Chooses among the workers that are not gone; one strategy serves one pool."""

    def changed(self, workers: Sequence[Worker]) -> None:
        """These are the workers from now on, in the order of their numbers."""

    def choose(self, message: Any) -> Worker | None:
        """Who gets this message; None where there is no worker."""


class RoundRobin:
    """One after the other."""

    def __init__(self) -> None:
        self._workers: Sequence[Worker] = ()
        self._next = 0

    def changed(self, workers: Sequence[Worker]) -> None:
        self._workers = workers

    def choose(self, message: Any) -> Worker | None:
        chosen, best = None, 3
        for worker in _from(self._workers, self._next):
            standing = worker.standing
            if standing < best:
                chosen, best = worker, standing
                if not standing:
                    break
        if chosen is not None:
            self._next = chosen.number + 1
        return chosen


class SmallestMailbox:
    """Whoever has least to do; of those who have as little, one after the other. Looks at all until it finds one who has nothing."""

    def __init__(self) -> None:
        self._workers: Sequence[Worker] = ()
        self._next = 0

    def changed(self, workers: Sequence[Worker]) -> None:
        self._workers = workers

    def choose(self, message: Any) -> Worker | None:
        chosen, least = None, (3, 0)
        for worker in _from(self._workers, self._next):
            load = worker.standing, worker.load
            if load < least:
                chosen, least = worker, load
                if load == (0, 0):
                    break
        if chosen is not None:
            self._next = chosen.number + 1
        return chosen


def _from(workers: Sequence[Worker], number: int) -> Iterator[Worker]:
    """All of them once, the first of at least this number first."""
    start = bisect_left(workers, number, key=lambda worker: worker.number)
    for offset in range(len(workers)):
        yield workers[(start + offset) % len(workers)]


class ConsistentHashing:
    """One key, one worker: of n workers, one more or less moves about one key in n, and only to it or from it.

    Places are hashes of the workers' numbers: the same in every process.
    """

    def __init__(self, key_of: Callable[[Any], Key]) -> None:
        self._key_of = key_of
        self._workers: Sequence[Worker] = ()
        self._places: list[int] = []
        self._worker_by_place: dict[int, Worker] = {}

    def changed(self, workers: Sequence[Worker]) -> None:
        self._workers = workers
        self._places = []  # laid out by the next message: a pool that ends changes once for each worker

    def choose(self, message: Any) -> Worker | None:
        if not self._workers:
            return None
        places = self._places or self._lay_out()
        place = bisect_left(places, hashed(self._key_of(message)))
        return self._worker_by_place[places[place % len(places)]]

    def _lay_out(self) -> list[int]:
        # Were two hashes equal, the lower number has the place, whatever the order in which workers came.
        workers = reversed(self._workers)
        self._worker_by_place = {place: worker for worker in workers for place in ring_points(worker.number)}
        self._places = sorted(self._worker_by_place)
        return self._places


def hashed(key: Key) -> int:
    """Where a key is on the ring of 2**64 places. Raises TypeError for anything but text, a whole number or bytes."""
    match key:
        case str():
            plain = b"s" + key.encode()
        case int():
            plain = b"i%d" % key
        case bytes():
            plain = b"b" + key
        case _:
            raise TypeError(f"a key is a str, an int or bytes, not {key!r}")
    return int.from_bytes(blake2b(plain, digest_size=8).digest(), "big")


@lru_cache(maxsize=WORKERS_MAX)
def ring_points(number: int) -> tuple[int, ...]:
    """The places of a worker on the ring."""
    digests = (blake2b(b"%d/%d" % (number, part)).digest() for part in range(RING_POINTS // POINTS_OF_DIGEST))
    return tuple(int.from_bytes(digest[at : at + 8], "big") for digest in digests for at in range(0, 64, 8))


class PoolRef(Group):
    """The address of a pool. Made by `spawn_pool`."""

    __slots__ = ("_strategy", "_worker_kind", "_worker_make", "_workers")

    def __init__(
        self, actors: "Actors", make: "Make", name: str, strategy: Strategy, props: Props, parent: Life | None
    ) -> None:
        super().__init__(actors, name, parent)
        self._worker_kind = actors._kind(make, props)
        if isinstance(make, type):
            self._worker_kind.is_made(make)
        self._worker_make = make
        self._strategy = strategy
        self._workers: dict[int, Worker] = {}

    @property
    def size(self) -> int:
        """How many workers there are, without those that leave."""
        return len(self._workers)

    @property
    def takes(self) -> frozenset[type]:
        return self._worker_kind.takes

    def choose(self, message: Any) -> Member:
        return self._strategy.choose(message) or self._nobody(Worker(self, -1))

    def resize(self, workers: int) -> None:
        """Has so many workers from now on. Those with the highest numbers leave: they finish what they have, then they stop.

        Raises ValueError for a size that no pool may have, RuntimeError where the pool or the system ends.
        """
        check_size(self.path, workers)
        if self._system._ending or not self.alive:
            raise RuntimeError(f"{self.path} is not resized any more: it ends")
        leaving = [worker for number, worker in self._workers.items() if number >= workers]
        for worker in leaving:
            self._lost(worker)
            worker.leave("the pool became smaller")
        for number in range(workers):
            if number not in self._workers:
                self._add(number)

    def _add(self, number: int) -> None:
        children = self._extra().children
        if number in children:
            self._make_way(children[number])
        worker = self._workers[number] = children[number] = Worker(self, number)
        self._changed()
        worker._incarnate()

    def _lost(self, worker: Worker) -> None:
        """It gets no messages any more."""
        if self._workers.get(worker.number) is worker:
            del self._workers[worker.number]
            self._changed()

    def _changed(self) -> None:
        self._strategy.changed([worker for _, worker in sorted(self._workers.items())])


def check_size(name: str, workers: int) -> None:
    if not 1 <= workers <= WORKERS_MAX:
        raise ValueError(f"{name}: a pool has 1 to {WORKERS_MAX} workers, not {workers}")


def spawn_pool(
    actors: "Actors",
    make: "Make",
    name: str,
    workers: int,
    strategy: Strategy,
    *,
    props: Props = USUAL,
    parent: Life | None = None,
) -> PoolRef:
    """A pool of workers made by `make`, each kept as `props` say; what they escalate is the parent's failure, at the top the system's end.

    An actor makes one below itself by `here.spawn_pool`. Raises ValueError for a size that no pool may have, and as `Actors.spawn` does.
    """
    check_size(name, workers)
    pool = PoolRef(actors, make, name, strategy, props, parent)
    pool._settle()
    pool.resize(workers)
    return pool
