"""Actors by key: each is made by the first message for its key, and passivated when it has been idle for long or too many live.

Rules. 1. One incarnation of a key at a time. While one leaves, messages wait in the mailbox of the next, which is made when the other is
gone: none is lost, doubled or overtaken. 2. Who is busy is never passivated: nothing waits there, runs there, is on its way there, is put
aside or timed, neither there nor below. So `live_max` is passed while more than so many are busy. 3. Every address of such an actor, that
of an incarnation which is gone too, leads to the one that lives or makes the next. 4. One that is stopped, by itself or by failing too
often, turns away what waited like any other actor; the next message makes a new one.
"""

from collections import OrderedDict
from collections.abc import Callable
from math import ceil, isfinite
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from runtime.actor import Actor
from runtime.group import Group, Member, is_idle
from runtime.kind import Kind
from runtime.life import Life
from runtime.props import Props
from runtime.ref import ActorRef
from runtime.supervision import Directive, Supervision

if TYPE_CHECKING:
    from runtime.actors import Actors, Here, Make

K = TypeVar("K", str, int)

LASTING = Props(supervision=Supervision(exhausted=Directive.STOP))
"""One key that always fails must not end the system."""

SWEEPS = 8
"""In so many sweeps an actor's idle time is over."""
SWEEP_SECONDS_MIN = 0.05
LOOKS_MAX = 8
"""How many of the least recently used are looked at when one is made; the others later, when those that are ready have run."""


class KeyedCell(Member):
    """The place of one incarnation of a key."""

    __slots__ = ("_family", "_has_left", "_key", "_used")

    def __init__(self, family: "Keyed[Any]", key: Any) -> None:
        super().__init__(family, family._member_kind, lambda here: family._make_member(here, key), key)
        self._family = family
        self._key = key
        self._has_left = False
        self._used = family._sweeps

    def _current(self) -> Member:
        return self._family._used_now(self if not self._has_left else self._family._at(self._key))

    def _wait_for(self, before: "KeyedCell") -> None:
        """Is made when that one is gone; until then it waits for it like an asker, so that circles are found."""
        extras = self._extra()
        extras.restarting = extras.backs_off = True
        extras.asks.append(before)

    def _follow(self) -> None:
        self._extra().asks.clear()
        self._incarnate()

    def _restart(self) -> None:
        if self._leaves:
            # It has said farewell, or failed at that: a new one would have nothing to do but to go.
            self.stop_soon("failed when it was passivated")
        else:
            super()._restart()

    def _end(self, reason: str, seconds: float | None) -> None:
        self._family._left(self)
        super()._end(reason, seconds)

    def _dead(self) -> None:
        super()._dead()
        self._family._gone(self)


