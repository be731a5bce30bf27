"""A container makes what the table says, once where it says once, and closes all of it in reverse, whatever fails on the way."""

import abc
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Generic, Protocol, TypeVar

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from runtime.container import (
    Binding,
    Closed,
    Container,
    Life,
    Misbound,
    open_container,
    scoped,
    singleton,
    transient,
)

T = TypeVar("T")


class Clock:
    """Needs nothing."""


class Store(Protocol):
    def find(self, key: str) -> str: ...


class MemoryStore:
    def __init__(self, clock: Clock, *, size_max: int = 10) -> None:
        self.clock, self.size_max = clock, size_max

    def find(self, key: str) -> str:
        return key


class Ledger:
    def __init__(self, store: Store, clock: "Clock | None", rate: float = 0.5) -> None:
        self.store, self.clock, self.rate = store, clock, rate


class Shelf(Generic[T]):
    def __init__(self, first: T, spare: "T | None" = None) -> None:
        self.first, self.spare = first, spare


class Library:
    def __init__(self, clocks: Shelf[Clock], ledgers: Shelf[Ledger]) -> None:
        self.clocks, self.ledgers = clocks, ledgers


class A:
    def __init__(self, left: "B") -> None: ...


class B:
    def __init__(self, *, middle: "C") -> None: ...


class C:
    def __init__(self, right: A) -> None: ...


class Abstract(abc.ABC):
    @abc.abstractmethod
    def do(self) -> None: ...


class Session:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock


class Query:
    def __init__(self, session: Session) -> None:
        self.session = session


def iter_clocks() -> Iterator[Clock]:
    yield Clock()


