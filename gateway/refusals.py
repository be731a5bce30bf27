"""What was refused and is not yet on record: singly within a budget, beyond it as counts, and all of it bounded.

Time goes by windows of a minute: a principal's begins with its first refusal and lasts until it has been taken after its end. However
much is refused, a window of one principal or address is one record, a node keeps so many windows at a time, and who comes beyond those
is counted with the others. So what is written each minute has a bound, and nothing is lost but detail: what was taken singly and what was
counted is all that was refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from aggregates.trail import CODES_MAX, REFUSALS_MAX, SAMPLES_MAX, Counted, Refusal

WINDOW_SECONDS = 60.0
SINGLES_MAX = 600
"""Refusals of all principals together that are recorded singly in a window."""
PENDING_MAX = 1_000
"""Of those, how many may wait for the journal."""
PRINCIPALS_MAX = 1_000
ADDRESSES_MAX = 100
READS_MIN = 10
"""Reads in vain within a window that are worth a record where nothing else was refused: fewer are anybody's."""
TARGETS_MAX = 256
"""Different paths that are told apart in a window."""

OTHERS = "others"
"""Who comes when there are as many windows as there may be."""
OTHER_CODES = "others"
NOT_FOUND = 404


class Who(NamedTuple):
    """To whom something was refused: a principal of a tenant, or the address of a stranger."""

    tenant: str
    name: str
    is_stranger: bool = False


class Batch(NamedTuple):
    """What is to be put on record of somebody; `keys` are ids of keys that strangers claimed."""

    who: Who
    refusals: tuple[Refusal, ...]
    counted: Counted | None
    keys: tuple[str, ...] = ()


@dataclass
class Window:
    """A minute of one principal or address."""

    since: float
    until: float
    singles: int = 0
    pending: list[Refusal] = field(default_factory=list)
    reads: int = 0
    count_by_code: dict[str, int] = field(default_factory=dict)
    samples: list[Refusal] = field(default_factory=list)
    targets: set[str] = field(default_factory=set)
    targets_counted: int = 0
    keys: list[str] = field(default_factory=list)

    def is_over(self, at: float) -> bool:
        return at >= self.since + WINDOW_SECONDS

    def count(self, refusal: Refusal, *, is_read: bool = False) -> None:
        self.reads += is_read
        code = refusal.code if refusal.code in self.count_by_code or self._has_room else OTHER_CODES
        self.count_by_code[code] = self.count_by_code.get(code, 0) + 1
        self.targets_counted += self.is_new_target(refusal)
        if len(self.samples) < SAMPLES_MAX:
            self.samples.append(refusal)
        self.until = refusal.at

    @property
    def _has_room(self) -> bool:
        return len(self.count_by_code) < CODES_MAX - 1

    def is_new_target(self, refusal: Refusal) -> bool:
        """Whether nobody knew this path and it is another one than those before."""
        if refusal.status != NOT_FOUND or refusal.target in self.targets or len(self.targets) >= TARGETS_MAX:
            return False
        self.targets.add(refusal.target)
        return True

    def counted(self) -> Counted | None:
        count = sum(self.count_by_code.values())
        if not count or count == self.reads < READS_MIN:
            return None
        return Counted(
            since=self.since,
            until=self.until,
            count=count,
            count_by_code=dict(sorted(self.count_by_code.items())),
            targets=self.targets_counted,
            samples=tuple(self.samples),
        )


class Refusals:
    """The windows of one journal's callers. `singles_max` is what a principal has recorded singly in a window."""

    def __init__(self, singles_max: int, others_tenant: str) -> None:
        self._singles_max = singles_max
        self._others_tenant = others_tenant
        self._window_by_who: dict[Who, Window] = {}
        self._strangers = 0
        self._pending = 0
        self._singles = 0
        self._singles_since = 0.0

    def note(self, who: Who, refusal: Refusal, *, is_read: bool = False) -> None:
        """Something was refused to a principal; what it only wanted to read is counted."""
        window = self._window(who, refusal.at)
        if not is_read and window.singles < self._singles_max and self._may_be_single(refusal.at):
            window.singles += 1
            window.is_new_target(refusal)
            window.pending.append(refusal)
            self._singles += 1
            self._pending += 1
        else:
            window.count(refusal, is_read=is_read)

    def note_stranger(self, who: Who, refusal: Refusal, key_id: str = "") -> None:
        """Something was refused at an address, to somebody without a good key, who may have claimed one of this id."""
        window = self._window(who, refusal.at)
        window.count(refusal)
        if key_id and key_id not in window.keys and len(window.keys) < SAMPLES_MAX:
            window.keys.append(key_id)

    def _window(self, who: Who, at: float) -> Window:
        window = self._window_by_who.get(who)
        if window is None and self._is_full(who.is_stranger):
            self._forget_idle(at)
            if self._is_full(who.is_stranger):
                who = Who(self._others_tenant, OTHERS, who.is_stranger)
                window = self._window_by_who.get(who)
        if window is None:
            window = self._window_by_who[who] = Window(at, at)
            self._strangers += who.is_stranger
        elif not (window.pending or window.count_by_code) and window.is_over(at):
            window = self._window_by_who[who] = Window(at, at)
        return window

    def _is_full(self, of_strangers: bool) -> bool:
        if of_strangers:
            return self._strangers >= ADDRESSES_MAX
        return len(self._window_by_who) - self._strangers >= PRINCIPALS_MAX

    def _forget_idle(self, at: float) -> None:
        idle = [
            who
            for who, window in self._window_by_who.items()
            if window.is_over(at) and not (window.pending or window.count_by_code)
        ]
        for who in idle:
            self._forget(who)

    def _forget(self, who: Who) -> None:
        del self._window_by_who[who]
        self._strangers -= who.is_stranger

    def _may_be_single(self, at: float) -> bool:
        if at >= self._singles_since + WINDOW_SECONDS:
            self._singles, self._singles_since = 0, at
        return self._singles < SINGLES_MAX and self._pending < PENDING_MAX

    @property
    def has_singles(self) -> bool:
        """Whether there is something to put on record at once."""
        return self._pending > 0

    @property
    def due(self) -> float | None:
        """When there is something to put on record; None where there is nothing."""
        if self._pending:
            return 0.0
        ends = [one.since + WINDOW_SECONDS for one in self._window_by_who.values() if one.count_by_code]
        return min(ends, default=None)

    def take(self, at: float, *, everything: bool = False) -> Iterator[Batch]:
        """What is due: single refusals at once, what was counted when its window is over, or all there is. Taken is taken."""
        for who, window in list(self._window_by_who.items()):
            is_over = everything or window.is_over(at)
            singles = window.pending
            window.pending = []
            self._pending -= len(singles)
            for first in range(0, len(singles) - REFUSALS_MAX, REFUSALS_MAX):
                yield Batch(who, tuple(singles[first : first + REFUSALS_MAX]), None)
            rest = tuple(singles[(len(singles) - 1) // REFUSALS_MAX * REFUSALS_MAX :])
            counted = window.counted() if is_over else None
            if rest or counted is not None:
                yield Batch(who, rest, counted, tuple(window.keys))
            if is_over:
                self._forget(who)
