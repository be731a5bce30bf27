"""Work that is given up when something else comes first: its client leaves, or is let in no more."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio

T = TypeVar("T")


async def unless(watch: Callable[[], Awaitable[Any]], work: Callable[[], Awaitable[T]]) -> T | None:
    """What the work comes to; None where `watch` returns first. What either raises is raised by itself, not in a group."""
    results: list[T] = []
    failures: list[Exception] = []

    async def run(one: Callable[[], Awaitable[Any]], kept: list[Any]) -> None:
        try:
            kept.append(await one())
        except Exception as error:  # noqa: BLE001 — raised below
            failures.append(error)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, watch, [])
        await run(work, results)
    if failures:
        raise failures[0]
    return results[0] if results else None
