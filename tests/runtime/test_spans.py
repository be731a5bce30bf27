"""Spans by OpenTelemetry's own library: one for each message, each below the one that caused it, and the header for the outside."""

from pathlib import Path
from typing import Any

import pytest
import trio
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from runtime.actor import Actor, Reply, reply
from runtime.actors import Here, open_actors
from runtime.clock import SystemClock
from runtime.codec import Codec
from runtime.delivery import Context
from runtime.errors import Crashed, Refused
from runtime.ids import Ids
from runtime.records import Command
from runtime.spans import Spans
from runtime.store.sqlite import SqliteStore
from runtime.system import Role, open_system
from runtime.transparency import Signer
from tests.runtime import bank
from tests.runtime.bank import Deposit
from tests.runtime.test_system import BANK

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACED = Context(tenant="t1", principal="ann", correlation=TRACE, traceparent=f"00-{TRACE}-{PARENT}-01")


class Recorder:
    """A provider whose spans can be looked at."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._provider = TracerProvider()
        self._provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.spans = Spans(self._provider)

    def made(self) -> list[ReadableSpan]:
        """The spans that have ended, in the order in which they began."""
        return sorted(self._exporter.get_finished_spans(), key=lambda one: one.start_time or 0)

    def close(self) -> None:
        self._provider.shutdown()


@pytest.fixture
def recorder() -> Any:
    made = Recorder()
    yield made
    made.close()


def trace_id(span: ReadableSpan) -> str:
    context = span.get_span_context()
    assert context is not None
    return f"{context.trace_id:032x}"


def span_id(span: ReadableSpan) -> str:
    context = span.get_span_context()
    assert context is not None
    return f"{context.span_id:016x}"


def parent_id(span: ReadableSpan) -> str:
    return f"{span.parent.span_id:016x}" if span.parent is not None else ""


class Do(Command[Any], frozen=True, kw_only=True):
    what: Any


class Plain(Actor[Do, None]):
    def __init__(self, here: Here) -> None:
        super().__init__(here)
        self.here: Here = here

    def handle(self, message: Do) -> Reply:
        return reply(message, message.what(self))


class Waiter(Actor[Do, None]):
    def __init__(self, here: Here) -> None:
        super().__init__(here)
        self.here: Here = here

    async def handle(self, message: Do) -> Reply:
        return reply(message, await message.what(self))


async def test_a_message_is_a_span_below_the_one_that_caused_it(recorder: Recorder) -> None:
    headers: dict[str, str] = {}
    async with open_actors(interceptors=(recorder.spans,)) as actors:
        plain, waiter = actors.spawn(Plain, "plain"), actors.spawn(Waiter, "waiter")

        async def ask(self: Waiter) -> None:
            await trio.lowlevel.checkpoint()
            await plain.ask(Do(what=lambda self: headers.update(plain=self.here.traceparent)))
            headers["waiter"] = self.here.traceparent

        await waiter.ask(Do(what=ask), context=TRACED)
    first, second = recorder.made()
    assert [one.name for one in (first, second)] == ["waiter Do", "plain Do"]
    assert trace_id(first) == trace_id(second) == TRACE
    assert (parent_id(first), parent_id(second)) == (PARENT, span_id(first))
    assert headers == {"waiter": f"00-{TRACE}-{span_id(first)}-01", "plain": f"00-{TRACE}-{span_id(second)}-01"}
    assert first.attributes is not None
    assert second.attributes is not None
    assert dict(first.attributes) == {
        "gavel.actor": "waiter",
        "gavel.message": "Do",
        "gavel.message_id": 1,
        "gavel.cause": 0,
        "gavel.root": 1,
        "gavel.tenant": "t1",
        "gavel.principal": "ann",
    }
    assert (second.attributes["gavel.cause"], second.attributes["gavel.root"]) == (1, 1)


async def test_handlers_that_wait_at_once_keep_their_spans_apart(recorder: Recorder) -> None:
    headers: dict[int, str] = {}
    async with open_actors(interceptors=(recorder.spans,)) as actors, trio.open_nursery() as nursery:
        for number in range(5):

            async def wait(self: Waiter, number: int = number) -> None:
                await trio.sleep(0.001 * (5 - number))
                headers[number] = self.here.traceparent

            nursery.start_soon(actors.spawn(Waiter, str(number)).ask, Do(what=wait))
    by_actor = {str((one.attributes or {})["gavel.actor"]): span_id(one) for one in recorder.made()}
    assert {str(number): header.split("-")[2] for number, header in headers.items()} == by_actor
    assert len({header.split("-")[1] for header in headers.values()}) == 5


async def test_a_failure_is_one_and_a_refusal_is_an_answer(recorder: Recorder) -> None:
    def refuse(_: object) -> None:
        raise Refused("no", "not today")

    async with open_actors(interceptors=(recorder.spans,)) as actors:
        ref = actors.spawn(Plain)
        with pytest.raises(Refused):
            await ref.ask(Do(what=refuse))
        with pytest.raises(Crashed):
            await ref.ask(Do(what=lambda _: 1 // 0))
    refused, failed = recorder.made()
    assert (refused.status.is_unset, (refused.attributes or {})["gavel.refused"]) == (True, "no: not today")
    assert (failed.status.is_ok, failed.events[0].name) == (False, "exception")
    assert "ZeroDivisionError" in str(failed.status.description)


class Teller(bank.Teller):
    """Keeps what it would tell the outside."""

    headers: list[str] = []

    def handle(self, message: Any) -> Any:
        self.headers.append(self.here.traceparent)
        return super().handle(message)

    def react(self, recorded: Any) -> Any:
        self.headers.append(self.here.traceparent)
        return super().react(recorded)


@pytest.mark.parametrize("traced", [True, False])
async def test_the_journals_actors_stay_in_the_trace_that_they_were_asked_in(
    tmp_path: Path, recorder: Recorder, traced: bool
) -> None:
    clock, Teller.headers = SystemClock(), []
    store = SqliteStore(tmp_path / "journal.db", Codec([BANK]), Signer.load_or_make(tmp_path / "journal-key"))
    interceptors = (recorder.spans,) if traced else ()
    roster = [Role(Teller, make=Teller)]
    try:
        async with open_system(store, roster, clock=clock, ids=Ids(clock), interceptors=interceptors) as system:
            await system.ask(Deposit(account="a", cents=5), TRACED)
            await system.ask(Deposit(account="a", cents=1_000_000), TRACED)
            await system.journal.wait_past(2)
    finally:
        store.close()
    assert {header.split("-")[1] for header in Teller.headers} == {TRACE}
    spans = recorder.made()
    if not traced:
        assert f"00-{TRACE}-{PARENT}-01" in Teller.headers
        assert f"00-{TRACE}-{1:016x}-01" in Teller.headers
        return
    assert {trace_id(one) for one in spans} == {TRACE}
    assert {one.name for one in spans} == {"teller Deposit", "teller bank.Deposited", "teller bank.Greeted"}
    assert {f"00-{TRACE}-{span_id(one)}-01" for one in spans} == set(Teller.headers)
    assert {parent_id(one) for one in spans if one.name == "teller Deposit"} == {PARENT}
    assert {parent_id(one) for one in spans if one.name == "teller bank.Deposited"} >= {f"{1:016x}", f"{2:016x}"}


async def test_without_a_trace_there_is_no_header() -> None:
    async with open_actors() as actors:
        ref = actors.spawn(Plain)
        assert await ref.ask(Do(what=lambda self: self.here.traceparent)) == ""
        assert await ref.ask(Do(what=lambda self: self.here.traceparent), context=TRACED) == TRACED.traceparent
