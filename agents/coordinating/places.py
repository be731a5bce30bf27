"""How a coordinator keeps to its node's bounds: it claims places before it opens books, and tells how many its tasks take."""

from collections.abc import Callable

from agents.coordinating.allotment import Allotment, Seat
from agents.coordinating.calls import OPENINGS_MAX, servable
from agents.coordinating.open_tasks import OpenTasks
from agents.coordinating.terms import Aging
from aggregates.coordination import PlacesStand


class Places:
    """A coordinator's places. Where its node has no bound, it has as many as it opens books in a step."""

    def __init__(self, seat: Seat | None = None) -> None:
        self._seat = seat

    @property
    def are_bounded(self) -> bool:
        return self._seat is not None

    def seated(self, memory: OpenTasks, rouse: Callable[[], None]) -> None:
        """A coordinator begins, with what its memory shows taken; it is roused when places come that it has waited for."""
        if self._seat is not None:
            self._seat.rest()
            self._seat.rouse = rouse
            self._seat.report(taken(memory))

    def report(self, memory: OpenTasks) -> None:
        """Tells how many are taken now."""
        if self._seat is not None:
            self._seat.report(taken(memory))

    def rest(self) -> None:
        """No books are opened now, whatever waits."""
        if self._seat is not None:
            self._seat.rest()

    def claim(self, memory: OpenTasks, at: float, aging: Aging) -> int:
        """How many books may be opened now."""
        if self._seat is None:
            return OPENINGS_MAX
        level, wants = _demand(memory, at, aging)
        if not wants:
            self._seat.rest()
            return 0
        return self._seat.claim(level, wants)

    def settle(self, opened: int) -> bool:
        """So many are opened. Whether it should be looked at soon what became of that."""
        if self._seat is None:
            return False
        self._seat.settle(opened)
        return opened > 0

    def stands(self) -> PlacesStand:
        """How the places stand."""
        return self._seat.stands() if self._seat is not None else PlacesStand()


def seats(allotment: Allotment) -> Callable[[str], Places]:
    """The places of the tenants of one journal; each keeps its seat when its coordinator is made anew."""
    seat_by_tenant: dict[str, Seat] = {}

    def places(tenant: str) -> Places:
        if not allotment.is_bounded:
            return Places()
        if tenant not in seat_by_tenant:
            seat_by_tenant[tenant] = allotment.seat(tenant)
        return Places(seat_by_tenant[tenant])

    return places


def taken(memory: OpenTasks) -> int:
    """How many tasks are called for or held."""
    return len(memory.occupied)


def _demand(memory: OpenTasks, at: float, aging: Aging) -> tuple[int, int]:
    """The level of the most urgent task that somebody free might do, and how many of that level there are: no more than slots for them."""
    lines = servable(memory, at)
    level = max((int(aging.urgency(line.priority, places[0][0], at)) for line, places in lines), default=0)
    most = min(OPENINGS_MAX, memory.supply.slots - len(memory.books))
    wants = 0
    for line, places in lines:
        for since, *_ in places:
            if wants >= most or int(aging.urgency(line.priority, since, at)) < level:
                break
            wants += 1
    return level, max(0, wants)
