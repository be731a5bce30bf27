"""Why a step of a run happened, and how the system stood at that moment."""

import re
from collections.abc import Callable, Iterator, Sequence

from runtime.cell import Cell
from runtime.durable import DurableCell
from runtime.kind import STATES
from runtime.system import System

CHAIN_MAX = 20
DETAIL = re.compile(r" (\w+)=(\S+)")


def reasons(lines: Sequence[str], step: int) -> list[str]:
    """The steps that led to this one (from 1), the first of all first: who sent the message, what committed the event."""
    chain: list[str] = []
    index: int | None = step - 1
    while index is not None and len(chain) < CHAIN_MAX:
        chain.append(lines[index])
        index = _led_to(lines, index)
    return chain[::-1]


def _led_to(lines: Sequence[str], index: int) -> int | None:
    details = dict(DETAIL.findall(lines[index]))
    if details.get("cause", "0") != "0":
        return _last(lines, index, lambda told: told.get("id") == details["cause"])
    if details.get("position", "").isdigit():
        position = int(details["position"])
        return _last(lines, index, lambda told: _covers(told.get("positions", ""), position))
    if "positions" in details:
        return _last(lines, index, lambda told: "message" in told or "event" in told)
    if "message" in details:
        return _last(lines, index, lambda told: told.get("call") == details["message"])
    return None


def _last(lines: Sequence[str], before: int, fits: Callable[[dict[str, str]], bool]) -> int | None:
    return next((i for i in range(before - 1, -1, -1) if fits(dict(DETAIL.findall(lines[i])))), None)


def _covers(positions: str, position: int) -> bool:
    first, dots, last = positions.partition("..")
    return bool(dots) and int(first) <= position <= int(last)


def standing(system: System) -> Iterator[str]:
    """How a system stands: its journal, and each actor with what waits in front of it."""
    journal = system.journal
    yield f"journal: committed up to {journal.position}, decided up to {journal.proposed}, {journal.backlog} proposals wait"
    for cell in system.walk():
        yield _line(cell)


def _line(cell: Cell) -> str:
    told = f"{cell.path}: {STATES[cell._state]}, {len(cell._queue or ())} messages wait"
    if isinstance(cell, DurableCell):
        due = "never" if cell.due is None else f"{cell.due:.6f}"
        told += f", reacted up to {cell.reacted}, owes {len(cell.reactions)} reactions, due {due}"
    return told
