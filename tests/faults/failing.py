"""A disk that fails on command: the n-th touch of some kind from now on, and as many after it as wanted."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.faults.power import Disk
from tests.faults.vfs import CANTOPEN, FULL, IOERR_DELETE, IOERR_FSYNC, IOERR_TRUNCATE, IOERR_WRITE, OK, Touch

ERRORS = (
    ("write", IOERR_WRITE),
    ("write", FULL),
    ("sync", IOERR_FSYNC),
    ("truncate", IOERR_TRUNCATE),
    ("delete", IOERR_DELETE),
    ("open", CANTOPEN),
)
"""What can be touched, and how that fails."""


@dataclass
class Order:
    """What is to fail: touches of this kind (of this file alone), from number `first` (0 is the next one) on, so many, with this code."""

    kind: str
    code: int
    first: int = 0
    lasts: int = 1
    name: str = ""
    met: int = 0
    struck: int = 0

    def strikes(self, touch: Touch) -> int:
        if touch.kind != self.kind or self.name not in ("", touch.path.name):
            return OK
        number, self.met = self.met, self.met + 1
        if not self.first <= number < self.first + self.lasts:
            return OK
        self.struck += 1
        return self.code


class FailingDisk(Disk):
    """Fails as ordered, for as long as the order stands."""

    order: Order | None = None

    def fails(self, touch: Touch) -> int:
        return OK if self.order is None else self.order.strikes(touch)

    @contextmanager
    def failing(self, order: Order) -> Iterator[Order]:
        self.order = order
        try:
            yield order
        finally:
            self.order = None
