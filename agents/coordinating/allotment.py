"""The places of a node: how many tasks may be called for or held at a time, over all tenants, and whose turn it is when one is free.

Places go to the highest priority level that anybody waits with; inside a level tenants take turns by deficit round robin (Shreedhar and
Varghese 1995) with unit costs: at its turn a tenant gets its quantum, which is its weight over the least weight there is, so at least one
place; what is left of a fraction stays with it until it waits for nothing. So of two tenants that wait all the time with tasks of one level
neither gets ahead of the other by more than a turn, however many tasks either has.

Nothing here is recorded: it decides when a coordinator may open a book, never what is decided of a task. Each says how many places its
memory shows taken whenever it looks, so a place whose book was never opened comes back, and after a restart all is as the journal has it.
"""

from collections import deque
from collections.abc import Callable, Mapping

from aggregates.coordination import PlacesStand

QUANTA_MAX = 1000.0
"""How much more often than another a tenant may have its turn."""


class Seat:
    """What one coordinator has of a node's places: `taken` as its memory shows, `opening` in books that it decides on now, `granted` and
    not used yet. It `wants` so many more, for tasks of this `level`."""

    def __init__(self, allotment: "Allotment", tenant: str, quantum: float) -> None:
        self.tenant = tenant
        self.quantum = quantum
        self.taken = self.opening = self.granted = self.wants = 0
        self.level = 0
        self.deficit = 0.0
        self.rouse: Callable[[], None] = _nobody
        self._allotment = allotment

    @property
    def used(self) -> int:
        """All that nobody else can have now."""
        return self.taken + self.opening + self.granted

    def report(self, taken: int) -> None:
        """So many are taken; what it was about to open is among them, or was never opened."""
        if taken != self.taken or self.opening:
            self.taken, self.opening = taken, 0
            self._allotment.hand_out(self, looks=False)

    def claim(self, level: int, wants: int) -> int:
        """It would open so many books, the most urgent of this level: how many it may. What it does not use, `settle` takes back."""
        own = self._allotment.own
        self.level, self.wants = level, min(wants, own - self.taken) if own else wants
        self.wants = max(0, self.wants - self.granted)
        self._allotment.hand_out(self)
        self.opening, self.granted = self.granted, 0
        return self.opening

    def settle(self, opened: int) -> None:
        """So many of the claimed are opened. Where that is fewer, it has no more to open for now."""
        if opened < self.opening:
            self.wants, self.deficit = 0, 0.0
            self.opening = opened
            self._allotment.hand_out(self)

    def rest(self) -> None:
        """It wants nothing now."""
        if self.wants or self.granted:
            self.wants, self.granted, self.deficit = 0, 0, 0.0
            self._allotment.hand_out(self)

    def stands(self) -> PlacesStand:
        return self._allotment.stands(self.tenant)


def _nobody() -> None:
    """Stands where no coordinator has come yet."""


class Allotment:
    """The places of a node (0: no bound), and of each tenant by itself; and by name the weights of tenants that have another than 1."""

    def __init__(self, places: int = 0, own: int = 0, weights: Mapping[str, float] | None = None) -> None:
        self.places = places
        self.own = own
        self._weights = dict(weights or {})
        self._least = min([1.0, *self._weights.values()])
        self._seats: list[Seat] = []
        self._turns: deque[Seat] = deque()
        """Who waits for places, whose turn it is first; `_has_begun` tells whether that one has got its quantum of this turn."""
        self._has_begun = False

    @property
    def is_bounded(self) -> bool:
        return bool(self.places or self.own)

    @property
    def free(self) -> int:
        """Where there is a bound: what nobody has."""
        return self.places - sum(seat.used for seat in self._seats)

    def seat(self, tenant: str) -> Seat:
        """A place at the table for the coordinator of a tenant and of a journal, for as long as that is open."""
        quantum = min(QUANTA_MAX, self._weights.get(tenant, 1.0) / self._least)
        seat = Seat(self, tenant, quantum)
        self._seats.append(seat)
        return seat

    def stands(self, tenant: str) -> PlacesStand:
        """How the places stand for this tenant: without what is granted and not used."""
        taken = sum(seat.taken + seat.opening for seat in self._seats)
        mine = sum(seat.taken + seat.opening for seat in self._seats if seat.tenant == tenant)
        return PlacesStand(taken=taken, places=self.places, mine=mine, own=self.own)

    def hand_out(self, asking: Seat, *, looks: bool = True) -> None:
        """Gives what is free to those whose turn it is, and rouses them; but not who asks, where that one looks by itself."""
        if not self.places:
            asking.granted, asking.wants = asking.granted + asking.wants, 0
            return
        self._line_up(asking)
        free, roused = self.free, []
        while free > 0 and self._turns:
            seat = self._next(max(seat.level for seat in self._turns))
            seat.granted, seat.wants, free = seat.granted + 1, seat.wants - 1, free - 1
            if not (looks and seat is asking) and seat not in roused:
                roused.append(seat)
            self._line_up(seat)
        for seat in roused:
            seat.rouse()

    def _line_up(self, seat: Seat) -> None:
        """Who begins to wait comes last; who waits no longer leaves its turn, and what it had saved up."""
        if seat.wants and seat not in self._turns:
            self._turns.append(seat)
        elif not seat.wants and seat in self._turns:
            self._has_begun = self._has_begun and self._turns[0] is not seat
            self._turns.remove(seat)
            seat.deficit = 0.0

    def _next(self, level: int) -> Seat:
        """Whose turn it is among those who wait with this level; others keep theirs."""
        while True:
            seat = self._turns[0]
            if seat.level == level:
                if not self._has_begun:
                    seat.deficit, self._has_begun = seat.deficit + seat.quantum, True
                if seat.deficit >= 1:
                    seat.deficit -= 1
                    return seat
            self._turns.rotate(-1)
            self._has_begun = False
