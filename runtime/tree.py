"""A system's actors as they stand now: one row each, parents before their children, and one for all of a kind.

Nothing is counted for this alone: times come from each kind's histograms, whose buckets double (so they are true up to a factor of
two), and ages from the numbers of messages.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from time import perf_counter_ns

import msgspec

from runtime.actors import Actors
from runtime.cell import Cell
from runtime.delivery import WITHDRAWN, Delivery
from runtime.durable import DurableCell
from runtime.kind import STATES, STOPPED, SUSPENDED, Kind, State
from runtime.log_levels import Level
from runtime.mailbox import Extras

ROWS_MAX = 1000
ASKED_MAX = 10


class ActorRow(msgspec.Struct, frozen=True, kw_only=True):
    """An actor: what it does (`message` for `waiting_seconds` where its handler waits, perhaps for the answers of `waits_for`), what
    waits for it, and how it has fared: `failures` within its restart window, `restarts` in all.

    `path` leads to it over `depth` parents. `key` is whose it is, where its memory is the journal; such an actor also reacts to records,
    is past the one at `reacted`, and wakes by itself at `due`. `oldest_seconds` is the age of the oldest message at least.
    """

    path: str
    kind: str
    key: str
    depth: int
    state: State
    message: str
    waiting_seconds: float | None
    waits_for: list[str]
    mailbox: int
    mailbox_peak: int
    mailbox_max: int
    oldest_seconds: float | None
    parked: int
    stash: int
    timers: int
    children: int
    handled: int
    failures: int
    restarts: int
    log_level: Level | None
    reactions: int
    reacted: int | None
    due: float | None


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """How long half of `count` messages, 99 of 100 and all took at most, in seconds; null where none was measured.

    The first 256 of a kind are all measured, then one in 17, which counts for as many: what took longest may have been none of those.
    Handlers of `async` actors are all measured.
    """

    count: int
    p50: float | None
    p99: float | None
    max: float | None


class KindRow(msgspec.Struct, frozen=True, kw_only=True):
    """All actors of a kind: how many there are, what waits for them, how long their handlers took, and how long messages waited, both
    as far as they were measured."""

    kind: str
    actors: int
    mailbox: int
    parked: int
    restarts: int
    handler_seconds: Times
    waiting_seconds: Times


class Tree(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of the first actors, how many more there are, and all kinds."""

    actors: list[ActorRow]
    more: int
    kinds: list[KindRow]


def tree(actors: Actors, *, rows_max: int = ROWS_MAX, wanted: Callable[[Cell], bool] = lambda _: True) -> Tree:
    """The system's actors, of those that are wanted `rows_max` at most."""
    rows: list[ActorRow] = []
    more = 0
    now, now_ns = actors.now(), perf_counter_ns()
    for cell, depth in _below(actors.children.values(), 0):
        if not wanted(cell):
            continue
        if len(rows) < rows_max:
            rows.append(_row(cell, depth, now, now_ns))
        else:
            more += 1
    return Tree(actors=rows, more=more, kinds=kinds(actors))


def _below(cells: Iterable[Cell], depth: int) -> Iterator[tuple[Cell, int]]:
    """Each cell, then all below it; without recursion, since parents may be many."""
    waiting = [(cell, depth) for cell in reversed(list(cells))]
    while waiting:
        cell, depth = waiting.pop()
        yield cell, depth
        if cell._extras is not None:
            waiting += [(child, depth + 1) for child in reversed(list(cell._extras.children.values()))]


NO_EXTRAS = Extras()


def _row(cell: Cell, depth: int, now: float, now_ns: int) -> ActorRow:
    kind, extras, queue = cell._kind, cell._extras or NO_EXTRAS, cell._queue or ()
    path, durable = cell.path, cell if isinstance(cell, DurableCell) else None
    oldest = _oldest(cell)
    return ActorRow(
        path=path,
        kind=kind.name,
        key=durable.key if durable is not None else "",
        depth=depth,
        state=state_of(cell),
        message=type(cell.current.message).__name__ if cell.current is not None else "",
        waiting_seconds=round((now_ns - extras.awaited.since_ns) / 1e9, 3) if extras.awaited is not None else None,
        waits_for=[asked.path for asked in extras.asks[:ASKED_MAX]],
        mailbox=len(queue),
        mailbox_peak=max(cell._peak, len(queue)),
        mailbox_max=kind.mailbox_max,
        oldest_seconds=round(cell._system.ages.age(oldest.id, now), 3) if oldest is not None else None,
        parked=len(extras.parked),
        stash=len(extras.stash),
        timers=sum(not alarm.is_over for alarm in extras.timers.values()),
        children=len(extras.children),
        handled=cell._handled,
        failures=cell.crashes,
        restarts=extras.restarts,
        log_level=cell._system.log_levels.of(path, kind.name),
        reactions=len(durable.reactions) if durable is not None else 0,
        reacted=durable.reacted if durable is not None else None,
        due=durable.due if durable is not None else None,
    )


def state_of(cell: Cell) -> State:
    """What the actor does now. One whose step needs a state that is being fetched waits like one whose handler does."""
    extras = cell._extras or NO_EXTRAS
    if extras.reason is not None and cell._state != STOPPED:
        return "stopping"
    if isinstance(cell, DurableCell) and cell._state == SUSPENDED and not cell.rebuilding:
        return "waiting"
    return STATES[cell._state]


def _oldest(cell: Cell) -> Delivery | None:
    """The first message that still waits to be begun."""
    extras = cell._extras or NO_EXTRAS
    first = [
        next((one for one in waiting if one.state != WITHDRAWN), None) for waiting in (extras.stash, cell._queue or ())
    ]
    return min((one for one in first if one is not None), key=lambda one: one.id, default=None)


def kinds(actors: Actors) -> list[KindRow]:
    """All kinds by name; those of one name are told of together."""
    rows = []
    for name, (same, cells) in by_name(actors).items():
        rows.append(
            KindRow(
                kind=name,
                actors=len(cells),
                mailbox=sum(len(cell._queue) for cell in cells if cell._queue is not None),
                parked=sum(len(cell._extras.parked) for cell in cells if cell._extras is not None),
                restarts=sum(kind.restarts for kind in same),
                handler_seconds=times(summed([kind.handled_ns for kind in same])),
                waiting_seconds=times(summed([kind.waited_ns for kind in same])),
            )
        )
    return rows


def by_name(actors: Actors) -> dict[str, tuple[list[Kind], list[Cell]]]:
    """The kinds of each name, and their actors."""
    found: dict[str, tuple[list[Kind], list[Cell]]] = {}
    for kind in sorted(actors.kinds(), key=lambda kind: kind.name):
        found.setdefault(kind.name, ([], []))[0].append(kind)
    for cell in actors.walk():
        found[cell._kind.name][1].append(cell)
    return found


def summed(histograms: Sequence[Sequence[int]]) -> list[int]:
    """Histograms of the same buckets as one."""
    return [sum(counts) for counts in zip(*histograms, strict=True)]


def times(histogram: Sequence[int]) -> Times:
    """What a histogram says whose bucket i counts times of up to 2**i - 1 ns."""
    count = sum(histogram)
    return Times(
        count=count, p50=_quantile(histogram, 0.5), p99=_quantile(histogram, 0.99), max=_quantile(histogram, 1.0)
    )


def _quantile(histogram: Sequence[int], share: float) -> float | None:
    count, seen = sum(histogram), 0
    for place, number in enumerate(histogram):
        seen += number
        if number and seen >= share * count:
            return ((1 << place) - 1) / 1e9
    return None
