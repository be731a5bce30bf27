"""Bugs that are planted in the runtime, one at a time, to see whether the simulation finds them."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple

from runtime.alarms import Alarms
from runtime.cell import Cell
from runtime.changes import write as write_changes
from runtime.hearing import Batch
from runtime.journal import Journal
from runtime.read_models import ReadModels, Standing, positions
from runtime.records import Update


class Mutation(NamedTuple):
    """A method, what makes a wrong one of it, and which invariants may notice first."""

    owner: Any
    name: str
    make: Any
    caught_by: tuple[str, ...]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The runtime has this bug."""
        right = getattr(self.owner, self.name)
        is_its_own = self.name in vars(self.owner)
        setattr(self.owner, self.name, wraps(right)(self.make(right)))
        try:
            yield
        finally:
            if is_its_own:
                setattr(self.owner, self.name, right)
            else:
                delattr(self.owner, self.name)


# ---- of the journal and what hangs on it


def reply_before_the_commit(propose: Any) -> Any:
    def wrong(journal: Journal, proposal: Any, entry: Any, context: Any, reply: Any = None) -> None:
        propose(journal, proposal, entry, context, reply)
        entry.settle(None)
        entry.delivery = entry.after = None

    return wrong


def reaction_without_its_position(propose: Any) -> Any:
    def wrong(journal: Journal, proposal: Any, entry: Any, context: Any, reply: Any = None) -> None:
        entry.reaction = None
        propose(journal, proposal, entry, context, reply)

    return wrong


def states_kept_after_a_failed_commit(fail: Any) -> Any:
    def wrong(journal: Journal, error: BaseException) -> None:
        states = dict(journal._states)
        fail(journal, error)
        journal._states.update(states)

    return wrong


def memories_kept_after_a_failed_commit(fail: Any) -> Any:
    def wrong(journal: Journal, error: BaseException) -> None:
        on_failure, journal.on_failure = journal.on_failure, lambda: None
        fail(journal, error)
        journal.on_failure = on_failure

    return wrong


def projection_position_outside_the_commit(write: Any) -> Any:
    def wrong(models: ReadModels, batch: Sequence[Any]) -> None:
        due = Batch(batch)
        with models.engine.begin() as connection:
            moved = [models._advance(connection, one, due, apart=False) for one in models.projections]
        with models.engine.begin() as connection:
            write_changes(connection, [_moved(standing) for standing in moved])
        models.standings = {standing.name: standing for standing in moved}

    return wrong


def _moved(standing: Standing) -> Update:
    return Update(table=positions, values={"position": standing.position}, where={"name": standing.name})


# ---- of the kernel


def lost_wakeup_at_stop(turn_away: Any) -> Any:
    def wrong(cell: Cell, reason: str) -> None:
        cell._extra().parked.clear()
        turn_away(cell, reason)

    return wrong


def stop_tells_only_the_first_who_waits(dead: Any) -> Any:
    def wrong(cell: Cell) -> None:
        del cell._extra().stopped[1:]
        dead(cell)

    return wrong


def newest_parked_sender_first(admit: Any) -> Any:
    def wrong(cell: Cell) -> None:
        extras = cell._extra()
        extras.parked = deque(reversed(extras.parked))
        admit(cell)
        extras.parked = deque(reversed(extras.parked))

    return wrong


def newcomers_overtake_parked_senders(enqueue: Any) -> Any:
    def wrong(cell: Cell, delivery: Any, wait: bool) -> bool:
        extras = cell._extra()
        parked, extras.parked = extras.parked, deque()
        try:
            has_room: bool = enqueue(cell, delivery, wait)
        finally:
            extras.parked.extendleft(reversed(parked))
        return has_room

    return wrong


def timers_outlive_a_restart(forget: Any) -> Any:
    def wrong(alarms: Alarms, cell: Cell) -> None:
        """Leaves them."""

    return wrong


OF_THE_JOURNAL = (
    Mutation(Journal, "propose", reply_before_the_commit, ("replies_match_commits",)),
    Mutation(Journal, "propose", reaction_without_its_position, ("nothing_applied_twice", "every_reaction_made")),
)
OF_FAILED_COMMITS = (
    Mutation(Journal, "_fail", states_kept_after_a_failed_commit, ("positions_contiguous", "decide_again")),
    Mutation(Journal, "_fail", memories_kept_after_a_failed_commit, ("memory_equals_fold", "every_reaction_made")),
)
OF_PROJECTIONS = (
    Mutation(ReadModels, "write", projection_position_outside_the_commit, ("read_models_equal_rebuild",)),
)
OF_THE_KERNEL = (
    Mutation(Cell, "_turn_away", lost_wakeup_at_stop, ("every_caller_answered",)),
    Mutation(Cell, "_dead", stop_tells_only_the_first_who_waits, ("every_caller_answered",)),
    Mutation(Cell, "_admit", newest_parked_sender_first, ("fair_admission", "order_per_actor")),
    Mutation(Cell, "_enqueue", newcomers_overtake_parked_senders, ("fair_admission", "order_per_actor")),
    Mutation(Alarms, "forget", timers_outlive_a_restart, ("timers_end_with_incarnation",)),
)
