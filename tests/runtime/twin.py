"""The obvious actor: one task and one memory channel each. What the kernel does must look the same from outside."""

import math
from collections.abc import Callable
from typing import Any

import trio

from runtime.actor import Actor, Reply
from runtime.errors import Crashed, Failure


class NaiveRef:
    """An actor in a task of its own. Nothing is bounded, nothing is supervised but by making it anew."""

    def __init__(self, make: Callable[[], Actor[Any, Any]]) -> None:
        self._make = make
        self._send, self._receive = trio.open_memory_channel[tuple[Any, list[Any], trio.Event]](math.inf)

    def tell(self, message: Any) -> None:
        self._send.send_nowait((message, [], trio.Event()))

    async def ask(self, message: Any) -> Any:
        answer: list[Any] = []
        answered = trio.Event()
        await self._send.send((message, answer, answered))
        await answered.wait()
        if isinstance(answer[0], Exception):
            raise answer[0]
        return answer[0]

    async def run(self) -> None:
        actor = self._make()
        async for message, answer, answered in self._receive:
            try:
                result: Any = actor.handle(message)
                if hasattr(result, "__await__"):
                    result = await result
                answer.append(result.value if isinstance(result, Reply) else result)
            except Failure as failure:
                answer.append(failure)
            except Exception:  # noqa: BLE001 - whatever it is, the actor is made anew
                answer.append(Crashed("twin"))
                actor = self._make()
            answered.set()