def lost(clock: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821


class Keeper:
    def __init__(self, query: Query) -> None: ...


class Trail:
    """Context managers that write down when they are opened and closed."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    @asynccontextmanager
    async def open(self, name: str, value: object, error: Exception | None = None) -> AsyncIterator[Any]:
        await trio.lowlevel.checkpoint()
        self.steps.append(f"open {name}")
        try:
            yield value
        finally:
            self.steps.append(f"close {name}")
            if error is not None:
                raise error


async def test_parameters_are_found_by_type_with_defaults_and_bound_protocols():
    async with open_container(singleton(Clock), singleton(Store, MemoryStore), singleton(Ledger)) as container:
        ledger = await container.get(Ledger)
        assert isinstance(ledger.store, MemoryStore)
        assert ledger.store.clock is ledger.clock is await container.get(Clock)
        assert (ledger.rate, ledger.store.size_max) == (0.5, 10)


async def test_what_is_bound_to_the_type_of_a_default_comes_before_it():
    table = [singleton(Clock), singleton(Store, MemoryStore), singleton(int, lambda: 7), singleton(Ledger)]
    async with open_container(*table) as container:
        assert (await container.get(Store)).size_max == 7


async def test_optional_parameter_without_binding_is_none():
    def make(clock: Clock | None) -> list[object]:
        return [clock]

    async with open_container(singleton("box", make)) as container:
        assert await container.get("box") == [None]


async def test_generic_class_serves_each_of_its_types():
    table = [singleton(Clock), singleton(Store, MemoryStore), singleton(Ledger), singleton(Shelf), singleton(Library)]
    async with open_container(*table) as container:
        library = await container.get(Library)
        assert isinstance(library.ledgers.first, Ledger)
        assert library.clocks.first is library.clocks.spare is await container.get(Clock)
        assert library.clocks is await container.get(Shelf[Clock])
        with pytest.raises(Misbound, match=r"Shelf\[float\]\(first\) → float: nothing is bound to float") as caught:
            await container.get(Shelf[float])
        assert len(caught.value.faults) == 1
        with pytest.raises(Misbound):  # and again: what failed once is not taken for sound
            await container.get(Shelf[float])


async def test_notes_on_a_type_tell_two_of_it_apart():
    Address = Annotated[str, "address"]

    def make(address: Annotated[str, "address"], name: str, plain: Annotated[str, "nobody binds this"]) -> list[str]:
        return [address, name, plain]

    table = [singleton(Address, lambda: "here"), singleton(str, lambda: "Ann"), singleton("both", make)]
    async with open_container(*table) as container:
        assert await container.get("both") == ["here", "Ann", "Ann"]


class Settings(msgspec.Struct, frozen=True):
    clock: Clock
    depth: int = 3


@dataclass(frozen=True)
class Row:
    settings: Settings


async def test_structs_dataclasses_and_positional_parameters_are_made_as_well():
    def make(settings: Settings, /, *more: int, row: Row, **rest: int) -> tuple[object, ...]:
        return settings, row.settings, more, rest

    async with open_container(
        singleton(Clock), singleton(Settings), singleton(Row), singleton("all", make)
    ) as container:
        settings = await container.get(Settings)
        assert settings.depth == 3
        assert await container.get("all") == (settings, settings, (), {})


async def test_lives_are_kept_apart():
    table = [singleton(Clock), scoped(Session), transient(Query)]
    async with open_container(*table) as container:
        async with container.open_scope() as one, container.open_scope() as other, one.open_scope() as inner:
            queries = [await one.get(Query) for _ in range(2)]
            assert queries[0] is not queries[1]
            assert queries[0].session is queries[1].session is await one.get(Session)
            sessions = [await scope.get(Session) for scope in (one, other, inner)]
            assert len({id(session) for session in sessions}) == 3
            assert {id(session.clock) for session in sessions} == {id(await container.get(Clock))}
        with pytest.raises(Misbound, match=r"^Query\(session\) → Session: Session is scoped"):
            await container.get(Query)


@pytest.mark.parametrize(
    "table, faults",
    [
        ([singleton(A), singleton(B), singleton(C)], ["A(left) → B(middle) → C(right) → A: a circle"]),
        ([singleton(Ledger)], ["Ledger(store) → Store: nothing is bound to Store"]),
        (
            [singleton(Ledger), singleton(Store, MemoryStore), singleton(Session)],
            [
                "Ledger(store) → Store(clock) → Clock: nothing is bound to Clock",
                "Session(clock) → Clock: nothing is bound to Clock",
            ],
        ),
        (
            [singleton(Clock), scoped(Session), transient(Query), singleton(Keeper)],
            ["Keeper(query) → Query(session) → Session: Session is scoped, and who wants it outlives every scope"],
        ),
        ([singleton(Clock), singleton(Clock)], ["Clock is bound twice"]),
        ([singleton(Abstract)], ["Abstract: Abstract is abstract, bind it to what makes one"]),
        ([singleton(Store)], ["Store: Store is abstract, bind it to what makes one"]),
        ([singleton("it", lambda key: key)], ["it: the parameter key has neither a type nor a default"]),
        ([singleton("it", iter_clocks)], ["it: iter_clocks is a generator, make it a context manager by contextlib"]),
        ([singleton("it", lost)], ["it: the parameters of lost can't be read: name 'Nowhere' is not defined"]),
        ([singleton("name")], ["name: 'name' makes nothing, it can't be called"]),
    ],
)
def test_fault_of_a_table_is_named_with_the_way_to_it(table: list[Binding], faults: list[str]):
    with pytest.raises(Misbound) as caught:
        open_container(*table)
    assert list(caught.value.faults) == faults


def test_every_fault_is_named_at_once():
    with pytest.raises(Misbound) as caught:
        open_container(singleton(Abstract), singleton(Clock), singleton(Clock))
    assert len(caught.value.faults) == len(str(caught.value).splitlines()) == 2


class Slow:
    """A factory that waits at a gate; fails or answers as it is told."""

    def __init__(self) -> None:
        self.gate = trio.Event()
        self.begun = 0
        self.error: Exception | None = None

    async def make(self) -> Clock:
        self.begun += 1
        await self.gate.wait()
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return Clock()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Clock]:
        yield await self.make()


FactoryOf = Callable[[Slow], Callable[[], Any]]
FACTORIES: list[FactoryOf] = [lambda slow: slow.make, lambda slow: slow.open]
slowly = pytest.mark.parametrize("factory_of", FACTORIES, ids=["async function", "context manager"])


@slowly
async def test_some_that_ask_at_the_same_time_get_one(factory_of: FactoryOf):
    slow, got = Slow(), []

    async def ask(container: Container) -> None:
        got.append(await container.get(Clock))

    async with open_container(singleton(Clock, factory_of(slow))) as container:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask, container)
            await trio.testing.wait_all_tasks_blocked()
            slow.gate.set()
    assert len(got) == 3
    assert len({id(one) for one in got}) == slow.begun == 1


@slowly
async def test_when_the_first_who_asked_is_cancelled_the_next_tries_again(factory_of: FactoryOf):
    slow, got = Slow(), []

    async def ask(container: Container, scope: trio.CancelScope) -> None:
        with scope:
            got.append(await container.get(Clock))

    async with open_container(singleton(Clock, factory_of(slow))) as container:
        async with trio.open_nursery() as nursery:
            first, second = trio.CancelScope(), trio.CancelScope()
            nursery.start_soon(ask, container, first)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(ask, container, second)
            await trio.testing.wait_all_tasks_blocked()
            first.cancel()
            await trio.testing.wait_all_tasks_blocked()
            slow.gate.set()
    assert first.cancelled_caught
    assert len(got) == 1
    assert slow.begun == 2


@slowly
async def test_factory_that_fails_lets_the_next_try_again(factory_of: FactoryOf):
    slow = Slow()
    slow.error = OSError("down")
    slow.gate.set()
    async with open_container(singleton(Clock, factory_of(slow))) as container:
        with pytest.raises(OSError, match="down"):
            await container.get(Clock)
        assert await container.get(Clock) is await container.get(Clock)
    assert slow.begun == 2


async def test_asker_cancelled_in_the_very_step_that_opened_it_does_not_hang():
    scopes = [trio.CancelScope(), trio.CancelScope()]

    @asynccontextmanager
    async def open_and_cancel_the_first() -> AsyncIterator[Clock]:
        await trio.lowlevel.checkpoint()
        scopes[0].cancel()
        yield Clock()

    async with open_container(singleton(Clock, open_and_cancel_the_first)) as container:
        with scopes[0]:
            await container.get(Clock)
        assert scopes[0].cancelled_caught
        with scopes[1]:
            assert isinstance(await container.get(Clock), Clock)


async def test_closing_goes_in_reverse_order_of_construction():
    trail = Trail()

    def open_store(clock: Clock) -> AbstractAsyncContextManager[MemoryStore]:
        return trail.open("store", MemoryStore(clock))

    @contextmanager
    def open_session(clock: Clock) -> Iterator[Session]:
        trail.steps.append("open session")
        yield Session(clock)
        trail.steps.append("close session")

    table = [
        singleton(Store, open_store),
        singleton(Clock, lambda: trail.open("clock", Clock())),
        scoped(Session, open_session),
    ]
    async with open_container(*table) as container:
        async with container.open_scope() as scope:
            await scope.get(Session)
            await scope.get(Store)
        assert trail.steps == ["open clock", "open session", "open store", "close session"]
    assert trail.steps[4:] == ["close store", "close clock"]


async def use(table: list[Binding]) -> None:
    async with open_container(*table) as container:
        for binding in table:
            await container.get(binding.wanted)
        raise ValueError("in the block")


async def test_all_is_closed_even_if_closing_raises():
    trail = Trail()
    table = [
        singleton("one", lambda: trail.open("one", 1, OSError("one"))),
        singleton("two", lambda: trail.open("two", 2)),
        singleton("three", lambda: trail.open("three", 3, KeyError("three"))),
    ]
    with pytest.raises(ExceptionGroup, match="not everything could be closed") as caught:
        await use(table)
    assert trail.steps[3:] == ["close three", "close two", "close one"]
    assert [type(error) for error in caught.value.exceptions] == [KeyError, OSError]
    assert isinstance(caught.value.__context__, ValueError)


async def test_what_the_block_raises_leaves_as_it_came():
    with pytest.raises(ValueError, match="in the block") as caught:
        async with open_container(singleton(Clock)) as container:
            raise ValueError("in the block") from KeyError("because")
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(Closed):
        await container.get(Clock)


async def test_cancelled_container_closes_one_after_the_other_too():
    steps: list[str] = []

    @asynccontextmanager
    async def open_careful(name: str) -> AsyncIterator[str]:
        try:
            yield name
        finally:
            steps.append(f"closing {name}")
            with trio.CancelScope(shield=True):
                await trio.testing.wait_all_tasks_blocked()
            steps.append(f"closed {name}")

    names = ["one", "two", "three"]
    with trio.CancelScope() as scope:
        async with open_container(*[singleton(name, partial(open_careful, name)) for name in names]) as container:
            for name in names:
                await container.get(name)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert steps == [f"{step} {name}" for name in reversed(names) for step in ("closing", "closed")]


async def test_closing_that_waits_is_cancelled_with_the_container():
    @asynccontextmanager
    async def open_reluctant() -> AsyncIterator[str]:
        yield "open"
        await trio.sleep_forever()

    with trio.CancelScope() as scope:
        async with open_container(singleton("one", open_reluctant)) as container:
            await container.get("one")
            scope.cancel()
    assert scope.cancelled_caught


async def test_failure_to_close_is_told_even_when_cancelled():
    trail = Trail()
    with pytest.RaisesGroup(KeyError), trio.CancelScope() as scope:
        async with open_container(singleton("one", partial(trail.open, "one", 1, KeyError("one")))) as container:
            await container.get("one")
            scope.cancel()
            await trio.sleep_forever()
    assert trail.steps == ["open one", "close one"]


class Pool:
    """Works in the background, as many of Trio's resources do; its tasks are below whoever opened it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.beats = 0
        self.again = trio.Event()

    async def work(self) -> None:
        while True:
            await self.again.wait()
            self.again = trio.Event()
            self.beats += 1

    async def fail(self) -> None:
        raise OSError("the pool broke")


@asynccontextmanager
async def open_pool() -> AsyncIterator[Pool]:
    async with trio.open_nursery() as nursery:
        pool = Pool(nursery)
        nursery.start_soon(pool.work)
        yield pool
        nursery.cancel_scope.cancel()


async def test_resource_with_a_nursery_outlives_the_task_that_asked_first():
    pools: list[Pool] = []

    async def ask(container: Container) -> None:
        with trio.move_on_after(3600):
            pools.append(await container.get(Pool))

    async with open_container(singleton(Pool, open_pool)) as container:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, container)
        pools[0].again.set()
        await trio.testing.wait_all_tasks_blocked()
        assert pools[0].beats == 1