class Keyed(Group, Generic[K]):
    """The address of all actors of a family: a message goes to the one of its key. Made by `spawn_keyed`."""

    __slots__ = (
        "_cells",
        "_farewell",
        "_idle_sweeps",
        "_is_armed",
        "_is_clearing",
        "_is_clearing_queued",
        "_key_of",
        "_leaving",
        "_make_member",
        "_member_kind",
        "_sweep_seconds",
        "_sweeps",
        "live_max",
        "made",
        "passivated",
    )

    def __init__(
        self,
        actors: "Actors",
        make: "Callable[[Here, K], Actor[Any, Any]]",
        name: str,
        key_of: Callable[[Any], K],
        props: Props,
        idle_seconds: float,
        live_max: int,
        farewell: Any,
        parent: Life | None,
    ) -> None:
        super().__init__(actors, name, parent)
        self._member_kind: Kind = actors._kind(cast("Make", make), props)
        if isinstance(make, type):
            self._member_kind.is_made(make)
        self._make_member: Callable[[Here, K], Actor[Any, Any]] = make
        self._key_of: Callable[[Any], K] = key_of
        self._farewell = farewell
        self.live_max = live_max
        self.made = 0
        """How many incarnations there were, and how many of them were passivated."""
        self.passivated = 0
        self._cells: OrderedDict[K, KeyedCell] = OrderedDict()
        """Those that stay, the least recently used first."""
        self._leaving: dict[K, KeyedCell] = {}
        self._sweep_seconds = max(SWEEP_SECONDS_MIN, idle_seconds / SWEEPS)
        # One used just before a sweep seems to have been used a whole one earlier.
        self._idle_sweeps = 1 + ceil(idle_seconds / self._sweep_seconds) if isfinite(idle_seconds) else 0
        self._sweeps = 0
        self._is_armed = self._is_clearing = self._is_clearing_queued = False

    # ---- for everybody

    @property
    def live(self) -> int:
        """How many live, without those that leave."""
        return len(self._cells)

    @property
    def takes(self) -> frozenset[type]:
        return self._member_kind.takes

    def find(self, key: K) -> ActorRef | None:
        """The actor of this key if it lives now."""
        return self._cells.get(key)

    def ref(self, key: K) -> ActorRef:
        """The address of this key's actor, which need not live yet. `alive` is said of the incarnation that lives now, if one does."""
        return self._cells.get(key) or self._dormant(key)

    def passivate(self, key: K) -> bool:
        """Passivates it now; False where it is busy or does not live."""
        cell = self._cells.get(key)
        if cell is None or not is_idle(cell):
            return False
        self._passivate(cell)
        return True

    def choose(self, message: Any) -> Member:
        return self._at(self._key_of(message))

    # ---- making

    def _at(self, key: K) -> KeyedCell:
        """The place of this key's actor, made if need be; where the system ends, one where nobody is."""
        cell = self._cells.get(key)
        if cell is not None:
            return cell
        if type(key) is not str and type(key) is not int:
            raise TypeError(f"a key of {self.path} is a str or an int, not {key!r}")
        self._clear(LOOKS_MAX, 1)
        if self._too_many(1):
            self._clear_later()
        # Once more, as the last words of one that went may have been for this key.
        cell = self._cells.get(key)
        if cell is None:
            cell = self._dormant(key) if self._system._ending or not self.alive else self._new(key)
        return cell

    def _new(self, key: K) -> KeyedCell:
        cell, before = KeyedCell(self, key), self._leaving.get(key)
        if before is not None:
            self._make_way(before)
        self._cells[key] = self._extra().children[key] = cell
        self.made += 1
        self._arm()
        if before is not None:
            cell._wait_for(before)
        else:
            cell._incarnate()
        return cell

    def _dormant(self, key: K) -> KeyedCell:
        cell = KeyedCell(self, key)
        cell._has_left = True
        self._nobody(cell)
        return cell

    # ---- leaving

    def _used_now(self, cell: KeyedCell) -> KeyedCell:
        if not cell._has_left:
            cell._used = self._sweeps
            self._cells.move_to_end(cell._key)
        return cell

    def _passivate(self, cell: KeyedCell) -> None:
        self.passivated += 1
        self._left(cell)
        if self._farewell is not None:
            cell._tick(self._farewell)
        cell.leave("passivated")

    def _left(self, cell: KeyedCell) -> None:
        """It takes no new messages any more."""
        if not cell._has_left:
            cell._has_left = True
            del self._cells[cell._key]
            # One that is ended while it waits for the one before is gone at once: that one remains who leaves.
            self._leaving.setdefault(cell._key, cell)

    def _gone(self, cell: KeyedCell) -> None:
        if self._leaving.get(cell._key) is cell:
            del self._leaving[cell._key]
            after = self._cells.get(cell._key)
            if after is not None:
                after._follow()

    def _clear(self, looks: int, room: int = 0) -> None:
        """Looks at so many of the least recently used, and passivates those that are idle of those that are overdue or too many."""
        if self._is_clearing:
            return  # the last words of one that goes make another
        self._is_clearing = True
        try:
            while looks and (self._too_many(room) or self._overdue):
                looks -= 1
                cell = next(iter(self._cells.values()))
                if is_idle(cell):
                    self._passivate(cell)
                else:
                    self._used_now(cell)
        finally:
            self._is_clearing = False

    def _too_many(self, room: int = 0) -> bool:
        return len(self._cells) > self.live_max - room

    @property
    def _overdue(self) -> bool:
        """Whether the least recently used has been idle for long, as far as its use is known."""
        cell = next(iter(self._cells.values()), None)
        return cell is not None and 0 < self._idle_sweeps <= self._sweeps - cell._used

    def _clear_later(self) -> None:
        if not self._is_clearing_queued:
            self._is_clearing_queued = True
            self._system.dispatcher.add(Clearing(self))

    def _arm(self) -> None:
        if self._idle_sweeps and not self._is_armed and self.alive:
            self._is_armed = True
            self._system.alarms.later(self._sweep_seconds, self._sweep)

    def _sweep(self) -> None:
        """A look at the oldest now and then, not a timer for each."""
        self._is_armed = False
        self._sweeps += 1
        if self._cells:
            self._clear_later()
            self._arm()


class Clearing:
    """Runs behind those that are ready now, when some of them are idle again, and a few at a time between the others."""

    __slots__ = ("_family",)

    def __init__(self, family: Keyed[Any]) -> None:
        self._family = family

    def turn(self, quantum: int) -> int:
        family = self._family
        before = family.passivated
        family._clear(quantum)
        # Those too many only while it gets anywhere: if all that it saw are busy, the next one made or the sweep tries again.
        family._is_clearing_queued = family._overdue or (family._too_many() and family.passivated > before)
        if family._is_clearing_queued:
            family._system.dispatcher.add(self)
        return quantum


def spawn_keyed(
    actors: "Actors",
    make: "Callable[[Here, K], Actor[Any, Any]]",
    name: str,
    key_of: Callable[[Any], K],
    *,
    props: Props = LASTING,
    idle_seconds: float = 60.0,
    live_max: int = 10_000,
    farewell: Any = None,
    parent: Life | None = None,
) -> Keyed[K]:
    """Actors by key, made by `make(here, key)` on the first message for the key that `key_of(message)` names.

    One that was idle for `idle_seconds` (up to a quarter more) is passivated, and so are the least recently used where more than `live_max`
    live. It is told `farewell` first, if there is one: a handler of that may wait, for instance to store what must not be lost. `props`
    are those of each; what they escalate is the parent's failure, at the top the system's end. An actor makes such a family below itself by
    `here.spawn_keyed`. Raises ValueError that names every fault, and as `Actors.spawn` does.
    """
    faults = []
    if not idle_seconds > 0:
        faults.append(f"idle_seconds is {idle_seconds}: it must be above 0")
    if live_max < 1:
        faults.append(f"live_max is {live_max}: at least one actor must live")
    if faults:
        raise ValueError(f"{name}: {'; '.join(faults)}")
    family = Keyed(actors, make, name, key_of, props, idle_seconds, live_max, farewell, parent)
    family._settle()
    return family
