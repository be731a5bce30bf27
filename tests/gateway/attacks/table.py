"""The table of attacks: each is a function whose name says what is tried and whose docstring says what happens."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module

from tests.gateway.attacks.house import House

Run = Callable[[House], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One attack. `logged` is the line of the log that tells of it; slow ones wait for a deadline, and do so side by side."""

    name: str
    expected: str
    chapter: str
    run: Run
    is_slow: bool = False
    logged: str = ""

    def __str__(self) -> str:
        return self.name


CHAPTERS = {
    "framing": "HTTP/1.1: heads and bodies",
    "http2": "HTTP/2 without asking",
    "sockets": "Websockets",
    "slow": "Slow, greedy and gone",
    "bombs": "Bombs in bodies",
    "api": "Well-formed, and meant ill",
    "agents": "Agents that mean ill",
}
"""The modules that hold attacks, and what each is called on the page."""

ATTACKS: list[Attack] = []


def attack(run: Run) -> Run:
    """Enters an attack into the table."""
    return _enter(run)


def slow_attack(logged: str = "") -> Callable[[Run], Run]:
    """Enters an attack that waits for a deadline."""

    def enter(run: Run) -> Run:
        return _enter(run, is_slow=True, logged=logged)

    return enter


def attacks() -> list[Attack]:
    """All of them, chapter by chapter."""
    for chapter in CHAPTERS:
        import_module(f"{__package__}.{chapter}")
    return sorted(ATTACKS, key=lambda one: list(CHAPTERS).index(one.chapter))


def _enter(run: Run, *, is_slow: bool = False, logged: str = "") -> Run:
    name, chapter = str(getattr(run, "__name__", "")), run.__module__.rpartition(".")[2]
    expected = " ".join((run.__doc__ or "").split())
    assert expected, f"{name} does not say what happens"
    entered = Attack(name=name, expected=expected, chapter=chapter, run=run, is_slow=is_slow, logged=logged)
    ATTACKS.append(entered)
    return run