async def test_resource_that_fails_in_use_takes_the_container_down_and_the_rest_is_closed():
    trail = Trail()
    table = [singleton("one", partial(trail.open, "one", 1)), singleton(Pool, open_pool)]
    with pytest.RaisesGroup(pytest.RaisesGroup(pytest.RaisesExc(OSError, match="the pool broke"))):
        async with open_container(*table) as container:
            await container.get("one")
            pool = await container.get(Pool)
            pool.nursery.start_soon(pool.fail)
            await trio.sleep_forever()
    assert trail.steps == ["open one", "close one"]


async def test_failures_of_a_resource_and_of_the_block_are_both_told():
    with pytest.RaisesGroup(pytest.RaisesGroup(OSError), ValueError):
        async with open_container(singleton(Pool, open_pool)) as container:
            pool = await container.get(Pool)
            pool.nursery.start_soon(pool.fail)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("in the block")


async def test_group_that_the_block_raises_is_not_wrapped_in_another():
    with pytest.RaisesGroup(KeyError):
        async with open_container(singleton(Clock)):
            raise ExceptionGroup("in the block", [KeyError()])


async def test_resource_that_ends_by_itself_is_not_taken_for_sound():
    @asynccontextmanager
    async def open_short() -> AsyncIterator[trio.CancelScope]:
        with trio.CancelScope() as scope:
            yield scope

    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="ended while it was in use")):
        async with open_container(singleton(trio.CancelScope, open_short)) as container:
            (await container.get(trio.CancelScope)).cancel()
            await trio.sleep_forever()


