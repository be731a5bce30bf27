"""What must hold at every message of every actor: it comes in its turn, and nothing has outgrown its bound.

A message has its number when it is sent, before its sender is parked for want of room. So an actor handles rising numbers, and whoever
overtakes somebody breaks that. Two kinds of messages are exempt, for good reasons:

- what an actor has put aside comes again when the actor wants it;
- what the runtime itself sends (a timer's message, a death notice) needs no room, so it passes those who are parked. A notice is known by
  having neither cause nor asker nor a context of its own; a workload's senders that want to be looked at name a context.
"""

from collections.abc import Callable
from typing import Any

from runtime.cell import Cell
from runtime.delivery import WAITING, Delivery
from runtime.durable import DurableCell
from runtime.journal import Journal
from runtime.keyed import KeyedCell
from runtime.records import Recorded
from runtime.states import ENTRIES_MIN

IN_ORDER = (Cell, DurableCell, KeyedCell)
"""Members of pools take from each other, so there no one member's order is promised."""

SETTLED_MAX = 4
"""So many may wait for the journal to be settled: who saves memories, who makes a backup."""

ORDER, BOUNDS = "order_per_actor", "bounds_kept"


class Place:
    """What is known of one actor: what it has handled last, and what it has put aside."""

    __slots__ = ("actor", "aside", "handled", "number", "position")

    def __init__(self) -> None:
        self.number = 0
        self.handled: set[int] = set()
        self.aside: set[int] = set()
        self.actor: Any = None
        self.position = 0


class Watching:
    """Looks at each message before and after it is handled; `fail(invariant, detail)` ends the run."""

    def __init__(self, fail: Callable[[str, str], Any]) -> None:
        self._fail = fail
        self._places: dict[Cell, Place] = {}

    def begins(self, cell: Cell, message: Any) -> None:
        """The actor is about to handle this."""
        if type(cell) not in IN_ORDER:
            return
        place = self._places.get(cell)
        if place is None:
            place = self._places[cell] = Place()
        if cell.current is not None:
            self._look_at_turn(cell, place, cell.current)
        elif isinstance(message, Recorded):
            self._look_at_reaction(cell, place, message.position)
        self._look_at_bounds(cell, place)

    def ends(self, cell: Cell) -> None:
        """It has handled it, or has put it aside."""
        place, delivery = self._places.get(cell), cell.current
        if isinstance(cell, DurableCell):
            return  # while a state is fetched for it, its message stays the next one
        if place is not None and delivery is not None and delivery.state == WAITING:
            place.aside.add(delivery.id)

    # ---- order

    def _look_at_turn(self, cell: Cell, place: Place, delivery: Delivery) -> None:
        number = delivery.id
        if number in place.handled:
            was_fetched_for = isinstance(cell, DurableCell) and number == place.number
            # An `async` handler puts its message aside unseen.
            if not (was_fetched_for or number in place.aside or cell._kind.is_async):
                self._fail(ORDER, f"{cell.path} handles message {number} twice")
        elif number < place.number:
            self._fail(ORDER, f"{cell.path} handles message {number} after {place.number}, which was sent later")
        elif not _is_of_the_runtime(cell, delivery):
            place.number = number
        place.handled.add(number)

    def _look_at_reaction(self, cell: Cell, place: Place, position: int) -> None:
        actor = cell._actor
        if place.actor is not actor:
            place.actor, place.position = actor, 0
        if position < place.position:
            self._fail(ORDER, f"{cell.path} reacts to position {position} after {place.position}")
        place.position = position

    # ---- bounds

    def _look_at_bounds(self, cell: Cell, place: Place) -> None:
        queue, extras, kind = cell._queue, cell._extras, cell._kind
        if queue is not None and len(queue) > kind.mailbox_max:
            waiting = sum(1 for one in queue if not (one.id in place.aside or _is_of_the_runtime(cell, one)))
            if waiting > kind.mailbox_max:
                self._fail(
                    BOUNDS, f"{waiting} messages wait in front of {cell.path}, mailbox_max is {kind.mailbox_max}"
                )
        if extras is not None and len(extras.stash) > kind.stash_max:
            self._fail(BOUNDS, f"{cell.path} has put {len(extras.stash)} aside, stash_max is {kind.stash_max}")
        if isinstance(cell, DurableCell):
            self._look_at_journal(cell.journaled.journal, len(cell.journaled.cells))

    def _look_at_journal(self, journal: Journal, cells: int) -> None:
        most = journal.pending_commands_max
        if journal.backlog > most:
            # Reactions follow from what is committed and are not turned away, nor is an actor that wakes.
            waiting = sum(1 for entry in (*journal._flying, *journal._waiting) if entry.reaction is None)
            if waiting > most + cells + SETTLED_MAX:
                self._fail(BOUNDS, f"{waiting} answers wait for the disk, pending_commands_max is {most}")
        for cache in (journal._states, journal._kept):
            # What is provisional is not forgotten, and what is not is forgotten with the next commit.
            if cache.bytes > cache.bytes_max and len(cache) > ENTRIES_MIN and not journal.backlog:
                self._fail(BOUNDS, f"the journal keeps {cache.bytes} bytes, {cache.bytes_max} are its bound")


def _is_of_the_runtime(cell: Cell, delivery: Delivery) -> bool:
    if delivery.cause == 0 and not delivery.asked and delivery.context is cell._system.context:
        return True
    timers = cell._extras.timers if cell._extras is not None else {}
    return any(alarm.queued is delivery for alarm in timers.values())
