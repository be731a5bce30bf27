"""Which lines about an actor are written: levels by path or kind, set while the system runs, and a logger that knows the message.

Without a level of its own an actor's lines are those of the process (`runtime/telemetry.py`). The levels live and end with their system.
"""

from typing import TYPE_CHECKING, Any, Literal

from structlog.typing import FilteringBoundLogger

from runtime.errors import Overloaded
from runtime.life import Life, Work, working
from runtime.telemetry import logger

if TYPE_CHECKING:
    from runtime.delivery import Delivery

Level = Literal["debug", "info", "warning", "error", "critical"]

LEVELS_MAX = 1000


class LogLevels:
    """Levels by name: the longest path that leads to an actor counts, then its kind."""

    def __init__(self) -> None:
        self._level_by_name: dict[str, Level] = {}

    def set(self, name: str, level: Level | None) -> None:
        """Gives a path (with all below it) or a kind a level; None takes it back. Raises Overloaded past LEVELS_MAX."""
        if level is None:
            self._level_by_name.pop(name, None)
            return
        if len(self._level_by_name) >= LEVELS_MAX and name not in self._level_by_name:
            raise Overloaded(f"{LEVELS_MAX} actors have log levels of their own already")
        self._level_by_name[name] = level

    def has(self, name: str) -> bool:
        """Whether this very name has a level."""
        return name in self._level_by_name

    def of(self, path: str, kind: str) -> Level | None:
        """The level of such an actor, where it has one."""
        if not self._level_by_name:
            return None
        while path:
            if path in self._level_by_name:
                return self._level_by_name[path]
            path = path.rpartition("/")[0]
        return self._level_by_name.get(kind)

    def logger(self, cell: Life) -> FilteringBoundLogger:
        """A logger for lines about an actor and the message that it handles now; asked for anew each time, since both change."""
        return logger(self.of(cell.path, cell._kind.name), actor=cell.path, **_causality(delivery_of(cell)))


def delivery_of(cell: Life) -> "Delivery | None":
    """The message on whose behalf the code that runs now speaks for this actor."""
    if cell.current is not None and not cell._kind.is_async:
        return cell.current  # its handler runs at this moment, perhaps asked by its own work
    work = working.get()
    return work.current if type(work) is Work and work.cell is cell else cell.current


def _causality(delivery: "Delivery | None") -> dict[str, Any]:
    if delivery is None:
        return {}
    named: dict[str, Any] = {"message_id": delivery.id, "cause": delivery.cause, "root": delivery.root}
    if delivery.context is not None and delivery.context.correlation:
        named["correlation"] = delivery.context.correlation
    return named