async def test_what_is_opened_while_the_container_closes_is_closed_with_it():
    trail, slow = Trail(), Slow()

    @asynccontextmanager
    async def open_late() -> AsyncIterator[Clock]:
        async with trail.open("late", await slow.make()) as clock:
            yield clock

    async def ask(container: Container) -> None:
        with pytest.raises(Closed):
            await container.get(Clock)

    async with trio.open_nursery() as nursery:
        async with open_container(singleton(Clock, open_late)) as container:
            nursery.start_soon(ask, container)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(_set_when_blocked, slow.gate)
    assert trail.steps == ["open late", "close late"]


async def _set_when_blocked(event: trio.Event) -> None:
    await trio.testing.wait_all_tasks_blocked()
    event.set()


class Client:
    """A class that is a context manager itself."""

    entered = 0

    async def __aenter__(self) -> "Client":
        self.entered += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self.entered -= 1


async def test_class_that_is_a_context_manager_is_entered_only_when_told():
    async with open_container(singleton(Client), singleton("open", Client, enter=True)) as container:
        assert (await container.get(Client)).entered == 0
        client = await container.get("open")
        assert client.entered == 1
    assert client.entered == 0


async def test_thousand_containers_leave_nothing_running():
    trail = Trail()
    tasks = trio.lowlevel.current_statistics().tasks_living
    for _ in range(1000):
        table = [singleton(Pool, open_pool), scoped("one", partial(trail.open, "one", 1))]
        async with open_container(*table) as container, container.open_scope() as scope:
            await scope.get("one")
            await scope.get(Pool)
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert trail.steps.count("open one") == trail.steps.count("close one") == 1000


