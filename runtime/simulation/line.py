"""The line between a simulated node and its clients: what is said on it takes time, and is lost, late or doubled as faults have it."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import outcome
import trio

from runtime.simulation.faults import CUT_OFF, DOUBLED, LATE, REPLY_LOST, REQUEST_LOST, Kind

if TYPE_CHECKING:
    from runtime.simulation.machine import Machine

N = TypeVar("N")
R = TypeVar("R")

LATENCY_SECONDS = (0.0005, 0.02)
LATE_SECONDS = (0.5, 20.0)
ANSWER_SECONDS = 10.0
"""How long a client waits for an answer."""


class Gone(Exception):
    """The connection broke: there is no node, or there was one when the call began. What was asked may have been done."""


class NoAnswer(Exception):
    """Nothing came back in time. What was asked may have been done."""


class Line(Generic[N]):
    """Carries the calls of all clients to whatever node lives now."""

    def __init__(self, machine: "Machine[N]") -> None:
        self._machine = machine
        self._world = machine.world
        self._chance = machine.world.chance("line")

    async def call(
        self, client: str, what: str, function: Callable[[N], Awaitable[R]], seconds: float = ANSWER_SECONDS
    ) -> R:
        """Has a client call the node: `function(node)` runs there, and what it returns or raises comes back.

        Raises Gone where the connection breaks and NoAnswer after so many seconds.
        """
        self._world.note(client, "sends", call=what)
        with trio.move_on_after(seconds):
            answer = await self._exchange(client, what, function)
            failed = type(answer.error).__name__ if isinstance(answer, outcome.Error) else ""
            self._world.note(client, "hears", call=what, **({"failure": failed} if failed else {}))
            return cast(R, answer.unwrap())
        self._world.note(client, "hears nothing", call=what)
        raise NoAnswer(what)

    async def _exchange(self, client: str, what: str, function: Callable[[N], Awaitable[R]]) -> Any:
        now = self._world.now
        await trio.sleep(self._chance.uniform(*LATENCY_SECONDS))
        if self._world.faults.strikes(LATE, now) is not None:
            self._world.note("fault", LATE.name, client=client, call=what)
            await trio.sleep(self._chance.uniform(*LATE_SECONDS))
        await self._if_lost(REQUEST_LOST, client, what)
        if self._world.faults.strikes(DOUBLED, now) is not None:
            self._world.note("fault", DOUBLED.name, client=client, call=what)
            self._again(function)
        answer = await self._serve(client, what, function)
        await trio.sleep(self._chance.uniform(*LATENCY_SECONDS))
        await self._if_lost(REPLY_LOST, client, what)
        return answer

    async def _if_lost(self, kind: Kind, client: str, what: str) -> None:
        cut = self._world.faults.lasts(CUT_OFF, self._world.now)
        if cut is not None and self._world.faults.chance(cut).choice((0, 1)) == _number_of(client) % 2:
            self._world.note("fault", CUT_OFF.name, client=client, call=what)
            await trio.sleep_forever()
        if self._world.faults.strikes(kind, self._world.now) is not None:
            self._world.note("fault", kind.name, client=client, call=what)
            await trio.sleep_forever()

    def _again(self, function: Callable[[N], Awaitable[R]]) -> None:
        life = self._machine.life
        if life.nursery is None or life.node is None:
            return
        seconds = self._chance.uniform(*LATENCY_SECONDS) * 10

        async def again() -> None:
            await trio.sleep(seconds)
            if life.node is not None:
                await _outcome_of(function, life.node)

        life.nursery.start_soon(again)

    async def _serve(self, client: str, what: str, function: Callable[[N], Awaitable[R]]) -> Any:
        life = self._machine.life
        if life.node is None or life.nursery is None or life.is_dead:
            self._world.note(client, "reaches nobody", call=what)
            raise Gone(what)
        answers: list[Any] = []
        done, scope = trio.Event(), trio.CancelScope()
        life.calls[done] = None

        async def serve(node: N) -> None:
            with scope:
                answers.append(await _outcome_of(function, node))
            done.set()

        life.nursery.start_soon(serve, life.node)
        try:
            await done.wait()
        finally:
            life.calls.pop(done, None)
            if not answers and self._chance.random() < 0.5:
                scope.cancel()  # the node has noticed that the client has left
        if not answers or life.is_dead:
            self._world.note(client, "loses the connection", call=what)
            raise Gone(what)
        return answers[0]


async def _outcome_of(function: Callable[[N], Awaitable[R]], node: N) -> Any:
    try:
        return outcome.Value(await function(node))
    except Exception as error:  # noqa: BLE001 - it is told to the client
        return outcome.Error(error)


def _number_of(text: str) -> int:
    """A number from a text, the same in every process."""
    return sum(text.encode())