class Numbered:
    """A factory of a made-up table: wants the things of some numbers, and writes down when it is opened and closed."""

    NAMES = tuple(Annotated[int, number] for number in range(7))

    def __init__(self, trail: Trail, number: int, needs: list[int]) -> None:
        self._trail, self._number, self._needs = trail, number, needs
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters = [inspect.Parameter(f"n{need}", kind, annotation=self.NAMES[need]) for need in needs]
        self.__signature__ = inspect.Signature(parameters)

    def __call__(self, **given: int) -> AbstractAsyncContextManager[Any]:
        assert given == {f"n{need}": need for need in self._needs}
        return self._trail.open(str(self._number), self._number)


@given(st.data(), st.lists(st.sampled_from(Life), min_size=1, max_size=7))
def test_any_table_without_circles_is_opened_in_an_order_and_closed_in_reverse(data: st.DataObject, lives: list[Life]):
    trail = Trail()
    needs_by_number: list[list[int]] = []
    in_scope: list[bool] = []  # by number: whether it is scoped or has a part that is
    for number, life in enumerate(lives):
        fit = [n for n in range(number) if not (life is Life.SINGLETON and in_scope[n])]
        needs = data.draw(st.lists(st.sampled_from(fit), unique=True)) if fit else []
        needs_by_number.append(needs)
        in_scope.append(life is Life.SCOPED or any(in_scope[n] for n in needs))
    table = [
        Binding(Numbered.NAMES[number], Numbered(trail, number, needs_by_number[number]), life, enter=True)
        for number, life in enumerate(lives)
    ]

    async def main() -> None:
        async with open_container(*reversed(table)) as container, container.open_scope() as scope:
            for number in range(len(lives)):
                assert await scope.get(Numbered.NAMES[number]) == number

    trio.run(main)
    opened = [int(step.removeprefix("open ")) for step in trail.steps if step.startswith("open")]
    closed = [int(step.removeprefix("close ")) for step in trail.steps if step.startswith("close")]
    assert sorted(opened) == sorted(closed)
    once = {number for number, life in enumerate(lives) if life is not Life.TRANSIENT}
    for number in once:
        assert opened.count(number) == 1
        for need in needs_by_number[number]:
            assert opened.index(need) < opened.index(number)
            if need in once:
                assert closed.index(need) > closed.index(number)
